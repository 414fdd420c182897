"""Base class of networks: an encoder x -> y and a decoder y -> z, each usable alone."""

from __future__ import annotations

import math
from abc import ABC
from typing import ClassVar

import torch
from torch import Tensor, nn

from hourglass.errors import ModelError
from hourglass.networks.code import Code
from hourglass.objectives import Output


class Network(nn.Module, ABC):
    """An encoder and a decoder between samples and codes of `n_components` latent dimensions.

    A subclass builds both in its one `__init__(shape, n_components, hidden, bounded)`:

    shape : (c, h, w) of an image or (features,)
        Shape of one sample, without the batch axis. A network that takes any size ignores h and w.
    n_components : int
        Number of latent dimensions, or channels if codes are maps.
    hidden : tuple of int
        The widths between input and code, in the encoder's order; the decoder mirrors them.
    bounded : bool
        Whether samples lie in 0..1; the decoder then ends in a sigmoid.
    """

    encoder: nn.Module
    """float32 (n, *shape) -> codes (n, n_components)"""
    decoder: nn.Module
    """codes (n, n_components) -> float32 (n, *shape)"""
    code: Code
    """Format of codes: by default a vector of `n_components` latent dimensions."""
    margin: int = 0
    """For a network that takes any size: how far its receptive field reaches in pixels, a multiple of the code's stride."""

    default_hidden: ClassVar[tuple[int, ...]] = ()
    takes_any_size: ClassVar[bool] = False
    """Whether it takes images of any height and width; codes are then maps, and `forward` crops to the size of its input."""
    is_local: bool = False
    """Whether the layers next to the image are convolutions: better to tile a large image than to resize it."""
    is_separable: ClassVar[bool] = True
    """Whether its encoder or decoder may be paired with another network's."""
    bypasses_code: ClassVar[bool] = False
    """Whether skip connections bypass the code; the decoder alone then restores little detail."""
    adds_input: ClassVar[bool] = False
    """Whether the output is the input plus a correction, and so may slightly leave 0..1."""
    draws: bool = False
    """Whether training draws from torch's global generator."""
    has_rate: ClassVar[bool] = False
    """Whether it sets `Output.rate`; training then needs a penalty on the rate."""

    def forward(self, samples: Tensor) -> Output:
        codes = self.encoder(samples)
        return Output(self.decoder(codes), codes)

    def vectors(self, codes: Tensor) -> Tensor:
        """Codes as vectors (n, n_components): of maps, `head` of their means over height and width."""
        return self.head(codes.flatten(2).mean(2)) if self.code.is_map else codes

    def head(self, means: Tensor) -> Tensor:
        """What a vector is of the means of maps (n, code.width): by default the means."""
        return means


class Pair(Network):
    """An encoder and a decoder from two networks in `NETWORKS`, or the user's own modules."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module, *, is_local: bool, draws: bool = True) -> None:
        super().__init__()
        self.encoder, self.decoder, self.is_local, self.draws = encoder, decoder, is_local, draws


def output_activation(bounded: bool) -> nn.Module:
    return nn.Sigmoid() if bounded else nn.Identity()


def image_shape(shape: tuple[int, ...], network: str) -> tuple[int, int, int]:
    """`shape` as (c, h, w), or ModelError for features."""
    if len(shape) != 3:
        raise ModelError(
            f'network "{network}" needs images of shape (n, h, w) or (n, h, w, c); these are {math.prod(shape)} flat '
            'features. Use "mlp" or "linear", or reshape.'
        )
    channels, height, width = shape
    return channels, height, width


def check_fits(network: Network, shape: tuple[int, ...]) -> None:
    """Pass two samples through, to reject modules of the wrong shapes before training.

    Raises
    ------
    ModelError
        If encoder or decoder fails on `shape`, or returns another shape than expected.
    """
    first = next(network.parameters(), None)
    if first is None:
        raise ModelError("the network has no weights to train.")
    if first.is_meta:  # has shapes, but no values
        return
    sample = torch.full((2, *shape), 0.5, device=first.device, dtype=torch.float32)
    was_training = network.training
    try:
        with torch.no_grad():
            codes = network.eval().encoder(sample)
            wanted = network.code.shape(shape)
            decoded = network.decoder(codes) if codes.shape == (2, *wanted) else None
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:  # whatever a user's module may raise
        reason = str(error).split("\n")[0]
        raise ModelError(f"the network cannot take samples of shape {shape}: {reason}") from error
    finally:
        network.train(was_training)
    if decoded is None:
        raise ModelError(
            f"the encoder gives codes of shape {tuple(codes.shape[1:])} for n_components={network.code.width}; "
            f"it must give (n, {', '.join(map(str, wanted))})."
        )
    if network.code.is_map:  # decoded at padded height and width
        decoded = decoded[..., : shape[1], : shape[2]]
    if decoded.shape != sample.shape:
        raise ModelError(f"the decoder gives samples of shape {tuple(decoded.shape[1:])}; the images are {shape}.")
