"""Putting a model to its use over many shards: a finished part of the output is never made again.

Each shard of the source becomes a Parquet file of the same name. It appears in one step, when it is whole, and says in its
metadata what made it from what; so a run that was interrupted, or that several processes share, goes on where it stands.
What cannot be read is listed in a file beside, with its reason.
"""

from __future__ import annotations

import csv
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from hourglass.data import Stream
from hourglass.data.files import parquet, reason_of
from hourglass.data.shards import FilesShard, Shard
from hourglass.data.write import replace_file
from hourglass.errors import DataError, ParameterError
from hourglass.estimators.anysize import one_note
from hourglass.estimators.shard_uses import Use

_METADATA = b"hourglass"
_ROWS, _BYTES = 8192, 32 << 20  # of a row group, whichever comes first


@dataclass
class Report:
    """What became of a run over shards.

    Attributes
    ----------
    parts, standing, failed : int
        Shards whose part was made now, was there already, or could not be made.
    images, rejected : int
        Of the parts made now.
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
    use: Use,
    source: Stream,
    output: Path,
    made_by: str,
    *,
    part: tuple[int, int] = (0, 1),
    tell: Callable[[Path, Report], object] = lambda *_: None,
) -> Report:
    """Put `use` to every shard of `source`, and write a part for each below the folder `output`.

    Parameters
    ----------
    use : Use
    source : Stream
        If it is strict, the first image that cannot be read ends the run.
    output : Path
    made_by : str
        Names use and model: a part that something else made is not taken for done.
    part : (number, how many)
        Of several processes that share the work, each takes every so many-th shard.
    tell : callable
        Told of each part and the report so far.

    Raises
    ------
    ParameterError
        If `output` holds parts that something else made.
    DataError
        If the source is strict and an image cannot be read, or if not one can be.
    """
    report, start = Report(), time.perf_counter()
    with one_note():
        for shard, path in _mine(source, output, part):
            about = {"made_by": made_by, "shard": _unless_unreadable(shard)}
            if _stands(path, about, output):
                report.standing += 1
            else:
                _write_part(use, source, shard, path, about, report)
            report.seconds = time.perf_counter() - start
            tell(path, report)
    if report.failed and not report.parts and not report.standing:
        raise DataError(f"none of the images can be read; the first: {report.first_reject}")
    return report


def _mine(source: Stream, output: Path, part: tuple[int, int]) -> Iterator[tuple[Shard, Path]]:
    number, how_many = part
    folders = {str(Path(shard.path).parent) for shard in source.shards if not isinstance(shard, FilesShard)}
    root = os.path.commonpath(folders) if folders else ""
    for place in range(number, len(source.shards), how_many):
        shard = source.shards[place]
        if isinstance(shard, FilesShard):
            yield shard, output / f"part-{shard.number:05d}.parquet"
        else:
            yield shard, output / Path(os.path.relpath(shard.path, root)).with_suffix(".parquet")


def _unless_unreadable(shard: Shard) -> str:
    try:
        return shard.fingerprint()
    except OSError as error:
        return f"unreadable: {error.strerror}"


def _stands(path: Path, about: dict[str, str], output: Path) -> bool:
    """Whether the part is there already. ParameterError if something else made it."""
    if not path.exists():
        return False
    try:
        metadata = parquet(path).read_schema(path).metadata or {}
        standing = json.loads(metadata[_METADATA])
    except (OSError, ValueError, KeyError) as error:
        raise ParameterError(
            f"{path} is there, and no part that hourglass wrote; choose another folder than {output}."
        ) from error
    if standing.get("made_by") != about["made_by"]:
        raise ParameterError(
            f"{path} was made by {standing.get('made_by')}, not by {about['made_by']}; choose another folder than {output}."
        )
    return bool(standing == about)


def _write_part(use: Use, source: Stream, shard: Shard, path: Path, about: dict[str, str], report: Report) -> None:
    """Make one part, and the list of what was rejected."""
    rejects: list[tuple[str, str]] = []
    n_images = n_rejected = 0
    listing = path.with_suffix(".rejects.csv")
    use.begin()
    try:
        with replace_file(path) as beside, _Table(beside, about) as table:
            for n_wanted, piece in source.pieces(shard, use.form):
                rejects += piece.rejects
                n_images, n_rejected = n_images + len(piece.rows), n_rejected + n_wanted - len(piece.rows)
                if source.strict and rejects:
                    raise DataError(": ".join(rejects[0]))
                if piece.rows:
                    table.add(use.columns(piece))
            if not n_images:
                raise _Empty
            use.finish(path)
            _write_rejects(listing, rejects)
    except _Empty:
        report.failed += 1
    except DataError as error:
        if source.strict:
            raise
        rejects.append((shard.path, str(error).removeprefix(f"{shard.path}: ")))
        report.failed += 1
    else:
        report.parts += 1
        report.images += n_images
    if not path.exists():
        _write_rejects(listing, rejects)
    report.rejected += n_rejected
    if rejects and not report.first_reject:
        report.first_reject = ": ".join(rejects[0])


class _Empty(Exception):  # noqa: N818  # no error: nothing of the shard can be read, and that is noted
    """Ends a part that would hold nothing."""


class _Table:
    """A Parquet file that grows by columns; its first rows decide the types."""

    def __init__(self, path: Path, about: dict[str, str]) -> None:
        self._path, self._about = path, about
        self._writer: Any = None
        self._waiting: list[Any] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._flush()
        if self._writer is not None:
            self._writer.close()

    def add(self, columns: dict[str, Any]) -> None:
        import pyarrow as pa

        try:
            if self._writer is None:
                table = pa.table({name: pa.array(column) for name, column in columns.items()})
                schema = table.schema.with_metadata({_METADATA: json.dumps(self._about).encode()})
                self._writer = parquet(self._path).ParquetWriter(self._path, schema)
            else:
                n_rows = len(next(iter(columns.values())))
                fields = [(columns.get(field.name, [None] * n_rows), field.type) for field in self._writer.schema]
                table = pa.table([pa.array(column, kind) for column, kind in fields], names=self._writer.schema.names)
        except (pa.ArrowException, TypeError) as error:
            raise DataError(f"labels of several kinds ({reason_of(error)}).") from error
        self._waiting.append(table)
        if sum(len(part) for part in self._waiting) >= _ROWS or sum(part.nbytes for part in self._waiting) >= _BYTES:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        if self._waiting:
            self._writer.write_table(pa.concat_tables(self._waiting).cast(self._writer.schema))
            self._waiting.clear()


def _write_rejects(path: Path, rejects: list[tuple[str, str]]) -> None:
    """List them as CSV; without any, no file."""
    if not rejects:
        path.unlink(missing_ok=True)
        return
    with replace_file(path) as beside, beside.open("w", newline="", encoding="utf-8", errors="surrogateescape") as stream:
        csv.writer(stream).writerows([("key", "reason"), *rejects])
