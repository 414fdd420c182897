"""Convolutional networks, for images of any height, width and number of channels."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hourglass.errors import ParameterError
from hourglass.networks.base import Network, image_shape, output_activation
from hourglass.objectives import Output


class Conv(Network):
    """Strided 3×3 convolutions down to a dense code; back by nearest-neighbour upsampling and convolutions.

    `hidden` are the channels after each halving of height and width. The code is the bottleneck: with
    32 latent dimensions photographs blur; `Skip` keeps their detail. Upsampling and a convolution, in place of a transposed
    convolution, leave no checkerboard (Odena et al. 2016).
    """

    default_hidden = (32, 64)
    is_local = True

    def __init__(self, shape: tuple[int, ...], n_components: int, hidden: tuple[int, ...], bounded: bool) -> None:
        super().__init__()
        channels, height, width = image_shape(shape, "conv")
        self.encoder = conv_encoder(shape, n_components, hidden)
        sizes = [(height, width)]
        for _ in hidden:
            sizes.append(_half(sizes[-1]))
        widths = (channels, *hidden)
        inner = (widths[-1], *sizes[-1])
        flat = math.prod(inner)

        up: list[nn.Module] = [nn.LeakyReLU(), nn.Linear(n_components, flat), nn.Unflatten(1, inner)]
        for (fan_in, fan_out), size in zip(pairwise(widths[::-1]), sizes[-2::-1], strict=True):
            up += [nn.LeakyReLU(), Enlarging(fan_in, fan_out, size)]
        self.decoder = nn.Sequential(*up, output_activation(bounded))


class Enlarging(nn.Conv2d):
    """Nearest-neighbour enlargement by two, a 3×3 convolution, and a crop to `size`: (n, c, h, w) -> (n, fan_out, 2 h, 2 w).

    Computed as one convolution of the small maps with four outputs per pixel ("sub-pixel" convolution; Shi et al. 2016). Two
    of three neighbours in an enlarged row are the same pixel, so each output depends on 2×2 small pixels, weighted with sums
    of the weights. The result is the same to rounding, without the large maps in memory.
    """

    def __init__(self, fan_in: int, fan_out: int, size: tuple[int, int] | None = None) -> None:
        super().__init__(fan_in, fan_out, 3, padding=1)
        self.size = size
        # [a, k, l] = 1: output a (left or right) applies its weight l to the small pixel k
        reads = torch.tensor(
            [[[1, 0, 0], [0, 1, 1], [0, 0, 0]], [[0, 0, 0], [1, 1, 0], [0, 0, 1]]], dtype=torch.float32, device="cpu"
        )
        self.register_buffer("sums", torch.einsum("akl,bmn->abkmln", reads, reads).reshape(36, 9), persistent=False)

    def small_weight(self) -> Tensor:
        """Weights of the convolution on the small maps: (4 fan_out, fan_in, 3, 3), four in a row for each channel."""
        fan_out, fan_in = self.weight.shape[:2]
        summed = self.weight.reshape(fan_out, fan_in, 9) @ self.sums.T
        return summed.view(fan_out, fan_in, 4, 9).transpose(1, 2).reshape(4 * fan_out, fan_in, 3, 3)

    def forward(self, maps: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.repeat_interleave(4)
        large: Tensor = F.pixel_shuffle(F.conv2d(maps, self.small_weight(), bias, padding=1), 2)
        return large if self.size is None else large[..., : self.size[0], : self.size[1]]

    sums: Tensor


def conv_encoder(shape: tuple[int, ...], n_codes: int, hidden: tuple[int, ...]) -> nn.Sequential:
    """Strided convolutions with `hidden` channels, then a dense layer: (n, c, h, w) -> (n, n_codes)."""
    channels, *size = image_shape(shape, "conv")
    down: list[nn.Module] = []
    for fan_in, fan_out in pairwise((channels, *hidden)):
        down += [nn.Conv2d(fan_in, fan_out, 3, stride=2, padding=1), nn.LeakyReLU()]
        size = list(_half((size[0], size[1])))
    return nn.Sequential(*down, nn.Flatten(), nn.Linear((hidden or (channels,))[-1] * math.prod(size), n_codes))


class Skip(Network):
    """A convolutional encoder and decoder with connections past the code (U-Net; Ronneberger et al. 2015).

    The connections carry detail that does not fit into the code, so this network denoises and enhances well and compresses
    nothing. `forward` uses them; `decoder` alone replaces them with zeros. `hidden` are the channels at half, quarter, …
    resolution: 2×2 pixels first become channels, since a convolution at full resolution costs four times as much.
    """

    default_hidden = (32, 64)
    is_local = True
    is_separable = False
    bypasses_code = True

    def __init__(self, shape: tuple[int, ...], n_components: int, hidden: tuple[int, ...], bounded: bool) -> None:
        super().__init__()
        if not hidden:
            raise ParameterError('network="skip" needs at least one width in hidden, as in (32, 64).')
        checked = image_shape(shape, "skip")
        self.encoder = _SkipEncoder(checked, n_components, hidden)
        self.decoder = _SkipDecoder(checked, n_components, hidden, bounded)

    def forward(self, samples: Tensor) -> Output:
        codes, maps = self.encoder.encode(samples)
        return Output(self.decoder.decode(codes, maps), codes)

    encoder: _SkipEncoder
    decoder: _SkipDecoder


class Residual(Skip):
    """`Skip` that adds a correction to its input, so that training starts near the identity.

    For inputs close to the target, such as enlarged photographs. `decoder` alone returns a correction.
    """

    adds_input = True

    def __init__(self, shape: tuple[int, ...], n_components: int, hidden: tuple[int, ...], bounded: bool) -> None:
        super().__init__(shape, n_components, hidden, bounded=False)
        with torch.no_grad():
            for parameter in self.decoder.exit.parameters():
                parameter.mul_(0.01)

    def forward(self, samples: Tensor) -> Output:
        correction = super().forward(samples)
        return correction._replace(reconstructions=samples + correction.reconstructions)


def _half(size: tuple[int, int]) -> tuple[int, int]:
    return (size[0] + 1) // 2, (size[1] + 1) // 2  # a convolution of stride 2 with padding rounds up


def _maps(shape: tuple[int, int, int], hidden: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """(channels, h, w) at each resolution of a skip network."""
    size, maps = _half(shape[1:]), []
    for channels in hidden:
        maps.append((channels, *size))
        size = _half(size)
    return maps


class ResidualBlock(nn.Module):
    """x + conv(conv(x)), each after a LeakyReLU (He et al. 2016, "identity mappings")."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        residual: Tensor = self.second(F.leaky_relu_(self.first(F.leaky_relu(maps))))
        return residual.add_(maps)  # in place: allocating memory costs more than the sum


