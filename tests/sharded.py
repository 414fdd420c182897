"""Images in every form that is read in parts, for tests."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hourglass.data.files import encode_image
from hourglass.data.shards import Block, Form, Piece, Shard

Images = NDArray[np.uint8]


def numbered(n: int, shape: tuple[int, ...] = (4, 5), first: int = 0) -> Images:
    """Images that say their number: `numbers_of` reads it."""
    images = np.full((n, *shape), 7, np.uint8)
    flat = images.reshape(n, -1)
    flat[:, 0], flat[:, 1] = np.divmod(np.arange(first, first + n), 256)
    return images


def numbers_of(images: Any) -> list[int]:
    if not len(images):
        return []
    flat = np.asarray(images).reshape(len(images), -1).astype(int)
    return (256 * flat[:, 0] + flat[:, 1]).tolist()


class Counted(Shard):
    """A shard of numbered images in blocks of given sizes, which lies in no file; those in `unreadable` are rejects."""

    kind = "counted"
    first: int
    sizes: tuple[int, ...]
    unreadable: frozenset[int]

    def __init__(self, first: int, sizes: Sequence[int], unreadable: Sequence[int] = ()) -> None:
        super().__init__(f"shard{first}")
        vars(self).update(first=first, sizes=tuple(sizes), unreadable=frozenset(unreadable))

    def blocks(self) -> list[Block]:
        starts = np.cumsum([0, *self.sizes])
        return [Block(int(start), int(start), size) for start, size in zip(starts, self.sizes, strict=False)]

    def read(self, block: Block, rows: NDArray[np.int64] | None, form: Form) -> Piece:
        wanted = block.first + (np.arange(block.n_images) if rows is None else rows)
        good = [int(row) for row in wanted if self.first + row not in self.unreadable]
        bad = [int(row) for row in wanted if self.first + row in self.unreadable]
        images = numbered(sum(self.sizes), first=self.first)[good]
        return Piece(good, images, [self.key(row) for row in good], None, [(self.key(row), "is none.") for row in bad])


# --- one shard of a kind: images and labels to bytes ------------------------------------------------------------------


def npy(images: NDArray[Any], labels: Any = None) -> bytes:
    stream = io.BytesIO()
    np.save(stream, images)
    return stream.getvalue()


def tar(images: Images | Sequence[Images], labels: Any = None, form: int = tarfile.USTAR_FORMAT, first: int = 0) -> bytes:
    members = {}
    for row, image in enumerate(images, first):
        members[f"{row:04d}.png"] = encode_image(image)
        if labels is not None:
            members[f"{row:04d}.cls"] = str(labels[row - first]).encode()
    return tar_of(members, form)


def tar_of(members: dict[str, bytes], form: int = tarfile.USTAR_FORMAT) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def gnu(images: Images | Sequence[Images], labels: Any = None) -> bytes:
    return _long_named(images, labels, tarfile.GNU_FORMAT)


def pax(images: Images | Sequence[Images], labels: Any = None) -> bytes:
    return _long_named(images, labels, tarfile.PAX_FORMAT)


def _long_named(images: Images | Sequence[Images], labels: Any, form: int) -> bytes:
    """Names that do not fit a plain header, one of them in other letters."""
    members = {}
    for row, image in enumerate(images):
        stem = f"{'folder/' * 20}bild-ü-{row:04d}" if row % 2 else f"{row:04d}"
        members[f"{stem}.png"] = encode_image(image)
        if labels is not None:
            members[f"{stem}.cls"] = str(labels[row]).encode()
    return tar_of(members, form)


def parquet_of(columns: dict[str, Any], **options: Any) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    stream = io.BytesIO()
    pq.write_table(pa.table(columns), stream, **options)
    return stream.getvalue()


def parquet(images: Images | Sequence[Images], labels: Any = None) -> bytes:
    """Image files as bytes, several row groups."""
    return parquet_of(_columns([encode_image(image) for image in images], labels), row_group_size=30)


def structs(images: Images | Sequence[Images], labels: Any = None) -> bytes:
    """As Hugging Face's datasets has them."""
    rows = [{"bytes": encode_image(image), "path": f"{row}.png"} for row, image in enumerate(images)]
    return parquet_of(_columns(rows, labels))


def nested(images: Images | Sequence[Images], labels: Any = None) -> bytes:
    return parquet_of(_columns([image.tolist() for image in images], labels))


def flat(images: Images | Sequence[Images], labels: Any = None) -> bytes:
    return parquet_of(_columns([image.reshape(-1).tolist() for image in images], labels))


def fixed(images: Images | Sequence[Images], labels: Any = None) -> bytes:
    """Lists whose lengths stand in the type."""
    import pyarrow as pa

    column = pa.array(np.stack(list(images)).reshape(-1))
    for side in reversed(images[0].shape):
        column = pa.FixedSizeListArray.from_arrays(column, side)
    return parquet_of(_columns(column, labels))


def _columns(images: Any, labels: Any) -> dict[str, Any]:
    return {"image": images} if labels is None else {"image": images, "label": list(labels)}


def floats(images: Images, labels: Any = None) -> bytes:
    return npy(images.astype(np.float32) / 255)


KINDS: dict[str, tuple[str, Callable[..., bytes]]] = {
    "npy": (".npy", npy),
    "npy of floats": (".npy", floats),
    "tar": (".tar", tar),
    "tar, GNU": (".tar", gnu),
    "tar, PAX": (".tar", pax),
    "parquet of files": (".parquet", parquet),
    "parquet of structs": (".parquet", structs),
    "parquet of nested lists": (".parquet", nested),
    "parquet of fixed lists": (".parquet", fixed),
    "parquet of flat lists": (".parquet", flat),
}


def write(kind: str, folder: Path, images: Images, labels: Any = None, n_shards: int = 3) -> Path:
    """The images in some shards of a kind below `folder`, or as a folder of files with the labels as subfolders."""
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "folder":
        for row, image in enumerate(images):
            place = folder if labels is None else folder / str(labels[row])
            place.mkdir(exist_ok=True)
            (place / f"{row:05d}.png").write_bytes(encode_image(image))
        return folder
    ending, encode = KINDS[kind]
    for number, rows in enumerate(np.array_split(np.arange(len(images)), n_shards)):
        given = None if labels is None else [labels[row] for row in rows]
        (folder / f"part{number}{ending}").write_bytes(encode(images[rows], given))
    return folder
