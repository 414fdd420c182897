"""Views of an image for contrast, chosen by the training images: which are near it, and which changes of light are usual."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from hourglass.corruption import Compose, Corruption, Lighting, seeded
from hourglass.images import Float32
from hourglass.latent import NeighbourIndex
from hourglass.training import Rows, Source

_COMPONENTS = 32
_BLOCK = 50_000  # images among which to look for neighbours; the time grows with the square of it
_MOST_FITTED, _MOST_VALUES = 5000, 2**26
_CHUNK = 4096
_PROBES, _REFERENCES = 300, 3000
_FEWEST = 8  # images to probe with
_FACTORS = (1.0, 0.5, 0.25, 0.125)
_TOLERANCE = 1.05


def neighbours_of(source: Rows, count: int) -> NDArray[np.int64]:
    """The `count` nearest other samples of each, as positions in `source`, (n, count).

    Nearness is the distance of 32 principal components. Of more than 50,000 samples each finds its neighbours among as many,
    drawn at random, so that the time is linear.
    """
    codes = principal_components(source, principal_directions(source))
    n_blocks = math.ceil(len(codes) / _BLOCK)
    neighbours = np.empty((len(codes), count), np.int64)
    for block in np.array_split(np.random.default_rng(0).permutation(len(codes)), n_blocks):
        _, found = NeighbourIndex(codes[block]).search(codes[block], count + 1)
        is_own = found == np.arange(len(block))[:, None]
        others = np.argsort(is_own, axis=1, kind="stable")[:, :count]  # itself last; among equal images it may be missing
        neighbours[block] = block[np.take_along_axis(found, others, axis=1)]
    return neighbours


def principal_directions(source: Rows) -> PCA:
    """The 32 or fewer principal directions of an evenly spaced subset, of samples as a network takes them."""
    values = math.prod(source.array.shape[1:])
    some = _flat(source.some(max(2 * _COMPONENTS, min(_MOST_FITTED, _MOST_VALUES // values))))
    return PCA(min(_COMPONENTS, *some.shape), random_state=0).fit(some)


def principal_components(source: Rows, pca: PCA) -> Float32:
    """The principal components of all samples along the directions of `pca`, (n, 32 or fewer)."""
    chunks = (source.sample.to_network(drawn.targets.numpy()) for drawn in source.in_order(_CHUNK))
    return np.concatenate([pca.transform(chunk.reshape(len(chunk), -1)) for chunk in chunks]).astype(np.float32)


def admitted(corruption: Corruption | None, source: Source) -> Corruption | None:
    """`corruption` with each change of light only as strong as the images allow.

    A change is admitted if it leaves images what they are among others: samples that were put aside are, changed, at most 5 %
    farther from the nearest of the others than unchanged (median). Where images differ in brightness anyway, that holds for
    strong changes; where all are taken in the same light, for weak ones. No labels are used.
    """
    is_chosen = isinstance(corruption, Compose) and any(isinstance(part, Lighting) for part in corruption.corruptions)
    if not is_chosen or not source.sample.is_image:
        return corruption
    assert isinstance(corruption, Compose)
    images = source.some(_PROBES + _REFERENCES)
    order = np.random.default_rng(0).permutation(len(images))
    values = torch.from_numpy(source.sample.to_network(images.all_targets())[order])
    count = min(len(values) // 4, _PROBES)
    probes, others = values[:count], values[count:].flatten(1)
    usual = _to_nearest(probes, others)

    def fits(lighting: Lighting) -> bool:
        changed = _to_nearest(lighting.corrupt(probes, seeded(0)), others)
        return count >= _FEWEST and float((changed / usual.clamp(min=1e-6)).median()) <= _TOLERANCE

    def strongest(part: Corruption) -> Corruption:
        if not isinstance(part, Lighting):
            return part
        gain = next((part.gain * factor for factor in _FACTORS if fits(Lighting(part.gain * factor, 0))), 0.0)
        offset = next((part.offset * factor for factor in _FACTORS if fits(Lighting(0, part.offset * factor))), 0.0)
        return Lighting(gain, offset)

    return dataclasses.replace(corruption, corruptions=tuple(strongest(part) for part in corruption.corruptions))


def _to_nearest(images: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Distance of each image from the nearest of `others`."""
    return torch.cdist(images.flatten(1), others).amin(1)


def _flat(source: Rows) -> Float32:
    values = source.sample.to_network(source.all_targets())
    return values.reshape(len(values), -1)
