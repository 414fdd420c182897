"""Training options: the table behind constructors, their checks, docstrings and `hourglass train`.

A new option is a field of `TrainingOptions` and a paragraph in `DESCRIPTIONS`. Names of networks, losses, … are looked up on
use, to include those of `hourglass.register`. Nothing here imports torch, which would delay the command line.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Annotated, Any, TypedDict, get_type_hints

from hourglass.errors import ParameterError

NAMES: dict[str, list[str]] = {
    "network": [
        *("linear", "mlp", "conv", "skip", "residual", "variational", "noisy", "quantised", "embedding"),
        *("maps", "patches", "unet", "codec"),
    ],
    "preset": [
        *("default", "chapter", "linear", "best", "skip"),
        *("features", "detect", "generate", "compress", "enhance", "photo", "photo-codec", "photo-features", "surface"),
    ],
    "optimizer": ["muon", "adam"],
    "schedule": ["decay", "linear", "constant"],
    "initialization": ["centered", "torch"],
    "loss": ["mse", "bce", "mae", "ssim", "mixed"],
    "precision": ["float32", "bfloat16"],
}
"""The keys of the library's dicts, for use without torch; `register` adds to both."""

_REGISTERED = ("network", "optimizer", "loss")
"""Keys of `NAMES` for parts that users register and pass by name."""

DESCRIPTIONS = """
n_components : int, optional
    Number of latent dimensions, or channels if codes are maps. None takes the preset's value, as for every argument below
    whose default is None: 32, of photographs for features and search 512.
preset : {names}
    A named set of values, which arguments override. "chapter" is the training of the textbook, "default" the same network
    trained well ("linear" for network="linear"), "best" a wider network, "skip" one with skip connections. The others are the
    defaults of the other estimators; "features" trains codes for similarity.
network : {names} or (encoder, decoder), optional
    Each part of a pair is "linear", "mlp", "conv" or your own torch module:
    float32 (n, c, h, w) or (n, features) -> (n, n_components), and back. Modules are copied before training. "maps",
    "patches" and "codec" take images of any height and width; their codes are maps.
hidden : sequence of int, or (encoder's, decoder's), optional
    Widths (mlp) or channels (conv, skip, maps, patches, codec) between input and code, in the encoder's order. The decoder
    mirrors a single sequence; a pair sets both separately.
epochs : int, optional
    Passes over the training samples. By default the preset's, or for small data sets enough for some hundred steps.
batch_size : int, optional
    Samples in a step. The default preset takes a tenth of the training samples, within 64..512.
crop : int or (height, width), optional
    Train on random crops of this size, flipped and rotated by multiples of 90°. They are drawn anew in every epoch, enough to
    cover the images. By default 64, or less for smaller images, if images have several sizes; otherwise none.
learning_rate : float, optional
    Peak learning rate of the schedule. `Generator` takes a lower one by default for fewer than 5,000 training images.
optimizer : {names}, optional
    The optimiser of the weights.
schedule : {names}, optional
    Learning rate schedule. "linear" warms up over the first tenth of the steps, then decays linearly to zero; "decay" warms
    up over the first fiftieth.
initialization : {names}, optional
    Initial weights. "torch" takes torch's; "centered" also shifts two biases so that training starts at the data's mean, for
    networks given by one name.
loss : {names}, optional
    bce needs values in 0..1, ssim and mixed need images. "mixed" is 0.84 (1 - SSIM) + 0.16 MAE: details that people see, at
    the price of some mean squared error.
penalty : Penalty or sequence of Penalty, optional
    Added to the loss: `L1(1e-3)`, `L2(1e-6, on="weights")`, `KLSparsity(1e-3)`, `Contractive(1e-3)`, …; several are
    summed. () for none if the preset has one.
corruption : Corruption, optional
    Corrupts the inputs in training, never the targets.
redraw : bool, optional
    Draw the corruption anew for every batch (True), or once for all epochs, as in the chapter (False).
precision : {names}, optional
    Precision of matrix products in training. "bfloat16" is mixed precision: weights, their updates and the loss stay float32.
    It is faster on GPUs and on processors that support it, slower on others.
validation_fraction : float in [0, 1), optional
    Share of the samples to hold out for the validation loss. By default 0.1, or 0 for network="linear" on full batches,
    which then finds the principal subspace of all samples.
early_stopping : bool
    Stop after `patience` epochs without a lower validation loss, and restore the best epoch's weights.
patience : int
    Consecutive epochs without a lower validation loss before `early_stopping` stops training.
white : float, optional
    White level of integer images deeper than 8 bits: 4095 for 12 bits. By default the full scale of as many bits as the
    largest value of `X` needs, with a warning. Saved, and available as `sample_.white`.
random_state : int, RandomState or None
    Seed of the split, initial weights, order and corruption. An int makes results reproducible bit for bit on the same
    machine, whatever its load.
n_threads : int, "auto" or None
    Number of threads. "auto", the default without a seed, chooses the fastest number under the current load. With a seed the
    default is torch's setting; for convolutions, whose bits depend on it, the setting at the first use of Hourglass, also in
    worker processes, and after a later torch.set_num_threads. Workers then have more threads than joblib gives them: with
    many, n_threads=1 is faster. A forked process (joblib's "multiprocessing") has one thread, and so other bits unless
    n_threads=1 everywhere.
device : str
    "auto" (a CUDA device if there is one), "cpu", "cuda", …
verbose : bool or int
    Print a line to standard error after every epoch.
"""
"""All options in numpydoc format; {names} stands for those in `NAMES`."""


