"""Private functions of torch are taken where they are; where they are missing, a public way gives the same numbers."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.neural_network import MLPClassifier
from torch import Tensor, nn

import hourglass as hg
from hourglass.corruption import seeded
from hourglass.evaluation import generation
from hourglass.networks import build, layers, product, run_layers
from hourglass.objectives import LOSSES, Objective
from hourglass.training import OPTIMIZERS, Run, engine, optimizers
from hourglass.training.distribution import Processes
from hourglass.training.engine import Dense, Eager, engine_for

PACKAGE = Path(hg.__file__).parent
EPS = float(torch.finfo(torch.float32).eps)


def imported_where(module: str, take_away: Callable[[pytest.MonkeyPatch], object]) -> ModuleType:
    """A second copy of `module`, as it is imported where torch lacks something."""
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.loader is not None
    copy = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        take_away(patch)
        spec.loader.exec_module(copy)
    return copy


def without(module: str, *names: str) -> ModuleType:
    def take_away(patch: pytest.MonkeyPatch) -> None:
        for name in names:
            patch.delattr(torch, name)

    return imported_where(module, take_away)


def test_private_names_of_torch_are_asked_for_and_not_relied_on() -> None:
    """As `getattr(torch, "_name", instead)`: an update of torch that lacks one must not end an import."""
    found = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            words = ast.unparse(node) if isinstance(node, ast.Attribute | ast.ImportFrom) else ""
            parts = words.replace("from torch", "torch").replace(" import ", ".").replace(", ", ".").split(".")
            is_private = any(part.startswith("_") and not part.startswith("__") for part in parts)
            if parts[0] in ("torch", "nn", "F", "torch_distributed") and is_private:
                found.append(f"{path.relative_to(PACKAGE)}:{node.lineno} {words}")  # type: ignore[attr-defined]
    assert not found


# --- Adam ---------------------------------------------------------------------------------------------------------------


def _adam_state(n_steps: int) -> tuple[Tensor, dict[str, Tensor]]:
    """A parameter with a gradient, and moments as after so many steps: of every size, some of them nothing."""
    chance = seeded(n_steps)
    sizes = 10.0 ** torch.linspace(-12, 3, 61)
    parameter = torch.randn(7, 61, generator=chance)
    parameter.grad = torch.randn(7, 61, generator=chance) * sizes
    parameter[0], parameter.grad[1] = 0, 0
    mean = torch.randn(7, 61, generator=chance) * sizes * (n_steps > 0)
    square = (torch.rand(7, 61, generator=chance) * sizes**2) * (n_steps > 0)
    return parameter, {"step": torch.tensor(float(n_steps)), "mean": mean, "square": square}


@pytest.mark.parametrize("is_tensor", [False, True])
@pytest.mark.parametrize("n_steps", [0, 1, 2, 9, 99, 1000, 30_000, 1_000_000])
def test_a_step_of_adam_in_public_is_the_fused_one(n_steps: int, is_tensor: bool) -> None:
    if not hasattr(torch, "_fused_adam_"):
        pytest.skip("this torch has no fused step to hold it to")
    public = without("hourglass.training.optimizers", "_fused_adam_", "_foreach_add_")
    assert optimizers._FUSED_ADAM is torch._fused_adam_
    assert public._FUSED_ADAM is public._adam
    assert public._ADD_TO_EACH is public._add_to_each
    for rate in (0.05, 1e-5):
        before, _ = _adam_state(n_steps)
        made = []
        for module in (optimizers, public):
            parameter, state = _adam_state(n_steps)
            places = [tensor.data_ptr() for tensor in (parameter, *state.values())]
            module.adam_step({parameter: state}, [parameter], torch.tensor(rate) if is_tensor else rate)
            assert [tensor.data_ptr() for tensor in (parameter, *state.values())] == places  # in place
            made.append((parameter, state))
        (one, kept), (two, also_kept) = made
        assert kept["step"] == also_kept["step"] == n_steps + 1
        for name in ("mean", "square"):
            torch.testing.assert_close(also_kept[name], kept[name], rtol=4 * EPS, atol=0)
        largest = torch.stack([before.abs(), one.abs(), (one - before).abs()]).amax(0)
        assert ((one - two).abs() <= 8 * EPS * largest).all()
        assert not torch.equal(one, before)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_trainings_in_public_are_those_in_private(optimizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On every engine's way to step: parameters in one piece of memory, and a rate that is a tensor."""
    public = without("hourglass.training.optimizers", "_fused_adam_", "_foreach_add_")

    def trained(kind: Callable[..., Any], is_tensor: bool) -> tuple[list[float], list[Tensor]]:
        torch.manual_seed(0)
        network = build("mlp", (1, 8, 8), 5, (8,))
        run = Run(network, OPTIMIZERS[optimizer](network.parameters(), 0.01), seeded(0), seeded(0), 0)
        if is_tensor:
            run.optimizer.rate = torch.tensor(0.01)
        made, chance, losses = kind(run, Objective(LOSSES["mse"])), seeded(1), []
        for _ in range(10):
            samples = torch.rand(20, 1, 8, 8, generator=chance)
            losses.append(made.step(samples, samples))
        made.close()
        return losses, [parameter.detach() for parameter in network.parameters()]

    for kind, is_tensor in ((Dense.of, False), (Eager, True)):
        wanted = trained(kind, is_tensor)
        with monkeypatch.context() as patch:
            patch.setattr(optimizers, "_FUSED_ADAM", public._FUSED_ADAM)
            patch.setattr(optimizers, "_ADD_TO_EACH", public._ADD_TO_EACH)
            losses, weights = trained(kind, is_tensor)
        assert losses == pytest.approx(wanted[0], rel=1e-5)
        for one, two in zip(weights, wanted[1], strict=True):
            torch.testing.assert_close(one, two, rtol=0, atol=1e-5)


