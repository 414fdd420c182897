"""The five estimators that put an autoencoder to a use: what each promises, on small images."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score

import hourglass as hg
from hourglass.corruption import reduce
from hourglass.estimators import ESTIMATORS, layout
from hourglass.estimators.downstream import Downstream
from hourglass.estimators.refinement import refine
from hourglass.estimators.tiles import join_tiles, split_tiles
from hourglass.estimators.views import neighbours_of
from hourglass.images import Sample, overlapping_tiles, with_channels
from hourglass.latent.inverted_file import InvertedFile
from hourglass.networks import describe
from hourglass.networks.plane import Beside
from hourglass.training import Rows

DOWNSTREAM = [kind for kind in ESTIMATORS.values() if issubclass(kind, Downstream)]


@pytest.fixture(scope="module")
def split() -> hg.Split:
    return hg.load("digits").train


@pytest.fixture(scope="module")
def autoencoder(split: hg.Split) -> hg.Autoencoder:
    return hg.Autoencoder(8, random_state=0).fit(split.images)


def answers(model: Downstream, images: np.ndarray) -> np.ndarray:
    """What a model of each kind is for."""
    if isinstance(model, hg.AnomalyDetector):
        return model.score_samples(images)
    if isinstance(model, hg.Generator):
        return model.sample(5, random_state=1)
    if isinstance(model, hg.Retriever):
        return model.kneighbors(images, 3)[1]
    return np.frombuffer(model.compress(images), np.uint8)


@pytest.mark.parametrize("kind", DOWNSTREAM)
def test_a_fitted_autoencoder_serves_without_training(kind, split: hg.Split, autoencoder: hg.Autoencoder) -> None:
    waiting = kind.from_autoencoder(autoencoder)
    with pytest.raises(NotFittedError):
        answers(waiting, split.images)
    model = waiting.fit(split.images, split.labels)
    assert model.network_ is autoencoder.network_
    np.testing.assert_array_equal(model.encode(split.images), autoencoder.transform(split.images))
    again = kind.from_autoencoder(autoencoder, split.images, split.labels)
    np.testing.assert_array_equal(answers(model, split.images[:20]), answers(again, split.images[:20]))
    with pytest.raises(hg.DataError, match="fitted on"):
        kind.from_autoencoder(autoencoder, np.zeros((4, 9, 9), np.uint8))


@pytest.mark.parametrize("kind", ESTIMATORS.values())
def test_saved_is_loaded_and_pickled_with_all_it_learned(kind, split: hg.Split, tmp_path) -> None:
    images, labels = split.images[:200], split.known_labels[:200].astype(str)
    model = kind(6, epochs=2, random_state=0).fit(images, labels)
    model.save(tmp_path / "m.hg")
    for same in (hg.load_model(tmp_path / "m.hg"), pickle.loads(pickle.dumps(model))):
        assert same.get_params()["n_components"] == 6
        np.testing.assert_array_equal(same.encode(images), model.encode(images))
        if isinstance(model, Downstream):
            np.testing.assert_array_equal(answers(same, images), answers(model, images))
        if kind is hg.Generator:
            assert list(same.classes_) == list("0123456789")
            assert same.sample(2, label="7").shape == (2, 8, 8)


# --- detect -----------------------------------------------------------------------------------------------------------


def test_other_digits_are_stranger_than_the_normal_one(split: hg.Split, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hourglass.estimators.presets.FEWEST_STEPS", 120)  # for speed
    normal = split.images[split.labels == 0]
    detector = hg.AnomalyDetector(random_state=0).fit(normal)
    test = hg.load("digits").test
    assert roc_auc_score(test.labels != 0, -detector.score_samples(test.images)) > 0.97
    np.testing.assert_array_equal(detector.predict(test.images) == -1, detector.decision_function(test.images) < 0)
    assert detector.labels_.shape == detector.decision_scores_.shape == (len(normal),)
    assert detector.labels_.mean() < 0.1


def test_contamination_sets_the_share_of_anomalies(split: hg.Split) -> None:
    images = split.images[:300]
    for share in (0.05, 0.3):
        detector = hg.AnomalyDetector(epochs=2, contamination=share, random_state=0).fit(images)
        assert detector.labels_.mean() == pytest.approx(share, abs=0.01)
        assert (detector.predict(images) == -1).mean() == pytest.approx(share, abs=0.01)


def test_a_score_does_not_depend_on_the_others(split: hg.Split) -> None:
    detector = hg.AnomalyDetector(epochs=1, random_state=0).fit(split.images[:200])
    together = detector.score_samples(split.images[:10])
    alone = np.concatenate([detector.score_samples(image[None]) for image in split.images[:10]])
    np.testing.assert_allclose(together, alone, rtol=1e-3, atol=1e-4)
    for flat in (np.zeros((1, 8, 8), np.uint8), np.full((1, 8, 8), 255, np.uint8)):
        assert np.isfinite(detector.score_samples(flat)).all()


def test_error_maps_are_where_the_defect_is(split: hg.Split, colours: np.ndarray) -> None:
    detector = hg.AnomalyDetector(16, epochs=20, random_state=0).fit(split.images)
    damaged = split.images[:20].copy()
    damaged[:, :3, :3] = 255
    maps = detector.error_maps(damaged)
    assert maps.shape == (20, 8, 8)
    assert maps[:, :3, :3].mean() > 3 * maps[:, 4:, 4:].mean()
    assert hg.AnomalyDetector(epochs=1, quantile=0.9).fit(colours).error_maps(colours).shape == colours.shape[:3]
    with pytest.raises(hg.DataError, match="needs images"):
        hg.AnomalyDetector(epochs=1, quantile=0.9).fit(colours.reshape(40, -1)).error_maps(colours.reshape(40, -1))


# --- generate ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def generator(split: hg.Split) -> hg.Generator:
    return hg.Generator(12, random_state=0, batch_size=128).fit(split.images, split.labels)


def test_samples_look_like_their_class(generator: hg.Generator, split: hg.Split) -> None:
    from sklearn.neighbors import KNeighborsClassifier

    reader = KNeighborsClassifier(3).fit(split.images.reshape(len(split), -1) / 255, split.labels)
    for label in (0, 6):
        samples = generator.sample(50, label=label, random_state=0)
        assert (reader.predict(samples.reshape(50, -1)) == label).mean() > 0.85
    written = generator.sample(4, label=[2, 0, 2, 6], random_state=0)
    assert written.shape == (4, 8, 8)
    codes, labels = generator.sample_codes(300, random_state=0)
    assert codes.shape == (300, 12)
    assert labels is not None
    assert set(labels) == set(range(10))


def test_the_same_seed_draws_the_same_and_none_draws_anew(generator: hg.Generator) -> None:
    assert np.array_equal(generator.sample(3, random_state=1), generator.sample(3, random_state=1))
    assert not np.array_equal(generator.sample(3), generator.sample(3))
    cold, warm = (generator.sample(100, label=3, temperature=t, random_state=0).std(0).mean() for t in (0.1, 1.0))
    assert cold < 0.9 * warm


def test_walks_begin_and_end_at_the_images(generator: hg.Generator, split: hg.Split) -> None:
    a, b = split.images[:2]
    walk = generator.interpolate(a, b, steps=5)
    np.testing.assert_allclose(walk[[0, -1]], generator.reconstruct(split.images[:2]), atol=1e-5)
    assert generator.traverse(a, steps=3).shape == (12, 3, 8, 8)
    assert generator.score_samples(split.images).mean() > generator.score_samples(255 - split.images).mean()


def test_what_cannot_be_drawn_is_refused(generator: hg.Generator, split: hg.Split) -> None:
    for wrong in ({"label": 10}, {"n": 0}, {"temperature": -1.0}, {"n": 2, "label": [1, 2, 3]}):
        with pytest.raises(hg.ParameterError):
            generator.sample(**wrong)
    with pytest.raises(hg.DataError, match="one label for each"):
        hg.Generator(epochs=1).fit(split.images, split.known_labels[:10])
    unlabelled = hg.Generator(4, epochs=1, random_state=0).fit(split.images[:100])
    assert unlabelled.sample(2).shape == (2, 8, 8)
    with pytest.raises(hg.ParameterError, match="without labels"):
        unlabelled.sample(label=1)


# --- features and search ----------------------------------------------------------------------------------------------


def test_the_features_preset_tells_digits_apart(split: hg.Split, monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.neighbors import KNeighborsClassifier

    monkeypatch.setattr("hourglass.estimators.layout._FEWEST_STEPS", 400)  # for speed
    test = hg.load("digits").test
    model = hg.Autoencoder(2, preset="features", epochs=12, batch_size=256, random_state=0).fit(split.images)

    def wide(images: np.ndarray) -> np.ndarray:
        """The 32 dimensions that the map is a layout of."""
        given = torch.from_numpy(model.sample_.to_network(images))
        assert isinstance(model.encoder_, torch.nn.Sequential)
        seen = model.encoder_[0]
        assert isinstance(seen, Beside)
        with torch.no_grad():
            made: np.ndarray = seen.body.cpu()(given).numpy()
            return made

    for encode, least in ((model.transform, 0.75), (wide, 0.93)):
        reader = KNeighborsClassifier(5).fit(encode(split.images), split.labels)
        assert reader.score(encode(test.images), test.labels) > least


@pytest.mark.filterwarnings("ignore::hourglass.HourglassWarning")
def test_a_map_of_one_training_image_or_of_equal_ones(split: hg.Split, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hourglass.estimators.layout._FEWEST_STEPS", 100)  # for speed
    one = hg.Autoencoder(2, preset="features", validation_fraction=0.96, epochs=1, random_state=0).fit(split.images[:21])
    assert np.isfinite(one.transform(split.images)).all()
    equal = hg.Autoencoder(2, preset="features", epochs=1, random_state=0).fit(np.repeat(split.images[:1], 40, 0))
    assert np.abs(equal.transform(split.images)).max() < 1e4


def test_the_layers_of_a_map_are_listed_as_they_are_joined(split: hg.Split, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hourglass.estimators.layout._FEWEST_STEPS", 10)  # for speed
    model = hg.Autoencoder(2, preset="features", epochs=1, random_state=0).fit(split.images[:64])
    layers = [(row["layer"].partition("(")[0], row["output"]) for row in describe(model.network_, (1, 8, 8))]
    assert ("Linear", [64]) in layers  # 32 components beside the embedding of 32
    assert layers.index(("Linear", [64])) == layers.index(("Linear", [32])) + 2  # Linear, Identity
    assert ("First", [32]) in layers


def mean_average_precision(codes: np.ndarray, labels: np.ndarray) -> float:
    """Of ranking all other images by distance, for each image as a query."""
    distances = np.square(codes[:, None] - codes).sum(2)
    np.fill_diagonal(distances, -1)
    hits = (labels[np.argsort(distances, axis=1)] == labels[:, None])[:, 1:]
    precision = np.cumsum(hits, axis=1) / np.arange(1, hits.shape[1] + 1)
    return float(((precision * hits).sum(1) / hits.sum(1)).mean())


def test_a_map_of_features_is_turned_to_its_axes_resumes_and_trains_on(
    split: hg.Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "_FEWEST_STEPS", 20)
    images = split.images[:300]
    given: Any = {"preset": "features", "epochs": 2, "random_state": 0}
    model = hg.Autoencoder(2, **given).fit(images, checkpoint=tmp_path / "run")
    assert model.settings_["network"] == "plane"
    assert hg.Autoencoder(4, preset="features", epochs=1).fit(images[:40]).settings_["network"] == "embedding"
    assert model.n_iter_ == 2  # of the embedding; the layout is trained beside it
    trained = np.delete(model.transform(images), model.validation_rows_, axis=0).astype(np.float64)
    spread = np.cov(trained.T)
    assert spread[1, 1] <= spread[0, 0]
    assert abs(spread[0, 1]) < 1e-3 * spread[1, 1]
    assert (np.power(trained - trained.mean(0), 3).sum(0) > 0).all()
    np.testing.assert_allclose(trained.mean(0), 0, atol=1e-3 * spread[0, 0] ** 0.5)
    assert model.inverse_transform(model.transform(images)).shape == images.shape
    resumed = hg.Autoencoder(2, **given).fit(images, checkpoint=tmp_path / "run", resume=True)
    np.testing.assert_array_equal(resumed.transform(images), model.transform(images))
    model.save(tmp_path / "map.hg")
    np.testing.assert_allclose(hg.load_model(tmp_path / "map.hg").transform(images), model.transform(images), atol=1e-4)
    with pytest.raises(hg.ModelError, match="came after training"):
        model.partial_fit(images)
    few = hg.Autoencoder(2, **given).fit(images[:3])  # have too few neighbours for a layout
    assert few.settings_["network"] == "embedding"
    own = hg.Autoencoder(2, penalty=(hg.Contrast(0.02), hg.Neighbours(0.02)), **given).fit(images)
    assert own.settings_["network"] == "embedding"  # a penalty of one's own trains as any other network


def test_features_of_few_images_lose_nothing_to_principal_components(split: hg.Split) -> None:
    from sklearn.decomposition import PCA

    few, labels = split.images[:200], split.known_labels[:200]
    codes = hg.Autoencoder(preset="features", epochs=100, random_state=0).fit_transform(few)
    principal = PCA(32, random_state=0).fit_transform(few.reshape(200, -1))
    assert mean_average_precision(codes, labels) > mean_average_precision(principal, labels) + 0.02


@pytest.mark.parametrize(("darkest", "is_strong"), [(1.0, False), (0.3, True)])
def test_changes_of_light_are_as_strong_as_those_among_the_images(darkest: float, is_strong: bool, split: hg.Split) -> None:
    generator = np.random.default_rng(0)
    alike = np.repeat(split.images[:60] / 255, 10, axis=0) * 0.9 + generator.uniform(0, 0.02, (600, 8, 8))
    images = (alike * generator.uniform(darkest, 1, (600, 1, 1))).astype(np.float32)
    _, lighting = hg.Autoencoder(preset="features", epochs=1, random_state=0).fit(images).settings_["corruption"].corruptions
    assert (lighting.gain >= 0.2) == is_strong


def test_contrast_draws_the_other_view_from_the_nearest_images(split: hg.Split) -> None:
    images = np.concatenate([split.images[:50], split.images[:50]])  # each has its equal, which is no less another image
    found = neighbours_of(Rows(Sample.of(images), images), 2)
    assert np.array_equal(found[:, 0], np.roll(np.arange(100), 50))
    assert not (found == np.arange(100)[:, None]).any()

    def neighbours(model: hg.Autoencoder, images: Any) -> int | None:
        return model.fit(images).settings_["penalty"][0].n_neighbours

    def fresh(**arguments: Any) -> hg.Autoencoder:
        return hg.Autoencoder(preset="features", epochs=1, random_state=0, **arguments)

    assert neighbours(fresh(), split.images[:100]) == 5
    assert neighbours(fresh(validation_fraction=0), split.images[:1000]) == 10
    assert neighbours(fresh(validation_fraction=0), split.images[:4]) == 3
    assert neighbours(fresh(crop=6), split.images[:40]) == 0  # crops of one image are as near as those of others
    with pytest.raises(hg.ParameterError, match="n_neighbours=0"):
        fresh(crop=6, penalty=hg.Contrast(n_neighbours=4)).fit(split.images[:40])


def test_a_retriever_finds_names_and_takes_more(split: hg.Split) -> None:
    names = [f"{row}.png" for row in range(100)]
    retriever = hg.Retriever(8, epochs=2, random_state=0).fit(split.images[:100], names)
    distances, rows = retriever.kneighbors(split.images[:100], 2)
    assert np.array_equal(rows[:, 0], np.arange(100))
    assert (np.diff(distances, axis=1) >= 0).all()
    assert retriever.labels_[rows[7, 0]] == "7.png"
    assert retriever.ids_[rows[7, 0]] == 7
    retriever.add(split.images[100:110], [f"new {row}" for row in range(10)])
    assert retriever.labels_[retriever.kneighbors(split.images[105:106], 1)[1][0, 0]] == "new 5"
    with pytest.raises(hg.ParameterError, match="allowed: 1 to 110"):
        retriever.kneighbors(split.images[:1], 111)
    with pytest.raises(hg.DataError, match="one label for each"):
        retriever.add(split.images[:2], ["one"])
    with pytest.warns(hg.HourglassWarning, match="names_ is called labels_ now"):
        assert retriever.names_[105] == "new 5"


def test_a_retriever_with_lists_says_what_it_misses_and_is_loaded_as_it_was(
    split: hg.Split, autoencoder: hg.Autoencoder, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("faiss", reason="the extra hourglass-autoencoders[faiss] is not installed")
    monkeypatch.setattr(InvertedFile, "FEWEST", 300)
    kinds = {kind: hg.Retriever.from_autoencoder(autoencoder, split.images, backend=kind) for kind in ("exact", "ivfpq")}
    queries = hg.load("digits").test.images
    assert kinds["exact"].recall(queries) == 1
    assert 0.9 < kinds["ivfpq"].recall(queries) <= 1
    assert set(kinds["exact"].index_.to_state()) == {"codes"}  # as before there were lists
    kinds["ivfpq"].save(tmp_path / "m.hg")
    monkeypatch.setattr(InvertedFile, "_train", None)  # nothing is learned anew
    loaded = hg.load_model(tmp_path / "m.hg")
    for one, other in zip(kinds["ivfpq"].kneighbors(queries), loaded.kneighbors(queries), strict=True):
        np.testing.assert_array_equal(one, other)
    loaded.add(queries[:3], ["x", "y", "z"])
    assert loaded.labels_[loaded.kneighbors(queries[:3], 1)[1][:, 0]].tolist() == ["x", "y", "z"]
    with pytest.raises(hg.ParameterError, match="allowed: 1 to"):
        loaded.recall(queries, 10_000)


# --- compress ---------------------------------------------------------------------------------------------------------


def test_more_quality_is_more_bytes_and_less_error(split: hg.Split) -> None:
    sizes, errors = [], []
    for quality in (25, 50, 75):
        model = hg.Compressor(16, quality=quality, hidden=(64,), epochs=60, random_state=0).fit(split.images)
        blob = model.compress(split.images)
        sizes.append(len(blob))
        errors.append(np.square(np.asarray(model.decompress(blob)) / 255 - split.images / 255).mean())
    assert sizes == sorted(sizes)
    assert errors == sorted(errors, reverse=True)
    assert sizes[1] < 0.25 * split.images.size


def test_the_search_over_integers_pays(split: hg.Split, autoencoder: hg.Autoencoder) -> None:
    costs = {}
    for sweeps in (0, 2):
        model = hg.Compressor.from_autoencoder(autoencoder, split.images, sweeps=sweeps)
        blob = model.compress(split.images)
        error = np.square(np.asarray(model.decompress(blob)) / 255 - split.images / 255).mean()
        costs[sweeps] = error + model.price_ * len(blob) / len(split) * 8 * np.log(2)
    assert costs[2] < costs[0]


def test_refinement_never_makes_it_worse() -> None:
    """One number a code and the identity as decoder: the best integers are known."""
    rng = np.random.default_rng(0)
    targets = rng.normal(size=(500, 1)).astype(np.float32) * 3
    start = np.zeros((500, 1), np.int32)

    def decode(symbols: np.ndarray) -> np.ndarray:
        return symbols.astype(np.float32)

    free = refine(start, lambda rows: targets[rows], decode, price=0.0, sweeps=30)
    assert np.array_equal(free, np.rint(targets))
    dear = refine(free, lambda rows: targets[rows], decode, price=0.3, sweeps=5)
    assert len(np.unique(dear)) <= len(np.unique(free))
    assert np.array_equal(start, np.zeros_like(start))


def test_images_of_any_size_come_back_in_theirs(colours: np.ndarray) -> None:
    model = hg.Compressor(8, epochs=5, random_state=0).fit(colours)
    photos = [np.full((30, 5, 3), 99, np.uint8), (colours[0] * 255).astype(np.uint8)]
    blob = model.compress(photos, names=["a.png", "b.png"])
    images, names = model.decompress_named(blob)
    assert [image.shape for image in images] == [(30, 5, 3), (13, 11, 3)]
    assert names == ["a.png", "b.png"]
    assert all(image.dtype == np.uint8 for image in images)
    with pytest.raises(hg.DataError, match="channels"):
        model.compress([np.zeros((20, 20), np.uint8)])
    with pytest.raises(hg.DataError, match="one each"):
        model.compress(photos, names=["a"])
    other = hg.Compressor(8, epochs=1, random_state=1).fit(colours)
    with pytest.raises(hg.FormatError, match="another model"):
        other.decompress(blob)


def test_tiles_cover_and_come_back() -> None:
    rng = np.random.default_rng(0)
    for shape, tile in (((7, 9), (4, 4)), ((8, 8, 3), (4, 2, 3)), ((1, 1), (5, 5))):
        image = rng.integers(0, 256, shape, dtype=np.uint8)
        (back,) = join_tiles(split_tiles(image, tile), [shape[:2]])
        np.testing.assert_array_equal(back, image)
    assert overlapping_tiles(np.zeros((10, 12, 3), np.uint8), (4, 4)).shape == (4 * 5, 4, 4, 3)
    np.testing.assert_array_equal(overlapping_tiles(np.arange(16).reshape(4, 4), (2, 2))[1], [[1, 2], [5, 6]])
    with pytest.raises(hg.DataError, match="smaller than a tile"):
        overlapping_tiles(np.zeros((3, 9)), (4, 4))


def test_grey_and_coloured_meet() -> None:
    grey = np.full((2, 4, 4), 100, np.uint8)
    assert with_channels(grey, (4, 4, 3)).shape == (2, 4, 4, 3)
    back = with_channels(with_channels(grey, (4, 4, 3)), (4, 4))
    np.testing.assert_array_equal(back, grey)
    with pytest.raises(hg.DataError, match="channels"):
        with_channels(np.zeros((1, 2, 2, 4)), (2, 2, 3))


# --- enhance ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [2, 4])
def test_enlarged_images_keep_the_means_and_beat_repeated_pixels(factor: int, split: hg.Split) -> None:
    test = hg.load("digits").test.images
    model = hg.Enhancer(factor=factor, hidden=(16,), epochs=10, random_state=0).fit(split.images)
    low = model.reduce(test)
    made = model.transform(low)
    assert made.shape == test.shape
    assert (np.abs(model.reduce(made) - low) < 0.02).mean() > 0.98  # but where a block would leave 0..1
    repeated = low.repeat(factor, 1).repeat(factor, 2)
    assert np.square(made - test / 255).mean() < 0.7 * np.square(repeated - test / 255).mean()
    assert model.score(test) == pytest.approx(-np.square(made - test / 255).mean(), rel=1e-3)
    assert model.transform_image(low[0]).shape == (8, 8)


def test_an_enhancer_learns_from_pairs_and_refuses_what_does_not_fit(split: hg.Split, colours: np.ndarray) -> None:
    low = split.images[:, ::2, ::2]
    model = hg.Enhancer(hidden=(8,), epochs=2, random_state=0).fit(low, split.images)
    assert model.score(low, split.images) < 0
    assert model.settings_["corruption"] is None
    for call, match in (
        (lambda: model.transform(split.images), "it takes"),
        (lambda: hg.Enhancer().fit(low[:5], split.images), "as many images of both"),
        (lambda: hg.Enhancer(factor=2).fit(colours), "do not divide"),
    ):
        with pytest.raises(hg.DataError, match=match):
            call()
    with pytest.raises(hg.ParameterError, match="factor"):
        hg.Enhancer(factor=5).fit(split.images)
    with pytest.raises(hg.ParameterError, match="reduction"):
        hg.Enhancer(reduction="lanczos").fit(split.images)
    with pytest.raises(hg.ParameterError, match="its factor"):
        hg.Enhancer(corruption=hg.Masking()).fit(split.images)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_an_enhancer_of_bicubic_images_learns_them_and_beats_the_filter(factor: int, colours: np.ndarray, tmp_path) -> None:
    large = np.repeat(np.repeat(colours, 2, axis=1), 2, axis=2)[:, :24, :12]  # with edges
    model = hg.Enhancer(factor=factor, reduction="bicubic", hidden=(16,), epochs=30, random_state=0).fit(large)
    corruption = model.settings_["corruption"]
    assert corruption == hg.Downscale(factor, smooth=True, method="bicubic")
    low = model.reduce(large)
    planes = torch.from_numpy(np.moveaxis(large, 3, 1).copy())
    assert np.array_equal(np.moveaxis(low, 3, 1), reduce(planes, (factor, factor), "bicubic").numpy())
    made = model.transform(low)
    assert np.square(made - large).mean() < 0.9 * np.square(corruption(large) - large).mean()
    assert model.transform_image(low[0]).shape == (24, 12, 3)
    network_alone = model.model_.reconstruct(corruption(large))
    residuals = [np.abs(model.reduce(images) - low).mean() for images in (made, network_alone)]
    assert residuals[0] < 0.5 * residuals[1]  # back-projection
    model.save(tmp_path / "e.hg")
    loaded = hg.load_model(tmp_path / "e.hg")
    assert loaded.reduction == "bicubic"
    assert np.array_equal(loaded.transform(low), made)


def test_photographs_of_any_size_grow(colours: np.ndarray) -> None:
    model = hg.Enhancer(hidden=(8,), epochs=2, random_state=0).fit(colours[:, :12, :8])
    for shape in ((5, 9), (31, 17, 3), (6, 4, 3)):
        large = model.transform_image(np.full(shape, 128, np.uint8))
        assert large.shape == (2 * shape[0], 2 * shape[1], *shape[2:])


# --- what a review found ----------------------------------------------------------------------------------------------


def test_a_file_is_for_the_model_with_its_tables_alone(split: hg.Split) -> None:
    trained = hg.Compressor(6, epochs=2, random_state=0).fit(split.images[:300])
    other = hg.Compressor.from_autoencoder(trained, split.images[300:500])
    with pytest.raises(hg.FormatError, match="another model"):
        other.decompress(trained.compress(split.images[:20]))


@pytest.mark.parametrize("scale", [1, 1000])
def test_compression_of_features_is_as_good_in_any_unit(scale: int) -> None:
    rng = np.random.default_rng(0)
    table = scale * (rng.normal(size=(400, 3)) @ rng.normal(size=(3, 12)))
    linear = hg.Autoencoder(4, network="linear", epochs=60, random_state=0).fit(table)
    model = hg.Compressor.from_autoencoder(linear, table)
    assert np.square(model.decompress(model.compress(table)) - table).mean() < 0.1 * table.var()


def test_decoders_that_lean_on_more_than_the_code_are_refused(split: hg.Split) -> None:
    skip = hg.Autoencoder(4, network="skip", epochs=1, random_state=0).fit(split.images[:64])
    for kind in (hg.Generator, hg.Compressor):
        with pytest.raises(hg.ModelError, match="past its code"):
            kind.from_autoencoder(skip)
        with pytest.raises(hg.ParameterError, match="past them"):
            kind(network="skip").fit(split.images[:64])
    with pytest.raises(hg.ParameterError, match="comes with the network"):
        hg.Retriever.from_autoencoder(skip, n_components=7)


def test_a_generator_takes_plain_networks_and_any_units(split: hg.Split) -> None:
    assert hg.Generator(4, network="mlp", epochs=1).fit(split.images[:64]).settings_["penalty"] is None
    table = np.random.default_rng(0).normal(size=(80, 6)) * 100
    assert hg.Generator(3, epochs=1, random_state=0).fit(table).sample(5).shape == (5, 6)


def test_labels_are_checked_before_training(split: hg.Split, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("trained before the check")

    for kind in (hg.Generator, hg.Retriever):
        monkeypatch.setattr("hourglass.estimators.fitting.Fit.train", never)
        with pytest.raises(hg.DataError):
            kind().fit(split.images, split.known_labels[:5])


def test_a_detector_of_few_images_keeps_its_scale(split: hg.Split) -> None:
    few = split.images[split.labels == 0][:15]
    scores = hg.AnomalyDetector(epochs=20, quantile=0.9, random_state=0).fit(few).score_samples(few)
    assert scores.std() < 20


def test_tiles_of_one_image_are_held_out_together(tmp_path) -> None:
    from hourglass.data.files import write_image

    for number in range(5):
        write_image(tmp_path / f"{number}.png", np.full((16, 16), number, np.uint8))
    dataset = hg.load(tmp_path, tile=(8, 8)).with_test(seed=0, share=0.4)
    assert (len(dataset.train), len(dataset.test)) == (27, 18)
    assert dataset.train.paths is not None
    assert dataset.test.paths is not None
    assert not set(dataset.train.paths) & set(dataset.test.paths)


# --- thresholds and tables ----------------------------------------------------------------------------------------------


def test_few_normal_images_set_a_threshold_that_they_support() -> None:
    digits = hg.load("digits")
    ones, new = (split.images[split.labels == 1] for split in (digits.train, digits.test))
    for n in (5, 20, 50):
        with pytest.warns(hg.HourglassWarning, match=f"{n} held-out normal samples support a false positive rate of"):
            detector = hg.AnomalyDetector(epochs=15, random_state=1).fit(ones[:n])
        assert (detector.predict(new) < 0).mean() <= 0.06


def test_few_rows_set_a_threshold_by_networks_that_were_not_trained_on_them() -> None:
    rng = np.random.default_rng(0)
    normal, new = rng.normal(size=(40, 6)), rng.normal(size=(2000, 6))
    detector = hg.AnomalyDetector(8, epochs=40, quantile=0.9, random_state=0).fit(normal)  # 40 rows support a rate of 0.1
    assert (detector.predict(new) < 0).mean() <= 0.2  # two standard deviations above 0.1, for thresholds from 40 samples
    trained = hg.Autoencoder(8, epochs=1, random_state=0).fit(normal)
    with pytest.warns(hg.HourglassWarning, match="comes from all 40 samples"):
        hg.AnomalyDetector.from_autoencoder(trained, normal, quantile=0.9)


def test_a_detector_holds_out_what_its_autoencoder_held_out(tmp_path) -> None:
    rng = np.random.default_rng(0)
    normal, new = rng.normal(size=(300, 6)), rng.normal(size=(2000, 6))
    for seed in (None, 0):
        trained = hg.Autoencoder(3, epochs=2, random_state=seed).fit(normal)
        for given in (trained, trained.model_):
            detector = hg.AnomalyDetector.from_autoencoder(given, normal, quantile=0.9)
            assert len(detector.normal_scores_) == 30 == len(trained.validation_rows_)
            assert np.array_equal(np.sort(detector.score_samples(normal[trained.validation_rows_])), detector.normal_scores_)
    trained.save(tmp_path / "a.hg")
    for given, samples in (
        (trained, normal[::-1]),
        (trained, normal[:200]),
        (trained.partial_fit(normal), normal),
        (hg.load_model(tmp_path / "a.hg"), normal),
    ):
        with pytest.warns(hg.HourglassWarning, match=f"comes from all {len(samples)} samples"):
            hg.AnomalyDetector.from_autoencoder(given, samples, quantile=0.9)
    assert (detector.predict(new) < 0).mean() <= 0.2


def test_labelled_samples_set_the_threshold() -> None:
    digits = hg.load("digits")
    ones = digits.train.images[digits.train.labels == 1]
    detector = hg.AnomalyDetector(epochs=10, quantile=0.9, random_state=0).fit(ones)
    images, is_other = digits.test.images[:200], digits.test.known_labels[:200] != 1
    rates = []
    for labels in (is_other, is_other.astype(int), np.where(is_other, -1, 1)):
        found = detector.set_threshold(X=images, y=labels).predict(images) < 0
        rates.append(found[is_other].mean() - found[~is_other].mean())
    scores = detector.score_samples(images)
    best = max((scores[is_other] < t).mean() - (scores[~is_other] < t).mean() for t in [*scores, np.inf])
    assert rates == [pytest.approx(best)] * 3
    for labels, words in (
        (np.ones(200), "both kinds"),
        (is_other[:5], "200 labels"),
        (digits.test.known_labels[:200], "and holds"),
    ):
        with pytest.raises(hg.DataError, match=words):
            detector.set_threshold(X=images, y=labels)
    for given in ({"y": is_other}, {"y": is_other, "X": images, "quantile": 0.9}, {"y": is_other, "X": images, "offset": 1.0}):
        with pytest.raises(hg.ParameterError, match="set_threshold takes"):
            detector.set_threshold(**given)


def test_the_threshold_can_be_set_after_fitting(digits: np.ndarray, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    detector = hg.AnomalyDetector(4, epochs=2, quantile=0.9, contamination="auto", random_state=0).fit(digits)
    scores, before = detector.score_samples(digits), detector.offset_
    assert np.array_equal(detector.labels_, scores < before)
    assert detector.set_threshold(contamination=0.2) is detector
    assert (detector.predict(digits) < 0).mean() == pytest.approx(0.2, abs=0.01)
    assert detector.set_threshold(quantile=0.9).offset_ == before
    assert detector.set_threshold(-1.5).offset_ == -1.5
    detector.set_threshold(quantile=0.5, X=digits)
    assert (detector.predict(digits) < 0).mean() == pytest.approx(0.5, abs=0.01)
    detector.save(tmp_path / "d.hg")
    again = hg.load_model(tmp_path / "d.hg")
    assert again.offset_ == detector.offset_
    assert again.set_threshold(quantile=0.8).offset_ == detector.set_threshold(quantile=0.8).offset_
    for given in ({}, {"quantile": 0.5, "contamination": 0.1}, {"offset": 0.0, "X": digits}):
        with pytest.raises(hg.ParameterError, match="set_threshold takes one of"):
            detector.set_threshold(**given)
    with pytest.raises(hg.ParameterError, match="contamination"):
        detector.set_threshold(contamination=0.9)
    assert detector.contamination is None
    offsets: tuple[Any, ...] = ("x", float("nan"), float("inf"), True)
    for offset in offsets:
        with pytest.raises(hg.ParameterError, match="offset"):
            detector.set_threshold(offset)
    held = dict(vars(detector))
    monkeypatch.setattr(hg.AnomalyDetector, "_scores", interrupted)
    with pytest.raises(KeyboardInterrupt):
        detector.set_threshold(quantile=0.7, X=digits)
    assert vars(detector) == held


def test_probabilities_are_pyods(digits: np.ndarray) -> None:
    detector = hg.AnomalyDetector(4, epochs=2, quantile=0.9, random_state=0).fit(digits)
    for method in ("linear", "unify"):
        chances = detector.predict_proba(digits, method)
        assert chances.shape == (200, 2)
        assert np.allclose(chances.sum(1), 1)
        assert chances.min() >= 0
        order = np.argsort(detector.score_samples(digits))
        assert (np.diff(chances[order, 1]) <= 1e-12).all()
    with pytest.raises(hg.ParameterError, match="method"):
        detector.predict_proba(digits, "magic")


def _incomes(n: int, seed: int) -> np.ndarray:
    """Incomes, ages and shares: (n, 3), in units of their own."""
    rng = np.random.default_rng(seed)
    return np.c_[rng.normal(5e4, 1e4, n), rng.normal(40, 3, n), rng.normal(0.5, 0.02, n)]


def test_a_column_in_large_units_drowns_no_other(tmp_path) -> None:
    strange = _incomes(200, 1)
    strange[:50] += [0, 60, 1]
    detector = hg.AnomalyDetector(epochs=30, random_state=0).fit(_incomes(1000, 0))
    assert roc_auc_score(np.arange(200) < 50, -detector.score_samples(strange)) > 0.99
    assert (detector.predict(strange[:50]) < 0).all()
    detector.save(tmp_path / "d.hg")
    again = hg.load_model(tmp_path / "d.hg")
    assert again.sample_ == detector.sample_
    assert np.array_equal(again.score_samples(strange), detector.score_samples(strange))
    with pytest.warns(hg.HourglassWarning, match="column 0 holds 100 % of the table's variance"):
        hg.Autoencoder(2, epochs=1).fit(strange)


def test_a_generator_and_a_retriever_see_all_columns() -> None:
    table = _incomes(1000, 0)
    generator = hg.Generator(3, hidden=(64, 32), random_state=0).fit(table)
    drawn = generator.sample(2000, temperature=1.0, random_state=0)
    assert np.allclose(drawn.mean(0), table.mean(0), atol=0.2 * table.std(0))
    assert (np.abs(drawn.std(0) / table.std(0) - 1) < 0.25).all()
    retriever = hg.Retriever(3, network="mlp", metric="euclidean", corruption=None, penalty=(), random_state=0).fit(table)
    near = table[retriever.kneighbors(table[:200], 6)[1][:, 1:]]
    assert (np.abs(near - table[:200, None]).mean((0, 1)) < 0.5 * table.std(0)).all()


def test_a_compressor_keeps_a_table() -> None:
    rng = np.random.default_rng(0)
    table = rng.normal(size=(1000, 4)) @ rng.normal(size=(4, 4))
    for quality, epochs, least in ((50, 150, 0.95), (100, None, 0.99)):
        compressor = hg.Compressor(4, quality=quality, hidden=(64, 32), epochs=epochs, random_state=0).fit(table)
        made = compressor.decompress(compressor.compress(table))
        assert 1 - np.square(made - table).sum() / np.square(table - table.mean(0)).sum() > least


def test_fractions_are_no_labels() -> None:
    images = hg.load("digits").train.images[:20]
    with pytest.raises(hg.DataError, match="y holds fractions"):
        hg.Generator(2, epochs=1).fit(images, np.linspace(0, 1, 20))
