"""All suites by name; what a run of one gives, and what stands from runs before."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

import hourglass
from hourglass.evaluation.bench.growth import growth_suite
from hourglass.evaluation.bench.infer import infer_suite
from hourglass.evaluation.bench.matrix import TORCH, matrix_rates, together
from hourglass.evaluation.bench.rows import Row
from hourglass.evaluation.bench.setting import Bench, Curves, Measured
from hourglass.evaluation.bench.startup import startup_suite
from hourglass.evaluation.bench.train import train_suite
from hourglass.evaluation.bench.uses import uses_suite
from hourglass.evaluation.suites import machine

SUITES: dict[str, Callable[[Bench], Measured]] = {
    "train": train_suite,
    "infer": infer_suite,
    "startup": startup_suite,
    "uses": uses_suite,
    "growth": growth_suite,
}
_PRODUCTS, _QUICK_PRODUCTS = 9, 3  # of matrices, before and after each suite


@dataclass(frozen=True)
class Result:
    """What one suite gave.

    Attributes
    ----------
    suite, command : str
    rounds : int
        Asked for; what needs a new process for each takes fewer.
    rates : dict of str to dict
        The machine's matrix rate: library -> median and best, GFLOP/s, of products before and after the suite.
    rows : list of Row
    notes : list of str
    curves : dict of str to list of (x, y)
    """

    suite: str
    command: str
    rounds: int
    rates: dict[str, dict[str, float]]
    rows: list[Row]
    notes: list[str]
    curves: Curves

    def to_content(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        return {**asdict(self), "rows": [row.to_content() for row in self.rows]}

    @classmethod
    def from_content(cls, content: dict[str, Any]) -> Result:
        """A result as `to_content` wrote it."""
        curves = {name: [(x, y) for x, y in points] for name, points in content["curves"].items()}
        return cls(**content | {"rows": [Row.from_content(row) for row in content["rows"]], "curves": curves})


def run_suite(bench: Bench, suite: str, command: str) -> Result:
    """Measure one of `SUITES`, between two measurements of the matrix rate. HourglassError if a contender fails."""
    bench.tell(f"{suite}: the matrix rate")
    repeats = _QUICK_PRODUCTS if bench.quick else _PRODUCTS
    before = matrix_rates(repeats)
    measured = SUITES[suite](bench)
    rates = together(before, matrix_rates(repeats))
    best = max(rate["median"] for rate in rates.values())
    rows = [row.with_share(rates[TORCH]["median"], best) for row in measured.rows]
    return Result(suite, command, bench.rounds, rates, rows, measured.notes, measured.curves)


def about(bench: Bench) -> dict[str, Any]:
    """What results must share to stand on one page."""
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
        "code": code_digest(),
        "machine": facts,
    }


def code_digest() -> str:
    """Which code was measured: the first of the SHA-256 of the package's modules, but for the rooms that only ask and show."""
    package = Path(hourglass.__file__).parent
    digest = hashlib.sha256()
    for module in sorted(package.rglob("*.py")):
        path = module.relative_to(package)
        if path.parts[0] not in ("report", "cli", "web"):
            digest.update(f"{path}\0".encode() + module.read_bytes())
    return digest.hexdigest()[:12]


def to_content(shared: dict[str, Any], results: Iterable[Result]) -> dict[str, Any]:
    """All results, as JSON can hold them."""
    return {**shared, "suites": [result.to_content() for result in results]}


def standing(text: bytes, shared: dict[str, Any]) -> list[Result]:
    """The results in `text`, JSON of `to_content`, if they share all of `about` with those to come; else none."""
    try:
        content = json.loads(text)
        if any(content[key] != value for key, value in shared.items()):
            return []
        return [Result.from_content(result) for result in content["suites"]]
    except (ValueError, LookupError, TypeError, AttributeError):  # another version's, or no such file at all
        return []


def processor() -> str:
    """The processor's name, where Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
