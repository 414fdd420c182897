"""Format of a code."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Code:
    """A vector of `width` values, or maps of `width` channels at 1/`stride` of the image's height and width.

    Attributes
    ----------
    width : int
        Latent dimensions of a vector, or channels of maps.
    stride : int
        Pixels a step along height and width; 0 for a vector.
    """

    width: int
    stride: int = 0

    @property
    def is_map(self) -> bool:
        return self.stride > 0

    def shape(self, sample: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of one code: (width,), or (width, h', w') for an image (c, h, w), h' and w' rounded up."""
        if not self.is_map:
            return (self.width,)
        return (self.width, -(-sample[1] // self.stride), -(-sample[2] // self.stride))
