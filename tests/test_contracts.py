"""What every network, loss, penalty, corruption and optimiser must keep; a new one is taken up from its dict."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torchmetrics.functional.image import structural_similarity_index_measure

import hourglass as hg
from hourglass.corruption import CORRUPTIONS, Combination, from_config, seeded, to_config
from hourglass.networks import NETWORKS, build, center
from hourglass.networks.base import Network
from hourglass.objectives import LOSSES, NEED_IMAGES, PENALTIES, Objective, ssim_deviation
from hourglass.objectives.registry import from_config as penalty_from_config
from hourglass.objectives.registry import to_config as penalty_to_config
from hourglass.training import OPTIMIZERS
from hourglass.training.optimizers import orthogonalize

IMAGE_SHAPES = [(1, 8, 8), (3, 13, 11), (1, 28, 28)]
FLAT = (20,)


def made(name: str, shape: tuple[int, ...], n_components: int = 6, hidden: tuple[int, ...] = (8, 12)) -> Network:
    torch.manual_seed(0)
    return build(name, shape, n_components, hidden)


def takes_features(name: str) -> bool:
    return name not in ("conv", "skip", "residual")


def output_with(codes: torch.Tensor) -> hg.Output:
    """What a network might give with these codes, all that a penalty can ask for; ∂y/∂x has the codes on its diagonal."""
    inputs = torch.zeros(codes.shape, requires_grad=True)
    wide = torch.cat([codes, codes], 1)
    return hg.Output(
        torch.rand(len(codes), 9), codes + inputs * codes, codes.square().sum(1), wide, inputs, (torch.ones(2, 3),)
    )


def small_corruptions() -> list[hg.Corruption]:
    parts = tuple(kind() for kind in CORRUPTIONS.values() if not issubclass(kind, Combination))
    return [*parts, *(kind(parts) for kind in CORRUPTIONS.values() if issubclass(kind, Combination))]


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
    assert output.codes.shape == (5, 6)
    assert output.reconstructions.shape == samples.shape
    assert torch.equal(network.encoder(samples), output.codes)
    assert network.decoder(torch.randn(3, 6)).shape == (3, *shape)


@pytest.mark.parametrize("name", NETWORKS)
def test_network_is_bounded_where_asked(name: str) -> None:
    torch.manual_seed(0)
    bounded = build(name, (1, 8, 8), 4, bounded=True).decoder(1e3 * torch.randn(50, 4))
    free = build(name, (1, 8, 8), 4, bounded=False).decoder(1e3 * torch.randn(50, 4))
    assert name in ("linear", "residual") or (bounded.min() >= 0 and bounded.max() <= 1)
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
    steps = OPTIMIZERS[optimizer](network, 0.02 if optimizer == "muon" else 0.01)
    variance = float(((samples - samples.mean(0)) ** 2).mean())
    for _ in range(400):
        loss = LOSSES["mse"](network(samples).reconstructions, samples)
        steps.zero_grad()
        loss.backward()
        steps.step()
    assert float(loss.detach()) < 0.1 * variance


@pytest.mark.parametrize("name", NETWORKS)
def test_same_seed_same_weights_and_saved_is_loaded_bit_for_bit(name: str, digits: np.ndarray, tmp_path) -> None:
    def fitted() -> hg.Autoencoder:
        return hg.Autoencoder(4, network=name, epochs=2, random_state=3).fit(digits)

    first, second = fitted(), fitted()
    torch.manual_seed(99)  # the global state has no say
    for key, tensor in first.network_.state_dict().items():
        assert torch.equal(tensor, second.network_.state_dict()[key]), key
    first.save(tmp_path / "model.hg")
    loaded = hg.load_model(tmp_path / "model.hg")
    assert np.array_equal(loaded.transform(digits), first.transform(digits))
    assert np.array_equal(loaded.reconstruct(digits), first.reconstruct(digits))
    assert not np.array_equal(
        first.transform(digits), hg.Autoencoder(4, network=name, epochs=2, random_state=4).fit_transform(digits)
    )


def test_encoder_and_decoder_need_not_mirror_each_other() -> None:
    pair = build(("conv", "mlp"), (1, 8, 8), 3, hidden=((4,), (50, 20, 10)))
    assert pair.decoder(pair.encoder(torch.rand(2, 1, 8, 8))).shape == (2, 1, 8, 8)
    widths = [module.out_features for module in pair.decoder.modules() if isinstance(module, torch.nn.Linear)]
    assert widths == [10, 20, 50, 64]


def test_networks_that_cannot_be_are_refused() -> None:
    wrong = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(63, 2))
    with pytest.raises(hg.ModelError, match="cannot take samples"):
        build((wrong, "mlp"), (1, 8, 8), 2)
    with pytest.raises(hg.ModelError, match="it must give"):
        build((torch.nn.Flatten(), "mlp"), (1, 8, 8), 2)
    with pytest.raises(hg.ModelError, match="the decoder gives"):
        build(("mlp", torch.nn.Linear(2, 64)), (1, 8, 8), 2)
    for hidden in ((0,), (8, -1), "88", ((8,), "x")):
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
        bias = made(name, (1, 8, 8)).encoder[1].bias
        assert torch.allclose(network.encoder[1](samples.flatten(1)).mean(0), bias, atol=1e-5)


# --- objectives -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOSSES)
def test_loss_is_least_at_the_target(name: str) -> None:
    targets = torch.rand(4, 1, 16, 16) * 0.98 + 0.01
    best = LOSSES[name](targets, targets)
    assert best.ndim == 0
    for scale in (0.05, 0.3):
        worse = (targets + scale * torch.randn_like(targets)).clamp(0.001, 0.999)
        assert LOSSES[name](worse, targets) > best


def test_losses_are_means_over_all_values() -> None:
    assert set(LOSSES) >= {"mse", "bce", "mae", "ssim"}
    made_, wanted = torch.tensor([[0.5, 0.25]]), torch.tensor([[1.0, 0.0]])
    assert LOSSES["mse"](made_, wanted).item() == pytest.approx((0.25 + 0.0625) / 2)
    assert LOSSES["mae"](made_, wanted).item() == pytest.approx((0.5 + 0.25) / 2)
    assert LOSSES["bce"](made_, wanted).item() == pytest.approx(-(np.log(0.5) + np.log(0.75)) / 2)


@pytest.mark.parametrize("shape", [(3, 1, 28, 28), (2, 3, 9, 12), (2, 1, 4, 7), (1, 1, 1, 3)])
def test_ssim_is_the_fields_ssim(shape: tuple[int, ...]) -> None:
    made_, wanted = torch.rand(shape), torch.rand(shape)
    blend = 0.7 * wanted + 0.3 * made_
    theirs = structural_similarity_index_measure(blend, wanted, data_range=1.0, sigma=ssim_deviation(shape[2:]))
    assert 1 - LOSSES["ssim"](blend, wanted).item() == pytest.approx(float(theirs), abs=1e-5)


@pytest.mark.parametrize("name", PENALTIES)
def test_penalty_scales_and_is_never_negative(name: str) -> None:
    output = output_with(torch.randn(16, 5))
    one, two = PENALTIES[name](1.0), PENALTIES[name](2.0)
    if name == "contractive":  # else both draw their own directions
        one, two = hg.Contractive(1.0, n_probes=0), hg.Contractive(2.0, n_probes=0)
    assert two(output).item() == pytest.approx(2 * one(output).item())
    assert one(output) > 0
    active = 5 * (0.05 * np.log(0.05 / 0.5) + 0.95 * np.log(0.95 / 0.5))  # five units that are active for half of the images
    of_zeros = {"contrast": np.log(15), "neighbours": np.log(15), "kl_sparsity": active}  # entropies of a choice of 15
    assert one(output_with(torch.zeros(16, 5))).item() == pytest.approx(of_zeros.get(name, 0))


def test_contrast_is_least_where_views_meet_and_images_part() -> None:
    images = 10 * torch.randn(8, 5)
    met, swapped = (
        hg.Contrast(1.0)(hg.Output(torch.empty(0), torch.cat([images, other]))) for other in (images, images.roll(1, 0))
    )
    assert met < 0.1 * swapped
    codes = torch.tensor([[0.0], [3.0], [0.0], [3.0]])  # two images on a line, both views of each at the same place
    assert hg.Contrast(1.0)(hg.Output(torch.empty(0), codes)).item() == pytest.approx(-np.log(1 / (1 + 0.1 + 0.1)))


def test_neighbours_are_least_where_the_code_keeps_them() -> None:
    wide = torch.randn(30, 2)
    kept, lost = (hg.Neighbours(1.0)(hg.Output(wide, codes, None, wide)) for codes in (wide.clone(), torch.randn(30, 2)))
    assert kept < lost
    assert hg.Neighbours(1.0)(hg.Output(wide, wide, None, wide)) == 0  # the code is that layer itself


def test_rate_needs_a_network_that_knows_it(digits: np.ndarray) -> None:
    with pytest.raises(hg.ParameterError, match="knows its rate"):
        hg.Autoencoder(4, penalty=hg.Rate(), epochs=1).fit(digits)
    fitted = hg.Autoencoder(4, network="variational", epochs=1, random_state=0).fit(digits)
    assert fitted.settings_["penalty"] == hg.Rate()


def test_views_need_damage_that_is_drawn_anew(digits: np.ndarray) -> None:
    for damage in ({}, {"corruption": hg.Masking(0.2), "redraw": False}):
        with pytest.raises(hg.ParameterError, match="two views"):
            hg.Autoencoder(4, penalty=hg.Contrast(), epochs=1, **damage).fit(digits)


def test_the_variational_rate_is_the_divergence_from_the_prior() -> None:
    network = made("variational", (1, 8, 8))
    samples = torch.rand(5, 1, 8, 8)
    means, log_variances = network.encoder.posterior(samples)
    code = torch.distributions.Normal(means, (0.5 * log_variances).exp())
    wanted = torch.distributions.kl_divergence(code, torch.distributions.Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(network(samples).rate, wanted)


def test_the_quantised_density_is_a_distribution_over_the_integers() -> None:
    density = made("quantised", (1, 8, 8)).density
    integers = torch.arange(-60, 61).float()[:, None].expand(-1, 6)
    torch.testing.assert_close(density(integers).exp().sum(0), torch.ones(6), atol=1e-4, rtol=0)


def test_penalties_are_sums_over_codes_and_means_over_images() -> None:
    codes = torch.tensor([[1.0, -2.0], [0.0, 3.0]])
    output = output_with(codes)._replace(rate=torch.tensor([9.0, 27.0]))
    assert hg.L1(1.0)(output).item() == pytest.approx(3.0)
    assert hg.L2(1.0)(output).item() == pytest.approx(7.0)
    assert hg.Rate(1.0)(output).item() == pytest.approx(2.0)  # 18 nats an image of 9 values
    assert hg.L2(0.5, on="weights")(output).item() == pytest.approx(3.0)
    rare = output_with(torch.full((4, 3), float(np.log(0.05 / 0.95))))  # σ of it is 0.05
    assert hg.KLSparsity(1.0, target=0.05)(rare).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", ["mlp", "conv", "embedding", "variational"])
def test_contractive_is_the_norm_of_autograds_jacobian(name: str) -> None:
    network = made(name, (1, 8, 8)).eval()
    samples = torch.rand(5, 1, 8, 8, requires_grad=True)
    jacobian = torch.autograd.functional.jacobian(network.encoder, samples)  # (5, 6, 5, 1, 8, 8): of each by every image
    wanted = sum(jacobian[i, :, i].square().sum() for i in range(5)) / 5
    output = network(samples)._replace(inputs=samples)
    torch.testing.assert_close(hg.Contractive(1.0, n_probes=0)(output), wanted, rtol=1e-4, atol=1e-7)
    torch.manual_seed(0)
    drawn = torch.stack([hg.Contractive(1.0, n_probes=2)(output).detach() for _ in range(400)])
    assert abs(float(drawn.mean() - wanted)) < 5 * float(drawn.std()) / 20  # without bias
    assert 0 < float(drawn.std()) < float(wanted)


def test_contractive_training_flattens_the_encoder(digits: np.ndarray) -> None:
    free, penalised = (
        hg.Autoencoder(4, epochs=10, penalty=penalty, random_state=0).fit(digits) for penalty in (None, hg.Contractive(1e-2))
    )
    samples = torch.from_numpy(digits[:20, None]).float() / 255

    def norm(model: hg.Autoencoder) -> float:
        inputs = samples.clone().requires_grad_()
        return float(hg.Contractive(1.0, n_probes=0)(hg.Output(samples, model.encoder_(inputs), inputs=inputs)).detach())

    assert norm(penalised) < 0.5 * norm(free)
    assert penalised.history_[-1]["validation_loss"] > free.history_[-1]["validation_loss"]  # the penalty counts there too


def test_sparsity_and_weight_decay_do_what_they_say(digits: np.ndarray) -> None:
    def trained(*penalties: hg.Penalty) -> hg.Autoencoder:
        return hg.Autoencoder(8, epochs=30, penalty=penalties, random_state=0).fit(digits)

    def weight(model: hg.Autoencoder) -> float:
        return float(sum(p.detach().square().sum() for p in model.network_.parameters() if p.ndim > 1))

    free, sparse, light = trained(), trained(hg.KLSparsity(0.1, target=0.1)), trained(hg.L2(1e-3, on="weights"))
    activity = [1 / (1 + np.exp(-model.transform(digits).astype(float))) for model in (free, sparse)]
    assert activity[0].mean() > 0.3 > 0.2 > activity[1].mean()
    assert weight(light) < 0.7 * weight(free)
    both = trained(hg.KLSparsity(0.1, target=0.1), hg.L2(1e-3, on="weights"))  # several add up
    assert weight(both) < weight(sparse)


@pytest.mark.parametrize("name", PENALTIES)
def test_penalty_survives_json(name: str) -> None:
    for penalty in (PENALTIES[name](0.25), hg.L2(0.1, on="weights"), hg.Contractive(n_probes=0)):
        assert penalty_from_config(json.loads(json.dumps(penalty_to_config(penalty)))) == penalty
    with pytest.raises(hg.FormatError, match="unknown"):
        penalty_from_config({"name": "os.system"})
    with pytest.raises(hg.FormatError, match="cannot be made"):
        penalty_from_config({"name": name, "colour": 3})


@pytest.mark.parametrize(
    "make",
    [
        lambda: hg.L1(-1.0),
        lambda: hg.Rate(float("nan")),
        lambda: hg.L2(on="biases"),
        lambda: hg.KLSparsity(target=0.0),
        lambda: hg.KLSparsity(target=1.0),
        lambda: hg.Contractive(n_probes=-1),
        lambda: hg.Contractive(n_probes=float("inf")),
        lambda: hg.L2(on="weights")(hg.Output(torch.rand(2, 3), torch.rand(2, 2))),
        lambda: hg.Contractive()(hg.Output(torch.rand(2, 3), torch.rand(2, 2))),
    ],
)
def test_penalties_that_cannot_be_are_refused(make) -> None:
    with pytest.raises(hg.ParameterError):
        make()


def test_penalty_shrinks_codes(digits: np.ndarray) -> None:
    free, penalised = (
        hg.Autoencoder(8, epochs=5, penalty=penalty, random_state=0).fit_transform(digits)
        for penalty in (None, [hg.L1(1e-2), hg.L2(1e-3)])
    )
    assert np.abs(penalised).mean() < 0.5 * np.abs(free).mean()


# --- corruption -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("corruption", small_corruptions(), ids=lambda c: type(c).__name__)
def test_corruption_is_pure_seeded_and_in_range(corruption: hg.Corruption, digits: np.ndarray, colours: np.ndarray) -> None:
    for images in (digits, colours, colours.reshape(len(colours), -1)):
        before = images.copy()
        damaged = corruption(images, 5)
        assert damaged.shape == images.shape
        assert damaged.dtype == np.float32
        assert damaged.min() >= 0
        assert damaged.max() <= 1
        assert np.array_equal(images, before)
        assert np.array_equal(damaged, corruption(images, 5))
        if corruption.is_random and (images.ndim > 2 or not isinstance(corruption, hg.Warp)):  # rows have no geometry
            assert not np.array_equal(damaged, corruption(images, 6))
            assert not np.array_equal(corruption(images), corruption(images))
    generator = seeded(5)
    batch = torch.rand(4, 3, 8, 8)
    if corruption.is_random:
        assert not torch.equal(corruption(batch, generator), corruption(batch, generator))  # the generator moves on


@pytest.mark.parametrize("corruption", small_corruptions(), ids=lambda c: type(c).__name__)
def test_corruption_survives_json(corruption: hg.Corruption) -> None:
    assert from_config(json.loads(json.dumps(to_config(corruption)))) == corruption


def test_corruptions_do_what_they_say() -> None:
    grey = np.full((50, 28, 28), 0.5, dtype=np.float32)
    noisy = hg.GaussianNoise(mean=0.1, std=0.05)(grey, 0)
    assert noisy.mean() == pytest.approx(0.6, abs=0.002)
    assert noisy.std() == pytest.approx(0.05, abs=0.002)
    salted = hg.SaltAndPepper(0.2)(grey, 0)
    assert (salted == 0).mean() == pytest.approx(0.1, abs=0.01)
    assert (salted == 1).mean() == pytest.approx(0.1, abs=0.01)
    colour = np.full((20, 16, 16, 3), 0.5, dtype=np.float32)
    lost = hg.Masking(0.3)(colour, 0) == 0
    assert lost.mean() == pytest.approx(0.3, abs=0.02)
    assert (lost.all(axis=3) == lost.any(axis=3)).all()  # all channels of a pixel together
    coarse = hg.Downscale(2)(np.arange(15, dtype=np.float32).reshape(1, 3, 5) / 14, 0) * 14
    np.testing.assert_allclose(coarse[0], [[3, 3, 5, 5, 6.5]] * 2 + [[10.5, 10.5, 12.5, 12.5, 14]], rtol=1e-5)
    still = hg.Warp(rotation=0, scale=0, shear=0, shift=0)(colour, 0)
    np.testing.assert_allclose(still, colour, atol=1e-6)
    bar = np.zeros((200, 21, 21), np.float32)
    bar[:, :, 10] = 1
    moved = hg.Warp(rotation=0, scale=0, shear=0, shift=0.1)(bar, 0)
    centres = (moved * np.arange(21)).sum((1, 2)) / moved.sum((1, 2)) - 10
    assert np.abs(centres).max() == pytest.approx(2.1, abs=0.1)
    turned = hg.Warp(rotation=90, scale=0, shear=0, shift=0)(bar, 0)
    assert (turned[:, 10, 0] > 0.5).any()


@pytest.mark.parametrize(
    "make",
    [
        lambda: hg.GaussianNoise(std=-1.0),
        lambda: hg.GaussianNoise(mean=float("nan")),
        lambda: hg.SaltAndPepper(1.5),
        lambda: hg.Masking(-0.1),
        lambda: hg.Compose((1,)),
        lambda: hg.Downscale(0),
        lambda: hg.Downscale(1.5),
        lambda: hg.Warp(scale=1.0),
        lambda: hg.Warp(shift=float("nan")),
        lambda: hg.Masking(cell=float("inf")),
        lambda: hg.Rotation(float("nan")),
        lambda: hg.Rotation(float("inf")),
        lambda: hg.Permutation(-1),
        lambda: hg.Permutation(1.5),
        lambda: hg.Permutation(float("nan")),
        lambda: hg.Permutation(2**32),
        lambda: hg.Permutation(inverted=2),
        lambda: hg.Flip(0.5),
        lambda: hg.Choice(()),
        lambda: hg.Choice((hg.Flip(), None)),
    ],
)
def test_impossible_corruptions_are_refused(make) -> None:
    with pytest.raises(hg.ParameterError):
        make()


@pytest.mark.parametrize(
    "corruption",
    [
        hg.Permutation(3),
        hg.Permutation(3, inverted=True),
        hg.Flip(),
        hg.Flip(vertical=True),
        hg.Rotation(180),
        hg.Rotation(-540),
        hg.Compose((hg.Permutation(3), hg.Flip(), hg.Rotation(180), hg.Permutation(4))),
        hg.Compose(()),
    ],
    ids=str,
)
def test_what_can_be_undone_is_undone_exactly(corruption: hg.Corruption, digits: np.ndarray, colours: np.ndarray) -> None:
    grey = colours[..., 0]
    for images in (digits, digits / 255, colours, grey, digits.reshape(len(digits), -1), grey.reshape(len(grey), -1)):
        assert not corruption.is_random
        moved = corruption(images)
        wanted = hg.to_float(images)
        assert moved.shape == images.shape
        assert np.array_equal(corruption.inverse(moved), wanted)
        assert np.array_equal(corruption(corruption.inverse(images)), wanted)
        if images.ndim > 2 and corruption != hg.Compose(()):
            assert not np.array_equal(moved, wanted)
    rows = torch.randn(5, 7)  # features in their own units
    assert torch.equal(corruption.inverse(corruption(rows)), rows)


@pytest.mark.parametrize("angle", [0, 90, 180, 270, 360, -90, 450])
def test_quarter_turns_of_squares_are_exact_and_can_be_undone(angle: float, digits: np.ndarray) -> None:
    turned = hg.Rotation(angle)(digits)
    assert np.array_equal(turned, hg.to_float(np.rot90(digits, angle // 90, axes=(1, 2))))
    assert np.array_equal(hg.Rotation(angle).inverse(turned), hg.to_float(digits))


def test_what_cannot_be_undone_says_so() -> None:
    for corruption in small_corruptions():
        if isinstance(corruption, (hg.Permutation, hg.Rotation, hg.Flip)):
            assert not corruption.is_random
            assert corruption.inverse.inverse == corruption
        else:
            assert corruption.inverse is None
    assert hg.Compose((hg.Flip(), hg.Masking(), hg.Rotation(30))).inverse is None
    assert hg.Compose((hg.Flip(), hg.Rotation(30))).inverse == hg.Compose((hg.Rotation(-30), hg.Flip()))
    assert hg.Compose((hg.Flip(), hg.Masking())).is_random
    assert not hg.Compose((hg.Flip(), hg.Downscale())).is_random


def test_rows_have_no_geometry_but_can_be_permuted(colours: np.ndarray) -> None:
    rows = colours.reshape(len(colours), -1)
    for corruption in (hg.Rotation(30), hg.Rotation(180), hg.Flip(), hg.Flip(vertical=True), hg.Warp()):
        assert np.array_equal(corruption(rows), rows)
        assert torch.equal(corruption(torch.from_numpy(rows)), torch.from_numpy(rows))
    moved = hg.Permutation(1)(rows)
    assert np.array_equal(moved, rows[:, np.random.RandomState(1).permutation(rows.shape[1])])
    for corruption in (*small_corruptions(), hg.Masking(cell=4)):  # an array's rows are rows as a tensor's are
        assert np.array_equal(corruption(rows, 3), corruption(torch.from_numpy(rows), 3).numpy())


def test_permutation_is_one_order_for_all_images_and_channels(colours: np.ndarray) -> None:
    pixels = colours.reshape(40, 143, 3)
    moved = hg.Permutation(7)(colours).reshape(40, 143, 3)
    assert np.array_equal(moved, pixels[:, np.random.RandomState(7).permutation(143)])
    assert not np.array_equal(moved, hg.Permutation(8)(colours).reshape(40, 143, 3))
    assert np.array_equal(np.sort(moved, axis=1), np.sort(pixels, axis=1))
    # Written down, not drawn: numpy's frozen stream, which saved models rest on.
    ten = np.arange(10, dtype=np.float32)[None] / 10
    np.testing.assert_allclose(hg.Permutation(0)(ten)[0] * 10, [2, 8, 4, 9, 1, 6, 7, 3, 0, 5], rtol=1e-6)


def test_flip_mirrors(colours: np.ndarray) -> None:
    assert np.array_equal(hg.Flip()(colours), colours[:, :, ::-1])
    assert np.array_equal(hg.Flip(vertical=True)(colours), colours[:, ::-1])


@pytest.mark.parametrize("angle", [30.0, -75.0, 90.0, 200.0])
def test_rotation_is_scipys(angle: float) -> None:
    images = np.random.default_rng(0).random((2, 9, 24, 3), dtype=np.float32)
    wanted = ndimage.rotate(images, angle, axes=(2, 1), reshape=False, order=1, mode="nearest")
    np.testing.assert_allclose(hg.Rotation(angle)(images), wanted, atol=1e-4)


def test_rotation_is_counter_clockwise_and_repeats_the_border() -> None:
    images = np.zeros((1, 9, 9), np.float32)
    images[0, 4, 8] = 1
    assert hg.Rotation()(images)[0, 0, 4] == 1  # from the right to the top
    turned = hg.Rotation(45)(images)[0]
    assert turned[:4, 5:].sum() > 0.5
    assert turned[5:].sum() == 0
    for level in (0.0, 1.0):
        np.testing.assert_allclose(hg.Rotation(33)(np.full((1, 9, 14), level)), level, atol=1e-6)


def test_a_turn_back_restores_the_middle() -> None:
    y, x = np.mgrid[0:40, 0:60]
    images = (0.5 + 0.4 * np.sin(x / 6) * np.cos(y / 8))[None].astype(np.float32)
    back = hg.Rotation(30).inverse(hg.Rotation(30)(images))
    assert np.abs(back - images)[0, 12:28, 22:38].max() < 0.02
    assert np.abs(back - images).max() > 0.1  # the corners are lost


def test_choice_gives_each_image_one_of_its_parts_evenly(colours: np.ndarray) -> None:
    parts = (hg.Compose(()), hg.Flip(), hg.Flip(vertical=True), hg.Permutation(2))
    images = np.repeat(colours, 50, axis=0)
    damaged = hg.Choice(parts)(images, 0)
    fits = np.array([(damaged == part(images)).all(axis=(1, 2, 3)) for part in parts])
    assert (fits.sum(axis=0) == 1).all()
    np.testing.assert_allclose(fits.mean(axis=1), 0.25, atol=0.04)  # four standard deviations of 2,000 draws
    noisy = hg.Choice((hg.GaussianNoise(0, 0.1), hg.GaussianNoise(0.5, 0)))(np.full((500, 4, 4), 0.2), 0)
    same = np.isclose(noisy, 0.7).all(axis=(1, 2))
    assert same.mean() == pytest.approx(0.5, abs=0.1)
    assert (noisy[~same].std(axis=0) > 0.05).all()  # a draw for each image


def test_fixed_corruptions_are_saved_with_a_model(digits: np.ndarray, tmp_path: Path) -> None:
    noise = hg.GaussianNoise(0, 0.1)
    for number, corruption in enumerate(
        (hg.Compose((hg.Permutation(3), hg.Flip(), noise)), hg.Choice((hg.Compose(()), hg.Rotation(180), noise)))
    ):
        fitted = hg.Denoiser(3, epochs=1, corruption=corruption, random_state=0).fit(digits)
        fitted.save(tmp_path / f"{number}.hg")
        loaded = hg.load_model(tmp_path / f"{number}.hg")
        assert loaded.settings_["corruption"] == loaded.corruption == corruption
        assert np.array_equal(loaded.corruption(digits, 4), corruption(digits, 4))


def test_unknown_corruptions_are_refused() -> None:
    with pytest.raises(hg.FormatError, match="unknown"):
        from_config({"name": "os.system"})
    with pytest.raises(hg.FormatError, match="cannot be made"):
        from_config({"name": "masking", "colour": 3})


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
    assert torch.isfinite(made_.grad).all()
    assert torch.isnan(LOSSES["bce"](torch.tensor([[float("nan")]]), torch.tensor([[1.0]])))
