"""The training loop."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from hourglass.corruption import seeded
from hourglass.errors import DivergenceError
from hourglass.objectives import Objective
from hourglass.training.engine import Engine, engine_for, output_of
from hourglass.training.examples import Examples
from hourglass.training.machine import kept_memory
from hourglass.training.plan import Plan
from hourglass.training.random_state import exact_convolutions, seeded_globally, set_random_state
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
    """Train `run.network` for `plan.epochs`, or until patience or a callback stops it.

    Several processes (`distribution.py`) all call this with the same arguments. They share each training batch; each evaluates
    the whole validation split, so that all have the same loss without communication.

    Raises
    ------
    ProcessError
        If another process is lost.
    DivergenceError
        If the loss is not finite. Checkpoints of earlier epochs stay.
    """
    callbacks = prepare(run, plan, examples, validation, callbacks)
    try:
        for callback in callbacks:
            callback.on_train_begin(run)
        run.follow_first()
        with exact_convolutions(run.device), contextlib.closing(engine_for(run, objective)) as engine:
            while run.epoch < plan.epochs and not run.stop:
                with own_random_state(run, objective):
                    train_epoch(run, plan, engine, examples, validation, callbacks)
                for callback in callbacks:
                    callback.on_epoch_end(run)
                run.follow_first()
            if run.best is not None:
                run.network.load_state_dict(run.best)
                run.follow_first()
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
    """Train for one pass over the examples, and append a row to the history.

    Raises
    ------
    DivergenceError
    """
    start, first = time.perf_counter(), run.batch
    pace = plan.pace([row["loss"] for row in run.history])
    run.network.train()
    for inputs, targets in batches_left(run, plan, engine, examples):
        run.optimizer.set_rate(pace * plan.rate(run.step, plan.epochs * run.n_batches))
        loss = engine.step(inputs, targets)
        run.count_step(loss, engine.count)
        for callback in callbacks:
            callback.on_batch_end(run)

    loss = run.end_epoch()
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
    """The mean objective over `examples`, with the same corruption in every call."""
    losses = Mean()
    run.network.eval()
    with torch.inference_mode(not objective.differentiates):
        for inputs, targets in examples.in_order(_VALIDATION_BATCH, seeded(run.seed, run.device)):
            loss = objective(output_of(run.network, objective, inputs), targets)
            losses.add(loss.item(), len(targets))
    return losses.value


def prepare(
    run: Run, plan: Plan, examples: Examples, validation: Examples | None, callbacks: Sequence[Callback]
) -> Sequence[Callback]:
    """Move data to the device, set the counts for displays, and return the callbacks of this process."""
    for given in (examples, validation):
        if given is not None:
            given.to(run.device)
    run.n_images, run.n_epochs = len(examples), plan.epochs
    run.n_batches = math.ceil(len(examples) / plan.batch_size)
    return [callback for callback in callbacks if run.processes.is_first or not callback.writes]


def batches_left(run: Run, plan: Plan, engine: Engine, examples: Examples) -> Iterator[tuple[Tensor, Tensor]]:
    """This process's share of the batches left in the epoch: all of them, unless it was resumed midway."""
    run.drawn = run.order.get_state(), run.noise.get_state()
    return examples.shuffled(plan.batch_size, run.order, run.noise, engine.memory, run.processes, first=run.batch)


@contextlib.contextmanager
def own_random_state(run: Run, objective: Objective) -> Iterator[None]:
    """Seed layers and penalties that draw from torch's global generator by the run's seed, epoch and rank.

    Restores the global random state at the end.
    """
    if not (run.network.draws or any(penalty.draws for penalty in objective.penalties)):
        yield
        return
    with seeded_globally(run.seed + run.epoch * run.processes.size + run.processes.rank, run.device):
        if run.random_state is not None:  # resumed midway through an epoch
            set_random_state(run.device, run.random_state)
            run.random_state = None
        yield


def check_finite(run: Run) -> None:
    row = run.history[-1]
    if not all(math.isfinite(row[name]) for name in ("loss", "validation_loss") if row[name] is not None):
        raise DivergenceError(
            f"the loss is no longer finite in epoch {run.epoch} (loss {row['loss']}); "
            "use a smaller learning_rate, and check the range of the inputs."
        )


def keep_best(run: Run, patience: int) -> None:
    """Keep the weights of the best epoch; stop after `patience` epochs without a better one."""
    losses = [row["validation_loss"] for row in run.history]
    best = losses.index(min(losses)) + 1
    if best == run.epoch:
        run.best = {name: tensor.detach().clone() for name, tensor in run.network.state_dict().items()}
    run.stop = run.stop or run.epoch - best >= patience
