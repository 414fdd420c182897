"""The base class of corruptions: pure functions (images, generator) -> images of the same shape."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from numbers import Real
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor

from hourglass.errors import ParameterError
from hourglass.images import Array, Float32, Sample, as_array, check_images, to_float

Range = float | tuple[float, float]
"""A number, or (low, high), between which each image draws its own uniformly."""


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

    @property
    def is_bounded(self) -> bool:
        """Whether images in 0..1 stay in 0..1."""
        return True

    @property
    def clips(self) -> bool:
        """Whether results are in 0..1 even for images that are not, as after noise that is not clipped."""
        return False

    @abstractmethod
    def corrupt(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Corrupt a batch.

        Parameters
        ----------
        images : Tensor of shape (n, c, h, w) or (n, features), float32 in 0..1
            On any device; not modified. Noise before it that is not clipped may leave 0..1.
        generator : torch.Generator
            The only source of randomness, on the device of `images`; its state advances by the shape alone, never by values.

        Returns
        -------
        Tensor of the same shape, float32, in 0..1 if `is_bounded`
        """

    @overload
    def __call__(self, images: Tensor, generator: torch.Generator | int | None = None) -> Tensor: ...
    @overload
    def __call__(self, images: Array | Sequence[Any], generator: torch.Generator | int | None = None) -> Float32: ...
    def __call__(
        self, images: Tensor | Array | Sequence[Any], generator: torch.Generator | int | None = None
    ) -> Tensor | Float32:
        """Corrupt images.

        Parameters
        ----------
        images : array-like (n, h, w), (n, h, w, c) or (n, features), uint8 or float in 0..1, or list of Pillow images
            Or a Tensor, as `corrupt` takes it.
        generator : torch.Generator, int or None
            An int is a seed; None gives a new draw at every call.

        Returns
        -------
        ndarray of the same shape, float32, in 0..1 if `is_bounded`; or a Tensor

        Raises
        ------
        DataError
            If an array violates the image contract.
        """
        if not isinstance(generator, torch.Generator):
            generator = seeded(generator, images.device if isinstance(images, Tensor) else "cpu")
        if isinstance(images, Tensor):
            return self.corrupt(images, generator)
        array = as_array(images)
        if array.ndim == 2:  # rows of features are checked and scaled like images one pixel wide
            rows = np.array(to_float(check_images(array[..., None]))[..., 0])
            return self._in_range(self.corrupt(torch.from_numpy(rows), generator))
        array = check_images(array)
        corrupted = self._in_range(self.corrupt(torch.from_numpy(Sample(array.shape[1:]).to_network(array)), generator))
        return np.ascontiguousarray(corrupted[:, 0] if array.ndim == 3 else np.moveaxis(corrupted, 1, 3))

    def _in_range(self, corrupted: Tensor) -> Float32:
        """Clipped to 0..1, which rounding may leave, unless the corruption leaves it on purpose."""
        return (corrupted.clamp(0, 1) if self.is_bounded else corrupted).numpy()


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
    if not (isinstance(value, Real) and 0 <= value <= 1):
        raise ParameterError(f"{name}={value!r}; allowed: 0..1.")


def check_integer(name: str, value: float, low: int = 1, high: float = math.inf) -> int:
    """Return `value` as an int; raise ParameterError unless it is an integer in low..high (the CLI parses 2 as 2.0)."""
    if not (isinstance(value, Real) and low <= value <= high) or value % 1 != 0:  # inf % 1 is NaN
        allowed = f"{low} or more" if high == math.inf else f"{low} to {high}"
        raise ParameterError(f"{name}={value!r}; allowed: a whole number, {allowed}.")
    return int(value)


def check_flag(name: str, value: float) -> bool:
    """Return `value` as a bool; raise ParameterError unless it is a bool, 0 or 1 (the CLI parses numbers only)."""
    if value not in (0, 1):
        raise ParameterError(f"{name}={value!r}; allowed: True or False, 1 or 0.")
    return bool(value)


def check_range(name: str, value: Range, low: float, high: float) -> Range:
    """Return `value`, a range as a tuple (JSON has lists); raise ParameterError unless all of it is in low..high."""
    ends = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(ends) != 2 or not all(isinstance(end, Real) for end in ends) or not low <= ends[0] <= ends[1] <= high:
        raise ParameterError(f"{name}={value!r}; allowed: a number in {low:g}..{high:g}, or a range (low, high) in it.")
    return ends if isinstance(value, (tuple, list)) else value


def check_whole_range(name: str, value: Range, low: int, high: int) -> Range:
    """`check_range` for whole numbers, which become int."""
    ends = check_range(name, value, low, high)
    if isinstance(ends, tuple):
        return check_integer(name, ends[0], low, high), check_integer(name, ends[1], low, high)
    return check_integer(name, ends, low, high)


def draw(value: Range, images: Tensor, generator: torch.Generator) -> Tensor | float:
    """`value`, or of a range one number per image, drawn uniformly, of shape (n, 1, …) to broadcast over `images`."""
    if not isinstance(value, tuple):
        return value
    low, high = value
    return draw_fractions(images, generator).mul_(high - low).add_(low)


def draw_whole(value: Range, images: Tensor, generator: torch.Generator) -> Tensor | float:
    """`draw` for whole numbers, each of the range with equal probability."""
    if not isinstance(value, tuple):
        return value
    low, high = value
    return draw_fractions(images, generator).mul_(high - low + 1).floor_().add_(low).clamp_(max=high)


def column(values: Tensor | float, images: Tensor) -> Tensor:
    """What `draw` gave as float32 (n, 1), or for a number (1, 1)."""
    return torch.as_tensor(values, device=images.device, dtype=torch.float32).reshape(-1, 1)


def draw_fractions(images: Tensor, generator: torch.Generator) -> Tensor:
    """Draw one number in 0..1 per image, of shape (n, 1, …) to broadcast over `images`."""
    return torch.rand(len(images), *[1] * (images.ndim - 1), generator=generator, device=images.device, dtype=torch.float32)
