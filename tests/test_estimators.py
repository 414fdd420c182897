"""The scikit-learn faces: conventions, inputs, presets, fitting."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy.linalg import subspace_angles
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

import hourglass as hg
from hourglass.estimators import ESTIMATORS, PRESETS
from hourglass.training import Callback
from hourglass.training.engine import Engine
from hourglass.training.run import Loss, Run


# An Enhancer takes images alone, never tables, which is all that these checks have.
# Small and short, for there are hundreds of fits.
@pytest.mark.filterwarnings("ignore:.*support a false positive rate:hourglass.HourglassWarning")  # of 20 samples or so
@pytest.mark.filterwarnings("ignore:.*labelled as anomalies:hourglass.HourglassWarning")  # random labels of two values
@parametrize_with_checks([kind(hidden=(16,), epochs=3) for kind in ESTIMATORS.values() if kind is not hg.Enhancer])
def test_scikit_learns_conventions(estimator, check) -> None:
    check(estimator)


@pytest.mark.parametrize("kind", ESTIMATORS.values())
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, bool])
def test_takes_every_dtype_of_the_contract_and_answers_in_float32(kind, dtype, digits: np.ndarray) -> None:
    images = digits > 100 if dtype is bool else digits if dtype is np.uint8 else (digits / 255).astype(dtype)
    model = kind(4, epochs=1, random_state=0).fit(images)
    made = model.reconstruct(images)
    assert made.shape == images.shape
    assert made.dtype == np.float32
    assert made.min() >= 0
    assert made.max() <= 1


def test_uint8_and_the_same_floats_are_the_same_images(digits: np.ndarray) -> None:
    codes = [hg.Autoencoder(4, epochs=1, random_state=0).fit_transform(images) for images in (digits, digits / np.float32(255))]
    np.testing.assert_allclose(codes[0], codes[1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("network", ["linear", "mlp", "conv", "skip"])
def test_colour_images_of_odd_sizes(network: str, colours: np.ndarray) -> None:
    model = hg.Autoencoder(5, network=network, epochs=2, random_state=0, device="cpu").fit(colours)
    assert model.transform(colours).shape == (40, 5)
    assert model.inverse_transform(model.transform(colours)).shape == colours.shape
    assert model.reconstruct(colours).shape == colours.shape
    with torch.inference_mode():  # each half alone, on what torch uses
        codes = model.encoder_(torch.from_numpy(np.moveaxis(colours, 3, 1).copy()))
        assert model.decoder_(codes).shape == (40, 3, 13, 11)
    np.testing.assert_allclose(codes.numpy(), model.transform(colours), atol=1e-5)


def test_the_former_name_of_the_sample_warns(digits: np.ndarray) -> None:
    model = hg.Autoencoder(2, epochs=1, random_state=0).fit(digits)
    with pytest.warns(hg.HourglassWarning, match="layout_ is called sample_ now"):
        assert model.layout_ is model.sample_


def test_features_come_back_in_their_own_units() -> None:
    rng = np.random.default_rng(0)
    table = 300 + 50 * rng.normal(size=(400, 3)) @ rng.normal(size=(3, 10))
    model = hg.Autoencoder(3, network="linear", random_state=0).fit(table)
    made = model.reconstruct(table)
    assert np.square(made - table).mean() < 0.05 * table.var()
    assert model.score(table) == pytest.approx(-np.square(made - table).mean(), rel=1e-4)


def subspace_gap(model: hg.Autoencoder, table: np.ndarray) -> tuple[float, float]:
    """(largest angle in degrees between what the decoder spans and PCA, mean squared error as a multiple of PCA's)"""
    pca = PCA(model.settings_["n_components"], svd_solver="full").fit(table)
    weight = model.decoder_[0].weight  # type: ignore[index]
    angles = subspace_angles(weight.detach().cpu().numpy().astype(float), pca.components_.T)
    best = np.square(pca.inverse_transform(pca.transform(table)) - table).mean()
    return float(np.degrees(angles.max())), -model.score(table) / best


@pytest.mark.parametrize("n_components", [2, 32])
@pytest.mark.parametrize("n_samples", [1437, 90])  # more than twice the number of values, and fewer
def test_linear_autoencoder_spans_the_principal_subspace(n_components: int, n_samples: int) -> None:
    table = hg.load("digits").train.images[:n_samples].reshape(n_samples, -1) / 255.0
    for units in (1.0, 40.0):  # 0..1 as it is; other features are brought there
        model = hg.Autoencoder(n_components=n_components, network="linear", random_state=n_samples).fit(units * table)
        angle, ratio = subspace_gap(model, units * table)
        assert angle <= 1
        assert ratio <= 1.001


def test_linear_autoencoder_takes_batches_where_asked(digits: np.ndarray) -> None:
    for options in ({"batch_size": 20}, {"penalty": hg.L1()}, {"corruption": hg.Masking()}, {"loss": "mae"}):
        model = hg.Autoencoder(3, network="linear", epochs=2, random_state=0, **options).fit(digits)
        assert len(model.validation_rows_) == 20, options
    assert len(hg.Autoencoder(3, network="linear", epochs=2).fit(digits).validation_rows_) == 0
    assert len(hg.Autoencoder(3, network="linear", epochs=2, early_stopping=True).fit(digits).validation_rows_) == 20


def test_a_code_of_as_many_numbers_as_pixels_and_more(digits: np.ndarray) -> None:
    for n_components in (64, 100):
        model = hg.Autoencoder(n_components, network="linear", epochs=2, random_state=0).fit(digits)
        assert np.isfinite(model.transform(digits)).all()


def test_works_in_pipelines_and_searches(digits: np.ndarray) -> None:
    labels = hg.load("digits").train.known_labels[:200]
    flat = digits.reshape(200, -1) / 255.0
    pipeline = make_pipeline(hg.Autoencoder(epochs=2, random_state=0), LogisticRegression(max_iter=1000))
    search = GridSearchCV(pipeline, {"autoencoder__n_components": [2, 16]}, cv=2).fit(flat, labels)
    assert search.best_params_ == {"autoencoder__n_components": 16}
    names = hg.Autoencoder(2, epochs=1).fit(flat).get_feature_names_out()
    assert list(names) == ["autoencoder0", "autoencoder1"]


def test_clone_and_pickle(digits: np.ndarray) -> None:
    model = hg.Denoiser(4, corruption=hg.Masking(0.1), epochs=1, random_state=0)
    assert clone(model).corruption == hg.Masking(0.1)
    model.fit(digits)
    for learned in (model, model.partial_fit(digits)):
        assert np.array_equal(pickle.loads(pickle.dumps(learned)).transform(digits), learned.transform(digits))


# --- presets ----------------------------------------------------------------------------------------------------------


def test_an_argument_beside_a_preset_wins(digits: np.ndarray) -> None:
    model = hg.Autoencoder(n_components=3, preset="chapter", epochs=1, random_state=0).fit(digits)
    assert model.settings_["n_components"] == 3
    assert model.settings_["epochs"] == 1
    assert model.settings_["batch_size"] == 32
    assert model.settings_["hidden"] == (128, 64)
    other = hg.Autoencoder(preset="chapter", network="conv", epochs=1, random_state=0).fit(digits)
    assert other.settings_["hidden"] is None  # the preset's widths were meant for its own network


def test_the_chapters_network_is_784_128_64_32_and_back() -> None:
    model = hg.Denoiser(preset="chapter", epochs=1).fit(np.zeros((40, 28, 28), np.uint8))
    shapes = [tuple(w.shape) for w in model.network_.parameters() if w.ndim == 2]
    assert shapes == [(128, 784), (64, 128), (32, 64), (64, 32), (128, 64), (784, 128)]
    kinds = [type(module).__name__ for module in model.network_.modules()]
    assert kinds.count("LeakyReLU") == 5
    assert kinds.count("Sigmoid") == 1
    assert model.settings_["optimizer"] == "adam"
    assert (model.settings_["batch_size"], PRESETS["chapter"]["epochs"]) == (32, 5)
    assert model.settings_["corruption"] == hg.GaussianNoise(0.5, 0.4)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_trains(preset: str, digits: np.ndarray) -> None:
    model = hg.Denoiser(preset=preset, epochs=1, random_state=0).fit(digits)
    assert model.settings_["n_components"] == PRESETS[preset]["n_components"]
    assert np.isfinite(model.transform(digits)).all()


def test_few_samples_are_seen_more_often(digits: np.ndarray) -> None:
    few = hg.Autoencoder(2, random_state=0).fit(digits[:40])
    assert few.n_iter_ >= 150
    assert hg.Autoencoder(2, epochs=3, random_state=0).fit(digits[:40]).n_iter_ == 3


def test_few_images_generate_at_a_lower_rate(digits: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless the user chose a rate, epochs or another network. Tables, and many images, keep the preset's."""
    monkeypatch.setattr("hourglass.estimators.presets.FEWEST_STEPS", 1)  # for speed

    def rate(samples: np.ndarray, **options: Any) -> float:
        generator = hg.Generator(2, hidden=(8,), batch_size=1024, random_state=0, **options).fit(samples)
        return float(generator.settings_["learning_rate"])

    few = digits[:100]
    assert rate(few) == 0.015
    assert rate(few, learning_rate=0.1) == 0.1
    assert rate(few, epochs=2) == rate(few, network="variational") == rate(few.reshape(100, 64)) == 0.05
    assert rate(np.resize(digits, (6000, 8, 8))) == 0.05


# --- denoiser ---------------------------------------------------------------------------------------------------------


def test_denoiser_takes_pairs_and_ignores_labels(digits: np.ndarray) -> None:
    noise = hg.GaussianNoise(0.0, 0.3)
    clean, noisy = digits / np.float32(255), noise(digits, 1)
    labels = hg.load("digits").train.known_labels[:200]
    options: dict[str, Any] = {"epochs": 20, "random_state": 0}
    for model in (
        hg.Denoiser(**options, corruption=noise).fit(clean),
        hg.Denoiser(**options, corruption=noise).fit(clean, labels),
        hg.Denoiser(**options).fit(noisy, clean),
    ):
        assert np.square(model.transform(noisy) - clean).mean() < 0.7 * np.square(noisy - clean).mean()
        assert model.score(noisy, clean) == pytest.approx(-np.square(model.transform(noisy) - clean).mean(), rel=1e-4)
    assert hg.Denoiser(**options, corruption=noise).fit(clean).score(clean) < 0
    paired = hg.Denoiser(epochs=1, random_state=0).fit(noisy, clean)
    for call in (paired.score, paired.partial_fit):
        with pytest.raises(hg.ParameterError, match="it takes pairs"):
            call(clean)
    paired.partial_fit(noisy, clean)
    with pytest.raises(hg.ParameterError, match="leave corruption out"):
        hg.Denoiser(**options, corruption=noise).fit(noisy, clean)
    with pytest.raises(hg.DataError, match="pairs must have equal"):
        hg.Denoiser().fit(noisy, clean[:100])
    with pytest.raises(hg.DataError):
        hg.Denoiser().fit(noisy, clean[:, :4])


def test_denoiser_learns_what_separates_pairs(digits: np.ndarray) -> None:
    clean = digits / np.float32(255)
    model = hg.Denoiser(network="linear", n_components=64, random_state=0, epochs=100).fit(1 - clean, clean)
    assert np.square(model.transform(1 - clean) - clean).mean() < 0.01


def test_a_fixed_draw_is_the_same_in_every_epoch_and_a_fresh_one_is_not(digits: np.ndarray) -> None:
    seen: dict[str, list[bytes]] = {}

    class Watch(hg.Callback):
        def on_train_begin(self, run) -> None:
            forward = run.network.forward

            def watched(samples):
                if run.network.training:
                    key = samples[0].detach().numpy().round(3).tobytes()
                    seen.setdefault(name, []).append(key)
                return forward(samples)

            run.network.forward = watched

    for name in ("chapter", "default"):
        hg.Denoiser(preset=name, epochs=3, batch_size=1, random_state=0, device="cpu").fit(digits[:10], callbacks=[Watch()])
    per_epoch = 9
    assert len(set(seen["chapter"])) == per_epoch
    assert len(set(seen["default"])) == 3 * per_epoch


def as_it_is(X: Any, *, strength: float | None = None) -> Any:
    return X


@pytest.mark.parametrize("network", ["conv", "skip"])
def test_an_image_of_any_size_is_tiled(network: str, digits: np.ndarray) -> None:
    model = hg.Denoiser(network=network, epochs=1, random_state=0).fit(digits)
    model.reconstruct = as_it_is  # type: ignore[method-assign]  # so that every seam would show
    for shape in ((8, 8), (21, 30), (5, 40), (3, 3), (50, 50, 3), (9, 17, 4)):
        image = np.random.default_rng(0).uniform(size=shape).astype(np.float32)
        np.testing.assert_allclose(model.transform_image(image), image, atol=1e-6)


def test_an_image_of_any_size_is_resized_with_a_note(digits: np.ndarray) -> None:
    model = hg.Denoiser(network="mlp", epochs=1, random_state=0).fit(digits)
    with pytest.warns(hg.HourglassWarning, match="not convolutional"):
        made = model.transform_image(np.zeros((20, 30, 3), np.uint8))
    assert made.shape == (20, 30, 3)
    assert model.transform_image(digits[0]).shape == (8, 8)


def test_a_coloured_model_takes_grey_images_and_back(colours: np.ndarray) -> None:
    model = hg.Denoiser(network="conv", epochs=1, random_state=0).fit(colours)
    assert model.transform_image(np.zeros((20, 30), np.uint8)).shape == (20, 30)
    assert model.transform_image(np.zeros((20, 30, 1), np.uint8)).shape == (20, 30, 1)
    with pytest.raises(hg.DataError, match="4 channels"):
        model.transform_image(np.zeros((20, 30, 4), np.uint8))
    model.reconstruct = as_it_is  # type: ignore[method-assign]
    image = np.random.default_rng(0).uniform(size=(20, 30, 3)).astype(np.float32)
    np.testing.assert_allclose(model.transform_image(image), image, atol=1e-6)
    grey = hg.Denoiser(network="conv", epochs=1).fit(colours[..., :1])
    grey.reconstruct = as_it_is  # type: ignore[method-assign]
    np.testing.assert_allclose(grey.transform_image(image), image, atol=1e-6)  # each channel by itself
    flat = hg.Denoiser(epochs=1).fit(colours.reshape(len(colours), -1))
    with pytest.raises(hg.ModelError, match="flat features"):
        flat.transform_image(image)


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("images", "match"),
    [
        (np.full((3, 8, 8), np.nan), "NaN"),
        (np.full((3, 8, 8), np.inf), "infinite"),
        (np.full((3, 8, 8), 255.0), "0..1"),
        (np.full((3, 8, 8), -1, np.int64), "dtype int64"),
        (np.zeros((0, 8, 8)), "at least one image"),
        (np.zeros((3, 3, 8, 8)), "Channels come last"),
        (np.zeros((2, 3, 8, 8, 3)), "allowed:"),
        (np.zeros((3, 8, 8), complex), "dtype complex"),
        (np.array([[[{}]]]), "dtype object"),
        (np.zeros(8), "1D array"),
        (np.full((5, 4), np.nan), "NaN"),
    ],
)
def test_what_is_no_image_is_refused_in_a_sentence(images: np.ndarray, match: str) -> None:
    for kind in ESTIMATORS.values():
        message = "not flat features" if kind is hg.Enhancer and images.ndim < 3 else match
        with pytest.raises(hg.DataError, match=message):
            kind().fit(images)


def test_other_shapes_than_fitted_are_refused(digits: np.ndarray) -> None:
    model = hg.Autoencoder(2, epochs=1).fit(digits)
    for other in (np.zeros((2, 8, 9), np.uint8), np.zeros((2, 8, 8, 3), np.uint8), np.zeros((2, 64))):
        with pytest.raises(hg.DataError, match=r"fitted on|features"):
            model.transform(other)
    for codes in (np.zeros((2, 3)), np.zeros(2), np.full((1, 2), np.nan)):
        with pytest.raises(hg.DataError, match="codes"):
            model.inverse_transform(codes)


@pytest.mark.parametrize(
    "arguments",
    [
        {"n_components": 0},
        {"n_components": 2.5},
        {"network": "resnet"},
        {"preset": "fastest"},
        {"epochs": 0},
        {"batch_size": -1},
        {"learning_rate": 0.0},
        {"loss": "l3"},
        {"penalty": "l1"},
        {"penalty": ["l1"]},
        {"loss": "bce", "network": "linear"},
        {"network": ("skip", "mlp")},
        {"network": "skip", "hidden": ((4, 8), (4,))},
        {"network": "skip", "hidden": ()},
        {"device": "meta"},
        {"corruption": "noise"},
        {"validation_fraction": 1.0},
        {"device": "gpu7"},
        {"hidden": (0,)},
        {"early_stopping": True, "validation_fraction": 0.0},
        {"random_state": "x"},
    ],
)
def test_impossible_arguments_are_refused(arguments: dict, digits: np.ndarray) -> None:
    with pytest.raises(hg.ParameterError):
        hg.Autoencoder(**arguments).fit(digits)


def test_losses_that_do_not_fit_the_data_are_refused(digits: np.ndarray) -> None:
    with pytest.raises(hg.ParameterError, match="needs values in"):
        hg.Autoencoder(loss="bce").fit(np.random.default_rng(0).normal(size=(20, 4)))
    with pytest.raises(hg.ParameterError, match="needs images"):
        hg.Autoencoder(loss="ssim").fit(digits.reshape(200, -1))
    for loss in ("bce", "ssim", "mae"):
        assert np.isfinite(hg.Autoencoder(4, loss=loss, epochs=2, random_state=0).fit(digits).score(digits))


def test_your_own_modules(digits: np.ndarray, tmp_path) -> None:
    def own() -> tuple[torch.nn.Module, torch.nn.Module]:
        return (
            torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3)),
            torch.nn.Sequential(torch.nn.Linear(3, 64), torch.nn.Unflatten(1, (1, 8, 8))),
        )

    network = own()
    before = [parameter.detach().clone() for module in network for parameter in module.parameters()]
    model = hg.Autoencoder(3, network=network, epochs=2, random_state=0).fit(digits)
    after = [parameter for module in network for parameter in module.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))  # yours are copied, not trained
    model.save(tmp_path / "own.hg")
    with pytest.raises(hg.ParameterError, match="your own modules"):
        hg.load_model(tmp_path / "own.hg")
    loaded = hg.load_model(tmp_path / "own.hg", network=own())
    assert np.array_equal(loaded.transform(digits), model.transform(digits))
    wrong = (torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3, bias=False)), own()[1])
    with pytest.raises(hg.FormatError, match="do not fit"):
        hg.load_model(tmp_path / "own.hg", network=wrong)


