"""Corruptions made of others: one after another, or one of several."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hourglass.corruption.base import Corruption
from hourglass.errors import ParameterError


@dataclass(frozen=True)
class Combination(Corruption):
    """Base of the corruptions that are made of others."""

    corruptions: tuple[Corruption, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "corruptions", tuple(self.corruptions))
        for corruption in self.corruptions:
            if not isinstance(corruption, Corruption):
                raise ParameterError(f"{type(self).__name__} takes corruptions; got {corruption!r}.")


@dataclass(frozen=True)
class Compose(Combination):
    """Apply `corruptions` in their order; none at all leave images as they are.

    It can be undone if each part can.

    Examples
    --------
    >>> import hourglass as hg
    >>> hg.Compose((hg.SaltAndPepper(0.1), hg.Downscale(4)))
    Compose(corruptions=(SaltAndPepper(amount=0.1), Downscale(factor=4, smooth=False)))
    >>> hg.Compose((hg.Permutation(3), hg.Flip())).inverse
    Compose(corruptions=(Flip(vertical=False), Permutation(seed=3, inverted=True)))
    """

    @property
    def is_random(self) -> bool:
        return any(corruption.is_random for corruption in self.corruptions)

    @property
    def inverse(self) -> Compose | None:
        inverses = [corruption.inverse for corruption in reversed(self.corruptions)]
        known = tuple(inverse for inverse in inverses if inverse is not None)
        return Compose(known) if len(known) == len(inverses) else None

    def corrupt(self, images: Tensor, generator: torch.Generator) -> Tensor:
        for corruption in self.corruptions:
            images = corruption.corrupt(images, generator)
        return images


@dataclass(frozen=True)
class Choice(Combination):
    """Give each image one of `corruptions`, drawn evenly by chance.

    A model fitted with it sees a mixture and is not told which image had what. `Compose(())` among them leaves its share
    of the images as they are.

    Examples
    --------
    >>> import hourglass as hg
    >>> turned_or_not = hg.Choice((hg.Compose(()), hg.Rotation(180)))
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.corruptions:
            raise ParameterError("Choice has nothing to choose from; allowed: one corruption or more.")

    def corrupt(self, images: Tensor, generator: torch.Generator) -> Tensor:
        drawn = torch.randint(len(self.corruptions), (len(images),), generator=generator, device=images.device)
        damaged = torch.empty_like(images)
        for number, corruption in enumerate(self.corruptions):
            rows = drawn == number
            if rows.any():
                damaged[rows] = corruption.corrupt(images[rows], generator)
        return damaged
