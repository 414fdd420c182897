"""The preset "features" in few dimensions: a layout of the 32 that it would have otherwise.

In two dimensions codes block each other's way. So the embedding is trained first, in 32 dimensions, and a second network then
lays these out: near each other what is near there, by the same contrast with neighbours, on vectors of 32 values, where an
epoch takes a second or two. That is the way of parametric UMAP (Sainburg et al. 2021) with the loss of t-SimCNE (Böhm et al.
2023).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from hourglass.corruption import seeded
from hourglass.estimators.fitting import Fit, n_threads_of
from hourglass.estimators.views import neighbours_of
from hourglass.images import Array, Sample
from hourglass.networks.embedding import WIDTH
from hourglass.networks.plane import Layout, Plane
from hourglass.objectives import LOSSES, Contrast, Objective
from hourglass.trained import Trained, build_network
from hourglass.training import OPTIMIZERS, Callback, Examples, Neighbouring, Plan, Rows, Run, Threads, train

_PLAN = Plan(epochs=20, batch_size=256, learning_rate=3e-3, schedule="linear")
_N_NEIGHBOURS = 10
_FEWEST_STEPS = 600


def laid_out_in(fit: Fit) -> int | None:
    """In how many dimensions to lay out an embedding; None if the code is the embedding itself.

    Only the preset "features" with its own network and penalty is laid out, and only samples of one size in memory.
    """
    given = fit.arguments
    is_preset = given["preset"] == "features" and given["network"] is None and given["penalty"] is None
    n_components: int | None = given["n_components"]
    is_narrow = n_components is not None and n_components < WIDTH
    return n_components if is_preset and is_narrow and isinstance(fit.source, Rows) and fit.pairs.inputs is None else None


def lay_out(wide: Trained, n_components: int, fit: Fit, callbacks: Sequence[Callback]) -> Trained:
    """`wide`, whose codes have 32 dimensions, followed by a layout of them in `n_components`, a `Plane`.

    The layout is turned to its principal axes, the longer tail of each on the positive side, so that it does not depend on the
    seed how the map is turned.
    """
    rows = np.setdiff1d(np.arange(len(fit.pairs.targets)), fit.validation_rows)
    codes = wide.vectors(fit.pairs.targets[rows], check_input=False)
    settings = wide.settings | {"network": "plane", "n_components": n_components}
    network = build_network(settings, wide.sample, fit.seeds[1]).to(fit.device)
    assert isinstance(network, Plane)
    network.encoder[0].load_state_dict(wide.network.encoder.state_dict())
    network.decoder[1].load_state_dict(wide.network.decoder.state_dict())
    layout = network.layout
    run = _trained(layout, codes, fit, callbacks)
    _turn(layout, codes)
    history = wide.history + [row | {"epoch": len(wide.history) + row["epoch"]} for row in run.history]
    return Trained(network, wide.sample, settings, history, wide.n_threads, wide.held_out, wide.data)


def _trained(layout: Layout, codes: Array, fit: Fit, callbacks: Sequence[Callback]) -> Run:
    source = Rows(Sample(codes.shape[1:]), codes)
    near = neighbours_of(source, min(_N_NEIGHBOURS, len(codes) - 1))
    examples = Examples(Neighbouring(source.sample, codes, source.rows.numpy(), near), n_views=2)
    epochs = max(_PLAN.epochs, -(-_FEWEST_STEPS * _PLAN.batch_size // len(codes)))
    run = Run(
        layout,
        OPTIMIZERS["adam"](layout.parameters(), _PLAN.learning_rate),
        order=seeded(fit.seeds[2]),
        noise=seeded(fit.seeds[3], fit.device),
        seed=fit.seeds[4],
        device=fit.device,
        processes=fit.processes,
        settings=fit.settings,
    )
    objective = Objective(LOSSES["mse"], [Contrast(1.0, n_neighbours=_N_NEIGHBOURS)])
    with Threads(fit.device, n_threads_of(fit.arguments)) as threads:
        plan = Plan(epochs, _PLAN.batch_size, _PLAN.learning_rate, _PLAN.schedule)
        train(run, plan, objective, examples, callbacks=threads.around(callbacks))
    return run


@torch.no_grad()
def _turn(layout: Layout, codes: Array) -> None:
    """Centre the layout of `codes` and turn it to its principal axes, in the weights of both sides of the code."""
    last, first = layout.encoder[-1], layout.decoder[0]
    assert isinstance(last, torch.nn.Linear)
    assert isinstance(first, torch.nn.Linear)
    places = layout.encoder(torch.from_numpy(codes).to(last.weight.device)).double()
    mean = places.mean(0)
    axes = torch.linalg.eigh((places - mean).T @ (places - mean)).eigenvectors.flip(1)
    turned = (places - mean) @ axes
    axes = (axes * torch.where(turned.pow(3).sum(0) < 0, -1.0, 1.0)).float()
    mean = mean.float()
    last.weight.copy_(axes.T @ last.weight)
    last.bias.copy_(axes.T @ (last.bias - mean))
    first.bias.add_(first.weight @ mean)
    first.weight.copy_(first.weight @ axes)
