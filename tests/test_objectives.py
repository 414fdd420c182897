"""What every loss and penalty must keep; a new one is taken up from its dict."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from torchmetrics.functional.image import structural_similarity_index_measure

import hourglass as hg
from hourglass.networks import build
from hourglass.networks.base import Network
from hourglass.objectives import LOSSES, PENALTIES, ssim_deviation
from hourglass.objectives.registry import from_config as penalty_from_config
from hourglass.objectives.registry import to_config as penalty_to_config


def made(name: str, shape: tuple[int, ...], n_components: int = 6, hidden: tuple[int, ...] = (8, 12)) -> Network:
    torch.manual_seed(0)
    return build(name, shape, n_components, hidden)


def output_with(codes: torch.Tensor) -> hg.Output:
    """What a network might give with these codes, all that a penalty can ask for; ∂y/∂x has the codes on its diagonal."""
    inputs = torch.zeros(codes.shape, requires_grad=True)
    wide = torch.cat([codes, codes], 1)
    return hg.Output(
        torch.rand(len(codes), 9), codes + inputs * codes, codes.square().sum(1), wide, inputs, (torch.ones(2, 3),)
    )


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
    assert isinstance(theirs, torch.Tensor)
    assert 1 - LOSSES["ssim"](blend, wanted).item() == pytest.approx(float(theirs), abs=1e-5)


def test_mixed_is_structure_and_absolute_error() -> None:
    for shape in ((2, 1, 28, 28), (2, 3, 48, 48), (2, 1, 5, 7)):
        made_, wanted = torch.rand(shape), torch.rand(shape)
        value = LOSSES["mixed"](made_, wanted)
        parts = 0.84 * LOSSES["ssim"](made_, wanted) + 0.16 * LOSSES["mae"](made_, wanted)
        assert value.item() == pytest.approx(parts.item())
        assert 0 < value.item() < 1.84
    black, white = torch.zeros(1, 1, 28, 28), torch.ones(1, 1, 28, 28)
    assert LOSSES["mixed"](black, white).item() == pytest.approx(1, abs=1e-3)  # no structure, and no pixel in common


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
    apart = torch.tensor([[0.0], [9.0], [3.0], [12.0]])  # the log similarity of both views is -log(1 + 9)
    losses = [hg.Contrast(2.0, attraction=a)(hg.Output(torch.empty(0), apart)).item() for a in (1.0, 1.5)]
    assert losses[1] - losses[0] == pytest.approx(2 * 0.5 * np.log(10))
    with pytest.raises(hg.ParameterError, match="attraction"):
        hg.Contrast(attraction=0)


def test_neighbours_are_least_where_the_code_keeps_them() -> None:
    wide = torch.randn(30, 2)
    kept, lost = (hg.Neighbours(1.0)(hg.Output(wide, codes, None, wide)) for codes in (wide.clone(), torch.randn(30, 2)))
    assert kept < lost
    assert hg.Neighbours(1.0)(hg.Output(wide, wide, None, wide)) == 0  # the code is that layer itself


def test_rate_needs_a_network_that_knows_it(digits: np.ndarray) -> None:
    with pytest.raises(hg.ParameterError, match="has a rate"):
        hg.Autoencoder(4, penalty=hg.Rate(), epochs=1).fit(digits)
    fitted = hg.Autoencoder(4, network="variational", epochs=1, random_state=0).fit(digits)
    assert fitted.settings_["penalty"] == hg.Rate()


def test_views_need_damage_that_is_drawn_anew(digits: np.ndarray) -> None:
    fixed: tuple[dict[str, Any], ...] = ({}, {"corruption": hg.Masking(0.2), "redraw": False})
    for damage in fixed:
        with pytest.raises(hg.ParameterError, match="two views"):
            hg.Autoencoder(4, penalty=hg.Contrast(), epochs=1, **damage).fit(digits)


def test_the_variational_rate_is_the_divergence_from_the_prior() -> None:
    network = made("variational", (1, 8, 8))
    samples = torch.rand(5, 1, 8, 8)
    means, log_variances = network.encoder.posterior(samples)  # type: ignore[operator]
    code = torch.distributions.Normal(means, (0.5 * log_variances).exp())
    wanted = torch.distributions.kl_divergence(code, torch.distributions.Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(network(samples).rate, wanted)


def test_the_quantised_density_is_a_distribution_over_the_integers() -> None:
    density = made("quantised", (1, 8, 8)).density
    assert isinstance(density, torch.nn.Module)
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
        inputs = samples.to(model.model_.device).requires_grad_()
        return float(hg.Contractive(1.0, n_probes=0)(hg.Output(inputs, model.encoder_(inputs), inputs=inputs)).detach())

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
        lambda: hg.Contractive(n_probes=float("inf")),  # type: ignore[arg-type]
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
