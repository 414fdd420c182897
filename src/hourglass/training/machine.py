"""The number of threads, and the memory allocator, during a run."""

from __future__ import annotations

import contextlib
import ctypes
import math
import multiprocessing
import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar, Self, TypeVar

import torch

from hourglass.training.run import Callback, Run

_SHORTEST_PAUSE, _LONGEST_PAUSE = 2.0, 16.0
"""Seconds between trials; the pause doubles while the choice stays the same."""
_TRIAL_SHARE = 0.05
"""Largest share of time for trials."""
_TRIAL_SECONDS, _FEWEST_STEPS = 0.02, 3
_SPEEDUP = 1.1
"""Use more threads only if they are this many times as fast: a share of a busy core gains less than it seems to."""
_TOO_SLOW = 4.0
"""Drop a number of threads at once if it is this many times as slow as the best: a step may take 0.2 s."""
_WATCH_SECONDS = 0.1
"""Time after which to compare steps with their trial: waits are rare and long."""
_PRODUCTS = 300
"""For `threads_now`: some 20 ms, more than its first trial needs."""

Item = TypeVar("Item")

_USUAL = "HOURGLASS_USUAL_THREADS"
if multiprocessing.current_process().name == "MainProcess":  # and no worker's, which takes over its parent's
    os.environ[_USUAL] = str(torch.get_num_threads())

_is_forked = False


def _use_one_thread() -> None:
    """A forked process has neither OpenMP's threads nor the one that may hold a lock: waiting for them would never end."""
    global _is_forked, _keeping_lock
    _is_forked, _keeping_lock = True, threading.Lock()
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_use_one_thread)


def usual_threads() -> int:
    """Torch's setting when this was imported, in worker processes that of their parent.

    The gradient of a convolution is a sum over threads, whose bits depend on their number. It must not depend on what joblib
    has set for a worker, or on what another Python thread sets for the time of its own run.
    """
    return int(os.environ.get(_USUAL, "0")) or torch.get_num_threads()


