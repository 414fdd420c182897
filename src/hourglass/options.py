"""Training options: one table, of which constructors, their checks, docstrings and `hourglass train` are made.

A new option is one field of `TrainingOptions`. Which names networks, losses, … have is looked up when it is asked for,
so that those of the user's own (`hourglass.register`) count. Nothing here imports torch: the command line reads it at once.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Annotated, Any, TypedDict, get_type_hints

from hourglass.errors import ParameterError

NAMES: dict[str, list[str]] = {
    "network": ["linear", "mlp", "conv", "skip", "residual", "variational", "noisy", "quantised", "embedding", "maps"],
    "preset": ["default", "chapter", "linear", "best", "skip", "features", "detect", "generate", "compress", "enhance"],
    "optimizer": ["muon", "adam"],
    "schedule": ["decay", "linear", "constant"],
    "initialization": ["centered", "torch"],
    "loss": ["mse", "bce", "mae", "ssim"],
    "precision": ["float32", "bfloat16"],
}
"""What the library's dicts hold, for a parser and a shell to know without torch; `register` adds to both."""


class Rule(ABC):
    """What values an option may have."""

    @abstractmethod
    def admits(self, value: Any) -> bool:
        """Whether `value` is allowed."""

    @abstractmethod
    def __str__(self) -> str:
        """What is allowed, in words that follow "must be"."""


@dataclass(frozen=True)
class Whole(Rule):
    """A whole number between `least` and `most`."""

    least: int
    most: int | None = None

    def admits(self, value: Any) -> bool:
        is_whole = isinstance(value, Integral) and not isinstance(value, bool)
        return is_whole and self.least <= int(value) and (self.most is None or int(value) <= self.most)

    def __str__(self) -> str:
        return f"an int in [{self.least}, {'∞)' if self.most is None else f'{self.most}]'}"


@dataclass(frozen=True)
class Number(Rule):
    """A number between `low` and `high`, each of which is allowed itself if it is `closed`."""

    low: float
    high: float | None = None
    closed: str = "[]"

    def admits(self, value: Any) -> bool:
        if not isinstance(value, Real) or isinstance(value, bool) or math.isnan(value):
            return False
        number, high = float(value), math.inf if self.high is None else self.high
        above = number >= self.low if self.closed[0] == "[" else number > self.low
        return above and (number <= high if self.closed[1] == "]" and high < math.inf else number < high)

    def __str__(self) -> str:
        end = "∞)" if self.high is None else f"{self.high:g}{self.closed[1]}"
        return f"a float in {self.closed[0]}{self.low:g}, {end}"


@dataclass(frozen=True)
class Name(Rule):
    """One of the names that `NAMES` has for `kind`, now."""

    kind: str

    @property
    def names(self) -> Sequence[str]:
        return NAMES[self.kind]

    def admits(self, value: Any) -> bool:
        return isinstance(value, str) and value in self.names

    def __str__(self) -> str:
        return f"one of {', '.join(repr(name) for name in self.names)}"


@dataclass(frozen=True)
class OneOf(Rule):
    """One of these values."""

    values: tuple[Any, ...]

    def admits(self, value: Any) -> bool:
        return any(type(value) is type(allowed) and value == allowed for allowed in self.values)

    def __str__(self) -> str:
        return f"one of {', '.join(repr(value) for value in self.values)}"


@dataclass(frozen=True)
class Sized(Rule):
    """A sequence, which whoever uses it checks further."""

    words: str

    def admits(self, value: Any) -> bool:
        return hasattr(value, "__len__") and not isinstance(value, str)

    def __str__(self) -> str:
        return self.words


@dataclass(frozen=True)
class Made(Rule):
    """An object of a class, by name, so that it need not be imported; or, if `many`, a sequence of such."""

    kind: str
    many: bool = False

    def admits(self, value: Any) -> bool:
        given = value if self.many and isinstance(value, (list, tuple)) else [value]
        return all(any(base.__name__ == self.kind for base in type(one).__mro__) for one in given)

    def __str__(self) -> str:
        return f"a {self.kind}{f' or a sequence of {self.kind}' if self.many else ''}"


class Flag(Rule):
    """True or False."""

    def admits(self, value: Any) -> bool:
        return isinstance(value, bool) or type(value).__name__ in ("bool", "bool_")

    def __str__(self) -> str:
        return "a bool"


class Text(Rule):
    """A word."""

    def admits(self, value: Any) -> bool:
        return isinstance(value, str)

    def __str__(self) -> str:
        return "a str"


class Level(Rule):
    """A bool, or a whole number from 0 on."""

    def admits(self, value: Any) -> bool:
        return isinstance(value, (bool, Integral)) and int(value) >= 0

    def __str__(self) -> str:
        return "a bool or an int in [0, ∞)"


