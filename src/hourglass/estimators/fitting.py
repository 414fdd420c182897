"""Fitting: from an estimator's arguments and samples to a trained network, and samples through it."""

from __future__ import annotations

import contextlib
import math
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from sklearn.utils.validation import check_random_state
from torch import Tensor

from hourglass.corruption import Corruption, seeded
from hourglass.data import Stream
from hourglass.errors import FormatError, HourglassWarning, ParameterError
from hourglass.estimators.arguments import CheckedEstimator
from hourglass.estimators.presets import PRESETS, resolve
from hourglass.images import Array, Float32, Layout, to_float
from hourglass.networks import NETWORKS, Network, answer, build, center, has_convolution, is_encoder_then_decoder, place
from hourglass.objectives import LOSSES, NEED_IMAGES, NEED_UNIT_RANGE, Objective, Output, Penalty, Rate
from hourglass.training import (
    OPTIMIZERS,
    Callback,
    Examples,
    Plan,
    PrintEpochs,
    Run,
    StreamedExamples,
    Threads,
    WholeSet,
    WriteCheckpoint,
    as_tensor,
    current,
    error_share,
    load_checkpoint,
    network_input,
    seeded_globally,
    train,
)

VALIDATION_SHARE = 0.1
MOST_HELD_OUT = 10_000  # of a stream; they are kept in memory
_CENTERING_SAMPLES = 1000
_BATCH = 1024  # samples a forward pass outside training
_CONVOLVED = 200_000  # their values where it convolves: what it makes of more leaves the cache
_PIECE = 256  # samples that are damaged at once
_COLLAPSED = 0.98  # of the loss of a constant answer
_FEW_STEPS = 100
_USUAL_VARIANCE = 0.067  # of MNIST's pixels around their mean image, where the strengths of rates were chosen
_SPREAD_OF_COLUMNS = 0.15  # columns vary less, and have less in common: the rate of images would leave little of them
_MANY = 20  # pieces from which it pays to try how many threads are best


