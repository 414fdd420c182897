"""Contenders of the benchmark of a few milliseconds. Each runs in a process of its own, which imports this module alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.rounds import Figures, Round
from hourglass.errors import DataError


def write_down(name: str, diary: Path) -> Round:
    """Notes each round, and the process that does it."""

    def one_round() -> Figures:
        with diary.open("a") as stream:
            stream.write(f"{name} {os.getpid()}\n")
        return {"seconds": 1.0}

    return one_round


def hold(megabytes: int) -> Round:
    """Takes so much memory in a round."""

    def one_round() -> Figures:
        return {"seconds": float(np.ones(megabytes * 125_000).sum())}

    return one_round


def fail(when: str, how: Callable[[], None]) -> Round:
    if when == "ready":
        how()

    def one_round() -> Figures:
        how()
        return {}

    return one_round


def complain() -> None:
    raise ValueError("this is\nwhat went wrong")


def refuse() -> None:
    raise DataError("no such images.")


def die() -> None:
    os._exit(3)


def tick(file: Path) -> None:
    with file.open("a") as stream:
        stream.write(".")
