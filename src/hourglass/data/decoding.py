"""Worker processes that read and decode blocks of shards, so that decoding keeps up with training.

A worker is a plain child process. It imports neither torch nor the user's script, so that scripts need no ``__main__`` guard.
It reads requests as lines of JSON from standard input, answers with a line of JSON and the pixels, and exits when the pipe
closes.
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

_MAX_WORKERS = 8
_CRASHES = (signal.SIGABRT, signal.SIGSEGV, signal.SIGFPE, signal.SIGILL)  # of a decoding library, caused by its input
_WORKER = "import sys; sys.path[:] = {path!r}; from hourglass.data.decoding import serve; serve()"


class Request(NamedTuple):
    """A request for all images of a block, or for its `rows`."""

    shard: Shard
    block: Block
    rows: NDArray[np.int64] | None
    form: Form

    @property
    def size(self) -> int:
        """The number of requested images."""
        return self.block.n_images if self.rows is None else len(self.rows)

    def read(self) -> Piece:
        return self.shard.read(self.block, self.rows, self.form)

    def to_json(self) -> str:
        rows = None if self.rows is None else self.rows.tolist()
        return json.dumps([self.shard.kind, asdict(self.shard), self.block, rows, self.form])

    @classmethod
    def from_json(cls, text: bytes) -> Request:
        kind, fields, block, rows, (shape, *form) = json.loads(text)
        shard: Shard
        if kind == FilesShard.kind:
            shard = FilesShard(fields["path"], tuple(fields["names"]), fields["number"])
        else:
            shard = KINDS[kind](**fields)
        chosen = None if rows is None else np.array(rows, dtype=np.int64)
        return cls(shard, Block(*block), chosen, Form(None if shape is None else tuple(shape), *form))


class Workers:
    """A pool that serves requests in the background: `n` worker processes, or with 0 one thread of this process."""

    def __init__(self, n: int) -> None:
        self._n = n
        self.prefetch = 2 * max(1, n)
        """How many requests to keep in flight."""
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._local = threading.local()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._threads = ThreadPoolExecutor(max(1, self._n), thread_name_prefix="hourglass-read")

    def read(self, request: Request) -> Future[Piece]:
        """Submit a request. The future raises DataError if the block cannot be read, WorkerError if the worker dies."""
        if self._process != os.getpid():  # a fork, which has none of the threads, and shares the workers' pipes
            self._begin()
        return self._threads.submit(request.read if self._n == 0 else functools.partial(self._send_to_worker, request))

    def close(self) -> None:
        if self._process != os.getpid():  # the workers are the parent's
            return
        self._threads.shutdown(wait=False, cancel_futures=True)
        for process in self._processes:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):  # closing flushes to a process that no longer reads
                        pipe.close()
        self._processes.clear()

    def _send_to_worker(self, request: Request) -> Piece:
        """Serve a request by the worker of this thread, which starts with the first request."""
        process: subprocess.Popen[bytes] | None = getattr(self._local, "process", None)
        if process is None:
            process = self._local.process = _start()
            self._processes.append(process)
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(request.to_json().encode() + b"\n")
            process.stdin.flush()
            return _receive(process.stdout)
        except (BrokenPipeError, EOFError, ValueError) as error:
            if isinstance(error, DataError):
                raise
            self._local.process = None
            process.kill()  # it may be alive after an invalid response
            code = process.wait()
            if -code in _CRASHES:
                raise DataError(f"the worker process crashed while decoding it ({signal.Signals(-code).name}).") from error
            how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            raise WorkerError(
                f"{request.shard.path}: the worker process that decoded it ended ({how}), possibly out of memory. "
                "Use fewer workers, or workers=0 to decode in this process."
            ) from error


def default_workers() -> int:
    """Return one fewer than the number of usable cores, at least one and at most eight."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    shared_by = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # set by torchrun: the processes on this machine
    return min(_MAX_WORKERS, max(1, usable // shared_by - 1))


def _start() -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", _WORKER.format(path=sys.path)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603  # this interpreter


def serve() -> None:
    """Run the worker's loop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # libraries that print must not write into the protocol
    with contextlib.suppress(BrokenPipeError):
        for line in sys.stdin.buffer:
            try:
                _send(output, Request.from_json(line).read())
            except (DataError, MemoryError) as error:
                output.write(json.dumps({"error": str(error) or "needs more memory than is available."}).encode() + b"\n")
            output.flush()


def _send(output: IO[bytes], piece: Piece) -> None:
    whole = piece.images if isinstance(piece.images, np.ndarray) else None
    images = list(piece.images) if whole is None else [whole]
    header: dict[str, Any] = {
        "rows": piece.rows,
        "keys": piece.keys,
        "labels": piece.labels,
        "rejects": piece.rejects,
        "notes": piece.notes,
        "is_whole": whole is not None,
        "images": [[image.dtype.str, image.shape] for image in images],
    }
    output.write(json.dumps(header, default=_as_json).encode() + b"\n")
    for image in images:
        output.write(np.ascontiguousarray(image).data)


def _receive(stream: IO[bytes]) -> Piece:
    line = stream.readline()
    if not line:
        raise EOFError
    header = json.loads(line)
    if "error" in header:
        raise DataError(header["error"])
    images = []
    for dtype, shape in header["images"]:
        image = np.empty(shape, np.dtype(dtype))
        if math.prod(shape) and _fill(stream, memoryview(image.data).cast("B")):
            raise EOFError
        images.append(image)
    rejects, notes = ([(key, text) for key, text in header[kind]] for kind in ("rejects", "notes"))
    whole = images[0] if header["is_whole"] else images
    return Piece(header["rows"], whole, header["keys"], header["labels"], rejects, notes)


def _fill(stream: Any, view: memoryview) -> int:
    """Read into `view`; return the number of bytes that are missing at the end of the stream."""
    while view:
        n = stream.readinto(view)
        if not n:
            break
        view = view[n:]
    return len(view)


def _as_json(value: Any) -> Any:
    """Convert numpy scalars to Python's, and labels of other types, such as dates, to text."""
    return value.item() if isinstance(value, np.generic) else str(value)


def read_in_order(workers: Workers, requests: Iterator[Request]) -> Iterator[tuple[Request, Future[Piece]]]:
    """Yield each request with its future, in order, and keep later requests in flight."""
    pending: list[tuple[Request, Future[Piece]]] = []
    try:
        for request in requests:
            pending.append((request, workers.read(request)))
            if len(pending) > workers.prefetch:
                yield pending.pop(0)
        while pending:
            yield pending.pop(0)
    finally:
        for _, future in pending:
            future.cancel()
