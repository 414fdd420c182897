"""The denoiser: maps corrupted images to clean ones."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import OneToOneFeatureMixin

from hourglass.errors import DataError, ParameterError
from hourglass.estimators.anysize import restore_image
from hourglass.estimators.base import Float32Transformer, ImageEstimator
from hourglass.estimators.checks import Pairs, check_samples, check_targets
from hourglass.estimators.documentation import documented
from hourglass.estimators.presets import CHAPTER_NOISE
from hourglass.estimators.settings import Circumstances
from hourglass.images import Array, Float32, Sample, as_list


@documented
class Denoiser(OneToOneFeatureMixin, Float32Transformer, ImageEstimator):
    """A denoising autoencoder (Vincent et al. 2008): maps corrupted samples to clean ones.

    On clean samples `X`, `fit` applies `corruption` (by default the chapter's noise, N(0.5, 0.4²)), and so does `score`, with a
    fixed seed. Or fit and score it on pairs of corrupted `X` and clean `y` of the same shape. Labels as `y`, which
    scikit-learn's pipelines pass, are ignored.

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
    _corrupts_when_scored = True

    def partial_fit(self, X: Any, y: Any = None) -> Self:
        """Train for one more pass over clean `X`, or pairs of corrupted `X` and clean `y`, at a constant learning rate.

        The first call creates the network. After `fit`, loading, or an interrupted call, which has no effect, it continues from
        the weights with a new optimiser.

        Raises
        ------
        DataError, ParameterError, ModelError, DivergenceError
        """
        return self._partial_fit(X, y)

    def transform(self, X: Any) -> Any:
        """Clean samples for the corrupted `X`: float32 of the shape of `X`, images in 0..1.

        For a list of images of several sizes returns a list; see `transform_image`.

        Raises
        ------
        NotFittedError, DataError
        """
        model = self._model
        if not model.sample.is_any_size and (many := as_list(X, name="X")) is not None:
            return [self.transform_image(image) for image in many]
        return model.reconstruct(self._check(X))

    reconstruct = transform

    def transform_image(self, image: Array) -> Float32:
        """Denoise one image of any height and width, grey or coloured.

        A network that takes any size processes the whole image, another convolutional one overlapping tiles of the fitted
        size. Otherwise the image is resized to the fitted size and back, with a HourglassWarning, as it loses detail. A grey
        model denoises each channel of a coloured image; a coloured model reads a grey image as equal channels.

        Parameters
        ----------
        image : ndarray of shape (h, w) or (h, w, c), uint8, float in 0..1, or integers up to the white level

        Returns
        -------
        ndarray of the same shape, float32 in 0..1

        Raises
        ------
        NotFittedError, DataError
        ModelError
            If the model was fitted on features.
        """
        return restore_image(image, self._model.sample, self.transform, is_local=self.network_.is_local)

    def _settle(self, given: Circumstances) -> dict[str, Any]:
        settings = super()._settle(given)
        return settings | {"corruption": None if given.has_inputs else settings["corruption"] or CHAPTER_NOISE}

    def _pairs(self, X: Any, y: Any, sample: Sample | None) -> Pairs:
        """Clean samples or pairs (corrupted, clean). A model fitted on pairs has no corruption for clean samples alone."""
        samples, white = check_samples(self, X, sample, self._level)
        if not _are_targets(y, samples):
            if sample is not None and self.settings_["corruption"] is None:
                raise ParameterError("fitted on pairs, it takes pairs: (corrupted, clean).")
            return Pairs(samples, None, white)
        if sample is None and self.get_params(deep=False)["corruption"] is not None:
            raise ParameterError("pairs take no corruption; leave corruption out, or fit on clean samples alone.")
        targets = check_targets(y, sample, white, type(self).__name__)
        shapes = [image.shape for image in samples], [image.shape for image in targets]
        if isinstance(samples, list) != isinstance(targets, list) or shapes[0] != shapes[1]:
            one, other = (given.shape if isinstance(given, np.ndarray) else "of several sizes" for given in (samples, targets))
            raise DataError(f"X has shape {one} and y {other}; pairs must have equal shapes.")
        return Pairs(targets, samples, white)


def _are_targets(y: Any, samples: Any) -> bool:
    """Whether `y` holds clean samples, rather than labels or None."""
    if as_list(y, name="y") is not None:
        return True
    shape = np.asarray(y).shape  # () for None
    return len(shape) > 1 and not (shape[1:] == (1,) != samples[0].shape)
