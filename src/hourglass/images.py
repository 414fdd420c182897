"""The one image contract.

Images are arrays of shape (n, h, w) or (n, h, w, c) with any number of channels: uint8 in 0..255, bool, or float in 0..1.
Images of several sizes are a list of arrays (h, w) or (h, w, c). A 2-D array (n, features) is a table in its own units. A
network sees float32, (n, c, h, w) for images and (n, features) for tables; what comes back is float32, in 0..1 for images and
in its own units for tables, in the shape of the input.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hourglass.errors import DataError, HourglassWarning

Array = NDArray[Any]
Float32 = NDArray[np.float32]

_FEW_CHANNELS = 4
_ROUNDING = 1e-6  # what float32 arithmetic may leave above 1 or below 0


DEEP_MODES = ("I;16", "I;16B", "I;16L", "I;16N", "I", "F")
"""What Pillow calls grey images of more than 8 bits."""


def as_plain(image: Any) -> Any:
    """A Pillow image as one of mode L, RGB, or one of `DEEP_MODES`, as images in files are read.

    Palettes and CMYK become RGB, 1 bit becomes 0 and 255, transparency is laid on white.
    """
    if image.mode in DEEP_MODES:
        return image
    if image.has_transparency_data:
        transparent = image.convert("RGBA")
        white = transparent.copy()
        white.paste((255, 255, 255, 255), (0, 0, *white.size))
        white.alpha_composite(transparent)
        return white.convert("RGB")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def as_array(samples: Any, *, name: str = "images") -> Array:
    """`samples` as an array, without copying one: Pillow images, alone or in a list, as they are read from files.

    Raises
    ------
    DataError
        For masked arrays, whose mask would be lost, and Pillow images of several sizes.
    """
    parts = samples if isinstance(samples, (list, tuple)) else [samples]
    if any(isinstance(part, np.ma.MaskedArray) for part in parts):
        raise DataError(
            f"{name} are a masked array, whose mask would be lost; give .filled(value), or leave these samples out."
        )
    if not any(_is_pillow(part) for part in parts):
        return np.asarray(samples)
    images = [np.asarray(as_plain(part) if _is_pillow(part) else part) for part in parts]
    if len({image.shape[:2] for image in images}) > 1:
        (h0, w0), (h, w) = sorted({image.shape[:2] for image in images})[:2]
        raise DataError(f"{name} are Pillow images of several sizes, as {w0}×{h0} and {w}×{h}; resize them to one.")
    if len({image.ndim for image in images}) > 1:
        warnings.warn(f"{name}: grey and coloured images together; all are read as RGB.", HourglassWarning, stacklevel=3)
        images = [image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2) for image in images]
    return images[0] if parts[0] is samples else np.stack(images)


def as_list(samples: Any, *, name: str = "images") -> list[Array] | None:
    """A list or tuple of images of several heights and widths, arrays or Pillow images, as a list of arrays; else None.

    Grey and coloured Pillow images together become RGB, with a HourglassWarning.
    """
    if not isinstance(samples, (list, tuple)) or not all(
        _is_pillow(one) or getattr(one, "ndim", 0) in (2, 3) for one in samples
    ):
        return None
    sizes = {one.size[::-1] if _is_pillow(one) else tuple(one.shape[:2]) for one in samples}
    if len(sizes) < 2:
        return None
    if any(isinstance(one, np.ma.MaskedArray) for one in samples):
        as_array(samples, name=name)  # which refuses them
    images = [np.asarray(as_plain(one) if _is_pillow(one) else one) for one in samples]
    if len({image.ndim for image in images}) > 1 and all(_is_pillow(one) for one in samples):
        warnings.warn(f"{name}: grey and coloured images together; all are read as RGB.", HourglassWarning, stacklevel=3)
        images = [image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2) for image in images]
    return images


def _is_pillow(image: Any) -> bool:
    return hasattr(image, "has_transparency_data") and hasattr(image, "convert")


def check_images(images: object, *, name: str = "images", white: float | None = None) -> Array:
    """Return `images` as an array that keeps the contract, without copying where it already does.

    Parameters
    ----------
    images : array-like of shape (n, h, w) or (n, h, w, c), or list of Pillow images of one size
        uint8 in 0..255, bool, or float in 0..1. bool becomes float32, 0 and 1.
    name : str
        What the message of an error calls them.
    white : float, optional
        The value that stands for 1 in integers other than uint8, which become float32 in 0..1; without, they are refused.

    Raises
    ------
    DataError
        For another number of dimensions, channels that come first, no image, another dtype, values outside the range or not
        finite; for a masked array.
    """
    array = as_array(images, name=name)
    if array.ndim not in (3, 4):
        raise DataError(
            f"{name} have shape {array.shape}; allowed: (n, h, w) or (n, h, w, channels). "
            "One image alone needs a first axis: image[None]."
        )
    if array.ndim == 4 and array.shape[1] <= _FEW_CHANNELS < min(array.shape[2:]):
        raise DataError(
            f"{name} have shape {array.shape}, which reads as {array.shape[3]} channels of {array.shape[1]}×{array.shape[2]} "
            "pixels. Channels come last: np.moveaxis(images, 1, -1)."
        )
    if 0 in array.shape:
        raise DataError(f"{name} have shape {array.shape}; at least one image of at least one pixel is needed.")
    if array.dtype == np.bool_:
        return array.astype(np.float32)
    if array.dtype == np.uint8:
        return array
    if white is not None and array.dtype.kind in "iu":
        return to_unit(array, white, name=name)
    if not np.issubdtype(array.dtype, np.floating):
        raise DataError(
            f"{name} are of dtype {array.dtype}; allowed: uint8 in 0..255, bool, or float in 0..1. "
            "Divide by the largest possible value, as in images / 65535 for 16 bits."
        )
    low, high = float(array.min()), float(array.max())  # either is NaN if any pixel is: no mask of the whole array
    if math.isnan(low) or math.isnan(high):
        raise DataError(f"{name} contain NaN; fill or drop these pixels first.")
    if low < -_ROUNDING or high > 1 + _ROUNDING:
        raise DataError(
            f"{name} hold floats from {low:g} to {high:g}; allowed: 0..1, or uint8 in 0..255. "
            "Divide by the largest possible value first, or name it when files are read: white=, on the command line --white."
        )
    return array


def warn_of_masks(images: Array, *, name: str = "images") -> None:
    """A HourglassWarning if uint8 `images` hold only 0 and 1: they are meant as black and white, and read as near black."""
    if images.dtype == np.uint8 and images.max() == 1 and images.min() == 0:
        words = f"{name} are uint8 and hold only 0 and 1: near black, for 255 is white"
        warnings.warn(f"{words}. Give bool, or multiply by 255.", HourglassWarning, stacklevel=3)


def white_level(largest: float, *, is_integer: bool) -> float:
    """The value that stands for 1 in images deeper than 8 bits: the full scale of as many bits as `largest` needs.

    255, 511, 1023, …, 65535 for integers, of 8 bits at least; floats up to 1 have 1 already. One image alone may be darker than
    its camera can see, so this is asked for the largest value of a whole set.

    Raises
    ------
    DataError
        If `largest` is not finite.
    """
    if not math.isfinite(largest):
        raise DataError("pixels that are not finite have no white level; fill or drop them first.")
    n_bits = math.ceil(math.log2(max(largest, 1.0) + 1))
    return float(2 ** max(n_bits, 8 if is_integer else 1) - 1)


def to_unit(images: Array, white: float, *, name: str = "images") -> Float32:
    """Images in units of their own, any shape, as float32 in 0..1: divided by `white`.

    What lies above `white` is clipped, with a HourglassWarning. DataError for values below 0 or not finite.
    """
    low, high = float(images.min()), float(images.max())
    if not (math.isfinite(low) and math.isfinite(high)) or low < -_ROUNDING * white:
        raise DataError(f"{name} hold values from {low:g} to {high:g}; allowed: 0 to a white level, here {white:g}.")
    values: Float32 = images.astype(np.float32) / np.float32(white)
    if high > white * (1 + _ROUNDING):
        words = f"{name} hold values up to {high:g}, above the white level {white:g}: these are clipped. White fixes it: white="
        warnings.warn(f"{words}{white_level(high, is_integer=images.dtype.kind in 'iu'):g}.", HourglassWarning, stacklevel=2)
    return np.clip(values, 0, 1, out=values)


def to_float(images: Array) -> Float32:
    """Images as float32 in 0..1, same shape; uint8 is divided by 255, anything else is cast."""
    if images.dtype == np.uint8:
        return np.multiply(images, np.float32(1 / 255), dtype=np.float32)
    return images.astype(np.float32, copy=False)


def to_uint8(images: Array) -> NDArray[np.uint8]:
    """Images as uint8 in 0..255, same shape; floats in 0..1 are rounded to the nearest of 256 steps."""
    if images.dtype == np.uint8:
        return images
    rounded: NDArray[np.uint8] = np.rint(np.clip(images, 0, 1) * 255).astype(np.uint8)
    return rounded


def to_shown(image: Array, white: float | None = None) -> NDArray[np.uint8]:
    """An image of any depth as uint8, for a screen: of more than 8 bits `white` becomes 255, or the full scale of its bits."""
    if image.dtype not in (np.uint8, np.bool_):
        image = to_unit(image, white or white_level(float(image.max()), is_integer=image.dtype.kind in "iu"))
    return to_uint8(image)


def windows(image: Array, size: tuple[int, int]) -> Array:
    """Tiles (n, *size) or (n, *size, c) of `image` (h, w) or (h, w, c) that overlap by half, row by row; a rest is left out.

    Raises
    ------
    DataError
        If the image is smaller than a tile.
    """
    if image.shape[0] < size[0] or image.shape[1] < size[1]:
        raise DataError(f"an image of {image.shape[1]}×{image.shape[0]} is smaller than a tile of {size[1]}×{size[0]}.")
    every = np.lib.stride_tricks.sliding_window_view(image, size, axis=(0, 1))
    tiles = every[:: max(1, size[0] // 2), :: max(1, size[1] // 2)]
    if image.ndim == 3:
        tiles = np.moveaxis(tiles, 2, 4)
    return np.ascontiguousarray(tiles).reshape(-1, *size, *image.shape[2:])


def crop_at(image: Array, size: tuple[int, int], place: Sequence[float]) -> Array:
    """The crop of `size` of an image (h, w) or (h, w, c) at `place`: shares in [0, 1) of the room that there is.

    Parameters
    ----------
    image : ndarray
        Where it is smaller than the crop, it is first mirrored at its borders.
    size : (height, width)
    place : (down, right, turn)
        Below 1/8 of `turn` the crop is left as it is; the other eighths are its quarter-turns and mirror images. A crop that is
        not square is only turned by halves.
    """
    missing = [(0, max(0, side - have)) for side, have in zip(size, image.shape, strict=False)]
    if any(after for _, after in missing):
        image = np.pad(image, (*missing, *[(0, 0)] * (image.ndim - 2)), mode="symmetric")
    top, left = (int(share * (have - side + 1)) for share, have, side in zip(place, image.shape, size, strict=False))
    crop = image[top : top + size[0], left : left + size[1]]
    is_mirrored, quarters = divmod(int(8 * place[2]), 4)
    if is_mirrored:
        crop = crop[:, ::-1]
    return np.rot90(crop, quarters if size[0] == size[1] else quarters // 2 * 2)


def with_channels(images: Array, shape: tuple[int, ...]) -> Array:
    """Grey images as equal channels, coloured ones as grey (ITU-R 601 weights), where samples of `shape` need it.

    `images` (n, h, w) or (n, h, w, c), `shape` (h, w) or (h, w, c); dtype is kept. DataError between other numbers of channels.
    """
    if images.shape[3:] == shape[2:]:
        return images
    if images.ndim == 3:
        return np.repeat(images[..., None], shape[2], axis=3)
    if images.shape[3] != 3 or len(shape) > 2:
        raise DataError(f"images have {images.shape[3]} channels; samples of shape {shape} are needed.")
    grey = to_float(images) @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    return to_uint8(grey) if images.dtype == np.uint8 else grey


_REACH = 3.0  # standard deviations on either side of a column's middle that become 0..1
_NEARLY_ALL = 0.99  # of a table's variance
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Sample:
    """What one sample of a model is: how samples go into its network and come out, in their own units.

    Attributes
    ----------
    shape : tuple
        One sample as the user gives it: (h, w), (h, w, c) or (features,). Height and width are None where any will do.
    offset, scale : float, or tuple of one float a column
        Tables only: the network sees u = (x - offset) / scale. One number each for the whole table keeps directions in
        feature space, and with them the principal subspace, what they were. Numbers for each column make columns of any units
        count alike; u is then compressed outside 0..1, to 1 + log(1 + 6 (u - 1)) / 6 above and alike below, so that a few far
        values do not rule the loss, and stay far.
    white : float, optional
        Images only: what stood for 1 where they came in more than 8 bits, as 4095 of 12 bits.
    """

    shape: tuple[int | None, ...]
    offset: float | tuple[float, ...] = 0.0
    scale: float | tuple[float, ...] = 1.0
    white: float | None = None

    @classmethod
    def of(cls, samples: Array, *, by_column: bool = False, white: float | None = None) -> Sample:
        """What each of the checked `samples` is.

        Tables outside 0..1 are brought there by their smallest and largest value, with a HourglassWarning where one column
        then holds nearly all variance; or `by_column`, always, so that 0..1 is three standard deviations around each column's
        middle.
        """
        shape = tuple(samples.shape[1:])
        if samples.ndim > 2:
            return cls(shape, white=white)
        if by_column:
            middle, deviation = _robust_moments(samples)
            offset, scale = middle - _REACH * deviation, 2 * _REACH * deviation
            return cls(shape, tuple(offset.tolist()), tuple(scale.tolist()))
        _warn_of_ruling_column(samples)
        if samples.min() >= 0 and samples.max() <= 1:
            return cls(shape)
        low, high = float(samples.min()), float(samples.max())
        return cls(shape, low, (high - low) or 1.0)

    def of_any_size(self) -> Sample:
        """The same images, of any height and width."""
        return replace(self, shape=(None, None, *self.shape[2:]))

    @property
    def is_image(self) -> bool:
        return len(self.shape) > 1

    @property
    def is_any_size(self) -> bool:
        """Whether images of any height and width are such samples."""
        return self.shape[0] is None

    @property
    def n_features(self) -> int:
        """Values of a sample; of images of any size, their channels."""
        return self.channels if self.is_any_size else math.prod(self.size)

    @property
    def channels(self) -> int:
        """Of an image; 1 for grey ones without an axis of channels."""
        return self.shape[2] or 1 if len(self.shape) == 3 else 1

    @property
    def size(self) -> tuple[int, ...]:
        """The shape of one sample. DataError where any height and width will do, for then there is none."""
        if self.is_any_size:
            raise DataError(
                "the model takes images of any size, and has no size of its own to resize images to; resize them first."
            )
        return tuple(side or 0 for side in self.shape)

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether a sample of this shape is one: of the same axes, channels and, unless any will do, height and width."""
        return len(shape) == len(self.shape) and all(
            side in (None, given) for side, given in zip(self.shape, shape, strict=True)
        )

    def __str__(self) -> str:
        return f"any size, {self.channels} channels" if self.is_any_size else str(self.shape)

    @property
    def is_by_column(self) -> bool:
        """Whether each column of a table has an offset and a scale of its own."""
        return isinstance(self.offset, tuple)

    @property
    def is_bounded(self) -> bool:
        """Whether samples lie in 0..1 by contract, so that a network may end in a sigmoid."""
        return self.is_image or (self.offset == 0 and self.scale == 1)

    @property
    def network_shape(self) -> tuple[int, ...]:
        """One sample as the network sees it: (c, h, w) or (features,)."""
        return (self.channels, *self.size[:2]) if self.is_image else self.size

    def to_network(self, samples: Array) -> Float32:
        """Samples (n, *shape) as the network sees them, float32 (n, *network_shape), contiguous, always a copy."""
        if not self.is_image:
            return np.array(samples if self.is_bounded else self.normalised(samples), dtype=np.float32, order="C")
        values = to_float(samples)
        values = values[:, None] if len(self.shape) == 2 else np.moveaxis(values, 3, 1)
        return np.ascontiguousarray(values) if samples.dtype == np.uint8 else np.array(values, order="C")

    def normalised(self, table: Any, library: Any = np) -> Any:
        """A table (n, features) in the network's units, in float64; `library` is numpy or torch, whichever the table is of."""
        offset, scale = (library.asarray(given, dtype=library.float64) for given in (self.offset, self.scale))
        values = (library.asarray(table, dtype=library.float64) - offset) / scale
        if not self.is_by_column:
            return values
        above, below = library.clip(values - 1, 0, None), library.clip(-values, 0, None)
        reach = 2 * _REACH
        return library.clip(values, 0, 1) + (library.log1p(reach * above) - library.log1p(reach * below)) / reach

    def from_network(self, values: Float32) -> Float32:
        """What a network gave, (n, *network_shape), as samples (n, *shape): images clipped to 0..1, features in their units."""
        if not self.is_image:
            return values if self.is_bounded else self._in_units(values.astype(np.float64))
        values = values[:, 0] if len(self.shape) == 2 else np.moveaxis(values, 1, 3)
        return np.clip(values, 0, 1)

    def _in_units(self, values: NDArray[np.float64]) -> Float32:
        """The inverse of `normalised`, within what float32 holds."""
        if self.is_by_column:
            reach, most = 2 * _REACH, np.log(_LARGEST)
            above, below = (np.expm1(np.clip(reach * part, 0, most)) / reach for part in (values - 1, -values))
            values = np.clip(values, 0, 1) + above - below
        return np.clip(values * self.scale + self.offset, -_LARGEST, _LARGEST).astype(np.float32)


