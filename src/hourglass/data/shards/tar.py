"""tar files in WebDataset's layout: files of one key, as 0001.png and 0001.cls, or a.left.png and a.right.png, are together."""

from __future__ import annotations

import os
import tarfile
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hourglass.data.files import IMAGE_FORMATS
from hourglass.data.shards.base import IMAGES_A_BLOCK, MAX_ENCODED, Block, Encoded, Form, Piece, Shard, decoded, readable
from hourglass.errors import DataError, HourglassWarning

_LABEL = ".cls"
_LONGEST_LABEL = 1000  # bytes
_HEADER = 512  # bytes; contents are padded to as many
_UNTYPED, _FOLDER = b"\0", b"5"
_PLAIN = (b"0", _UNTYPED, b"7")
_WITHOUT_DATA = (b"1", b"2", b"3", b"4", _FOLDER, b"6")  # links, devices, folders, pipes
_PAX, _GLOBAL, _LONG_NAME, _LONG_LINK, _SPARSE = b"x", b"g", b"L", b"K", b"S"
_EXTENSIONS = (_PAX, _GLOBAL, _LONG_NAME, _LONG_LINK)
_LONGEST_EXTENSION = 1 << 20  # bytes
_AHEAD = 1 << 20  # bytes that are read at once


class _Member(NamedTuple):
    name: str
    start: int
    """Where its first header begins."""
    data: int
    """Where its content begins."""
    size: int


class _Sample(NamedTuple):
    start: int
    """Where the first header of its key begins."""
    image: _Member
    label: _Member | None
    is_first: bool
    """Of its key."""


@dataclass(frozen=True)
class TarShard(Shard):
    """A plain tar file. Nothing is unpacked: members are read where they lie. A block's place is where its first header is."""

    kind = "tar"

    def blocks(self) -> list[Block]:
        def read() -> list[Block]:
            starts, firsts, count, others = list[int](), list[int](), 0, Counter[str]()
            with Path(self.path).open("rb", _AHEAD) as stream:
                for sample in _samples(stream, others):
                    if not starts or (
                        sample.is_first and count - firsts[-1] >= IMAGES_A_BLOCK
                    ):  # images of a key stay together
                        starts.append(sample.start)
                        firsts.append(count)
                    count += 1
                stream.seek(0)
                is_empty = stream.read(_HEADER) == bytes(_HEADER)
            if not count and not is_empty:
                raise DataError(f"{self.path}: holds no image; looked for {', '.join(sorted(IMAGE_FORMATS))}.")
            _tell_of_others(self.path, others)
            return [Block(*of_block) for of_block in zip(starts, firsts, np.diff([*firsts, count]).tolist(), strict=True)]

        blocks: list[Block] = readable(self.path, "tar file (plain, not compressed)", read)
        return blocks

    def read(self, block: Block, rows: NDArray[np.int64] | None, form: Form) -> Piece:
        wanted = set(range(block.n_images) if rows is None else rows.tolist())

        def files(stream: IO[bytes]) -> Iterator[Encoded]:
            stream.seek(block.place)
            for number, sample in enumerate(_samples(stream)):
                if number in wanted:
                    label = _label(stream, sample.label) if form.named else None
                    key = f"{self.path}#{sample.image.name}"
                    yield Encoded(block.first + number, key, label, partial(_content, stream, sample.image))
                if number == block.n_images - 1:
                    return
            raise DataError(f"{self.path}: truncated; it held more images when it was opened.")

        def read() -> Piece:
            with Path(self.path).open("rb", _AHEAD) as stream:
                return decoded(files(stream), form)

        piece: Piece = readable(self.path, "tar file", read)
        return piece


def _samples(stream: IO[bytes], others: Counter[str] | None = None) -> Iterator[_Sample]:
    """The samples from where `stream` stands on: every image, with the label of its own name, else that of its key.

    `others` counts the files that are neither, by how their names end.
    """
    key, start = None, 0
    images, labels = list[_Member](), dict[str, _Member]()

    def of_key() -> Iterator[_Sample]:
        for number, image in enumerate(images):
            label = labels.get(os.path.splitext(image.name)[0], labels.get(key or ""))
            yield _Sample(start, image, label, number == 0)

    for member in _members(stream):
        stem, ending = os.path.splitext(member.name)
        if _key(member.name) != key:
            yield from of_key()
            key, start, images, labels = _key(member.name), member.start, [], {}
        if ending.lower() in IMAGE_FORMATS and not os.path.basename(member.name).startswith("."):
            images.append(member)
        elif ending.lower() == _LABEL:
            labels[stem] = member
        elif others is not None:
            others[ending.lower()] += 1
    yield from of_key()


