"""What an exported file says of itself: JSON under one key of its metadata."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from hourglass.data.untrusted import untrusted
from hourglass.errors import FormatError
from hourglass.images import Sample

KEY = "hourglass"
FORMAT = 1
INPUTS = ("uint8", "uint16", "float32", "float64")


@dataclass(frozen=True)
class Facts:
    """What a program needs to know of an exported file, beside its inputs and outputs.

    Attributes
    ----------
    task : str
        The estimator's name: "denoiser", "detector", …
    part : {"whole", "encoder", "decoder"}
    sample : Sample
        Shape and white level of what goes in; of a decoder, of what comes out.
    input : str
        Its dtype.
    code_width, code_stride : int
        As of `networks.Code`: a stride of 0 for a vector.
    margin : int
        Pixels that the receptive field reaches, for windows.
    is_local : bool
        Whether larger images may be processed in tiles, if the network takes one size.
    is_bounded : bool
        Whether floats of images must lie in 0..1.
    takes_codes : bool
    hourglass : str
        Version of the library that wrote it.
    model_sha256 : str
        Of the model that it was made of: the last line of its config.json.
    use : dict
        Of a detector offset and map_level, of an enhancer its factor, of a compressor that entropy coding stays outside; of
        int8 weights what they cost.
    """

    task: str
    part: str
    sample: Sample
    input: str
    code_width: int
    code_stride: int
    margin: int
    is_local: bool
    is_bounded: bool
    takes_codes: bool
    hourglass: str
    model_sha256: str
    use: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        return json.dumps({"format": FORMAT, **asdict(self)})

    @classmethod
    def of_json(cls, text: str, name: str) -> Self:
        """The inverse of `to_json`. Raises FormatError for anything else."""
        with untrusted(f"{name}: its metadata do not describe a model that this version knows"):
            given = json.loads(text)
            if given.pop("format") != FORMAT:
                raise FormatError(
                    f"{name}: exported by hourglass {given.get('hourglass')} in another format; upgrade hourglass."
                )
            sample = given.pop("sample")
            sizes = [length for length in sample["shape"] if length is not None]
            numbers = _plain(sample["offset"]) + _plain(sample["scale"]) + [sample["white"] or 1.0]
            if not all(type(size) is int and size > 0 for size in sizes) or not all(map(math.isfinite, numbers)):
                raise ValueError(f"sample {sample}")
            shape = tuple(sample["shape"])
            facts = cls(sample=Sample(shape, _frozen(sample["offset"]), _frozen(sample["scale"]), sample["white"]), **given)
            if facts.input not in INPUTS or min(facts.code_width, facts.code_stride + 1, facts.margin + 1) < 1:
                raise ValueError(f"input {facts.input}, code {facts.code_width}, {facts.code_stride}, margin {facts.margin}")
            return facts


def _plain(numbers: Any) -> list[float]:
    return [float(number) for number in (numbers if isinstance(numbers, list) else [numbers])]


def _frozen(numbers: Any) -> Any:
    return tuple(_plain(numbers)) if isinstance(numbers, list) else float(numbers)
