"""Fitting on streams, and runs that go on in the midst of an epoch."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hourglass as hg
import sharded
from hourglass.data import Stream, stream
from hourglass.estimators import ESTIMATORS, presets
from hourglass.images import Sample
from hourglass.training import Examples, Run, Streamed, checkpoints
from hourglass.training.distribution import ALONE, Processes
from sharded import Counted, numbered, numbers_of

N = 300


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """300 real digits of 8×8, uint8."""
    return hg.load("digits").train.images[:N]


@pytest.fixture(scope="module")
def labels() -> list[int]:
    return hg.load("digits").train.known_labels[:N].tolist()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, images: np.ndarray, labels: list[int]) -> Path:
    return sharded.write("tar", tmp_path_factory.mktemp("tar"), images, labels)


def weights(model: Any) -> dict[str, torch.Tensor]:
    return model.network_.state_dict()


def assert_same(left: Any, right: Any) -> None:
    assert weights(left).keys() == weights(right).keys()
    assert all(torch.equal(tensor, weights(right)[name]) for name, tensor in weights(left).items())
    told = [[(row["epoch"], row["loss"], row["validation_loss"]) for row in model.history_] for model in (left, right)]
    assert told[0] == told[1]


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_every_estimator_is_fitted_on_a_stream(
    kind: str, source: Path, images: np.ndarray, labels: list[int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(presets, "MINIMAL_STEPS", {})
    small: dict[str, Any] = {"epochs": 1, "random_state": 0}
    model: Any = ESTIMATORS[kind](**small) if kind == "enhancer" else ESTIMATORS[kind](4, **small)
    model.fit(stream(source, workers=0))
    assert model.sample_ == Sample.of(images)
    assert model.history_[0]["validation_loss"] is not None
    if kind == "enhancer":
        assert model.transform(model.reduce(images[:3])).shape == (3, 8, 8)
    else:
        assert model.encode(images[:3]).shape == (3, model.settings_["n_components"])
    if kind == "generator":
        assert model.classes_.tolist() == sorted(set(labels))
    elif kind == "retriever":
        keys = stream(source).in_memory().keys
        assert keys is not None
        assert model.ids_.tolist() == list(keys)
        assert model.kneighbors(images[:40], 1)[1][:, 0].tolist() == list(range(40))
    elif kind == "detector":
        assert np.mean(model.predict(images) == 1) > 0.5
    elif kind == "compressor":
        assert model.decompress(model.compress(images[:5])).shape == (5, 8, 8)
    model.save(tmp_path / "m.hg")
    assert_same(model, hg.load_model(tmp_path / "m.hg"))


def test_a_stream_teaches_as_well_as_the_array(images: np.ndarray, source: Path) -> None:
    options: dict[str, Any] = {"hidden": (64,), "epochs": 12, "random_state": 0}
    on_array = hg.Denoiser(16, **options).fit(images)
    on_stream = hg.Denoiser(16, **options).fit(stream(source, workers=0, buffer=100))
    first, last = on_stream.history_[0], on_stream.history_[-1]
    assert last["validation_loss"] < 0.8 * first["validation_loss"]
    assert last["validation_loss"] == pytest.approx(on_array.history_[-1]["validation_loss"], rel=0.15)
    assert on_stream.score(images) == pytest.approx(on_array.score(images), rel=0.15)


def test_images_that_validate_are_not_trained_on(source: Path, images: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []
    batches = Stream.batches

    def watched(self: Stream, *given: Any, **named: Any) -> Any:
        for batch in batches(self, *given, **named):
            seen.extend(map(bytes, batch.images))
            yield batch

    monkeypatch.setattr(Stream, "batches", watched)
    model = hg.Autoencoder(4, epochs=2, random_state=0).fit(stream(source, workers=0))
    rows = model.validation_rows_
    assert len(rows) == N // 10
    kept = np.delete(images, rows, axis=0)
    assert sorted(seen) == sorted(2 * [bytes(image) for image in kept])
    assert -model.score(images[rows]) == pytest.approx(model.history_[-1]["validation_loss"], rel=1e-3)


def test_what_learns_nothing_more_reads_nothing_more(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    take = Stream.take

    def counted(self: Stream, numbers: Any, **how: Any) -> Any:
        taken.append(len(numbers))
        return take(self, numbers, **how)

    monkeypatch.setattr(Stream, "take", counted)
    hg.Autoencoder(4, epochs=1, random_state=0).fit(stream(source, workers=0))
    assert len(taken) == 2  # to centre, and to validate


# --- going on in the midst of an epoch --------------------------------------------------------------------------------


class StopAfter(hg.Callback):
    """Ends the run as a kill would after so many steps, before anything is saved of the next one or of the epoch."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_batch_end(self, run: Run) -> None:
        self.n_batches = run.n_batches
        if run.step == self.step + 1:
            raise KeyboardInterrupt

    def on_epoch_end(self, run: Run) -> None:
        if run.step == self.step:
            raise KeyboardInterrupt


