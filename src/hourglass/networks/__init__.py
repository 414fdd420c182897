"""Networks: encoders and decoders, by name or your own."""

from hourglass.networks.base import Network, Output, Pair
from hourglass.networks.registry import NETWORKS, build, center, describe, place

__all__ = ["NETWORKS", "Network", "Output", "Pair", "build", "center", "describe", "place"]
