"""The promises on the real MNIST, as the README states them. The slower presets are measured by `make results`."""

from __future__ import annotations

import numpy as np
import pytest

import hourglass as hg
from hourglass.evaluation.suites import BARS

pytestmark = pytest.mark.mnist


@pytest.mark.parametrize("preset", ["chapter", "default"])
def test_presets_reach_their_bars(preset: str, mnist: hg.Dataset) -> None:
    model = hg.Denoiser(preset=preset, random_state=1).fit(mnist.train.images)
    noisy = hg.GaussianNoise(mean=0.5, std=0.4)(mnist.test.images, 2)
    clean = hg.to_float(mnist.test.images)
    assert np.square(noisy - clean).mean() == pytest.approx(0.3085, abs=0.002)
    assert np.square(model.transform(noisy) - clean).mean() <= BARS[preset]


def test_linear_autoencoder_spans_the_principal_subspace(mnist: hg.Dataset) -> None:
    from scipy.linalg import subspace_angles
    from sklearn.decomposition import PCA

    flat = mnist.train.images.reshape(60_000, -1) / np.float32(255)
    model = hg.Autoencoder(32, network="linear", random_state=1).fit(flat)
    pca = PCA(32, svd_solver="covariance_eigh").fit(flat)
    best = np.square(pca.inverse_transform(pca.transform(flat)) - flat, dtype=np.float64).mean()
    span = model.decoder_[0].weight.detach().cpu().numpy()
    assert np.degrees(subspace_angles(span, pca.components_.T).max()) <= 1
    assert -model.score(flat) <= 1.001 * best


def test_a_detector_tells_eights_from_the_rest(mnist: hg.Dataset) -> None:
    """The hardest digit; all ten are measured by `hourglass evaluate --suite uses`."""
    from sklearn.metrics import roc_auc_score

    detector = hg.AnomalyDetector(random_state=2).fit(mnist.train.images[mnist.train.labels == 8])
    assert roc_auc_score(mnist.test.labels != 8, -detector.score_samples(mnist.test.images)) >= 0.93
