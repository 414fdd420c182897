"""Density of codes: a mixture of Gaussians, for all codes or per class."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.special import logsumexp

from hourglass.errors import ParameterError
from hourglass.notes import quiet

Codes = NDArray[np.float32]

_CODES_PER_DIMENSION = 4  # a Gaussian of d dimensions needs at least this many times d codes
_FLOOR = 1e-5  # added to each variance, relative to the mean variance of the codes: keeps covariances positive definite


@dataclass(frozen=True)
class Mixture:
    """Gaussian mixture Σ weight · N(mean, factor factorᵀ) whose components belong to one class each.

    Attributes
    ----------
    weights : ndarray (k,), float64, summing to 1
    means : ndarray (k, n_components), float64
    factors : ndarray (k, n_components, n_components), float64
        Lower triangular: the Cholesky factor of each covariance.
    classes : ndarray (k,), int
        Class index of each component; all 0 without classes.
    """

    weights: NDArray[np.float64]
    means: NDArray[np.float64]
    factors: NDArray[np.float64]
    classes: NDArray[np.int64]

    @property
    def n_components(self) -> int:
        return int(self.means.shape[1])

    def moments(self) -> tuple[Codes, Codes]:
        """Mean and standard deviation of each latent dimension, both (n_components,) float32."""
        mean = self.weights @ self.means
        within = np.square(self.factors).sum(2)  # the diagonal of factor factorᵀ
        variance = self.weights @ (within + np.square(self.means - mean))
        return mean.astype(np.float32), np.sqrt(variance).astype(np.float32)

    def log_density(self, codes: Codes) -> NDArray[np.float64]:
        """Log density of `codes` (n, n_components) in nats, (n,) float64."""
        total: NDArray[np.float64] = logsumexp(self._log_terms(codes), axis=0)
        return total

    def log_class_densities(self, codes: Codes) -> NDArray[np.float64]:
        """Log joint density log p(code, class) in nats, (n, n_classes) float64; its exponentials sum to the density."""
        terms = self._log_terms(codes)
        return np.stack([logsumexp(terms[self.classes == index], axis=0) for index in np.unique(self.classes)], axis=1)

    def _log_terms(self, codes: Codes) -> NDArray[np.float64]:
        """Log of weight · N(code) for each component, (k, n) float64."""
        terms = np.empty((len(self.weights), len(codes)))
        for term, weight, mean, factor in zip(terms, self.weights, self.means, self.factors, strict=True):
            whitened = solve_triangular(factor, (codes - mean).T, lower=True)
            term[:] = math.log(weight) - np.log(np.diag(factor)).sum() - 0.5 * np.square(whitened).sum(0)
        return terms - 0.5 * self.n_components * math.log(2 * math.pi)

    def sample(
        self, n: int, generator: np.random.Generator, label: int | None = None, temperature: float = 1.0
    ) -> tuple[Codes, NDArray[np.int64]]:
        """Sample codes.

        Parameters
        ----------
        n : int
        generator : numpy Generator
        label : int, optional
            Class index to sample from; all classes by default.
        temperature : float >= 0
            Multiplies the standard deviations of each component; 0 samples only means.

        Returns
        -------
        codes : ndarray (n, n_components), float32
        classes : ndarray (n,), int
            Class index of each code.

        Raises
        ------
        ParameterError
            For a negative temperature.
        """
        if not temperature >= 0 or math.isinf(temperature):
            raise ParameterError(f"temperature={temperature}; allowed: a number >= 0.")
        weights = self.weights if label is None else np.where(self.classes == label, self.weights, 0)
        chosen = generator.choice(len(weights), size=n, p=weights / weights.sum())
        noise = generator.standard_normal((n, self.n_components)) * temperature
        codes = self.means[chosen] + np.einsum("nij,nj->ni", self.factors[chosen], noise)
        return codes.astype(np.float32), self.classes[chosen]

    def check(self, n_components: int, n_classes: int) -> None:
        """Raise ValueError unless the mixture is valid, has `n_components` dimensions and a component for each class."""
        n = len(self.weights)
        shapes = [array.shape for array in (self.weights, self.means, self.factors, self.classes)]
        is_proper = bool((self.weights > 0).all()) and abs(float(self.weights.sum()) - 1) < 1e-6
        if shapes != [(n,), (n, n_components), (n, n_components, n_components), (n,)] or not is_proper:
            raise ValueError(f"a mixture of shapes {shapes} for codes of {n_components} dimensions")
        if np.unique(self.classes).tolist() != list(range(n_classes)):
            raise ValueError(f"a mixture of classes {np.unique(self.classes).tolist()}; there are {n_classes}")

    def to_state(self) -> dict[str, Any]:
        """Return the arrays by name."""
        return {f"density.{name}": value for name, value in asdict(self).items()}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Return the mixture that `to_state` described."""
        return cls(*(state[f"density.{name}"] for name in ("weights", "means", "factors", "classes")))


def fit_mixture(codes: Codes, classes: NDArray[np.int64] | None, n_gaussians: int, seed: int) -> Mixture:
    """Fit Gaussians with full covariances to all codes or to each class, by expectation maximisation (scikit-learn).

    Parameters
    ----------
    codes : ndarray (n, n_components), float32
    classes : ndarray (n,), int from 0, optional
    n_gaussians : int
        Gaussians per class. A class gets fewer if it has fewer than 4 · n_components codes for each.
    seed : int
    """
    from sklearn.mixture import GaussianMixture

    groups = np.zeros(len(codes), dtype=np.int64) if classes is None else classes
    floor = _FLOOR * float(codes.var(0).mean()) + 1e-9
    components: list[tuple[Any, ...]] = []
    for group in np.unique(groups):
        members = codes[groups == group].astype(np.float64)
        share = len(members) / len(codes)
        if len(members) == 1:  # one code has no covariance; it gets the variances of all codes
            components.append((share, members[0], np.diag(np.sqrt(codes.var(0, dtype=np.float64) + floor)), group))
            continue
        count = min(n_gaussians, max(1, len(members) // (_CODES_PER_DIMENSION * codes.shape[1])))
        mixture = GaussianMixture(count, reg_covar=floor, random_state=seed, max_iter=50)
        with quiet():  # 50 iterations suffice for our uses
            mixture.fit(members)
        components += [
            (share * weight, mean, np.linalg.cholesky(covariance), group)
            for weight, mean, covariance in zip(mixture.weights_, mixture.means_, mixture.covariances_, strict=True)
            if weight > 0
        ]
    weights, means, factors, labels = (np.stack(column) for column in zip(*components, strict=True))
    return Mixture(weights / weights.sum(), means, factors, labels.astype(np.int64))
