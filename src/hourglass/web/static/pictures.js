// Pixels on canvases.

/** A canvas with the picture of `pixels` (h · w · channels), uint8. */
export function pictureOf(pixels, [height, width, channels = 1]) {
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d").putImageData(imageData(pixels, [height, width, channels]), 0, 0);
  return canvas;
}

/** Show `pixels` on `canvas`, at their own size; style makes it larger. */
export function show(canvas, pixels, [height, width, channels = 1]) {
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  canvas.getContext("2d").putImageData(imageData(pixels, [height, width, channels]), 0, 0);
}

function imageData(pixels, [height, width, channels]) {
  const image = new ImageData(width, height);
  const { data } = image;
  for (let i = 0; i < height * width; i += 1) {
    const from = i * channels;
    const [g, b] = channels < 3 ? [0, 0] : [1, 2];
    data[4 * i] = pixels[from];
    data[4 * i + 1] = pixels[from + g];
    data[4 * i + 2] = pixels[from + b];
    data[4 * i + 3] = channels === 4 ? pixels[from + 3] : channels === 2 ? pixels[from + 1] : 255;
  }
  return image;
}

/** The absolute differences of two pictures, channels averaged, as a picture (h · w · 3) from black over red to white. */
export function errorMap(pixels, others, [height, width, channels = 1]) {
  const map = new Uint8ClampedArray(height * width * 3);
  for (let i = 0; i < height * width; i += 1) {
    let sum = 0;
    for (let c = 0; c < channels; c += 1) sum += Math.abs(pixels[i * channels + c] - others[i * channels + c]);
    const heat = sum / channels;
    map[3 * i] = 2.2 * heat;
    map[3 * i + 1] = 2.2 * heat - 190;
    map[3 * i + 2] = 2.2 * heat - 300;
  }
  return map;
}

/** The mean squared difference of two pictures, in squared units of 0..1. */
export function squaredError(pixels, others) {
  return pixels.reduce((sum, pixel, i) => sum + ((pixel - others[i]) / 255) ** 2, 0) / pixels.length;
}

/** <figure> with a picture and a line below it; a button if there is something to do. */
export function figure(pixels, shape, caption, act) {
  const canvas = document.createElement("canvas");
  canvas.className = "picture";
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", caption);
  show(canvas, pixels, shape);
  const made = document.createElement("figure");
  const words = document.createElement("figcaption");
  words.textContent = caption;
  if (act === undefined) {
    made.append(canvas, words);
  } else {
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-label", `Choose ${caption}`);
    canvas.removeAttribute("role");
    canvas.removeAttribute("aria-label");
    button.append(canvas);
    button.addEventListener("click", act);
    made.append(button, words);
  }
  return made;
}

/** A row of figures: [[pixels, caption, act?], …]. */
export function strip(items, shape, className = "strip") {
  const made = document.createElement("div");
  made.className = className;
  made.append(...items.map(([pixels, caption, act, itsShape = shape]) => figure(pixels, itsShape, caption, act)));
  return made;
}

/** Let the browser save `blob` as a file. */
export function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

// Okabe and Ito's colours first, which most colour-blind people can tell apart, then others; after them even steps of hue.
const FIRST = ["#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#8c8c8c", "#7b4fd0", "#a3d14b"];

/** [r, g, b] of each of `n` labels. */
export function palette(n) {
  return Array.from({ length: Math.max(1, n) }, (_, i) => (n <= FIRST.length ? fromHex(FIRST[n === 0 ? 1 : i]) : fromHue((i * 137.508) % 360)));
}

const fromHex = (text) => [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16));

function fromHue(hue) {
  return [0, 8, 4].map((n) => {
    const k = (n + hue / 30) % 12;
    return Math.round(255 * (0.6 - 0.3 * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  });
}