class FittedEstimator(CheckedEstimator):
    """The machinery below the public methods: training a network as the arguments say, and passing samples through it."""

    _spread: float = 1.0
    _learned: ClassVar[tuple[str, ...]] = ()
    """The attributes that are learned once the network is trained."""
    _decodes_codes: ClassVar[bool] = False
    """Whether it decodes codes that no encoder made for the image at hand."""
    _damages_when_scored: ClassVar[bool] = False
    _scales_columns: ClassVar[bool] = False
    """Whether each column of a table is scaled by itself, for what is learned does not ask for directions in feature space."""
    _needs_validation: ClassVar[bool] = False
    """Whether what is learned afterwards needs samples that the network was not trained on."""

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "network_")

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        return {key: value for key, value in state.items() if key != "_run"}  # what goes on learning stays in its process

    @contextlib.contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """Whatever ends the block before its end, Ctrl-C too, leaves the attributes that there were before."""
        before = dict(vars(self))
        try:
            yield
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            self.__dict__.pop("_run", None)  # its optimiser has moved on
            raise

    # --- training ----------------------------------------------------------------------------------------------------

    def _train(
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
        if resume and self.random_state is None:
            raise ParameterError("resume=True needs random_state=, an int: without it every run is another one.")
        self.__dict__.pop("_run", None)
        processes = current()
        processes.gather()  # some have a longer way to their data
        seeds = processes.from_first(self._seeds)
        self.layout_ = self._layout_of(targets)
        if not isinstance(targets, Stream):
            self._spread = _spread_of(targets, self.layout_)
        training, validation = self._split(targets, inputs, seeds)
        run = self._new_run(training, seeds)
        callbacks = [*callbacks, *([PrintEpochs()] if self.verbose else [])]
        identity = self._identity(targets, inputs, seeds)
        processes.gather()
        processes.check_alike({**identity, "resume": resume})
        saving: list[Callback] = []
        if checkpoint is not None:
            path = Path(checkpoint).expanduser()
            if resume:
                load_checkpoint(path, run, identity)
            saving = [WriteCheckpoint(path, identity)]
        self._run_to_end(run, training, validation, [*callbacks, *saving])
        return self._keep(self._unless_collapsed(run, training, validation, seeds, callbacks))

    def _run_to_end(self, run: Run, training: Examples, validation: Examples | None, callbacks: Sequence[Callback]) -> None:
        settings = self.settings_
        plan = Plan(
            settings["epochs"],
            settings["batch_size"],
            settings["learning_rate"],
            settings["schedule"],
            self.patience if self.early_stopping else None,
        )
        with self._threads(run.device) as threads:
            train(run, plan, self._objective(), training, validation, threads.around(callbacks))

    def _unless_collapsed(
        self, run: Run, training: Examples, validation: Examples | None, seeds: list[int], callbacks: Sequence[Callback]
    ) -> Run:
        """`run`; or, where it learned no more than a constant answer, the best of it and others at lower learning rates.

        A HourglassWarning says which. A rate that was given is kept, and the chapter's; and several processes do not train
        anew, for each would have to come to the same choice. Of so few steps as users ask for to try something out, nothing is
        said.
        """
        if run.step < _FEW_STEPS:
            return run
        share = error_share(run, self._objective(), training, seeded(seeds[3], run.device))
        if share <= _COLLAPSED:
            return run
        given, is_open = (
            self.settings_["learning_rate"],
            self.learning_rate is None and self.settings_["schedule"] != "constant",
        )
        best, rates = run, (0.4, 0.1) if is_open and current().size == 1 else ()
        for lower in rates:
            self.settings_["learning_rate"] = given * lower
            again = self._new_run(training, seeds)
            self._run_to_end(again, training, validation, callbacks)
            its_share = error_share(again, self._objective(), training, seeded(seeds[3], run.device))
            if its_share < share:
                best, share = again, its_share
                kept = self.settings_["learning_rate"]
            if share <= _COLLAPSED:
                break
        self.settings_["learning_rate"] = given if best is run else kept
        if current().is_first:
            warnings.warn(_collapse_note(given, self.settings_["learning_rate"], share), HourglassWarning, stacklevel=5)
        return best

    def _partial_fit(self, targets: Array, inputs: Array | None) -> Self:
        """One more pass over `targets`, with the optimiser as the last call left it and no validation part."""
        if isinstance(targets, Stream):
            targets = np.asarray(targets)  # which says that it cannot be
        if not self.__sklearn_is_fitted__():
            self.layout_ = self._layout_of(targets)
            self.settings_ = self._resolve(len(targets), inputs)
        settings = self.settings_
        corruption = settings["corruption"] if inputs is None else None
        examples = Examples(targets, self.layout_, inputs=inputs, corruption=corruption, n_views=self._n_views())
        run: Run | None = getattr(self, "_run", None)
        if run is None:
            run = self._new_run(examples, current().from_first(self._seeds))
            if self.__sklearn_is_fitted__():  # by `fit`, or loaded from disk: its weights, a new optimiser
                run.network.load_state_dict(self.network_.state_dict())
                run.epoch, run.history = self.n_iter_, self.history_
        plan = Plan(run.epoch + 1, settings["batch_size"], settings["learning_rate"])
        callbacks = [PrintEpochs()] if self.verbose else []
        n_rows = len(run.history)
        before = {name: tensor.clone() for name, tensor in run.network.state_dict().items()}
        try:
            with self._threads(run.device) as threads:
                train(run, plan, self._objective(), examples, callbacks=threads.around(callbacks))
        except BaseException:
            run.network.load_state_dict(before)
            del run.history[n_rows:]
            raise
        self._run = run
        return self._keep(run)

    def _layout_of(self, targets: Array) -> Layout:
        by_column = self._scales_columns and self.loss not in NEED_UNIT_RANGE
        return Layout.of(targets, by_column=by_column, white=self._white)

    def _seeds(self) -> list[int]:
        """Six seeds drawn from `random_state`: split, weights, order, damage, validation, damage drawn once."""
        seeds: list[int] = check_random_state(self.random_state).randint(2**31 - 1, size=6).tolist()
        return seeds

    def _split(self, targets: Array | Stream, inputs: Array | None, seeds: list[int]) -> tuple[Examples, Examples | None]:
        """(training, validation) examples, and `settings_` for so many of them."""
        if isinstance(targets, Stream):
            return self._split_stream(targets, seeds)
        order = np.random.default_rng(seeds[0]).permutation(len(targets))
        share = self._validation_share(len(targets), inputs)
        n_validation = int(share * len(targets))
        self.validation_rows_ = np.sort(order[:n_validation])
        if self.early_stopping and n_validation == 0:
            raise ParameterError(f"early_stopping needs a validation part; {share} of {len(targets)} samples is none.")
        self.settings_ = self._resolve(len(targets) - n_validation, inputs)
        rows = np.sort(order[n_validation:])
        if self._copies_linearly(self.settings_, inputs):
            training: Examples = WholeSet(targets, self.layout_, rows=rows)
            return training, Examples(targets, self.layout_, rows=self.validation_rows_) if n_validation else None
        corruption, n_views = self.settings_["corruption"], self._n_views()
        if corruption is not None and not self.settings_["redraw"]:
            inputs, corruption = self._damaged(targets, corruption, seeded(seeds[5])), None
        validation, training = (
            Examples(targets, self.layout_, inputs=inputs, corruption=corruption, rows=part, n_views=n_views)
            for part in (self.validation_rows_, rows)
        )
        return training, validation if n_validation else None

    def _split_stream(self, source: Stream, seeds: list[int]) -> tuple[Examples, Examples | None]:
        """(training examples that are read as they are needed, validation examples in memory)"""
        share = VALIDATION_SHARE if self.validation_fraction is None else self.validation_fraction
        rows = self.validation_rows_ = source.draw(min(int(share * len(source)), MOST_HELD_OUT), seeds[0])
        n_validation = len(rows)
        if self.early_stopping and n_validation == 0:
            raise ParameterError(f"early_stopping needs a validation part; {share} of {len(source)} images is none.")
        some = source.take(source.draw(_CENTERING_SAMPLES, seeds[2]), named=False).images
        self._spread = _spread_of(some, self.layout_)
        self.settings_ = self._resolve(len(source) - n_validation, None)
        corruption, n_views = self.settings_["corruption"], self._n_views()
        if corruption is not None and not self.settings_["redraw"]:
            raise ParameterError("redraw=False keeps a damaged copy of all images in memory; a stream needs redraw=True.")
        training = StreamedExamples(source, self.layout_, some, without=rows, corruption=corruption, n_views=n_views)
        if not n_validation:
            return training, None
        return training, Examples(source.take(rows, named=False).images, self.layout_, corruption=corruption, n_views=n_views)

    def _damaged(self, targets: Array, corruption: Corruption, generator: torch.Generator) -> Array:
        """A damaged copy of all targets, drawn once, piece by piece.

        It takes the memory of the samples: of 8-bit images it is rounded to 8 bits, half a grey level at most; of other images
        to half precision, a sixteenth of one.
        """
        layout = self.layout_
        is_bytes = layout.is_image and targets.dtype == np.uint8
        kind = torch.uint8 if is_bytes else torch.float16 if layout.is_image else torch.float32
        damaged = torch.empty(targets.shape, dtype=kind)
        with self._threads(torch.device("cpu")) as threads:
            for start in threads.over(range(0, len(targets), _PIECE)):
                clean = network_input(layout, as_tensor(targets[start : start + _PIECE]))
                piece = torch.from_numpy(layout.from_network(corruption.corrupt(clean, generator).numpy()))
                damaged[start : start + _PIECE] = piece.mul_(255).round_() if is_bytes else piece
        return damaged.numpy()

    def _threads(self, device: torch.device) -> Threads:
        """As `n_threads` says; by default by trial without a seed, and torch's number with one, for bits may depend on it."""
        n_threads = self.n_threads
        return Threads(device, ("auto" if self.random_state is None else None) if n_threads is None else n_threads)

    def _validation_share(self, n_samples: int, inputs: Array | None) -> float:
        if self.validation_fraction is not None:
            return self.validation_fraction
        needed = self.early_stopping or self._needs_validation
        takes_all = not needed and self._copies_linearly(self._resolve(n_samples, inputs), inputs)
        return 0.0 if takes_all else VALIDATION_SHARE

    def _copies_linearly(self, settings: dict[str, Any], inputs: Array | None) -> bool:
        """Whether a linear map is to copy its samples with least squared error, and no batch size is asked for."""
        return (
            settings["network"] == "linear"
            and settings["loss"] == "mse"
            and not settings["penalty"]
            and settings["corruption"] is None
            and inputs is None
            and self.batch_size is None
            and PRESETS[self.preset]["batch_size"] is None
            and math.prod(self.layout_.shape) <= WholeSet.MAX_VALUES
        )

    def _new_run(self, examples: Examples, seeds: list[int]) -> Run:
        """A run before its first step."""
        _, weight_seed, order_seed, noise_seed, validation_seed, _ = seeds
        settings = self.settings_
        network = self._build(weight_seed)
        if settings["initialization"] == "centered" and isinstance(settings["network"], str):
            first = torch.arange(min(len(examples.rows), _CENTERING_SAMPLES))
            center(network, *examples.batch(first, seeded(noise_seed)))
        device = _device(self.device)
        normalises = any(isinstance(module, torch.nn.modules.batchnorm._BatchNorm) for module in network.modules())
        if normalises and len(examples) % settings["batch_size"] == 1:
            words = f"{len(examples)} samples in batches of {settings['batch_size']} leave one alone, which has no variance"
            raise ParameterError(f"batch normalisation: {words}; give another batch_size.")
        return Run(
            place(network, device),
            OPTIMIZERS[settings["optimizer"]](network.parameters(), settings["learning_rate"]),
            order=seeded(order_seed),
            noise=seeded(noise_seed, device),
            seed=validation_seed,
            device=device,
            precision=settings.get("precision", "float32"),  # not in the settings of models of earlier versions
        )

    def _keep(self, run: Run) -> Self:
        self.network_ = run.network.eval()
        self.history_ = run.history
        self.n_iter_ = run.epoch
        return self

    def _resolve(self, n_samples: int, inputs: Array | None) -> dict[str, Any]:
        """The settings for `n_samples` to train on; given `inputs` are damaged already, so they go without corruption."""
        given = {name: getattr(self, name) for name in PRESETS[self.preset]}
        settings = resolve(self.preset, given, n_samples)
        network = settings["network"]
        kind = NETWORKS.get(network) if isinstance(network, str) else None
        if self._decodes_codes and kind is not None and kind.bypasses_code:
            raise ParameterError(f'{type(self).__name__} decodes codes alone; network="{network}" passes detail beside them.')
        has_rate = kind is not None and kind.has_rate
        if self.penalty is None and isinstance(settings["penalty"], Rate) and not has_rate:
            settings["penalty"] = None  # the preset's, for a network that the user replaced
        if self.loss is None and (network == "linear" or not self.layout_.is_bounded):
            settings["loss"] = "mse"  # whatever the preset takes for values in 0..1
        loss = settings["loss"]
        if isinstance(settings["penalty"], list):
            settings["penalty"] = tuple(settings["penalty"])
        if settings["penalty"] is None and has_rate:
            settings["penalty"] = Rate()
        if self.penalty is None and isinstance(settings["penalty"], Rate):
            settings["penalty"] = Rate(settings["penalty"].strength * self._spread)
        if loss in NEED_UNIT_RANGE and network == "linear":
            raise ParameterError(f'loss="{loss}" needs answers in 0..1; network="linear" gives any number. Use "mse".')
        if loss in NEED_UNIT_RANGE and not self.layout_.is_bounded:
            raise ParameterError(
                f'loss="{loss}" needs values in 0..1; these features start at {self.layout_.offset} and span '
                f"{self.layout_.scale}. Scale them (sklearn.preprocessing.MinMaxScaler) or use another loss."
            )
        if loss in NEED_IMAGES and not self.layout_.is_image:
            raise ParameterError(f'loss="{loss}" needs images of shape (n, h, w) or (n, h, w, c).')
        return settings

    def _build(self, seed: int) -> Network:
        """The network, its weights drawn from `seed`; torch's global random state stays as it was."""
        settings = self.settings_
        with seeded_globally(seed):
            return build(
                settings["network"],
                self.layout_.network_shape,
                settings["n_components"],
                settings["hidden"],
                self.layout_.is_bounded,
            )

    def _n_views(self) -> int:
        n_views = self._objective().n_views
        if n_views > 1 and (self.settings_["corruption"] is None or not self.settings_["redraw"]):
            raise ParameterError(
                "this penalty compares two views of an image; it needs a corruption, drawn anew (redraw=True)."
            )
        return n_views

    def _objective(self) -> Objective:
        given = self.settings_["penalty"]
        penalties: Sequence[Penalty] = [given] if isinstance(given, Penalty) else given or ()
        for penalty in penalties:
            if not isinstance(penalty, Penalty):
                raise ParameterError(f"penalty={given!r}; allowed: penalties like L1(1e-3), or a sequence of them.")
        return Objective(LOSSES[self.settings_["loss"]], penalties)

    def _identity(self, targets: Array, inputs: Array | None, seeds: list[int]) -> dict[str, Any]:
        """What two runs must share for one to go on from the other's checkpoint."""
        return {
            **{name: repr(value) for name, value in self.settings_.items()},
            "early_stopping": self.early_stopping and self.patience,
            "all_at_once": self._copies_linearly(self.settings_, inputs),
            "validation_fraction": self.validation_fraction,
            "seeds": seeds,
            "device": _device(self.device).type,  # whose generators' states differ
            "data": [_fingerprint(targets), None if inputs is None else _fingerprint(inputs)],
        }

    # --- samples through the network -----------------------------------------------------------------------------------

    @property
    def _network_device(self) -> torch.device:
        return next(self.network_.parameters()).device

    def _encode(self, samples: Array) -> Float32:
        def step(batch: Array) -> Float32:
            return self._answer(self.network_.encoder, network_input(self.layout_, as_tensor(batch)))

        return self._piecewise(step, samples, (self.settings_["n_components"],))

    def _decode(self, codes: Float32) -> Float32:
        def step(batch: Array) -> Float32:
            return self.layout_.from_network(self._forward(self.network_.decoder, batch))

        return self._piecewise(step, codes, self.layout_.shape)

    def _reconstruct(self, samples: Array) -> Float32:
        def step(batch: Array) -> Float32:
            return self.layout_.from_network(self._answer(self.network_, network_input(self.layout_, as_tensor(batch))))

        return self._piecewise(step, samples, self.layout_.shape)

    def _piecewise(self, step: Callable[[Array], Float32], samples: Array, shape: tuple[int, ...]) -> Float32:
        """`step` of all samples, batch by batch, gathered in one array of samples of `shape`."""
        made, batch, device = np.empty((len(samples), *shape), dtype=np.float32), _BATCH, self._network_device
        if device.type == "cpu" and has_convolution(self.network_):
            batch = min(_BATCH, max(1, _CONVOLVED // math.prod(self.layout_.shape)))
        with self._threads(device) as threads:
            starts = range(0, len(samples), batch)
            for start in threads.over(starts) if len(starts) >= _MANY else starts:
                made[start : start + batch] = step(samples[start : start + batch])
        return made

    def _forward(self, module: torch.nn.Module, batch: Float32) -> Float32:
        """One batch, as the network sees it, through `module`."""
        return self._answer(module, torch.from_numpy(batch))

    def _answer(self, module: torch.nn.Module, batch: Tensor) -> Float32:
        network = self.network_
        parts = (network.encoder, network.decoder) if module is network and is_encoder_then_decoder(network) else (module,)
        with torch.inference_mode():
            made = answer(parts, batch)
            if made is None:
                output = module(batch.to(self._network_device))
                made = output.reconstructions if isinstance(output, Output) else output
            elif module is not network.encoder:
                made = made.view(len(made), *self.layout_.network_shape)
        values: Float32 = made.cpu().numpy()
        return values

    def _negative_error(self, targets: Array, inputs: Array | None = None) -> float:
        """Minus the mean squared error of what is made of `inputs`; without them, of the targets as training damages them."""
        total, generator = 0.0, seeded(0)
        for start in range(0, len(targets), _BATCH):
            clean = targets[start : start + _BATCH]
            batch = self.layout_.to_network(clean if inputs is None else inputs[start : start + _BATCH])
            if inputs is None and self._damages_when_scored:
                batch = self.settings_["corruption"].corrupt(torch.from_numpy(batch), generator).numpy()
            made = self.layout_.from_network(self._forward(self.network_, batch))
            wanted = to_float(clean) if self.layout_.is_image else clean
            total += float(np.square(made - wanted, dtype=np.float64).sum())
        return -total / targets.size

    def _load(self, weights: dict[str, Tensor]) -> Self:
        """Take up weights that were saved, in a network as `settings_` describes it."""
        given, hidden = self.settings_["network"], self.settings_["hidden"]
        if sum(len(part) if isinstance(part, tuple) else 1 for part in hidden or ()) > len(weights):
            raise FormatError("the settings describe more layers than weights were saved.")
        if not any(isinstance(part, torch.nn.Module) for part in given):  # sizes are checked before memory is taken for them
            with torch.device("meta"):
                wanted = {name: tensor.shape for name, tensor in self._build(seed=0).state_dict().items()}
            if wanted != {name: tensor.shape for name, tensor in weights.items()}:
                raise FormatError("the saved weights do not fit the network that the settings describe.")
        network = self._build(seed=0)
        try:
            network.load_state_dict(weights)
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise FormatError(f"the saved weights do not fit the network ({reason[:200]}).") from error
        self.network_ = place(network, _device(self.device)).eval()
        return self


def _spread_of(targets: Array, layout: Layout) -> float:
    """The variance of values around their mean sample, as a share of MNIST's, at most 1: by it rates that presets bring weigh
    against errors alike on samples that differ less.
    """
    if layout.is_by_column:
        return _SPREAD_OF_COLUMNS
    rows = np.linspace(0, len(targets) - 1, min(len(targets), _CENTERING_SAMPLES)).astype(int)
    variance = float(layout.to_network(targets[rows]).var(0, dtype=np.float64).mean())
    return min(1.0, variance / _USUAL_VARIANCE) or 1.0


def _collapse_note(given: float, kept: float, share: float) -> str:
    told = f"{100 * share:.3g} % of the loss of one constant answer, the mean sample"
    if share > _COLLAPSED:
        return f"the network learned next to nothing: its loss is {told}. Try another learning_rate, loss or network."
    return f"at a learning rate of {given:g} the network learned next to nothing; it was trained again at {kept:g}: {told}."


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type == "meta":
            raise RuntimeError("it holds no values")
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # AssertionError: torch built without CUDA
        reason = str(error).split("\n")[0]
        raise ParameterError(f'device="{name}" cannot be used ({reason}); "auto" takes what there is.') from error
    return device


def _fingerprint(array: Array | Stream) -> str:
    """Tells another data set from this one, from 64 of its samples."""
    if isinstance(array, Stream):
        return array.fingerprint
    rows = np.linspace(0, len(array) - 1, min(len(array), 64)).astype(int)
    return f"{array.dtype} {array.shape} {zlib.crc32(array[rows].tobytes()):08x}"
