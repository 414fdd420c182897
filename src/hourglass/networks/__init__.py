"""Networks: encoders and decoders, by name or your own."""

from hourglass.networks.base import Network, Pair
from hourglass.networks.basis import change_basis
from hourglass.networks.code import Code
from hourglass.networks.layers import is_encoder_then_decoder, layers_of, run_layers
from hourglass.networks.registry import COMPOSED, NETWORKS, build, center, describe, has_convolution, to_device

__all__ = [
    "COMPOSED",
    "NETWORKS",
    "Code",
    "Network",
    "Pair",
    "build",
    "center",
    "change_basis",
    "describe",
    "has_convolution",
    "is_encoder_then_decoder",
    "layers_of",
    "run_layers",
    "to_device",
]
