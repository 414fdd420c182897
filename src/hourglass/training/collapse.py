"""Whether a network learned more than one constant answer."""

from __future__ import annotations

import torch

from hourglass.objectives import Objective
from hourglass.training.examples import Examples
from hourglass.training.run import Run

_MOST_SAMPLES, _FEWEST, _MOST_VALUES = 1000, 32, 1_000_000


def error_share(run: Run, objective: Objective, examples: Examples, noise: torch.Generator) -> float:
    """The loss over some training examples as a share of what the best of constant answers by the mean, their mean, has there.

    1 and more is a network that collapsed; 0 where all targets are alike, for then there is nothing else to learn.
    """
    values = examples.source.some(1).targets[0].numel()
    count = min(_MOST_SAMPLES, max(_FEWEST, _MOST_VALUES // values))
    inputs, targets = (given.to(run.device) for given in examples.some(count, noise))
    run.network.eval()
    with torch.inference_mode():
        made = run.network(inputs).reconstructions
        constant = targets.mean(0, keepdim=True).expand(targets.shape)
        error, wanted = float(objective.loss(made, targets)), float(objective.loss(constant, targets))
        least = float(objective.loss(targets, targets))  # of bce it is not 0
    return (error - least) / (wanted - least) if wanted - least > 1e-12 else 0.0
