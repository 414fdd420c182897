"""Base of estimators that learn something more from a trained network."""

from __future__ import annotations

from typing import Any, Self

from sklearn.utils.validation import check_is_fitted

from hourglass.errors import ModelError, ParameterError
from hourglass.estimators.base import ImageEstimator
from hourglass.options import FIRST, OPTIONS
from hourglass.trained import Trained


class Downstream(ImageEstimator):
    """Base of estimators that learn a density, an index or a threshold from the trained network."""

    @classmethod
    def from_autoencoder(cls, autoencoder: ImageEstimator | Trained, X: Any = None, y: Any = None, **parameters: Any) -> Self:
        """An estimator that uses the trained model of a fitted one; its `fit` does not train a network.

        Parameters
        ----------
        autoencoder : fitted estimator, or Trained
            Its `model_` is shared, not copied. Its arguments are taken over, or of a `Trained` its settings. A clone of the
            new estimator, or one that was saved and loaded, trains a network of its own in `fit`.
        X, y : array-like, optional
            Data for `fit`. If omitted, only `encode`, `reconstruct` and `inverse_transform` work before a call of `fit`.
        **parameters : keyword arguments
            Arguments of this class only.

        Raises
        ------
        NotFittedError, DataError, ParameterError
        ModelError
            For a generator or compressor, if the network has skip connections or its codes are maps.
        """
        taken = {*FIRST, *OPTIONS}
        foreign = sorted(taken & set(parameters))
        if foreign:
            raise ParameterError(f"{foreign[0]} comes with the network; from_autoencoder takes the other arguments.")
        if isinstance(autoencoder, Trained):
            given, trained = autoencoder.settings, autoencoder
        else:
            check_is_fitted(autoencoder, "model_")
            given, trained = autoencoder.get_params(deep=False), autoencoder.model_
        model = cls(**{name: value for name, value in given.items() if name in taken} | parameters)
        model.model_ = model._given = trained
        model.n_features_in_ = trained.sample.n_features
        if hasattr(autoencoder, "feature_names_in_"):
            model.feature_names_in_ = autoencoder.feature_names_in_
        if cls._decodes_codes and model.network_.bypasses_code:
            raise ModelError(f"{cls.__name__} decodes codes alone; this network has skip connections past its code.")
        if cls._decodes_codes and model.network_.code.is_map:
            raise ModelError(f"{cls.__name__} decodes vectors; the codes of this network are maps.")
        return model if X is None else model.fit(X, y)
