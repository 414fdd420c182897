"""A network for image compression: analysis, synthesis, gains for a range of rates, and an entropy model."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from hourglass.errors import ParameterError
from hourglass.networks.base import Network, image_shape
from hourglass.networks.code import Code
from hourglass.networks.maps import PadTo
from hourglass.objectives import Output

OCTAVES = 8
"""Between quality 0 and 1 the weight of the error against the rate doubles so often."""
_KNOTS = OCTAVES + 1
_BLOCK = 4  # pixels that first become channels
_MOST_WIDTHS = 4
_STEP = 0.18  # of orthonormal cosines at quality ½: the high-rate optimum for the rate's strength in the preset
_LINEAR_RATE = 0.1  # of the linear transforms, relative to the other layers: they start near their optimum
_STATE = 96  # channels of the entropy model's state


class Codec(Network):
    """Transforms and entropy model of a learned image codec (Ballé et al. 2017; Minnen et al. 2018), for images of any size.

    Codes are maps of `n_components` channels. Both transforms are a sum of two: a linear one of non-overlapping blocks, which
    starts as the cosine transform, so that training starts where JPEG is; and strided convolutions with divisive normalisation
    (Ballé et al. 2016). `hidden` are the channels at 1/4, 1/8, … of height and width; the code has the resolution of the last.

    One network serves a range of rates: each channel is multiplied by a gain that depends on the quality before it is rounded
    (Cui et al. 2021). Training draws a quality in 0..1 for each image, rounds with straight-through gradients before the
    decoder, and adds U(-½, ½) for the rate (Minnen and Singh 2020). In evaluation nothing is rounded, and the rate is that of
    quality ½: rounding and coding are the compressor's.
    """

    default_hidden = (64, 128, 192)
    is_local = True
    is_separable = False
    takes_any_size = True
    has_rate = True
    draws = True

    def __init__(self, shape: tuple[int, ...], n_components: int, hidden: tuple[int, ...], bounded: bool) -> None:
        super().__init__()
        channels = image_shape(shape, "codec")[0]
        if not 1 <= len(hidden) <= _MOST_WIDTHS:
            raise ParameterError(f'hidden={hidden}; network="codec" needs 1 to {_MOST_WIDTHS} widths, as in (64, 128, 192).')
        stride = _BLOCK * 2 ** (len(hidden) - 1)
        self.code = Code(n_components, stride)
        deviations = cosines(channels, stride, n_components)[1]
        self.encoder = Analysis(channels, n_components, hidden)
        self.decoder = Synthesis(channels, n_components, hidden, bounded)
        slopes = np.linspace(-OCTAVES / 4, OCTAVES / 4, _KNOTS)[:, None]
        log_gains = (np.log2(deviations / _STEP) + slopes).astype(np.float32)
        self.log_gains = Knots(log_gains)
        self.log_steps = Knots(-log_gains)
        self.entropy = Contexts(n_components, log_gains)
        reach = self.encoder.reach + self.decoder.reach + 2 * stride
        self.margin = stride * math.ceil(reach / stride)

    def forward(self, samples: Tensor) -> Output:
        codes = self.encoder(samples)
        height, width = samples.shape[-2:]
        if not self.training:
            quality = codes.new_full((len(codes),), 0.5)
            scaled = codes * self.gains(quality)
            return Output(self.decoder(codes)[..., :height, :width], codes, self.entropy(scaled, scaled, quality))
        quality = torch.rand(len(codes), device=codes.device)
        scaled = codes * self.gains(quality)
        integers = scaled.round().detach() + (scaled - scaled.detach())  # exactly rounded, with the gradient of the identity
        noisy = scaled + torch.rand_like(scaled) - 0.5
        weights = torch.exp2(OCTAVES / 2 * (quality - 0.5))
        decoded = self.decoder(integers * self.steps(quality))[..., :height, :width]
        return Output(decoded, codes, self.entropy(integers, noisy, quality) / weights, importance=weights)

    def gains(self, quality: Tensor) -> Tensor:
        """Gain of each channel before rounding, for qualities (n,) in 0..1: (n, n_components, 1, 1)."""
        return torch.exp2(self.log_gains(quality))[..., None, None]

    def steps(self, quality: Tensor) -> Tensor:
        """Factor of each channel's integers before the decoder: (n, n_components, 1, 1)."""
        return torch.exp2(self.log_steps(quality))[..., None, None]

    encoder: Analysis
    decoder: Synthesis


