"""The suite: trains a model for each part, and measures it beside baselines and the figures of publications."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from hourglass.errors import DataError, ParameterError
from hourglass.evaluation.photos import baselines
from hourglass.evaluation.photos.artefacts import document_rows, jpeg_rows
from hourglass.evaluation.photos.compression import (
    CODECS,
    Codec,
    Point,
    as_pairs,
    compression_rows,
    decoded_near,
    rate_distortion_curve,
)
from hourglass.evaluation.photos.denoising import SIGMAS, denoising_rows
from hourglass.evaluation.photos.enlarging import FILTERS, enlarging_rows
from hourglass.evaluation.photos.models import NOISY_SIGMA, ROLES, as_codec, grey_photographs, one_by_one
from hourglass.evaluation.photos.protocols import Result, Show, timed
from hourglass.evaluation.photos.published import published_curves, published_results
from hourglass.evaluation.photos.searching import histograms, mean_colours, search_rows
from hourglass.evaluation.photos.sets import documents, photographs, training_photographs
from hourglass.images import Array
from hourglass.training import Callback

_CROP = 160  # pixels of height and width
_RATE = 0.25  # bits per pixel of the files whose crops are shown


@dataclass
class Photos:
    """The shared setting of all parts, which also collects what the page shows.

    Attributes
    ----------
    seed : int
    device : str
    callbacks : callable
        Returns the callbacks for a training by its role.
    given : dict of str to estimator
        Fitted models by role. If there are any, nothing is trained, and what needs another model is left out.
    results : list of Result
    notes : list of str
    curves : dict of str to list of Point
        Of compression, by codec.
    crops : dict
        Crops by sheet, setting and method.
    seconds : dict of str to float
        Of each training, by role.
    """

    seed: int = 0
    device: str = "auto"
    callbacks: Callable[[str], Sequence[Callback]] = lambda role: ()
    given: Mapping[str, Any] = field(default_factory=dict)
    results: list[Result] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    curves: dict[str, list[Point]] = field(default_factory=dict)
    crops: dict[str, dict[str, dict[str, Array]]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def model(self, role: str) -> Any:
        """The model for a role: given, or trained now. None if others are given and this is not."""
        if self.given:
            return self.given.get(role)
        estimator, data = ROLES[role]()
        estimator.set_params(random_state=self.seed, device=self.device)
        fitted, self.seconds[role] = timed(lambda: estimator.fit(*data, callbacks=self.callbacks(role)))
        return fitted

    def keep(self, sheet: str, wanted: Mapping[str, int]) -> Show:
        """Return a function that keeps crops from the middle of images: for each setting in `wanted`, of that image."""

        def show(setting: str, method: str, images: Sequence[Array]) -> None:
            if setting in wanted:
                image = images[wanted[setting] % len(images)]
                top, left = ((length - min(length, _CROP)) // 2 for length in image.shape[:2])
                crop = image[top : top + _CROP, left : left + _CROP].copy()
                self.crops.setdefault(sheet, {}).setdefault(setting, {})[method] = crop

        return show

    def add_published(self, part: str) -> None:
        try:
            self.results += published_results(part)
        except DataError as error:
            self.notes.append(f"{part}: figures of publications left out: {error}")


def denoise(photos: Photos) -> None:
    """Gaussian noise: BSD68 and Set12 in grey, Kodak in colour."""
    if (grey := photos.model("denoise-grey")) is not None:
        restore = one_by_one(grey, photos.notes)
        methods = baselines.denoisers(grey_photographs(), photos.seed) | {"Denoiser": lambda noisy, _: restore(noisy)}
        sets = {"BSD68": photographs("bsd68"), "Set12": photographs("set12")}
        show = photos.keep("denoise", {"BSD68, σ = 25": 5, "Set12, σ = 50": 1})
        photos.results += denoising_rows(methods, sets, SIGMAS, photos.seed, show)
    if (colour := photos.model("denoise-colour")) is not None:
        restore_colour = one_by_one(colour, photos.notes)
        methods = baselines.denoisers(training_photographs(), photos.seed)
        methods |= {"Denoiser": lambda noisy, _: restore_colour(noisy)}
        show = photos.keep("denoise-colour", {"Kodak, σ = 25": 22})
        photos.results += denoising_rows(methods, {"Kodak": photographs("kodak")}, (25,), photos.seed, show)
    photos.notes += [f"denoise: {note}" for note in baselines.missing("skimage", "bm3d")]


def enhance(photos: Photos) -> None:
    """Enlarging: Set5 and Set14, twice, three and four times."""
    sets = {"Set5": photographs("set5"), "Set14": photographs("set14")}
    for factor in (2, 3, 4):
        if (model := photos.model(f"enhance-{factor}")) is not None:
            restore = one_by_one(model, photos.notes)
            methods = FILTERS | {"Enhancer": lambda low, _, restore=restore: restore(low)}
            show = photos.keep(f"enhance-{factor}", {f"Set5 ×{factor}": 2, f"Set14 ×{factor}": 12})
            photos.results += enlarging_rows(methods, sets, (factor,), show)


def jpeg(photos: Photos) -> None:
    """JPEG artefacts: the luma of Set14 at quality 10."""
    if (model := photos.model("jpeg")) is not None:
        methods = baselines.jpeg_restorers(training_photographs(), 10) | {"Denoiser": one_by_one(model, photos.notes)}
        show = photos.keep("jpeg", {"Set14, quality 10": 9})
        photos.results += jpeg_rows(methods, {"Set14": photographs("set14")}, (10,), show)
        photos.notes += [f"jpeg: {note}" for note in baselines.missing("skimage")]


def pages(photos: Photos) -> None:
    """Scanned pages with stains and folds, trained on pairs."""
    if (model := photos.model("documents")) is not None:
        found = documents()
        methods = baselines.page_restorers(found["train noisy"], found["train clean"])
        methods |= {"Denoiser": one_by_one(model, photos.notes)}
        show = photos.keep("documents", {f"{len(found['test noisy'])} pages": 3})
        photos.results += document_rows(methods, found["test noisy"], found["test clean"], show)


_NOISY = {"trained on clean ones": "noisy-clean", "on two exposures": "noisy-twice", "on one": "noisy-once"}


def noisy(photos: Photos) -> None:
    """Training without clean images: Set12."""
    methods = {}
    for name, role in _NOISY.items():
        if (model := photos.model(role)) is not None:
            restore = one_by_one(model, photos.notes, "noisy")
            methods[f"Denoiser, {name}"] = lambda images, _, restore=restore: restore(images)
    if methods:
        setting = f"Set12, σ = {NOISY_SIGMA}"
        rows = denoising_rows(
            methods, {"Set12": photographs("set12")}, (NOISY_SIGMA,), photos.seed, photos.keep("noisy", {setting: 1})
        )
        photos.results += [replace(row, part="noisy") for row in rows]


def compress(photos: Photos) -> None:
    """Rate and distortion on Kodak's photographs."""
    model = photos.model("compress")
    if model is None:
        return
    images = photographs("kodak")
    codecs: dict[str, Codec] = {"Compressor": as_codec(model), **CODECS}
    photos.curves = {name: rate_distortion_curve(codec, images) for name, codec in codecs.items()}
    measured = {name: as_pairs(points) for name, points in photos.curves.items()}
    seconds = {
        name: float(np.mean([point.encoding + point.decoding for point in points])) for name, points in photos.curves.items()
    }
    photos.results += compression_rows(measured, seconds=seconds)
    try:
        photos.results += compression_rows(published_curves() | {"JPEG": measured["JPEG"]}, is_published=True)
    except DataError as error:
        photos.notes.append(f"compress: figures of publications left out: {error}")
    for number in (6, 22):
        setting = f"kodim{number + 1:02}, files of about {_RATE:g} bits per pixel"
        show = photos.keep("compress", {setting: 0})
        show(setting, "original", [images[number]])
        for name, codec in codecs.items():
            show(setting, name, [decoded_near(codec, images[number], _RATE)])


