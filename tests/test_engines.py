"""Every way to make a step makes the same one; and what a run takes of the machine."""

from __future__ import annotations

import gc
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import hourglass as hg
from hourglass.corruption import CORRUPTIONS, Choice, seeded
from hourglass.estimators.checks import Pairs
from hourglass.estimators.fitting import Fit
from hourglass.images import Sample
from hourglass.networks import NETWORKS, Network, build, product, run_layers
from hourglass.objectives import LOSSES, Objective
from hourglass.training import OPTIMIZERS, Examples, Rows, Run, as_tensor, network_input
from hourglass.training.engine import Captured, Dense, Eager, _Graph, engine_for
from hourglass.training.random_state import exact_convolutions, seeded_globally


def run_of(network: Network, optimizer: str = "adam", rate: float = 0.01) -> Run:
    return Run(network, OPTIMIZERS[optimizer](network.parameters(), rate), seeded(0), seeded(0), 0)


@pytest.fixture
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The library that multiplies, whatever the processor and however small the matrices."""
    if request.param == "oneDNN" and not torch.backends.mkldnn.is_available():
        pytest.skip("this torch was built without oneDNN")
    monkeypatch.setattr(product, "prefers_onednn", lambda: request.param == "oneDNN")
    monkeypatch.setattr(product, "ONEDNN_FROM", 500)
    monkeypatch.setattr(product, "ONEDNN_INNER", 1)
    return request.param


SHAPES = [("linear", ()), ("mlp", (24, 16)), ("mlp", ((9,), (7, 30))), ("mlp", ())]


@pytest.mark.parametrize(("library", "optimizer"), [("MKL", "adam"), ("MKL", "muon"), ("oneDNN", "adam")], indirect=["library"])
@pytest.mark.parametrize(("network", "hidden"), SHAPES)
@pytest.mark.parametrize("bounded", [True, False])
@pytest.mark.usefixtures("library")
def test_every_engine_takes_the_same_steps(network: str, hidden: tuple, optimizer: str, bounded: bool) -> None:
    trained = []
    for kind in (Eager, Dense.of):
        torch.manual_seed(0)
        built = build(network, (1, 8, 8), 5, hidden, bounded=bounded)
        run = run_of(built, optimizer)
        engine = kind(run, Objective(LOSSES["mse"]))
        assert engine is not None
        chance, losses = seeded(1), []
        for step in range(20):
            samples = torch.rand(64 if step % 3 else 32, 1, 8, 8, generator=chance)  # the last batch of an epoch is smaller
            losses.append(engine.step(samples + 0.1, samples))
        engine.close()
        trained.append((losses, built.state_dict()))
    (losses, weights_), (others, other_weights) = trained
    assert losses == pytest.approx(others, rel=1e-5)
    for name, tensor in weights_.items():
        torch.testing.assert_close(tensor, other_weights[name], rtol=0, atol=1e-5)


@pytest.mark.parametrize("library", ["MKL", "oneDNN"], indirect=True)
@pytest.mark.parametrize(("network", "hidden"), SHAPES)
@pytest.mark.usefixtures("library")
def test_every_engine_has_the_same_gradient(network: str, hidden: tuple) -> None:
    """At the weights of each of 20 steps of Muon: it brings up what float32 rounds away, so that weights tell little there."""
    torch.manual_seed(0)
    first, second = (run_of(build(network, (1, 8, 8), 5, hidden), "muon") for _ in range(2))
    eager, dense, chance = Eager(first, Objective(LOSSES["mse"])), Dense.of(second, Objective(LOSSES["mse"])), seeded(1)
    assert dense is not None
    for _ in range(20):
        second.network.load_state_dict(first.network.state_dict())
        samples = torch.rand(40, 1, 8, 8, generator=chance)
        dense.backpropagate(samples + 0.1, samples)
        eager.step(samples + 0.1, samples)
        for one, two in zip(first.network.parameters(), second.network.parameters(), strict=True):
            assert one.grad is not None
            assert two.grad is not None
            assert (one.grad - two.grad).norm() <= 2e-6 * one.grad.norm()


def test_what_is_not_known_by_hand_goes_the_eager_way() -> None:
    mse, plain = Objective(LOSSES["mse"]), build("mlp", (1, 8, 8), 5, (8,))

    def kind(network: Network, objective: Objective = mse) -> type:
        return type(engine_for(run_of(network), objective))

    assert kind(plain) is Dense
    assert kind(plain, Objective(LOSSES["mae"])) is Eager
    assert kind(plain, Objective(LOSSES["mse"], [hg.L1()])) is Eager
    for name in ("conv", "skip", "variational", "embedding"):
        assert kind(build(name, (1, 8, 8), 5, (8,))) is Eager, name
    own = (nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.Dropout(0.1)), nn.Linear(5, 64))
    shared = nn.Linear(8, 8)
    along = nn.Sequential(nn.Linear(8, 4), nn.Flatten(), nn.Linear(32, 5))  # the first runs along the rows of an image
    for encoder, n_components in (
        (own[0], 5),
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 8), shared, shared), 8),
        (along, 5),
    ):
        assert kind(build((encoder, "mlp"), (1, 8, 8), n_components, (8,))) is Eager

    class Hard(nn.Sigmoid):
        def forward(self, given: torch.Tensor) -> torch.Tensor:
            return nn.functional.hardsigmoid(given)

    for activation in (Hard(), nn.LeakyReLU(-0.1), nn.ReLU()):
        assert (
            kind(build((nn.Sequential(nn.Flatten(), nn.Linear(64, 8), activation, nn.Linear(8, 5)), "mlp"), (1, 8, 8), 5))
            is Eager
        )
    frozen, watched = build("mlp", (1, 8, 8), 5, (8,)), build("mlp", (1, 8, 8), 5, (8,))
    frozen.encoder[1].weight.requires_grad_(False)  # type: ignore[index]
    watched.encoder[1].weight.register_hook(lambda gradient: gradient)  # type: ignore[index]
    assert kind(frozen) is kind(watched) is Eager
    plain.encoder[1].register_forward_hook(lambda *_: None)  # type: ignore[index]  # somebody listens
    assert kind(plain) is Eager


@pytest.mark.parametrize("library", ["MKL", "oneDNN"], indirect=True)
@pytest.mark.usefixtures("library")
def test_answers_by_hand_are_those_of_the_modules() -> None:
    torch.manual_seed(0)
    for bounded in (True, False):
        network = build("mlp", (1, 8, 8), 5, ((24, 16), (7, 30)), bounded=bounded)
        samples, codes = torch.rand(9, 1, 8, 8), torch.randn(9, 5)
        given_codes = codes.clone()
        with torch.inference_mode():
            for parts, given in (
                ((network.encoder,), samples),
                ((network.decoder,), codes),
                ((network.encoder, network.decoder), samples),
            ):
                made, wanted = run_layers(parts, given), nn.Sequential(*parts)(given)
                assert made is not None
                torch.testing.assert_close(made, wanted.flatten(1), rtol=0, atol=1e-6)
        assert torch.equal(codes, given_codes)  # the decoder begins with an activation, which works in place
    assert run_layers([build("conv", (1, 8, 8), 5, (8,)).encoder], samples) is None
    assert run_layers([network.encoder], samples[:, :, :4]) is None


def test_parameters_joined_for_adam_part_again_and_it_takes_torchs_steps() -> None:
    torch.manual_seed(0)
    own, other = build("mlp", (1, 8, 8), 5, (8,)), build("mlp", (1, 8, 8), 5, (8,))
    other.load_state_dict(own.state_dict())
    run, theirs = run_of(own, rate=0.01), torch.optim.Adam(other.parameters(), lr=0.01)
    samples = torch.rand(20, 1, 8, 8)
    for _ in range(3):  # three runs of ten steps: joined, parted, joined again
        engine = engine_for(run, Objective(LOSSES["mse"]))
        assert len({parameter.untyped_storage().data_ptr() for parameter in own.parameters()}) == 1
        for _ in range(10):
            engine.step(samples, samples)
            theirs.zero_grad()
            nn.functional.mse_loss(other(samples).reconstructions, samples).backward()
            theirs.step()
        engine.close()
        assert len({parameter.untyped_storage().data_ptr() for parameter in own.parameters()}) == len(list(own.parameters()))
    for one, two in zip(own.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-5)


# --- mixed precision --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", NETWORKS)
def test_mixed_precision_moves_the_loss_by_less_than_one_per_cent(network: str, digits: np.ndarray) -> None:
    """At the weights of each of 20 steps; from there on small differences grow, as with another seed."""
    samples = torch.from_numpy(digits[:, None]).float() / 255
    inputs = hg.GaussianNoise().corrupt(samples, seeded(0))
    torch.manual_seed(0)
    run = run_of(build(network, (1, 8, 8), 8, (12, 8)))
    objective = Objective(LOSSES["mse"], [hg.Rate()] if run.network.has_rate else [])
    full, mixed = Eager(run, objective), Eager(replace(run, precision="bfloat16"), objective)
    for step in range(20):
        torch.manual_seed(step)  # of networks that draw
        half = mixed.backpropagate(inputs, samples)
        torch.manual_seed(step)
        assert half == pytest.approx(full.step(inputs, samples), rel=0.01)
        for parameter in run.network.parameters():
            assert parameter.grad is not None
            assert parameter.grad.dtype == parameter.dtype == torch.float32


def test_precision_is_a_setting_and_reaches_the_products(digits: np.ndarray) -> None:
    full, mixed = (hg.Denoiser(8, precision=name, epochs=3, random_state=0).fit(digits) for name in (None, "bfloat16"))
    assert [model.settings_["precision"] for model in (full, mixed)] == ["float32", "bfloat16"]
    assert [row["loss"] for row in full.history_] != [row["loss"] for row in mixed.history_]
    assert mixed.transform(digits).dtype == np.float32
    with pytest.raises(hg.ParameterError, match="precision"):
        hg.Denoiser(8, precision="float16").fit(digits)


# --- GPUs -------------------------------------------------------------------------------------------------------------


class Replayed(Captured):
    """Captured, with a recording that is played back on the CPU: the same tensors are read and written at each replay."""

    def _capture(self, inputs: Tensor, targets: Tensor) -> _Graph:
        loss = torch.zeros(())
        return _Graph(inputs, targets, loss, lambda: loss.copy_(torch.as_tensor(self.eager.step(inputs, targets))))

    def _on_stream(self, step: Callable[[], float | Tensor]) -> float | Tensor:
        return step()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_captured_steps_are_the_eager_ones_with_rates_and_batches_that_change(network: str, optimizer: str) -> None:
    trained = []
    for kind in (Eager, Replayed):
        torch.manual_seed(0)
        run = run_of(build(network, (1, 8, 8), 5, (8,)), optimizer)
        engine, chance, losses = kind(run, Objective(LOSSES["mse"])), seeded(1), []
        for step in range(20):
            run.optimizer.set_rate(0.02 / (step + 1))
            samples = torch.rand(20 if step % 4 else 9, 1, 8, 8, generator=chance)
            losses.append(float(engine.step(samples, samples)))
        engine.close()
        assert run.optimizer.rate == pytest.approx(0.001)
        assert isinstance(run.optimizer.rate, float)
        trained.append((losses, run.network.state_dict()))
    assert trained[0][0] == pytest.approx(trained[1][0], rel=1e-5)
    for name, tensor in trained[0][1].items():
        torch.testing.assert_close(tensor, trained[1][1][name], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", [name for name, kind in CORRUPTIONS.items() if kind is not Choice])  # which looks at values
def test_corruptions_stay_on_the_device_of_their_images(name: str) -> None:
    """On torch's device "meta", which has shapes and no values, and refuses tensors of other devices as a GPU does."""
    images = torch.empty(4, 3, 8, 6, device="meta")
    others: dict[str, list[hg.Corruption]] = {
        "gaussian_noise": [hg.GaussianNoise(varied=True), hg.GaussianNoise(0, (0, 0.2))],
        "masking": [hg.Masking(varied=True)],
        "missing_blocks": [hg.MissingBlocks(2, 3)],
        "stripes": [hg.Stripes(dead=True)],
        "jpeg": [hg.JPEG(30), hg.JPEG((20, 30), subsample=False)],
        "blur": [hg.Blur(1)],
        "motion_blur": [hg.MotionBlur(5, 30)],
        "downscale": [hg.Downscale(3, smooth=True, method="bicubic")],
    }
    for corruption in (CORRUPTIONS[name](), *others.get(name, [])):
        damaged = corruption.corrupt(images, None)  # type: ignore[arg-type]
        assert damaged.shape == images.shape
        assert damaged.device.type == "meta"
    with pytest.raises(RuntimeError, match="device"):
        images + torch.rand(4, 3, 8, 6)