def test_modules_that_draw_for_themselves_keep_the_seed(digits: np.ndarray, tmp_path) -> None:
    def model() -> hg.Autoencoder:
        first, last = torch.nn.Linear(64, 3), torch.nn.Linear(3, 64)
        encoder = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Dropout(0.5), first)
        decoder = torch.nn.Sequential(last, torch.nn.Unflatten(1, (1, 8, 8)))
        torch.nn.init.constant_(first.weight, 0.01)
        torch.nn.init.constant_(last.weight, 0.01)
        torch.nn.init.zeros_(first.bias)
        torch.nn.init.zeros_(last.bias)
        return hg.Autoencoder(3, network=(encoder, decoder), epochs=3, random_state=0)

    torch.manual_seed(1)
    first, second = model(), model()
    state = torch.random.get_rng_state()
    assert np.array_equal(first.fit_transform(digits), second.fit_transform(digits))
    assert torch.equal(state, torch.random.get_rng_state())


def test_shared_weights_stay_shared_and_are_saved(digits: np.ndarray, tmp_path) -> None:
    class Tied(torch.nn.Module):
        def __init__(self, encoder: torch.nn.Linear) -> None:
            super().__init__()
            self.encoder = encoder

        def forward(self, codes: torch.Tensor) -> torch.Tensor:
            return (codes @ self.encoder.weight).unflatten(1, (1, 8, 8))

    linear = torch.nn.Linear(64, 3)
    network = (torch.nn.Sequential(torch.nn.Flatten(), linear), Tied(linear))
    model = hg.Autoencoder(3, network=network, epochs=2, random_state=0).fit(digits, checkpoint=tmp_path / "c")
    assert model.encoder_[1].weight is model.decoder_.encoder.weight  # type: ignore[index,union-attr]
    model.save(tmp_path / "m.hg")
    assert np.array_equal(hg.load_model(tmp_path / "m.hg", network=network).transform(digits), model.transform(digits))


