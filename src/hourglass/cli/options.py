"""Options that several verbs share, and how their values are read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from hourglass.corruption import Corruption

    ParamType = click.ParamType[Any]
else:
    ParamType = click.ParamType  # not generic before click 8.4

SEED = 6020  # the chapter's
BAD_INPUT, INTERRUPTED = 2, 130  # exit codes

F = TypeVar("F", bound=Callable[..., Any])


def claim(context: click.Context, _: click.Parameter | None, output: Path | None) -> Path | None:
    """`output`, which until the verb ends no other process may write to. ParameterError if one does.

    Of torchrun's processes the first claims it, for it alone writes.
    """
    from hourglass.cli.processes import rank
    from hourglass.data.write import claimed

    output = None if output is None else Path(os.path.expanduser(output))  # Path.expanduser raises where there is no such user
    if output is not None and not context.resilient_parsing and rank() == 0:
        context.find_root().with_resource(claimed(output))  # closed even if a later argument is refused
    return output


data_option = click.option("--data", default="auto", show_default=True, metavar="DATA", help="What to read.")
seed_option = click.option(
    "--seed", default=SEED, type=click.IntRange(0, 2**31 - 1), show_default=True, help="Of everything left to chance."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print figures as JSON.")
device_option = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, …")
save_option = click.option(
    "--save", type=click.Path(path_type=Path), callback=claim, help="Without MODEL: where to keep the one that is trained."
)


white_option = click.option(
    "--white",
    type=click.FloatRange(0, min_open=True),
    help="What stands for white in images deeper than 8 bits, as 4095 of 12 bits; the model's, or found for all of them.",
)
strict_option = click.option(
    "--strict", is_flag=True, help="Stop at the first image that cannot be read, instead of leaving it out."
)
pages_option = click.option(
    "--pages",
    type=click.Choice(["all", "first"]),
    default="all",
    show_default=True,
    help="Of image files of several pages or frames: each is an image, or the first alone is read.",
)


def output_option(default: str | None = None, *, required: bool = True, what: str = "Where to write.") -> Callable[[F], F]:
    given: dict[str, Any] = (
        {} if default is None else {"default": default, "show_default": True}
    )  # a default of None is one, to newer clicks
    return click.option(
        "-o",
        "--output",
        type=click.Path(path_type=Path),
        required=required and default is None,
        help=what,
        callback=claim,
        **given,
    )


class SizeType(ParamType):
    """HEIGHTxWIDTH as two integers."""

    name = "HEIGHTxWIDTH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        sides = str(value).lower().split("x")
        if len(sides) != 2 or not all(side.isdecimal() and int(side) > 0 for side in sides):
            self.fail(f"{value!r} is no size; allowed: HEIGHTxWIDTH, as in 64x96.", param, ctx)
        return int(sides[0]), int(sides[1])


class WidthsType(ParamType):
    """Integers with commas between them; a slash parts the encoder's from the decoder's."""

    name = "N,N[/N,N]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Any, ...]:
        try:
            parts = [tuple(int(width) for width in part.split(",") if width) for part in str(value).split("/")]
        except ValueError:
            parts = []
        if len(parts) not in (1, 2):
            self.fail(f"{value!r}; allowed: widths like 128,64, or 128,64/256 for encoder/decoder.", param, ctx)
        return parts[0] if len(parts) == 1 else tuple(parts)


# What the library's dicts hold, for the parser and the shell to know without torch; a test holds them to these.
TASKS = ("denoiser", "autoencoder", "detector", "generator", "retriever", "compressor", "enhancer")
PRESETS = ("default", "chapter", "linear", "best", "skip", "features", "detect", "generate", "compress", "enhance")
NETWORKS = ("linear", "mlp", "conv", "skip", "residual", "variational", "noisy", "quantised", "embedding")
OPTIMIZERS = ("muon", "adam")
PRECISIONS = ("float32", "bfloat16")
LOSSES = ("mse", "bce", "mae", "ssim")
BACKENDS = ("exact", "faiss", "ivfpq")
METRICS = ("cosine", "euclidean")
SUITES = ("denoise", "uses", "rate")
USES = ("detect", "generate", "features", "search", "compress", "enhance")


class ThreadsType(ParamType):
    """A number of threads, or "auto"."""

    name = "N|auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        return "auto" if value == "auto" else click.IntRange(1).convert(value, param, ctx)


class ShareType(ParamType):
    """A share of the samples, above 0 and at most 0.5, or "auto"."""

    name = "SHARE|auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | str:
        if value == "auto":
            return "auto"
        return click.FloatRange(0, 0.5, min_open=True).convert(value, param, ctx)


Known = tuple[str, list[str], Callable[[dict[str, Any]], Any]]
"""(what it is, the names that are allowed, what makes one of a name and fields)"""


class PartType(ParamType):
    """NAME or NAME:FIELD=VALUE,FIELD=VALUE; a value is a number where it reads as one. `known` imports what is heavy."""

    name = "NAME[:FIELD=VALUE,…]"

    def __init__(self, known: Callable[[], Known]) -> None:
        self.known = known

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from hourglass.errors import HourglassError

        kind, _, rest = str(value).partition(":")
        what, names, make = self.known()
        if kind not in names:
            self.fail(f"{kind!r} is no {what}; allowed: {', '.join(names)}.", param, ctx)
        pairs = [pair.partition("=") for pair in rest.split(",") if pair]
        if not all(field and text for field, _, text in pairs):
            self.fail(f"{value!r}; allowed: NAME:FIELD=VALUE,…", param, ctx)
        try:
            return make({"name": kind, **{field: _number(text) for field, _, text in pairs}})
        except HourglassError as error:
            self.fail(str(error), param, ctx)
        except TypeError:  # a word where a number is needed
            self.fail(f"{value!r}; its values must be numbers.", param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(name) for name in self.known()[1] if name.startswith(incomplete)]


def _corruptions() -> Known:
    from hourglass.corruption import CORRUPTIONS, Combination, from_config

    return "corruption", [name for name, kind in CORRUPTIONS.items() if not issubclass(kind, Combination)], from_config


def _penalties() -> Known:
    from hourglass.objectives import PENALTIES
    from hourglass.objectives.registry import from_config

    return "penalty", list(PENALTIES), from_config


CORRUPTION, PENALTY = PartType(_corruptions), PartType(_penalties)


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


corruption_option = click.option(
    "--corruption",
    "corruptions",
    type=CORRUPTION,
    multiple=True,
    help="As in gaussian_noise:mean=0,std=0.2; salt_and_pepper, masking; or permutation:seed=3, rotation:angle=30, "
    "flip:vertical=1. Several are applied in order. "
    "A denoiser's own is the chapter's: gaussian_noise:mean=0.5,std=0.4.",
)


def combined(corruptions: tuple[Corruption, ...]) -> Corruption | None:
    """None, the one, or all in their order."""
    from hourglass.corruption import Compose

    if len(corruptions) > 1:
        return Compose(corruptions)
    return corruptions[0] if corruptions else None
