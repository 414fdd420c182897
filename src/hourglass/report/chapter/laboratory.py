"""The shared setting of the chapter's experiments, and their results."""

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

_MIN_TEST_IMAGES = 20
PRESET_NAMES = {"chapter": "autoencoder, chapter", "default": "autoencoder, default"}


@dataclass
class Laboratory(Setting):
    """A labelled data set with a test split, a seed, and results that several sections share.

    Both splits are shuffled once, as sections use the first images and folders are sorted by class.

    Attributes
    ----------
    quick : bool
        Train less, for a first look at a few thousand images.

    Raises
    ------
    DataError
        If the data has no labels, too few images, or a class is missing in one of the splits.
    """

    quick: bool = False

    def __post_init__(self) -> None:
        train, test = self.dataset.train, self.dataset.test
        if train.labels is None or test.labels is None:
            raise DataError(
                f"{self.dataset.name} has no labels, which the chapter needs; use a folder with a subfolder for each class."
            )
        classes = np.unique(train.labels)
        if len(classes) < 2 or set(classes) != set(np.unique(test.labels)) or len(test) < _MIN_TEST_IMAGES:
            raise DataError(
                f"{self.dataset.name} has {len(classes)} classes and {len(test)} test images; the chapter needs at least two "
                f"classes, {_MIN_TEST_IMAGES} test images, and images of each class in both splits."
            )
        order = np.random.default_rng(self.seed)
        self.dataset = replace(
            self.dataset,
            train=train.take(order.permutation(len(train))),
            test_split=test.take(order.permutation(len(test))),
        )

    @property
    def noun(self) -> str:
        """The word for a class: "digit" or "class"."""
        names = {str(label) for label in np.unique(self.dataset.train.known_labels)}
        return "digit" if names == set("0123456789") else "class"

    def epochs(self, full: int, quick: int) -> int:
        """Return the number of epochs, `quick` or `full`."""
        return quick if self.quick else full

    @cached_property
    def denoising(self) -> tuple[Comparison, dict[str, Denoiser]]:
        """(comparison of the chapter's and the default denoiser with baselines, both models by preset)"""
        comparison, models = denoise_suite(self.dataset, self.seed, tuple(PRESET_NAMES), self.device, self.callbacks)
        return comparison, {preset: models[name] for preset, name in PRESET_NAMES.items()}

    @cached_property
    def classifier(self) -> ReferenceClassifier:
        """A classifier fitted on the real training images, to evaluate generated ones."""
        return ReferenceClassifier().fit(self.dataset.train.images, self.dataset.train.known_labels, self.seed)

    @cached_property
    def examples(self) -> Array:
        """One test image of each label in order, for at most ten labels."""
        labels, images = self.dataset.test.known_labels, self.dataset.test.images
        some: Array = images[[int(np.argmax(labels == label)) for label in np.unique(labels)[:10]]]
        return some


@dataclass(frozen=True)
class Findings:
    """The results of an experiment: its description, figures and tables, their interpretation, and all numbers."""

    run: str
    shown: Sequence[Picture | Table]
    meaning: str
    numbers: Mapping[str, Any]


@dataclass(frozen=True)
class Topic:
    """A section of the chapter: its claim, example and experiment."""

    name: str
    title: str
    claim: str
    example: str
    experiment: Callable[[Laboratory], Findings]


def flatten(images: Array) -> Float32:
    """Return images as rows of values in 0..1."""
    return to_float(images).reshape(len(images), -1)


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"
