// The page: what is looked at, and who is told of it.

import { Chosen, nameOf } from "./chosen.js";
import { latest, turns } from "./latest.js";
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
const PATIENCE = 8000; // milliseconds that a fault is shown, unless one has done something since

function fault(error) {
  at("fault-words").textContent = error.message;
  at("fault").hidden = false;
  clearTimeout(fault.timer);
  fault.timer = setTimeout(calm, PATIENCE);
}

function calm() {
  at("fault").hidden = true;
}

class Page {
  constructor(source) {
    this.source = source;
    const { facts, arrays } = source;
    this.mean = arrays.mean;
    this.through = arrays.mean.slice(); // the code that a plane of more numbers than two passes through
    this.code = this.through;
    this.pair = [0, Math.min(1, facts.n_codes - 1)];
    this.colours = palette(facts.classes.length);
    [this.planes, this.choices, this.walks, this.regions] = [turns(), turns(), turns(), turns()];
    this.stage = new Stage(at("stage"), {
      look: (x, y) => this.look(x, y),
      choose: (row) => this.choose(row).catch(fault),
      walk: (from, to) => this.walk(from, to).catch(fault),
      lasso: (polygon) => this.region(polygon).catch(fault),
    });
    this.draw = latest(async (code) => this.paint(await source.decode(code)), fault);
    this.sliders = new Sliders(at("sliders"), arrays.codes, arrays.mean, (number, value) => this.slide(number, value));
    this.chosen = new Chosen(at("chosen"), source, (row) => this.choose(row).catch(fault));
    const analyse = latest(({ pixels, title }) => this.analyse(pixels, title), fault);
    this.pad = new Pad(at("draw"), source, (pixels, title) => (pixels === null ? this.forget() : analyse({ pixels, title })), fault);
    this.numbers = new Numbers(at("numbers"), source, (text) => this.say(text), fault);
    at("facts").textContent =
      `${facts.n_images.toLocaleString("en")} images of ${facts.title}, in ${facts.n_codes} latent ${facts.n_codes === 1 ? "dimension" : "dimensions"} by ${facts.model}` +
      (facts.bypasses_code ? "; this network passes detail beside its codes, and the decoder alone does without" : "");
    at("fit").checked = facts.shape[0] === 28 && facts.shape[1] === 28;
    this.#controls();
  }

  // --- planes -------------------------------------------------------------------------------------------------------------

  async setPlane(name) {
    const isCurrent = this.planes();
    try {
      const plane = await this.#plane(name);
      if (isCurrent()) this.#show(name, plane);
    } catch (error) {
      if (isCurrent()) at("plane").value = this.name;
      throw error;
    } finally {
      if (isCurrent()) at("waiting").textContent = "";
    }
  }

