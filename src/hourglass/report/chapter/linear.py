"""Section 2: a linear autoencoder spans the principal subspace."""

from __future__ import annotations

from hourglass.estimators import Autoencoder
from hourglass.evaluation.baselines import PrincipalComponents
from hourglass.evaluation.codes import largest_angle
from hourglass.report.chapter.laboratory import Findings, Laboratory, Topic, rows_of, squared_error
from hourglass.report.plots import curves
from hourglass.report.sections import Picture, Table
from hourglass.training import FullBatch

_CLAIM = """With no nonlinearity in it, an autoencoder that is trained to the least squared error learns what principal \
component analysis computes: its k numbers span the subspace of the k directions in which the images vary most \
(Bourlard and Kamp 1988; Baldi and Hornik 1989). With nonlinear layers it can do better than any linear map of \
the same width."""

_EXAMPLE = """import numpy as np
from scipy.linalg import subspace_angles
from sklearn.decomposition import PCA

import hourglass as hg

images = hg.load("mnist").train.images
X = images.reshape(len(images), -1) / 255
ae = hg.Autoencoder(n_components=8, network="linear", random_state=0).fit(X)
pca = PCA(8).fit(X)
span = ae.decoder_[0].weight.detach().numpy()  # (values, 8): its columns span what the decoder can draw
angle = np.degrees(subspace_angles(span, pca.components_.T).max())
ratio = -ae.score(X) / np.square(pca.inverse_transform(pca.transform(X)) - X).mean()
print(f"largest angle {angle:.2f} degrees, mean squared error {ratio:.5f} times PCA's")
"""

_COMPARED = (2, 8, 32)
_FEW = (2, 32)  # of a first look
_WIDTHS = (1, 2, 4, 8, 16, 32, 64)


def _experiment(lab: Laboratory) -> Findings:
    train, test = rows_of(lab.dataset.train.images), rows_of(lab.dataset.test.images)
    varied = PrincipalComponents(max(_WIDTHS)).fit(train).pca.explained_variance_
    rank = int((varied > 1e-6 * varied[0]).sum())  # beyond it, directions are arbitrary
    widths = [width for width in (_FEW if lab.quick else _WIDTHS) if width <= min(rank, train.shape[1] - 1)] or [1]
    spans: dict[int, dict[str, float]] = {}
    errors: dict[str, list[tuple[float, float]]] = {"PCA": [], "linear autoencoder": [], "nonlinear autoencoder": []}
    for k in widths:
        pca = PrincipalComponents(k).fit(train)
        linear, seconds = lab.fit(Autoencoder(k, network="linear"), train, name=f"linear, {k}")
        nonlinear, _ = lab.fit(Autoencoder(k, epochs=lab.passes(8, 15)), lab.dataset.train.images, name=f"nonlinear, {k}")
        errors["PCA"].append((k, squared_error(pca.reconstruct(test), test)))
        errors["linear autoencoder"].append((k, squared_error(linear.reconstruct(test).clip(0, 1), test)))
        made = nonlinear.reconstruct(lab.dataset.test.images)
        errors["nonlinear autoencoder"].append((k, squared_error(made, lab.dataset.test.images)))
        if k in _COMPARED or len(widths) == 1:
            best = squared_error(pca.pca.inverse_transform(pca.transform(train)), train)
            spans[k] = {"angle": largest_angle(linear, pca), "ratio": -linear.score(train) / best, "seconds": seconds}
    worst = {name: max(found[name] for found in spans.values()) for name in ("angle", "ratio")}
    return Findings(
        run=(
            f'`network="linear"` on the {len(train):,} training images, for {len(widths)} widths k of the code, by '
            "gradient descent on the mean squared error alone: no eigenvectors and no singular values are computed. "
            + ("Each step sees all images. " if train.shape[1] <= FullBatch.MAX_VALUES else "")
            + "Beside it scikit-learn's PCA, and the chapter's nonlinear network with the same k."
        ),
        shown=[
            Table(
                "Trained by gradients, against PCA, on the training images: the largest principal angle between the two "
                "subspaces, and the mean squared error as a multiple of PCA's, which none can be below.",
                ["k", "largest angle", "error, × PCA's", "seconds"],
                [[str(k), f"{f['angle']:.3f}°", f"{f['ratio']:.6f}", f"{f['seconds']:.0f}"] for k, f in spans.items()],
            ),
            Picture(
                "linear",
                curves(errors, "numbers in the code, k", "mean squared error, test images", log=(True, True)),
                "What nonlinearity buys: error on the test images over the width of the code. Reconstructions are clipped "
                "to 0..1.",
            ),
        ],
        meaning=_meaning(worst, errors),
        numbers={"spans": spans, "errors": errors},
    )


def _meaning(worst: dict[str, float], errors: dict[str, list[tuple[float, float]]]) -> str:
    gains = {int(k): pca / ours for (k, pca), (_, ours) in zip(errors["PCA"], errors["nonlinear autoencoder"], strict=True)}
    k_best = max(gains, key=lambda k: gains[k])
    lost = [str(k) for k, gain in gains.items() if gain <= 1]
    agree = worst["angle"] <= 1 and worst["ratio"] <= 1.001
    verdict = (
        "The two subspaces agree: the largest angle is"
        if agree
        else ("The two subspaces do not agree in all: the largest angle is")
    )
    bought = (
        f"Nonlinear layers buy most at k = {k_best}, where PCA's error is {gains[k_best]:.2f} times theirs."
        if gains[k_best] > 1
        else "Nonlinear layers bought nothing here."
    )
    behind = f"At k = {', '.join(lost)} the nonlinear network, trained as it was, is no better than PCA."
    return (
        f"{verdict} {worst['angle']:.2f} degrees, and the errors differ by {abs(worst['ratio'] - 1):.1e} of PCA's at most. "
        "The numbers of the code are not the principal components themselves: any invertible mix of them spans the same "
        f"subspace and costs the same, so training has no reason to choose the ordered, perpendicular ones.\n\n{bought} "
        f"{behind if lost else 'They are ahead at every width that was tried.'}"
    )


LINEAR = Topic("linear", "A linear autoencoder spans the principal subspace", _CLAIM, _EXAMPLE, _experiment)