def test_your_arrays_are_never_written_to(digits: np.ndarray) -> None:
    class InPlace(torch.nn.Module):
        def forward(self, samples: torch.Tensor) -> torch.Tensor:
            return samples.flatten(1).sub_(0.5)

    images = (digits / np.float32(255)).copy()
    before = images.copy()
    encoder = torch.nn.Sequential(InPlace(), torch.nn.Linear(64, 3))
    model = hg.Autoencoder(3, network=(encoder, "mlp"), epochs=1, random_state=0).fit(images)
    model.transform(images)
    assert np.array_equal(images, before)
    images.flags.writeable = False
    model.fit(images).transform(images)


def test_numbers_from_searches_and_odd_containers(digits: np.ndarray, tmp_path) -> None:
    found: dict[str, Any] = {"hidden": [np.int64(8)], "learning_rate": np.float32(0.01), "epochs": np.int64(1)}
    model = hg.Autoencoder(np.int64(3), **found)  # type: ignore[arg-type]
    model.fit(digits).save(tmp_path / "m.hg")
    assert hg.load_model(tmp_path / "m.hg").settings_["n_components"] == 3
    for ragged in ([[1.0, 2.0], [3.0]], "text"):
        with pytest.raises(hg.DataError):
            hg.Autoencoder().fit(ragged)
    noise = hg.Compose(kind(0.1) for kind in (hg.Masking, hg.SaltAndPepper))  # type: ignore[arg-type]
    assert len(noise.corruptions) == 2


