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

_CLAIM = """Exercise 9.2: use encoder and decoder individually. Encode the digits into a latent space of two numbers, look \
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
_CLUSTERED = 10_000
_SIDE = 20


def _experiment(lab: Laboratory) -> Findings:
    train, test = lab.dataset.train, lab.dataset.test
    ours, _ = lab.fit(_plane(lab), train.images, name="a plane")
    plain, _ = lab.fit(Autoencoder(2), train.images, name="a plain plane")
    encoders = {"PCA": PrincipalComponents(2).fit(train.images), "plain autoencoder": plain, _OURS: ours}
    codes = {
        name: (encoder.transform(train.images[:_CLUSTERED]), encoder.transform(test.images))
        for name, encoder in encoders.items()
    }
    quality = {
        name: cluster_quality(known, train.known_labels[:_CLUSTERED], asked, test.known_labels, lab.seed)
        for name, (known, asked) in codes.items()
    }
    generator = Generator.from_autoencoder(ours, train.images, train.known_labels)
    read = _read(lab, generator)
    return Findings(
        run=(
            f'Two numbers a code, learned without labels from {len(train):,} images: `preset="features"`, an autoencoder '
            "whose penalty draws an image and its slightly warped copy together and keeps who is near whom; beside it a "
            "plain autoencoder with two numbers, and PCA to two. Clusters and neighbours are fitted on "
            f"{len(codes['PCA'][0]):,} training images and measured on {len(test):,} test images. For the generator each "
            f"{lab.noun} gets a mixture of Gaussians over its codes. {read['n']} codes of each {lab.noun} are drawn inside "
            "its region, which are, of four times as many draws, those that most surely belong to it; they are decoded, and "
            "a classifier that was trained on real images alone reads the result. Beside it, as many draws without that "
            "choice."
        ),
        shown=[*_seen(lab, generator, codes, quality), *_generated(lab, generator, codes[_OURS][1], read)],
        meaning=_meaning(lab, quality, read),
        numbers={"clusters": quality, "read_rightly": read},
    )


def _plane(lab: Laboratory) -> Autoencoder:
    # of few images, smaller batches make more steps in the same time
    return Autoencoder(2, preset="features", epochs=lab.passes(8, 22), batch_size=256 if lab.quick else None)


def _drawn(generator: Generator, index: int, n: int, seed: int) -> Float32:
    """Codes of new elements in the region of the class with this index."""
    return sample_class(generator.density_, n, index, np.random.default_rng(seed + index))


def _read(lab: Laboratory, generator: Generator, n: int = 200) -> dict[str, Any]:
    """How many of `n` draws of each class the judge reads as that class, and how many of the real test images."""
    test = lab.dataset.test

    def share(images: Array, label: Any) -> float:
        return float((lab.classifier.predict(images) == label).mean())

    labels = {str(label): label for label in generator.classes_}
    inside = {
        name: share(generator.inverse_transform(_drawn(generator, index, n, lab.seed)), label)
        for index, (name, label) in enumerate(labels.items())
    }
    anywhere = {name: share(generator.sample(n, label=label, random_state=lab.seed), label) for name, label in labels.items()}
    means = {"mean inside": float(np.mean(list(inside.values()))), "mean anywhere": float(np.mean(list(anywhere.values())))}
    return {"n": n, "inside": inside, "anywhere": anywhere, **means, "real": share(test.images, test.known_labels)}


def _seen(
    lab: Laboratory, generator: Generator, codes: dict[str, tuple[Float32, Float32]], quality: dict[str, ClusterQuality]
) -> list[Picture | Table]:
    """Where the codes lie, how well they part the classes, and what the decoder makes of places and ways in the plane."""
    rows = [[found["purity"], found["nmi"], found["accuracy"]] for found in quality.values()]
    return [
        Picture(
            "plane",
            planes({name: (asked, lab.dataset.test.known_labels) for name, (_, asked) in codes.items()}),
            f"The test images in the plane, coloured by {lab.noun}. No label was used to find these places.",
        ),
        Table(
            "How well two numbers part the classes: purity and normalised mutual information of k-means clusters, and "
            "accuracy of 5 nearest neighbours.",
            ["", "purity", "NMI", "5-NN"],
            [[name, *(f"{value:.3f}" for value in row)] for name, row in zip(quality, rows, strict=True)],
            {(int(np.argmax(column)), place) for place, column in enumerate(zip(*rows, strict=True), 1)},
        ),
        Picture(
            "decoded-plane",
            mosaic(_decoded(generator, _extent(codes[_OURS][1])), _SIDE),
            "The plane, decoded: one image for each place of a grid over it.",
        ),
        Picture(
            "walks",
            image_rows(_walks(lab, generator)),
            f"Walks from one {lab.noun} to another, in nine equal steps through the plane; the ends are reconstructions of "
            "test images.",
        ),
    ]


def _generated(lab: Laboratory, generator: Generator, codes: Float32, read: dict[str, Any]) -> list[Picture | Table]:
    """The regions, what was drawn there, and how it is read."""
    extent = _extent(codes)
    level = float(np.quantile(np.exp(generator.density_.log_density(codes)), 0.02))
    owned = classify(generator.density_, grid(extent, 150, 150), level).reshape(150, 150)
    drawn = np.concatenate([_drawn(generator, index, 8, lab.seed) for index in range(len(generator.classes_))])
    return [
        Picture(
            "regions",
            regions(owned, extent, codes, lab.dataset.test.known_labels, drawn),
            f"The region of each {lab.noun}: where its density is the greatest, and there is any. Dots are test images, "
            "crosses new elements.",
        ),
        Picture("numbers", image_rows(_numbers(lab, generator)), f"New images of each {lab.noun}, and what they write."),
        Table(
            f"How many of {read['n']} new images of each {lab.noun} the classifier reads as that, and of the real test images.",
            ["drawn", *read["inside"], "all", "real"],
            [
                [where, *(f"{100 * share:.0f} %" for share in (*read[where].values(), read[f"mean {where}"], read["real"]))]
                for where in ("inside", "anywhere")
            ],
        ),
    ]


def _extent(codes: Float32) -> tuple[float, float, float, float]:
    return bounds(codes, 0.998)


def _decoded(generator: Generator, extent: tuple[float, float, float, float]) -> Array:
    """Images of the plane, the top row first."""
    codes = grid(extent, _SIDE, _SIDE).reshape(_SIDE, _SIDE, 2)[::-1].reshape(-1, 2)
    return generator.inverse_transform(codes)


def _walks(lab: Laboratory, generator: Generator) -> dict[str, Array]:
    images, labels, names = lab.dataset.test.images, lab.dataset.test.known_labels, generator.classes_[:10]
    codes = generator.encode(images)
    ends = []
    for name in names:  # of each class the image in the middle of the others
        mine = np.flatnonzero(labels == name)
        ends.append(images[mine[np.square(codes[mine] - np.median(codes[mine], axis=0)).sum(1).argmin()]])
    pairs = [(index, (index + 1) % len(ends)) for index in range(0, len(ends), 2)]
    return {f"{names[a]} to {names[b]}": generator.interpolate(ends[a], ends[b], steps=9) for a, b in pairs}


def _numbers(lab: Laboratory, generator: Generator) -> dict[str, Array]:
    """Ten new images of each class, and pi's first digits where there are such, else the classes in turn."""
    known = [str(label) for label in generator.classes_]
    rows: dict[str, Array] = {
        name: generator.inverse_transform(_drawn(generator, index, 10, lab.seed)) for index, name in enumerate(known[:10])
    }
    text = list(_NUMBER) if lab.noun == "digit" else known
    written = [
        _drawn(generator, known.index(name), 1, lab.seed + 50 + place) for place, name in enumerate(islice(cycle(text), 10))
    ]
    name = f"{_NUMBER}, twice" if lab.noun == "digit" else "in turn"
    return rows | {name: generator.inverse_transform(np.concatenate(written))}


