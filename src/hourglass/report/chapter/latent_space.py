"""Section 6, exercise 9.2: the latent space, and a number generator."""

from __future__ import annotations

from itertools import cycle, islice
from typing import Any

import numpy as np

from hourglass.estimators import Autoencoder, Generator
from hourglass.evaluation.baselines import PrincipalComponents
from hourglass.evaluation.codes import ClusterQuality, cluster_quality
from hourglass.images import Array, Float32
from hourglass.latent import bounds, classify, grid, sample_class
from hourglass.report.chapter.laboratory import Findings, Laboratory, Topic, percent
from hourglass.report.figures import image_rows, planes
from hourglass.report.plots import mosaic, regions
from hourglass.report.sections import Picture, Table

_CLAIM = """Exercise 9.2: use encoder and decoder individually. Encode the digits into a latent space of two dimensions, look \
at where they lie, cluster them, walk through the space with the decoder, and build a number generator: find the \
region of each digit, make new elements there, decode them."""

_EXAMPLE = """import numpy as np

import hourglass as hg

mnist = hg.load("mnist")
train, test = mnist.train, mnist.test
ae = hg.Autoencoder(2, preset="features", epochs=1, random_state=0).fit(train.images)  # no labels
codes = ae.transform(test.images)  # the encoder alone: float32 (n, 2), to be plotted
image = ae.inverse_transform(np.zeros((1, 2)))  # the decoder alone: what lies at the origin

generator = hg.Generator.from_autoencoder(ae, train.images, train.labels)  # a density for each digit
walk = generator.interpolate(test.images[0], test.images[1], steps=9)
number = generator.sample(5, label=[3, 1, 4, 1, 5], random_state=0)
generator.save("numbers.hg")
"""

_NUMBER = "31415"
_OURS = "autoencoder, features"
_N_CLUSTERED = 10_000
_GRID_SIZE = 20


def _experiment(lab: Laboratory) -> Findings:
    train, test = lab.dataset.train, lab.dataset.test
    ours, _ = lab.fit(Autoencoder(2, preset="features"), train.images, name="features, 2 dimensions")
    plain, _ = lab.fit(Autoencoder(2), train.images, name="plain, 2 dimensions")
    encoders = {"PCA": PrincipalComponents(2).fit(train.images), "plain autoencoder": plain, _OURS: ours}
    codes = {
        name: (encoder.transform(train.images[:_N_CLUSTERED]), encoder.transform(test.images))
        for name, encoder in encoders.items()
    }
    quality = {
        name: cluster_quality(train_codes, train.known_labels[:_N_CLUSTERED], test_codes, test.known_labels, lab.seed)
        for name, (train_codes, test_codes) in codes.items()
    }
    generator = Generator.from_autoencoder(ours, train.images, train.known_labels)
    accuracy = _label_accuracy(lab, generator)
    return Findings(
        run=(
            f'Two latent dimensions, learned without labels from {len(train):,} images by `preset="features"`. First an '
            "autoencoder with 32 latent dimensions learns, whose penalty pulls together an image and a slightly warped copy of "
            "one of its nearest images; then its codes are laid out in two dimensions, so that images that are near in pixels "
            "stay near. For comparison there are a plain autoencoder with two latent dimensions, and PCA with two components. "
            f"Clusters and neighbours are fitted on {len(codes['PCA'][0]):,} training images and evaluated on {len(test):,} "
            f"test images. The generator fits a mixture of Gaussians to the codes of each {lab.noun}. Inside the region of "
            f"each {lab.noun}, {accuracy['n']} codes are drawn: the quarter of the samples with the highest class probability. "
            "They are decoded, and a classifier trained on real images predicts their labels. For comparison, as many samples "
            "are drawn without that selection."
        ),
        shown=[*_overview(lab, generator, codes, quality), *_generated(lab, generator, codes[_OURS][1], accuracy)],
        meaning=_meaning(lab, quality, accuracy),
        numbers={"clusters": quality, "read_rightly": accuracy},
    )


