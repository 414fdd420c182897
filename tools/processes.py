"""Several processes, their cost and how far they agree: `torchrun --standalone --nproc-per-node 2 tools/processes.py`, in JSON.

Milliseconds a step of the chapter's network (784-128-64-32 and back), by hand and eager with one sum over the processes, beside
torch's DistributedDataParallel, in turn; the same steps of one process alone. Then an epoch of MNIST by all and by one: how far
weights and validation loss are apart, for how far they are apart when one process makes its steps in another way.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as torch_distributed
from torch.nn.parallel import DistributedDataParallel

import hourglass as hg
from hourglass.corruption import seeded
from hourglass.networks import build
from hourglass.objectives import LOSSES, Objective
from hourglass.training import OPTIMIZERS, Run, current
from hourglass.training.engine import Dense, Eager, Engine
from hourglass.training.machine import kept_memory

Step = Callable[[Tensor, Tensor], object]
ROUNDS, STEPS = 25, 40
CASES: dict[str, dict[str, Any]] = {
    "adam, rate 0.001": {"optimizer": "adam", "learning_rate": 0.001},
    "muon, rate 0.05 (default)": {},
}


class Plain(nn.Module):
    """The network as a module that gives reconstructions alone."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, samples: Tensor) -> Tensor:
        made: Tensor = self.decoder(self.encoder(samples))
        return made


def our_way(kind: Callable[[Run, Objective], Engine | None]) -> Step:
    network = build("mlp", (1, 28, 28), 32, (128, 64), bounded=True)
    run = Run(network, OPTIMIZERS["adam"](network.parameters(), 0.001), seeded(0), seeded(0), 0)
    engine = kind(run, Objective(LOSSES["mse"]))
    assert engine is not None
    return engine.step


def torchs_way() -> Step:
    network = build("mlp", (1, 28, 28), 32, (128, 64), bounded=True)
    plain = Plain(network.encoder, network.decoder)
    model = DistributedDataParallel(plain) if current().size > 1 else plain
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001, fused=True)

    def step(inputs: Tensor, targets: Tensor) -> float:
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(inputs), targets)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimizer.step()
        return loss.item()

    return step


@kept_memory()
def milliseconds(batch_size: int) -> dict[str, float]:
    """The median of a step by each way, in turn."""
    processes = current()
    samples = torch.rand(batch_size, 1, 28, 28, generator=seeded(0))[processes.share(batch_size)]
    ways = {"by hand": our_way(Dense.of), "eager": our_way(Eager), "torch's": torchs_way()}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, step in ways.items():
            start = time.perf_counter()
            for _ in range(STEPS):
                step(samples, samples)
            times[name].append((time.perf_counter() - start) / STEPS * 1000)
    return {name: round(statistics.median(taken[1:]), 2) for name, taken in times.items()}


def trained() -> dict[str, tuple[Tensor, float]]:
    """(all weights, validation loss) after an epoch of MNIST."""
    images, made = hg.load("mnist").train.images, {}
    for kind in (hg.Autoencoder, hg.Denoiser):
        for name, arguments in CASES.items():
            model = kind(epochs=1, random_state=0, **arguments).fit(images)
            weights = torch.cat([tensor.flatten() for tensor in model.network_.state_dict().values()])
            made[f"{kind.__name__}, {name}"] = weights, model.history_[-1]["validation_loss"]
    return made


def apart(some: dict[str, tuple[Tensor, float]], alone: dict[str, tuple[Tensor, float]]) -> dict[str, Any]:
    return {
        name: {
            "largest_difference_of_a_weight": float(f"{float((weights - alone[name][0]).abs().max()):.1e}"),
            "validation_losses": [round(loss, 6), round(alone[name][1], 6)],
        }
        for name, (weights, loss) in some.items()
    }


def main() -> None:
    torch_distributed.init_process_group("gloo")
    processes = current()
    together = {size: milliseconds(size) for size in (256, 512)}, trained()
    torch_distributed.destroy_process_group()
    if processes.is_first:
        one = {size: milliseconds(size) for size in (256, 512)}, trained()
        Dense.of = classmethod(lambda *_: None)  # type: ignore[assignment,method-assign]  # the same steps, summed otherwise
        figures = {
            "processes": processes.size,
            "bytes_a_step": 4 * (len(next(iter(one[1].values()))[0]) + 2),
            "milliseconds_a_step": {"together": together[0], "alone": one[0]},
            "together_and_alone": apart(together[1], one[1]),
            "alone_eager_and_by_hand": apart(trained(), one[1]),
        }
        print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
