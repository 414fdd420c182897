// The page: what is looked at, and who is told of it.

import { Chosen, nameOf } from "./chosen.js";
import { latest } from "./latest.js";
import { Manifold } from "./manifold.js";
import { Numbers } from "./numbers.js";
import { Pad } from "./pad.js";
import { fillLegend, showRegion, showWalk, Sliders } from "./panels.js";
import { palette, show } from "./pictures.js";
import { LearnedPlane, LinearPlane, planeOfNumbers } from "./planes.js";
import { Scatter } from "./scatter.js";
import { openSource } from "./source.js";
import { Stage } from "./stage.js";

const at = (id) => document.getElementById(id);

function fault(error) {
  const box = at("fault");
  box.textContent = error.message;
  box.hidden = false;
  clearTimeout(box.timer);
  box.timer = setTimeout(() => {
    box.hidden = true;
  }, 8000);
}

class Page {
  constructor(source) {
    this.source = source;
    const { facts, arrays } = source;
    this.mean = arrays.mean;
    this.through = arrays.mean.slice(); // the code that a plane of more numbers than two passes through
    this.code = this.through;
    this.colours = palette(facts.names.length);
    this.stage = new Stage(at("stage"), {
      look: (x, y) => this.look(x, y),
      choose: (row) => this.choose(row).catch(fault),
      walk: (from, to) => showWalk(at("walk-body"), source, (places) => this.lift(places), from, to).catch(fault),
      lasso: (polygon) => showRegion(at("region-body"), source, this.stage.scatter.inside(polygon)).catch(fault),
    });
    this.draw = latest(async (code) => this.paint(await source.decode(code)));
    this.sliders = new Sliders(at("sliders"), arrays.codes, arrays.mean, (number, value) => this.slide(number, value));
    this.chosen = new Chosen(at("chosen-body"), source, (row) => this.choose(row).catch(fault));
    this.pad = new Pad(at("draw"), source, (pixels, title) => this.analyse(pixels, title).catch(fault), fault);
    this.numbers = new Numbers(at("numbers"), source, (text) => this.say(text), fault);
    at("facts").textContent =
      `${facts.n_images.toLocaleString("en")} images of ${facts.title}, in codes of ${facts.n_codes} ${facts.n_codes === 1 ? "number" : "numbers"} by ${facts.model}` +
      (facts.bypasses_code ? "; this network passes detail beside its codes, and the decoder alone does without" : "");
    at("fit").checked = facts.shape[0] === 28 && facts.shape[1] === 28;
    this.#controls();
    this.setPlane(facts.n_codes > 2 ? "principal" : "numbers");
  }

  // --- planes -------------------------------------------------------------------------------------------------------------

  async setPlane(name) {
    const { arrays } = this.source;
    const n = this.mean.length;
    this.name = name;
    at("pair").hidden = name !== "numbers" || n <= 2;
    if (name === "learned") {
      at("facts").setAttribute("aria-busy", "true");
      this.learned ??= new LearnedPlane(await this.source.plane());
      at("facts").removeAttribute("aria-busy");
      if (this.name !== name) return;
      this.plane = this.learned;
    } else if (name === "principal") {
      this.plane = new LinearPlane(this.mean, [arrays.principal.subarray(0, n), arrays.principal.subarray(n)]);
    } else {
      this.plane = planeOfNumbers(new Float32Array(n), Number(at("across").value || 0), Number(at("up").value || 1));
    }
    const places = this.plane.project(arrays.codes);
    const scatter = new Scatter(n === 1 ? spread(places) : places, arrays.labels, this.colours);
    if (this.stage.scatter !== undefined) scatter.shown = this.stage.scatter.shown;
    fillLegend(at("legend"), this.source.facts.names, this.colours, scatter, () => this.stage.repaint("points"));
    const pave = (some) => (this.source.decoder ? this.source.decodeNow(this.lift(some)) : this.source.decode(this.lift(some)));
    const manifold = new Manifold(pave, this.source.facts.shape, () => this.stage.repaint("grid"));
    this.stage.set(scatter, manifold);
    const [x, y] = this.plane.project(this.code);
    this.stage.mark([x, y]);
    this.showCode(this.code);
    document.documentElement.dataset.plane = name;
  }

  lift(places) {
    return this.plane.lift(places, this.through);
  }

  /** From now on the plane passes through `code`. */
  pass(code) {
    this.through = code.slice();
    if (code.length > 2 && this.name !== "learned") {
      this.stage.manifold.forget();
      this.stage.repaint("grid");
    }
  }

  // --- what is looked at ----------------------------------------------------------------------------------------------------

