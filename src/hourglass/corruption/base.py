"""The base class of corruptions: pure functions (images, generator) -> images of the same shape."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import overload

import numpy as np
import torch
from torch import Tensor

from hourglass.errors import ParameterError
from hourglass.images import Array, Float32, Sample, check_images, to_float


class Corruption(ABC):
    """Base class of corruptions: frozen dataclasses whose fields set the strength.

    A subclass defines `corrupt`; users call the object itself.
    """

    @property
    def is_random(self) -> bool:
        """Whether the result depends on the generator."""
        return True

    @property
    def inverse(self) -> Corruption | None:
        """The corruption that undoes this one, so that `t.inverse(t(images))` equals `images`; None if there is none."""
        return None

    @abstractmethod
    def corrupt(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Corrupt a batch.

        Parameters
        ----------
        images : Tensor of shape (n, c, h, w) or (n, features), float32 in 0..1
            On any device; not modified.
        generator : torch.Generator
            The only source of randomness, on the device of `images`; its state advances.

        Returns
        -------
        Tensor of the same shape, float32 in 0..1
        """

    @overload
    def __call__(self, images: Tensor, generator: torch.Generator | int | None = None) -> Tensor: ...
    @overload
    def __call__(self, images: Array, generator: torch.Generator | int | None = None) -> Float32: ...
    def __call__(self, images: Tensor | Array, generator: torch.Generator | int | None = None) -> Tensor | Float32:
        """Corrupt images.

        Parameters
        ----------
        images : ndarray (n, h, w), (n, h, w, c) or (n, features), uint8 or float in 0..1
            Or a Tensor, as `corrupt` takes it.
        generator : torch.Generator, int or None
            An int is a seed; None gives a new draw at every call.

        Returns
        -------
        ndarray of the same shape, float32 in 0..1; or a Tensor

        Raises
        ------
        DataError
            If an array violates the image contract.
        """
        if not isinstance(generator, torch.Generator):
            generator = seeded(generator, images.device if isinstance(images, Tensor) else "cpu")
        if isinstance(images, Tensor):
            return self.corrupt(images, generator)
        array = np.asarray(images)
        if array.ndim == 2:  # rows of features are checked and scaled like images one pixel wide
            rows = np.array(to_float(check_images(array[..., None]))[..., 0])
            corrupted_rows: Float32 = np.clip(self.corrupt(torch.from_numpy(rows), generator).numpy(), 0, 1)
            return corrupted_rows
        array = check_images(array)
        sample = Sample(array.shape[1:])
        corrupted = self.corrupt(torch.from_numpy(sample.to_network(array)), generator)
        return np.ascontiguousarray(sample.from_network(corrupted.numpy()))


def seeded(seed: int | None, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a generator on `device`, seeded with `seed` or, for None, by the operating system."""
    generator = torch.Generator(device)
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)
    return generator


def check_fraction(name: str, value: float) -> None:
    """Raise ParameterError unless `value` is in 0..1."""
    if not 0 <= value <= 1:
        raise ParameterError(f"{name}={value!r}; allowed: 0..1.")


def check_integer(name: str, value: float, low: int = 1, high: float = math.inf) -> int:
    """Return `value` as an int; raise ParameterError unless it is an integer in low..high (the CLI parses 2 as 2.0)."""
    if not low <= value <= high or value % 1 != 0:  # inf % 1 is NaN
        allowed = f"{low} or more" if high == math.inf else f"{low} to {high}"
        raise ParameterError(f"{name}={value!r}; allowed: a whole number, {allowed}.")
    return int(value)


def check_flag(name: str, value: float) -> bool:
    """Return `value` as a bool; raise ParameterError unless it is a bool, 0 or 1 (the CLI parses numbers only)."""
    if value not in (0, 1):
        raise ParameterError(f"{name}={value!r}; allowed: True or False, 1 or 0.")
    return bool(value)


def draw_fractions(images: Tensor, generator: torch.Generator) -> Tensor:
    """Draw one number in 0..1 per image, of shape (n, 1, …) to broadcast over `images`."""
    return torch.rand(len(images), *[1] * (images.ndim - 1), generator=generator, device=images.device, dtype=torch.float32)
