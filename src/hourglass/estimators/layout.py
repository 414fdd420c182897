"""The preset "features" in few dimensions: a layout of the 32 that it would have otherwise.

In two dimensions codes block each other's way. So the embedding is trained first, in 32 dimensions, and a second network then
lays these out: near each other what is near there, by the same contrast with neighbours, on vectors of 32 values, where an
epoch takes a second or two. That is the way of parametric UMAP (Sainburg et al. 2021) with the loss of t-SimCNE (Böhm et al.
2023).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from hourglass.corruption import seeded
from hourglass.estimators.fitting import Fit, n_threads_of
from hourglass.estimators.views import neighbours_of
from hourglass.images import Array, Sample
from hourglass.networks import change_basis, to_device
from hourglass.networks.embedding import WIDTH
from hourglass.networks.plane import Layout, Plane
from hourglass.objectives import LOSSES, Contrast, Objective
from hourglass.trained import Trained, build_network
from hourglass.training import (
    OPTIMIZERS,
    Callback,
    Examples,
    Neighbouring,
    Plan,
    PrintEpochs,
    Processes,
    Rows,
    Run,
    Threads,
    train,
)

_EPOCHS, _FEWEST_STEPS, _BATCH_SIZE, _LEARNING_RATE = 20, 300, 256, 3e-3
_N_NEIGHBOURS = 10
_CPU, _ALONE = torch.device("cpu"), Processes(0, 1)


def laid_out_in(fit: Fit) -> int | None:
    """In how many dimensions to lay out an embedding; None if the code is the embedding itself.

    Only the preset "features" with its own network and penalty is laid out, of more than 20 samples of one size in memory.
    """
    given = fit.arguments
    is_preset = given["preset"] == "features" and given["network"] is None and given["penalty"] is None
    n_components: int | None = given["n_components"]
    is_narrow = n_components is not None and n_components < WIDTH
    has_neighbours = isinstance(fit.source, Rows) and fit.pairs.inputs is None and len(fit.source) > 2 * _N_NEIGHBOURS
    return n_components if is_preset and is_narrow and has_neighbours else None


def lay_out(wide: Trained, n_components: int, fit: Fit, callbacks: Sequence[Callback]) -> Trained:
    """`wide`, whose codes have 32 dimensions, followed by a layout of them in `n_components`: a `Plane`.

    The history stays that of `wide`. Of `callbacks` those that show progress see the layout's run too.
    """
    rows = np.setdiff1d(np.arange(len(fit.pairs.targets)), fit.validation_rows)
    if len(rows) <= _N_NEIGHBOURS:
        rows = np.arange(len(fit.pairs.targets))
    codes = wide.vectors(fit.pairs.targets[rows], check_input=False)
    settings = wide.settings | {"network": "plane", "n_components": n_components}
    network = build_network(settings, wide.sample, fit.seeds[1])
    assert isinstance(network, Plane)
    network.encoder[0].load_state_dict(wide.network.encoder.state_dict())
    network.decoder[1].load_state_dict(wide.network.decoder.state_dict())
    to_device(network, fit.device)
    shown = [callback for callback in callbacks if callback.shows_progress]
    shown += [PrintEpochs()] if fit.arguments["verbose"] else []
    train_layout(network.layout, codes, fit.seeds, shown, fit.device, n_threads_of(fit.arguments), fit.processes)
    return Trained(network, wide.sample, settings, wide.history, wide.n_threads, wide.held_out, wide.data)


def train_layout(
    layout: Layout,
    codes: Array,
    seeds: Sequence[int],
    callbacks: Sequence[Callback] = (),
    device: torch.device = _CPU,
    n_threads: int | str | None = None,
    processes: Processes = _ALONE,
) -> None:
    """Train `layout`, on `device`, to lay out `codes` (n, d), whose deviation should be near 1.

    The result is turned to its principal axes, the longer tail of each on the positive side, so that the seed does not decide
    how the map is turned. One code alone has its place anyway.
    """
    if len(codes) > 1:
        source = Rows(Sample(codes.shape[1:]), codes)
        near = neighbours_of(source, min(_N_NEIGHBOURS, len(codes) - 1))
        examples = Examples(Neighbouring(source.sample, codes, source.rows.numpy(), near), n_views=2)
        run = Run(
            layout,
            OPTIMIZERS["adam"](layout.parameters(), _LEARNING_RATE),
            order=seeded(seeds[2]),
            noise=seeded(seeds[3], device),
            seed=seeds[4],
            device=device,
            processes=processes,
        )
        epochs = max(_EPOCHS, math.ceil(_FEWEST_STEPS / math.ceil(len(codes) / _BATCH_SIZE)))
        plan = Plan(epochs, _BATCH_SIZE, _LEARNING_RATE, "linear")
        objective = Objective(LOSSES["mse"], [Contrast(1.0, n_neighbours=_N_NEIGHBOURS)])
        with Threads(device, n_threads) as threads:
            train(run, plan, objective, examples, callbacks=threads.around(callbacks))
    _turn(layout, codes)


@torch.no_grad()
def _turn(layout: Layout, codes: Array) -> None:
    """Centre the layout of `codes` and turn it to its principal axes, in the weights of both sides of the code."""
    places = layout.encoder(torch.from_numpy(codes).to(next(layout.parameters()).device)).double()
    mean = places.mean(0)
    axes = torch.linalg.eigh((places - mean).T @ (places - mean)).eigenvectors.flip(1)
    turned = (places - mean) @ axes
    axes = axes * torch.where(turned.pow(3).sum(0) < 0, -1.0, 1.0)
    change_basis(layout.encoder, layout.decoder, mean, axes.T)
