"""Evaluation of generation: fidelity and diversity of samples, and whether they show the requested class."""

from __future__ import annotations

from typing import Any

import numpy as np

from hourglass.estimators import Generator
from hourglass.evaluation.generation import ReferenceClassifier, frechet_distance, precision_and_recall
from hourglass.evaluation.uses.measurements import Measurement, Setting
from hourglass.objectives import Rate

_MAX_SAMPLES = 5000
VARIATIONAL: dict[str, dict[str, Any]] = {
    "VAE, bce": {"loss": "bce", "penalty": Rate(1.0)},  # the evidence lower bound of a Bernoulli decoder
    "VAE, mse": {"loss": "mse", "penalty": Rate(0.03)},  # of a Gaussian decoder, with about the residual variance
}


def generate(setting: Setting) -> list[Measurement]:
    """Fréchet distance, precision and recall against the test images, and the accuracy of sample(label=k).

    All use a small classifier fitted on the real training images. Baselines are variational autoencoders of the same
    architecture and training time, sampled from the prior N(0, I) and from a Gaussian fitted to their codes.
    """
    train, test, seed = setting.dataset.train, setting.dataset.test, setting.seed
    classifier = ReferenceClassifier().fit(train.images, train.known_labels, seed)
    accuracy = float((classifier.predict(test.images) == test.known_labels).mean())
    setting.notes.append(
        f"generate: The classifier of generated images has an accuracy of {accuracy:.2%} on the real test images."
    )
    ours, seconds = setting.fit(Generator(), train.images, train.known_labels, name="generate")
    shared = {name: ours.settings_[name] for name in ("n_components", "hidden", "epochs", "batch_size")}
    n = min(_MAX_SAMPLES, len(test), len(train))
    sets = {"ours": ours.sample(n, random_state=seed)}
    prior = np.random.default_rng(seed).standard_normal((n, shared["n_components"])).astype(np.float32)
    for name, options in VARIATIONAL.items():
        vae, _ = setting.fit(Generator(network="variational", n_gaussians=1, **options, **shared), train.images, name=name)
        sets[f"{name}, prior"] = vae.inverse_transform(prior)
        sets[f"{name}, a Gaussian fitted to its codes"] = vae.sample(n, temperature=1.0, random_state=seed)
    rng = np.random.default_rng(seed + 1)
    sets["real training images"] = train.images[rng.permutation(len(train))[:n]]
    setting.pictures["generate"] = {
        **{f"label {label}": ours.sample(10, label=label, random_state=seed) for label in ours.classes_[:10]},
        **{name: images[:10] for name, images in sets.items() if name.endswith("prior")},
    }
    real = classifier.features(test.images[rng.permutation(len(test))[:n]])
    results: dict[str, dict[str, float]] = {"Fréchet distance": {}, "precision": {}, "recall": {}}
    for name, images in sets.items():
        features = classifier.features(images)
        results["Fréchet distance"][name] = frechet_distance(real, features)
        results["precision"][name], results["recall"][name] = precision_and_recall(real, features)
    share = _label_accuracy(classifier, ours, seed, max(1, n // len(ours.classes_)))
    rows = []
    for measure, values in results.items():
        sign = "≤" if measure == "Fréchet distance" else "≥"
        best = min if sign == "≤" else max
        bar = (sign, best(value for name, value in values.items() if name.endswith("prior"))) if setting.has_bars else None
        baselines = {name: value for name, value in values.items() if name != "ours"}
        rows.append(Measurement("generate", measure, values["ours"], ".3f", baselines, seed, seconds, bar, sign == "≥"))
    bar, real_images = (("≥", 0.97) if setting.has_bars else None), {"real test images": accuracy}
    rows.append(Measurement("generate", "sample(label=k) read as k", share, ".3f", real_images, seed, seconds, bar))
    return rows


def _label_accuracy(classifier: ReferenceClassifier, generator: Generator, seed: int, n: int) -> float:
    """Return the share of `n` samples of each class that the classifier assigns to it."""
    matches = [classifier.predict(generator.sample(n, label=label, random_state=seed)) == label for label in generator.classes_]
    return float(np.mean(matches))
