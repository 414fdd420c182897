"""Networks: encoders and decoders, by name or your own."""

from hourglass.networks.base import Network, Pair
from hourglass.networks.registry import NETWORKS, build, center, describe, place

__all__ = ["NETWORKS", "Network", "Pair", "build", "center", "describe", "place"]
