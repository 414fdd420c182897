"""Putting a model to its use over many shards: a finished part of the output is never made again.

Each shard of the source becomes a Parquet file of the same name. It appears in one step, when it is whole, and says in its
metadata what made it from what; so a run that was interrupted, or that several processes share, goes on where it stands.
What cannot be read is listed in a file beside, with its reason.
"""

from __future__ import annotations

import itertools
import json
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from hourglass.data import Stream
from hourglass.data.files import parquet, reason_of
from hourglass.data.notes import one_note
from hourglass.data.rejects import write_rejects
from hourglass.data.shards import FilesShard, Piece, Shard
from hourglass.data.write import replace_file
from hourglass.errors import DataError, HourglassWarning, ParameterError
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
    parquet(output)  # which says so if it is missing
    report, start = Report(), time.perf_counter()
    places, (number, how_many) = _places(source, output), part
    if strays := sorted(set(output.rglob("*.parquet")) - set(places)):
        words = f"{len(strays)} files below {output} are of no shard of this source, as {strays[0]}; they stay as they are."
        warnings.warn(words, HourglassWarning, stacklevel=2)
    with one_note():
        for shard, path in itertools.islice(zip(source.shards, places, strict=True), number, None, how_many):
            about = {"made_by": made_by, "shard": _unless_unreadable(shard)}
            if _stands(path, about, output):
                report.standing += 1
            else:
                _write_part(use, source, shard, path, about, report)
            report.seconds = time.perf_counter() - start
            tell(path, report)
    if how_many == 1 and report.failed and not report.parts and not report.standing:  # of several, the others go on
        raise DataError(f"none of the images can be read; the first: {report.first_reject}")
    return report


def _places(source: Stream, output: Path) -> list[Path]:
    """Where the part of each shard goes: as the shards lie below the source, so do the parts below `output`."""
    places = []
    for shard in source.shards:
        if isinstance(shard, FilesShard):
            places.append(output / f"part-{shard.number:05d}.parquet")
        else:
            below = os.path.relpath(shard.path, source.root or Path(shard.path).parent)
            places.append(output / Path(below).with_suffix(".parquet"))
    if len(set(places)) < len(places):
        raise ParameterError("shards of one name, as a.tar and a.npy, would give one part; name them one after the other.")
    return places


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
    n_images = n_rejected = n_all = 0
    listing, n_failed = path.with_suffix(".rejects.csv"), report.failed
    use.begin()
    try:
        with replace_file(path) as beside, _Table(beside, about) as table:
            for n_wanted, piece in source.pieces(shard, use.form):
                rejects += piece.rejects
                _warn(piece)
                n_images, n_rejected = n_images + len(piece.rows), n_rejected + n_wanted - len(piece.rows)
                n_all += n_wanted
                if source.strict and rejects:
                    raise DataError(": ".join(rejects[0]))
                if piece.rows:
                    table.add(use.columns(piece))
            if n_images:
                use.finish(path)
            elif n_all:
                raise _Empty
            write_rejects(listing, rejects, "key")
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
    if report.failed > n_failed:
        path.unlink(missing_ok=True)  # of what the shard was before
        write_rejects(listing, rejects, "key")
    report.rejected += n_rejected
    if rejects and not report.first_reject:
        report.first_reject = ": ".join(rejects[0])


def _warn(piece: Piece) -> None:
    for key, sentence in piece.notes:
        warnings.warn(f"{key}: {sentence}", HourglassWarning, stacklevel=2)


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
            self._flush(at_end=True)
        if self._writer is not None:
            self._writer.close()

    def add(self, columns: dict[str, Any]) -> None:
        import pyarrow as pa

        try:
            self._waiting.append(pa.table({name: pa.array(column) for name, column in columns.items()}))
        except (pa.ArrowException, TypeError) as error:
            raise DataError(f"labels of several kinds ({reason_of(error)}).") from error
        if sum(len(part) for part in self._waiting) >= _ROWS or sum(part.nbytes for part in self._waiting) >= _BYTES:
            self._flush()

    def _flush(self, *, at_end: bool = False) -> None:
        import pyarrow as pa

        if not self._waiting and (self._writer is not None or not at_end):
            return
        try:
            rows = self._waiting or [pa.table({"key": pa.array([], pa.string())})]  # of a shard without images
            table = pa.concat_tables(rows, promote_options="permissive")
            if self._writer is None:
                told = {_METADATA: json.dumps(self._about).encode()}
                known = [
                    (name, pa.string() if pa.types.is_null(kind) else kind)
                    for name, kind in zip(table.schema.names, table.schema.types, strict=True)
                ]
                self._writer = parquet(self._path).ParquetWriter(self._path, pa.schema(known, told))
            names = self._writer.schema.names
            columns = [table.column(name) if name in table.column_names else pa.nulls(len(table)) for name in names]
            self._writer.write_table(pa.table(columns, names=names).cast(self._writer.schema))
        except pa.ArrowException as error:
            raise DataError(f"labels of several kinds ({reason_of(error)}).") from error
        self._waiting.clear()
