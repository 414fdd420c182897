"""False positives: how many new normal samples a detector calls anomalies, beside the rate that it was asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from hourglass.data import load
from hourglass.estimators import AnomalyDetector
from hourglass.estimators.outliers import rows_of
from hourglass.evaluation.anomalies import adbench
from hourglass.evaluation.surfaces import magnetic_tiles
from hourglass.evaluation.tables import table_lines

RATES = (0.01, 0.05)
"""False positive rates that are asked for."""
SIZES = (20, 50, 200, 1000)
"""Numbers of normal samples that train."""
_N_TABLES = 10  # those with the most normal rows
_FEWEST_NEW, _MOST_NEW = 150, 2000


class Normals(NamedTuple):
    """Normal samples, of one row of the page."""

    group: str
    name: str
    samples: Any


@dataclass(frozen=True)
class AlarmResult:
    """The false positives of one detector.

    Attributes
    ----------
    group, name : str
    n_trained, n_new : int
        Normal samples that trained, and others that were scored.
    false_positives : dict of str to float
        Share of the new ones below the threshold, by the rate that was asked for.
    """

    group: str
    name: str
    n_trained: int
    n_new: int
    false_positives: dict[str, float]


def _tables() -> Iterator[Normals]:
    normal = {table.name: np.concatenate([table.normal, table.test[~table.is_anomaly]]) for table in adbench()}
    for name in sorted(normal, key=lambda name: -len(normal[name]))[:_N_TABLES]:
        yield Normals("tables", name, normal[name])


def _digits() -> Iterator[Normals]:
    train = load("mnist").train
    for digit in range(10):
        yield Normals("digits", str(digit), np.asarray(train.images)[np.asarray(train.labels) == digit])


def _tiles() -> Iterator[Normals]:
    tiles = magnetic_tiles()
    yield Normals("magnetic tiles", "good", tiles.normal + tiles.good)


NORMALS: dict[str, Callable[[], Iterator[Normals]]] = {"tables": _tables, "digits": _digits, "magnetic tiles": _tiles}
"""What is measured: each group of normal samples."""


def measure_alarms(
    normals: Normals, seed: int, device: str = "auto", sizes: Sequence[int] = SIZES, rates: Sequence[float] = RATES
) -> list[AlarmResult]:
    """Train a detector on each number of the samples, drawn with `seed`, and count false positives among others.

    A size that leaves fewer than 150 samples is replaced by four fifths of all, if that is larger than the size before.
    """
    count = len(normals.samples)
    results: list[AlarmResult] = []
    for size in sizes:
        n_trained = size if count - size >= _FEWEST_NEW else count * 4 // 5
        if results and n_trained <= results[-1].n_trained:
            break
        order = np.random.default_rng([seed, size]).permutation(count)
        new = rows_of(normals.samples, order[n_trained:][:_MOST_NEW])
        detector = AnomalyDetector(random_state=seed, device=device).fit(rows_of(normals.samples, order[:n_trained]))
        scores = detector.score_samples(new)
        shares = {f"{rate:g}": float((scores < detector.set_threshold(quantile=1 - rate).offset_).mean()) for rate in rates}
        results.append(AlarmResult(normals.group, normals.name, n_trained, len(new), shares))
    return results


def alarms_table(results: Sequence[AlarmResult]) -> tuple[list[str], list[list[str]]]:
    """Return (headings, rows of formatted cells): means over detectors, with the standard error of the mean."""
    rates = list(results[0].false_positives)
    headings = ["", "normal samples that train", "detectors", *(f"false positives, asked {rate}" for rate in rates)]
    rows = []
    for group, n_trained in dict.fromkeys((result.group, result.n_trained) for result in results):
        chosen = [result for result in results if (result.group, result.n_trained) == (group, n_trained)]
        cells = []
        for rate in rates:
            shares = np.array([result.false_positives[rate] for result in chosen])
            error = f" ± {shares.std(ddof=1) / np.sqrt(len(shares)):.4f}" if len(shares) > 1 else ""
            cells.append(f"{shares.mean():.4f}{error}")
        rows.append([group, f"{n_trained:,}", str(len(chosen)), *cells])
    return headings, rows


def alarms_content(results: Sequence[AlarmResult], command: str, seed: int, machine: dict[str, Any]) -> dict[str, Any]:
    """Return all results as JSON."""
    return {"command": command, "seed": seed, "machine": machine, "detectors": [asdict(result) for result in results]}


def alarms_page(results: Sequence[AlarmResult], command: str, machine: dict[str, Any]) -> str:
    """Return all results as a page of Markdown."""
    versions = ", ".join(f"{key} {value}" for key, value in machine.items())
    headings, rows = alarms_table(results)
    return (
        "\n".join(
            [
                "# False positives, measured\n",
                f"Made by `{command}`; {versions}. Detectors with default arguments train on normal samples drawn at random, "
                f"and score others of the same set ({_FEWEST_NEW} to {_MOST_NEW:,}): the share below the threshold. Tables: "
                f"the {_N_TABLES} of ADBench with the most normal rows. Digits: one of MNIST's is normal. "
                "Magnetic tiles: good ones of all sizes. Means over detectors ± the standard error.\n",
                *table_lines(headings, rows),
            ]
        )
        + "\n"
    )
