"""Base classes of the estimators: scikit-learn's interface to a trained model."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self, Unpack

import numpy as np
import torch
from sklearn.base import TransformerMixin
from sklearn.utils.validation import check_is_fitted

from hourglass.corruption import seeded
from hourglass.data import Stream
from hourglass.errors import ModelError, ParameterError
from hourglass.estimators.checks import Pairs, check_samples, has_many_sizes
from hourglass.estimators.documentation import documented_fit
from hourglass.estimators.fitting import Fit, all_or_nothing, n_threads_of, seeds_of
from hourglass.estimators.notebook import NotebookView
from hourglass.estimators.saving import Saved
from hourglass.estimators.settings import Circumstances, settle
from hourglass.estimators.vocabulary import in_words
from hourglass.images import Float32, Sample, to_float
from hourglass.networks import Network
from hourglass.notes import note
from hourglass.options import FIRST, OPTIONS, Option, TrainingOptions
from hourglass.trained import HeldOut, Trained
from hourglass.training import Callback, Run, ordinary_torch

_BATCH = 1024  # samples to score at once
_LEARNED_FROM = 20_000
"""Images of a stream to learn from after the network is trained."""
_FEATURES, _PHOTO_FEATURES = "features", "photo-features"  # presets
LARGE = 128  # pixels, beyond which the network of that preset, for whole images, is no longer the one to take


class ImageEstimator(NotebookView, Saved):
    """Base of all estimators: trains an autoencoder, encodes and decodes with it, and saves it.

    A subclass adapts training by the class attributes below, and by `_pairs`, `_settle` and `_learn`.
    """

    _own_options: ClassVar[dict[str, Option]] = {}
    """Arguments of this class only."""
    _learned: ClassVar[tuple[str, ...]] = ()
    """Attributes to learn after the network is trained."""
    _decodes_codes: ClassVar[bool] = False
    """Whether it decodes other codes than the encoder's."""
    _compares_codes: ClassVar[bool] = False
    """Whether its purpose is the code; photographs are then described by visual words."""
    _corrupts_when_scored: ClassVar[bool] = False
    _scales_columns: ClassVar[bool] = False
    """Whether to scale each column of a table separately; directions in feature space then change."""
    _needs_validation: ClassVar[bool] = False
    """Whether `_learn` needs a validation split."""
    _takes_many_sizes: ClassVar[bool] = True
    """Whether `fit` accepts images of several sizes."""
    _turns_crops: ClassVar[bool] = True
    """Whether to flip and rotate random crops."""
    _photo_network: ClassVar[str] = "maps"
    """The network of the preset "photo"."""
    _photo_preset: ClassVar[str] = "photo"
    """The preset that stands for it."""

    _given: Trained | None = None
    """From `from_autoencoder`: the trained model for `fit` to use."""

    @property
    def _crop_unit(self) -> int:
        """The default height and width of crops is a multiple of it."""
        return 1

    def __init__(self, n_components: int | None = None, *, preset: str = "default", **options: Unpack[TrainingOptions]) -> None:
        self.n_components = n_components
        self.preset = preset
        given: dict[str, Any] = {**options}
        for name, option in OPTIONS.items():
            setattr(self, name, given.pop(name, option.default))
        if given:
            raise TypeError(f"{type(self).__name__}.__init__() got an unexpected keyword argument {next(iter(given))!r}")

    # --- fitted attributes ------------------------------------------------------------------------------------------

    @property
    def network_(self) -> Network:
        """Encoder and decoder, fitted."""
        return self.model_.network

    @property
    def encoder_(self) -> torch.nn.Module:
        """float32 Tensor (n, c, h, w) or (n, features) -> codes (n, n_components); usable alone."""
        check_is_fitted(self, "model_")
        return self.network_.encoder

    @property
    def decoder_(self) -> torch.nn.Module:
        """Codes (n, n_components) -> float32 Tensor (n, c, h, w) or (n, features); usable alone."""
        check_is_fitted(self, "model_")
        return self.network_.decoder

    @property
    def sample_(self) -> Sample:
        """Shape and scale of the fitted samples."""
        return self.model_.sample

    @property
    def layout_(self) -> Sample:
        """The former name of `sample_`."""
        note("layout_ is called sample_ now; the old name will be removed.")
        return self.sample_

    @property
    def settings_(self) -> dict[str, Any]:
        """The settings of training: the preset's values, updated by arguments."""
        return self.model_.settings

    @property
    def history_(self) -> list[dict[str, Any]]:
        """A row for each epoch: epoch, loss, validation_loss, learning_rate, seconds, images_per_second."""
        return self.model_.history

    @property
    def n_iter_(self) -> int:
        """Epochs trained."""
        return len(self.history_)

    def __sklearn_is_fitted__(self) -> bool:
        return all(hasattr(self, name) for name in ("model_", *self._learned))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.non_deterministic = False
        return tags

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        return {key: value for key, value in state.items() if key != "_run"}  # the state of `partial_fit` is not pickled

    # --- fitting ------------------------------------------------------------------------------------------------------

    @documented_fit
    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        callbacks: Sequence[Callback] = (),
        checkpoint: str | Path | None = None,
        resume: bool = False,
    ) -> Self:
        """Train a network on `X`, unless `from_autoencoder` gave one; then learn all other fitted attributes.

        If it is interrupted or fails, the estimator keeps its earlier state.

        Parameters
        ----------
        X : array-like of shape (n, h, w), (n, h, w, c) or (n, features), list of images of several sizes, or Stream
            uint8 in 0..255 or float in 0..1; features in any units. Images of several sizes are trained on in random crops, see
            `crop`. A `Stream` has its own labels; at most 10,000 of its images are held out, and attributes beside the network
            are learned from these and 20,000 others.
        y : array-like, optional
            See the class; ignored unless it documents `y`.
        {fit_parameters}

        Raises
        ------
        DataError, ParameterError, ModelError, DivergenceError
        """
        self._check_parameters()
        if isinstance(X, Stream) and y is not None:
            raise ParameterError("a stream brings its own labels and takes no pairs; leave y out.")
        if isinstance(X, Stream) and not self._turns_crops:
            X = X.unturned()
        with all_or_nothing(self), ordinary_torch():
            given = self._given
            pairs = self._without_known(self._pairs(X, y, None if given is None else given.sample), y)
            targets = pairs.targets
            if isinstance(targets, list) and not self._takes_many_sizes:
                raise ParameterError(f"X has images of several sizes; {type(self).__name__} takes one. Resize or tile them.")
            y = self._check_y(targets, y)
            if given is None:
                self.__dict__.pop("_run", None)
                fit = Fit(self, pairs)
                if isinstance(targets, list) and self._learned and not fit.sample.is_any_size:
                    words = f"{type(self).__name__} applies its network to whole images, which needs one that takes any size"
                    raise ParameterError(f'X has images of several sizes; {words}, as network="maps". Or resize or tile them.')
                self.model_ = self._train(fit, callbacks, checkpoint, resume)
                self.validation_rows_ = fit.validation_rows
            else:
                self.model_ = given
            if isinstance(targets, Stream) and self._learned:
                self._learn_streamed(targets)
            elif not isinstance(targets, Stream):
                self._learn(targets, y)
        return self

    def _partial_fit(self, X: Any, y: Any) -> Self:
        """Train for one more pass over samples or pairs, with the optimiser state of the last call and no validation split."""
        self._check_parameters()
        if isinstance(X, Stream):
            X = np.asarray(X)  # raises
        with all_or_nothing(self), ordinary_torch():
            model = getattr(self, "model_", None)
            fit = Fit(self, self._pairs(X, y, None if model is None else model.sample))
            if self._counts_words(fit):
                raise ModelError("the visual words of photographs are found after training, so it cannot go on; use fit.")
            if model is not None:
                fit.sample = fit.source.sample = model.sample
            self._run: Run = fit.one_more_epoch(getattr(self, "_run", None), model)
            network, history = copy.deepcopy(self._run.network), list(self._run.history)  # the next call changes the run's
            self.model_ = Trained(network, fit.sample, fit.settings, history, n_threads_of(fit.arguments, network))
        return self

    def _check_parameters(self) -> None:
        """Raise ParameterError if an argument is not allowed."""
        owner, own = type(self).__name__, self._own_options
        for name, value in self.get_params(deep=False).items():
            (own | FIRST | OPTIONS)[name].check(name, value, owner)

    def _settle(self, given: Circumstances) -> dict[str, Any]:
        """The settings of training. Raises ParameterError if arguments conflict."""
        return settle(given, decodes_codes=self._decodes_codes, owner=type(self).__name__)

    def _arguments(self, samples: Any) -> dict[str, Any]:
        """The constructor's arguments; for crops with a preset for them in place of the default, or of "features"."""
        arguments: dict[str, Any] = self.get_params(deep=False)
        preset = arguments["preset"]
        is_open = preset in (inspect.signature(type(self)).parameters["preset"].default, _FEATURES)
        if self._takes_crops(samples) and self._takes_many_sizes and is_open and arguments["network"] is None:
            arguments["preset"] = _PHOTO_FEATURES if preset == _FEATURES else "photo"
        if arguments["preset"] == "photo":
            arguments["preset"] = self._photo_preset
            arguments["network"] = arguments["network"] or self._photo_network
        return arguments

    def _takes_crops(self, samples: Any) -> bool:
        """Whether to train on crops, unless the user says otherwise: of images of several sizes, for features of large ones."""
        is_large = isinstance(samples, np.ndarray) and samples.ndim > 2 and min(samples.shape[1:3]) > LARGE
        return has_many_sizes(samples) or (is_large and self.get_params(deep=False)["preset"] == _FEATURES)

    def _pairs(self, X: Any, y: Any, sample: Sample | None) -> Pairs:
        """Checked inputs and targets of the network, each a `sample` if it is given."""
        targets, white = check_samples(self, X, sample, self._level)
        return Pairs(targets, None, white)

    def _without_known(self, pairs: Pairs, y: Any) -> Pairs:
        """What of `pairs` to train on: all, unless `y` says of some that they are anomalies."""
        return pairs

    @property
    def _level(self) -> float | None:
        """The argument `white`."""
        level: float | None = self.get_params(deep=False)["white"]
        return level

    def _check_y(self, samples: Any, y: Any) -> Any:
        """Check `y` for `_learn`. Raises DataError."""
        return y

    def _train(self, fit: Fit, callbacks: Sequence[Callback], checkpoint: str | Path | None, resume: bool) -> Trained:
        """The trained model. An estimator that compares codes counts visual words in photographs, see `_counts_words`."""
        arguments, targets = fit.arguments, fit.pairs.targets
        if arguments["preset"] == _PHOTO_FEATURES and isinstance(targets, Stream):
            raise ParameterError('preset="photo-features" pairs crops of images in memory; a stream takes preset="features".')
        if not self._counts_words(fit):
            return fit.train(callbacks, checkpoint, resume)
        n_components, arguments["n_components"] = arguments["n_components"], None  # of the words, not of the patches
        return in_words(fit.train(callbacks, checkpoint, resume), n_components, targets, fit.seeds[1])

    def _counts_words(self, fit: Fit) -> bool:
        """Whether codes will be histograms of visual words: with the preset "photo-features" and its own network."""
        return self._compares_codes and fit.arguments["preset"] == _PHOTO_FEATURES and fit.arguments["network"] is None

    def _learn_streamed(self, source: Stream) -> None:
        """`_learn` from some of a stream's images and labels; the held-out images come first."""
        others = source.draw(_LEARNED_FROM, self._seeds()[-1])
        if self._given is not None:
            some = source.take(others)
            self._learn(some.images, some.labels)
            return
        parts = [source.take(np.setdiff1d(others, self.validation_rows_))]
        if len(self.validation_rows_):
            parts.insert(0, source.take(self.validation_rows_))
        labels = None if any(part.labels is None for part in parts) else np.concatenate([part.known_labels for part in parts])
        images = np.concatenate([part.images for part in parts])
        self.model_.held_out = HeldOut.of(np.arange(len(parts[0]) if len(parts) > 1 else 0), images)
        self._learn(images, labels)

    def _learn(self, samples: Any, y: Any) -> None:
        """Set the attributes in `_learned` from the trained model and the checked `samples`."""

    def _seeds(self) -> list[int]:
        return seeds_of(self.get_params(deep=False)["random_state"])

    # --- using the model ----------------------------------------------------------------------------------------------

    def encode(self, X: Any) -> Float32:
        """Codes of `X`, of the fitted shape: float32 (n, n_components). If they are maps, a vector made of their means.

        Raises
        ------
        NotFittedError, DataError
        """
        return self._model.vectors(self._check(X), check_input=False)

    def inverse_transform(self, X: Any) -> Float32:
        """Decode codes (n, n_components) to samples: float32, images in 0..1, features in their own units.

        If codes are maps, `X` has shape (n, channels, h, w), as `model_.encode` returns them, and not the vectors of `encode`.

        Raises
        ------
        NotFittedError, DataError
        """
        samples: Float32 = self._model.decode(X)
        return samples

    def reconstruct(self, X: Any) -> Any:
        """Encode and decode: float32 of the shape of `X`, images in 0..1; a list for a list.

        Raises
        ------
        NotFittedError, DataError
        """
        return self._model.reconstruct(self._check(X), check_input=False)

    def score(self, X: Any, y: Any = None) -> float:
        """Minus the mean squared error of the reconstruction, in squared units of the samples (images: of 0..1).

        Greater is better, as scikit-learn's model selection expects.

        Raises
        ------
        NotFittedError, DataError
        """
        model = self._model
        pairs = self._pairs(X, y, model.sample)
        total, count, generator = 0.0, 0, seeded(0)
        for clean, given in _batches(pairs):
            if given is None and self._corrupts_when_scored:
                values = model.sample.to_network(clean)
                corrupted = model.settings["corruption"].corrupt(torch.from_numpy(values), generator).numpy()
                outputs = model.sample.from_network(model.run(corrupted))
            else:
                outputs = model.reconstruct(clean if given is None else given, check_input=False)
            expected = to_float(clean) if model.sample.is_image else clean
            total += float(np.square(outputs - expected, dtype=np.float64).sum())
            count += clean.size
        return -total / count

    @property
    def _model(self) -> Trained:
        """The trained model, with the current `n_threads`. Raises NotFittedError."""
        check_is_fitted(self, "model_")
        self.model_.n_threads = n_threads_of(vars(self), self.model_.network)
        return self.model_

    def _check(self, X: Any) -> Any:
        """Check `X` against the fitted samples."""
        if isinstance(X, Stream):
            X = np.asarray(X)  # raises
        return check_samples(self, X, self._model.sample, None, bounded=self._takes_bounded)[0]

    @property
    def _takes_bounded(self) -> bool:
        """Whether floats of images must lie in 0..1."""
        return True

    def _use(self, blank: Float32) -> None:
        self.reconstruct(blank)


def _batches(pairs: Pairs) -> Any:
    """Batches of (clean, inputs or None); images of several sizes come one by one."""
    if isinstance(pairs.targets, list):
        for number, image in enumerate(pairs.targets):
            yield image[None], None if pairs.inputs is None else pairs.inputs[number][None]
        return
    for start in range(0, len(pairs.targets), _BATCH):
        part = slice(start, start + _BATCH)
        yield pairs.targets[part], None if pairs.inputs is None else pairs.inputs[part]


class Float32Transformer(TransformerMixin):
    """scikit-learn's TransformerMixin for float32 output from any dtype."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags
