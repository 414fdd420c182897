"""Whitening of the codes of a trained network."""

from __future__ import annotations

from typing import Any

import torch

from hourglass.images import Array
from hourglass.latent import whitening
from hourglass.networks import change_basis
from hourglass.trained import Trained

_MOST = 1000  # images to whiten by
_FEWEST = 32  # among 40 photographs a part finds its own more often if codes are whitened, among 20 less often
# Chosen among 0 to 0.2, by how many of 100 photographs that were held out a part of them finds.
_SHRINKAGE = 0.001


def whiten(trained: Trained, images: Array | list[Array]) -> None:
    """Give the codes of images, maps averaged, mean 0 and nearly the identity as covariance, in the network's weights.

    What many images share then counts no more than what few do. The principal direction comes first. Codes of fewer than 32
    images stay as they are: their covariance says too little.
    """
    if len(images) < _FEWEST:
        return
    some = images[:: -(-len(images) // _MOST)]
    codes = trained.vectors(some, check_input=False)
    encoder: Any = trained.network.encoder
    decoder: Any = trained.network.decoder
    matrix = torch.from_numpy(whitening(codes, _SHRINKAGE)[:, ::-1].copy())
    change_basis(encoder, decoder, torch.from_numpy(codes.mean(0)), matrix.T)