# --- several processes ----------------------------------------------------------------------------------------------------


def test_gradients_are_averaged_the_same_in_public(monkeypatch: pytest.MonkeyPatch) -> None:
    public = without("hourglass.training.distribution", "_foreach_copy_")
    assert public._COPY_EACH is public._copy_each

    def reduced(vector: Tensor) -> None:
        """The other process has seen two rows, and of each the same gradients and loss 9."""
        vector.add_(torch.cat([torch.full((len(vector) - 2,), 2 * 9.0), torch.tensor([2 * 9.0, 2.0])]))

    monkeypatch.setattr(torch.distributed, "all_reduce", reduced)
    made: list[list[Any]] = []
    for processes in (Processes(0, 2), public.Processes(0, 2)):
        parameters = [
            torch.zeros(2, 3, requires_grad=True),
            torch.zeros(4, requires_grad=True),
            torch.zeros(0, requires_grad=True),
        ]
        parameters[0].grad = torch.arange(6.0).view(2, 3)
        place = parameters[0].grad
        assert processes.average(parameters, 3.0, 1) == (7.0, 3)
        assert parameters[0].grad is place
        made.append([parameter.grad for parameter in parameters])
    for one, two in zip(*made, strict=True):
        assert torch.equal(one, two)
    assert torch.allclose(made[1][0], (torch.arange(6.0).view(2, 3) + 18) / 3)
    assert torch.equal(made[1][1], torch.full((4,), 6.0))


# --- oneDNN ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def amd(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A processor on which all products are oneDNN's, as soon as torch has the function."""
    if not (torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()):
        pytest.skip("this torch was built without MKL or oneDNN")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    for name, value in {"_is_intel": lambda: False, "ONEDNN_FROM": 1, "ONEDNN_INNER": 1}.items():
        monkeypatch.setattr(product, name, value)
    product.prefers_onednn.cache_clear()
    yield
    product.prefers_onednn.cache_clear()


@pytest.mark.usefixtures("amd")
def test_without_onednns_private_product_all_are_torchs_own(monkeypatch: pytest.MonkeyPatch) -> None:
    public = imported_where(
        "hourglass.networks.product", lambda patch: patch.setattr(torch.ops.mkldnn, "_linear_pointwise", None)
    )
    assert public._LINEAR is None
    torch.manual_seed(0)
    network = build("mlp", (1, 8, 8), 5, (24, 16))
    samples, well_conditioned, made = torch.rand(30, 1, 8, 8), torch.randn(2, 24, 96), []
    for linear in (product._LINEAR, public._LINEAR):
        monkeypatch.setattr(product, "_LINEAR", linear)
        product.prefers_onednn.cache_clear()
        assert product.is_large(30, 64, 24) == (linear is not None)
        run = Run(network, OPTIMIZERS["muon"](network.parameters(), 0.01), seeded(0), seeded(0), 0)
        dense = Dense.of(run, Objective(LOSSES["mse"]))
        assert dense is not None
        loss = dense.backpropagate(samples, samples)
        gradients = [parameter.grad.clone() for parameter in network.parameters()]  # type: ignore[union-attr]
        directions = optimizers.orthogonalize(well_conditioned)
        with torch.no_grad():
            made.append([torch.tensor(loss), *gradients, directions, run_layers([network.encoder], samples)])
    for one, two in zip(*made, strict=True):
        assert (one - two).norm() <= 1e-5 * one.norm()


# --- hooks ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("module", "name"), [(layers, "_HOOKS"), (engine, "_PARAMETER_HOOKS")])
def test_where_hooks_cannot_be_seen_a_network_runs_torchs_way(
    module: ModuleType, name: str, monkeypatch: pytest.MonkeyPatch, digits: np.ndarray
) -> None:
    """Somebody might listen; and the numbers are the same."""

    def chosen() -> type:
        network = build("mlp", (1, 8, 8), 5, (8,))
        run = Run(network, OPTIMIZERS["adam"](network.parameters(), 0.01), seeded(0), seeded(0), 0)
        return type(engine_for(run, Objective(LOSSES["mse"])))

    def fitted() -> tuple[list[float], np.ndarray]:
        model = hg.Autoencoder(5, hidden=(8,), optimizer="adam", epochs=2, batch_size=40, random_state=0).fit(digits)
        return [row["loss"] for row in model.history_], model.encode(digits)

    assert chosen() is Dense
    wanted = fitted()
    renamed = "_renamed_hooks"
    assert not hasattr(nn.Linear(1, 1), renamed)
    monkeypatch.setattr(module, name, renamed if isinstance(getattr(module, name), str) else (renamed,))
    assert chosen() is Eager
    losses, codes = fitted()
    assert losses == pytest.approx(wanted[0], rel=1e-5)
    np.testing.assert_allclose(codes, wanted[1], rtol=0, atol=1e-4)


# --- scikit-learn ---------------------------------------------------------------------------------------------------------


def test_a_classifier_whose_rate_cannot_be_reached_keeps_it() -> None:
    classifier = MLPClassifier((4,), random_state=0)
    generation._set_rate(classifier, 0.5)  # before it is fitted, as where scikit-learn's private optimiser is missing
    assert classifier.learning_rate_init == 0.5
    classifier.partial_fit(np.eye(4), np.arange(4), classes=np.arange(4))
    if hasattr(classifier, "_optimizer"):
        generation._set_rate(classifier, 0.25)
        assert classifier._optimizer.learning_rate_init == 0.25
