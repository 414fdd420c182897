"""What all estimators are: scikit-learn's face, and a trained model behind it."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self, Unpack

import numpy as np
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from hourglass.corruption import seeded
from hourglass.data import Stream
from hourglass.errors import ParameterError
from hourglass.estimators.checks import Pairs, check_codes, check_samples
from hourglass.estimators.documentation import documented_fit
from hourglass.estimators.fitting import Fit, all_or_nothing, n_threads_of, seeds_of
from hourglass.estimators.settings import Circumstances, settle
from hourglass.images import Float32, Sample, to_float
from hourglass.networks import Network
from hourglass.options import FIRST, OPTIONS, Option, TrainingOptions
from hourglass.trained import Face, Trained
from hourglass.training import Callback, Run

_BATCH = 1024  # samples that are scored at once
_LEARNED_FROM = 20_000
"""Images of a stream from which a use learns what it needs beside the network."""


class ImageEstimator(BaseEstimator):
    """Base of all estimators: they train an autoencoder, encode and decode with it, and are saved.

    A subclass says what its use asks of training by the class attributes below, and by `_pairs`, `_settle` and `_learn`.
    """

    saved_as: ClassVar[str]
    """The name in `ESTIMATORS`, which a saved model carries."""
    model_: Trained
    """Network, sample, settings and history: all that it takes to run the model without this estimator."""

    _own_options: ClassVar[dict[str, Option]] = {}
    """The arguments that only this class has."""
    _learned: ClassVar[tuple[str, ...]] = ()
    """The attributes that are learned once the network is trained."""
    _decodes_codes: ClassVar[bool] = False
    """Whether it decodes codes that no encoder made for the image at hand."""
    _corrupts_when_scored: ClassVar[bool] = False
    _scales_columns: ClassVar[bool] = False
    """Whether each column of a table is scaled by itself, for what is learned does not ask for directions in feature space."""
    _needs_validation: ClassVar[bool] = False
    """Whether what is learned afterwards needs samples that the network was not trained on."""
    _takes_many_sizes: ClassVar[bool] = True
    """Whether it can be fitted on images of several sizes."""
    _turns_crops: ClassVar[bool] = True
    """Whether random crops are flipped and turned."""

    _given: Trained | None = None
    """From `from_autoencoder`: the trained model that `fit` takes instead of training one."""

    def __init__(self, n_components: int | None = None, *, preset: str = "default", **options: Unpack[TrainingOptions]) -> None:
        self.n_components = n_components
        self.preset = preset
        given: dict[str, Any] = {**options}
        for name, option in OPTIONS.items():
            setattr(self, name, given.pop(name, option.default))
        if given:
            raise TypeError(f"{type(self).__name__}.__init__() got an unexpected keyword argument {next(iter(given))!r}")

    # --- what it has learned ------------------------------------------------------------------------------------------

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
    def settings_(self) -> dict[str, Any]:
        """The preset's values with those that were given, as training used them."""
        return self.model_.settings

    @property
    def history_(self) -> list[dict[str, Any]]:
        """A row an epoch: epoch, loss, validation_loss, learning_rate, seconds, images_per_second."""
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
        return {key: value for key, value in state.items() if key != "_run"}  # what goes on learning stays in its process

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
        """Train a new network on `X`, unless one came from `from_autoencoder`; then learn what the use needs beside it.

        If it is interrupted or fails, the estimator stays as it was before, fitted or not.

        Parameters
        ----------
        X : array-like of shape (n, h, w), (n, h, w, c) or (n, features), list of images of several sizes, or Stream
            uint8 in 0..255 or float in 0..1; features in any units. Of images of several sizes random crops are trained on, see
            `crop`. Of a `Stream`, at most 10,000 images are held out, and what is learned beside the network is learned from
            these and 20,000 others; it brings its own labels.
        y : array-like, optional
            What the class says; ignored where it says nothing.
        {fit_parameters}

        Raises
        ------
        DataError, ParameterError, ModelError, DivergenceError
        """
        self._check_parameters()
        if isinstance(X, Stream) and y is not None:
            raise ParameterError("a stream brings its own labels and is corrupted as it comes; leave y out.")
        with all_or_nothing(self):
            given = self._given
            pairs = self._pairs(X, y, None if given is None else given.sample)
            targets = pairs.targets
            if isinstance(targets, list) and not self._takes_many_sizes:
                raise ParameterError(f"X has images of several sizes; {type(self).__name__} takes one. Resize or tile them.")
            y = self._check_y(targets, y)
            if given is None:
                self.__dict__.pop("_run", None)
                fit = Fit(self, pairs)
                self.model_ = fit.train(callbacks, checkpoint, resume)
                self.validation_rows_ = fit.validation_rows
            else:
                self.model_ = given
            if isinstance(targets, Stream) and self._learned:
                self._learn_streamed(targets)
            elif not isinstance(targets, Stream):
                self._learn(targets, y)
        return self

    def _partial_fit(self, X: Any, y: Any) -> Self:
        """One more pass over samples or pairs, with the optimiser as the last call left it and no validation split."""
        self._check_parameters()
        if isinstance(X, Stream):
            X = np.asarray(X)  # which says that it cannot be
        with all_or_nothing(self):
            model = getattr(self, "model_", None)
            fit = Fit(self, self._pairs(X, y, None if model is None else model.sample))
            if model is not None:
                fit.sample = fit.source.sample = model.sample
            self._run: Run = fit.one_more_epoch(getattr(self, "_run", None), model)
            self.model_ = Trained(self._run.network, fit.sample, fit.settings, self._run.history, n_threads_of(fit.arguments))
        return self

    def _check_parameters(self) -> None:
        """ParameterError if an argument is not allowed."""
        owner, own = type(self).__name__, self._own_options
        for name, value in self.get_params(deep=False).items():
            (own | FIRST | OPTIONS)[name].check(name, value, owner)

    def _settle(self, given: Circumstances) -> dict[str, Any]:
        """The settings of a training under these circumstances. ParameterError if arguments do not go together."""
        arguments: Mapping[str, Any] = self.get_params(deep=False)
        return settle(arguments, given, decodes_codes=self._decodes_codes, owner=type(self).__name__)

    def _pairs(self, X: Any, y: Any, sample: Sample | None) -> Pairs:
        """What the network learns from, checked; `sample` says what each must be, unless it is found out."""
        targets, white = check_samples(self, X, sample, self._level)
        return Pairs(targets, None, white)

    @property
    def _level(self) -> float | None:
        """The white level that was given."""
        level: float | None = self.get_params(deep=False)["white"]
        return level

    def _check_y(self, samples: Any, y: Any) -> Any:
        """`y` as `_learn` takes it. DataError if it is not what the class says."""
        return y

    def _learn_streamed(self, source: Stream) -> None:
        """`_learn` from some of a stream's images and labels, those first that were held out from training."""
        others = source.draw(_LEARNED_FROM, self._seeds()[-1])
        if self._given is not None:
            some = source.take(others)
            self._learn(some.images, some.labels)
            return
        parts = [source.take(np.setdiff1d(others, self.validation_rows_))]
        if len(self.validation_rows_):
            parts.insert(0, source.take(self.validation_rows_))
        self.validation_rows_ = np.arange(len(parts[0]) if len(parts) > 1 else 0)
        labels = None if any(part.labels is None for part in parts) else np.concatenate([part.known_labels for part in parts])
        self._learn(np.concatenate([part.images for part in parts]), labels)

    def _learn(self, samples: Any, y: Any) -> None:
        """Learn what the use needs from the trained model and the checked `samples`: the attributes in `_learned`."""

    def _seeds(self) -> list[int]:
        return seeds_of(self.get_params(deep=False)["random_state"])

    # --- using what was learned ---------------------------------------------------------------------------------------

    def encode(self, X: Any) -> Float32:
        """Codes of `X`, of the fitted shape: float32 (n, n_components); of maps, their mean over height and width.

        Raises
        ------
        NotFittedError, DataError
        """
        return self._model.vectors(self._check(X))

    def inverse_transform(self, X: Any) -> Float32:
        """Samples that codes (n, n_components) stand for: float32, images in 0..1, features in their own units.

        Of a network whose codes are maps it takes the maps, (n, n_components, h, w), as `model_.encode` gives them.

        Raises
        ------
        NotFittedError, DataError
        """
        model = self._model
        return model.decode(check_codes(X, model.network.code.width, are_maps=model.network.code.is_map))

    def reconstruct(self, X: Any) -> Any:
        """Samples through the code and back: float32 of the shape of `X`, images in 0..1; of a list, a list.

        Raises
        ------
        NotFittedError, DataError
        """
        return self._model.reconstruct(self._check(X))

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
                made = model.sample.from_network(model.answer(corrupted))
            else:
                made = model.reconstruct(clean if given is None else given)
            wanted = to_float(clean) if model.sample.is_image else clean
            total += float(np.square(made - wanted, dtype=np.float64).sum())
            count += clean.size
        return -total / count

    @property
    def _model(self) -> Trained:
        """The trained model, with as many threads as the arguments say now. NotFittedError if there is none."""
        check_is_fitted(self, "model_")
        self.model_.n_threads = n_threads_of(self.get_params(deep=False))
        return self.model_

    def _check(self, X: Any) -> Any:
        """`X` checked against the fitted samples."""
        if isinstance(X, Stream):
            X = np.asarray(X)  # which says that it cannot be
        return check_samples(self, X, self._model.sample, None)[0]

    # --- saving -------------------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write the fitted model as a folder: model.safetensors, config.json and README.md, its card.

        A model that is there already is replaced once the new one is whole; nothing half-written stays behind.

        Parameters
        ----------
        path : path
            The folder, by custom named *.hg.

        Raises
        ------
        NotFittedError, OSError
        FormatError
            If `path` exists and is no model.
        ParameterError
            If a corruption, penalty or the estimator itself is a class of your own.
        """
        check_is_fitted(self)
        if "saved_as" not in vars(type(self)):
            raise ParameterError(
                f"{type(self).__name__} is a class of your own; only the library's classes can be loaded again."
            )
        names = getattr(self, "feature_names_in_", None)
        arguments = self.get_params(deep=False)
        face = Face(self.saved_as, type(self).__name__, arguments, self.n_features_in_, names, self._state())
        self.model_.save(Path(os.path.expanduser(path)), face)

    # What a saved model holds beside its network; numbers, strings and arrays by name.

    def _state(self) -> dict[str, Any]:
        return {}

    def _restore(self, state: dict[str, Any]) -> None:
        """Take up what `_state` gave."""

    def _try_out(self) -> None:
        """Do once what the estimator is for: a model that was loaded fails here, if it fails, and not in the midst of work."""
        sample = self.model_.sample
        shape = (8, 8, *sample.shape[2:]) if sample.is_any_size else sample.shape
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that a blank sample's features have no names
            self._use(np.zeros((1, *shape), dtype=np.float32))  # type: ignore[arg-type]  # all sides are known

    def _use(self, blank: Float32) -> None:
        """Do what it is for with one blank sample, (1, *shape)."""
        self.reconstruct(blank)


def _batches(pairs: Pairs) -> Any:
    """(clean, given or None) samples, batch by batch; of images of several sizes each is one."""
    if isinstance(pairs.targets, list):
        for number, image in enumerate(pairs.targets):
            yield image[None], None if pairs.inputs is None else pairs.inputs[number][None]
        return
    for start in range(0, len(pairs.targets), _BATCH):
        part = slice(start, start + _BATCH)
        yield pairs.targets[part], None if pairs.inputs is None else pairs.inputs[part]


class Float32Transformer(TransformerMixin):
    """scikit-learn's transformer, which answers in float32 whatever it is given."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags
