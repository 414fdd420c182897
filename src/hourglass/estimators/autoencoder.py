"""The autoencoder itself: images to codes and back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from sklearn.base import ClassNamePrefixFeaturesOutMixin
from sklearn.utils.validation import check_is_fitted

from hourglass.estimators.base import ImageEstimator
from hourglass.estimators.documentation import documented
from hourglass.images import Float32
from hourglass.training import Callback


@documented
class Autoencoder(ClassNamePrefixFeaturesOutMixin, ImageEstimator):
    """Learns to copy samples through a code of few numbers: x -> y = encoder(x) -> z = decoder(y).

    {parameters}

    Examples
    --------
    >>> import hourglass as hg
    >>> digits = hg.load("digits").train.images
    >>> ae = hg.Autoencoder(n_components=8, epochs=2, random_state=0).fit(digits)
    >>> ae.transform(digits).shape, ae.reconstruct(digits).shape
    ((1437, 8), (1437, 8, 8))
    """

    saved_as = "autoencoder"

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        callbacks: Sequence[Callback] = (),
        checkpoint: str | Path | None = None,
        resume: bool = False,
    ) -> Self:
        """Train a new network on `X`.

        Parameters
        ----------
        X : array-like of shape (n, h, w), (n, h, w, c) or (n, features)
            uint8 in 0..255 or float in 0..1; features in any units.
        y : ignored
            Present for scikit-learn's pipelines.
        {fit_parameters}

        Raises
        ------
        DataError, ParameterError, ModelError, DivergenceError
        """
        self._check_parameters()
        samples = self._check_samples(X, reset=True)
        return self._fit(samples, None, callbacks=callbacks, checkpoint=checkpoint, resume=resume)

    def partial_fit(self, X: Any, y: Any = None) -> Self:
        """One more pass over `X`, at a constant learning rate; the first call makes the network. `y` is ignored.

        After `fit`, or loading, it goes on from those weights with a new optimiser.

        Raises
        ------
        DataError, ParameterError, ModelError, DivergenceError
        """
        self._check_parameters()
        samples = self._check_samples(X, reset=not self.__sklearn_is_fitted__())
        return self._partial_fit(samples, None)

    def transform(self, X: Any) -> Float32:
        """Codes of `X`, of the fitted shape: float32 (n, n_components).

        Raises
        ------
        NotFittedError, DataError
        """
        check_is_fitted(self, "network_")
        return self._encode(self._check_samples(X, reset=False))

    def reconstruct(self, X: Any) -> Float32:
        """Samples through the code and back: float32 of the shape of `X`, images in 0..1.

        Raises
        ------
        NotFittedError, DataError
        """
        check_is_fitted(self, "network_")
        return self._reconstruct(self._check_samples(X, reset=False))

    def score(self, X: Any, y: Any = None) -> float:
        """Minus the mean squared error of `reconstruct`, in squared units of the samples (images: of 0..1).

        Greater is better, as scikit-learn's model selection expects. `y` is ignored.

        Raises
        ------
        NotFittedError, DataError
        """
        check_is_fitted(self, "network_")
        return self._negative_error(self._check_samples(X, reset=False))

    @property
    def _n_features_out(self) -> int:
        return int(self.settings_["n_components"])
