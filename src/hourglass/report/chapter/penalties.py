"""Section 3: regularised autoencoders, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hourglass.estimators import Autoencoder
from hourglass.evaluation.codes import jacobian_norm, near_zero
from hourglass.images import Float32
from hourglass.objectives import L1, L2, Contractive, KLSparsity, Penalty, Rate
from hourglass.report.chapter.laboratory import Findings, Laboratory, Topic, percent
from hourglass.report.plots import contrasts
from hourglass.report.sections import Picture, Table

_CLAIM = """A code can also be kept from copying by a penalty that is added to the loss: L1 on the code makes it sparse, as \
the LASSO does; L2 keeps code or weights small, as ridge regression does; the divergence between each unit's \
activity and a small target makes units specialists; the contractive penalty asks that the code hardly move when \
the image does; and in a variational autoencoder the code is a distribution that is held near a Gaussian."""

_EXAMPLE = '''from dataclasses import dataclass

import hourglass as hg

images = hg.load("mnist").train.images[:5000]
both = [hg.L1(1e-4), hg.Contractive(1e-3)]  # several add up
codes = hg.Autoencoder(64, penalty=both, epochs=2, random_state=0).fit_transform(images)


@dataclass(frozen=True)
class Unlike(hg.Penalty):
    """strength · mean squared correlation between the numbers of a code: a penalty of your own is one class."""

    def __call__(self, output: hg.Output):
        centred = output.codes - output.codes.mean(0)
        scaled = centred / (centred.norm(dim=0) + 1e-6)
        correlations = scaled.T @ scaled
        return self.strength * (correlations.square().sum() - correlations.diagonal().square().sum())


hg.Autoencoder(8, penalty=Unlike(1e-4), epochs=2, random_state=0).fit(images)
'''

_COMMON: dict[str, Any] = {"n_components": 64, "hidden": (256,)}
_SHOWN = 10
_KNOWN = 10_000  # training codes that neighbours are looked up in


@dataclass(frozen=True)
class _Kind:
    """A regularised autoencoder."""

    name: str
    penalty: Sequence[Penalty] = ()
    options: dict[str, Any] = field(default_factory=dict)


_KINDS = (
    _Kind("none"),
    _Kind("L1 on the code", (L1(5e-4), L2(1e-6, on="weights"))),
    _Kind("L2 on the code", (L2(1e-3),)),
    _Kind("L2 on the weights", (L2(3e-6, on="weights"),)),
    _Kind("KL sparsity", (KLSparsity(1e-3),)),
    _Kind("contractive", (Contractive(1e-3),)),
    _Kind("variational", (Rate(0.01),), {"network": "variational"}),
    _Kind("L1 and contractive", (L1(3e-4), Contractive(1e-3))),
)


@dataclass(frozen=True)
class _Measured:
    mse: float
    near_zero: float
    inactive: float
    accuracy: float
    jacobian: float
    relative: float
    units: Float32


def _experiment(lab: Laboratory) -> Findings:
    found = {kind.name: _measured(lab, kind) for kind in _KINDS}
    return Findings(
        run=(
            f"Eight trainings of one network, {_COMMON['hidden'][0]} units between the image and a code of "
            f"{_COMMON['n_components']} numbers, that differ in their penalty (the variational one also draws its code from "
            "a Gaussian while it is trained). On the test images: the error; how many numbers of the codes are near zero "
            "(below a tenth of their root mean square), and how many units are inactive (σ(y) below 0.05); how many images "
            f"the five nearest of {min(_KNOWN, len(lab.dataset.train)):,} training codes name rightly; and how smooth the "
            "encoder is, as the Frobenius norm of its Jacobian ∂y/∂x, and as that norm over the spread of the codes, for "
            "codes that are merely small have small derivatives too."
        ),
        shown=[
            Table(
                "Regularised autoencoders, measured on the test images.",
                ["penalty", "as written", "MSE", "near zero", "inactive", "5-NN", "‖∂y/∂x‖", "over spread"],
                [_cells(kind, found[kind.name]) for kind in _KINDS],
            ),
            Picture(
                "units",
                contrasts({name: measured.units for name, measured in found.items()}),
                "What single numbers of the code stand for: how the decoded image changes when one number rises from one "
                "standard deviation below its mean to one above; the ten numbers that vary most, red where it becomes "
                "lighter.",
            ),
        ],
        meaning=_meaning(found),
        numbers={
            name: {key: value for key, value in vars(measured).items() if key != "units"} for name, measured in found.items()
        },
    )


