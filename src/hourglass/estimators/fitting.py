"""Fitting: from an estimator's arguments and checked samples to a trained model."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import check_random_state

from hourglass.corruption import Corruption, seeded
from hourglass.data import Stream
from hourglass.data.write import output_path
from hourglass.errors import ParameterError
from hourglass.estimators.checks import Pairs
from hourglass.estimators.presets import PRESETS
from hourglass.estimators.settings import (
    Circumstances,
    copies_linearly,
    n_neighbours_of,
    n_views_of,
    objective_of,
    spread_of,
    takes_any_size,
)
from hourglass.estimators.views import admitted, neighbours_of
from hourglass.images import Array, Sample
from hourglass.networks import center, has_convolution, to_device
from hourglass.notes import note
from hourglass.objectives import NEED_UNIT_RANGE
from hourglass.trained import HeldOut, Trained, as_device, build_network
from hourglass.training import (
    OPTIMIZERS,
    Callback,
    Crops,
    Examples,
    FullBatch,
    Neighbouring,
    Plan,
    PrintEpochs,
    Processes,
    Rows,
    Run,
    Source,
    Threads,
    WriteCheckpoint,
    as_tensor,
    current,
    error_share,
    load_checkpoint,
    network_input,
    source_of,
    train,
    usual_threads,
)

VALIDATION_SHARE = 0.1
_BATCH_NORMS = (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d, torch.nn.BatchNorm3d, torch.nn.SyncBatchNorm)
_CENTERING_SAMPLES = 1000
_CHUNK = 256  # samples to corrupt at once
_COLLAPSED = 0.98  # relative to the loss of a constant output
_FEW_STEPS = 100


class Trainable(Protocol):
    """What `Fit` needs of an estimator."""

    _scales_columns: ClassVar[bool]
    _needs_validation: ClassVar[bool]
    _turns_crops: ClassVar[bool]

    @property
    def _crop_unit(self) -> int: ...

    def get_params(self, deep: bool = True) -> dict[str, Any]: ...

    def _arguments(self, samples: Any) -> dict[str, Any]: ...

    def _settle(self, given: Circumstances) -> dict[str, Any]: ...


class Fit:
    """One call of `fit`: its arguments, process group, and seeds drawn from the random state.

    Parameters
    ----------
    estimator : Trainable
        Not modified.
    pairs : Pairs
    """

    def __init__(self, estimator: Trainable, pairs: Pairs) -> None:
        self.estimator, self.pairs = estimator, pairs
        self.arguments = estimator._arguments(pairs.targets)
        self.processes: Processes = current()
        self.processes.barrier()  # some processes take longer to read data
        self.seeds: list[int] = self.processes.from_first(lambda: seeds_of(self.arguments["random_state"]))
        self.crop = self._crop()
        self.sample = self._sample()
        self.source = source_of(self.sample, pairs.targets, pairs.inputs, crop=self.crop, turns=estimator._turns_crops)
        if isinstance(self.source, Crops) and self.source.share < 1:
            words = f"an epoch takes random crops of {self.source.share:.2g} of the pixels, {Crops.MOST_PIXELS:,}"
            note(f"{words}; more epochs= see more of them.", 4)
        self.device = as_device(self.arguments["device"])
        self.validation_rows: NDArray[np.int64] = np.empty(0, np.int64)
        self.settings: dict[str, Any] = {}
        self.near: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None
        """Rows of the training samples, and for each the positions of those near it, nearest first, if a penalty needs them."""

    def train(self, callbacks: Sequence[Callback], checkpoint: str | Path | None, resume: bool) -> Trained:
        """Train a new network to map inputs, or corrupted targets, to targets.

        Raises
        ------
        ParameterError, ModelError, DivergenceError, FormatError, ProcessError
        """
        if resume and checkpoint is None:
            raise ParameterError("resume=True needs checkpoint=, the file to resume from.")
        if resume and self.arguments["random_state"] is None:
            raise ParameterError("resume=True needs random_state=, an int: without it every run has other seeds.")
        training, validation = self._split()
        run = self._new_run(training)
        callbacks = [*callbacks, *([PrintEpochs()] if self.arguments["verbose"] else [])]
        identity = self._identity()
        self.processes.barrier()
        self.processes.check_alike({**identity, "resume": resume})
        saving: list[Callback] = []
        if checkpoint is not None:
            path = output_path(checkpoint)
            if path.is_dir():
                raise ParameterError(f"checkpoint={str(checkpoint)!r} is a folder; give the name of a file.")
            if resume:
                load_checkpoint(path, run, identity)
            saving = [WriteCheckpoint(path, identity)]
        self._run_to_end(run, training, validation, [*callbacks, *saving])
        return self._trained(self._unless_collapsed(run, training, validation, callbacks))

    def one_more_epoch(self, run: Run | None, model: Trained | None) -> Run:
        """Train for one more pass, at a constant learning rate, with the optimiser state of the last call.

        Parameters
        ----------
        run : Run, optional
            Result of the last call.
        model : Trained, optional
            The model to start from, without a run.
        """
        self.settings = model.settings if model is not None else self._settings(len(self.source))
        corruption = self.settings["corruption"] if self.pairs.inputs is None else None
        examples = Examples(self._paired(self.source), corruption, n_views_of(self.settings))
        if run is None:
            run = self._new_run(examples)
            if model is not None:  # from `fit` or load_model: no optimiser state
                run.network.load_state_dict(model.network.state_dict())
                run.epoch, run.history = len(model.history), model.history
        plan = Plan(run.epoch + 1, self.settings["batch_size"], self.settings["learning_rate"])
        callbacks = [PrintEpochs()] if self.arguments["verbose"] else []
        n_rows = len(run.history)
        before = {name: tensor.clone() for name, tensor in run.network.state_dict().items()}
        try:
            with Threads(run.device, n_threads_of(self.arguments, run.network)) as threads:
                train(run, plan, objective_of(self.settings), examples, callbacks=threads.around(callbacks))
        except BaseException:
            run.network.load_state_dict(before)
            del run.history[n_rows:]
            raise
        return run

    def _trained(self, run: Run) -> Trained:
        targets = self.pairs.targets
        held_out = HeldOut.of(self.validation_rows, targets) if isinstance(targets, np.ndarray) else None
        n_threads = n_threads_of(self.arguments, run.network)
        n_held_out, has_pairs = len(self.validation_rows), self.pairs.inputs is not None
        data = {"samples": len(targets), "held_out": n_held_out, "pairs": has_pairs}
        return Trained(run.network, self.sample, self.settings, run.history, n_threads, held_out, data)

    # --- before the first step ----------------------------------------------------------------------------------------

    def _crop(self) -> tuple[int, int] | None:
        """(height, width) of random crops; None to train on whole images."""
        given, targets = self.arguments["crop"], self.pairs.targets
        if isinstance(targets, Stream):
            if given is not None:
                raise ParameterError("crop= is for images in memory; set it in stream(…, crop=) instead.")
            self._note_chosen(None)
            return None
        if given is not None:
            size: tuple[Any, ...] = (given, given) if isinstance(given, Integral) else tuple(given)
            if len(size) != 2 or not all(isinstance(length, Integral) and int(length) > 0 for length in size):
                raise ParameterError(f"crop={given!r}; allowed: one whole number above 0, or (height, width).")
            if not isinstance(targets, list) and targets.ndim < 3:
                raise ParameterError("crop= is for images; these are flat features.")
            crop = int(size[0]), int(size[1])
        elif isinstance(targets, list) or self._are_photographs(targets):
            side = min(self._usual_crop, max(min(image.shape[:2]) for image in targets))
            crop = side, side
        else:
            self._note_chosen(None)
            return None
        self._note_chosen(crop if given is None else None)
        return crop

    def _are_photographs(self, targets: Array) -> bool:
        """Whether to crop an array of images, as they are large and the preset is for crops."""
        has_crop = "crop" in PRESETS[self.arguments["preset"]]
        return has_crop and targets.ndim > 2 and min(targets.shape[1:3]) > self._usual_crop

    @property
    def _usual_crop(self) -> int:
        crop: int = PRESETS[self.arguments["preset"]].get("crop", PRESETS["photo"]["crop"])
        return crop - crop % self.estimator._crop_unit

    def _note_chosen(self, crop: tuple[int, int] | None) -> None:
        """Warn of a crop, and of a preset in place of the default, that the user did not choose."""
        chosen = [] if crop is None else [f"random crops of {crop[0]}×{crop[1]}"]
        if self.estimator.get_params(deep=False)["preset"] not in (self.arguments["preset"], "photo"):
            preset = self.arguments["preset"]
            chosen.append(f'preset="{preset}" (network="{self.arguments["network"] or PRESETS[preset]["network"]}")')
        if chosen:
            words = f"training uses {' and '.join(chosen)}, as images differ in size or are large"
            note(f"{words}; choose others with crop=, preset=, network=.", 6)

    def _sample(self) -> Sample:
        """The shape and scale of samples; of any size if the network takes any."""
        targets = self.pairs.targets
        if isinstance(targets, Stream):
            sample = Sample(tuple(targets.shape[1:]), white=targets.white)
        elif self.crop is not None:
            sample = Sample((*self.crop, *targets[0].shape[2:]), white=self.pairs.white)
        else:
            by_column = self.estimator._scales_columns and self.arguments["loss"] not in NEED_UNIT_RANGE
            sample = Sample.of(targets, by_column=by_column, white=self.pairs.white)
        return sample.of_any_size() if sample.is_image and takes_any_size(self.arguments) else sample

    def _settings(self, n_samples: int) -> dict[str, Any]:
        has_inputs = self.pairs.inputs is not None
        has_neighbours = isinstance(self.source, Rows) and not has_inputs
        given = Circumstances(self.arguments, self.sample, n_samples, has_inputs, self._spread, has_neighbours)
        settings = self.estimator._settle(given)
        if self.arguments["corruption"] is None:
            settings["corruption"] = admitted(settings["corruption"], self.source)
        return settings

    def _paired(self, training: Source) -> Source:
        """`training`, each sample with those near it, or each crop with another, if a penalty asks for them."""
        if isinstance(training, Crops) and self.pairs.inputs is None and n_views_of(self.settings) == 2:
            return training.in_pairs()
        count = n_neighbours_of(self.settings)
        if not count or not isinstance(training, Rows):
            return training
        self.near = training.rows.numpy(), neighbours_of(training, count)
        return Neighbouring(self.sample, training.array, *self.near)

    @functools.cached_property
    def _spread(self) -> float:
        return spread_of(self.source)

    def _split(self) -> tuple[Examples, Examples | None]:
        """(training, validation) examples; also sets `settings` and `validation_rows`."""
        share = self._validation_share()
        training, validation, self.validation_rows = self.source.split(share, self.seeds[0])
        if self.arguments["early_stopping"] and validation is None:
            raise ParameterError(f"early_stopping needs a validation split; {share} of {len(self.source)} samples is empty.")
        self.settings = settings = self._settings(len(training))
        if self._copies_linearly(settings):
            assert isinstance(training, Rows)
            full = FullBatch(self.sample, self.pairs.targets, rows=training.rows.numpy())
            return Examples(full), None if validation is None else Examples(validation)
        corruption, n_views = settings["corruption"], n_views_of(settings)
        training = self._paired(training)
        if corruption is not None and not settings["redraw"]:
            inputs = self._corrupted_once(training, corruption)
            training = training.corrupted(inputs)  # type: ignore[attr-defined]  # checked by `_corrupted_once`
            validation, corruption = None if validation is None else validation.corrupted(inputs), None
        both = (Examples(part, corruption, n_views) for part in (training, validation) if part is not None)
        return next(both), next(both, None)

    def _corrupted_once(self, training: Source, corruption: Corruption) -> Array:
        """A corrupted copy of all targets, drawn once, in chunks.

        8-bit images are rounded to 8 bits, an error of half a grey level at most; other images, and those that leave 0..1, to
        half precision, an error of a sixteenth.
        """
        targets = self.pairs.targets
        if not isinstance(training, Rows):
            raise ParameterError(
                "redraw=False keeps a corrupted copy of all images in memory; streams and crops need redraw=True."
            )
        is_bytes = self.sample.is_image and targets.dtype == np.uint8 and corruption.is_bounded
        kind = torch.uint8 if is_bytes else torch.float16 if self.sample.is_image else torch.float32
        corrupted = torch.empty(targets.shape, dtype=kind)
        generator = seeded(self.seeds[5])
        with Threads(torch.device("cpu"), n_threads_of(self.arguments)) as threads:
            for start in threads.over(range(0, len(targets), _CHUNK)):
                clean = network_input(self.sample, as_tensor(targets[start : start + _CHUNK]))
                values = corruption.corrupt(clean, generator).numpy()
                corrupted_chunk = torch.from_numpy(self.sample.from_network(values, clip=corruption.is_bounded))
                corrupted[start : start + _CHUNK] = corrupted_chunk.mul_(255).round_() if is_bytes else corrupted_chunk
        return corrupted.numpy()

    def _validation_share(self) -> float:
        given: float | None = self.arguments["validation_fraction"]
        if given is not None:
            return given
        needed = self.arguments["early_stopping"] or self.estimator._needs_validation
        takes_all = not needed and isinstance(self.source, Rows) and self._copies_linearly(self._settings(len(self.source)))
        return 0.0 if takes_all else VALIDATION_SHARE

    def _copies_linearly(self, settings: dict[str, Any]) -> bool:
        has_inputs = self.pairs.inputs is not None
        is_in_memory = isinstance(self.source, Rows)
        return is_in_memory and copies_linearly(settings, self.arguments, self.sample, has_inputs=has_inputs)

    def _new_run(self, examples: Examples) -> Run:
        """A new run."""
        _, weight_seed, order_seed, noise_seed, validation_seed, _ = self.seeds
        settings = self.settings
        network = build_network(settings, self.sample, weight_seed)
        if settings["initialization"] == "centered" and isinstance(settings["network"], str):
            center(network, *examples.some(_CENTERING_SAMPLES, seeded(noise_seed)))
        normalises = any(isinstance(module, _BATCH_NORMS) for module in network.modules())
        if normalises and len(examples) % settings["batch_size"] == 1:
            words = f"{len(examples)} samples in batches of {settings['batch_size']} leave one alone, which has no variance"
            raise ParameterError(f"batch normalisation: {words}; choose another batch_size.")
        return Run(
            to_device(network, self.device),
            OPTIMIZERS[settings["optimizer"]](network.parameters(), settings["learning_rate"]),
            order=seeded(order_seed),
            noise=seeded(noise_seed, self.device),
            seed=validation_seed,
            device=self.device,
            precision=settings.get("precision", "float32"),  # missing in earlier models
            processes=self.processes,
            settings=settings,
        )

    def _identity(self) -> dict[str, Any]:
        """What a run must share with a checkpoint to resume from it."""
        return {
            **{name: repr(value) for name, value in self.settings.items()},
            "early_stopping": self.arguments["early_stopping"] and self.arguments["patience"],
            "full_batch": self._copies_linearly(self.settings),
            "validation_fraction": self.arguments["validation_fraction"],
            "seeds": self.seeds,
            "device": self.device.type,  # generator states differ between types
            "data": self.source.fingerprint,
        }

    # --- training -----------------------------------------------------------------------------------------------------

    def _run_to_end(self, run: Run, training: Examples, validation: Examples | None, callbacks: Sequence[Callback]) -> None:
        settings, patience = self.settings, self.arguments["patience"] if self.arguments["early_stopping"] else None
        plan = Plan(
            settings["epochs"], settings["batch_size"], settings["learning_rate"], settings["schedule"], patience=patience
        )
        with Threads(run.device, n_threads_of(self.arguments, run.network)) as threads:
            train(run, plan, objective_of(settings), training, validation, threads.around(callbacks))

    def _unless_collapsed(
        self, run: Run, training: Examples, validation: Examples | None, callbacks: Sequence[Callback]
    ) -> Run:
        """`run`, or if it collapsed to a constant output, the best of it and runs at lower learning rates.

        Warns in that case. There are no other runs if the user or the chapter's preset sets the learning rate, or with several
        processes, which would have to agree. Very short runs are not checked.
        """
        if run.step < _FEW_STEPS:
            return run
        settings, objective = self.settings, objective_of(self.settings)
        share = error_share(run, objective, training, seeded(self.seeds[3]))
        if share <= _COLLAPSED:
            return run
        given = kept = settings["learning_rate"]
        is_open = self.arguments["learning_rate"] is None and settings["schedule"] != "constant"
        best = run
        for factor in (0.4, 0.1) if is_open and self.processes.size == 1 else ():
            settings["learning_rate"] = given * factor
            again = self._new_run(training)
            self._run_to_end(again, training, validation, callbacks)
            new_share = error_share(again, objective, training, seeded(self.seeds[3]))
            if new_share < share:
                best, share, kept = again, new_share, settings["learning_rate"]
            if share <= _COLLAPSED:
                break
        settings["learning_rate"] = kept
        if self.processes.is_first:
            note(_collapse_note(given, kept, share), 5)
        return best


def seeds_of(random_state: Any) -> list[int]:
    """Six seeds drawn from a random state: split, weights, order, corruption, validation, fixed corruption."""
    seeds: list[int] = check_random_state(random_state).randint(2**31 - 1, size=6).tolist()
    return seeds


def n_threads_of(arguments: Mapping[str, Any], network: torch.nn.Module | None = None) -> int | str | None:
    """The argument `n_threads`. By default "auto" without a seed; with one torch's setting, for convolutions the usual one."""
    given: int | str | None = arguments["n_threads"]
    if given is not None:
        return given
    if arguments["random_state"] is None:
        return "auto"
    return usual_threads() if network is not None and has_convolution(network) else None


@contextlib.contextmanager
def all_or_nothing(estimator: Any) -> Iterator[None]:
    """Restore the estimator's attributes if the block raises, also on Ctrl-C."""
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        vars(estimator).pop("_run", None)  # its optimiser state has changed
        raise


def _collapse_note(given: float, kept: float, share: float) -> str:
    loss = f"{100 * share:.3g} % of the loss of a constant output, the mean sample"
    if share > _COLLAPSED:
        return f"the network learned next to nothing: its loss is {loss}. Try another learning_rate, loss or network."
    return f"at a learning rate of {given:g} the network learned next to nothing; it was trained again at {kept:g}, to {loss}."