def _sample(generator: Generator, index: int, n: int, seed: int) -> Float32:
    """Sample codes in the region of the class with this index."""
    return sample_class(generator.density_, n, index, np.random.default_rng(seed + index))


def _label_accuracy(lab: Laboratory, generator: Generator, n: int = 200) -> dict[str, Any]:
    """Return the classifier's accuracy on `n` samples of each class, and on the real test images."""
    test = lab.dataset.test

    def accuracy(images: Array, label: Any) -> float:
        return float((lab.classifier.predict(images) == label).mean())

    labels = {str(label): label for label in generator.classes_}
    inside = {
        name: accuracy(generator.inverse_transform(_sample(generator, index, n, lab.seed)), label)
        for index, (name, label) in enumerate(labels.items())
    }
    anywhere = {
        name: accuracy(generator.sample(n, label=label, random_state=lab.seed), label) for name, label in labels.items()
    }
    means = {"mean inside": float(np.mean(list(inside.values()))), "mean anywhere": float(np.mean(list(anywhere.values())))}
    return {"n": n, "inside": inside, "anywhere": anywhere, **means, "real": accuracy(test.images, test.known_labels)}


def _overview(
    lab: Laboratory, generator: Generator, codes: dict[str, tuple[Float32, Float32]], quality: dict[str, ClusterQuality]
) -> list[Picture | Table]:
    """Show the codes, their separation of the classes, and the decoded latent space with walks through it."""
    rows = [[metrics["purity"], metrics["nmi"], metrics["accuracy"]] for metrics in quality.values()]
    return [
        Picture(
            "plane",
            planes({name: (test_codes, lab.dataset.test.known_labels) for name, (_, test_codes) in codes.items()}),
            f"The codes of the test images, coloured by {lab.noun}. No label was used for training.",
        ),
        Table(
            "Separation of the classes by two latent dimensions: purity and normalised mutual information of k-means "
            "clusters, and accuracy of 5 nearest neighbours.",
            ["", "purity", "NMI", "5-NN"],
            [[name, *(f"{value:.3f}" for value in row)] for name, row in zip(quality, rows, strict=True)],
            {(int(np.argmax(values)), column) for column, values in enumerate(zip(*rows, strict=True), 1)},
        ),
        Picture(
            "decoded-plane",
            mosaic(_decoded(generator, _extent(codes[_OURS][1])), _GRID_SIZE),
            "The decoded latent space: one image for each point of a grid.",
        ),
        Picture(
            "walks",
            image_rows(_walks(lab, generator)),
            f"Walks from one {lab.noun} to another, in nine equal steps through the latent space; the ends are "
            "reconstructions of test images.",
        ),
    ]


def _generated(lab: Laboratory, generator: Generator, codes: Float32, accuracy: dict[str, Any]) -> list[Picture | Table]:
    """Show the regions of the classes, samples from them, and their accuracy."""
    extent = _extent(codes)
    level = float(np.quantile(np.exp(generator.density_.log_density(codes)), 0.02))
    classification = classify(generator.density_, grid(extent, 150, 150), level).reshape(150, 150)
    samples = np.concatenate([_sample(generator, index, 8, lab.seed) for index in range(len(generator.classes_))])
    rows = []
    for where in ("inside", "anywhere"):
        shares = (*accuracy[where].values(), accuracy[f"mean {where}"], accuracy["real"])
        rows.append([where, *(f"{100 * share:.0f} %" for share in shares)])
    return [
        Picture(
            "regions",
            regions(classification, extent, codes, lab.dataset.test.known_labels, samples),
            f"The region of each {lab.noun}, where its density is largest and not negligible. Dots are test images, crosses "
            "samples.",
        ),
        Picture("numbers", image_rows(_numbers(lab, generator)), f"New images of each {lab.noun}, and a number made of them."),
        Table(
            f"Share of {accuracy['n']} new images of each {lab.noun}, and of the real test images, that the classifier "
            "assigns to it.",
            ["samples", *accuracy["inside"], "all", "real"],
            rows,
        ),
    ]


