"""Whatever a user calls an image becomes the same array, wherever it is passed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import hourglass as hg

COLOURS = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), dtype=np.uint8)
GREY = COLOURS[..., 0]
PALETTES = [Image.fromarray(image).quantize(16) for image in COLOURS]
SAME = np.stack([np.asarray(image.convert("RGB")) for image in PALETTES])
ONCE = {"epochs": 1, "random_state": 0}
MAPS = {"network": "maps", "hidden": (4,), "crop": 8} | ONCE

PLACES: dict[str, Callable[[Any], Any]] = {
    "targets of pairs": lambda images: hg.Denoiser(3, **ONCE).fit(COLOURS, images).history_[-1]["loss"],
    "targets to score": lambda images: hg.Denoiser(3, **ONCE).fit(COLOURS, COLOURS).score(COLOURS, images),
    "low images of pairs": lambda images: hg.Enhancer(**ONCE).fit(images, SAME.repeat(2, 1).repeat(2, 2)).history_[-1]["loss"],
    "images to enhance and score": lambda images: hg.Enhancer(**ONCE).fit(COLOURS).score(images),
    "one image": lambda images: hg.Denoiser(3, **ONCE).fit(COLOURS).transform_image(images[0]),
    "ends of a path": lambda images: hg.Generator(3, **ONCE).fit(COLOURS).interpolate(images[0], images[1]),
    "start of a traverse": lambda images: hg.Generator(3, **ONCE).fit(COLOURS).traverse(images[0]),
    "images to compress": lambda images: hg.Compressor(3, **ONCE).fit(COLOURS).compress(images),
    "images to corrupt": lambda images: hg.GaussianNoise(0, 0.1)(images, 0),
    "images to take pairs of": lambda images: hg.neighbour_pairs(images)[0],
}


@pytest.mark.parametrize("place", PLACES)
def test_pictures_with_palettes_are_their_colours(place: str) -> None:
    wanted, made = PLACES[place](SAME), PLACES[place](PALETTES)
    np.testing.assert_array_equal(made, wanted)


@pytest.mark.parametrize("place", PLACES)
def test_a_mask_is_nowhere_lost(place: str) -> None:
    with pytest.raises(hg.DataError, match="mask would be lost"):
        PLACES[place](np.ma.masked_greater(SAME, 250))


@pytest.mark.parametrize("convert", [lambda image: image.requires_grad_(), lambda image: image.bfloat16()])
def test_tensors_are_taken_alone_and_in_lists(convert: Callable[[torch.Tensor], torch.Tensor]) -> None:
    def images(*size: int) -> torch.Tensor:
        return convert(torch.rand(*size))

    assert hg.Denoiser(3, **ONCE).fit(GREY, images(20, 8, 8)).sample_.size == (8, 8)
    assert hg.Autoencoder(3, **ONCE).fit([images(8, 8) for _ in range(6)]).sample_.size == (8, 8)
    assert hg.Autoencoder(3, **MAPS).fit([images(8 + row, 9) for row in range(6)]).sample_.is_any_size


@pytest.mark.parametrize("place", ["targets", "several sizes", "targets of several sizes"])
def test_masks_of_zeros_and_ones_are_noted(place: str) -> None:
    masks = [(COLOURS[0, : 5 + row, :, 0] > 99).astype(np.uint8) for row in range(4)]
    fits = {
        "targets": lambda: hg.Denoiser(3, **ONCE).fit(GREY, (GREY > 99).astype(np.uint8)),
        "several sizes": lambda: hg.Autoencoder(3, **MAPS).fit(masks),
        "targets of several sizes": lambda: hg.Denoiser(3, **MAPS).fit([mask * np.uint8(255) for mask in masks], masks),
    }
    with pytest.warns(hg.HourglassWarning, match=f"{'y' if 'targets' in place else 'X'} are uint8 and hold only 0 and 1"):
        fits[place]()


def test_images_of_other_sizes_are_compressed_in_their_colours() -> None:
    model = hg.Compressor(3, **ONCE).fit(COLOURS)
    larger = [image.resize((11, 9)) for image in PALETTES[:2]]
    assert model.compress(larger) == model.compress([np.asarray(image.convert("RGB")) for image in larger])
    with pytest.raises(hg.DataError, match="mask would be lost"):
        model.compress([np.ma.masked_greater(np.asarray(larger[0].convert("RGB")), 250)])


def test_images_of_several_shapes_are_said() -> None:
    with pytest.raises(hg.DataError, match="images cannot become one array"):
        hg.Flip()([GREY[0], COLOURS[0]], 0)
    with pytest.raises(hg.DataError, match="several sizes, as 9×7 and 8×8"):
        hg.Flip()([Image.new("L", (8, 8)), Image.new("L", (9, 7))], 0)


def test_a_retriever_refuses_sizes_that_its_network_cannot_take_before_training() -> None:
    class Started(hg.Callback):
        def on_train_begin(self, run: hg.Run) -> None:
            pytest.fail("the network was trained first")

    images = [COLOURS[row, : 5 + row % 3] for row in range(6)]
    model = hg.Retriever(3, network="mlp", corruption=None, penalty=(), crop=4, **ONCE)
    with pytest.raises(hg.ParameterError, match=r'X has images of several sizes; .* network="maps"'):
        model.fit(images, callbacks=[Started()])


# --- a trained model without its estimator ------------------------------------------------------------------------------


def test_a_trained_model_converts_as_its_estimator_does() -> None:
    deep = GREY.astype(np.uint16) * 16
    estimator = hg.Autoencoder(3, white=4095, **ONCE).fit(deep)
    model = estimator.model_
    wanted = estimator.encode(deep)
    assert np.array_equal(model.encode(deep), wanted)
    assert np.array_equal(model.vectors(torch.from_numpy(deep.astype(np.int32))), wanted)
    assert np.array_equal(model.encode([Image.fromarray(image) for image in deep]), wanted)
    assert np.array_equal(model.reconstruct(deep), estimator.reconstruct(deep))
    assert np.array_equal(model.reconstruct(GREY), estimator.reconstruct(GREY))
    assert np.array_equal(model.decode(wanted.tolist()), estimator.inverse_transform(wanted))
    table = hg.Autoencoder(2, **ONCE).fit(np.random.default_rng(0).random((20, 3)))
    assert np.array_equal(table.model_.reconstruct([[1, 2, 3]]), table.reconstruct([[1.0, 2, 3]]))


def test_a_trained_model_takes_several_sizes() -> None:
    images = [COLOURS[0, :5], COLOURS[1], COLOURS[2, :, :7]]
    estimator = hg.Denoiser(3, corruption=hg.GaussianNoise(0, 0.1), **MAPS).fit(images)
    model = estimator.model_
    maps = model.encode(images)
    assert [code.shape for code in maps] == [(3, 3, 4), (3, 4, 4), (3, 4, 4)]
    assert [image.shape for image in model.decode(maps)] == [(6, 8, 3), (8, 8, 3), (8, 8, 3)]
    assert np.array_equal(model.vectors(images), estimator.encode(images))
    for made, wanted in zip(model.reconstruct(images), estimator.reconstruct(images), strict=True):
        assert np.array_equal(made, wanted)
    with pytest.raises(hg.ParameterError, match="window=0"):
        model.reconstruct(images, window=0)
    noisy = COLOURS / np.float32(255) + np.float32(0.1)
    with pytest.raises(hg.DataError, match="hold floats from"):
        model.reconstruct(noisy)
    unbounded = hg.Denoiser(3, corruption=hg.GaussianNoise(0, 0.1, clip=False), **MAPS).fit(images)
    assert np.isfinite(unbounded.model_.reconstruct(noisy)).all()


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        (COLOURS.astype(float), "hold floats from 0 to 255"),
        (COLOURS.astype(np.uint16), "of dtype uint16"),
        (COLOURS[0], r"a single one, of shape \(8, 8, 3\); it needs a batch axis"),
        (Image.fromarray(COLOURS[0]), "needs a batch axis"),
        (GREY, r"samples have shape \(8, 8\); the model takes \(8, 8, 3\)"),
        ([COLOURS[0], COLOURS[1, :5]], r"samples have shape \(5, 8, 3\); the model takes"),
        (np.ma.masked_greater(COLOURS, 250), "mask would be lost"),
        (COLOURS[:0], "at least one image"),
        (np.full((1, 8, 8, 3), np.nan), "NaN"),
        (None, r"shape \(\)"),
    ],
)
def test_a_trained_model_refuses_in_words(samples: Any, words: str) -> None:
    model = hg.Autoencoder(3, **ONCE).fit(COLOURS).model_
    for use in (model.encode, model.vectors, model.reconstruct):
        with pytest.raises(hg.DataError, match=words):
            use(samples)


def test_a_trained_model_refuses_other_codes_and_tables_in_words() -> None:
    model = hg.Autoencoder(2, **ONCE).fit(np.random.default_rng(0).random((20, 3))).model_
    for codes, words in ((np.zeros(2), r"\(2,\); allowed: \(n, 2\)"), ([["a", "b"]], "numbers"), ([[np.inf, 0]], "infinite")):
        with pytest.raises(hg.DataError, match=words):
            model.decode(codes)
    for table, words in (([1, 2, 3], "batch axis"), ([[1, 2]], r"takes \(n, 3\)"), ([[np.nan, 1, 2]], "NaN")):
        with pytest.raises(hg.DataError, match=words):
            model.reconstruct(table)
