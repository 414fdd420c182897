// One image: what the model makes of it, how unusual and how large it is, and which images are most like it.

import { errorMap, squaredError, strip } from "./pictures.js";

const N_NEIGHBOURS = 10;

/** Shows an image in the panel `root`; `choose(row)` is what a click on a neighbour does. */
export class Chosen {
  constructor(root, source, choose) {
    Object.assign(this, { title: root.querySelector("h2"), body: root.querySelector("#chosen-body"), source, choose });
    this.empty = [...this.body.childNodes];
  }

  clear() {
    this.body.replaceChildren(...this.empty);
  }

  /** Show `pixels` and what was found of them; `row` is where they stand among the images, or -1. */
  async show(pixels, { code, reconstruction }, title, row, isCurrent) {
    const { source } = this;
    const neighbours = nearestCodes(source.arrays.codes, code, N_NEIGHBOURS, row);
    const images = neighbours.rows.length > 0 ? await source.images(neighbours.rows) : [];
    if (!isCurrent()) return;
    const [table, judge] = findings(source, squaredError(pixels, reconstruction));
    const { shape } = source.facts;
    const hadFocus = this.body.contains(document.activeElement);
    this.body.replaceChildren(
      paragraph(title),
      strip(
        [
          [pixels, "original"],
          [reconstruction, "reconstruction"],
          [errorMap(pixels, reconstruction, shape), "error", undefined, [shape[0], shape[1], 3]],
        ],
        shape,
        "strip wide",
      ),
      table,
      paragraph("Nearest by code, and how far"),
      strip(
        neighbours.rows.map((other, i) => {
          const image = images.subarray(i * source.size, (i + 1) * source.size);
          return [image, captionOf(source, other, neighbours.distances[i]), () => this.choose(other)];
        }),
        shape,
      ),
    );
    if (hadFocus) this.title.focus(); // the neighbour that had it is gone
    await judge(pixels, isCurrent);
  }
}

/** [<table>, (pixels, isCurrent) -> fills in what the server says of them] */
function findings(source, error) {
  const table = document.createElement("table");
  const cell = (name) => {
    const line = table.insertRow();
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = name;
    line.append(head);
    return line.insertCell();
  };
  cell("squared error").textContent = error.toFixed(5);
  if (!source.isServed) {
    cell("anomaly, bytes").textContent = "need the server: hourglass explore";
    return [table, async () => {}];
  }
  const [anomaly, bytes] = [cell("anomaly"), cell("compressed")];
  anomaly.textContent = bytes.textContent = "… (learned once)";
  const judge = async (pixels, isCurrent) => {
    const fill = async (place, ask, words) => {
      if (!isCurrent()) return; // nobody looks at this table any more
      try {
        place.replaceChildren(...words(await ask(pixels)));
      } catch (failure) {
        place.textContent = failure.message;
      }
    };
    await fill(anomaly, source.score, ({ score, threshold, anomaly: isAnomaly }) => {
      const verdict = document.createElement("span");
      verdict.className = isAnomaly ? "anomaly" : "";
      verdict.textContent = isAnomaly ? "unusual" : "normal";
      return [verdict, ` (score ${score.toFixed(2)}, threshold ${threshold.toFixed(2)})`];
    });
    await fill(bytes, source.compress, (told) => [`${told.bytes} bytes, of ${told.raw} as pixels`]);
  };
  return [table, judge];
}

/** Rows of the codes nearest to `code`, and their distances; `but` is left out. */
export function nearestCodes(codes, code, count, but = -1) {
  const width = code.length;
  const [rows, distances] = [[], []];
  for (let row = 0; row * width < codes.length; row += 1) {
    let sum = 0;
    for (let i = 0; i < width; i += 1) sum += (codes[row * width + i] - code[i]) ** 2;
    if ((rows.length === count && sum >= distances[count - 1]) || row === but) continue;
    let place = rows.length;
    while (place > 0 && distances[place - 1] > sum) place -= 1;
    rows.splice(place, 0, row);
    distances.splice(place, 0, sum);
    if (rows.length > count) [rows.length, distances.length] = [count, count];
  }
  return { rows, distances: distances.map(Math.sqrt) };
}

/** What an image is called, with its label. */
export function nameOf(source, row) {
  const { classes, names } = source.facts;
  return classes.length > 0 ? `${classes[source.arrays.labels[row]]} (${names[row]})` : names[row];
}

function captionOf(source, row, distance) {
  const { classes, names } = source.facts;
  return `${classes.length > 0 ? classes[source.arrays.labels[row]] : names[row]}, ${distance.toPrecision(2)}`;
}

function paragraph(text) {
  const made = document.createElement("p");
  made.textContent = text;
  return made;
}
