"""Plots on the user's axes, and what notebooks show of estimators and data sets."""

from __future__ import annotations

import base64
import io
import re

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from sklearn import config_context
from sklearn.metrics import roc_auc_score

import hourglass as hg
from hourglass import plot

DIGITS = hg.load("digits").train


@pytest.fixture
def ax() -> Axes:
    return Figure().subplots()


@pytest.fixture(scope="module")
def plane() -> hg.Autoencoder:
    return hg.Autoencoder(2, epochs=2, random_state=0).fit(DIGITS.images)


def names(ax: Axes) -> list[str]:
    return ax.get_legend_handles_labels()[1]


def test_rows_of_images(ax: Axes) -> None:
    photos = [photo[: 90 + 10 * row] for row, photo in enumerate(hg.load("sample-photos").train.images)]
    assert plot.reconstructions({"photos": photos, "halves": [photo / np.float32(510) for photo in photos]}, n=2, ax=ax) is ax
    assert len(ax.images) == 4
    assert [text.get_text() for text in ax.texts] == ["photos", "halves"]
    left, right, bottom, top = ax.images[0].get_extent()
    assert (top - bottom) / (right - left) == pytest.approx(photos[0].shape[0] / photos[0].shape[1])
    assert ax.images[3].get_extent()[3] < -0.5  # the second row lies below the first


def test_maps_of_errors(ax: Axes) -> None:
    images = DIGITS.images[:3]
    maps = np.zeros(images.shape, np.float32)
    maps[1, 2:4, 2:4] = 0.5
    plot.error_maps(images, maps, ax=ax)
    marked = np.asarray(ax.images[4].get_array())  # the second of the second row
    assert tuple(marked[3, 3]) == (255, 26, 0)
    assert (marked[7] == marked[7, :, :1]).all()  # grey elsewhere
    with pytest.raises(hg.DataError, match="3 images and 2 maps"):
        plot.error_maps(images, maps[:2])


def test_learning_curves(ax: Axes, plane: hg.Autoencoder) -> None:
    plot.learning_curve(plane, name="two dimensions", ax=ax)
    assert names(ax) == ["two dimensions, validation", "two dimensions, training"]
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), [row["validation_loss"] for row in plane.history_])
    linear = hg.Autoencoder(2, network="linear", epochs=2, random_state=0).fit(DIGITS.images)  # holds nothing out
    plot.learning_curve(linear.history_, ax=ax)
    assert names(ax)[2:] == ["training"]


def test_codes_in_the_plane(ax: Axes, plane: hg.Autoencoder) -> None:
    codes = plane.transform(DIGITS.images)
    plot.latent_map(codes, DIGITS.labels, ax=ax)
    assert [text.get_text() for text in ax.texts] == [str(digit) for digit in range(10)]
    assert sum(len(np.asarray(points.get_offsets())) for points in ax.collections) == len(codes)
    other = plot.latent_map(codes)  # axes of its own
    assert other is not ax
    assert len(other.collections) == 1
    for wrong, words in ((codes[:, :1], r"codes of shape \(\d+, 1\)"), (codes[0], "codes of shape")):
        with pytest.raises(hg.DataError, match=words):
            plot.latent_map(wrong)
    with pytest.raises(hg.DataError, match="and 3 labels"):
        plot.latent_map(codes, [1, 2, 3])


def test_a_manifold_has_its_codes_where_they_are(ax: Axes) -> None:
    codes = np.random.default_rng(0).uniform(size=(500, 2))

    def decode(grid: np.ndarray) -> np.ndarray:
        return np.broadcast_to(grid[:, 1].clip(0, 1)[:, None, None], (len(grid), 4, 4)).astype(np.float32)

    plot.manifold(decode, codes, n=5, ax=ax)
    shown = np.asarray(ax.images[0].get_array())
    assert shown.shape == (20, 20)
    assert shown[0, 0] > 240  # high codes above
    assert shown[-1, 0] < 15
    assert ax.get_xlim()[0] == pytest.approx(np.quantile(codes[:, 0], 0.02))
    with pytest.raises(hg.DataError, match="a manifold is drawn for codes"):
        plot.manifold(decode, np.zeros((3, 4)))


def test_scores_rates_and_spectra(ax: Axes, plane: hg.Autoencoder) -> None:
    rng = np.random.default_rng(0)
    normal, strange = rng.normal(size=300), rng.normal(2, 1, 100)
    plot.scores(strange, normal, 1.5, ax=ax)
    assert names(ax) == ["normal images", "these images", "threshold"]
    truth = np.repeat([0, 1], [300, 100])
    drawn = plot.roc(truth, np.concatenate([normal, strange]), name="detector")
    area = roc_auc_score(truth, np.concatenate([normal, strange]))
    legend = drawn.get_legend()
    assert legend is not None
    assert f"{area:.2f}" in legend.get_texts()[0].get_text()
    curve = plot.rate_distortion([(40, 0.01), (10, 0.1), (90, 0.0)], name="ours", color="black")
    points = np.asarray(curve.lines[0].get_xydata())  # bytes and dB, in order; lossless is none
    np.testing.assert_allclose(points, [(10, 10), (40, 20)])
    shares = np.asarray(plot.spectrum(DIGITS.images, name="pixels").lines[0].get_ydata())
    assert (np.diff(shares) >= -1e-12).all()
    assert shares[-1] == pytest.approx(1)
    expected = np.linalg.svd(DIGITS.images.reshape(len(DIGITS.images), -1) / 255.0 - (DIGITS.images / 255.0).mean(0).ravel())[1]
    assert shares[3] == pytest.approx((expected[:4] ** 2).sum() / (expected**2).sum(), rel=1e-5)
    assert len(np.asarray(plot.spectrum(plane.transform(DIGITS.images)).lines[0].get_ydata())) == 2
    with pytest.raises(hg.DataError, match="no variance"):
        plot.spectrum(np.ones((5, 3)))


def test_a_notebook_shows_what_was_learned(plane: hg.Autoencoder) -> None:
    before = hg.Autoencoder(2)._repr_html_()
    assert "svg" in before or "sk-" in before  # scikit-learn's diagram alone
    assert "The layers of the network" not in before
    for shown in (plane._repr_html_(), plane._repr_mimebundle_()["text/html"]):
        assert "The layers of the network" in shown
        assert "Loss over epochs" in shown
        assert "learning_rate" in shown
    ids = re.findall(r'\bid="([^"]*)"', plane._repr_html_())
    assert len(ids) == len(set(ids))
    with config_context(display="text"):
        assert "text/html" not in plane._repr_mimebundle_()
    surfaces = hg.Autoencoder(4, network="maps", hidden=(8,), crop=8, epochs=1, random_state=0).fit(DIGITS.images)
    assert "samples of" in surfaces._repr_html_()  # of any size: drawn for an example


def test_a_notebook_shows_images() -> None:
    photos = hg.load("sample-photos").train
    for split, count in ((DIGITS, 20), (photos, len(photos))):
        html = split._repr_html_()
        assert html.startswith("<div>&lt;")
        content = re.search(r"base64,([^\"]*)\"", html)
        assert content is not None
        picture = Image.open(io.BytesIO(base64.b64decode(content[1])))
        assert picture.size == (68 * count, 64)
    assert "train" in hg.load("digits")._repr_html_()


def test_nothing_is_left_open() -> None:
    import matplotlib.pyplot as plt

    plt.close("all")
    Figure()
    plot.learning_curve([{"epoch": 1, "loss": 1.0}], ax=Figure().subplots())
    assert plt.get_fignums() == []
    assert mpl.get_backend().lower() == "agg"
