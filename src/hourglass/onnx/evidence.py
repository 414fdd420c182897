"""Each kind of evidence of the anomaly detector as a torch module: the same scores, within rounding, from tensors alone."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from hourglass.anomaly import Evidence
from hourglass.anomaly import evidence as known
from hourglass.anomaly import surfaces as known_of_surfaces
from hourglass.anomaly.maps import BLUR
from hourglass.errors import ModelError
from hourglass.onnx.layers import Blur, Nearest, Ranks
from hourglass.trained import Trained


class Seen(NamedTuple):
    """What evidence is made of.

    Attributes
    ----------
    values : Tensor (n, c, h, w) or (n, features), float32
        Network input.
    rows : Tensor (n, features), float64
        Of a table, in its own units; of images the same as `values`.
    maps : Tensor (n, h, w), float32
        Error maps of images; of a table the same as `values`.
    thumbnails : Tensor (n, c · 24²), float32
        Of images of any size; of others the same as `values`.
    """

    values: Tensor
    rows: Tensor
    maps: Tensor
    thumbnails: Tensor


class Witness(nn.Module):
    """Base: `Seen` -> float64 (n,), greater is more unusual; learned from a fitted `Evidence`."""

    def __init__(self, evidence: Any, model: Trained) -> None:
        super().__init__()
        self.network = model.network

    def reconstructed(self, values: Tensor) -> Tensor:
        reconstructions: Tensor = self.network(values).reconstructions
        return reconstructions


class NoisyReconstruction(Witness):
    probes: Tensor

    def __init__(self, evidence: known.NoisyReconstruction, model: Trained) -> None:
        super().__init__(evidence, model)
        probes = evidence.probes(model.sample.network_shape, model)
        self.has_noise = len(probes) > 0
        self.register_buffer("probes", torch.from_numpy(probes))
        self.blur = Blur(known.BLUR)

    def forward(self, seen: Seen) -> Tensor:
        values, count = seen.values, len(self.probes) if self.has_noise else 1
        given = (values[:, None] + self.probes).clamp(0, 1) if self.has_noise else values[:, None]
        restored = self.reconstructed(given.flatten(0, 1)).reshape(values.shape[0], count, *values.shape[1:])
        errors = self._energy((restored - values[:, None]).flatten(0, 1)).reshape(-1, count).mean(1)
        energy = self._energy(values) if values.ndim > 2 else torch.ones_like(errors)
        return (errors + 1e-9).log() - 0.5 * (energy + 1e-3).log()

    def _energy(self, values: Tensor) -> Tensor:
        """Mean square of each sample, of images smoothed: float64 (n,)."""
        smoothed = self.blur(values) if values.ndim > 2 else values
        return smoothed.double().square().flatten(1).mean(1)


class Reconstruction(Witness):
    def forward(self, seen: Seen) -> Tensor:
        residuals = known.DEVIATIONS * (self.reconstructed(seen.values) - seen.values)
        return _log_of_root(residuals.double().square().mean(1))


class CodeDistance(Witness):
    whitening: Tensor

    def __init__(self, evidence: known.CodeDistance, model: Trained) -> None:
        super().__init__(evidence, model)
        self.register_buffer("whitening", torch.from_numpy(np.array(evidence.whitening, dtype=np.float32)))
        self.nearest = Nearest(evidence.reference.codes, known.NEAREST)

    def forward(self, seen: Seen) -> Tensor:
        vectors = self.network.vectors(self.network.encoder(seen.values))
        distances: Tensor = self.nearest(vectors @ self.whitening)[0]
        return (distances.double().mean(1) + 1e-6).log()


class RowDistance(Witness):
    centre: Tensor
    deviation: Tensor

    def __init__(self, evidence: known.RowDistance, model: Trained) -> None:
        super().__init__(evidence, model)
        self.register_buffer("centre", torch.from_numpy(evidence.centre))
        self.register_buffer("deviation", torch.from_numpy(evidence.deviation))
        self.nearest = Nearest(evidence.reference.codes, known.NEAREST)

    def forward(self, seen: Seen) -> Tensor:
        return _distance((seen.rows - self.centre) / self.deviation, self.nearest)


class RankDistance(Witness):
    def __init__(self, evidence: known.RankDistance, model: Trained) -> None:
        super().__init__(evidence, model)
        self.ranks = Ranks(evidence.sorted)
        for name in ("deviation", "quantiles", "unit"):
            self.register_buffer(name, torch.from_numpy(np.asarray(getattr(evidence, name), dtype=np.float64)))
        self.nearest = Nearest(evidence.reference.codes, known.NEAREST)

    def forward(self, seen: Seen) -> Tensor:
        rows, ordered = seen.rows, self.ranks.ordered
        below, up_to = self.ranks(rows)
        excess = (rows - ordered[-1]).clamp(min=0) - (ordered[0] - rows).clamp(min=0)
        values = self.quantiles[below + up_to] + excess.sign() * (1 + excess.abs() / self.deviation).log()
        return _distance(values / self.unit, self.nearest)

    deviation: Tensor
    quantiles: Tensor
    unit: Tensor


class PrincipalRows(Witness):
    def __init__(self, evidence: known.PrincipalRows, model: Trained) -> None:
        super().__init__(evidence, model)
        for name in ("mean", "deviation", "components"):
            self.register_buffer(name, torch.from_numpy(np.array(getattr(evidence, name), dtype=np.float64)))

    def forward(self, seen: Seen) -> Tensor:
        standard = (seen.rows - self.mean) / self.deviation
        residuals = standard - standard @ self.components.T @ self.components
        return _log_of_root(residuals.square().mean(1))

    mean: Tensor
    deviation: Tensor
    components: Tensor


class Tails(Witness):
    is_left: Tensor

    def __init__(self, evidence: known.Tails, model: Trained) -> None:
        super().__init__(evidence, model)
        self.ranks = Ranks(evidence.sorted)
        self.register_buffer("is_left", torch.from_numpy(evidence.is_left))

    def forward(self, seen: Seen) -> Tensor:
        count = len(self.ranks.ordered)
        below, up_to = self.ranks(seen.rows)
        left, right = (-((ranks.double() + 1) / (count + 1)).log() for ranks in (up_to, count - below))
        return torch.stack([left.sum(1), right.sum(1), torch.where(self.is_left, left, right).sum(1)]).amax(0)


class Restoration(Witness):
    def forward(self, seen: Seen) -> Tensor:
        pixels = seen.values.flatten(1)
        is_even = pixels.amin(1) == pixels.amax(1)
        largest = torch.where(is_even, 1.0, seen.maps.flatten(1).amax(1))
        return (largest.double() + known_of_surfaces.LEAST).log()


class PrincipalResidual(Witness):
    mean: Tensor
    components: Tensor

    def __init__(self, evidence: known_of_surfaces.PrincipalResidual, model: Trained) -> None:
        super().__init__(evidence, model)
        self.register_buffer("mean", torch.from_numpy(np.array(evidence.mean, dtype=np.float64)))
        self.register_buffer("components", torch.from_numpy(np.array(evidence.components, dtype=np.float64)))

    def forward(self, seen: Seen) -> Tensor:
        centred: Tensor = seen.thumbnails.double() - self.mean
        residuals = centred - centred @ self.components.T @ self.components if len(self.components) else centred
        return 0.5 * (residuals.square().amax(1) + 1e-6).log()


class ThumbnailDistance(Witness):
    def __init__(self, evidence: known_of_surfaces.ThumbnailDistance, model: Trained) -> None:
        super().__init__(evidence, model)
        self.width = evidence.thumbnails.shape[1]
        self.nearest = Nearest(evidence.reference.codes, 1)

    def forward(self, seen: Seen) -> Tensor:
        distances: Tensor = self.nearest(seen.thumbnails)[0][:, 0]
        squares: Tensor = distances.double().square() / self.width
        return 0.5 * (squares + 1e-6).log()


WITNESSES: dict[type[Evidence], type[Witness]] = {
    known.NoisyReconstruction: NoisyReconstruction,
    known.Reconstruction: Reconstruction,
    known.CodeDistance: CodeDistance,
    known.RowDistance: RowDistance,
    known.RankDistance: RankDistance,
    known.Tails: Tails,
    known.PrincipalRows: PrincipalRows,
    known_of_surfaces.Restoration: Restoration,
    known_of_surfaces.PrincipalResidual: PrincipalResidual,
    known_of_surfaces.ThumbnailDistance: ThumbnailDistance,
}
"""For each kind of `EVIDENCE`, by its class."""


def witness_of(evidence: Evidence, model: Trained) -> Witness:
    """The module of fitted evidence. Raises ModelError for a kind that has none."""
    if type(evidence) not in WITNESSES:
        raise ModelError(f"evidence of the kind {type(evidence).__name__} has no form in ONNX; the library's own have.")
    return WITNESSES[type(evidence)](evidence, model)


class ErrorMaps(nn.Module):
    """Network input and output, (n, c, h, w) -> smoothed squared errors (n, h, w), as `error_maps`."""

    def __init__(self) -> None:
        super().__init__()
        self.blur = Blur(BLUR)

    def forward(self, values: Tensor, reconstructions: Tensor) -> Tensor:
        squares = (values - reconstructions.clamp(0, 1)).square().mean(1, keepdim=True)
        smoothed: Tensor = self.blur(squares)
        return smoothed[:, 0]


def _distance(scaled: Tensor, nearest: Nearest) -> Tensor:
    values = scaled.to(torch.float32)
    vectors: Tensor = nearest(values)[1]
    return _log_of_root((values - vectors.mean(1)).double().square().mean(1))


def _log_of_root(squares: Tensor) -> Tensor:
    return (squares.sqrt() + known.LEAST).log()
