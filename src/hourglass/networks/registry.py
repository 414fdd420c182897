"""All networks by name. To add one, write a class and add a line here."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any, cast

import torch
from torch import Tensor, nn

from hourglass.errors import ModelError, ParameterError
from hourglass.networks.anysize import check_any_size
from hourglass.networks.base import Network, Pair, check_fits
from hourglass.networks.code import Code
from hourglass.networks.codec import Codec
from hourglass.networks.convolutional import Conv, Residual, Skip
from hourglass.networks.dense import MLP, Linear
from hourglass.networks.embedding import Embedding
from hourglass.networks.maps import Maps, Patches
from hourglass.networks.plane import Beside, Plane
from hourglass.networks.stochastic import Noisy, Quantised, Variational
from hourglass.networks.unet import UNet
from hourglass.networks.words import Words

NETWORKS: dict[str, type[Network]] = {
    "linear": Linear,
    "mlp": MLP,
    "conv": Conv,
    "skip": Skip,
    "residual": Residual,
    "variational": Variational,
    "noisy": Noisy,
    "quantised": Quantised,
    "embedding": Embedding,
    "maps": Maps,
    "patches": Patches,
    "unet": UNet,
    "codec": Codec,
}

COMPOSED: dict[str, type[Network]] = {"plane": Plane, "words": Words}
"""Networks that settings may name, but no user: their parts are trained one after the other, not as a whole."""

_TESTED = frozenset(NETWORKS)
"""The library's own: their margins are tested."""

Part = str | nn.Module
Widths = Sequence[int] | Sequence[Sequence[int]] | None


def build(
    network: str | Sequence[Part],
    shape: tuple[int, ...],
    n_components: int,
    hidden: Widths = None,
    bounded: bool = True,
) -> Network:
    """Make a network for samples of `shape`.

    Parameters
    ----------
    network : str or (encoder, decoder)
        A name in `NETWORKS`; or a pair, each part a name (the encoder of one network, the decoder of another) or your own
        module, which is copied: float32 (n, *shape) -> (n, n_components), and back.
    shape : (c, h, w) or (features,)
        h and w are 0 for images of any size.
    n_components : int
        Number of latent dimensions.
    hidden : sequence of int, or a pair of such, optional
        The widths between input and code, in the encoder's order; a pair sets the decoder's separately. None uses the
        network's `default_hidden`.
    bounded : bool
        Whether samples lie in 0..1.

    Raises
    ------
    ParameterError
        For an unknown name, or widths below 1.
    ModelError
        If the network does not accept such samples, or encoder and decoder do not match; if a registered network that takes any
        size gives another result in windows than for the whole image, or another size for odd ones.
    """
    encoder, decoder = (network, network) if isinstance(network, str) else _pair_of(network)
    is_any_size = len(shape) == 3 and not shape[1]
    if is_any_size and not (isinstance(network, str) and _kind(network).takes_any_size):
        able = " or ".join(f'"{name}"' for name, kind in NETWORKS.items() if kind.takes_any_size)
        raise ModelError(f"network={network!r} takes images of one size; for any size use network={able}.")
    encoder_hidden, decoder_hidden = _hidden_pair(hidden)

    def whole(name: str, widths: tuple[int, ...] | None) -> Network:
        kind = _kind(name)
        try:
            made = kind(shape, n_components, kind.default_hidden if widths is None else widths, bounded)
        except (RuntimeError, TypeError, MemoryError, OverflowError) as error:  # from torch, for sizes beyond memory or int64
            reason = str(error).split("\n")[0]
            raise ModelError(f"network={name!r} with n_components={n_components} cannot be made: {reason}") from error
        made.code = getattr(made, "code", None) or Code(n_components)
        return made

    if isinstance(encoder, str) and encoder == decoder and encoder_hidden == decoder_hidden:
        built = whole(encoder, encoder_hidden)
    else:
        names = [part for part in (encoder, decoder) if isinstance(part, str)]
        for name in names:
            if not _kind(name).is_separable:
                raise ParameterError(f'network="{name}" cannot be paired: its encoder and decoder share more than the code.')
        own = copy.deepcopy((encoder, decoder))  # together, so that shared weights stay shared
        built = Pair(
            whole(encoder, encoder_hidden).encoder if isinstance(encoder, str) else cast(nn.Module, own[0]),
            whole(decoder, decoder_hidden).decoder if isinstance(decoder, str) else cast(nn.Module, own[1]),
            is_local=len(names) == 2 and all(_kind(name).is_local for name in names),
            draws=len(names) < 2,  # a module of the user's may draw
        )
        built.code = Code(n_components)
    if not is_any_size:
        try:
            check_fits(built, shape)
        except ModelError:
            if all(parameter.dtype != torch.float64 for parameter in built.parameters()):
                raise
            check_fits(built.float(), shape)  # modules that were made under another default dtype of torch
        return built
    stride = built.code.stride
    if not built.code.is_map:
        words = "codes that are maps: set self.code = hourglass.networks.Code(n_components, stride) in __init__"
        raise ModelError(f"network={network!r} has takes_any_size = True, which needs {words}.")
    check_fits(built, (shape[0], 2 * stride + 1, 3 * stride))
    if network not in _TESTED:
        check_any_size(built, shape[0])
    return built