class Analysis(nn.Module):
    """Images (n, c, h, w) -> codes (n, n_components, h / stride, w / stride), of about unit variance."""

    def __init__(self, channels: int, n_components: int, hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.stride = _BLOCK * 2 ** (len(hidden) - 1)
        self.pad = PadTo(self.stride, "replicate")
        basis, deviations = cosines(channels, self.stride, n_components)
        self.linear = _linear(basis)
        self.register_buffer("scales", _scales(_LINEAR_RATE / deviations))
        self.register_buffer("level", torch.full((), 0.5))  # that of the decoder's last bias: see `center`
        layers: list[nn.Module] = [nn.PixelUnshuffle(_BLOCK), nn.Conv2d(channels * _BLOCK**2, hidden[0], 3, padding=1)]
        for fan_in, fan_out in pairwise(hidden):
            layers += [Normalisation(fan_in), nn.Conv2d(fan_in, fan_out, 5, stride=2, padding=2)]
        last = nn.Conv2d(hidden[-1], n_components, 1)
        self.nonlinear = nn.Sequential(*layers, Normalisation(hidden[-1]), _small(last))
        self.reach = _BLOCK + 2 * (self.stride - _BLOCK)  # in pixels

    def forward(self, samples: Tensor) -> Tensor:
        images = self.pad(samples) - self.level
        codes: Tensor = self.scales * self.linear(F.pixel_unshuffle(images, self.stride)) + self.nonlinear(images)
        return codes

    scales: Tensor
    level: Tensor


class Synthesis(nn.Module):
    """Codes (n, n_components, h', w') -> images (n, c, h' · stride, w' · stride)."""

    def __init__(self, channels: int, n_components: int, hidden: tuple[int, ...], bounded: bool) -> None:
        super().__init__()
        self.stride = _BLOCK * 2 ** (len(hidden) - 1)
        basis, deviations = cosines(channels, self.stride, n_components)
        self.linear = _linear(basis.T)
        self.register_buffer("scales", _scales(_LINEAR_RATE * deviations))
        layers: list[nn.Module] = [nn.Conv2d(n_components, hidden[-1], 3, padding=1)]
        for fan_in, fan_out in pairwise(hidden[::-1]):
            enlarging = nn.Conv2d(fan_in, 4 * fan_out, 3, padding=1), nn.PixelShuffle(2)
            layers += [Normalisation(fan_in, is_inverse=True), *enlarging]
        last = nn.Conv2d(hidden[0], channels * _BLOCK**2, 3, padding=1)
        self.nonlinear = nn.Sequential(
            *layers, Normalisation(hidden[0], is_inverse=True), _small(last), nn.PixelShuffle(_BLOCK)
        )
        self.output = Clip() if bounded else nn.Identity()
        self.reach = self.stride + 2 * (self.stride - _BLOCK) + _BLOCK

    def forward(self, codes: Tensor) -> Tensor:
        blocks = F.pixel_shuffle(self.linear(self.scales * codes), self.stride)
        images: Tensor = self.output(blocks + self.nonlinear(codes))
        return images

    scales: Tensor


class Normalisation(nn.Module):
    """x / (β + Γ |x|), or its approximate inverse x · (β + Γ |x|): as Johnston et al. (2019)."""

    def __init__(self, channels: int, *, is_inverse: bool = False) -> None:
        super().__init__()
        self.is_inverse = is_inverse
        self.beta = nn.Parameter(torch.ones(channels))
        self.gamma = nn.Parameter(0.1 * torch.eye(channels) + 0.01 / channels)

    def forward(self, maps: Tensor) -> Tensor:
        scale = F.conv2d(maps.abs(), self.gamma.abs()[..., None, None], self.beta.abs() + 1e-3)
        return maps * scale if self.is_inverse else maps / scale


class Clip(nn.Module):
    """Clip to 0..1; gradients pass as through the identity, since where it clips too far only the loss can say so."""

    def forward(self, images: Tensor) -> Tensor:
        if not self.training:
            return images.clamp(0, 1)
        return images.clamp(0, 1).detach() + (images - images.detach())


class Knots(nn.Module):
    """Curves over quality, linear between equidistant knots: (n,) in 0..1 -> (n, width)."""

    def __init__(self, values: NDArray[np.float32]) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.empty(values.shape))
        with torch.no_grad():
            self.values.copy_(torch.from_numpy(values))

    def forward(self, quality: Tensor) -> Tensor:
        position = quality * (len(self.values) - 1)
        low = position.floor().clamp(max=len(self.values) - 2)
        share = (position - low)[:, None]
        index = low.long()
        return self.values[index] * (1 - share) + self.values[index + 1] * share


