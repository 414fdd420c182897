"""Windows for exact processing of large images by convolutional networks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class Window(NamedTuple):
    """A window of an image.

    Attributes
    ----------
    read : (top, bottom, left, right)
        Input of the network: the window with a margin on each side, within the image.
    kept : (top, bottom, left, right)
        The window without margin.
    """

    read: tuple[int, int, int, int]
    kept: tuple[int, int, int, int]

    def place(self, stride: int = 1) -> tuple[slice, slice]:
        """Rows and columns of `kept` within the image, or within maps at 1/`stride` of its height and width."""
        return _slices(self.kept, 0, 0, stride)

    def inner(self, stride: int = 1) -> tuple[slice, slice]:
        """Rows and columns of `kept` within `read`, or within its maps."""
        return _slices(self.kept, self.read[0], self.read[2], stride)


def windows_of(size: tuple[int, int], window: int, margin: int) -> Iterator[Window]:
    """Windows that cover an image of `size` (height, width), row by row.

    If the receptive field reaches no farther than `margin`, and `window` and `margin` are multiples of the stride, the output
    for `read` equals that for the whole image within `kept`: padding at inner edges only affects the margin.

    Parameters
    ----------
    size : (height, width)
    window : int
        Height and width of `kept`; less at the lower and right border.
    margin : int
    """
    for top, bottom in _intervals(size[0], window):
        for left, right in _intervals(size[1], window):
            read = (
                max(0, top - margin),
                min(size[0], bottom + margin),
                max(0, left - margin),
                min(size[1], right + margin),
            )
            yield Window(read, (top, bottom, left, right))


def _slices(kept: tuple[int, int, int, int], above: int, before: int, stride: int) -> tuple[slice, slice]:
    top, bottom, left, right = kept
    rows = slice((top - above) // stride, -((above - bottom) // stride))
    return rows, slice((left - before) // stride, -((before - right) // stride))


def _intervals(length: int, window: int) -> Iterator[tuple[int, int]]:
    for start in range(0, length, window):
        yield start, min(start + window, length)
