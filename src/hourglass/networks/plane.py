"""A network whose code, of two or few dimensions, is a map of a wider representation."""

from __future__ import annotations

from torch import Tensor, nn

from hourglass.networks.base import Network
from hourglass.networks.dense import dense_layers
from hourglass.networks.embedding import WIDTH, Embedding
from hourglass.objectives import Output

_LAYERS = (256, 256, 256)


class Plane(Network):
    """An embedding of 32 dimensions, and fully connected layers that lay it out in fewer.

    The preset "features" trains the embedding first, then the layout on its codes (`estimators/layout.py`). Trained as any
    other network, its penalties act on the 32 dimensions (`Output.representations`).
    """

    default_hidden = Embedding.default_hidden
    is_separable = False

    encoder: nn.Sequential
    decoder: nn.Sequential

    def __init__(self, shape: tuple[int, ...], n_components: int, hidden: tuple[int, ...], bounded: bool) -> None:
        super().__init__()
        wide, layout = Embedding(shape, WIDTH, hidden, bounded), Layout((WIDTH,), n_components, _LAYERS)
        self.encoder = nn.Sequential(wide.encoder, layout.encoder)
        self.decoder = nn.Sequential(layout.decoder, wide.decoder)

    @property
    def layout(self) -> Layout:
        """The part between the 32 dimensions and the code, as a network of its own with the same weights."""
        encoder, decoder = self.encoder[1], self.decoder[0]
        assert isinstance(encoder, nn.Sequential)
        assert isinstance(decoder, nn.Sequential)
        made = Layout((WIDTH,), len(encoder[-1].get_parameter("bias")), _LAYERS)
        made.encoder, made.decoder = encoder, decoder
        return made

    def forward(self, samples: Tensor) -> Output:
        representations = self.encoder[0](samples)
        codes = self.encoder[1](representations)
        return Output(self.decoder(codes), codes, representations=representations)


class Layout(Network):
    """Fully connected layers between vectors and their places in few dimensions, linear next to the code."""

    encoder: nn.Sequential
    decoder: nn.Sequential

    def __init__(self, shape: tuple[int, ...], n_components: int, hidden: tuple[int, ...], bounded: bool = False) -> None:
        super().__init__()
        self.encoder = nn.Sequential(*dense_layers((*shape, *hidden, n_components)))
        self.decoder = nn.Sequential(*dense_layers((n_components, *hidden[::-1], *shape)))
        for layer in (*self.encoder, *self.decoder):
            if isinstance(layer, nn.Linear):  # torch's weights shrink the signal in each of so many layers
                nn.init.kaiming_uniform_(layer.weight, nonlinearity="leaky_relu")
