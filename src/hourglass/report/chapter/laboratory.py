"""What every section of the chapter is run with, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from hourglass.errors import DataError
from hourglass.estimators import Denoiser
from hourglass.evaluation import Comparison, Setting, denoise_suite
from hourglass.evaluation.generation import ReferenceClassifier
from hourglass.images import Array, Float32, to_float
from hourglass.report.sections import Picture, Table

_FEWEST = 20  # test images
PRESET_NAMES = {"chapter": "autoencoder, chapter", "default": "autoencoder, default"}


@dataclass
class Laboratory(Setting):
    """A data set with labels and a test part, a seed, and what several sections look at.

    Both parts are shuffled once, for the sections look at the first of them, and folders come class by class.

    Attributes
    ----------
    quick : bool
        Train less: a first look at a few thousand images.

    Raises
    ------
    DataError
        If the data has no labels, too few images, or a class that is missing in one of its parts.
    """

    quick: bool = False

    def __post_init__(self) -> None:
        train, test = self.dataset.train, self.dataset.test
        if train.labels is None or test.labels is None:
            raise DataError(
                f"{self.dataset.name} has no labels; the chapter counts by them. A folder with a subfolder for each class has."
            )
        classes = np.unique(train.labels)
        if len(classes) < 2 or set(classes) != set(np.unique(test.labels)) or len(test) < _FEWEST:
            raise DataError(
                f"{self.dataset.name} has {len(classes)} classes and {len(test)} test images; the chapter needs two classes or "
                f"more, {_FEWEST} test images or more, and some of each class in both parts."
            )
        order = np.random.default_rng(self.seed)
        self.dataset = replace(
            self.dataset,
            train=train.take(order.permutation(len(train))),
            test_split=test.take(order.permutation(len(test))),
        )

    @property
    def noun(self) -> str:
        """What a class is called."""
        names = {str(label) for label in np.unique(self.dataset.train.known_labels)}
        return "digit" if names == set("0123456789") else "class"

    def passes(self, full: int, quick: int) -> int:
        """Epochs of a training."""
        return quick if self.quick else full

    @cached_property
    def denoising(self) -> tuple[Comparison, dict[str, Denoiser]]:
        """The chapter's denoiser and the same network trained well, beside their baselines, and both by their preset."""
        comparison, models = denoise_suite(self.dataset, self.seed, tuple(PRESET_NAMES), self.device, self.callbacks)
        return comparison, {preset: models[name] for preset, name in PRESET_NAMES.items()}

    @cached_property
    def classifier(self) -> ReferenceClassifier:
        """A classifier of the real training images, which reads what is generated and is no part of what generates."""
        return ReferenceClassifier().fit(self.dataset.train.images, self.dataset.train.known_labels, self.seed)

    @cached_property
    def examples(self) -> Array:
        """One test image of each label, in order; of ten labels at most."""
        labels = self.dataset.test.known_labels
        return self.dataset.test.images[[int(np.argmax(labels == label)) for label in np.unique(labels)[:10]]]


@dataclass(frozen=True)
class Findings:
    """What a section found: what was run, figures and tables, what they mean, and all numbers."""

    run: str
    shown: Sequence[Picture | Table]
    meaning: str
    numbers: Mapping[str, Any]


@dataclass(frozen=True)
class Topic:
    """A section before it is run: its claim, the same in Python, and the experiment."""

    name: str
    title: str
    claim: str
    example: str
    experiment: Callable[[Laboratory], Findings]


def rows_of(images: Array) -> Float32:
    """Images as rows of values in 0..1."""
    return to_float(images).reshape(len(images), -1)


def squared_error(made: Array, wanted: Array) -> float:
    """Mean squared error in squared units of 0..1; images or rows of values, uint8 or float."""
    return float(np.square(to_float(made) - to_float(wanted), dtype=np.float64).mean())


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"
