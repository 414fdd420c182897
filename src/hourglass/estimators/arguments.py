"""What every estimator is told and given: its arguments, its samples and codes, and how each is checked."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, TypedDict

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import (  # private, but the one table of constraints that scikit-learn's users know
    Interval,
    InvalidParameterError,
    StrOptions,
    validate_parameter_constraints,
)
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from hourglass.corruption import Corruption
from hourglass.data import Stream
from hourglass.errors import DataError, HourglassWarning, ParameterError
from hourglass.estimators.presets import PRESETS
from hourglass.images import Array, Float32, Layout, as_array, check_images, to_unit, warn_of_masks, white_level
from hourglass.networks import NETWORKS, Network
from hourglass.objectives import LOSSES, Penalty
from hourglass.training import OPTIMIZERS, PRECISIONS, SCHEDULES

positive_int = Interval(Integral, 1, None, closed="left")


class Shared(TypedDict, total=False):
    """The arguments by keyword that every estimator's constructor takes beside `preset`; see `CheckedEstimator`."""

    network: Any
    hidden: Any
    epochs: int | None
    batch_size: int | None
    learning_rate: float | None
    optimizer: str | None
    schedule: str | None
    initialization: str | None
    loss: str | None
    penalty: Penalty | Sequence[Penalty] | None
    corruption: Corruption | None
    redraw: bool | None
    precision: str | None
    white: float | None
    validation_fraction: float | None
    early_stopping: bool
    patience: int
    random_state: Any
    n_threads: Any
    device: str
    verbose: bool | int


