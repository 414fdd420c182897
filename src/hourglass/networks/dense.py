"""Networks of fully connected layers."""

from __future__ import annotations

import math
from itertools import pairwise

from torch import nn

from hourglass.networks.base import Network, output_activation


class Linear(Network):
    """y = W x + b, z = V y + c, without nonlinearities: the best fit spans the principal subspace.

    (Bourlard and Kamp 1988; Baldi and Hornik 1989.) `hidden` and `bounded` have no effect.
    """

    def __init__(self, shape: tuple[int, ...], n_components: int, hidden: tuple[int, ...], bounded: bool) -> None:
        super().__init__()
        features = math.prod(shape)
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(features, n_components))
        self.decoder = nn.Sequential(nn.Linear(n_components, features), nn.Unflatten(1, shape))


class MLP(Network):
    """Fully connected layers with LeakyReLU between them: the chapter's 784-128-64-32-64-128-784 by default.

    The LeakyReLU after the code belongs to the decoder, so that codes take any real value.
    """

    default_hidden = (128, 64)

    def __init__(self, shape: tuple[int, ...], n_components: int, hidden: tuple[int, ...], bounded: bool) -> None:
        super().__init__()
        self.encoder = mlp_encoder(shape, n_components, hidden)
        self.decoder = mlp_decoder(shape, n_components, hidden, bounded)


def mlp_encoder(shape: tuple[int, ...], n_codes: int, hidden: tuple[int, ...]) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), *dense_layers((math.prod(shape), *hidden, n_codes)))


def mlp_decoder(shape: tuple[int, ...], n_codes: int, hidden: tuple[int, ...], bounded: bool) -> nn.Sequential:
    layers = dense_layers((n_codes, *hidden[::-1], math.prod(shape)))
    return nn.Sequential(nn.LeakyReLU(), *layers, output_activation(bounded), nn.Unflatten(1, shape))


def dense_layers(widths: tuple[int, ...]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(widths):
        layers += [nn.Linear(fan_in, fan_out), nn.LeakyReLU()]
    return layers[:-1]
