"""Evidence from feature maps of a network of the user's, usually a pretrained one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hourglass.anomaly.evidence import Evidence, Scores
from hourglass.errors import ModelError, ParameterError
from hourglass.images import Array, Float32, to_float
from hourglass.trained import Trained

_VARIANCE = 0.9  # kept by the linear autoencoder, as in DFR
_LEAST = 1e-6  # squared error, relative to the variance of features
_PROBE = 64  # pixels of height and width
_SAME = 1e-3  # features of one module on several machines, relative to their largest


class FeatureDistance(Evidence):
    """Log of the largest distance of the features at a place from those of normal images.

    The features of every place of every training image, each standardised, train one linear autoencoder, as in DFR (Shi et al.
    2021); its optimum is known in closed form, a PCA, which keeps 90 % of their variance. The distance is that of probabilistic
    PCA (Tipping and Bishop 1999): squares of the residual, and of the code, each relative to their variance in training.

    Parameters
    ----------
    features : torch module, or str
        float32 Tensor (1, c, h, w) in 0..1, of images standardised by `standardised` -> feature maps (1, d, h', w'), or a list
        of such of several sizes, which are resized to the first. Or the name of a model in timm, pretrained.
    """

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    components: NDArray[np.float64]
    variances: NDArray[np.float64]
    """Of the code, and last of a feature's residual."""

    def __init__(self, features: Any) -> None:
        self._network = _from_timm(features) if isinstance(features, str) else features

    def fit(self, samples: Iterable[Array], model: Trained) -> Self:
        count, total, squares = 0, np.zeros(1), np.zeros((1, 1))
        for image in samples:
            places = self._places(image)
            count, total, squares = count + len(places), total + places.sum(0), squares + places.T @ places
        self.mean = total / count
        covariance = squares / count - np.outer(self.mean, self.mean)
        variance = np.diag(covariance)
        self.deviation = np.sqrt(np.where(variance > 1e-12 * (1 + self.mean**2), variance, 1.0))
        values, directions = np.linalg.eigh(covariance / np.outer(self.deviation, self.deviation))
        share = np.cumsum(values[::-1]) / values.sum()
        count = int(np.searchsorted(share, _VARIANCE)) + 1
        rest = max(float(values[::-1][count:].sum()) / max(1, len(values) - count), _LEAST)
        self.components = directions[:, ::-1].T[:count].copy()
        self.variances = np.append(values[::-1][:count], rest)
        self._probe = self._probed(model)
        return self

    def scores(self, samples: Iterable[Array], model: Trained, *, without_own: bool = False) -> Scores:
        return np.array([np.log(_LEAST + self._distances(self._places(image)).max()) for image in samples])

    def _distances(self, places: NDArray[np.float64]) -> Scores:
        """Squared distance of each place, averaged over features: (n,), about 1 for normal ones."""
        standard = (places - self.mean) / self.deviation
        codes = standard @ self.components.T
        residuals = np.square(standard - codes @ self.components).sum(1) / self.variances[-1]
        distances: Scores = (residuals + (np.square(codes) / self.variances[:-1]).sum(1)) / len(self.mean)
        return distances

    def _places(self, image: Array) -> NDArray[np.float64]:
        """The features of an image at each place of its maps: (h' · w', d)."""
        planes = np.moveaxis(np.atleast_3d(to_float(image)), 2, 0)
        maps = _features(self._network, torch.from_numpy(np.ascontiguousarray(planes))[None])
        return maps[0].flatten(1).T.cpu().numpy().astype(np.float64)

    def _probed(self, model: Trained) -> Float32:
        """Features of a fixed image, by which the network is known again: (d,), averaged over places."""
        shape = (_PROBE, _PROBE, model.sample.channels)
        image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        probed: Float32 = self._places(image).mean(0).astype(np.float32)
        return probed

    def state(self) -> dict[str, Array]:
        return {
            "features_mean": self.mean,
            "features_deviation": self.deviation,
            "features_components": self.components,
            "features_variances": self.variances,
            "features_probe": self._probe,
        }

    def restore(self, state: dict[str, Array], model: Trained) -> Self:
        learned = (
            np.asarray(state[f"features_{name}"], np.float64) for name in ("mean", "deviation", "components", "variances")
        )
        self.mean, self.deviation, self.components, self.variances = learned
        self._probe = np.asarray(state["features_probe"], np.float32)
        sizes = {self.mean.shape, self.deviation.shape, self._probe.shape, self.components.shape[1:]}
        is_positive = (self.deviation > 0).all() and (self.variances > 0).all()
        if len(sizes) > 1 or self.mean.ndim != 1 or len(self.variances) != len(self.components) + 1 or not is_positive:
            raise ValueError(f"features of shapes {sizes}")
        found = self._probed(model)
        tolerance = _SAME * max(float(np.abs(self._probe).max()), _SAME)
        if found.shape != self._probe.shape or np.abs(found - self._probe).max() > tolerance:
            raise ParameterError("features: not the module that the detector was fitted with; its features differ.")
        return self


@torch.no_grad()
def _features(network: Any, images: Tensor) -> Tensor:
    """Feature maps (1, d, h', w') of images (1, c, h, w), by a module in evaluation mode. Raises ModelError."""
    is_training = isinstance(network, nn.Module) and network.training
    if isinstance(network, nn.Module):
        network.eval()
        images = images.to(next(network.parameters(), images).device)
    try:
        given = network(images)
    except (RuntimeError, ValueError, TypeError) as error:
        raise ModelError(f"features: the module fails on float32 images {tuple(images.shape)}: {error}") from error
    finally:
        if is_training:
            network.train()
    maps = list(given) if isinstance(given, Sequence) else [given]
    if not maps or not all(isinstance(one, Tensor) and one.ndim == 4 and one.numel() for one in maps):
        raise ModelError("features: the module must return feature maps, Tensors (n, d, height, width), or a list of such.")
    size = maps[0].shape[2:]
    return torch.cat([_resized(one.float(), size) for one in maps], dim=1)


def _resized(maps: Tensor, size: torch.Size) -> Tensor:
    return maps if maps.shape[2:] == size else nn.functional.interpolate(maps, size=size, mode="bilinear", antialias=True)


def _from_timm(name: str) -> nn.Module:
    """A pretrained model of timm, as a module of images in 0..1 with any number of channels."""
    try:
        import timm  # type: ignore[import-not-found, unused-ignore]  # the user's, not an extra
    except ModuleNotFoundError as error:
        raise ParameterError(f"features={name!r} names a model of timm, which is not installed: pip install timm.") from error
    try:
        network: Any = timm.create_model(name, pretrained=True, features_only=True, out_indices=(1, 2))
    except (RuntimeError, OSError) as error:  # an unknown name, or no network
        raise ParameterError(f"features={name!r}: timm cannot make it: {error}") from error
    return _Normalised(network, network.pretrained_cfg["mean"], network.pretrained_cfg["std"])


class _Normalised(nn.Module):
    """A network on images in three channels, normalised as in its training."""

    def __init__(self, network: nn.Module, mean: Sequence[float], deviation: Sequence[float]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("deviation", torch.tensor(deviation).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Any:
        three = images if images.shape[1] == 3 else images.mean(1, keepdim=True).expand(-1, 3, -1, -1)
        return self.network((three - self.get_buffer("mean")) / self.get_buffer("deviation"))
