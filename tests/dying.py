"""The command line under torchrun, where process RANK, or none, kills itself once: `dying.py RANK ARGUMENTS`."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

from hourglass.cli.main import main
from hourglass.cli.progress import ShowProgress

if TYPE_CHECKING:
    from hourglass.training import Run


def command(dying: str, arguments: list[str]) -> None:
    """Process number `dying` kills itself in the midst of the third epoch, when it is first started."""

    def on_batch_end(_: ShowProgress, run: Run) -> None:
        if (
            os.environ["RANK"] == dying
            and run.step == 2 * run.n_batches + 2
            and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
        ):
            os.kill(os.getpid(), signal.SIGKILL)

    ShowProgress.on_batch_end = on_batch_end  # type: ignore[method-assign,assignment]  # replaced for this process alone
    ShowProgress.writes = False
    main(arguments)


if __name__ == "__main__":
    command(sys.argv[1], sys.argv[2:])
