"""Evidence that a sample is unusual: scores learned from normal samples, and from a network that was trained on them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.special import ndtri

from hourglass.images import Array, Float32, robust_moments
from hourglass.latent import NeighbourIndex, whitening
from hourglass.trained import Trained

Scores = NDArray[np.float64]

# Chosen on held-out normal digits of MNIST's training split, with the other digits as anomalies.
_NOISE, _N_DRAWS = 0.3, 4
_TABLE_NOISE = 1 / 6  # one standard deviation of a column; for tables of models saved before there was `TABLE`
BLUR = 1.0  # pixels
NEAREST = 5
_SHRINKAGE = 0.05
_BATCH = 1024
LEAST = 0.01  # standard deviations: distances below it are rounding
DEVIATIONS = 6.0  # of a column within 0..1
_VARIANCE = 0.9  # kept by PCA
_MOST_ROWS = 10_000  # of a table that are kept


class Evidence(ABC):
    """One score of how unusual samples are; greater is more unusual, in units of its own.

    `fit` learns from normal samples that the network was trained on.
    """

    def fit(self, samples: Array, model: Trained) -> Self:
        """Learn from normal `samples`; by default the network knows enough."""
        return self

    @abstractmethod
    def scores(self, samples: Array, model: Trained, *, without_own: bool = False) -> Scores:
        """Score samples (n, *shape): float64 (n,).

        With `without_own` they are those of `fit`, and each is compared with the others alone.
        """

    def state(self) -> dict[str, Array]:
        """What `restore` needs, by name."""
        return {}

    def restore(self, state: dict[str, Array], model: Trained) -> Self:
        """Take up what `state` gave. Raises ValueError if shapes do not fit."""
        return self


class NoisyReconstruction(Evidence):
    """Log of the mean squared error under noise; of images smoothed, and relative to their contrast.

    A network trained with corruption receives each image under the same few draws of noise. To undo noise it must know what is
    normal; without noise it may just copy its input.
    """

    def scores(self, samples: Array, model: Trained, *, without_own: bool = False) -> Scores:
        return _in_batches(lambda part: self._log_errors(model.sample.to_network(part), model), samples)

    def probes(self, shape: tuple[int, ...], model: Trained) -> Float32:
        """The draws of noise (draws, *shape), none for a network that was trained without corruption.

        They are the same for all samples, so that scores do not depend on the batch.
        """
        rng = np.random.default_rng(0)
        noise = _TABLE_NOISE if model.sample.is_by_column else _NOISE
        count = 0 if model.settings["corruption"] is None else _N_DRAWS
        drawn: Float32 = rng.normal(0, noise, (count, *shape)).astype(np.float32)
        return drawn

    def _log_errors(self, values: Float32, model: Trained) -> Scores:
        """Of `values`, the network's input."""
        probes = self.probes(values.shape[1:], model)
        errors = np.zeros(len(values))
        for given in [np.clip(values + probe, 0, 1) for probe in probes] if len(probes) else [values]:
            residuals = model.run(given) - values
            errors += np.square(_smoothed(residuals), dtype=np.float64).reshape(len(values), -1).mean(1) / max(1, len(probes))
        energy = np.square(_smoothed(values), dtype=np.float64).reshape(len(values), -1).mean(1) if values.ndim > 2 else 1.0
        logarithms: Scores = np.log(errors + 1e-9) - 0.5 * np.log(energy + 1e-3)
        return logarithms


class Reconstruction(Evidence):
    """Log of the root mean squared error of rows, in standard deviations of their columns."""

    def scores(self, samples: Array, model: Trained, *, without_own: bool = False) -> Scores:
        return _in_batches(lambda part: self._log_errors(model.sample.to_network(part), model), samples)

    def _log_errors(self, values: Float32, model: Trained) -> Scores:
        squares = np.square(DEVIATIONS * (model.run(values) - values), dtype=np.float64)
        return _log_of_root(squares.mean(1))


