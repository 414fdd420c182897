"""Training: the chapter's own loop, plain loops and other libraries beside ours, at equal work and to an equal result."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import torch

from benchmarks import ours, peers
from benchmarks.load import LOOP, OURS, OURS_DEFAULT, SLICED, beside_others, memory
from benchmarks.matrix import training_work
from benchmarks.rounds import Contender, Figures, Round, alternate
from benchmarks.rows import Bar, Row, compare, middle
from benchmarks.setting import Bench, Measured
from benchmarks.task import Task, widths
from hourglass.errors import HourglassError

MLP = "scikit-learn, MLPRegressor"
LOOP_ONE, OURS_ON_PAIRS = f"{LOOP}, one thread", "Hourglass, preset chapter, on pairs"
CHAPTER_RESULT = 0.0249
"""Test MSE that the chapter's loop reaches on MNIST."""
SAME_LOSS = 0.02
"""Largest relative difference of two losses that count as the same work."""
_CONVOLUTIONS = {  # network -> latent dimensions, channels
    "conv": (32, (32, 64)),
    "skip": (64, (32, 64, 96)),
    "maps": (8, (32, 64)),
    "unet": (16, (32, 64, 128)),
}
_CONVOLUTION_IMAGES = (1280, 6400)  # quick or not: 10 and 50 steps at batch size 128
_LIBRARIES: dict[str, tuple[str, Callable[[Task], Round], str]] = {
    "pyod": ("PyOD, AutoEncoder", peers.pyod_autoencoder, "Reconstructs clean images, with ReLU."),
    "pythae": (
        "Pythae, AE",
        peers.pythae_autoencoder,
        "Reconstructs clean images; its pipeline also checks them and saves the model.",
    ),
}
"""Package -> name of the contender, its round, and how its work differs."""


def train_suite(bench: Bench) -> Measured:
    """Measure same work, larger batches, time to the chapter's result, libraries, convolutions, a busy machine, memory, GPU."""
    measured = Measured()
    for part in (same_work, larger_batches, time_to_result, libraries, convolutions, beside_others, memory, gpu):
        part(bench, measured)
    return measured


def same_work(bench: Bench, measured: Measured) -> None:
    """Measure five epochs at batch size 32, from uint8 images to the trained network, including the noisy copy."""
    bench.report("same work as the chapter's loop")
    task = bench.task()
    one = Contender(LOOP_ONE, partial(peers.on_threads, 1, partial(peers.chapter_loop, task)))
    rounds = alternate([*_chapter_and_ours(task), one], bench.rounds)
    measured.rows += _against_the_loop("batch 32, 5 epochs, end to end", rounds, Bar("ratio", "≥", 2.5), bench)


def _chapter_and_ours(task: Task) -> list[Contender]:
    return [Contender(LOOP, partial(peers.chapter_loop, task)), Contender(OURS, partial(ours.fit, task, "chapter"))]


def _against_the_loop(measure: str, rounds: Mapping[str, Sequence[Figures]], bar: Bar, bench: Bench) -> list[Row]:
    """Return rows with losses and test errors in their notes; ours meets its bar only if the losses agree."""
    rows = compare(measure, rounds, reference=LOOP)
    losses = {name: middle(figures, "loss") for name, figures in rounds.items()}
    differences = {name: loss / losses[LOOP] - 1 for name, loss in losses.items()}
    for name, figures in rounds.items():
        note = f"Loss of the last epoch {losses[name]:.4f}, test MSE {middle(figures, 'test_mse'):.4f}."
        if name != OURS:
            rows[name] = replace(rows[name], note=note)
            continue
        is_same = abs(differences[name]) <= SAME_LOSS
        verdict = "the same" if is_same else "not the same"
        note += f" The loss differs by {differences[name]:+.1%} from the loop's: {verdict} within {SAME_LOSS:.0%}."
        rows[name] = replace(rows[name], note=note, is_comparable=is_same, bar=bar if bench.has_bars else None)
    return list(rows.values())


def larger_batches(bench: Bench, measured: Measured) -> None:
    """Measure one epoch at batch sizes 128 and 512, end to end; at 512 also its steps alone, as a share of the matrix rate."""
    for size in (128, 512):
        bench.report(f"batches of {size}")
        task = bench.task(batch_size=size, epochs=1, tests=False)
        rounds = alternate(_chapter_and_ours(task), bench.rounds)
        measured.rows += compare(f"batch {size}, 1 epoch, end to end", rounds, reference=LOOP).values()
    bench.report("training steps as a share of the matrix rate")
    task = bench.task(batch_size=512, epochs=2, tests=False)
    contenders = [Contender(SLICED, partial(peers.sliced_loop, task)), Contender(OURS, partial(ours.fit, task, "chapter"))]
    rounds = alternate(contenders, bench.rounds)
    rows = compare("batch 512, the second epoch's steps", rounds, key="epoch_seconds", reference=SLICED)
    work = bench.n_train * training_work(widths(bench.shape)) / 1e9
    for name, row in rows.items():
        bar = Bar("share", "≥", 0.7) if bench.has_bars and name == OURS else None
        measured.rows.append(replace(row, gflops=work / row.value.median, bar=bar))


