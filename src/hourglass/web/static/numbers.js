// The number generator: codes drawn from the mixture of a label's codes, decoded.

import { download, pictureOf } from "./pictures.js";

const A_LINE = 10; // pictures
const ENLARGED = 4; // times, in the file

/** Writes labels in generated pictures below `root`. */
export class Numbers {
  constructor(root, source, say, fault) {
    Object.assign(this, { source, say, form: root.querySelector("form"), canvas: root.querySelector("#written") });
    this.input = root.querySelector("#text");
    this.temperature = root.querySelector("#temperature");
    this.known = root.querySelector("#known");
    this.save = root.querySelector("#save");
    const { names } = source.facts;
    this.known.textContent = names.length > 0 ? `Labels: ${names.join(", ")}.` : "Without labels: write how many.";
    this.input.value = names.length === 0 ? "8" : names.every((name) => name.length === 1) ? "2026" : names.slice(0, 3).join(" ");
    this.input.value = this.#wanted(names) === null ? names.slice(0, 4).join("") : this.input.value;
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#write().catch(fault);
    });
    this.save.addEventListener("click", () => this.#download());
  }

  async #write() {
    this.known.textContent = this.density === undefined ? "Learning how the codes of each label are spread (once) …" : this.known.textContent;
    this.density ??= await this.source.density();
    const { classes } = this.density.facts;
    const labels = this.#wanted(classes);
    this.known.textContent = classes.length > 1 ? `Labels: ${classes.join(", ")}.` : "";
    if (labels === null || labels.length === 0) throw new Error(`Write labels that the model knows: ${classes.join(", ") || "a number of pictures"}.`);
    const codes = labels.map((label) => draw(this.density.arrays, label, this.temperature.valueAsNumber));
    const all = new Float32Array(labels.length * this.source.facts.n_codes);
    codes.forEach((code, i) => all.set(code, i * code.length));
    this.#show(await this.source.decode(all), labels.length);
    this.canvas.setAttribute("aria-label", `Generated: ${this.input.value}`);
    this.say(`Generated ${this.input.value}.`);
  }

  /** Which classes are asked for: one a letter, or a word each; null if one is unknown. */
  #wanted(classes) {
    const text = this.input.value.trim();
    if (classes.length === 0 || (classes.length === 1 && classes[0] === "")) {
      const count = Number(text);
      return Number.isInteger(count) && count > 0 && count <= 100 ? Array(count).fill(0) : null;
    }
    const parts = classes.every((name) => name.length === 1) ? [...text.replaceAll(/\s/g, "")] : text.split(/[\s,]+/).filter(Boolean);
    const labels = parts.map((part) => classes.indexOf(part));
    return labels.includes(-1) ? null : labels;
  }

  #show(pictures, count) {
    const { shape } = this.source.facts;
    const [height, width] = shape;
    Object.assign(this.canvas, { width: Math.min(count, A_LINE) * width, height: Math.ceil(count / A_LINE) * height, hidden: false });
    const context = this.canvas.getContext("2d");
    const { size } = this.source;
    for (let i = 0; i < count; i += 1) {
      const picture = pictureOf(pictures.subarray(i * size, (i + 1) * size), shape);
      context.drawImage(picture, (i % A_LINE) * width, Math.floor(i / A_LINE) * height);
    }
    this.save.disabled = false;
  }

  async #download() {
    const { width, height } = this.canvas;
    const large = new OffscreenCanvas(width * ENLARGED, height * ENLARGED);
    const context = large.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.drawImage(this.canvas, 0, 0, width * ENLARGED, height * ENLARGED);
    download(await large.convertToBlob({ type: "image/png" }), `${this.input.value.trim()}.png`);
  }
}

/** A code of class `label`: a component of its mixture by weight, then mean + temperature · factor · noise. */
export function draw({ weights, means, factors, owners }, label, temperature) {
  const n = means.length / weights.length;
  const own = [...owners.keys()].filter((component) => owners[component] === label);
  let left = Math.random() * own.reduce((sum, component) => sum + weights[component], 0);
  const chosen = own.find((component) => (left -= weights[component]) <= 0) ?? own.at(-1);
  const noise = Array.from({ length: n }, gaussian);
  return Float32Array.from({ length: n }, (_, i) => {
    let value = means[chosen * n + i];
    for (let k = 0; k <= i; k += 1) value += temperature * factors[(chosen * n + i) * n + k] * noise[k];
    return value;
  });
}

const gaussian = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
