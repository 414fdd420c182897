"""Densities, walks and neighbours of codes."""

from __future__ import annotations

import pickle
import sys
from typing import Any

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.neighbors import NearestNeighbors

import hourglass as hg
from hourglass.latent import (
    BACKENDS,
    METRICS,
    GrowingArray,
    Mixture,
    NeighbourIndex,
    fit_mixture,
    interpolate,
    inverted_file,
    traverse,
)
from hourglass.latent.inverted_file import InvertedFile


def blobs(n: int = 600) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    classes = np.arange(n) % 3
    return (rng.normal(size=(n, 4)) * [1, 0.5, 2, 0.1] + 8 * classes[:, None]).astype(np.float32), classes


def test_the_density_is_the_mixtures() -> None:
    codes, classes = blobs()
    mixture = fit_mixture(codes, classes, 1, seed=0)
    wanted = sum(
        weight * multivariate_normal(mean, factor @ factor.T).pdf(codes[:50])
        for weight, mean, factor in zip(mixture.weights, mixture.means, mixture.factors, strict=True)
    )
    np.testing.assert_allclose(mixture.log_density(codes[:50]), np.log(wanted), rtol=1e-6)
    assert np.bincount(mixture.classes).tolist() == [1, 1, 1]
    mean, deviation = mixture.moments()
    np.testing.assert_allclose(mean, codes.mean(0), atol=0.01)
    np.testing.assert_allclose(deviation, codes.std(0), rtol=0.01)


def test_samples_follow_the_density_the_label_and_the_temperature() -> None:
    codes, classes = blobs()
    mixture = fit_mixture(codes, classes, 2, seed=0)
    drawn, labels = mixture.sample(4000, np.random.default_rng(1))
    np.testing.assert_allclose(drawn.mean(0), codes.mean(0), atol=0.4)
    assert set(labels) == {0, 1, 2}
    ones, labels = mixture.sample(2000, np.random.default_rng(1), label=1)
    assert set(labels) == {1}
    np.testing.assert_allclose(ones.mean(0), codes[classes == 1].mean(0), atol=0.2)
    np.testing.assert_allclose(ones.std(0), codes[classes == 1].std(0), rtol=0.1)
    still, _ = mixture.sample(500, np.random.default_rng(1), temperature=0.0)
    assert len(np.unique(still, axis=0)) == len(mixture.weights)
    with pytest.raises(hg.ParameterError, match="temperature"):
        mixture.sample(1, np.random.default_rng(0), temperature=-1)


def test_a_density_survives_few_and_equal_codes() -> None:
    for codes in (np.zeros((5, 3), np.float32), blobs(2)[0], blobs(1)[0]):
        mixture = fit_mixture(codes, None, 10, seed=0)
        assert np.isfinite(mixture.log_density(codes)).all()
        assert np.isfinite(mixture.sample(9, np.random.default_rng(0))[0]).all()
    again = Mixture.from_state(mixture.to_state())
    assert np.array_equal(again.means, mixture.means)


def test_walks_start_and_end_where_they_should() -> None:
    start, end = np.array([3.0, 0.0], np.float32), np.array([0.0, 1.0], np.float32)
    for path in ("linear", "spherical"):
        walk = interpolate(start, end, 5, path)
        np.testing.assert_allclose(walk[[0, -1]], [start, end], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(walk, axis=1), np.linspace(3, 1, 5), rtol=1e-5)
    angles = np.degrees(np.arctan2(walk[:, 1], walk[:, 0]))
    np.testing.assert_allclose(angles, [0, 22.5, 45, 67.5, 90], atol=1e-3)
    assert np.isfinite(interpolate(start, 2 * start, 3, "spherical")).all()
    assert interpolate(np.zeros((7, 2), np.float32), np.ones((7, 2), np.float32), 3).shape == (7, 3, 2)
    np.testing.assert_array_equal(traverse(start, 1, np.array([5.0, 6.0], np.float32)), [[3, 5], [3, 6]])
    for wrong in (lambda: interpolate(start, end, 1), lambda: interpolate(start, end, 3, "up")):
        with pytest.raises(hg.ParameterError):
            wrong()
    with pytest.raises(hg.ParameterError, match="component"):
        traverse(start, 2, end)


@pytest.mark.parametrize("metric", METRICS)
def test_exact_neighbours_are_scikit_learns(metric: str) -> None:
    rng = np.random.default_rng(0)
    known, queries = (rng.normal(size=(n, 8)).astype(np.float32) + 100 for n in (3000, 200))
    index = NeighbourIndex(known[:1000], metric)
    index.add(known[1000:])
    distances, rows = index.search(queries, 7)
    wanted, wanted_rows = (
        NearestNeighbors(n_neighbors=7, metric=metric, algorithm="brute")
        .fit(known.astype(np.float64))
        .kneighbors(queries.astype(np.float64))
    )
    assert (rows == wanted_rows).mean() > (0.999 if metric == "euclidean" else 0.97)  # cosines of codes far away nearly tie
    np.testing.assert_allclose(distances, wanted, rtol=1e-3, atol=1e-6)