class Contexts(nn.Module):
    """Rate of integer maps: logistic distributions, whose mean and scale follow from integers that are decoded before.

    Channels are coded in groups, each as large as all before it. The first group is coded pixel by pixel, from its upper and
    left neighbours; the others in two passes of a checkerboard (He et al. 2021), the second from the first's. A state of
    `_STATE` channels sums up the groups before (channel-conditional coding; Minnen and Singh 2020). The compressor evaluates
    the same model in integers: `hourglass.codec.contexts`.
    """

    def __init__(self, n_components: int, log_gains: NDArray[np.float32]) -> None:
        super().__init__()
        self.sizes = group_sizes(n_components)
        self.start = Knots(np.zeros((_KNOTS, _STATE), dtype=np.float32))
        starts = np.cumsum([0, *self.sizes])
        self.groups = nn.ModuleList(
            Group(log_gains[:, start:end] - 1, is_first=start == 0, is_last=end == n_components)
            for start, end in pairwise(starts.tolist())
        )

    def forward(self, integers: Tensor, noisy: Tensor, quality: Tensor) -> Tensor:
        """Nats of each image, (n,): of `noisy` maps (n, n_components, h', w'), in the contexts of `integers`."""
        state = self.start(quality)[..., None, None]
        rows, columns = integers.shape[-2:]
        state = state.expand(-1, -1, rows, columns)
        lattice = torch.arange(rows, device=integers.device)[:, None] + torch.arange(columns, device=integers.device)
        is_second = (lattice % 2).to(integers.dtype)
        nats = integers.new_zeros(len(integers))
        parts = (torch.split(given, self.sizes, 1) for given in (integers, noisy))
        for group, known, coded in zip(self.groups, *parts, strict=True):
            assert isinstance(group, Group)
            features = log_features(known)
            seen, shown = (1.0, 1.0) if group.is_first else (1 - is_second, is_second)
            means, log_scales = group(state + shown * group.near(features * seen), quality)
            means = means + shown * group.direct(known * seen)
            nats = nats + logistic_nats(coded - means, log_scales).flatten(1).sum(1)
            if group.later is not None:
                state = state + group.later(features)
        return nats


class Group(nn.Module):
    """The layers of a group of channels that is coded together."""

    def __init__(self, log_scales: NDArray[np.float32], *, is_first: bool, is_last: bool) -> None:
        super().__init__()
        n_channels = log_scales.shape[1]
        self.is_first = is_first
        self.near = Near(2 * n_channels, _STATE, is_first)
        self.direct = Near(n_channels, n_channels, is_first)
        self.later = None if is_last else nn.Conv2d(2 * n_channels, _STATE, 3, padding=1, bias=False)
        self.out = nn.Conv2d(_STATE, 2 * n_channels, 1, bias=False)
        self.offsets = Knots(np.concatenate([np.zeros_like(log_scales), log_scales], axis=1))
        with torch.no_grad():
            self.out.weight.mul_(0.1)
            self.direct.weight.mul_(0.1)

    def forward(self, state: Tensor, quality: Tensor) -> tuple[Tensor, Tensor]:
        """(means, log2 of the scales), each (n, channels, h', w')."""
        both = self.out(F.relu(state)) + self.offsets(quality)[..., None, None]
        means, log_scales = both.chunk(2, 1)
        return means, log_scales


