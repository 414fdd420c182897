"""Reading blocks of shards in other processes, so that decoding keeps up with training.

A worker is a plain child process: it imports neither torch nor the user's script, needs no guard around it, reads what is
wanted as a line of JSON from its standard input, and answers with a line of JSON and the pixels. It ends when that pipe closes.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hourglass.data.shards import KINDS, Block, FilesShard, Form, Piece, Shard
from hourglass.errors import DataError, WorkerError

_MOST_WORKERS = 8
_CRASHES = (signal.SIGABRT, signal.SIGSEGV, signal.SIGFPE, signal.SIGILL)  # of a library over what it is given
_WORKER = "import sys; sys.path[:] = {path!r}; from hourglass.data.decoding import serve; serve()"


class Wanted(NamedTuple):
    """Some images of a shard: all of a block, or its `rows`."""

    shard: Shard
    block: Block
    rows: NDArray[np.int64] | None
    form: Form

    @property
    def size(self) -> int:
        """How many images."""
        return self.block.n_images if self.rows is None else len(self.rows)

    def read(self) -> Piece:
        return self.shard.read(self.block, self.rows, self.form)

    def to_json(self) -> str:
        rows = None if self.rows is None else self.rows.tolist()
        return json.dumps([self.shard.kind, asdict(self.shard), self.block, rows, self.form])

    @classmethod
    def from_json(cls, text: bytes) -> Wanted:
        kind, fields, block, rows, (shape, *form) = json.loads(text)
        shard: Shard
        if kind == FilesShard.kind:
            shard = FilesShard(fields["path"], tuple(fields["names"]), fields["number"])
        else:
            shard = KINDS[kind](**fields)
        chosen = None if rows is None else np.array(rows, dtype=np.int64)
        return cls(shard, Block(*block), chosen, Form(None if shape is None else tuple(shape), *form))


class Workers:
    """Reads what is wanted, ahead of whoever asks: `n` child processes, or with 0 a thread of this one."""

    def __init__(self, n: int) -> None:
        self._own = threading.local()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._n = n
        self._threads = ThreadPoolExecutor(max(1, n), thread_name_prefix="hourglass-read")
        self.ahead = 2 * max(1, n)
        """How many requests are worth having under way."""

    def read(self, wanted: Wanted) -> Future[Piece]:
        """A piece to come. DataError if the block cannot be read, WorkerError if nobody can tell."""
        return self._threads.submit(wanted.read if self._n == 0 else functools.partial(self._ask, wanted))

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        for process in self._processes:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):  # what it no longer reads
                        pipe.close()
        self._processes.clear()

    def _ask(self, wanted: Wanted) -> Piece:
        """Each thread has a child of its own, started with its first request."""
        process: subprocess.Popen[bytes] | None = getattr(self._own, "process", None)
        if process is None:
            process = self._own.process = _start()
            self._processes.append(process)
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(wanted.to_json().encode() + b"\n")
            process.stdin.flush()
            return _received(process.stdout)
        except (BrokenPipeError, EOFError, ValueError) as error:
            if isinstance(error, DataError):
                raise
            self._own.process = None
            process.kill()  # it may be alive, and have said what is no answer
            code = process.wait()
            if -code in _CRASHES:
                raise DataError(f"the process that decoded it crashed over it ({signal.Signals(-code).name}).") from error
            how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            raise WorkerError(
                f"{wanted.shard.path}: the process that decoded it ended ({how}), perhaps for want of memory. "
                "Use fewer workers, or workers=0 to decode in this process."
            ) from error


def default_workers() -> int:
    """As many as there are cores, less one for what is made of the images; at most eight."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    shared_by = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # torchrun's, the processes on this machine
    return min(_MOST_WORKERS, max(1, usable // shared_by - 1))


def _start() -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", _WORKER.format(path=sys.path)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603  # ourselves


def serve() -> None:
    """The child's side."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; the parent decides
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what others print is no answer
    with contextlib.suppress(BrokenPipeError):
        for line in sys.stdin.buffer:
            try:
                _send(answers, Wanted.from_json(line).read())
            except (DataError, MemoryError) as error:
                answers.write(json.dumps({"error": str(error) or "takes more memory than there is."}).encode() + b"\n")
            answers.flush()


def _send(answers: IO[bytes], piece: Piece) -> None:
    whole = piece.images if isinstance(piece.images, np.ndarray) else None
    images = list(piece.images) if whole is None else [whole]
    head: dict[str, Any] = {
        "rows": piece.rows,
        "keys": piece.keys,
        "labels": piece.labels,
        "rejects": piece.rejects,
        "notes": piece.notes,
        "is_whole": whole is not None,
        "images": [[image.dtype.str, image.shape] for image in images],
    }
    answers.write(json.dumps(head, default=_plain).encode() + b"\n")
    for image in images:
        answers.write(np.ascontiguousarray(image).data)


def _received(stream: IO[bytes]) -> Piece:
    line = stream.readline()
    if not line:
        raise EOFError
    head = json.loads(line)
    if "error" in head:
        raise DataError(head["error"])
    images = []
    for dtype, shape in head["images"]:
        image = np.empty(shape, np.dtype(dtype))
        if math.prod(shape) and _fill(stream, memoryview(image.data).cast("B")):
            raise EOFError
        images.append(image)
    rejects, notes = ([(key, words) for key, words in head[kind]] for kind in ("rejects", "notes"))
    return Piece(head["rows"], images[0] if head["is_whole"] else images, head["keys"], head["labels"], rejects, notes)


def _fill(stream: Any, view: memoryview) -> int:
    """Read into all of `view`; how many bytes are missing."""
    while view:
        n = stream.readinto(view)
        if not n:
            break
        view = view[n:]
    return len(view)


def _plain(value: Any) -> Any:
    """Labels of other kinds, as dates, are their text."""
    return value.item() if isinstance(value, np.generic) else str(value)


def in_order(workers: Workers, requests: Iterator[Wanted]) -> Iterator[tuple[Wanted, Future[Piece]]]:
    """Each request with what comes of it, in order, some ahead under way."""
    waiting: list[tuple[Wanted, Future[Piece]]] = []
    try:
        for wanted in requests:
            waiting.append((wanted, workers.read(wanted)))
            if len(waiting) > workers.ahead:
                yield waiting.pop(0)
        while waiting:
            yield waiting.pop(0)
    finally:
        for _, future in waiting:
            future.cancel()
