"""Metrics of codes: the subspace they span, sparsity, smoothness, and separation of the classes."""

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
    """Return the largest principal angle in degrees between the span of a linear decoder and the principal subspace.

    The angle is 0 for equal subspaces and 90 if a direction of one is missing in the other (Björck and Golub 1973).
    """
    from scipy.linalg import subspace_angles

    basis = model.network_.decoder[0].weight.detach().cpu().numpy()  # type: ignore[index]  # a Sequential, in network="linear"
    return float(np.degrees(subspace_angles(basis.astype(np.float64), pca.pca.components_.T.astype(np.float64)).max()))


def near_zero(codes: Float32, share: float = 0.1) -> float:
    """Return the share of values with a magnitude of at most `share` times the root mean square of all, in 0..1."""
    return float((np.abs(codes) <= share * np.sqrt(np.square(codes).mean())).mean())


def jacobian_norm(model: Autoencoder, images: Array) -> float:
    """Return the RMS over `images` of ‖∂y/∂x‖, the Frobenius norm of the encoder's Jacobian, x being the network's input."""
    device = next(model.network_.parameters()).device
    inputs = torch.from_numpy(model.sample_.to_network(images)).to(device).requires_grad_()
    output = Output(inputs, model.encoder_(inputs), inputs=inputs)
    return math.sqrt(float(Contractive(1.0, n_probes=0)(output).detach()))


class ClusterQuality(TypedDict):
    """Separation of the classes by codes, all in 0..1.

    Purity and normalised mutual information of k-means clusters, and the accuracy of 5 nearest neighbours.
    """

    purity: float
    nmi: float
    accuracy: float


def cluster_quality(
    train_codes: Float32, train_labels: NDArray[Any], test_codes: Float32, test_labels: NDArray[Any], seed: int
) -> ClusterQuality:
    """Fit k-means and 5 nearest neighbours on `train_codes` (n, d), and evaluate both on `test_codes` (m, d).

    k-means gets the number of classes but no labels. Purity is the share of codes with the most frequent label of their cluster
    (Manning et al. 2008, chapter 16).
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import normalized_mutual_info_score
    from sklearn.metrics.cluster import contingency_matrix
    from sklearn.neighbors import KNeighborsClassifier

    clusters = KMeans(len(np.unique(train_labels)), n_init=4, random_state=seed).fit(train_codes).predict(test_codes)
    return ClusterQuality(
        purity=float(contingency_matrix(test_labels, clusters).max(axis=0).sum() / len(test_codes)),
        nmi=float(normalized_mutual_info_score(test_labels, clusters)),
        accuracy=float(KNeighborsClassifier(5).fit(train_codes, train_labels).score(test_codes, test_labels)),
    )
