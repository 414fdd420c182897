"""Which of torchrun's processes this one is, and so whether it may write and speak. Asked before torch is imported."""

from __future__ import annotations

import os
import sys


def part_of_all() -> tuple[int, int]:
    """(the number of this process among those that torchrun started, how many they are); (0, 1) for any that it did not."""
    if not {"RANK", "WORLD_SIZE", "LOCAL_RANK"} <= set(os.environ):
        return 0, 1
    return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])


def rank() -> int:
    """The number of this process among those that torchrun started; 0 for any that it did not."""
    return part_of_all()[0]


def may_be_restarted() -> bool:
    """Whether torchrun has started it, and would do so again."""
    return "TORCHELASTIC_RESTART_COUNT" in os.environ


def is_restarted() -> bool:
    """Whether torchrun has started it anew, after one of the processes was lost."""
    return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"


def say_last(words: str, *, follows: bool = False) -> None:
    """Say on standard error why the command ends: once, where all processes end for one reason; else with its number.

    With `follows` it ends because another did: silent if the first has said anything.
    """
    number, how_many = part_of_all()
    if how_many > 1 and {"MASTER_ADDR", "MASTER_PORT"} <= set(os.environ):  # by which they hear of each other
        from hourglass.training import words_of_first

        if number == 0:
            print(words, file=sys.stderr, flush=True)
        first = words_of_first(words)
        if number == 0 or first == words or (follows and first is not None):
            return
        words = f"process {number}: {words}"
    print(words, file=sys.stderr, flush=True)
