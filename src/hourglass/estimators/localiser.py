"""Base of the anomaly detector: where in an image it departs from normal."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from hourglass.anomaly import BLUR, error_maps
from hourglass.errors import DataError
from hourglass.estimators.outliers import OutlierDetector
from hourglass.runtime import Region, level_of, regions_of


class Localiser(OutlierDetector):
    """Base of an outlier detector that maps the reconstruction error of images. `_learn` sets `map_level_`."""

    map_level_: float

    def error_maps(self, X: Any, blur: float = BLUR) -> Any:
        """Maps of the squared reconstruction error, averaged over channels.

        Parameters
        ----------
        X : array-like (n, h, w) or (n, h, w, c), or list of images of several sizes, for which a list is returned
        blur : float
            Standard deviation in pixels of a Gaussian filter; 0 for none.

        Returns
        -------
        ndarray (n, h, w), float32, in squared units of 0..1
            Of images of any size after they are standardised: a deviation of the image is 1/8.

        Raises
        ------
        NotFittedError
        DataError
            If it was fitted on features.
        """
        check_is_fitted(self)
        samples = self._check(X)
        if not self.sample_.is_image:
            raise DataError("error_maps needs images; this detector was fitted on flat features.")
        maps = list(error_maps(samples, self._model, blur))
        return maps if isinstance(samples, list) else np.stack(maps)

    def regions(self, X: Any) -> list[list[Region]]:
        """Regions of each image whose smoothed reconstruction error exceeds `map_level_`.

        Parameters
        ----------
        X : array-like (n, h, w) or (n, h, w, c), or list of images of several sizes

        Returns
        -------
        list of n lists of Region
            Of each its box and area, in pixels of the model's input, and its largest error; that of the largest error first.

        Raises
        ------
        NotFittedError
        DataError
            If it was fitted on features, or `map_level_` is NaN.
        """
        maps = self.error_maps(X)
        if math.isnan(self.map_level_):
            raise DataError(
                "this detector was saved without map_level_, by an earlier version. Set it: "
                "detector.map_level_ = detector.level_of(normal_images)."
            )
        return [regions_of(errors, self.map_level_) for errors in maps]

    def level_of(self, X: Any) -> float:
        """The level that one in a thousand pixels of the error maps of normal images exceeds; 0 for features.

        Raises
        ------
        NotFittedError, DataError
        """
        check_is_fitted(self)
        return self._level_of(self._check(X))

    def _level_of(self, samples: Any) -> float:
        return level_of(samples, lambda some: error_maps(some, self._model)) if self._model.sample.is_image else 0.0