def test_a_failed_fit_leaves_the_estimator_as_it_was(digits: np.ndarray) -> None:
    model = hg.Autoencoder(3, epochs=1, random_state=0).fit(digits)
    codes = model.transform(digits)
    model.set_params(network="linear", optimizer="adam", learning_rate=1e25, epochs=5)
    with pytest.raises(hg.DivergenceError):
        model.fit(digits.reshape(200, -1) / 255.0)
    assert np.array_equal(model.transform(digits), codes)
    new = hg.Autoencoder(3, network="linear", optimizer="adam", learning_rate=1e25, epochs=5)
    with pytest.raises(hg.DivergenceError):
        new.fit(digits)
    with pytest.raises(NotFittedError):
        new.transform(digits)


class _Interrupt(Callback):
    """Ctrl-C after so many steps."""

    def __init__(self, n_steps: int) -> None:
        self.left = n_steps

    def on_batch_end(self, run: Run) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("kind", ESTIMATORS.values())
def test_an_interrupted_fit_leaves_the_estimator_as_it_was(kind, digits: np.ndarray) -> None:
    model = kind(4, epochs=3, random_state=0)
    with pytest.raises(KeyboardInterrupt):
        model.fit(digits, callbacks=[_Interrupt(3)])
    assert set(vars(model)) == set(model.get_params())
    model.fit(digits)
    before, made = dict(vars(model)), model.reconstruct(digits)
    with pytest.raises(KeyboardInterrupt):
        model.fit(digits[:90, :6, :6], callbacks=[_Interrupt(3)])
    assert vars(model).keys() == before.keys()
    assert all(value is before[name] for name, value in vars(model).items())
    assert np.array_equal(model.reconstruct(digits), made)