  look(x, y) {
    this.stage.mark([x, y]);
    this.showCode(this.lift(Float32Array.of(x, y)));
    this.tell(x, y);
  }

  /** Decode a code into the picture of this place: at once where the page can, else as soon as the server answers. */
  showCode(code) {
    this.code = code;
    if (this.source.decoder) this.paint(this.source.decodeNow(code));
    else this.draw(code).catch(fault);
    if (at("code").open) this.sliders.set(code);
  }

  paint(pixels) {
    show(at("live"), pixels, this.source.facts.shape);
  }

  tell(x, y) {
    const row = this.stage.scatter.nearest(x, y);
    const { names } = this.source.facts;
    const near = row < 0 ? "" : names.length > 0 ? `, nearest ${names[this.source.arrays.labels[row]]}` : `, nearest no. ${row}`;
    at("place").textContent = `${x.toFixed(2)}, ${y.toFixed(2)}${near}`;
    clearTimeout(this.telling);
    this.telling = setTimeout(() => this.say(at("place").textContent), 700); // not at every step of the way
  }

  say(text) {
    at("said").textContent = text;
  }

  slide(number, value) {
    const code = this.code.slice();
    code[number] = value;
    this.pass(code);
    this.showCode(code);
    this.stage.mark([...this.plane.project(code)]);
  }

  async choose(row) {
    const n = this.mean.length;
    const { scatter } = this.stage;
    this.stage.mark([scatter.places[2 * row], scatter.places[2 * row + 1]], row);
    const code = this.source.arrays.codes.slice(row * n, (row + 1) * n);
    this.pass(code);
    this.showCode(code);
    const name = nameOf(this.source, row);
    this.say(`Chosen: ${name}`);
    await this.chosen.show(await this.source.images([row]), name, row);
  }

  async analyse(pixels, title) {
    const shown = this.chosen.show(pixels, title);
    const { code } = await this.source.analyse(pixels);
    this.pass(code);
    this.showCode(code);
    const [x, y] = this.plane.project(code);
    this.stage.mark([x, y], -1);
    this.tell(x, y);
    await shown;
  }

  // --- controls -------------------------------------------------------------------------------------------------------------

  #controls() {
    const n = this.mean.length;
    const options = (select, entries) => select.replaceChildren(...entries.map(([value, text]) => new Option(text, value)));
    const planes = [["numbers", "two numbers of the code"], ["learned", "learned map"]];
    options(at("plane"), n > 2 ? [["principal", "principal components"], ...planes] : planes.slice(0, 1));
    at("planes").hidden = n <= 2;
    const numbers = Array.from({ length: n }, (_, i) => [i, `number ${i + 1}`]);
    for (const [id, chosen] of [["across", 0], ["up", Math.min(1, n - 1)]]) {
      options(at(id), numbers);
      at(id).value = String(chosen);
      at(id).addEventListener("change", () => this.setPlane("numbers").catch(fault));
    }
    at("plane").addEventListener("change", () => this.setPlane(at("plane").value).catch(fault));
    at("tools").addEventListener("change", (event) => {
      this.stage.tool = event.target.value;
      this.stage.trace = [];
      this.stage.repaint("overlay");
    });
    for (const name of ["points", "grid"]) {
      at(`show-${name}`).addEventListener("change", (event) => {
        this.stage.shows[name] = event.target.checked;
        this.stage.repaint(name);
      });
    }
    at("closer").addEventListener("click", () => this.stage.zoom(1.4));
    at("farther").addEventListener("click", () => this.stage.zoom(1 / 1.4));
    at("whole").addEventListener("click", () => this.stage.fit());
    at("code").addEventListener("toggle", () => this.sliders.set(this.code));
    at("centre").addEventListener("click", () => {
      this.pass(this.mean);
      this.showCode(this.mean.slice());
      this.sliders.set(this.mean);
      this.stage.mark([...this.plane.project(this.mean)], -1);
    });
  }
}

/** Places on a line, moved up and down so that they do not cover each other; the code has no such number. */
function spread(places) {
  const spreadOut = places.slice();
  let [low, high] = [Infinity, -Infinity];
  for (let i = 0; i < places.length; i += 2) [low, high] = [Math.min(low, places[i]), Math.max(high, places[i])];
  for (let i = 0; i < places.length; i += 2) {
    const turn = ((i / 2) * 0.6180339887498949) % 1; // even, and the same every time
    spreadOut[i + 1] = 0.3 * (high - low) * (turn - 0.5);
  }
  return spreadOut;
}

try {
  window.explorer = new Page(await openSource());
  document.documentElement.dataset.ready = String(Math.round(performance.now()));
} catch (error) {
  fault(error);
  throw error;
}
