"""Contenders in processes of their own, asked for one round at a time, in turn.

Each has its own allocator, threads and peak of memory; and because they take turns (A B A B …), what slows the machine down for
a while slows all of them down.
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
"""What one round measured: always "seconds"; "peak_mb" is added where it can be read."""
Round = Callable[[], Figures]

LONGEST_ROUND = 3600.0
"""Seconds after which a round is given up."""
_GLANCE = 0.2  # seconds between two looks at whether the process still lives
_FAREWELL = 2.0  # seconds that a process gets to end by itself, and again when it is told to
_TOLD = (
    *(HourglassError, ArithmeticError, AttributeError, ImportError, LookupError),
    *(MemoryError, OSError, RuntimeError, TypeError, ValueError),
)

_context = multiprocessing.get_context("spawn")  # a fork would inherit memory, and threads that do not run


@dataclass(frozen=True)
class Contender:
    """One way to do the work.

    Attributes
    ----------
    name : str
    make : function without arguments
        Called in the contender's own process, it gets everything ready and returns what does one round. A function of a
        module, with its arguments by `functools.partial`, for it travels there.
    """

    name: str
    make: Callable[[], Round]


class Worker:
    """A process that was given something to do, and answers. A context manager: it ends with the block."""

    def __init__(self, name: str, target: Callable[[Connection], None], work: object) -> None:
        self.name = name
        self._connection, there = _context.Pipe()
        self._process = _context.Process(target=target, args=(there,), daemon=True)
        self._process.start()
        there.close()  # so that the end of the process is the end of the pipe
        self._send(work)

    @classmethod
    def of(cls, contender: Contender) -> Self:
        return cls(contender.name, _serve, contender.make)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error: object, *_: object) -> None:
        self._connection.close()  # who waits for the next round sees this, and ends by itself
        self._process.join(0 if error else _FAREWELL)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join(_FAREWELL)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def round(self) -> Figures:
        """One round. HourglassError with what went wrong in the process, or if it ended or takes too long."""
        self._send(True)
        figures: Figures = self.answer()
        return figures

    def answer(self) -> Any:
        """What the process says next."""
        deadline = time.monotonic() + LONGEST_ROUND
        try:
            while not self._connection.poll(_GLANCE):
                if not self._process.is_alive() and not self._connection.poll(0):
                    raise self._gone()
                if time.monotonic() > deadline:
                    raise HourglassError(f"{self.name}: no answer after {LONGEST_ROUND:,.0f} s; given up.")
            answer = self._connection.recv()
        except (EOFError, ConnectionError) as error:
            raise self._gone() from error
        if isinstance(answer, str):
            raise HourglassError(f"{self.name}: {answer}")
        return answer

    def _send(self, what: object) -> None:
        with contextlib.suppress(ConnectionError):  # `answer` says why
            self._connection.send(what)

    def _gone(self) -> HourglassError:
        self._process.join(_FAREWELL)
        code = self._process.exitcode
        why = f"killed by signal {-code}; was there memory enough?" if code is not None and code < 0 else f"exit code {code}"
        return HourglassError(f"{self.name}: its process ended in the middle of the measurement ({why}).")


def _serve(connection: Connection) -> None:
    """In the contender's process: get ready, then a round whenever one is asked for."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the first one ends the others
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
    except (EOFError, ConnectionError):  # nobody asks or listens any more
        return
    except _TOLD as error:
        message = " ".join(str(error).split())
        with contextlib.suppress(ConnectionError):
            connection.send(message if isinstance(error, HourglassError) else f"{type(error).__name__}: {message}")


@contextlib.contextmanager
def started(contenders: Sequence[Contender], *, warm: bool = True) -> Iterator[dict[str, Worker]]:
    """The workers of all contenders by name, each after one round that does not count, unless they are not to be `warm`."""
    with contextlib.ExitStack() as stack:
        workers = {}
        for contender in contenders:
            workers[contender.name] = stack.enter_context(Worker.of(contender))
            if warm:
                workers[contender.name].round()  # one after the other: none disturbs another's
        yield workers


def alternate(contenders: Sequence[Contender], rounds: int) -> dict[str, list[Figures]]:
    """`rounds` rounds of each contender, in turn, after one that does not count.

    Raises
    ------
    HourglassError
        If a contender fails; all processes are ended then, as they are after the last round.
    """
    with started(contenders) as workers:
        turns = [{name: worker.round() for name, worker in workers.items()} for _ in range(rounds)]
    return {contender.name: [turn[contender.name] for turn in turns] for contender in contenders}


def alternate_anew(contenders: Sequence[Contender], rounds: int) -> dict[str, list[Figures]]:
    """The same with a new process for every round, and none before: for what one run alone takes of memory. HourglassError."""
    turns = [{contender.name: _alone(contender) for contender in contenders} for _ in range(rounds)]
    return {contender.name: [turn[contender.name] for turn in turns] for contender in contenders}


def _alone(contender: Contender) -> Figures:
    with Worker.of(contender) as worker:
        return worker.round()


@contextlib.contextmanager
def beside(work: Callable[[], object]) -> Iterator[None]:
    """For as long as the block runs, another process does `work`, a function of a module, again and again."""
    with Worker("the busy process", _repeat, work) as worker:
        worker.answer()
        yield


def _repeat(connection: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    work = connection.recv()
    work()
    connection.send(True)
    while not connection.poll(0):  # the other end of the pipe ends with the process that started this one
        work()


def peak_memory() -> float | None:
    """The most memory that this process ever held, in MB of 10⁶ bytes (resident); None where it cannot be read.

    Linux's own count, for `ru_maxrss` there begins with the peak of the process that started this one.
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
