"""Section 7: the six applications, each beside what one would do without an autoencoder."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from hourglass.estimators import AnomalyDetector, Autoencoder, Compressor, Enhancer, Generator, Retriever
from hourglass.estimators.presets import CHAPTER_NOISE
from hourglass.evaluation import image_metrics
from hourglass.evaluation.baselines import PrincipalComponents
from hourglass.evaluation.generation import frechet_distance
from hourglass.evaluation.uses.compress import FORMATS, decompress, encode_as, evaluate_compressor, evaluate_format
from hourglass.evaluation.uses.enhance import FILTERS, resize
from hourglass.evaluation.uses.features import accuracies
from hourglass.evaluation.uses.search import rank_metrics, unit_vectors
from hourglass.images import Array, to_float, to_uint8
from hourglass.objectives import Rate
from hourglass.report.chapter.laboratory import PRESET_NAMES, Findings, Laboratory, Topic, rows_of
from hourglass.report.figures import image_rows
from hourglass.report.pictures import overlay
from hourglass.report.sections import Picture, Table

_CLAIM = """The chapter names six things that an autoencoder is good for: to denoise, to detect anomalies, to generate, to \
extract features for classification and retrieval, to compress, and to enhance the resolution."""

_EXAMPLE = """import hourglass as hg

mnist = hg.load("mnist")
images, labels, new = mnist.train.images[:2000], mnist.train.labels[:2000], mnist.test.images[:100]

