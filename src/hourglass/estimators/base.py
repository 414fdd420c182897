"""What every estimator shares: its parameters, the checks of what it is given, and fitting."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils._param_validation import (  # private, but the one table of constraints that scikit-learn's users know
    Interval,
    InvalidParameterError,
    StrOptions,
    validate_parameter_constraints,
)
from sklearn.utils.validation import check_is_fitted, check_random_state, validate_data
from torch import Tensor

from hourglass.corruption import Corruption, seeded, to_config
from hourglass.errors import DataError, FormatError, ParameterError
from hourglass.estimators.persistence import write_model
from hourglass.estimators.presets import PRESETS, resolve
from hourglass.images import Array, Float32, Layout, check_images, to_float
from hourglass.networks import NETWORKS, Network, Output, build, center, place
from hourglass.objectives import LOSSES, NEED_IMAGES, NEED_UNIT_RANGE, Objective, Penalty
from hourglass.training import (
    OPTIMIZERS,
    SCHEDULES,
    Callback,
    Examples,
    Plan,
    PrintEpochs,
    Run,
    WriteCheckpoint,
    load_checkpoint,
    train,
)

_POSITIVE_INT = Interval(Integral, 1, None, closed="left")
_CENTERING_SAMPLES = 1000
_BATCH = 1024  # samples a forward pass outside training


class ImageEstimator(TransformerMixin, BaseEstimator):
    """Base of the estimators that train an autoencoder: parameters, checks and fitting."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_components": [_POSITIVE_INT, None],
        "network": [StrOptions(set(NETWORKS)), tuple, list, None],
        "hidden": ["array-like", None],
        "preset": [StrOptions(set(PRESETS))],
        "epochs": [_POSITIVE_INT, None],
        "batch_size": [_POSITIVE_INT, None],
        "learning_rate": [Interval(Real, 0, None, closed="neither"), None],
        "optimizer": [StrOptions(set(OPTIMIZERS)), None],
        "schedule": [StrOptions(set(SCHEDULES)), None],
        "initialization": [StrOptions({"centered", "torch"}), None],
        "loss": [StrOptions(set(LOSSES))],
        "penalty": [Penalty, list, tuple, None],
        "corruption": [Corruption, None],
        "redraw": ["boolean", None],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "early_stopping": ["boolean"],
        "patience": [_POSITIVE_INT],
        "random_state": ["random_state"],
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
        loss: str = "mse",
        penalty: Penalty | Sequence[Penalty] | None = None,
        corruption: Corruption | None = None,
        redraw: bool | None = None,
        validation_fraction: float = 0.1,
        early_stopping: bool = False,
        patience: int = 5,
        random_state: Any = None,
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
        self.validation_fraction = validation_fraction
        self.early_stopping = early_stopping
        self.patience = patience
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    _damages_when_scored: ClassVar[bool] = False

    # --- what is learned ---------------------------------------------------------------------------------------------

    @property
    def encoder_(self) -> torch.nn.Module:
        """float32 Tensor (n, c, h, w) or (n, features) -> codes (n, n_components); usable alone."""
        check_is_fitted(self, "network_")
        return self.network_.encoder

    @property
    def decoder_(self) -> torch.nn.Module:
        """Codes (n, n_components) -> float32 Tensor (n, c, h, w) or (n, features); usable alone."""
        check_is_fitted(self, "network_")
        return self.network_.decoder

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "network_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        tags.non_deterministic = False
        return tags

    # --- fitting -----------------------------------------------------------------------------------------------------

    def _fit(
        self,
        targets: Array,
        inputs: Array | None,
        *,
        callbacks: Sequence[Callback],
        checkpoint: str | Path | None,
        resume: bool,
    ) -> Self:
        """Train a new network to give `targets` for `inputs`, or for the targets damaged by the corruption."""
        if resume and checkpoint is None:
            raise ParameterError("resume=True needs checkpoint=, the file to go on from.")
        run, plan, training, validation = self._prepare(targets, inputs)
        callbacks = [*callbacks, *([PrintEpochs()] if self.verbose else [])]
        if checkpoint is not None:
            path, identity = Path(checkpoint), self._identity(targets, inputs)
            if resume and path.exists():
                load_checkpoint(path, run, identity)
            callbacks.append(WriteCheckpoint(path, identity))
        train(run, plan, self._objective(), training, validation, callbacks)
        return self._keep(run)

    def _prepare(self, targets: Array, inputs: Array | None) -> tuple[Run, Plan, Examples, Examples | None]:
        """All that a run starts from, with all chance drawn from `random_state`."""
        seeds = check_random_state(self.random_state).randint(2**31 - 1, size=6).tolist()
        split_seed, weight_seed, order_seed, noise_seed, validation_seed, fixed_seed = seeds
        self._seeds = seeds
        self.layout_ = layout = Layout.of(targets)

        order = np.random.default_rng(split_seed).permutation(len(targets))
        n_validation = int(self.validation_fraction * len(targets))
        if self.early_stopping and n_validation == 0:
            raise ParameterError(
                f"early_stopping needs a validation part; {self.validation_fraction} of {len(targets)} samples is none."
            )
        self.settings_ = settings = self._resolve(len(targets) - n_validation)

        corruption = settings["corruption"] if inputs is None else None
        if corruption is not None and not settings["redraw"]:
            inputs, corruption = _damaged(targets, layout, corruption, seeded(fixed_seed)), None
        validation, training = (
            Examples(targets, layout, inputs=inputs, corruption=corruption, rows=np.sort(rows))
            for rows in (order[:n_validation], order[n_validation:])
        )

        network = self._build(weight_seed)
        if settings["initialization"] == "centered" and isinstance(settings["network"], str):
            first = np.arange(min(len(training), _CENTERING_SAMPLES))
            center(network, *training.batch(first, seeded(noise_seed)))
        device = _device(self.device)
        run = Run(
            place(network, device),
            OPTIMIZERS[settings["optimizer"]](network, settings["learning_rate"]),
            order=seeded(order_seed),
            noise=seeded(noise_seed),
            validation_seed=validation_seed,
            device=device,
        )
        plan = Plan(
            settings["epochs"],
            settings["batch_size"],
            settings["learning_rate"],
            settings["schedule"],
            self.patience if self.early_stopping else None,
        )
        return run, plan, training, validation if n_validation else None

    def _partial_fit(self, targets: Array, inputs: Array | None) -> Self:
        """One more pass over `targets`, with the optimiser as the last call left it and no validation part."""
        run: Run | None = getattr(self, "_run", None)
        if run is None:
            fitted = self.network_ if hasattr(self, "network_") else None
            run, *_ = self._prepare(targets, inputs)
            if fitted is not None:  # fitted by `fit` or loaded from disk: its weights, a new optimiser
                run.network.load_state_dict(fitted.state_dict())
        settings = self.settings_
        corruption = settings["corruption"] if inputs is None else None
        examples = Examples(targets, self.layout_, inputs=inputs, corruption=corruption)
        plan = Plan(run.epoch + 1, settings["batch_size"], settings["learning_rate"])
        train(run, plan, self._objective(), examples, callbacks=[PrintEpochs()] if self.verbose else [])
        self._run = run
        return self._keep(run)

    def _keep(self, run: Run) -> Self:
        self.network_ = run.network.eval()
        self.history_ = run.history
        self.n_iter_ = run.epoch
        return self

    def _resolve(self, n_samples: int) -> dict[str, Any]:
        given = {name: getattr(self, name) for name in PRESETS[self.preset]}
        settings = resolve(self.preset, given, n_samples) | {"loss": self.loss, "corruption": self.corruption}
        if self.loss in NEED_UNIT_RANGE and not self.layout_.is_bounded:
            raise ParameterError(
                f'loss="{self.loss}" needs values in 0..1; these features start at {self.layout_.offset:g} and span '
                f"{self.layout_.scale:g}. Scale them (sklearn.preprocessing.MinMaxScaler) or use another loss."
            )
        if self.loss in NEED_IMAGES and not self.layout_.is_image:
            raise ParameterError(f'loss="{self.loss}" needs images of shape (n, h, w) or (n, h, w, c).')
        return settings

    def _build(self, seed: int) -> Network:
        """The network, its weights drawn from `seed`; torch's global random state stays as it was."""
        settings = self.settings_
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return build(
                settings["network"],
                self.layout_.network_shape,
                settings["n_components"],
                settings["hidden"],
                self.layout_.is_bounded,
            )

    def _objective(self) -> Objective:
        if self.penalty is None:
            return Objective(LOSSES[self.loss])
        return Objective(LOSSES[self.loss], [self.penalty] if isinstance(self.penalty, Penalty) else self.penalty)

    def _identity(self, targets: Array, inputs: Array | None) -> dict[str, Any]:
        """What two runs must share for one to go on from the other's checkpoint."""
        corruption = self.settings_["corruption"]
        return {
            **{name: value if _is_json(value) else repr(value) for name, value in self.settings_.items()},
            "corruption": corruption and to_config(corruption),
            "penalty": repr(self.penalty),
            "early_stopping": self.early_stopping and self.patience,
            "validation_fraction": self.validation_fraction,
            "seeds": self._seeds,
            "data": [_fingerprint(targets), None if inputs is None else _fingerprint(inputs)],
        }

    # --- using -------------------------------------------------------------------------------------------------------

    def _encode(self, samples: Array) -> Float32:
        return self._forward(self.network_.encoder, self._batches(samples))

    def _decode(self, codes: Float32) -> Float32:
        parts = (torch.from_numpy(codes[start : start + _BATCH]) for start in range(0, len(codes), _BATCH))
        return self.layout_.from_network(self._forward(self.network_.decoder, parts))

    def _reconstruct(self, samples: Array) -> Float32:
        return self.layout_.from_network(self._forward(self.network_, self._batches(samples)))

    def _batches(self, samples: Array) -> Iterator[Tensor]:
        for start in range(0, len(samples), _BATCH):
            yield torch.from_numpy(self.layout_.to_network(samples[start : start + _BATCH]))

    def _forward(self, module: torch.nn.Module, batches: Iterator[Tensor]) -> Float32:
        device = next((parameter.device for parameter in self.network_.parameters()), torch.device("cpu"))
        with torch.inference_mode():
            outputs = (module(batch.to(device)) for batch in batches)
            parts = [(out.reconstructions if isinstance(out, Output) else out).cpu().numpy() for out in outputs]
        return np.concatenate(parts)

    def _negative_error(self, targets: Array, inputs: Array | None = None) -> float:
        """Minus the mean squared error of what is made of `inputs`; without them, of the targets as training damages them."""
        total, generator = 0.0, seeded(0)
        for start in range(0, len(targets), _BATCH):
            clean = targets[start : start + _BATCH]
            given = clean if inputs is None else inputs[start : start + _BATCH]
            batch = torch.from_numpy(self.layout_.to_network(given))
            if inputs is None and self._damages_when_scored:
                batch = self.settings_["corruption"].corrupt(batch, generator)
            made = self.layout_.from_network(self._forward(self.network_, iter([batch])))
            wanted = to_float(clean) if self.layout_.is_image else clean
            total += float(np.square(made - wanted, dtype=np.float64).sum())
        return -total / targets.size

    def save(self, path: str | Path) -> None:
        """Write the fitted model as a folder: model.safetensors, config.json and README.md, its card.

        A model that is there already is replaced in one step; nothing half-written stays behind.

        Parameters
        ----------
        path : path
            The folder, by custom named *.hg.

        Raises
        ------
        NotFittedError, FormatError, OSError
        """
        check_is_fitted(self, "network_")
        write_model(self, type(self).__name__.lower(), Path(path))

    def _load(self, weights: dict[str, Tensor]) -> Self:
        """Take up weights that were saved, in a network as `settings_` describes it."""
        network = self._build(seed=0)
        try:
            network.load_state_dict(weights)
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise FormatError(f"the saved weights do not fit the network ({reason[:200]}).") from error
        self.network_ = place(network, _device(self.device)).eval()
        return self

    # --- checks ------------------------------------------------------------------------------------------------------

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
        if not hasattr(samples, "ndim"):
            samples = samples if hasattr(samples, "__array__") else np.asarray(samples)
        try:
            if getattr(samples, "ndim", 2) <= 2:
                array: Array = validate_data(self, samples, reset=reset, dtype="numeric")
            else:
                array = check_images(samples, name=name)
        except ValueError as error:
            raise error if isinstance(error, DataError) else DataError(str(error)) from error
        if array.ndim > 2 and reset:
            self.n_features_in_ = math.prod(array.shape[1:])
            if hasattr(self, "feature_names_in_"):
                del self.feature_names_in_
        if not reset and array.shape[1:] != self.layout_.shape:
            raise DataError(
                f"{name} has samples of shape {array.shape[1:]}; {type(self).__name__} was fitted on {self.layout_.shape}."
            )
        return array

    def _check_codes(self, codes: Any) -> Float32:
        check_is_fitted(self, "network_")
        array = np.asarray(codes)
        n_components = self.settings_["n_components"]
        if array.ndim != 2 or array.shape[1] != n_components:
            raise DataError(f"codes have shape {array.shape}; allowed: (n, {n_components}).")
        if not np.isfinite(array).all():
            raise DataError("codes contain NaN or infinity.")
        return np.ascontiguousarray(array, dtype=np.float32)


def _damaged(targets: Array, layout: Layout, corruption: Corruption, generator: torch.Generator) -> Array:
    """A damaged copy of all targets, drawn once, piece by piece.

    Images are kept in half precision: the rounding is a sixteenth of a grey level at most, and the copy takes half the memory.
    """
    damaged = np.empty(targets.shape, dtype=np.float16 if layout.is_image else np.float32)
    for start in range(0, len(targets), _BATCH):
        clean = torch.from_numpy(layout.to_network(targets[start : start + _BATCH]))
        damaged[start : start + _BATCH] = layout.from_network(corruption.corrupt(clean, generator).numpy())
    return damaged


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # AssertionError: torch built without CUDA
        reason = str(error).split("\n")[0]
        raise ParameterError(f'device="{name}" cannot be used ({reason}); "auto" takes what there is.') from error
    return device


def _is_json(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(_is_json(item) for item in value)
    return value is None or isinstance(value, (str, int, float, bool))


def _fingerprint(array: Array) -> str:
    """Tells another data set from this one, from 64 of its samples."""
    rows = np.linspace(0, len(array) - 1, min(len(array), 64)).astype(int)
    return f"{array.dtype} {array.shape} {zlib.crc32(array[rows].tobytes()):08x}"
