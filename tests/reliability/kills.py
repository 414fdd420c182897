"""Processes that are killed while they train and save, and a disk that is full."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

import hourglass as hg

_SHORTEST, _LONGEST = 0.02, 0.5  # seconds until a kill
_OLD = 1.1  # seconds after which a part that was left is taken for one


@dataclass
class Losses:
    """What the kills cost."""

    kills: int = 0
    unloadable: int = 0
    most_epochs_lost: int = 0
    left_behind: int = 0
    """Parts that are still there after the next run."""
    seen_behind: int = 0
    """Parts that the kills left."""


def in_own_process(amount: int, seed: int, folder: Path) -> Losses:
    """`kill` in a fresh process: it forks, which one with threads had better not."""
    command = [sys.executable, "-m", "reliability.kills", str(amount), str(seed), str(folder)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return Losses(**json.loads(done.stdout))


def kill(amount: int, seed: int, folder: Path) -> Losses:
    """Kill `amount` processes at random moments, half of them training, half of them saving a model again and again."""
    torch.set_num_threads(1)
    images = hg.load("digits").train.images[:200]
    chance, losses, seen = random.Random(seed), Losses(), set[str]()
    models = [_autoencoder(1, seed).fit(images) for seed in (0, 1)]
    models[0].save(folder / "model.hg")
    codes = [model.transform(images[:5]) for model in models]
    for number in range(amount):
        work = _train if number % 2 == 0 else _save
        finished = _killed(partial(work, folder, images, models), chance.uniform(_SHORTEST, _LONGEST))
        losses.kills += 1
        seen |= {part.name for part in folder.glob(".*.part")}
        try:
            if work is _train and finished:
                kept = _epochs_of(folder / "run.checkpoint", images)
                losses.most_epochs_lost = max(losses.most_epochs_lost, finished[-1] - kept)
            loaded = hg.load_model(folder / "model.hg").transform(images[:5])
            assert any(np.array_equal(loaded, known) for known in codes), "a mixture of two models"
        except (hg.HourglassError, AssertionError):
            losses.unloadable += 1
    time.sleep(_OLD)
    models[0].save(folder / "model.hg")
    _autoencoder(1, 0).fit(images, checkpoint=folder / "run.checkpoint")
    losses.seen_behind, losses.left_behind = len(seen), len(list(folder.glob(".*.part")))
    return losses


def fill(folder: Path) -> str:
    """What came of a disk that was full in the midst of a training; AssertionError if the last good epoch was lost."""
    disk = folder / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True, check=False)
    if mounted.returncode:
        return "not tried: mounting a small tmpfs is not allowed here"
    try:
        images = hg.load("digits").train.images[:200]
        path = disk / "run.checkpoint"

        class Fill(hg.Callback):
            def on_epoch_end(self, run: object) -> None:
                if len(run.history) == 3:  # type: ignore[attr-defined]
                    (disk / "filler").write_bytes(bytes(max(0, _free(disk) - 4096)))

        try:
            _autoencoder(6, 0).fit(images, checkpoint=path, callbacks=[Fill()])
        except OSError as error:
            reason = error.strerror
        else:
            raise AssertionError("the disk was not full")
        assert _epochs_of(path, images, 6) == 2
        (disk / "filler").unlink()
        whole = _autoencoder(6, 0).fit(images)
        resumed = _autoencoder(6, 0).fit(images, checkpoint=path, resume=True)
        assert np.array_equal(whole.transform(images), resumed.transform(images))
        assert not list(disk.glob(".*.part"))
        return f'"{reason}"; the epoch before was kept, and resumed bit for bit'
    finally:
        subprocess.run(["umount", str(disk)], check=False)


def _free(disk: Path) -> int:
    told = os.statvfs(disk)
    return told.f_bavail * told.f_frsize


def _autoencoder(epochs: int, seed: int) -> hg.Autoencoder:
    return hg.Autoencoder(8, hidden=(64,), epochs=epochs, batch_size=20, random_state=seed)


def _epochs_of(path: Path, images: np.ndarray, epochs: int = 100_000) -> int:
    """How many epochs a checkpoint holds, by going on from it."""
    found: list[int] = []

    class Stop(hg.Callback):
        def on_train_begin(self, run: object) -> None:
            found.append(run.epoch)  # type: ignore[attr-defined]
            raise InterruptedError

    try:
        _autoencoder(epochs, 0).fit(images, checkpoint=path, resume=True, callbacks=[Stop()])
    except InterruptedError:
        pass
    return found[0]


def _train(folder: Path, images: np.ndarray, _: object, tell: Callable[[int], object]) -> None:
    class Tell(hg.Callback):
        def on_epoch_end(self, run: object) -> None:
            tell(run.epoch)  # type: ignore[attr-defined]

    path = folder / "run.checkpoint"
    _autoencoder(100_000, 0).fit(images, checkpoint=path, resume=path.exists(), callbacks=[Tell()])


def _save(folder: Path, _: object, models: list[hg.Autoencoder], tell: Callable[[int], object]) -> None:
    for number in range(100_000):
        models[number % 2].save(folder / "model.hg")
        tell(number)


def _killed(work: Callable[[Callable[[int], object]], None], seconds: float) -> list[int]:
    """What `work` told until its process was killed, so many seconds after it first told something."""
    reader, writer = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(reader)
        try:
            work(lambda number: os.write(writer, number.to_bytes(4, "little")))
        finally:
            os._exit(1)
    os.close(writer)
    first = os.read(reader, 4)
    time.sleep(seconds)
    os.kill(process, signal.SIGKILL)
    rest = b""
    while piece := os.read(reader, 1 << 16):
        rest += piece
    os.close(reader)
    os.waitpid(process, 0)
    told = first + rest
    return [int.from_bytes(told[at : at + 4], "little") for at in range(0, len(told) - 3, 4)]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[3]) as inner:
        print(json.dumps(asdict(kill(int(sys.argv[1]), int(sys.argv[2]), Path(inner)))))
