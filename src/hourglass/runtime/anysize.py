"""Applies a model of one image size to images of any size, by overlapping tiles or by resizing."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image

from hourglass.errors import DataError, ModelError
from hourglass.images import Array, Float32, Sample, as_array, check_images, to_float
from hourglass.notes import note

Model = Callable[[Float32], Float32]
_TILES = 256  # tiles in a call, to bound memory


def restore_image(
    image: Array, sample: Sample, model: Model, *, is_local: bool, scale: int = 1, bounded: bool = True
) -> Float32:
    """Apply `model` to one image of any size and number of channels; outputs are `scale` times as large.

    Parameters
    ----------
    image : ndarray (h, w) or (h, w, c), uint8, float in 0..1, or integers up to the white level
    sample : Sample
        Shape of the model's inputs.
    is_local : bool
        For a model of one size: tile the image (True) or resize it, with a HourglassWarning.
    scale : int
        1, or for a local model a positive integer.
    bounded : bool
        Whether floats must lie in 0..1.

    Returns
    -------
    ndarray of the shape of `image`, height and width `scale` times as large, float32 in 0..1

    Raises
    ------
    DataError, ModelError
        If the image or its channels do not fit; if the model takes features.
    """
    if not sample.is_image:
        raise ModelError("the model was fitted on flat features, not on images.")
    values = to_float(
        check_images(as_array(image, name="image")[None], name="image", white=sample.white, bounded=bounded, sample=sample)[0]
    )
    stack = _as_channels(values, sample)
    if sample.is_any_size or stack.shape[1:3] == sample.size[:2]:
        return _from_channels(model(stack), (values.shape[0] * scale, values.shape[1] * scale, *values.shape[2:]))
    height, width = sample.size[:2]
    if is_local:
        restored = np.stack([_tiled(one, (height, width), model, scale) for one in stack])
    else:
        note(
            f"the network is not convolutional: an image of {values.shape[1]}×{values.shape[0]} is resized to "
            f'{width}×{height} and back, which loses detail. Train with preset="skip" to keep it.',
            3,
        )
        small = np.stack([_resized(one, (height, width)) for one in stack])
        restored = np.stack([_resized(one, values.shape[:2]) for one in model(small)])
    return _from_channels(restored, (values.shape[0] * scale, values.shape[1] * scale, *values.shape[2:]))


def _as_channels(values: Float32, sample: Sample) -> Float32:
    """The image as a stack (n, *shape of the model's channels): one image, or for a grey model one for each channel."""
    given, taken = _channels(values.shape), sample.channels
    planes = values.reshape(*values.shape[:2], given)
    if taken == 1:
        stack: Float32 = np.ascontiguousarray(np.moveaxis(planes, 2, 0))
        return stack if len(sample.shape) == 2 else stack[..., None]
    if given not in (1, taken):
        raise DataError(f"the image has {given} channels; the model takes {taken}, or grey images.")
    return np.repeat(planes, taken // given, axis=2)[None]


def _from_channels(stack: Float32, shape: tuple[int, ...]) -> Float32:
    """The inverse of `_as_channels`, after the model: an image of `shape`."""
    if len(stack) == _channels(shape) and (stack.ndim == 3 or stack.shape[3] == 1):  # one plane for each channel
        image = np.moveaxis(stack.reshape(stack.shape[:3]), 0, 2)
    else:
        image = stack[0] if stack.shape[3] == _channels(shape) else stack[0].mean(axis=2, keepdims=True)
    return np.ascontiguousarray(image.reshape(shape))


def _channels(shape: tuple[int, ...]) -> int:
    return shape[2] if len(shape) == 3 else 1


def _tiled(image: Float32, size: tuple[int, int], model: Model, scale: int) -> Float32:
    """Process tiles of `size` that overlap by half; blend them with weights that fall towards their edges."""
    height, width = image.shape[:2]
    pad = [(0, max(0, length - given)) for length, given in zip(size, (height, width), strict=True)]
    padded = np.pad(image, (*pad, *[(0, 0)] * (image.ndim - 2)), mode="symmetric")
    large = (size[0] * scale, size[1] * scale)
    ramps = np.outer(*(_ramp(length) for length in large))
    weights = ramps.reshape(*large, *[1] * (image.ndim - 2))
    shape = (padded.shape[0] * scale, padded.shape[1] * scale)
    total = np.zeros((*shape, *image.shape[2:]), dtype=np.float32)
    total_weight = np.zeros(shape + (1,) * (image.ndim - 2), dtype=np.float32)
    for corners in _chunks(_corners(padded.shape[:2], size)):
        tiles = np.stack([padded[y : y + size[0], x : x + size[1]] for y, x in corners])
        for (y, x), tile in zip(corners, model(tiles), strict=True):
            region = np.s_[y * scale : y * scale + large[0], x * scale : x * scale + large[1]]
            total[region] += tile * weights
            total_weight[region] += weights
    total /= total_weight
    blended: Float32 = total[: height * scale, : width * scale]
    return blended


def _ramp(length: int) -> Float32:
    """1, 2, … up to the middle and down again; positive, so that every pixel has a weight."""
    return np.minimum(np.arange(1, length + 1), np.arange(length, 0, -1)).astype(np.float32)


def _corners(shape: tuple[int, ...], size: tuple[int, int]) -> list[tuple[int, int]]:
    """Upper left corners, half a tile apart; the last tiles end at the border."""

    def starts(length: int, tile: int) -> list[int]:
        return sorted({*range(0, length - tile, max(1, tile // 2)), length - tile})

    return [(y, x) for y in starts(shape[0], size[0]) for x in starts(shape[1], size[1])]


def _chunks(corners: list[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    for start in range(0, len(corners), _TILES):
        yield corners[start : start + _TILES]


def _resized(image: Float32, size: tuple[int, ...]) -> Float32:
    """(h, w[, c]) resized to `size`, Lanczos, clipped to 0..1."""
    planes = image[..., None] if image.ndim == 2 else image
    resized = np.stack(
        [
            np.asarray(Image.fromarray(np.ascontiguousarray(plane)).resize((size[1], size[0]), Image.Resampling.LANCZOS))
            for plane in np.moveaxis(planes, 2, 0)
        ],
        axis=2,
    )
    clipped: Float32 = np.clip(resized, 0, 1)
    return clipped[..., 0] if image.ndim == 2 else clipped