RATES = {"adam": 0.001, "muon": 0.02}
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU")


@gpu
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("network", NETWORKS)
def test_a_gpu_trains_as_the_cpu_does(network: str, optimizer: str, digits: np.ndarray) -> None:
    options: dict[str, Any] = {
        "epochs": 8,
        "batch_size": 50,
        "redraw": False,
        "optimizer": optimizer,
        "learning_rate": RATES[optimizer],
    }

    def fitted(device: str) -> hg.Denoiser:
        return hg.Denoiser(8, network=network, random_state=0, device=device, **options).fit(digits)

    losses = [[row["loss"] for row in fitted(device).history_] for device in ("cpu", "cuda")]
    draws = network in ("variational", "noisy", "quantised", "codec")  # from the device's own generator
    assert losses[1] == pytest.approx(losses[0], rel=0.15 if draws else 0.05)


@gpu
@pytest.mark.parametrize("network", NETWORKS)
def test_a_seed_gives_the_same_bits_on_a_gpu(network: str, digits: np.ndarray) -> None:
    def weights() -> list[Tensor]:
        model = hg.Denoiser(8, network=network, epochs=2, random_state=0, device="cuda").fit(digits)
        return list(model.network_.state_dict().values())

    assert all(torch.equal(one, other) for one, other in zip(weights(), weights(), strict=True))


