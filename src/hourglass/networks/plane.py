"""A network whose code, of up to three dimensions, is a map of a wider representation."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from hourglass.networks.base import Network
from hourglass.networks.dense import dense_layers
from hourglass.networks.embedding import WIDTH, Embedding
from hourglass.objectives import Output

_LAYERS, _BACK = (128, 128, 128, 128), (128, 128)


class Beside(nn.Module):
    """(n, *shape) -> (n, k + m): what `body` makes of the input, k values, and a linear map of it beside them, m values."""

    def __init__(self, body: nn.Module, linear: nn.Linear) -> None:
        super().__init__()
        self.body, self.linear = body, linear

    def forward(self, samples: Tensor) -> Tensor:
        return torch.cat([self.body(samples), self.linear(samples.flatten(1))], 1)


class First(nn.Module):
    """(n, k) -> (n, count): the first `count` values."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def extra_repr(self) -> str:
        return str(self.count)

    def forward(self, values: Tensor) -> Tensor:
        return values[:, : self.count]


class Plane(Network):
    """An embedding of 32 dimensions with 32 principal components beside it, and fully connected layers that lay out both.

    The preset "features" trains the embedding first, then the layout (`estimators/layout.py`). Images are decoded from the
    embedding that is decoded from the code.
    """

    default_hidden = Embedding.default_hidden
    is_separable = False

    encoder: nn.Sequential
    decoder: nn.Sequential

    def __init__(self, shape: tuple[int, ...], n_components: int, hidden: tuple[int, ...], bounded: bool) -> None:
        super().__init__()
        wide, layout = Embedding(shape, WIDTH, hidden, bounded), new_layout(2 * WIDTH, n_components)
        self.encoder = nn.Sequential(Beside(wide.encoder, nn.Linear(math.prod(shape), WIDTH)), layout.encoder)
        self.decoder = nn.Sequential(layout.decoder, First(WIDTH), wide.decoder)

    @property
    def layout(self) -> Layout:
        """The part between the 64 dimensions and the code, as a network of its own with the same weights."""
        return Layout(self.encoder[1], self.decoder[0])


class Layout(Network):
    """The layers between vectors and their places in few dimensions. What is decoded has no influence on the places."""

    encoder: nn.Sequential
    decoder: nn.Sequential

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        assert isinstance(encoder, nn.Sequential)
        assert isinstance(decoder, nn.Sequential)
        self.encoder, self.decoder = encoder, decoder

    def forward(self, samples: Tensor) -> Output:
        codes = self.encoder(samples)
        return Output(self.decoder(codes.detach()), codes)


def new_layout(width: int, n_components: int) -> Layout:
    """Fully connected layers, linear next to the code, with weights from torch's global generator."""
    encoder = nn.Sequential(*dense_layers((width, *_LAYERS, n_components)))
    decoder = nn.Sequential(*dense_layers((n_components, *_BACK, width)))
    for layer in (*encoder, *decoder):
        if isinstance(layer, nn.Linear):  # torch's weights shrink the signal in each of so many layers
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="leaky_relu")
    return Layout(encoder, decoder)
