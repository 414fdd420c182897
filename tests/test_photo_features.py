"""Features of photographs of any size: two crops of an image are alike; visual words; a region finds its image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.preprocessing import StandardScaler

import hourglass as hg
from hourglass.images import Sample, to_float
from hourglass.networks import change_basis, describe
from hourglass.networks.maps import Maps
from hourglass.networks.words import Words
from hourglass.training.examples import Examples
from hourglass.training.sources import Crops, Epoch

QUICK: dict[str, Any] = {"hidden": (8, 16), "n_components": 16, "crop": 32, "batch_size": 32, "epochs": 20, "random_state": 0}
FEW: dict[str, Any] = {"n_components": 8, "hidden": (4, 8), "crop": 32, "epochs": 1, "random_state": 0}


def patterns(n: int = 36) -> list[np.ndarray]:
    """Colour images of several sizes, each of stripes of a period and colours of its own."""
    rng = np.random.default_rng(3)
    images = []
    for number in range(n):
        height, width = (90 + 7 * (number % 3), 120 - 5 * (number % 4))
        along = np.sin(np.arange(width) * (0.15 + 0.05 * (number % 12)))[:, None] * rng.uniform(30, 90, 3)
        image = rng.uniform(90, 160, 3) + along + rng.normal(0, 4, (height, width, 3))
        images.append(np.clip(image, 0, 255).astype(np.uint8))
    return images


@pytest.fixture(scope="module")
def retriever() -> hg.Retriever:
    with pytest.warns(hg.HourglassWarning, match=r'crops of 32×32|preset="photo-features" \(network="patches"\)'):
        return hg.Retriever(**QUICK).fit(patterns())


def test_the_other_view_of_a_crop_is_another_crop_of_the_same_image() -> None:
    rows = [np.repeat(np.arange(100 * n, 100 * n + 60)[:, None] / np.float32(500), 50, axis=1) for n in range(5)]
    source = Crops(Sample((8, 8)), rows, (8, 8), turns=False)
    drawn = list(source.in_pairs().batches(Epoch(16, torch.Generator().manual_seed(0))))
    targets, others = (
        (torch.cat([getattr(batch, name) for batch in drawn]) * 500).round().long() for name in ("targets", "others")
    )
    assert torch.equal(targets[:, 0, 0] // 100, others[:, 0, 0] // 100)  # of the same image
    assert (targets[:, 0, 0] != others[:, 0, 0]).float().mean() > 0.9  # elsewhere
    assert next(source.batches(Epoch(16, torch.Generator().manual_seed(0)))).others is None
    examples = Examples(source.in_pairs(), hg.GaussianNoise(0, 0.1), n_views=2)
    order, noise = (torch.Generator().manual_seed(0) for _ in range(2))
    inputs, wanted = next(examples.shuffled(16, order, noise))
    assert torch.equal(inputs[:16], wanted[:16])
    assert 0.05 < float((inputs[16:] - wanted[16:]).std()) < 0.15  # each view has its own target
    assert not torch.equal(wanted[:16], wanted[16:])


def test_another_basis_of_the_code_decodes_to_the_same() -> None:
    torch.manual_seed(0)
    network = Maps((3, 16, 24), 5, (4, 6), bounded=True)
    images = torch.rand(2, 3, 16, 24)
    before, codes = network(images).reconstructions, network.encoder(images)
    mean, matrix = torch.randn(5), torch.randn(5, 5) + 3 * torch.eye(5)
    change_basis(network.encoder, network.decoder, mean, matrix)
    torch.testing.assert_close(network(images).reconstructions, before, atol=1e-5, rtol=0)
    expected = torch.einsum("dc,nchw->ndhw", matrix, codes - mean[:, None, None])
    torch.testing.assert_close(network.encoder(images), expected, atol=1e-4, rtol=1e-4)


def test_fewer_dimensions_are_principal_directions(retriever: hg.Retriever) -> None:
    codes = retriever.encode(patterns())
    assert codes.shape == (36, 16)
    assert np.abs(codes.mean(0)).max() < 1e-3
    covariance = np.cov(codes, rowvar=False)
    deviation = np.sqrt(np.diag(covariance))
    assert np.abs(covariance / np.outer(deviation, deviation) - np.eye(16)).max() < 0.01
    assert (np.diff(deviation) < 1e-5).all()


def test_each_place_is_shared_among_visual_words(retriever: hg.Retriever, monkeypatch: pytest.MonkeyPatch) -> None:
    images, model = patterns()[:3], retriever.model_
    maps = model.encode(images)
    assert [part.shape for part in maps] == [(512, -(-image.shape[0] // 4), -(-image.shape[1] // 4)) for image in images]
    for part in maps:
        np.testing.assert_allclose(part.sum(0), 1, atol=1e-5)
        assert part.max(0).mean() > 0.05  # of 512 words: few are like a place
    histograms = np.sqrt([part.mean((1, 2)) for part in maps])
    network = model.network
    assert isinstance(network, Words)
    assert isinstance(network.reduction, torch.nn.Linear)
    weight, bias = (tensor.detach().cpu().numpy() for tensor in (network.reduction.weight, network.reduction.bias))
    codes = retriever.encode(images)
    np.testing.assert_allclose(codes, histograms @ weight.T + bias, atol=1e-4)
    monkeypatch.setattr("hourglass.trained.model._WINDOW", 40)
    np.testing.assert_allclose(retriever.encode(images), codes, atol=1e-4)  # in windows


@pytest.mark.filterwarnings("ignore::hourglass.HourglassWarning")
def test_images_that_are_added_later_do_not_come_before_others() -> None:
    """Few were fitted: then directions in which those do not differ must not outweigh the others."""
    images = patterns(36)
    retriever = hg.Retriever(**{**QUICK, "n_components": None}).fit(images[:12])
    retriever.add(images[12:])
    nearest = retriever.kneighbors([image[20:70, 30:90] for image in images], 1)[1][:, 0]
    assert (nearest[:12] == np.arange(12)).mean() >= 0.7
    assert (nearest[12:] == np.arange(12, 36)).mean() >= 0.6


@pytest.mark.parametrize("n_components", [None, 6, 30])
def test_other_images_are_not_far_from_all_that_were_seen(n_components: int | None) -> None:
    """Of fewer images than words, no dimension may have only rounding as its deviation."""
    images = patterns(48)
    features = hg.Autoencoder(preset="photo-features", **{**FEW, "n_components": n_components}).fit(images[:24])
    codes = StandardScaler().fit(features.transform(images[:24])).transform(features.transform(images[24:]))
    assert codes.shape == (24, n_components or 512)
    assert np.abs(codes).max() < 100


def test_a_saved_model_gives_the_same_codes(retriever: hg.Retriever, tmp_path: Path) -> None:
    retriever.save(tmp_path / "m.hg")
    again = hg.load_model(tmp_path / "m.hg")
    assert np.array_equal(again.encode(patterns()), retriever.encode(patterns()))
    assert (again.kneighbors(patterns()[:3], 1)[1][:, 0] == np.arange(3)).all()
    layers = describe(again.network_, (3, 16, 16))
    assert [row["output"] for row in layers if row["part"] == "head"] == [[16]]
    assert sum(row["weights"] for row in layers) == sum(weight.numel() for weight in again.network_.parameters())


@pytest.mark.filterwarnings("ignore::hourglass.HourglassWarning")
def test_fewer_places_than_visual_words() -> None:
    flat = [np.full((40, width, 3), level, np.uint8) for width, level in ((50, 9), (45, 9), (50, 200))]
    found = hg.Retriever(**{**FEW, "n_components": None}).fit(flat).kneighbors(flat, 2)[1]
    assert sorted(found[0]) == sorted(found[1]) == [0, 1]


def test_a_region_finds_its_image(retriever: hg.Retriever) -> None:
    images = patterns()
    regions = [image[20:70, 30:90] for image in images]
    wanted = np.arange(len(images))[:, None]
    assert (retriever.kneighbors(regions, 1)[1] == wanted).mean() >= 0.5  # random codes: 0.03
    lighter = [np.clip(to_float(region) * 1.05 + 0.02, 0, 1) for region in regions]
    assert (retriever.kneighbors(lighter, 5)[1] == wanted).any(1).mean() >= 0.7


def test_features_of_large_images_take_crops_and_small_ones_do_not() -> None:
    few: dict[str, Any] = {"epochs": 1, "hidden": (4, 4), "random_state": 0}
    large = np.random.default_rng(0).integers(0, 256, (8, 140, 150), dtype=np.uint8)
    with pytest.warns(hg.HourglassWarning, match='preset="photo-features"'):
        features = hg.Autoencoder(8, preset="features", **few).fit(large)
    assert features.settings_["network"] == "words"
    assert features.transform(large).shape == (8, 8)
    small = hg.Retriever(preset="features", **few).fit(large[:, :20, :20])
    assert small.settings_["network"] == "embedding"


def test_the_verb_searches_by_a_region(retriever: hg.Retriever, tmp_path: Path, run: Any) -> None:
    retriever.save(tmp_path / "m.hg")
    Image.fromarray(patterns()[4]).save(tmp_path / "four.png")
    ask = ("search", tmp_path / "m.hg", tmp_path / "four.png", "--region")
    code, _, err = run(*ask, "30,20,60,50", "--n", 1, "-o", tmp_path / "out")
    assert code == 0, err
    assert (tmp_path / "out" / "neighbours.csv").read_text().splitlines()[1].split(",")[2] == "4"
    assert "not within it" in run(*ask, "30,20,600,50")[2]
    assert "is not a region" in run(*ask, "30,20,0,50")[2]
    assert "give one" in run(*ask[:2], "--duplicates", "--region", "1,1,5,5")[2]
    hg.Retriever(4, epochs=1, random_state=0).fit(np.random.default_rng(0).random((30, 9, 9))).save(tmp_path / "m.hg")
    assert "any size" in run(*ask, "3,2,4,5")[2]


def test_what_has_no_visual_words_is_refused_or_left(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", np.stack([image[:80, :90] for image in patterns()]))
    with pytest.raises(hg.ParameterError, match="a stream takes"):
        hg.Retriever(preset="photo-features").fit(hg.stream(tmp_path / "images.npy"))
    with pytest.raises(hg.ModelError, match="use fit"):
        hg.Autoencoder(preset="photo-features", **FEW).partial_fit(patterns())
    features = hg.Autoencoder(preset="photo-features", **FEW).fit(patterns(6))
    with pytest.raises(hg.ModelError, match="visual words, came after training"):
        features.partial_fit(patterns(6))
    own = hg.Autoencoder(preset="photo-features", network="codec", **FEW).fit(patterns(6))
    assert own.transform(patterns(6)).shape == (6, 8)
    assert own.network_.code.width == 8
    denoiser = hg.Denoiser(preset="photo-features", **FEW).fit(patterns(6))
    assert denoiser.settings_["network"] == "patches"  # to restore an image takes its features