  async #plane(name) {
    const { arrays } = this.source;
    const n = this.mean.length;
    if (name === "principal") return new LinearPlane(this.mean, [arrays.principal.subarray(0, n), arrays.principal.subarray(n)]);
    if (name === "numbers") return planeOfNumbers(new Float32Array(n), ...this.pair);
    if (this.learned === undefined) at("waiting").textContent = "Learning the map (once) …";
    this.learned ??= new LearnedPlane(await this.source.plane());
    return this.learned;
  }

  #show(name, plane) {
    const { facts, arrays } = this.source;
    Object.assign(this, { name, plane });
    at("pair").hidden = name !== "numbers" || facts.n_codes <= 2;
    at("learned-note").hidden = name !== "learned";
    const places = plane.project(arrays.codes);
    const scatter = new Scatter(facts.n_codes === 1 ? spread(places) : places, arrays.labels, this.colours);
    if (this.stage.scatter !== undefined) scatter.shown = this.stage.scatter.shown;
    fillLegend(at("legend"), facts.classes, this.colours, scatter, () => this.stage.repaint("points"));
    const pave = (some) => (this.source.decoder ? this.source.decodeNow(this.lift(some)) : this.source.decode(this.lift(some)));
    this.stage.set(scatter, new Manifold(pave, facts.shape, () => this.stage.repaint("grid"), fault));
    this.stage.mark([...plane.project(this.code)]);
    this.showCode(this.code);
    document.documentElement.dataset.plane = name;
  }

  lift(places) {
    return this.plane.lift(places, this.through);
  }

  /** From now on the plane passes through `code`; a learned map is what it is. */
  pass(code) {
    this.through = code.slice();
    if (code.length > 2 && this.plane !== this.learned) {
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
    else this.draw(code);
    if (at("code").open) this.sliders.set(code);
  }

  paint(pixels) {
    show(at("live"), pixels, this.source.facts.shape);
  }

  tell(x, y) {
    const row = this.stage.scatter.nearest(x, y);
    const { classes, names } = this.source.facts;
    const near = row < 0 ? "" : `, nearest ${classes.length > 0 ? classes[this.source.arrays.labels[row]] : names[row]}`;
    at("place").textContent = `${x.toFixed(2)}, ${y.toFixed(2)}${near}`;
    clearTimeout(this.telling);
    this.telling = setTimeout(() => this.say(at("place").textContent), 700); // not at every step of the way
  }

  say(text) {
    clearTimeout(this.telling);
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
    const isCurrent = this.choices();
    const n = this.mean.length;
    const { scatter } = this.stage;
    this.stage.mark([scatter.places[2 * row], scatter.places[2 * row + 1]], row);
    const code = this.source.arrays.codes.slice(row * n, (row + 1) * n);
    this.pass(code);
    this.showCode(code);
    const name = nameOf(this.source, row);
    this.say(`Chosen: ${name}`);
    const pixels = await this.source.images([row]);
    const analysed = await this.source.analyse(pixels);
    if (isCurrent()) await this.chosen.show(pixels, analysed, name, row, isCurrent);
  }

  async analyse(pixels, title) {
    const isCurrent = this.choices();
    const analysed = await this.source.analyse(pixels);
    if (!isCurrent()) return;
    this.pass(analysed.code);
    this.showCode(analysed.code.slice());
    const [x, y] = this.plane.project(analysed.code);
    this.stage.mark([x, y], -1);
    this.tell(x, y);
    this.say(`${title}: ${at("place").textContent}`);
    await this.chosen.show(pixels, analysed, title, -1, isCurrent);
  }

  /** The drawing is gone. */
  forget() {
    this.choices();
    if (this.stage.chosen < 0) this.chosen.clear();
  }

  async walk(from, to) {
    const isCurrent = this.walks();
    const said = await showWalk(at("walk-body"), this.source, (places) => this.lift(places), from, to, isCurrent);
    if (isCurrent()) this.say(said);
  }

  async region(polygon) {
    const isCurrent = this.regions();
    const said = await showRegion(at("region-body"), this.source, this.stage.scatter.inside(polygon), isCurrent);
    if (isCurrent()) this.say(said);
  }

  // --- controls -------------------------------------------------------------------------------------------------------------

  #controls() {
    const n = this.mean.length;
    const options = (select, entries) => select.replaceChildren(...entries.map(([value, text]) => new Option(text, value)));
    const planes = [["numbers", "two latent dimensions"], ["learned", "learned map"]];
    options(at("plane"), n > 2 ? [["principal", "principal components"], ...planes] : planes.slice(0, 1));
    at("planes").hidden = n <= 2;
    const numbers = Array.from({ length: n }, (_, i) => [i, `number ${i + 1}`]);
    const selects = [at("across"), at("up")];
    selects.forEach((select, side) => {
      options(select, numbers);
      select.value = String(this.pair[side]);
      select.addEventListener("change", () => {
        const before = this.pair[side];
        this.pair[side] = Number(select.value);
        if (this.pair[1 - side] === this.pair[side]) this.pair[1 - side] = before; // a plane has two directions
        selects.forEach((one, which) => {
          one.value = String(this.pair[which]);
        });
        this.setPlane("numbers").catch(fault);
      });
    });
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
      this.stage.mark([...this.plane.project(this.mean)], -1);
    });
    document.addEventListener("pointerdown", calm, true);
    document.addEventListener("keydown", calm, true);
  }
}

/** Places on a line, moved up and down so that they do not cover each other; the code has no such number. */
function spread(places) {
  const spreadOut = places.slice();
  let [low, high] = [Infinity, -Infinity];
  for (let i = 0; i < places.length; i += 2) [low, high] = [Math.min(low, places[i]), Math.max(high, places[i])];
  for (let i = 0; i < places.length; i += 2) {
    const turn = ((i / 2) * 0.6180339887498949) % 1; // even, and the same every time
    spreadOut[i + 1] = 0.3 * (high - low || 1) * (turn - 0.5);
  }
  return spreadOut;
}

try {
  window.explorer = new Page(await openSource());
  await window.explorer.setPlane(window.explorer.source.facts.n_codes > 2 ? "principal" : "numbers");
  document.documentElement.dataset.ready = String(Math.round(performance.now()));
} catch (error) {
  at("facts").textContent = error.message;
  throw error;
}
