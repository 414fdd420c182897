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
    """strength · mean squared correlation between latent dimensions: a penalty of your own is one class."""

    def __call__(self, output: hg.Output):
        centred = output.codes - output.codes.mean(0)
        scaled = centred / (centred.norm(dim=0) + 1e-6)
        correlations = scaled.T @ scaled
        return self.strength * (correlations.square().sum() - correlations.diagonal().square().sum())


hg.Autoencoder(8, penalty=Unlike(1e-4), epochs=2, random_state=0).fit(images)
'''

_COMMON: dict[str, Any] = {"n_components": 64, "hidden": (256,)}
_SHOWN = 10
_N_NEIGHBOUR_CODES = 10_000  # training codes for 5-NN


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
class _Metrics:
    mse: float
    near_zero: float
    inactive: float
    accuracy: float
    jacobian: float
    relative: float
    units: Float32


def _experiment(lab: Laboratory) -> Findings:
    results = {kind.name: _measure(lab, kind) for kind in _KINDS}
    return Findings(
        run=(
            f"Eight trainings of one network, with {_COMMON['hidden'][0]} units between the image and a code of "
            f"{_COMMON['n_components']} dimensions, that differ in their penalty (the variational one also samples its code "
            "during training). Evaluated on the test images: the error; the share of code values near zero (below a tenth of "
            "their root mean square), and of inactive latent dimensions (σ(y) below 0.05); the accuracy of the five nearest "
            f"of {min(_N_NEIGHBOUR_CODES, len(lab.dataset.train)):,} training codes; and the smoothness of the encoder, as "
            "the Frobenius norm of its Jacobian ∂y/∂x, also relative to the spread of the codes, since small codes have "
            "small derivatives too."
        ),
        shown=[
            Table(
                "Regularised autoencoders, evaluated on the test images.",
                ["penalty", "in Python", "MSE", "near zero", "inactive", "5-NN", "‖∂y/∂x‖", "over spread"],
                [_cells(kind, results[kind.name]) for kind in _KINDS],
            ),
            Picture(
                "units",
                contrasts({name: metrics.units for name, metrics in results.items()}),
                "The effect of single latent dimensions: the change of the decoded image when one rises from one standard "
                "deviation below its mean to one above, for the ten dimensions with the largest variance; red where the "
                "image becomes lighter.",
            ),
        ],
        meaning=_meaning(results),
        numbers={
            name: {key: value for key, value in vars(metrics).items() if key != "units"} for name, metrics in results.items()
        },
    )


def _measure(lab: Laboratory, kind: _Kind) -> _Metrics:
    from sklearn.neighbors import KNeighborsClassifier

    train, test = lab.dataset.train, lab.dataset.test
    arguments = {**_COMMON, "epochs": lab.epochs(6, 8), **kind.options}
    model, _ = lab.fit(Autoencoder(penalty=list(kind.penalty), **arguments), train.images, name=kind.name)
    codes, train_codes = model.transform(test.images), model.transform(train.images[:_N_NEIGHBOUR_CODES])
    neighbours = KNeighborsClassifier(5).fit(train_codes, train.known_labels[:_N_NEIGHBOUR_CODES])
    norm = jacobian_norm(model, test.images[:200])
    return _Metrics(
        mse=-model.score(test.images),
        near_zero=near_zero(codes),
        inactive=float((codes < np.log(0.05 / 0.95)).mean()),
        accuracy=float(neighbours.score(codes, test.known_labels)),
        jacobian=norm,
        relative=norm / max(float(np.sqrt(codes.var(0).sum())), 1e-12),
        units=_units(model, codes),
    )


def _units(model: Autoencoder, codes: Float32) -> Float32:
    """Return the effect of the latent dimensions of largest variance on the decoded mean code: (10, h, w), grey."""
    mean, deviation = codes.mean(0), codes.std(0)
    chosen = np.argsort(-deviation)[:_SHOWN]
    step = np.eye(len(mean), dtype=np.float32)[chosen] * deviation[chosen, None]
    change: Float32 = model.inverse_transform(mean + step) - model.inverse_transform(mean - step)
    return change if change.ndim == 3 else change.mean(3)


def _cells(kind: _Kind, metrics: _Metrics) -> list[str]:
    return [
        kind.name,
        " + ".join(f"`{_short(penalty)}`" for penalty in kind.penalty),
        f"{metrics.mse:.4f}",
        percent(metrics.near_zero),
        percent(metrics.inactive),
        percent(metrics.accuracy),
        f"{metrics.jacobian:.2f}",
        f"{metrics.relative:.2f}",
    ]


def _short(penalty: Penalty) -> str:
    on = ', on="weights"' if isinstance(penalty, L2) and penalty.on == "weights" else ""
    return f"{type(penalty).__name__}({penalty.strength:g}{on})"


def _meaning(results: dict[str, _Metrics]) -> str:
    plain, l1, kl = results["none"], results["L1 on the code"], results["KL sparsity"]
    contractive, weights = results["contractive"], results["L2 on the weights"]
    most_accurate = max(results, key=lambda name: results[name].accuracy)
    best = min(results, key=lambda name: results[name].mse)
    price = (
        f"Every penalty increases the error, which is {plain.mse:.4f} without one."
        if best == "none"
        else f"The error is smallest with {best}: {results[best].mse:.4f}, compared with {plain.mse:.4f} without a penalty."
    )
    smoothness = (
        "so the encoder is smoother, and the code not only smaller"
        if contractive.relative < plain.relative
        else "so the code is only smaller"
    )
    comparison = (
        "No penalty increases the accuracy of the nearest neighbours"
        if most_accurate == "none"
        else (
            f'The nearest neighbours are most accurate with "{most_accurate}", {percent(results[most_accurate].accuracy)}; '
            f"without a penalty it is {percent(plain.accuracy)}"
        )
    )
    return (
        f"{price} The other columns show what each gains. With L1 {percent(l1.near_zero)} of the code's values are near zero, "
        f"without a penalty {percent(plain.near_zero)}; it is combined with a small L2 on the weights, as otherwise the "
        "code can shrink as a whole and the decoder scale it back. With the KL divergence "
        f"{percent(kl.inactive)} of the latent dimensions are inactive, without {percent(plain.inactive)}.\n\nWith the "
        f"contractive penalty the norm of the Jacobian is {contractive.jacobian:.2f}, without {plain.jacobian:.2f}. Relative "
        f"to the spread of the codes it is {contractive.relative:.2f} and {plain.relative:.2f}, {smoothness}; with L2 on the "
        f"weights it is {weights.relative:.2f}. {comparison}.\n\nThe picture shows the effect of single latent dimensions. "
        "Any invertible linear map of the code serves the decoder as well, so without a penalty a single dimension need not "
        "have a meaning; L1 and the KL divergence act on each dimension separately. Penalties can be combined: the last row "
        "has two of them."
    )


REGULARISED = Topic("penalties", "Regularised autoencoders", _CLAIM, _EXAMPLE, _experiment)
