"""Which of torchrun's processes this one is, and so whether it may write and speak. Asked before torch is imported."""

from __future__ import annotations

import os
import sys


def rank() -> int:
    """The number of this process among those that torchrun started; 0 for any that it did not."""
    return int(os.environ["RANK"]) if {"RANK", "WORLD_SIZE", "LOCAL_RANK"} <= set(os.environ) else 0


def is_restarted() -> bool:
    """Whether torchrun has started it anew, after one of the processes was lost."""
    return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"


def say_last(words: str, *, follows: bool = False) -> None:
    """Say on standard error why the command ends: once, where all processes end for one reason; else with its number.

    With `follows` it ends because another did: silent if the first has said anything.
    """
    number = rank()
    if os.environ.get("WORLD_SIZE", "1") != "1" and {"RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"} <= set(os.environ):
        from hourglass.training import words_of_first

        if number == 0:
            print(words, file=sys.stderr, flush=True)
        first = words_of_first(words)
        if number == 0 or first == words or (follows and first is not None):
            return
        words = f"process {number}: {words}"
    print(words, file=sys.stderr, flush=True)
