"""The autoencoder: maps images to codes and back."""

from __future__ import annotations

from typing import Any, Self

from sklearn.base import ClassNamePrefixFeaturesOutMixin

from hourglass.estimators.base import Float32Transformer, ImageEstimator
from hourglass.estimators.documentation import documented
from hourglass.images import Float32


@documented
class Autoencoder(ClassNamePrefixFeaturesOutMixin, Float32Transformer, ImageEstimator):
    """Reconstructs samples from a code of few latent dimensions: x -> y = encoder(x) -> z = decoder(y).

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

    def partial_fit(self, X: Any, y: Any = None) -> Self:
        """Train for one more pass over `X`, at a constant learning rate. `y` is ignored.

        The first call creates the network. After `fit`, loading, or an interrupted call, which has no effect, it continues from
        the weights with a new optimiser.

        Raises
        ------
        DataError, ParameterError, ModelError, DivergenceError
        """
        return self._partial_fit(X, None)

    def transform(self, X: Any) -> Float32:
        """Codes of `X`, of the fitted shape: float32 (n, n_components); see `encode`.

        Raises
        ------
        NotFittedError, DataError
        """
        return self.encode(X)

    @property
    def _n_features_out(self) -> int:
        return int(self.settings_["n_components"])