class Near(nn.Conv2d):
    """A 3×3 convolution of the neighbours that are decoded before: above and left, or those of a checkerboard."""

    def __init__(self, fan_in: int, fan_out: int, is_first: bool) -> None:
        super().__init__(fan_in, fan_out, 3, padding=1, bias=False)
        mask = [[1, 1, 1], [1, 0, 0], [0, 0, 0]] if is_first else [[0, 1, 0], [1, 0, 1], [0, 1, 0]]
        self.register_buffer("mask", torch.tensor(mask, dtype=torch.float32, device="cpu"), persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        return F.conv2d(maps, self.weight * self.mask, padding=1)

    mask: Tensor


def group_sizes(n_components: int) -> list[int]:
    """Channels of each group: 1/32 of all, then as many as all before."""
    ends = sorted({max(1, n_components >> shift) for shift in range(6)})
    return [end - start for start, end in pairwise([0, *ends])]


def log_features(integers: Tensor) -> Tensor:
    """(n, c, h, w) -> (n, 2 c, h, w): sgn(q) log2(1 + |q|), then log2(1 + |q|)."""
    sizes = torch.log2(1 + integers.abs())
    return torch.cat([sizes * integers.sign(), sizes], 1)


def logistic_nats(distances: Tensor, log_scales: Tensor) -> Tensor:
    """-log of the probability of the unit interval around `distances` from the mean."""
    scales = torch.exp2(log_scales.clamp(-4.5, 7))
    away = -distances.abs()  # by symmetry; keeps both sigmoids away from 1, where float32 is coarse
    probabilities = torch.sigmoid((away + 0.5) / scales) - torch.sigmoid((away - 0.5) / scales)
    return -probabilities.clamp(min=1e-9).log()


def cosines(channels: int, side: int, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The `count` strongest cosines of blocks (channels, side, side), and the deviations of their coefficients in photographs.

    Deviations follow a power law of the frequency; differences of channels (colour) are weaker than their mean. Channels that
    no cosine is left for are zero.

    Returns
    -------
    (count, channels · side²), (count,)
    """
    colour, space = _cosine_matrix(channels), _cosine_matrix(side)
    frequencies = np.hypot.outer(np.arange(side), np.arange(side)) * 16 / side
    deviations = np.where(frequencies > 0, 0.9 * np.maximum(frequencies, 1e-9) ** -1.4, 4.0) * side / 16
    every = np.multiply.outer(np.where(np.arange(channels) > 0, 0.3, 1.0), deviations)
    chosen = np.argsort(-every, axis=None, kind="stable")[:count]
    k, u, v = np.unravel_index(chosen, every.shape)
    basis = np.zeros((count, channels * side**2))
    rows = colour[k][:, :, None, None] * space[u][:, None, :, None] * space[v][:, None, None, :]
    basis[: len(chosen)] = rows.reshape(len(chosen), -1)
    found = np.full(count, every.min())
    found[: len(chosen)] = every.reshape(-1)[chosen]
    return basis, found


def _cosine_matrix(side: int) -> NDArray[np.float64]:
    """The orthonormal discrete cosine transform (DCT-II) of `side` values."""
    angles = np.pi / side * np.outer(np.arange(side), np.arange(side) + 0.5)
    matrix: NDArray[np.float64] = np.sqrt(2 / side) * np.cos(angles)
    matrix[0] /= np.sqrt(2)
    return matrix


def _linear(weight: NDArray[np.float64]) -> nn.Conv2d:
    """A linear map of each position that starts as `weight` (out, in), once its result is multiplied by `_LINEAR_RATE`."""
    layer = nn.Conv2d(weight.shape[1], weight.shape[0], 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy((weight / _LINEAR_RATE).astype(np.float32))[..., None, None])
    return layer


def _small(layer: nn.Conv2d) -> nn.Conv2d:
    """The layer with small weights: the linear transform then dominates at first."""
    with torch.no_grad():
        layer.weight.mul_(0.1)
    return layer


def _scales(values: NDArray[np.float64]) -> Tensor:
    return torch.tensor(values.tolist(), dtype=torch.float32)[:, None, None]
