"""A model of one image size, used on an image of any size: by overlapping tiles, or by resizing."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image

from hourglass.errors import DataError, HourglassWarning, ModelError
from hourglass.images import Array, Float32, Sample, check_images, to_float

Model = Callable[[Float32], Float32]
_TILES = 256  # tiles a call, so that memory does not grow with the image


def restore_image(image: Array, sample: Sample, model: Model, *, is_local: bool, scale: int = 1) -> Float32:
    """Run `model`, which maps samples to images `scale` times as large, on one image of any size and number of channels.

    Parameters
    ----------
    image : ndarray (h, w) or (h, w, c), uint8 or float in 0..1
    sample : Sample
        What the model takes.
    is_local : bool
        Of a model of one size: tile the image (True) or resize it, with a HourglassWarning.
    scale : int
        1, or for a local model a whole number.

    Returns
    -------
    ndarray of the shape of `image`, height and width `scale` times as large, float32 in 0..1

    Raises
    ------
    DataError, ModelError
        If the image breaks the contract or has channels the model does not take; if the model takes features.
    """
    if not sample.is_image:
        raise ModelError("the model was fitted on flat features, not on images.")
    values = to_float(check_images(np.asarray(image)[None], name="image")[0])
    stack = _as_channels(values, sample)
    if sample.is_any_size or stack.shape[1:3] == sample.size[:2]:
        return _from_channels(model(stack), (values.shape[0] * scale, values.shape[1] * scale, *values.shape[2:]))
    height, width = sample.size[:2]
    if is_local:
        restored = np.stack([_tiled(one, (height, width), model, scale) for one in stack])
    else:
        warnings.warn(
            f"the network is not convolutional: an image of {values.shape[1]}×{values.shape[0]} is resized to "
            f'{width}×{height} and back, and loses detail. Train with preset="skip" to keep it.',
            HourglassWarning,
            stacklevel=3,
        )
        small = np.stack([_resized(one, (height, width)) for one in stack])
        restored = np.stack([_resized(one, values.shape[:2]) for one in model(small)])
    return _from_channels(restored, (values.shape[0] * scale, values.shape[1] * scale, *values.shape[2:]))


def _as_channels(values: Float32, sample: Sample) -> Float32:
    """The image as a stack (n, *shape of the model's channels): one image, or for a grey model one a channel."""
    given, taken = _channels(values.shape), sample.channels
    planes = values.reshape(*values.shape[:2], given)
    if taken == 1:
        stack: Float32 = np.ascontiguousarray(np.moveaxis(planes, 2, 0))
        return stack if len(sample.shape) == 2 else stack[..., None]
    if given not in (1, taken):
        raise DataError(f"the image has {given} channels; the model takes {taken}, or grey images.")
    return np.repeat(planes, taken // given, axis=2)[None]


def _from_channels(stack: Float32, shape: tuple[int, ...]) -> Float32:
    """The stack that `_as_channels` made, after the model, as an image of `shape`."""
    if len(stack) == _channels(shape) and (stack.ndim == 3 or stack.shape[3] == 1):  # one plane a channel
        image = np.moveaxis(stack.reshape(stack.shape[:3]), 0, 2)
    else:
        image = stack[0] if stack.shape[3] == _channels(shape) else stack[0].mean(axis=2, keepdims=True)
    return np.ascontiguousarray(image.reshape(shape))


def _channels(shape: tuple[int, ...]) -> int:
    return shape[2] if len(shape) == 3 else 1


def _tiled(image: Float32, size: tuple[int, int], model: Model, scale: int) -> Float32:
    """Cover the image with tiles of `size` that overlap by half; blend what comes of them, weights falling to the edges."""
    height, width = image.shape[:2]
    pad = [(0, max(0, side - have)) for side, have in zip(size, (height, width), strict=True)]
    padded = np.pad(image, (*pad, *[(0, 0)] * (image.ndim - 2)), mode="symmetric")
    large = (size[0] * scale, size[1] * scale)
    bell = np.outer(*(_ramp(side) for side in large))
    window = bell.reshape(*large, *[1] * (image.ndim - 2))
    shape = (padded.shape[0] * scale, padded.shape[1] * scale)
    total = np.zeros((*shape, *image.shape[2:]), dtype=np.float32)
    weight = np.zeros(shape + (1,) * (image.ndim - 2), dtype=np.float32)
    for corners in _chunks(_corners(padded.shape[:2], size)):
        tiles = np.stack([padded[y : y + size[0], x : x + size[1]] for y, x in corners])
        for (y, x), tile in zip(corners, model(tiles), strict=True):
            place = np.s_[y * scale : y * scale + large[0], x * scale : x * scale + large[1]]
            total[place] += tile * window
            weight[place] += window
    total /= weight
    blended: Float32 = total[: height * scale, : width * scale]
    return blended


def _ramp(side: int) -> Float32:
    """1, 2, … up to the middle and down again: never zero, so that every pixel has a weight."""
    return np.minimum(np.arange(1, side + 1), np.arange(side, 0, -1)).astype(np.float32)


def _corners(shape: tuple[int, ...], size: tuple[int, int]) -> list[tuple[int, int]]:
    """Upper left corners, half a tile apart, the last ones at the border."""

    def starts(length: int, side: int) -> list[int]:
        return sorted({*range(0, length - side, max(1, side // 2)), length - side})

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
