"""How well error maps locate defects, where masks are known: pixel AUROC and per-region overlap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import label
from sklearn.metrics import roc_auc_score

from hourglass.errors import DataError
from hourglass.images import Array, Float32

_NEIGHBOURS = np.ones((3, 3))  # pixels that touch at a corner belong together


def pixel_auroc(maps: Sequence[Array], masks: Sequence[Array]) -> float:
    """AUROC of all pixels of all images: those of defects against all others.

    Parameters
    ----------
    maps : sequence of ndarray (h, w)
        Greater where an image is unusual; of another size than its mask it is resized to it (bilinear).
    masks : sequence of ndarray (h, w), bool
        True where there is a defect.

    Raises
    ------
    DataError
        If maps and masks differ in number, or no pixel, or every one, is of a defect.

    Examples
    --------
    >>> import numpy as np
    >>> mask = np.eye(4, dtype=bool)
    >>> pixel_auroc([mask + 0.5], [mask])
    1.0
    """
    scores, regions = _pixels(maps, masks)
    return float(roc_auc_score(regions > 0, scores))


def per_region_overlap(maps: Sequence[Array], masks: Sequence[Array], limit: float = 0.3) -> float:
    """Area under the per-region overlap (PRO) up to a false positive rate of `limit`, in 0..1 (Bergmann et al. 2021).

    The overlap at a threshold is the share of a region that lies above it, averaged over all connected regions of all masks,
    so that a small defect counts as much as a large one. The false positive rate is that of pixels without defects.

    Parameters
    ----------
    maps, masks : sequence of ndarray (h, w)
        As for `pixel_auroc`.
    limit : float in (0, 1]

    Raises
    ------
    DataError
        As for `pixel_auroc`.

    Examples
    --------
    >>> import numpy as np
    >>> mask = np.eye(4, dtype=bool)
    >>> per_region_overlap([mask + 0.5], [mask])
    1.0
    """
    scores, regions = _pixels(maps, masks)
    areas = np.bincount(regions)
    shares = 1 / areas / (len(areas) - 1)  # of the overlap, which each pixel of a region adds
    order = np.argsort(-scores)
    is_last = np.append(np.diff(scores[order]) != 0, True)  # equal scores lie above a threshold together
    within = regions[order]
    overlaps = np.append(0, np.cumsum(np.where(within > 0, shares[within], 0))[is_last])
    rates = np.append(0, np.cumsum(within == 0)[is_last] / areas[0])
    at_limit = np.interp(limit, rates, overlaps)
    is_below = rates < limit
    return float(np.trapezoid(np.append(overlaps[is_below], at_limit), np.append(rates[is_below], limit)) / limit)


def _pixels(maps: Sequence[Array], masks: Sequence[Array]) -> tuple[Float32, NDArray[np.int64]]:
    """(scores, numbers of regions) of all pixels: 0 where there is no defect."""
    if len(maps) != len(masks):
        raise DataError(f"{len(maps)} maps and {len(masks)} masks: each map needs a mask.")
    numbers, count = [], 0
    for mask in masks:
        found, n_found = label(np.asarray(mask, dtype=bool), structure=_NEIGHBOURS)
        numbers.append(np.where(found > 0, found + count, 0).ravel())
        count += n_found
    regions = np.concatenate([*numbers, np.zeros(0, np.int64)]).astype(np.int64)
    if not count or regions.all():
        raise DataError("masks must show pixels with defects and pixels without.")
    return np.concatenate([_resized(one, mask.shape).ravel() for one, mask in zip(maps, masks, strict=True)]), regions


def _resized(errors: Array, size: tuple[int, ...]) -> Float32:
    values = errors.astype(np.float32)
    if values.shape == size:
        return values
    return np.asarray(Image.fromarray(values).resize((size[1], size[0]), Image.Resampling.BILINEAR))
