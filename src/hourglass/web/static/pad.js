// A pad to draw on, and images from files.

import { pictureOf } from "./pictures.js";

const SIDE = 280; // of the pad's canvas, in pixels
const PEN = 0.075; // of the side
const BOX = 20 / 28; // of the side: MNIST's digits are scaled to 20 of 28 pixels, and their centre of mass is put in the middle

/** `drawn(pixels, title)` gets what is on the pad, at the model's size. */
export class Pad {
  constructor(root, source, drawn, fault) {
    Object.assign(this, { source, drawn, pen: [SIDE / 2, SIDE / 2], last: null });
    this.canvas = root.querySelector("#pad");
    this.fits = root.querySelector("#fit");
    const [height, width] = source.facts.shape;
    Object.assign(this.canvas, { width: Math.round((SIDE * width) / Math.max(height, width)), height: Math.round((SIDE * height) / Math.max(height, width)) });
    this.context = this.canvas.getContext("2d", { willReadFrequently: true });
    this.clear();
    root.querySelector("#clear").addEventListener("click", () => this.clear());
    this.fits.addEventListener("change", () => this.#tell());
    this.#listen();
    const take = (file) => this.#take(file).catch(fault);
    const input = root.querySelector("#file");
    input.addEventListener("change", () => {
      if (input.files.length > 0) take(input.files[0]);
      input.value = "";
    });
    root.addEventListener("dragover", (event) => {
      event.preventDefault();
      root.classList.add("over");
    });
    root.addEventListener("dragleave", () => root.classList.remove("over"));
    root.addEventListener("drop", (event) => {
      event.preventDefault();
      root.classList.remove("over");
      if (event.dataTransfer.files.length > 0) take(event.dataTransfer.files[0]);
    });
  }

  clear() {
    this.context.fillStyle = "#000";
    this.context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    this.isEmpty = true;
  }

  async #take(file) {
    const pixels = await this.source.upload(file);
    this.clear();
    this.context.imageSmoothingEnabled = false;
    this.context.drawImage(pictureOf(pixels, this.source.facts.shape), 0, 0, this.canvas.width, this.canvas.height);
    this.drawn(pixels, file.name);
  }

  #listen() {
    const { canvas } = this;
    const at = (event) => [(event.offsetX * canvas.width) / canvas.clientWidth, (event.offsetY * canvas.height) / canvas.clientHeight];
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.last = at(event);
      this.#line(this.last, this.last);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (this.last === null) return;
      const now = at(event);
      this.#line(this.last, now);
      this.last = now;
    });
    for (const name of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(name, () => {
        if (this.last !== null) this.#tell();
        this.last = null;
      });
    }
    canvas.addEventListener("keydown", (event) => {
      const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
      const move = moves[event.key];
      if (move === undefined) return;
      event.preventDefault();
      const limits = [canvas.width, canvas.height];
      const next = this.pen.map((value, side) => Math.min(limits[side], Math.max(0, value + 8 * move[side])));
      if (event.shiftKey) this.#line(this.pen, next);
      this.pen = next;
      if (event.shiftKey) this.#tell();
    });
  }

  #line(from, to) {
    const { context } = this;
    Object.assign(context, { strokeStyle: "#fff", lineWidth: PEN * SIDE, lineCap: "round", lineJoin: "round" });
    context.beginPath();
    context.moveTo(...from);
    context.lineTo(...to);
    context.stroke();
    this.isEmpty = false;
  }

  #tell() {
    if (!this.isEmpty) this.drawn(this.#pixels(), "your drawing");
  }

  /** The drawing at the model's size: the means of the squares that become a pixel. */
  #pixels() {
    const [height, width, channels = 1] = this.source.facts.shape;
    const ink = this.fits.checked ? this.#fitted(height, width) : averaged(this.canvas, [0, 0, this.canvas.width, this.canvas.height], height, width);
    return Uint8ClampedArray.from({ length: height * width * channels }, (_, i) => ink[Math.floor(i / channels)]);
  }

  #fitted(height, width) {
    const box = inked(this.context);
    if (box === null) return new Float64Array(height * width);
    const scale = (BOX * Math.min(height, width)) / Math.max(box[2], box[3]);
    const [rows, columns] = [Math.max(1, Math.round(scale * box[3])), Math.max(1, Math.round(scale * box[2]))];
    const small = averaged(this.canvas, box, rows, columns);
    let [mass, x, y] = [0, 0, 0];
    small.forEach((value, i) => {
      mass += value;
      x += value * ((i % columns) + 0.5);
      y += value * (Math.floor(i / columns) + 0.5);
    });
    const [left, top] = [Math.round(width / 2 - x / mass), Math.round(height / 2 - y / mass)];
    const placed = new Float64Array(height * width);
    small.forEach((value, i) => {
      const [row, column] = [top + Math.floor(i / columns), left + (i % columns)];
      if (row >= 0 && row < height && column >= 0 && column < width) placed[row * width + column] = value;
    });
    return placed;
  }
}

/** [left, top, width, height] of what is not black; null if all is. */
function inked(context) {
  const { width, height } = context.canvas;
  const { data } = context.getImageData(0, 0, width, height);
  let [left, top, right, bottom] = [width, height, -1, -1];
  for (let i = 0; i < width * height; i += 1) {
    if (data[4 * i] < 32) continue;
    const [x, y] = [i % width, Math.floor(i / width)];
    [left, right, top, bottom] = [Math.min(left, x), Math.max(right, x), Math.min(top, y), Math.max(bottom, y)];
  }
  return right < 0 ? null : [left, top, right - left + 1, bottom - top + 1];
}

/** A part of a canvas as rows · columns means of grey, 0..255. */
function averaged(canvas, [left, top, width, height], rows, columns) {
  const fine = 4; // each pixel the mean of 4×4, itself drawn with smoothing
  const middle = new OffscreenCanvas(columns * fine, rows * fine);
  const context = middle.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(canvas, left, top, width, height, 0, 0, columns * fine, rows * fine);
  const { data } = context.getImageData(0, 0, columns * fine, rows * fine);
  const means = new Float64Array(rows * columns);
  for (let i = 0; i < data.length / 4; i += 1) {
    const [x, y] = [i % (columns * fine), Math.floor(i / (columns * fine))];
    means[Math.floor(y / fine) * columns + Math.floor(x / fine)] += data[4 * i] / fine ** 2;
  }
  return means;
}
