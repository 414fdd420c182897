"""Densities, walks and neighbours of codes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.neighbors import NearestNeighbors

import hourglass as hg
from hourglass.latent import METRICS, Mixture, NeighbourIndex, fit_mixture, interpolate, traverse


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
    for wrong in ({"metric": "taxi"}, {"backend": "psychic"}):
        with pytest.raises(hg.ParameterError):
            NeighbourIndex(codes, **wrong)


def test_faiss_finds_nearly_all_that_exact_search_finds() -> None:
    pytest.importorskip("faiss", reason="the extra hourglass[faiss] is not installed")
    codes = np.random.default_rng(0).normal(size=(3000, 8)).astype(np.float32)
    exact, graph = (NeighbourIndex(codes, backend=backend) for backend in ("exact", "faiss"))
    same = exact.search(codes[:200], 10)[1] == graph.search(codes[:200], 10)[1]
    assert same.mean() > 0.95
