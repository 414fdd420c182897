"""Every use as one torch module: what the library does around the network, done to tensors, so that ONNX can hold it all.

Input are samples as users have them: images (n, h, w) or (n, h, w, c) of uint8, uint16 up to the white level, or float32 in
0..1; tables (n, features) in their own units, float32 or float64.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hourglass.anomaly.surfaces import DEVIATIONS, LEAST_DEVIATION, SIDE
from hourglass.errors import ModelError, ParameterError
from hourglass.estimators import AnomalyDetector, Enhancer
from hourglass.estimators.base import ImageEstimator
from hourglass.images import Array, Sample
from hourglass.onnx.evidence import ErrorMaps, Seen, witness_of
from hourglass.onnx.layers import Resampled, Thumbnails, without_branches

DTYPES: dict[str, torch.dtype] = {
    "uint8": torch.uint8,
    "uint16": torch.uint16,
    "float32": torch.float32,
    "float64": torch.float64,
}
_BYTE = 255


class Intake(nn.Module):
    """Samples (n, *shape) of one dtype -> network input, as `Sample.to_network`; images without a model's size too."""

    def __init__(self, sample: Sample) -> None:
        super().__init__()
        self.sample = sample

    def forward(self, samples: Tensor) -> Tensor:
        sample = self.sample
        if not sample.is_image:
            return (samples if sample.is_bounded else sample.normalised(samples, torch)).to(torch.float32)
        values = samples.to(torch.float32)
        if samples.dtype == torch.uint8:
            values = values * float(np.float32(1 / _BYTE))
        elif samples.dtype == torch.uint16:
            values = (values / (sample.white or 65535.0)).clamp(0, 1)
        return values[:, None] if len(sample.shape) == 2 else values.permute(0, 3, 1, 2)


class Outlet(nn.Module):
    """Network output -> samples (n, *shape), float32, as `Sample.from_network`."""

    def __init__(self, sample: Sample) -> None:
        super().__init__()
        self.sample = sample

    def forward(self, values: Tensor) -> Tensor:
        sample = self.sample
        if not sample.is_image:
            return values if sample.is_bounded else sample.denormalised(values.double(), torch).to(torch.float32)
        values = values.clamp(0, 1)
        return values[:, 0] if len(sample.shape) == 2 else values.permute(0, 2, 3, 1)


class Use(nn.Module):
    """One use of a fitted estimator, or a part of it.

    `forward` returns a tensor for each name in `outputs`; `expected` is what the estimator itself says of the same input.
    """

    outputs: tuple[str, ...] = ("reconstructions",)
    takes_codes: ClassVar[bool] = False

    def __init__(self, estimator: ImageEstimator) -> None:
        super().__init__()
        trained = estimator.model_
        self.estimator: Any = estimator
        self.network = without_branches(copy.deepcopy(trained.network).to("cpu").eval())
        self.model = dataclasses.replace(trained, network=self.network)
        self.sample = self._input_sample()
        self.intake, self.outlet = Intake(self.sample), Outlet(trained.sample)

    def _input_sample(self) -> Sample:
        """Shape and scale of what goes in."""
        return self.model.sample

    def forward(self, samples: Tensor) -> tuple[Tensor, ...]:
        return (self.outlet(self.network(self.intake(samples)).reconstructions),)

    def expected(self, samples: Array) -> tuple[Any, ...]:
        return (self.estimator.reconstruct(samples),)

    @property
    def input_name(self) -> str:
        return "codes" if self.takes_codes else "samples"

    def facts(self) -> dict[str, Any]:
        """What a file says of this use alone."""
        return {}


class Encoding(Use):
    """The encoder: codes as vectors; where codes are maps, vectors of their means, and the maps."""

    def __init__(self, estimator: ImageEstimator) -> None:
        super().__init__(estimator)
        self.outputs = ("codes", "maps") if self.model.network.code.is_map else ("codes",)
        self.standardised = Standardised() if getattr(estimator, "standardises_", False) else nn.Identity()

    def forward(self, samples: Tensor) -> tuple[Tensor, ...]:
        codes = self.network.encoder(self.standardised(self.intake(samples)))
        return (self.network.vectors(codes), codes) if len(self.outputs) > 1 else (codes,)

    def expected(self, samples: Array) -> tuple[Any, ...]:
        estimator = self.estimator
        codes = estimator.encode(samples)
        if len(self.outputs) == 1:
            return (codes,)
        return codes, estimator.model_.encode(estimator._check(samples), check_input=False)


class Decoding(Use):
    """The decoder: codes (n, n_components), or maps, to samples."""

    takes_codes = True

    def forward(self, codes: Tensor) -> tuple[Tensor, ...]:
        return (self.outlet(self.network.decoder(codes)),)

    def expected(self, codes: Array) -> tuple[Any, ...]:
        return (self.estimator.inverse_transform(codes),)


