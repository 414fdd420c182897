"""The settings of training, from an estimator's arguments."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hourglass.errors import ParameterError
from hourglass.estimators.presets import PRESETS, resolve
from hourglass.images import Sample
from hourglass.networks import NETWORKS, Network
from hourglass.objectives import LOSSES, NEED_IMAGES, NEED_UNIT_RANGE, Contrast, Objective, Penalty, Rate
from hourglass.training import FullBatch, Source

_USUAL_VARIANCE = 0.067  # of MNIST's pixels around their mean, on which the strengths of `Rate` were chosen
_SPREAD_OF_COLUMNS = 0.15  # for tables, chosen lower than for images
_FEW = 1000  # samples to estimate a variance from
_FEW_TO_GENERATE, _RATE_OF_FEW = 5000, 0.015
"""A generator's learning rate for fewer images. Muon's steps are as long however few there are, and at the preset's rate leave
noise in what is decoded."""


@dataclass(frozen=True)
class Circumstances:
    """What settings depend on.

    Attributes
    ----------
    arguments : mapping
        Of the estimator, with another preset for images of several sizes; see `arguments_for`.
    sample : Sample
    n_samples : int
        Training samples in an epoch.
    has_inputs : bool
        Whether the user passes inputs; these are not corrupted.
    spread : float
        See `spread_of`.
    has_neighbours : bool
        Whether each sample can be paired with those near it: all are in memory, without inputs.
    """

    arguments: Mapping[str, Any]
    sample: Sample
    n_samples: int
    has_inputs: bool = False
    spread: float = 1.0
    has_neighbours: bool = False


def settle(given: Circumstances, *, decodes_codes: bool, owner: str) -> dict[str, Any]:
    """The preset's values, updated by arguments and adapted to the samples.

    Raises
    ------
    ParameterError
        If they conflict.
    """
    arguments, preset = given.arguments, given.arguments["preset"]
    settings = resolve(preset, {name: arguments[name] for name in PRESETS[preset]}, given.n_samples)
    kind, sample = network_kind(settings["network"]), given.sample
    if decodes_codes and kind is not None and (kind.bypasses_code or kind.takes_any_size):
        why = "has skip connections past them" if kind.bypasses_code else "has maps as codes"
        raise ParameterError(f'{owner} decodes codes alone; network="{settings["network"]}" {why}.')
    has_rate = kind is not None and kind.has_rate
    if arguments["penalty"] is None and isinstance(settings["penalty"], Rate) and not has_rate:
        settings["penalty"] = None  # the user replaced the preset's network
    if arguments["loss"] is None and (settings["network"] == "linear" or not sample.is_bounded):
        settings["loss"] = "mse"  # the preset's may need values in 0..1
    if decodes_codes and _generates_from_few(settings, given):
        settings["learning_rate"] = _RATE_OF_FEW
    if isinstance(settings["penalty"], list):
        settings["penalty"] = tuple(settings["penalty"])
    if settings["penalty"] is None and has_rate:
        settings["penalty"] = Rate()
    if arguments["penalty"] is None and isinstance(settings["penalty"], Rate):
        settings["penalty"] = Rate(settings["penalty"].strength * given.spread)
    settings["penalty"] = _with_neighbours(settings["penalty"], given)
    _check_loss(settings, sample)
    return settings


def _generates_from_few(settings: Mapping[str, Any], given: Circumstances) -> bool:
    """Whether few images train by the preset "generate", with its network and optimiser and the default epochs and rate."""
    if given.arguments["preset"] != "generate" or not given.sample.is_image or given.n_samples >= _FEW_TO_GENERATE:
        return False
    is_own = all(settings[name] == PRESETS["generate"][name] for name in ("network", "optimizer"))
    return is_own and all(given.arguments[name] is None for name in ("epochs", "learning_rate"))


def _with_neighbours(penalty: Any, given: Circumstances) -> Any:
    """`penalty`, or each of several, with as many neighbours as there can be. Raises ParameterError if there can be none."""
    if isinstance(penalty, tuple):
        return tuple(_with_neighbours(one, given) for one in penalty)
    if not isinstance(penalty, Contrast) or penalty.n_neighbours == 0:
        return penalty
    wanted = penalty.n_neighbours
    if wanted and not given.has_neighbours:
        words = "needs samples of one size in memory, without inputs of their own"
        raise ParameterError(f"Contrast(n_neighbours={wanted}) {words}; use n_neighbours=0.")
    chosen = min(max(given.n_samples // 100, 5), 15) if wanted is None else wanted
    return replace(penalty, n_neighbours=min(chosen, given.n_samples - 1) if given.has_neighbours else 0)


def _check_loss(settings: Mapping[str, Any], sample: Sample) -> None:
    loss = settings["loss"]
    if loss in NEED_UNIT_RANGE and settings["network"] == "linear":
        raise ParameterError(f'loss="{loss}" needs reconstructions in 0..1; network="linear" is unbounded. Use "mse".')
    if loss in NEED_UNIT_RANGE and not sample.is_bounded:
        raise ParameterError(
            f'loss="{loss}" needs values in 0..1; these features start at {sample.offset} and span '
            f"{sample.scale}. Scale them (sklearn.preprocessing.MinMaxScaler) or use another loss."
        )
    if loss in NEED_IMAGES and not sample.is_image:
        raise ParameterError(f'loss="{loss}" needs images of shape (n, h, w) or (n, h, w, c).')


def network_kind(network: Any) -> type[Network] | None:
    """The class of a network by name; None for a pair."""
    return NETWORKS.get(network) if isinstance(network, str) else None


def takes_any_size(arguments: Mapping[str, Any]) -> bool:
    """Whether the network of an estimator's arguments takes images of any size."""
    kind = network_kind(arguments["network"] or PRESETS[arguments["preset"]]["network"])
    return kind is not None and kind.takes_any_size


