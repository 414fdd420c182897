// All codes as dots, and which of them lie where.

const CELLS_A_SIDE = 256;

/** Dots at `places` (n · 2), each of the colour of its label. */
export class Scatter {
  constructor(places, labels, colours) {
    Object.assign(this, { places, labels, colours });
    this.shown = new Uint8Array(Math.max(1, colours.length)).fill(1);
    this.#sort();
  }

  get n() {
    return this.labels.length;
  }

  isShown(row) {
    return this.shown[this.labels[row]] === 1;
  }

  /** Paint the dots on `context`, whose canvas has `ratio` pixels for each of the view's. */
  paint(context, view, ratio) {
    const { width, height } = context.canvas;
    const image = context.createImageData(width, height);
    const pixels = new Uint32Array(image.data.buffer);
    const [reach, mask] = disc(ratio * this.radius(view));
    const [scale, x0, y0] = [ratio * view.scale, ratio * (view.width / 2) - ratio * view.scale * view.x, ratio * (view.height / 2) + ratio * view.scale * view.y];
    const inks = this.colours.map(([red, green, blue]) => (blue << 16) | (green << 8) | red);
    for (let row = 0; row < this.n; row += 1) {
      if (this.shown[this.labels[row]] === 0) continue;
      const left = Math.round(x0 + scale * this.places[2 * row]);
      const top = Math.round(y0 - scale * this.places[2 * row + 1]);
      if (left < reach || top < reach || left >= width - reach || top >= height - reach) continue;
      const ink = inks[this.labels[row]];
      for (let i = 0; i < mask.length; i += 3) {
        const at = (top + mask[i + 1]) * width + left + mask[i];
        const alpha = mask[i + 2];
        if (alpha >= pixels[at] >>> 24) pixels[at] = ((alpha << 24) | ink) >>> 0; // no blending: the upper dot covers
      }
    }
    context.putImageData(image, 0, 0);
  }

  /** Of a dot, in the view's pixels: small where they are many, larger as one comes closer. */
  radius(view) {
    const area = view.width * view.height;
    const close = view.scale / view.fitted;
    return Math.min(6, Math.max(0.9, 0.28 * Math.sqrt(area / this.n)) * Math.min(4, Math.max(1, Math.sqrt(close))));
  }

  /** The row of the shown dot nearest to (x, y), within `most` of the plane's units; -1 if there is none. */
  nearest(x, y, most = Infinity) {
    const [column, line] = [this.#column(x), this.#line(y)];
    let [best, bestDistance] = [-1, most * most];
    for (let ring = 0; ring < CELLS_A_SIDE; ring += 1) {
      const reached = (ring - 1) * Math.min(this.cell[0], this.cell[1]);
      if (ring > 1 && reached * reached > bestDistance) break;
      for (let r = Math.max(0, line - ring); r <= Math.min(CELLS_A_SIDE - 1, line + ring); r += 1) {
        const isEdge = Math.abs(r - line) === ring;
        for (let c = column - ring; c <= column + ring; c += isEdge || ring === 0 ? 1 : 2 * ring) {
          if (c < 0 || c >= CELLS_A_SIDE) continue;
          const cell = r * CELLS_A_SIDE + c;
          for (let i = this.starts[cell]; i < this.starts[cell + 1]; i += 1) {
            const row = this.sorted[i];
            const distance = (this.places[2 * row] - x) ** 2 + (this.places[2 * row + 1] - y) ** 2;
            if (distance < bestDistance && this.isShown(row)) [best, bestDistance] = [row, distance];
          }
        }
      }
    }
    return best;
  }

  /** Rows of the shown dots inside a polygon of places [[x, y], …]. */
  inside(polygon) {
    const [xs, ys] = [polygon.map(([x]) => x), polygon.map(([, y]) => y)];
    const [left, right, bottom, top] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    const rows = [];
    for (let row = 0; row < this.n; row += 1) {
      const [x, y] = [this.places[2 * row], this.places[2 * row + 1]];
      if (x >= left && x <= right && y >= bottom && y <= top && this.isShown(row) && isInside(x, y, polygon)) rows.push(row);
    }
    return rows;
  }

  /** Sort the rows by the cell of a grid that they lie in. */
  #sort() {
    const { places } = this;
    this.low = [Infinity, Infinity];
    const high = [-Infinity, -Infinity];
    for (let i = 0; i < places.length; i += 1) {
      this.low[i % 2] = Math.min(this.low[i % 2], places[i]);
      high[i % 2] = Math.max(high[i % 2], places[i]);
    }
    this.cell = [0, 1].map((side) => (high[side] - this.low[side]) / CELLS_A_SIDE || 1);
    const cells = new Uint32Array(this.n);
    this.starts = new Uint32Array(CELLS_A_SIDE ** 2 + 1);
    for (let row = 0; row < this.n; row += 1) {
      cells[row] = this.#line(places[2 * row + 1]) * CELLS_A_SIDE + this.#column(places[2 * row]);
      this.starts[cells[row] + 1] += 1;
    }
    for (let cell = 0; cell < CELLS_A_SIDE ** 2; cell += 1) this.starts[cell + 1] += this.starts[cell];
    const next = this.starts.slice();
    this.sorted = new Uint32Array(this.n);
    for (let row = 0; row < this.n; row += 1) {
      this.sorted[next[cells[row]]] = row;
      next[cells[row]] += 1;
    }
  }

  #column = (x) => Math.min(CELLS_A_SIDE - 1, Math.max(0, Math.floor((x - this.low[0]) / this.cell[0])));
  #line = (y) => Math.min(CELLS_A_SIDE - 1, Math.max(0, Math.floor((y - this.low[1]) / this.cell[1])));
}

/** [reach, (dx, dy, alpha) of each pixel of a disc] */
function disc(radius) {
  const reach = Math.ceil(radius);
  const mask = [];
  for (let dy = -reach; dy <= reach; dy += 1) {
    for (let dx = -reach; dx <= reach; dx += 1) {
      const cover = Math.min(1, radius + 0.5 - Math.hypot(dx, dy));
      if (cover > 0.1) mask.push(dx, dy, Math.round(255 * cover));
    }
  }
  return [reach, mask];
}

/** Whether a ray from (x, y) to the right crosses the polygon's edges an odd number of times. */
function isInside(x, y, polygon) {
  let isIn = false;
  polygon.forEach(([x1, y1], i) => {
    const [x2, y2] = polygon[(i || polygon.length) - 1];
    if (y1 > y !== y2 > y && x < ((x2 - x1) * (y - y1)) / (y2 - y1) + x1) isIn = !isIn;
  });
  return isIn;
}