class Detection(Use):
    """The detector: `score_samples`, `decision_function` below 0, and of images `error_maps`."""

    def __init__(self, estimator: AnomalyDetector) -> None:
        super().__init__(estimator)
        self.outputs = ("scores", "is_anomaly", "error_maps") if self.model.sample.is_image else ("scores", "is_anomaly")
        self.standardised = Standardised() if estimator.standardises_ else nn.Identity()
        self.error_maps = ErrorMaps()
        self.thumbnails = Thumbnails(SIDE, LEAST_DEVIATION)
        self.witnesses = nn.ModuleList(witness_of(kind, self.model) for kind in estimator.evidence_.values())
        self.register_buffer("scale", torch.from_numpy(np.array(estimator.scale_, dtype=np.float64)))
        self.register_buffer("weights", torch.from_numpy(np.array(estimator.weights_, dtype=np.float64)))
        self.offset = float(estimator.offset_)

    def forward(self, samples: Tensor) -> tuple[Tensor, ...]:
        sample = self.model.sample
        values = self.standardised(self.intake(samples))
        maps = self.error_maps(values, self.network(values).reconstructions) if sample.is_image else values
        thumbnails = self.thumbnails(values) if sample.is_any_size else values
        seen = Seen(values, values if sample.is_image else samples.double(), maps, thumbnails)
        terms = torch.stack([witness(seen) for witness in self.witnesses], 1)
        standard = (terms - self.scale[0]) / self.scale[1]
        if sample.is_any_size:
            standard = standard.clamp(min=-AnomalyDetector.lowest)
        scores = -((standard * self.weights).sum(1) * 1e4).round() / 1e4
        found = (scores, scores - self.offset < 0)
        return (*found, maps) if sample.is_image else found

    def expected(self, samples: Array) -> tuple[Any, ...]:
        detector = self.estimator
        scores = detector.score_samples(samples)
        found = (scores, scores - detector.offset_ < 0)
        return (*found, detector.error_maps(samples)) if self.model.sample.is_image else found

    def facts(self) -> dict[str, Any]:
        level = self.estimator.map_level_
        return {"offset": self.offset, "map_level": None if np.isnan(level) else float(level)}

    scale: Tensor
    weights: Tensor


class Standardised(nn.Module):
    """Each image (n, c, h, w) by its own mean and deviation, rounded to 256 levels, as `standardised`."""

    def forward(self, values: Tensor) -> Tensor:
        pixels = values.flatten(1).double()
        mean = pixels.mean(1, keepdim=True)
        deviation = (pixels - mean).square().mean(1, keepdim=True).sqrt().clamp(min=LEAST_DEVIATION)
        mean, width = (one.to(torch.float32)[..., None, None] for one in (mean, DEVIATIONS * deviation))
        levels = ((0.5 + (values - mean) / width).clamp(0, 1) * _BYTE).round()
        return levels * float(np.float32(1 / _BYTE))


class Enlargement(Use):
    """The enhancer: bicubic, network, back-projection."""

    def __init__(self, estimator: Enhancer) -> None:
        super().__init__(estimator)
        is_pillows = estimator.reduction == "bicubic"
        self.factor = estimator.factor
        self.n_rounds = estimator.n_rounds
        self.enlarge = Resampled(self.factor, is_pillows=is_pillows)
        self.reduce = Resampled(self.factor, reduces=True, is_pillows=True) if is_pillows else nn.AvgPool2d(self.factor)
        self.is_pillows = is_pillows

    def _input_sample(self) -> Sample:
        low: Sample = self.estimator.low_sample
        return low

    def forward(self, samples: Tensor) -> tuple[Tensor, ...]:
        low = self.intake(samples)
        high = self.network(self.enlarge(low)).reconstructions.clamp(0, 1)
        for _ in range(self.n_rounds):
            missing = low - self.reduce(high)
            high = (high + self._spread(missing)).clamp(0, 1)
        return (self.outlet(high),)

    def _spread(self, differences: Tensor) -> Tensor:
        if self.is_pillows:
            enlarged: Tensor = self.enlarge((differences + 1) / 2)
            return 2 * enlarged - 1
        spread: Tensor = F.interpolate(differences, scale_factor=self.factor)
        return spread

    def expected(self, samples: Array) -> tuple[Any, ...]:
        return (self.estimator.transform(samples),)

    def facts(self) -> dict[str, Any]:
        return {"factor": self.factor}


USES: dict[str, Callable[[Any], Use]] = {
    "autoencoder": Use,
    "denoiser": Use,
    "detector": Detection,
    "generator": Decoding,
    "retriever": Encoding,
    "compressor": Use,
    "enhancer": Enlargement,
}
"""The whole use of each of `ESTIMATORS`. Of a generator it begins with codes, of a retriever it ends with them, and of a
compressor it is the reconstruction: drawing codes, the index and entropy coding stay outside."""

PARTS: dict[str, Callable[[Any], Use] | None] = {"whole": None, "encoder": Encoding, "decoder": Decoding}


def use_of(estimator: ImageEstimator, part: str = "whole") -> Use:
    """The module of a part of a fitted estimator.

    Raises
    ------
    ParameterError
        For an unknown part.
    ModelError
        For an estimator that is not the library's.
    """
    if part not in PARTS:
        raise ParameterError(f"part={part!r}; allowed: {', '.join(PARTS)}.")
    if estimator.saved_as not in USES:
        raise ModelError(f"{type(estimator).__name__} has no form in ONNX; allowed: {', '.join(USES)}.")
    return (PARTS[part] or USES[estimator.saved_as])(estimator).eval()
