"""tar files in WebDataset's layout: members with one key, such as 0001.png and 0001.cls, are adjacent and form a sample."""

from __future__ import annotations

import os
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hourglass.data.files import IMAGE_FORMATS
from hourglass.data.shards.base import (
    IMAGES_PER_BLOCK,
    MAX_ENCODED,
    Block,
    Encoded,
    Form,
    Piece,
    Shard,
    decode_files,
    read_checked,
)
from hourglass.errors import DataError
from hourglass.notes import note

_LABEL = ".cls"
_MAX_LABEL = 1000  # bytes
_HEADER = 512  # bytes; content is padded to a multiple
_UNTYPED, _FOLDER = b"\0", b"5"
_PLAIN = (b"0", _UNTYPED, b"7")
_WITHOUT_DATA = (b"1", b"2", b"3", b"4", _FOLDER, b"6")  # links, devices, folders, pipes
_PAX, _GLOBAL, _LONG_NAME, _LONG_LINK, _SPARSE = b"x", b"g", b"L", b"K", b"S"
_UNREADABLE = {b"1": "a link", b"2": "a link", _SPARSE: "a sparse file"}
_EXTENSIONS = (_PAX, _GLOBAL, _LONG_NAME, _LONG_LINK)
_MAX_EXTENSION = 1 << 20  # bytes
_BUFFER = 1 << 20  # bytes


class _Member(NamedTuple):
    name: str
    start: int
    """Offset of its first header."""
    data: int
    """Offset of its content."""
    size: int
    kind: str = ""
    """What it is if not a plain file: links and sparse files are listed, but not read."""


class _Sample(NamedTuple):
    start: int
    """Offset of the first header of its key."""
    image: _Member
    label: _Member | None
    is_first: bool
    """Whether it is the first image of its key."""


@dataclass(frozen=True)
class TarShard(Shard):
    """An uncompressed tar file; members are read in place. The position of a block is the offset of its first header."""

    kind = "tar"

    def blocks(self) -> list[Block]:
        def read() -> list[Block]:
            starts, firsts, count, others = list[int](), list[int](), 0, Counter[str]()
            with Path(self.path).open("rb", _BUFFER) as stream:
                for sample in _samples(stream, others):
                    is_full = bool(firsts) and count - firsts[-1] >= IMAGES_PER_BLOCK
                    if not starts or (sample.is_first and is_full):  # images of a key stay in one block
                        starts.append(sample.start)
                        firsts.append(count)
                    count += 1
                stream.seek(0)
                is_empty = stream.read(_HEADER) == bytes(_HEADER)
            if not count and not is_empty:
                raise DataError(f"{self.path}: holds no image; looked for {', '.join(sorted(IMAGE_FORMATS))}.")
            _warn_other_files(self.path, others)
            return [Block(*fields) for fields in zip(starts, firsts, np.diff([*firsts, count]).tolist(), strict=True)]

        blocks: list[Block] = read_checked(self.path, "tar file (plain, not compressed)", read)
        return blocks

    def read(self, block: Block, rows: NDArray[np.int64] | None, form: Form) -> Piece:
        requested = set(range(block.n_images) if rows is None else rows.tolist())

        def files(stream: IO[bytes]) -> Iterator[Encoded]:
            stream.seek(block.position)
            for number, sample in enumerate(_samples(stream)):
                if number in requested:
                    label = _label(stream, sample.label) if form.named else None
                    key = f"{self.path}#{sample.image.name}"
                    yield Encoded(block.first + number, key, label, partial(_content, stream, sample.image))
                if number == block.n_images - 1:
                    return
            raise DataError(f"{self.path}: truncated; it held more images when it was opened.")

        def read() -> Piece:
            with Path(self.path).open("rb", _BUFFER) as stream:
                return decode_files(files(stream), form)

        piece: Piece = read_checked(self.path, "tar file", read)
        return piece


def _samples(stream: IO[bytes], others: Counter[str] | None = None) -> Iterator[_Sample]:
    """Yield the samples from the position of `stream` on: each image with the label of its own name, else of its key.

    Counts other files by suffix in `others`, and labels without an image beside them.
    """
    key, start = None, 0
    images, labels = list[_Member](), dict[str, _Member]()

    def samples_of_key() -> Iterator[_Sample]:
        for number, image in enumerate(images):
            label = labels.get(os.path.splitext(image.name)[0], labels.get(key or ""))
            yield _Sample(start, image, label, number == 0)
        if others is not None:
            used = {os.path.splitext(image.name)[0] for image in images} | ({key or ""} if images else set())
            others.update([_LABEL] * len(set(labels) - used))

    for member in _members(stream, every=True):
        stem, suffix = os.path.splitext(member.name)
        if member.kind and suffix.lower() not in IMAGE_FORMATS:
            if others is not None:
                others[f"{suffix.lower() or 'without a suffix'}, {member.kind}"] += 1
            continue
        if _key(member.name) != key:
            yield from samples_of_key()
            key, start, images, labels = _key(member.name), member.start, [], {}
        if suffix.lower() in IMAGE_FORMATS and not os.path.basename(member.name).startswith("."):
            images.append(member)
        elif suffix.lower() == _LABEL:
            labels[stem] = member
        elif others is not None:
            others[suffix.lower()] += 1
    yield from samples_of_key()