def _meaning(lab: Laboratory, quality: dict[str, ClusterQuality], read: dict[str, Any]) -> str:
    ours, pca = quality[_OURS], quality["PCA"]
    shares: dict[str, float] = read["anywhere"]
    hardest = min(shares, key=lambda label: shares[label])
    better = (
        "What parts the classes is then mostly what images differ in, once writing style is told to matter little."
        if lab.noun == "digit"
        else ""
    )
    writes = (
        " With the 32 numbers of `hourglass generate --text 31415 -o number.png` digits look written by hand."
        if lab.noun == "digit"
        else ""
    )
    return (
        f"On two numbers, k-means finds the classes with a purity of {ours['purity']:.2f} against PCA's {pca['purity']:.2f}, "
        f"and the five nearest neighbours name {percent(ours['accuracy'])} of the test images rightly against "
        f"{percent(pca['accuracy'])}; no label was used to make the codes. "
        f"{better if ours['purity'] > pca['purity'] else ''}\n\nThe decoder works anywhere in the plane, also where no image "
        f"was: between two regions it draws something between two {_plural(lab.noun)}, or neither. That is why the generator "
        f"draws inside the regions: there the classifier reads {percent(read['mean inside'])} of the new images as what they "
        f"should be, of draws from anywhere {percent(read['mean anywhere'])}, of real ones {percent(read['real'])}. From "
        f"anywhere the hardest is {hardest}, with {percent(shares[hardest])}. Two numbers are few, and the images of a class "
        f"look alike.{writes}"
    )


def _plural(noun: str) -> str:
    return {"digit": "digits", "class": "classes"}[noun]


LATENT_SPACE = Topic("latent-space", "Exercise 9.2: the latent space and a number generator", _CLAIM, _EXAMPLE, _experiment)
