"""Rank and world size under torchrun, and so which process writes and prints. Read without importing torch."""

from __future__ import annotations

import os
import sys


def rank_and_size() -> tuple[int, int]:
    """(rank, world size) of this process; (0, 1) if torchrun did not start it."""
    if not {"RANK", "WORLD_SIZE", "LOCAL_RANK"} <= set(os.environ):
        return 0, 1
    return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])


def rank() -> int:
    """The rank of this process; 0 if torchrun did not start it."""
    return rank_and_size()[0]


def may_be_restarted() -> bool:
    """Whether torchrun started this process, and would restart it."""
    return "TORCHELASTIC_RESTART_COUNT" in os.environ


def is_restarted() -> bool:
    """Whether torchrun restarted this process, after one of the process group failed."""
    return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"


def say_last(words: str, *, follows: bool = False) -> None:
    """Print to standard error why the command ends: once, if all processes end for one reason; else with the rank.

    With `follows`, it ends because another process did, and prints nothing if rank 0 has printed anything.
    """
    rank, size = rank_and_size()
    if size > 1 and {"MASTER_ADDR", "MASTER_PORT"} <= set(os.environ):  # the process group's store
        from hourglass.training import words_of_first

        if rank == 0:
            print(words, file=sys.stderr, flush=True)
        first = words_of_first(words)
        if rank == 0 or first == words or (follows and first is not None):
            return
        words = f"process {rank}: {words}"
    print(words, file=sys.stderr, flush=True)