_warned: set[str] = set()


def _warn_other_files(path: str, others: Counter[str]) -> None:
    """Warn once per file, as its blocks are computed several times."""
    if others and path not in _warned:
        _warned.add(path)
        kinds = ", ".join(f"{count} {suffix or 'without a suffix'}" for suffix, count in others.most_common(5))
        message = f"{path}: {sum(others.values()):,} files in it are neither images nor labels beside an image"
        note(f"{message} and are left out ({kinds}).")


def _members(stream: IO[bytes], *, every: bool = False) -> Iterator[_Member]:
    """Yield the regular files from the position of `stream` on, and if `every`, links and sparse files.

    This parser replaces tarfile, which does much more work per header and loops for ever on negative sizes.
    """
    start, end = stream.tell(), os.fstat(stream.fileno()).st_size
    first, extension = start, dict[bytes, bytes]()
    while True:
        stream.seek(start)
        header = stream.read(_HEADER)
        if not any(header):
            return
        kind, name, size = _read_header(header)
        data = start + _HEADER
        if kind in _EXTENSIONS:  # applies to the next member
            extension |= _read_extension(kind, stream, size)
        else:
            if kind == _SPARSE:
                data = _skip_sparse_map(stream, header, data)
            if kind == _UNTYPED and name.endswith(b"/") and b"path" not in extension:
                kind = _FOLDER  # the convention before headers had types
            if kind in _WITHOUT_DATA:
                size = 0
            elif b"size" in extension:
                size = int(extension[b"size"])
            name = extension.get(b"path", name)
        if not 0 <= size <= end - data:
            raise tarfile.ReadError("unexpected end of data")
        start = data + -(-size // _HEADER) * _HEADER
        if kind not in _EXTENSIONS:
            is_sparse = any(key.startswith(b"GNU.sparse") for key in extension)
            what = _UNREADABLE[_SPARSE] if is_sparse else _UNREADABLE.get(kind, "")
            if (kind in _PLAIN and not what) or (every and what):
                yield _Member(name.decode("utf-8", "surrogateescape"), first, data, size, what)
            first, extension = start, {}


def _read_header(header: bytes) -> tuple[bytes, bytes, int]:
    """Parse a header to (type, name, size) (POSIX 1003.1-1988, ustar; GNU tar's encoding of sizes from 8 GiB)."""
    if len(header) < _HEADER:
        raise tarfile.ReadError("truncated")
    if int(header[148:156].strip(b" \0") or b"0", 8) != sum(header) - sum(header[148:156]) + 256:
        raise tarfile.ReadError("bad checksum")
    name = header[:100].split(b"\0", 1)[0]
    if header[257:262] == b"ustar" and header[345] and header[156:157] not in _EXTENSIONS:
        name = header[345:500].split(b"\0", 1)[0] + b"/" + name
    is_binary = header[124] == 0x80
    size = int.from_bytes(header[125:136], "big") if is_binary else int(header[124:136].strip(b" \0") or b"0", 8)
    return header[156:157], name, size


def _read_extension(kind: bytes, stream: IO[bytes], size: int) -> dict[bytes, bytes]:
    """Read an extended header: path, size and more of the next member."""
    if not 0 <= size <= _MAX_EXTENSION:
        raise tarfile.ReadError(f"an extended header of {size:,} bytes")
    content, records, position = stream.read(size), dict[bytes, bytes](), 0
    if kind == _LONG_NAME:
        return {b"path": content.split(b"\0", 1)[0]}
    while kind == _PAX and position < size and content[position]:  # records "length key=value\n"
        space = content.index(b" ", position, position + 20)
        end = position + int(content[position:space])
        if not space < end <= len(content):
            raise tarfile.ReadError("an invalid extended header")
        key, _, records[key] = content[space + 1 : end - 1].partition(b"=")
        position = end
    return records


def _skip_sparse_map(stream: IO[bytes], header: bytes, data: int) -> int:
    """Return the offset of the content of a sparse file, whose map may continue after its header."""
    is_extended = header[482:483]
    while is_extended.strip(b"\0"):
        data += _HEADER
        is_extended = stream.read(_HEADER)[504:505]
    return data


def _key(name: str) -> str:
    """WebDataset's key: the path up to the first dot of its last component."""
    folder, slash, last = name.rpartition("/")
    return f"{folder}{slash}{last.partition('.')[0]}"


def _content(stream: IO[bytes], member: _Member) -> bytes:
    if member.kind:
        raise DataError(f"is {member.kind} in the archive, and not read; store files (tar --dereference --hard-dereference).")
    if member.size > MAX_ENCODED:
        raise DataError(f"{member.size:,} bytes; the limit is {MAX_ENCODED:,}.")
    position = stream.tell()
    stream.seek(member.data)
    content = stream.read(member.size)
    stream.seek(position)
    if len(content) < member.size:
        raise DataError("truncated.")
    return content


def _label(stream: IO[bytes], member: _Member | None) -> Any:
    """Read a .cls file; the label is an int if the text is one."""
    if member is None or member.size > _MAX_LABEL:
        return None
    text = _content(stream, member).decode("utf-8", "replace").strip()
    return int(text) if text.lstrip("-").isdecimal() and len(text) < 19 else text
