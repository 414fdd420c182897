"""Section 5, exercise 9.1: more transformations, and all of them at the same time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hourglass.corruption import Choice, Compose, Corruption, Flip, Permutation, Rotation
from hourglass.estimators import Denoiser
from hourglass.estimators.presets import CHAPTER_NOISE
from hourglass.evaluation import decibels, squared_error
from hourglass.images import Array, to_float, to_uint8
from hourglass.report.chapter.laboratory import Findings, Laboratory, Topic
from hourglass.report.figures import image_rows
from hourglass.report.sections import Picture, Table

_CLAIM = """Exercise 9.1: besides noise, permute the pixels in one fixed order, rotate the image by a fixed angle (extend \
it, rotate, crop), and flip it at the middle. Retrain the autoencoder on each, and on their combinations. Can it \
handle all of them at the same time?"""

_EXAMPLE = """import hourglass as hg

mnist = hg.load("mnist")
images = mnist.train.images[:5000]
turned = hg.Compose((hg.Rotation(30), hg.Flip(), hg.Permutation(seed=1)))
noise = hg.GaussianNoise(mean=0.5, std=0.4)

# undo it: from the transformed, noisy image to the clean original
undo = hg.Denoiser(corruption=hg.Compose((turned, noise)), epochs=2, random_state=0).fit(images)
# keep it: from the transformed, noisy image to the transformed, clean one
keep = hg.Denoiser(corruption=noise, epochs=2, random_state=0).fit(turned(images))
# a mixture: each image under one of them, and the model is not told which
mixture = hg.Choice((hg.Compose(()), hg.Rotation(30), hg.Flip(), hg.Permutation(seed=1)))
either = hg.Denoiser(corruption=hg.Compose((mixture, noise)), epochs=2, random_state=0).fit(images)