def _extent(codes: Float32) -> tuple[float, float, float, float]:
    return bounds(codes, 0.998)


def _decoded(generator: Generator, extent: tuple[float, float, float, float]) -> Array:
    """Decode a grid over the latent space, the top row first."""
    codes = grid(extent, _GRID_SIZE, _GRID_SIZE).reshape(_GRID_SIZE, _GRID_SIZE, 2)[::-1].reshape(-1, 2)
    return generator.inverse_transform(codes)


def _walks(lab: Laboratory, generator: Generator) -> dict[str, Array]:
    images, labels, names = lab.dataset.test.images, lab.dataset.test.known_labels, generator.classes_[:10]
    codes = generator.encode(images)
    ends = []
    for name in names:  # the image nearest to the median code of each class
        rows = np.flatnonzero(labels == name)
        ends.append(images[rows[np.square(codes[rows] - np.median(codes[rows], axis=0)).sum(1).argmin()]])
    pairs = [(index, (index + 1) % len(ends)) for index in range(0, len(ends), 2)]
    return {f"{names[a]} to {names[b]}": generator.interpolate(ends[a], ends[b], steps=9) for a, b in pairs}


def _numbers(lab: Laboratory, generator: Generator) -> dict[str, Array]:
    """Generate ten images of each class, and for digits a number, else the classes in turn."""
    names = [str(label) for label in generator.classes_]
    rows: dict[str, Array] = {
        name: generator.inverse_transform(_sample(generator, index, 10, lab.seed)) for index, name in enumerate(names[:10])
    }
    text = islice(cycle(_NUMBER if lab.noun == "digit" else names), 10)
    codes = [_sample(generator, names.index(name), 1, lab.seed + 50 + position) for position, name in enumerate(text)]
    name = f"{_NUMBER}, twice" if lab.noun == "digit" else "in turn"
    return rows | {name: generator.inverse_transform(np.concatenate(codes))}


def _meaning(lab: Laboratory, quality: dict[str, ClusterQuality], accuracy: dict[str, Any]) -> str:
    ours, pca = quality[_OURS], quality["PCA"]
    shares: dict[str, float] = accuracy["anywhere"]
    hardest = min(shares, key=lambda label: shares[label])
    better = (
        "Apart from the style of writing, to which the penalty makes codes insensitive, images mostly differ in their class."
        if lab.noun == "digit"
        else ""
    )
    handwriting = (
        " With the 32 latent dimensions of `hourglass generate --text 31415 -o number.png` digits look handwritten."
        if lab.noun == "digit"
        else ""
    )
    return (
        f"With two latent dimensions, k-means clusters have a purity of {ours['purity']:.2f}, compared with "
        f"{pca['purity']:.2f} for PCA, and the five nearest neighbours an accuracy of {percent(ours['accuracy'])}, compared "
        f"with {percent(pca['accuracy'])}; no label was used to learn the codes. "
        f"{better if ours['purity'] > pca['purity'] else ''}\n\nThe decoder works anywhere in the latent space, also far from "
        f"any image: between two regions it draws something between two {_plural(lab.noun)}, or neither. That is why the "
        f"generator samples inside the regions: the classifier confirms {percent(accuracy['mean inside'])} of these images, "
        f"{percent(accuracy['mean anywhere'])} of samples from anywhere, and {percent(accuracy['real'])} of real ones. For "
        f"samples from anywhere, the hardest is {hardest}, with {percent(shares[hardest])}. Two latent dimensions are few, "
        f"so the images of a class look similar.{handwriting}"
    )


def _plural(noun: str) -> str:
    return {"digit": "digits", "class": "classes"}[noun]


LATENT_SPACE = Topic("latent-space", "Exercise 9.2: the latent space and a number generator", _CLAIM, _EXAMPLE, _experiment)
