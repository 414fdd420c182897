"""Trained models: encode, decode, reconstruct, save and load."""

from __future__ import annotations

import contextlib
import math
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from numbers import Integral
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hourglass.data.untrusted import untrusted
from hourglass.data.write import output_path
from hourglass.errors import FormatError, ParameterError
from hourglass.images import Array, Float32, Sample
from hourglass.networks import Network, build, has_convolution, is_encoder_then_decoder, run_layers, to_device
from hourglass.objectives import Output
from hourglass.runtime.inputs import check_codes, checked_input
from hourglass.runtime.windows import Window, windows_of
from hourglass.trained.files import (
    Face,
    read_model,
    restore_data,
    restore_history,
    restore_sample,
    restore_settings,
    write_model,
)
from hourglass.training import (
    Threads,
    as_tensor,
    exact_convolutions,
    kept_memory,
    network_input,
    ordinary_torch,
    seeded_globally,
)

_BATCH = 1024  # samples in a forward pass
# Values in a forward pass with convolutions, unless one sample has more: activations fit into a CPU's cache, or a GPU's memory.
_CONVOLUTION_VALUES = {"cpu": 200_000, "cuda": 4_000_000}
_MIN_BATCHES = 20  # batches from which choosing the number of threads pays off
_WINDOW = 1024  # pixels


class HeldOut(NamedTuple):
    """The rows of an array that only validated, and how to recognise the array."""

    rows: NDArray[np.int64]
    fingerprint: int

    @classmethod
    def of(cls, rows: NDArray[np.int64], samples: Array) -> HeldOut:
        return cls(rows, _fingerprint(samples))

    def among(self, samples: Any) -> NDArray[np.int64]:
        """The rows, if `samples` are the array; none otherwise."""
        is_same = isinstance(samples, np.ndarray) and _fingerprint(samples) == self.fingerprint
        return self.rows if is_same else self.rows[:0]