_CROP_HELP = "Train on random crops of this size, as 96 or 64x96, of images of any sizes."
_PENALTY_HELP = "Added to the loss, as in l1:strength=0.001; l2:on=weights, kl_sparsity, contractive, …. Several are summed."
_CORRUPTION_HELP = """As in gaussian_noise:mean=0,std=0.2; sensor_noise, poisson_noise, salt_and_pepper, masking,
missing_blocks, stripes, defects; jpeg:quality=10..60; blur, motion_blur; downscale:factor=2,method=bicubic; or
permutation:seed=3, rotation:angle=30, flip:vertical=1. LOW..HIGH is a range from which each image draws its own value.
Several are applied in order. A denoiser's default is the chapter's: gaussian_noise:mean=0.5,std=0.4."""
_THREADS_HELP = """Threads for computing; auto chooses the fastest number under the current load, and results may then differ in
their last bits. By default torch's own."""


@dataclass(frozen=True)
class Rule:
    """The allowed values of an option.

    Attributes
    ----------
    kind : str
        For the command line: "whole", "number", "name", "one of", "sequence", "flag", "corruption", "penalty" or "other".
    words : str
        Allowed values, after "must be"; {names} stands for those in `NAMES`.
    admits : callable
        Whether a value is allowed.
    low, high, closed
        The interval of numbers, and which ends belong to it, as in "[)".
    name : str
        The key of `NAMES`.
    """

    kind: str
    words: str
    admits: Callable[[Any], bool]
    low: float = 0
    high: float | None = None
    closed: str = "[]"
    name: str = ""

    @property
    def names(self) -> list[str]:
        return NAMES.get(self.name, [])


def whole(least: int, most: int | None = None) -> Rule:
    """An integer from `least` to `most`."""

    def admits(value: Any) -> bool:
        is_whole = isinstance(value, Integral) and not isinstance(value, bool)
        return is_whole and least <= int(value) and (most is None or int(value) <= most)

    return Rule("whole", f"an int in [{least}, {'∞)' if most is None else f'{most}]'}", admits, least, most)


def number(low: float, high: float | None = None, closed: str = "[]") -> Rule:
    """A number from `low` to `high`; `closed` says which ends belong to the interval."""

    def admits(value: Any) -> bool:
        if not isinstance(value, Real) or isinstance(value, bool) or not math.isfinite(value):
            return False
        above = float(value) >= low if closed[0] == "[" else float(value) > low
        return above and (high is None or (float(value) <= high if closed[1] == "]" else float(value) < high))

    end = "∞)" if high is None else f"{high:g}{closed[1]}"
    return Rule("number", f"a float in {closed[0]}{low:g}, {end}", admits, low, high, closed)


def name_of(kind: str) -> Rule:
    """One of the names in `NAMES[kind]` at the time of the check."""
    return Rule("name", "one of {names}", lambda value: isinstance(value, str) and value in NAMES[kind], name=kind)


def one_of(*values: Any) -> Rule:
    """One of these values, of the same type."""
    words = f"one of {', '.join(repr(value) for value in values)}"
    return Rule("one of", words, lambda value: any(type(value) is type(one) and value == one for one in values))


def made(kind: str, *, many: bool = False) -> Rule:
    """An instance of the class named `kind`, which need not be imported, or with `many` a sequence of them."""

    def admits(value: Any) -> bool:
        given = value if many and isinstance(value, (list, tuple)) else [value]
        return all(any(base.__name__ == kind for base in type(one).__mro__) for one in given)

    return Rule(kind.lower(), f"a {kind}{f' or a sequence of {kind}' if many else ''}", admits)


def sequence(words: str) -> Rule:
    """An object with a length, to be checked on use."""
    return Rule("sequence", words, lambda value: hasattr(value, "__len__") and not isinstance(value, str))


def _is_seed(value: Any) -> bool:
    is_whole = isinstance(value, Integral) and not isinstance(value, bool)
    return (is_whole and 0 <= int(value) < 1 << 32) or type(value).__name__ == "RandomState"


