"""The denoiser: damaged images to clean ones."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import OneToOneFeatureMixin
from sklearn.utils.validation import check_is_fitted

from hourglass.errors import DataError, ParameterError
from hourglass.estimators.anysize import restore_image
from hourglass.estimators.base import Float32Transformer, ImageEstimator
from hourglass.estimators.documentation import documented
from hourglass.estimators.presets import CHAPTER_NOISE
from hourglass.images import Array, Float32


@documented
class Denoiser(OneToOneFeatureMixin, Float32Transformer, ImageEstimator):
    """A denoising autoencoder (Vincent et al. 2008): given damaged samples, it answers with the clean ones.

    Fitted on clean samples `X` it damages them itself, by `corruption` (by default the chapter's noise, drawn from
    N(0.5, 0.4²)), also for `score`, with a fixed seed. Fitted on pairs, damaged `X` and clean `y` of the same shape, it learns
    what separates them, and is scored on pairs; labels as `y`, which scikit-learn's pipelines pass, are ignored.

    {parameters}

    Examples
    --------
    >>> import hourglass as hg
    >>> digits = hg.load("digits")
    >>> noise = hg.GaussianNoise(mean=0.0, std=0.3)
    >>> denoiser = hg.Denoiser(corruption=noise, epochs=2, random_state=0).fit(digits.train.images)
    >>> denoiser.transform(noise(digits.test.images, 0)).shape
    (360, 8, 8)
    """

    saved_as = "denoiser"
    _damages_when_scored = True

    def partial_fit(self, X: Any, y: Any = None) -> Self:
        """One more pass over `X`, clean, or over the pairs (`X` damaged, `y` clean), at a constant learning rate.

        The first call makes the network; after `fit`, or loading, it goes on from those weights with a new optimiser, and so it
        does after a call that was interrupted, of which nothing stays.

        Raises
        ------
        DataError, ParameterError, ModelError, DivergenceError
        """
        self._check_parameters()
        with self._all_or_nothing():
            targets, inputs = self._pairs(X, y, reset=not self.__sklearn_is_fitted__())
            return self._partial_fit(targets, inputs)

    def transform(self, X: Any) -> Float32:
        """Clean samples for the damaged `X` of the fitted shape: float32 of the shape of `X`, images in 0..1.

        Raises
        ------
        NotFittedError, DataError
        """
        check_is_fitted(self, "network_")
        return self._reconstruct(self._check_samples(X, reset=False))

    reconstruct = transform

    def transform_image(self, image: Array) -> Float32:
        """Clean one image of any height and width, grey or coloured.

        Where the network is convolutional the image is cut into overlapping tiles of the fitted size; else it is resized to
        the fitted size and back, with a HourglassWarning, for detail is lost. A grey model cleans each channel of a coloured
        image by itself; a coloured model takes a grey image as equal channels.

        Parameters
        ----------
        image : ndarray of shape (h, w) or (h, w, c), uint8 or float in 0..1

        Returns
        -------
        ndarray of the same shape, float32 in 0..1

        Raises
        ------
        NotFittedError, DataError
        ModelError
            If the model was fitted on features.
        """
        check_is_fitted(self, "network_")
        return restore_image(image, self.layout_.shape, self.transform, is_local=self.network_.is_local)

    def _resolve(self, n_samples: int, inputs: Array | None) -> dict[str, Any]:
        settings = super()._resolve(n_samples, inputs)
        return settings | {"corruption": (settings["corruption"] or CHAPTER_NOISE) if inputs is None else None}

    def _pairs(self, X: Any, y: Any, *, reset: bool) -> tuple[Array, Array | None]:
        """(clean targets, damaged inputs or None)

        Clean samples alone need a corruption: after a fit on pairs there is none.
        """
        samples = self._check_samples(X, reset=reset)
        wanted = np.asarray(y)  # None becomes an array without axes
        if wanted.ndim <= 1 or (wanted.shape[1:] == (1,) != samples.shape[1:]):
            if not reset and self.settings_["corruption"] is None:
                raise ParameterError("fitted on pairs, it takes pairs: (damaged, clean).")
            return samples, None
        if self.corruption is not None and reset:
            raise ParameterError("pairs are damaged already; leave corruption out, or fit on clean samples alone.")
        targets = self._check_targets(wanted, reset=reset)
        if targets.shape != samples.shape:
            raise DataError(f"X has shape {samples.shape} and y {targets.shape}; pairs must be equal in shape.")
        return targets, samples
