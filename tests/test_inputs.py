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
ONCE: dict[str, Any] = {"epochs": 1, "random_state": 0}
MAPS: dict[str, Any] = {"network": "maps", "hidden": (4,), "crop": 8} | ONCE

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


DEEP = GREY.astype(np.uint16) * 16  # up to 4080 of 4095

DEEP_PLACES: dict[str, Callable[[Any], Any]] = {
    "images to enhance and score": lambda images: hg.Enhancer(white=4095, **ONCE).fit(DEEP).score(images),
    "pairs to enhance and score": lambda images: hg.Enhancer(white=4095, **ONCE).fit(DEEP).score(images[:, ::2, ::2], images),
    "images of several sizes to enhance and score": lambda images: (
        hg.Enhancer(white=4095, network="unet", hidden=(4,), crop=4, **ONCE).fit(DEEP).score([images[0], images[1, :6]])
    ),
    "images to reduce": lambda images: hg.Enhancer(white=4095, **ONCE).fit(DEEP).reduce(images),
    "images to reduce before fit": lambda images: hg.Enhancer(white=4095).reduce(images),
    "images of other sizes to compress": lambda images: (
        hg.Compressor(3, white=4095, **ONCE).fit(DEEP).compress([images[0, :5], images[1]])
    ),
    "targets to score": lambda images: hg.Denoiser(3, white=4095, **ONCE).fit(GREY, DEEP).score(GREY, images),
    "pairs to score": lambda images: hg.Denoiser(3, white=4095, **ONCE).fit(DEEP, DEEP).score(images, images),
}


@pytest.mark.parametrize("place", DEEP_PLACES)
def test_deep_images_are_read_by_the_white_level_everywhere(place: str) -> None:
    np.testing.assert_array_equal(DEEP_PLACES[place](DEEP), DEEP_PLACES[place](DEEP / np.float32(4095)))


def test_the_white_level_of_deep_targets_alone_is_kept() -> None:
    with pytest.warns(hg.HourglassWarning, match="X and y: white level 4095"):
        model = hg.Denoiser(3, **ONCE).fit(GREY, DEEP)
    assert model.sample_.white == 4095
    assert model.score(GREY, DEEP) == model.score(GREY, DEEP / np.float32(4095))


def test_low_and_high_images_must_match_whether_arrays_or_lists() -> None:
    lows, highs = list(GREY[:, ::2, ::2]), list(GREY)
    several = [highs[0], highs[1][:6], *highs[2:]]
    model = hg.Enhancer(network="unet", hidden=(4,), crop=4, **ONCE).fit([lows[0], lows[1][:3], *lows[2:]], several)
    for low, high, words in (
        (lows, several, r"X has an image of shape \(4, 4\) and y of \(6, 8\)"),
        ([lows[0], lows[1][:3], *lows[2:]], GREY, r"X has an image of shape \(3, 4\) and y of \(8, 8\)"),
        (lows[:1], highs, "X holds 1 images and y 20"),
        ([lows[0], lows[1][:3]], several, "X holds 2 images and y 20"),
    ):
        with pytest.raises(hg.DataError, match=words):
            model.fit(low, high)
        with pytest.raises(hg.DataError, match=words):
            model.score(low, high)


@pytest.mark.parametrize("strength", ["a", True, -0.1, float("nan")])
def test_a_strength_that_is_no_number_is_refused_in_words(strength: Any) -> None:
    with pytest.raises(hg.ParameterError, match=f"strength={strength!r}; allowed"):
        hg.Denoiser(3, **ONCE).fit(GREY).transform(GREY, strength=strength)


def test_images_in_a_frame_are_refused_in_words() -> None:
    model = hg.Denoiser(3, **ONCE).fit(GREY)
    wanted = model.transform(GREY)
    with pytest.raises(hg.ParameterError, match='transform_output="pandas" is for tables'):
        model.set_output(transform="pandas").transform(GREY)
    assert np.array_equal(model.reconstruct(GREY), wanted)
    assert np.allclose(model.transform_image(GREY[0]), wanted[0], atol=1e-6)
    table = np.random.default_rng(0).random((20, 3))
    assert hg.Denoiser(2, **ONCE).set_output(transform="pandas").fit(table).transform(table).shape == table.shape


def test_images_of_several_shapes_are_said() -> None:
    with pytest.raises(hg.DataError, match="images cannot become one array"):
        hg.Flip()([GREY[0], COLOURS[0]], 0)
    with pytest.raises(hg.DataError, match="several sizes, as 9×7 and 8×8"):
        hg.Flip()([Image.new("L", (8, 8)), Image.new("L", (9, 7))], 0)


TAKE_ONE = ("one image", "ends of a path", "start of a traverse")


@pytest.mark.parametrize("convert", [np.asarray, Image.fromarray])
@pytest.mark.parametrize("place", [place for place in PLACES if place not in (*TAKE_ONE, "images to compress")])
def test_one_size_of_several_depths_is_refused(place: str, convert: Callable[[Any], Any]) -> None:
    """As one array, the images of 8 bits would be near black."""
    with pytest.raises(hg.DataError, match="hold deeper integers and uint8 together"):
        PLACES[place]([convert(GREY[0]), *(convert(image) for image in GREY[1:].astype(np.uint16) * 16)])