def test_an_index_finds_itself_and_refuses_more_than_it_has() -> None:
    codes = blobs(50)[0]
    index = NeighbourIndex(codes)
    distances, rows = index.search(codes, 1)
    assert np.array_equal(rows[:, 0], np.arange(50))
    assert (distances == 0).all()
    assert index.search(codes, 50)[1].shape == (50, 50)
    for k in (0, 51):
        with pytest.raises(hg.ParameterError, match="allowed: 1 to 50"):
            index.search(codes, k)
    refused: tuple[dict[str, Any], ...] = ({"metric": "taxi"}, {"backend": "psychic"})
    for wrong in refused:
        with pytest.raises(hg.ParameterError):
            NeighbourIndex(codes, **wrong)


def test_faiss_finds_nearly_all_that_exact_search_finds() -> None:
    pytest.importorskip("faiss", reason="the extra hourglass-autoencoders[faiss] is not installed")
    codes = np.random.default_rng(0).normal(size=(3000, 8)).astype(np.float32)
    exact, graph = (NeighbourIndex(codes, backend=backend) for backend in ("exact", "faiss"))
    same = exact.search(codes[:200], 10)[1] == graph.search(codes[:200], 10)[1]
    assert same.mean() > 0.95


# --- inverted files ---------------------------------------------------------------------------------------------------


