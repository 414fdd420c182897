"""Start-up: the time of a process that does nothing else."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from benchmarks.rounds import Figures
from benchmarks.rows import Bar, compare
from benchmarks.setting import Bench, Measured
from hourglass.errors import HourglassError

HELP, IMPORT, REFERENCE, NOTHING = "hourglass --help", "import hourglass", "import torch", "pass"
_BARS = {HELP: Bar("value", "≤", 0.3), IMPORT: Bar("value", "≤", 0.2)}
_OPTIONAL = {"pyod": "import pyod.models.auto_encoder", "pythae": "import pythae.models"}
_TIMEOUT = 120.0  # seconds


def commands() -> dict[str, list[str]]:
    """Return the commands to start, by name."""
    script = Path(sys.executable).with_name("hourglass")
    hourglass = [str(script)] if script.exists() else [sys.executable, "-m", "hourglass"]
    return {text: _python(text) for text in (NOTHING, REFERENCE, "import sklearn", IMPORT)} | {HELP: [*hourglass, "--help"]}


def _python(statement: str) -> list[str]:
    return [sys.executable, "-c", statement]


def startup_suite(bench: Bench) -> Measured:
    """Measure the seconds from start to end of a process, in turn, after one warm-up start of each that is discarded."""
    measured = Measured()
    bench.report("start-up")
    started = commands()
    for package, statement in _OPTIONAL.items():
        if importlib.util.find_spec(package) is None:
            measured.notes.append(f"{package}: not installed; pip install {package}.")
            continue
        try:
            _seconds(package, _python(statement))
        except HourglassError as error:  # a broken installation
            measured.notes.append(f"{package}: left out. {error}")
        else:
            started[statement] = _python(statement)
    rounds = start_in_turn(started, bench.rounds)
    for name, row in compare("start to end of a process", rounds, reference=REFERENCE).items():
        measured.rows.append(replace(row, bar=_BARS.get(name), note="Python alone." if name == NOTHING else ""))
    return measured


def start_in_turn(started: Mapping[str, list[str]], rounds: int) -> dict[str, list[Figures]]:
    """Return the seconds of each command in each round. Raises HourglassError if a command fails."""
    turns = [{name: {"seconds": _seconds(name, command)} for name, command in started.items()} for _ in range(rounds + 1)]
    return {name: [turn[name] for turn in turns[1:]] for name in started}


def _seconds(name: str, command: list[str]) -> float:
    start = time.perf_counter()
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=_TIMEOUT)  # noqa: S603  # our own commands
    except subprocess.CalledProcessError as error:
        last = error.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
        raise HourglassError(f"{name}: exit code {error.returncode} ({last[0]}).") from error
    except subprocess.TimeoutExpired as error:
        raise HourglassError(f"{name}: not finished after {_TIMEOUT:.0f} s.") from error
    return time.perf_counter() - start
