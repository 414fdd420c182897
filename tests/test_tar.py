"""What is read of a tar file is what Python's tarfile reads: archives of every format, drawn at random."""

from __future__ import annotations

import io
import os
import tarfile
import warnings
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import hourglass as hg
from hourglass.data.files import encode_image
from hourglass.data.shards import Form, tar
from sharded import numbered, numbers_of

Format = Literal[0, 1, 2]  # as `tarfile` numbers them
FORMATS: dict[str, Format] = {"USTAR": tarfile.USTAR_FORMAT, "GNU": tarfile.GNU_FORMAT, "PAX": tarfile.PAX_FORMAT}
PLAIN = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
OTHERS = (tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE)

Entry = tuple[tarfile.TarInfo, bytes]


def archive_of(entries: Sequence[Entry], form: Format, pax_headers: dict[str, str] | None = None) -> bytes:
    """Without the entries that the format cannot hold: ustar has no place for a name that cannot be cut at a slash."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form, pax_headers=pax_headers) as archive:
        for info, content in entries:
            try:
                info.tobuf(form)
            except ValueError:
                if form != tarfile.USTAR_FORMAT:
                    raise
                continue
            archive.addfile(info, io.BytesIO(content) if info.type in PLAIN else None)
    return stream.getvalue()


def entry(name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, **fields: object) -> Entry:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


# Undecodable bytes of a name are lone surrogates. No name ends in a slash but a folder's: of a file's, tarfile keeps it in
# some formats and drops it in others.
_LETTERS = st.one_of(
    st.sampled_from("ab._- ~=\n'\"\\"),
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]),
    st.integers(0xDC80, 0xDCFF).map(chr),
)
_PART = st.one_of(
    st.text(_LETTERS, min_size=1, max_size=12),
    st.sampled_from([".", "..", "a.b.png", "folder", "x" * 99, "y" * 100, "z" * 101, "ü" * 50, "ü" * 51, "." * 30]),
    st.integers(90, 300).map(lambda size: "n" * size),
)
NAMES = st.lists(_PART, min_size=1, max_size=8).map("/".join)
SIZES = st.one_of(st.sampled_from([0, 1, 511, 512, 513, 1023, 1024, 1025, 10_240]), st.integers(0, 3000))


@st.composite
def entries_of_all_kinds(draw: st.DrawFn) -> Entry:
    kind = draw(st.sampled_from([*PLAIN, *PLAIN, *OTHERS]))
    content = np.random.default_rng(draw(st.integers(0, 255))).bytes(draw(SIZES)) if kind in PLAIN else b""
    fields = {
        "mtime": draw(st.one_of(st.integers(0, 2**31), st.floats(0, 2e9), st.just(-1.5))),
        "uid": draw(st.sampled_from([0, 1000, 2**21, 2**31])),
        "uname": draw(st.sampled_from(["", "user", "Üser", "u" * 40])),
        "linkname": draw(NAMES) if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else "",
        "pax_headers": draw(st.sampled_from([{}, {}, {"comment": "a=b\nc"}, {"SCHILY.xattr.user.a": "ü" * 300}])),
    }
    name = draw(NAMES)
    if kind == tarfile.AREGTYPE and len(name.encode("utf-8", "surrogateescape")) >= 100:
        kind = tarfile.REGTYPE  # older tarfiles take some of these for folders, see below
    return entry(name, content, kind, **fields)


def _as_read(name: str) -> str:
    """Lone bytes that happen to make a letter together are read as the letter."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")


def plain_files(archive: tarfile.TarFile) -> list[tuple[str, bytes]]:
    return [(info.name, archive.extractfile(info).read()) for info in archive if info.isreg()]  # type: ignore[union-attr]


def read_by_both(content: bytes, path: Path) -> tuple[list[tuple[str, bytes]], list[tuple[str, bytes]]]:
    """(name, content) of every plain file, as we and as tarfile read it."""
    path.write_bytes(content)
    with path.open("rb") as stream:
        members = list(tar._members(stream))
        ours = [(member.name, tar._content(stream, member)) for member in members]
    with tarfile.open(path, encoding="utf-8", errors="surrogateescape") as archive:
        theirs = plain_files(archive)
    return ours, theirs


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tar") / "x.tar"


@pytest.mark.parametrize("form", FORMATS)
@settings(max_examples=100, deadline=None)
@given(
    entries=st.lists(entries_of_all_kinds(), max_size=8),
    of_all=st.sampled_from([None, {"comment": "of all"}, {"mtime": "12.5", "hdrcharset": "ISO-IR 10646 2000 UTF-8"}]),
)
@example(entries=[], of_all=None)
@example(entries=[entry("a.png", b"", tarfile.DIRTYPE), entry("a.png", b"b" * 513)], of_all=None)
@example(entries=[entry("n" * 300 + "/" + "ü" * 300, b"c"), entry("short", b"d")], of_all=None)  # nothing of the first is left
def test_every_plain_file_is_found_with_its_bytes(
    form: str, path: Path, entries: list[Entry], of_all: dict[str, str] | None
) -> None:
    headers = of_all if form == "PAX" and entries else None  # alone they are no archive to tarfile
    content = archive_of(entries, FORMATS[form], headers)
    ours, theirs = read_by_both(content, path)
    assert ours == theirs
    if form != "USTAR":  # which cannot hold every name
        assert theirs == [(_as_read(info.name), content) for info, content in entries if info.type in PLAIN]


