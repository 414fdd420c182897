"""Detection of anomalies in tables, beside baselines, on the tables of ADBench (Han et al. 2022)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hourglass.errors import DataError
from hourglass.estimators import AnomalyDetector
from hourglass.evaluation.tables import table_lines
from hourglass.images import Array

_NEAREST = 5
_VARIANCE = 0.9  # kept by PCA
_RATE = 0.05  # false positive rate that the detector is asked for


class Table(NamedTuple):
    """A table: normal rows to train on, rows to test on, and which of these are anomalies."""

    name: str
    normal: Array
    test: Array
    is_anomaly: NDArray[np.bool_]


@dataclass(frozen=True)
class TableResult:
    """The figures of a table.

    Attributes
    ----------
    name : str
    n_normal, n_test, n_columns : int
    auroc : dict of str to float
        By method.
    false_positives : float
        Share of normal test rows that the detector takes for anomalies, if asked for 0.05.
    seconds : float
        Of its training.
    """

    name: str
    n_normal: int
    n_test: int
    n_columns: int
    auroc: dict[str, float]
    false_positives: float
    seconds: float


def adbench() -> Iterator[Table]:
    """The tables of the folder adbench in HOURGLASS_DATA: the first half of the normal rows, in file order, trains.

    Raises
    ------
    DataError
        If there is no such folder.
    """
    folder = Path(os.environ.get("HOURGLASS_DATA", "")) / "adbench"
    files = sorted(folder.glob("*.npz"))
    if not files:
        raise DataError("the suite needs HOURGLASS_DATA to name a folder that holds adbench/ with tables as .npz (X, y).")
    for file in files:
        with np.load(file, allow_pickle=False) as content:
            rows, labels = content["X"].astype(np.float64), content["y"].ravel() == 1
        normal = np.flatnonzero(~labels)
        trained = normal[: len(normal) // 2]
        tested = np.setdiff1d(np.arange(len(rows)), trained)
        yield Table(file.stem.partition("_")[2], rows[trained], rows[tested], labels[tested])


Scorer = Callable[[Array, Array, int], Array]
"""(normal rows, rows to score, seed) -> scores, greater for anomalies; rows are standardised."""


def _neighbours(normal: Array, test: Array, seed: int) -> Array:
    from sklearn.neighbors import NearestNeighbors

    count = min(_NEAREST, len(normal))
    distances: Array = NearestNeighbors(n_neighbors=count).fit(normal).kneighbors(test)[0][:, -1]
    return distances


def _residual(normal: Array, test: Array, seed: int) -> Array:
    from sklearn.decomposition import PCA

    pca = PCA(_VARIANCE).fit(normal)
    residual: Array = np.square(test - pca.inverse_transform(pca.transform(test))).sum(1)
    return residual


def _forest(normal: Array, test: Array, seed: int) -> Array:
    from sklearn.ensemble import IsolationForest

    scores: Array = -IsolationForest(random_state=seed).fit(normal).score_samples(test)
    return scores


BASELINES: dict[str, Scorer] = {"5-NN distance": _neighbours, "PCA residual": _residual, "isolation forest": _forest}


def measure_table(table: Table, seed: int, device: str = "auto") -> TableResult:
    """Train a detector and the baselines on the normal rows of `table`, and score its test rows."""
    from sklearn.metrics import roc_auc_score
    from sklearn.preprocessing import StandardScaler

    start = time.perf_counter()
    detector = AnomalyDetector(quantile=1 - _RATE, random_state=seed, device=device).fit(table.normal)
    seconds = time.perf_counter() - start
    scores = {"AnomalyDetector": -detector.score_samples(table.test)}
    found = scores["AnomalyDetector"] > -detector.offset_
    scaler = StandardScaler().fit(table.normal)
    normal, test = scaler.transform(table.normal), scaler.transform(table.test)
    scores |= {name: score(normal, test, seed) for name, score in BASELINES.items()}
    auroc = {name: float(roc_auc_score(table.is_anomaly, given)) for name, given in scores.items()}
    false_positives = float(found[~table.is_anomaly].mean())
    n_test, n_columns = table.test.shape
    return TableResult(table.name, len(table.normal), n_test, n_columns, auroc, false_positives, seconds)


def anomalies_table(results: Sequence[TableResult]) -> tuple[list[str], list[list[str]]]:
    """Return (headings, rows of formatted cells), the means last."""
    methods = list(results[0].auroc)
    headings = ["table", "normal rows", "columns", *methods, f"false positives, asked {_RATE:g}", "s to train"]
    rows = [
        [
            result.name,
            f"{result.n_normal:,}",
            f"{result.n_columns:,}",
            *(f"{result.auroc[method]:.3f}" for method in methods),
            f"{result.false_positives:.3f}",
            f"{result.seconds:.1f}",
        ]
        for result in results
    ]
    means = [f"{np.mean([result.auroc[method] for result in results]):.4f}" for method in methods]
    mean = ["mean", "", "", *means, f"{np.mean([result.false_positives for result in results]):.3f}", ""]
    return headings, [*rows, mean]


def anomalies_content(results: Sequence[TableResult], command: str, seed: int, machine: dict[str, Any]) -> dict[str, Any]:
    """Return all results as JSON."""
    return {"command": command, "seed": seed, "machine": machine, "tables": [asdict(result) for result in results]}


def anomalies_page(results: Sequence[TableResult], command: str, machine: dict[str, Any]) -> str:
    """Return all results as a page of Markdown."""
    versions = ", ".join(f"{key} {value}" for key, value in machine.items())
    headings, rows = anomalies_table(results)
    return (
        "\n".join(
            [
                "# Anomalies in tables, measured\n",
                f"Made by `{command}`; {versions}. AUROC on the tables of ADBench (Han et al. 2022): the first half of the "
                "normal rows, in file order, trains, all other rows test. Rows are standardised for the baselines; the "
                "detector scales columns itself. Its weights are chosen on normal rows and synthetic anomalies; which kinds of "
                "evidence there are was chosen in sight of these tables, so that it may gain less on others.\n",
                *table_lines(headings, rows),
                *(["", *lower] if (lower := _lower(results)) else []),
            ]
        )
        + "\n"
    )


def _lower(results: Sequence[TableResult]) -> list[str]:
    """A line for each table where a baseline is better by more than 0.05."""
    lines = []
    for result in results:
        best = max(BASELINES, key=lambda name: result.auroc[name])
        behind = result.auroc[best] - result.auroc["AnomalyDetector"]
        if behind > 0.05:
            lines.append(f"- {result.name}: {best} is better by {behind:.3f}.")
    return lines
