"""The training loop. There is one, and this is it."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Sequence

import torch

from hourglass.corruption import seeded
from hourglass.errors import DivergenceError
from hourglass.objectives import Objective
from hourglass.training.chance import seeded_globally, set_chance
from hourglass.training.distribution import current
from hourglass.training.engine import Engine, engine_for, output_of
from hourglass.training.examples import Examples
from hourglass.training.machine import kept_memory
from hourglass.training.plan import Plan
from hourglass.training.run import Callback, Mean, Run

_VALIDATION_BATCH = 512


@kept_memory()
def train(
    run: Run,
    plan: Plan,
    objective: Objective,
    examples: Examples,
    validation: Examples | None = None,
    callbacks: Sequence[Callback] = (),
) -> None:
    """Train `run.network` until `plan.epochs` are finished, or patience or a callback ends it.

    Several processes (`distribution.py`) all call this with the same arguments: they share each training batch, and each
    evaluates the whole of the validation part, which gives the same numbers without a word between them.

    Raises
    ------
    ProcessError
        If one of several processes is lost.
    DivergenceError
        If the loss is no longer finite. Checkpoints of earlier epochs stay as they are.
    """
    for given in (examples, validation):
        if given is not None:
            given.to(run.device)
    run.n_images, run.n_epochs = len(examples), plan.epochs
    run.n_batches = math.ceil(len(examples) / plan.batch_size)
    processes = current()
    callbacks = [callback for callback in callbacks if processes.is_first or not callback.writes]
    try:
        for callback in callbacks:
            callback.on_train_begin(run)
        processes.follow_first(run)
        with contextlib.closing(engine_for(run, objective)) as engine:
            while run.epoch < plan.epochs and not run.stop:
                with own_chance(run, objective):
                    train_epoch(run, plan, engine, examples, validation, callbacks)
                for callback in callbacks:
                    callback.on_epoch_end(run)
                processes.follow_first(run)
            if run.best is not None:
                run.network.load_state_dict(run.best)
                processes.follow_first(run)
    finally:
        for callback in callbacks:
            callback.on_train_end(run)


def train_epoch(
    run: Run,
    plan: Plan,
    engine: Engine,
    examples: Examples,
    validation: Examples | None,
    callbacks: Sequence[Callback],
) -> None:
    """One pass over the examples, and a row of history.

    Raises
    ------
    DivergenceError
    """
    start, first = time.perf_counter(), run.batch
    run.drawn = run.order.get_state(), run.noise.get_state()
    run.network.train()
    pace = plan.pace([row["loss"] for row in run.history])
    batches = examples.shuffled(plan.batch_size, run.order, run.noise, engine.memory, engine.processes, first=first)
    for inputs, targets in batches:
        run.optimizer.set_rate(pace * plan.rate(run.step, plan.epochs * run.n_batches))
        run.loss = engine.step(inputs, targets)
        run.losses.add(run.loss, engine.count)
        run.step, run.batch = run.step + 1, run.batch + 1
        for callback in callbacks:
            callback.on_batch_end(run)

    losses, run.losses = run.losses, Mean()
    run.epoch, run.batch = run.epoch + 1, 0
    loss = losses.value  # on a GPU, waits for the last step
    seconds = time.perf_counter() - start
    run.history.append(
        {
            "epoch": run.epoch,
            "loss": loss,
            "validation_loss": None if validation is None else evaluate(run, engine.objective, validation),
            "learning_rate": pace * plan.rate(run.step - 1, plan.epochs * run.n_batches),
            "seconds": round(seconds, 4),
            "images_per_second": round(len(examples) * (1 - first / run.n_batches) / seconds, 1),
        }
    )
    check_finite(run)
    if plan.patience is not None:
        keep_best(run, plan.patience)


def evaluate(run: Run, objective: Objective, examples: Examples) -> float:
    """The mean objective over `examples`, with the same damage at every call."""
    losses = Mean()
    run.network.eval()
    with torch.inference_mode(not objective.differentiates):
        for inputs, targets in examples.in_order(_VALIDATION_BATCH, seeded(run.seed, run.device)):
            loss = objective(output_of(run.network, objective, inputs), targets)
            losses.add(loss.item(), len(targets))
    return losses.value


@contextlib.contextmanager
def own_chance(run: Run, objective: Objective) -> Iterator[None]:
    """Layers and penalties that draw for themselves draw from the run's seed and epoch; torch's global state stays.

    Each of several processes has draws of its own: its rows are others than theirs.
    """
    if not (run.network.draws or any(penalty.draws for penalty in objective.penalties)):
        yield
        return
    processes = current()
    with seeded_globally(run.seed + run.epoch * processes.size + processes.rank, run.device):
        if run.chance is not None:
            set_chance(run.device, run.chance)
            run.chance = None
        yield


def check_finite(run: Run) -> None:
    row = run.history[-1]
    if not all(math.isfinite(row[name]) for name in ("loss", "validation_loss") if row[name] is not None):
        raise DivergenceError(
            f"the loss is no longer finite in epoch {run.epoch} (loss {row['loss']}); "
            "use a smaller learning_rate, and see that the inputs are in the range that they should be."
        )


def keep_best(run: Run, patience: int) -> None:
    """Remember the best epoch's weights; stop after `patience` epochs without a better one."""
    losses = [row["validation_loss"] for row in run.history]
    best = losses.index(min(losses)) + 1
    if best == run.epoch:
        run.best = {name: tensor.detach().clone() for name, tensor in run.network.state_dict().items()}
    run.stop = run.stop or run.epoch - best >= patience