exact = hg.Compose((hg.Flip(), hg.Permutation(seed=1)))
back = exact.inverse(exact(images))  # these two can be undone exactly
undo.save("undo.hg")  # the transformation is saved with the model
"""

_ROTATION, _FLIP = Rotation(30), Flip()
_NETWORKS: dict[str, dict[str, Any]] = {
    "mlp": {},
    "conv": {"network": "conv", "hidden": (16, 32), "batch_size": 128, "learning_rate": 0.02},
}
_TARGETS = {"undo": "the clean original", "keep": "the transformed clean image"}


@dataclass(frozen=True)
class _Case:
    """A transformation, or a mixture of several, one of which applies to each image."""

    name: str
    transformation: Corruption


def _cases(lab: Laboratory) -> list[_Case]:
    permutation = Permutation(lab.seed)
    singles: dict[str, Corruption] = {"rotation": _ROTATION, "flip": _FLIP, "permutation": permutation}
    identity = Compose(())
    pairs = [
        _Case("rotation, flip", Compose((_ROTATION, _FLIP))),
        _Case("rotation, permutation", Compose((_ROTATION, permutation))),
        _Case("flip, permutation", Compose((_FLIP, permutation))),
    ]
    return [
        _Case("none", identity),
        *(_Case(name, transformation) for name, transformation in singles.items()),
        *([] if lab.quick else pairs),
        _Case("all three", Compose((_ROTATION, _FLIP, permutation))),
        _Case("mixture", Choice((identity, *singles.values()))),
    ]


@dataclass(frozen=True)
class _Outcome:
    """Inputs, outputs and targets of a trained model on the test images, with its error."""

    inputs: Array
    outputs: Array
    targets: Array
    mse: float
    psnr: float


def _evaluate(lab: Laboratory, case: _Case, task: str, network: str) -> _Outcome:
    """Train and evaluate one denoiser."""
    train, test = lab.dataset.train.images, lab.dataset.test.images
    settings = {"epochs": lab.epochs(6, 8) if network == "mlp" else lab.epochs(2, 2), **_NETWORKS[network]}
    transformed = case.transformation(test, lab.seed + 2)
    inputs = CHAPTER_NOISE(transformed, lab.seed + 1)
    name = f"{case.name}, {network}, {task}"
    if task == "undo":
        model, _ = lab.fit(Denoiser(corruption=Compose((case.transformation, CHAPTER_NOISE)), **settings), train, name=name)
        targets = to_float(test)
    else:
        transformed_train = to_uint8(case.transformation(train, lab.seed + 3))
        model, _ = lab.fit(Denoiser(corruption=CHAPTER_NOISE, **settings), transformed_train, name=name)
        targets = transformed
    outputs = model.transform(inputs)
    error = squared_error(outputs, targets)
    return _Outcome(inputs[:10], outputs[:10], targets[:10], error, decibels(error))


def _experiment(lab: Laboratory) -> Findings:
    cases = _cases(lab)
    outcomes = {
        (case.name, network, task): _evaluate(lab, case, task, network)
        for case in cases
        for network in _NETWORKS
        for task in _TARGETS
        if not (case.name == "none" and task == "keep")  # equal to "undo"
    }
    columns = [(network, task) for network in _NETWORKS for task in _TARGETS]
    body = [
        [
            case.name,
            *(_cell(outcomes.get((case.name, *column)) or outcomes[(case.name, column[0], "undo")]) for column in columns),
        ]
        for case in cases
    ]
    baseline = {
        case.name: squared_error(case.transformation(lab.dataset.test.images, lab.seed + 2), lab.dataset.test.images)
        for case in cases
    }
    return Findings(
        run=(
            f"{len(outcomes)} denoisers, each trained on images with a transformation and the chapter's noise: every "
            f"transformation alone (a rotation by {_ROTATION.angle:g} degrees, a horizontal flip, a permutation of all "
            f"pixels), {'' if lab.quick else 'every pair, '}all three in sequence, and a mixture in which each image has one "
            "of none, rotation, flip or permutation, unknown to the model. There are two networks with 32 latent dimensions, "
            'the chapter\'s (mlp) and a convolutional one (conv), and two meanings of "handle": the target of *undo* is the '
            "clean original, that of *keep* the transformed clean image. All models of a column are trained equally long."
        ),
        shown=[
            Table(
                'Mean squared error, and PSNR in dB, on the test images. "None" is the noise alone, for which undo and keep '
                "are the same.",
                ["transformation", *(f"{network}, {task}" for network, task in columns)],
                body,
            ),
            Picture(
                "transformations",
                image_rows(_examples(outcomes)),
                "Inputs, and the outputs of both networks that undo the transformation.",
            ),
        ],
        meaning=_meaning({key: outcome.mse for key, outcome in outcomes.items()}),
        numbers={
            "errors": [
                {
                    "transformation": name,
                    "network": network,
                    "target": _TARGETS[task],
                    "mse": outcome.mse,
                    "psnr": outcome.psnr,
                }
                for (name, network, task), outcome in outcomes.items()
            ],
            "moved": baseline,
        },
    )


def _cell(outcome: _Outcome) -> str:
    return f"{outcome.mse:.4f} / {outcome.psnr:.1f}"


def _examples(outcomes: Mapping[tuple[str, str, str], _Outcome]) -> dict[str, Array]:
    rows: dict[str, Array] = {"original": outcomes[("none", "mlp", "undo")].targets}
    for name in ("rotation", "flip", "permutation", "all three", "mixture"):
        rows[f"{name}, noise"] = outcomes[(name, "mlp", "undo")].inputs
        for network in _NETWORKS:
            rows[f"{name}, undone by {network}"] = outcomes[(name, network, "undo")].outputs
    return rows


def _meaning(errors: Mapping[tuple[str, str, str], float]) -> str:
    def ratio(name: str, network: str, task: str) -> float:
        return errors[(name, network, task)] / errors[("none", network, "undo")]

    single = ("rotation", "flip", "permutation")
    alone = {network: float(np.mean([errors[(name, network, "undo")] for name in single])) for network in _NETWORKS}
    together = {network: errors[("all three", network, "undo")] for network in _NETWORKS}
    mixed = {network: errors[("mixture", network, "undo")] for network in _NETWORKS}
    blurred = (
        " (A rotated image is interpolated, and so smoother than the original, which makes it easier to reconstruct when the "
        "rotation is kept.)"
        if ratio("rotation", "mlp", "keep") < 1
        else ""
    )
    handles = together["mlp"] < 1.25 * alone["mlp"]
    hurt = ratio("permutation", "conv", "keep") > 1.1
    return (
        "*The permutation.* A fully connected network does not know which pixels are neighbours, so a permutation costs it "
        f"little: its error is {ratio('permutation', 'mlp', 'undo'):.2f} times that without a permutation when it has to undo "
        f"it, and {ratio('permutation', 'mlp', 'keep'):.2f} times when it has to keep it. A convolutional network relies on "
        f"similar neighbours: its error is {ratio('permutation', 'conv', 'undo'):.2f} and "
        f"{ratio('permutation', 'conv', 'keep'):.2f} times that without.\n\n*All at the same time.* All three in sequence are "
        f"one fixed linear map, like each alone. The mlp undoes them with an error of {together['mlp']:.4f}, compared with "
        f"{alone['mlp']:.4f} for a single one on average; the conv with {together['conv']:.4f}, compared with "
        f"{alone['conv']:.4f}.{blurred}\n\n*A mixture.* The model first has to recognise which transformation an image had, "
        f"and it has one code and one set of weights for all: the mlp's error is {mixed['mlp']:.4f}, "
        f"{mixed['mlp'] / alone['mlp']:.1f} times that of models for one transformation, the conv's "
        f"{mixed['conv']:.4f}, {mixed['conv'] / alone['conv']:.1f} times.\n\n*The answer to the exercise:* with the fully "
        "connected network "
        f"{'yes: any number of fixed ones' if handles else 'in part: one at a time is better than all'}; "
        f"with convolutions {'as long as neighbours stay neighbours' if hurt else 'too, in this run'}; and for a mixture, at "
        f"{mixed['mlp'] / alone['mlp']:.1f} times the error."
    )


TRANSFORMATIONS = Topic("transformations", "Exercise 9.1: more transformations", _CLAIM, _EXAMPLE, _experiment)
