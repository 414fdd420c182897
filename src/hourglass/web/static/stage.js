// The plane on the screen: three layers of canvas, and what pointers and keys do on them.

import { View } from "./view.js";

const NEAR = { mouse: 12, pen: 14, touch: 26 }; // pixels from which a click still means a dot
const STILL = 4; // pixels that a click may slip
const MOST_CORNERS = 2000; // of a lasso
const PACE = 8; // milliseconds from one look to the next, where the browser tells of moves before a frame begins

/**
 * Shows a scatter and a manifold, and calls back with places of the plane:
 * look(x, y), choose(row), walk(from, to), lasso(polygon).
 */
export class Stage {
  constructor(root, callbacks) {
    Object.assign(this, { root, callbacks, tool: "move", place: null, chosen: -1, trace: [], hovered: [-1, -1], lookedAt: 0 });
    this.view = new View();
    this.layers = Object.fromEntries(["grid", "points", "overlay"].map((name) => [name, root.querySelector(`#${name}`)]));
    this.shows = { grid: true, points: true };
    this.pointers = new Map();
    this.stale = new Set();
    this.#resize();
    new ResizeObserver(() => this.#resize()).observe(root);
    this.#listen();
  }

  /** Show another plane's dots and tiles, all of them. */
  set(scatter, manifold) {
    Object.assign(this, { scatter, manifold, trace: [] });
    this.fit();
  }

  fit() {
    this.view.fit(this.scatter.places);
    this.isFitted = true;
    this.repaint();
  }

  zoom(factor, left, top) {
    this.view.zoom(factor, left, top);
    this.isFitted = false;
    this.repaint();
  }

  move(dx, dy) {
    this.view.move(dx, dy);
    this.isFitted = false;
    this.repaint();
  }

  /** Mark a place, and perhaps the dot of a row. */
  mark(place, chosen = this.chosen) {
    Object.assign(this, { place, chosen });
    this.repaint("overlay");
  }

  repaint(...layers) {
    if (this.stale.size === 0) requestAnimationFrame(() => this.#paint());
    (layers.length > 0 ? layers : Object.keys(this.layers)).forEach((layer) => this.stale.add(layer));
  }

  #paint() {
    const stale = new Set(this.stale);
    this.stale.clear();
    if (this.scatter === undefined) return;
    for (const name of ["grid", "points"]) {
      if (!stale.has(name)) continue;
      const context = this.layers[name].getContext("2d");
      if (this.shows[name]) (name === "grid" ? this.manifold : this.scatter).paint(context, this.view, this.ratio);
      else context.clearRect(0, 0, context.canvas.width, context.canvas.height);
    }
    if (stale.has("overlay")) this.#paintOverlay();
  }

  #paintOverlay() {
    const context = this.layers.overlay.getContext("2d");
    const { scatter, view, ratio } = this;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, view.width, view.height);
    const outline = (path) => {
      for (const [width, colour] of [[4, "rgb(0 0 0 / 0.75)"], [1.75, "#fff"]]) {
        context.lineWidth = width;
        context.strokeStyle = colour;
        context.stroke(path);
      }
    };
    if (this.trace.length > 1) {
      const path = new Path2D();
      this.trace.forEach(([x, y]) => path.lineTo(...view.toScreen(x, y)));
      if (this.tool === "lasso") path.closePath();
      outline(path);
    }
    if (this.chosen >= 0) {
      const path = new Path2D();
      path.arc(...view.toScreen(scatter.places[2 * this.chosen], scatter.places[2 * this.chosen + 1]), 8, 0, 7);
      outline(path);
    }
    if (this.place !== null) {
      const [x, y] = view.toScreen(...this.place);
      const path = new Path2D();
      for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        path.moveTo(x + 4 * dx, y + 4 * dy);
        path.lineTo(x + 11 * dx, y + 11 * dy);
      }
      outline(path);
    }
  }

  #resize() {
    const { width, height } = this.root.getBoundingClientRect();
    this.ratio = Math.min(2, window.devicePixelRatio || 1);
    Object.assign(this.view, { width, height });
    for (const layer of Object.values(this.layers)) {
      Object.assign(layer, { width: Math.round(width * this.ratio), height: Math.round(height * this.ratio) });
    }
    if (this.isFitted) this.fit();
    else this.repaint();
  }

  // --- pointers ---------------------------------------------------------------------------------------------------------

  #listen() {
    const { overlay } = this.layers;
    overlay.addEventListener("pointerdown", (event) => this.#down(event));
    overlay.addEventListener("pointermove", (event) => this.#move(event));
    overlay.addEventListener("pointerrawupdate", (event) => {
      if (!this.pointers.has(event.pointerId) && event.timeStamp - this.lookedAt >= PACE) this.#hover(event);
    });
    overlay.addEventListener("pointerup", (event) => this.#up(event));
    overlay.addEventListener("pointercancel", (event) => {
      this.pointers.delete(event.pointerId);
      this.trace = [];
      this.repaint("overlay");
    });
    overlay.addEventListener("keydown", (event) => this.#key(event));
    overlay.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        const lines = event.deltaMode === 1 ? 16 : 1;
        this.zoom(Math.exp(-0.0016 * lines * event.deltaY), event.offsetX, event.offsetY);
      },
      { passive: false },
    );
  }

  #down(event) {
    if (event.button !== 0) return;
    this.layers.overlay.setPointerCapture(event.pointerId);
    const at = [event.offsetX, event.offsetY];
    this.pointers.set(event.pointerId, { at, from: at, hasMoved: false });
    this.trace = [];
    this.isPinch = this.pointers.size > 1; // until all fingers are up
    if (event.pointerType !== "mouse") this.callbacks.look(...this.view.toPlane(...at));
    if (this.tool !== "move" && !this.isPinch) this.trace = [this.view.toPlane(...at)];
  }

  #move(event) {
    const at = [event.offsetX, event.offsetY];
    const pointer = this.pointers.get(event.pointerId);
    if (pointer === undefined) {
      this.#hover(event);
      return;
    }
    const before = this.#fingers();
    const [dx, dy] = [at[0] - pointer.at[0], at[1] - pointer.at[1]];
    pointer.at = at;
    pointer.hasMoved ||= Math.hypot(at[0] - pointer.from[0], at[1] - pointer.from[1]) > STILL;
    if (!pointer.hasMoved) return;
    if (this.isPinch && this.pointers.size === 1) return;
    if (this.isPinch) {
      const after = this.#fingers();
      this.move(after.x - before.x, after.y - before.y);
      this.zoom(after.apart / before.apart, after.x, after.y);
    } else if (this.tool !== "move") {
      const place = this.view.toPlane(...at);
      if (this.tool === "walk") this.trace = [this.trace[0] ?? place, place];
      else if (this.trace.length < MOST_CORNERS) this.trace.push(place);
      this.callbacks.look(...place);
    } else if (event.pointerType === "mouse") {
      this.move(dx, dy);
    } else {
      this.callbacks.look(...this.view.toPlane(...at)); // a finger cannot point without touching: two of them move
    }
  }

  /** Look where the pointer is, unless that has been done. */
  #hover({ offsetX, offsetY, timeStamp }) {
    if (this.hovered[0] === offsetX && this.hovered[1] === offsetY) return;
    [this.hovered, this.lookedAt] = [[offsetX, offsetY], timeStamp];
    this.callbacks.look(...this.view.toPlane(offsetX, offsetY));
  }

  #up(event) {
    const pointer = this.pointers.get(event.pointerId);
    this.pointers.delete(event.pointerId);
    if (pointer === undefined || this.pointers.size > 0 || this.isPinch) return;
    if (!pointer.hasMoved) {
      this.trace = [];
      this.#choose(...this.view.toPlane(...pointer.at), NEAR[event.pointerType] ?? NEAR.mouse);
    } else if (this.tool === "walk" && this.trace.length === 2) {
      this.callbacks.walk(...this.trace);
    } else if (this.tool === "lasso" && this.trace.length > 2) {
      this.callbacks.lasso(this.trace);
    }
    this.repaint("overlay");
  }

  #choose(x, y, reach) {
    const row = this.shows.points ? this.scatter.nearest(x, y, reach / this.view.scale) : -1;
    if (row >= 0) this.callbacks.choose(row);
    else this.callbacks.look(x, y);
  }

  /** The middle of all pointers, and how far they are apart. */
  #fingers() {
    const all = [...this.pointers.values()].map(({ at }) => at);
    const [x, y] = [0, 1].map((side) => all.reduce((sum, at) => sum + at[side], 0) / all.length);
    return { x, y, apart: Math.max(1, Math.hypot(all[0][0] - x, all[0][1] - y)) };
  }

  #key(event) {
    const step = (event.shiftKey ? 60 : 12) / this.view.scale;
    const [x, y] = this.place ?? [this.view.x, this.view.y];
    const keys = {
      ArrowLeft: () => this.#go(x - step, y),
      ArrowRight: () => this.#go(x + step, y),
      ArrowUp: () => this.#go(x, y + step),
      ArrowDown: () => this.#go(x, y - step),
      Enter: () => (this.trace.length > 2 ? this.#close() : this.#choose(x, y, Infinity)),
      " ": () => this.#corner(x, y),
      "+": () => this.zoom(1.3),
      "-": () => this.zoom(1 / 1.3),
      0: () => this.fit(),
    };
    if (keys[event.key] === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    keys[event.key]();
  }

  /** By keys: a walk's beginning and end, a lasso's next corner. */
  #corner(x, y) {
    if (this.tool === "move") return;
    this.trace = [...(this.tool === "walk" ? this.trace.slice(-1) : this.trace), [x, y]];
    if (this.tool === "walk" && this.trace.length === 2) this.callbacks.walk(...this.trace);
    this.repaint("overlay");
  }

  #close() {
    if (this.tool === "lasso") this.callbacks.lasso(this.trace);
  }

  /** Look at a place, and bring it onto the screen. */
  #go(x, y) {
    const [left, top] = this.view.toScreen(x, y);
    const [inX, inY] = [Math.min(this.view.width - 20, Math.max(20, left)), Math.min(this.view.height - 20, Math.max(20, top))];
    if (inX !== left || inY !== top) this.move(inX - left, inY - top);
    this.callbacks.look(x, y);
  }
}