def test_folders_of_the_oldest_archives_are_none_of_the_files(path: Path) -> None:
    """Before there were types, a folder was a file whose name ends in a slash."""
    content = archive_of([entry("a/", b"", tarfile.AREGTYPE), entry("a/1.png", b"x", tarfile.AREGTYPE)], tarfile.GNU_FORMAT)
    ours, theirs = read_by_both(content, path)
    assert ours == theirs == [("a/1.png", b"x")]
    long = f"{'n' * 99}/1.png"  # in its header cut behind the slash; older tarfiles take it for a folder and lose it
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        path.write_bytes(archive_of([entry(long, b"x", tarfile.AREGTYPE)], form))
        with path.open("rb") as stream:
            assert [(member.name, tar._content(stream, member)) for member in tar._members(stream)] == [(long, b"x")]


# --- samples ----------------------------------------------------------------------------------------------------------

STEMS = ["a", "a.left", "a.right", "b", "b.1", "dir/a", "dir/a.1", "dir.x/a", "./c", "ü", f"{'long/' * 40}d", ".hidden"]
ENDINGS = [".png", ".png", ".PNG", ".cls", ".CLS", ".json", ""]


def wanted_of(path: Path) -> tuple[list[str], list[int], list[int | None]]:
    """(names, numbers, labels) of the images, as WebDataset's rule says over what tarfile reads."""
    with tarfile.open(path) as archive:
        files = plain_files(archive)

    def key(file: tuple[str, bytes]) -> str:
        folder, last = os.path.split(file[0])
        return f"{folder}/{last.split('.')[0]}"

    names, numbers, labels = [], [], []
    for _, group in groupby(files, key):
        of_key = list(group)
        found = {name[:-4]: int(content) for name, content in of_key if name.lower().endswith(".cls")}
        for name, content in of_key:
            if name.lower().endswith(".png") and not os.path.basename(name).startswith("."):
                folder, last = os.path.split(name)
                common = os.path.join(folder, last.split(".")[0])
                names.append(name)
                numbers.append(int(content[-1]))
                labels.append(found.get(name[:-4], found.get(common)))
    return names, numbers, labels


@pytest.mark.parametrize("form", FORMATS)
@settings(max_examples=100, deadline=None)
@given(files=st.lists(st.tuples(st.sampled_from(STEMS), st.sampled_from(ENDINGS), st.booleans()), max_size=25))
def test_images_and_labels_of_a_key_belong_together(form: str, path: Path, files: list[tuple[str, str, bool]]) -> None:
    entries = []
    for number, (stem, ending, is_folder) in enumerate(files):
        if is_folder:  # between two of a key it does not part them
            entries.append(entry(f"{stem}.d", b"", tarfile.DIRTYPE))
        is_image = ending.lower() == ".png"
        content = encode_image(numbered(1, first=number)[0]) + bytes([number]) if is_image else str(number).encode()
        entries.append(entry(f"{stem}{ending}", content))
    path.write_bytes(archive_of(entries, FORMATS[form]))
    names, numbers, labels = wanted_of(path)
    shard = tar.TarShard(str(path))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", hg.HourglassWarning)  # of files that are neither
        if files and not names:
            with pytest.raises(hg.DataError, match="holds no image"):
                shard.blocks()
            return
        blocks = shard.blocks()
    pieces = [shard.read(block, None, Form()) for block in blocks]
    assert [key.removeprefix(f"{path}#") for piece in pieces for key in piece.keys] == names
    assert [number for piece in pieces for number in numbers_of(piece.images)] == numbers
    read = [label for piece in pieces for label in (piece.labels or [None] * len(piece.rows))]
    assert read == labels


def test_links_to_images_are_left_out_by_name_or_strictly_refused(tmp_path: Path) -> None:
    png = encode_image(np.zeros((4, 4), np.uint8))
    links = {"hard.png": tarfile.LNKTYPE, "soft.png": tarfile.SYMTYPE}
    entries = [entry("0.png", png), *(entry(name, b"", kind, linkname="0.png") for name, kind in links.items())]
    (tmp_path / "links.tar").write_bytes(archive_of(entries, tarfile.PAX_FORMAT))
    with pytest.warns(hg.HourglassWarning, match=r"2 of 3 images cannot be read.*#hard.png: is a link"):
        splits = list(hg.stream(tmp_path / "links.tar", workers=0))
    assert [key for split in splits for key in split.keys] == [f"{tmp_path}/links.tar#0.png"]  # type: ignore[union-attr]
    with pytest.raises(hg.DataError, match=r"hard\.png: is a link in the archive"):
        list(hg.stream(tmp_path / "links.tar", workers=0, strict=True))


def test_labels_without_an_image_beside_them_are_counted(tmp_path: Path) -> None:
    png = encode_image(np.zeros((4, 4), np.uint8))
    entries = [entry(name, content) for name, content in {"0.png": png, "1.png": png, "0.cls": b"1", "1.cls": b"2"}.items()]
    (tmp_path / "apart.tar").write_bytes(archive_of(entries, tarfile.PAX_FORMAT))
    with pytest.warns(hg.HourglassWarning, match=r"2 files in it are neither images nor labels beside an image.*\(2 .cls\)"):
        assert len(hg.stream(tmp_path / "apart.tar", workers=0)) == 2