@gpu
def test_a_gpu_trains_on_crops_and_rows_of_its_own(digits: np.ndarray) -> None:
    """With the check for a collapse, which takes some training samples while others are on the GPU."""
    images = [np.kron(digit, np.ones((3, 3 + number % 2), np.uint8)) for number, digit in enumerate(digits[:40])]
    crops = hg.Denoiser(preset="photo", hidden=(8, 8), epochs=40, crop=16, random_state=0, device="cuda").fit(images)
    assert crops.transform(images[:2])[1].shape == images[1].shape
    rows = Rows(Sample.of(digits), digits).split(0.5, 0)[0]
    some, every = rows.some(9).all_targets(), rows.all_targets()
    rows.to(torch.device("cuda"))
    assert np.array_equal(rows.some(9).all_targets(), some)
    assert np.array_equal(rows.all_targets(), every)


@pytest.mark.parametrize("choice", [None, "ieee", "tf32", "allow_tf32"])
def test_convolutions_are_exact_for_all_threads_and_then_as_they_were(choice: str | None) -> None:
    """cuDNN's settings can be read and set without a GPU."""
    cudnn: Any = torch.backends.cudnn
    cuda = torch.device("cuda")
    named = hasattr(cudnn, "conv")
    if choice in ("ieee", "tf32") and not named:
        pytest.skip("this torch has no names of precisions")

    def settings() -> tuple:
        return cudnn.deterministic, cudnn.benchmark, cudnn.conv.fp32_precision if named else cudnn.allow_tf32

    first = settings()
    if choice == "allow_tf32":
        cudnn.allow_tf32 = False
    elif choice is not None:
        cudnn.conv.fp32_precision = choice
    try:
        before = settings()
        exact = (True, False, "ieee" if named else False)
        outer, inner = exact_convolutions(cuda), exact_convolutions(cuda)
        outer.__enter__()
        with seeded_globally(0), ThreadPoolExecutor(1) as pool:  # which holds a lock for long
            pool.submit(inner.__enter__).result(timeout=20)
        outer.__exit__(None, None, None)
        assert settings() == exact  # another thread still convolves
        inner.__exit__(None, None, None)
        assert settings() == before
        with exact_convolutions(torch.device("cpu")):
            assert settings() == before
    finally:
        if choice == "allow_tf32":
            cudnn.allow_tf32 = True
        elif choice is not None:
            cudnn.conv.fp32_precision = first[2]
    assert settings() == first


