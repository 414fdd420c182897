"""What every network is: an encoder x -> y and a decoder y -> z, each a module that can be used alone."""

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
        One sample, without the batch axis. A network that takes any size may be given some h and w, and reads c alone.
    n_components : int
        Latent dimensions; the channels of codes that are maps.
    hidden : tuple of int
        The widths between input and code, in the encoder's order; the decoder mirrors them.
    bounded : bool
        Whether samples lie in 0..1; then the decoder ends in a sigmoid.
    """

    encoder: nn.Module
    """float32 (n, *shape) -> codes (n, n_components)"""
    decoder: nn.Module
    """codes (n, n_components) -> float32 (n, *shape)"""
    code: Code
    """What the encoder makes: by default a vector of `n_components` latent dimensions."""
    margin: int = 0
    """The receptive field's reach in pixels, of a network that takes any size: how far a pixel of the input is felt."""

    default_hidden: ClassVar[tuple[int, ...]] = ()
    takes_any_size: ClassVar[bool] = False
    """Whether images of any height and width go in; their code is then maps."""
    is_local: bool = False
    """Whether the layers next to the image are convolutions, so that a large image is better cut into tiles than resized."""
    is_separable: ClassVar[bool] = True
    """Whether the encoder or decoder may be paired with another network's."""
    bypasses_code: ClassVar[bool] = False
    """Whether detail passes beside the code, so that the decoder alone makes little of it."""
    adds_input: ClassVar[bool] = False
    """Whether the answer is the input and a correction, which then may leave 0..1 a little."""
    draws: bool = False
    """Whether it draws from torch's own generator in training."""
    has_rate: ClassVar[bool] = False
    """Whether `Output.rate` is given: the network then learns nothing sensible without a penalty on it."""

    def forward(self, samples: Tensor) -> Output:
        codes = self.encoder(samples)
        return Output(self.decoder(codes), codes)


class Pair(Network):
    """An encoder and a decoder that were made apart: from two networks of the dict, or the user's own modules."""

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
    """Pass two samples through, so that modules that do not fit are refused before training, in one sentence.

    Raises
    ------
    ModelError
        If encoder or decoder fail on `shape`, or give codes or images of another shape.
    """
    first = next(network.parameters(), None)
    if first is None:
        raise ModelError("the network has no weights to train.")
    if first.is_meta:  # only their sizes are asked for: there are no values to pass through
        return
    sample = torch.full((2, *shape), 0.5, device=first.device, dtype=torch.float32)
    was_training = network.training
    try:
        with torch.no_grad():
            codes = network.eval().encoder(sample)
            wanted = network.code.shape(shape)
            decoded = network.decoder(codes) if codes.shape == (2, *wanted) else None
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:  # whatever a module may trip over
        reason = str(error).split("\n")[0]
        raise ModelError(f"the network cannot take samples of shape {shape}: {reason}") from error
    finally:
        network.train(was_training)
    if decoded is None:
        raise ModelError(
            f"the encoder gives codes of shape {tuple(codes.shape[1:])} for n_components={network.code.width}; "
            f"it must give (n, {', '.join(map(str, wanted))})."
        )
    if network.code.is_map:  # which are decoded whole, and cropped
        decoded = decoded[..., : shape[1], : shape[2]]
    if decoded.shape != sample.shape:
        raise ModelError(f"the decoder gives samples of shape {tuple(decoded.shape[1:])}; the images are {shape}.")
