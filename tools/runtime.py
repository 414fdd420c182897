"""Exported models in an environment of their own: `python tools/runtime.py [FOLDER]`.

Installs the distribution in runtime/ into a new environment (in FOLDER, or a temporary one); exports a denoiser and a detector.
What `hourglass run` writes there must be what `hourglass denoise` and `detect` write here, also of shards, and so must the
answer of a service that is started as in deploy/Dockerfile. Rounding may differ by a level in one of a thousand pixels, and in
the fourth digit of scores. Prints the environment's size, without the service and Parquet, and the time to start. Returns 1 if
anything differs, torch or scikit-learn is there, or the size is above its limit.
"""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

import hourglass as hg

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 250  # MB
INSTALL = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--constraint", ROOT / "constraints.txt")
HOURGLASS = (sys.executable, "-m", "hourglass")
SHEET = Path("sheet.png")  # its captions are in another font there
ALONE = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # nothing of this environment
ABSENT = ("torch", "sklearn", "scipy", "matplotlib", "onnx", "onnxscript")
_STARTS = 7
_ROUNDED = 0.001  # share of pixels on the edge between two levels
_START = (
    "import resource, sys; import hourglass as hg; hg.load_onnx(sys.argv[1]); use = resource.getrusage(resource.RUSAGE_SELF); "
    "print(use.ru_utime + use.ru_stime)"
)


def main() -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python = installed(Path(sys.argv[1]) if len(sys.argv) > 1 else folder / "environment")
        there = output_of(python, "-c", _ABSENCE).split()
        size = sum(file.stat().st_size for file in python.parent.parent.rglob("*") if file.is_file()) / 1e6
        write_images(folder / "images")
        digits = hg.load("digits").train.images
        models = {
            "denoise": hg.Denoiser(8, network="maps", hidden=(8,), epochs=2, random_state=0).fit(digits),
            "detect": hg.AnomalyDetector(8, epochs=2, random_state=0).fit(digits),
        }
        differing = [file for verb, model in models.items() for file in compared(verb, model, folder, python)]
        walls, seconds = starts(python, folder / "denoise.onnx")
        output_of(python, *INSTALL, f"{ROOT / 'runtime'}[parquet,web]")
        differing += streamed(folder, python)
        differing += served(folder, python)
    print(f"environment of hourglass-runtime: {size:.0f} MB (at most {LIMIT})")
    print(f"to a loaded model: {walls:.2f} s, of which {seconds:.2f} s of processor time (least of {_STARTS})")
    print(f"modules that should be absent: {' '.join(there) or 'none'}; files that differ: {', '.join(differing) or 'none'}")
    return int(bool(there or differing or size > LIMIT))


_ABSENCE = f"from importlib.util import find_spec; print(*[name for name in {ABSENT!r} if find_spec(name)])"


