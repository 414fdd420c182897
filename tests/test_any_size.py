"""Images of any size: random crops, codes that are maps, windows; and samples of any number of channels."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import hourglass as hg
from hourglass.corruption import CORRUPTIONS
from hourglass.data.files import read_image
from hourglass.estimators.checks import check_many
from hourglass.images import Sample, check_images, crop_at
from hourglass.networks import NETWORKS, Code, build
from hourglass.networks.anysize import check_any_size
from hourglass.networks.dense import MLP
from hourglass.objectives import LOSSES, PENALTIES
from hourglass.options import NAMES
from hourglass.trained import Trained, windows_of
from hourglass.training import OPTIMIZERS, Crops, Processes
from hourglass.training.distribution import ALONE
from hourglass.training.sources import Epoch

ANY_SIZE = [name for name, kind in NETWORKS.items() if kind.takes_any_size]
QUICK: dict[str, Any] = {"network": "maps", "hidden": (6, 8), "epochs": 2, "batch_size": 8, "random_state": 0, "crop": 16}


def photographs(channels: tuple[int, ...] = (), seed: int = 0) -> list[np.ndarray]:
    """Smooth images of several sizes, uint8."""
    rng = np.random.default_rng(seed)
    images = []
    for size in ((40, 33), (21, 50), (16, 16), (37, 64), (9, 30), (33, 40)):
        small = rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)
        large = np.asarray(Image.fromarray(small).resize(size[::-1], Image.Resampling.BICUBIC))
        images.append(large if channels else large[..., 0])
    return images


@pytest.fixture(scope="module")
def model() -> hg.Denoiser:
    return hg.Denoiser(4, corruption=hg.GaussianNoise(0, 0.1), **QUICK).fit(photographs())


# --- windows ----------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=30)
@given(
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    window=st.integers(1, 40),
    hidden=st.sampled_from([(3,), (3, 4), (3, 4, 5)]),
    channels=st.sampled_from([(), (3,), (12,)]),
    name=st.sampled_from(ANY_SIZE),
    seed=st.integers(0, 99),
)
def test_windows_give_what_the_whole_image_gives(
    size: tuple[int, int], window: int, hidden: tuple[int, ...], channels: tuple[int, ...], name: str, seed: int
) -> None:
    torch.manual_seed(seed)
    sample = Sample((None, None, *channels))
    trained = Trained(build(name, (sample.channels, 0, 0), 3, hidden), sample)
    image = np.random.default_rng(seed).random((1, *size, *channels), dtype=np.float32)
    whole = trained.reconstruct(image, window=10_000, check_input=False)  # of few rows, many channels seem to come first
    assert whole.shape == image.shape
    assert np.allclose(trained.reconstruct(image, window=window, check_input=False), whole, atol=2e-6)
    codes = trained.encode(image, window=10_000, check_input=False)
    assert np.allclose(trained.encode(image, window=window, check_input=False), codes, atol=1e-5)


@settings(deadline=None)
@given(size=st.tuples(st.integers(1, 50), st.integers(1, 50)), window=st.integers(1, 60), margin=st.integers(0, 9))
def test_windows_cover_each_pixel_once(size: tuple[int, int], window: int, margin: int) -> None:
    seen = np.zeros(size, int)
    for part in windows_of(size, window, margin):
        rows, columns = part.inner()
        top, bottom, left, right = part.kept
        seen[top:bottom, left:right] += 1
        assert (rows.stop - rows.start, columns.stop - columns.start) == (bottom - top, right - left)
        assert 0 <= part.read[0] <= top < bottom <= part.read[1] <= size[0]
    assert (seen == 1).all()


# --- crops ------------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(
    size=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    crop=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    place=st.tuples(*[st.floats(0, 1, exclude_max=True)] * 3),
)
def test_a_crop_is_a_part_of_its_image(size: tuple[int, int], crop: tuple[int, int], place: tuple[float, ...]) -> None:
    image = np.arange(size[0] * size[1]).reshape(size)
    cut = crop_at(image, crop, place)
    assert cut.shape == crop
    assert np.isin(cut, image).all()
    if crop[0] <= size[0] and crop[1] <= size[1]:
        assert len(np.unique(cut)) == cut.size  # nothing is mirrored in
        upright = crop_at(image, crop, (*place[:2], 0.0))
        assert np.array_equal(upright, image[upright[0, 0] // size[1] :, upright[0, 0] % size[1] :][: crop[0], : crop[1]])


def test_crops_are_drawn_anew_from_the_seed() -> None:
    source = Crops(Sample((None, None)), photographs(), (8, 8))
    areas = [image.shape[0] * image.shape[1] for image in photographs()]
    assert len(source) == sum(round(area / 64) for area in areas)

    def epoch(seed: int, processes: Processes = ALONE, first: int = 0) -> torch.Tensor:
        order = torch.Generator().manual_seed(seed)
        return torch.cat([drawn.targets for drawn in source.batches(Epoch(10, order, first, processes))])

    assert torch.equal(epoch(1), epoch(1))
    assert not torch.equal(epoch(1), epoch(2))
    assert torch.equal(epoch(1, first=3), epoch(1)[30:])
    halves = [epoch(1, Processes(rank, 2)) for rank in (0, 1)]
    assert sum(len(half) for half in halves) == len(source)
    assert torch.equal(torch.cat([halves[0][:5], halves[1][:5]]), epoch(1)[:10])


def test_an_epoch_of_many_pixels_takes_some_of_them_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    images = [np.zeros((40, 60), np.uint8), np.zeros((80, 60), np.uint8), np.zeros((5, 5), np.uint8)]
    monkeypatch.setattr(Crops, "MOST_PIXELS", 3600)
    source = Crops(Sample((10, 10)), images, (10, 10))
    assert np.bincount(source._owners).tolist() == [12, 24, 1]
    with pytest.warns(hg.HourglassWarning, match=r"random crops of 0\.5 of the pixels, 3,600"):
        hg.Autoencoder(4, **QUICK).fit(images)


def test_pairs_are_cropped_at_the_same_place() -> None:
    clean = photographs()
    source = Crops(Sample((None, None)), clean, (8, 8), [255 - image for image in clean])
    for drawn in source.batches(Epoch(10, torch.Generator().manual_seed(0))):
        assert drawn.inputs is not None
        assert torch.equal(drawn.inputs, 255 - drawn.targets)


# --- estimators -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [(), (3,)], ids=["grey", "colour"])
def test_a_folder_of_many_sizes_trains_and_comes_back(channels: tuple[int, ...], tmp_path: Path) -> None:
    images = photographs(channels)
    ae = hg.Autoencoder(4, **QUICK).fit(images)
    assert ae.sample_.shape == (None, None, *channels)
    made = ae.reconstruct(images)
    assert [one.shape for one in made] == [image.shape for image in images]
    assert ae.transform(images).shape == (len(images), 4)  # maps are pooled
    again = hg.Autoencoder(4, **QUICK).fit(images)
    assert all(torch.equal(a, b) for a, b in zip(ae.network_.parameters(), again.network_.parameters(), strict=True))
    ae.save(tmp_path / "m.hg")
    loaded = hg.load_model(tmp_path / "m.hg")
    assert loaded.sample_ == ae.sample_
    assert all(np.array_equal(one, other) for one, other in zip(loaded.reconstruct(images), made, strict=True))
    alone = Trained.load(tmp_path / "m.hg")
    assert np.array_equal(alone.reconstruct(images[0][None])[0], made[0])
    maps = ae.model_.encode(images[0][None])
    assert maps.shape == (1, 4, 10, 9)
    assert np.allclose(ae.inverse_transform(maps)[0, :40, :33], made[0], atol=1e-6)
    assert np.array_equal(hg.Retriever.from_autoencoder(alone, images).encode(images), ae.encode(images))
    with pytest.raises(hg.DataError, match=r"allowed: \(n, 4, h, w\)"):
        ae.inverse_transform(ae.transform(images))


def test_several_sizes_are_said_and_learned_from() -> None:
    images = photographs()
    with pytest.warns(hg.HourglassWarning, match="random crops of 44×44"):  # no image has a longer shorter side
        hg.Autoencoder(4, **QUICK | {"crop": None}).fit([np.pad(image, (0, 7)) for image in images])
    ae = hg.Autoencoder(4, **QUICK | {"epochs": 60}).fit(images)
    variance = np.mean([((image / 255 - image.mean() / 255) ** 2).mean() for image in images])
    assert -ae.score(images) < 0.3 * variance
    assert ae.history_[-1]["validation_loss"] is None  # a tenth of six images is none
    assert hg.Autoencoder(4, **QUICK, validation_fraction=0.2).fit(images).history_[-1]["validation_loss"] is not None


def test_a_network_of_one_size_trains_on_crops_too() -> None:
    images = photographs()
    denoiser = hg.Denoiser(4, **QUICK | {"network": "conv"}).fit(images)
    assert denoiser.sample_.shape == (16, 16)
    assert [one.shape for one in denoiser.transform(images)] == [image.shape for image in images]
    with pytest.raises(hg.DataError, match="was fitted on"):
        hg.Autoencoder(4, **QUICK | {"network": "mlp"}).fit(images).transform(images)


def test_the_uses_on_images_of_many_sizes(model: hg.Denoiser) -> None:
    images = photographs()
    noisy = [image.astype(np.float32) / 255 for image in images]
    assert [one.shape for one in model.transform(noisy)] == [image.shape for image in images]
    assert model.transform_image(photographs((3,))[1]).shape == (21, 50, 3)
    pairs = hg.Denoiser(4, **QUICK).fit(noisy, images)
    assert pairs.settings_["corruption"] is None
    assert pairs.score(noisy, images) < 0
    with pytest.raises(hg.DataError, match="pairs must have equal shapes"):
        hg.Denoiser(4, **QUICK).fit(noisy, images[::-1])
    for factor, reduction in ((2, "area"), (3, "area"), (3, "bicubic")):
        enhancer = hg.Enhancer(factor=factor, reduction=reduction, **QUICK).fit(images)
        shapes = [one.shape for one in enhancer.transform(images)]
        assert shapes == [(factor * image.shape[0], factor * image.shape[1]) for image in images]
    nearest = hg.Retriever(4, **QUICK | {"penalty": ()}).fit(images).kneighbors(images, 1)[1]
    assert np.array_equal(nearest[:, 0], np.arange(len(images)))
    with pytest.raises(hg.ParameterError, match="several sizes"):
        hg.Generator(4).fit(images)
    with pytest.raises(hg.ParameterError, match="has maps as codes"):
        hg.Generator(4, network="maps", epochs=1).fit(np.zeros((20, 16, 16), np.uint8))
    with pytest.raises(hg.ModelError, match="are maps"):
        hg.Generator.from_autoencoder(hg.Autoencoder(4, **QUICK).fit(images))


def test_deep_images_of_many_sizes_have_one_white_level() -> None:
    deep = [image.astype(np.uint16) * 16 for image in photographs()]
    with pytest.warns(hg.HourglassWarning, match="white level is taken to be 4095"):
        ae = hg.Autoencoder(4, **QUICK).fit(deep)
    assert ae.sample_.white == 4095
    shallow = [(image / 4095).astype(np.float32) for image in deep]
    made = zip(ae.reconstruct(deep), ae.reconstruct(shallow), strict=True)
    assert all(np.allclose(one, other, atol=1e-5) for one, other in made)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (lambda: [*photographs(), *photographs((3,))], "grey and coloured images together"),
        (lambda: [image.astype(np.float32) for image in photographs()], "floats from"),
        (lambda: [image.astype(np.float32) * np.nan for image in photographs()], "NaN"),
        (lambda: [np.ma.masked_array(image, image > 9) for image in photographs()], "mask would be lost"),
    ],
    ids=["grey and colour", "range", "nan", "masked"],
)
def test_what_is_wrong_with_one_image_of_many_is_said(images: Callable[[], list[np.ndarray]], words: str) -> None:
    with pytest.raises(hg.DataError, match=words):
        hg.Autoencoder(4, **QUICK).fit(images())


def test_an_epoch_of_crops_is_resumed_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stop(hg.Callback):
        def on_batch_end(self, run: hg.Run) -> None:
            if run.step == 6:
                raise KeyboardInterrupt

    monkeypatch.setattr("hourglass.training.checkpoints.SECONDS", 0.0)
    wanted = hg.Denoiser(4, **QUICK).fit(photographs()).network_.state_dict()
    denoiser = hg.Denoiser(4, **QUICK)
    with pytest.raises(KeyboardInterrupt):
        denoiser.fit(photographs(), callbacks=[Stop()], checkpoint=tmp_path / "c")
    denoiser.fit(photographs(), checkpoint=tmp_path / "c", resume=True)
    assert all(torch.equal(wanted[name], tensor) for name, tensor in denoiser.network_.state_dict().items())


# --- streams ------------------------------------------------------------------------------------------------------------


def folder_of(images: list[np.ndarray], folder: Path) -> Path:
    folder.mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number}.png")
    return folder


def test_a_stream_of_many_sizes_is_cropped_anew_in_every_epoch(tmp_path: Path) -> None:
    images = photographs((3,))
    source = hg.stream(folder_of(images, tmp_path / "in"), crop=16, workers=0)
    assert source.shape == (len(images), 16, 16, 3)

    def epoch(seed: int) -> np.ndarray:
        return np.concatenate([batch.images for batch in source.batches(4, seed)])

    assert np.array_equal(epoch(1), epoch(1))
    moved = hg.stream(folder_of(images, tmp_path / "moved"), crop=16, workers=0)
    assert np.array_equal(np.concatenate([batch.images for batch in moved.batches(4, 1)]), epoch(1))
    first, second = ({crop.tobytes() for crop in epoch(seed)} for seed in (1, 2))
    assert len(first & second) <= len(first) // 3  # some lie in the same corner
    assert np.array_equal(next(iter(source)).images, next(iter(source)).images)
    ae = hg.Autoencoder(4, **QUICK | {"crop": None}).fit(source)
    assert ae.sample_.shape == (None, None, 3)
    assert [one.shape for one in ae.reconstruct(images)] == [image.shape for image in images]
    other = hg.Autoencoder(4, **QUICK | {"crop": None}).fit(hg.stream(tmp_path / "in", crop=16, workers=1))
    assert all(torch.equal(a, b) for a, b in zip(ae.network_.parameters(), other.network_.parameters(), strict=True))
    with pytest.raises(hg.ParameterError, match=r"set it in stream\(…, crop=\)"):
        hg.Autoencoder(4, **QUICK).fit(source)
    with pytest.raises(hg.DataError, match="not both"):
        hg.stream(tmp_path / "in", crop=16, size=16)


def test_a_detector_is_given_no_turned_crops_of_a_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of arrays: the orientation may be what is anomalous."""
    image = np.zeros((8, 8), np.uint8)
    image[0] = 255
    source = hg.stream(folder_of([image] * 40, tmp_path / "in"), crop=8, workers=0)
    given: list[np.ndarray] = []
    cast = hg.Stream._cast

    def seen(self: hg.Stream, images: np.ndarray) -> np.ndarray:
        given.append(images)
        return cast(self, images)

    monkeypatch.setattr(hg.Stream, "_cast", seen)
    hg.AnomalyDetector(4, quantile=0.9, epochs=1, random_state=0).fit(source)
    assert len(np.concatenate(given)) >= 80  # trained on, held out, and learned from
    assert (np.concatenate(given) == image).all()
    assert any((crop != image).any() for batch in source.batches(40, 1) for crop in batch.images)


