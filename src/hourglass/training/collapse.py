"""Detects networks that collapsed to a constant output."""

from __future__ import annotations

import torch

from hourglass.objectives import Objective
from hourglass.training.examples import Examples
from hourglass.training.random_state import exact_convolutions
from hourglass.training.run import Run

_MOST_SAMPLES, _FEWEST, _MOST_VALUES = 1000, 32, 1_000_000


def error_share(run: Run, objective: Objective, examples: Examples, noise: torch.Generator) -> float:
    """The loss on some training examples, relative to that of a constant output, their mean.

    1 or more means that the network collapsed. 0 if all targets are equal.
    """
    values = examples.source.some(1).targets[0].numel()
    count = min(_MOST_SAMPLES, max(_FEWEST, _MOST_VALUES // values))
    inputs, targets = (given.to(run.device) for given in examples.some(count, noise))
    run.network.eval()
    with exact_convolutions(run.device), torch.inference_mode():
        outputs = run.network(inputs).reconstructions
        constant = targets.mean(0, keepdim=True).expand(targets.shape)
        error, baseline = float(objective.loss(outputs, targets)), float(objective.loss(constant, targets))
        least = float(objective.loss(targets, targets))  # not 0 for bce
    return (error - least) / (baseline - least) if baseline - least > 1e-12 else 0.0