class Threads(Callback):
    """A context in which torch uses the number of threads that is fastest under the present load of the machine.

    Threads wait for each other at every operation: two threads on two cores, one of them busy, can be twenty times slower than
    one. Small steps may be faster on one thread even on an idle machine. So now and then a few steps of training, or `items`
    of other work (`over`), are timed with each number of threads, and later steps are compared with these times. The
    upper limit is torch's own setting. The number does not change in a forked process, which has one thread; if
    OMP_NUM_THREADS is set; if torch is to be deterministic (`use_deterministic_algorithms`); or on GPUs.

    Parameters
    ----------
    device : torch.device
    n_threads : "auto", int or None
        "auto" chooses as above; an int is used as it is; None keeps torch's setting.
    """

    _lock: ClassVar = threading.Lock()
    """Only one instance in a process changes the number of threads."""

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
        self._spent, self._next_look, self._pause = 0.0, 0.0, _SHORTEST_PAUSE  # seconds of steps
        self._last = math.inf

    def __enter__(self) -> Self:
        if self._given is not None:
            torch.set_num_threads(self._given)
        self.watches = self.watches and self._lock.acquire(blocking=False)
        if self.watches:  # from the first step on, which may be the slowest beside a busy process
            self._trial = _Trial(_halves(self.most), 0.0)
        return self

    def __exit__(self, *_: object) -> None:
        if self.watches or self._given is not None:
            torch.set_num_threads(self.most)
        if self.watches:
            self._lock.release()

    def over(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield `items`; a step lasts until the next item is requested."""
        self.begin_step()
        for item in items:
            yield item
            self.end_step()
            self.begin_step()

    def around(self, callbacks: Sequence[Callback]) -> list[Callback]:
        """`callbacks` between two that end and begin the timing of steps, so that theirs does not count."""
        return [self, *callbacks, _BeginStep(self)]

    def begin_step(self) -> None:
        """Start timing a step."""
        self._last = time.perf_counter()

    def on_batch_end(self, run: Run) -> None:
        self.end_step()

    def end_step(self) -> None:
        """Stop timing, and adjust the number of threads."""
        seconds = time.perf_counter() - self._last
        if not self.watches or seconds < 0:  # the first step has no start time
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
            self._next_look = self._spent + max(self._pause, (self._spent - trial.start) / _TRIAL_SHARE)

    def _watch(self, seconds: float) -> None:
        self._sum, self._count = self._sum + seconds, self._count + 1
        mean = self._sum / self._count
        if self._sum >= _WATCH_SECONDS and (self._count >= _FEWEST_STEPS or mean > _TOO_SLOW * min(self._means.values())):
            self._means[self._current] = mean
            if self._choose():  # the trial was too short
                self._pause = min(2 * self._pause, _LONGEST_PAUSE)
                self._next_look = self._spent + self._pause

    def _choose(self) -> bool:
        """Set the best number of threads; return whether it changed."""
        before, self._current = self._current, _best_count(self._means)
        self._sum, self._count = 0.0, 0
        torch.set_num_threads(self._current)
        return self._current != before


class _BeginStep(Callback):
    """The last callback, after which the next step begins."""

    def __init__(self, threads: Threads) -> None:
        self.threads = threads

    def on_batch_end(self, run: Run) -> None:
        self.threads.begin_step()

    def on_epoch_end(self, run: Run) -> None:
        self.threads.begin_step()


class _Trial:
    """Times steps with each number of threads. The first, which starts or ends threads, counts only if it is far too slow."""

    def __init__(self, candidates: Sequence[int], start: float) -> None:
        self.start, self.means = start, dict.fromkeys(candidates, math.inf)
        self._left = iter(candidates)
        self._next()

    def add(self, seconds: float) -> None:
        """Add the seconds of a finished step."""
        self._count += 1
        too_slow = _TOO_SLOW * min(self.means.values())
        if self._count == 0 and seconds < max(_TRIAL_SECONDS, too_slow):
            return
        self._seconds += seconds
        mean = self._seconds / max(1, self._count)
        if self._seconds >= _TRIAL_SECONDS and (self._count >= _FEWEST_STEPS or mean > too_slow):
            self.means[self._current] = mean
            self._next()

    def _next(self) -> None:
        current = next(self._left, None)
        self.is_over = current is None
        if current is not None:
            self._current, self._seconds, self._count = current, 0.0, -1
            torch.set_num_threads(current)


def threads_now() -> int:
    """The number of threads that is fastest for a typical product under the present load; takes at least 0.05 s."""
    left, right, output = (torch.ones(shape, dtype=torch.float32) for shape in ((128, 512), (512, 256), (128, 256)))
    with Threads(torch.device("cpu")) as threads:
        for _ in threads.over(range(_PRODUCTS)):
            torch.mm(left, right, out=output)
            output.sigmoid_()
        return torch.get_num_threads()


def _halves(most: int) -> list[int]:
    candidates = [most]
    while candidates[0] > 1:
        candidates.insert(0, candidates[0] // 2)
    return candidates


def _best_count(means: dict[int, float]) -> int:
    """The fewest threads beyond which more gain too little; `means` are seconds by number of threads, in ascending order."""
    best = next(iter(means))
    for n_threads, seconds in means.items():
        if seconds * _SPEEDUP <= means[best]:
            best = n_threads
    return best


_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt, in malloc.h
_n_keeping = 0
_keeping_lock = threading.Lock()


@contextlib.contextmanager
def kept_memory() -> Iterator[None]:
    """With glibc, keep freed memory in the process, and return it to the system when the last such context ends.

    By default glibc may return large blocks as soon as they are free, and the next step faults in their pages anew: a quarter
    of the time of a step of network="conv", or of a U-Net on a photograph. At the end, glibc's thresholds are set to what they
    are after freeing a block of 32 MB. Thresholds from the environment (MALLOC_TRIM_THRESHOLD_, …) stay.
    """
    global _n_keeping  # noqa: PLW0603  # of the process, as glibc's thresholds are
    libc = ctypes.CDLL(None) if os.name == "posix" else None
    if not hasattr(libc, "malloc_trim") or any(name.startswith("MALLOC_") for name in os.environ):  # or set by the user
        yield
        return
    assert libc is not None
    with _keeping_lock:
        if not _n_keeping:
            libc.mallopt(_MMAP_THRESHOLD, 32 << 20)
            libc.mallopt(_TRIM_THRESHOLD, 1 << 30)
        _n_keeping += 1
    try:
        yield
    finally:
        with _keeping_lock:
            _n_keeping -= 1
            if not _n_keeping:
                libc.mallopt(_TRIM_THRESHOLD, 64 << 20)
                libc.malloc_trim(0)
