"""Detection of defects on surfaces, beside baselines, on magnetic tiles (Huang et al. 2018)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from hourglass.anomaly import Scores
from hourglass.errors import DataError
from hourglass.estimators import AnomalyDetector
from hourglass.evaluation.tables import table_lines
from hourglass.images import Array, Float32, to_float, with_channels
from hourglass.training import Callback

_SHARE = 0.8  # of the good ones, in the order of their names, to train on
_SIDE = 64  # pixels, for the baselines
_VARIANCE = 0.9  # kept by PCA


class Surfaces(NamedTuple):
    """Grey images of several sizes: good ones to train on, good ones to test on, and faulty ones by kind."""

    normal: list[Array]
    good: list[Array]
    faulty: dict[str, list[Array]]


@dataclass(frozen=True)
class SurfaceResult:
    """The figures of a method.

    Attributes
    ----------
    name : str
    auroc : float
        Of all faulty images against the good ones.
    by_kind : dict of str to float
        AUROC of each kind of fault.
    false_positives, asked : float, optional
        Share of good test images that it takes for faulty, and the rate that it was asked for.
    minutes : float, optional
        Of training.
    """

    name: str
    auroc: float
    by_kind: dict[str, float]
    false_positives: float | None = None
    asked: float | None = None
    minutes: float | None = None


def magnetic_tiles() -> Surfaces:
    """The folder magnetic-tile in HOURGLASS_DATA, in original sizes: the first 80 % of good/, by name, train.

    Raises
    ------
    DataError
        If there is no such folder.
    """
    from hourglass.data import load

    folder = Path(os.environ.get("HOURGLASS_DATA", "")) / "magnetic-tile"
    if not (folder / "good").is_dir():
        raise DataError("the suite needs HOURGLASS_DATA to name a folder that holds magnetic-tile/ with good/ and others.")

    def images(kind: str) -> list[Array]:
        return [with_channels(image[None], image.shape[:2])[0] for image in load(folder / kind).train.images]

    good = images("good")
    n_trained = int(_SHARE * len(good))
    kinds = sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name != "good")
    return Surfaces(good[:n_trained], good[n_trained:], {kind: images(kind) for kind in kinds})


Scorer = Callable[[Sequence[Array]], Scores]
"""Scores of images, greater for faulty ones."""


def _small(images: Sequence[Array]) -> Float32:
    """Images as rows of 64 × 64 pixels, each standardised by its own mean and deviation."""
    resized = [Image.fromarray(image).resize((_SIDE, _SIDE), Image.Resampling.LANCZOS) for image in images]
    rows = to_float(np.stack([np.asarray(image) for image in resized])).reshape(len(images), -1)
    standardised: Float32 = (rows - rows.mean(1, keepdims=True)) / (rows.std(1, keepdims=True) + 1e-3)
    return standardised


def _residual(normal: Sequence[Array]) -> Scorer:
    from sklearn.decomposition import PCA

    pca = PCA(_VARIANCE).fit(_small(normal))

    def score(images: Sequence[Array]) -> Scores:
        rows = _small(images)
        residuals: Scores = np.square(rows - pca.inverse_transform(pca.transform(rows)), dtype=np.float64).mean(1)
        return residuals

    return score


def _neighbours(normal: Sequence[Array], count: int) -> Scorer:
    from sklearn.neighbors import NearestNeighbors

    reference = NearestNeighbors(n_neighbors=count).fit(_small(normal))
    return lambda images: np.asarray(reference.kneighbors(_small(images))[0][:, -1], dtype=np.float64)


BASELINES: dict[str, Callable[[Sequence[Array]], Scorer]] = {
    "PCA residual": _residual,
    "5-NN distance": partial(_neighbours, count=5),
    "1-NN distance": partial(_neighbours, count=1),
}


def measure_surfaces(
    surfaces: Surfaces, seed: int, device: str = "auto", callbacks: Sequence[Callback] = ()
) -> tuple[list[SurfaceResult], AnomalyDetector]:
    """(figures, the detector): train a detector and the baselines on normal images, and score good and faulty ones."""
    from sklearn.metrics import roc_auc_score

    start = time.perf_counter()
    detector = AnomalyDetector(random_state=seed, device=device).fit(surfaces.normal, callbacks=callbacks)
    minutes = (time.perf_counter() - start) / 60
    sets = [surfaces.good, *surfaces.faulty.values()]
    evidence = [detector.evidence_scores(images) for images in sets]

    def result(name: str, scores: Sequence[Scores], **other: float) -> SurfaceResult:
        good, *faulty = scores
        areas = [
            float(roc_auc_score(np.repeat([0, 1], [len(good), len(given)]), np.concatenate([good, given])))
            for given in (np.concatenate(faulty), *faulty)
        ]
        return SurfaceResult(name, areas[0], dict(zip(surfaces.faulty, areas[1:], strict=True)), **other)

    combined = [scores @ detector.weights_ for scores in evidence]
    wrong = float((combined[0] > -detector.offset_).mean())
    results = [result("AnomalyDetector", combined, false_positives=wrong, asked=1 - detector.quantile, minutes=minutes)]
    for column, name in enumerate(detector.evidence_):
        results.append(result(f"its {name} alone", [scores[:, column] for scores in evidence]))
    for name, fitted in BASELINES.items():
        score = fitted(surfaces.normal)
        results.append(result(name, [score(images) for images in sets]))
    return results, detector


def surfaces_table(results: Sequence[SurfaceResult]) -> tuple[list[str], list[list[str]]]:
    """Return (headings, rows of formatted cells)."""
    kinds = list(results[0].by_kind)
    asked = results[0].asked or 0.0
    headings = ["", "all faults", *kinds, f"false positives, asked {asked:.2g}", "min to train"]
    rows = [
        [
            result.name,
            f"{result.auroc:.3f}",
            *(f"{result.by_kind[kind]:.3f}" for kind in kinds),
            "" if result.false_positives is None else f"{result.false_positives:.3f}",
            "" if result.minutes is None else f"{result.minutes:.1f}",
        ]
        for result in results
    ]
    return headings, rows


def surfaces_content(results: Sequence[SurfaceResult], command: str, seed: int, machine: dict[str, Any]) -> dict[str, Any]:
    """Return all results as JSON."""
    return {"command": command, "seed": seed, "machine": machine, "methods": [asdict(result) for result in results]}


def surfaces_page(results: Sequence[SurfaceResult], surfaces: Surfaces, command: str, machine: dict[str, Any]) -> str:
    """Return all results as a page of Markdown."""
    versions = ", ".join(f"{key} {value}" for key, value in machine.items())
    headings, rows = surfaces_table(results)
    n_faulty = sum(map(len, surfaces.faulty.values()))
    return (
        "\n".join(
            [
                "# Faults on magnetic tiles, measured\n",
                f"Made by `{command}`; {versions}. AUROC on the images of Huang et al. (2018) in their sizes: the first 80 % "
                f"of the good ones, by name, train ({len(surfaces.normal)}); {len(surfaces.good)} good and {n_faulty} "
                "faulty ones test. The detector has its default arguments; synthetic defects alone weigh its evidence, but "
                "that images are standardised, and the number of steps, was chosen in sight of these faults. "
                "The baselines see 64 × 64 pixels, standardised image by image; the PCA keeps 90 % of the variance.\n",
                *table_lines(headings, rows),
                "\nThe set holds several pictures of each tile: good test images are further pictures of tiles that trained, "
                "faulty ones are of other tiles. What compares thumbnails of 24 × 24 pixels recognises the tile, not the "
                "fault, which so few pixels hardly show. What is to be expected on a new part is the row of the restoration "
                "alone.\n\n![The first images of each kind, the error in red](surfaces.png)",
            ]
        )
        + "\n"
    )
