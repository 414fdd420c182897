"""Measure what many images cost, and write docs/scaling.md and .json: `make scaling`.

The images are generated (tools/scaling_data.py); each command is the one that a person would type, in a process of its own.
An hour on two cores that do nothing else; --quick is a rehearsal, whose figures mean nothing.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # benchmarks/

import click
import numpy as np
from safetensors.numpy import load_file

import hourglass as hg
from benchmarks.provenance import code_digest, processor
from tools import scaling_data
from tools.scaling_page import PLANNED_BATCH, page

ROOT = Path(__file__).resolve().parent.parent
SMALL, LARGE = (28, 28), (64, 64, 3)
TRAIN = ["train", "--stream", "--epochs", "1", "--seed", "0", "--json", "--batch-size"]
MB = 1e6
Rows = list[dict[str, Any]]


@dataclass
class Sizes:
    """How many images of each measurement."""

    read: int = 20_000
    trained: int = 200_000
    scored: int = 20_000
    few: int = 100_000
    many: int = 1_000_000
    codes: int = 1_000_000


QUICK = Sizes(2_000, 4_000, 1_000, 2_000, 6_000, 70_000)


class Bench:
    """Where the data are, and how commands are run: one thread a process, so that figures are a core's."""

    def __init__(self, folder: Path, sizes: Sizes) -> None:
        self.folder, self.sizes = folder, sizes
        self.environment = os.environ | {"OMP_NUM_THREADS": "1"}

    def data(self, form: str, n: int, shape: tuple[int, ...]) -> Path:
        """`n` generated images, made when first asked for."""
        sides = "x".join(str(side) for side in shape)
        path = self.folder / f"{form.replace(' ', '-')}-{n}-{sides}{'.npy' if form == 'npy' else ''}"
        if not path.exists():
            scaling_data.write(form, path, n, shape)
        return path

    def run(self, *arguments: object, processes: int = 1) -> list[Any]:
        """What `hourglass … --json` prints; with more processes, started by torchrun, what each prints."""
        command = self.command(*arguments, processes=processes)
        printed = subprocess.run(command, env=self.environment, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
        told = []
        while printed:
            content, end = json.JSONDecoder().raw_decode(printed)
            told.append(content)
            printed = printed[end:].strip()
        return told

    def command(self, *arguments: object, processes: int = 1) -> list[str]:
        many = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)] if processes > 1 else []
        return [sys.executable, *many, "-m", "hourglass", *(str(argument) for argument in arguments)]

    def fresh(self, name: str) -> Path:
        """A path below the folder where nothing is."""
        path = self.folder / name
        shutil.rmtree(path, ignore_errors=True)
        return path


def reading(bench: Bench) -> Iterator[dict[str, Any]]:
    """Images a second on one core that does nothing else, and bytes on disk."""
    for shape in (SMALL, LARGE):
        n = bench.sizes.read // (1 if shape == SMALL else 4)
        for form in scaling_data.FORMS:
            path = bench.data(form, n, shape)
            n_bytes = sum(file.stat().st_size for file in path.rglob("*")) if path.is_dir() else path.stat().st_size
            stream = hg.stream(path, workers=0)
            seconds = {"open": _seconds(partial(len, stream)), "first": _seconds(partial(getattr, stream, "shape"))}
            seconds["in order"] = _seconds(partial(_count, iter(stream)))
            seconds["shuffled"] = _seconds(partial(_count, stream.batches(512, 0)))
            rates = {name: n / seconds[name] for name in ("open", "in order", "shuffled")}
            yield {"form": form, "shape": shape, "images": n, "bytes_an_image": n_bytes / n, **rates}