_told: set[str] = set()


def _tell_of_others(path: str, others: Counter[str]) -> None:
    """Once for a file: blocks are asked for more than once."""
    if others and path not in _told:
        _told.add(path)
        kinds = ", ".join(f"{count} {ending or 'without an ending'}" for ending, count in others.most_common(5))
        words = f"{path}: {sum(others.values()):,} files in it are neither images nor labels and are left out ({kinds})."
        warnings.warn(words, HourglassWarning, stacklevel=2)


def _members(stream: IO[bytes]) -> Iterator[_Member]:
    """The plain files from where `stream` stands on.

    Their headers are read here: tarfile does far more over each than is needed, and turns in circles over sizes below 0. Links,
    devices, folders and files with holes are passed over.
    """
    start, end = stream.tell(), os.fstat(stream.fileno()).st_size
    first, told = start, dict[bytes, bytes]()
    while True:
        stream.seek(start)
        header = stream.read(_HEADER)
        if not any(header):
            return
        kind, name, size = _read_header(header)
        data = start + _HEADER
        if kind in _EXTENSIONS:  # of the next one
            told |= _extension(kind, stream, size)
        else:
            if kind == _SPARSE:
                data = _behind_map(stream, header, data)
            if kind == _UNTYPED and name.endswith(b"/") and b"path" not in told:
                kind = _FOLDER  # as it was told from a file before there were types
            if kind in _WITHOUT_DATA:
                size = 0
            elif b"size" in told:
                size = int(told[b"size"])
            name = told.get(b"path", name)
        if not 0 <= size <= end - data:
            raise tarfile.ReadError("unexpected end of data")
        start = data + -(-size // _HEADER) * _HEADER
        if kind not in _EXTENSIONS:
            if kind in _PLAIN and not any(key.startswith(b"GNU.sparse") for key in told):
                yield _Member(name.decode("utf-8", "surrogateescape"), first, data, size)
            first, told = start, {}


def _read_header(header: bytes) -> tuple[bytes, bytes, int]:
    """(type, name, size), as a header says (POSIX 1003.1-1988, ustar; sizes of 8 GiB and more as GNU tar writes them)."""
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


def _extension(kind: bytes, stream: IO[bytes], size: int) -> dict[bytes, bytes]:
    """What is told of the next file before its header: its path, size and more."""
    if not 0 <= size <= _LONGEST_EXTENSION:
        raise tarfile.ReadError(f"an extended header of {size:,} bytes")
    content, found, at = stream.read(size), dict[bytes, bytes](), 0
    if kind == _LONG_NAME:
        return {b"path": content.split(b"\0", 1)[0]}
    while kind == _PAX and at < size and content[at]:  # records "length key=value\n"
        space = content.index(b" ", at, at + 20)
        end = at + int(content[at:space])
        if not space < end <= len(content):
            raise tarfile.ReadError("a broken extended header")
        key, _, found[key] = content[space + 1 : end - 1].partition(b"=")
        at = end
    return found


def _behind_map(stream: IO[bytes], header: bytes, data: int) -> int:
    """Where the content begins of a file with holes, whose map may go on behind its header."""
    more = header[482:483]
    while more.strip(b"\0"):
        data += _HEADER
        more = stream.read(_HEADER)[504:505]
    return data


def _key(name: str) -> str:
    """What stands before the first dot of a name's last part, as WebDataset has it."""
    folder, slash, last = name.rpartition("/")
    return f"{folder}{slash}{last.partition('.')[0]}"


def _content(stream: IO[bytes], member: _Member) -> bytes:
    if member.size > MAX_ENCODED:
        raise DataError(f"{member.size:,} bytes; the limit is {MAX_ENCODED:,}.")
    back = stream.tell()
    stream.seek(member.data)
    content = stream.read(member.size)
    stream.seek(back)
    if len(content) < member.size:
        raise DataError("truncated.")
    return content


def _label(stream: IO[bytes], member: _Member | None) -> Any:
    """What a .cls file says: a number where it is one."""
    if member is None or member.size > _LONGEST_LABEL:
        return None
    text = _content(stream, member).decode("utf-8", "replace").strip()
    return int(text) if text.lstrip("-").isdecimal() and len(text) < 19 else text
