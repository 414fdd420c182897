// A network as the steps and weights that networks/description.py lists, run in plain JavaScript.

/** Runs samples, one after the other in a Float32Array, through the steps of `description`. */
export class Network {
  constructor({ shape, steps }, arrays) {
    this.steps = [];
    let current = shape;
    const kept = []; // by `keep`, for `beside`
    for (const step of steps) {
      const { run, shape: next } = KINDS[step.kind](step, current, arrays, kept);
      this.steps.push(run);
      current = next;
    }
    this.inputSize = size(shape);
    this.outputShape = current;
    this.outputSize = size(current);
  }

  /** Float32Array (n · inputSize) -> Float32Array (n · outputSize); `inputs` stay as they are. */
  run(inputs) {
    const n = inputs.length / this.inputSize;
    return this.steps.reduce((values, step) => step(values, n), inputs.slice());
  }
}

const size = (shape) => shape.reduce((product, side) => product * side, 1);

// kind: (step, shape that comes, arrays, values kept) -> {run: (values, n) -> values, shape that goes}; `run` may write into `values`.
const KINDS = {
  linear: (step, shape, arrays) => {
    const [weight, bias] = [arrays[step.weight], arrays[step.bias]];
    const rows = size(shape.slice(0, -1)); // along the last axis
    return { run: (values, n) => linear(values, n * rows, weight, bias), shape: [...shape.slice(0, -1), bias.length] };
  },
  convolution: (step, [channels, height, width], arrays) => {
    const [weight, bias] = [arrays[step.weight], arrays[step.bias]];
    const kernel = Math.sqrt(weight.length / bias.length / channels);
    const out = (side) => Math.floor((side + 2 * step.padding - kernel) / step.stride) + 1;
    const geometry = { channels, height, width, kernel, stride: step.stride, padding: step.padding };
    const shape = [bias.length, out(height), out(width)];
    return { run: (values, n) => convolution(values, n, weight, bias, geometry, shape), shape };
  },
  shuffle: ({ height, width }, shape) => {
    const goes = [shape[0] / 4, height, width];
    return { run: (values, n) => shuffle(values, n, shape, goes), shape: goes };
  },
  reshape: (step, shape) => ({ run: (values) => values, shape: step.shape[0] === -1 ? [size(shape)] : [...step.shape, ...shape.slice(1)] }),
  first: ({ count }, [width]) => ({ run: (values, n) => first(values, n, width, count), shape: [count] }),
  keep: (_, shape, arrays, kept) => ({ run: (values) => (kept.push(values.slice()), values), shape }),
  beside: (step, [width], arrays, kept) => {
    const [weight, bias] = [arrays[step.weight], arrays[step.bias]];
    const run = (values, n) => beside(values, linear(kept.pop(), n, weight, bias), n, width, bias.length);
    return { run, shape: [width + bias.length] };
  },
  affine: ({ scale, offset }, shape) => pointwise(shape, (x) => scale * x + offset),
  leaky_relu: ({ slope }, shape) => pointwise(shape, (x) => (x < 0 ? slope * x : x)),
  relu: (_, shape) => pointwise(shape, (x) => (x < 0 ? 0 : x)),
  tanh: (_, shape) => pointwise(shape, Math.tanh),
  sigmoid: (_, shape) => pointwise(shape, (x) => 1 / (1 + Math.exp(-x))),
};

function pointwise(shape, f) {
  const run = (values) => {
    for (let i = 0; i < values.length; i += 1) values[i] = f(values[i]);
    return values;
  };
  return { run, shape };
}

function beside(values, others, n, width, more) {
  const made = new Float32Array(n * (width + more));
  for (let sample = 0; sample < n; sample += 1) {
    made.set(values.subarray(sample * width, (sample + 1) * width), sample * (width + more));
    made.set(others.subarray(sample * more, (sample + 1) * more), sample * (width + more) + width);
  }
  return made;
}

function linear(values, n, weight, bias) {
  const outs = bias.length;
  const ins = weight.length / outs;
  const made = new Float32Array(n * outs);
  let sample = 0;
  for (; sample + 4 <= n; sample += 4) {
    // four at once: each weight is read once for all of them
    const [a, b, c, d] = [0, 1, 2, 3].map((k) => values.subarray((sample + k) * ins, (sample + k + 1) * ins));
    for (let out = 0; out < outs; out += 1) {
      const row = out * ins;
      let [p, q, r, s] = [bias[out], bias[out], bias[out], bias[out]];
      for (let i = 0; i < ins; i += 1) {
        const w = weight[row + i];
        p += w * a[i];
        q += w * b[i];
        r += w * c[i];
        s += w * d[i];
      }
      const at = sample * outs + out;
      made[at] = p;
      made[at + outs] = q;
      made[at + 2 * outs] = r;
      made[at + 3 * outs] = s;
    }
  }
  for (; sample < n; sample += 1) {
    const a = values.subarray(sample * ins, (sample + 1) * ins);
    for (let out = 0; out < outs; out += 1) {
      const row = out * ins;
      let [even, odd] = [bias[out], 0]; // two sums: neither waits for the other
      let i = 0;
      for (; i + 1 < ins; i += 2) {
        even += weight[row + i] * a[i];
        odd += weight[row + i + 1] * a[i + 1];
      }
      if (i < ins) even += weight[row + i] * a[i];
      made[sample * outs + out] = even + odd;
    }
  }
  return made;
}

function convolution(values, n, weight, bias, { channels, height, width, kernel, stride, padding }, [outs, rows, columns]) {
  const made = new Float32Array(n * outs * rows * columns);
  const sum = new Float64Array(rows * columns); // rounded to float32 once, not at every addition
  for (let sample = 0; sample < n; sample += 1) {
    for (let out = 0; out < outs; out += 1) {
      sum.fill(bias[out]);
      for (let channel = 0; channel < channels; channel += 1) {
        const map = (sample * channels + channel) * height * width;
        for (let tap = 0; tap < kernel * kernel; tap += 1) {
          const w = weight[(out * channels + channel) * kernel * kernel + tap];
          if (w === 0) continue; // of an enlarging convolution five in nine
          const [dy, dx] = [Math.floor(tap / kernel) - padding, (tap % kernel) - padding];
          const left = Math.max(0, Math.ceil(-dx / stride));
          const right = Math.min(columns, Math.floor((width - 1 - dx) / stride) + 1);
          for (let row = 0; row < rows; row += 1) {
            const y = row * stride + dy;
            if (y < 0 || y >= height) continue;
            const from = map + y * width + dx;
            for (let column = left; column < right; column += 1) {
              sum[row * columns + column] += w * values[from + column * stride];
            }
          }
        }
      }
      made.set(sum, (sample * outs + out) * rows * columns);
    }
  }
  return made;
}

function shuffle(values, n, [, rows, columns], [channels, height, width]) {
  const made = new Float32Array(n * channels * height * width);
  for (let map = 0; map < n * channels; map += 1) {
    for (let y = 0; y < height; y += 1) {
      for (let x = 0; x < width; x += 1) {
        const from = 4 * map + 2 * (y % 2) + (x % 2);
        made[(map * height + y) * width + x] = values[(from * rows + (y >> 1)) * columns + (x >> 1)];
      }
    }
  }
  return made;
}

function first(values, n, width, count) {
  const made = new Float32Array(n * count);
  for (let sample = 0; sample < n; sample += 1) made.set(values.subarray(sample * width, sample * width + count), sample * count);
  return made;
}
