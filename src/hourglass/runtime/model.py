"""An exported model, run by ONNX Runtime: the estimators' methods, without torch and scikit-learn."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hourglass.data.untrusted import untrusted
from hourglass.errors import DataError, FormatError, ModelError, ParameterError
from hourglass.images import Array, Float32, Sample, as_array, to_float, to_uint8
from hourglass.runtime.anysize import restore_image
from hourglass.runtime.facts import KEY, Facts
from hourglass.runtime.inputs import check_codes, checked_input
from hourglass.runtime.regions import Region, regions_of
from hourglass.runtime.windows import windows_of

_BATCH, _VALUES = 1024, 1 << 20  # samples, and values of them, in a run
_WINDOW = 1024  # pixels


def load_onnx(path: str | Path, *, n_threads: int | None = None) -> Exported:
    """Load a file that `export_onnx`, or `hourglass export`, wrote.

    Needs onnxruntime (the extra `onnx`, or the distribution hourglass-runtime), and neither torch nor scikit-learn.

    Parameters
    ----------
    path : path
        The .onnx file.
    n_threads : int, optional
        Threads for an operation; by default as many as there are cores.

    Raises
    ------
    FormatError
        If it is damaged, or not such a file.
    ParameterError
        If onnxruntime is not installed, or `n_threads` is below 1.
    """
    return Exported(Path(os.path.expanduser(path)), n_threads)


class Exported:
    """A model, or its encoder or decoder, that was exported to ONNX.

    What the file does not hold raises ModelError: a denoiser has no `score_samples`.

    Attributes
    ----------
    facts : Facts
        What the file says of itself.
    outputs : tuple of str
        Names of what `run` returns.
    """

    def __init__(self, path: Path, n_threads: int | None = None) -> None:
        if n_threads is not None and not (isinstance(n_threads, int) and n_threads >= 1):
            raise ParameterError(f"n_threads={n_threads!r}; allowed: 1 or more, or None.")
        self.path = path
        self._session = _session(path, n_threads)
        metadata = self._session.get_modelmeta().custom_metadata_map
        if KEY not in metadata:
            raise FormatError(f"{path}: an ONNX file that hourglass did not write; hourglass export makes one of a model.")
        self.facts = Facts.of_json(metadata[KEY], str(path))
        self.outputs = tuple(output.name for output in self._session.get_outputs())
        self._input = self._session.get_inputs()[0].name

    def __repr__(self) -> str:
        facts = self.facts
        return f"<Exported {facts.task}, {facts.part}: {facts.input} of {facts.sample} -> {', '.join(self.outputs)}>"

    @property
    def task(self) -> str:
        """The name of the estimator: "denoiser", "detector", …"""
        return self.facts.task

    @property
    def sample_(self) -> Sample:
        """Shape and white level of what goes in; of a decoder, of what comes out."""
        return self.facts.sample

    @property
    def factor(self) -> int:
        """How much an enhancer enlarges; 1 for others."""
        return int(self.facts.use.get("factor", 1))

    @property
    def map_level_(self) -> float:
        """Of a detector, as of `AnomalyDetector`; NaN for others, and if it had none when it was exported."""
        level = self.facts.use.get("map_level")
        return math.nan if level is None else float(level)

    # --- what estimators offer ------------------------------------------------------------------------------------------

    def transform(self, X: Any) -> Any:
        """Codes of an encoder, and samples of any other: what the estimator's `transform` returns.

        Raises
        ------
        DataError, ModelError
        """
        return self.encode(X) if "codes" in self.outputs else self.reconstruct(X)

    def reconstruct(self, X: Any) -> Any:
        """Reconstructed, denoised or enlarged samples: float32 (n, *shape), images in 0..1; a list for images of several sizes.

        Raises
        ------
        DataError
            For other shapes, dtypes or values than the file takes.
        ModelError
        """
        self._check("reconstructions", "codes" if self.facts.takes_codes else "samples", takes_codes=False)
        samples = self._checked(X)
        if isinstance(samples, list):
            return [self._reconstructed(image[None])[0] for image in samples]
        return self._reconstructed(samples)

    def encode(self, X: Any) -> Float32:
        """Codes (n, n_components), float32; of maps their mean, or what the network makes of it.

        Raises
        ------
        DataError, ModelError
        """
        codes: Float32 = self._of("codes", X)
        return codes

    def inverse_transform(self, X: Any) -> Float32:
        """Decode codes (n, n_components), or maps (n, n_components, h, w): float32 (n, *shape), images in 0..1.

        Raises
        ------
        DataError, ModelError
        """
        self._check("reconstructions", "codes", takes_codes=True)
        codes = check_codes(X, self.facts.code_width, is_map=self.facts.code_stride > 0)
        decoded: Float32 = self._batchwise(codes, "reconstructions")
        return decoded

    def score_samples(self, X: Any) -> Any:
        """How normal each sample is, as of `AnomalyDetector`: float64 (n,), lower for anomalies.

        Raises
        ------
        DataError, ModelError
        """
        return self._of("scores", X)

    def decision_function(self, X: Any) -> Any:
        """`score_samples` less the threshold: negative for anomalies. float64 (n,).

        Raises
        ------
        DataError, ModelError
        """
        return self.score_samples(X) - self.facts.use["offset"]

    def predict(self, X: Any) -> Any:
        """-1 for anomalies, 1 for normal samples: int64 (n,).

        Raises
        ------
        DataError, ModelError
        """
        return np.where(self._of("is_anomaly", X), -1, 1)

    def error_maps(self, X: Any) -> Any:
        """Maps of the smoothed squared reconstruction error, float32 (n, h, w); a list for images of several sizes.

        Raises
        ------
        DataError, ModelError
        """
        return self._of("error_maps", X)

    def regions(self, X: Any) -> list[list[Region]]:
        """Regions of each image in which `error_maps` exceeds the detector's `map_level_`, that of the largest error first.

        Raises
        ------
        DataError
        ModelError
            Also if the detector was saved by a version that had no such level.
        """
        level, maps = self.map_level_, self.error_maps(X)
        if math.isnan(level):
            raise ModelError(f"{self.path}: the detector had no map_level_ when it was exported; set it and export again.")
        return [regions_of(errors, level) for errors in maps]

    def transform_image(self, image: Array) -> Float32:
        """Denoise, enlarge or reconstruct one image of any height and width, grey or coloured, as of `Denoiser` and `Enhancer`.

        Raises
        ------
        DataError, ModelError
        """
        facts = self.facts
        restore = functools.partial(restore_image, is_local=facts.is_local, scale=self.factor, bounded=facts.is_bounded)
        given = as_array(image, name="image")
        if facts.input == "uint8" and given.dtype == np.uint8:  # tiles and resized images come as floats
            return restore(given, facts.sample, lambda values: self.reconstruct(to_uint8(values)))
        return restore(given, facts.sample, self.reconstruct)

    # --- running --------------------------------------------------------------------------------------------------------

    def run(self, values: Array, outputs: Sequence[str] | None = None) -> dict[str, Array]:
        """Run the graph as it is, on input of its own dtype and shape.

        Parameters
        ----------
        values : ndarray
            Samples or codes.
        outputs : sequence of str, optional
            Names of those to compute; by default all of `outputs`.

        Raises
        ------
        DataError
            If the graph does not take them.
        """
        import onnxruntime

        options = onnxruntime.RunOptions()
        options.only_execute_path_to_fetches = True
        names = list(self.outputs if outputs is None else outputs)
        try:
            found = self._session.run(names, {self._input: values}, options)
        except Exception as error:  # onnxruntime's errors have no base of their own
            raise DataError(f"{self.path} cannot run on {values.dtype} {values.shape}: {str(error).splitlines()[0]}") from error
        return dict(zip(names, found, strict=True))

    def _of(self, output: str, X: Any) -> Any:
        """One output for checked samples."""
        self._check(output, "samples", takes_codes=False)
        samples = self._checked(X)
        if not isinstance(samples, list):
            return self._batchwise(samples, output)
        each = [self._batchwise(image[None], output)[0] for image in samples]
        return each if output == "error_maps" else np.stack(each)

    def _check(self, output: str, given: str, *, takes_codes: bool) -> None:
        if output not in self.outputs or takes_codes != self.facts.takes_codes:
            raise ModelError(f"{self!r} gives no {output} of {given}; export that part of the model: hourglass export --part.")

    def _checked(self, X: Any) -> Any:
        """Samples of the graph's dtype, an array or a list of images of several sizes. Raises DataError."""
        facts = self.facts
        if not facts.sample.is_image:
            return np.ascontiguousarray(checked_input(X, facts.sample), dtype=facts.input)
        if facts.input == "uint16":
            given = as_array(X, name="samples")
            checked_input(given, facts.sample)
            if given.dtype.kind not in "iu" or given.dtype == np.uint8:
                raise DataError(f"samples are {given.dtype}; this file was exported for integers up to {facts.sample.white:g}.")
            return np.ascontiguousarray(np.minimum(given, np.iinfo(np.uint16).max), dtype=np.uint16)
        checked = checked_input(X, facts.sample, bounded=facts.is_bounded)
        every = checked if isinstance(checked, list) else [checked]
        if facts.input == "uint8" and any(images.dtype != np.uint8 for images in every):
            raise DataError("samples are not uint8, and this file was exported for these; export it with --dtype float32.")
        made = [np.ascontiguousarray(images if facts.input == "uint8" else to_float(images)) for images in every]
        return made if isinstance(checked, list) else made[0]

    def _reconstructed(self, samples: Array) -> Float32:
        facts = self.facts
        is_large = facts.sample.is_any_size and max(samples.shape[1:3]) > _WINDOW and facts.margin > 0
        if not is_large:
            whole: Float32 = self._batchwise(samples, "reconstructions")
            return whole
        outputs = np.empty(samples.shape, np.float32)
        for image, output in zip(samples, outputs, strict=True):
            for part in windows_of(image.shape[:2], _WINDOW // facts.code_stride * facts.code_stride, facts.margin):
                top, bottom, left, right = part.read
                values = self._batchwise(np.ascontiguousarray(image[None, top:bottom, left:right]), "reconstructions")
                output[part.place()] = values[0][part.inner()]
        return outputs

    def _batchwise(self, values: Array, output: str) -> Any:
        count = min(_BATCH, max(1, _VALUES // math.prod(values.shape[1:])))
        parts = [self.run(values[start : start + count], [output])[output] for start in range(0, len(values), count)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _session(path: Path, n_threads: int | None) -> Any:
    """A session of ONNX Runtime over one file. Raises FormatError, ParameterError."""
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise ParameterError(f'{path}: needs {error.name}: pip install "hourglass-autoencoders[onnx]".') from error
    if not path.is_file():
        raise FormatError(f"{path}: no such file.")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    if n_threads is not None:
        options.intra_op_num_threads = n_threads
    content = path.read_bytes()  # not by its name: a graph that names other files as its weights is then refused
    make: Callable[..., Any] = onnxruntime.InferenceSession
    try:
        with untrusted(f"{path}: not an ONNX file that can be run"):
            return make(content, options, providers=["CPUExecutionProvider"])
    except FormatError:
        raise
    except Exception as error:  # onnxruntime's errors have no base of their own
        raise FormatError(f"{path}: not an ONNX file that can be run ({' '.join(str(error).split())[:200]}).") from error
