"""Plots on matplotlib axes: each function draws on `ax`, or on axes of a new figure, and returns the axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.ticker import MaxNLocator

from hourglass.errors import DataError
from hourglass.images import Array, Float32, to_float
from hourglass.plot.figures import COLOURS, MUTED
from hourglass.plot.pictures import sheet
from hourglass.runtime import overlay

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_IMAGE_SIZE = 0.95  # relative to a cell
_BINS = 40
_REACH = (0.02, 0.98)  # quantiles of codes between which a manifold is drawn


def reconstructions(rows: Mapping[str, Array | Sequence[Array]], *, n: int = 10, ax: Axes | None = None) -> Axes:
    """Show images in rows with their names on the left, as originals above their reconstructions.

    Parameters
    ----------
    rows : dict of str to sequence of ndarray (h, w) or (h, w, c)
        Images of each row by name, uint8 or float in 0..1; sizes may differ.
    n : int
        Images of each row, at most.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> import hourglass as hg
    >>> images = hg.load("digits").test.images[:5]
    >>> ae = hg.Autoencoder(8, epochs=1, random_state=0).fit(images)
    >>> axes = hg.plot.reconstructions({"original": images, "reconstruction": ae.reconstruct(images)})
    >>> [text.get_text() for text in axes.texts]
    ['original', 'reconstruction']
    """
    ax = _axes(ax)
    most = max(min(n, len(images)) for images in rows.values())
    for line, (name, images) in enumerate(rows.items()):
        for column, image in enumerate(images[:n]):
            draw_image(ax, image, column, -line)
        ax.text(-0.6, -line, name, ha="right", va="center", fontsize=9)
    ax.set(xlim=(-0.5, most - 0.5), ylim=(0.5 - len(rows), 0.5), aspect="equal")
    ax.set_axis_off()
    return ax


def draw_image(ax: Axes, image: Array, column: float, line: float) -> None:
    """Draw an image into the unit square around (column, line), in its proportions; 255 or 1 is white."""
    top = 255 if image.dtype == np.uint8 else 1
    shown = image if image.ndim == 2 or image.shape[2] > 2 else image[..., 0]  # the first of two channels
    longest = max(image.shape[:2])
    width, height = (_IMAGE_SIZE * length / longest for length in (image.shape[1], image.shape[0]))
    extent = (column - width / 2, column + width / 2, line - height / 2, line + height / 2)
    ax.imshow(shown, cmap="gray", vmin=0, vmax=top, interpolation="none", extent=extent)  # unsampled in SVG too


def error_maps(
    images: Array | Sequence[Array],
    maps: Array | Sequence[Array],
    *,
    level: float | None = None,
    n: int = 10,
    ax: Axes | None = None,
) -> Axes:
    """Show images with their error maps in red, as `AnomalyDetector.error_maps` gives them.

    Parameters
    ----------
    images : sequence of ndarray (h, w) or (h, w, c)
        uint8 or float in 0..1.
    maps : sequence of ndarray (h, w)
        In squared units of 0..1.
    level : float, optional
        Errors from here on are drawn in full, as the detector's `map_level_`; by default the largest of all.
    n : int
        Images, at most.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
    """
    if len(images) != len(maps):
        raise DataError(f"{len(images)} images and {len(maps)} maps: each image needs a map.")
    top = max(float(np.max(errors)) for errors in maps) if level is None else level
    pairs = zip(images[:n], maps[:n], strict=True)
    marked = [overlay(image, np.asarray(errors, np.float32), top) for image, errors in pairs]
    return reconstructions({"image": images, "error": marked}, n=n, ax=ax)


def learning_curve(history: Any, *, name: str = "", colour: str = COLOURS[0], ax: Axes | None = None) -> Axes:
    """Plot the training loss, and the validation loss if there is one, over epochs.

    Parameters
    ----------
    history : fitted estimator, or list of dict
        Its `history_`.
    name : str
        Of the run, for the legend.
    colour : str
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
    """
    ax, rows = _axes(ax), getattr(history, "history_", history)
    prefix = f"{name}, " if name else ""
    epochs = [row["epoch"] for row in rows]
    validation = [row.get("validation_loss") for row in rows]
    if any(value is not None for value in validation):
        known = np.array(validation, dtype=float)
        ax.plot(epochs, known, "o-", color=colour, markersize=3.5, label=f"{prefix}validation")
    ax.plot(epochs, [row["loss"] for row in rows], ":", color=colour, linewidth=1, label=f"{prefix}training")
    ax.set(xlabel="epoch", ylabel="loss")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    return _finished(ax)


def latent_map(codes: Array, labels: Any = None, *, ax: Axes | None = None) -> Axes:
    """Plot codes of two dimensions as points, coloured by label, with each label at the median of its points.

    Parameters
    ----------
    codes : ndarray (n, 2)
        Of more dimensions, the first two are shown.
    labels : array-like (n,), optional
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    DataError
        If codes have fewer than two dimensions, or labels are of another number.
    """
    points = np.asarray(codes)
    if points.ndim != 2 or points.shape[1] < 2:
        raise DataError(f"codes of shape {points.shape}; a map needs codes (n, 2).")
    groups = np.zeros(len(points), int) if labels is None else np.asarray(labels)
    if len(groups) != len(points):
        raise DataError(f"{len(points)} codes and {len(groups)} labels.")
    ax, colours = _axes(ax), mpl.colormaps["tab10"]
    size = min(8.0, max(1.0, 8000 / max(len(points), 1)))  # in points²: few are visible and many do not merge
    for index, label in enumerate(np.unique(groups)):
        of_class = points[groups == label]
        ax.scatter(of_class[:, 0], of_class[:, 1], s=size, color=colours(index % 10), linewidths=0, rasterized=True)
        if labels is not None:
            ax.annotate(str(label), np.median(of_class[:, :2], axis=0), fontsize=11, weight="bold", ha="center", va="center")
    ax.set(xticks=[], yticks=[])
    return ax


def manifold(decode: Any, codes: Array, *, n: int = 15, ax: Axes | None = None) -> Axes:
    """Show what a grid of codes decodes to, over the range of `codes`.

    Parameters
    ----------
    decode : fitted estimator, or callable from codes (m, 2) to images (m, h, w) or (m, h, w, c)
        Of an estimator its `inverse_transform`.
    codes : ndarray (k, 2), float
        Codes of images; the grid reaches from their 2nd to their 98th percentile.
    n : int
        Images in a row and in a column.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
    """
    points = np.asarray(codes)
    if points.ndim != 2 or points.shape[1] != 2:
        raise DataError(f"codes of shape {points.shape}; a manifold is drawn for codes (n, 2).")
    images_of: Callable[[Float32], Array] = getattr(decode, "inverse_transform", decode)
    (left, bottom), (right, top) = np.quantile(points, _REACH, axis=0)
    across, up = np.linspace(left, right, n), np.linspace(bottom, top, n)
    grid = np.stack(np.meshgrid(across, up[::-1]), axis=2).reshape(-1, 2).astype(np.float32)  # the first row is the top one
    ax = _axes(ax)
    canvas = sheet(images_of(grid), n, gap=0)
    ax.imshow(canvas, cmap="gray", vmin=0, vmax=255, extent=(left, right, bottom, top), aspect="auto", interpolation="nearest")
    ax.set(xlabel="first latent dimension", ylabel="second latent dimension")
    return ax


def rate_distortion(points: Sequence[tuple[float, float]], *, name: str = "", ax: Axes | None = None, **line: Any) -> Axes:
    """Plot PSNR in dB over bytes per image.

    Parameters
    ----------
    points : sequence of (bytes per image, mean squared error in squared units of 0..1)
    name : str
        For the legend.
    ax : matplotlib Axes, optional
    **line : keyword arguments of `Axes.plot`

    Returns
    -------
    matplotlib Axes
    """
    ax = _axes(ax)
    lossy = sorted((size, -10 * np.log10(error)) for size, error in points if error > 0)
    style: dict[str, Any] = {"marker": "o", "markersize": 4, "label": name or None}
    ax.plot([size for size, _ in lossy], [quality for _, quality in lossy], **style | line)
    ax.set(xlabel="bytes per image", ylabel="PSNR, dB", xscale="log")
    return _finished(ax)


def scores(given: Array, normal: Array, threshold: float = 0.0, *, ax: Axes | None = None) -> Axes:
    """Histograms of anomaly scores and of those of normal samples, as shares, with the threshold.

    Parameters
    ----------
    given, normal : ndarray (n,), (m,)
        Greater is more anomalous, as minus `decision_function`. The farthest scores count in the outermost bars.
    threshold : float
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
    """
    ax = _axes(ax)
    low, high = np.quantile(np.concatenate([given, normal, [threshold]]), [0.001, 0.999])
    bins = np.linspace(min(low, threshold), max(high, threshold, low + 1e-9), _BINS + 1)
    for name, values, colour in (("normal images", normal, COLOURS[0]), ("these images", given, COLOURS[1])):
        shares = np.full(len(values), 1 / len(values))
        ax.hist(values.clip(bins[0], bins[-1]), bins.tolist(), weights=shares, label=name, color=colour, alpha=0.55)
    ax.axvline(threshold, color=MUTED, linestyle="--", label="threshold")
    ax.set(xlabel="anomaly score", ylabel="share of images")
    return _finished(ax)


def roc(is_anomaly: Array, given: Array, *, name: str | None = None, ax: Axes | None = None) -> Axes:
    """Receiver operating characteristic of anomaly scores, by scikit-learn's `RocCurveDisplay`.

    Parameters
    ----------
    is_anomaly : array-like (n,), bool
    given : array-like (n,)
        Scores, greater for anomalies, as minus `decision_function`.
    name : str, optional
        For the legend.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
    """
    from sklearn.metrics import RocCurveDisplay

    drawn: Axes = RocCurveDisplay.from_predictions(is_anomaly, given, name=name, ax=_axes(ax)).ax_
    return drawn


def spectrum(samples: Array, *, name: str = "", ax: Axes | None = None) -> Axes:
    """Share of the variance that the first principal components of samples or codes explain together.

    Parameters
    ----------
    samples : ndarray (n, ...)
        Codes (n, d), or images, whose pixels are taken as features.
    name : str
        For the legend.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
    """
    images = np.asarray(samples)
    values = (to_float(images) if images.ndim > 2 else images).reshape(len(images), -1).astype(np.float64)
    variances = np.linalg.eigvalsh(np.atleast_2d(np.cov(values, rowvar=False)))[::-1].clip(0)
    if not variances.any():
        raise DataError("all samples are equal; there is no variance to show.")
    ax = _axes(ax)
    shares = np.cumsum(variances) / variances.sum()
    ax.plot(np.arange(1, len(shares) + 1), shares, "o-" if len(shares) < _BINS else "-", markersize=3.5, label=name or None)
    ax.set(xlabel="principal components", ylabel="share of the variance", ylim=(0, 1.02))
    return _finished(ax)


def _axes(ax: Axes | None) -> Axes:
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt  # the only way to a figure that a notebook shows by itself

    drawn: Axes = plt.subplots(layout="constrained")[1]
    return drawn


def _finished(ax: Axes) -> Axes:
    """Without two of the spines, with a legend if something is named."""
    ax.spines[["top", "right"]].set_visible(False)
    if ax.get_legend_handles_labels()[1]:
        ax.legend(frameon=False, fontsize=8)
    return ax
