"""The peers: the chapter's own loop, plain loops in torch, and libraries that train an autoencoder.

Each function prepares everything and returns the function that runs one round. It imports the libraries that only it needs.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import logging
import math
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.rounds import Figures, Round
from benchmarks.task import HIDDEN, N_COMPONENTS, Clock, Task
from hourglass.images import Array, Sample

MOST_EPOCHS = 12
"""Epochs after which the chapter's loop stops without reaching the target."""
LOOKS = 5
"""Measurements of the test error in an epoch, for a contender that trains until the error reaches a target."""
_TEST_BATCH = 2500


def chapter_network(pixels: int) -> nn.Sequential:
    """Return 784-128-64-32-64-128-784 for 784 pixels, with LeakyReLU between the layers and a final Sigmoid."""
    sizes = (pixels, *HIDDEN, N_COMPONENTS, *HIDDEN[::-1], pixels)
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.LeakyReLU()]
    return nn.Sequential(*layers[:-1], nn.Sigmoid())


def noisy_and_clean(images: Array) -> tuple[Tensor, Tensor]:
    """Return a noisy copy of the images, drawn once, and the images, both (n, c, h, w) in 0..1."""
    clean = torch.from_numpy(Sample(images.shape[1:]).to_network(images))
    noisy = (clean + torch.normal(0.5, 0.4, clean.shape)).clamp(0.0, 1.0)
    return noisy, clean


def noisy_and_clean_rows(images: Array) -> tuple[Tensor, Tensor]:
    """Return the same as rows (n, pixels)."""
    noisy, clean = noisy_and_clean(images)
    return noisy.flatten(1), clean.flatten(1)


