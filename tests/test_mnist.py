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


def test_a_detector_tells_eights_from_the_rest(mnist: hg.Dataset) -> None:
    """The hardest digit; all ten are measured by `hourglass evaluate --suite uses`."""
    from sklearn.metrics import roc_auc_score

    detector = hg.AnomalyDetector(random_state=2).fit(mnist.train.images[mnist.train.labels == 8])
    assert roc_auc_score(mnist.test.labels != 8, -detector.score_samples(mnist.test.images)) >= 0.93
