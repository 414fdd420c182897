"""Compression: bytes an image and the error they cost, all bytes counted."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from hourglass.estimators import Autoencoder, Compressor
from hourglass.evaluation.uses.rows import Row, Setting
from hourglass.images import Array, to_float, to_uint8

FORMATS: dict[str, dict[str, int | bool]] = {
    "JPEG": {"quality": 5},
    "WEBP": {"quality": 0, "method": 6},
    "PNG": {"optimize": True},
}
"""The fields' formats at their smallest."""


def compress(setting: Setting) -> list[Row]:
    """Bytes an image of the whole file, and mean squared error, over all test images, beside JPEG, WebP and PNG."""
    train, test = setting.dataset.train, setting.dataset.test
    ours, seconds = setting.fit(Compressor(), train.images, name="compress")
    plain, _ = setting.fit(Autoencoder(), train.images, name="plain autoencoder, quantised")
    found = {
        name: by_model(model, test.images)
        for name, model in (("ours", ours), ("plain autoencoder, quantised", Compressor.from_autoencoder(plain, train.images)))
    }
    setting.pictures["compress"] = {"original": test.images[:10], "Compressor": decoded(ours, ours.compress(test.images[:10]))}
    for name, options in FORMATS.items():
        made = [np.asarray(Image.open(io.BytesIO(encoded(image, name, options)))) for image in to_uint8(test.images[:10])]
        setting.pictures["compress"][name] = np.stack(made)
        label = name.title() if name == "WEBP" else name
        size, error, header = by_format(test.images, name, options)
        found[label] = (size, error)
        setting.notes.append(
            f"compress: {label} without its header (that of a black image of the same size): {size - header:.1f} bytes."
        )
    weights = sum(parameter.numel() for parameter in ours.decoder_.parameters())
    setting.notes.append(
        f"compress: The decoder has {weights:,} weights, {4 * weights / 1e6:.1f} MB; they are no part of the file."
    )
    bars = (("≤", 12.0), ("≤", 0.0049)) if setting.has_bars else (None, None)
    return [
        Row(
            "compress",
            measure,
            found["ours"][index],
            form,
            {name: values[index] for name, values in found.items() if name != "ours"},
            setting.seed,
            seconds,
            bar,
        )
        for index, (measure, form, bar) in enumerate(
            (("bytes an image, the whole file", ".2f", bars[0]), ("mean squared error", ".5f", bars[1]))
        )
    ]


def by_model(model: Compressor, images: Array) -> tuple[float, float]:
    """(bytes an image, mean squared error of the decompressed uint8 images in squared units of 0..1)"""
    blob = model.compress(images)
    made = decoded(model, blob)
    return len(blob) / len(images), float(np.square(to_float(made) - to_float(images), dtype=np.float64).mean())


def decoded(model: Compressor, blob: bytes) -> Array:
    made = model.decompress(blob)
    assert isinstance(made, np.ndarray)  # all of one size
    return made


def by_format(images: Array, name: str, options: dict[str, int | bool]) -> tuple[float, float, int]:
    """(bytes an image, mean squared error, bytes of a black image of that size), each image a file of its own."""
    sizes, squares = [], 0.0
    for image in to_uint8(images):
        blob = encoded(image, name, options)
        sizes.append(len(blob))
        made = np.asarray(Image.open(io.BytesIO(blob)).convert("L" if image.ndim == 2 else "RGB"))
        squares += float(np.square(made / 255 - image / 255).sum())
    return float(np.mean(sizes)), squares / images.size, len(encoded(np.zeros_like(to_uint8(images[0])), name, options))


def encoded(image: Array, name: str, options: dict[str, int | bool]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[2:] == (1,) else image).save(stream, name, **options)
    return stream.getvalue()


QUALITIES = (30.0, 50.0, 70.0)
"""Of the Compressors on the rate-distortion curve, each trained for its own."""
SETTINGS: dict[str, list[dict[str, int | bool]]] = {
    "JPEG": [{"quality": quality} for quality in (1, 5, 10, 20, 35, 50, 75)],
    "WEBP": [{"quality": quality, "method": 6} for quality in (0, 10, 25, 50, 75)],
    "PNG": [FORMATS["PNG"]],
}


def rate_distortion(setting: Setting) -> dict[str, list[tuple[float, float]]]:
    """(bytes an image, mean squared error) of the test images, for several qualities of Compressor, JPEG, WebP and PNG.

    Each format stands there twice: with the bytes of its headers, and without them, taken as those of a black image.
    """
    train, test = setting.dataset.train.images, setting.dataset.test.images
    curves: dict[str, list[tuple[float, float]]] = {"Compressor": []}
    for quality in QUALITIES:
        model, _ = setting.fit(Compressor(quality=quality), train, name=f"quality {quality:g}")
        curves["Compressor"].append(by_model(model, test))
    for name, several in SETTINGS.items():
        for options in several:
            size, error, header = by_format(test, name, options)
            curves.setdefault(name, []).append((size, error))
            curves.setdefault(f"{name} without headers", []).append((size - header, error))
    return curves
