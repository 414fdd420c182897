// The number generator: codes drawn from the mixture of a label's codes, decoded.

import { download, pictureOf } from "./pictures.js";

const A_LINE = 10; // pictures
const ENLARGED = 4; // times, in the file
const MOST = 100; // pictures
const WIDTH = 3.6; // of a picture on the page at most, in rem

/** Writes labels in generated pictures below `root`. */
export class Numbers {
  constructor(root, source, say, fault) {
    Object.assign(this, { source, say, canvas: root.querySelector("#written"), text: "" });
    this.input = root.querySelector("#text");
    this.temperature = root.querySelector("#temperature");
    this.known = root.querySelector("#known");
    this.save = root.querySelector("#save");
    const { classes } = source.facts;
    const some = classes.every((name) => name.length === 1) ? classes.slice(0, 4).join("") : classes.slice(0, 3).join(", ");
    this.input.value = classes.length === 0 ? "8" : wanted("2026", classes) === null ? some : "2026";
    this.#tell(classes);
    root.querySelector("form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#write().catch(fault);
    });
    this.save.addEventListener("click", () => this.#download().catch(fault));
  }

  #tell(classes) {
    this.known.textContent = classes.length > 0 ? `Labels: ${classes.join(", ")}.` : "There are no labels: write how many pictures.";
  }

  async #write() {
    if (this.density === undefined) this.known.textContent = "Learning how the codes of each label are spread (once) …";
    try {
      this.density ??= await this.source.density();
    } finally {
      this.#tell(this.density?.facts.drawn ?? this.source.facts.classes);
    }
    const { drawn } = this.density.facts;
    const text = this.input.value.trim();
    const labels = wanted(text, drawn);
    if (labels === null) {
      throw new Error(drawn.length > 0 ? `Write labels that the model knows: ${drawn.join(", ")}.` : `Write a number from 1 to ${MOST}.`);
    }
    const all = new Float32Array(labels.length * this.source.facts.n_codes);
    labels.forEach((label, i) => all.set(draw(this.density.arrays, label, this.temperature.valueAsNumber), i * this.source.facts.n_codes));
    this.#show(await this.source.decode(all), labels.length);
    this.text = text;
    this.canvas.setAttribute("aria-label", `Generated: ${text}`);
    this.say(`Generated ${text}.`);
  }

  #show(pictures, count) {
    const { shape } = this.source.facts;
    const [height, width] = shape;
    const columns = Math.min(count, A_LINE);
    Object.assign(this.canvas, { width: columns * width, height: Math.ceil(count / A_LINE) * height, hidden: false });
    this.canvas.style.setProperty("width", `min(100%, ${columns * WIDTH}rem)`);
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
    download(await large.convertToBlob({ type: "image/png" }), `${this.text}.png`);
  }
}

/** Which classes a text asks for, with or without spaces and commas between their names; null if it is none of them. */
export function wanted(text, classes) {
  if (classes.length === 0) return /^\d+$/.test(text) && text > 0 && text <= MOST ? Array(Number(text)).fill(0) : null;
  const longestFirst = classes.map((name, label) => [name, label]).sort(([a], [b]) => b.length - a.length);
  const labels = [];
  let rest = text.trim();
  while (rest !== "") {
    const found = longestFirst.find(([name]) => name !== "" && rest.startsWith(name));
    if (found === undefined || labels.length === MOST) return null;
    labels.push(found[1]);
    rest = rest.slice(found[0].length).replace(/^[\s,]+/, "");
  }
  return labels.length > 0 ? labels : null;
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
