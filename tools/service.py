"""Measure `hourglass serve` under load: `python tools/service.py [--seconds 60] [-o docs]`, about seven minutes.

Starts the service of two denoisers in two workers, on this machine alone, and writes service.json and service.md: how long
answers take with 64 clients of which three requests in ten are malformed, whether an answer was wrong, whether memory grows,
what the kill of a worker loses, and how the throughput compares with `transform`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # beside the service, which has the cores
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # benchmarks/

import click
import numpy as np

import hourglass as hg
from benchmarks.provenance import code_digest, processor
from hourglass.data.array_files import decode_npy, encode_npy
from hourglass.images import to_uint8
from hourglass.onnx import export_onnx
from tools.service_clients import Question, Tally, Uint8, asked, client, questions

CLIENTS, WORKERS, IMAGES = 64, 2, 32
WARM = 0.2  # share of a run before memory is compared
BLOCK, ROUNDS = 256, 3  # images of a batch, alternating rounds of service and transform
BARS = {"small_p99_ms": 100.0, "large_p99_ms": 400.0, "memory": 0.10, "throughput": 0.70}


# --- the service --------------------------------------------------------------------------------------------------------


@dataclass
class Running:
    """A service in a process of its own."""

    process: subprocess.Popen[str]
    port: int
    log: Path

    def workers(self) -> list[int]:
        """The processes that answer."""
        events = [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines()]
        ready = [event["worker"] for event in events if event["event"] == "ready"]
        return [pid for pid in ready if Path(f"/proc/{pid}/statm").exists()]

    def cpu(self) -> float:
        """Seconds of processor time of all workers so far."""
        rows = [Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split() for pid in self.workers()]
        return sum(int(row[11]) + int(row[12]) for row in rows) / os.sysconf("SC_CLK_TCK")

    def resident(self) -> int:
        """Bytes of memory of all workers."""
        pages = [int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) for pid in self.workers()]
        return sum(pages) * os.sysconf("SC_PAGE_SIZE")


@contextlib.contextmanager
def running(models: dict[str, Path], folder: Path, workers: int, *options: str) -> Iterator[Running]:
    """The service of `models` until the context ends."""
    log = folder / f"log-{time.monotonic_ns()}"
    named = [f"{name}={path}" for name, path in models.items()]
    command = [
        sys.executable,
        "-m",
        "hourglass",
        "serve",
        *named,
        "--port",
        "0",
        "--workers",
        str(workers),
        "--quiet",
        *options,
    ]
    environment = {name: value for name, value in os.environ.items() if workers == 1 or name != "OMP_NUM_THREADS"}
    with log.open("w") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        found = re.search(r":(\d+)/", line)
        assert found, line
        service = Running(process, int(found[1]), log)
        while len(service.workers()) < workers:
            time.sleep(0.1)
        yield service
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    finally:
        process.kill()
        process.wait()


async def load(
    service: Running, source: Iterator[Question], n_clients: int, seconds: float, rate: float = 0.0, kill_after: float = 0.0
) -> dict[str, Any]:
    """Have clients ask for some seconds: as fast as they are answered, or together `rate` a second."""
    tally, memory, began = Tally(), list[int](), time.monotonic()
    period = n_clients / rate if rate else 0.0
    paces = [(period, period * number / n_clients) for number in range(n_clients)]
    clients = [asyncio.create_task(client(service.port, source, began + seconds, pace, tally)) for pace in paces]
    owned: set[int] = set()
    worked = service.cpu()
    while not all(one.done() for one in clients):
        await asyncio.sleep(0.5)
        memory.append(service.resident())
        if kill_after and time.monotonic() - began > kill_after:
            victim, kill_after = service.workers()[0], 0.0
            owned = ports_of(victim)
            os.kill(victim, signal.SIGKILL)
    await asyncio.gather(*clients)
    spread = sorted(tally.seconds)
    warm = memory[int(WARM * len(memory)) :]
    figures: dict[str, Any] = {
        **{"clients": n_clients, "seconds": round(time.monotonic() - began, 1), "answered": len(spread)},
        "refused": sum(count for status, count in tally.statuses.items() if 400 <= status < 500),
        "busy": tally.statuses[429] + tally.statuses[503],
        "failed": sum(count for status, count in tally.statuses.items() if status >= 500),
        "wrong": tally.wrong,
        "per_second": round(sum(tally.statuses.values()) / (time.monotonic() - began), 1),
        **{f"p{share}_ms": round(1000 * spread[int(share / 100 * len(spread))], 1) for share in (50, 95, 99) if spread},
        "memory_mb": round(warm[0] / 1e6),
        "memory_growth": round(max(warm) / warm[0] - 1, 3),
    }
    if not owned:
        figures["cpu_ms"] = round(1000 * (service.cpu() - worked) / max(1, sum(tally.statuses.values())), 2)
    else:
        figures |= {"lost": len(tally.lost_ports), "lost_of_others": len(set(tally.lost_ports) - owned)}
    return figures


def ports_of(pid: int) -> set[int]:
    """The ports at the other end of the connections of a process (Linux)."""
    links = [os.readlink(one) for one in Path(f"/proc/{pid}/fd").iterdir() if one.is_symlink()]
    inodes = {link[8:-1] for link in links if link.startswith("socket:[")}
    rows = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
    return {int(row[2].partition(":")[2], 16) for row in rows if row[9] in inodes}


# --- throughput ---------------------------------------------------------------------------------------------------------


def throughput(model: Any, name: str, batches: list[Uint8], folder: Path, path: Path, seconds: float) -> dict[str, Any]:
    """Images a second of the service in one worker of one thread, and of `transform` in one thread, on the same batches."""
    bodies = [encode_npy(batch) for batch in batches]
    sent = [asked(f"/models/{name}/denoise", body, None).sent for body in bodies]
    model.transform(batches[0])
    rates: dict[str, list[float]] = {"service": [], "transform": []}
    with running({name: path}, folder, 1, "--max-pixels", "100") as service:
        for _ in range(ROUNDS):
            count, began = 0, time.monotonic()
            for batch in itertools.cycle(batches):
                model.transform(batch)
                count += len(batch)
                if time.monotonic() - began > seconds:
                    break
            rates["transform"].append(count / (time.monotonic() - began))
            rates["service"].append(asyncio.run(_stream(service.port, sent, batches, model, seconds)))
    ratios = [one / other for one, other in zip(rates["service"], rates["transform"], strict=True)]
    means = {kind: round(statistics.median(values), 1) for kind, values in rates.items()}
    return {"images_in_a_batch": len(batches[0]), **means, "ratio": round(statistics.median(ratios), 3)}


async def _stream(port: int, sent: list[bytes], batches: list[Uint8], model: Any, seconds: float) -> float:
    """Images a second of three connections, so that one is always computed; the first answer of each is compared."""
    count, began = 0, time.monotonic()

    async def ask() -> None:
        nonlocal count
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 24)
        for number in itertools.cycle(range(len(sent))):
            writer.write(sent[number])
            head = await reader.readuntil(b"\r\n\r\n")
            found = re.search(rb"content-length: (\d+)", head)
            assert found
            body = await reader.readexactly(int(found[1]))
            if count < len(batches[0]):
                assert np.allclose(decode_npy(body, "the answer"), model.transform(batches[number]), atol=1e-5)
            count += len(batches[number])
            if time.monotonic() - began > seconds:
                break
        writer.close()

    await asyncio.gather(*(ask() for _ in range(3)))
    return count / (time.monotonic() - began)


# --- all of it ----------------------------------------------------------------------------------------------------------


def trained(folder: Path) -> dict[str, tuple[Any, Path, Uint8]]:
    """(model, its folder, images) of digits of 28×28 and of photographs of 512×512."""
    digits = hg.load("mnist").train.images
    small = hg.Denoiser(epochs=1, random_state=0).fit(digits[:5000])
    photo = hg.load("sample-photos").train.images
    grey = [to_uint8(np.asarray(image)[..., :3].mean(2) / 255) for image in photo]
    large = hg.Denoiser(12, network="maps", hidden=(24, 48), epochs=1, random_state=0).fit(grey)
    rng = np.random.default_rng(0)
    crops = [np.resize(grey[number % len(grey)], (512, 512)) for number in range(IMAGES)]
    noisy = [np.clip(crop + rng.normal(0, 25, crop.shape), 0, 255).astype(np.uint8) for crop in crops]
    chosen = {"digits": (small, digits[-IMAGES:]), "photos": (large, np.stack(noisy))}
    for name, (model, _) in chosen.items():
        model.save(folder / f"{name}.hg")
    return {name: (model, folder / f"{name}.hg", images) for name, (model, images) in chosen.items()}


def measure(folder: Path, seconds: float) -> dict[str, Any]:
    """All figures."""
    models = trained(folder)
    paths = {name: path for name, (_, path, _) in models.items()}
    (small, small_path, digits), (large, large_path, photos) = models["digits"], models["photos"]
    loads, times = list[float](), list[float]()
    for number in range(6):
        began = time.perf_counter()
        large.transform(photos[number : number + 1])
        times.append(time.perf_counter() - began)
    alone = statistics.median(times[1:])
    figures: dict[str, Any] = {"photo_alone_ms": round(1000 * alone, 1)}

    def run(name: str, *given: Any, **options: Any) -> None:
        loads.append(os.getloadavg()[0])
        with running(paths, folder, WORKERS) as service:
            figures[name] = asyncio.run(load(service, *given, **options))
        print(name, figures[name], flush=True)

    run("small_light", questions(small, "digits", digits), CLIENTS, seconds / 3, rate=50.0)
    run("small", questions(small, "digits", digits), CLIENTS, seconds, rate=200.0)
    run("small_saturated", questions(small, "digits", digits), CLIENTS, seconds / 3)
    run("large_light", questions(large, "photos", photos), CLIENTS, seconds / 3, rate=0.2 / alone)
    run("large", questions(large, "photos", photos), CLIENTS, seconds, rate=0.5 / alone)
    run("large_saturated", questions(large, "photos", photos), CLIENTS, seconds / 3)
    run("killed", questions(small, "digits", digits), CLIENTS, seconds / 3, kill_after=seconds / 10)
    blocks = [hg.load("mnist").train.images[start : start + BLOCK] for start in range(0, 4 * BLOCK, BLOCK)]
    figures["throughput_small"] = throughput(small, "digits", blocks, folder, small_path, seconds / 12)
    exported = folder / "digits.onnx"
    export_onnx(small, exported)
    figures["throughput_exported"] = throughput(small, "digits", blocks, folder, exported, seconds / 12)
    figures["throughput_large"] = throughput(large, "photos", [photos[:4], photos[4:8]], folder, large_path, seconds / 12)
    figures["load_before"] = [round(load, 1) for load in loads]
    return figures


ROWS = {
    "small_light": "28×28, 64 clients, 50 requests a second",
    "small": "28×28, 64 clients, 200 requests a second",
    "small_saturated": "28×28, 64 clients, as fast as they are answered",
    "large_light": "512×512, 64 clients, a fifth of what one core computes",
    "large": "512×512, 64 clients, half of what one core computes",
    "large_saturated": "512×512, 64 clients, as fast as they are answered",
    "killed": "28×28, 64 clients, one worker killed (SIGKILL)",
}
THROUGHPUTS = {
    "throughput_small": "28×28",
    "throughput_exported": "28×28, exported to ONNX",
    "throughput_large": "512×512",
}


def to_markdown(content: dict[str, Any]) -> str:
    """The page."""
    figures = content["figures"]
    about = (
        f"Written by `{content['command']}` with version {content['version']} on {content['processor']}, "
        f"{content['cores']} cores. The clients ran on the same cores, and so did whatever else the machine did: its load "
        f"before each run was {', '.join(map(str, figures['load_before']))}. Three in ten requests are malformed, in ten ways. "
        f"The service has {WORKERS} workers of one thread. One 512×512 image takes the model alone "
        f"{figures['photo_alone_ms']:g} ms. Where a rate is given, times count from when a request was due."
    )
    lines = [
        f"# The service under load\n\n{about}\n",
        "| load | replies a second | median | 95 % | 99 % | processor time | wrong | 5xx | memory, after the first fifth |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, title in ROWS.items():
        row = figures[name]
        spread = " | ".join(f"{row[f'p{share}_ms']:g} ms" for share in (50, 95, 99))
        cost = f"{row['cpu_ms']:g} ms" if "cpu_ms" in row else ""
        memory = f"{row['memory_mb']} MB, {100 * row['memory_growth']:+.1f} % at most" if cost else ""
        lines.append(f"| {title} | {row['per_second']:g} | {spread} | {cost} | {row['wrong']} | {row['failed']} | {memory} |")
    killed = figures["killed"]
    lines += [
        f"\nThe kill lost {killed['lost']} requests, {killed['lost_of_others']} of them of other workers.\n",
        "| throughput in one worker, medians of alternating rounds | service | `transform` | of the rounds' ratios |",
        "| --- | --- | --- | --- |",
    ]
    for name, title in THROUGHPUTS.items():
        row = figures[name]
        rates = f"{row['service']:,g} images/s | {row['transform']:,g} images/s | {row['ratio']:.2f}"
        lines.append(f"| {title}, {row['images_in_a_batch']} images a request | {rates} |")
    lines.append("\n| bar | figure | kept |\n| --- | --- | --- |")
    lines += [f"| {bar} | {figure} | {'yes' if is_kept else 'no'} |" for bar, figure, is_kept in verdicts(figures)]
    return "\n".join(lines) + "\n"


def verdicts(figures: dict[str, Any]) -> list[tuple[str, str, bool]]:
    """(bar, figure, whether it is kept)"""
    wrong = sum(figures[name]["wrong"] for name in ROWS)
    small, large = figures["small"]["p99_ms"], figures["large"]["p99_ms"]
    growth = max(figures[name]["memory_growth"] for name in ROWS)
    others = figures["killed"]["lost_of_others"]
    at_least = "throughput at least 70 % of `transform`"
    ratios = [(f"{title}: {at_least}", figures[name]["ratio"]) for name, title in THROUGHPUTS.items()]
    return [
        ("no wrong answer", str(wrong), wrong == 0),
        ("28×28: 99 % within 100 ms", f"{small:g} ms", small <= BARS["small_p99_ms"]),
        ("512×512: 99 % within 400 ms", f"{large:g} ms", large <= BARS["large_p99_ms"]),
        ("memory flat within 10 %", f"{100 * growth:+.1f} %", growth <= BARS["memory"]),
        *((bar, f"{100 * ratio:.0f} %", ratio >= BARS["throughput"]) for bar, ratio in ratios),
        ("a killed worker loses only its own requests", f"{others} of others", others == 0),
    ]


@click.command()
@click.option("--seconds", default=60.0, show_default=True, type=click.FloatRange(3, 600), help="Of each load.")
@click.option("-o", "--output", default="docs", show_default=True, type=click.Path(path_type=Path))
def main(seconds: float, output: Path) -> None:
    """Measure, and write service.json and service.md."""
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), seconds)
    content = {
        "command": f"python tools/service.py --seconds {seconds:g}",
        **{"version": hg.__version__, "code": code_digest(), "processor": processor(), "cores": len(os.sched_getaffinity(0))},
        "figures": figures,
    }
    output.mkdir(parents=True, exist_ok=True)
    (output / "service.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    (output / "service.md").write_text(to_markdown(content), encoding="utf-8")
    for bar, figure, is_kept in verdicts(figures):
        click.echo(f"{'kept' if is_kept else 'MISSED':7s}{bar}: {figure}")


if __name__ == "__main__":
    main()
