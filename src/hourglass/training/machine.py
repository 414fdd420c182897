"""What a run takes of the machine: how many threads, and memory that is not handed back between steps."""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import time
from collections.abc import Iterator
from typing import ClassVar, Self

import torch

from hourglass.training.run import Callback, Run

SECONDS_BETWEEN = 2.0
_SECONDS_A_TRIAL = 0.005
_WORTH = 1.2
"""More threads are taken only if they are so many times as fast: a share of a busy core is worth less than it looks."""


class Threads(Callback):
    """Within it torch uses the number of threads that is fastest beside whatever else runs on the machine.

    Two threads on two cores, one of which is busy with something else, wait for each other at every operation and can be twenty
    times slower than one. So the choice is made anew every two seconds: when it is entered, and, as a callback of training,
    between steps. At most it is the number that torch was set to; one that OMP_NUM_THREADS fixes stays.
    """

    _latest: ClassVar[dict[int, tuple[float, int]]] = {}
    """most -> (when it was last looked at, how many were best), shared by all of a process."""

    def __enter__(self) -> Self:
        self.most = torch.get_num_threads()
        self.watches = self.most > 1 and "OMP_NUM_THREADS" not in os.environ
        self.look()
        return self

    @property
    def chosen(self) -> int:
        """How many torch uses now."""
        return torch.get_num_threads()

    def __exit__(self, *_: object) -> None:
        torch.set_num_threads(self.most)

    def on_batch_end(self, run: Run) -> None:
        if time.perf_counter() >= self.next_look:
            self.look()

    def look(self) -> None:
        """Choose, if nobody has within the last two seconds."""
        self.next_look = math.inf
        if not self.watches:
            return
        looked, best = self._latest.get(self.most, (-math.inf, 1))
        if time.perf_counter() - looked >= SECONDS_BETWEEN:
            best = calibrate(self.most)
            looked = time.perf_counter()
            self._latest[self.most] = looked, best
        torch.set_num_threads(best)
        self.next_look = looked + SECONDS_BETWEEN


def calibrate(most: int) -> int:
    """The number of threads, among `most`, its half, … and 1, with which a typical product is fastest now: 5 ms each.

    torch is left at whichever was tried last.
    """
    candidates = [most]
    while candidates[0] > 1:
        candidates.insert(0, candidates[0] // 2)
    best, fastest = 1, float("inf")
    for n_threads in candidates:
        torch.set_num_threads(n_threads)
        seconds = _seconds_a_product()
        if seconds * _WORTH <= fastest:
            best, fastest = n_threads, seconds
    return best


def _seconds_a_product() -> float:
    """The mean, not the median: what is looked for are the rare calls that wait for a thread without a core."""
    left, right, answer = torch.ones(128, 512), torch.ones(512, 256), torch.empty(128, 256)
    torch.mm(left, right, out=answer)  # the first call with a number of threads makes them
    start, count = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - start) < _SECONDS_A_TRIAL:
        torch.mm(left, right, out=answer)
        answer.sigmoid_()
        count += 1
    return elapsed / count


_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt, in malloc.h


@contextlib.contextmanager
def kept_memory() -> Iterator[None]:
    """Memory that is freed within stays with the process, and goes back to the system at the end; where libc is glibc.

    By its defaults glibc may hand large blocks back as soon as they are free, and the next step pays for each of their pages
    anew: of a step of the network "conv" that was a quarter.
    """
    libc = ctypes.CDLL(None) if os.name == "posix" else None
    if not hasattr(libc, "malloc_trim"):  # another libc
        yield
        return
    assert libc is not None
    libc.mallopt(_MMAP_THRESHOLD, 32 << 20)  # the largest that glibc comes to by itself, when such a block is freed
    libc.mallopt(_TRIM_THRESHOLD, 1 << 30)
    try:
        yield
    finally:
        libc.mallopt(_TRIM_THRESHOLD, 64 << 20)  # glibc's own rule: twice the other
        libc.malloc_trim(0)