def test_the_command_line_trains_on_a_folder_of_many_sizes(tmp_path: Path, run: Any) -> None:
    folder = folder_of(photographs((3,)), tmp_path / "in")
    arguments = [
        "train",
        "--data",
        folder,
        "--network",
        "maps",
        "--hidden",
        "6",
        "--crop",
        16,
        "--epochs",
        2,
        "-o",
        tmp_path / "m.hg",
    ]
    code, _, err = run(*arguments)
    assert code == 0, err
    code, _, err = run("denoise", tmp_path / "m.hg", folder, "-o", tmp_path / "out")
    assert code == 0, err
    for path in folder.iterdir():
        assert read_image(tmp_path / "out" / path.name).shape == read_image(path).shape
    assert run("denoise", tmp_path / "m.hg", folder, "-o", tmp_path / "parts", "--stream")[0] == 0
    code, out, err = run("info", tmp_path / "m.hg", "--figure", tmp_path / "m.svg")
    assert code == 0, err
    assert "for samples of any size, 3 channels; outputs below are of 64×64 pixels" in out


# --- channels and tables ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", ["mlp", "conv", "skip", "maps"])
def test_an_array_of_twelve_channels_trains(network: str, tmp_path: Path) -> None:
    cube = np.random.default_rng(0).integers(0, 256, (40, 12, 12, 12), dtype=np.uint8)
    ae = hg.Autoencoder(4, network=network, hidden=(6,), epochs=2, random_state=0).fit(cube)
    assert ae.reconstruct(cube).shape == cube.shape
    ae.save(tmp_path / "m.hg")
    assert np.array_equal(hg.load_model(tmp_path / "m.hg").reconstruct(cube[:3]), ae.reconstruct(cube[:3]))
    with pytest.raises(hg.DataError, match="Channels come last"):
        ae.reconstruct(np.zeros((2, 3, 12, 12)))


