// The decoded manifold: the plane paved with the pictures that its places stand for.

import { pictureOf } from "./pictures.js";

const SIDE = 40; // of a tile, in the view's pixels, at least; at most twice that
const MOST_SHOWN = 2000; // tiles: of a larger view they are larger
const MOST_KEPT = 3 * MOST_SHOWN;
const SPARE = 7; // milliseconds a frame

/** Tiles at places that stay the same while the view moves, decoded a few a frame, those in the middle first. */
export class Manifold {
  /** `decode(places)` gives pictures, at once or as a promise; `changed` is called when there is more to paint. */
  constructor(decode, shape, changed, fault) {
    Object.assign(this, { decode, shape, changed, fault });
    this.kept = new Map();
    this.missing = [];
    this.batch = 8;
    this.isBusy = false;
  }

  forget() {
    this.kept.clear();
    this.generation = {}; // what is on its way belongs to another
  }

  paint(context, view, ratio) {
    const least = Math.max(SIDE, Math.sqrt((view.width * view.height) / MOST_SHOWN));
    const level = Math.ceil(Math.log2(least / view.scale));
    const step = 2 ** level;
    const [left, top] = view.toPlane(0, 0);
    const [right, bottom] = view.toPlane(view.width, view.height);
    const side = step * view.scale * ratio;
    context.clearRect(0, 0, context.canvas.width, context.canvas.height);
    context.imageSmoothingEnabled = side < this.shape[1];
    this.missing = [];
    for (let j = Math.floor(bottom / step); j <= Math.floor(top / step); j += 1) {
      for (let i = Math.floor(left / step); i <= Math.floor(right / step); i += 1) {
        const tile = { key: `${level}:${i}:${j}`, x: (i + 0.5) * step, y: (j + 0.5) * step };
        const picture = this.kept.get(tile.key);
        if (picture === undefined) {
          this.missing.push(tile);
          continue;
        }
        const [x, y] = view.toScreen(i * step, (j + 1) * step);
        context.drawImage(picture, Math.round(ratio * x), Math.round(ratio * y), Math.ceil(side), Math.ceil(side));
      }
    }
    this.missing.sort((a, b) => Math.hypot(a.x - view.x, a.y - view.y) - Math.hypot(b.x - view.x, b.y - view.y));
    if (this.missing.length > 0 && !this.isBusy) requestAnimationFrame(() => this.#more());
  }

  async #more() {
    if (this.isBusy || this.missing.length === 0) return;
    this.isBusy = true;
    const { generation } = this;
    try {
      const until = performance.now() + SPARE;
      do {
        const some = this.missing.splice(0, this.batch);
        const began = performance.now();
        const answer = this.decode(Float32Array.from(some.flatMap(({ x, y }) => [x, y])));
        const isHere = !(answer instanceof Promise);
        const pictures = isHere ? answer : await answer;
        if (generation !== this.generation) break;
        const size = pictures.length / some.length;
        some.forEach(({ key }, i) => this.kept.set(key, pictureOf(pictures.subarray(i * size, (i + 1) * size), this.shape)));
        const took = performance.now() - began;
        this.batch = isHere ? Math.max(1, Math.min(64, Math.round((this.batch * SPARE) / 2 / Math.max(took, 0.1)))) : 64;
      } while (this.missing.length > 0 && performance.now() < until);
      for (const key of this.kept.keys()) {
        if (this.kept.size <= MOST_KEPT) break;
        this.kept.delete(key); // the oldest
      }
    } catch (error) {
      this.fault(error); // and wait for the next change of view before asking again
      this.isBusy = false;
      return;
    }
    this.isBusy = false;
    this.changed();
  }
}