def search(photos: Photos) -> None:
    """Search by regions: of Kodak, Set5 and Set14 in colour, among them and the training photographs."""
    if (model := photos.model("search")) is not None:
        wanted = [image for name in ("kodak", "set5", "set14") for image in photographs(name) if image.ndim == 3]
        methods = {"colour histogram": histograms, "mean colour": mean_colours, "Retriever": model.encode}
        photos.results += search_rows(methods, wanted, training_photographs(), photos.seed)


PARTS: dict[str, Callable[[Photos], None]] = {
    "denoise": denoise,
    "enhance": enhance,
    "jpeg": jpeg,
    "documents": pages,
    "noisy": noisy,
    "compress": compress,
    "search": search,
}


def photos_suite(photos: Photos, parts: Sequence[str] = tuple(PARTS)) -> None:
    """Measure each of `parts`; the results are added to `photos`.

    Raises
    ------
    ParameterError
        For an unknown part.
    DataError
        If HOURGLASS_DATA does not hold the photographs.
    """
    if unknown := [part for part in parts if part not in PARTS]:
        raise ParameterError(f"unknown part {', '.join(unknown)}; allowed: {', '.join(PARTS)}.")
    for part in parts:
        PARTS[part](photos)
        if part in ("denoise", "enhance", "jpeg") and any(result.part == part for result in photos.results):
            photos.add_published(part)
