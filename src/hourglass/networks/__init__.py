"""Networks: encoders and decoders, by name or your own."""

from hourglass.networks.base import Network, Pair
from hourglass.networks.code import Code
from hourglass.networks.layers import answer, is_encoder_then_decoder, layers_of
from hourglass.networks.registry import NETWORKS, build, center, describe, has_convolution, place

__all__ = [
    "NETWORKS",
    "Code",
    "Network",
    "Pair",
    "answer",
    "build",
    "center",
    "describe",
    "has_convolution",
    "is_encoder_then_decoder",
    "layers_of",
    "place",
]
