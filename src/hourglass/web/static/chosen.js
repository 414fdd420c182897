// One image: what the model makes of it, how unusual and how large it is, and which images are most like it.

import { errorMap, squaredError, strip } from "./pictures.js";

const N_NEIGHBOURS = 10;

/** Shows an image in `root`; `choose(row)` is what a click on a neighbour does. */
export class Chosen {
  constructor(root, source, choose) {
    Object.assign(this, { root, source, choose, turn: 0 });
  }

  /** Show `pixels`, called `title`; `row` is where they stand among the images, or -1. Gives their code. */
  async show(pixels, title, row = -1) {
    const { source } = this;
    this.turn += 1;
    const { turn } = this;
    const { code, reconstruction } = await source.analyse(pixels);
    if (turn !== this.turn) return code; // another has been chosen meanwhile
    const neighbours = nearestCodes(source.arrays.codes, code, N_NEIGHBOURS, row);
    const images = await source.images(neighbours.rows);
    if (turn !== this.turn) return code;
    const error = squaredError(pixels, reconstruction);
    const [table, judge] = facts(source, error);
    const { shape } = source.facts;
    this.root.replaceChildren(
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
      paragraph("Nearest by code"),
      strip(
        neighbours.rows.map((other, i) => {
          const image = images.subarray(i * source.size, (i + 1) * source.size);
          return [image, captionOf(source, other, neighbours.distances[i]), () => this.choose(other)];
        }),
        shape,
      ),
    );
    await judge(pixels);
    return code;
  }
}

/** [<table>, (pixels) -> fills in what the server says of them] */
function facts(source, error) {
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
  anomaly.textContent = bytes.textContent = "…";
  const judge = async (pixels) => {
    const fill = async (place, asked, words) => {
      try {
        place.replaceChildren(...words(await asked));
      } catch (error_) {
        place.textContent = error_.message;
      }
    };
    await fill(anomaly, source.score(pixels), ({ score, threshold, anomaly: isAnomaly }) => {
      const verdict = document.createElement("span");
      verdict.className = isAnomaly ? "anomaly" : "";
      verdict.textContent = isAnomaly ? "unusual" : "normal";
      return [verdict, ` (score ${score.toFixed(2)}, threshold ${threshold.toFixed(2)})`];
    });
    await fill(bytes, source.compress(pixels), (told) => [`${told.bytes} bytes, of ${told.raw} as pixels`]);
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
    let at = rows.length;
    while (at > 0 && distances[at - 1] > sum) at -= 1;
    rows.splice(at, 0, row);
    distances.splice(at, 0, sum);
    if (rows.length > count) [rows.length, distances.length] = [count, count];
  }
  return { rows, distances: distances.map(Math.sqrt) };
}

/** What an image is called: its label and number. */
export function nameOf(source, row) {
  const { names } = source.facts;
  return names.length > 0 ? `${names[source.arrays.labels[row]]} (no. ${row})` : `no. ${row}`;
}

function captionOf(source, row, distance) {
  const { names } = source.facts;
  const name = names.length > 0 ? names[source.arrays.labels[row]] : `no. ${row}`;
  return `${name}, ${distance.toPrecision(2)}`;
}

function paragraph(text) {
  const made = document.createElement("p");
  made.textContent = text;
  return made;
}