class RandomState(Rule):
    """What scikit-learn takes for a random state."""

    def admits(self, value: Any) -> bool:
        is_seed = isinstance(value, Integral) and not isinstance(value, bool) and 0 <= int(value) < 1 << 32
        return value is None or is_seed or type(value).__name__ == "RandomState"

    def __str__(self) -> str:
        return "an int in [0, 2³²), a numpy RandomState or None"


@dataclass(frozen=True)
class Option:
    """An argument of every estimator.

    Attributes
    ----------
    rules : tuple of Rule
        A value must be allowed by one of them.
    kind, text : str
        Its type and description in docstrings.
    default : object
        Where it is None, None is allowed, and stands for the preset's value.
    help : str
        Of the option of `hourglass train`; "" if there is none.
    flag : str, optional
        That option's name, if it is not the argument's.
    """

    rules: tuple[Rule, ...]
    kind: str
    text: str
    default: Any = None
    help: str = ""
    flag: str | None = None

    def check(self, name: str, value: Any, owner: str) -> None:
        """Raise ParameterError if `value` is not allowed."""
        check(self.rules, name, value, owner, none=self.default is None)

    @property
    def described_kind(self) -> str:
        """The type with what the names may be."""
        names = next((rule.names for rule in self.rules if isinstance(rule, Name)), ())
        return self.kind.replace("{names}", "{" + ", ".join(f'"{name}"' for name in names) + "}")


def check(rules: Sequence[Rule], name: str, value: Any, owner: str, *, none: bool = False) -> None:
    """Raise ParameterError if no rule allows the `value` of the parameter `name` of the class `owner`."""
    if (none and value is None) or any(rule.admits(value) for rule in rules):
        return
    allowed = [str(rule) for rule in rules] + ["None"] * none
    words = " or ".join([", ".join(allowed[:-1]), allowed[-1]] if len(allowed) > 1 else allowed)
    raise ParameterError(f"The {name!r} parameter of {owner} must be {words}. Got {value!r} instead.")


