"""Trained models: network, sample, settings and history, and their file format."""

from hourglass.runtime.windows import windows_of
from hourglass.trained.card import Words, licensed
from hourglass.trained.files import CARD, Face, read_model, write_model
from hourglass.trained.model import HeldOut, Trained, as_device, build_network

__all__ = [
    "CARD",
    "Face",
    "HeldOut",
    "Trained",
    "Words",
    "as_device",
    "build_network",
    "licensed",
    "read_model",
    "windows_of",
    "write_model",
]
