"""Options that several verbs share, and the types of their values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from hourglass.options import FIRST, NAMES, OPTIONS, Option

if TYPE_CHECKING:
    from hourglass.corruption import Corruption

    ParamType = click.ParamType[Any]
else:
    ParamType = click.ParamType  # not generic before click 8.4

SEED = 6020  # the chapter's
BAD_INPUT, INTERRUPTED = 2, 130  # exit codes

F = TypeVar("F", bound=Callable[..., Any])


def claim(context: click.Context, _: click.Parameter | None, output: Path | None) -> Path | None:
    """Lock `output` against other processes until the verb ends, and return it. Raises ParameterError if one holds it, or for
    a user whose home folder is not known.

    Under torchrun rank 0 locks it, since no other rank writes.
    """
    from hourglass.cli.processes import rank
    from hourglass.data.write import claimed, output_path

    output = None if output is None else output_path(output)
    if output is not None and not context.resilient_parsing and rank() == 0:
        context.find_root().with_resource(claimed(output))  # closed even if a later argument is refused
    return output


data_option = click.option("--data", default="auto", show_default=True, metavar="DATA", help="Data set, file or folder.")
seed_option = click.option(
    "--seed",
    default=SEED,
    type=click.IntRange(0, 2**31 - 1),
    show_default=True,
    help="Random state of the whole run.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print figures as JSON.")
device_option = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, …")
save_option = click.option(
    "--save", type=click.Path(path_type=Path), callback=claim, help="Without MODEL: folder to save the trained model to."
)


white_option = click.option(
    "--white",
    type=click.FloatRange(0, min_open=True),
    help="White level of images deeper than 8 bits, such as 4095 for 12 bits; by default the model's, or found in the images.",
)
strict_option = click.option(
    "--strict", is_flag=True, help="Stop at the first image that cannot be read, instead of leaving it out with a warning."
)
pages_option = click.option(
    "--pages",
    type=click.Choice(["all", "first"]),
    default="all",
    show_default=True,
    help="For image files of several pages or frames: read all as images, or only the first.",
)
stream_option = click.option(
    "--stream",
    is_flag=True,
    help="Process a folder of images, or an npy file, in shards, as Parquet and tar files always are. For each shard, a "
    "file is written to the folder OUTPUT; finished ones are kept, and *.rejects.csv lists what could not be read.",
)
workers_option = click.option(
    "--workers", type=click.IntRange(0), help="Worker processes that read and decode shards; 0 uses this process."
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
    """Height and width: HEIGHTxWIDTH as two integers, or one for both `or_side`."""

    name = "HEIGHTxWIDTH"

    def __init__(self, or_side: bool = False) -> None:
        self.or_side = or_side

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        numbers = str(value).lower().split("x")
        if self.or_side and len(numbers) == 1:
            numbers *= 2
        if len(numbers) != 2 or not all(number.isdecimal() and int(number) > 0 for number in numbers):
            self.fail(f"{value!r} is not a size; allowed: HEIGHTxWIDTH, as in 64x96.", param, ctx)
        return int(numbers[0]), int(numbers[1])


size_option = click.option("--size", type=SizeType(), help="Resize a folder's images to this.")


class RegionType(ParamType):
    """A rectangle of an image, as regions are written in CSV files: left, top, width and height in pixels."""

    name = "LEFT,TOP,WIDTH,HEIGHT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        numbers = str(value).split(",")
        if len(numbers) != 4 or not all(number.isdecimal() for number in numbers) or 0 in map(int, numbers[2:]):
            self.fail(f"{value!r} is not a region; allowed: {self.name} in pixels, as in 40,10,64,48.", param, ctx)
        return tuple(map(int, numbers))


class WidthsType(ParamType):
    """Comma-separated integers; a slash separates the encoder's from the decoder's."""

    name = "N,N[/N,N]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Any, ...]:
        try:
            widths = [tuple(int(width) for width in side.split(",") if width) for side in str(value).split("/")]
        except ValueError:
            widths = []
        if len(widths) not in (1, 2):
            self.fail(f"{value!r}; allowed: widths like 128,64, or 128,64/256 for encoder/decoder.", param, ctx)
        return widths[0] if len(widths) == 1 else tuple(widths)


# The keys of the library's dicts, so that parser and shell completion need no torch; a test compares them.
TASKS = ("denoiser", "autoencoder", "detector", "generator", "retriever", "compressor", "enhancer")
PRESETS = NAMES["preset"]
BACKENDS = ("exact", "faiss", "ivfpq")
METRICS = ("cosine", "euclidean")
SUITES = ("denoise", "uses", "rate", "photos", "tables", "surfaces", "alarms")
USES = ("detect", "generate", "features", "search", "compress", "enhance")
TRACKERS = {"json": "FILE", "tensorboard": "FOLDER", "mlflow": "URI"}
PHOTO_USES = ("denoise", "enhance", "jpeg", "documents", "noisy", "compress", "search")


class ThreadsType(ParamType):
    """A number of threads, or "auto"."""

    name = "N|auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        return "auto" if value == "auto" else click.IntRange(1).convert(value, param, ctx)


class TrackType(ParamType):
    """NAME:PLACE, where a run is recorded."""

    name = "NAME:PLACE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        kind, _, place = str(value).partition(":")
        if kind not in TRACKERS or not place:
            allowed = ", ".join(f"{name}:{what}" for name, what in TRACKERS.items())
            self.fail(f"{value!r}; allowed: {allowed}.", param, ctx)
        return kind, place

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(f"{name}:") for name in TRACKERS if name.startswith(incomplete)]


class StrengthType(ParamType):
    """A standard deviation of noise in 0..1, or "auto", which is None."""

    name = "STD|auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | None:
        return None if value == "auto" else click.FloatRange(0, 1).convert(value, param, ctx)


class ShareType(ParamType):
    """A share of the samples, above 0 and at most 0.5, or "auto"."""

    name = "SHARE|auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | str:
        if value == "auto":
            return "auto"
        return click.FloatRange(0, 0.5, min_open=True).convert(value, param, ctx)


Known = tuple[str, list[str], Callable[[dict[str, Any]], Any]]
"""(what it is, the allowed names, a function that builds one from name and fields)"""


class NamedType(ParamType):
    """NAME or NAME:FIELD=VALUE,FIELD=VALUE; a value is a number, a range LOW..HIGH, or else text.

    `known` has the heavy imports.
    """

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
            return make({"name": kind, **{field: _value(text) for field, _, text in pairs}})
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


CORRUPTION, PENALTY = NamedType(_corruptions), NamedType(_penalties)


def _value(text: str) -> float | tuple[float, float] | str:
    low, dots, high = text.partition("..")
    try:
        return (float(low), float(high)) if dots else float(low)
    except ValueError:
        return text


corruption_option = click.option("--corruption", "corruptions", type=CORRUPTION, multiple=True, help=OPTIONS["corruption"].help)


def training_options(verb: F) -> F:
    """Add an option for each of the library's training options that has words for one; see `hourglass.options`."""
    for name, option in reversed((FIRST | OPTIONS).items()):
        if option.help:
            flag = option.flag or f"--{name.replace('_', '-')}"
            verb = click.option(flag, name, help=option.help, **_kind_of(option))(verb)
    return verb


def _kind_of(option: Option) -> dict[str, Any]:
    """What click is to make of a value, by the first rule."""
    rule, *others = option.alternatives
    match rule.kind:
        case "flag":
            return {"is_flag": True}
        case "name":
            return {"type": click.Choice(rule.names)}
        case "number":
            return {
                "type": click.FloatRange(rule.low, rule.high, min_open=rule.closed[0] == "(", max_open=rule.closed[1] == ")")
            }
        case "corruption" | "penalty":
            return {"type": CORRUPTION if rule.kind == "corruption" else PENALTY, "multiple": True}
        case "sequence":
            return {"type": WidthsType()}
    alternative = others[0].kind if others else ""
    kinds: dict[str, ParamType] = {"one of": ThreadsType(), "sequence": SizeType(or_side=True)}
    return {"type": kinds.get(alternative, click.IntRange(int(rule.low)))}


def combined(corruptions: tuple[Corruption, ...]) -> Corruption | None:
    """None, the only one, or their composition in order."""
    from hourglass.corruption import Compose

    if len(corruptions) > 1:
        return Compose(corruptions)
    return corruptions[0] if corruptions else None
