"""The autoencoder: maps images to codes and back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from sklearn.base import ClassNamePrefixFeaturesOutMixin

from hourglass.errors import ModelError
from hourglass.estimators.base import Float32Transformer, ImageEstimator
from hourglass.estimators.documentation import documented
from hourglass.estimators.fitting import Fit
from hourglass.estimators.layout import epochs_before_layout, laid_out_in, lay_out
from hourglass.images import Float32
from hourglass.networks import COMPOSED
from hourglass.networks.embedding import WIDTH
from hourglass.trained import Trained
from hourglass.training import Callback


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
    _compares_codes = True

    def partial_fit(self, X: Any, y: Any = None) -> Self:
        """Train for one more pass over `X`, at a constant learning rate. `y` is ignored.

        The first call creates the network. After `fit`, loading, or an interrupted call, which has no effect, it continues from
        the weights with a new optimiser. The preset "features" in up to three dimensions, or of photographs,
        cannot be trained on after `fit`.

        Raises
        ------
        DataError, ParameterError, ModelError, DivergenceError
        """
        if hasattr(self, "model_") and self.settings_["network"] in COMPOSED:
            raise ModelError("its layout, or its visual words, came after training, so it cannot be trained on; use fit.")
        return self._partial_fit(X, None)

    def transform(self, X: Any) -> Float32:
        """Codes of `X`, of the fitted shape: float32 (n, n_components); see `encode`.

        Raises
        ------
        NotFittedError, DataError
        """
        return self.encode(X)

    def _train(self, fit: Fit, callbacks: Sequence[Callback], checkpoint: str | Path | None, resume: bool) -> Trained:
        n_components = laid_out_in(fit)
        if n_components is None:
            return super()._train(fit, callbacks, checkpoint, resume)
        fit.arguments |= {"n_components": WIDTH, "epochs": epochs_before_layout(fit)}
        return lay_out(fit.train(callbacks, checkpoint, resume), n_components, fit, callbacks)

    @property
    def _n_features_out(self) -> int:
        return int(self.settings_["n_components"])
