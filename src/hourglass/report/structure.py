"""A network drawn as its tensors: input x, encoder, code y, decoder, output z."""

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
from hourglass.report.figures import COLOURS, MUTED

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from hourglass.images import Array

_PART_COLOURS = {"encoder": COLOURS[0], "decoder": COLOURS[2]}
_CODE_COLOUR = COLOURS[1]
_TALLEST = 2.3  # inches, as are all lengths here
_BAR = 0.075
_LINE = 0.145  # from one line of small print to the next
_CHARACTER = 0.066  # a wide estimate, in small print
_SMALL, _NORMAL = 7.0, 8.5  # points


@dataclass(frozen=True)
class _Step:
    """From one tensor to the next: what runs, and what comes out."""

    part: str
    words: tuple[str, ...]
    shape: tuple[int, ...]
    weights: int

    @property
    def note(self) -> str:
        return f"{self.weights:,} weights" if self.weights else ""


def structure(network: Network, shape: tuple[int, ...]) -> Figure:
    """The layers that run on one sample of `shape`: an upright bar for each tensor, a trapezoid for each layer between.

    A bar is as high as the power 0.4 of its tensor's size, so that an hourglass looks like one and two numbers are still
    seen. Activations, normalisation, pooling and reshaping belong to the layer before, upsampling to the layer after.

    Parameters
    ----------
    network : Network
    shape : (c, h, w) or (features,)
        As in `describe`.
    """
    steps, code = _steps(network, shape)
    shapes = [_seen(shape, steps[0]), *(step.shape for step in steps[:-1]), _seen(shape, steps[-1])]
    printed = [text for step in steps for text in (*step.words, *step.note.split())] + [_size(shape) for shape in shapes]
    least = 0.85 if 1 in (code, len(steps) - code) else 0.0  # "bottleneck" stands beside "input" or "output" then
    pitch = max(_width(*printed) + 0.17, min(1.9, 6.6 / len(steps)), least)
    is_roomy = _width(*(step.note for step in steps)) + 0.1 < pitch
    notes = [(step.note,) if is_roomy else tuple(step.note.split()) for step in steps]
    sizes = np.array([math.prod(shape) for shape in shapes], dtype=float)
    heights = np.maximum(_TALLEST * (sizes / sizes.max()) ** 0.4, 0.05)
    places = pitch * np.arange(len(shapes))

    lane = 0.3 if network.bypasses_code else 0.0
    top = _TALLEST / 2 + 0.8 + lane
    deepest = _TALLEST / 2 + _LINE * (max(len(step.words) + len(note) for step, note in zip(steps, notes, strict=True)) + 1)
    margin = max(0.5, _width(_size(shapes[0]), _size(shapes[-1])) / 2 + 0.12)
    figure = Figure(figsize=(places[-1] + 2 * margin, top + deepest + 0.3), dpi=150, layout=None)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-margin, places[-1] + margin), ylim=(-deepest - 0.3, top))
    axes.set_axis_off()
    drawing = _Drawing(axes, places, heights, code)
    drawing.steps(steps, notes)
    drawing.tensors(shapes)
    drawing.ends(-deepest, is_bottleneck=sizes[code] < sizes[0])
    for part, first, last in (("encoder", 0, code), ("decoder", code, len(steps))):
        weights = sum(parameter.numel() for parameter in getattr(network, part).parameters())
        drawing.bracket(part, f"{weights:,} weights", first, last, top - 0.46)
    if network.bypasses_code:
        drawing.bypass("input and detail pass beside the code" if network.adds_input else "detail passes beside the code", lane)
    return figure


class _Drawing:
    """Bars at `places` of `heights`, in inches around a middle line, in axes whose unit is the inch."""

    def __init__(self, axes: Axes, places: Array, heights: Array, code: int) -> None:
        self.axes, self.places, self.heights, self.code = axes, places, heights, code

    def steps(self, steps: Sequence[_Step], notes: Sequence[tuple[str, ...]]) -> None:
        """Trapezoids, and under each what runs there."""
        for index, (step, note) in enumerate(zip(steps, notes, strict=True)):
            left, right = self.places[index] + _BAR / 2, self.places[index + 1] - _BAR / 2
            low, high = self.heights[index : index + 2] / 2
            corners = [(left, -low), (left, low), (right, high), (right, -high)]
            self.axes.fill(*zip(*corners, strict=True), color=_PART_COLOURS[step.part], alpha=0.28, linewidth=0)
            middle = (left + right) / 2
            depth = self._reach(middle, _width(*step.words, *note)) + 0.07
            for line, text in enumerate((*step.words, *note)):
                colour = MUTED if line >= len(step.words) else "black"
                self._text(middle, -depth - line * _LINE, text, va="top", fontsize=_SMALL, color=colour)

    def tensors(self, shapes: Sequence[tuple[int, ...]]) -> None:
        """Bars, and over each its size."""
        for index, (place, height, shape) in enumerate(zip(self.places, self.heights, shapes, strict=True)):
            part = "encoder" if index < self.code else "decoder"
            is_code = index == self.code
            width = 1.6 * _BAR if is_code else _BAR
            colour = _CODE_COLOUR if is_code else _PART_COLOURS[part]
            self.axes.fill_between([place - width / 2, place + width / 2], -height / 2, height / 2, color=colour, linewidth=0)
            reach = self._reach(place, _width(_size(shape))) + 0.05
            weight = "bold" if is_code else "normal"
            self._text(place, reach, _size(shape), va="bottom", fontsize=_NORMAL - 0.5, weight=weight)

    def ends(self, y: float, is_bottleneck: bool) -> None:
        """Name the input, the code and the output below everything, each with a line up to its bar."""
        names = {0: "input $x$", self.code: f"{'bottleneck' if is_bottleneck else 'code'} $y$", -1: "output $z$"}
        for index, name in names.items():
            place, bottom = self.places[index], -self.heights[index] / 2
            self.axes.plot([place, place], [bottom - 0.04, y + 0.04], color=MUTED, linewidth=0.6, linestyle=(0, (1, 2)))
            self._text(place, y, name, va="top", fontsize=_NORMAL + 0.5, weight="bold" if index == self.code else "normal")

    def bracket(self, part: str, note: str, first: int, last: int, y: float) -> None:
        """Name a part over its steps."""
        left, right = self.places[first] + 0.08, self.places[last] - 0.08
        self.axes.plot([left, left, right, right], [y - 0.05, y, y, y - 0.05], color=_PART_COLOURS[part], linewidth=1.4)
        self._text((left + right) / 2, y + 0.2, part, va="bottom", fontsize=_NORMAL + 1, weight="bold")
        self._text((left + right) / 2, y + 0.06, note, va="bottom", fontsize=_SMALL, color=MUTED)

    def bypass(self, note: str, lane: float) -> None:
        """A dashed arrow over the code, from encoder to decoder, in its own lane over all the bars."""
        y, middle, half = _TALLEST / 2 + 0.2 + lane / 3, self.places[self.code], max(1.2, _width(note) / 2)
        line = {"arrowstyle": "->", "linestyle": (0, (4, 3)), "color": MUTED, "linewidth": 0.9, "shrinkA": 0, "shrinkB": 0}
        self.axes.annotate("", (middle + half, y), (middle - half, y), arrowprops=line)
        self._text(middle, y + 0.03, note, va="bottom", fontsize=_SMALL, color=MUTED)

    def _reach(self, place: float, width: float) -> float:
        """How far from the middle line the drawing reaches within `width` around `place`: text beyond that is clear of it."""
        across = np.linspace(place - width / 2 - 0.03, place + width / 2 + 0.03, 33)
        return float(np.interp(across, self.places, self.heights / 2).max())

    def _text(self, x: float, y: float, text: str, **style: Any) -> None:
        self.axes.text(x, y, text, ha="center", **style)


