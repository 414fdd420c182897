// A pad to draw on, and images from files.

import { pictureOf } from "./pictures.js";

const SIDE = 280; // of the pad's canvas, in pixels
const PEN = 0.075; // of the side
const BOX = 20 / 28; // of the side: MNIST's digits are scaled to 20 of 28 pixels, and their centre of mass is put in the middle
const FINE = 4; // each pixel is the mean of 4×4, themselves drawn with smoothing

/** `drawn(pixels, title)` gets what is on the pad, at the model's size; (null) when it is cleared. */
export class Pad {
  constructor(root, source, drawn, fault) {
    Object.assign(this, { source, drawn, pen: [SIDE / 2, SIDE / 2], last: null, file: null });
    this.canvas = root.querySelector("#pad");
    this.dot = root.querySelector("#pen");
    this.fits = root.querySelector("#fit");
    const [height, width] = source.facts.shape;
    const scale = SIDE / Math.max(height, width);
    Object.assign(this.canvas, { width: Math.max(1, Math.round(scale * width)), height: Math.max(1, Math.round(scale * height)) });
    this.context = this.canvas.getContext("2d", { willReadFrequently: true });
    this.#empty();
    root.querySelector("#clear").addEventListener("click", () => {
      this.#empty();
      drawn(null);
    });
    this.fits.addEventListener("change", () => this.#tell());
    this.#draws();
    this.#takesFiles(root, (file) => this.#take(file).catch(fault));
  }

  #empty() {
    this.context.fillStyle = "#000";
    this.context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    [this.isEmpty, this.file] = [true, null];
  }

  async #take(file) {
    const pixels = await this.source.upload(file);
    this.#empty();
    this.context.imageSmoothingEnabled = false;
    this.context.drawImage(pictureOf(pixels, this.source.facts.shape), 0, 0, this.canvas.width, this.canvas.height);
    this.file = file.name;
    this.drawn(pixels, file.name);
  }

  #takesFiles(root, take) {
    const input = root.querySelector("#file");
    input.addEventListener("change", () => {
      if (input.files.length > 0) take(input.files[0]);
      input.value = "";
    });
    // On all of the page: a file that is dropped beside the pad would otherwise be opened in place of it.
    document.addEventListener("dragover", (event) => {
      event.preventDefault();
      root.classList.add("over");
    });
    document.addEventListener("dragleave", (event) => {
      if (event.relatedTarget === null) root.classList.remove("over");
    });
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      root.classList.remove("over");
      if (event.dataTransfer.files.length > 0) take(event.dataTransfer.files[0]);
    });
  }

  #draws() {
    const { canvas } = this;
    const at = (event) => [(event.offsetX * canvas.width) / canvas.clientWidth, (event.offsetY * canvas.height) / canvas.clientHeight];
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.dot.hidden = true;
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
    canvas.addEventListener("keydown", (event) => this.#key(event));
    canvas.addEventListener("blur", () => {
      this.dot.hidden = true;
    });
  }

  #key(event) {
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (move === undefined) return;
    event.preventDefault();
    const sides = [this.canvas.width, this.canvas.height];
    const next = this.pen.map((value, side) => Math.min(sides[side], Math.max(0, value + 8 * move[side])));
    if (event.shiftKey) this.#line(this.pen, next);
    this.pen = next;
    this.dot.hidden = false;
    this.dot.style.setProperty("left", `${(100 * next[0]) / sides[0]}%`);
    this.dot.style.setProperty("top", `${(100 * next[1]) / sides[1]}%`);
    if (event.shiftKey) this.#tell();
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
    if (!this.isEmpty) this.drawn(this.#pixels(), this.file === null ? "your drawing" : `${this.file}, drawn on`);
  }

  /** What is on the pad at the model's size. */
  #pixels() {
    const [height, width, channels = 1] = this.source.facts.shape;
    const isFitted = this.fits.checked && this.file === null;
    const colours = isFitted ? this.#fitted(height, width) : averaged(this.canvas, whole(this.canvas), height, width);
    return Uint8ClampedArray.from({ length: height * width * channels }, (_, i) => {
      const [red, green, blue] = colours[Math.floor(i / channels)];
      return channels < 3 ? 0.299 * red + 0.587 * green + 0.114 * blue : [red, green, blue, 255][i % channels];
    });
  }

  #fitted(height, width) {
    const placed = Array.from({ length: height * width }, () => [0, 0, 0]);
    const box = inked(this.context);
    if (box === null) return placed;
    const scale = (BOX * Math.min(height, width)) / Math.max(box[2], box[3]);
    const [rows, columns] = [Math.max(1, Math.round(scale * box[3])), Math.max(1, Math.round(scale * box[2]))];
    const small = averaged(this.canvas, box, rows, columns);
    let [mass, x, y] = [1e-9, 0, 0];
    small.forEach(([value], i) => {
      mass += value;
      x += value * ((i % columns) + 0.5);
      y += value * (Math.floor(i / columns) + 0.5);
    });
    const [left, top] = [Math.round(width / 2 - x / mass), Math.round(height / 2 - y / mass)];
    small.forEach((colour, i) => {
      const [row, column] = [top + Math.floor(i / columns), left + (i % columns)];
      if (row >= 0 && row < height && column >= 0 && column < width) placed[row * width + column] = colour;
    });
    return placed;
  }
}

const whole = ({ width, height }) => [0, 0, width, height];

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

/** A part of a canvas as rows · columns means [red, green, blue], each 0..255. */
function averaged(canvas, [left, top, width, height], rows, columns) {
  const middle = new OffscreenCanvas(columns * FINE, rows * FINE);
  const context = middle.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(canvas, left, top, width, height, 0, 0, columns * FINE, rows * FINE);
  const { data } = context.getImageData(0, 0, columns * FINE, rows * FINE);
  const means = Array.from({ length: rows * columns }, () => [0, 0, 0]);
  for (let i = 0; i < data.length / 4; i += 1) {
    const [x, y] = [i % (columns * FINE), Math.floor(i / (columns * FINE))];
    const mean = means[Math.floor(y / FINE) * columns + Math.floor(x / FINE)];
    for (let channel = 0; channel < 3; channel += 1) mean[channel] += data[4 * i + channel] / FINE ** 2;
  }
  return means;
}
