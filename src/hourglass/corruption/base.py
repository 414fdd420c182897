"""What every corruption is: a pure function (images, generator) -> images of the same shape."""

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
    """Base of all corruptions: frozen dataclasses whose fields say how strong the damage is.

    A subclass defines `corrupt`; users call the object itself.
    """

    @property
    def is_random(self) -> bool:
        """Whether two draws differ."""
        return True

    @property
    def inverse(self) -> Corruption | None:
        """What undoes it: `t.inverse(t(images))` gives the images back. None where nothing does."""
        return None

    @abstractmethod
    def corrupt(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Damage a batch.

        Parameters
        ----------
        images : Tensor of shape (n, c, h, w) or (n, features), float32 in 0..1
            Left as they are, on any device.
        generator : torch.Generator
            Where all chance comes from, on the images' device; its state moves on.

        Returns
        -------
        Tensor of the same shape, float32 in 0..1
        """

    @overload
    def __call__(self, images: Tensor, generator: torch.Generator | int | None = None) -> Tensor: ...
    @overload
    def __call__(self, images: Array, generator: torch.Generator | int | None = None) -> Float32: ...
    def __call__(self, images: Tensor | Array, generator: torch.Generator | int | None = None) -> Tensor | Float32:
        """Damage images.

        Parameters
        ----------
        images : ndarray (n, h, w), (n, h, w, c) or (n, features), uint8 or float in 0..1
            Or a Tensor, as `corrupt` takes it.
        generator : torch.Generator, int or None
            An int is a seed; None draws another damage at every call.

        Returns
        -------
        ndarray of the same shape, float32 in 0..1; or a Tensor

        Raises
        ------
        DataError
            If an array breaks the image contract.
        """
        if not isinstance(generator, torch.Generator):
            generator = seeded(generator, images.device if isinstance(images, Tensor) else "cpu")
        if isinstance(images, Tensor):
            return self.corrupt(images, generator)
        array = np.asarray(images)
        if array.ndim == 2:  # rows are checked and scaled like images one pixel wide, and damaged as rows
            rows = np.array(to_float(check_images(array[..., None]))[..., 0])
            answer: Float32 = np.clip(self.corrupt(torch.from_numpy(rows), generator).numpy(), 0, 1)
            return answer
        array = check_images(array)
        layout = Sample(array.shape[1:])
        damaged = self.corrupt(torch.from_numpy(layout.to_network(array)), generator)
        return np.ascontiguousarray(layout.from_network(damaged.numpy()))


def seeded(seed: int | None, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator on `device`, seeded by `seed` or, for None, by the system."""
    generator = torch.Generator(device)
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)
    return generator


def check_share(name: str, value: float) -> None:
    """ParameterError unless `value` is a share in 0..1."""
    if not 0 <= value <= 1:
        raise ParameterError(f"{name}={value!r}; allowed: 0..1.")


def check_whole(name: str, value: float, low: int = 1, high: float = math.inf) -> int:
    """`value` as an int; ParameterError unless it is a whole number in low..high (the command line reads 2 as 2.0)."""
    if not low <= value <= high or value % 1 != 0:  # the remainder of infinity is NaN
        allowed = f"{low} or more" if high == math.inf else f"{low} to {high}"
        raise ParameterError(f"{name}={value!r}; allowed: a whole number, {allowed}.")
    return int(value)


def check_flag(name: str, value: float) -> bool:
    """`value` as a bool; ParameterError unless it is one, or 0 or 1 (the command line reads numbers only)."""
    if value not in (0, 1):
        raise ParameterError(f"{name}={value!r}; allowed: True or False, 1 or 0.")
    return bool(value)


def share_of_each(images: Tensor, generator: torch.Generator) -> Tensor:
    """One number in 0..1 for each image, in a shape that multiplies them."""
    return torch.rand(len(images), *[1] * (images.ndim - 1), generator=generator, device=images.device, dtype=torch.float32)
