"""A trained model: what goes through a network, and what comes out."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor, nn

from hourglass.data.untrusted import untrusted
from hourglass.errors import FormatError, ParameterError
from hourglass.images import Array, Float32, Sample
from hourglass.networks import Network, build, has_convolution, is_encoder_then_decoder, run_layers, to_device
from hourglass.objectives import Output
from hourglass.trained.files import Face, read_model, restore_history, restore_sample, restore_settings, write_model
from hourglass.trained.windows import windows_of
from hourglass.training import Threads, as_tensor, network_input, seeded_globally

_BATCH = 1024  # samples a forward pass
_CONVOLVED = 200_000  # their values where it convolves: what it makes of more leaves the cache
_MANY = 20  # batches from which it pays to try how many threads are best
_WINDOW = 1024  # pixels, of images that are larger


@dataclass
class Trained:
    """A network that was trained, with all that it takes to use it, save it and load it again.

    Everything that runs a model takes one of these: estimators hold theirs as `model_`.

    Attributes
    ----------
    network : Network
        In evaluation mode.
    sample : Sample
        How samples go into the network and come out.
    settings : dict
        The values of all training options, as training used them.
    history : list of dict
        A row an epoch; see `Run`.
    n_threads : "auto", int or None
        How many threads compute, as for estimators.
    """

    network: Network
    sample: Sample
    settings: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    n_threads: int | str | None = None

    def __post_init__(self) -> None:
        self.network.eval()

    @classmethod
    def of_weights(
        cls,
        weights: Mapping[str, Tensor],
        sample: Sample,
        settings: dict[str, Any],
        history: list[dict[str, Any]],
        device: torch.device | None = None,
    ) -> Trained:
        """The model with these `weights`. FormatError if the network that `settings` describe has others."""
        given, hidden = settings["network"], settings["hidden"]
        if sum(len(part) if isinstance(part, tuple) else 1 for part in hidden or ()) > len(weights):
            raise FormatError("the settings describe more layers than weights were saved.")
        if not any(isinstance(part, nn.Module) for part in given):  # sizes are checked before memory is taken for them
            with torch.device("meta"):
                wanted = {name: tensor.shape for name, tensor in build_network(settings, sample, 0).state_dict().items()}
            if wanted != {name: tensor.shape for name, tensor in weights.items()}:
                raise FormatError("the saved weights do not fit the network that the settings describe.")
        network = build_network(settings, sample, 0)
        try:
            network.load_state_dict(weights)
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise FormatError(f"the saved weights do not fit the network ({reason[:200]}).") from error
        return cls(to_device(network, device or torch.device("cpu")), sample, settings, history)

    @classmethod
    def load(cls, path: str | Path, device: str = "auto") -> Trained:
        """The trained model in a folder that `save`, or any estimator's, wrote.

        Raises
        ------
        FormatError, ParameterError
            As `hourglass.load_model`.
        """
        path = Path(os.path.expanduser(path))
        parts = read_model(path)
        with untrusted(f"{path}: config.json does not describe a model that this version knows"):
            settings = restore_settings(parts.fitted)
            if settings["network"] is None:
                raise ParameterError(f"{path}: trained with modules of your own; load_model takes them.")
            sample, history = restore_sample(parts.fitted), restore_history(parts.fitted)
            return cls.of_weights(parts.weights, sample, settings, history, as_device(device))

    def save(self, path: str | Path, face: Face | None = None) -> None:
        """Write the model as a folder: model.safetensors, config.json and README.md, its card.

        Parameters
        ----------
        path : path
        face : Face, optional
            What an estimator learned beside it; without, `load` reads the folder and `load_model` does not.

        Raises
        ------
        FormatError
            If `path` exists and is no model.
        """
        write_model(Path(os.path.expanduser(path)), self.network, self.sample, self.settings, self.history, face)

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    # --- what it makes of samples -------------------------------------------------------------------------------------

    def encode(self, samples: Array) -> Float32:
        """Codes of samples (n, *shape): float32 (n, n_components), or maps (n, n_components, h', w')."""
        shape = self.network.code.shape(self._seen_shape(samples))
        return self._batchwise(lambda batch: self._through(self.network.encoder, self._seen(batch)), samples, shape)

    def vectors(self, samples: Array | Sequence[Array]) -> Float32:
        """Codes as vectors, float32 (n, n_components): of maps, their mean over height and width.

        `samples` may be a list of images of several sizes, if the network takes any.
        """
        if isinstance(samples, np.ndarray):
            codes = self.encode(samples)
            return codes if codes.ndim == 2 else codes.mean((2, 3), dtype=np.float32)
        return np.concatenate([self.vectors(image[None]) for image in samples])

    def decode(self, codes: Float32) -> Float32:
        """Samples that codes stand for: float32 (n, *shape), images in 0..1, tables in their own units.

        Of maps (n, n_components, h', w') images of h' and w' times the code's stride.
        """
        return self._batchwise(lambda batch: self.sample.from_network(self.decode_raw(batch)), codes, None)

    @overload
    def reconstruct(self, samples: Array, *, window: int | None = None) -> Float32: ...

    @overload
    def reconstruct(self, samples: list[Array], *, window: int | None = None) -> list[Float32]: ...

    def reconstruct(self, samples: Array | list[Array], *, window: int | None = None) -> Float32 | list[Float32]:
        """Samples through the code and back: float32, images in 0..1.

        Parameters
        ----------
        samples : ndarray (n, *shape), or list of images (h, w) or (h, w, c) of any sizes
            Of a list the answer is a list.
        window : int, optional
            Height and width of the windows in which an image larger than that passes through a network that takes any size:
            by default 1024. The result is that of the whole image but for rounding, and memory stays small.
        """
        if isinstance(samples, list):
            return [self.reconstruct(image[None], window=window)[0] for image in samples]
        if self.sample.is_any_size and max(samples.shape[1:3]) > (window or _WINDOW):
            return np.stack([self._in_windows(image, window or _WINDOW) for image in samples])
        return self._batchwise(
            lambda batch: self.sample.from_network(self._through(self.network, self._seen(batch))), samples, samples.shape[1:]
        )

    def answer(self, values: Float32) -> Float32:
        """What the network makes of `values` as it sees them: float32 of the same shape, (n, c, h, w) or (n, features)."""
        return self._through(self.network, torch.from_numpy(values))

    def decode_raw(self, codes: Float32) -> Float32:
        """What the decoder makes of `codes`, as the network sees samples: float32 (n, c, h, w) or (n, features)."""
        return self._through(self.network.decoder, torch.from_numpy(codes))

    def decode_raw_batchwise(self, codes: Float32) -> Float32:
        """`decode_raw` of any number of codes."""
        return self._batchwise(self.decode_raw, codes, None)

    def _in_windows(self, image: Array, window: int) -> Float32:
        """One image, (h, w) or (h, w, c), window by window."""
        stride = self.network.code.stride
        made = np.empty(image.shape, np.float32)
        for part in windows_of(image.shape[:2], max(stride, window // stride * stride), self.network.margin):
            top, bottom, left, right = part.read
            whole = self.sample.from_network(
                self._through(self.network, self._seen(np.ascontiguousarray(image[top:bottom, left:right])[None]))
            )[0]
            made[part.kept[0] : part.kept[1], part.kept[2] : part.kept[3]] = whole[part.inner]
        return made

    def _seen(self, batch: Array) -> Tensor:
        return network_input(self.sample, as_tensor(batch))

    def _seen_shape(self, samples: Array) -> tuple[int, ...]:
        return (self.sample.channels, *samples.shape[1:3]) if self.sample.is_image else samples.shape[1:]

    def _batchwise(self, step: Callable[[Array], Float32], samples: Array, shape: tuple[int, ...] | None) -> Float32:
        """`step` of all samples, batch by batch, gathered in one array of samples of `shape`, or of the first batch's."""
        device, batch = self.device, _BATCH
        if device.type == "cpu" and has_convolution(self.network):
            values = math.prod(samples.shape[1:]) if self.sample.is_any_size else math.prod(self.sample.size)
            batch = min(_BATCH, max(1, _CONVOLVED // values))
        starts = range(0, len(samples), batch)
        made = None if shape is None else np.empty((len(samples), *shape), np.float32)
        with Threads(device, self.n_threads) as threads:
            for start in threads.over(starts) if len(starts) >= _MANY else starts:
                some = step(samples[start : start + batch])
                if made is None:
                    made = np.empty((len(samples), *some.shape[1:]), np.float32)
                made[start : start + batch] = some
        assert made is not None  # there is at least one sample
        return made

    def _through(self, module: nn.Module, batch: Tensor) -> Float32:
        """One batch, as the network sees it, through the network or a part of it."""
        network = self.network
        parts = (network.encoder, network.decoder) if module is network and is_encoder_then_decoder(network) else (module,)
        with torch.inference_mode():
            made = run_layers(parts, batch)
            if made is None:
                output = module(batch.to(self.device))
                made = output.reconstructions if isinstance(output, Output) else output
            elif module is not network.encoder:
                made = made.view(len(made), *self.sample.network_shape)
        values: Float32 = made.cpu().numpy()
        return values


def build_network(settings: Mapping[str, Any], sample: Sample, seed: int) -> Network:
    """The network that `settings` describe for such samples, its weights drawn from `seed`.

    Raises
    ------
    ParameterError, ModelError
        ModelError also if samples are of any size and the network takes one alone.
    """
    shape = (sample.channels, 0, 0) if sample.is_any_size else sample.network_shape
    with seeded_globally(seed):
        return build(settings["network"], shape, settings["n_components"], settings["hidden"], sample.is_bounded)


def as_device(name: str) -> torch.device:
    """The device of this name; "auto" is a CUDA device if there is one. ParameterError if it cannot be used."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type == "meta":
            raise RuntimeError("it holds no values")
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # AssertionError: torch built without CUDA
        reason = str(error).split("\n")[0]
        raise ParameterError(f'device="{name}" cannot be used ({reason}); "auto" takes what there is.') from error
    return device
