"""Evaluation of compression: bytes per image, counting the whole file, and reconstruction error."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from hourglass.estimators import Autoencoder, Compressor
from hourglass.evaluation.uses.measurements import Measurement, Setting
from hourglass.images import Array, to_float, to_uint8

FORMATS: dict[str, dict[str, int | bool]] = {
    "JPEG": {"quality": 5},
    "WEBP": {"quality": 0, "method": 6},
    "PNG": {"optimize": True},
}
"""Common formats at their smallest settings."""


def compress(setting: Setting) -> list[Measurement]:
    """Bytes per image and mean squared error on the test images, compared with JPEG, WebP and PNG."""
    train, test = setting.dataset.train, setting.dataset.test
    ours, seconds = setting.fit(Compressor(), train.images, name="compress")
    plain, _ = setting.fit(Autoencoder(), train.images, name="plain autoencoder, quantised")
    results = {
        name: evaluate_compressor(model, test.images)
        for name, model in (("ours", ours), ("plain autoencoder, quantised", Compressor.from_autoencoder(plain, train.images)))
    }
    shown = test.images[:10]
    setting.pictures["compress"] = {"original": shown, "Compressor": decompress(ours, ours.compress(shown))}
    for name, options in FORMATS.items():
        images = [np.asarray(Image.open(io.BytesIO(encode_as(image, name, options)))) for image in to_uint8(shown)]
        setting.pictures["compress"][name] = np.stack(images)
        label = name.title() if name == "WEBP" else name
        size, error, header = evaluate_format(test.images, name, options)
        results[label] = (size, error)
        setting.notes.append(
            f"compress: {label} without its header (that of a black image of the same size): {size - header:.1f} bytes."
        )
    weights = sum(parameter.numel() for parameter in ours.decoder_.parameters())
    setting.notes.append(
        f"compress: The decoder has {weights:,} weights ({4 * weights / 1e6:.1f} MB), which the file does not include."
    )
    bars = (("≤", 12.0), ("≤", 0.0049)) if setting.has_bars else (None, None)
    return [
        Measurement(
            "compress",
            measure,
            results["ours"][index],
            form,
            {name: values[index] for name, values in results.items() if name != "ours"},
            setting.seed,
            seconds,
            bar,
        )
        for index, (measure, form, bar) in enumerate(
            (("bytes an image, the whole file", ".2f", bars[0]), ("mean squared error", ".5f", bars[1]))
        )
    ]


def evaluate_compressor(model: Compressor, images: Array) -> tuple[float, float]:
    """Return (bytes per image, mean squared error of the decompressed uint8 images in squared units of 0..1)."""
    blob = model.compress(images)
    decompressed = decompress(model, blob)
    return len(blob) / len(images), float(np.square(to_float(decompressed) - to_float(images), dtype=np.float64).mean())


def decompress(model: Compressor, blob: bytes) -> Array:
    images = model.decompress(blob)
    assert isinstance(images, np.ndarray)  # a list only for images of several sizes
    return images


def evaluate_format(images: Array, name: str, options: dict[str, int | bool]) -> tuple[float, float, int]:
    """Return (bytes per image, mean squared error, bytes of a black image of that size), with a file per image."""
    sizes, squares = [], 0.0
    for image in to_uint8(images):
        blob = encode_as(image, name, options)
        sizes.append(len(blob))
        decoded = np.asarray(Image.open(io.BytesIO(blob)).convert("L" if image.ndim == 2 else "RGB"))
        squares += float(np.square(decoded / 255 - image / 255).sum())
    return float(np.mean(sizes)), squares / images.size, len(encode_as(np.zeros_like(to_uint8(images[0])), name, options))


def encode_as(image: Array, name: str, options: dict[str, int | bool]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[2:] == (1,) else image).save(stream, name, **options)
    return stream.getvalue()


QUALITIES = (30.0, 50.0, 70.0)
"""Qualities on the rate-distortion curve; a Compressor is trained for each."""
SETTINGS: dict[str, list[dict[str, int | bool]]] = {
    "JPEG": [{"quality": quality} for quality in (1, 5, 10, 20, 35, 50, 75)],
    "WEBP": [{"quality": quality, "method": 6} for quality in (0, 10, 25, 50, 75)],
    "PNG": [FORMATS["PNG"]],
}


def rate_distortion(setting: Setting) -> dict[str, list[tuple[float, float]]]:
    """Rate-distortion curves of Compressor, JPEG, WebP and PNG: (bytes per image, mean squared error) of the test images.

    Each format has two curves, with and without headers. The size of the header is estimated by a black image.
    """
    train, test = setting.dataset.train.images, setting.dataset.test.images
    curves: dict[str, list[tuple[float, float]]] = {"Compressor": []}
    for quality in QUALITIES:
        model, _ = setting.fit(Compressor(quality=quality), train, name=f"quality {quality:g}")
        curves["Compressor"].append(evaluate_compressor(model, test))
    for name, all_options in SETTINGS.items():
        for options in all_options:
            size, error, header = evaluate_format(test, name, options)
            curves.setdefault(name, []).append((size, error))
            curves.setdefault(f"{name} without headers", []).append((size - header, error))
    return curves