def copies_linearly(settings: Mapping[str, Any], arguments: Mapping[str, Any], sample: Sample, *, has_inputs: bool) -> bool:
    """Whether a linear autoencoder under the mean squared error may train on full batches."""
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
    """The loss and the penalties. Raises ParameterError for anything but a `Penalty`."""
    given = settings["penalty"]
    penalties: Sequence[Penalty] = [given] if isinstance(given, Penalty) else given or ()
    for penalty in penalties:
        if not isinstance(penalty, Penalty):
            raise ParameterError(f"penalty={given!r}; allowed: penalties like L1(1e-3), or a sequence of them.")
    return Objective(LOSSES[settings["loss"]], penalties)


def n_neighbours_of(settings: Mapping[str, Any]) -> int:
    """Neighbours among which contrast draws the other view of a sample; 0 if that is the sample itself."""
    return max((one.n_neighbours or 0 for one in objective_of(settings).penalties if isinstance(one, Contrast)), default=0)


def n_views_of(settings: Mapping[str, Any]) -> int:
    """Views of each sample in a batch. Raises ParameterError if a penalty needs two and there is no corruption."""
    n_views = objective_of(settings).n_views
    if n_views > 1 and (settings["corruption"] is None or not settings["redraw"]):
        raise ParameterError("this penalty compares two views of an image; it needs a corruption, drawn anew (redraw=True).")
    return n_views


def spread_of(source: Source) -> float:
    """The variance around the mean sample relative to MNIST's, at most 1.

    It scales the rates of presets, so that they weigh against errors alike on samples of low variance.
    """
    if source.sample.is_by_column:
        return _SPREAD_OF_COLUMNS
    values = source.sample.to_network(source.some(_FEW).all_targets())
    return min(1.0, float(values.var(0, dtype=np.float64).mean()) / _USUAL_VARIANCE) or 1.0
