"""What codes are like: which subspace they span, how sparse and how smooth they are, and whether they part the classes."""

from __future__ import annotations

import math
from typing import Any, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray

from hourglass.estimators import Autoencoder
from hourglass.evaluation.baselines import PrincipalComponents
from hourglass.images import Array, Float32
from hourglass.objectives import Contractive, Output


def largest_angle(model: Autoencoder, pca: PrincipalComponents) -> float:
    """The largest principal angle, in degrees, between what a linear decoder spans and the principal subspace.

    (Björck and Golub 1973.) 0 where the two are the same, 90 where a direction of one is missing in the other.
    """
    from scipy.linalg import subspace_angles

    spanned = model.network_.decoder[0].weight.detach().cpu().numpy()  # type: ignore[index]  # a Sequential, in network="linear"
    return float(np.degrees(subspace_angles(spanned.astype(np.float64), pca.pca.components_.T.astype(np.float64)).max()))


def near_zero(codes: Float32, share: float = 0.1) -> float:
    """The share of numbers that are no larger than `share` of the root mean square of all: 0..1."""
    return float((np.abs(codes) <= share * np.sqrt(np.square(codes).mean())).mean())


def jacobian_norm(model: Autoencoder, images: Array) -> float:
    """The root mean square over `images` of ‖∂y/∂x‖, the Frobenius norm of the encoder's Jacobian, x in the network's units."""
    device = next(model.network_.parameters()).device
    inputs = torch.from_numpy(model.sample_.to_network(images)).to(device).requires_grad_()
    output = Output(inputs, model.encoder_(inputs), inputs=inputs)
    return math.sqrt(float(Contractive(1.0, n_probes=0)(output).detach()))


class ClusterQuality(TypedDict):
    """How well codes part the classes, all in 0..1: of k-means clusters their purity and normalised mutual information with
    the labels, and the accuracy of 5 nearest neighbours.
    """

    purity: float
    nmi: float
    accuracy: float


def cluster_quality(known: Float32, labels: NDArray[Any], asked: Float32, answers: NDArray[Any], seed: int) -> ClusterQuality:
    """Fit k-means and 5 nearest neighbours on `known` codes (n, d), and measure both on `asked` codes (m, d).

    k-means is told how many classes there are, and no label. Purity is the share of codes whose cluster's commonest label is
    theirs (Manning et al. 2008, chapter 16).
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import normalized_mutual_info_score
    from sklearn.metrics.cluster import contingency_matrix
    from sklearn.neighbors import KNeighborsClassifier

    clusters = KMeans(len(np.unique(labels)), n_init=4, random_state=seed).fit(known).predict(asked)
    return ClusterQuality(
        purity=float(contingency_matrix(answers, clusters).max(axis=0).sum() / len(asked)),
        nmi=float(normalized_mutual_info_score(answers, clusters)),
        accuracy=float(KNeighborsClassifier(5).fit(known, labels).score(asked, answers)),
    )