def test_many_channels_that_seem_to_come_first_are_noted_once() -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 6, 8, 8), dtype=np.uint8)
    with pytest.warns(hg.HourglassWarning, match=r"reads as 8 channels of 6×8 pixels. If their channels come first"):
        model = hg.Autoencoder(3, epochs=1, random_state=0).fit(images)
    assert model.reconstruct(images).shape == images.shape  # without a note: this is what it was trained on
    assert model.model_.reconstruct(images).shape == images.shape
    assert hg.Autoencoder(3, epochs=1, random_state=0).fit(np.moveaxis(images, 1, -1)).sample_.size == (8, 8, 6)
    with pytest.raises(hg.DataError, match="Channels come last"):
        hg.Autoencoder(3, epochs=1).fit(images[:, :4])


@pytest.mark.parametrize("shape", [(12, 24, 32), (64, 32, 32), (64, 24, 32)])
def test_channels_that_may_come_first_are_noted(shape: tuple[int, int, int]) -> None:
    with pytest.warns(hg.HourglassWarning, match=f"reads as {shape[2]} channels .* If their channels come first"):
        check_images(np.zeros((2, *shape)))


@pytest.mark.parametrize("shape", [(24, 32, 12), (24, 24, 200)])
def test_channels_that_are_the_odd_one_are_not(shape: tuple[int, int, int]) -> None:
    check_images(np.zeros((2, *shape)))


