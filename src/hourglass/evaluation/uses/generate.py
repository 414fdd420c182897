"""Generation: are samples like real images, as varied, and of the class that was asked for?"""

from __future__ import annotations

from typing import Any

import numpy as np

from hourglass.estimators import Generator
from hourglass.evaluation.generation import Judge, frechet_distance, precision_and_recall
from hourglass.evaluation.uses.rows import Row, Setting
from hourglass.objectives import Rate

_COMPARED = 5000
VARIATIONAL: dict[str, dict[str, Any]] = {
    "VAE, bce": {"loss": "bce", "penalty": Rate(1.0)},  # the evidence lower bound for pixels as chances
    "VAE, mse": {"loss": "mse", "penalty": Rate(0.03)},  # and for pixels with Gaussian noise, near the variance that it leaves
}


def generate(setting: Setting) -> list[Row]:
    """Fréchet distance, precision and recall to the test images, and the share of sample(label=k) that is read as k.

    All in the feature space of a small classifier fitted on the real training images; beside a variational autoencoder of the
    same widths and code, trained as long, sampled from its prior N(0, I) and from one Gaussian fitted to its codes.
    """
    train, test, seed = setting.dataset.train, setting.dataset.test, setting.seed
    judge = Judge().fit(train.images, train.known_labels, seed)
    accuracy = float((judge.predict(test.images) == test.known_labels).mean())
    setting.notes.append(
        f"generate: The classifier that reads generated images reads {accuracy:.2%} of the real test images rightly."
    )
    ours, seconds = setting.fit(Generator(), train.images, train.known_labels, name="generate")
    same = {name: ours.settings_[name] for name in ("n_components", "hidden", "epochs", "batch_size")}
    n = min(_COMPARED, len(test), len(train))
    sets = {"ours": ours.sample(n, random_state=seed)}
    prior = np.random.default_rng(seed).standard_normal((n, same["n_components"])).astype(np.float32)
    for name, options in VARIATIONAL.items():
        vae, _ = setting.fit(Generator(network="variational", n_gaussians=1, **options, **same), train.images, name=name)
        sets[f"{name}, prior"] = vae.inverse_transform(prior)
        sets[f"{name}, a Gaussian fitted to its codes"] = vae.sample(n, temperature=1.0, random_state=seed)
    draw = np.random.default_rng(seed + 1)
    sets["real training images"] = train.images[draw.permutation(len(train))[:n]]
    setting.pictures["generate"] = {
        **{f"label {label}": ours.sample(10, label=label, random_state=seed) for label in ours.classes_[:10]},
        **{name: images[:10] for name, images in sets.items() if name.endswith("prior")},
    }
    real = judge.features(test.images[draw.permutation(len(test))[:n]])
    found: dict[str, dict[str, float]] = {"Fréchet distance": {}, "precision": {}, "recall": {}}
    for name, images in sets.items():
        features = judge.features(images)
        found["Fréchet distance"][name] = frechet_distance(real, features)
        found["precision"][name], found["recall"][name] = precision_and_recall(real, features)
    read = _read_rightly(judge, ours, seed, max(1, n // len(ours.classes_)))
    rows = []
    for measure, values in found.items():
        sign = "≤" if measure == "Fréchet distance" else "≥"
        best = min if sign == "≤" else max
        bar = (sign, best(value for name, value in values.items() if name.endswith("prior"))) if setting.has_bars else None
        others = {name: value for name, value in values.items() if name != "ours"}
        rows.append(Row("generate", measure, values["ours"], ".3f", others, seed, seconds, bar))
    bar = ("≥", 0.97) if setting.has_bars else None
    rows.append(Row("generate", "sample(label=k) read as k", read, ".3f", {"real test images": accuracy}, seed, seconds, bar))
    return rows


def _read_rightly(judge: Judge, generator: Generator, seed: int, n: int) -> float:
    """The share of `n` samples of each class that is read as that class."""
    right = [judge.predict(generator.sample(n, label=label, random_state=seed)) == label for label in generator.classes_]
    return float(np.mean(right))
