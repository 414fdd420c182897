// The smaller panels: labels, sliders, a walk, a region.

import { download, strip } from "./pictures.js";

const N_FRAMES = 12;

/** Buttons that show and hide the dots of a label; `changed()` after each. */
export function fillLegend(root, names, colours, scatter, changed) {
  root.replaceChildren(
    ...names.map((name, label) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = name;
      button.setAttribute("aria-pressed", String(scatter.shown[label] === 1));
      button.style.setProperty("--dot", `rgb(${colours[label].join(" ")})`);
      button.addEventListener("click", () => {
        scatter.shown[label] = 1 - scatter.shown[label];
        button.setAttribute("aria-pressed", String(scatter.shown[label] === 1));
        changed();
      });
      return button;
    }),
  );
}

/** A slider for every number of the code, three standard deviations to both sides; `moved(number, value)`. */
export class Sliders {
  constructor(root, codes, mean, moved) {
    const n = mean.length;
    const squares = new Float64Array(n);
    codes.forEach((value, i) => {
      squares[i % n] += (value - mean[i % n]) ** 2;
    });
    this.inputs = Array.from(mean, (middle, i) => {
      const reach = 3 * Math.sqrt((squares[i] * n) / codes.length) || 1;
      const input = document.createElement("input");
      Object.assign(input, { type: "range", min: middle - reach, max: middle + reach, step: reach / 100, value: middle });
      input.setAttribute("aria-label", `Number ${i + 1} of the code`);
      input.addEventListener("input", () => moved(i, input.valueAsNumber));
      return input;
    });
    root.replaceChildren(
      ...this.inputs.map((input, i) => {
        const label = document.createElement("label");
        const words = document.createElement("span");
        words.textContent = i + 1;
        label.append(words, input);
        return label;
      }),
    );
  }

  set(code) {
    this.inputs.forEach((input, i) => {
      input.value = code[i];
    });
  }
}

/** A film strip of the way from one place to another; `lift(places)` gives codes. */
export async function showWalk(root, source, lift, [x1, y1], [x2, y2]) {
  const shares = Array.from({ length: N_FRAMES }, (_, i) => i / (N_FRAMES - 1));
  const places = Float32Array.from(shares.flatMap((share) => [x1 + share * (x2 - x1), y1 + share * (y2 - y1)]));
  const pictures = await source.decode(lift(places));
  const items = shares.map((share, i) => [pictures.subarray(i * source.size, (i + 1) * source.size), `${Math.round(100 * share)} %`]);
  root.replaceChildren(strip(items, source.facts.shape));
}

/** Average, spread and labels of the images in `rows`. */
export async function showRegion(root, source, rows) {
  const { facts, arrays } = source;
  if (rows.length === 0) {
    root.replaceChildren(words("No image lies in there."));
    return;
  }
  const meanCode = new Float32Array(facts.n_codes);
  for (const row of rows) {
    for (let i = 0; i < facts.n_codes; i += 1) meanCode[i] += arrays.codes[row * facts.n_codes + i] / rows.length;
  }
  const [{ mean, spread }, decoded] = await Promise.all([source.region(rows), source.decode(meanCode)]);
  const counts = new Map();
  rows.forEach((row) => counts.set(arrays.labels[row], (counts.get(arrays.labels[row]) ?? 0) + 1));
  const table = document.createElement("table");
  [...counts.entries()]
    .sort(([, a], [, b]) => b - a)
    .slice(0, 12)
    .forEach(([label, count]) => {
      const line = table.insertRow();
      const head = document.createElement("th");
      head.scope = "row";
      head.textContent = facts.names[label] ?? "images";
      line.append(head);
      line.insertCell().textContent = `${count} (${Math.round((100 * count) / rows.length)} %)`;
    });
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Download codes (CSV)";
  button.addEventListener("click", () => download(new Blob([table_(source, rows)], { type: "text/csv" }), "region.csv"));
  const items = [
    [mean, "average"],
    [spread, "spread (2 s.d.)"],
    [decoded, "average code, decoded"],
  ];
  root.replaceChildren(words(`${rows.length.toLocaleString("en")} images`), strip(items, facts.shape, "strip wide"), table, button);
}

/** Rows, labels and codes as CSV. */
function table_({ facts, arrays }, rows) {
  const quoted = (text) => `"${text.replaceAll('"', '""')}"`;
  const head = ["row", "label", ...Array.from({ length: facts.n_codes }, (_, i) => `code${i}`)].join(",");
  const lines = rows.map((row) => {
    const code = arrays.codes.subarray(row * facts.n_codes, (row + 1) * facts.n_codes);
    return [row, quoted(facts.names[arrays.labels[row]] ?? ""), ...code].join(",");
  });
  return `${[head, ...lines].join("\n")}\n`;
}

function words(text) {
  const made = document.createElement("p");
  made.textContent = text;
  return made;
}