def _steps(network: Network, shape: tuple[int, ...]) -> tuple[list[_Step], int]:
    """The steps of both parts, and how many the encoder takes."""
    codes: list[tuple[int, ...]] = []
    hook = network.encoder.register_forward_hook(lambda _module, _inputs, output: codes.append(tuple(output.shape[1:])))
    rows = describe(network, shape)
    hook.remove()
    encoder = _part_steps([row for row in rows if row["part"] == "encoder"], "encoder", shape, codes[0])
    decoder = _part_steps([row for row in rows if row["part"] == "decoder"], "decoder", codes[0], shape)
    return encoder + decoder, len(encoder)


def _part_steps(rows: Sequence[dict[str, Any]], part: str, shape: tuple[int, ...], end: tuple[int, ...]) -> list[_Step]:
    """The steps from a tensor of `shape` to one of `end`; a module without weights joins the layer before or after it."""
    steps: list[_Step] = []
    waiting: tuple[str, ...] = ()  # what runs before the next layer with weights
    for row in rows:
        kind, words, output = row["layer"].partition("(")[0], _words(row["layer"]), tuple(row["output"])
        before = steps[-1].shape if steps else shape
        if row["weights"] and not re.search("Norm|PReLU", kind):
            grows = kind.startswith("Conv") and "Transpose" not in kind and len(output) == len(before) == 3
            if grows and output[-1] > before[-1] and "upsample" not in waiting:  # done by a function, not by a module
                waiting = (*waiting, "upsample")
            steps.append(_Step(part, waiting + words, output, row["weights"]))
            waiting = ()
        elif not steps or "upsample" in words:
            waiting += words
        else:
            last = steps[-1]
            unfolds = len(output) >= len(last.shape) and not waiting  # pooled, or rows made maps; flattened, maps stay maps
            after = output if unfolds else last.shape
            steps[-1] = replace(last, words=last.words + words, shape=after, weights=last.weights + row["weights"])
    if not steps or waiting:
        steps.append(_Step(part, waiting, end, 0))
    if math.prod(steps[-1].shape) != math.prod(end):  # as a variational encoder, whose code is half of what its layers give
        steps.append(_Step(part, (), end, 0))
    return [*steps[:-1], replace(steps[-1], shape=end)]


def _words(layer: str) -> tuple[str, ...]:
    """What a layer is, in short lines, from its class and size: ("conv 3×3", "stride 2"); nothing for what goes unsaid."""
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
    weightless = re.search(r"Flatten|Unflatten|Identity|Dropout|Norm|LU$|Sigmoid|Tanh|Soft|Shrink|Pad|Swish|Mish", kind)
    return () if weightless else (kind if len(kind) <= 14 else f"{kind[:13]}…",)


def _numbers(layer: str, name: str) -> list[str]:
    found = re.search(rf"{name}=\(?([\d, ]+)", layer)
    return [number for number in found[1].replace(" ", "").split(",") if number] if found else []


def _seen(shape: tuple[int, ...], step: _Step) -> tuple[int, ...]:
    """An image as the step beside it sees it: to a dense layer it is a row of numbers."""
    return (math.prod(shape),) if "dense" in step.words else shape


def _width(*texts: str) -> float:
    """Inches that the longest text takes in small print, estimated on the safe side."""
    return _CHARACTER * max((len(text) for text in texts), default=0)


def _size(shape: tuple[int, ...]) -> str:
    """784 for (784,) and (1, 28, 28) becomes 28×28: a single channel goes unsaid."""
    return "×".join(str(side) for side in (shape[1:] if len(shape) == 3 and shape[0] == 1 else shape))