FLAG = Rule("flag", "a bool", lambda value: type(value).__name__ in ("bool", "bool_"))
TEXT = Rule("other", "a str", lambda value: isinstance(value, str))
LEVEL = Rule("other", "a bool or an int in [0, ∞)", lambda value: isinstance(value, Integral) and int(value) >= 0)
FEATURES = Rule("other", "a torch module or a name in timm", lambda value: callable(value) or isinstance(value, str))
RANDOM_STATE = Rule("other", "an int in [0, 2³²), a numpy RandomState", _is_seed)


@dataclass(frozen=True)
class Option:
    """An argument of every estimator.

    Attributes
    ----------
    rules : Rule or tuple of Rule
        A value must be allowed by one of them.
    help : str
        Help of the option of `hourglass train`; "" if there is none.
    default : object
        If it is None, None is allowed and stands for the preset's value.
    flag : str
        Name of that option, if it differs from the argument's.
    """

    rules: Rule | tuple[Rule, ...]
    help: str = ""
    default: Any = None
    flag: str = ""

    @property
    def alternatives(self) -> tuple[Rule, ...]:
        return (self.rules,) if isinstance(self.rules, Rule) else self.rules

    def check(self, name: str, value: Any, owner: str) -> None:
        """Raise ParameterError if no rule allows the `value` of the parameter `name` of the class `owner`."""
        if (self.default is None and value is None) or any(rule.admits(value) for rule in self.alternatives):
            return
        allowed = [rule.words.replace("{names}", ", ".join(map(repr, rule.names))) for rule in self.alternatives]
        words = " or ".join(allowed + ["None"] * (self.default is None))
        own = isinstance(value, str) and any(rule.name in _REGISTERED for rule in self.alternatives)
        where = " One of your own? Each process registers it: call hourglass.register in a module that joblib's workers import."
        raise ParameterError(f"The {name!r} parameter of {owner} must be {words}. Got {value!r} instead.{where if own else ''}")


class TrainingOptions(TypedDict, total=False):
    """The keyword arguments of every estimator beside `preset`, with their options."""

    network: Annotated[Any, Option((name_of("network"), sequence("an (encoder, decoder)")), "The preset's by default.")]
    hidden: Annotated[Any, Option(sequence("a sequence of int"), "Widths of the layers between input and latent code.")]
    epochs: Annotated[int | None, Option(whole(1), "Passes over the training images.")]
    batch_size: Annotated[int | None, Option(whole(1), "Images per step.")]
    crop: Annotated[Any, Option((whole(1), sequence("(height, width)")), _CROP_HELP)]
    learning_rate: Annotated[float | None, Option(number(0, closed="()"), "Peak learning rate of the schedule.")]
    optimizer: Annotated[str | None, Option(name_of("optimizer"), "The preset's by default.")]
    schedule: Annotated[str | None, Option(name_of("schedule"))]
    initialization: Annotated[str | None, Option(name_of("initialization"))]
    loss: Annotated[str | None, Option(name_of("loss"), "The preset's by default.")]
    penalty: Annotated[Any, Option(made("Penalty", many=True), _PENALTY_HELP)]
    corruption: Annotated[Any, Option(made("Corruption"), _CORRUPTION_HELP)]
    redraw: Annotated[bool | None, Option(FLAG)]
    precision: Annotated[str | None, Option(name_of("precision"), "bfloat16: mixed precision, faster on some hardware.")]
    validation_fraction: Annotated[float | None, Option(number(0, 1, "[)"))]
    early_stopping: Annotated[bool, Option(FLAG, "Stop when the validation loss no longer decreases.", default=False)]
    patience: Annotated[int, Option(whole(1), default=5)]
    white: Annotated[float | None, Option(number(0, closed="()"))]
    random_state: Annotated[Any, Option(RANDOM_STATE)]
    n_threads: Annotated[Any, Option((whole(1), one_of("auto")), _THREADS_HELP, flag="--threads")]
    device: Annotated[str, Option(TEXT, default="auto")]
    verbose: Annotated[Any, Option(LEVEL, default=False)]


FIRST: dict[str, Option] = {
    "n_components": Option(whole(1), "Latent dimensions."),
    "preset": Option(name_of("preset"), "The task's own by default.", default="default"),
}
"""Arguments that each estimator's constructor names, with its own defaults."""

OPTIONS: dict[str, Option] = {
    name: hint.__metadata__[0] for name, hint in get_type_hints(TrainingOptions, include_extras=True).items()
}


def described(name: str) -> str:
    """The description of an option in numpydoc format, with the current names."""
    found = re.search(rf"^{name} : .*\n(?:    .*\n)*", DESCRIPTIONS, flags=re.MULTILINE)
    assert found is not None, name
    return found[0].replace("{names}", "{" + ", ".join(f'"{known}"' for known in NAMES.get(name, ())) + "}")
