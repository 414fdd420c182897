"""The compressor: lossy image compression by quantised, entropy-coded codes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Unpack

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from hourglass.codec import Container, MapTables, Tables, count, dequantise, pack, quantise, unpack
from hourglass.data import Stream
from hourglass.errors import DataError, FormatError, ParameterError
from hourglass.estimators.checks import Pairs
from hourglass.estimators.documentation import documented
from hourglass.estimators.downstream import Downstream
from hourglass.estimators.image_coder import ImageCoder, checked
from hourglass.estimators.presets import PRESETS
from hourglass.estimators.refinement import refine
from hourglass.estimators.settings import Circumstances, network_kind, settle
from hourglass.estimators.tiles import join_tiles, split_tiles
from hourglass.images import Array, Float32, Sample, as_array, check_images, to_float, to_uint8
from hourglass.objectives import Rate
from hourglass.options import Option, TrainingOptions, number, whole

_N_STEP_SAMPLES = 2000  # to choose quantisation steps from
_RATE = 0.072  # strength of `Rate` at quality 50
_TABLE_RATE = 0.0014  # for tables: an error of about 1/40 of a column's variance
_N_COUNTED = 10_000  # training images to count the frequencies of integers in
_N_CROPS = 500  # of a stream, to count them in with network="codec"
_HALVING = 12.5  # difference in quality that halves the strength


@documented
class Compressor(Downstream):
    """Compresses images: codes trained for rate and distortion, rounded to integers, entropy-coded (Ballé et al. 2017).

    `compress` returns .hgc files: see docs/hgc.md. Decoding needs this model. Decoded integers are exact on any machine;
    images differ by rounding of float arithmetic only.

    For photographs, `preset="photo"`: images of any size, a file each, and the quality is chosen in compressing.

    All other networks code samples of one size, all in one file, at the quality of training. After rounding, each integer is
    changed by one where that lowers the weighted sum of error and length. For a network not trained for quantisation
    (`from_autoencoder`, or `network="mlp"`), each latent dimension has a quantisation step, chosen by its influence on the
    images.

    Parameters
    ----------
    quality : float in [0, 100]
        Trade-off between rate and distortion: 12.5 more halves the weight of the rate. 50 suits MNIST. With
        network="codec" the default of `compress`, and no matter in training.
    sweeps : int
        Passes of the search over all integers; 0 only rounds: faster, with more bytes and a larger error. Not for
        network="codec".

    {shared}
    steps_ : ndarray (n_components,), float32
        Width of the quantisation step of each latent dimension.
    tables_ : Tables, or MapTables
        Frequencies of integers in the training images.
    price_ : float
        Price of a nat, in mean squared error.
    coder_ : ImageCoder
        With network="codec", in place of steps and price.

    Examples
    --------
    >>> import hourglass as hg
    >>> digits = hg.load("digits")
    >>> compressor = hg.Compressor(8, epochs=2, random_state=0).fit(digits.train.images)
    >>> blob = compressor.compress(digits.test.images)
    >>> compressor.decompress(blob).shape, len(blob) < digits.test.images.size
    ((360, 8, 8), True)
    """

    saved_as = "compressor"
    steps_: Float32
    tables_: Tables | MapTables
    price_: float
    coder_: ImageCoder
    _decodes_codes = True
    _scales_columns = True
    _learned = ("tables_",)
    _photo_network = "codec"
    _photo_preset = "photo-codec"
    _own_options: ClassVar = {"quality": Option(number(0, 100), default=50.0), "sweeps": Option(whole(0, 1000), default=2)}

    def __init__(
        self,
        n_components: int | None = None,
        *,
        quality: float = 50.0,
        sweeps: int = 2,
        preset: str = "compress",
        **options: Unpack[TrainingOptions],
    ) -> None:
        super().__init__(n_components, preset=preset, **options)
        self.quality = quality
        self.sweeps = sweeps

    def compress(
        self, X: Any, names: Sequence[str] | None = None, *, quality: float | None = None, white: float | None = None
    ) -> Any:
        """Compress images into one .hgc file, or with network="codec" into one for each.

        Parameters
        ----------
        X : array-like (n, *shape), or sequence of images (h, w) or (h, w, c) of any height and width
            Images of other sizes are split into tiles of the fitted size, except with network="codec", which takes any size,
            and also a single image.
        names : sequence of str, optional
            One for each image, to store in the file; not with network="codec".
        quality : float in [0, 100], optional
            With network="codec" only, rounded to an integer; by default that of the constructor.
        white : float, optional
            With network="codec" only: white level of integers deeper than 8 bits, which the file keeps. By default the model's,
            or that of as many bits as the image needs.

        Returns
        -------
        bytes; with network="codec" bytes for an image, a list of bytes for several

        Raises
        ------
        NotFittedError, ParameterError
        DataError
            For other channels than the fitted ones. network="codec" codes a grey image in equal channels, and if it is grey
            itself, makes images grey; either with a HourglassWarning.
        """
        check_is_fitted(self)
        if self.sample_.is_image:
            is_list = isinstance(X, (list, tuple))
            X = [as_array(image, name="an image of X") for image in X] if is_list else as_array(X, name="X")
        if len(X) == 0:
            raise DataError("there is no image to compress.")
        if self._codes_maps:
            return self._compress_each(X, names, quality, white)
        if quality is not None or white is not None:
            raise ParameterError(
                'quality= and white= of compress are for network="codec"; this model was trained for one quality.'
            )
        samples, sizes = self._samples_of(X)
        n_images = len(samples) if sizes is None else len(sizes)
        if names is not None and len(names) != n_images:
            raise DataError(f"{len(names)} names for {n_images} images; one each is needed.")
        assert isinstance(self.tables_, Tables)
        symbols = self._symbols(samples)
        return pack(Container(self.checksum, self.sample_.size, symbols, sizes, names), self.tables_)

    def _samples_of(self, X: Any) -> tuple[Array, list[tuple[int, int]] | None]:
        """(samples, the sizes of images that are split into tiles or None)"""
        shape = self.sample_.size
        if not self.sample_.is_image or all(image.shape == shape for image in X):
            return self._check(X), None
        images = [check_images(image[None], name="an image of X", white=self.sample_.white)[0] for image in X]
        if len({image.dtype for image in images}) > 1:
            images = [to_float(image) for image in images]
        sizes = [(image.shape[0], image.shape[1]) for image in images]
        return np.concatenate([split_tiles(image, shape) for image in images]), sizes

    def _compress_each(
        self, X: Any, names: Sequence[str] | None, quality: float | None, white: float | None
    ) -> bytes | list[bytes]:
        if names is not None:
            raise ParameterError('with network="codec" each image has a file of its own, without a name in it; omit names.')
        level = self.quality if quality is None else quality
        self._own_options["quality"].check("quality", level, type(self).__name__)
        channels = self.sample_.channels
        is_one = not isinstance(X, list) and (X.ndim == 2 or (X.ndim == 3 and X.shape[2] in (3, channels)))
        images = checked([X] if is_one else list(X), channels)
        blobs = [self._coder.compress(image, round(level), white) for image in images]
        return blobs[0] if is_one else blobs

    def decompress(self, blob: bytes) -> Array | list[Array]:
        """Decode the images of a .hgc file of this model.

        Returns
        -------
        ndarray (n, *shape), uint8; features in their own units, float32; images with a white level float32 in 0..1
            A list of such images if the file has their sizes. With network="codec" one image (h, w) or (h, w, c): uint8, or
            float32 in 0..1 if it was deeper than 8 bits.

        Raises
        ------
        NotFittedError
        FormatError
            If the file is truncated, altered, of another format or from another model.
        """
        if self._codes_maps:
            return self.decompress_deep(blob)[0]
        return self.decompress_named(blob)[0]

    def decompress_deep(self, blob: bytes) -> tuple[Array, int]:
        """With network="codec": the image of `decompress`, and its white level: 255, or 0 for floats in 0..1."""
        check_is_fitted(self)
        return self._coder.decompress(blob)

    def decompress_named(self, blob: bytes) -> tuple[Array | list[Array], list[str] | None]:
        """The images of `decompress`, and the names of the images or None."""
        check_is_fitted(self)
        if self._codes_maps:
            return [self.decompress_deep(blob)[0]], None
        assert isinstance(self.tables_, Tables)
        container = unpack(blob, self.checksum, self.tables_)
        shape = self.sample_.size
        if container.shape != shape or container.symbols.shape[1] != len(self.steps_):
            raise FormatError(f"it holds samples of shape {container.shape}; this model's are {shape}.")
        decoded = self._model.decode(dequantise(container.symbols, self.steps_))
        names = None if container.names is None else list(container.names)
        if not self.sample_.is_image:
            return decoded, names
        pixels = to_uint8(decoded) if self.sample_.white is None else decoded
        return pixels if container.sizes is None else join_tiles(pixels, container.sizes), names

    @property
    def checksum(self) -> bytes:
        """Identifies this model in a .hgc file: 8 bytes of the SHA-256 of its weights, steps or contexts, and tables."""
        check_is_fitted(self)
        if self._codes_maps:
            return self.coder_.checksum
        assert isinstance(self.tables_, Tables)
        digest = hashlib.sha256(self.steps_.tobytes() + self.tables_.to_bytes())
        for name, tensor in sorted(self.network_.state_dict().items()):
            digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.digest()[:8]

    @property
    def _coder(self) -> ImageCoder:
        self.coder_.model.n_threads = self._model.n_threads
        return self.coder_

    @property
    def _codes_maps(self) -> bool:
        """Whether codes are maps: each image has a file of its own."""
        return self.network_.code.is_map

    def _pairs(self, X: Any, y: Any, sample: Sample | None) -> Pairs:
        pairs = super()._pairs(X, y, sample)
        if isinstance(pairs.targets, list) and not _makes_maps(self._arguments(pairs.targets)):
            raise ParameterError(
                'X has images of several sizes; this network takes one. Use preset="photo", or resize or tile them.'
            )
        return pairs

    def _settle(self, given: Circumstances) -> dict[str, Any]:
        is_codec = _makes_maps(given.arguments)
        settings = settle(given, decodes_codes=not is_codec, owner=type(self).__name__)
        if is_codec and given.arguments["penalty"] is None:  # one network serves all qualities, on images of any spread
            settings["penalty"] = PRESETS["photo-codec"]["penalty"]
            return settings
        if settings["network"] == "quantised" and settings["loss"] != "mse":
            raise ParameterError(f'loss="{settings["loss"]}": a Compressor trades bytes for mse; leave the loss out.')
        kind = network_kind(settings["network"])
        if self.get_params(deep=False)["penalty"] is None and kind is not None and kind.has_rate:
            settings["penalty"] = Rate((_RATE * given.spread if given.sample.is_image else _TABLE_RATE) * self._coarseness())
        return settings

    def _strength(self) -> float:
        """Strength of `Rate` in training."""
        given = self.settings_["penalty"]
        rates = [part.strength for part in (given if isinstance(given, tuple) else (given,)) if isinstance(part, Rate)]
        return sum(rates) or (_RATE if self.sample_.is_image else _TABLE_RATE) * self._coarseness()

    def _coarseness(self) -> float:
        return float(2 ** ((50 - self.quality) / _HALVING))

    def _learn_streamed(self, source: Stream) -> None:
        if not self._codes_maps:
            super()._learn_streamed(source)
            return
        self._learn(source.take(source.draw(min(_N_CROPS, len(source)), self._seeds()[-1])).images, None)

    def _learn(self, samples: Any, y: Any) -> None:
        if self._codes_maps:
            self.coder_ = ImageCoder.learn(self._model, samples)
            self.tables_ = self.coder_.tables
            return
        drawn = np.random.default_rng(self._seeds()[-1]).permutation(len(samples))
        if self.settings_["network"] == "quantised":
            self.steps_ = np.ones(self.settings_["n_components"], dtype=np.float32)
            self.price_ = self._strength() / samples[0].size
        else:
            self.steps_, self.price_ = self._chosen_steps(samples[drawn[:_N_STEP_SAMPLES]])
        self.tables_ = count(self._symbols(samples[drawn[:_N_COUNTED]]))

    def _symbols(self, samples: Array) -> NDArray[np.int32]:
        """The quantised codes of `samples`."""
        model = self._model

        def targets(rows: slice) -> Float32:
            return model.sample.to_network(samples[rows]).reshape(len(samples[rows]), -1)

        def decode(symbols: NDArray[np.int32]) -> Float32:
            return model.decode_raw(dequantise(symbols, self.steps_)).reshape(len(symbols), -1)

        rounded = quantise(model.encode(samples, check_input=False), self.steps_)
        return refine(rounded, targets, decode, self.price_, self.sweeps)

    def _chosen_steps(self, samples: Array) -> tuple[Float32, float]:
        """(steps, price of a nat): rounding errors weigh the same in every latent dimension, and raise the error by a fifth.

        That is at quality 50. A step of width s in dimension d adds about g s² / 12, where g is the mean squared change of the
        images by a unit of d. The price is in network units: steps smaller by a share e cost e nats and save 2 e of the error.
        """
        model = self._model
        codes = model.encode(samples, check_input=False)
        spread = np.maximum(codes.std(0), 1e-6)

        plain = model.decode_raw_batchwise(codes)
        influence = np.empty_like(spread)
        for component, width in enumerate(spread):
            moved = codes.copy()
            moved[:, component] += 0.1 * width
            influence[component] = np.square(model.decode_raw_batchwise(moved) - plain).mean() / (0.1 * width) ** 2
        wanted = model.sample.to_network(samples).reshape(plain.shape)
        allowed = 0.2 * self._coarseness() * float(np.square(plain - wanted).mean())
        steps = np.sqrt(12 * allowed / len(spread) / np.maximum(influence, influence.max() * 1e-6 + 1e-30))
        return np.clip(steps, 1e-4 * spread, 1e4 * spread).astype(np.float32), 2 * allowed / len(spread)

    def _use(self, blank: Float32) -> None:
        if self._codes_maps:
            self.decompress(self.compress(blank[0]))
            return
        assert isinstance(self.tables_, Tables)
        if self.steps_.shape != (self.settings_["n_components"],) or not (self.steps_ > 0).all() or not self.price_ >= 0:
            raise ValueError(f"steps {self.steps_}, price {self.price_}")
        self.tables_.check(len(self.steps_))
        self.decompress(self.compress(blank))

    def _state(self) -> dict[str, Any]:
        if self._codes_maps:
            return self.coder_.to_arrays()
        assert isinstance(self.tables_, Tables)
        return {
            "steps": self.steps_,
            "price": self.price_,
            "table_sizes": np.array([len(values) for values in self.tables_.values]),
            "table_values": np.concatenate(self.tables_.values),
            "table_counts": np.concatenate(self.tables_.counts),
        }

    def _restore(self, state: dict[str, Any]) -> None:
        if self._codes_maps:
            self.coder_ = ImageCoder.of_arrays(self.model_, state)
            self.tables_ = self.coder_.tables
            return
        ends = np.cumsum(state["table_sizes"])[:-1]
        self.steps_, self.price_ = state["steps"], state["price"]
        self.tables_ = Tables(np.split(state["table_values"], ends), np.split(state["table_counts"], ends))


def _makes_maps(arguments: Mapping[str, Any]) -> bool:
    """Whether the network of these arguments has maps of integers as codes."""
    kind = network_kind(arguments["network"] or PRESETS[arguments["preset"]]["network"])
    return kind is not None and kind.takes_any_size and kind.has_rate