class CodeDistance(Evidence):
    """Log of the mean distance of the whitened code to the nearest codes of normal samples."""

    whitening: Float32
    reference: NeighbourIndex

    def fit(self, samples: Array, model: Trained) -> Self:
        codes = model.vectors(samples)
        self.whitening = whitening(codes, _SHRINKAGE).astype(np.float32)
        self.reference = NeighbourIndex(codes @ self.whitening)
        return self

    def scores(self, samples: Array, model: Trained, *, without_own: bool = False) -> Scores:
        codes = model.vectors(samples) @ self.whitening
        own = int(without_own and len(self.reference) > 1)
        distances = self.reference.search(codes, min(NEAREST + own, len(self.reference)))[0][:, own:]
        logarithms: Scores = np.log(distances.mean(1, dtype=np.float64) + 1e-6)
        return logarithms

    def state(self) -> dict[str, Array]:
        return {"whitening": self.whitening, "reference": self.reference.codes}

    def restore(self, state: dict[str, Array], model: Trained) -> Self:
        self.whitening, codes = state["whitening"], state["reference"]
        if self.whitening.shape[1] != codes.shape[1]:
            raise ValueError(f"whitening {self.whitening.shape}, codes {codes.shape}")
        self.reference = NeighbourIndex(codes)
        return self


