"""Every loader, given thousands of files that are almost right: it may refuse or read them, and nothing else.

Checksums are computed anew after a change where there are any: a file that its checksum refuses would show nothing of what
lies behind it.
"""

from __future__ import annotations

import contextlib
import copy
import gzip
import hashlib
import io
import json
import random
import resource
import signal
import struct
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors.numpy import save as to_safetensors

import hourglass as hg
from hourglass.codec import Container, count, pack, unpack
from hourglass.data import array_files, files, folders, pictures
from hourglass.estimators import ESTIMATORS
from hourglass.trained.files import CONFIG, WEIGHTS
from hourglass.training import checkpoints
from reliability import indexes, shards

ENDLESS = 20.0  # seconds after which a reading is taken for endless
Mutate = Callable[[random.Random], bytes]
Read = Callable[[bytes], object]


@dataclass
class Outcome:
    """What came of the mutations of one format."""

    read: int = 0
    refused: int = 0
    crashes: list[str] = field(default_factory=list)
    slowest: float = 0.0
    memory_mb: float = 0.0


def mutate(content: bytes, chance: random.Random) -> bytes:
    """`content` with one to eight changes: bits, bytes, numbers, pieces removed, repeated or moved."""
    changed = bytearray(content)
    for _ in range(chance.choice((1, 1, 1, 2, 4, 8))):
        at = chance.randrange(len(changed) or 1)
        span = chance.randint(1, 1 + len(changed) // 8)
        kind = chance.randrange(7)
        if kind == 0 and changed:
            changed[at] ^= 1 << chance.randrange(8)
        elif kind == 1 and changed:
            changed[at] = chance.choice((0, 1, 127, 128, 255, chance.randrange(256)))
        elif kind == 2:
            number = chance.choice((0, 1, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1))
            changed[at : at + 4] = struct.pack(chance.choice("<>") + "I", number)
        elif kind == 3:
            del changed[at : at + span]
        elif kind == 4:
            changed[at:at] = changed[at : at + span]
        elif kind == 5:
            changed[at:at] = chance.randbytes(chance.randint(1, 16))
        else:
            del changed[chance.randrange(len(changed) + 1) :]
    return bytes(changed)


def mutate_json(value: Any, chance: random.Random) -> Any:
    """A JSON value with one part of it replaced, removed or repeated."""
    places: list[tuple[Any, Any]] = []

    def collect(inner: Any) -> None:
        if isinstance(inner, dict):
            places.extend((inner, key) for key in inner)
            for part in inner.values():
                collect(part)
        elif isinstance(inner, list):
            places.extend((inner, index) for index in range(len(inner)))
            for part in inner:
                collect(part)

    value = copy.deepcopy(value)
    collect(value)
    for _ in range(chance.choice((1, 1, 2, 3))):
        holder, key = chance.choice(places)
        if (isinstance(holder, dict) and key not in holder) or (isinstance(holder, list) and key >= len(holder)):
            continue
        kind = chance.randrange(4)
        if kind == 0:
            holder.pop(key)
        elif kind == 1:
            other_holder, other_key = chance.choice(places)
            known = other_key in other_holder if isinstance(other_holder, dict) else other_key < len(other_holder)
            holder[key] = copy.deepcopy(other_holder[other_key]) if known else None
        else:
            holder[key] = chance.choice(
                (
                    None,
                    True,
                    0,
                    -1,
                    1,
                    3,
                    1e308,
                    1e-320,
                    float("nan"),
                    2**31,
                    2**63,
                    10**30,
                    "",
                    "mlp",
                    "__class__",
                    [],
                    {},
                    [[]],
                )
            )
    return value


# --- the formats: name -> (what makes a mutated file, what reads it) -----------------------------------------------------


def formats(folder: Path) -> dict[str, tuple[Mutate, Read]]:
    """Each format, with seeds that are written below `folder`."""
    return {
        "IDX": _file(_idx(), folder / "x-images-idx3-ubyte", array_files.read_idx),
        "IDX, gzip": _file([gzip.compress(content) for content in _idx()], folder / "x-idx3-ubyte.gz", array_files.read_idx),
        "npy": _file(_npy(), folder / "x.npy", array_files.read_npy),
        "npz": _file(_npz(), folder / "x.npz", folders.read),
        "images": _images(folder / "image"),
        "config.json": _model_config(folder / "config.hg"),
        "model.safetensors": _model_weights(folder / "weights.hg"),
        "models of all kinds": _any_model(folder / "kinds"),
        "checkpoint": _checkpoint(folder / "run.checkpoint"),
        ".hgc": _hgc(),
        **indexes.formats(folder / "indexes", mutate_json, _mutated_array, sign),
        **shards.formats(folder, mutate),
    }


def _file(seeds: list[bytes], path: Path, read: Callable[[Path], object]) -> tuple[Mutate, Read]:
    def from_disk(content: bytes) -> object:
        path.write_bytes(content)
        return read(path)

    return lambda chance: mutate(chance.choice(seeds), chance), from_disk


def _idx() -> list[bytes]:
    images = np.arange(3 * 4 * 5, dtype=np.uint8).tobytes()
    return [b"\0\0\x08\x03" + struct.pack(">3I", 3, 4, 5) + images, b"\0\0\x0d\x01" + struct.pack(">I", 4) + bytes(16)]


def _npy() -> list[bytes]:
    contents = []
    for array in (np.zeros((3, 4, 5), np.uint8), np.ones((2, 3, 3, 3), np.float32), np.asfortranarray(np.eye(4))):
        stream = io.BytesIO()
        np.save(stream, array)
        contents.append(stream.getvalue())
    return contents


def _npz() -> list[bytes]:
    contents = []
    for save in (np.savez, np.savez_compressed):
        stream = io.BytesIO()
        save(stream, x_train=np.zeros((3, 4, 5), np.uint8), y_train=np.arange(3), x_test=np.zeros((1, 4, 5), np.uint8))
        contents.append(stream.getvalue())
    return contents


def _images(path: Path) -> tuple[Mutate, Read]:
    values = np.random.default_rng(0).integers(0, 256, (12, 9, 4), np.uint8)
    seeds = []
    for kind in sorted(set(files.IMAGE_FORMATS.values())):
        for mode in ("L", "RGB", "RGBA", "P", "1", "CMYK", "I;16", "F"):
            deep: dict[str, np.ndarray] = {
                "I;16": values[..., 0].astype(np.uint16) * 257,
                "F": values[..., 0].astype(np.float32),
            }
            image = Image.fromarray(deep[mode]) if mode in deep else Image.fromarray(values[..., :3]).convert(mode)
            for options in ({}, {"save_all": True, "append_images": [image] * 2}):
                stream = io.BytesIO()
                try:
                    image.save(stream, kind, **options)
                except (OSError, ValueError, KeyError):  # a mode that the format does not have, or one page only
                    continue
                seeds.append(stream.getvalue())

    def read(path: Path) -> object:
        pictures.largest_values(path)
        return [*pictures.read_pictures(path, (8, 8)), files.read_image(path)]

    return _file(seeds, path, read)


def _model(path: Path) -> dict[str, Any]:
    """A saved generator; its config.json."""
    if not path.exists():
        _saved("generator", path)
    config: dict[str, Any] = json.loads((path / CONFIG).read_text())
    return config


def _saved(kind: str, path: Path) -> None:
    """A small estimator of this kind, fitted to digits and saved."""
    digits = hg.load("digits").train
    small: dict[str, Any] = {"epochs": 1, "random_state": 0}
    model: Any = ESTIMATORS[kind](**small) if kind == "enhancer" else ESTIMATORS[kind](3, **small)
    model.fit(digits.images[:100], digits.known_labels[:100] if kind == "generator" else None).save(path)


def use(model: Any) -> None:
    """What each kind of model is for, on a blank image."""
    blank = np.zeros((1, *model.sample_.size), np.uint8)
    model.reconstruct(blank)
    model.score(blank)
    if isinstance(model, hg.Generator):
        model.sample(3, random_state=0)
        model.score_samples(blank)
    elif isinstance(model, hg.AnomalyDetector):
        model.predict(blank)
    elif isinstance(model, hg.Compressor):
        model.decompress(model.compress(blank))


def sign(config: Any) -> str:
    """A config.json as the library writes it, with checksums that fit."""
    if not isinstance(config, dict):
        return json.dumps(config)
    rest = {key: value for key, value in config.items() if key != "sha256"}
    rest["sha256"] = hashlib.sha256((json.dumps(rest, indent=1) + "\n").encode()).hexdigest()
    return json.dumps(rest, indent=1) + "\n"


def _model_config(path: Path) -> tuple[Mutate, Read]:
    config = _model(path)
    written = (path / CONFIG).read_bytes()

    def mutated(chance: random.Random) -> bytes:
        if chance.random() < 0.2:
            return mutate(written, chance)
        return sign(mutate_json(config, chance)).encode()

    def read(content: bytes) -> None:
        (path / CONFIG).write_bytes(content)
        use(hg.load_model(path))  # what loads, works

    return mutated, read


def _model_weights(path: Path) -> tuple[Mutate, Read]:
    config = _model(path)
    payload = (path / WEIGHTS).read_bytes()

    def mutated(chance: random.Random) -> bytes:
        head = 8 + int.from_bytes(payload[:8], "little")
        if chance.random() < 0.7:  # where the sizes and names are
            return mutate(payload[:head], chance) + payload[head:]
        return mutate(payload, chance)

    def read(content: bytes) -> None:
        (path / WEIGHTS).write_bytes(content)
        told = config | {"payload": {"file": WEIGHTS, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}}
        (path / CONFIG).write_text(sign(told))
        use(hg.load_model(path))  # what loads, works

    return mutated, read


def _any_model(folder: Path) -> tuple[Mutate, Read]:
    """All kinds but one with an index, and what they learned beside the network, under checksums that fit."""
    whole: dict[str, tuple[Any, dict[str, np.ndarray]]] = {}
    for kind in sorted(set(ESTIMATORS) - {hg.Retriever.saved_as}):
        _saved(kind, folder / f"{kind}.hg")
        config = json.loads((folder / f"{kind}.hg" / CONFIG).read_text())
        whole[kind] = config, _tensors((folder / f"{kind}.hg" / WEIGHTS).read_bytes())

    def mutated(chance: random.Random) -> bytes:
        config, tensors = whole[chance.choice(list(whole))]
        tensors = dict(tensors)
        learned = [name for name in tensors if name.startswith("learned:")]
        if learned and chance.random() < 0.7:
            name = chance.choice(learned)
            tensors[name] = _mutated_array(tensors[name], chance)
        else:
            fitted = mutate_json({"parameters": config["parameters"], "fitted": config["fitted"]}, chance)
            config = config | fitted
        payload = to_safetensors(tensors)
        told = {"file": WEIGHTS, "bytes": len(payload), "sha256": hashlib.sha256(payload).hexdigest()}
        text = sign(config | {"payload": told}).encode()
        return len(text).to_bytes(4, "little") + text + payload

    def read(content: bytes) -> None:
        path, end = folder / "mutated.hg", 4 + int.from_bytes(content[:4], "little")
        path.mkdir(exist_ok=True)
        (path / CONFIG).write_bytes(content[4:end])
        (path / WEIGHTS).write_bytes(content[end:])
        use(hg.load_model(path))

    return mutated, read


def _mutated_array(array: np.ndarray, chance: random.Random) -> np.ndarray:
    kind = chance.randrange(6)
    if kind == 0 and array.ndim:
        return np.ascontiguousarray(array[: chance.randint(0, len(array))])
    if kind == 1:
        return np.ascontiguousarray(array.reshape(-1))
    if kind == 2:
        return array[None].copy()
    if kind == 3:
        return np.zeros_like(array)
    if kind == 4:
        return array.astype(chance.choice(("float32", "float64", "int64", "uint8")))
    changed = array.copy().reshape(-1)
    if len(changed):
        changed[chance.randrange(len(changed))] = chance.choice((0, 1, 127))
    return changed.reshape(array.shape)


def _checkpoint(path: Path) -> tuple[Mutate, Read]:
    digits = hg.load("digits").train.images[:64]
    made: dict[str, Any] = {"n_components": 3, "hidden": (8,), "epochs": 2, "optimizer": "adam", "random_state": 0}
    try:
        hg.Autoencoder(**made).fit(digits, checkpoint=path, callbacks=[_StopInSecond()])
    except InterruptedError:
        pass
    whole = path.read_bytes()  # of the first of two epochs: steps are taken with what it holds
    start = 8 + int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8:start])

    def mutated(chance: random.Random) -> bytes:
        if chance.random() < 0.3:
            return mutate(whole, chance)
        state = json.loads(header["__metadata__"]["state"])
        text = json.dumps(mutate_json(state, chance))
        tensors = _tensors(whole)
        name = chance.choice(list(tensors))
        if chance.random() < 0.3:
            tensors.pop(name)
        elif chance.random() < 0.5:
            tensors[name] = _mutated_array(tensors[name], chance)
        digest = checkpoints._digest({name: _torch(array) for name, array in tensors.items()}, text)
        return to_safetensors(tensors, {"state": text, "sha256": digest})

    def read(content: bytes) -> object:
        path.write_bytes(content)
        return hg.Autoencoder(**made).fit(digits, checkpoint=path, resume=True)

    return mutated, read


