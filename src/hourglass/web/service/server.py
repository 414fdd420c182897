"""The service's HTTP servers: worker processes, and the process that watches over them."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import uvicorn
from prometheus_client.multiprocess import mark_process_dead

from hourglass.errors import HourglassError, ParameterError
from hourglass.web import guard
from hourglass.web.listening import Address, Listener
from hourglass.web.service.app import Settings, create_service
from hourglass.web.service.limits import Limits
from hourglass.web.service.log import Forwarded, Log
from hourglass.web.service.metrics import FOLDER

_CONNECTIONS = 1024
_KEEP_ALIVE = 30  # seconds
_GRACE = 5  # seconds that a stop may take longer than a request
_BAD_INPUT = 2  # exit code of a worker that would fail again
_WORKER = "import sys; sys.path[:] = {path!r}; from hourglass.web.service.server import work; work()"
_LOOK, _SHORT_LIFE, _LONGEST_PAUSE = 0.1, 10.0, 10.0  # seconds


def serve_models(settings: Settings, address: Address, workers: int = 1) -> None:
    """Serve models until SIGTERM or SIGINT; requests that are under way are answered first.

    Parameters
    ----------
    settings : Settings
    address : Address
    workers : int
        Processes that answer. This one watches over them, and starts one that ends anew.

    Raises
    ------
    ParameterError
        If a worker cannot start, as its model cannot be loaded; it says so on standard error.
    """
    with address.listener:
        _Workers(settings, address.listener, workers).run()


def _run(settings: Settings, listener: socket.socket, parent: int) -> None:
    """Serve in this process, until it is told to stop or `parent` ends, a descriptor of the parent process."""
    config = uvicorn.Config(
        create_service(settings),
        http=guard.PARSER,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=round(settings.limits.seconds) + _GRACE,
        timeout_keep_alive=_KEEP_ALIVE,
        limit_concurrency=_CONNECTIONS,
    )
    logging.getLogger("uvicorn").handlers = [Forwarded(Log())]
    server = uvicorn.Server(config)
    threading.Thread(target=_stop_with, args=(parent, server), daemon=True).start()
    # uvicorn repeats the signal that it stopped for, which would end this process as if it had been killed.
    signal.signal(signal.SIGTERM, lambda *_: None)
    server.run(sockets=[listener])


def _stop_with(parent: int, server: uvicorn.Server) -> None:
    while os.read(parent, 1):
        pass
    server.should_exit = True


# --- the process that watches ------------------------------------------------------------------------------------------


@dataclasses.dataclass
class _Worker:
    """A worker process, since when it lives, and how often in a row it ended early."""

    process: subprocess.Popen[bytes]
    began: float
    failures: int = 0

    @property
    def starts_again(self) -> float:
        """When to replace it after its end: at once, or later and later if it keeps ending early."""
        return self.began + (min(_LONGEST_PAUSE, 2.0**self.failures) if self.failures > 1 else 0.0)


class _Workers:
    """Worker processes that accept from one socket.

    What waits to be accepted belongs to the socket, not to a worker: one that is killed loses the requests that it has, and
    no others.
    """

    def __init__(self, settings: Settings, listener: socket.socket, n: int) -> None:
        self._settings, self._listener, self._n = settings, listener, n
        self._log = Log()
        self._stopped_by = 0
        self._workers: list[_Worker] = []

    def run(self) -> None:
        former = {number: signal.signal(number, self._stop) for number in (signal.SIGTERM, signal.SIGINT)}
        with tempfile.TemporaryDirectory(prefix="hourglass-metrics-") as folder:
            try:
                for _ in range(self._n):
                    self._workers.append(_Worker(self._started(folder), time.monotonic()))
                while not self._stopped_by:
                    time.sleep(_LOOK)
                    for worker in self._workers:
                        self._look_after(worker, folder)
            finally:
                self._end()
                for number, handler in former.items():
                    signal.signal(number, handler)
        if self._stopped_by == signal.SIGINT:
            raise KeyboardInterrupt

    def _stop(self, number: int, _: object) -> None:
        self._stopped_by = number

    def _started(self, folder: str) -> subprocess.Popen[bytes]:
        descriptor = self._listener.fileno()
        process = subprocess.Popen(  # noqa: S603  # this interpreter
            [sys.executable, "-c", _WORKER.format(path=sys.path)],
            stdin=subprocess.PIPE,
            pass_fds=[descriptor],
            env=_environment(self._n) | {FOLDER: folder},
        )
        assert process.stdin is not None
        # By a pipe, as arguments are seen by everyone; it stays open as long as this process lives.
        process.stdin.write(json.dumps([dataclasses.asdict(self._settings), descriptor]).encode() + b"\n")
        process.stdin.flush()
        self._log.event("worker started", process=process.pid)
        return process

    def _look_after(self, worker: _Worker, folder: str) -> None:
        """Start a worker anew that has ended."""
        code, now = worker.process.poll(), time.monotonic()
        if code is None or now < worker.starts_again:
            return
        mark_process_dead(worker.process.pid, folder)  # type: ignore[no-untyped-call]
        self._log.event("worker ended", process=worker.process.pid, code=code)
        if code == _BAD_INPUT:
            raise ParameterError("a worker cannot start; its error is above.")
        worker.failures = worker.failures + 1 if now - worker.began < _SHORT_LIFE else 0
        worker.process, worker.began = self._started(folder), now

    def _end(self) -> None:
        """Stop all workers, and kill those that do not end in time."""
        processes = [worker.process for worker in self._workers]
        for process in processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + self._settings.limits.seconds + 2 * _GRACE
        for process in processes:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            assert process.stdin is not None
            process.stdin.close()


def _environment(workers: int) -> dict[str, str]:
    """That of a worker, unless the user says otherwise: the cores are shared out, and freed memory stays with the process.

    glibc would give each thread memory of its own and take it back after each call: a quarter of the time of a small model's.
    """
    threads = max(1, len(os.sched_getaffinity(0)) // workers) if hasattr(os, "sched_getaffinity") else 1
    memory = {"ARENA_MAX": 1, "MMAP_THRESHOLD_": 32 << 20, "TRIM_THRESHOLD_": 256 << 20}
    return {"OMP_NUM_THREADS": str(threads)} | {f"MALLOC_{name}": str(value) for name, value in memory.items()} | os.environ


def work() -> None:
    """Run a worker, whose settings come by standard input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    settings, descriptor = json.loads(sys.stdin.buffer.readline())
    try:
        _run(_settings_of(settings), Listener(fileno=descriptor), sys.stdin.fileno())
    except HourglassError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(_BAD_INPUT)
    except Exception as error:
        Log().failure("worker failed", error)
        raise


def _settings_of(fields: dict[str, Any]) -> Settings:
    return Settings(**fields | {"limits": Limits(**fields["limits"]), "hosts": tuple(fields["hosts"])})


def token_of(file: Path | None, text: str | None) -> str | None:
    """The bearer token in `file`, or else `text`; None if there is neither. Raises ParameterError if it cannot be one."""
    if file is not None:
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ParameterError(f"--token-file {file}: cannot be read ({error}).") from error
    if text is None:
        return None
    token = text.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ParameterError("the token must be one word of printable ASCII; write one with: openssl rand -hex 32.")
    return token
