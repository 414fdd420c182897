"""The denoiser: maps corrupted images to clean ones."""

from __future__ import annotations

import functools
import math
from typing import Any, Self

import numpy as np
from sklearn import get_config
from sklearn.base import OneToOneFeatureMixin

from hourglass.errors import DataError, ParameterError
from hourglass.estimators.base import Float32Transformer, ImageEstimator
from hourglass.estimators.checks import Pairs, as_given, check_samples, check_targets, level_of_pairs, targets_among
from hourglass.estimators.documentation import documented
from hourglass.estimators.presets import CHAPTER_NOISE, PHOTO_NOISE
from hourglass.estimators.settings import Circumstances
from hourglass.images import Array, Float32, Sample, as_list, to_float
from hourglass.options import number
from hourglass.runtime.anysize import restore_image

_STRENGTH = number(0, 1)
_DRAWS = 4  # of noise, for a strength above what the network finds


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
    _photo_network = "unet"
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

    def transform(self, X: Any, *, strength: float | None = None) -> Any:
        """Clean samples for the corrupted `X`: float32 of the shape of `X`, images in 0..1.

        After training with noise that is not clipped, floats of `X` may leave 0..1.

        Parameters
        ----------
        X : array-like (n, *shape), or list of images of several sizes, for which a list is returned; see `transform_image`
        strength : float, optional
            Denoise as if the noise of each sample had this standard deviation (25 of 255 grey levels: 0.098), in place of the
            network's own judgement: the correction is scaled down to it, or noise is added up to it, and the mean of four draws
            returned.

        Raises
        ------
        NotFittedError, DataError, ParameterError
        """
        container = getattr(self, "_sklearn_output_config", {}).get("transform", get_config()["transform_output"])
        if container != "default" and self._model.sample.is_image:
            raise ParameterError(f'transform_output="{container}" is for tables, these are images: set "default".')
        return self.reconstruct(X, strength=strength)

    def reconstruct(self, X: Any, *, strength: float | None = None) -> Any:
        """As `transform`, but arrays whatever `set_output` says."""
        model = self._model
        if not model.sample.is_any_size and (many := as_list(X, name="X")) is not None:
            return [self.transform_image(image, strength=strength) for image in many]
        checked = self._check(X)
        outputs = model.reconstruct(checked, check_input=False)
        if strength is None:
            return outputs
        if not model.sample.is_image or not _STRENGTH.admits(strength):
            raise ParameterError(f"strength={strength!r}; allowed: for images, 0..1, the standard deviation of their noise.")
        adjusted = [
            self._as_strong(to_float(one[None]), output[None], strength)[0]
            for one, output in zip(checked, outputs, strict=True)
        ]
        return adjusted if isinstance(outputs, list) else np.stack(adjusted)

    def _as_strong(self, image: Float32, output: Float32, strength: float) -> Float32:
        """One image (1, *shape) denoised as if its noise had this standard deviation; `output` is the network's own."""
        found = float(np.sqrt(np.square(image - output, dtype=np.float64).mean()))
        if found >= strength:
            return output if found == 0 else image + np.float32(strength / found) * (output - image)
        missing, rng = math.sqrt(strength**2 - found**2), np.random.default_rng(0)
        draws = [rng.normal(0, missing, image.shape).astype(np.float32) for _ in range(_DRAWS)]
        noisy = (self._model.reconstruct(image + draw, check_input=False) for draw in draws)
        mean: Float32 = np.mean(list(noisy), axis=0, dtype=np.float32)
        return mean

    def transform_image(self, image: Array, *, strength: float | None = None) -> Float32:
        """Denoise one image of any height and width, grey or coloured.

        A network that takes any size processes the whole image, another convolutional one overlapping tiles of the fitted
        size. Otherwise the image is resized to the fitted size and back, with a HourglassWarning, as it loses detail. A grey
        model denoises each channel of a coloured image; a coloured model reads a grey image as equal channels.

        Parameters
        ----------
        image : ndarray of shape (h, w) or (h, w, c), uint8, float in 0..1, or integers up to the white level
        strength : float, optional
            See `transform`.

        Returns
        -------
        ndarray of the same shape, float32 in 0..1

        Raises
        ------
        NotFittedError, DataError
        ModelError
            If the model was fitted on features.
        """
        restore = functools.partial(self.reconstruct, strength=strength)
        is_local, bounded = self.network_.is_local, self._takes_bounded
        return restore_image(image, self._model.sample, restore, is_local=is_local, bounded=bounded)

    @property
    def _takes_bounded(self) -> bool:
        corruption = self.settings_["corruption"]
        return corruption is None or corruption.is_bounded

    def _settle(self, given: Circumstances) -> dict[str, Any]:
        settings = super()._settle(given)
        noise = PHOTO_NOISE if given.arguments["preset"] == "photo" else CHAPTER_NOISE
        return settings | {"corruption": None if given.has_inputs else settings["corruption"] or noise}

    def _pairs(self, X: Any, y: Any, sample: Sample | None) -> Pairs:
        """Clean samples or pairs (corrupted, clean). A model fitted on pairs has no corruption for clean samples alone."""
        X = as_given(X)
        y, level = targets_among(y, X), self._level
        if y is not None and sample is None:
            level = level_of_pairs(X, y, level)
        bounded = self._takes_bounded if sample is not None and y is not None else True
        samples, white = check_samples(self, X, sample, level, bounded=bounded)
        if y is None:
            if sample is not None and self.settings_["corruption"] is None:
                raise ParameterError("fitted on pairs, it takes pairs: (corrupted, clean).")
            return Pairs(samples, None, white)
        if sample is None and self.get_params(deep=False)["corruption"] is not None:
            raise ParameterError("pairs take no corruption; leave corruption out, or fit on clean samples alone.")
        white = white or level
        targets = check_targets(y, sample, white, type(self).__name__)
        shapes = [image.shape for image in samples], [image.shape for image in targets]
        if isinstance(samples, list) != isinstance(targets, list) or shapes[0] != shapes[1]:
            one, other = (given.shape if isinstance(given, np.ndarray) else "of several sizes" for given in (samples, targets))
            raise DataError(f"X has shape {one} and y {other}; pairs must have equal shapes.")
        return Pairs(targets, samples, white)
