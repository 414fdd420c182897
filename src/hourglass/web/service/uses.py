"""What a model is asked over HTTP: its uses, each a function of a block of images.

This module asks a model for its methods alone: whatever has those of an estimator can be served. Another kind of model is
served by giving a `Served` of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from hourglass.errors import ParameterError
from hourglass.runtime import Exported

if TYPE_CHECKING:
    from hourglass.images import Array, Sample

Run = Callable[..., Sequence[Any]]


@dataclass(frozen=True)
class Use:
    """One use of a model.

    Attributes
    ----------
    summary : str
        One line, for the description of the routes.
    run : callable
        (images (n, h, w) or (n, h, w, c), or rows (n, features), all options of the use by name) -> one result for each.
    gives : {"image", "map", "codes", "facts", "file"}
        What a result is: an image (h', w'[, c]) in 0..1, a map (h', w'), a vector, a dict for JSON, or the bytes of a file.
    reads : {"own", "fitted", "channels", "values"}
        How image files are read: in their own size and channels; resized to those of the model; with its channels only; or in
        their own size and depth, without a white level.
    joins : bool
        Whether images of several requests may go into one call.
    is_fixed : bool
        Whether the model takes no options, as one that was exported.
    """

    summary: str
    run: Run
    gives: Literal["image", "map", "codes", "facts", "file"]
    reads: Literal["own", "fitted", "channels", "values"] = "fitted"
    joins: bool = True
    is_fixed: bool = False


@dataclass(frozen=True)
class Served:
    """A model and its uses.

    Attributes
    ----------
    task : str
        As of ``hourglass train --task``.
    sample : Sample
        Shape and white level of its samples.
    uses : mapping of str to Use
    level : float
        The level of its error maps that one in a thousand pixels of normal images exceeds; NaN for other models.
    """

    task: str
    sample: Sample
    uses: Mapping[str, Use]
    level: float = math.nan


_ENCODE = "The latent code of each image."
_OUTPUTS = {"denoiser": "reconstructions", "enhancer": "reconstructions", "detector": "scores"}
"""What an exported file must give to be served as a whole; an index and entropy coding stay outside of it."""


def served(model: Any) -> Served:
    """The uses of a fitted estimator, or of a model that was exported. Raises ParameterError if an exported one has none."""
    if isinstance(model, Exported):
        return _exported(model)
    encode = Use(_ENCODE, model.encode, "codes")
    own = _USES.get(model.saved_as, lambda _: {})(model)
    return Served(model.saved_as, model.sample_, {**own, "encode": encode}, float(getattr(model, "map_level_", math.nan)))


def _exported(model: Any) -> Served:
    if model.facts.takes_codes or model.facts.input == "uint16":
        words = "takes codes" if model.facts.takes_codes else "takes 16-bit images alone; export it with --dtype float32"
        raise ParameterError(f"{model.path}: it {words}, so it cannot be served.")
    own = _USES[model.task](model) if _OUTPUTS.get(model.task) in model.outputs else {}
    if "codes" in model.outputs:
        own["encode"] = Use(_ENCODE, model.encode, "codes")
    if not own:
        words = "serve the model that it was made of, or export it with --part encoder"
        raise ParameterError(f"{model.path}: {model!r} has no use that can be served; {words}.")
    return Served(model.task, model.sample_, own, model.map_level_)


def _denoiser(model: Any) -> dict[str, Use]:
    def denoise(images: Array, **options: Any) -> Sequence[Array]:
        return _restored(model, images, model.sample_.fits(images.shape[1:]), **options)

    summary = "Each image without its noise, in its own size, depth and colour."
    return {"denoise": Use(summary, denoise, "image", "own", is_fixed=isinstance(model, Exported))}


def _enhancer(model: Any) -> dict[str, Use]:
    def enhance(images: Array) -> Sequence[Array]:
        height, width, *channels = images.shape[1:]
        fits = model.sample_.fits((height * model.factor, width * model.factor, *channels))
        return _restored(model, images, fits)

    summary = f"Each image enlarged to {model.factor} times its height and width, in its own depth and colour."
    return {"enhance": Use(summary, enhance, "image", "own")}


def _restored(model: Any, images: Array, fits: bool, **options: Any) -> Sequence[Array]:
    """`transform` of images that fit the model, in one call; `transform_image` of each of others."""
    if fits:
        outputs: Sequence[Array] = model.transform(images, **options)
        return outputs
    return [model.transform_image(image, **options) for image in images]


def _detector(model: Any) -> dict[str, Use]:
    is_image = model.sample_.is_image

    def detect(images: Array) -> list[dict[str, Any]]:
        scores = -model.decision_function(images)
        facts: list[dict[str, Any]] = [
            {"score": float(score), "verdict": "anomaly" if score > 0 else "normal"} for score in scores
        ]
        if is_image and not math.isnan(model.map_level_):
            for fact in facts:
                fact["regions"] = []
            anomalies = [row for row, score in enumerate(scores) if score > 0]
            for row, regions in zip(anomalies, model.regions(images[anomalies]) if anomalies else (), strict=True):
                facts[row]["regions"] = regions
        return facts

    where = ", and boxes of its regions of high error" if is_image else ""
    uses = {"detect": Use(f"How unusual each image is: a score, above 0 for an anomaly{where}.", detect, "facts")}
    if is_image:
        uses["map"] = Use("Where each image departs from normal: the smoothed error of each pixel.", model.error_maps, "map")
    return uses


def _retriever(model: Any) -> dict[str, Use]:
    def search(images: Array, n: int = 10) -> list[dict[str, Any]]:
        distances, rows = model.kneighbors(images, min(n, len(model.ids_)))
        return [
            {
                "neighbours": [
                    {"rank": rank, "name": str(model.ids_[row]), "distance": float(distance)}
                    for rank, (row, distance) in enumerate(zip(near, far, strict=True), 1)
                ]
            }
            for near, far in zip(rows, distances, strict=True)
        ]

    return {"search": Use("The nearest images of the model's index.", search, "facts")}


def _compressor(model: Any) -> dict[str, Use]:
    if model.network_.code.is_map:

        def compress(images: Array, **options: Any) -> list[bytes]:
            return [model.compress(image, **options) for image in images]

        return {"compress": Use("The image as a .hgc file.", compress, "file", "values", joins=False)}

    def pack(images: Array) -> list[bytes]:
        return [model.compress(images)]

    return {"compress": Use("The images as one .hgc file.", pack, "file", "channels", joins=False)}


_USES: dict[str, Callable[[Any], dict[str, Use]]] = {
    "denoiser": _denoiser,
    "detector": _detector,
    "retriever": _retriever,
    "compressor": _compressor,
    "enhancer": _enhancer,
}