def training(bench: Bench) -> Iterator[dict[str, Any]]:
    """Images a second of `hourglass train`, by one process and two, and what goes over the network."""
    few, many = 512, PLANNED_BATCH
    for shape, form, batch in (
        (SMALL, "npy", few),
        (SMALL, "parquet", few),
        (LARGE, "npy", few),
        (LARGE, "npy", many),
        (LARGE, "parquet", many),
    ):
        n = bench.sizes.trained // (1 if shape == SMALL else 4)
        data = bench.data(form, n, shape)
        for processes in (1, 2):
            output = bench.fresh("trained.hg")
            before = _loopback_bytes()
            (told,) = bench.run(*TRAIN, batch, "--data", data, "--task", "autoencoder", "-o", output, processes=processes)
            carried = _loopback_bytes() - before
            row = told["history"][0]
            weights = sum(array.size for array in load_file(output / "model.safetensors").values())
            steps = -(-(n - min(n // 10, 10_000)) // batch)
            yield {
                "form": form,
                "shape": shape,
                "batch": batch,
                "processes": processes,
                "images": n,
                "images_a_second": row["images_per_second"],
                "vector_bytes": 4 * (weights + 2),
                "carried_bytes_a_step": carried / steps if processes > 1 else 0.0,
            }


def memory(bench: Bench) -> Iterator[dict[str, Any]]:
    """Peak memory of all processes of a command, for few images and for ten times as many."""
    model = bench.fresh("memory.hg")
    bench.run(*TRAIN, 512, "--data", bench.data("npy", bench.sizes.read, SMALL), "--task", "autoencoder", "-o", model)
    for form in ("npy", "parquet", "tar", "folder"):
        for verb in ("train", "encode"):
            peaks = []
            for n in (bench.sizes.few, bench.sizes.many):
                data, output = bench.data(form, n, SMALL), bench.fresh("memory-output")
                if verb == "train":
                    command = bench.command(*TRAIN, 512, "--data", data, "--task", "autoencoder", "-o", output)
                else:
                    command = bench.command("encode", model, data, "--stream", "-o", output)
                peaks.append(_peak(command, bench.environment) / MB)
            yield {"form": form, "verb": verb, "few": peaks[0], "many": peaks[1], "growth": peaks[1] / peaks[0] - 1}
        for n in (bench.sizes.few, bench.sizes.many):
            shutil.rmtree(bench.data(form, n, SMALL)) if form != "npy" else bench.data(form, n, SMALL).unlink()


def scoring(bench: Bench) -> Iterator[dict[str, Any]]:
    """Images a second of the verbs that work through shards, on one core, by one process and two, and what they write."""
    for shape in (SMALL, LARGE):
        n = bench.sizes.scored // (1 if shape == SMALL else 4)
        data = bench.data("parquet", n, shape)
        tasks = {
            "encode": "autoencoder",
            "detect": "detector",
            "denoise": "denoiser",
            "compress": "compressor",
            "search": "retriever",
        }
        for verb, task in tasks.items() if shape == SMALL else [("encode", "autoencoder")]:
            model = bench.fresh(f"{task}.hg")
            bench.run(*TRAIN, 512, "--data", data, "--task", task, "-o", model)
            options = {"compress": ["--model", model]}.get(verb, [])
            arguments = [verb, *([] if options else [model]), data, *options, "--workers", 0, "--json", "-o"]
            output = bench.fresh("scored")
            (told,) = bench.run(*arguments, output)
            written = sum(file.stat().st_size for file in output.rglob("*") if file.is_file())
            two = max(each["seconds"] for each in bench.run(*arguments, bench.fresh("scored-by-two"), processes=2))
            yield {
                "verb": verb,
                "shape": shape,
                "images": told["images"],
                "images_a_second": told["images"] / told["seconds"],
                "by_two": told["images"] / two,
                "bytes_an_image": written / told["images"],
            }


def agreement(bench: Bench) -> Iterator[dict[str, Any]]:
    """How far the weights of one process and of two are apart after an epoch on MNIST, and those of one that was nudged."""
    for task, optimizer, rate in (("autoencoder", "adam", 0.001), ("denoiser", "adam", 0.001), ("denoiser", "muon", None)):
        told, weights = [], []
        for processes in (1, 2):
            output = bench.fresh("agreeing.hg")
            arguments = [
                *TRAIN,
                512,
                "--data",
                bench.folder / "mnist.npy",
                "--task",
                task,
                "--optimizer",
                optimizer,
                "-o",
                output,
            ]
            arguments += [] if rate is None else ["--learning-rate", rate]
            told.append(bench.run(*arguments, processes=processes)[0]["history"][0])
            weights.append(load_file(output / "model.safetensors"))
        yield {
            "task": task,
            "optimizer": optimizer,
            "apart": max(float(np.abs(weights[0][name] - weights[1][name]).max()) for name in weights[0]),
            "nudged_apart": _nudged(bench, task, optimizer, rate),
            "validation_losses": [row["validation_loss"] for row in told],
        }


def _nudged(bench: Bench, task: str, optimizer: str, rate: float | None) -> float:
    """As far apart as one process comes from itself, if its first weights change by a ten-millionth of themselves."""
    import torch

    class Nudge(hg.Callback):
        def on_train_begin(self, run: Any) -> None:
            chance = torch.Generator().manual_seed(0)
            with torch.no_grad():
                for parameter in run.network.parameters():
                    parameter.mul_(1 + 1e-7 * torch.randn(parameter.shape, generator=chance))

    kind = {"autoencoder": hg.Autoencoder, "denoiser": hg.Denoiser}[task]
    made = []
    for callbacks in ([], [Nudge()]):
        model = kind(optimizer=optimizer, learning_rate=rate, epochs=1, batch_size=512, random_state=0)
        made.append(model.fit(hg.stream(bench.folder / "mnist.npy"), callbacks=callbacks).network_.state_dict())
    return max(float((made[0][name] - made[1][name]).abs().max()) for name in made[0])


def killed(bench: Bench) -> Iterator[dict[str, Any]]:
    """Seconds from the kill of one of two processes to the end of torchrun, and what it said; then with a restart."""
    data = bench.data("npy", bench.sizes.trained, SMALL)
    for restarts in (0, 1):
        output = bench.fresh("killed.hg")
        arguments = ["train", "--stream", "--data", data, "--task", "autoencoder", "--epochs", "4", "-o", output]
        command = bench.command(*arguments, processes=2)
        command[command.index("--standalone") : command.index("--standalone")] = [f"--max-restarts={restarts}"]
        process = subprocess.Popen(command, env=bench.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        checkpoint = output.with_name(f"{output.name}.checkpoint")
        while not checkpoint.exists() and process.poll() is None:
            time.sleep(0.05)
        victim = [child for child in _tree(process.pid) if "hourglass" in _command_of(child)][-1]
        os.kill(victim, signal.SIGKILL)
        start = time.perf_counter()
        said = process.communicate()[1]
        checkpoint.unlink(missing_ok=True)
        words = [line for line in said.splitlines() if line.startswith("error: ")]
        yield {
            "restarts": restarts,
            "seconds": time.perf_counter() - start,
            "exit_code": process.returncode,
            "says": words[0] if words else "",
            "is_trained": (output / "config.json").exists(),
        }


def retrieval(bench: Bench) -> Iterator[dict[str, Any]]:
    """tools/scaling_index.py, with all threads."""
    command = [sys.executable, str(ROOT / "tools" / "scaling_index.py"), "--n", str(bench.sizes.codes)]
    for more in (["--backend", "ivfpq"], ["--backend", "ivfpq", "--n-clusters", "1"], ["--backend", "exact"]):
        made = subprocess.run([*command, *more], stdout=subprocess.PIPE, check=True)
        yield json.loads(made.stdout)


MEASURES: dict[str, Callable[[Bench], Iterator[dict[str, Any]]]] = {
    "reading": reading,
    "training": training,
    "scoring": scoring,
    "agreement": agreement,
    "killed": killed,
    "retrieval": retrieval,
    "memory": memory,
}


def _count(parts: Iterator[Any]) -> int:
    return sum(len(part.images) for part in parts)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _loopback_bytes() -> int:
    """What this machine has sent to itself."""
    line = next(line for line in Path("/proc/net/dev").read_text().splitlines() if line.strip().startswith("lo:"))
    return int(line.split(":")[1].split()[8])


def _peak(command: list[str], environment: dict[str, str]) -> float:
    """The largest resident memory of a command and its children together, in bytes, looked at every 20 ms."""
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        peak = max(peak, sum(_resident(child) for child in _tree(process.pid)))
        time.sleep(0.02)
    if process.returncode:
        raise click.ClickException(f"{' '.join(command)} ended with {process.returncode}.")
    return float(peak)


def _tree(process: int) -> list[int]:
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
        threads = [int(thread.name) for thread in Path(f"/proc/{process}/task").iterdir()]
        for thread in threads:
            if thread != process:
                children += Path(f"/proc/{process}/task/{thread}/children").read_text().split()
    except OSError:  # it has ended
        return [process]
    return [process, *(below for child in children for below in _tree(int(child)))]


def _resident(process: int) -> int:
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def _command_of(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


@click.command()
@click.option("--only", multiple=True, type=click.Choice(list(MEASURES)), help="Measure these; the others stay as they are.")
@click.option("--quick", is_flag=True, help="A rehearsal on few images.")
@click.option("-o", "--output", default=ROOT / "docs", type=click.Path(path_type=Path), help="Where scaling.md and .json go.")
def main(only: tuple[str, ...], quick: bool, output: Path) -> None:
    """Measure, and write the page."""
    path = output / "scaling.json"
    content: dict[str, Any] = json.loads(path.read_text()) if only and path.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), QUICK if quick else Sizes())
        np.save(bench.folder / "mnist.npy", hg.load("auto").train.images)
        for name, measure in MEASURES.items():
            if not only or name in only:
                start, rows = time.perf_counter(), []
                for row in measure(bench):
                    click.echo(f"{name}: {json.dumps(row)}")
                    rows.append(row)
                content[name] = {
                    "about": {"code": code_digest(), "processor": processor(), "seconds": round(time.perf_counter() - start)},
                    "rows": json.loads(json.dumps(rows)),
                }
                output.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps(content, indent=1) + "\n")
    (output / "scaling.md").write_text(page(content), encoding="utf-8")


if __name__ == "__main__":
    main()