@gpu
def test_a_gpu_records_its_steps_and_draws_its_own_damage(digits: np.ndarray) -> None:
    run = run_of(build("mlp", (1, 8, 8), 5, (8,)).cuda())
    run.device = torch.device("cuda")
    assert type(engine_for(run, Objective(LOSSES["mse"]))) is Captured
    model = hg.Denoiser(8, epochs=30, random_state=0, device="cuda").fit(digits)
    assert model.history_[-1]["loss"] < 0.7 * model.history_[0]["loss"]
    assert model.transform(digits).shape == digits.shape


# --- batches ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64])
def test_samples_reach_the_network_as_their_layout_says(dtype: type) -> None:
    rng = np.random.default_rng(0)
    for shape in ((5, 8, 6), (5, 8, 6, 3), (5, 7)):
        values = rng.random(shape) if dtype is not np.uint8 else rng.integers(0, 256, shape)
        samples: np.ndarray = values.astype(dtype)
        if len(shape) == 2 and dtype is not np.float16:
            samples = samples * dtype(3)
        layout = Sample.of(samples)
        wanted = layout.to_network(samples)
        for given in (
            samples,
            samples[::-1].copy()[::-1],
            np.asfortranarray(samples),
            samples.astype(samples.dtype.newbyteorder(">")),
        ):
            made = network_input(layout, as_tensor(given))
            assert made.is_contiguous()
            np.testing.assert_allclose(made.numpy(), wanted, rtol=1e-6)


