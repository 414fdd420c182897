"""A folder of files that mean harm, and what is done to open each."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import hourglass as hg
from hourglass.trained.files import CONFIG, WEIGHTS
from reliability.mutations import sign

Case = tuple[str, Callable[[], object]]


class Harm:
    """Unpickled, it leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


def corpus(folder: Path) -> tuple[list[Case], Path]:
    """([(what it is, what opens it)], the mark that is there if any code of theirs ran)"""
    mark = folder / "mark"
    harm = pickle.dumps(Harm(mark))
    return [*_pickles(folder, harm), *_bombs(folder), *_disguises(folder), *_models(folder, harm, mark)], mark


def _written(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def _load(path: Path) -> Callable[[], object]:
    return lambda: hg.load(str(path))


def _archive(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def _npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def _png(width: int, height: int) -> bytes:
    """A grey PNG of that size, all black, which a few kilobytes hold."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = zlib.compress(bytes((width + 1) * min(height, 64)), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def _pickles(folder: Path, harm: bytes) -> list[Case]:
    objects = np.array([{"a": 1}], dtype=object)
    evil = (
        b"\x93NUMPY\x01\x00"
        + struct.pack("<H", 118)
        + b"{'descr': __import__('os').getpid(), 'shape': (1,)}".ljust(117)
        + b"\n"
    )
    return [
        ("a pickle named .npy", _load(_written(folder / "pickle.npy", harm))),
        ("a pickle named .npz", _load(_written(folder / "pickle.npz", harm))),
        ("a pickle named as IDX", _load(_written(folder / "pickle-ubyte", harm))),
        ("a pickle named .png", _load(_written(folder / "pickle.png", harm))),
        ("an npy of objects", _load(_written(folder / "objects.npy", _npy(objects)))),
        ("an npz of objects", _load(_written(folder / "objects.npz", _archive(**{"images.npy": _npy(objects)})))),
        ("an npz with a pickle inside", _load(_written(folder / "inner.npz", _archive(**{"images.npy": harm})))),
        ("an npy whose header is an expression", _load(_written(folder / "header.npy", evil))),
    ]


def _bombs(folder: Path) -> list[Case]:
    """Of sizes beyond the limits."""
    large = struct.pack(">3I", 2**31, 2**20, 2**20)
    zeros = _npy(np.zeros((1, 8, 8), np.uint8))[:128].replace(b"(1, 8, 8)", b"(9999999, 999, 99)")
    return [
        ("an IDX file that declares 2 exabytes", _load(_written(folder / "bomb-ubyte", b"\0\0\x08\x03" + large))),
        ("the same, in gzip", _load(_written(folder / "bomb.gz", gzip.compress(b"\0\0\x08\x03" + large)))),
        ("an npy that declares 989 GB", _load(_written(folder / "bomb.npy", zeros))),
        ("an npz of 989 GB", _load(_written(folder / "bomb.npz", _archive(**{"images.npy": zeros})))),
        ("a PNG of 10 gigapixels", _load(_written(folder / "bomb.png", _png(100_000, 100_000)))),
    ]


def _disguises(folder: Path) -> list[Case]:
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(mark) (w) file closefile\n"
    drawing = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
    (folder / "links").mkdir()
    (folder / "links" / "outside.png").symlink_to("/etc/passwd")
    up = {"../../images.npy": _npy(np.zeros((2, 8, 8), np.uint8))}
    return [
        ("PostScript named .png", _load(_written(folder / "script.png", script))),
        ("SVG named .png", _load(_written(folder / "drawing.png", drawing))),
        ("a link to a file outside, named .png", _load(folder / "links")),
        ("an npz whose member leads out of the archive", _load(_written(folder / "up.npz", _archive(**up)))),
    ]


def _models(folder: Path, harm: bytes, mark: Path) -> list[Case]:
    digits = hg.load("digits").train.images[:64]
    hg.Autoencoder(3, hidden=(8,), epochs=1, random_state=0).fit(digits).save(folder / "good.hg")
    config = json.loads((folder / "good.hg" / CONFIG).read_text())
    weights = (folder / "good.hg" / WEIGHTS).read_bytes()
    payload = config["payload"]
    settings = config["fitted"]["settings"]

    def model(name: str, weights: bytes, **changes: Any) -> Callable[[], object]:
        import hashlib

        told = config | {"payload": payload | {"bytes": len(weights), "sha256": hashlib.sha256(weights).hexdigest()}} | changes
        _written(folder / name / WEIGHTS, weights)
        _written(folder / name / CONFIG, sign(told).encode())
        return lambda: hg.load_model(folder / name)

    def with_settings(**changes: Any) -> dict[str, Any]:
        return {"fitted": config["fitted"] | {"settings": settings | changes}}

    outside = payload | {"file": "../../../../etc/passwd"}
    corruption = {"corruption": {"name": f"__import__('os').mkdir({str(mark)!r})"}}
    deep = b'{"a":' * 100_000
    _written(folder / "deep.hg" / CONFIG, deep)
    _written(folder / "run.pt", _archive(**{"archive/data.pkl": harm, "archive/version": b"3"}))
    return [
        ("a pickle named model.safetensors", model("pickle.hg", harm)),
        ("a torch archive named model.safetensors", model("torch.hg", _archive(**{"archive/data.pkl": harm}))),
        ("safetensors that declares 2^62 bytes", model("huge.hg", struct.pack("<Q", 2**62) + weights[8:])),
        ("a config.json that names a class", model("class.hg", weights, estimator="os.system")),
        ("a config.json that names a file outside", model("outside.hg", weights, payload=outside)),
        ("a config.json that names code as a corruption", model("code.hg", weights, **with_settings(corruption=corruption))),
        ("a config.json of a network of terabytes", model("wide.hg", weights, **with_settings(hidden=[10**6, 10**6]))),
        ("a config.json of a million layers", model("long.hg", weights, **with_settings(hidden=[1] * 10**6))),
        ("a config.json nested 100,000 deep", lambda: hg.load_model(folder / "deep.hg")),
        ("a torch archive as a checkpoint", lambda: _resume(folder / "run.pt")),
    ]


def _resume(path: Path) -> object:
    digits = hg.load("digits").train.images[:64]
    return hg.Autoencoder(3, hidden=(8,), epochs=1, random_state=0).fit(digits, checkpoint=path, resume=True)


def refused(folder: Path) -> tuple[list[str], list[str]]:
    """(what was refused with an error of ours, what was not); AssertionError if any of their code ran."""
    cases, mark = corpus(folder)
    outcomes: tuple[list[str], list[str]] = ([], [])
    for name, attempt in cases:
        try:
            attempt()
            outcomes[1].append(f"{name}: opened")
        except hg.HourglassError:
            outcomes[0].append(name)
        except Exception as error:  # noqa: BLE001  # whatever else comes is what is looked for
            outcomes[1].append(f"{name}: {type(error).__name__}: {str(error)[:80]}")
        assert not mark.exists(), name
    return outcomes