def _measured(lab: Laboratory, kind: _Kind) -> _Measured:
    from sklearn.neighbors import KNeighborsClassifier

    train, test = lab.dataset.train, lab.dataset.test
    arguments = {**_COMMON, "epochs": lab.passes(6, 8), **kind.options}
    model, _ = lab.fit(Autoencoder(penalty=list(kind.penalty), **arguments), train.images, name=kind.name)
    codes, known = model.transform(test.images), model.transform(train.images[:_KNOWN])
    neighbours = KNeighborsClassifier(5).fit(known, train.known_labels[:_KNOWN])
    norm = jacobian_norm(model, test.images[:200])
    return _Measured(
        mse=-model.score(test.images),
        near_zero=near_zero(codes),
        inactive=float((codes < np.log(0.05 / 0.95)).mean()),
        accuracy=float(neighbours.score(codes, test.known_labels)),
        jacobian=norm,
        relative=norm / max(float(np.sqrt(codes.var(0).sum())), 1e-12),
        units=_units(model, codes),
    )


def _units(model: Autoencoder, codes: Float32) -> Float32:
    """What the numbers that vary most do to the decoded mean code: (10, h, w), grey."""
    mean, deviation = codes.mean(0), codes.std(0)
    chosen = np.argsort(-deviation)[:_SHOWN]
    step = np.eye(len(mean), dtype=np.float32)[chosen] * deviation[chosen, None]
    change: Float32 = model.inverse_transform(mean + step) - model.inverse_transform(mean - step)
    return change if change.ndim == 3 else change.mean(3)


def _cells(kind: _Kind, measured: _Measured) -> list[str]:
    written = " + ".join(f"`{_short(penalty)}`" for penalty in kind.penalty)
    return [
        kind.name,
        written,
        f"{measured.mse:.4f}",
        percent(measured.near_zero),
        percent(measured.inactive),
        percent(measured.accuracy),
        f"{measured.jacobian:.2f}",
        f"{measured.relative:.2f}",
    ]


def _short(penalty: Penalty) -> str:
    on = ', on="weights"' if isinstance(penalty, L2) and penalty.on == "weights" else ""
    return f"{type(penalty).__name__}({penalty.strength:g}{on})"


def _meaning(found: dict[str, _Measured]) -> str:
    plain, l1, kl = found["none"], found["L1 on the code"], found["KL sparsity"]
    contractive, weights = found["contractive"], found["L2 on the weights"]
    nearest = max(found, key=lambda name: found[name].accuracy)
    copies = min(found, key=lambda name: found[name].mse)
    price = (
        f"Every penalty is paid for in error: without one it is {plain.mse:.4f}, the least."
        if copies == "none"
        else f"The least error is that with {copies}, {found[copies].mse:.4f} against {plain.mse:.4f} without a penalty."
    )
    smoother = (
        "so the encoder is smoother, and not only its code smaller"
        if contractive.relative < plain.relative
        else "so all that it bought is a smaller code"
    )
    comparing = (
        "No penalty makes codes that name more test images rightly by their neighbours than none does"
        if nearest == "none"
        else (
            f'The most test images are named rightly by their neighbours with "{nearest}", '
            f"{percent(found[nearest].accuracy)}; without a penalty it is {percent(plain.accuracy)}"
        )
    )
    return (
        f"{price} What each buys is in the other columns. With L1 {percent(l1.near_zero)} of the code's numbers are near "
        f"zero, without a penalty {percent(plain.near_zero)}; a little L2 on the weights stands beside it, for otherwise the "
        f"code can shrink as a whole and the decoder multiply it back. With the divergence {percent(kl.inactive)} of the "
        f"units are inactive, without {percent(plain.inactive)}.\n\nWith the contractive penalty the norm of the Jacobian is "
        f"{contractive.jacobian:.2f}, without {plain.jacobian:.2f}. Over the spread of the codes it is "
        f"{contractive.relative:.2f} and {plain.relative:.2f}, {smoother}; L2 on the weights comes to {weights.relative:.2f} "
        f"on that scale. {comparing}.\n\nThe picture shows what single numbers stand for. A decoder is served as well by any "
        "invertible mix of a code's numbers, so without a penalty nothing makes a single one mean something; L1 and the "
        "divergence look at each number by itself. Penalties add up: the last row has two of them."
    )


REGULARISED = Topic("penalties", "Regularised autoencoders", _CLAIM, _EXAMPLE, _experiment)
