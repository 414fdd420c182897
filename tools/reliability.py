"""Keep every promise of docs/reliability.md once more, and write down how it went: `python tools/reliability.py`.

The exercises are those of tests/reliability; the tests do a little of each. About half an hour on two quiet cores.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the same bits need the same number of threads
ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import click  # noqa: E402

import hourglass as hg  # noqa: E402
from benchmarks.provenance import code_digest, processor  # noqa: E402
from hourglass.data import files  # noqa: E402
from hourglass.networks import NETWORKS  # noqa: E402
from reliability import (  # noqa: E402
    bombs,
    busy,
    collapse,
    damage,
    hostile,
    interrupts,
    kills,
    mutations,
    oddities,
    pressure,
    repeats,
    shards,
)

KILLS, FLIPS, MUTATIONS, RESUMES, INTERRUPTS = 200, 2000, 20_000, 5, 3
CLIENTS, SECONDS, BESIDE = 50, 60.0, 3


@dataclass
class Kept:
    """How one promise was kept."""

    promise: str
    how: str
    bar: str
    figure: str
    is_kept: bool
    seconds: float = 0.0


def no_code_runs(folder: Path, seed: int) -> Iterator[Kept]:
    refused, others = hostile.refused(folder)
    how = f"{len(refused) + len(others)} hostile files: " + "; ".join(refused)
    figure = f"{len(refused)} refused with our own error" + (f"; {'; '.join(others)}" if others else "; none of their code ran")
    yield Kept("No code runs from data or models", how, "all refused", figure, not others)


def loaders_survive(folder: Path, seed: int) -> Iterator[Kept]:
    kept = files.MAX_BYTES, files.MAX_PIXELS
    files.MAX_BYTES, files.MAX_PIXELS = 64 << 20, 4_000_000
    for name, (mutated, read) in mutations.formats(folder).items():
        outcome = mutations.attack(name, mutated, read, MUTATIONS, seed)
        how = f"{name}: {MUTATIONS:,} mutations, checksums made to fit"
        figure = f"{outcome.refused:,} refused, {outcome.read:,} read, {len(outcome.crashes)} crashes; "
        figure += f"slowest {1000 * outcome.slowest:.0f} ms, memory +{outcome.memory_mb:.0f} MB"
        is_kept = not outcome.crashes and outcome.slowest <= 1 and outcome.memory_mb <= 64
        yield Kept("Every loader survives garbage", how, "0 crashes, 0 over 1 s, memory within 64 MB", figure, is_kept)
    files.MAX_BYTES, files.MAX_PIXELS = kept


def shards_do_no_harm(folder: Path, seed: int) -> Iterator[Kept]:
    kept = files.MAX_BYTES, files.MAX_PIXELS
    files.MAX_BYTES, files.MAX_PIXELS = 64 << 20, 4_000_000
    found, grown = shards.outcomes(folder, mutations.in_time)
    files.MAX_BYTES, files.MAX_PIXELS = kept
    wanted = {name: f"{shards.READ[name]} images" if name in shards.READ else "DataError" for name in found}
    wrong = [f"{name}: {came}" for name, came in found.items() if came != wanted[name]]
    how = f"{len(found)} hostile shards: {'; '.join(found)}"
    refused = sum(came == "DataError" for came in found.values())
    figure = f"{refused} refused with our own error, of {len(found) - refused} the harmless images read; "
    figure += f"memory +{grown / 1e6:.0f} MB" + "".join(f"; {what}" for what in wrong)
    is_kept = not wrong and grown <= 2 * (64 << 20)
    yield Kept("Shards do no harm", how, "refused or left out, memory within 2 × the limit", figure, is_kept)


def loaders_survive_guided(folder: Path, seed: int) -> Iterator[Kept]:
    failed, last = [], ""
    for name in ("IDX", "IDX, gzip", "npy", "npz", "images", "model.safetensors", ".hgc"):
        (folder / name).mkdir()
        command = [
            sys.executable,
            str(ROOT / "tools" / "fuzz.py"),
            name,
            str(folder / name),
            f"-runs={MUTATIONS}",
            f"-seed={seed}",
        ]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", cwd=folder, check=False)
        if done.returncode:
            failed.append(name)
            last = next((line for line in reversed(done.stderr.splitlines()) if "Error" in line), done.stderr[-100:])
    how = f"atheris, guided by the lines that are reached, {MUTATIONS:,} inputs a format: all but config.json and checkpoints"
    figure = "no crash, none over 1 s" if not failed else f"failed: {', '.join(failed)}: {last}"
    yield Kept("Every loader survives garbage", how, "0 crashes, 0 over 1 s", figure, not failed)


def damage_is_noticed(folder: Path, seed: int) -> Iterator[Kept]:
    for what, (flipped, noticed) in (
        ("model", damage.flip_model(folder, FLIPS, seed)),
        ("compressed file", damage.flip_hgc(FLIPS, seed)),
    ):
        how = f"{flipped:,} single bits flipped, anywhere in it"
        yield Kept(f"A damaged {what} is noticed", how, "100%", f"{100 * noticed / flipped:g}%", noticed == flipped)


def kills_lose_an_epoch(folder: Path, seed: int) -> Iterator[Kept]:
    losses = kills.in_own_process(KILLS, seed, folder)
    figure = f"{losses.unloadable} unloadable, {losses.most_epochs_lost} epoch lost at most, "
    figure += f"{losses.seen_behind} half-written files left by kills, {losses.left_behind} after the next run"
    is_kept = losses.unloadable == losses.left_behind == 0 and losses.most_epochs_lost <= 1
    how = f"{losses.kills} × SIGKILL at random moments of training and saving"
    yield Kept("A kill loses at most one epoch", how, "0 unloadable, ≤ 1 epoch, leftovers swept", figure, is_kept)
    told = kills.fill(folder)
    yield Kept(
        "A full disk loses at most one epoch",
        "a tmpfs of 1 MB, filled",
        "the last epoch is kept",
        told,
        "not tried" not in told,
    )


def repeats_are_equal(folder: Path, seed: int) -> Iterator[Kept]:
    differing = {kind: repeats.differing(kind, folder, RESUMES, seed) for kind in repeats.kinds()}
    how = f"{RESUMES} runs of each of {len(differing)} kinds, stopped at random steps, again and again: {'; '.join(differing)}"
    total, n_runs = sum(differing.values()), RESUMES * len(differing)
    figure = f"{n_runs - total} of {n_runs} bit-equal"
    yield Kept("Interrupted = uninterrupted", how, "bit-equal weights", figure, total == 0)
    hashes = {task: repeats.hashes(folder, task) for task in ("denoiser", "generator", "compressor", "retriever")}
    is_same = all(len(found) == 1 for found in hashes.values())
    figure = "identical" if is_same else "different: " + ", ".join(task for task, found in hashes.items() if len(found) > 1)
    how = f"two processes each: hourglass train --task {', '.join(hashes)}; SHA-256 of the weights"
    yield Kept("Same seed, same result", how, "identical; across engines within 1e-5 (tests/test_engines.py)", figure, is_same)


def seeds_hold_beside_others(folder: Path, seed: int) -> Iterator[Kept]:
    quiet = busy.told(1)
    with busy.all_cores_taken():
        told = quiet | busy.told(BESIDE)
    how = f"{BESIDE} fits of conv and mlp on two threads beside processes that take all cores, and one without"
    figure = "identical" if len(told) == 1 else f"{len(told)} results"
    yield Kept("Same seed, same result", how, "bit-equal weights and losses", figure, len(told) == 1)


def no_network_collapses(folder: Path, seed: int) -> Iterator[Kept]:
    shares = {
        (network, kind): collapse.share(network, kind, seed)
        for network in NETWORKS
        for kind in collapse.KINDS
        if network != "residual"  # which begins as the input itself
    }
    worst = max(shares, key=lambda pair: shares[pair])
    how = f"default fits: every network × {', '.join(collapse.KINDS)} images, as wide as it is by default"
    figure = f"error over that of the mean image {shares[worst]:.3f} at most ({worst[0]}, {worst[1]})"
    yield Kept("No default fit collapses", how, "none above the error of the mean image", figure, shares[worst] <= 1)


def bombs_are_cheap(folder: Path, seed: int) -> Iterator[Kept]:
    peaks = bombs.peaks(folder)
    worst = max(peaks, key=lambda name: peaks[name])
    how = f"{', '.join(peaks)}: eight times the limit in each"
    figure = f"{peaks[worst]:.2f} times at most ({worst})"
    yield Kept("Bombs are cheap to refuse", how, "peak memory ≤ 2 × the limit", figure, peaks[worst] <= 2)


def numbers_stay_honest(folder: Path, seed: int) -> Iterator[Kept]:
    failing = oddities.failing()
    figure = f"{len(oddities.CASES) - len(failing)} of {len(oddities.CASES)} as they say" + "".join(
        f"; {name}" for name in failing
    )
    yield Kept("Numbers stay honest", "; ".join(oddities.CASES), "all", figure, not failing)


def explorer_holds(folder: Path, seed: int) -> Iterator[Kept]:
    digits = hg.load("digits").train
    hg.Generator(2, epochs=2, random_state=0).fit(digits.images, digits.labels).save(folder / "explored.hg")
    told = pressure.press(folder / "explored.hg", CLIENTS, SECONDS, seed)
    how = f"{CLIENTS} clients for {SECONDS:.0f} s, three in ten requests malformed"
    figure = f"{len(told.latencies):,} answers, {len(told.wrong)} others than meant, p99 {1000 * told.p99:.0f} ms, "
    figure += f"memory {told.before_mb:.0f} MB, then {told.after_mb:.0f} MB"
    is_kept = not told.wrong and told.p99 <= 0.5 and told.after_mb <= 1.1 * told.before_mb
    yield Kept("The explorer holds", how, "4xx for the malformed alone, p99 ≤ 500 ms, memory flat (10%)", figure, is_kept)


def interrupts_are_clean(folder: Path, seed: int) -> Iterator[Kept]:
    n_interrupts, slowest, wrong = interrupts.broken(folder, INTERRUPTS, seed)
    figure = f"{n_interrupts} interrupts, the slowest end after {slowest:.2f} s" + "".join(f"; {what}" for what in wrong)
    how = f"SIGINT to each of the verbs, {INTERRUPTS} times, at a random moment of its first 5 s"
    yield Kept(
        "Ctrl-C ends any verb", how, "within 2 s, exit code 130, nothing half-written", figure, not wrong and slowest <= 2
    )
    told = interrupts.second_refused(folder)
    yield Kept("One run an output", "a second `train` with the same -o", "refused", told.replace(str(folder), "…"), True)


EXERCISES: tuple[Callable[[Path, int], Iterator[Kept]], ...] = (
    *(no_code_runs, loaders_survive, shards_do_no_harm, loaders_survive_guided, damage_is_noticed, kills_lose_an_epoch),
    *(
        repeats_are_equal,
        seeds_hold_beside_others,
        no_network_collapses,
        bombs_are_cheap,
        numbers_stay_honest,
        explorer_holds,
        interrupts_are_clean,
    ),
)


def to_markdown(rows: list[Kept], seed: int, command: str) -> str:
    """The page."""
    lines = [
        "# How far it can be trusted",
        "",
        f"`{command}`, seed {seed}, on {processor()}; hourglass {hg.__version__}, code {code_digest()}; "
        f"{sum(row.is_kept for row in rows)} of {len(rows)} kept, in {sum(row.seconds for row in rows) / 60:.1f} minutes.",
        "What is promised to whom, and what is not, stands in [SECURITY.md](../SECURITY.md); `make test` does a little of it.",
        "",
        "| promise | how it is shown | bar | what came of it | |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {row.promise} | {row.how} | {row.bar} | {row.figure} | {'kept' if row.is_kept else '**not kept**'} |"
        for row in rows
    ]
    return "\n".join([*lines, ""])


@click.command()
@click.option("-o", "--output", type=click.Path(path_type=Path), default=ROOT / "docs", help="A folder for reliability.md.")
@click.option("--seed", default=7, show_default=True)
@click.option("--only", help="Exercises whose name holds this; nothing is written.")
def main(output: Path, seed: int, only: str | None) -> None:
    """Do all exercises and write reliability.md and reliability.json."""
    warnings.simplefilter("ignore", hg.HourglassWarning)
    rows: list[Kept] = []
    for exercise in EXERCISES:
        if only is not None and only not in exercise.__name__:
            continue
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            for row in exercise(Path(folder), seed):
                row.seconds = time.perf_counter() - began
                began = time.perf_counter()
                rows.append(row)
                click.echo(f"{'kept' if row.is_kept else 'NOT KEPT'} ({row.seconds:.0f} s): {row.promise}: {row.figure}")
    if only is None:
        text = to_markdown(rows, seed, "make reliability")
        (output / "reliability.md").write_text(text, encoding="utf-8")
        (output / "reliability.json").write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")
    sys.exit(0 if all(row.is_kept for row in rows) else 1)


if __name__ == "__main__":
    main()
