"""The image contract.

Images are arrays of shape (n, h, w) or (n, h, w, c) with any number of channels: uint8 in 0..255, bool, or float in 0..1.
Images of several sizes are a list of arrays (h, w) or (h, w, c). A 2-D array (n, features) is a table in its own units. Network
input is float32, (n, c, h, w) for images and (n, features) for tables; outputs are float32 in the shape of the input, in 0..1
for images and in their own units for tables.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hourglass.errors import DataError
from hourglass.notes import note

Array = NDArray[Any]
Float32 = NDArray[np.float32]

_FEW_CHANNELS = 4
ROUNDING = 1e-6
"""Tolerance of 0..1, and of a white level, for float32 arithmetic."""


class ImageSet:
    """Base class of data sets, which hold images and are none themselves: `as_array` refuses them."""

    images_at: ClassVar[str]
    """The attribute that holds the images."""


DEEP_MODES = ("I;16", "I;16B", "I;16L", "I;16N", "I", "F")
"""Pillow's modes of grey images with more than 8 bits."""


def as_plain(image: Any) -> Any:
    """Convert a Pillow image to mode L, RGB or one of `DEEP_MODES`, as in reading files.

    Palettes and CMYK become RGB, 1 bit becomes 0 and 255, transparency is composited over white.
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
    """`samples` as an array, without copying arrays: the one way from what users pass to numpy.

    Pillow images, alone or in a list, are converted as in reading files; tensors are detached and moved to the CPU, and
    bfloat16, which numpy lacks, becomes float32. An object array of images is read as a list.

    Raises
    ------
    DataError
        For masked arrays, whose mask would be lost, sparse tensors, data sets in place of their images, and images of several
        sizes or depths.
    """
    samples = _unpacked(samples, name)
    if not isinstance(samples, (list, tuple)):
        return np.asarray(_plain_array(samples, name))
    if not any(_needs_conversion(part) for part in samples):
        _check_one_depth(samples, name)
        return _of_one_shape(np.asarray, samples, name)
    images = [np.asarray(_plain_array(part, name)) for part in samples]
    sizes = sorted({image.shape[:2] for image in images})
    if len(sizes) > 1:
        one, other = ("×".join(str(length) for length in size[::-1]) for size in sizes[:2])
        raise DataError(f"{name} have several sizes, as {one} and {other}; resize them to one.")
    _check_one_depth(images, name)
    return _of_one_shape(np.stack, _in_equal_channels(images, name), name)


def as_list(samples: Any, *, name: str = "images") -> list[Array] | None:
    """Images of several heights and widths, in any sequence and of any kind `as_array` takes, as a list of arrays; else None.

    Grey and coloured Pillow images together become RGB, with a HourglassWarning.
    """
    samples = _unpacked(samples, name)
    if not isinstance(samples, (list, tuple)) or not all(_is_image(one) for one in samples):
        return None
    sizes = {one.size[::-1] if _is_pillow(one) else tuple(one.shape[:2]) for one in samples}
    if len(sizes) < 2:
        return None
    images = [np.asarray(_plain_array(one, name)) for one in samples]
    return _in_equal_channels(images, name) if all(_is_pillow(one) for one in samples) else images


def as_samples(samples: Any, *, name: str = "images") -> Array | list[Array]:
    """`as_list` for images of several sizes, `as_array` for all else."""
    many = as_list(samples, name=name)
    return as_array(samples, name=name) if many is None else many


def _unpacked(samples: Any, name: str) -> Any:
    """An object array of images as a list; anything else as it is. Raises DataError for a data set."""
    if isinstance(samples, ImageSet):
        raise DataError(f"{name} is a {type(samples).__name__}; pass its images: .{samples.images_at}.")
    is_packed = isinstance(samples, np.ndarray) and samples.dtype == object and samples.ndim == 1 and samples.size > 0
    return list(samples) if is_packed and all(_is_image(one) for one in samples) else samples


def _check_one_depth(images: Sequence[Any], name: str) -> None:
    """Raise DataError for arrays of images of several depths: numpy gives all the largest dtype, and 255 is no longer white."""
    depths = sorted({_depth_of(image.dtype) for image in images if isinstance(image, np.ndarray) and _is_image(image)})
    if len(depths) > 1:
        raise DataError(
            f"{name} hold {' and '.join(depths)} together, whose white levels differ; divide each image by its own first, as "
            "image / 255 and image / 4095."
        )


def _depth_of(dtype: np.dtype[Any]) -> str:
    if dtype.kind in "iu":
        return "uint8" if dtype == np.uint8 else "deeper integers"
    return "floats or bool" if dtype.kind in "fb" else str(dtype)


def _of_one_shape(join: Callable[[Any], Array], parts: Any, name: str) -> Array:
    try:
        return join(parts)
    except ValueError as error:
        raise DataError(f"{name} cannot become one array: {error}") from error


def _plain_array(image: Any, name: str) -> Any:
    """A Pillow image or tensor as an array; anything else as it is. Raises DataError if a mask or values would be lost."""
    if isinstance(image, np.ma.MaskedArray):
        raise DataError(f"{name}: a masked array, whose mask would be lost; pass .filled(value), or drop these samples.")
    if _is_pillow(image):
        return np.asarray(as_plain(image))
    if _is_tensor(image):
        plain = image.detach().cpu()
        try:
            return (plain.float() if str(plain.dtype) == "torch.bfloat16" else plain).numpy()
        except (TypeError, RuntimeError) as error:  # sparse or quantised
            kind = f"{plain.layout}, {plain.dtype}"
            raise DataError(f"{name}: a tensor that numpy lacks ({kind}); pass a dense one of plain numbers.") from error
    return image


def _needs_conversion(image: Any) -> bool:
    return _is_pillow(image) or _is_tensor(image) or isinstance(image, np.ma.MaskedArray)


def _is_image(one: Any) -> bool:
    return _is_pillow(one) or getattr(one, "ndim", 0) in (2, 3)


def _is_pillow(image: Any) -> bool:
    return hasattr(image, "has_transparency_data") and hasattr(image, "convert")


def _is_tensor(image: Any) -> bool:
    return hasattr(image, "detach") and hasattr(image, "cpu")  # torch is not imported here


def _in_equal_channels(images: list[Array], name: str) -> list[Array]:
    """Grey images (h, w) among coloured ones as RGB, with a HourglassWarning."""
    if len({image.ndim for image in images}) < 2:
        return images
    note(f"{name}: grey and coloured images together; all are read as RGB.", 4)
    return [image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2) for image in images]


def check_images(
    images: object,
    *,
    name: str = "images",
    white: float | None = None,
    bounded: bool = True,
    sample: Sample | None = None,
) -> Array:
    """Return `images` as an array that keeps the contract, without a copy if it does already.

    Parameters
    ----------
    images : array-like of shape (n, h, w) or (n, h, w, c), or list of Pillow images of one size
        uint8 in 0..255, bool, or float in 0..1. bool becomes float32, 0 and 1.
    name : str
        Name of the argument in error messages.
    white : float, optional
        White level of integers other than uint8, which become float32 in 0..1; without it they raise.
    bounded : bool
        Whether floats must lie in 0..1; noise that is not clipped leaves it.
    sample : Sample, optional
        That of a model: of images that fit it, nothing is said about their channels.

    Raises
    ------
    DataError
        For other numbers of dimensions, up to four channels that come first (more only give a HourglassWarning), no image,
        other dtypes, values outside the range or not finite, and masked arrays.
    """
    array = as_array(images, name=name)
    if array.ndim not in (3, 4):
        raise DataError(
            f"{name} have shape {array.shape}; allowed: (n, h, w) or (n, h, w, channels). "
            "A single image needs a batch axis: image[None]."
        )
    if array.ndim == 4:
        _check_channels_last(array, name, is_known=sample is not None and sample.fits(array.shape[1:]))
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
    low, high = float(array.min()), float(array.max())  # NaN if any pixel is, without a mask of the whole array
    if math.isnan(low) or math.isnan(high):
        raise DataError(f"{name} contain NaN; fill or drop these pixels first.")
    if math.isinf(low) or math.isinf(high):
        raise DataError(f"{name} contain infinite values; fill or drop these pixels first.")
    if bounded and (low < -ROUNDING or high > 1 + ROUNDING):
        raise DataError(
            f"{name} hold floats from {low:g} to {high:g}; allowed: 0..1, or uint8 in 0..255. "
            "Divide by the largest possible value, or set it when reading files: white=, on the command line --white."
        )
    return array


def _check_channels_last(images: Array, name: str, *, is_known: bool) -> None:
    """Raise DataError if channels surely come first; warn if they may, unless the shape is known."""
    count, height, width = images.shape[1:]
    words = f"{name} have shape {images.shape}, which reads as {width} channels of {count}×{height} pixels."
    if count <= _FEW_CHANNELS < min(height, width):
        raise DataError(f"{words} Channels come last: np.moveaxis(images, 1, -1).")
    if not is_known and _FEW_CHANNELS < width >= min(count, height) and count != height:
        likely = "If their channels come first, convert them: np.moveaxis(images, 1, -1)."
        note(f"{words} {likely}", 4)


def warn_of_masks(images: Array | list[Array], *, name: str = "images") -> None:
    """Warn if uint8 `images` hold only 0 and 1: these are likely masks, but read as near black."""
    every = images if isinstance(images, list) else [images]
    if any(image.dtype != np.uint8 or image.max() > 1 for image in every):
        return
    if len({int(end) for image in every for end in (image.min(), image.max())}) == 2:
        words = f"{name} are uint8 and hold only 0 and 1: near black, as 255 is white"
        note(f"{words}. Convert them to bool, or multiply by 255.", 3)


def white_level(largest: float, *, is_integer: bool) -> float:
    """White level of images deeper than 8 bits: the full scale of as many bits as `largest` needs.

    255, 511, 1023, …, 65535 for integers, with at least 8 bits; 1 for floats up to 1. A single image may be dark, so pass the
    largest value of the whole data set.

    Raises
    ------
    DataError
        If `largest` is not finite.
    """
    if not math.isfinite(largest):
        raise DataError("pixels that are not finite have no white level; fill or drop them first.")
    if not is_integer:
        largest /= 1 + ROUNDING  # as `to_unit` allows
    n_bits = math.ceil(math.log2(max(largest, 1.0) + 1))
    return float(2 ** max(n_bits, 8 if is_integer else 1) - 1)


def to_unit(images: Array, white: float, *, name: str = "images") -> Float32:
    """Divide images of any shape by `white`: float32 in 0..1.

    Values above `white` are clipped, with a HourglassWarning. Raises DataError for values below 0 or not finite.
    """
    low, high = float(images.min()), float(images.max())
    if not (math.isfinite(low) and math.isfinite(high)) or low < -ROUNDING * white:
        raise DataError(f"{name} hold values from {low:g} to {high:g}; allowed: 0 to a white level, here {white:g}.")
    values: Float32 = images.astype(np.float32) / np.float32(white)
    if high > white * (1 + ROUNDING):
        words = f"{name} hold values up to {high:g}, above the white level {white:g}: these are clipped. Set white="
        note(f"{words}{white_level(high, is_integer=images.dtype.kind in 'iu'):g}.")
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
    """An image of any depth as uint8 for display: `white`, by default the full scale of its bits, becomes 255."""
    if image.dtype not in (np.uint8, np.bool_):
        image = to_unit(image, white or white_level(float(image.max()), is_integer=image.dtype.kind in "iu"))
    return to_uint8(image)


def overlapping_tiles(image: Array, size: tuple[int, int]) -> Array:
    """Tiles (n, *size) or (n, *size, c) of `image` (h, w[, c]) that overlap by half, row by row, without a remainder.

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