KINDS: dict[str, dict[str, Any]] = {
    "adam": {"optimizer": "adam"},
    "muon": {"optimizer": "muon"},
    "variational": {"network": "variational"},
    "conv": {"network": "conv"},
    "without damage": {"kind": hg.Autoencoder},
    "all at once": {"kind": hg.Autoencoder, "network": "linear", "batch_size": None},
    "two views": {"kind": hg.Retriever},
}


@pytest.mark.parametrize("given", ["stream", "array"])
@pytest.mark.parametrize("name", KINDS)
def test_resumed_within_an_epoch_is_uninterrupted(
    name: str, given: str, source: Path, images: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "SECONDS", 0.0)  # a checkpoint after every batch
    monkeypatch.setattr(presets, "MINIMAL_STEPS", {})
    options: dict[str, Any] = {"kind": hg.Denoiser, "epochs": 3, "batch_size": 60, "random_state": 7} | KINDS[name]
    make = options.pop("kind")

    def fit(**named: Any) -> Any:
        data = images if given == "array" else stream(source, workers=0, buffer=90)
        return make(4, **options).fit(data, **named)

    watch = StopAfter(-1)
    straight = fit(callbacks=[watch])
    path, n = tmp_path / "run.checkpoint", watch.n_batches
    for step in (2, n, n + 3):  # in the midst, after the last batch of an epoch, and in the midst of the next
        with pytest.raises(KeyboardInterrupt):
            fit(callbacks=[StopAfter(step)], checkpoint=path, resume=True)
        assert batch_of(path) == (n if step == n else step % n)
    assert_same(fit(checkpoint=path, resume=True), straight)


def test_a_run_that_diverges_leaves_the_last_good_checkpoint(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "SECONDS", 0.0)
    path = tmp_path / "run.checkpoint"

    class Spoil(hg.Callback):
        def on_batch_end(self, run: Any) -> None:
            if run.step == 8:
                with torch.no_grad():
                    next(iter(run.network.parameters())).fill_(torch.nan)

    def fit(**options: Any) -> Any:
        model = hg.Autoencoder(4, epochs=3, batch_size=16, random_state=0)
        return model.fit(stream(source, workers=0), checkpoint=path, **options)

    with pytest.raises(hg.DivergenceError):
        fit(callbacks=[Spoil()])
    assert np.isfinite(fit(resume=True).history_[-1]["loss"])


def batch_of(path: Path) -> int:
    """How many batches of the epoch under way a checkpoint holds."""
    import json

    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return json.loads(header["__metadata__"]["state"])["batch"]


