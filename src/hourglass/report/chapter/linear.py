"""Section 2: a linear autoencoder spans the principal subspace."""

from __future__ import annotations

from hourglass.estimators import Autoencoder
from hourglass.evaluation import squared_error
from hourglass.evaluation.baselines import PrincipalComponents
from hourglass.evaluation.codes import largest_angle
from hourglass.report.chapter.laboratory import Findings, Laboratory, Topic, flatten
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
span = ae.decoder_[0].weight.detach().cpu().numpy()  # (values, 8): its columns span what the decoder can draw
angle = np.degrees(subspace_angles(span, pca.components_.T).max())
ratio = -ae.score(X) / np.square(pca.inverse_transform(pca.transform(X)) - X).mean()
print(f"largest angle {angle:.2f} degrees, mean squared error {ratio:.5f} times PCA's")
"""

_COMPARED = (2, 8, 32)
_QUICK_WIDTHS = (2, 32)
_WIDTHS = (1, 2, 4, 8, 16, 32, 64)


def _experiment(lab: Laboratory) -> Findings:
    train, test = flatten(lab.dataset.train.images), flatten(lab.dataset.test.images)
    variances = PrincipalComponents(max(_WIDTHS)).fit(train).pca.explained_variance_
    rank = int((variances > 1e-6 * variances[0]).sum())  # beyond it, directions are arbitrary
    candidates = _QUICK_WIDTHS if lab.quick else _WIDTHS
    widths = [width for width in candidates if width <= min(rank, train.shape[1] - 1)] or [1]
    spans: dict[int, dict[str, float]] = {}
    errors: dict[str, list[tuple[float, float]]] = {"PCA": [], "linear autoencoder": [], "nonlinear autoencoder": []}
    for k in widths:
        pca = PrincipalComponents(k).fit(train)
        linear, seconds = lab.fit(Autoencoder(k, network="linear"), train, name=f"linear, {k}")
        nonlinear, _ = lab.fit(Autoencoder(k, epochs=lab.epochs(8, 15)), lab.dataset.train.images, name=f"nonlinear, {k}")
        errors["PCA"].append((k, squared_error(pca.reconstruct(test), test)))
        errors["linear autoencoder"].append((k, squared_error(linear.reconstruct(test).clip(0, 1), test)))
        reconstructions = nonlinear.reconstruct(lab.dataset.test.images)
        errors["nonlinear autoencoder"].append((k, squared_error(reconstructions, lab.dataset.test.images)))
        if k in _COMPARED or len(widths) == 1:
            best = squared_error(pca.pca.inverse_transform(pca.transform(train)), train)
            spans[k] = {"angle": largest_angle(linear, pca), "ratio": -linear.score(train) / best, "seconds": seconds}
    worst = {name: max(result[name] for result in spans.values()) for name in ("angle", "ratio")}
    return Findings(
        run=(
            f'`network="linear"` on the {len(train):,} training images, for {len(widths)} numbers k of latent dimensions, by '
            "gradient descent on the mean squared error alone: no eigenvectors or singular values are computed. "
            + ("Each step uses the full batch. " if train.shape[1] <= FullBatch.MAX_VALUES else "")
            + "The baselines are scikit-learn's PCA, and the chapter's nonlinear network with the same k."
        ),
        shown=[
            Table(
                "Gradient descent compared with PCA on the training images: the largest principal angle between the two "
                "subspaces, and the mean squared error as a multiple of PCA's, which is the minimum.",
                ["k", "largest angle", "error, × PCA's", "seconds"],
                [[str(k), f"{f['angle']:.3f}°", f"{f['ratio']:.6f}", f"{f['seconds']:.0f}"] for k, f in spans.items()],
            ),
            Picture(
                "linear",
                curves(errors, "latent dimensions, k", "mean squared error, test images", log=(True, True)),
                "The gain from nonlinearity: error on the test images over the number of latent dimensions. Reconstructions "
                "are clipped to 0..1.",
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
    verdict = f"The two subspaces {'agree' if agree else 'do not fully agree'}: the largest angle is"
    gain = (
        f"Nonlinear layers help most at k = {k_best}, where PCA's error is {gains[k_best]:.2f} times theirs."
        if gains[k_best] > 1
        else "Nonlinear layers do not help here."
    )
    behind = f"At k = {', '.join(lost)} the nonlinear network, as it was trained, is no better than PCA."
    return (
        f"{verdict} {worst['angle']:.2f} degrees, and the errors differ by {abs(worst['ratio'] - 1):.1e} of PCA's at most. "
        "The latent dimensions are not the principal components themselves: any invertible linear map of them spans the same "
        f"subspace with the same error, so training does not prefer the ordered, orthogonal ones.\n\n{gain} "
        f"{behind if lost else 'They are better at every k.'}"
    )


LINEAR = Topic("linear", "A linear autoencoder spans the principal subspace", _CLAIM, _EXAMPLE, _experiment)
