"""From a folder of photographs to a model: their own sizes, the preset "photo", pairs, noise that is not clipped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import hourglass as hg
from hourglass.data.files import read_image

QUICK: dict[str, Any] = {"hidden": (6, 8), "epochs": 1, "batch_size": 16, "random_state": 0}
SIZES = ((70, 90), (90, 70), (83, 101))


def photographs(channels: int = 0, n: int = 6) -> list[np.ndarray]:
    """Smooth images of several sizes, uint8."""
    rng = np.random.default_rng(0)
    images = []
    for number in range(n):
        small = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        large = np.asarray(small.resize(SIZES[number % 3][::-1], Image.Resampling.BICUBIC))
        images.append(large if channels else large[..., 0])
    return images


def write(images: list[np.ndarray], folder: Path, suffix: str = ".png") -> Path:
    folder.mkdir(parents=True)
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number}{suffix}")
    return folder


# --- folders ------------------------------------------------------------------------------------------------------------


def test_a_folder_keeps_the_sizes_of_its_images(tmp_path: Path) -> None:
    images = photographs(3)
    folder = write(images, tmp_path / "in")
    dataset = hg.load(folder)
    assert all(np.array_equal(one, other) for one, other in zip(dataset.train.images, images, strict=True))
    assert "several sizes, 70×90×3 to 90×70×3" in dataset.summary
    assert "several sizes" in repr(dataset.train)
    with pytest.raises(hg.DataError, match=r"sizes differ, 0.png is 90×70 and 1.png is 70×90"):
        dataset.of_one_size()
    some = dataset.with_test(0, 0.4)
    assert (len(some.train), len(some.test)) == (4, 2)
    assert dataset.tiled((50, 50)).train.images.shape[1:] == (50, 50, 3)
    grey = hg.load(folder, grey=True).train.images
    assert [image.shape for image in grey] == [image.shape[:2] for image in images]
    assert np.abs(grey[0].astype(int) - np.asarray(Image.fromarray(images[0]).convert("L"))).max() <= 1
    one = write(photographs(3)[:1], tmp_path / "one")
    assert hg.load(one, grey=True).train.images.shape == (1, 70, 90)


def test_images_of_several_sizes_get_the_photo_preset_and_a_line() -> None:
    images = photographs()
    with pytest.warns(hg.HourglassWarning, match=r'random crops of 64×64 and preset="photo" \(network="unet"\)'):
        denoiser = hg.Denoiser(**QUICK).fit(images)
    assert denoiser.settings_["network"] == "unet"
    assert denoiser.settings_["corruption"].std == (0, 55 / 255)
    assert [one.shape for one in denoiser.transform(images)] == [image.shape for image in images]
    with pytest.warns(hg.HourglassWarning, match=r'network="maps"'):
        autoencoder = hg.Autoencoder(4, **QUICK).fit(images)
    assert autoencoder.transform(images).shape == (6, 4)
    with pytest.warns(hg.HourglassWarning, match=r"random crops of 64×64, as"):
        assert hg.Denoiser(**QUICK, network="conv").fit(images).settings_["network"] == "conv"
    same = np.stack([image[:70, :70] for image in images])
    with pytest.warns(hg.HourglassWarning, match=r"random crops of 64×64, as"):
        assert hg.Denoiser(**QUICK, preset="photo").fit(same).sample_.is_any_size
    small = hg.Denoiser(**QUICK, preset="photo", crop=16).fit(same)
    assert small.settings_["network"] == "unet"


# --- noise --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def denoiser() -> hg.Denoiser:
    noise = hg.GaussianNoise(0, (0, 0.2), clip=False)
    return hg.Denoiser(**QUICK | {"epochs": 40, "hidden": (16,)}, preset="photo", crop=32, corruption=noise).fit(photographs())


def test_noise_that_is_not_clipped_is_taken_after_training_with_it(denoiser: hg.Denoiser) -> None:
    clean = [image.astype(np.float32) / 255 for image in photographs()]
    noisy = [image + np.random.default_rng(1).normal(0, 0.1, image.shape).astype(np.float32) for image in clean]
    assert min(image.min() for image in noisy) < 0
    outputs = denoiser.transform(noisy)
    errors = [np.mean((one - other) ** 2) for one, other in zip(outputs, clean, strict=True)]
    assert np.mean(errors) < 0.2 * 0.1**2
    assert np.array_equal(denoiser.transform_image(noisy[0]), outputs[0])
    assert denoiser.score(noisy, clean) == pytest.approx(-np.mean(errors), rel=0.1)
    with pytest.raises(hg.DataError, match="infinite"):
        denoiser.transform([*noisy[1:], np.full((70, 90), np.inf, np.float32)])
    with pytest.raises(hg.DataError, match="floats from"):
        hg.Denoiser(**QUICK, preset="photo", crop=32).fit(photographs()).transform(noisy)


def test_a_copy_that_is_drawn_once_is_not_clipped_either() -> None:
    images = np.full((40, 8, 8), 255, np.uint8)

    def loss(clip: bool) -> float:
        noise = hg.GaussianNoise(0, 0.5, clip=clip)
        model = hg.Denoiser(2, hidden=(4,), corruption=noise, redraw=False, epochs=1, random_state=0).fit(images)
        return float(model.history_[0]["loss"])

    assert loss(True) != loss(False)


def test_the_strength_of_denoising(denoiser: hg.Denoiser) -> None:
    image = photographs()[0]
    noisy = image / 255 + np.random.default_rng(1).normal(0, 0.1, image.shape)
    auto = denoiser.transform_image(noisy)
    found = np.sqrt(np.mean((auto - noisy) ** 2))
    for strength in (0.0, 0.05):
        weaker = denoiser.transform_image(noisy, strength=strength)
        assert np.sqrt(np.mean((weaker - noisy) ** 2)) == pytest.approx(strength, abs=1e-4)
    stronger = denoiser.transform_image(noisy, strength=2 * found)
    assert np.array_equal(denoiser.transform_image(noisy, strength=2 * found), stronger)  # its noise is always the same
    assert np.sqrt(np.mean((stronger - auto) ** 2)) > 0.001
    with pytest.raises(hg.ParameterError, match="strength=25"):
        denoiser.transform([image], strength=25)


def test_training_on_noisy_images_alone() -> None:
    clean = [image.astype(np.float32) / 255 for image in photographs()]
    noisy = [np.clip(image + np.random.default_rng(1).normal(0, 0.1, image.shape), 0, 1) for image in clean]
    inputs, targets = hg.neighbour_pairs(noisy, n_draws=2)
    assert [one.shape for one in inputs[:3]] == [(35, 45), (35, 45), (45, 35)]
    cells = noisy[0][:70, :90].reshape(35, 2, 45, 2)
    assert all((cells == one[:, None, :, None]).any((1, 3)).all() for one in (inputs[0], targets[0]))
    assert (inputs[0] != targets[0]).mean() > 0.99
    model = hg.Denoiser(**QUICK | {"epochs": 40, "hidden": (16,)}, preset="photo", crop=32).fit(inputs, targets)
    errors = [np.mean((one - other) ** 2) for one, other in zip(model.transform(noisy), clean, strict=True)]
    before = [np.mean((one - other) ** 2) for one, other in zip(noisy, clean, strict=True)]
    assert np.mean(errors) < 0.4 * np.mean(before)


# --- pairs --------------------------------------------------------------------------------------------------------------


def test_pairs_are_matched_by_name(tmp_path: Path) -> None:
    images = photographs()
    noisy = write([255 - image for image in images], tmp_path / "noisy" / "page", ".bmp").parent
    clean = write(images, tmp_path / "clean" / "page").parent
    inputs, targets = hg.load_pairs(noisy, clean)
    assert all(np.array_equal(255 - one, other) for one, other in zip(inputs.images, targets.images, strict=True))
    (clean / "page" / "2.png").unlink()
    Image.fromarray(images[0][:50]).save(clean / "page" / "3.png")
    with pytest.warns(hg.HourglassWarning) as notes:
        inputs, targets = hg.load_pairs(noisy, clean)
    assert [path.stem for path in inputs.paths or ()] == [path.stem for path in targets.paths or ()] == ["0", "1", "4", "5"]
    assert [str(note.message) for note in notes] == [
        f"1 of 6 images of {noisy} have no partner in {clean} and are left out; the first: page/2.bmp.",
        "1 of 5 pairs differ in size and are left out; the first: page/3.bmp.",
    ]
    with pytest.raises(hg.DataError, match="has the name of one of"):
        hg.load_pairs(noisy, write(images, tmp_path / "other"))
    Image.fromarray(images[0]).save(clean / "page" / "4.tif")  # beside 4.png: which is it?
    with pytest.warns(hg.HourglassWarning) as notes:
        assert len(hg.load_pairs(noisy, clean)[0]) == 3
    assert f"2 of 6 images of {noisy} have no partner in {clean}" in str(notes[0].message)


def test_an_enhancer_learns_from_pairs_of_several_sizes() -> None:
    high = [image[: image.shape[0] // 3 * 3, : image.shape[1] // 3 * 3] for image in photographs(3)]
    made = hg.Enhancer(factor=3, reduction="bicubic", preset="photo", crop=24, **QUICK).fit(high)
    low = [made.reduce(image[None])[0] for image in high]
    paired = hg.Enhancer(factor=3, preset="photo", crop=24, **QUICK).fit(low, high)
    assert paired.settings_["corruption"] is None
    assert [one.shape for one in paired.transform(low)] == [image.shape for image in high]
    assert made.score(high) == pytest.approx(made.score(low, high), rel=1e-6)
    with pytest.warns(hg.HourglassWarning, match="crops of 63×63"):  # whole blocks
        hg.Enhancer(factor=3, preset="photo", **QUICK).fit(high)
    with pytest.raises(hg.DataError, match="for factor=2, it must be"):
        hg.Enhancer(factor=2, preset="photo", crop=24, **QUICK).fit(low, high)
    with pytest.raises(hg.DataError, match="as many images of both"):
        hg.Enhancer(factor=3, preset="photo", crop=24, **QUICK).fit(low[:-1], high)


def test_pairs_from_the_command_line(tmp_path: Path, run: Any) -> None:
    images = photographs(3)
    noisy = write([255 - image for image in images], tmp_path / "noisy")
    clean = write(images, tmp_path / "clean")
    quick = ["--hidden", "6", "--epochs", 1, "--batch-size", 16]
    code, _, err = run("train", "--data", noisy, "--targets", clean, *quick, "-o", tmp_path / "m.hg")
    assert code == 0, err
    assert "6 pairs of several sizes" in err
    assert 'preset="photo"' in err
    assert run("denoise", tmp_path / "m.hg", noisy, "-o", tmp_path / "out", "--strength", 0.1)[0] == 0
    assert all(read_image(tmp_path / "out" / path.name).shape == read_image(path).shape for path in noisy.iterdir())
    low = write([image[::2, ::2] for image in images if not image.shape[0] % 2 and not image.shape[1] % 2], tmp_path / "low")
    even = write([image for image in images if not image.shape[0] % 2 and not image.shape[1] % 2], tmp_path / "high")
    enhancer = ["train", "--task", "enhancer", "--data", low, "--targets", even, *quick, "-o", tmp_path / "e.hg"]
    code, _, err = run(*enhancer)
    assert code == 0, err
    assert run("enhance", tmp_path / "e.hg", low, "-o", tmp_path / "large")[0] == 0
    assert read_image(tmp_path / "large" / "0.png").shape == images[0].shape
    code, _, err = run("train", "--task", "detector", "--data", noisy, "--targets", clean, "-o", tmp_path / "d.hg")
    assert code == 2
    assert "--targets is for" in err


def test_a_model_of_any_size_encodes_and_searches_a_folder(tmp_path: Path, run: Any) -> None:
    folder = write(photographs(3), tmp_path / "in")
    quick = ["--network", "maps", "--hidden", "6", "--epochs", 1, "--batch-size", 16]
    assert (
        run("train", "--task", "retriever", "--data", folder, *quick, "--penalty", "l2:strength=0", "-o", tmp_path / "m.hg")[0]
        == 0
    )
    code, _, err = run("encode", tmp_path / "m.hg", folder, "-o", tmp_path / "codes.npz")
    assert code == 0, err
    assert np.load(tmp_path / "codes.npz")["codes"].shape == (6, 32)
    code, _, err = run("search", tmp_path / "m.hg", folder, "--n", 2, "-o", tmp_path / "found")
    assert code == 0, err
    assert read_image(tmp_path / "found" / "sheet.png").shape[2] == 3
