"""Drawing of a network by its tensors: input x, encoder, code y, decoder, output z."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from hourglass.networks import describe
from hourglass.networks.base import Network
from hourglass.plot.figures import COLOURS, MUTED

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from hourglass.images import Array

_PART_COLOURS = {"encoder": COLOURS[0], "decoder": COLOURS[2]}
_CODE_COLOUR = COLOURS[1]
_MAX_HEIGHT = 2.3  # of a bar; all lengths are in inches
_BAR_WIDTH = 0.075
_LINE_HEIGHT = 0.145  # of small text
_CHARACTER_WIDTH = 0.066  # of small text, an upper estimate
_SMALL, _NORMAL = 7.0, 8.5  # font sizes in points


@dataclass(frozen=True)
class _Step:
    """A step from one tensor to the next: the layers and the output shape."""

    part: str
    labels: tuple[str, ...]
    shape: tuple[int, ...]
    weights: int

    @property
    def note(self) -> str:
        return f"{self.weights:,} weights" if self.weights else ""


def structure(network: Network, shape: tuple[int, ...]) -> Figure:
    """Draw the layers for one sample of `shape`: a bar for each tensor, a trapezoid for each layer in between.

    The height of a bar is the size of the tensor to the power of 0.4, so that two values are still visible. Activations,
    normalisation, pooling and reshaping belong to the layer before, upsampling to the layer after.

    Parameters
    ----------
    network : Network
    shape : (c, h, w) or (features,)
        As in `describe`.
    """
    steps, code = _steps(network, shape)
    shapes = [_flattened(shape, steps[0]), *(step.shape for step in steps[:-1]), _flattened(shape, steps[-1])]
    texts = [text for step in steps for text in (*step.labels, *step.note.split())] + [_size(shape) for shape in shapes]
    min_pitch = 0.85 if 1 in (code, len(steps) - code) else 0.0  # "bottleneck" is next to "input" or "output" then
    pitch = max(_width(*texts) + 0.17, min(1.9, 6.6 / len(steps)), min_pitch)
    is_wide = _width(*(step.note for step in steps)) + 0.1 < pitch
    notes = [(step.note,) if is_wide else tuple(step.note.split()) for step in steps]
    sizes = np.array([math.prod(shape) for shape in shapes], dtype=float)
    heights = np.maximum(_MAX_HEIGHT * (sizes / sizes.max()) ** 0.4, 0.05)
    positions = pitch * np.arange(len(shapes))

    bypass_height = 0.3 if network.bypasses_code else 0.0
    top = _MAX_HEIGHT / 2 + 0.8 + bypass_height
    n_lines = max(len(step.labels) + len(note) for step, note in zip(steps, notes, strict=True)) + 1
    depth = _MAX_HEIGHT / 2 + _LINE_HEIGHT * n_lines
    margin = max(0.5, _width(_size(shapes[0]), _size(shapes[-1])) / 2 + 0.12)
    figure = Figure(figsize=(positions[-1] + 2 * margin, top + depth + 0.3), dpi=150, layout=None)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-margin, positions[-1] + margin), ylim=(-depth - 0.3, top))
    axes.set_axis_off()
    drawing = _Drawing(axes, positions, heights, code)
    drawing.steps(steps, notes)
    drawing.tensors(shapes)
    drawing.ends(-depth, is_bottleneck=sizes[code] < sizes[0])
    for part, first, last in (("encoder", 0, code), ("decoder", code, len(steps))):
        weights = sum(parameter.numel() for parameter in getattr(network, part).parameters())
        drawing.bracket(part, f"{weights:,} weights", first, last, top - 0.46)
    if network.bypasses_code:
        note = "input and detail pass beside the code" if network.adds_input else "detail passes beside the code"
        drawing.bypass(note, bypass_height)
    return figure


class _Drawing:
    """Bars of `heights` at `positions`, in inches, centred on a horizontal line of axes in inches."""

    def __init__(self, axes: Axes, positions: Array, heights: Array, code: int) -> None:
        self.axes, self.positions, self.heights, self.code = axes, positions, heights, code

    def steps(self, steps: Sequence[_Step], notes: Sequence[tuple[str, ...]]) -> None:
        """Draw the trapezoids, with the layers below each."""
        for index, (step, note) in enumerate(zip(steps, notes, strict=True)):
            left, right = self.positions[index] + _BAR_WIDTH / 2, self.positions[index + 1] - _BAR_WIDTH / 2
            low, high = self.heights[index : index + 2] / 2
            corners = [(left, -low), (left, low), (right, high), (right, -high)]
            self.axes.fill(*zip(*corners, strict=True), color=_PART_COLOURS[step.part], alpha=0.28, linewidth=0)
            middle = (left + right) / 2
            depth = self._extent(middle, _width(*step.labels, *note)) + 0.07
            for line, text in enumerate((*step.labels, *note)):
                colour = MUTED if line >= len(step.labels) else "black"
                self._text(middle, -depth - line * _LINE_HEIGHT, text, va="top", fontsize=_SMALL, color=colour)

    def tensors(self, shapes: Sequence[tuple[int, ...]]) -> None:
        """Draw the bars, with the size above each."""
        for index, (x, height, shape) in enumerate(zip(self.positions, self.heights, shapes, strict=True)):
            part = "encoder" if index < self.code else "decoder"
            is_code = index == self.code
            width = 1.6 * _BAR_WIDTH if is_code else _BAR_WIDTH
            colour = _CODE_COLOUR if is_code else _PART_COLOURS[part]
            self.axes.fill_between([x - width / 2, x + width / 2], -height / 2, height / 2, color=colour, linewidth=0)
            y = self._extent(x, _width(_size(shape))) + 0.05
            weight = "bold" if is_code else "normal"
            self._text(x, y, _size(shape), va="bottom", fontsize=_NORMAL - 0.5, weight=weight)

    def ends(self, y: float, is_bottleneck: bool) -> None:
        """Label input, code and output at the bottom, with a line up to each bar."""
        names = {0: "input $x$", self.code: f"{'bottleneck' if is_bottleneck else 'code'} $y$", -1: "output $z$"}
        for index, name in names.items():
            x, bottom = self.positions[index], -self.heights[index] / 2
            self.axes.plot([x, x], [bottom - 0.04, y + 0.04], color=MUTED, linewidth=0.6, linestyle=(0, (1, 2)))
            self._text(x, y, name, va="top", fontsize=_NORMAL + 0.5, weight="bold" if index == self.code else "normal")

    def bracket(self, part: str, note: str, first: int, last: int, y: float) -> None:
        """Label encoder or decoder above its steps."""
        left, right = self.positions[first] + 0.08, self.positions[last] - 0.08
        self.axes.plot([left, left, right, right], [y - 0.05, y, y, y - 0.05], color=_PART_COLOURS[part], linewidth=1.4)
        self._text((left + right) / 2, y + 0.2, part, va="bottom", fontsize=_NORMAL + 1, weight="bold")
        self._text((left + right) / 2, y + 0.06, note, va="bottom", fontsize=_SMALL, color=MUTED)

    def bypass(self, note: str, height: float) -> None:
        """Draw a dashed arrow from encoder to decoder above all bars, in a row of the given height."""
        y, middle, half = _MAX_HEIGHT / 2 + 0.2 + height / 3, self.positions[self.code], max(1.2, _width(note) / 2)
        line = {"arrowstyle": "->", "linestyle": (0, (4, 3)), "color": MUTED, "linewidth": 0.9, "shrinkA": 0, "shrinkB": 0}
        self.axes.annotate("", (middle + half, y), (middle - half, y), arrowprops=line)
        self._text(middle, y + 0.03, note, va="bottom", fontsize=_SMALL, color=MUTED)

    def _extent(self, x: float, width: float) -> float:
        """Return the largest half height within `width` around `x`; text beyond it does not overlap the bars."""
        samples = np.linspace(x - width / 2 - 0.03, x + width / 2 + 0.03, 33)
        return float(np.interp(samples, self.positions, self.heights / 2).max())

    def _text(self, x: float, y: float, text: str, **style: Any) -> None:
        self.axes.text(x, y, text, ha="center", **style)


def _steps(network: Network, shape: tuple[int, ...]) -> tuple[list[_Step], int]:
    """Return the steps of encoder and decoder, and the number of those of the encoder."""
    codes: list[tuple[int, ...]] = []
    hook = network.encoder.register_forward_hook(lambda _module, _inputs, output: codes.append(tuple(output.shape[1:])))
    rows = describe(network, shape)
    hook.remove()
    encoder = _part_steps([row for row in rows if row["part"] == "encoder"], "encoder", shape, codes[0])
    decoder = _part_steps([row for row in rows if row["part"] == "decoder"], "decoder", codes[0], shape)
    return encoder + decoder, len(encoder)


def _part_steps(rows: Sequence[dict[str, Any]], part: str, shape: tuple[int, ...], end: tuple[int, ...]) -> list[_Step]:
    """Return the steps from a tensor of `shape` to one of `end`; modules without weights join an adjacent layer."""
    steps: list[_Step] = []
    pending: tuple[str, ...] = ()  # labels for the next layer with weights
    for row in rows:
        kind, labels, output = row["layer"].partition("(")[0], _labels(row["layer"]), tuple(row["output"])
        before = steps[-1].shape if steps else shape
        if row["weights"] and not re.search("Norm|PReLU", kind):
            is_conv = kind.startswith("Conv") and "Transpose" not in kind and len(output) == len(before) == 3
            if is_conv and output[-1] > before[-1] and "upsample" not in pending:  # by a function, not by a module
                pending = (*pending, "upsample")
            steps.append(_Step(part, pending + labels, output, row["weights"]))
            pending = ()
        elif not steps or "upsample" in labels:
            pending += labels
        else:
            last = steps[-1]
            takes_shape = len(output) >= len(last.shape) and not pending  # pooling and unflattening, but not flattening
            after = output if takes_shape else last.shape
            steps[-1] = replace(last, labels=last.labels + labels, shape=after, weights=last.weights + row["weights"])
    if not steps or pending:
        steps.append(_Step(part, pending, end, 0))
    if math.prod(steps[-1].shape) != math.prod(end):  # a variational encoder's code is half of its last layer
        steps.append(_Step(part, (), end, 0))
    return [*steps[:-1], replace(steps[-1], shape=end)]


def _labels(layer: str) -> tuple[str, ...]:
    """Return short labels for a layer, such as ("conv 3×3", "stride 2"); none for layers that are not labelled."""
    kind = layer.partition("(")[0]
    if kind == "Linear":
        return ("dense",)
    if "Conv" in kind:
        kernel = "×".join(_numbers(layer, "kernel_size"))
        strides = sorted(set(_numbers(layer, "stride")) - {"1"})
        transposed = ("transposed",) if "Transpose" in kind else ()
        return (*transposed, f"conv {kernel}", *(f"stride {stride}" for stride in strides))
    if "Pool" in kind:
        return ("max-pool" if "Max" in kind else "pool",)
    if "Upsampl" in kind or kind == "PixelShuffle":
        return ("upsample",)
    weightless = re.search(r"Flatten|Unflatten|First|Identity|Dropout|Norm|LU$|Sigmoid|Tanh|Soft|Shrink|Pad|Swish|Mish", kind)
    return () if weightless else (kind if len(kind) <= 14 else f"{kind[:13]}…",)


def _numbers(layer: str, name: str) -> list[str]:
    found = re.search(rf"{name}=\(?([\d, ]+)", layer)
    return [number for number in found[1].replace(" ", "").split(",") if number] if found else []


def _flattened(shape: tuple[int, ...], step: _Step) -> tuple[int, ...]:
    """Return the shape of an image as the adjacent step takes it: flat for a dense layer."""
    return (math.prod(shape),) if "dense" in step.labels else shape


def _width(*texts: str) -> float:
    """Return an upper estimate of the width of the longest text in small print, in inches."""
    return _CHARACTER_WIDTH * max((len(text) for text in texts), default=0)


def _size(shape: tuple[int, ...]) -> str:
    """Format a shape, without a single channel: 784 for (784,), 28×28 for (1, 28, 28)."""
    return "×".join(str(length) for length in (shape[1:] if len(shape) == 3 and shape[0] == 1 else shape))
