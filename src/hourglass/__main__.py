"""The command `hourglass`, and `python -m hourglass`."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from types import FrameType
from typing import NoReturn

_INTERRUPTED = 130
_AGAIN = 0.5  # seconds after which an interrupt that came to nothing is raised again


class Interrupts:
    """Ctrl-C ends the command, also where it comes while other libraries are imported.

    Some of these turn KeyboardInterrupt into an error of their own, or drop it; so it is raised again until the program ends.
    """

    def __init__(self) -> None:
        self.count = 0
        self.is_heard = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not where it is ignored
        if self.is_heard:
            signal.signal(signal.SIGINT, self.interrupt)

    def interrupt(self, *_: object) -> NoReturn:
        self.count += 1
        if hasattr(signal, "setitimer"):
            signal.signal(signal.SIGALRM, self.remind)
            signal.setitimer(signal.ITIMER_REAL, _AGAIN, _AGAIN)
        raise KeyboardInterrupt

    def remind(self, _: int, __: FrameType | None) -> None:
        error = sys.exception()
        while error is not None:
            if isinstance(error, KeyboardInterrupt):  # it is on its way, and things are put in order
                return
            error = error.__context__
        raise KeyboardInterrupt

    def end(self) -> None:
        """All is done but for Python's own end, which an interrupt could only disturb."""
        if self.is_heard:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)


def run() -> NoReturn:
    """`cli.main`, which Ctrl-C ends with exit code 130 at any moment."""
    interrupts = Interrupts()
    try:
        from hourglass.cli.main import main

        main()
    except BaseException as error:
        interrupts.end()
        is_told = isinstance(error, SystemExit) and error.code == _INTERRUPTED
        if not is_told and (interrupts.count == 0 or isinstance(error, SystemExit)):
            raise
        with contextlib.suppress(OSError):  # the pipe may be closed
            if not is_told:
                if not isinstance(error, KeyboardInterrupt):
                    print(f"{type(error).__name__}: {error}", file=sys.stderr)
                print("interrupted.", file=sys.stderr)
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(_INTERRUPTED)  # where an interrupt came through C code, Python would end by a signal in place of an exit code


if __name__ == "__main__":
    run()
