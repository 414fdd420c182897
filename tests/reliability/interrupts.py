"""Ctrl-C in any verb, and two runs with one output."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

COMMAND = [sys.executable, "-m", "hourglass"]


def verbs(folder: Path) -> dict[str, list[str]]:
    """Each verb with work for a while, on models that are trained below `folder` first."""
    for task in ("denoiser", "detector", "generator", "retriever", "compressor", "enhancer"):
        epochs = ["--data", "digits", "--task", task, "--epochs", "1", "-o", str(folder / f"{task}.hg")]
        done = subprocess.run([*COMMAND, "train", *epochs], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    data = ["--data", "digits"]
    long = [*data, "--epochs", "100000"]

    def model(task: str) -> str:
        return str(folder / f"{task}.hg")

    return {
        "train": ["train", *long, "-o", str(folder / "new.hg")],
        "demo": ["demo", *data, "-o", str(folder / "demo")],
        "chapter": ["chapter", *data, "-o", str(folder / "chapter")],
        "evaluate": ["evaluate", "--suite", "uses", *data, "-o", str(folder / "results")],
        "denoise": ["denoise", model("denoiser"), "digits", "-o", str(folder / "clean.npy")],
        "detect": ["detect", model("detector"), "digits", "-o", str(folder / "found")],
        "generate": ["generate", model("generator"), "-o", str(folder / "sheet.png"), "--n", "200000"],
        "encode": ["encode", model("denoiser"), "digits", "-o", str(folder / "codes.npz")],
        "search": ["search", model("retriever"), "digits", "-o", str(folder / "near")],
        "compress": ["compress", "digits", "-o", str(folder / "digits.hgc"), "--model", model("compressor")],
        "enhance": ["enhance", model("enhancer"), "digits", "-o", str(folder / "large")],
        "explore": ["explore", model("generator"), *data, "--port", "0"],
    }


def interrupt(arguments: list[str], after: float, sign: Path | None = None) -> tuple[float, int, str]:
    """(seconds from SIGINT to the end, exit code, standard error) of a verb; 0 seconds if it had ended before.

    SIGINT comes so many seconds `after` it began, or the file `sign` appeared.
    """
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=_hear,  # noqa: PLW1509  # it takes no lock
    )
    try:
        if sign is not None:
            _wait(sign)
        _, told = process.communicate(timeout=after)
        return 0.0, process.returncode, told
    except subprocess.TimeoutExpired:
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
        return time.monotonic() - began, process.returncode, told


def broken(folder: Path, amount: int, seed: int) -> tuple[int, float, list[str]]:
    """(interrupts that came in time, the longest end in seconds, what went wrong) of `amount` for each verb."""
    chance, wrong, slowest, n_interrupts = random.Random(seed), [], 0.0, 0
    for name, arguments in verbs(folder).items():
        for _ in range(amount):
            seconds, code, told = interrupt(arguments, chance.uniform(0.1, 5.0))
            if code == 0:  # it had ended, or was about to
                continue
            n_interrupts += 1
            slowest = max(slowest, seconds)
            if code != 130 or "Traceback" in told or not told.strip().endswith("interrupted."):
                wrong.append(f"{name}: exit code {code}, {told.strip()[-200:]!r}")
    left = [path.name for path in folder.rglob("*.part")]
    return n_interrupts, slowest, wrong + [f"left behind: {name}" for name in left]


def _hear() -> None:
    """Take SIGINT as a terminal's processes do: in the background of a shell it is ignored, and children would inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _wait(path: Path) -> None:
    """Until there is such a file, or a minute is over."""
    until = time.monotonic() + 60
    while not path.exists() and time.monotonic() < until:
        time.sleep(0.05)


def second_refused(folder: Path) -> str:
    """What a second run into the same output says, while the first goes on."""
    arguments = [*COMMAND, "train", "--data", "digits", "--epochs", "100000", "-o", str(folder / "same.hg")]
    first = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait(folder / "same.hg.checkpoint")
        second = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
        assert second.returncode == 2, second.stderr
        assert first.poll() is None
        return second.stderr.strip()
    finally:
        first.kill()
        first.wait()