def test_samples_are_read_in_place_even_where_nobody_may_write() -> None:
    samples = np.zeros((4, 8, 8), dtype=np.uint8)
    samples.flags.writeable = False
    tensor = as_tensor(samples)
    assert tensor.data_ptr() == samples.ctypes.data
    assert as_tensor(np.arange(6, dtype=np.uint16).reshape(2, 3)).dtype == torch.float64


@pytest.fixture
def every_warning_is_an_error() -> Iterator[None]:
    """Those too that torch gives once a process."""
    before = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    yield
    torch.set_warn_always(before)


def _read_only(folder: Path) -> dict[str, np.ndarray]:
    values = np.random.default_rng(0).random((6, 5, 4)).astype(np.float32)
    np.save(folder / "x.npy", values)
    given = {
        "marked": values,
        "mapped": np.load(folder / "x.npy", mmap_mode="r"),
        "bytes": np.frombuffer(values.tobytes(), np.float32).reshape(6, 5, 4),
        "every other": values[::2, 1:, ::3],
        "in Fortran's order": np.asfortranarray(values),
        "one value": np.broadcast_to(np.float32(0.5), (6, 5, 4)),
        "none": values[:0],
    }
    for array in given.values():
        array.flags.writeable = False
    return given


@pytest.mark.usefixtures("every_warning_is_an_error")
def test_read_only_memory_of_every_origin_is_shared_and_kept(tmp_path: Path) -> None:
    given = _read_only(tmp_path)
    with pytest.raises(UserWarning, match="not writable"):  # else this test would tell nothing
        torch.from_numpy(given["marked"])
    for name, array in given.items():
        tensor = as_tensor(array)
        assert tensor.dtype == torch.float32, name
        assert np.array_equal(tensor.numpy(), array), name
        assert not array.size or tensor.data_ptr() == array.__array_interface__["data"][0], name
        assert not array.flags.writeable, name
    alone = np.random.default_rng(1).random(1000)
    alone.flags.writeable = False
    kept, total, tensor = weakref.ref(alone), alone.sum(), as_tensor(alone)
    del alone
    gc.collect()
    assert kept() is not None
    assert tensor.numpy().sum() == total
    del tensor
    gc.collect()
    assert kept() is None


@pytest.mark.usefixtures("every_warning_is_an_error")
def test_read_only_samples_are_read_in_many_threads_without_a_warning(tmp_path: Path) -> None:
    """Which `warnings.catch_warnings` cannot promise: of two threads within, the first out takes the other's filters away."""
    given, n_threads = list(_read_only(tmp_path).values()), 8
    filters, start, before = warnings.filters, threading.Barrier(n_threads), sys.getswitchinterval()

    def read(_: int) -> int:
        start.wait()
        return sum(len(as_tensor(array)) for _ in range(200) for array in given)

    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(n_threads) as threads:
            assert set(threads.map(read, range(n_threads))) == {200 * sum(map(len, given))}  # a warning would be raised here
    finally:
        sys.setswitchinterval(before)
    assert warnings.filters is filters  # nor was anybody's filter touched


