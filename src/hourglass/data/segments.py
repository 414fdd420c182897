"""A table that grows on disk: rows in segments that are never rewritten in place, and a small manifest that is replaced last.

    index.json                 the manifest: which segments, in order, their sizes and SHA-256, and its own
    index-<number>.safetensors a segment: rows that were appended, and the numbers of rows that were removed meanwhile

A row's number is its place in all segments together. Whoever adds writes a new segment beside the old ones and then replaces
the manifest in one step, so that at any moment the folder holds the old table or the new one. Segments that the manifest does
not name are leftovers. A new segment takes up those before it that are no larger: n rows are thus in about log2(n) segments,
and a row is rewritten about as often.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as from_bytes
from safetensors.numpy import save as to_bytes

from hourglass.data.untrusted import untrusted
from hourglass.data.write import in_turn, replace_file
from hourglass.errors import FormatError

MANIFEST = "index.json"
MAX_TEXT = 1000
"""Characters of a value: an array of text takes the width of its longest."""
_CONSTANT, _REMOVED, _TEXT, _ENDS = "constant:", "removed", ".text", ".ends"
_DIGITS = 6


class Table(NamedTuple):
    """What a folder holds.

    Attributes
    ----------
    columns : dict of str to ndarray (n, ...)
        Numbers or text, a row each.
    removed : ndarray (m,), int64
        Numbers of the rows that were removed, in order. Their values are written as zeros and empty text.
    constants : dict of str to ndarray
        Arrays that belong to all rows. If they change, everything is written anew.
    counter : int
        Any number, kept in the manifest.
    """

    columns: dict[str, NDArray[Any]]
    removed: NDArray[np.int64]
    constants: dict[str, NDArray[Any]]
    counter: int = 0

    @property
    def n_rows(self) -> int:
        return len(next(iter(self.columns.values())))


class Segment(NamedTuple):
    """A line of the manifest."""

    number: int
    n_rows: int
    n_removed: int
    n_bytes: int
    sha256: str

    @property
    def name(self) -> str:
        return f"index-{self.number:0{_DIGITS}}.safetensors"


@dataclass
class Log:
    """The segments of one table in one folder, as last read or written.

    Attributes
    ----------
    segments : list of Segment
    owner : str
        SHA-256 of the config.json that the table belongs to.
    sha256 : str
        Of the manifest; "" before anything was read or written.
    common : str
        SHA-256 of what all rows share: constants and names of columns.
    """

    segments: list[Segment] = field(default_factory=list)
    owner: str = ""
    sha256: str = ""
    common: str = ""

    def write(self, folder: Path, table: Table, owner: str) -> None:
        """Write the whole `table` into a new `folder`."""
        segment = _write_segment(folder, table, _Start(0, 0), number=0)
        self._write_manifest(folder, [segment], table, owner)

    def append(self, folder: Path, table: Table) -> bool:
        """Write what is new in `table` into `folder`; False, and nothing written, if it does not hold what this log knows."""
        with in_turn(folder, writes=True):  # no reader misses a segment that is removed
            if not self._is_current(folder):
                return False
            kept = self._kept(table)
            start = _Start(sum(segment.n_rows for segment in kept), sum(segment.n_removed for segment in kept))
            if kept != self.segments or start != (table.n_rows, len(table.removed)):
                number = 1 + max(segment.number for segment in self.segments)
                self._write_manifest(folder, [*kept, _write_segment(folder, table, start, number)], table, self.owner)
            named = {segment.name for segment in self.segments}
            for leftover in folder.glob("index-*.safetensors"):
                if leftover.name not in named:
                    leftover.unlink(missing_ok=True)
        return True

    def read(self, folder: Path, owner: str) -> Table:
        """Read and check the table of `folder`. Raises FormatError if it is missing, damaged, or of another model."""
        manifest = _read_manifest(folder)
        with untrusted(f"{folder / MANIFEST}: does not describe an index"):
            segments, counter = [Segment(*line) for line in manifest["segments"]], manifest["counter"]
            _check_segments(segments, counter)
        if manifest["owner"] != owner:
            raise FormatError(f"{folder / MANIFEST}: belongs to another config.json; copy all files of the model together.")
        parts = [_read_segment(folder, segment) for segment in segments]
        with untrusted(f"{folder}: the segments of the index do not fit together"):
            constants = {
                name.removeprefix(_CONSTANT): part.pop(name)
                for part in parts
                for name in list(part)
                if name.startswith(_CONSTANT)
            }
            removed = np.concatenate([part.pop(_REMOVED) for part in parts])
            table = Table(_joined(parts), removed, constants, counter)
        self.segments, self.owner, self.sha256 = segments, owner, manifest["sha256"]
        self.common = _digest(table)
        return table

    def _is_current(self, folder: Path) -> bool:
        try:
            return self.sha256 != "" and _read_manifest(folder)["sha256"] == self.sha256
        except FormatError:
            return False

    def _kept(self, table: Table) -> list[Segment]:
        """The segments to keep: those before the first that is no larger than what is written after it."""
        kept = list(self.segments)
        n_rows, n_removed = (sum(of_one) for of_one in zip(*((each.n_rows, each.n_removed) for each in kept), strict=True))
        if table.n_rows < n_rows or len(table.removed) < n_removed or _digest(table) != self.common:
            return []
        size = table.n_rows - n_rows + len(table.removed) - n_removed
        while size and kept and kept[-1].n_rows + kept[-1].n_removed <= size:
            last = kept.pop()
            size += last.n_rows + last.n_removed
        return kept

    def _write_manifest(self, folder: Path, segments: list[Segment], table: Table, owner: str) -> None:
        content = {"owner": owner, "counter": table.counter, "segments": [list(segment) for segment in segments]}
        digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()
        with replace_file(folder / MANIFEST) as temporary:
            temporary.write_text(json.dumps({**content, "sha256": digest}) + "\n", encoding="utf-8")
        self.segments, self.owner, self.sha256, self.common = segments, owner, digest, _digest(table)


def digest_of_table(folder: Path) -> str:
    """A SHA-256 of the table of `folder`. Raises FormatError if the manifest is missing or damaged."""
    digest: str = _read_manifest(folder)["sha256"]
    return digest


class _Start(NamedTuple):
    """Where a segment begins."""

    row: int
    removal: int


def _write_segment(folder: Path, table: Table, start: _Start, number: int) -> Segment:
    removed = table.removed[start.removal :]
    arrays: dict[str, NDArray[Any]] = {_REMOVED: removed}
    dead = table.removed[table.removed >= start.row] - start.row
    for name, column in table.columns.items():
        arrays |= _encoded(name, column[start.row :], dead)
    if start.row == 0:
        arrays |= {f"{_CONSTANT}{name}": np.ascontiguousarray(array) for name, array in table.constants.items()}
    payload = to_bytes(arrays)
    n_rows, digest = table.n_rows - start.row, hashlib.sha256(payload).hexdigest()
    segment = Segment(number, n_rows, len(removed), len(payload), digest)
    with replace_file(folder / segment.name) as temporary:
        temporary.write_bytes(payload)
    return segment


def _encoded(name: str, column: NDArray[Any], dead: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """The arrays of a column: itself, or of text its bytes and where each value ends; those of `dead` rows are blank."""
    if len(dead):
        column = column.copy()
        column[dead] = np.zeros((), column.dtype)
    if column.dtype.kind != "U":
        return {name: np.ascontiguousarray(column)}
    values = [value.encode("utf-8", "surrogatepass") for value in column.tolist()]
    ends = np.cumsum([len(value) for value in values], dtype=np.int64)
    return {f"{name}{_TEXT}": np.frombuffer(b"".join(values), np.uint8), f"{name}{_ENDS}": ends}


def _read_manifest(folder: Path) -> dict[str, Any]:
    file = folder / MANIFEST
    if not file.is_file():
        raise FormatError(f"{folder}: {MANIFEST} is missing.")
    with untrusted(f"{file}: damaged, not a manifest"):
        manifest: dict[str, Any] = json.loads(file.read_bytes().decode())
        content = {key: manifest[key] for key in ("owner", "counter", "segments")}
        is_whole = hashlib.sha256(json.dumps(content).encode()).hexdigest() == manifest["sha256"]
    if not is_whole:
        raise FormatError(f"{file}: damaged or edited (SHA-256 differs). Copy the model again, or save it again.")
    return manifest


def _check_segments(segments: Sequence[Segment], counter: Any) -> None:
    numbers = [number for segment in segments for number in segment[:4]]
    if not segments or not all(type(number) is int and 0 <= number < 2**53 for number in [*numbers, counter]):
        raise ValueError(f"{len(segments)} segments, counter {counter!r}")
    if any(one.number >= other.number for one, other in itertools.pairwise(segments)):
        raise ValueError("segments out of order")


def _read_segment(folder: Path, segment: Segment) -> dict[str, NDArray[Any]]:
    """The checked arrays of a segment: its columns, `removed` and constants."""
    file = folder / segment.name
    if not file.is_file():
        raise FormatError(f"{folder}: {segment.name} is missing.")
    if (size := file.stat().st_size) != segment.n_bytes:
        raise FormatError(f"{file}: damaged ({size} bytes for {segment.n_bytes}). Copy the model again, or save it again.")
    payload = file.read_bytes()
    if hashlib.sha256(payload).hexdigest() != segment.sha256:
        raise FormatError(f"{file}: damaged (SHA-256 differs). Copy the model again, or save it again.")
    try:
        arrays = from_bytes(payload)
    except SafetensorError as error:
        raise FormatError(f"{file}: not a safetensors file ({error}).") from error
    with untrusted(f"{file}: not a segment of an index"):
        removed = arrays.get(_REMOVED)
        if removed is None or removed.dtype != np.int64 or removed.shape != (segment.n_removed,):
            raise ValueError("its removed rows")
        columns = dict(_decoded(arrays))
        wrong = [name for name, column in columns.items() if column.ndim < 1 or len(column) != segment.n_rows]
        if wrong:
            raise ValueError(f"{wrong[0]} has not {segment.n_rows} rows")
        return columns | {_REMOVED: removed} | {name: arrays[name] for name in arrays if name.startswith(_CONSTANT)}


def _decoded(arrays: dict[str, NDArray[Any]]) -> Iterator[tuple[str, NDArray[Any]]]:
    """The columns of `_encoded`."""
    for name, array in arrays.items():
        if name.endswith(_TEXT):
            column = name.removesuffix(_TEXT)
            yield column, _texts(array, arrays[f"{column}{_ENDS}"])
        elif name != _REMOVED and not name.startswith(_CONSTANT) and not name.endswith(_ENDS):
            yield name, array


def _texts(text: NDArray[Any], ends: NDArray[Any]) -> NDArray[Any]:
    if text.dtype != np.uint8 or ends.dtype != np.int64 or text.ndim != 1 or ends.ndim != 1:
        raise ValueError("text of other types than uint8 and int64")
    starts = np.concatenate([[0], ends[:-1]]) if len(ends) else ends
    if (ends < starts).any() or len(text) != (ends[-1] if len(ends) else 0):
        raise ValueError("text that ends before it begins")
    content = text.tobytes()
    values = [content[start:end].decode("utf-8", "surrogatepass") for start, end in zip(starts, ends, strict=True)]
    if max(map(len, values), default=0) > MAX_TEXT:
        raise ValueError(f"a text of more than {MAX_TEXT} characters")
    return np.array(values, dtype=np.str_)


def _joined(parts: Sequence[dict[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """The columns of all segments one after the other."""
    if not parts[0] or any(set(parts[0]) != set(part) for part in parts):
        raise ValueError("they have different columns")
    columns = {}
    for name in sorted(parts[0]):
        arrays = [part[name] for part in parts]
        if len({array.shape[1:] for array in arrays}) > 1:
            raise ValueError(f"{name} has rows of several shapes")
        columns[name] = np.concatenate(arrays, dtype=np.result_type(*arrays))
    return columns


def _digest(table: Table) -> str:
    digest = hashlib.sha256(" ".join(sorted(table.columns)).encode())
    for name, array in sorted(table.constants.items()):
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
