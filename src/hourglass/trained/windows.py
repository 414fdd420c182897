"""Large images in windows whose results, put together, are those of the whole image."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class Window(NamedTuple):
    """A part of an image.

    Attributes
    ----------
    read : (top, bottom, left, right)
        What a network is given: the part and a margin on each side, as far as the image goes.
    kept : (top, bottom, left, right)
        The part itself, in pixels of the image.
    """

    read: tuple[int, int, int, int]
    kept: tuple[int, int, int, int]

    @property
    def inner(self) -> tuple[slice, slice]:
        """Where in `read` the rows and columns of `kept` are."""
        top, bottom, left, right = self.kept
        return slice(top - self.read[0], bottom - self.read[0]), slice(left - self.read[2], right - self.read[2])


def windows_of(size: tuple[int, int], window: int, margin: int) -> Iterator[Window]:
    """Windows that cover an image of `size` (height, width), row by row.

    Where a network's receptive field reaches no farther than `margin`, and both are multiples of its stride, what it makes of
    `read` is in `kept` what it makes of the whole image: the layers' padding at the cut edges is felt in the margin alone, and
    at the image's own borders it is the same.

    Parameters
    ----------
    size : (height, width)
    window : int
        Height and width of `kept`, but for the last ones.
    margin : int
    """
    for top, bottom in _stretches(size[0], window):
        for left, right in _stretches(size[1], window):
            read = (
                max(0, top - margin),
                min(size[0], bottom + margin),
                max(0, left - margin),
                min(size[1], right + margin),
            )
            yield Window(read, (top, bottom, left, right))


def _stretches(length: int, window: int) -> Iterator[tuple[int, int]]:
    for start in range(0, length, window):
        yield start, min(start + window, length)
