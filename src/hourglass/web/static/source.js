// Where the page gets what it shows: from the server it came from, or from the data inside the page itself.

import { Network } from "./network.js";
import { unpack } from "./packing.js";

/** {facts, arrays, …}: the source, with codes, labels and facts at hand. */
export async function openSource() {
  const inside = document.getElementById("data");
  return inside === null ? Served.open() : Embedded.open(inside.textContent);
}

class Source {
  constructor(facts, arrays, decoder) {
    Object.assign(this, { facts, arrays, decoder });
    this.size = facts.shape.reduce((product, side) => product * side, 1);
  }

  /** Images (n · size), uint8, of codes (n · n_codes), at once; only with a `decoder`. */
  decodeNow(codes) {
    return this.toPixels(this.decoder.run(codes));
  }

  /** Values of a network, (n, c, h, w) in 0..1, as pixels (n, h, w, c) in 0..255. */
  toPixels(values) {
    const [height, width, channels = 1] = this.facts.shape;
    const area = height * width;
    const pixels = new Uint8ClampedArray(values.length); // rounds and clips
    if (channels === 1) {
      for (let i = 0; i < values.length; i += 1) pixels[i] = 255 * values[i];
      return pixels;
    }
    for (let i = 0; i < values.length; i += 1) {
      const sample = Math.floor(i / this.size);
      const place = i - sample * this.size;
      const channel = Math.floor(place / area);
      pixels[sample * this.size + (place - channel * area) * channels + channel] = 255 * values[i];
    }
    return pixels;
  }
}

class Served extends Source {
  static async open() {
    const { facts, arrays } = await get("/api/scene");
    const decoder = facts.decodes ? await get("/api/decoder") : null;
    return new Served(facts, arrays, decoder && new Network(decoder.facts.decoder, decoder.arrays));
  }

  isServed = true;

  async decode(codes) {
    return this.decoder ? this.decodeNow(codes) : (await post("/api/decode", codes)).arrays.images;
  }

  async images(rows) {
    return (await post("/api/images", Int32Array.from(rows))).arrays.images;
  }

  async region(rows) {
    return (await post("/api/region", Int32Array.from(rows))).arrays;
  }

  async analyse(pixels) {
    return (await post("/api/analyse", pixels)).arrays;
  }

  async upload(file) {
    return (await post("/api/upload", file)).arrays.image;
  }

  score = async (pixels) => (await ask("/api/score", pixels)).json();
  compress = async (pixels) => (await ask("/api/compress", pixels)).json();
  density = async () => get("/api/density");
  plane = async () => get("/api/plane");
}

class Embedded extends Source {
  static async open(text) {
    const bytes = Uint8Array.from(atob(text.trim()), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const { facts, arrays } = unpack(await new Response(stream).arrayBuffer());
    const source = new Embedded(facts, arrays, new Network(facts.decoder, arrays));
    source.encoder = new Network(facts.encoder, arrays);
    return source;
  }

  isServed = false;

  async decode(codes) {
    return this.decodeNow(codes);
  }

  async images(rows) {
    const made = new Uint8Array(rows.length * this.size);
    Array.from(rows).forEach((row, i) => made.set(this.arrays.images.subarray(row * this.size, (row + 1) * this.size), i * this.size));
    return made;
  }

  async region(rows) {
    const [sums, squares] = [new Float64Array(this.size), new Float64Array(this.size)];
    for (const row of rows) {
      for (let i = 0; i < this.size; i += 1) {
        const value = this.arrays.images[row * this.size + i];
        sums[i] += value;
        squares[i] += value * value;
      }
    }
    const mean = sums.map((sum) => sum / rows.length);
    const spread = squares.map((sum, i) => 2 * Math.sqrt(Math.max(0, sum / rows.length - mean[i] ** 2)));
    return { mean: Uint8ClampedArray.from(mean), spread: Uint8ClampedArray.from(spread) };
  }

  async analyse(pixels) {
    const [height, width, channels = 1] = this.facts.shape;
    const inputs = new Float32Array(this.size);
    for (let i = 0; i < this.size; i += 1) inputs[(i % channels) * height * width + Math.floor(i / channels)] = pixels[i] / 255;
    const code = this.encoder.run(inputs);
    return { code, reconstruction: this.decodeNow(code) };
  }

  async upload(file) {
    const [height, width, channels = 1] = this.facts.shape;
    const bitmap = await createImageBitmap(file, { resizeWidth: width, resizeHeight: height, resizeQuality: "high" }).catch(() => {
      throw new Error("That file is no image that this browser can read.");
    });
    const context = new OffscreenCanvas(width, height).getContext("2d");
    context.fillStyle = "white";
    context.fillRect(0, 0, width, height);
    context.drawImage(bitmap, 0, 0);
    const { data } = context.getImageData(0, 0, width, height);
    return Uint8ClampedArray.from({ length: this.size }, (_, i) => {
      const at = 4 * Math.floor(i / channels);
      return channels === 3 ? data[at + (i % 3)] : 0.299 * data[at] + 0.587 * data[at + 1] + 0.114 * data[at + 2];
    });
  }

  density = async () => this;
  plane = async () => this;
}

async function ask(path, body) {
  const options = body === undefined ? {} : { method: "POST", body, headers: { "content-type": "application/octet-stream" } };
  const response = await fetch(path, options).catch(() => {
    throw new Error("The server no longer answers; start it again.");
  });
  if (response.ok) return response;
  const told = await response.json().catch(() => ({}));
  throw new Error(told.error ?? `The server answered ${response.status}.`);
}

const get = async (path) => unpack(await (await ask(path)).arrayBuffer());
const post = async (path, body) => unpack(await (await ask(path, body)).arrayBuffer());