def clusters(n: int, n_components: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    means = np.random.default_rng(99).normal(size=(100, n_components))
    return (means[rng.integers(100, size=n)] + 0.7 * rng.normal(size=(n, n_components))).astype(np.float32)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists are made of few codes already, so that a test need not wait."""
    pytest.importorskip("faiss", reason="the extra hourglass-autoencoders[faiss] is not installed")
    monkeypatch.setattr(InvertedFile, "FEWEST", 300)


def same(one: NeighbourIndex, other: NeighbourIndex, queries: np.ndarray, k: int = 10) -> bool:
    (distances, rows), (others, other_rows) = one.search(queries, k), other.search(queries, k)
    return np.array_equal(distances, others) and np.array_equal(rows, other_rows)


@pytest.mark.parametrize("metric", METRICS)
def test_lists_find_nearly_all_that_exact_search_finds_and_keep_it_when_saved(metric: str, capfd) -> None:
    pytest.importorskip("faiss", reason="the extra hourglass-autoencoders[faiss] is not installed")
    codes, queries = clusters(InvertedFile.FEWEST + 2000, 16), clusters(200, 16, seed=1)
    index = NeighbourIndex(codes, metric, "ivfpq")
    assert 0.95 < index.recall(queries) <= 1
    state = index.to_state()
    assert {name: array.nbytes // len(codes) for name, array in state.items()}["index.encoded"] == 10
    again = NeighbourIndex(codes.copy(), metric, "ivfpq").to_state()
    assert all(np.array_equal(array, again[name]) for name, array in state.items())  # there is no chance in it
    for copy in (NeighbourIndex.from_state(state, metric, "ivfpq"), pickle.loads(pickle.dumps(index))):
        assert same(index, copy, queries)
    new = clusters(500, 16, seed=2)
    copy.add(new)
    distances, rows = copy.search(new, 1)
    assert np.array_equal(rows[:, 0], np.arange(len(codes), len(codes) + 500))
    assert distances.max() < 1e-6
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("n", [1, 2, 40])
def test_few_and_equal_codes_are_all_found(n: int, backend: str, capfd) -> None:
    if backend != "exact":
        pytest.importorskip("faiss", reason="the extra hourglass-autoencoders[faiss] is not installed")
    for metric in METRICS:
        for n_components in (1, 2, 5):
            codes = np.random.default_rng(0).normal(size=(n, n_components)).astype(np.float32)
            index = NeighbourIndex(codes, metric, backend)
            assert np.array_equal(np.sort(index.search(codes, n)[1]), np.tile(np.arange(n), (n, 1)))
            assert index.recall(codes, n) == 1
            assert same(index, NeighbourIndex.from_state(index.to_state(), metric, backend), codes, n)
        equal = NeighbourIndex(np.ones((n, 3), np.float32), metric, backend)
        assert equal.recall(np.ones((2, 3), np.float32), n) == 1
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("n_components", [1, 2, 7, 70])
def test_lists_take_codes_of_any_width_and_any_number_of_neighbours(n_components: int, capfd) -> None:
    codes = clusters(400, n_components)
    for metric in METRICS:
        index = NeighbourIndex(codes, metric, "ivfpq")
        assert "index.encoded" in index.to_state()
        assert index.recall(codes) > 0.9
        assert np.array_equal(np.sort(index.search(codes[:3], 400)[1]), np.tile(np.arange(400), (3, 1)))
        assert NeighbourIndex(np.ones_like(codes), metric, "ivfpq").recall(codes[:5]) == 1
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("soon")
def test_recall_tells_what_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = np.random.default_rng(0).normal(size=(3000, 8)).astype(np.float32)
    index = NeighbourIndex(codes, backend="ivfpq")
    monkeypatch.setattr(InvertedFile, "N_PROBES", 1)
    monkeypatch.setattr(inverted_file, "_DEPTH", 0)
    found, wanted = (one.search(codes[:100], 10)[1] for one in (index, NeighbourIndex(codes)))
    share = np.mean([len(np.intersect1d(*rows)) / 10 for rows in zip(found, wanted, strict=True)])
    assert index.recall(codes[:100]) == pytest.approx(share)
    assert 0.2 < share < 0.9
    assert NeighbourIndex(codes).recall(codes[:100]) == 1
    with pytest.raises(hg.ParameterError, match="allowed: 1 to 3000"):
        index.recall(codes, 3001)
    with pytest.raises(hg.DataError, match="8 components"):
        index.search(codes[:, :7], 1)


@pytest.mark.usefixtures("soon")
def test_codes_that_come_in_shards_are_copied_and_learned_from_a_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    learned, learn = [], InvertedFile._train

    def train(self: InvertedFile) -> Any:
        learned.append(len(self._store))
        return learn(self)

    monkeypatch.setattr(InvertedFile, "_train", train)
    codes = clusters(5000, 4)
    index, moves = NeighbourIndex(codes[:5], backend="ivfpq"), 0
    for start in range(5, 5000, 5):
        before = index.codes
        index.add(codes[start : start + 5])
        moves += not np.shares_memory(before, index.codes)
    assert np.array_equal(index.codes, codes)
    assert moves <= 11  # 5 codes to 5000: ten doublings
    assert len(learned) <= 3  # 300, 1200, 4800
    assert index.recall(codes[:200]) > 0.95


def test_a_growing_array_is_what_was_put_in() -> None:
    names = np.array(["a", "b"])
    growing = GrowingArray(names)
    first = growing.rows
    growing.append(np.array(["longer"]))
    growing.append(np.arange(2))
    assert growing.rows.tolist() == ["a", "b", "longer", "0", "1"]
    assert first.tolist() == names.tolist() == ["a", "b"]
    roomy = GrowingArray(np.zeros((1, 2)), capacity=10_000)
    roomy.append(np.ones((1, 2)))
    assert len(roomy) == len(pickle.loads(pickle.dumps(roomy)).rows) == 2
    assert len(pickle.dumps(roomy)) < 1000


@pytest.mark.parametrize("n", [0, 700, 100_000])
def test_an_index_of_batches_is_that_of_all_codes(n: int) -> None:
    codes = clusters(1000, 4)
    for batches in (np.array_split(codes, 7), [codes]):
        index = NeighbourIndex.from_batches(iter(batches), n, "cosine")
        assert np.array_equal(index.codes, codes)
        assert same(index, NeighbourIndex(codes, "cosine"), codes[:50])
    with pytest.raises(hg.DataError, match="at least one"):
        NeighbourIndex.from_batches([])


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("codes", lambda codes: codes[:-1]),
        ("codes", lambda codes: codes[:, :-2]),
        ("codes", lambda codes: codes[0]),
        ("codes", lambda codes: codes[:0]),
        ("codes", lambda codes: codes.astype(np.int64)),
        ("index.centroids", lambda centroids: centroids[:5]),  # codes are in lists beyond
        ("index.centroids", lambda centroids: centroids[:0]),
        ("index.centroids", lambda centroids: centroids[:, :2]),
        ("index.centroids", lambda centroids: np.tile(centroids, (9, 1))),
        ("index.centroids", lambda centroids: centroids * np.float32("nan")),
        ("index.centroids", lambda centroids: centroids.astype(np.float64)),
        ("index.codebooks", lambda codebooks: codebooks[:1]),
        ("index.codebooks", lambda codebooks: codebooks[:, :255]),
        ("index.codebooks", lambda codebooks: codebooks.reshape(-1)),
        ("index.codebooks", lambda codebooks: codebooks + np.float32("inf")),
        ("index.encoded", lambda encoded: encoded[:-1]),
        ("index.encoded", lambda encoded: encoded[:, 1:]),
        ("index.encoded", lambda encoded: np.full_like(encoded, 255)),
        ("index.encoded", lambda encoded: encoded.astype(np.int8)),
        ("index.encoded", None),
    ],
)
def test_damaged_lists_are_refused(name: str, change) -> None:
    state = NeighbourIndex(clusters(400, 4), backend="ivfpq").to_state()
    if change is None:
        state.pop(name)
    else:
        state[name] = change(state[name])
    with pytest.raises((KeyError, ValueError)):
        NeighbourIndex.from_state(state, backend="ivfpq")


@pytest.mark.usefixtures("soon")
def test_lists_that_lead_nowhere_still_answer() -> None:
    codes = clusters(400, 4)
    state = NeighbourIndex(codes, backend="ivfpq").to_state()
    state["index.centroids"] = np.full_like(state["index.centroids"], 1e38)  # squares that overflow: no list is near
    index = NeighbourIndex.from_state(state, backend="ivfpq")
    assert same(index, NeighbourIndex(codes), codes[:20])


@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "exact"])
def test_without_faiss_it_says_how_to_get_it(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(hg.ParameterError, match=f'backend="{backend}" needs faiss: pip install'):
        NeighbourIndex(blobs(5)[0], backend=backend)
