"""The codec of images of any size: from a trained network with maps as codes to bytes, and back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from hourglass.codec import ContextModel, ImageCode, MapTables, pack_image, quantise, unpack_image
from hourglass.errors import DataError
from hourglass.images import Array, Float32, check_images, to_uint8, to_unit, white_level, with_channels
from hourglass.networks.codec import Codec, Group
from hourglass.notes import note
from hourglass.trained import Trained, windows_of

_BYTE = 255
_N_COUNTED = 100  # training images to count integers in,
_QUALITIES_EACH = 4  # at so many qualities
_WINDOW = 64  # rows and columns of maps to decode at once
_CONTEXT, _TABLE = "context_", "map_"  # prefixes of saved arrays


@dataclass(frozen=True)
class ImageCoder:
    """Codes single images.

    Attributes
    ----------
    model : Trained
        Its network is a `Codec`.
    contexts : ContextModel
    tables : MapTables
    checksum : bytes
        Identifies network, contexts and tables in a file: 8 bytes.
    """

    model: Trained
    contexts: ContextModel
    tables: MapTables
    checksum: bytes

    @classmethod
    def of(cls, model: Trained, contexts: ContextModel, tables: MapTables) -> Self:
        digest = hashlib.sha256()
        for name, array in (contexts.to_arrays() | tables.to_arrays()).items():
            digest.update(name.encode() + np.ascontiguousarray(array).tobytes())
        for name, tensor in sorted(model.network.state_dict().items()):
            digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
        return cls(model, contexts, tables, digest.digest()[:8])

    @classmethod
    def learn(cls, model: Trained, images: Sequence[Array]) -> Self:
        """The coder of a trained network: rounds its entropy model, and counts the integers of some training images."""
        contexts = rounded_contexts(_codec(model))
        blank = cls(model, contexts, MapTables.blank(), b"")
        chosen = np.linspace(0, len(images) - 1, min(len(images), _N_COUNTED)).astype(int)

        def maps() -> Iterator[tuple[NDArray[np.int32], int]]:
            for number, row in enumerate(chosen):
                codes = model.encode(images[row][None], check_input=False)[0]
                for part in range(_QUALITIES_EACH):
                    quality = (37 * number + 25 * part) % 101  # spread over all
                    yield blank.quantised(codes, quality), quality

        return cls.of(model, contexts, blank.tables.counted(contexts, maps()))

    # --- one image ------------------------------------------------------------------------------------------------------

    def compress(self, image: Array, quality: int, white: float | None = None) -> bytes:
        """The bytes of one checked image (h, w) or (h, w, c), see `checked`; `white` is for integers deeper than 8 bits."""
        values, level = image, _BYTE
        if values.dtype != np.uint8:
            values, level = _in_unit(values, white or self.model.sample.white)
        given = values.shape[2] if values.ndim == 3 else 1
        fitted = with_channels(values[None], self.model.sample.shape)
        channels = min(given, self.model.sample.channels)
        codes = self.model.encode(fitted, check_input=False)[0]
        size = (values.shape[0], values.shape[1])
        maps = self.quantised(codes, quality)
        return pack_image(ImageCode(self.checksum, quality, size, channels, level, maps), self.contexts, self.tables)

    def decompress(self, blob: bytes) -> tuple[Array, int]:
        """(image, its white level): uint8, or float32 in 0..1 if the white level is not 255."""
        sample, network = self.model.sample, _codec(self.model)
        code = unpack_image(blob, self.checksum, network.code.stride, sample.channels, self.contexts, self.tables)
        was_grey = code.channels < sample.channels
        is_byte = code.white == _BYTE
        image = self.decoded(code.maps, code.quality, as_bytes=is_byte and not was_grey)[: code.size[0], : code.size[1]]
        if was_grey:
            image = image.mean(2)
        return (to_uint8(image) if is_byte else np.ascontiguousarray(image)), code.white

    def quantised(self, codes: Float32, quality: int) -> NDArray[np.int32]:
        """Maps (n_components, rows, columns) times the gains of `quality`, rounded."""
        return quantise(codes, np.float32(1) / _curve(_codec(self.model).gains, quality)[:, None, None])

    def decoded(self, maps: NDArray[np.int32], quality: int, *, as_bytes: bool = False) -> Array:
        """The image of integer maps, at a multiple of the stride: float32 in 0..1, or uint8.

        Decoded in windows, to bound memory; the result is that of the whole image, but for rounding.
        """
        network, sample = _codec(self.model), self.model.sample
        stride = network.code.stride
        codes = maps.astype(np.float32) * _curve(network.steps, quality)[:, None, None]
        rows, columns = maps.shape[1:]
        image: Array = np.empty((rows * stride, columns * stride, *sample.shape[2:]), np.uint8 if as_bytes else np.float32)
        for window in windows_of((rows, columns), _WINDOW, -(-network.decoder.reach // stride)):
            top, bottom, left, right = window.read
            values = self.model.decode(np.ascontiguousarray(codes[None, :, top:bottom, left:right]))[0]
            kept = values[_times(window.inner(), stride)]
            image[_times(window.place(), stride)] = to_uint8(kept) if as_bytes else kept
        return image

    # --- saving ---------------------------------------------------------------------------------------------------------

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        contexts = {f"{_CONTEXT}{name}": array for name, array in self.contexts.to_arrays().items()}
        return contexts | {f"{_TABLE}{name}": array for name, array in self.tables.to_arrays().items()}

    @classmethod
    def of_arrays(cls, model: Trained, arrays: dict[str, Any]) -> Self:
        """The inverse of `to_arrays`. Raises ValueError if they do not fit the model."""
        parts = [
            {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
            for prefix in (_CONTEXT, _TABLE)
        ]
        contexts = ContextModel.of_arrays(parts[0])
        if contexts.n_channels != _codec(model).code.width:
            raise ValueError(f"contexts of {contexts.n_channels} channels")
        return cls.of(model, contexts, MapTables.of_arrays(parts[1]))


def checked(images: Sequence[Array], channels: int) -> list[Array]:
    """Check images (h, w) or (h, w, c) of any size and depth; those of other channels are converted later, said in one line.

    Raises
    ------
    DataError
        For channels that cannot be converted.
    """
    made = [_checked(image) for image in images]
    given = [image.shape[2] if image.ndim == 3 else 1 for image in made]
    strange = sorted({number for number in given if number not in (1, channels) and (number, channels) != (3, 1)})
    if strange:
        raise DataError(f"images with {strange[0]} channels; the model takes {channels}, or grey images.")
    for number, words in ((1, "grey: coded in equal channels, and grey again when decoded"), (3, _LOST)):
        count = given.count(number)
        if count and number != channels:
            note(f"{count} of {len(given)} images are {words}.", 3)
    return made


_LOST = "in colour, and the model is grey: their colour is lost. Train on images in colour to keep it"


def _checked(image: Array) -> Array:
    """An image that keeps the contract, or one of integers deeper than 8 bits."""
    is_deep = image.dtype.kind in "iu" and image.dtype != np.uint8
    if is_deep and image.size and image.min() < 0:
        raise DataError(f"an image holds integers from {image.min()}; allowed: 0 to its white level.")
    check_images(np.zeros((1, *image.shape), np.uint8) if is_deep else image[None], name="an image of X")
    return image.astype(np.float32) if image.dtype == np.bool_ else image


def _in_unit(image: Array, white: float | None) -> tuple[Float32, int]:
    """(image in 0..1, its white level): by default that of as many bits as it needs; 0 for floats."""
    if image.dtype.kind == "f":
        return np.clip(image, 0, 1).astype(np.float32), 0
    level = round(white or white_level(float(image.max()), is_integer=True))
    return to_unit(image, level, name="an image of X"), level


def _codec(model: Trained) -> Codec:
    network = model.network
    assert isinstance(network, Codec)
    return network


def _curve(curve: Any, quality: int) -> Float32:
    """Gains or steps of a quality: float32 (n_components,)."""
    with torch.inference_mode():
        first = next(curve.__self__.parameters())
        values: Float32 = curve(first.new_full((1,), quality / 100))[0, :, 0, 0].cpu().numpy()
    return values


def _times(slices: tuple[slice, slice], stride: int) -> tuple[slice, slice]:
    rows, columns = (slice(part.start * stride, part.stop * stride) for part in slices)
    return rows, columns


def rounded_contexts(network: Codec) -> ContextModel:
    """The entropy model of a network in integers."""

    def floats(group: Group) -> dict[str, NDArray[Any]]:
        kernels = {"near": group.near.weight, "direct": group.direct.weight, "out": group.out.weight[..., 0, 0]}
        kernels["later"] = torch.zeros_like(kernels["near"]) if group.later is None else group.later.weight
        kernels["offsets"] = group.offsets.values
        return {name: tensor.detach().cpu().numpy() for name, tensor in kernels.items()}

    entropy = network.entropy
    groups = [floats(group) for group in entropy.groups if isinstance(group, Group)]
    return ContextModel.of_floats(entropy.start.values.detach().cpu().numpy(), groups)
