"""A network for features: codes to compare, search and plot."""

from __future__ import annotations

from torch import Tensor, nn

from hourglass.networks.base import Network
from hourglass.networks.convolutional import conv_encoder
from hourglass.networks.dense import mlp_decoder, mlp_encoder
from hourglass.objectives import Output

WIDTH = 32
_HEAD = 256


class Embedding(Network):
    """Convolutions down to a code, and a fully connected decoder; a narrow code is a projection of 32 dimensions.

    Contrastive penalties work badly in few dimensions, where codes block each other's way. So with fewer than 32 latent
    dimensions the penalties act on a representation (`Output.representations`), which a head projects to the code. For flat
    features the encoder is fully connected, eight times as wide.
    """

    default_hidden = (24, 48, 96)
    is_separable = False

    def __init__(self, shape: tuple[int, ...], n_components: int, hidden: tuple[int, ...], bounded: bool) -> None:
        super().__init__()
        self.is_wide = n_components >= WIDTH
        width = n_components if self.is_wide else WIDTH
        body = conv_encoder(shape, width, hidden) if len(shape) == 3 else mlp_encoder(shape, width, _wider(hidden)[::-1])
        layers = (nn.LeakyReLU(), nn.Linear(width, _HEAD), nn.LeakyReLU(), nn.Linear(_HEAD, n_components))
        self.encoder = nn.Sequential(body, nn.Identity() if self.is_wide else nn.Sequential(*layers))
        self.decoder = mlp_decoder(shape, n_components, (256, 128), bounded)

    def forward(self, samples: Tensor) -> Output:
        body, head = self.encoder
        representations = body(samples)
        codes = representations if self.is_wide else head(representations)
        return Output(self.decoder(codes), codes, representations=representations)

    encoder: nn.Sequential


def _wider(hidden: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(8 * width for width in hidden)