def _fingerprint(samples: Array) -> int:
    """A checksum of the shape, dtype and some thousand rows."""
    some = np.ascontiguousarray(samples[:: max(1, len(samples) // 1000)])
    return zlib.crc32(some.data, zlib.crc32(f"{samples.shape} {samples.dtype}".encode()))


@dataclass
class Trained:
    """A trained network, with all that is needed to apply, save and load it.

    Estimators hold one as `model_`.

    Attributes
    ----------
    network : Network
        In evaluation mode.
    sample : Sample
        Converts samples to network input, and outputs back.
    settings : dict
        The settings of training.
    history : list of dict
        A row for each epoch; see `Run`.
    n_threads : "auto", int or None
        Number of threads, as for estimators.
    held_out : HeldOut, optional
        Which samples only validated; not saved.
    data : dict
        What is known of the training data: samples, held_out (how many), pairs, and of a catalogue's the name.
    """

    network: Network
    sample: Sample
    settings: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    n_threads: int | str | None = None
    held_out: HeldOut | None = None
    data: dict[str, Any] = field(default_factory=dict)

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
        """The model with these `weights`. Raises FormatError if they do not fit the network of `settings`."""
        given, hidden = settings["network"], settings["hidden"]
        if sum(len(part) if isinstance(part, tuple) else 1 for part in hidden or ()) > len(weights):
            raise FormatError("the settings describe more layers than weights were saved.")
        if not any(isinstance(part, nn.Module) for part in given):  # check shapes before allocating memory
            with torch.device("meta"):
                expected = {name: tensor.shape for name, tensor in build_network(settings, sample, 0).state_dict().items()}
            if expected != {name: tensor.shape for name, tensor in weights.items()}:
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
        """Load the trained model that `save`, or an estimator's, wrote.

        Raises
        ------
        FormatError, ParameterError
            As `hourglass.load_model`.
        """
        path = Path(os.path.expanduser(path))
        parts = read_model(path)
        with untrusted(f"{path}: config.json does not describe a model that this version knows"), ordinary_torch():
            settings = restore_settings(parts.fitted)
            if settings["network"] is None:
                raise ParameterError(f"{path}: trained with your own modules; pass them to load_model.")
            sample, history = restore_sample(parts.fitted), restore_history(parts.fitted)
            trained = cls.of_weights(parts.weights, sample, settings, history, as_device(device))
            trained.data = restore_data(parts.fitted)
            return trained

    def save(self, path: str | Path, face: Face | None = None) -> None:
        """Write the model as a folder: model.safetensors, config.json and README.md, its card.

        Parameters
        ----------
        path : path
        face : Face, optional
            The state of an estimator; `load_model` needs it, `load` does not.

        Raises
        ------
        FormatError
            If `path` exists and is not a model.
        ParameterError
            If it begins with ~ and a user that is not known.
        """
        write_model(output_path(path), self.network, self.sample, self.settings, self.history, self.data, face)

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    # --- forward passes -----------------------------------------------------------------------------------------------

    @overload
    def encode(self, samples: Array, *, window: int | None = None, check_input: bool = True) -> Float32: ...

    @overload
    def encode(self, samples: Any, *, window: int | None = None, check_input: bool = True) -> Any: ...

    def encode(self, samples: Any, *, window: int | None = None, check_input: bool = True) -> Any:
        """Codes: float32 (n, n_components), or maps (n, n_components, h', w'); a list of maps for images of several sizes.

        See `reconstruct`.
        """
        samples = self._checked(samples, window) if check_input else samples
        if isinstance(samples, list):
            return [self.encode(image[None], window=window, check_input=False)[0] for image in samples]
        code = self.network.code
        shape = code.shape(self._network_shape(samples))
        if self._is_large(samples, window):
            codes = np.empty((len(samples), *shape), np.float32)
            for image, maps in zip(samples, codes, strict=True):
                for part, values in self._by_windows(self.network.encoder, image, window or _WINDOW):
                    maps[:, *part.place(code.stride)] = values[0][:, *part.inner(code.stride)]
            return codes
        return self._batchwise(lambda batch: self._forward(self.network.encoder, self._network_input(batch)), samples, shape)

    def vectors(self, samples: Any, *, check_input: bool = True) -> Float32:
        """Codes as vectors, float32 (n, n_components), of maps those of their means; see `Network.vectors` and `reconstruct`.

        Maps of a single batch, or window, are in memory.
        """
        samples = self._checked(samples, None) if check_input else samples
        if isinstance(samples, list):
            return np.concatenate([self.vectors(image[None], check_input=False) for image in samples])
        if self._is_large(samples, None):
            return np.concatenate([self._vector_in_windows(image) for image in samples])
        if not self.network.code.is_map:
            codes: Float32 = self.encode(samples, check_input=False)
            return codes

        def step(batch: Array) -> Float32:
            with ordinary_torch(), exact_convolutions(self.device), torch.inference_mode():
                maps = self.network.encoder(self._network_input(batch).to(self.device))
                vectors: Float32 = self.network.vectors(maps).cpu().numpy()
            return vectors

        return self._batchwise(step, samples, None)

    def _vector_in_windows(self, image: Array) -> Float32:
        """The vector of one image, from the sums of its maps over windows: float32 (1, n_components)."""
        code = self.network.code
        total, count = np.zeros(code.width), 0
        for part, values in self._by_windows(self.network.encoder, image, _WINDOW):
            inner = values[0][:, *part.inner(code.stride)]
            total, count = total + inner.sum((1, 2), dtype=np.float64), count + inner[0].size
        means = torch.from_numpy((total / count).astype(np.float32))[None].to(self.device)
        with ordinary_torch(), torch.inference_mode():
            vector: Float32 = self.network.head(means).cpu().numpy()
        return vector

    @overload
    def decode(self, codes: Array) -> Float32: ...

    @overload
    def decode(self, codes: Any) -> Any: ...

    def decode(self, codes: Any) -> Any:
        """Decode codes to samples: float32 (n, *shape), images in 0..1, tables in their own units.

        Maps (n, n_components, h', w') give images of h' and w' times the code's stride; a list of maps, a list of images.

        Raises
        ------
        DataError
            For other shapes, or values that are not finite.
        """
        if isinstance(codes, list) and self.network.code.is_map and len({np.shape(maps) for maps in codes}) > 1:
            return [self.decode(maps[None])[0] for maps in codes]
        codes = check_codes(codes, self.network.code.width, is_map=self.network.code.is_map)
        return self._batchwise(lambda batch: self.sample.from_network(self.decode_raw(batch)), codes, None)

    @overload
    def reconstruct(self, samples: Array, *, window: int | None = None, check_input: bool = True) -> Float32: ...

    @overload
    def reconstruct(self, samples: Any, *, window: int | None = None, check_input: bool = True) -> Any: ...

    def reconstruct(self, samples: Any, *, window: int | None = None, check_input: bool = True) -> Any:
        """Encode and decode: float32, images in 0..1.

        Parameters
        ----------
        samples : array-like (n, *shape), or list of images (h, w) or (h, w, c) of several sizes
            Images are uint8, bool, integers up to the model's white level, or floats: in 0..1, unless it was trained under a
            corruption that leaves 0..1. Images of several sizes need a network that takes any size, and give a list.
        window : int, optional
            Height and width of windows in which to process larger images, if the network takes any size; 1024 by default.
            Bounds memory; the result is equal to rounding.
        check_input : bool
            False for arrays that `sample` fits and that are known to hold such values.

        Raises
        ------
        DataError
            For other shapes, dtypes or values.
        ParameterError
            For a window below 1.
        """
        samples = self._checked(samples, window) if check_input else samples
        if isinstance(samples, list):
            return [self.reconstruct(image[None], window=window, check_input=False)[0] for image in samples]
        if self._is_large(samples, window):
            outputs = np.empty(samples.shape, np.float32)
            for image, output in zip(samples, outputs, strict=True):
                for part, values in self._by_windows(self.network, image, window or _WINDOW):
                    output[part.place()] = self.sample.from_network(values)[0][part.inner()]
            return outputs
        return self._batchwise(
            lambda batch: self.sample.from_network(self._forward(self.network, self._network_input(batch))),
            samples,
            samples.shape[1:],
        )

    def run(self, values: Float32) -> Float32:
        """Run the network on network input (n, c, h, w) or (n, features), float32; returns the same shape."""
        return self._forward(self.network, torch.from_numpy(values))

    def decode_raw(self, codes: Float32) -> Float32:
        """The output of the decoder, in network units: float32 (n, c, h, w) or (n, features)."""
        return self._forward(self.network.decoder, torch.from_numpy(codes))

    def decode_raw_batchwise(self, codes: Float32) -> Float32:
        """`decode_raw` in batches."""
        return self._batchwise(self.decode_raw, codes, None)

    def _checked(self, samples: Any, window: int | None) -> Array | list[Array]:
        if window is not None and not (isinstance(window, Integral) and window >= 1):
            raise ParameterError(f"window={window!r}; allowed: 1 or more pixels.")
        corruption = self.settings.get("corruption")
        return checked_input(samples, self.sample, bounded=corruption is None or corruption.is_bounded)

    def _is_large(self, samples: Array, window: int | None) -> bool:
        return self.sample.is_any_size and max(samples.shape[1:3]) > (window or _WINDOW)

    def _by_windows(self, module: nn.Module, image: Array, window: int) -> Iterator[tuple[Window, Float32]]:
        """Each window of an image, (h, w) or (h, w, c), and the output of `module` for what is read of it."""
        stride = self.network.code.stride
        with kept_memory():
            for part in windows_of(image.shape[:2], max(stride, window // stride * stride), self.network.margin):
                top, bottom, left, right = part.read
                values = self._network_input(np.ascontiguousarray(image[top:bottom, left:right])[None])
                yield part, self._forward(module, values)

    def _network_input(self, batch: Array) -> Tensor:
        return network_input(self.sample, as_tensor(batch))

    def _network_shape(self, samples: Array) -> tuple[int, ...]:
        return (self.sample.channels, *samples.shape[1:3]) if self.sample.is_image else samples.shape[1:]

    def _batchwise(self, step: Callable[[Array], Float32], samples: Array, shape: tuple[int, ...] | None) -> Float32:
        """Apply `step` in batches; concatenate its results, of `shape` or that of the first batch."""
        device, batch = self.device, _BATCH
        memory: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
        if device.type in _CONVOLUTION_VALUES and has_convolution(self.network):
            values = math.prod(samples.shape[1:]) if self.sample.is_any_size else math.prod(self.sample.size)
            batch = min(_BATCH, max(1, _CONVOLUTION_VALUES[device.type] // values))
            if device.type == "cpu" and len(samples) >= batch:  # less work is not worth returning the memory afterwards
                memory = kept_memory()
        starts = range(0, len(samples), batch)
        outputs = None if shape is None else np.empty((len(samples), *shape), np.float32)
        with ordinary_torch(), memory, Threads(device, self.n_threads) as threads:
            for start in threads.over(starts) if len(starts) >= _MIN_BATCHES else starts:
                part = step(samples[start : start + batch])
                if outputs is None:
                    outputs = np.empty((len(samples), *part.shape[1:]), np.float32)
                outputs[start : start + batch] = part
        assert outputs is not None  # there is at least one sample
        return outputs

    def _forward(self, module: nn.Module, batch: Tensor) -> Float32:
        """Run the network, or its encoder or decoder, on one batch of network input."""
        network = self.network
        parts = (network.encoder, network.decoder) if module is network and is_encoder_then_decoder(network) else (module,)
        with ordinary_torch(), exact_convolutions(self.device), torch.inference_mode():
            outputs = run_layers(parts, batch)
            if outputs is None:
                output = module(batch.to(self.device))
                outputs = output.reconstructions if isinstance(output, Output) else output
            elif module is not network.encoder:
                outputs = outputs.view(len(outputs), *self.sample.network_shape)
        values: Float32 = outputs.cpu().numpy()
        return values


def build_network(settings: Mapping[str, Any], sample: Sample, seed: int) -> Network:
    """The network of `settings` for such samples, with initial weights drawn from `seed`.

    Raises
    ------
    ParameterError, ModelError
        ModelError also if samples have any size and the network takes only one.
    """
    shape = (sample.channels, 0, 0) if sample.is_any_size else sample.network_shape
    with seeded_globally(seed):
        return build(settings["network"], shape, settings["n_components"], settings["hidden"], sample.is_bounded)


def as_device(name: str) -> torch.device:
    """The device of this name; "auto" is a CUDA device if there is one. Raises ParameterError."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type == "meta":
            raise RuntimeError("it holds no values")
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # AssertionError: torch built without CUDA
        reason = str(error).split("\n")[0]
        raise ParameterError(f'device="{name}" cannot be used ({reason}); "auto" takes what is available.') from error
    return device
