"""Applies a model to many shards and writes one Parquet file of results for each: a part.

Parts are written atomically, with their task, model and shard in the metadata. So an interrupted run resumes where it stopped,
several processes can share a run, and finished parts are skipped. A file beside the part lists unreadable images, with the
reason.
"""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from hourglass.data import Stream
from hourglass.data.files import parquet, reason_of
from hourglass.data.rejects import write_rejects
from hourglass.data.shards import FilesShard, Shard
from hourglass.data.write import replace_file
from hourglass.errors import DataError, ParameterError
from hourglass.notes import note, one_note
from hourglass.runtime.shard_tasks import ShardTask

_METADATA = b"hourglass"
_ROWS, _BYTES = 8192, 32 << 20  # of a row group, whichever comes first


@dataclass
class Report:
    """The result of a run over shards.

    Attributes
    ----------
    parts, standing, failed : int
        Parts that this run wrote, that existed before, or that failed.
    images, rejected : int
        In the parts of this run.
    first_reject : str
    seconds : float
    """

    parts: int = 0
    standing: int = 0
    failed: int = 0
    images: int = 0
    rejected: int = 0
    first_reject: str = ""
    seconds: float = 0.0


def write_parts(
    task: ShardTask,
    source: Stream,
    output: Path,
    made_by: str,
    *,
    rank: int = 0,
    size: int = 1,
    on_part: Callable[[Path, Report], object] = lambda *_: None,
) -> Report:
    """Apply `task` to every shard of `source`; write the parts to the folder `output`.

    Parameters
    ----------
    task : ShardTask
    source : Stream
        If it is strict, an unreadable image raises.
    output : Path
    made_by : str
        Identifies task and model: a part of another does not count as finished.
    rank, size : int
        Rank and number of processes: each takes every `size`-th shard, from shard `rank` on.
    on_part : callable
        Called with each part and the report so far.

    Raises
    ------
    ParameterError
        If `output` holds parts of another task or model.
    DataError
        If the source is strict and an image is unreadable, or if all are.
    """
    parquet(output)  # raises if it is not installed
    report, start = Report(), time.perf_counter()
    paths = _paths(source, output)
    if strays := sorted(set(output.rglob("*.parquet")) - set(paths)):
        words = f"{len(strays)} files below {output} belong to no shard of this source, as {strays[0]}; they are kept."
        note(words)
    task.white = source.white
    with one_note():
        for shard, part in itertools.islice(zip(source.shards, paths, strict=True), rank, None, size):
            about = {"made_by": made_by, "shard": _fingerprint(shard)}
            if _is_finished(part, about, output):
                report.standing += 1
            else:
                _write_part(task, source, shard, part, about, report)
            report.seconds = time.perf_counter() - start
            on_part(part, report)
    if size == 1 and report.failed and not report.parts and not report.standing:  # other processes may succeed
        raise DataError(f"none of the images can be read; the first: {report.first_reject}")
    return report


def _paths(source: Stream, output: Path) -> list[Path]:
    """The path of each shard's part: relative to `output` as the shard to the source."""
    paths = []
    for shard in source.shards:
        if isinstance(shard, FilesShard):
            paths.append(output / f"part-{shard.number:05d}.parquet")
        else:
            below = os.path.relpath(shard.path, source.root or Path(shard.path).parent)
            paths.append(output / Path(below).with_suffix(".parquet"))
    if len(set(paths)) < len(paths):
        raise ParameterError("shards of the same name, as a.tar and a.npy, would share a part; rename one.")
    return paths


def _fingerprint(shard: Shard) -> str:
    try:
        return shard.fingerprint()
    except OSError as error:
        return f"unreadable: {error.strerror}"


def _is_finished(part: Path, about: dict[str, str], output: Path) -> bool:
    """Whether the part is finished. Raises ParameterError if it is of another task or model."""
    if not part.exists():
        return False
    try:
        metadata = parquet(part).read_schema(part).metadata or {}
        standing = json.loads(metadata[_METADATA])
    except (OSError, ValueError, KeyError) as error:
        raise ParameterError(f"{part} exists, and hourglass did not write it; choose another folder than {output}.") from error
    if standing.get("made_by") != about["made_by"]:
        raise ParameterError(
            f"{part} was made by {standing.get('made_by')}, not by {about['made_by']}; choose another folder than {output}."
        )
    return bool(standing == about)


def _write_part(task: ShardTask, source: Stream, shard: Shard, part: Path, about: dict[str, str], report: Report) -> None:
    """Write one part, and the list of rejects beside it."""
    rejects: list[tuple[str, str]] = []
    n_images = n_expected = 0
    task.begin()
    try:
        with replace_file(part) as beside, _Table(beside, about) as table:
            for count, piece in source.pieces(shard, task.form):
                n_images, n_expected = n_images + len(piece.rows), n_expected + count
                rejects += piece.rejects
                for key, sentence in piece.notes:
                    note(f"{key}: {sentence}")
                if source.strict and rejects:
                    raise DataError(": ".join(rejects[0]))
                if piece.rows:
                    table.add(task.columns(piece))
            if n_images:
                task.finish(part)
            elif n_expected:
                raise _NothingReadError
    except DataError as error:
        if source.strict:
            raise
        if not isinstance(error, _NothingReadError):  # its images are rejects already
            rejects.append((shard.path, str(error).removeprefix(f"{shard.path}: ")))
        report.failed += 1
        part.unlink(missing_ok=True)  # of an earlier version of the shard
    else:
        report.parts += 1
        report.images += n_images
    write_rejects(part.with_suffix(".rejects.csv"), rejects, "key")
    report.rejected += n_expected - n_images
    if rejects and not report.first_reject:
        report.first_reject = ": ".join(rejects[0])


class _NothingReadError(DataError):
    """All images of a shard are unreadable."""


class _Table:
    """Writes a Parquet file in row groups, the first of which sets the types."""

    def __init__(self, path: Path, about: dict[str, str]) -> None:
        self._path, self._about = path, about
        self._writer: Any = None
        self._buffer: list[Any] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._flush(at_end=True)
        if self._writer is not None:
            self._writer.close()

    def add(self, columns: dict[str, Any]) -> None:
        import pyarrow as pa

        try:
            self._buffer.append(pa.table({name: pa.array(column) for name, column in columns.items()}))
        except (pa.ArrowException, TypeError) as error:
            raise DataError(f"labels of several kinds ({reason_of(error)}).") from error
        if sum(len(rows) for rows in self._buffer) >= _ROWS or sum(rows.nbytes for rows in self._buffer) >= _BYTES:
            self._flush()

    def _flush(self, *, at_end: bool = False) -> None:
        import pyarrow as pa

        if not self._buffer and (self._writer is not None or not at_end):
            return
        try:
            rows = self._buffer or [pa.table({"key": pa.array([], pa.string())})]  # for a shard without images
            table = pa.concat_tables(rows, promote_options="permissive")
            if self._writer is None:
                known = [
                    (name, pa.string() if pa.types.is_null(kind) else kind)
                    for name, kind in zip(table.schema.names, table.schema.types, strict=True)
                ]
                schema = pa.schema(known, {_METADATA: json.dumps(self._about).encode()})
                self._writer = parquet(self._path).ParquetWriter(self._path, schema)
            names = self._writer.schema.names
            columns = [table.column(name) if name in table.column_names else pa.nulls(len(table)) for name in names]
            self._writer.write_table(pa.table(columns, names=names).cast(self._writer.schema))
        except pa.ArrowException as error:
            raise DataError(f"labels of several kinds ({reason_of(error)}).") from error
        self._buffer.clear()