def crop_at(image: Array, size: tuple[int, int], offset: Sequence[float]) -> Array:
    """The crop of `size` of an image (h, w) or (h, w, c) at `offset`.

    Parameters
    ----------
    image : ndarray
        Mirrored at its borders if it is smaller than the crop.
    size : (height, width)
    offset : (down, right, turn), in [0, 1)
        Position of the centre relative to the image; a crop that would reach beyond a border ends there, so that pixels at a
        border are seen as often as others, and where they are. The eighths of `turn` select a rotation by a multiple of 90°
        and a flip, the first of them none; crops that are not square are only rotated by 180°.
    """
    missing = [(0, max(0, length - given)) for length, given in zip(size, image.shape, strict=False)]
    if any(after for _, after in missing):
        image = np.pad(image, (*missing, *[(0, 0)] * (image.ndim - 2)), mode="symmetric")
    top, left = (
        min(max(int(share * given) - length // 2, 0), given - length)
        for share, given, length in zip(offset, image.shape, size, strict=False)
    )
    crop = image[top : top + size[0], left : left + size[1]]
    is_mirrored, quarters = divmod(int(8 * offset[2]), 4)
    if is_mirrored:
        crop = crop[:, ::-1]
    return np.rot90(crop, quarters if size[0] == size[1] else quarters // 2 * 2)


def with_channels(images: Array, shape: tuple[int | None, ...]) -> Array:
    """Convert grey images to equal channels, or coloured ones to grey (ITU-R 601), to match samples of `shape`.

    `images` (n, h, w) or (n, h, w, c), `shape` (h, w) or (h, w, c), of which only c matters; dtype is kept.

    Raises
    ------
    DataError
        For other channels.
    """
    if images.shape[3:] == shape[2:]:
        return images
    if images.ndim == 3:
        return np.repeat(images[..., None], shape[2] or 1, axis=3)
    if images.shape[3] != 3 or len(shape) > 2:
        raise DataError(f"images have {images.shape[3]} channels; samples of shape {shape} are needed.")
    grey = to_float(images) @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    return to_uint8(grey) if images.dtype == np.uint8 else grey


_N_DEVIATIONS = 3.0  # standard deviations on either side of a column's centre, mapped to 0..1
_DOMINANT_SHARE = 0.99  # of the variance of a table
_HARDLY_LEARNED = 1 / 20  # of the largest deviation
_LEVELS = 256  # steps of a pixel: its range is less only in other units
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Sample:
    """Shape and scale of a model's samples: converts samples to network input, and outputs back to their own units.

    Attributes
    ----------
    shape : tuple
        One sample: (h, w), (h, w, c) or (features,). Height and width are None if any size is allowed.
    offset, scale : float, or tuple of a float for each column
        Tables only: network input is u = (x - offset) / scale. Scalars keep directions in feature space, and so the
        principal subspace. One value for each column gives columns in any units equal weight; u is then compressed outside
        0..1, to 1 + log(1 + 6 (u - 1)) / 6 above and likewise below, so that outliers do not dominate the loss, but stay far.
    white : float, optional
        Images only: white level of images with more than 8 bits, as 4095 for 12 bits.
    """

    shape: tuple[int | None, ...]
    offset: float | tuple[float, ...] = 0.0
    scale: float | tuple[float, ...] = 1.0
    white: float | None = None

    @classmethod
    def of(cls, samples: Array, *, by_column: bool = False, white: float | None = None) -> Sample:
        """The shape and scale of checked `samples`.

        Tables outside 0..1 are scaled by their minimum and maximum, with a HourglassWarning if some columns hold nearly all
        variance, so that others are hardly learned. `by_column` scales each column, so that 0..1 is three standard deviations
        around its centre.
        """
        shape = tuple(samples.shape[1:])
        if samples.ndim > 2:
            return cls(shape, white=white)
        if by_column:
            centre, deviation = robust_moments(samples)
            offset, scale = centre - _N_DEVIATIONS * deviation, 2 * _N_DEVIATIONS * deviation
            return cls(shape, tuple(offset.tolist()), tuple(scale.tolist()))
        _warn_of_dominant_columns(samples)
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
        """Whether images may have any height and width."""
        return self.shape[0] is None

    @property
    def n_features(self) -> int:
        """Values of a sample; of images of any size, their channels."""
        return self.channels if self.is_any_size else math.prod(self.size)

    @property
    def channels(self) -> int:
        """Channels of an image; 1 for grey images without an axis of channels."""
        return self.shape[2] or 1 if len(self.shape) == 3 else 1

    @property
    def size(self) -> tuple[int, ...]:
        """The shape of one sample. Raises DataError if images may have any size."""
        if self.is_any_size:
            raise DataError("the model takes images of any size, so it defines no size to resize images to; resize them first.")
        return tuple(length or 0 for length in self.shape)

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether axes, channels and, unless any size is allowed, height and width of `shape` match."""
        return len(shape) == len(self.shape) and all(
            length in (None, given) for length, given in zip(self.shape, shape, strict=True)
        )

    def __str__(self) -> str:
        return f"any size, {self.channels} channels" if self.is_any_size else str(self.shape)

    @property
    def is_by_column(self) -> bool:
        """Whether each column of a table has its own offset and scale."""
        return isinstance(self.offset, tuple)

    @property
    def is_bounded(self) -> bool:
        """Whether samples always lie in 0..1, so that a network may end in a sigmoid."""
        return self.is_image or (self.offset == 0 and self.scale == 1)

    @property
    def network_shape(self) -> tuple[int, ...]:
        """Shape of one sample as network input: (c, h, w) or (features,)."""
        return (self.channels, *self.size[:2]) if self.is_image else self.size

    def to_network(self, samples: Array) -> Float32:
        """Samples (n, *shape) as network input: a contiguous float32 copy (n, *network_shape)."""
        if not self.is_image:
            return np.array(samples if self.is_bounded else self.normalised(samples), dtype=np.float32, order="C")
        values = to_float(samples)
        values = values[:, None] if len(self.shape) == 2 else np.moveaxis(values, 3, 1)
        return np.ascontiguousarray(values) if samples.dtype == np.uint8 else np.array(values, order="C")

    def normalised(self, table: Any, library: Any = np) -> Any:
        """A table (n, features) in network units, float64; `library` is numpy or torch, as the table."""
        offset, scale = (library.asarray(given, dtype=library.float64) for given in (self.offset, self.scale))
        values = (library.asarray(table, dtype=library.float64) - offset) / scale
        if not self.is_by_column:
            return values
        above, below = library.clip(values - 1, 0, None), library.clip(-values, 0, None)
        reach = 2 * _N_DEVIATIONS
        return library.clip(values, 0, 1) + (library.log1p(reach * above) - library.log1p(reach * below)) / reach

    def from_network(self, values: Float32, *, clip: bool = True) -> Float32:
        """Outputs (n, *network_shape) as samples (n, *shape): images, unless not to `clip`, in 0..1, features in own units."""
        if not self.is_image and self.is_bounded:
            return values
        if not self.is_image:
            table: Float32 = self.denormalised(values.astype(np.float64)).astype(np.float32)
            return table
        values = values[:, 0] if len(self.shape) == 2 else np.moveaxis(values, 1, 3)
        return np.clip(values, 0, 1) if clip else values

    def denormalised(self, values: Any, library: Any = np) -> Any:
        """The inverse of `normalised`, clipped to the range of float32; `values` are float64, of `library`."""
        if self.is_by_column:
            reach, most = 2 * _N_DEVIATIONS, math.log(_LARGEST)
            above, below = (library.expm1(library.clip(reach * part, 0, most)) / reach for part in (values - 1, -values))
            values = library.clip(values, 0, 1) + above - below
        offset, scale = (library.asarray(given, dtype=library.float64) for given in (self.offset, self.scale))
        return library.clip(values * scale + offset, -_LARGEST, _LARGEST)


def robust_moments(table: Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Robust (centre, standard deviation) of each column: float64 (features,), deviations above 0.

    The median, and the interquartile range scaled as for a normal distribution. This fails if half of a column is one value,
    as in binary columns and counts: the deviation is at least a tenth of that between the 1st and 99th percentile, or this
    itself if the interquartile range is 0, or else the plain one. A constant column has 1.
    """
    values = np.asarray(table, dtype=np.float64)
    low, first, centre, third, high = np.percentile(values, [1, 25, 50, 75, 99], axis=0)
    scale = np.maximum(np.abs(values).max(0), 1e-300)  # avoids overflow of squares
    most = scale * (np.clip(values, low, high) / scale).std(0)
    deviation = np.maximum((third - first) / 1.349, most / 10)
    deviation = np.where(third > first, deviation, most)
    deviation = np.where(deviation > 0, deviation, scale * (values / scale).std(0))
    is_constant = deviation <= 1e-12 * scale  # rounding only
    return centre, np.where(is_constant, 1.0, deviation)


def _warn_of_dominant_columns(table: Array) -> None:
    """Warn if columns vary too little beside the others to be learned, as all have one scale.

    Of a column that is mostly one value, as pixels at the border, the range is compared in place of the deviation.
    """
    values = np.asarray(table, dtype=np.float64) / (float(np.abs(table).max()) or 1.0)
    deviations, ranges = values.std(0), np.ptp(values, axis=0)
    first, third = np.percentile(values, [25, 75], axis=0)
    is_large = np.where(third > first, deviations >= _HARDLY_LEARNED * deviations.max(), ranges >= ranges.max() / _LEVELS)
    large, small = np.flatnonzero(is_large), np.flatnonzero(~is_large & (ranges > 0))
    share = np.square(deviations[large]).sum() / (np.square(deviations).sum() or 1.0)
    if len(small) and share > _DOMINANT_SHARE:
        verbs = ("holds", "dominates") if len(large) == 1 else ("hold", "dominate")
        words = f"{_columns(large)} {verbs[0]} {100 * share:.3g} % of the table's variance, and {verbs[1]} training"
        others = f"{_columns(small)} {'varies' if len(small) == 1 else 'vary'} too little beside to be learned"
        note(f"{words}: {others}. If columns have different units, scale them first (StandardScaler).")


def _columns(numbers: NDArray[np.int64]) -> str:
    """The first few of these columns in words."""
    return f"column{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers[:5]))}{', …' * (len(numbers) > 5)}"
