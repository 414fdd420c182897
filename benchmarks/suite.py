"""All suites by name, the result of a suite, and which results of earlier runs remain valid."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch

from benchmarks.exported import exported_suite
from benchmarks.growth import growth_suite
from benchmarks.infer import infer_suite
from benchmarks.matrix import TORCH, matrix_rates, together
from benchmarks.provenance import code_digest, processor
from benchmarks.rows import Row
from benchmarks.setting import Bench, Curves, Measured
from benchmarks.startup import startup_suite
from benchmarks.train import train_suite
from benchmarks.uses import uses_suite
from hourglass.evaluation.suites import machine

SUITES: dict[str, Callable[[Bench], Measured]] = {
    "train": train_suite,
    "infer": infer_suite,
    "exported": exported_suite,
    "startup": startup_suite,
    "uses": uses_suite,
    "growth": growth_suite,
}
_PRODUCTS, _QUICK_PRODUCTS = 9, 3  # matrix products before and after each suite


@dataclass(frozen=True)
class Result:
    """The result of one suite.

    Attributes
    ----------
    suite, command, code : str
        The code is that of the checkout, as a digest.
    rounds : int
        As requested; measurements that start a new process for each round take fewer.
    rates : dict of str to dict
        Matrix rate of the machine: library -> median and best in GFLOP/s, over products before and after the suite.
    rows : list of Row
    notes : list of str
    curves : dict of str to list of (x, y)
    """

    suite: str
    command: str
    code: str
    rounds: int
    rates: dict[str, dict[str, float]]
    rows: list[Row]
    notes: list[str]
    curves: Curves

    def to_content(self) -> dict[str, Any]:
        """Return the result as a dict that JSON can hold."""
        return {**asdict(self), "rows": [row.to_content() for row in self.rows]}

    @classmethod
    def from_content(cls, content: dict[str, Any]) -> Result:
        """Return the result that `to_content` made `content` of."""
        curves = {name: [(x, y) for x, y in points] for name, points in content["curves"].items()}
        return cls(**content | {"rows": [Row.from_content(row) for row in content["rows"]], "curves": curves})


def run_suite(bench: Bench, suite: str, command: str) -> Result:
    """Measure one of `SUITES`, between two measurements of the matrix rate. Raises HourglassError if a contender fails."""
    bench.report(f"{suite}: the matrix rate")
    code = code_digest()  # before it can be edited
    repeats = _QUICK_PRODUCTS if bench.quick else _PRODUCTS
    before = matrix_rates(repeats)
    measured = SUITES[suite](bench)
    rates = together(before, matrix_rates(repeats))
    best = max(rate["median"] for rate in rates.values())
    rows = [row.with_share(rates[TORCH]["median"], best) for row in measured.rows]
    return Result(suite, command, code, bench.rounds, rates, rows, measured.notes, measured.curves)


def about(bench: Bench) -> dict[str, Any]:
    """Return the data, seed and machine, which results must share to appear on one page."""
    facts = machine() | {
        "processor": processor() or machine()["processor"],
        "cores": os.cpu_count(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        **({"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {}),
    }
    return {
        "data": bench.data,
        "train_images": bench.n_train,
        "test_images": bench.n_test,
        "seed": bench.seed,
        "quick": bench.quick,
        "machine": facts,
    }


def to_content(shared: dict[str, Any], results: Iterable[Result]) -> dict[str, Any]:
    """Return `shared` and all results as a dict that JSON can hold."""
    return {**shared, "suites": [result.to_content() for result in results]}


def standing(text: bytes, shared: dict[str, Any]) -> list[Result]:
    """Return the results in `text`, JSON of `to_content`, if they have the same `about` as `shared`; otherwise none."""
    try:
        content = json.loads(text)
        if any(content[key] != value for key, value in shared.items()):
            return []
        return [Result.from_content(result) for result in content["suites"]]
    except (ValueError, LookupError, TypeError, AttributeError):  # of another version, or not a file of results
        return []
