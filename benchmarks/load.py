"""The load of training: its memory, and its time beside another busy process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch

from benchmarks import ours, peers
from benchmarks.rounds import Contender, Figures, alternate_anew, beside, started
from benchmarks.rows import Bar, compare, middle
from benchmarks.setting import Bench, Measured

LOOP, SLICED = "the chapter's loop", "plain loop, sliced, fused Adam"
OURS, OURS_DEFAULT = "Hourglass, preset chapter", "Hourglass, preset default"
OURS_AUTO = f'{OURS}, n_threads="auto"'
_SPINS = 100_000
_SIDE = 1024
_FEW_IMAGES = 3200
_FEW = 3  # rounds at most: each takes long, or starts a process


def spin() -> int:
    """Keep one core busy for some milliseconds, without memory."""
    total = 0
    for number in range(_SPINS):
        total += number
    return total


def multiply() -> None:
    """Multiply two matrices of 1024² on all threads."""
    matrix = torch.ones(_SIDE, _SIDE)
    torch.mm(matrix, matrix)


NEIGHBOURS: dict[str, Callable[[], object]] = {
    "a process that counts (one core)": spin,
    "a process that multiplies matrices (all threads)": multiply,
}


def beside_others(bench: Bench, measured: Measured) -> None:
    """Measure one epoch at batch size 32 beside a busy process, as a multiple of the time on the quiet machine just before.

    With a seed the number of threads is that of a quiet machine; with "auto" it adapts to the other process.
    The plain loop gets few images, because each of its steps may take a tenth of a second beside a busy process.
    """
    few, all_of_them = bench.task(epochs=1, tests=False, n_images=_FEW_IMAGES), bench.task(epochs=1, tests=False)
    contenders = [
        Contender(SLICED, partial(peers.sliced_loop, few)),
        Contender(OURS, partial(ours.fit, all_of_them, "chapter")),
        Contender(OURS_AUTO, partial(ours.fit, all_of_them, "chapter", n_threads="auto")),
    ]
    for neighbour, work in NEIGHBOURS.items():
        bench.report(f"beside {neighbour}")
        rounds: dict[str, list[Figures]] = {contender.name: [] for contender in contenders}
        with started(contenders) as workers:
            for _ in range(min(_FEW, bench.rounds)):
                quiet = {name: worker.round()["seconds"] for name, worker in workers.items()}
                with beside(work):
                    loaded = {name: worker.round()["seconds"] for name, worker in workers.items()}
                for name, seconds in loaded.items():
                    rounds[name].append({"times": seconds / quiet[name], "seconds": seconds, "quiet": quiet[name]})
        rows = compare(f"1 epoch beside {neighbour}", rounds, key="times", unit="× its quiet time", reference=SLICED)
        for name, row in rows.items():
            note = f"{middle(rounds[name], 'quiet'):.2f} s when quiet, {middle(rounds[name], 'seconds'):.2f} s beside it"
            note += f", of {_FEW_IMAGES:,} images." if name == SLICED and bench.n_train > _FEW_IMAGES else "."
            bar = Bar("value", "≤", 2.2) if bench.has_bars and name == OURS_AUTO else None
            measured.rows.append(replace(row, note=note, bar=bar))


def memory(bench: Bench, measured: Measured) -> None:
    """Measure the peak memory of a process that trains for one epoch, with all that it imports."""
    bench.report("memory")
    chapter, default = bench.task(epochs=1, tests=False), bench.task(epochs=1, tests=False, batch_size=None)
    contenders = [
        Contender(LOOP, partial(peers.chapter_loop, chapter)),
        Contender(OURS, partial(ours.fit, chapter, "chapter")),
        Contender(OURS_DEFAULT, partial(ours.fit, default, "default")),
    ]
    rounds = alternate_anew(contenders, min(_FEW, bench.rounds))
    if any("peak_mb" not in turn for figures in rounds.values() for turn in figures):
        measured.notes.append("Memory: this system does not report the peak of a process.")
        return
    for name, row in compare("peak memory of training", rounds, key="peak_mb", unit="MB", reference=LOOP).items():
        note = f"{middle(rounds[name], 'ready_mb'):,.0f} MB of it once libraries and images are loaded."
        bar = Bar("value", "≤", 500.0) if bench.has_bars and name != LOOP else None
        measured.rows.append(replace(row, note=note, bar=bar))