class RowEvidence(Evidence):
    """Evidence from the rows of a table alone, of which it keeps some ten thousand."""

    rows: NDArray[np.float64]

    def fit(self, samples: Array, model: Trained) -> Self:
        step = -(-len(samples) // _MOST_ROWS)
        return self.of(np.asarray(samples[::step], dtype=np.float64))

    @abstractmethod
    def of(self, rows: NDArray[np.float64]) -> Self:
        """Learn from `rows`, and keep them."""

    def scores(self, samples: Array, model: Trained, *, without_own: bool = False) -> Scores:
        return _in_batches(lambda part: self._of_rows(np.asarray(part, dtype=np.float64), without_own), samples)

    @abstractmethod
    def _of_rows(self, rows: NDArray[np.float64], without_own: bool) -> Scores:
        """The scores of `rows`."""

    def state(self) -> dict[str, Array]:
        return {"rows": self.rows}

    def restore(self, state: dict[str, Array], model: Trained) -> Self:
        rows = np.asarray(state["rows"], dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] != model.sample.n_features or not np.isfinite(rows).all():
            raise ValueError(f"rows {rows.shape}")
        return self.of(rows)


class RowDistance(RowEvidence):
    """Log of the distance of a row to the mean of the nearest normal rows, in standard deviations of a column.

    The residual beside a local mean: small also where rows lie on a curved surface. Columns are scaled robustly.
    """

    def of(self, rows: NDArray[np.float64]) -> Self:
        self.rows = rows
        self._learn_scale(rows)
        self.reference = NeighbourIndex(self._scaled(rows))
        return self

    def _learn_scale(self, rows: NDArray[np.float64]) -> None:
        self.centre, self.deviation = robust_moments(rows)

    def _scaled(self, rows: NDArray[np.float64]) -> Float32:
        scaled: Float32 = ((rows - self.centre) / self.deviation).astype(np.float32)
        return scaled

    def _of_rows(self, rows: NDArray[np.float64], without_own: bool) -> Scores:
        scaled, own = self._scaled(rows), int(without_own and len(self.reference) > 1)
        nearest = self.reference.search(scaled, min(NEAREST + own, len(self.reference)))[1][:, own:]
        squares = np.square(scaled - self.reference.codes[nearest].mean(1), dtype=np.float64)
        return _log_of_root(squares.mean(1))


class RankDistance(RowDistance):
    """`RowDistance` where each value is replaced by the normal quantile of its rank: heavy tails and units do not matter.

    A value beyond all normal ones has the extreme quantile plus log(1 + excess), in standard deviations.
    """

    def _learn_scale(self, rows: NDArray[np.float64]) -> None:
        n = len(rows)
        self.sorted = np.sort(rows, axis=0)
        deviation = rows.std(0)
        self.deviation = np.where(deviation > 0, deviation, 1.0)
        self.quantiles = ndtri((np.arange(2 * n + 1) + 1) / (2 * n + 2))
        self.unit = np.ones(rows.shape[1])
        spread = self._scaled(rows).std(0, dtype=np.float64)
        self.unit = np.where(spread > 1e-9, spread, 1.0)

    def _scaled(self, rows: NDArray[np.float64]) -> Float32:
        below, up_to = _counts(self.sorted, rows)
        excess = np.maximum(rows - self.sorted[-1], 0) - np.maximum(self.sorted[0] - rows, 0)
        values = self.quantiles[below + up_to] + np.sign(excess) * np.log1p(np.abs(excess) / self.deviation)
        scaled: Float32 = (values / self.unit).astype(np.float32)
        return scaled


class PrincipalRows(RowEvidence):
    """Log of the residual of standardised rows under a PCA of normal rows that keeps 90 % of their variance."""

    def of(self, rows: NDArray[np.float64]) -> Self:
        self.rows, self.mean = rows, rows.mean(0)
        deviation = rows.std(0)
        self.deviation = np.where(deviation > 0, deviation, 1.0)
        _, values, directions = np.linalg.svd((rows - self.mean) / self.deviation, full_matrices=False)
        share = np.cumsum(values**2) / max(float(np.sum(values**2)), 1e-300)
        self.components = directions[: int(np.searchsorted(share, _VARIANCE)) + 1]
        return self

    def _of_rows(self, rows: NDArray[np.float64], without_own: bool) -> Scores:
        standard = (rows - self.mean) / self.deviation
        return _log_of_root(np.square(standard - standard @ self.components.T @ self.components).mean(1))


class Tails(RowEvidence):
    """Sum over columns of the negative log of the tail probability, as ECOD (Li et al. 2022).

    Of three sums the greatest: of the left tails, of the right ones, and of those on the side of each column's longer tail.
    """

    def of(self, rows: NDArray[np.float64]) -> Self:
        self.rows, self.sorted = rows, np.sort(rows, axis=0)
        self.is_left = ((rows - rows.mean(0)) ** 3).mean(0) < 0
        return self

    def _of_rows(self, rows: NDArray[np.float64], without_own: bool) -> Scores:
        n = len(self.sorted)
        below, up_to = _counts(self.sorted, rows)
        left, right = -np.log((up_to + 1) / (n + 1)), -np.log((n - below + 1) / (n + 1))
        sums = [left.sum(1), right.sum(1), np.where(self.is_left, left, right).sum(1)]
        greatest: Scores = np.max(sums, axis=0)
        return greatest


IMAGE: dict[str, type[Evidence]] = {"error under noise": NoisyReconstruction, "code": CodeDistance}
TABLE: dict[str, type[Evidence]] = {
    "error": Reconstruction,
    "code": CodeDistance,
    "rows": RowDistance,
    "ranks": RankDistance,
    "tails": Tails,
    "principal rows": PrincipalRows,
}


def _in_batches(scores: Callable[[Array], Scores], samples: Array) -> Scores:
    """The scores of all samples, some at once, which bounds memory."""
    return np.concatenate([scores(samples[start : start + _BATCH]) for start in range(0, len(samples), _BATCH)])


def _counts(ordered: NDArray[np.float64], rows: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How many of each column's `ordered` values are below, and how many up to, each of `rows`: int (n, features)."""
    columns = [(ordered[:, column], rows[:, column]) for column in range(rows.shape[1])]
    below = np.stack([known.searchsorted(values, "left") for known, values in columns], axis=1)
    up_to = np.stack([known.searchsorted(values, "right") for known, values in columns], axis=1)
    return below, up_to


def _log_of_root(squares: Scores) -> Scores:
    logarithms: Scores = np.log(LEAST + np.sqrt(squares))
    return logarithms


def _smoothed(values: Float32) -> Float32:
    """Images (n, c, h, w) after a Gaussian filter, which suppresses single pixels; features unchanged."""
    if values.ndim < 4:
        return values
    smooth: Float32 = gaussian_filter(values, (0, 0, BLUR, BLUR))
    return smooth