def installed(folder: Path) -> Path:
    """The interpreter of a new environment that holds hourglass-runtime, with the pinned versions."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    output_of(python, *INSTALL, ROOT / "runtime")
    return python


def streamed(folder: Path, python: Path) -> list[str]:
    """Apply the detector to shards, here and there; the part if it differs."""
    parts, shards = [folder / "parts-here", folder / "parts-there"], (folder / "images", "--stream", "-o")
    subprocess.run([*HOURGLASS, "detect", folder / "detect.hg", *shards, parts[0]], check=True, stdout=subprocess.PIPE)
    output_of(python, "-m", "hourglass", "run", folder / "detect.onnx", *shards, parts[1])
    tables = [pq.read_table(part / "part-00000.parquet") for part in parts]
    cells = [[str(cell) for column in table.columns for cell in column.to_pylist()] for table in tables]
    is_same = tables[0].column_names == tables[1].column_names and len(cells[0]) == len(cells[1]) and all(map(agree, *cells))
    rejects = [(part / "part-00000.rejects.csv").read_text(encoding="utf-8") for part in parts]
    return [] if is_same and rejects[0] == rejects[1] else ["the part of a shard"]


def served(folder: Path, python: Path) -> list[str]:
    """Serve both as deploy/Dockerfile does; what is wrong with the answers."""
    (start,) = [line for line in (ROOT / "deploy" / "Dockerfile").read_text().splitlines() if line.startswith("ENTRYPOINT")]
    program, *arguments = json.loads(start.removeprefix("ENTRYPOINT"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    arguments[arguments.index("--port") + 1] = port
    command = [python.with_name(program), *arguments, folder / "denoise.onnx", folder / "detect.onnx"]
    process = subprocess.Popen(command, env=ALONE, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        address = f"http://127.0.0.1:{port}"
        await_health(address, process)
        body = (folder / "images" / "grey.png").read_bytes()
        (folder / "answer.png").write_bytes(asked(f"{address}/models/denoise/denoise", body))
        (found,) = json.loads(asked(f"{address}/models/detect/detect", body))["images"]
    finally:
        process.send_signal(signal.SIGTERM)
        status = process.wait(60)
    with open(folder / "detect-here" / "anomalies.csv", newline="", encoding="utf-8") as file:
        (score,) = [row["score"] for row in csv.DictReader(file) if row["path"].endswith("grey.png")]
    is_same = same_content(folder / "answer.png", folder / "denoise-here" / "grey.png") and agree(score, str(found["score"]))
    return ([] if is_same else ["the answers of the service"]) + ([f"the service ended with {status}"] if status else [])


def asked(address: str, body: bytes) -> bytes:
    request = urllib.request.Request(address, body, {"Content-Type": "image/png"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        content: bytes = answer.read()
        return content


def await_health(address: str, process: subprocess.Popen[bytes], seconds: float = 60) -> None:
    end = time.perf_counter() + seconds
    while True:
        try:
            urllib.request.urlopen(f"{address}/health", timeout=5).close()
            return
        except OSError:
            if time.perf_counter() > end or process.poll() is not None:
                raise
            time.sleep(0.2)


def output_of(python: Path, *arguments: str | Path) -> str:
    """What an interpreter prints, without the modules of this environment."""
    return subprocess.run([python, *arguments], stdout=subprocess.PIPE, text=True, check=True, env=ALONE, cwd=ROOT).stdout


def write_images(folder: Path) -> None:
    """Images of several sizes and depths, grey and in colour, and one file that is none."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, (41, 33), dtype=np.uint8)
    Image.fromarray(grey).save(folder / "grey.png")
    Image.fromarray(rng.integers(0, 256, (21, 50, 3), dtype=np.uint8)).save(folder / "colour.jpg")
    Image.fromarray(grey.astype(np.uint16) * 16).save(folder / "deep.tif")
    (folder / "broken.png").write_bytes(b"no image")


def compared(verb: str, model: hg.Denoiser | hg.AnomalyDetector, folder: Path, python: Path) -> list[str]:
    """Apply a model here with its verb, and exported there; the files that differ."""
    model.save(folder / f"{verb}.hg")
    hg.export_onnx(folder / f"{verb}.hg", folder / f"{verb}.onnx")
    here, there = folder / f"{verb}-here", folder / f"{verb}-there"
    subprocess.run([*HOURGLASS, verb, folder / f"{verb}.hg", folder / "images", "-o", here], check=True, stdout=subprocess.PIPE)
    output_of(python, "-m", "hourglass", "run", folder / f"{verb}.onnx", folder / "images", "-o", there)
    files = sorted(file.relative_to(there) for file in there.rglob("*") if file.is_file())
    is_same = {file: (here / file).is_file() and same_content(here / file, there / file) for file in files if file != SHEET}
    missing = {file.relative_to(here) for file in here.iterdir() if file.is_file()} - set(files)
    return [f"{verb}: {file}" for file in [*missing, *(file for file, same in is_same.items() if not same)]]


def same_content(one: Path, other: Path) -> bool:
    """Whether two files are equal, but for rounding."""
    if one.suffix != ".csv":
        pixels = [np.asarray(Image.open(file)).astype(np.int64) for file in (one, other)]
        differences = np.abs(pixels[0] - pixels[1]) if pixels[0].shape == pixels[1].shape else np.array([np.inf])
        return bool(differences.max() <= 1 and (differences > 0).mean() <= _ROUNDED)
    rows = [list(csv.reader(file.read_text(encoding="utf-8").splitlines())) for file in (one, other)]
    cells = [[cell for row in table for cell in row] for table in rows]
    return len(cells[0]) == len(cells[1]) and all(map(agree, *cells))


def agree(one: str, other: str) -> bool:
    try:
        return bool(np.isclose(float(one), float(other), rtol=1e-3, atol=1e-3))
    except ValueError:
        return one == other


def starts(python: Path, model: Path) -> tuple[float, float]:
    """The least seconds from the start of a process to a loaded model: by the clock, and of the processor."""
    walls, seconds = [], []
    for _ in range(_STARTS):
        begun = time.perf_counter()
        seconds.append(float(output_of(python, "-c", _START, model)))
        walls.append(time.perf_counter() - begun)
    return min(walls), min(seconds)


if __name__ == "__main__":
    sys.exit(main())