def time_to_result(bench: Bench, measured: Measured) -> None:
    """Measure the time until the error on corrupted test images is what the chapter's loop reaches."""
    bench.report("time to the chapter's result")
    if bench.has_bars:
        target = CHAPTER_RESULT
    else:  # what the loop reaches on these images
        target = alternate([Contender(LOOP, partial(peers.chapter_loop, bench.task()))], 1)[LOOP][0]["test_mse"]
        measured.notes.append(f"The target is the test MSE of the loop itself after 5 epochs on these images: {target:.4f}.")
    contenders = [
        Contender(LOOP, partial(peers.chapter_until, bench.task(), target)),
        Contender(OURS_DEFAULT, partial(ours.fit_until, bench.task(), target)),
    ]
    rounds = alternate(contenders, bench.rounds)
    rows = compare(f"time to a test MSE of {target:.4f}", rounds, reference=LOOP)
    for name in (LOOP, OURS_DEFAULT):
        figures = rounds[name]
        missed = sum(not turn["is_reached"] for turn in figures)
        note = f"After {middle(figures, 'steps'):g} steps, at a test MSE of {middle(figures, 'test_mse'):.4f}."
        if missed:
            note += f" Not reached in {missed} of {len(figures)} rounds, which ended first."
        rows[name] = replace(rows[name], note=note, is_comparable=not missed)
    if bench.has_bars:
        rows[OURS_DEFAULT] = replace(rows[OURS_DEFAULT], bar=Bar("ratio", "≥", 10))
    measured.rows += rows.values()


def libraries(bench: Bench, measured: Measured) -> None:
    """Measure one epoch at batch size 32: scikit-learn's MLPRegressor, and PyOD and Pythae where they are installed."""
    bench.report("other libraries")
    task = bench.task(epochs=1, tests=False)
    own = [Contender(MLP, partial(peers.mlp_regressor, task)), Contender(OURS_ON_PAIRS, partial(ours.fit_pairs, task))]
    notes = {MLP: "ReLU instead of LeakyReLU, and no final Sigmoid: it has neither."}
    others = []
    for package, (name, make, difference) in _LIBRARIES.items():
        if importlib.util.find_spec(package) is None:
            measured.notes.append(f"{name}: not installed; pip install {package}.")
        else:
            others.append(Contender(name, partial(make, task)))
            notes[name] = difference
    try:
        rounds = alternate([own[0], *others, own[1]], bench.rounds)
    except HourglassError as error:
        if not others:
            raise
        measured.notes.append(f"{' and '.join(other.name for other in others)}: left out. {error}")
        rounds = alternate(own, bench.rounds)
    rows = compare("batch 32, 1 epoch on noisy and clean rows, `fit`", rounds, reference=MLP)
    measured.rows += [replace(row, note=notes.get(name, "")) for name, row in rows.items()]


def convolutions(bench: Bench, measured: Measured) -> None:
    """Measure convolutional networks at batch size 128: one epoch of a part of the images, with Adam and a fixed noisy copy."""
    plain, mine, mixed = "plain eager loop", "Hourglass", 'Hourglass, precision="bfloat16"'
    n_images = min(_CONVOLUTION_IMAGES[not bench.quick], bench.n_train)
    task = bench.task(batch_size=128, epochs=1, n_images=n_images, tests=False)
    for network, (n_components, hidden) in _CONVOLUTIONS.items():
        bench.report(f"convolutions: {network}")
        arguments = (task, network, n_components, hidden)
        contenders = [
            Contender(plain, partial(peers.convolutional_loop, *arguments)),
            Contender(mine, partial(ours.fit_convolution, *arguments)),
        ]
        has_bfloat16 = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", bool)  # private; where it is missing, no
        if torch.backends.cpu.get_cpu_capability() == "AVX512" and has_bfloat16():  # else slow
            contenders.append(Contender(mixed, partial(ours.fit_convolution, *arguments, precision="bfloat16")))
        rounds = alternate(contenders, bench.rounds)
        rows = compare(f'network "{network}", {n_images:,} images', rounds, key="epoch_seconds", reference=plain)
        losses = {name: middle(figures, "loss") for name, figures in rounds.items()}
        is_same = abs(losses[mine] / losses[plain] - 1) <= SAME_LOSS
        rows[mine] = replace(rows[mine], is_comparable=is_same, bar=Bar("ratio", "≥", 1.5) if bench.has_bars else None)
        measured.rows += [replace(row, note=f"Loss {losses[name]:.4f}.") for name, row in rows.items()]


def gpu(bench: Bench, measured: Measured) -> None:
    """Measure the same work on a GPU, if torch finds one."""
    if not torch.cuda.is_available():
        measured.notes.append("GPU: none is available.")
        return
    bench.report("GPU")
    task = bench.task(device="cuda")
    rounds = alternate(_chapter_and_ours(task), bench.rounds)
    measure = f"batch 32, 5 epochs, end to end, on {torch.cuda.get_device_name()}"
    measured.rows += _against_the_loop(measure, rounds, Bar("value", "≤", 2.0), bench)