class _SkipEncoder(nn.Module):
    def __init__(self, shape: tuple[int, int, int], n_components: int, hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.entry = nn.Conv2d(4 * shape[0], hidden[0], 3, padding=1)
        self.blocks = nn.ModuleList(ResidualBlock(width) for width in hidden)
        self.downs = nn.ModuleList(nn.Conv2d(fan_in, fan_out, 3, stride=2, padding=1) for fan_in, fan_out in pairwise(hidden))
        self.code = nn.Linear(math.prod(_maps(shape, hidden)[-1]), n_components)

    def forward(self, samples: Tensor) -> Tensor:
        return self.encode(samples)[0]

    def encode(self, samples: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Codes, and the feature maps at every resolution."""
        height, width = samples.shape[-2:]
        even = F.pad(samples, (0, width % 2, 0, height % 2), mode="replicate")
        x = self.blocks[0](self.entry(F.pixel_unshuffle(even, 2)))
        maps = [x]
        for down, block in zip(self.downs, list(self.blocks)[1:], strict=True):
            x = block(down(x))
            maps.append(x)
        return self.code(x.flatten(1)), maps


class _SkipDecoder(nn.Module):
    def __init__(self, shape: tuple[int, int, int], n_components: int, hidden: tuple[int, ...], bounded: bool) -> None:
        super().__init__()
        channels, *self.size = shape
        self.maps = _maps(shape, hidden)
        self.code = nn.Sequential(nn.Linear(n_components, math.prod(self.maps[-1])), nn.Unflatten(1, self.maps[-1]))
        self.blocks = nn.ModuleList(ResidualBlock(width) for width in hidden[::-1])
        self.ups = nn.ModuleList(nn.Conv2d(fan_in, fan_out, 1) for fan_in, fan_out in pairwise(hidden[::-1]))
        self.exit = nn.Conv2d(hidden[0], 4 * channels, 3, padding=1)
        self.output = output_activation(bounded)

    def forward(self, codes: Tensor) -> Tensor:
        return self.decode(codes, [codes.new_zeros(len(codes), *maps) for maps in self.maps])

    def decode(self, codes: Tensor, maps: list[Tensor]) -> Tensor:
        """Samples from codes and the encoder's feature maps."""
        blocks = list(self.blocks)
        x = blocks[0](self.code(codes) + maps[-1])
        for up, block, skipped in zip(self.ups, blocks[1:], maps[-2::-1], strict=True):
            x = block(F.interpolate(up(x), size=skipped.shape[-2:]).add_(skipped))
        images = F.pixel_shuffle(self.exit(F.leaky_relu(x)), 2)
        cropped: Tensor = self.output(images[..., : self.size[0], : self.size[1]])
        return cropped
