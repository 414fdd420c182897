"""The generator: samples images from a density over codes."""

from __future__ import annotations

from numbers import Integral
from typing import Any, ClassVar, Unpack

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_is_fitted, check_random_state

from hourglass.errors import DataError, ParameterError
from hourglass.estimators.checks import check_labels
from hourglass.estimators.documentation import documented
from hourglass.estimators.downstream import Downstream
from hourglass.images import Array, Float32, as_array
from hourglass.latent import Mixture, fit_mixture, interpolate, traverse
from hourglass.options import Option, TrainingOptions, whole


@documented
class Generator(Downstream):
    """Generates images: an autoencoder, and a mixture of Gaussians over the codes of its training samples.

    A density fitted to codes after training turns a regularised autoencoder into a generative model (Ghosh et al. 2020). With
    `network="variational"` it replaces the prior N(0, I), which codes follow only roughly. With labels as `y`, each class has
    its own mixture, to sample from by label.

    Parameters
    ----------
    n_gaussians : int
        Components of the mixture, for each class if there are labels. 1 is a single Gaussian.

    {shared}
    classes_ : ndarray
        Sorted labels; empty if it was fitted without.
    density_ : Mixture
        Density over codes.

    Examples
    --------
    >>> import hourglass as hg
    >>> digits = hg.load("digits").train
    >>> generator = hg.Generator(8, epochs=2, random_state=0).fit(digits.images, digits.labels)
    >>> generator.sample(3, label=7).shape, generator.interpolate(digits.images[0], digits.images[1], steps=5).shape
    ((3, 8, 8), (5, 8, 8))
    """

    saved_as = "generator"
    classes_: NDArray[Any]
    density_: Mixture
    _decodes_codes = True
    _scales_columns = True
    _learned = ("classes_", "density_")
    _takes_many_sizes = False
    _own_options: ClassVar = {"n_gaussians": Option(whole(1), default=10)}

    def __init__(
        self,
        n_components: int | None = None,
        *,
        n_gaussians: int = 10,
        preset: str = "generate",
        **options: Unpack[TrainingOptions],
    ) -> None:
        super().__init__(n_components, preset=preset, **options)
        self.n_gaussians = n_gaussians

    def sample(self, n: int = 1, label: Any = None, temperature: float = 0.85, random_state: Any = None) -> Float32:
        """Draw `n` new images.

        Parameters
        ----------
        n : int
            Number of images.
        label : label, or sequence of n labels, optional
            Class of the images. By default all classes, with the frequencies of the training images.
        temperature : float >= 0
            Scale of the deviation from the centres of the mixture: 1 as in training; lower is more typical and less varied.
        random_state : int, RandomState or None
            None draws other images in every call.

        Returns
        -------
        ndarray (n, *shape), float32, images in 0..1

        Raises
        ------
        NotFittedError
        ParameterError
            For a label that was not among `y`, an n below 1 or a negative temperature.
        """
        check_is_fitted(self)
        return self.inverse_transform(self.sample_codes(n, label, temperature, random_state)[0])

    def sample_codes(
        self, n: int = 1, label: Any = None, temperature: float = 0.85, random_state: Any = None
    ) -> tuple[Float32, NDArray[Any] | None]:
        """The codes behind `sample`: float32 (n, n_components), and the label of each, or None without labels."""
        check_is_fitted(self)
        if not isinstance(n, Integral) or n < 1:
            raise ParameterError(f"n={n!r}; allowed: 1 or more.")
        generator = np.random.default_rng(check_random_state(random_state).randint(2**31 - 1))
        if label is None or np.ndim(label) == 0:
            wanted = None if label is None else self._class_of(label)
            codes, classes = self.density_.sample(int(n), generator, wanted, temperature)
        else:
            if len(label) != n:
                raise ParameterError(f"{len(label)} labels for n={n}; one each is needed, or one for all.")
            draws = [self.density_.sample(1, generator, self._class_of(one), temperature) for one in label]
            codes, classes = (np.concatenate(part) for part in zip(*draws, strict=True))
        return codes, self.classes_[classes] if len(self.classes_) else None

    def interpolate(self, a: Any, b: Any, steps: int = 9, path: str = "linear") -> Float32:
        """Decode a path in latent space from image `a` to image `b`, whose reconstructions are its ends.

        Parameters
        ----------
        a, b : array-like of the fitted shape
            One image each.
        steps : int >= 2
            Number of images, including both ends.
        path : {"linear", "spherical"}

        Returns
        -------
        ndarray (steps, *shape), float32, images in 0..1

        Raises
        ------
        NotFittedError, DataError, ParameterError
        """
        check_is_fitted(self)
        start, end = self.encode([as_array(a), as_array(b)])
        return self._model.decode(interpolate(start, end, steps, path))

    def traverse(self, image: Any = None, steps: int = 9, spread: float = 2.0) -> Float32:
        """Vary each latent dimension of `image`'s code in turn, with all others fixed.

        Parameters
        ----------
        image : array-like of the fitted shape, optional
            Defaults to the mean code.
        steps : int >= 2
            Number of images for each latent dimension.
        spread : float
            Range around the mean of each dimension, in standard deviations.

        Returns
        -------
        ndarray (n_components, steps, *shape), float32, images in 0..1

        Raises
        ------
        NotFittedError, DataError
        """
        check_is_fitted(self)
        mean, deviation = self.density_.moments()
        start = mean if image is None else self.encode(as_array(image)[None])[0]
        shares = np.linspace(-spread, spread, steps, dtype=np.float32)
        walks = [
            traverse(start, component, mean[component] + shares * deviation[component])
            for component in range(self.density_.n_components)
        ]
        return self._model.decode(np.concatenate(walks)).reshape(len(walks), steps, *self.sample_.size)

    def score_samples(self, X: Any) -> Float32:
        """Log density of each sample's code under the mixture, in nats: float32 (n,).

        Raises
        ------
        NotFittedError, DataError
        """
        check_is_fitted(self)
        return self.density_.log_density(self.encode(X)).astype(np.float32)

    def _check_y(self, samples: Array, y: Any) -> NDArray[Any] | None:
        labels = None if y is None else check_labels(y)
        if labels is not None and labels.shape != (len(samples),):
            raise DataError(f"y has shape {labels.shape}; a generator takes one label for each of the {len(samples)} samples.")
        if labels is not None and type_of_target(labels).startswith("continuous"):
            raise DataError("y holds fractions; a generator takes classes: integers or names. Leave y out, or bin it.")
        return labels

    def _learn(self, samples: Array, y: Any) -> None:
        self.classes_, members = (np.empty(0), None) if y is None else np.unique(y, return_inverse=True)
        self.density_ = fit_mixture(
            self._model.vectors(samples, check_input=False), members, self.n_gaussians, self._seeds()[-1]
        )

    def _use(self, blank: Float32) -> None:
        self.density_.check(self.encode(blank).shape[1], max(1, len(self.classes_)))
        self.sample(1, random_state=0)
        self.score_samples(blank)

    def _class_of(self, label: Any) -> int:
        found = np.flatnonzero(self.classes_ == label)
        if not len(found):
            known = ", ".join(str(name) for name in self.classes_[:20]) or "none, as it was fitted without labels"
            raise ParameterError(f"label={label!r}; known: {known}.")
        return int(found[0])

    def _state(self) -> dict[str, Any]:
        return {"classes": self.classes_, **self.density_.to_state()}

    def _restore(self, state: dict[str, Any]) -> None:
        self.classes_, self.density_ = np.asarray(state["classes"]), Mixture.from_state(state)