def test_channels_that_may_come_first_in_a_list_are_one_note(recwarn: pytest.WarningsRecorder) -> None:
    warnings.simplefilter("always")
    images = [np.zeros((12, height, 32)) for height in (24, 20, 28)]
    check_many(images, None, None, "Autoencoder")
    assert [str(one.message) for one in recwarn if "come first" in str(one.message)] == [str(recwarn[0].message)]
    assert "and 2 more like it" in str(recwarn[0].message)


def test_a_table_with_units_trains() -> None:
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(500, 2))
    table = (hidden @ rng.normal(size=(2, 6)) * [1, 1e4, 1e-3, 10, 1, 5] + [0, 3e5, 1, 0, -4, 2]).astype(np.float32)
    scores = (
        hg.AnomalyDetector(2, random_state=0).fit(table).score_samples(np.vstack([table[:50], table[:50] + table.std(0) * 8]))
    )
    assert scores[:50].min() > scores[50:].max()


# --- parts of the user's own --------------------------------------------------------------------------------------------


@pytest.fixture
def own_names() -> Iterator[None]:
    """What a test registers is gone after it."""
    dicts: tuple[dict[str, Any], ...] = (NETWORKS, CORRUPTIONS, PENALTIES, LOSSES, OPTIMIZERS, NAMES)
    before = [dict(known) for known in dicts]
    names = {kind: list(known) for kind, known in NAMES.items()}
    yield
    for known, was in zip(dicts, before, strict=True):
        known.clear()
        known.update(was)
    NAMES.update(names)


