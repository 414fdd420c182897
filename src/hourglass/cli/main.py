"""The command `hourglass`: its verbs, and how errors are reported.

Nothing heavy is imported here or at the top of a verb's module: `hourglass --help` answers without torch.
"""

from __future__ import annotations

import io
import shlex
import sys
import warnings
from typing import Any, NoReturn

import click

from hourglass._version import __version__
from hourglass.cli.chapter import chapter
from hourglass.cli.compare import compare
from hourglass.cli.compress import compress, decompress
from hourglass.cli.data import data
from hourglass.cli.demo import demo
from hourglass.cli.denoise import denoise
from hourglass.cli.detect import detect
from hourglass.cli.encode import encode
from hourglass.cli.enhance import enhance
from hourglass.cli.evaluate import evaluate
from hourglass.cli.explore import explore
from hourglass.cli.export import export
from hourglass.cli.generate import generate
from hourglass.cli.info import info
from hourglass.cli.options import BAD_INPUT, INTERRUPTED
from hourglass.cli.processes import rank, say_last
from hourglass.cli.run import run
from hourglass.cli.search import search
from hourglass.cli.serve import serve
from hourglass.cli.train import train
from hourglass.errors import HourglassError, HourglassWarning, ProcessError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="hourglass")
def hourglass() -> None:
    """Train one autoencoder on images and put it to use.

    DATA is a name (auto, mnist, fashion-mnist, mnist-5k, digits, sample-photos), a folder of images (subfolders are labels), an
    image, an IDX, npy or npz file, or shards: a Parquet or tar file, or a folder or pattern of such or of npy files.
    """


VERBS = (
    *(demo, chapter, train, denoise, detect, generate, encode, search, compress, decompress, enhance),
    *(compare, explore, serve, export, run, evaluate, data, info),
)
LEFT_OUT = ("torch", "sklearn", "scipy", "safetensors", "constriction", "matplotlib")
"""What the distribution hourglass-runtime is installed without."""

for verb in VERBS:
    hourglass.add_command(verb)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit, as `carry_out` does."""
    carry_out(hourglass, "hourglass", sys.argv[1:] if arguments is None else arguments)


def carry_out(command: click.Command, name: str, arguments: list[str]) -> NoReturn:
    """Run `command` and exit: 0 done, 2 bad input (one line on standard error says what), 130 interrupted.

    `name` is how a person calls it; with the arguments it is the context's `obj`, for pages that print the command.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files may hold bytes that are not valid text
        sys.stdout.reconfigure(errors="backslashreplace")
    warnings.showwarning = _show_warning
    warnings.simplefilter("always", HourglassWarning)
    try:
        command.main(arguments, prog_name=name, standalone_mode=False, obj=shlex.join([*name.split(), *arguments]))
    except (KeyboardInterrupt, click.Abort):  # before RuntimeError, which an Abort is
        say_last("interrupted.", follows=True)
        sys.exit(INTERRUPTED)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(BAD_INPUT)
    except click.ClickException as error:
        _fail(error.format_message())
    except (HourglassError, OSError) as error:
        _fail(str(error), follows=isinstance(error, ProcessError))
    except ModuleNotFoundError as error:
        if error.name not in LEFT_OUT:
            raise
        _fail(f"this needs {error.name}, which is not installed: pip install hourglass (hourglass-runtime is for `run` alone).")
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and type(error).__name__ != "OutOfMemoryError":  # torch's, not imported here
            raise
        _fail("out of memory; use a smaller batch size or fewer images.")
    sys.exit(0)


def _fail(message: str, *, follows: bool = False) -> NoReturn:
    say_last(f"error: {' '.join(message.split())}", follows=follows)
    sys.exit(BAD_INPUT)


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    if rank() > 0:
        return
    label = "note" if issubclass(category, HourglassWarning) else "warning"
    print(f"{label}: {message}", file=sys.stderr)