class _StopInSecond(hg.Callback):
    """Ends a run in its second epoch."""

    def on_batch_end(self, run: Any) -> None:
        if run.epoch == 1:
            raise InterruptedError


def _tensors(content: bytes) -> dict[str, np.ndarray]:
    from safetensors.numpy import load

    return load(content)


def _torch(array: np.ndarray) -> Any:
    import torch

    return torch.from_numpy(np.array(array))


def _hgc() -> tuple[Mutate, Read]:
    symbols = np.random.default_rng(0).integers(-3, 4, (20, 4)).astype(np.int32)
    tables = count(symbols)
    few = pack(Container(b"modelsum", (8, 8), symbols[:3]), tables)
    many = pack(Container(b"modelsum", (8, 8), symbols, [(8, 8)] * 20, [f"n{i}" for i in range(20)]), tables)

    def mutated(chance: random.Random) -> bytes:
        body = mutate(chance.choice((few, many))[:-8], chance)
        return body + hashlib.sha256(body).digest()[:8]

    return mutated, lambda content: unpack(content, b"modelsum", tables)


@contextlib.contextmanager
def in_time() -> Iterator[None]:
    """Within it what takes `ENDLESS` seconds ends with a TimeoutError."""

    def end(*_: object) -> None:
        raise TimeoutError(f"no end after {ENDLESS:g} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, ENDLESS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def attack(name: str, mutated: Mutate, read: Read, amount: int, seed: int) -> Outcome:
    """Read `amount` mutated files of a format, drawn from `seed`."""
    outcome, chance = Outcome(), random.Random(f"{name} {seed}")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(amount):
        content = mutated(chance)
        start = time.perf_counter()
        try:
            with warnings.catch_warnings(), in_time():
                warnings.simplefilter("ignore")
                read(content)
            outcome.read += 1
        except hg.HourglassError:
            outcome.refused += 1
        except Exception as error:  # noqa: BLE001  # whatever else comes is what is looked for
            outcome.crashes.append(f"{type(error).__name__}: {str(error)[:100]}")
        outcome.slowest = max(outcome.slowest, time.perf_counter() - start)
    outcome.memory_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / 1e6
    return outcome
