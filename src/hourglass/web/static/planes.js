// Planes through code space: where a code lies in them, and which code lies at a place.

import { Network } from "./network.js";

/** origin + x · axes[0] + y · axes[1]; the axes are orthonormal. With one axis alone, y means nothing. */
export class LinearPlane {
  constructor(origin, axes) {
    Object.assign(this, { origin, axes });
  }

  /** Places (n · 2) of codes (n · n_codes). */
  project(codes) {
    const width = this.origin.length;
    const places = new Float32Array((2 * codes.length) / width);
    this.axes.forEach((axis, side) => {
      for (let row = 0; 2 * row < places.length; row += 1) {
        let sum = 0;
        for (let i = 0; i < width; i += 1) sum += axis[i] * (codes[row * width + i] - this.origin[i]);
        places[2 * row + side] = sum;
      }
    });
    return places;
  }

  /** Codes (n · n_codes) at places (n · 2); off the plane they lie where `through`, a code, does. */
  lift(places, through) {
    const width = this.origin.length;
    const [x, y] = this.project(through);
    const codes = new Float32Array((places.length / 2) * width);
    for (let row = 0; 2 * row < places.length; row += 1) {
      const moves = [places[2 * row] - x, places[2 * row + 1] - y];
      for (let i = 0; i < width; i += 1) {
        codes[row * width + i] = through[i] + this.axes.reduce((sum, axis, side) => sum + moves[side] * axis[i], 0);
      }
    }
    return codes;
  }
}

/** The map that an autoencoder of the codes has learned; every place stands for one code. */
export class LearnedPlane {
  constructor({ facts, arrays }) {
    this.encoder = new Network(facts.map_encoder, arrays);
    this.decoder = new Network(facts.map_decoder, arrays);
    this.positions = arrays.positions;
  }

  project(codes) {
    return codes.length === this.encoder.inputSize * (this.positions.length / 2) ? this.positions : this.encoder.run(codes);
  }

  lift(places) {
    return this.decoder.run(places);
  }
}

const unit = (n, i) => Float32Array.from({ length: n }, (_, k) => Number(k === i));

/** The plane of two latent dimensions; of one, its line. */
export function planeOfNumbers(origin, across, up) {
  const n = origin.length;
  return new LinearPlane(origin, n === 1 ? [unit(1, 0)] : [unit(n, across), unit(n, up)]);
}
