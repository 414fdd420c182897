"""From an estimator's arguments to the settings of a training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hourglass.errors import ParameterError
from hourglass.estimators.presets import PRESETS, resolve
from hourglass.images import Sample
from hourglass.networks import NETWORKS, Network
from hourglass.objectives import LOSSES, NEED_IMAGES, NEED_UNIT_RANGE, Objective, Penalty, Rate
from hourglass.training import FullBatch, Source

_USUAL_VARIANCE = 0.067  # of MNIST's pixels around their mean image, where the strengths of rates were chosen
_SPREAD_OF_COLUMNS = 0.15  # columns vary less, and have less in common: the rate of images would leave little of them
_FEW = 1000  # samples to measure a variance on


@dataclass(frozen=True)
class Circumstances:
    """What settings depend on beside the arguments.

    Attributes
    ----------
    sample : Sample
    n_samples : int
        To train on, an epoch.
    has_inputs : bool
        Whether the network is given inputs of their own, which then go without corruption.
    spread : float
        See `spread_of`.
    """

    sample: Sample
    n_samples: int
    has_inputs: bool = False
    spread: float = 1.0


def settle(arguments: Mapping[str, Any], given: Circumstances, *, decodes_codes: bool, owner: str) -> dict[str, Any]:
    """The preset's values with those that were given, each in accord with the others and with the samples.

    Raises
    ------
    ParameterError
        If they do not go together.
    """
    preset = arguments["preset"]
    settings = resolve(preset, {name: arguments[name] for name in PRESETS[preset]}, given.n_samples)
    kind, sample = network_kind(settings["network"]), given.sample
    if decodes_codes and kind is not None and (kind.bypasses_code or kind.takes_any_size):
        why = "passes detail beside them" if kind.bypasses_code else "makes maps, which no vector stands for"
        raise ParameterError(f'{owner} decodes codes alone; network="{settings["network"]}" {why}.')
    has_rate = kind is not None and kind.has_rate
    if arguments["penalty"] is None and isinstance(settings["penalty"], Rate) and not has_rate:
        settings["penalty"] = None  # the preset's, for a network that the user replaced
    if arguments["loss"] is None and (settings["network"] == "linear" or not sample.is_bounded):
        settings["loss"] = "mse"  # whatever the preset takes for values in 0..1
    if isinstance(settings["penalty"], list):
        settings["penalty"] = tuple(settings["penalty"])
    if settings["penalty"] is None and has_rate:
        settings["penalty"] = Rate()
    if arguments["penalty"] is None and isinstance(settings["penalty"], Rate):
        settings["penalty"] = Rate(settings["penalty"].strength * given.spread)
    _check_loss(settings, sample)
    return settings


def _check_loss(settings: Mapping[str, Any], sample: Sample) -> None:
    loss = settings["loss"]
    if loss in NEED_UNIT_RANGE and settings["network"] == "linear":
        raise ParameterError(f'loss="{loss}" needs reconstructions in 0..1; network="linear" gives any number. Use "mse".')
    if loss in NEED_UNIT_RANGE and not sample.is_bounded:
        raise ParameterError(
            f'loss="{loss}" needs values in 0..1; these features start at {sample.offset} and span '
            f"{sample.scale}. Scale them (sklearn.preprocessing.MinMaxScaler) or use another loss."
        )
    if loss in NEED_IMAGES and not sample.is_image:
        raise ParameterError(f'loss="{loss}" needs images of shape (n, h, w) or (n, h, w, c).')


def network_kind(network: Any) -> type[Network] | None:
    """The class of a network that is given by its name; None for a pair."""
    return NETWORKS.get(network) if isinstance(network, str) else None


def copies_linearly(settings: Mapping[str, Any], arguments: Mapping[str, Any], sample: Sample, *, has_inputs: bool) -> bool:
    """Whether a linear map is to copy its samples with least squared error, and no batch size is asked for."""
    return (
        settings["network"] == "linear"
        and settings["loss"] == "mse"
        and not settings["penalty"]
        and settings["corruption"] is None
        and not has_inputs
        and arguments["batch_size"] is None
        and arguments["crop"] is None
        and PRESETS[arguments["preset"]]["batch_size"] is None
        and math.prod(sample.size) <= FullBatch.MAX_VALUES
    )


def objective_of(settings: Mapping[str, Any]) -> Objective:
    """The loss and the penalties. ParameterError if a penalty is none."""
    given = settings["penalty"]
    penalties: Sequence[Penalty] = [given] if isinstance(given, Penalty) else given or ()
    for penalty in penalties:
        if not isinstance(penalty, Penalty):
            raise ParameterError(f"penalty={given!r}; allowed: penalties like L1(1e-3), or a sequence of them.")
    return Objective(LOSSES[settings["loss"]], penalties)


def n_views_of(settings: Mapping[str, Any]) -> int:
    """How often each sample stands in a batch. ParameterError if a penalty compares views and there is no corruption."""
    n_views = objective_of(settings).n_views
    if n_views > 1 and (settings["corruption"] is None or not settings["redraw"]):
        raise ParameterError("this penalty compares two views of an image; it needs a corruption, drawn anew (redraw=True).")
    return n_views


def spread_of(source: Source) -> float:
    """The variance of values around their mean sample, as a share of MNIST's, at most 1: by it rates that presets bring weigh
    against errors alike on samples that differ less.
    """
    if source.sample.is_by_column:
        return _SPREAD_OF_COLUMNS
    seen = source.sample.to_network(source.some(_FEW).all_targets())
    return min(1.0, float(seen.var(0, dtype=np.float64).mean()) / _USUAL_VARIANCE) or 1.0
