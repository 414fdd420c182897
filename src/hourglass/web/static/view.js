// The part of the plane that is on the screen.

const [FARTHEST, CLOSEST] = [1 / 50, 1e4]; // of the scale that shows all

/** Pixels = centre of the stage + scale · (place - centre); y grows upward in the plane. */
export class View {
  constructor() {
    Object.assign(this, { x: 0, y: 0, scale: 1, fitted: 1, width: 1, height: 1 });
  }

  toScreen(x, y) {
    return [this.width / 2 + this.scale * (x - this.x), this.height / 2 - this.scale * (y - this.y)];
  }

  toPlane(left, top) {
    return [this.x + (left - this.width / 2) / this.scale, this.y - (top - this.height / 2) / this.scale];
  }

  move(dx, dy) {
    this.x -= dx / this.scale;
    this.y += dy / this.scale;
  }

  /** `factor` times as close, with the place at (left, top) kept where it is. */
  zoom(factor, left = this.width / 2, top = this.height / 2) {
    const [x, y] = this.toPlane(left, top);
    this.scale = Math.min(CLOSEST * this.fitted, Math.max(FARTHEST * this.fitted, this.scale * factor));
    const [nowX, nowY] = this.toPlane(left, top);
    this.x += x - nowX;
    this.y += y - nowY;
  }

  /** All but the outermost of `places`, with a margin. */
  fit(places) {
    const [left, right] = middle(places, 0);
    const [bottom, top] = middle(places, 1);
    this.x = (left + right) / 2;
    this.y = (bottom + top) / 2;
    this.scale = this.fitted = 0.86 * Math.min(this.width / (right - left || 1), this.height / (top - bottom || 1));
  }
}

/** The box that holds 99.6 % of the places on this axis; of many, every so many are asked. */
function middle(places, side) {
  const step = Math.max(1, Math.floor(places.length / 2 / 5000));
  const some = [];
  for (let row = 0; 2 * row < places.length; row += step) some.push(places[2 * row + side]);
  some.sort((a, b) => a - b);
  const cut = Math.floor(0.002 * some.length);
  return [some[cut], some[some.length - 1 - cut]];
}