def _kind(name: str) -> type[Network]:
    kind = NETWORKS.get(name) or COMPOSED.get(name)
    if kind is None:
        raise ParameterError(f"network={name!r}; allowed: {', '.join(NETWORKS)}, or (encoder, decoder).")
    return kind


def _pair_of(network: object) -> tuple[Part, Part]:
    if isinstance(network, Sequence) and len(network) == 2 and all(isinstance(part, (str, nn.Module)) for part in network):
        return network[0], network[1]
    raise ParameterError(
        f"network={network!r}; allowed: {', '.join(NETWORKS)}, or (encoder, decoder), each a name or a torch module."
    )


def _hidden_pair(hidden: object) -> tuple[tuple[int, ...] | None, tuple[int, ...] | None]:
    def widths(values: object) -> tuple[int, ...]:
        if isinstance(values, Sequence) and all(isinstance(width, Integral) and int(width) > 0 for width in values):
            return tuple(int(width) for width in values)
        raise ParameterError(f"hidden={hidden!r}; allowed: positive integers like (128, 64), or a pair of such.")

    if hidden is None:
        return None, None
    if isinstance(hidden, Sequence) and len(hidden) == 2 and all(isinstance(part, Sequence) for part in hidden):
        return widths(hidden[0]), widths(hidden[1])
    both = widths(hidden)
    return both, both


@torch.no_grad()
def center(network: Network, inputs: Tensor, targets: Tensor) -> None:
    """Shift two biases so that a new network starts at the data's mean (LeCun et al. 1998, "Efficient BackProp", 4.3).

    A fully connected first layer then has pre-activations of mean zero. The last layer, fully connected or convolutional,
    starts by returning the mean target. Training need not spend its first steps on either.

    Parameters
    ----------
    inputs, targets : Tensor of shape (n, *shape), float32
        A training batch.
    """
    first = next(iter(_layers(network.encoder)), None)
    if isinstance(first, nn.Linear) and first.bias is not None:
        first.bias.sub_(first.weight @ inputs.flatten(1).mean(0))
    last = next(iter(_layers(network.decoder)[::-1]), None)
    if last is not None and last.bias is not None and not network.adds_input:
        mean = targets.mean(0).flatten() if isinstance(last, nn.Linear) else targets.mean().expand(last.bias.shape)
        is_bounded = any(isinstance(module, nn.Sigmoid) for module in network.decoder.modules())
        last.bias.copy_(torch.logit(mean, eps=0.005) if is_bounded else mean)
        if isinstance(level := getattr(network.encoder, "level", None), Tensor):  # subtracted from the images
            level.copy_(targets.mean())


def _layers(part: nn.Module) -> list[nn.Linear | nn.Conv2d]:
    """The layers with weights, in order of definition."""
    return [module for module in part.modules() if isinstance(module, (nn.Linear, nn.Conv2d))]


def has_convolution(network: nn.Module) -> bool:
    return any(isinstance(module, nn.Conv2d) for module in network.modules())


def to_device(network: Network, device: torch.device) -> Network:
    """Move the network to `device`, convolutions in channels-last format, which is faster on CPUs and GPUs."""
    memory_format = torch.channels_last if has_convolution(network) else torch.contiguous_format
    moved: Network = network.to(device, memory_format=memory_format)  # type: ignore[call-overload]  # missing from torch's stubs
    return moved


def describe(network: Network, shape: tuple[int, ...]) -> list[dict[str, Any]]:
    """The layers of encoder and decoder, in the order in which they run on a sample of `shape`.

    Returns
    -------
    list of dict
        part ("encoder", "decoder", or "head", which makes a vector of maps), layer (its class and size), output (shape of one
        sample after it), weights (a count). A layer `Beside` others comes after them, with the output of both.
    """
    rows: list[dict[str, Any]] = []

    def record(part: str, layer: nn.Module) -> Callable[[nn.Module, Any, Any], None]:
        weights = sum(parameter.numel() for parameter in layer.parameters())

        def hook(_: nn.Module, __: Any, output: Any) -> None:
            rows.append({"part": part, "layer": str(layer), "output": list(output.shape[1:]), "weights": weights})

        return hook

    hooks = []
    for name, half in network.named_children():
        part = name if name in ("encoder", "decoder") else "head"
        beside = [module for module in half.modules() if isinstance(module, Beside)]
        inner = {module.linear for module in beside}
        leaves = [module for module in half.modules() if next(module.children(), None) is None and module not in inner]
        hooks += [module.register_forward_hook(record(part, module)) for module in leaves]
        hooks += [module.register_forward_hook(record(part, module.linear)) for module in beside]
    was_training = network.training
    network.eval()  # torch refuses batch normalisation of one sample in training
    with torch.inference_mode():
        codes = network.encoder(next(network.parameters()).new_zeros(1, *shape))
        network.vectors(codes)
        network.decoder(codes)
    network.train(was_training)
    for hook in hooks:
        hook.remove()
    return rows
