"""Generated images for the measurements of docs/scaling.md, in every form that is read."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hourglass.data.files import encode_image

DISTINCT = 20_000  # images; the same again make up larger sets, for what they cost is what is measured
A_SHARD, A_GROUP = 10_000, 1_000
FORMS = ("npy", "parquet of pixels", "parquet", "tar", "folder")


def drawn(n: int, shape: tuple[int, ...], seed: int = 0) -> NDArray[np.uint8]:
    """`n` images (h, w) or (h, w, c): two bright strokes on black each, as plain as digits are."""
    height, width, *channels = shape
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j].astype(np.float32)
    images = np.empty((n, *shape), np.uint8)
    for start in range(0, n, 500):
        m = min(500, n - start)
        total = np.zeros((m, height, width), np.float32)
        for _ in range(2):
            cx, cy, angle, bend = (
                rng.uniform(low, high, (m, 1, 1)) for low, high in ((0.3, 0.7), (0.3, 0.7), (0, 3.1), (-2, 2))
            )
            u, v = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle), (y - cy) * np.cos(angle) - (x - cx) * np.sin(angle)
            total += np.exp(-(((v - bend * u * u) / 0.05) ** 2) - (u / 0.25) ** 4).astype(np.float32)
        pixels = np.where(total > 0.1, np.minimum(total, 1), 0) * 255
        tint = rng.uniform(0.3, 1, (m, 1, 1, *channels)) if channels else 1.0
        images[start : start + m] = (pixels[..., None] if channels else pixels) * tint
    return images


def write(form: str, path: Path, n: int, shape: tuple[int, ...]) -> None:
    """`n` images of `shape` as one of `FORMS`, below or at `path`."""
    images = drawn(min(n, DISTINCT), shape)
    if form == "npy":
        _write_npy(path, images, n)
        return
    path.mkdir(parents=True)
    files = [] if form == "parquet of pixels" else [encode_image(image) for image in images]
    size = min(A_SHARD, -(-n // 4))
    for number, rows in enumerate(np.split(np.arange(n), range(size, n, size))):
        if form == "folder":
            for row in rows:
                (path / f"{row:08d}.png").write_bytes(files[row % len(files)])
        elif form == "tar":
            _write_tar(path / f"{number:05d}.tar", rows, files)
        else:
            _write_parquet(path / f"{number:05d}.parquet", rows, files, images)


def _write_npy(path: Path, images: NDArray[np.uint8], n: int) -> None:
    with path.open("wb") as stream:
        header = {"descr": "|u1", "fortran_order": False, "shape": (n, *images.shape[1:])}
        np.lib.format.write_array_header_1_0(stream, header)
        for start in range(0, n, len(images)):
            stream.write(images[: n - start].data)


def _write_tar(path: Path, rows: NDArray[np.int64], files: list[bytes]) -> None:
    with tarfile.open(path, "w") as archive:
        for name, content in _members(rows, files):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def _members(rows: NDArray[np.int64], files: list[bytes]) -> Iterator[tuple[str, bytes]]:
    for row in rows:
        yield f"{row:08d}.png", files[row % len(files)]
        yield f"{row:08d}.cls", str(row % 10).encode()


def _write_parquet(path: Path, rows: NDArray[np.int64], files: list[bytes], images: NDArray[np.uint8]) -> None:
    if files:
        column = pa.array([files[row % len(files)] for row in rows])
    else:
        column = pa.array(images[rows % len(images)].reshape(-1))
        for side in reversed(images.shape[1:]):
            column = pa.FixedSizeListArray.from_arrays(column, side)
    table = pa.table({"image": column, "key": [f"{row:08d}" for row in rows], "label": rows % 10})
    pq.write_table(table, path, row_group_size=A_GROUP, use_dictionary=["label"])
