"""A network whose code, of two or few dimensions, is a map of a wider representation."""

from __future__ import annotations

from torch import nn

from hourglass.networks.base import Network
from hourglass.networks.dense import dense_layers
from hourglass.networks.embedding import WIDTH, Embedding

_LAYERS = (256, 256, 256)


class Plane(Network):
    """An embedding of 32 dimensions, and fully connected layers that lay it out in fewer.

    The preset "features" trains the embedding first, then the layout on its codes (`estimators/layout.py`).
    """

    default_hidden = Embedding.default_hidden
    is_separable = False

    encoder: nn.Sequential
    decoder: nn.Sequential

    def __init__(self, shape: tuple[int, ...], n_components: int, hidden: tuple[int, ...], bounded: bool) -> None:
        super().__init__()
        wide, layout = Embedding(shape, WIDTH, hidden, bounded), new_layout(WIDTH, n_components)
        self.encoder = nn.Sequential(wide.encoder, layout.encoder)
        self.decoder = nn.Sequential(layout.decoder, wide.decoder)

    @property
    def layout(self) -> Layout:
        """The part between the 32 dimensions and the code, as a network of its own with the same weights."""
        return Layout(self.encoder[1], self.decoder[0])


class Layout(Network):
    """The layers between vectors and their places in few dimensions."""

    encoder: nn.Sequential
    decoder: nn.Sequential

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        assert isinstance(encoder, nn.Sequential)
        assert isinstance(decoder, nn.Sequential)
        self.encoder, self.decoder = encoder, decoder


def new_layout(width: int, n_components: int) -> Layout:
    """Fully connected layers, linear next to the code, with weights from torch's global generator."""
    encoder = nn.Sequential(*dense_layers((width, *_LAYERS, n_components)))
    decoder = nn.Sequential(*dense_layers((n_components, *_LAYERS[::-1], width)))
    for layer in (*encoder, *decoder):
        if isinstance(layer, nn.Linear):  # torch's weights shrink the signal in each of so many layers
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="leaky_relu")
    return Layout(encoder, decoder)