class CheckedEstimator(BaseEstimator):
    """The arguments that all estimators share, stored untouched, and the checks of all that comes in."""

    network_: Network
    """Encoder and decoder, fitted."""
    history_: list[dict[str, Any]]
    n_iter_: int
    layout_: Layout
    """Shape and scale of the fitted samples."""
    settings_: dict[str, Any]
    """The preset's values with those that were given, as training used them."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_components": [positive_int, None],
        "network": [StrOptions(set(NETWORKS)), tuple, list, None],
        "hidden": ["array-like", None],
        "preset": [StrOptions(set(PRESETS))],
        "epochs": [positive_int, None],
        "batch_size": [positive_int, None],
        "learning_rate": [Interval(Real, 0, None, closed="neither"), None],
        "optimizer": [StrOptions(set(OPTIMIZERS)), None],
        "schedule": [StrOptions(set(SCHEDULES)), None],
        "initialization": [StrOptions({"centered", "torch"}), None],
        "loss": [StrOptions(set(LOSSES)), None],
        "penalty": [Penalty, list, tuple, None],
        "corruption": [Corruption, None],
        "redraw": ["boolean", None],
        "precision": [StrOptions(set(PRECISIONS)), None],
        "white": [Interval(Real, 0, None, closed="neither"), None],
        "validation_fraction": [Interval(Real, 0, 1, closed="left"), None],
        "early_stopping": ["boolean"],
        "patience": [positive_int],
        "random_state": ["random_state"],
        "n_threads": [positive_int, StrOptions({"auto"}), None],
        "device": [str],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        n_components: int | None = None,
        *,
        network: Any = None,
        hidden: Any = None,
        preset: str = "default",
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        optimizer: str | None = None,
        schedule: str | None = None,
        initialization: str | None = None,
        loss: str | None = None,
        penalty: Penalty | Sequence[Penalty] | None = None,
        corruption: Corruption | None = None,
        redraw: bool | None = None,
        precision: str | None = None,
        white: float | None = None,
        validation_fraction: float | None = None,
        early_stopping: bool = False,
        patience: int = 5,
        random_state: Any = None,
        n_threads: Any = None,
        device: str = "auto",
        verbose: bool | int = False,
    ) -> None:
        self.n_components = n_components
        self.network = network
        self.hidden = hidden
        self.preset = preset
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.optimizer = optimizer
        self.schedule = schedule
        self.initialization = initialization
        self.loss = loss
        self.penalty = penalty
        self.corruption = corruption
        self.redraw = redraw
        self.precision = precision
        self.white = white
        self.validation_fraction = validation_fraction
        self.early_stopping = early_stopping
        self.patience = patience
        self.random_state = random_state
        self.n_threads = n_threads
        self.device = device
        self.verbose = verbose

    _white: float | None = None
    """The white level of the samples that are being fitted."""

    def _check_parameters(self) -> None:
        try:
            validate_parameter_constraints(
                self._parameter_constraints, self.get_params(deep=False), caller_name=type(self).__name__
            )
        except InvalidParameterError as error:
            raise ParameterError(str(error)) from error

    def _check_samples(self, samples: Any, *, reset: bool, name: str = "X") -> Array:
        """`samples` as an array that keeps the image contract, or a table of finite numbers; of the fitted shape
        unless `reset`.
        """
        if isinstance(samples, Stream):
            self._check_stream(samples, reset=reset)
            return samples  # type: ignore[return-value]  # goes where an array does until something is taken from it
        try:
            given = _untracked(samples)
            is_array = hasattr(given, "ndim") or hasattr(given, "__array__")  # of a table, column names are in it alone
            given = given if is_array and not isinstance(given, np.ma.MaskedArray) else as_array(given, name=name)
            n_axes = getattr(given, "ndim", 2)
            if not reset and n_axes == len(self.layout_.shape) > 1 and given.shape == self.layout_.shape:
                raise DataError(f"{name} is one image of shape {given.shape}; it needs a first axis: {name}[None].")
            array = (
                self._check_table(given, reset=reset, name=name)
                if n_axes <= 2
                else self._in_unit(as_array(given, name=name), reset=reset, name=name)
            )
            if n_axes > 2:
                array = check_images(array, name=name)
        except ValueError as error:
            raise error if isinstance(error, DataError) else DataError(str(error)) from error
        if array.ndim > 2 and reset:
            warn_of_masks(array, name=name)
            self.n_features_in_ = math.prod(array.shape[1:])
            if hasattr(self, "feature_names_in_"):
                del self.feature_names_in_
        if not reset and array.shape[1:] != self.layout_.shape:
            raise DataError(
                f"{name} has samples of shape {array.shape[1:]}; {type(self).__name__} was fitted on {self.layout_.shape}."
            )
        return array

    def _check_table(self, table: Any, *, reset: bool, name: str) -> Array:
        checked: Array = validate_data(self, table, reset=reset, dtype="numeric")
        if checked.dtype.kind not in "biuf":
            columns = [str(column) for column, kind in getattr(table, "dtypes", {}).items() if kind.kind not in "biuf"]
            which = f" (column {', '.join(columns[:5])})" if columns else ""
            raise DataError(
                f"{name} holds values that are no numbers{which}; encode them first (OneHotEncoder), or leave them out."
            )
        largest = float(np.abs(checked).max())
        if largest > float(np.finfo(np.float32).max):
            raise DataError(f"{name} holds values up to {largest:g}, beyond what float32 holds (3.4e38); scale them first.")
        return checked

    def _in_unit(self, images: Array, *, reset: bool, name: str) -> Array:
        """Integers deeper than 8 bits as float32 in 0..1, by the white level given or, in fitting, found; others unchanged."""
        is_deep = images.dtype.kind in "iu" and images.dtype != np.uint8 and images.size > 0
        if reset:
            self._white = self.white
            if is_deep and self.white is None and images.min() >= 0:
                largest = int(images.max())
                self._white = white_level(largest, is_integer=True)
                words = f"{name} are of {images.dtype} up to {largest}; {self._white:g} is taken for white. white= fixes it."
                warnings.warn(words, HourglassWarning, stacklevel=5)
        if not is_deep or images.min() < 0:  # which the image contract refuses
            return images
        white = self._white if reset else self.layout_.white
        if white is None:
            fitted = f"{type(self).__name__} was fitted on uint8 or floats in 0..1"
            raise DataError(f"{name} are of {images.dtype}; {fitted}. Divide them by their white level.")
        return to_unit(images, white, name=name)

    def _check_stream(self, source: Stream, *, reset: bool) -> None:
        if reset:
            self.n_features_in_ = math.prod(source.shape[1:])
            self.__dict__.pop("feature_names_in_", None)
        elif source.shape[1:] != self.layout_.shape:
            raise DataError(
                f"X has images of shape {source.shape[1:]}; {type(self).__name__} was fitted on {self.layout_.shape}."
            )

    def _check_targets(self, targets: Array, *, reset: bool) -> Array:
        """Clean samples that stand beside damaged ones: the same contract, and nothing is learned from them."""
        if targets.ndim > 2:
            return check_images(self._in_unit(targets, reset=reset, name="y"), name="y")
        try:
            checked: Array = check_array(targets, dtype="numeric")
        except ValueError as error:
            raise DataError(str(error)) from error
        return checked

    def _check_codes(self, codes: Any) -> Float32:
        check_is_fitted(self, "network_")
        n_components = self.settings_["n_components"]
        try:
            array: Float32 = check_array(codes, dtype=np.float32, order="C", copy=True)
        except ValueError as error:
            raise DataError(f"codes: {error}") from error
        if array.shape[1] != n_components:
            raise DataError(f"codes have shape {array.shape}; allowed: (n, {n_components}).")
        return array


def _untracked(samples: Any) -> Any:
    """A tensor without what autograd keeps of it, on the CPU; of a kind that numpy does not know, as float32."""
    if not isinstance(samples, torch.Tensor):
        return samples
    plain = samples.detach().cpu()
    return plain.float() if plain.dtype == torch.bfloat16 else plain