class TrainingOptions(TypedDict, total=False):
    """The arguments by keyword that every estimator takes beside `preset`, with all that is known of each."""

    network: Annotated[
        Any,
        Option(
            (Name("network"), Sized("an (encoder, decoder) tuple or list")),
            "{names} or (encoder, decoder), optional",
            """A pair has for each part one of "linear", "mlp" and "conv", or a torch module of your own:
float32 (n, c, h, w) or (n, features) -> (n, n_components), and back. Modules are copied before training. "maps" takes images
of any height and width, and makes codes that are maps.""",
            help="The preset's by default.",
        ),
    ]
    hidden: Annotated[
        Any,
        Option(
            (Sized("a sequence of int, or a pair of such"),),
            "sequence of int, or (encoder's, decoder's), optional",
            """Widths (mlp) or channels (conv, skip, maps) between input and code, in the encoder's order. One sequence serves
both; with a pair they need not mirror each other.""",
            help="Widths of the layers between input and latent code.",
        ),
    ]
    epochs: Annotated[
        int | None,
        Option(
            (Whole(1),),
            "int, optional",
            """Passes over the training samples. By default the preset's, or on few samples as many as make some hundred
steps.""",
            help="Passes over the training images.",
        ),
    ]
    batch_size: Annotated[
        int | None,
        Option(
            (Whole(1),),
            "int, optional",
            """Samples a step. The default preset takes a tenth of the training samples, between 64 and 512.""",
            help="Images per step.",
        ),
    ]
    crop: Annotated[
        Any,
        Option(
            (Whole(1), Sized("(height, width)")),
            "int or (height, width), optional",
            """Train on random crops of this size, flipped and turned by quarters, drawn anew in every epoch, which has as many
as cover the images. By default 64 where images have several sizes, or less if they are smaller; none where all have one.""",
            help="Train on random crops of this size, as 96 or 64x96; of image files, which may have any sizes, as a stream.",
        ),
    ]
    learning_rate: Annotated[
        float | None,
        Option(
            (Number(0, closed="()"),),
            "float, optional",
            """The largest learning rate of the schedule.""",
            help="Peak learning rate of the schedule.",
        ),
    ]
    optimizer: Annotated[
        str | None,
        Option(
            (Name("optimizer"),),
            "{names}, optional",
            "What moves the weights down the gradients.",
            help="The preset's by default.",
        ),
    ]
    schedule: Annotated[
        str | None,
        Option(
            (Name("schedule"),),
            "{names}, optional",
            """Of the learning rate. "linear" rises over the first tenth of the steps, then falls to zero in a straight line;
"decay" rises over the first fiftieth.""",
        ),
    ]
    initialization: Annotated[
        str | None,
        Option(
            (Name("initialization"),),
            "{names}, optional",
            """torch's own initial weights; "centered" also shifts two biases so that training starts at the data's mean, in
networks that are given by one name.""",
        ),
    ]
    loss: Annotated[
        str | None,
        Option(
            (Name("loss"),),
            "{names}, optional",
            """bce needs values in 0..1, ssim images.""",
            help="The preset's by default.",
        ),
    ]
    penalty: Annotated[
        Any,
        Option(
            (Made("Penalty", many=True),),
            "Penalty or sequence of Penalty, optional",
            """Added to the loss: `L1(1e-3)`, `L2(1e-6, on="weights")`, `KLSparsity(1e-3)`, `Contractive(1e-3)`, …; several add
up. () for none where the preset has one.""",
            help="Added to the loss, as in l1:strength=0.001; l2:on=weights, kl_sparsity, contractive, …. Several are summed.",
        ),
    ]
    corruption: Annotated[
        Any,
        Option(
            (Made("Corruption"),),
            "Corruption, optional",
            """Corrupts the inputs in training, never the targets.""",
            help="As in gaussian_noise:mean=0,std=0.2; salt_and_pepper, masking; or permutation:seed=3, rotation:angle=30, "
            "flip:vertical=1. Several are applied in order. "
            "A denoiser's default is the chapter's: gaussian_noise:mean=0.5,std=0.4.",
        ),
    ]
    redraw: Annotated[
        bool | None,
        Option(
            (Flag(),),
            "bool, optional",
            """Draw the corruption anew for every batch (True), or once for all epochs, as the chapter does (False).""",
        ),
    ]
    precision: Annotated[
        str | None,
        Option(
            (Name("precision"),),
            "{names}, optional",
            """Of the products in training. "bfloat16" is mixed precision: weights, their updates and the loss stay float32.
Faster on GPUs and on processors that have instructions for it, slower on others.""",
            help="bfloat16: mixed precision, faster on some hardware.",
        ),
    ]
    validation_fraction: Annotated[
        float | None,
        Option(
            (Number(0, 1, "[)"),),
            "float in [0, 1), optional",
            """Share of the samples that is held out for the validation loss. By default 0.1; none where network="linear" copies
its samples, which then are all in every step and come to the principal subspace of all of them.""",
        ),
    ]
    early_stopping: Annotated[
        bool,
        Option(
            (Flag(),),
            "bool",
            """End after `patience` epochs without a lower validation loss, and keep the best epoch's weights.""",
            default=False,
            help="Stop when the validation loss no longer decreases.",
        ),
    ]
    patience: Annotated[
        int,
        Option(
            (Whole(1),),
            "int",
            "Epochs in a row without a lower validation loss after which `early_stopping` ends the training.",
            default=5,
        ),
    ]
    white: Annotated[
        float | None,
        Option(
            (Number(0, closed="()"),),
            "float, optional",
            """The white level of integer images deeper than 8 bits: 4095 for 12 bits. By default the full scale of as many bits
as the largest value of `X` needs, with a note. Kept as `sample_.white`, and saved.""",
        ),
    ]
    random_state: Annotated[
        Any,
        Option(
            (RandomState(),),
            "int, RandomState or None",
            """Where the split, initial weights, order and corruption come from. An int gives the same bits every time on the
same machine, whatever runs beside it.""",
        ),
    ]
    n_threads: Annotated[
        Any,
        Option(
            (Whole(1), OneOf(("auto",))),
            'int, "auto" or None',
            """How many threads compute. "auto" tries now and then which number is fastest beside whatever else runs, and is the
default without a seed. With one the number stays torch's own, for a convolution's bits depend on it. An int fixes it: so a
convolutional network is the same bits in worker processes too, to which joblib gives fewer threads.""",
            help="Threads for computing; auto chooses the fastest number under the current load, and results may then differ "
            "in their last bits. By default torch's own.",
            flag="--threads",
        ),
    ]
    device: Annotated[str, Option((Text(),), "str", '"auto" (a CUDA device if there is one), "cpu", "cuda", …', default="auto")]
    verbose: Annotated[Any, Option((Level(),), "bool or int", "Print a line an epoch to standard error.", default=False)]


FIRST: dict[str, Option] = {
    "n_components": Option(
        (Whole(1),),
        "int, optional",
        """Latent dimensions; of codes that are maps, their channels. The preset's (32) by default, as for every argument below
whose default is None.""",
        help="Latent dimensions.",
    ),
    "preset": Option(
        (Name("preset"),),
        "{names}",
        """A named set of values; an argument given beside it wins. "chapter" is the textbook's own training, "default" the
same network trained well ("linear" with network="linear"), "best" a wider network, "skip" one with connections past the
code. The others are what the estimators of these uses take by default; "features" makes codes that are alike for alike
images.""",
        default="default",
        help="The task's own by default.",
    ),
}
"""What each estimator's constructor names itself, for its default."""

OPTIONS: dict[str, Option] = {
    name: hint.__metadata__[0] for name, hint in get_type_hints(TrainingOptions, include_extras=True).items()
}
