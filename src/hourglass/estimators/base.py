"""The public methods that all estimators share, and what it takes to put a trained autoencoder to a use."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from sklearn.base import TransformerMixin
from sklearn.utils.validation import check_is_fitted

from hourglass.data import Stream
from hourglass.errors import ModelError, ParameterError
from hourglass.estimators.arguments import Shared
from hourglass.estimators.documentation import documented_fit
from hourglass.estimators.fitting import FittedEstimator
from hourglass.estimators.persistence import write_model
from hourglass.images import Array, Float32
from hourglass.training import Callback

_LEARNED_FROM = 20_000
"""Images of a stream from which a use learns what it needs beside the network."""


class ImageEstimator(FittedEstimator):
    """Base of all estimators: they train an autoencoder, encode and decode with it, and are saved."""

    saved_as: ClassVar[str]
    """The name in `ESTIMATORS`, which a saved model carries."""
    _keeps_network = False

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

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.non_deterministic = False
        return tags

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

        Parameters
        ----------
        X : array-like of shape (n, h, w), (n, h, w, c) or (n, features), or Stream
            uint8 in 0..255 or float in 0..1; features in any units. Of a `Stream`, at most 10,000 images are held out, and what
            is learned beside the network is learned from these and 20,000 others; it brings its own labels.
        y : array-like, optional
            What the class says; ignored where it says nothing.
        {fit_parameters}

        Where it is interrupted or fails, the estimator stays as it was before, fitted or not.

        Raises
        ------
        DataError, ParameterError, ModelError, DivergenceError
        """
        self._check_parameters()
        if isinstance(X, Stream) and y is not None:
            raise ParameterError("a stream brings its own labels and is damaged as it comes; leave y out.")
        with self._all_or_nothing():
            targets, inputs = self._pairs(X, y, reset=not self._keeps_network)
            y = self._check_y(targets, y)
            if not self._keeps_network:
                self._train(targets, inputs, callbacks=callbacks, checkpoint=checkpoint, resume=resume)
            if isinstance(targets, Stream) and self._learned:
                self._learn_streamed(targets)
            elif not isinstance(targets, Stream):
                self._learn(targets, y)
        return self

    def encode(self, X: Any) -> Float32:
        """Codes of `X`, of the fitted shape: float32 (n, n_components).

        Raises
        ------
        NotFittedError, DataError
        """
        check_is_fitted(self, "network_")
        return self._encode(self._check_samples(X, reset=False))

    def inverse_transform(self, X: Any) -> Float32:
        """Samples that codes (n, n_components) stand for: float32, images in 0..1, features in their own units.

        Raises
        ------
        NotFittedError, DataError
        """
        return self._decode(self._check_codes(X))

    def reconstruct(self, X: Any) -> Float32:
        """Samples through the code and back: float32 of the shape of `X`, images in 0..1.

        Raises
        ------
        NotFittedError, DataError
        """
        check_is_fitted(self, "network_")
        return self._reconstruct(self._check_samples(X, reset=False))

    def score(self, X: Any, y: Any = None) -> float:
        """Minus the mean squared error of the reconstruction, in squared units of the samples (images: of 0..1).

        Greater is better, as scikit-learn's model selection expects.

        Raises
        ------
        NotFittedError, DataError
        """
        check_is_fitted(self, "network_")
        targets, inputs = self._pairs(X, y, reset=False)
        return self._negative_error(targets, inputs)

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
        write_model(self, self.saved_as, Path(os.path.expanduser(path)), self._state())

    def _pairs(self, X: Any, y: Any, *, reset: bool) -> tuple[Array, Array | None]:
        """(targets, inputs or None where the targets themselves go in)"""
        return self._check_samples(X, reset=reset), None

    def _check_y(self, samples: Array, y: Any) -> Any:
        """`y` as `_learn` takes it. DataError if it is not what the class says."""
        return y

    def _learn_streamed(self, source: Stream) -> None:
        """`_learn` from some of a stream's images and labels, those first that were held out from training."""
        others = source.draw(_LEARNED_FROM, self._seeds()[-1])
        if self._keeps_network:
            some = source.take(others)
            self._learn(some.images, some.labels)
            return
        parts = [source.take(np.setdiff1d(others, self.validation_rows_))]
        if len(self.validation_rows_):
            parts.insert(0, source.take(self.validation_rows_))
        self.validation_rows_ = np.arange(len(parts[0]) if len(parts) > 1 else 0)
        labels = None if any(part.labels is None for part in parts) else np.concatenate([part.known_labels for part in parts])
        self._learn(np.concatenate([part.images for part in parts]), labels)

    def _learn(self, samples: Array, y: Any) -> None:
        """Learn what the use needs from the trained network and the checked `samples`: the attributes in `_learned`."""

    # What a saved model holds beside its network; numbers, strings and arrays by name.

    def _state(self) -> dict[str, Any]:
        return {}

    def _restore(self, state: dict[str, Any]) -> None:
        """Take up what `_state` gave."""

    def _try_out(self) -> None:
        """Do once what the estimator is for: a model that was loaded fails here, if it fails, and not in the midst of work."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that a blank sample's features have no names
            self._use(np.zeros((1, *self.layout_.shape), dtype=np.float32))

    def _use(self, blank: Float32) -> None:
        """Do what it is for with one blank sample, (1, *shape)."""
        self.reconstruct(blank)


class Float32Transformer(TransformerMixin):
    """scikit-learn's transformer, which answers in float32 whatever it is given."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


class Downstream(ImageEstimator):
    """Base of the estimators that learn something more from the trained network: a density, an index, a threshold."""

    @classmethod
    def from_autoencoder(cls, autoencoder: ImageEstimator, X: Any = None, y: Any = None, **parameters: Any) -> Self:
        """An estimator that uses the network of a fitted one: its `fit` trains none.

        Parameters
        ----------
        autoencoder : fitted estimator
            Its network is shared, not copied. Its arguments are taken over. A clone of the new estimator, or one that was
            saved and loaded, trains a network of its own in `fit`.
        X, y : array-like, optional
            What to `fit` at once; without them, call `fit` before anything but `encode`, `reconstruct` and `inverse_transform`.
        **parameters
            Arguments that only this class has.

        Raises
        ------
        NotFittedError, DataError, ParameterError
        ModelError
            For a generator or compressor, if the network has connections past its code.
        """
        check_is_fitted(autoencoder, "network_")
        taken = {"n_components", "preset", *Shared.__annotations__}
        foreign = sorted(taken & set(parameters))
        if foreign:
            raise ParameterError(f"{foreign[0]} comes with the network; from_autoencoder takes the other arguments.")
        arguments = {name: value for name, value in autoencoder.get_params(deep=False).items() if name in taken}
        model = cls(**arguments | parameters)
        for name in ("network_", "layout_", "settings_", "history_", "n_iter_", "n_features_in_", "feature_names_in_"):
            if hasattr(autoencoder, name):
                setattr(model, name, getattr(autoencoder, name))
        if cls._decodes_codes and model.network_.bypasses_code:
            raise ModelError(f"{cls.__name__} decodes codes alone; this network passes detail beside its code.")
        model._keeps_network = True
        return model if X is None else model.fit(X, y)

    def __sklearn_is_fitted__(self) -> bool:
        return all(hasattr(self, name) for name in ("network_", *self._learned))
