"""What a run takes of the machine: how many threads, and memory that it keeps while it lasts."""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar, Self, TypeVar

import torch

from hourglass.training.run import Callback, Run

_SHORTEST_PAUSE, _LONGEST_PAUSE = 2.0, 16.0
"""Seconds between trials: the longer, the longer nothing has changed."""
_SHARE = 0.05
"""Of the time that trials may take."""
_SECONDS_A_TRIAL, _FEWEST_STEPS = 0.02, 3
_WORTH = 1.1
"""More threads are taken only if they are so many times as fast: a share of a busy core is worth less than it looks."""
_HOPELESS = 4.0
"""A number of threads so many times as slow as the best is out of the running at once: a step may take 0.2 s."""
_SECONDS_WATCHED = 0.1
"""After which the time that steps really take is held against what the trial promised: calls that wait are rare and long."""
_PRODUCTS = 300
"""Of `threads_now`: some 20 ms of them, more than its first trial needs."""

Piece = TypeVar("Piece")

_is_forked = False


def _go_on_alone() -> None:
    """In a forked process: of OpenMP's threads none came along, and what waits for them waits for ever. One is enough."""
    global _is_forked  # noqa: PLW0603
    _is_forked = True
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_go_on_alone)


class Threads(Callback):
    """Within it torch uses the number of threads that is fastest beside whatever else runs on the machine.

    Two threads on two cores, one of which is busy with something else, wait for each other at every operation and can be twenty
    times slower than one; and small steps may be faster on one thread even where nothing else runs. So the choice is made by
    trial, of the work itself: of the steps of training, or the pieces of anything else (`over`), a few are done with each
    number, now and then; and what they take afterwards is held against that. At most it is the number that torch was set to.
    It stays in a forked process, which has one; where OMP_NUM_THREADS fixes it; where torch is to be deterministic
    (`use_deterministic_algorithms`); and on GPUs.

    Parameters
    ----------
    device : torch.device
    n_threads : "auto", int or None
        So chosen; that number; or None, the one that torch was set to.
    """

    _held: ClassVar = threading.Lock()
    """One of a process chooses: others, in other Python threads or within, leave torch as it is."""

    def __init__(self, device: torch.device, n_threads: int | str | None = "auto") -> None:
        self.most = torch.get_num_threads()
        self._given = n_threads if isinstance(n_threads, int) and not _is_forked else None
        is_open = (
            n_threads == "auto"
            and self.most > 1
            and "OMP_NUM_THREADS" not in os.environ
            and not torch.are_deterministic_algorithms_enabled()
        )
        self.watches = is_open and device.type == "cpu"
        self._trial: _Trial | None = None
        self._means: dict[int, float] = {}
        self._current, self._sum, self._count = self.most, 0.0, 0  # of the steps since the last choice
        self._spent, self._next_look, self._pause = 0.0, 0.0, _SHORTEST_PAUSE  # seconds, of steps alone
        self._last = math.inf

    def __enter__(self) -> Self:
        if self._given is not None:
            torch.set_num_threads(self._given)
        self.watches = self.watches and self._held.acquire(blocking=False)
        if self.watches:  # from the first step on: beside a busy process it may be the longest
            self._trial = _Trial(_halves(self.most), 0.0)
        return self

    def __exit__(self, *_: object) -> None:
        if self.watches or self._given is not None:
            torch.set_num_threads(self.most)
        if self.watches:
            self._held.release()

    def over(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """Each of `pieces`, whose work is what is done before the next is asked for."""
        self.begin_step()
        for piece in pieces:
            yield piece
            self.end_step()
            self.begin_step()

    def around(self, callbacks: Sequence[Callback]) -> list[Callback]:
        """`callbacks` in the midst of two that see when a step ends and the next begins, so that theirs is nobody's time."""
        return [self, *callbacks, _Begin(self)]

    def begin_step(self) -> None:
        """From now on it is a step's time."""
        self._last = time.perf_counter()

    def on_batch_end(self, run: Run) -> None:
        self.end_step()

    def end_step(self) -> None:
        """It is over: see how long it took, and choose."""
        seconds = time.perf_counter() - self._last
        if not self.watches or seconds < 0:  # the beginning of the first step was not seen
            return
        self._spent += seconds
        if self._trial is not None:
            self._try(self._trial, seconds)
        elif self._spent >= self._next_look:
            self._trial = _Trial(_halves(self.most), self._spent)
        else:
            self._watch(seconds)

    def _try(self, trial: _Trial, seconds: float) -> None:
        trial.add(seconds)
        if trial.is_over:
            self._trial, self._means = None, trial.means
            self._pause = _SHORTEST_PAUSE if self._choose() else min(2 * self._pause, _LONGEST_PAUSE)
            self._next_look = self._spent + max(self._pause, (self._spent - trial.start) / _SHARE)

    def _watch(self, seconds: float) -> None:
        self._sum, self._count = self._sum + seconds, self._count + 1
        mean = self._sum / self._count
        if self._sum >= _SECONDS_WATCHED and (self._count >= _FEWEST_STEPS or mean > _HOPELESS * min(self._means.values())):
            self._means[self._current] = mean
            if self._choose():  # the trial was too short to tell
                self._pause = min(2 * self._pause, _LONGEST_PAUSE)
                self._next_look = self._spent + self._pause

    def _choose(self) -> bool:
        """Take the best number of threads; whether it is another one."""
        before, self._current = self._current, _fewest_worth_it(self._means)
        self._sum, self._count = 0.0, 0
        torch.set_num_threads(self._current)
        return self._current != before


class _Begin(Callback):
    """The last of the callbacks: after it the next step begins."""

    def __init__(self, threads: Threads) -> None:
        self.threads = threads

    def on_batch_end(self, run: Run) -> None:
        self.threads.begin_step()

    def on_epoch_end(self, run: Run) -> None:
        self.threads.begin_step()


class _Trial:
    """Some steps with each number of threads. The first counts only if it is hopelessly long: it makes or ends threads."""

    def __init__(self, candidates: Sequence[int], start: float) -> None:
        self.start, self.means = start, dict.fromkeys(candidates, math.inf)
        self._left = iter(candidates)
        self._next()

    def add(self, seconds: float) -> None:
        """The seconds of a step that has ended."""
        self._count += 1
        hopeless = _HOPELESS * min(self.means.values())
        if self._count == 0 and seconds < max(_SECONDS_A_TRIAL, hopeless):
            return
        self._seconds += seconds
        mean = self._seconds / max(1, self._count)
        if self._seconds >= _SECONDS_A_TRIAL and (self._count >= _FEWEST_STEPS or mean > hopeless):
            self.means[self._current] = mean
            self._next()

    def _next(self) -> None:
        current = next(self._left, None)
        self.is_over = current is None
        if current is not None:
            self._current, self._seconds, self._count = current, 0.0, -1
            torch.set_num_threads(current)


def threads_now() -> int:
    """With how many threads a typical product is fastest beside what runs now; asked for a twentieth of a second or more."""
    left, right, answer = (torch.ones(shape, dtype=torch.float32) for shape in ((128, 512), (512, 256), (128, 256)))
    with Threads(torch.device("cpu")) as threads:
        for _ in threads.over(range(_PRODUCTS)):
            torch.mm(left, right, out=answer)
            answer.sigmoid_()
        return torch.get_num_threads()


def _halves(most: int) -> list[int]:
    candidates = [most]
    while candidates[0] > 1:
        candidates.insert(0, candidates[0] // 2)
    return candidates


def _fewest_worth_it(means: dict[int, float]) -> int:
    """Of numbers of threads with their seconds, in rising order."""
    best = next(iter(means))
    for n_threads, seconds in means.items():
        if seconds * _WORTH <= means[best]:
            best = n_threads
    return best


_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt, in malloc.h


@contextlib.contextmanager
def kept_memory() -> Iterator[None]:
    """Memory that is freed within stays with the process, and goes back to the system at the end; where libc is glibc.

    By its defaults glibc may hand large blocks back as soon as they are free, and the next step pays for each of their pages
    anew: of a step of the network "conv" that was a quarter. Afterwards glibc's thresholds are those that it comes to by itself
    when a block of 32 MB is freed. Where the environment sets them (MALLOC_TRIM_THRESHOLD_, …) they stay.
    """
    libc = ctypes.CDLL(None) if os.name == "posix" else None
    if not hasattr(libc, "malloc_trim") or any(name.startswith("MALLOC_") for name in os.environ):  # another libc, or given
        yield
        return
    assert libc is not None
    libc.mallopt(_MMAP_THRESHOLD, 32 << 20)
    libc.mallopt(_TRIM_THRESHOLD, 1 << 30)
    try:
        yield
    finally:
        libc.mallopt(_TRIM_THRESHOLD, 64 << 20)
        libc.malloc_trim(0)
