"""Saved models: whole, checked, and nothing half-written."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import hourglass as hg


@pytest.fixture
def model(digits: np.ndarray) -> hg.Denoiser:
    corruption = hg.Compose((hg.Masking(0.1), hg.GaussianNoise(0.0, 0.2)))
    return hg.Denoiser(3, epochs=1, penalty=[hg.L1(1e-4)], corruption=corruption, random_state=0).fit(digits)


def test_everything_comes_back(model: hg.Denoiser, digits: np.ndarray, tmp_path: Path) -> None:
    model.save(tmp_path / "m.hg")
    assert sorted(file.name for file in (tmp_path / "m.hg").iterdir()) == ["README.md", "config.json", "model.safetensors"]
    loaded = hg.load_model(str(tmp_path / "m.hg"))
    assert type(loaded) is hg.Denoiser
    assert loaded.get_params() == {**model.get_params(), "penalty": (hg.L1(1e-4),)}
    assert loaded.settings_ == model.settings_
    assert loaded.sample_ == model.sample_
    assert loaded.history_ == model.history_
    assert loaded.n_features_in_ == 64
    assert np.array_equal(loaded.transform(digits), model.transform(digits))
    card = (tmp_path / "m.hg" / "README.md").read_text()
    assert "hg.load_model" in card
    assert str(tmp_path) not in card


def test_feature_names_come_back(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="comes with mlxtend")
    table = pandas.DataFrame(np.random.default_rng(0).uniform(size=(30, 3)), columns=["a", "b", "c"])
    hg.Autoencoder(2, epochs=1).fit(table).save(tmp_path / "m.hg")
    loaded = hg.load_model(tmp_path / "m.hg")
    assert list(loaded.feature_names_in_) == ["a", "b", "c"]
    with pytest.raises(hg.DataError, match="feature names"):
        loaded.transform(table[["c", "b", "a"]])


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_every_flipped_bit_is_noticed(name: str, digits: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "m.hg"
    hg.Autoencoder(1, network="linear", epochs=1, random_state=0).fit(digits).save(path)
    whole = (path / name).read_bytes()
    rng = np.random.default_rng(0)
    for position in rng.choice(len(whole), size=min(len(whole), 500), replace=False):
        broken = bytearray(whole)
        broken[position] ^= 1 << int(rng.integers(8))
        (path / name).write_bytes(broken)
        with pytest.raises(hg.FormatError):
            hg.load_model(path)
    (path / name).write_bytes(whole)
    hg.load_model(path)


def test_what_is_no_model_is_refused_in_a_sentence(model: hg.Denoiser, tmp_path: Path) -> None:
    path = tmp_path / "m.hg"
    with pytest.raises(hg.FormatError, match="no such model"):
        hg.load_model(path)
    path.mkdir()
    with pytest.raises(hg.FormatError, match="no model"):
        hg.load_model(path)
    (path / "photo.png").write_bytes(b"")
    with pytest.raises(hg.FormatError, match="is no model"):
        model.save(path)  # a folder of something else is not replaced
    assert (path / "photo.png").exists()
    model.save(tmp_path / "n.hg")
    (tmp_path / "n.hg" / "model.safetensors").unlink()
    with pytest.raises(hg.FormatError, match="is missing"):
        hg.load_model(tmp_path / "n.hg")


def test_a_newer_format_is_refused(model: hg.Denoiser, tmp_path: Path) -> None:
    import hashlib

    model.save(tmp_path / "m.hg")
    file = tmp_path / "m.hg" / "config.json"
    config = json.loads(file.read_text())
    config.pop("sha256")
    for change, match in (
        ({"format": 99}, "Upgrade"),
        ({"estimator": "os.system"}, "unknown"),
        ({"fitted": {}}, "does not describe"),
    ):
        changed = config | change
        text = json.dumps(changed, indent=1) + "\n"
        changed["sha256"] = hashlib.sha256(text.encode()).hexdigest()
        file.write_text(json.dumps(changed, indent=1) + "\n")
        with pytest.raises(hg.FormatError, match=match):
            hg.load_model(tmp_path / "m.hg")


def test_saving_again_replaces_and_leaves_nothing_beside(model: hg.Denoiser, digits: np.ndarray, tmp_path: Path) -> None:
    model.save(tmp_path / "m.hg")
    other = hg.Denoiser(5, epochs=1, random_state=1).fit(digits)
    other.save(tmp_path / "m.hg")
    assert hg.load_model(tmp_path / "m.hg").settings_["n_components"] == 5
    assert [path.name for path in tmp_path.iterdir()] == ["m.hg"]


def test_a_full_disk_leaves_the_old_model(model: hg.Denoiser, digits: np.ndarray, tmp_path: Path, monkeypatch) -> None:
    model.save(tmp_path / "m.hg")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space"):
        hg.Denoiser(5, epochs=1).fit(digits).save(tmp_path / "m.hg")
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["m.hg"]
    assert np.array_equal(hg.load_model(tmp_path / "m.hg").transform(digits), model.transform(digits))


def test_a_kill_between_the_two_renames_loses_nothing(model: hg.Denoiser, tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "m.hg"
    model.save(path)
    rename, count = os.replace, iter(range(9))

    def killed(source: Path, target: Path) -> None:
        if next(count) == 1:
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        model.save(path)
    monkeypatch.undo()
    assert not path.exists()
    with pytest.warns(hg.HourglassWarning, match="the backup of an interrupted write"):
        hg.load_model(path)


def test_a_model_that_is_replaced_is_read_as_it_was_or_as_it_will_be(model: hg.Denoiser, tmp_path: Path) -> None:
    model.save(tmp_path / "m.hg")
    faults: list[Exception] = []
    until = time.monotonic() + 2

    def again(work) -> None:
        try:
            while time.monotonic() < until:
                work()
        except (hg.HourglassError, OSError) as error:
            faults.append(error)

    works = [lambda: model.save(tmp_path / "m.hg")] * 2 + [lambda: hg.load_model(tmp_path / "m.hg")] * 2
    threads = [threading.Thread(target=again, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []


def test_a_link_is_written_through(model: hg.Denoiser, tmp_path: Path) -> None:
    model.save(tmp_path / "real.hg")
    (tmp_path / "link.hg").symlink_to("real.hg")
    for _ in range(2):
        model.save(tmp_path / "link.hg")
    assert (tmp_path / "link.hg").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.hg", "real.hg"]


def test_the_device_is_the_loaders(model: hg.Denoiser, tmp_path: Path) -> None:
    model.save(tmp_path / "m.hg")
    assert hg.load_model(tmp_path / "m.hg", device="cpu").device == "cpu"
    with pytest.raises(hg.ParameterError, match="cannot be used"):
        hg.load_model(tmp_path / "m.hg", device="nonsense")
