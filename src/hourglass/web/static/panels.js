// The smaller panels: labels, sliders, a walk, a region.

import { download, strip } from "./pictures.js";

const N_FRAMES = 12;
const MOST_LABELS = 12; // in a region's table

/** Buttons that show and hide the dots of a label, and of all; `changed()` after each. */
export function fillLegend(root, classes, colours, scatter, changed) {
  const buttons = classes.map((name, label) => {
    const button = buttonOf(name, () => {
      scatter.shown[label] = 1 - scatter.shown[label];
      refresh();
    });
    button.style.setProperty("--dot", `rgb(${colours[label].join(" ")})`);
    button.className = "label";
    return button;
  });
  const refresh = () => {
    buttons.forEach((button, label) => button.setAttribute("aria-pressed", String(scatter.shown[label] === 1)));
    changed();
  };
  const setAll = (value) => () => {
    scatter.shown.fill(value);
    refresh();
  };
  const ends = classes.length > 1 ? [buttonOf("All", setAll(1)), buttonOf("None", setAll(0))] : [];
  root.replaceChildren(...buttons, ...ends);
  refresh();
}

/** A slider for every latent dimension, three standard deviations in both directions; `moved(number, value)`. */
export class Sliders {
  constructor(root, codes, mean, moved) {
    const n = mean.length;
    const squares = new Float64Array(n);
    codes.forEach((value, i) => {
      squares[i % n] += (value - mean[i % n]) ** 2;
    });
    this.lines = Array.from(mean, (middle, i) => {
      const reach = 3 * Math.sqrt((squares[i] * n) / codes.length) || 1;
      const [label, words, input, value] = ["label", "span", "input", "output"].map((name) => document.createElement(name));
      words.textContent = i + 1;
      Object.assign(input, { type: "range", min: middle - reach, max: middle + reach, step: reach / 100, value: middle });
      input.setAttribute("aria-label", `Number ${i + 1} of the code`);
      input.addEventListener("input", () => moved(i, input.valueAsNumber));
      label.append(words, input, value);
      return { label, input, value };
    });
    root.replaceChildren(...this.lines.map(({ label }) => label));
  }

  set(code) {
    this.lines.forEach(({ input, value }, i) => {
      if (input !== document.activeElement || Math.abs(input.valueAsNumber - code[i]) > input.step) input.value = code[i];
      value.textContent = code[i].toFixed(2);
    });
  }
}

/** A film strip of the way from one place to another; `lift(places)` gives codes. Gives what to say of it. */
export async function showWalk(root, source, lift, [x1, y1], [x2, y2], isCurrent) {
  const shares = Array.from({ length: N_FRAMES }, (_, i) => i / (N_FRAMES - 1));
  const places = Float32Array.from(shares.flatMap((share) => [x1 + share * (x2 - x1), y1 + share * (y2 - y1)]));
  const pictures = await source.decode(lift(places));
  const items = shares.map((share, i) => [pictures.subarray(i * source.size, (i + 1) * source.size), `${Math.round(100 * share)} %`]);
  if (isCurrent()) root.replaceChildren(strip(items, source.facts.shape));
  return `A walk of ${N_FRAMES} pictures from ${x1.toFixed(2)}, ${y1.toFixed(2)} to ${x2.toFixed(2)}, ${y2.toFixed(2)}.`;
}

/** Average, spread and labels of the images in `rows`. Gives what to say of them. */
export async function showRegion(root, source, rows, isCurrent) {
  const { facts } = source;
  if (rows.length === 0) {
    root.replaceChildren(paragraph("No image lies in there."));
    return "No image lies in there.";
  }
  const [{ mean, spread }, decoded] = await Promise.all([source.region(rows), source.decode(meanCode(source, rows))]);
  const counts = counted(source, rows);
  const count = `${rows.length.toLocaleString("en")} images`;
  const items = [
    [mean, "average"],
    [spread, "spread (2 s.d.)"],
    [decoded, "average code, decoded"],
  ];
  const save = buttonOf("Download codes (CSV)", () => download(new Blob([toCsv(source, rows)], { type: "text/csv" }), "region.csv"));
  if (isCurrent()) root.replaceChildren(paragraph(count), strip(items, facts.shape, "strip wide"), tableOf(counts, rows.length), save);
  return counts.length > 0 ? `${count}, most of them ${counts[0][0]}.` : `${count}.`;
}

function meanCode({ facts, arrays }, rows) {
  const sums = new Float64Array(facts.n_codes);
  for (const row of rows) {
    for (let i = 0; i < facts.n_codes; i += 1) sums[i] += arrays.codes[row * facts.n_codes + i];
  }
  return Float32Array.from(sums, (sum) => sum / rows.length);
}

/** [[label, how many of `rows`], …], the most first. */
function counted({ facts, arrays }, rows) {
  if (facts.classes.length === 0) return [];
  const counts = new Uint32Array(facts.classes.length);
  for (const row of rows) counts[arrays.labels[row]] += 1;
  const pairs = facts.classes.map((name, label) => [name, counts[label]]);
  return pairs.filter(([, count]) => count > 0).sort(([, a], [, b]) => b - a);
}

function tableOf(counts, total) {
  const table = document.createElement("table");
  for (const [name, count] of counts.slice(0, MOST_LABELS)) {
    const line = table.insertRow();
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = name;
    line.append(head);
    line.insertCell().textContent = `${count} (${Math.round((100 * count) / total)} %)`;
  }
  return table;
}

/** Names, labels and codes of the images in `rows`. */
function toCsv({ facts, arrays }, rows) {
  const quoted = (text) => `"${text.replaceAll('"', '""')}"`;
  const head = ["image", "label", ...Array.from({ length: facts.n_codes }, (_, i) => `number${i + 1}`)].join(",");
  const lines = rows.map((row) => {
    const code = arrays.codes.subarray(row * facts.n_codes, (row + 1) * facts.n_codes);
    return [quoted(facts.names[row]), quoted(facts.classes[arrays.labels[row]] ?? ""), ...code].join(",");
  });
  return `${[head, ...lines].join("\n")}\n`;
}

function buttonOf(text, act) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = text;
  button.addEventListener("click", act);
  return button;
}

function paragraph(text) {
  const made = document.createElement("p");
  made.textContent = text;
  return made;
}
