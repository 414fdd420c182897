"""Starting: how long a process takes that does nothing else."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from hourglass.errors import HourglassError
from hourglass.evaluation.bench.rounds import Figures
from hourglass.evaluation.bench.rows import Bar, compare
from hourglass.evaluation.bench.setting import Bench, Measured

HELP, IMPORT, REFERENCE, NOTHING = "hourglass --help", "import hourglass", "import torch", "pass"
_BARS = {HELP: Bar("value", "≤", 0.3), IMPORT: Bar("value", "≤", 0.2)}
_OPTIONAL = {"pyod": "import pyod.models.auto_encoder", "pythae": "import pythae.models"}
_PATIENCE = 120.0  # seconds


def commands() -> dict[str, list[str]]:
    """What is started, by name."""
    script = Path(sys.executable).with_name("hourglass")
    hourglass = [str(script)] if script.exists() else [sys.executable, "-m", "hourglass"]
    return {text: _python(text) for text in (NOTHING, REFERENCE, "import sklearn", IMPORT)} | {HELP: [*hourglass, "--help"]}


def _python(statement: str) -> list[str]:
    return [sys.executable, "-c", statement]


def startup_suite(bench: Bench) -> Measured:
    """Seconds from start to end of a process, started in turn, after one start of each that does not count."""
    measured = Measured()
    bench.tell("starting")
    started = commands()
    for package, statement in _OPTIONAL.items():
        if importlib.util.find_spec(package) is None:
            measured.notes.append(f"{package}: not installed; pip install {package}.")
            continue
        try:
            _seconds(package, _python(statement))
        except HourglassError as error:  # an installation that is broken
            measured.notes.append(f"{package}: left out. {error}")
        else:
            started[statement] = _python(statement)
    rounds = start_in_turn(started, bench.rounds)
    for name, row in compare("start to end of a process", rounds, reference=REFERENCE).items():
        measured.rows.append(replace(row, bar=_BARS.get(name), note="Python alone." if name == NOTHING else ""))
    return measured


def start_in_turn(started: Mapping[str, list[str]], rounds: int) -> dict[str, list[Figures]]:
    """Seconds of each command in each round. HourglassError if one fails."""
    turns = [{name: {"seconds": _seconds(name, command)} for name, command in started.items()} for _ in range(rounds + 1)]
    return {name: [turn[name] for turn in turns[1:]] for name in started}


def _seconds(name: str, command: list[str]) -> float:
    start = time.perf_counter()
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=_PATIENCE)  # noqa: S603  # our own commands
    except subprocess.CalledProcessError as error:
        last = error.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["nothing said"]
        raise HourglassError(f"{name}: exit code {error.returncode} ({last[0]}).") from error
    except subprocess.TimeoutExpired as error:
        raise HourglassError(f"{name}: not done after {_PATIENCE:.0f} s.") from error
    return time.perf_counter() - start