@pytest.mark.parametrize("batch_size", [1, 7, 100, 256, 300, 1000])
def test_every_sample_comes_once_an_epoch_whatever_the_batch(batch_size: int) -> None:
    samples = np.arange(700, dtype=np.float32).reshape(-1, 1)
    examples = Examples(Rows(Sample((1,)), samples, rows=np.arange(0, 700, 2)))
    batches = list(examples.shuffled(batch_size, seeded(0), seeded(0)))
    sizes = [len(targets) for _, targets in batches]
    assert sizes == [batch_size] * (350 // batch_size) + [350 % batch_size] * (350 % batch_size > 0)
    seen = torch.cat([targets for _, targets in batches]).flatten()
    assert sorted(seen.tolist()) == list(range(0, 700, 2))
    assert seen.tolist() != sorted(seen.tolist())
    assert all(torch.equal(inputs, targets) for inputs, targets in batches)


@pytest.mark.parametrize("batch_size", [7, 100, 300])
@pytest.mark.parametrize("shape", [(8, 6), (8, 6, 3), (48,)])
def test_batches_in_the_engines_memory_are_those_that_are_made_anew(batch_size: int, shape: tuple) -> None:
    rng = np.random.default_rng(0)
    targets, inputs = (rng.integers(0, 256, (350, *shape), dtype=np.uint8) for _ in range(2))
    layout = Sample.of(targets)
    run = run_of(build("mlp", layout.network_shape, 5, (8,)))
    dense = engine_for(run, Objective(LOSSES["mse"]))
    assert dense.memory is not None
    for given in (None, inputs):
        examples, seen = Examples(Rows(layout, targets, given)), 0
        written = examples.shuffled(batch_size, seeded(3), seeded(0), dense.memory)
        for made, there in zip(examples.shuffled(batch_size, seeded(3), seeded(0)), written, strict=True):
            for one, two in zip(made, there, strict=True):
                assert torch.equal(one.flatten(1), two)
            before = [parameter.clone() for parameter in run.network.parameters()]
            loss = dense.backpropagate(*there)
            gradients = [parameter.grad.clone() for parameter in run.network.parameters()]  # type: ignore[union-attr]
            assert loss == dense.backpropagate(made[0].clone(), made[1].clone())
            for gradient, parameter in zip(gradients, run.network.parameters(), strict=True):
                assert parameter.grad is not None
                assert torch.equal(gradient, parameter.grad)
            assert all(torch.equal(*pair) for pair in zip(before, run.network.parameters(), strict=True))
            seen += len(there[0])
        assert seen == 350


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_any_damage_reaches_the_layers_by_hand(name: str, colours: np.ndarray) -> None:
    """Some damaged images lie in memory in another order."""
    kind = CORRUPTIONS[name]
    corruption = (
        kind(corruptions=(hg.Flip(), hg.Downscale(3))) if kind is Choice else kind(factor=3) if kind is hg.Downscale else kind()
    )
    model = hg.Denoiser(4, corruption=corruption, epochs=1, random_state=0).fit(colours)
    assert model.transform(colours).shape == colours.shape


def test_a_batch_larger_than_the_data_takes_the_memory_of_the_data(digits: np.ndarray) -> None:
    model = hg.Autoencoder(4, batch_size=10**9, epochs=2, random_state=0).fit(digits)
    assert len(model.history_) == 2


def test_a_fixed_corruption_is_rounded_by_half_a_grey_level(digits: np.ndarray) -> None:
    noise = hg.GaussianNoise()

    def corrupted(images: np.ndarray) -> np.ndarray:
        fit = Fit(hg.Denoiser(), Pairs(images))
        fit.seeds = [3] * 6
        return fit._corrupted_once(fit.source, noise)

    fixed, exact = corrupted(digits), noise(digits, 3)
    assert fixed.dtype == np.uint8
    assert np.abs(fixed / 255 - exact).max() <= 0.5 / 255 + 1e-6
    assert corrupted(digits / np.float32(255)).dtype == np.float16


def test_an_interrupted_training_leaves_nothing_joined(digits: np.ndarray) -> None:
    kept: list[Network] = []

    class Interrupt(hg.Callback):
        def on_batch_end(self, run: Run) -> None:
            kept.append(run.network)
            raise KeyboardInterrupt

    before = torch.get_num_threads()
    with pytest.raises(KeyboardInterrupt):
        hg.Denoiser(4, optimizer="adam", random_state=0).fit(digits, callbacks=[Interrupt()])
    parameters = list(kept[0].parameters())
    assert len({parameter.untyped_storage().data_ptr() for parameter in parameters}) == len(parameters)
    assert all(parameter.grad is None for parameter in parameters)
    assert torch.get_num_threads() == before
