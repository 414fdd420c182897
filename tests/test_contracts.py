"""What every network and optimiser must keep; a new one is taken up from its dict."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import hourglass as hg
from hourglass.corruption import seeded
from hourglass.networks import NETWORKS, build, center
from hourglass.networks.base import Network
from hourglass.networks.convolutional import Enlarging
from hourglass.objectives import LOSSES, NEED_IMAGES, Objective
from hourglass.training import OPTIMIZERS
from hourglass.training.optimizers import orthogonalize

IMAGE_SHAPES = [(1, 8, 8), (3, 13, 11), (1, 28, 28)]
FLAT = (20,)


def made(name: str, shape: tuple[int, ...], n_components: int = 6, hidden: tuple[int, ...] = (8, 12)) -> Network:
    torch.manual_seed(0)
    return build(name, shape, n_components, hidden)


def takes_features(name: str) -> bool:
    return name not in ("conv", "skip", "residual", "maps", "patches", "unet", "codec")


# --- networks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [*IMAGE_SHAPES, FLAT], ids=str)
@pytest.mark.parametrize("name", NETWORKS)
def test_network_shapes(name: str, shape: tuple[int, ...]) -> None:
    if shape == FLAT and not takes_features(name):
        with pytest.raises(hg.ModelError, match="flat features"):
            made(name, shape)
        return
    network = made(name, shape)
    samples = torch.rand(5, *shape)
    output = network(samples)
    assert output.codes.shape == (5, *network.code.shape(shape))
    assert output.vectors.shape == (5, 6)
    assert output.reconstructions.shape == samples.shape
    assert torch.equal(network.encoder(samples), output.codes)
    decoded = network.decoder(torch.randn(3, *network.code.shape(shape)))
    assert decoded[..., : shape[-2], : shape[-1]].shape == (3, *shape) if network.code.is_map else decoded.shape == (3, *shape)


@pytest.mark.parametrize("name", NETWORKS)
def test_network_is_bounded_where_asked(name: str) -> None:
    torch.manual_seed(0)
    networks = [build(name, (1, 8, 8), 4, bounded=is_bounded) for is_bounded in (True, False)]
    codes = 1e3 * torch.randn(50, *networks[0].code.shape((1, 8, 8)))
    bounded, free = (network.decoder(codes) for network in networks)
    assert name == "linear" or networks[0].adds_input or (bounded.min() >= 0 and bounded.max() <= 1)
    assert free.min() < 0 or free.max() > 1


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_are_finite_and_reach_every_weight(name: str, loss: str) -> None:
    network = made(name, (1, 12, 12))
    samples = torch.rand(8, 1, 12, 12)
    output = network(samples)
    reconstructions = output.reconstructions.clamp(0.01, 0.99)
    penalties = [hg.Rate()] if network.has_rate else []
    Objective(LOSSES[loss], penalties)(output._replace(reconstructions=reconstructions), samples).backward()
    for parameter in network.parameters():
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()
        assert parameter.grad.abs().sum() > 0


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", NETWORKS)
def test_network_overfits_one_batch(name: str, optimizer: str, digits: np.ndarray) -> None:
    samples = torch.from_numpy(digits[:8, None]).float() / 255
    network = made(name, (1, 8, 8), n_components=8, hidden=(32, 32))
    steps = OPTIMIZERS[optimizer](network.parameters(), 0.02 if optimizer == "muon" else 0.01)
    variance = float(((samples - samples.mean(0)) ** 2).mean())
    for _ in range(400):
        loss = LOSSES["mse"](network(samples).reconstructions, samples)
        if loss < 0.1 * variance:
            break
        network.zero_grad()
        loss.backward()
        steps.step()
    assert float(loss.detach()) < 0.1 * variance


@pytest.mark.parametrize("name", NETWORKS)
def test_same_seed_same_weights_and_saved_is_loaded_bit_for_bit(name: str, digits: np.ndarray, tmp_path) -> None:
    hidden = (6, 8) if NETWORKS[name].takes_any_size else None  # for speed

    def fitted(seed: int = 3) -> hg.Autoencoder:
        return hg.Autoencoder(4, network=name, hidden=hidden, epochs=2, random_state=seed).fit(digits)

    first, second = fitted(), fitted()
    torch.manual_seed(99)  # the global state has no say
    for key, tensor in first.network_.state_dict().items():
        assert torch.equal(tensor, second.network_.state_dict()[key]), key
    first.save(tmp_path / "model.hg")
    loaded = hg.load_model(tmp_path / "model.hg")
    assert np.array_equal(loaded.transform(digits), first.transform(digits))
    assert np.array_equal(loaded.reconstruct(digits), first.reconstruct(digits))
    assert not np.array_equal(first.transform(digits), fitted(4).transform(digits))


def test_encoder_and_decoder_need_not_mirror_each_other() -> None:
    pair = build(("conv", "mlp"), (1, 8, 8), 3, hidden=((4,), (50, 20, 10)))
    assert pair.decoder(pair.encoder(torch.rand(2, 1, 8, 8))).shape == (2, 1, 8, 8)
    widths = [module.out_features for module in pair.decoder.modules() if isinstance(module, torch.nn.Linear)]
    assert widths == [10, 20, 50, 64]


@pytest.mark.parametrize("name", [name for name, kind in NETWORKS.items() if kind.takes_any_size])
def test_the_receptive_field_is_within_the_margin(name: str) -> None:
    """By the gradient of one pixel in the middle, in the widest position of the stride."""
    for hidden in ((4,), (4, 6), (4, 6, 8)):
        torch.manual_seed(0)
        network = build(name, (1, 0, 0), 3, hidden)
        side = 4 * network.margin
        images = torch.rand(1, 1, side, side, requires_grad=True)
        for shift in range(network.code.stride):
            middle = side // 2 + shift
            (felt,) = torch.autograd.grad(network(images).reconstructions[0, 0, middle, middle], images)
            rows = felt[0, 0].abs().sum(1).nonzero().flatten()
            assert middle - int(rows.min()) <= network.margin
            assert int(rows.max()) - middle <= network.margin


@pytest.mark.parametrize("size", [(6, 8), (5, 7), (5, 8)])
def test_a_convolution_of_small_maps_is_one_of_enlarged_maps(size: tuple[int, int]) -> None:
    ours, maps = Enlarging(5, 3, size), torch.rand(2, 5, 3, 4, requires_grad=True)
    large = torch.nn.functional.interpolate(maps, scale_factor=2)
    plain = torch.nn.functional.conv2d(large, ours.weight, ours.bias, padding=1)[..., : size[0], : size[1]]
    assert torch.allclose(ours(maps), plain, atol=1e-6)
    factors, wanted = torch.rand(2, 3, *size), [maps, *ours.parameters()]
    slopes = (torch.autograd.grad((made * factors).sum(), wanted) for made in (ours(maps), plain))
    for one, other in zip(*slopes, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-5)


def test_networks_that_cannot_be_are_refused() -> None:
    wrong = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(63, 2))
    with pytest.raises(hg.ModelError, match="cannot take samples"):
        build((wrong, "mlp"), (1, 8, 8), 2)
    with pytest.raises(hg.ModelError, match="it must give"):
        build((torch.nn.Flatten(), "mlp"), (1, 8, 8), 2)
    with pytest.raises(hg.ModelError, match="the decoder gives"):
        build(("mlp", torch.nn.Linear(2, 64)), (1, 8, 8), 2)
    refused: tuple[Any, ...] = ((0,), (8, -1), "88", ((8,), "x"))
    for hidden in refused:
        with pytest.raises(hg.ParameterError, match="hidden="):
            build("mlp", (1, 8, 8), 2, hidden)
    with pytest.raises(hg.ParameterError, match="network="):
        build(("mlp",), (1, 8, 8), 2)


@pytest.mark.parametrize("name", NETWORKS)
def test_centering_starts_at_the_mean(name: str, digits: np.ndarray) -> None:
    samples = torch.from_numpy(digits[:, None]).float() / 255
    network = made(name, (1, 8, 8)).requires_grad_(False)
    before = float(((network(samples).reconstructions - samples) ** 2).mean())
    center(network, samples, samples)
    after = network(samples).reconstructions
    if network.adds_input:  # it starts at its input
        assert torch.allclose(after, samples, atol=0.2)
        return
    assert float(((after - samples) ** 2).mean()) < before
    if name == "mlp":
        bias = made(name, (1, 8, 8)).encoder[1].bias  # type: ignore[index]
        means = network.encoder[1](samples.flatten(1)).mean(0)  # type: ignore[index]
        assert torch.allclose(means, bias, atol=1e-5)


# --- optimisers -------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 12), st.integers(0, 12), st.integers(0, 2**31 - 1))
def test_orthogonalize_keeps_singular_vectors_and_levels_values(rows: int, more: int, seed: int) -> None:
    matrices = torch.randn(3, rows, rows + more, generator=seeded(seed))
    flat = orthogonalize(matrices)
    u, s, vt = torch.linalg.svd(matrices, full_matrices=False)
    levelled = (u.mT @ flat @ vt.mT).diagonal(dim1=1, dim2=2)
    rest = u.mT @ flat @ vt.mT - torch.diag_embed(levelled)
    assert rest.abs().max() < 1e-2
    clear = s > 0.05 * s[:, :1]  # the smallest directions need more steps; they stay between 0 and 1
    assert levelled[clear].min() > 0.3
    assert levelled.max() < 1.3


def test_the_losses_that_need_images_say_so() -> None:
    flat = torch.rand(4, 9)
    for name, loss in LOSSES.items():
        if name in NEED_IMAGES:
            with pytest.raises((RuntimeError, IndexError, NotImplementedError)):
                loss(flat, flat)
        else:
            assert torch.isfinite(loss(flat, flat))


def test_bce_is_finite_at_the_ends_and_nan_stays_nan() -> None:
    made_ = torch.tensor([[0.0, 1.0]], requires_grad=True)
    loss = LOSSES["bce"](made_, torch.tensor([[1.0, 0.0]]))
    loss.backward()
    assert torch.isfinite(loss)
    assert made_.grad is not None
    assert torch.isfinite(made_.grad).all()
    assert torch.isnan(LOSSES["bce"](torch.tensor([[float("nan")]]), torch.tensor([[1.0]])))
