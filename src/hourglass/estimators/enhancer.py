"""The enhancer: super-resolution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Unpack

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from hourglass.corruption import Corruption, Downscale, enlarge, reduce
from hourglass.errors import DataError, ParameterError
from hourglass.estimators.base import Float32Transformer, ImageEstimator
from hourglass.estimators.checks import Pairs, as_given, check_many, check_samples, in_unit, level_of_pairs, targets_among
from hourglass.estimators.documentation import documented
from hourglass.estimators.settings import Circumstances
from hourglass.images import Array, Float32, Sample, as_list, as_samples, check_images, to_float, warn_of_masks
from hourglass.options import Option, TrainingOptions, one_of
from hourglass.runtime.anysize import restore_image

_BATCH = 1024
_ROUNDS = 3  # clipping to 0..1 changes the means again, and bicubic differences remain, less each time


@documented
class Enhancer(Float32Transformer, ImageEstimator):
    """Super-resolution: enlarges images to `factor` times the height and width.

    On high-resolution images `X`, `fit` creates the low-resolution ones by `reduction`. Or fit it on pairs of low-resolution
    `X` and high-resolution `y`.

    After the network, the difference between the given image and the enlarged one, reduced again, is enlarged and added, in a
    few rounds (back-projection; Irani and Peleg 1991). With means of blocks this shifts each block to the mean of its pixel,
    which cannot increase the error. Models fitted on pairs skip this step, as how their low resolution came about is unknown.

    Parameters
    ----------
    factor : {2, 3, 4}
        Factor of enlargement in height and width.
    reduction : {"area", "bicubic"}
        How low-resolution images come about: as means of blocks of pixels, or by bicubic interpolation with antialiasing, as
        Pillow and Matlab reduce photographs, and as in the literature's figures.

    {shared}

    Examples
    --------
    >>> import hourglass as hg
    >>> digits = hg.load("digits")
    >>> enhancer = hg.Enhancer(factor=2, epochs=2, random_state=0).fit(digits.train.images)
    >>> small = enhancer.reduce(digits.test.images)
    >>> small.shape, enhancer.transform(small).shape
    ((360, 4, 4), (360, 8, 8))
    """

    saved_as = "enhancer"
    _photo_network = "unet"
    _own_options: ClassVar = {
        "factor": Option(one_of(2, 3, 4), default=2),
        "reduction": Option(one_of("area", "bicubic"), default="area"),
    }

    def __init__(
        self,
        n_components: int | None = None,
        *,
        factor: int = 2,
        reduction: str = "area",
        preset: str = "enhance",
        **options: Unpack[TrainingOptions],
    ) -> None:
        super().__init__(n_components, preset=preset, **options)
        self.factor = factor
        self.reduction = reduction

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        return tags

    def transform(self, X: Any) -> Any:
        """Enlarge low-resolution images.

        Parameters
        ----------
        X : array-like (n, h / factor, w / factor) or with a last axis of channels, for the fitted h and w; or a list of images
            uint8 in 0..255 or float in 0..1. For images of several sizes see `transform_image`.

        Returns
        -------
        ndarray (n, h, w) or (n, h, w, c), float32 in 0..1; a list for a list

        Raises
        ------
        NotFittedError, DataError
        """
        model = self._model
        if (many := as_list(X, name="X")) is not None:
            return [self.transform_image(image) for image in many]
        low = check_images(X, name="X", white=model.sample.white, sample=self.low_sample)
        if not model.sample.fits(self._enlarged_shape(low)):
            wanted = model.sample if model.sample.is_any_size else self.low_sample.size
            raise DataError(
                f"X has images of shape {low.shape[1:]}; fitted on {model.sample} with factor={self.factor}, it takes {wanted}."
            )
        enlarged: Float32 = model.reconstruct(self._smoothly_enlarged(low), check_input=False)
        for _ in range(self.n_rounds):
            enlarged += self._spread(to_float(low) - self._reduced(enlarged))
            np.clip(enlarged, 0, 1, out=enlarged)
        return enlarged

    def transform_image(self, image: Array) -> Float32:
        """Enlarge one image of any height and width, grey or coloured.

        A network that takes any size processes the whole image, another one overlapping tiles of the fitted size. A grey model
        enlarges each channel of a coloured image; a coloured model reads a grey image as equal channels.

        Parameters
        ----------
        image : ndarray (h, w) or (h, w, c), uint8, float in 0..1, or integers up to the white level

        Returns
        -------
        ndarray (factor · h, factor · w) or with channels, float32 in 0..1

        Raises
        ------
        NotFittedError, DataError
        """
        check_is_fitted(self, "model_")
        return restore_image(image, self.low_sample, self.transform, is_local=True, scale=self.factor)

    @property
    def _crop_unit(self) -> int:
        return self.factor

    @property
    def n_rounds(self) -> int:
        """Rounds of back-projection: none for a model that was fitted on pairs."""
        return _ROUNDS if isinstance(self.settings_["corruption"], Downscale) else 0

    @property
    def low_sample(self) -> Sample:
        """Shape of the low-resolution images."""
        sample = self.sample_
        if sample.is_any_size:
            return sample
        return Sample((sample.size[0] // self.factor, sample.size[1] // self.factor, *sample.shape[2:]), white=sample.white)

    def reduce(self, X: Any) -> Float32:
        """Low-resolution images as in training, by `reduction`.

        Parameters
        ----------
        X : array-like (n, h, w) or (n, h, w, c), height and width multiples of `factor`
            uint8 in 0..255, float in 0..1, or integers up to the white level.

        Returns
        -------
        ndarray (n, h / factor, w / factor) or with channels, float32 in 0..1

        Raises
        ------
        DataError
        """
        sample = self.sample_ if hasattr(self, "model_") else None
        high = check_images(X, name="X", white=self._level if sample is None else sample.white, sample=sample)
        self._check_divisible(high)
        return self._reduced(to_float(high))

    def score(self, X: Any, y: Any = None) -> float:
        """Minus the mean squared error of `transform`, in squared units of 0..1. Greater is better.

        `X` and `y` as for `fit`: high-resolution images, or pairs.

        Raises
        ------
        NotFittedError, DataError
        """
        check_is_fitted(self, "model_")
        X = as_samples(X, name="X")
        y, sample = targets_among(y, X), self.sample_
        if y is not None:
            self._check_sizes(X, y)
        if not isinstance(X, list) and not isinstance(y, list):
            pairs = [(self.reduce(X), X) if y is None else (X, y)]
        elif y is None:
            pairs = [(self.reduce(whole), whole) for whole in (self._whole_blocks(image)[None] for image in X)]
        else:
            pairs = [(low[None], high[None]) for low, high in zip(X, y, strict=True)]
        total, count = 0.0, 0
        for low, high in pairs:
            error = self.transform(low) - to_float(check_images(high, name="y", white=sample.white, sample=sample))
            total, count = total + float(np.square(error, dtype=np.float64).sum()), count + error.size
        return -total / count

    def _pairs(self, X: Any, y: Any, sample: Sample | None) -> Pairs:
        """High-resolution targets, and for pairs the enlarged low-resolution inputs."""
        if self.get_params(deep=False)["corruption"] is not None:
            raise ParameterError("an Enhancer's corruption is its factor; for another, fit on pairs: low X and high y.")
        X = as_given(X)
        y, level, owner = targets_among(y, X), self._level, type(self).__name__
        if y is not None and sample is None:
            level = level_of_pairs(X, y, level)
        if isinstance(X, list) or isinstance(y, list):
            images, white = check_many(list(X if y is None else y), sample, level, owner, name="X" if y is None else "y")
            if sample is None:
                warn_of_masks(images, name="X" if y is None else "y")
            self.n_features_in_ = images[0][0, 0].size
            white = white or level
            if y is None:
                return Pairs([self._whole_blocks(image) for image in images], None, white)
            lows = check_many(list(X), sample, white, owner, name="X")[0]
            self._check_sizes(lows, images)
            return Pairs(images, [self._smoothly_enlarged(low[None])[0] for low in lows], white)
        if np.ndim(X) < 3:
            raise DataError("an Enhancer needs images of shape (n, h, w) or (n, h, w, c), not flat features.")
        if y is None:
            high, white = check_samples(self, X, sample, level)
            self._check_divisible(high)
            return Pairs(high, None, white)
        high, white = check_samples(self, y, sample, level, name="y")
        low = check_images(in_unit(X, sample, white, owner)[0], name="X")
        if sample is None:
            warn_of_masks(low, name="X")
        self._check_sizes(low, high)
        return Pairs(high, self._smoothly_enlarged(low), white)

    def _settle(self, given: Circumstances) -> dict[str, Any]:
        corruption: Corruption | None = None if given.has_inputs else Downscale(self.factor, smooth=True, method=self.reduction)
        return super()._settle(given) | {"corruption": corruption}

    def _whole_blocks(self, image: Array) -> Array:
        """Crop the image to whole blocks."""
        return image[: image.shape[0] // self.factor * self.factor, : image.shape[1] // self.factor * self.factor]

    def _check_divisible(self, high: Array) -> None:
        if high.shape[1] % self.factor or high.shape[2] % self.factor:
            raise DataError(
                f"images of {high.shape[1]}×{high.shape[2]} do not divide into blocks of {self.factor}×{self.factor}; "
                "crop or resize them."
            )

    def _check_sizes(self, lows: Array | list[Array], highs: Array | list[Array]) -> None:
        """Raise DataError unless each of `highs` is the enlarged size of its low-resolution image."""
        if len(lows) != len(highs):
            raise DataError(f"X holds {len(lows)} images and y {len(highs)}; pairs must be as many images of both.")
        for low, high in zip(lows, highs, strict=True):
            wanted = self._enlarged_shape(low[None])
            if high.shape != wanted:
                raise DataError(
                    f"X has an image of shape {low.shape} and y of {high.shape}; for factor={self.factor}, it must be {wanted}."
                )

    def _enlarged_shape(self, low: Array) -> tuple[int, ...]:
        return (low.shape[1] * self.factor, low.shape[2] * self.factor, *low.shape[3:])

    def _smoothly_enlarged(self, low: Array) -> Float32:
        """Network input: low-resolution images after bicubic interpolation, float32 of the fitted shape."""
        return self._resized(enlarge, low)

    def _reduced(self, high: Float32) -> Float32:
        return self._block_means(high) if self.reduction == "area" else self._resized(reduce, high)

    def _resized(self, resize: Callable[[Tensor, tuple[int, int], str], Tensor], images: Array) -> Float32:
        """Images after `enlarge` or `reduce`, float32."""
        sample, factors = Sample(images.shape[1:]), (self.factor, self.factor)
        resized = [
            sample.from_network(resize(torch.from_numpy(sample.to_network(part)), factors, self.reduction).numpy())
            for part in (images[start : start + _BATCH] for start in range(0, len(images), _BATCH))
        ]
        return np.concatenate(resized)

    def _spread(self, differences: Float32) -> Float32:
        """Differences of low-resolution images, in -1..1, over the pixels of high resolution."""
        if self.reduction == "area":
            return self._enlarge(differences)
        return 2 * self._resized(enlarge, (differences + 1) / 2) - 1

    def _enlarge(self, low: Array) -> Array:
        return low.repeat(self.factor, axis=1).repeat(self.factor, axis=2)

    def _block_means(self, high: Float32) -> Float32:
        n, height, width, *channels = high.shape
        blocks = high.reshape(n, height // self.factor, self.factor, width // self.factor, self.factor, *channels)
        means: Float32 = blocks.mean(axis=(2, 4), dtype=np.float32)
        return means
