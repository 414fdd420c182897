"""Evaluation of generation: fidelity and diversity of samples, and whether they show the requested class."""

from __future__ import annotations

from typing import Any

import numpy as np

from hourglass.data import Split
from hourglass.estimators import Generator
from hourglass.evaluation.baselines import PrincipalComponents
from hourglass.evaluation.generation import ReferenceClassifier, frechet_distance, nearest_images, precision_and_recall
from hourglass.evaluation.uses.measurements import Measurement, Setting
from hourglass.images import Float32
from hourglass.latent import Mixture, fit_mixture
from hourglass.objectives import Rate

_MAX_SAMPLES, _COMPARED = 5000, 1000
_TEMPERATURE = 0.85  # as of `Generator.sample`
_MIXTURE = "a Gaussian mixture on PCA codes"
VARIATIONAL: dict[str, dict[str, Any]] = {
    "VAE, bce": {"loss": "bce", "penalty": Rate(1.0)},  # the evidence lower bound of a Bernoulli decoder
    "VAE, mse": {"loss": "mse", "penalty": Rate(0.03)},  # of a Gaussian decoder, with about the residual variance
}


class PrincipalMixture:
    """A Gaussian mixture of each class on as many principal components as the generator has codes, with its temperature."""

    def __init__(self, train: Split, generator: Generator, seed: int) -> None:
        self.pca = PrincipalComponents(generator.settings_["n_components"]).fit(train.images)
        members = np.unique(train.known_labels, return_inverse=True)[1]
        codes = self.pca.transform(train.images)
        self.mixture: Mixture = fit_mixture(codes, members, generator.n_gaussians, seed)
        self.shape, self.classes = train.images.shape[1:], generator.classes_

    def sample(self, n: int, label: Any = None, random_state: int = 0) -> Float32:
        wanted = None if label is None else int(np.flatnonzero(self.classes == label)[0])
        codes = self.mixture.sample(n, np.random.default_rng(random_state), wanted, _TEMPERATURE)[0]
        images: Float32 = np.clip(self.pca.pca.inverse_transform(codes), 0, 1).astype(np.float32)
        return images.reshape(n, *self.shape)


def generate(setting: Setting) -> list[Measurement]:
    """Fréchet distance, precision and recall against the test images, and the accuracy of sample(label=k).

    All use a small classifier fitted on the real training images. Baselines are variational autoencoders of the same
    architecture, learning rate and training time, sampled from the prior N(0, I) and from a Gaussian fitted to their codes,
    and a Gaussian mixture on PCA codes. Copies would show as a small distance to the nearest training image, relative to that
    of test images.
    """
    train, test, seed = setting.dataset.train, setting.dataset.test, setting.seed
    classifier = ReferenceClassifier().fit(train.images, train.known_labels, seed)
    accuracy = float((classifier.predict(test.images) == test.known_labels).mean())
    setting.notes.append(
        f"generate: The classifier of generated images has an accuracy of {accuracy:.2%} on the real test images."
    )
    ours, seconds = setting.fit(Generator(), train.images, train.known_labels, name="generate")
    shared = {name: ours.settings_[name] for name in ("n_components", "hidden", "epochs", "batch_size", "learning_rate")}
    n = min(_MAX_SAMPLES, len(test), len(train))
    sets = {"ours": ours.sample(n, random_state=seed)}
    prior = np.random.default_rng(seed).standard_normal((n, shared["n_components"])).astype(np.float32)
    for name, options in VARIATIONAL.items():
        vae, _ = setting.fit(Generator(network="variational", n_gaussians=1, **options, **shared), train.images, name=name)
        sets[f"{name}, prior"] = vae.inverse_transform(prior)
        sets[f"{name}, a Gaussian fitted to its codes"] = vae.sample(n, temperature=1.0, random_state=seed)
    principal = PrincipalMixture(train, ours, seed)
    sets[_MIXTURE] = principal.sample(n, random_state=seed)
    rng = np.random.default_rng(seed + 1)
    sets["real training images"] = train.images[rng.permutation(len(train))[:n]]
    setting.pictures["generate"] = {
        **{f"label {label}": ours.sample(10, label=label, random_state=seed) for label in ours.classes_[:10]},
        **{name: images[:10] for name, images in sets.items() if name.endswith(("prior", _MIXTURE))},
        "samples": sets["ours"][:10],
        "their nearest training images": train.images[nearest_images(sets["ours"][:10], train.images)[1]],
    }
    real_images = test.images[rng.permutation(len(test))[:n]]
    real = classifier.features(real_images)
    results: dict[str, dict[str, float]] = {"Fréchet distance": {}, "precision": {}, "recall": {}}
    for name, images in sets.items():
        features = classifier.features(images)
        results["Fréchet distance"][name] = frechet_distance(real, features)
        results["precision"][name], results["recall"][name] = precision_and_recall(real, features)
    own = np.median(nearest_images(real_images[:_COMPARED], train.images)[0])
    nearest = {name: nearest_images(images[:_COMPARED], train.images)[0] for name, images in sets.items()}
    each = max(1, n // len(ours.classes_))
    shares = {name: _label_accuracy(classifier, model, seed, each) for name, model in (("ours", ours), (_MIXTURE, principal))}
    rows = []
    for measure, values in results.items():
        sign = "≤" if measure == "Fréchet distance" else "≥"
        best = min if sign == "≤" else max
        bar = (sign, best(value for name, value in values.items() if name.endswith("prior"))) if setting.has_bars else None
        baselines = {name: value for name, value in values.items() if name != "ours"}
        rows.append(Measurement("generate", measure, values["ours"], ".3f", baselines, seed, seconds, bar, sign == "≥"))
    bar = ("≥", 0.97) if setting.has_bars else None
    baselines = {"real test images": accuracy, _MIXTURE: shares[_MIXTURE]}
    rows.append(Measurement("generate", "sample(label=k) read as k", shares["ours"], ".3f", baselines, seed, seconds, bar))
    if own < 1e-4:  # of copies, but for rounding
        setting.notes.append("generate: Most test images are training images, too; distances to these say nothing.")
        return rows
    relative = {name: float(np.median(distances) / own) for name, distances in nearest.items()}
    baselines = {name: value for name, value in relative.items() if name != "ours"}
    measure = "distance to the nearest training image, relative to that of test images"
    rows.append(Measurement("generate", measure, relative["ours"], ".2f", baselines, seed, seconds))
    return rows


def _label_accuracy(classifier: ReferenceClassifier, generator: Generator | PrincipalMixture, seed: int, n: int) -> float:
    """Return the share of `n` samples of each class that the classifier assigns to it."""
    classes = classifier.classifier.classes_
    matches = [classifier.predict(generator.sample(n, label=label, random_state=seed)) == label for label in classes]
    return float(np.mean(matches))