def test_an_interrupted_partial_fit_leaves_the_weights(digits: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    model = hg.Autoencoder(4, epochs=2, random_state=0).fit(digits).partial_fit(digits)
    made, step, left = model.reconstruct(digits), Engine.step, iter((True, True, False))

    def interrupted(self: Engine, *batch: torch.Tensor) -> Loss:
        if not next(left):
            raise KeyboardInterrupt
        return step(self, *batch)

    monkeypatch.setattr(Engine, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.partial_fit(digits)
    monkeypatch.undo()
    assert np.array_equal(model.reconstruct(digits), made)
    assert len(model.history_) == 3
    assert len(model.partial_fit(digits).history_) == 4


def test_only_what_can_be_loaded_is_saved(digits: np.ndarray, tmp_path) -> None:
    @dataclass(frozen=True)
    class Fog(hg.Corruption):
        def corrupt(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
            return images / 2 + 0.5

    class Mine(hg.Autoencoder):
        pass

    foggy = hg.Denoiser(3, corruption=Fog(), epochs=1, random_state=0).fit(digits, checkpoint=tmp_path / "c")
    for model in (foggy, Mine(3, epochs=1).fit(digits)):
        with pytest.raises(hg.ParameterError):
            model.save(tmp_path / "m.hg")
        assert not (tmp_path / "m.hg").exists()


def test_feature_names_survive_pairs() -> None:
    pandas = pytest.importorskip("pandas", reason="comes with mlxtend")
    table = pandas.DataFrame(np.random.default_rng(0).uniform(size=(30, 3)), columns=["a", "b", "c"])
    model = hg.Denoiser(2, epochs=1, random_state=0).fit(table, table)
    assert list(model.feature_names_in_) == ["a", "b", "c"]
    model.score(table, table)


# --- what goes in -------------------------------------------------------------------------------------------------------


def test_integers_of_any_depth_have_one_white_level(digits: np.ndarray, tmp_path) -> None:
    deep = digits.astype(np.uint16) * 16
    with pytest.warns(hg.HourglassWarning, match="up to 4080; the white level is taken to be 4095"):
        model = hg.Autoencoder(4, epochs=1, random_state=0).fit(deep)
    assert model.sample_.white == 4095
    model.save(tmp_path / "m.hg")
    again = hg.load_model(tmp_path / "m.hg")
    assert np.array_equal(again.transform(deep[:3] // 4), model.transform(deep[:3] // 4))  # not brighter for being dark
    assert np.allclose(again.transform(deep), again.transform((deep / 4095).astype(np.float32)), atol=1e-5)
    assert hg.Autoencoder(4, epochs=1, white=65535).fit(deep).sample_.white == 65535
    with pytest.raises(hg.DataError, match="was fitted on uint8 or floats"):
        hg.Autoencoder(4, epochs=1).fit(digits).transform(deep)


def test_tensors_pictures_and_tables_of_words(digits: np.ndarray) -> None:
    model = hg.Autoencoder(4, epochs=1, random_state=0)
    floats = torch.from_numpy(digits).float() / 255
    wanted = model.fit(floats.numpy()).transform(digits[:5])
    assert np.array_equal(model.fit(floats.clone().requires_grad_()).transform(digits[:5]), wanted)
    assert model.fit(floats.bfloat16()).transform(digits[:5]).shape == (5, 4)
    colours = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), dtype=np.uint8)
    assert model.fit([Image.fromarray(image).quantize(16) for image in colours]).sample_.size == (8, 8, 3)
    assert model.fit([Image.fromarray(image).convert("CMYK") for image in colours]).sample_.size == (8, 8, 3)
    with pytest.raises(hg.DataError, match="mask would be lost"):
        model.fit(np.ma.masked_array(floats.numpy(), floats.numpy() > 0.5))
    with pytest.warns(hg.HourglassWarning, match="only 0 and 1"):
        model.fit((digits > 99).astype(np.uint8))
    with pytest.raises(hg.DataError, match=r"X is one image of shape \(8, 8\); it needs a batch axis"):
        model.transform(digits[0])
    table = pd.DataFrame({"a": pd.Categorical(list("xy") * 10), "b": np.arange(20.0)})
    with pytest.raises(hg.DataError, match=r"no numbers \(column a\)"):
        model.fit(table)
    with pytest.raises(hg.DataError, match="among its labels"):
        hg.Generator(2, epochs=1).fit(digits, [None, *["a"] * 199])
    with pytest.raises(hg.DataError, match="beyond the range of float32"):
        model.fit(np.array([[1e39, 0], [0, 1.0]]))
    huge = np.c_[np.linspace(-3e38, 3e38, 20), np.linspace(0, 1, 20)]
    with pytest.warns(hg.HourglassWarning, match="column"):
        assert np.isfinite(model.fit(huge).reconstruct(huge[-1:])).all()
    named = pd.DataFrame(np.random.default_rng(0).random((20, 3)), columns=list("abc"))
    assert list(hg.Denoiser(epochs=1).set_output(transform="pandas").fit_transform(named).columns) == list("abc")


def test_batch_normalisation_is_given_no_batch_of_one(digits: np.ndarray) -> None:
    encoder = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 4), torch.nn.BatchNorm1d(4))
    decoder = torch.nn.Sequential(torch.nn.Linear(4, 64), torch.nn.Unflatten(1, (1, 8, 8)))
    with pytest.raises(hg.ParameterError, match="leave one alone"):
        hg.Autoencoder(4, network=(encoder, decoder), epochs=1, batch_size=199, validation_fraction=0).fit(digits)


@pytest.fixture
def _double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def _weights_of(kind, digits: np.ndarray) -> bytes:
    model = kind(4, epochs=1, random_state=0).fit(digits)
    return b"".join(tensor.cpu().numpy().tobytes() for tensor in model.network_.state_dict().values())


@pytest.fixture(scope="module")
def in_single(digits: np.ndarray) -> dict[str, bytes]:
    return {name: _weights_of(kind, digits) for name, kind in ESTIMATORS.items() if name != "detector"}


@pytest.mark.parametrize("name", [name for name in ESTIMATORS if name != "detector"])
@pytest.mark.usefixtures("_double")
def test_torchs_default_dtype_changes_nothing(name: str, in_single: dict, digits: np.ndarray, tmp_path) -> None:
    assert _weights_of(ESTIMATORS[name], digits) == in_single[name]
    model = hg.Autoencoder(4, epochs=1, random_state=0).fit(digits)
    model.save(tmp_path / "m.hg")
    assert hg.load_model(tmp_path / "m.hg").transform(digits).dtype == np.float32


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_what_the_caller_has_set_of_torch_changes_nothing(network: str, digits: np.ndarray, tmp_path: Path) -> None:
    def fitted() -> np.ndarray:
        model = hg.Autoencoder(2, network=network, hidden=(8,), epochs=1, random_state=0).fit(digits[:40])
        model.save(tmp_path / "m.hg")
        return hg.load_model(tmp_path / "m.hg").reconstruct(digits[:40])

    wanted = fitted()
    for context in (torch.no_grad(), torch.inference_mode(), torch.device("meta"), torch.autocast("cpu", torch.bfloat16)):
        with context:
            assert np.array_equal(fitted(), wanted)


def test_what_cannot_be_fitted_is_refused_in_words(digits: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, split = hg.Autoencoder(2, epochs=1), hg.load("digits")
    with pytest.raises(hg.DataError, match=r"X is a Dataset; pass its images: \.train\.images"):
        model.fit(split)
    with pytest.raises(hg.DataError, match=r"X is a Split; pass its images: \.images"):
        model.fit(split.train)
    with pytest.raises(hg.ParameterError, match="no home folder"):
        model.fit(digits, checkpoint="~no-such-user/c")
    with pytest.raises(hg.ParameterError, match="is a folder; give the name of a file"):
        model.fit(digits, checkpoint=tmp_path)
    monkeypatch.chdir(tmp_path)
    fitted = hg.Autoencoder(2, epochs=1).fit(digits)
    for one in (fitted, fitted.model_):
        with pytest.raises(hg.ParameterError, match="no home folder of such a user is known"):
            one.save("~no-such-user/m.hg")
    assert not any(tmp_path.iterdir())
    table = pd.DataFrame({"a": np.arange(20.0), "when": pd.date_range("2020", periods=20)})
    with pytest.raises(hg.DataError, match=r"no numbers \(column when\)"):
        model.fit(table)
    for labels in ([np.nan] + [1.0] * 199, ["a"] * 199 + [None], pd.array(["a"] * 199 + [None], dtype="string")):
        with pytest.raises(hg.DataError, match="missing values"):
            hg.Generator(2, epochs=1).fit(digits, labels)
    with pytest.raises(hg.DataError, match="holds fractions"):
        hg.Generator(2, epochs=1).fit(digits, np.linspace(0, 1, 200))


def test_partial_fit_changes_no_model_that_was_given_away(digits: np.ndarray) -> None:
    model = hg.Autoencoder(2, random_state=0).partial_fit(digits)
    generator = hg.Generator.from_autoencoder(model, digits)
    before, n_epochs = generator.encode(digits[:5]), len(generator.history_)
    assert not np.array_equal(model.partial_fit(digits).encode(digits[:5]), before)
    assert np.array_equal(generator.encode(digits[:5]), before)
    assert len(generator.history_) == n_epochs


@pytest.mark.usefixtures("_double")
def test_modules_that_were_made_under_another_default_dtype_are_trained(digits: np.ndarray) -> None:
    encoder = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 4))
    decoder = torch.nn.Sequential(torch.nn.Linear(4, 64), torch.nn.Unflatten(1, (1, 8, 8)))
    model = hg.Autoencoder(4, network=(encoder, decoder), epochs=1).fit(digits)
    assert model.transform(digits).dtype == np.float32
    assert encoder[1].weight.dtype == torch.float64  # a copy was converted