def steps(network: nn.Module, noisy: Tensor, clean: Tensor, task: Task) -> Iterator[float]:
    """Run the training loop of every introduction without end, and yield the loss of each step."""
    device = torch.device(task.device)
    loader = DataLoader(TensorDataset(noisy, clean), batch_size=task.batch_size, shuffle=True)
    criterion, optimizer = nn.MSELoss(), torch.optim.Adam(network.parameters(), lr=1e-3)
    while True:
        for inputs, targets in loader:
            outputs = network(inputs.to(device))
            loss = criterion(outputs, targets.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield loss.item()


def loop(network: nn.Module, noisy: Tensor, clean: Tensor, task: Task) -> Iterator[float]:
    """Run `steps`, and yield the mean loss of each epoch."""
    n_steps, losses = n_steps_an_epoch(clean, task), steps(network, noisy, clean, task)
    while True:
        yield sum(itertools.islice(losses, n_steps)) / n_steps


def n_steps_an_epoch(clean: Tensor, task: Task) -> int:
    """Return the number of steps in an epoch."""
    return math.ceil(len(clean) / (task.batch_size or 32))


def prepared(images: Array, task: Task, seed: int) -> tuple[nn.Module, Tensor, Tensor]:
    """Seed torch, and return what the chapter's loop trains and trains on: (network, noisy, clean)."""
    torch.manual_seed(seed)
    noisy, clean = noisy_and_clean_rows(images)
    return chapter_network(clean.shape[1]).to(task.device), noisy, clean


def chapter_loop(task: Task) -> Round:
    """Train by the chapter's loop. Figures: seconds, loss (of the last epoch), test_mse."""
    seeds, images = itertools.count(task.seed), task.train()
    measured = error_on_test(task, as_rows=True) if task.tests else None

    def one_round() -> Figures:
        start = time.perf_counter()
        network, noisy, clean = prepared(images, task, next(seeds))
        loss = next(itertools.islice(loop(network, noisy, clean, task), task.epochs - 1, None))
        figures = {"seconds": time.perf_counter() - start, "loss": loss}
        return figures if measured is None else figures | {"test_mse": measured(network)}

    return one_round


def chapter_until(task: Task, target: float) -> Round:
    """Train by the chapter's loop until the test error is `target` or less.

    Figures: seconds until then, with the clock stopped while the error is measured, `LOOKS` times an epoch; steps, test_mse,
    is_reached (0 or 1).
    """
    seeds, images = itertools.count(task.seed), task.train()
    measured = error_on_test(task, as_rows=True)

    def one_round() -> Figures:
        clock = Clock()
        network, noisy, clean = prepared(images, task, next(seeds))
        losses, an_epoch = steps(network, noisy, clean, task), n_steps_an_epoch(clean, task)
        seconds, error, n_steps, between = 0.0, math.inf, 0, max(1, an_epoch // LOOKS)
        while error > target and n_steps < MOST_EPOCHS * an_epoch:
            n_steps += sum(1 for _ in itertools.islice(losses, between))
            seconds = clock.seconds
            with clock.stopped():
                error = measured(network)
        return {"seconds": seconds, "steps": n_steps, "test_mse": error, "is_reached": float(error <= target)}

    return one_round


def on_threads(n_threads: int, make: Callable[[], Round]) -> Round:
    """Call `make` with torch limited to `n_threads` threads."""
    torch.set_num_threads(n_threads)
    return make()


def error_on_test(task: Task, *, as_rows: bool) -> Callable[[Callable[[Tensor], Tensor]], float]:
    """Return a function: network -> its mean squared error on noisy test images, passed as rows or as (n, c, h, w)."""
    sample = Sample(task.test().shape[1:])
    noisy, clean = (torch.from_numpy(sample.to_network(images)) for images in task.test_pairs())

    def measured(network: Callable[[Tensor], Tensor]) -> float:
        squares = 0.0
        with torch.inference_mode():
            for inputs, targets in zip(torch.split(noisy, _TEST_BATCH), torch.split(clean, _TEST_BATCH), strict=True):
                outputs = network((inputs.flatten(1) if as_rows else inputs).to(task.device)).cpu()
                squares += (outputs.flatten(1) - targets.flatten(1)).square().sum().item()
        return squares / clean.numel()

    return measured


def sliced_loop(task: Task) -> Round:
    """Train by a plain loop written for speed: batches are slices, Adam is fused.

    Figures: seconds, epoch_seconds (of the last epoch).
    """
    seeds, images = itertools.count(task.seed), task.train()
    size = task.batch_size or 32

    def one_round() -> Figures:
        start = time.perf_counter()
        torch.manual_seed(next(seeds))
        noisy, clean = noisy_and_clean_rows(images)
        network = chapter_network(clean.shape[1])
        criterion, optimizer = nn.MSELoss(), torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
        for _ in range(task.epochs):
            begun = time.perf_counter()
            for rows in torch.split(torch.randperm(len(clean)), size):
                loss = criterion(network(noisy[rows]), clean[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                loss.item()
        ended = time.perf_counter()
        return {"seconds": ended - start, "epoch_seconds": ended - begun}

    return one_round


class Reconstructing(nn.Module):
    """A network of the library as a plain module, from images to reconstructions."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        reconstructions: Tensor = self.network(images).reconstructions
        return reconstructions


def plain_convolutional(channels: int, size: tuple[int, int], n_components: int, hidden: tuple[int, ...]) -> nn.Sequential:
    """Return the library's "conv" in a straightforward way, for a height and width that halve evenly."""
    widths = (channels, *hidden)
    inner = (widths[-1], size[0] >> len(hidden), size[1] >> len(hidden))
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.LeakyReLU()]
    layers += [nn.Flatten(), nn.Linear(math.prod(inner), n_components), nn.LeakyReLU()]
    layers += [nn.Linear(n_components, math.prod(inner)), nn.Unflatten(1, inner)]
    for before, after in pairwise(widths[::-1]):
        layers += [nn.LeakyReLU(), nn.Upsample(scale_factor=2), nn.Conv2d(before, after, 3, padding=1)]
    return nn.Sequential(*layers, nn.Sigmoid())


def convolutional_loop(task: Task, network: str, n_components: int, hidden: tuple[int, ...]) -> Round:
    """Train the library's convolutional network by a plain loop. Figures: seconds, epoch_seconds (both of one epoch), loss."""
    from hourglass.networks import build

    noisy, clean = noisy_and_clean(task.train())
    channels, *size = clean.shape[1:]

    def fresh() -> nn.Module:
        if network == "conv":
            return plain_convolutional(channels, (size[0], size[1]), n_components, hidden)
        return Reconstructing(build(network, (channels, *size), n_components, hidden))

    def one_round() -> Figures:
        torch.manual_seed(task.seed)
        epochs = loop(fresh(), noisy, clean, task)
        start = time.perf_counter()
        loss = next(epochs)
        seconds = time.perf_counter() - start
        return {"seconds": seconds, "epoch_seconds": seconds, "loss": loss}

    return one_round


# --- libraries ---------------------------------------------------------------------------------------------------------


def mlp_regressor(task: Task) -> Round:
    """Fit scikit-learn's MLPRegressor, from noisy to clean.

    Figures: seconds, epoch_seconds, loss (half the squared error, and its L2 penalty).
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPRegressor

    noisy, clean = (rows.numpy() for rows in noisy_and_clean_rows(task.train()))

    def one_round() -> Figures:
        inner = (*HIDDEN, N_COMPONENTS, *HIDDEN[::-1])
        model = MLPRegressor(hidden_layer_sizes=inner, batch_size=task.batch_size, max_iter=1, random_state=task.seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # one epoch is intended
            start = time.perf_counter()
            model.fit(noisy, clean)
        seconds = time.perf_counter() - start
        return {"seconds": seconds, "epoch_seconds": seconds, "loss": float(model.loss_)}

    return one_round


def pyod_autoencoder(task: Task) -> Round:
    """Fit PyOD's AutoEncoder with the chapter's widths to reconstruct clean images, without noise. Figures: epoch_seconds."""
    from pyod.models.auto_encoder import AutoEncoder

    class Timed(AutoEncoder):  # type: ignore[misc]  # PyOD carries no types
        """Times training alone, because `fit` also scores all images."""

        def train(self, train_loader: Any) -> None:
            start = time.perf_counter()
            super().train(train_loader)
            self.seconds = time.perf_counter() - start

    _, clean = noisy_and_clean_rows(task.train())
    chosen = {"hidden_neuron_list": [*HIDDEN, N_COMPONENTS], "batch_norm": False, "dropout_rate": 0.0, "preprocessing": False}

    def one_round() -> Figures:
        model = Timed(epoch_num=1, batch_size=task.batch_size, verbose=0, device=torch.device("cpu"), **chosen)
        model.fit(clean.numpy())
        return {"seconds": model.seconds, "epoch_seconds": model.seconds}

    return one_round


def pythae_autoencoder(task: Task) -> Round:
    """Fit Pythae's AE with the chapter's network to reconstruct clean images, without noise.

    Figures: epoch_seconds, of its whole pipeline, which checks the images, trains and saves.
    """
    from pythae.models import AE, AEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.pipelines import TrainingPipeline
    from pythae.trainers import BaseTrainerConfig

    class Encoder(BaseEncoder):  # type: ignore[misc]  # Pythae carries no types
        def __init__(self, layers: nn.Sequential) -> None:
            super().__init__()
            self.layers = layers

        def forward(self, images: Tensor) -> Any:
            return ModelOutput(embedding=self.layers(images))

    class Decoder(BaseDecoder):  # type: ignore[misc]
        def __init__(self, layers: nn.Sequential) -> None:
            super().__init__()
            self.layers = layers

        def forward(self, codes: Tensor) -> Any:
            return ModelOutput(reconstruction=self.layers(codes))

    logging.disable(logging.WARNING)  # it logs every step to standard output
    _, clean = noisy_and_clean_rows(task.train())
    images, pixels = clean.numpy(), clean.shape[1]

    def one_round() -> Figures:
        layers = list(chapter_network(pixels))
        encoder, decoder = Encoder(nn.Sequential(*layers[:5])), Decoder(nn.Sequential(*layers[5:]))
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):  # its progress bar
            settings = BaseTrainerConfig(
                folder, num_epochs=1, per_device_train_batch_size=task.batch_size, learning_rate=1e-3, no_cuda=True
            )
            model = AE(AEConfig(input_dim=(pixels,), latent_dim=N_COMPONENTS), encoder, decoder)
            start = time.perf_counter()
            TrainingPipeline(model, settings)(train_data=images)
            seconds = time.perf_counter() - start
        return {"seconds": seconds, "epoch_seconds": seconds}

    return one_round
