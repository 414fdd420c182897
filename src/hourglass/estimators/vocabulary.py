"""The preset "photo-features": visual words among the codes of a trained network of maps.

The mean of maps over an image says little of what is in it. So features of single places are grouped by k-means into words, and
an image is described by how often it has each (Sivic and Zisserman 2003), places softly assigned (van Gemert et al. 2010).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.cluster import MiniBatchKMeans
from torch import nn

from hourglass.images import Array, Float32
from hourglass.latent import whitening
from hourglass.networks import change_basis, to_device
from hourglass.networks.words import N_WORDS, WIDTH, Words
from hourglass.trained import Trained, build_network

_N_IMAGES, _N_PLACES = 1000, 60_000  # to find the words in
_BATCH = 4096
_TEMPERATURE = 2.0  # chosen, as the number of words, by how often a part finds its photograph, of 100 that were held out
_SHRINKAGE = 0.5
_LEAST_SCALE = 1e-3  # of a channel, relative to that of all


def in_words(patches: Trained, n_components: int | None, images: Array | list[Array], seed: int) -> Trained:
    """`patches`, whose codes have 64 channels, followed by visual words that are found in `images`: a `Words`.

    Vectors have `n_components` dimensions: by default one for each of 512 words; fewer are principal directions. `patches` is
    used up: its channels become standardised.
    """
    some = images[:: -(-len(images) // _N_IMAGES)]
    places = _places(patches, some, seed)
    mean, scale = places.mean(0), np.maximum(places.std(0), _LEAST_SCALE * places.std()) + np.finfo(np.float32).tiny
    encoder: Any = patches.network.encoder
    decoder: Any = patches.network.decoder
    change_basis(encoder, decoder, torch.from_numpy(mean), torch.from_numpy(1 / scale).diag())

    settings = patches.settings | {"network": "words", "n_components": n_components or N_WORDS}
    network = build_network(settings, patches.sample, seed)
    assert isinstance(network, Words)
    network.encoder[0].load_state_dict(encoder.state_dict())
    network.decoder[1].load_state_dict(decoder.state_dict())
    _set_words(network, (places - mean) / scale, seed)
    to_device(network, patches.device)
    words = Trained(network, patches.sample, settings, patches.history, patches.n_threads, patches.held_out, patches.data)
    if isinstance(network.reduction, nn.Linear):
        linear, network.reduction = network.reduction, nn.Identity()
        _reduce(linear, words.vectors(some, check_input=False))
        network.reduction = linear
    return words


def _places(patches: Trained, images: Array | list[Array], seed: int) -> Float32:
    """Features of places drawn at random, as many of each image: float32 (n, 64)."""
    rng, count = np.random.default_rng(seed), -(-_N_PLACES // len(images))
    drawn = []
    for image in images:
        features = patches.encode(image[None], check_input=False)[0].reshape(WIDTH, -1).T
        drawn.append(features[rng.permutation(len(features))[:count]])
    return np.concatenate(drawn)


@torch.no_grad()
def _set_words(network: Words, places: Float32, seed: int) -> None:
    """Make words of the centres of clusters of `places`; of fewer places, some words are the same.

    A place belongs to a word in proportion to exp(-d² / T), where d is its distance from the centre.
    """
    n_words = network.code.width
    clusters = MiniBatchKMeans(min(n_words, len(places)), n_init=1, batch_size=_BATCH, random_state=seed)
    centres = torch.from_numpy(np.resize(clusters.fit(places).cluster_centers_, (n_words, WIDTH)))
    assign, features = network.encoder[1], network.decoder[0]
    assert isinstance(assign, nn.Conv2d)
    assert isinstance(features, nn.Conv2d)
    assert assign.bias is not None
    assign.weight.copy_(2 / _TEMPERATURE * centres[..., None, None])
    assign.bias.copy_(-centres.square().sum(1) / _TEMPERATURE)
    features.weight.copy_(centres.T[..., None, None])


@torch.no_grad()
def _reduce(linear: nn.Linear, histograms: Float32) -> None:
    """Make `linear` give the principal directions of square roots of histograms, the one of most variance first.

    Variances are nearly equalised. Directions in which these images do not differ are left out, as zeros.
    """
    matrix = whitening(histograms, _SHRINKAGE)[:, ::-1].T[: linear.out_features].copy()
    matrix[len(histograms) - 1 :] = 0
    linear.weight.copy_(torch.from_numpy(matrix))
    linear.bias.copy_(torch.from_numpy(-matrix @ histograms.mean(0)))
