"""Section 5, exercise 9.1: can it handle more transformations, and all of them at the same time?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hourglass.corruption import Choice, Compose, Corruption, Flip, Permutation, Rotation
from hourglass.estimators import Denoiser
from hourglass.estimators.presets import CHAPTER_NOISE
from hourglass.evaluation import image_metrics
from hourglass.images import Array, to_float, to_uint8
from hourglass.report.chapter.laboratory import Findings, Laboratory, Topic, squared_error
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
_READINGS = {"undo": "the clean original", "keep": "the transformed clean image"}


@dataclass(frozen=True)
class _Case:
    """A transformation, or a mixture of several of which each image has one."""

    name: str
    transformation: Corruption


def _cases(lab: Laboratory) -> list[_Case]:
    permutation = Permutation(lab.seed)
    parts: dict[str, Corruption] = {"rotation": _ROTATION, "flip": _FLIP, "permutation": permutation}
    nothing = Compose(())
    pairs = [
        _Case("rotation, flip", Compose((_ROTATION, _FLIP))),
        _Case("rotation, permutation", Compose((_ROTATION, permutation))),
        _Case("flip, permutation", Compose((_FLIP, permutation))),
    ]
    return [
        _Case("none", nothing),
        *(_Case(name, part) for name, part in parts.items()),
        *([] if lab.quick else pairs),
        _Case("all three", Compose((_ROTATION, _FLIP, permutation))),
        _Case("mixture", Choice((nothing, *parts.values()))),
    ]


@dataclass(frozen=True)
class _Outcome:
    """One trained model on the test images: what it was given, what it made, what it should have made."""

    given: Array
    made: Array
    wanted: Array
    mse: float
    psnr: float


def _trained(lab: Laboratory, case: _Case, reading: str, network: str) -> _Outcome:
    """Train and measure one denoiser."""
    train, test = lab.dataset.train.images, lab.dataset.test.images
    settings = {"epochs": lab.passes(6, 8) if network == "mlp" else lab.passes(2, 2), **_NETWORKS[network]}
    moved = case.transformation(test, lab.seed + 2)  # for a mixture, each image under one of the parts
    given = CHAPTER_NOISE(moved, lab.seed + 1)
    name = f"{case.name}, {network}, {reading}"
    if reading == "undo":
        model, _ = lab.fit(Denoiser(corruption=Compose((case.transformation, CHAPTER_NOISE)), **settings), train, name=name)
        wanted = to_float(test)
    else:
        still = to_uint8(case.transformation(train, lab.seed + 3))
        model, _ = lab.fit(Denoiser(corruption=CHAPTER_NOISE, **settings), still, name=name)
        wanted = moved
    made = model.transform(given)
    metrics = image_metrics(made, wanted)
    return _Outcome(given[:10], made[:10], wanted[:10], metrics["mse"], metrics["psnr"])


def _experiment(lab: Laboratory) -> Findings:
    cases = _cases(lab)
    found = {
        (case.name, network, reading): _trained(lab, case, reading, network)
        for case in cases
        for network in _NETWORKS
        for reading in _READINGS
        if not (case.name == "none" and reading == "keep")  # the same as to undo
    }
    columns = [(network, reading) for network in _NETWORKS for reading in _READINGS]
    body = [
        [case.name, *(_cell(found.get((case.name, *column)) or found[(case.name, column[0], "undo")]) for column in columns)]
        for case in cases
    ]
    nothing_done = {
        case.name: squared_error(case.transformation(lab.dataset.test.images, lab.seed + 2), lab.dataset.test.images)
        for case in cases
    }
    return Findings(
        run=(
            f"{len(found)} denoisers, each trained on images under a transformation and the chapter's noise: every "
            f"transformation alone (a rotation by {_ROTATION.angle:g} degrees, a flip left to right, a permutation of all "
            f"pixels), {'' if lab.quick else 'every pair, '}all three one after the other, and a mixture in which each image "
            "has one of none, rotation, flip or permutation, and nothing tells the model which. Two networks with a code of "
            '32 numbers, the chapter\'s (mlp) and a convolutional one (conv). And two readings of "handle": *undo* asks '
            "for the clean original, *keep* for the transformed clean image. Within a column all models are trained equally "
            "long."
        ),
        shown=[
            Table(
                'Mean squared error, and PSNR in dB, on the test images. "None" is the noise alone, where both readings '
                "are one.",
                ["transformation", *(f"{network}, {reading}" for network, reading in columns)],
                body,
            ),
            Picture(
                "transformations",
                image_rows(_examples(found)),
                "What goes in, and what both networks answer when asked to undo it.",
            ),
        ],
        meaning=_meaning({key: outcome.mse for key, outcome in found.items()}),
        numbers={
            "errors": [
                {
                    "transformation": name,
                    "network": network,
                    "target": _READINGS[reading],
                    "mse": outcome.mse,
                    "psnr": outcome.psnr,
                }
                for (name, network, reading), outcome in found.items()
            ],
            "moved": nothing_done,
        },
    )


def _cell(outcome: _Outcome) -> str:
    return f"{outcome.mse:.4f} / {outcome.psnr:.1f}"


def _examples(found: Mapping[tuple[str, str, str], _Outcome]) -> dict[str, Array]:
    rows: dict[str, Array] = {"original": found[("none", "mlp", "undo")].wanted}
    for name in ("rotation", "flip", "permutation", "all three", "mixture"):
        rows[f"{name}, noise"] = found[(name, "mlp", "undo")].given
        for network in _NETWORKS:
            rows[f"{name}, undone by {network}"] = found[(name, network, "undo")].made
    return rows


def _meaning(errors: Mapping[tuple[str, str, str], float]) -> str:
    def ratio(name: str, network: str, reading: str) -> float:
        return errors[(name, network, reading)] / errors[("none", network, "undo")]

    single = ("rotation", "flip", "permutation")
    alone = {network: float(np.mean([errors[(name, network, "undo")] for name in single])) for network in _NETWORKS}
    together = {network: errors[("all three", network, "undo")] for network in _NETWORKS}
    mixed = {network: errors[("mixture", network, "undo")] for network in _NETWORKS}
    blurred = (
        " (A rotated image is interpolated, and so smoother than the original; that makes it easier to give back, where a "
        "rotation is kept.)"
        if ratio("rotation", "mlp", "keep") < 1
        else ""
    )
    handles = together["mlp"] < 1.25 * alone["mlp"]
    hurt = ratio("permutation", "conv", "keep") > 1.1
    return (
        "*The permutation.* A fully connected network does not know which pixels are neighbours, so it cannot miss it: "
        f"under a permutation its error is {ratio('permutation', 'mlp', 'undo'):.2f} times that without when it is to undo "
        f"it, and {ratio('permutation', 'mlp', 'keep'):.2f} times when it is to keep it. A convolutional network counts on "
        f"neighbours being alike: its error is {ratio('permutation', 'conv', 'undo'):.2f} and "
        f"{ratio('permutation', 'conv', 'keep'):.2f} times that without.\n\n*All at the same time.* All three one after the "
        f"other are one fixed linear map, as each alone is. The mlp undoes them with an error of {together['mlp']:.4f}, "
        f"against {alone['mlp']:.4f} for single ones on average; the conv with {together['conv']:.4f} against "
        f"{alone['conv']:.4f}.{blurred}\n\n*Without being told which.* Of the mixture the model has to find out first what "
        f"was done, and it has one code and one set of weights for all: the mlp's error is {mixed['mlp']:.4f}, "
        f"{mixed['mlp'] / alone['mlp']:.1f} times that of models made for one transformation, the conv's "
        f"{mixed['conv']:.4f}, {mixed['conv'] / alone['conv']:.1f} times.\n\n*The answer to the exercise:* with the fully "
        "connected network "
        f"{'yes: any number of fixed ones' if handles else 'in part: one at a time better than all'}; "
        f"with convolutions {'as long as neighbours stay neighbours' if hurt else 'too, in this run'}; and where the model "
        f"is not told which, at {mixed['mlp'] / alone['mlp']:.1f} times the error."
    )


TRANSFORMATIONS = Topic("transformations", "Exercise 9.1: more transformations", _CLAIM, _EXAMPLE, _experiment)
