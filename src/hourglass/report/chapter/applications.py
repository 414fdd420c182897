"""Section 7: the six applications, compared with baselines without an autoencoder."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from hourglass.estimators import AnomalyDetector, Autoencoder, Compressor, Enhancer, Generator, Retriever
from hourglass.estimators.presets import CHAPTER_NOISE
from hourglass.evaluation import psnr
from hourglass.evaluation.baselines import PrincipalComponents
from hourglass.evaluation.generation import frechet_distance
from hourglass.evaluation.uses.compress import FORMATS, decompress, encode_as, evaluate_compressor, evaluate_format
from hourglass.evaluation.uses.enhance import FILTERS, resize
from hourglass.evaluation.uses.features import accuracies
from hourglass.evaluation.uses.search import rank_metrics, unit_vectors
from hourglass.images import Array, to_float, to_uint8
from hourglass.objectives import Rate
from hourglass.report.chapter.laboratory import PRESET_NAMES, Findings, Laboratory, Topic, flatten
from hourglass.report.figures import image_rows
from hourglass.report.sections import Picture, Table
from hourglass.runtime import overlay

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

_N_INDEXED = 10_000  # training images for nearest neighbours
_N_QUERIES = 200
_N_ENHANCED = 20_000  # training images of the enhancer, whose convolutions are slow


@dataclass(frozen=True)
class _Measurement:
    """One metric of ours, of `baselines`, and of `references`, which are not to be beaten."""

    measure: str
    ours: float
    baselines: dict[str, float]
    form: str
    less_is_better: bool = False
    references: dict[str, float] = field(default_factory=dict)

    @property
    def is_best(self) -> bool:
        best = (min if self.less_is_better else max)(self.baselines.values(), default=None)
        return best is None or (self.ours < best if self.less_is_better else self.ours > best)

    def cells(self) -> list[str]:
        others = "; ".join(f"{name} {value:{self.form}}" for name, value in (self.baselines | self.references).items())
        return [self.measure, f"{self.ours:{self.form}}", others]


@dataclass(frozen=True)
class _Application:
    """One application: its figure, its measurements, and why it works."""

    picture: Picture
    rows: list[_Measurement]
    reason: str


def _denoise(lab: Laboratory) -> _Application:
    comparison, models = lab.denoising
    errors = {row["name"]: row["mse"] for row in comparison.rows}
    noisy = CHAPTER_NOISE(lab.examples, lab.seed + 1)
    rows = {"noisy": noisy, "Denoiser": models["default"].transform(noisy), "original": lab.examples}
    others = {name: error for name, error in errors.items() if name not in PRESET_NAMES.values()}
    return _Application(
        Picture("denoise", image_rows(rows), "Denoise: a test image of each class (at most ten), noisy and denoised."),
        [_Measurement("denoise: mean squared error", errors[PRESET_NAMES["default"]], others, ".4f", less_is_better=True)],
        "The code has no room for noise.",
    )


def _detect(lab: Laboratory) -> _Application:
    from sklearn.ensemble import IsolationForest
    from sklearn.metrics import roc_auc_score

    train, test = lab.dataset.train, lab.dataset.test
    labels = np.unique(train.known_labels)
    normal = labels[8 % len(labels)]
    normal_images, abnormal = train.images[train.known_labels == normal], test.known_labels != normal
    detector, _ = lab.fit(AnomalyDetector(epochs=30 if lab.quick else None), normal_images, name=f"{normal} is normal")
    scores = -detector.score_samples(test.images)
    train_rows, test_rows = flatten(normal_images), flatten(test.images)
    pca = PrincipalComponents(32).fit(normal_images)
    residual = np.square(pca.reconstruct(test.images) - to_float(test.images)).reshape(len(test_rows), -1).mean(1)
    forest = IsolationForest(random_state=lab.seed).fit(train_rows)
    maps = detector.error_maps(lab.examples)
    level = float(np.quantile(maps, 0.99))
    overlays = np.stack([overlay(image, heat, level) for image, heat in zip(lab.examples, maps, strict=True)])
    rows = {"test images": _coloured(lab.examples), "error maps": overlays}
    return _Application(
        Picture("detect", image_rows(rows), f"Detect: trained on class {normal} alone; red marks what does not belong to it."),
        [
            _Measurement(
                f"detect: area under the ROC curve, {normal} is normal",
                float(roc_auc_score(abnormal, scores)),
                {
                    "PCA-32 residual": float(roc_auc_score(abnormal, residual)),
                    "isolation forest": float(roc_auc_score(abnormal, -forest.score_samples(test_rows))),
                },
                ".3f",
            )
        ],
        "The decoder cannot draw what it never saw.",
    )


def _generate(lab: Laboratory) -> _Application:
    train, test = lab.dataset.train, lab.dataset.test
    ours, _ = lab.fit(Generator(epochs=lab.epochs(6, 12)), train.images, train.known_labels, name="generate")
    shared = {name: ours.settings_[name] for name in ("n_components", "hidden", "epochs", "batch_size")}
    variational = Generator(network="variational", loss="bce", penalty=Rate(1.0), **shared)
    vae, _ = lab.fit(variational, train.images, name="variational")
    n = min(2000, len(test))
    prior = np.random.default_rng(lab.seed).standard_normal((n, shared["n_components"])).astype(np.float32)
    sets = {"Generator": ours.sample(n, random_state=lab.seed), "variational, prior": vae.inverse_transform(prior)}
    real = lab.classifier.features(test.images[:n])
    distances = {name: frechet_distance(real, lab.classifier.features(images)) for name, images in sets.items()}
    labels = np.resize(ours.classes_, 1000)
    samples = ours.sample(len(labels), label=labels, random_state=lab.seed)
    accuracy = float((lab.classifier.predict(samples) == labels).mean())
    rows = {
        "Generator": sets["Generator"][:10],
        **{f"label {label}": ours.sample(10, label=label, random_state=lab.seed) for label in ours.classes_[:4]},
    }
    real_accuracy = float((lab.classifier.predict(test.images) == test.known_labels).mean())
    return _Application(
        Picture(
            "generate",
            image_rows(rows | {"variational, prior": sets["variational, prior"][:10]}),
            "Generate: new images, of any class or of one.",
        ),
        [
            _Measurement(
                "generate: Fréchet distance in a classifier's features",
                distances.pop("Generator"),
                distances,
                ".1f",
                less_is_better=True,
            ),
            _Measurement(
                "generate: classified as the requested label", accuracy, {}, ".3f", references={"real images": real_accuracy}
            ),
        ],
        "New codes are sampled where the training codes are.",
    )


def _features(lab: Laboratory) -> _Application:
    train, test = lab.dataset.train, lab.dataset.test
    ours, _ = lab.fit(Autoencoder(32, preset="features", epochs=lab.epochs(3, 10)), train.images, name="features")
    pca = PrincipalComponents(32).fit(train.images)
    images, labels = train.images[:_N_INDEXED], train.known_labels[:_N_INDEXED]
    encoders = {"ours": ours.transform, "PCA-32": pca.transform}
    classified = {
        name: accuracies(encode(images), encode(test.images), labels, test.known_labels) for name, encode in encoders.items()
    }
    retriever = Retriever.from_autoencoder(ours, images)
    queries, query_labels = test.images[:_N_QUERIES], test.known_labels[:_N_QUERIES]
    ranked = {
        name: rank_metrics(unit_vectors(encode(images)), unit_vectors(encode(queries)), labels, query_labels)
        for name, encode in encoders.items()
    }
    precision = {name: metrics["mean average precision"] for name, metrics in ranked.items()}
    nearest = retriever.kneighbors(lab.examples[:5], 9)[1]
    rows = {
        f"query {number}": np.concatenate([lab.examples[[number - 1]], images[rows]]) for number, rows in enumerate(nearest, 1)
    }
    return _Application(
        Picture(
            "retrieve",
            image_rows(rows),
            "Classify and retrieve: a test image, and the nine training images with the nearest codes.",
        ),
        [
            *(
                _Measurement(
                    f"features: accuracy of {classifier} on 32 latent dimensions",
                    value,
                    {"PCA-32": classified["PCA-32"][classifier]},
                    ".4f",
                )
                for classifier, value in classified["ours"].items()
            ),
            _Measurement("retrieve: mean average precision", precision["ours"], {"PCA-32": precision["PCA-32"]}, ".3f"),
        ],
        "Similar images have similar codes.",
    )


def _compress(lab: Laboratory) -> _Application:
    test = lab.dataset.test.images
    ours, _ = lab.fit(Compressor(epochs=lab.epochs(10, 20)), lab.dataset.train.images, name="compress")
    sizes, errors = {}, {}
    rows: dict[str, Array] = {"original": lab.examples, "Compressor": decompress(ours, ours.compress(lab.examples))}
    for label, name in {"JPEG": "JPEG", "WebP": "WEBP"}.items():
        sizes[label], errors[label], _ = evaluate_format(test, name, FORMATS[name])
        rows[label] = np.stack(
            [np.asarray(Image.open(io.BytesIO(encode_as(image, name, FORMATS[name])))) for image in to_uint8(lab.examples)]
        )
    size, error = evaluate_compressor(ours, test)
    return _Application(
        Picture("compress", image_rows(rows), f"Compress: {size:.1f} bytes per image, beside JPEG and WebP at their smallest."),
        [
            _Measurement("compress: bytes per image, whole file", size, sizes, ".1f", less_is_better=True),
            _Measurement("compress: mean squared error", error, errors, ".4f", less_is_better=True),
        ],
        "The decoder holds what all images have in common, which need not be stored again.",
    )


def _enhance(lab: Laboratory) -> _Application:
    train, test, examples = (
        _even(images) for images in (lab.dataset.train.images[:_N_ENHANCED], lab.dataset.test.images, lab.examples)
    )
    ours, _ = lab.fit(Enhancer(factor=2, epochs=lab.epochs(1, 2)), train, name="enhance")
    low = ours.reduce(test)
    bicubic = resize(low, test.shape[1:3], FILTERS["bicubic"])
    outputs = {"ours": ours.transform(low), "bicubic": bicubic}
    values = {name: psnr(enlarged, test) for name, enlarged in outputs.items()}
    small = ours.reduce(examples)
    rows = {
        "input": resize(small, test.shape[1:3], Image.Resampling.NEAREST),
        "bicubic": resize(small, test.shape[1:3], FILTERS["bicubic"]),
        "Enhancer": ours.transform(small),
        "original": examples,
    }
    return _Application(
        Picture("enhance", image_rows(rows), "Enhance: twice the height and width from means of 2×2 pixels."),
        [_Measurement("enhance: PSNR in dB", values["ours"], {"bicubic": values["bicubic"]}, ".1f")],
        "The network has learned the details of such images.",
    )


EXPERIMENTS: dict[str, Callable[[Laboratory], _Application]] = {
    "denoise": _denoise,
    "detect": _detect,
    "generate": _generate,
    "features": _features,
    "compress": _compress,
    "enhance": _enhance,
}


def _experiment(lab: Laboratory) -> Findings:
    applications = {name: run(lab) for name, run in EXPERIMENTS.items()}
    rows = [row for application in applications.values() for row in application.rows]
    return Findings(
        run=(
            "Each application's estimator with its default arguments, except that some train shorter; all are fitted on the "
            f"{len(lab.dataset.train):,} training images, evaluated on the test images, and compared with baselines without "
            "an autoencoder. `hourglass evaluate --suite uses` evaluates them with all defaults and baselines."
        ),
        shown=[
            Table(
                "The six applications and their baselines in the same run.",
                ["measure", "Hourglass", "baselines"],
                [row.cells() for row in rows],
            ),
            *(application.picture for application in applications.values()),
        ],
        meaning=_meaning(applications, rows),
        numbers={row.measure: {"ours": row.ours, **row.baselines, **row.references} for row in rows},
    )


def _meaning(applications: dict[str, _Application], rows: list[_Measurement]) -> str:
    reasons = " ".join(f"*{name.capitalize()}:* {application.reason}" for name, application in applications.items())
    lost = [row.measure for row in rows if not row.is_best]
    verdict = (
        f"Hourglass is not better than the best baseline in {'; in '.join(lost)}."
        if lost
        else "Here each is better than its baselines; on other images a baseline can win, and only a comparison can show it."
    )
    return (
        "All six rely on the same principle: a narrow code forces a network to learn what its images have in common. "
        f"{reasons}\n\n{verdict}"
    )


def _even(images: Array) -> Array:
    """Crop images to an even height and width, for blocks of 2×2 pixels."""
    return images[:, : images.shape[1] // 2 * 2, : images.shape[2] // 2 * 2]


def _coloured(images: Array) -> Array:
    """Repeat the channel of grey images three times, to show them with coloured ones."""
    return np.repeat(to_uint8(images)[..., None], 3, axis=3) if images.ndim == 3 else to_uint8(images)


APPLICATIONS = Topic("applications", "The six applications", _CLAIM, _EXAMPLE, _experiment)