def test_floats_and_8_bits_of_one_size_are_refused() -> None:
    model = hg.Autoencoder(3, **ONCE).fit(GREY)
    compress = hg.Compressor(3, **ONCE).fit(GREY).compress
    for use in (model.encode, model.model_.encode, hg.Flip(), compress):
        with pytest.raises(hg.DataError, match="hold floats or bool and uint8 together"):
            use([GREY[0], GREY[1] / 255])
    assert hg.Flip()([GREY[0] > 99, GREY[1] / 255], 0).max() <= 1  # of one white level


@pytest.mark.parametrize("given", [hg.Split(COLOURS), hg.Dataset("d", hg.Split(COLOURS), "here")])
@pytest.mark.parametrize("place", [place for place in PLACES if place not in TAKE_ONE])
def test_a_data_set_in_place_of_its_images_is_refused(place: str, given: Any) -> None:
    with pytest.raises(hg.DataError, match=rf"is a {type(given).__name__}; pass its images: \."):
        PLACES[place](given)


def packed(images: Any) -> np.ndarray:
    array = np.empty(len(images), object)
    array[:] = list(images)
    return array


@pytest.mark.parametrize("place", [place for place in PLACES if place not in ("ends of a path", "start of a traverse")])
def test_an_object_array_of_images_is_a_list(place: str) -> None:
    np.testing.assert_array_equal(PLACES[place](packed(SAME)), PLACES[place](list(SAME)))


def test_what_is_meant_for_pairs_is_never_ignored() -> None:
    sizes = [image[: 5 + row % 3] for row, image in enumerate(GREY)]
    assert hg.Denoiser(3, **MAPS).fit(sizes, packed(sizes)).settings_["corruption"] is None
    assert hg.Denoiser(3, **ONCE).fit(GREY, [str(row) for row in range(20)]).settings_["corruption"] is not None  # labels
    words = r"y is a .*; allowed: clean samples, as arrays, or one label for each of the 20"
    for y in ((image for image in GREY), "clean/", range(19), packed([[1], [2, 3]] * 10)):
        for model, X in ((hg.Denoiser(3, **ONCE), GREY), (hg.Enhancer(**ONCE), GREY), (hg.Denoiser(3, **MAPS), sizes)):
            with pytest.raises(hg.DataError, match=words):
                model.fit(X, y)
    with pytest.raises(hg.DataError, match=r"X has an image of shape \(4, 4\) and y of \(5, 8\)"):
        hg.Enhancer(**ONCE).fit(GREY[:, ::2, ::2], sizes)
    model = hg.Enhancer(**ONCE).fit(GREY)
    with pytest.raises(hg.DataError, match="X holds 20 images and y 19"):
        model.score(list(GREY[:, ::2, ::2]), sizes[1:])


@pytest.mark.parametrize("shift", [(2, 0), (0, 2)])
def test_pairs_have_the_white_level_of_the_brighter_side(shift: tuple[int, int]) -> None:
    X, y = ((GREY.astype(np.uint16) * 16) >> by for by in shift)
    for model, inputs in ((hg.Denoiser(3, **ONCE), X), (hg.Enhancer(**ONCE), X[:, ::2, ::2]), (hg.Denoiser(3, **MAPS), X)):
        with pytest.warns(hg.HourglassWarning) as notes:
            model.fit(inputs, y)
        assert ["white level 4095" in str(note.message) for note in notes] == [True]
        assert model.sample_.white == 4095
    with pytest.warns(hg.HourglassWarning, match="X and y: white level 4095"):
        assert hg.Denoiser(3, **ONCE).fit(GREY, GREY.astype(np.uint16) * 16).sample_.white == 4095


def test_a_sparse_tensor_is_refused_in_words() -> None:
    with pytest.raises(hg.DataError, match=r"X: a tensor that numpy lacks \(torch\.sparse_coo, torch\.float32\)"):
        hg.Autoencoder(3, **ONCE).fit(torch.rand(20, 8, 8).to_sparse())


def test_labels_are_text_or_missing() -> None:
    with pytest.raises(hg.DataError, match="missing values"):
        hg.Generator(3, **ONCE).fit(GREY, np.array(["2020-01-01", "NaT"] * 10, "datetime64[D]"))
    for model in (hg.Generator(3, **ONCE), hg.Retriever(3, **ONCE)):
        with pytest.raises(hg.DataError, match="masked"):
            model.fit(GREY, np.ma.masked_equal(np.arange(20) % 3, 2))
    assert hg.Generator(3, network="mlp", **ONCE).fit(GREY, [b"x", "ö".encode()] * 10).classes_.tolist() == ["x", "ö"]


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
    wanted.setflags(write=False)  # torch warns of such arrays
    assert np.array_equal(model.decode(wanted), estimator.inverse_transform(wanted))
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
        (COLOURS[0], r"samples have shape \(8, 8, 3\), one sample without a batch axis"),
        (Image.fromarray(COLOURS[0]), "without a batch axis"),
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
