"""Corruptions composed of others: one after another, or one of several at random."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hourglass.corruption.base import Corruption
from hourglass.errors import ParameterError


@dataclass(frozen=True)
class Combination(Corruption):
    """Base class of corruptions that are composed of others."""

    corruptions: tuple[Corruption, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "corruptions", tuple(self.corruptions))
        for corruption in self.corruptions:
            if not isinstance(corruption, Corruption):
                raise ParameterError(f"{type(self).__name__} takes corruptions; got {corruption!r}.")


@dataclass(frozen=True)
class Compose(Combination):
    """Apply `corruptions` in order; an empty tuple is the identity.

    It has an inverse if each of them has one. It is bounded unless one of them is not and none after it clips.

    Examples
    --------
    >>> import hourglass as hg
    >>> hg.Compose((hg.SaltAndPepper(0.1), hg.Downscale(4)))
    Compose(corruptions=(SaltAndPepper(amount=0.1), Downscale(factor=4, smooth=False, method='area')))
    >>> hg.Compose((hg.Permutation(3), hg.Flip())).inverse
    Compose(corruptions=(Flip(vertical=False), Permutation(seed=3, inverted=True)))
    """

    @property
    def is_random(self) -> bool:
        return any(corruption.is_random for corruption in self.corruptions)

    @property
    def inverse(self) -> Compose | None:
        inverses = [corruption.inverse for corruption in reversed(self.corruptions)]
        found = tuple(inverse for inverse in inverses if inverse is not None)
        return Compose(found) if len(found) == len(inverses) else None

    @property
    def is_bounded(self) -> bool:
        return self._bounds(True)

    @property
    def clips(self) -> bool:
        return self._bounds(False)

    def _bounds(self, bounded: bool) -> bool:
        """Whether results are in 0..1, where that of the images is `bounded`."""
        for corruption in self.corruptions:
            bounded = corruption.is_bounded and (bounded or corruption.clips)
        return bounded

    def corrupt(self, images: Tensor, generator: torch.Generator) -> Tensor:
        for corruption in self.corruptions:
            images = corruption.corrupt(images, generator)
        return images


@dataclass(frozen=True)
class Choice(Combination):
    """Apply one of `corruptions` to each image, drawn uniformly at random.

    A model fitted with it sees a mixture without knowing which corruption an image had. Include `Compose(())` to leave a share
    of the images clean.

    Examples
    --------
    >>> import hourglass as hg
    >>> turned_or_not = hg.Choice((hg.Compose(()), hg.Rotation(180)))
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.corruptions:
            raise ParameterError("Choice needs one corruption or more; got none.")

    @property
    def is_bounded(self) -> bool:
        return all(corruption.is_bounded for corruption in self.corruptions)

    @property
    def clips(self) -> bool:
        return all(corruption.clips for corruption in self.corruptions)

    def corrupt(self, images: Tensor, generator: torch.Generator) -> Tensor:
        drawn = torch.randint(len(self.corruptions), (len(images),), generator=generator, device=images.device)
        corrupted = torch.empty_like(images)
        for index, corruption in enumerate(self.corruptions):
            rows = drawn == index
            if rows.any():
                corrupted[rows] = corruption.corrupt(images[rows], generator)
        return corrupted
