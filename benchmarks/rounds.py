"""Contenders as worker processes, which run one round at a time, in turn.

Each has its own allocator, threads and peak memory. Because they take turns (A B A B …), whatever slows the machine down for a
while slows all of them down.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

from hourglass.errors import HourglassError

Figures = dict[str, float]
"""The measurements of one round by name: always "seconds"; with "ready_mb" and "peak_mb" where the system reports memory."""
Round = Callable[[], Figures]

LONGEST_ROUND = 3600.0
"""Timeout of a round, in seconds."""
_POLL = 0.2  # seconds between two checks that the process is alive
_GRACE = 2.0  # seconds for a process to end by itself, and again after SIGTERM
_REPORTED = (
    *(HourglassError, ArithmeticError, AttributeError, ImportError, LookupError),
    *(MemoryError, OSError, RuntimeError, TypeError, ValueError),
)

_context = multiprocessing.get_context("spawn")  # a fork would inherit memory, and locks of threads that do not run


@dataclass(frozen=True)
class Contender:
    """One way to do the work.

    Attributes
    ----------
    name : str
    make : function without arguments
        Called in the contender's worker process, it prepares everything and returns the function that runs one round. A
        function of a module, with its arguments by `functools.partial`, because it is pickled.
    """

    name: str
    make: Callable[[], Round]


class Worker:
    """A worker process, which runs `target` on `work` and sends results. A context manager: the process ends with the block."""

    def __init__(self, name: str, target: Callable[[Connection], None], work: object) -> None:
        self.name = name
        self._connection, there = _context.Pipe()
        self._process = _context.Process(target=target, args=(there,), daemon=True)
        self._process.start()
        there.close()  # the pipe then closes when the process ends
        self._send(work)

    @classmethod
    def of(cls, contender: Contender) -> Self:
        """Start the worker process of `contender`."""
        return cls(contender.name, _serve, contender.make)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error: object, *_: object) -> None:
        self._connection.close()  # a process that waits for the next round sees this, and ends
        self._process.join(0 if error else _GRACE)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join(_GRACE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def round(self) -> Figures:
        """Run one round. Raises HourglassError with the error in the process, or if it ended or exceeds `LONGEST_ROUND`."""
        self._send(True)
        figures: Figures = self.receive()
        return figures

    def receive(self) -> Any:
        """Return the process's next message. Raises HourglassError as `round` does."""
        deadline = time.monotonic() + LONGEST_ROUND
        try:
            while not self._connection.poll(_POLL):
                if not self._process.is_alive() and not self._connection.poll(0):
                    raise self._gone()
                if time.monotonic() > deadline:
                    raise HourglassError(f"{self.name}: no result after {LONGEST_ROUND:,.0f} s; terminated.")
            message = self._connection.recv()
        except (EOFError, ConnectionError) as error:
            raise self._gone() from error
        if isinstance(message, str):
            raise HourglassError(f"{self.name}: {message}")
        return message

    def _send(self, what: object) -> None:
        with contextlib.suppress(ConnectionError):  # `receive` raises the reason
            self._connection.send(what)

    def _gone(self) -> HourglassError:
        self._process.join(_GRACE)
        code = self._process.exitcode
        why = f"killed by signal {-code}; possibly out of memory" if code is not None and code < 0 else f"exit code {code}"
        return HourglassError(f"{self.name}: its process ended during the measurement ({why}).")


def _serve(connection: Connection) -> None:
    """Prepare the contender in its worker process, then run a round for each message."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the parent ends its workers
    try:
        one_round: Round = connection.recv()()
        ready = peak_memory()
        while True:
            connection.recv()
            figures = one_round()
            peak = peak_memory()
            if ready is not None and peak is not None:
                figures |= {"ready_mb": ready, "peak_mb": peak}
            connection.send(figures)
    except (EOFError, ConnectionError):  # the parent has closed the pipe, or has ended
        return
    except _REPORTED as error:
        message = " ".join(str(error).split())
        with contextlib.suppress(ConnectionError):
            connection.send(message if isinstance(error, HourglassError) else f"{type(error).__name__}: {message}")


@contextlib.contextmanager
def started(contenders: Sequence[Contender], *, warm: bool = True) -> Iterator[dict[str, Worker]]:
    """Yield the workers of all contenders by name, each after one warm-up round that is discarded, if `warm`."""
    with contextlib.ExitStack() as stack:
        workers = {}
        for contender in contenders:
            workers[contender.name] = stack.enter_context(Worker.of(contender))
            if warm:
                workers[contender.name].round()  # sequentially, so that none disturbs another
        yield workers


def alternate(contenders: Sequence[Contender], rounds: int) -> dict[str, list[Figures]]:
    """Run `rounds` rounds of each contender, in turn, after one warm-up round that is discarded.

    Raises
    ------
    HourglassError
        If a contender fails. All processes end then, as they do after the last round.
    """
    with started(contenders) as workers:
        turns = [{name: worker.round() for name, worker in workers.items()} for _ in range(rounds)]
    return {contender.name: [turn[contender.name] for turn in turns] for contender in contenders}


def alternate_anew(contenders: Sequence[Contender], rounds: int) -> dict[str, list[Figures]]:
    """Run the same with a new process for every round and without warm-up, to measure the memory of a single run.

    Raises
    ------
    HourglassError
        If a contender fails.
    """
    turns = [{contender.name: _alone(contender) for contender in contenders} for _ in range(rounds)]
    return {contender.name: [turn[contender.name] for turn in turns] for contender in contenders}


def _alone(contender: Contender) -> Figures:
    with Worker.of(contender) as worker:
        return worker.round()


@contextlib.contextmanager
def beside(work: Callable[[], object]) -> Iterator[None]:
    """Keep another process busy during the block: it calls `work`, a function of a module, again and again."""
    with Worker("the busy process", _repeat, work) as worker:
        worker.receive()
        yield


def _repeat(connection: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    work = connection.recv()
    work()
    connection.send(True)
    while not connection.poll(0):  # the pipe closes when the parent ends
        work()


def peak_memory() -> float | None:
    """Return the peak resident memory of this process, in MB of 10⁶ bytes; None where the system does not report it.

    On Linux VmHWM, because `ru_maxrss` starts from the peak of the parent process there.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        status = ""
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    if sys.platform == "win32":
        return None
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
