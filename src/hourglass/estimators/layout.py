"""The preset "features" in up to three dimensions: a layout of 32.

In two dimensions codes block each other's way. So the embedding is trained first, in 32 dimensions, and a second network then
lays these out, with as many principal components beside them: near each other what is near in pixels, by the same contrast
with neighbours, on vectors of 64 values, where an epoch takes some seconds. That is the way of parametric UMAP (Sainburg et al.
2021) with the loss of t-SimCNE (Böhm et al. 2023).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from torch import nn

from hourglass.corruption import seeded
from hourglass.estimators.fitting import VALIDATION_SHARE, Fit, n_threads_of
from hourglass.estimators.presets import PRESETS
from hourglass.estimators.views import neighbours_of, principal_components, principal_directions
from hourglass.images import Array, Sample
from hourglass.networks import change_basis, to_device
from hourglass.networks.embedding import WIDTH
from hourglass.networks.plane import Beside, Layout, Plane
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

_EPOCHS, _FEWEST_STEPS, _BATCH_SIZE, _LEARNING_RATE = 24, 900, 256, 8e-3
_FEWEST_WIDE_STEPS = 100
_N_NEIGHBOURS, _ATTRACTION = 5, 1.5
_FEWEST = 20  # samples
_MOST_DIMENSIONS = 3  # in 8, a layout of digits is less often read rightly than the embedding's own code
_NO_DEVIATION = 1e-6  # of principal components
_CPU, _ALONE = torch.device("cpu"), Processes(0, 1)


def laid_out_in(fit: Fit) -> int | None:
    """In how many dimensions to lay out an embedding; None if the code is the embedding itself.

    Only the preset "features" with its own network and penalty is laid out, in up to three dimensions, of more than 20 samples
    of one size in memory.
    """
    given = fit.arguments
    is_preset = given["preset"] == "features" and given["network"] is None and given["penalty"] is None
    n_components: int | None = given["n_components"]
    is_narrow = n_components is not None and n_components <= _MOST_DIMENSIONS
    has_neighbours = isinstance(fit.source, Rows) and fit.pairs.inputs is None and len(fit.source) > _FEWEST
    return n_components if is_preset and is_narrow and has_neighbours else None


def epochs_before_layout(fit: Fit) -> int:
    """The epochs of the embedding: those given, or fewer than without a layout, as each costs half as much as the layout."""
    given: int | None = fit.arguments["epochs"]
    batch_size = fit.arguments["batch_size"] or PRESETS["features"]["batch_size"]
    share = fit.arguments["validation_fraction"]
    n_samples = len(fit.source) * (1 - (VALIDATION_SHARE if share is None else share))
    return given or math.ceil(_FEWEST_WIDE_STEPS / math.ceil(n_samples / batch_size))


def lay_out(wide: Trained, n_components: int, fit: Fit, callbacks: Sequence[Callback]) -> Trained:
    """`wide`, whose codes have 32 dimensions, followed by a layout of them in `n_components`: a `Plane`.

    The history stays that of `wide`. Of `callbacks` those that show progress see the layout's run too.
    """
    rows, near = fit.near or (np.arange(len(fit.pairs.targets)), None)  # one alone has no neighbours
    settings = wide.settings | {"network": "plane", "n_components": n_components}
    network = build_network(settings, wide.sample, fit.seeds[1])
    assert isinstance(network, Plane)
    seen = network.encoder[0]
    assert isinstance(seen, Beside)
    seen.body.load_state_dict(wide.network.encoder.state_dict())
    network.decoder[2].load_state_dict(wide.network.decoder.state_dict())

    source = Rows(wide.sample, fit.pairs.targets, rows=rows)
    codes, pca = wide.vectors(fit.pairs.targets[rows], check_input=False), principal_directions(source)
    components = principal_components(source, pca)
    deviation = float(components.std())
    scale = float(codes.std()) / deviation if deviation > _NO_DEVIATION else 0.0
    _set_directions(seen.linear, pca, scale)
    components = np.pad(components * np.float32(scale), ((0, 0), (0, WIDTH - components.shape[1])))

    to_device(network, fit.device)
    shown = [callback for callback in callbacks if callback.shows_progress]
    shown += [PrintEpochs()] if fit.arguments["verbose"] else []
    train_layout(
        network.layout,
        np.concatenate([codes, components], 1),
        fit.seeds,
        shown,
        near=near,
        device=fit.device,
        n_threads=n_threads_of(fit.arguments),
        processes=fit.processes,
    )
    return Trained(network, wide.sample, settings, wide.history, wide.n_threads, wide.held_out, wide.data)


@torch.no_grad()
def _set_directions(linear: nn.Linear, pca: PCA, scale: float) -> None:
    """Make `linear` give the principal components, times `scale`; zeros for those that there are not."""
    directions = torch.from_numpy(scale * pca.components_)
    linear.weight.zero_()[: len(directions)] = directions
    linear.bias.zero_()[: len(directions)] = -directions.double() @ torch.from_numpy(pca.mean_).double()


def train_layout(
    layout: Layout,
    codes: Array,
    seeds: Sequence[int],
    callbacks: Sequence[Callback] = (),
    *,
    near: NDArray[np.int64] | None = None,
    device: torch.device = _CPU,
    n_threads: int | str | None = None,
    processes: Processes = _ALONE,
) -> None:
    """Train `layout`, on `device`, to lay out `codes` (n, d), whose deviation should be near 1.

    `near` (n, k) lists those near each, nearest first, as positions; by default by the distance of codes. The result is turned
    to its principal axes, the longer tail of each on the positive side, so that the seed does not decide how the map is turned.
    One code alone has its place anyway.
    """
    if len(codes) > 1:
        source = Rows(Sample(codes.shape[1:]), codes)
        near = neighbours_of(source, min(_N_NEIGHBOURS, len(codes) - 1)) if near is None else near[:, :_N_NEIGHBOURS]
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
        objective = Objective(LOSSES["mse"], [Contrast(1.0, n_neighbours=_N_NEIGHBOURS, attraction=_ATTRACTION)])
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