clean = hg.Denoiser(epochs=1).fit(images).transform(hg.GaussianNoise()(new))
strange = -hg.AnomalyDetector(epochs=1).fit(images[labels == 8]).score_samples(new)
drawn = hg.Generator(epochs=1).fit(images, labels).sample(10, label=3)
codes = hg.Autoencoder(32, preset="features", epochs=1).fit(images).transform(new)
distances, rows = hg.Retriever(epochs=1).fit(images).kneighbors(new, n_neighbors=10)
compressor = hg.Compressor(epochs=1).fit(images)
again = compressor.decompress(compressor.compress(new))
enhancer = hg.Enhancer(factor=2, epochs=1).fit(images)
large = enhancer.transform(enhancer.reduce(new))
"""

_KNOWN = 10_000  # training images that neighbours are looked up in
_QUERIES = 200
_ENHANCED = 20_000  # training images of the enhancer, whose convolutions are slow


@dataclass(frozen=True)
class _Row:
    """One measure: ours beside `rivals`, which do the same otherwise, and `known`, which say what there is to reach."""

    measure: str
    ours: float
    rivals: dict[str, float]
    form: str
    less_is_better: bool = False
    known: dict[str, float] = field(default_factory=dict)

    @property
    def best_rival(self) -> float | None:
        return (min if self.less_is_better else max)(self.rivals.values(), default=None)

    @property
    def is_ahead(self) -> bool:
        best = self.best_rival
        return best is None or (self.ours < best if self.less_is_better else self.ours > best)

    def cells(self) -> list[str]:
        beside = "; ".join(f"{name} {value:{self.form}}" for name, value in (self.rivals | self.known).items())
        return [self.measure, f"{self.ours:{self.form}}", beside]


@dataclass(frozen=True)
class _Use:
    """One application: its figure, its measures, and what it rests on."""

    picture: Picture
    rows: list[_Row]
    told: str


def _denoise(lab: Laboratory) -> _Use:
    comparison, models = lab.denoising
    errors = {row["name"]: row["mse"] for row in comparison.rows}
    noisy = CHAPTER_NOISE(lab.examples, lab.seed + 1)
    rows = {"noisy": noisy, "Denoiser": models["default"].transform(noisy), "original": lab.examples}
    others = {name: error for name, error in errors.items() if name not in PRESET_NAMES.values()}
    return _Use(
        Picture("denoise", image_rows(rows), "Denoise: a test image of each class, of ten at most, noisy and cleaned."),
        [_Row("denoise: mean squared error", errors[PRESET_NAMES["default"]], others, ".4f", less_is_better=True)],
        "The code has no room for noise.",
    )


def _detect(lab: Laboratory) -> _Use:
    from sklearn.ensemble import IsolationForest
    from sklearn.metrics import roc_auc_score

    train, test = lab.dataset.train, lab.dataset.test
    labels = np.unique(train.known_labels)
    normal = labels[8 % len(labels)]
    mine, abnormal = train.images[train.known_labels == normal], test.known_labels != normal
    detector, _ = lab.fit(AnomalyDetector(epochs=30 if lab.quick else None), mine, name=f"{normal} is normal")
    strangeness = -detector.score_samples(test.images)
    flat, asked = rows_of(mine), rows_of(test.images)
    pca = PrincipalComponents(32).fit(mine)
    residual = np.square(pca.reconstruct(test.images) - to_float(test.images)).reshape(len(asked), -1).mean(1)
    forest = IsolationForest(random_state=lab.seed).fit(flat)
    maps = detector.error_maps(lab.examples)
    level = float(np.quantile(maps, 0.99))
    marked = np.stack([overlay(image, heat, level) for image, heat in zip(lab.examples, maps, strict=True)])
    rows = {"test images": _coloured(lab.examples), "where they differ": marked}
    return _Use(
        Picture("detect", image_rows(rows), f"Detect: trained on class {normal} alone; red is what does not belong to it."),
        [
            _Row(
                f"detect: area under the ROC curve, {normal} is normal",
                float(roc_auc_score(abnormal, strangeness)),
                {
                    "PCA-32 residual": float(roc_auc_score(abnormal, residual)),
                    "isolation forest": float(roc_auc_score(abnormal, -forest.score_samples(asked))),
                },
                ".3f",
            )
        ],
        "What it never saw it cannot draw.",
    )


def _generate(lab: Laboratory) -> _Use:
    train, test = lab.dataset.train, lab.dataset.test
    ours, _ = lab.fit(Generator(epochs=lab.passes(6, 12)), train.images, train.known_labels, name="generate")
    same = {name: ours.settings_[name] for name in ("n_components", "hidden", "epochs", "batch_size")}
    vae, _ = lab.fit(Generator(network="variational", loss="bce", penalty=Rate(1.0), **same), train.images, name="variational")
    n = min(2000, len(test))
    prior = np.random.default_rng(lab.seed).standard_normal((n, same["n_components"])).astype(np.float32)
    sets = {"Generator": ours.sample(n, random_state=lab.seed), "variational, prior": vae.inverse_transform(prior)}
    real = lab.classifier.features(test.images[:n])
    distances = {name: frechet_distance(real, lab.classifier.features(images)) for name, images in sets.items()}
    labels = np.resize(ours.classes_, 1000)
    read = float((lab.classifier.predict(ours.sample(len(labels), label=labels, random_state=lab.seed)) == labels).mean())
    rows = {
        "Generator": sets["Generator"][:10],
        **{f"label {label}": ours.sample(10, label=label, random_state=lab.seed) for label in ours.classes_[:4]},
    }
    actual = float((lab.classifier.predict(test.images) == test.known_labels).mean())
    return _Use(
        Picture(
            "generate",
            image_rows(rows | {"variational, prior": sets["variational, prior"][:10]}),
            "Generate: new images, of any class or of one.",
        ),
        [
            _Row(
                "generate: Fréchet distance in a classifier's features",
                distances.pop("Generator"),
                distances,
                (".1f"),
                less_is_better=True,
            ),
            _Row("generate: read as the label asked for", read, {}, ".3f", known={"real images": actual}),
        ],
        "New codes are drawn where codes are.",
    )


def _features(lab: Laboratory) -> _Use:
    train, test = lab.dataset.train, lab.dataset.test
    ours, _ = lab.fit(Autoencoder(32, preset="features", epochs=lab.passes(3, 10)), train.images, name="features")
    pca = PrincipalComponents(32).fit(train.images)
    known, labels = train.images[:_KNOWN], train.known_labels[:_KNOWN]
    found = {
        name: accuracies(encode(known), encode(test.images), labels, test.known_labels)
        for name, encode in (("ours", ours.transform), ("PCA-32", pca.transform))
    }
    retriever = Retriever.from_autoencoder(ours, known)
    queries, wanted = test.images[:_QUERIES], test.known_labels[:_QUERIES]
    ranked = {
        name: rank_metrics(unit_vectors(encode(known)), unit_vectors(encode(queries)), labels, wanted)["mean average precision"]
        for name, encode in (("ours", ours.transform), ("PCA-32", pca.transform))
    }
    nearest = retriever.kneighbors(lab.examples[:5], 9)[1]
    rows = {
        f"query {number}": np.concatenate([lab.examples[[number - 1]], known[rows]]) for number, rows in enumerate(nearest, 1)
    }
    return _Use(
        Picture(
            "retrieve",
            image_rows(rows),
            "Classify and retrieve: a test image, and the nine training images with the nearest codes.",
        ),
        [
            *(
                _Row(f"features: accuracy of {reader} on 32 numbers", value, {"PCA-32": found["PCA-32"][reader]}, ".4f")
                for reader, value in found["ours"].items()
            ),
            _Row("retrieve: mean average precision", ranked["ours"], {"PCA-32": ranked["PCA-32"]}, ".3f"),
        ],
        "Codes of like images are near each other, whatever they are used for.",
    )


def _compress(lab: Laboratory) -> _Use:
    test = lab.dataset.test.images
    ours, _ = lab.fit(Compressor(epochs=lab.passes(10, 20)), lab.dataset.train.images, name="compress")
    sizes, errors = {}, {}
    rows: dict[str, Array] = {"original": lab.examples, "Compressor": decompress(ours, ours.compress(lab.examples))}
    for label, name in {"JPEG": "JPEG", "WebP": "WEBP"}.items():
        sizes[label], errors[label], _ = evaluate_format(test, name, FORMATS[name])
        rows[label] = np.stack(
            [np.asarray(Image.open(io.BytesIO(encode_as(image, name, FORMATS[name])))) for image in to_uint8(lab.examples)]
        )
    size, error = evaluate_compressor(ours, test)
    return _Use(
        Picture("compress", image_rows(rows), f"Compress: {size:.1f} bytes an image, beside JPEG and WebP at their smallest."),
        [
            _Row("compress: bytes an image, all counted", size, sizes, ".1f", less_is_better=True),
            _Row("compress: mean squared error", error, errors, ".4f", less_is_better=True),
        ],
        "What all images share is in the decoder and need not be stored again.",
    )


def _enhance(lab: Laboratory) -> _Use:
    train, test, examples = (
        _even(images) for images in (lab.dataset.train.images[:_ENHANCED], lab.dataset.test.images, lab.examples)
    )
    ours, _ = lab.fit(Enhancer(factor=2, epochs=lab.passes(1, 2)), train, name="enhance")
    low = ours.reduce(test)
    bicubic = resize(low, test.shape[1:3], FILTERS["bicubic"])
    values = {name: image_metrics(made, test)["psnr"] for name, made in (("ours", ours.transform(low)), ("bicubic", bicubic))}
    small = ours.reduce(examples)
    rows = {
        "given": resize(small, test.shape[1:3], Image.Resampling.NEAREST),
        "bicubic": resize(small, test.shape[1:3], FILTERS["bicubic"]),
        "Enhancer": ours.transform(small),
        "original": examples,
    }
    return _Use(
        Picture("enhance", image_rows(rows), "Enhance: twice the height and width from means of 2×2 pixels."),
        [_Row("enhance: PSNR in dB", values["ours"], {"bicubic": values["bicubic"]}, ".1f")],
        "It knows what such images look like up close.",
    )


USES: dict[str, Callable[[Laboratory], _Use]] = {
    "denoise": _denoise,
    "detect": _detect,
    "generate": _generate,
    "features": _features,
    "compress": _compress,
    "enhance": _enhance,
}


def _experiment(lab: Laboratory) -> Findings:
    done = {name: use(lab) for name, use in USES.items()}
    rows = [row for use in done.values() for row in use.rows]
    return Findings(
        run=(
            "Each application's estimator as its constructor makes it, but that some train shorter here than by default; "
            f"all on the {len(lab.dataset.train):,} training images and measured on the test images, beside what one would "
            "do without an autoencoder. `hourglass evaluate --suite uses` measures them at their defaults, with every "
            "baseline."
        ),
        shown=[
            Table(
                "The six applications, each beside its baselines from the same run.",
                ["measure", "Hourglass", "beside it"],
                [row.cells() for row in rows],
            ),
            *(use.picture for use in done.values()),
        ],
        meaning=_meaning(done, rows),
        numbers={row.measure: {"ours": row.ours, **row.rivals, **row.known} for row in rows},
    )


def _meaning(done: dict[str, _Use], rows: list[_Row]) -> str:
    told = " ".join(f"*{name.capitalize()}:* {use.told}" for name, use in done.items())
    lost = [row.measure for row in rows if not row.is_ahead]
    verdict = (
        f"Not everything is won; not ahead of the best baseline in {'; in '.join(lost)}."
        if lost
        else (
            "Here each is ahead of the baselines beside it; on other images the simple ones can win, and only the "
            "comparison tells."
        )
    )
    return (
        "All six rest on one thing, that a narrow code forces a network to learn what its images have in common. "
        f"{told}\n\n{verdict}"
    )


def _even(images: Array) -> Array:
    """Images cut to an even height and width, for blocks of 2×2 pixels."""
    return images[:, : images.shape[1] // 2 * 2, : images.shape[2] // 2 * 2]


def _coloured(images: Array) -> Array:
    """Grey images with three equal channels, to stand beside coloured ones."""
    return np.repeat(to_uint8(images)[..., None], 3, axis=3) if images.ndim == 3 else to_uint8(images)


APPLICATIONS = Topic("applications", "The six applications", _CLAIM, _EXAMPLE, _experiment)
