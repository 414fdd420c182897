"""The log: one line of JSON for each event, on standard output."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
import traceback
from typing import Any

_LONGEST = 300  # letters of a text from outside


class Log:
    """Writes events. With `quiet` those of requests that were answered well are left out."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet

    def event(self, name: str, **facts: Any) -> None:
        """Write one line, in one piece: workers share the stream."""
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}Z"
        facts = {key: value[:_LONGEST] if isinstance(value, str) and key != "trace" else value for key, value in facts.items()}
        line = json.dumps({"time": stamp, "event": name, "worker": os.getpid(), **facts}, default=str)
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    def failure(self, name: str, error: BaseException, **facts: Any) -> None:
        """Write an unexpected error with its trace."""
        self.event(name, **facts, error=f"{type(error).__name__}: {error}", trace="".join(traceback.format_exception(error)))

    def request(self, *, status: int, **facts: Any) -> None:
        """Write a request."""
        if not self.quiet or status >= 500:
            self.event("request", status=status, **facts)


class Forwarded(logging.Handler):
    """Passes the messages of uvicorn's logger on."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        self._log.event("server", level=record.levelname.lower(), message=record.getMessage())