@pytest.mark.usefixtures("own_names")
def test_parts_of_ones_own_are_taken_and_saved_by_name(tmp_path: Path, digits: np.ndarray) -> None:
    class Narrow(MLP):
        default_hidden = (7,)  # type: ignore[assignment]

    @dataclasses.dataclass(frozen=True)
    class Invert(hg.Corruption):
        def corrupt(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
            return 1 - images

    @dataclasses.dataclass(frozen=True)
    class Little(hg.Penalty):
        draws = False

        def __call__(self, output: hg.Output) -> torch.Tensor:
            return self.strength * output.codes.abs().mean()

    class Descent(hg.Optimizer):
        def begin(self) -> None:
            """It keeps nothing between steps."""

        @torch.no_grad()
        def step(self) -> None:
            for parameter in self.parameters:
                assert parameter.grad is not None
                parameter.sub_(self.rate * parameter.grad)

    own = {
        "narrow_net": Narrow,
        "invert": Invert,
        "little": Little,
        "descent": Descent,
        "cubed": lambda made, wanted: (made - wanted).abs().pow(3).mean(),
    }
    for name, part in own.items():
        hg.register(name, part)
        hg.register(name, part)  # as a notebook's cell does when it is run again
    options: dict[str, Any] = {"network": "narrow_net", "penalty": Little(1e-3), "optimizer": "descent", "loss": "cubed"}
    denoiser = hg.Denoiser(3, epochs=1, corruption=Invert(), random_state=0, **options).fit(digits)
    denoiser.save(tmp_path / "m.hg")
    assert np.array_equal(hg.load_model(tmp_path / "m.hg").transform(digits), denoiser.transform(digits))
    del NETWORKS["narrow_net"]
    with pytest.raises(hg.FormatError, match=r"needs the network 'narrow_net'.*register first"):
        hg.load_model(tmp_path / "m.hg")
    hg.register("narrow_net", Narrow)
    with pytest.raises(hg.ParameterError, match=r"must be one of .*'narrow_net'.*in a module that joblib's workers import"):
        hg.Denoiser(network="narow_net").fit(digits)
    for name, part, words in (
        ("mlp", Narrow, "library's own"),
        ("mse", own["cubed"], "library's own"),
        ("a b", Narrow, "underscores"),
        ("x", dict, "not a complete"),
        ("x", hg.Corruption, "not a complete"),
        ("x", 3, "neither a class"),
        ("x", Invert(), "an instance of Invert; register the class"),
        ("x", Narrow((1, 8, 8), 3, (7,), True), "an instance of Narrow"),
    ):
        with pytest.raises(hg.ParameterError, match=words):
            hg.register(name, part)


@pytest.mark.parametrize(
    ("network", "mode"), [("unet", "reflect"), ("maps", "reflect"), ("patches", "reflect"), ("codec", "edge")]
)
def test_sizes_between_multiples_of_the_stride_are_extended(network: str, mode: Literal["reflect", "edge"]) -> None:
    """Mirrored, where noise must stay noise; for files, by what costs fewest bits. Images of one pixel have no mirror image."""
    rng = np.random.default_rng(0)
    images = [rng.random((20 + number, 26), np.float32) for number in range(6)]
    model = hg.Denoiser(preset="photo", network=network, hidden=(4, 4), epochs=1, crop=8, device="cpu").fit(images)
    stride = model.network_.code.stride
    odd = rng.random((stride + 3, 2 * stride + 1), np.float32)
    whole = np.pad(odd, ((0, stride - 3), (0, stride - 1)), mode=mode)
    made = model.transform([odd, whole, odd[:1, :1], odd[:2]])
    np.testing.assert_array_equal(made[0], made[1][: stride + 3, : 2 * stride + 1])
    assert made[2].shape == (1, 1)
    repeated = np.pad(np.pad(odd[:2], ((0, stride - 2), (0, 0)), mode="edge"), ((0, 0), (0, stride - 1)), mode=mode)
    np.testing.assert_array_equal(made[3], model.transform([repeated])[0][:2, : 2 * stride + 1])


class Strided(hg.Network):
    """A network of any size that keeps its promises: 3×3 convolutions at stride 2."""

    takes_any_size = True
    margin = 4

    def __init__(self, shape: tuple[int, ...], n_components: int, hidden: tuple[int, ...], bounded: bool) -> None:
        super().__init__()
        self.code = Code(n_components, 2)
        self.encoder = torch.nn.Conv2d(shape[0], n_components, 3, stride=2, padding=1)
        last = torch.nn.Conv2d(n_components, shape[0], 3, padding=1)
        self.decoder = torch.nn.Sequential(torch.nn.Upsample(scale_factor=2), last)

    def forward(self, samples: torch.Tensor) -> hg.Output:
        codes = self.encoder(samples)
        return hg.Output(self.decoder(codes)[..., : samples.shape[-2], : samples.shape[-1]], codes)


class Uncropped(Strided):
    forward = hg.Network.forward


class ZeroAtFirst(Strided):
    """As residual networks often start: the last layer at 0."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        torch.nn.init.zeros_(self.decoder[1].weight)  # type: ignore[index]
        torch.nn.init.zeros_(self.decoder[1].bias)  # type: ignore[index]


class Gated(Strided):
    """A gate at 0 before what reaches far."""

    def __init__(self, shape: tuple[int, ...], *others: Any) -> None:
        super().__init__(shape, *others)
        self.gate = torch.nn.Parameter(torch.zeros(1))
        self.far = torch.nn.Conv2d(shape[0], shape[0], 9, padding=4)

    def forward(self, samples: torch.Tensor) -> hg.Output:
        output = super().forward(samples)
        return hg.Output(output.reconstructions + self.gate * self.far(output.reconstructions), output.codes)


class Pooled(Strided):
    def forward(self, samples: torch.Tensor) -> hg.Output:
        output = super().forward(samples)
        return hg.Output(output.reconstructions + samples.mean((2, 3), keepdim=True), output.codes)


class InFloat32(Strided):
    def forward(self, samples: torch.Tensor) -> hg.Output:
        with samples.device:
            return super().forward(samples * torch.ones(1, 1, 1, 1) @ torch.eye(samples.shape[-1]))


class OfVectors(Strided):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        del self.code


@pytest.mark.usefixtures("own_names")
@pytest.mark.parametrize(
    ("kind", "margin", "words"),
    [
        (Strided, 0, r"margin=0 is too small.* Set self.margin = 4 "),
        (Strided, 2, r"margin=2 is too small.* Set self.margin = 4 "),
        (Strided, 3, r"a multiple of the code's stride, 2: set self.margin = 4"),
        (InFloat32, 2, r"Set self.margin = 4 "),
        (ZeroAtFirst, 2, r"Set self.margin = 4 "),
        (Gated, 4, r"Set self.margin = 8 "),
        (Uncropped, 4, r"makes 6×8 pixels of an image of 5×7; .* crops in forward"),
        (Pooled, 4, r"set takes_any_size = False"),
        (OfVectors, 4, r"set self.code = hourglass.networks.Code"),
    ],
)
def test_a_network_of_ones_own_that_takes_any_size_is_tried_first(kind: type[hg.Network], margin: int, words: str) -> None:
    images = [np.random.default_rng(0).random(size) for size in ((9, 9), (12, 10), (11, 8))]
    quick: dict[str, Any] = {"network": "own", "crop": 8, "epochs": 1, "random_state": 0}
    hg.register("own", type("Own", (kind,), {"margin": margin}))
    with pytest.raises(hg.ModelError, match=words):
        hg.Autoencoder(3, **quick).fit(images)


@pytest.mark.usefixtures("own_names")
@pytest.mark.parametrize("kind", [Strided, InFloat32])
def test_a_network_of_ones_own_processes_windows(kind: type[hg.Network]) -> None:
    hg.register("own", kind)
    images = [np.random.default_rng(0).random(size) for size in ((9, 9), (12, 10), (11, 8))]
    model = hg.Autoencoder(3, network="own", crop=8, epochs=1, random_state=0).fit(images).model_
    image = np.random.default_rng(1).random((1, 33, 40), dtype=np.float32)
    assert np.allclose(model.reconstruct(image, window=8), model.reconstruct(image), atol=1e-5)
    assert [made.shape for made in model.reconstruct(images)] == [image.shape for image in images]


@pytest.mark.parametrize("name", ANY_SIZE)
def test_the_librarys_networks_of_any_size_pass_the_check(name: str) -> None:
    check_any_size(build(name, (2, 0, 0), 3, (4, 5)), 2)
