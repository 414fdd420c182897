"""Section 6, exercise 9.2: the latent space, and a number generator."""

from __future__ import annotations

from typing import Any

import numpy as np

from hourglass.estimators import Autoencoder, Generator
from hourglass.evaluation.baselines import PrincipalComponents
from hourglass.evaluation.codes import ClusterQuality, cluster_quality
from hourglass.images import Array, Float32
from hourglass.latent import bounds, draw_inside, owners, plane
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
_CLUSTERED = 10_000
_SIDE = 20


def _experiment(lab: Laboratory) -> Findings:
    train, test = lab.dataset.train, lab.dataset.test
    ours, _ = lab.fit(_plane(lab), train.images, name="a plane")
    plain, _ = lab.fit(Autoencoder(2), train.images, name="a plain plane")
    encoders = {"PCA": PrincipalComponents(2).fit(train.images), "plain autoencoder": plain, "autoencoder, features": ours}
    codes = {
        name: (encoder.transform(train.images[:_CLUSTERED]), encoder.transform(test.images))
        for name, encoder in encoders.items()
    }
    quality = {
        name: cluster_quality(known, train.known_labels[:_CLUSTERED], asked, test.known_labels, lab.seed)
        for name, (known, asked) in codes.items()
    }
    generator = Generator.from_autoencoder(ours, train.images, train.known_labels)
    here = codes["autoencoder, features"][1]
    extent = bounds(here, 0.998)
    drawn = np.concatenate([_drawn(generator, label, 8, lab.seed) for label in range(len(generator.classes_))])
    read = _read(lab, generator)
    return Findings(
        run=(
            f'Two numbers a code, learned without labels from {len(train):,} images: `preset="features"`, an autoencoder '
            "whose penalty draws an image and its slightly warped copy together and keeps who is near whom; beside it a "
            "plain autoencoder with two numbers, and PCA to two. Clusters and neighbours are fitted on "
            f"{len(codes['PCA'][0]):,} training images and measured on {len(test):,} test images. For the generator each "
            f"digit gets a mixture of Gaussians over its codes; {read['n']} codes are drawn in the region of each digit, "
            "where its density is the greatest by far, and decoded, and a classifier that was trained on real images alone "
            "reads the result."
        ),
        shown=_shown(lab, generator, codes, quality, extent, here, drawn, read),
        meaning=_meaning(lab, quality, read),
        numbers={"clusters": quality, "read_rightly": read},
    )


def _plane(lab: Laboratory) -> Autoencoder:
    # of few images, smaller batches make more steps in the same time
    return Autoencoder(2, preset="features", epochs=lab.passes(8, 22), batch_size=256 if lab.quick else None)


def _drawn(generator: Generator, index: int, n: int, seed: int) -> Float32:
    """Codes of new elements in the region of the class with this index."""
    return draw_inside(generator.density_, n, index, np.random.default_rng(seed + index))


def _read(lab: Laboratory, generator: Generator, n: int = 200) -> dict[str, Any]:
    """How many of `n` draws of each class the judge reads as that class, and how many of the real test images."""
    test = lab.dataset.test
    shares = {
        str(label): float(
            (lab.judge.predict(generator.inverse_transform(_drawn(generator, index, n, lab.seed))) == label).mean()
        )
        for index, label in enumerate(generator.classes_)
    }
    real = float((lab.judge.predict(test.images) == test.known_labels).mean())
    return {"n": n, "shares": shares, "mean": float(np.mean(list(shares.values()))), "real": real}


