"""Images that are unusual, and runs that go wrong: a clear error or what the docs say, never a NaN."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image

import hourglass as hg
from hourglass.data.files import decode_image

_RNG = np.random.default_rng(0)
_DIGITS = hg.load("digits").train.images[:100]


def _fitted(images: Any, **arguments: Any) -> bool:
    """Whether an autoencoder fits `images` with finite weights and answers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", hg.HourglassWarning)
        known: dict[str, Any] = {"n_components": 4, "hidden": (16,), "epochs": 2, "random_state": 0}
        model = hg.Autoencoder(**known | arguments).fit(images)
    finite = all(bool(torch.isfinite(weight).all()) for weight in model.network_.state_dict().values())
    return finite and bool(np.isfinite(model.reconstruct(images)).all())


def _refused(call: Callable[[], object], *words: str) -> bool:
    """Whether `call` ends with an error of ours that holds all the words."""
    try:
        call()
    except hg.HourglassError as error:
        return all(word in str(error) for word in words)
    return False


def _with(value: float) -> np.ndarray:
    images = _DIGITS.astype(np.float32) / 255
    images[3, 2, 1] = value
    return images


def _decoded(image: Image.Image, kind: str = "PNG", **options: Any) -> np.ndarray:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    stream.seek(0)
    return decode_image(stream, "the file")


def _diverged() -> bool:
    exploding = hg.Autoencoder(
        4, hidden=(16,), epochs=50, learning_rate=1e18, optimizer="adam", schedule="constant", network="linear", random_state=0
    )
    images = _RNG.normal(size=(200, 30)) * 1e3
    exploding.set_params(batch_size=20)
    refused = _refused(lambda: exploding.fit(images), "no longer finite", "learning_rate")
    return refused and not hasattr(exploding, "network_")


def _exif() -> bool:
    image = Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    turned = _decoded(image, "PNG", exif=exif)
    return np.array_equal(turned, np.rot90(np.arange(12, dtype=np.uint8).reshape(3, 4), -1))


def _alpha() -> bool:
    pixels = np.zeros((2, 2, 4), np.uint8)
    pixels[0, 0] = (10, 20, 30, 255)
    laid = _decoded(Image.fromarray(pixels))
    return laid[0, 0].tolist() == [10, 20, 30] and laid[1, 1].tolist() == [255, 255, 255]


def _sixteen_bits() -> bool:
    deep = np.array([[0, 257, 65535]], np.uint16)
    return _decoded(Image.fromarray(deep)).tolist() == [[0, 257, 65535]]


CASES: dict[str, Callable[[], bool]] = {
    "NaN in the images: refused": lambda: _refused(lambda: _fitted(_with(np.nan)), "NaN"),
    "infinity in the images: refused": lambda: _refused(lambda: _fitted(_with(np.inf)), "infinite"),
    "NaN in features: refused": lambda: _refused(lambda: _fitted(np.where(_RNG.random((50, 6)) < 0.1, np.nan, 1.0)), "NaN"),
    "values beyond 0..1: refused": lambda: _refused(lambda: _fitted(_with(1.5)), "0..1"),
    "negative pixels: refused": lambda: _refused(lambda: _fitted(-_DIGITS.astype(np.int16)), "dtype int16"),
    "an exploding loss: refused, no model is left": _diverged,
    "a constant image: fits": lambda: _fitted(np.full((50, 8, 8), 77, np.uint8)),
    "all black, all white: fits": lambda: all(_fitted(np.full((50, 8, 8), value, np.uint8)) for value in (0, 255)),
    "constant features: fits": lambda: _fitted(np.full((50, 6), 3.5)),
    "one image: fits": lambda: _fitted(_DIGITS[:1]),
    "one image of one pixel: fits": lambda: _fitted(np.zeros((1, 1, 1), np.uint8)),
    "more codes than pixels: fits": lambda: _fitted(_DIGITS, n_components=200),
    "more codes than images: fits": lambda: _fitted(_DIGITS[:3], n_components=64),
    "1 bit (bool): fits": lambda: _fitted(_DIGITS > 128),
    "huge features: fits": lambda: _fitted(_RNG.normal(size=(100, 6)) * 1e30),
    "tiny features: fits": lambda: _fitted(_RNG.normal(size=(100, 6)) * 1e-30),
    "a convolution of odd, tiny sides: fits": lambda: _fitted(_RNG.random((40, 3, 5)), network="conv", hidden=(4, 4, 4)),
    "1-bit PNG: 0 and 255": lambda: set(np.unique(_decoded(Image.fromarray(_DIGITS[0] > 128)))) == {0, 255},
    "16-bit PNG: kept": _sixteen_bits,
    "transparency: on white": _alpha,
    "CMYK: as RGB": lambda: _decoded(Image.new("CMYK", (4, 4)), "TIFF").shape == (4, 4, 3),
    "EXIF rotation: turned": _exif,
}


def failing() -> list[str]:
    """The cases that do not end as they say."""
    return [name for name, holds in CASES.items() if not holds()]