def _robust_moments(table: Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(middle, standard deviation) of each column, which a few far values move little: float64 (features,), deviations above 0.

    The median, and the interquartile range as a normal distribution has it. Where half of a column is one value, as in binary
    ones and counts, that says little: the deviation is at least a tenth of that of all values between the 1st and 99th
    percentile, and without a range this itself, else the plain one. A constant column has 1.
    """
    values = np.asarray(table, dtype=np.float64)
    low, first, middle, third, high = np.percentile(values, [1, 25, 50, 75, 99], axis=0)
    scale = np.maximum(np.abs(values).max(0), 1e-300)  # so that no square overflows
    most = scale * (np.clip(values, low, high) / scale).std(0)
    deviation = np.maximum((third - first) / 1.349, most / 10)
    deviation = np.where(third > first, deviation, most)
    deviation = np.where(deviation > 0, deviation, scale * (values / scale).std(0))
    is_constant = deviation <= 1e-12 * scale  # rounding alone
    return middle, np.where(is_constant, 1.0, deviation)


def _warn_of_ruling_column(table: Array) -> None:
    """One scale for a whole table leaves nothing of columns in much smaller units."""
    largest = float(np.abs(table).max()) or 1.0
    variances = np.var(np.asarray(table, dtype=np.float64) / largest, axis=0)
    share = float(variances.max() / variances.sum()) if variances.any() else 0.0
    if len(variances) > 1 and share > _NEARLY_ALL:
        words = f"column {int(variances.argmax())} holds {100 * share:.3g} % of the table's variance: little else is learned"
        warnings.warn(f"{words}. If columns have units of their own, scale them first (StandardScaler).", HourglassWarning, 2)