def _shown(
    lab: Laboratory,
    generator: Generator,
    codes: dict[str, tuple[Float32, Float32]],
    quality: dict[str, ClusterQuality],
    extent: tuple[float, float, float, float],
    here: Float32,
    drawn: Float32,
    read: dict[str, Any],
) -> list[Picture | Table]:
    labels = lab.dataset.test.known_labels
    best = {
        measure: max(range(len(quality)), key=lambda row: list(quality.values())[row][measure])
        for measure in ("purity", "nmi", "accuracy")
    }
    grid = plane(extent, 150, 150)
    level = float(np.quantile(np.exp(generator.density_.log_density(here)), 0.02))
    owned = owners(generator.density_, grid, level).reshape(150, 150)
    return [
        Picture(
            "plane",
            planes({name: (asked, labels) for name, (_, asked) in codes.items()}),
            "The test images in the plane, coloured by digit. No label was used to find these places.",
        ),
        Table(
            "How well two numbers part the digits: purity and normalised mutual information of k-means clusters, and "
            "accuracy of 5 nearest neighbours.",
            ["", "purity", "NMI", "5-NN"],
            [[name, *(f"{found[m]:.3f}" for m in ("purity", ("nmi"), ("accuracy")))] for name, found in quality.items()],
            {(row, column) for column, row in enumerate(best.values(), 1)},
        ),
        Picture(
            "decoded-plane",
            mosaic(_decoded(generator, extent), _SIDE),
            "The plane, decoded: one image for each place of a grid over it.",
        ),
        Picture(
            "walks",
            image_rows(_walks(lab, generator)),
            "Walks between digits, in nine equal steps through the plane; the ends are reconstructions of test images.",
        ),
        Picture(
            "regions",
            regions(owned, extent, here, labels, drawn),
            "The region of each digit: where its density is the greatest, and there is any. Dots are test images, crosses "
            "new elements.",
        ),
        Picture(
            "numbers", image_rows(_numbers(lab, generator)), f"New digits, and the number {_number(generator)} that they write."
        ),
        Table(
            f"How many of {read['n']} new images of each digit an independent classifier reads as that digit, and of the "
            "real test images.",
            ["", *read["shares"], "all", "real"],
            [["read rightly", *(f"{100 * share:.0f} %" for share in (*read["shares"].values(), read["mean"], read["real"]))]],
        ),
    ]


def _decoded(generator: Generator, extent: tuple[float, float, float, float]) -> Array:
    """Images of the plane, the top row first."""
    codes = plane(extent, _SIDE, _SIDE).reshape(_SIDE, _SIDE, 2)[::-1].reshape(-1, 2)
    return generator.inverse_transform(codes)


def _walks(lab: Laboratory, generator: Generator) -> dict[str, Array]:
    images, labels, names = lab.dataset.test.images, lab.dataset.test.known_labels, generator.classes_[:10]
    codes = generator.encode(images)
    ends = []
    for name in names:  # of each digit the image in the middle of the others
        mine = np.flatnonzero(labels == name)
        ends.append(images[mine[np.square(codes[mine] - np.median(codes[mine], axis=0)).sum(1).argmin()]])
    pairs = [(index, (index + 1) % len(ends)) for index in range(0, len(ends), 2)]
    return {f"{names[a]} to {names[b]}": generator.interpolate(ends[a], ends[b], steps=9) for a, b in pairs}


def _number(generator: Generator) -> str:
    """Pi's digits, where the classes are digits; else the classes themselves."""
    known = [str(label) for label in generator.classes_]
    return _NUMBER if set(_NUMBER) <= set(known) else "".join(known[:5])


def _numbers(lab: Laboratory, generator: Generator) -> dict[str, Array]:
    known = [str(label) for label in generator.classes_]
    rows: dict[str, Array] = {
        name: generator.inverse_transform(_drawn(generator, index, 10, lab.seed)) for index, name in enumerate(known[:10])
    }
    written = [
        _drawn(generator, known.index(character), 1, lab.seed + 50 + place)
        for place, character in enumerate(_number(generator) * 2)
    ]
    return rows | {_number(generator) + ", twice": generator.inverse_transform(np.concatenate(written))}


def _meaning(lab: Laboratory, quality: dict[str, ClusterQuality], read: dict[str, Any]) -> str:
    ours, pca = quality["autoencoder, features"], quality["PCA"]
    shares: dict[str, float] = read["shares"]
    hardest = min(shares, key=lambda label: shares[label])
    return (
        f"On two numbers, k-means finds the digits with a purity of {ours['purity']:.2f} against PCA's {pca['purity']:.2f}, "
        f"and the five nearest neighbours name {percent(ours['accuracy'])} of the test images rightly against "
        f"{percent(pca['accuracy'])}, although no label was used: what makes a digit is the main thing in which such images "
        "differ, once writing style is told to matter little. What remains mixed up is what looks alike.\n\nThe decoder "
        "works anywhere in the plane, also where no image was: between two regions it draws something between two digits, "
        "or neither. That is why the generator draws inside the regions. Of its new digits the classifier reads "
        f"{percent(read['mean'])} as what they should be (it reads {percent(read['real'])} of the real ones rightly); the "
        f"hardest is {hardest}, with {percent(shares[hardest])}. Two numbers are few, and the digits look alike; with 32 "
        "numbers they look written, as the last section shows. `hourglass generate --text 31415 -o number.png` writes any "
        "number that way."
    )


LATENT_SPACE = Topic("latent-space", "Exercise 9.2: the latent space and a number generator", _CLAIM, _EXAMPLE, _experiment)