def test_another_buffer_or_source_is_another_run(source: Path, images: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "run.checkpoint"

    def fit(*given: Any, **options: Any) -> Any:
        model = hg.Autoencoder(4, epochs=1, random_state=0)
        return model.fit(stream(*given, **options), checkpoint=path, resume=path.exists())

    fit(source, workers=0, buffer=90)
    fit(source, workers=1, buffer=90)  # who reads is no matter
    others = sharded.write("tar", tmp_path / "others", images[:-1])
    for given, options in (((source,), {"buffer": 91}), ((others,), {"buffer": 90}), ((source,), {"size": (9, 9)})):
        with pytest.raises(hg.ParameterError, match="made by another run"):
            fit(*given, **options)


# --- the same damage, whoever reads an image --------------------------------------------------------------------------


def examples(source: Stream, **options: Any) -> Examples:
    return Examples(Streamed(Sample(source.shape[1:]), source, np.array([5, 17])), hg.GaussianNoise(), **options)


def batches(given: Examples, processes: Processes = ALONE, **options: Any) -> list[tuple[torch.Tensor, torch.Tensor]]:
    order, noise = torch.Generator().manual_seed(1), torch.Generator().manual_seed(2)
    return list(given.shuffled(150, order, noise, processes=processes, **options))


@pytest.mark.parametrize("n_views", [1, 2])
@pytest.mark.parametrize("buffer", [100, 400])
@pytest.mark.parametrize("n_processes", [2, 3])
def test_damage_does_not_depend_on_who_reads(n_processes: int, buffer: int, n_views: int) -> None:
    """Where each process has blocks of its own (of a buffer of 400 images), and where it has a stretch of every batch."""
    source = Stream([Counted(0, [20] * 20)], workers=0, buffer=buffer)
    whole = batches(examples(source, n_views=n_views))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", hg.HourglassWarning)  # that the smaller buffer has too few blocks
        shares = [batches(examples(source, n_views=n_views), Processes(rank, n_processes)) for rank in range(n_processes)]
    for number, (inputs, targets) in enumerate(whole):
        for view in range(n_views):
            given, wanted = (tensor.chunk(n_views)[view] for tensor in (inputs, targets))
            parts = [[tensor.chunk(n_views)[view] for tensor in share[number]] for share in shares]
            order = torch.cat([torch.tensor(numbers_of(part[1].mul(255).round())) for part in parts]).argsort()
            sorted_whole = torch.tensor(numbers_of(wanted.mul(255).round())).argsort()
            assert torch.equal(torch.cat([part[0] for part in parts])[order], given[sorted_whole])
    assert not torch.equal(whole[0][0], whole[0][1])
    tail = batches(examples(source, n_views=n_views), first=1)
    assert all(torch.equal(left[0], right[0]) for left, right in zip(tail, whole[1:], strict=True))


def test_each_process_reads_blocks_of_its_own() -> None:
    source = Stream([Counted(0, [20] * 20)], workers=0, buffer=400)
    owners: dict[int, set[int]] = {}
    for rank in range(2):
        for _, targets in batches(examples(source), Processes(rank, 2)):
            for number in numbers_of(targets.mul(255).round()):
                owners.setdefault(number // 20, set()).add(rank)
    assert len(owners) == 20
    assert all(len(ranks) == 1 for ranks in owners.values())
    with pytest.warns(hg.HourglassWarning, match="too few for 2 processes"):
        next(iter(Stream([Counted(0, [20] * 20)], workers=0, buffer=50).batches(10, 0, part=(0, 2))))


def test_a_missing_image_changes_the_damage_of_no_other() -> None:
    whole = batches(examples(Stream([Counted(0, [40] * 10)], workers=0)))
    with pytest.warns(hg.HourglassWarning, match="60 of 400"):
        holes = batches(examples(Stream([Counted(0, [40] * 10, unreadable=range(100, 160))], workers=0)))
    for (inputs, targets), (some, kept) in zip(whole, holes, strict=True):
        numbers, left = numbers_of(targets.mul(255).round()), numbers_of(kept.mul(255).round())
        assert left == [number for number in numbers if not 100 <= number < 160]
        assert torch.equal(inputs[[numbers.index(number) for number in left]], some)


def test_damage_is_another_in_every_batch_and_epoch() -> None:
    given = examples(Stream([Counted(0, [40] * 10)], workers=0))
    order, noise = torch.Generator().manual_seed(1), torch.Generator().manual_seed(2)
    every = [inputs.flatten(1)[:, 2:] for _ in range(2) for inputs, _ in given.shuffled(64, order, noise)]
    full = [damaged for damaged in every if len(damaged) == 64]  # of images that are alike from the third pixel on
    assert len(full) == 12
    assert all(not torch.equal(full[0], other) for other in full[1:])


# --- what cannot be read ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [hg.Denoiser, hg.Autoencoder, hg.Retriever])
def test_batches_of_which_nothing_can_be_read_are_passed_over(kind: Any) -> None:
    source = Stream([Counted(0, [20, 20]), Counted(40, [20, 20], unreadable=range(40, 80))], workers=0, buffer=20)
    with pytest.warns(hg.HourglassWarning, match="cannot be read"):
        model = kind(4, epochs=3, batch_size=5, random_state=0).fit(source)
    assert np.isfinite([row["loss"] for row in model.history_]).all()
    assert all(torch.isfinite(tensor).all() for tensor in weights(model).values())


def test_where_nothing_can_be_read_an_error_says_so(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(sharded.tar_of({f"{row}.png": b"none" for row in range(20)}))
    with pytest.raises(hg.DataError, match=r"x\.tar: the first of its images cannot be read: .*0\.png"):
        hg.Denoiser(4, epochs=1).fit(stream(tmp_path, workers=0))


def test_where_nothing_is_left_to_train_on_an_error_says_so() -> None:
    """Images went away once training began."""
    source = Stream([Counted(0, [40])], workers=0)

    class Lose(hg.Callback):
        def on_train_begin(self, run: Run) -> None:
            source.shards[0].__dict__["unreadable"] = frozenset(range(40))

    model = hg.Denoiser(4, epochs=1, random_state=0)
    with (
        pytest.warns(hg.HourglassWarning, match="36 of 40"),
        pytest.raises(hg.DataError, match="none of the samples of the epoch"),
    ):
        model.fit(source, callbacks=[Lose()])


def test_a_strict_stream_ends_the_run() -> None:
    source = Stream([Counted(0, [20, 20], unreadable=[33])], workers=0, strict=True)
    with pytest.raises(hg.DataError, match="shard0#33: is none"):
        hg.Denoiser(4, epochs=1, random_state=0).fit(source)


# --- what a stream is not for -----------------------------------------------------------------------------------------


def test_a_damaged_copy_of_all_is_refused_in_words(source: Path) -> None:
    with pytest.raises(hg.ParameterError, match="streams and crops need redraw=True"):
        hg.Denoiser(preset="chapter", epochs=1).fit(stream(source, workers=0))


def test_what_takes_arrays_says_so(source: Path, images: np.ndarray) -> None:
    given = stream(source, workers=0)
    model = hg.Denoiser(4, epochs=1, random_state=0).fit(given)
    for method in ("transform", "reconstruct", "encode", "score", "partial_fit"):
        with pytest.raises(hg.DataError, match="stream is not held in memory"):
            getattr(model, method)(given)
    enhancer = hg.Enhancer(epochs=1, random_state=0).fit(images)
    for method in ("transform", "score"):
        with pytest.raises(hg.DataError, match="stream is not held in memory"):
            getattr(enhancer, method)(given)
    with pytest.raises(hg.ParameterError, match="brings its own labels"):
        hg.Generator(4, epochs=1).fit(given, np.zeros(N))
    with pytest.raises(hg.ParameterError, match="brings its own labels"):
        hg.Denoiser(4, epochs=1).fit(given, images)


def test_a_stream_of_other_images_is_refused(source: Path, tmp_path: Path) -> None:
    retriever = hg.Retriever(4, epochs=1, random_state=0).fit(stream(source, workers=0))
    others = stream(sharded.write("npy", tmp_path, numbered(5)), workers=0)
    with pytest.raises(hg.DataError, match="is 5×4; 8×8 is needed"):
        retriever.add(others)
    assert len(retriever.index_) == len(retriever.ids_) == N


def test_a_network_of_others_learns_from_a_stream(source: Path, images: np.ndarray) -> None:
    denoiser = hg.Denoiser(8, epochs=1, random_state=0).fit(images)
    retriever = hg.Retriever.from_autoencoder(denoiser, stream(source, workers=0))
    keys = stream(source).in_memory().keys
    assert keys is not None
    with pytest.warns(hg.HourglassWarning, match=f"{len(keys)} of {len(keys)} images are in the index already"):
        assert retriever.add(stream(source, workers=0)).ids_.tolist() == list(keys)
    detector = hg.AnomalyDetector.from_autoencoder(denoiser, quantile=0.9).fit(stream(source, workers=0))
    assert detector.score_samples(images[:3]).shape == (3,)
