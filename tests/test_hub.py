"""Cards of models, and models on a hub: a small server of our own stands in for it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import hourglass as hg
import hub_stand_in
from hourglass.estimators import ESTIMATORS
from hourglass.estimators.cards import WORDS

QUICK: dict[str, Any] = {"epochs": 1, "random_state": 0}
NAME = "me/digits"


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return hg.load("digits").train.images[:120]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[hub_stand_in.Hub]:
    """A hub, and a cache and a home of their own."""
    pytest.importorskip("huggingface_hub", reason="the extra hourglass-autoencoders[hub] is not installed")
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with hub_stand_in.running() as running:
        yield running


def push(model: hg.Autoencoder, hub: hub_stand_in.Hub, **options: Any) -> str:
    return model.push_to_hub(NAME, **{"token": hub_stand_in.TOKEN, "endpoint": hub.url} | options)


def metadata(text: str) -> dict[str, Any]:
    before, head, _ = text.split("---\n", 2)
    assert before == ""
    return yaml.safe_load(head)


# --- cards ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_a_card_says_what_it_is_of(kind: str, images: np.ndarray, tmp_path: Path) -> None:
    model = ESTIMATORS[kind](**QUICK) if kind == "enhancer" else ESTIMATORS[kind](4, **QUICK)
    model.fit(images, np.arange(120) % 10 if kind == "generator" else None).save(tmp_path / "m.hg")
    text = (tmp_path / "m.hg" / "README.md").read_text()
    content = metadata(text)
    assert content["library_name"] == "hourglass"
    assert "license" not in content  # unless it is given
    assert content["tags"][0] == "autoencoder"
    titles = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    assert titles == ["Data", "Settings", "Results", "Limits"]
    assert f"# {type(model).__name__}\n\n{WORDS[kind].what}" in text
    assert "| samples | 120 |\n| held out, to validate | 12 |" in text
    assert f"| learning_rate | `{model.settings_['learning_rate']}` |" in text
    assert f"is {model.history_[-1]['loss']:.5g} in training, {model.history_[-1]['validation_loss']:.5g} on samples" in text
    assert all(f"- {limit}\n" in text for limit in WORDS[kind].limits)
    assert str(tmp_path) not in text


def test_a_card_knows_what_the_command_line_trained_on(run, tmp_path: Path) -> None:
    model = tmp_path / "m.hg"
    assert run("train", "--data", "digits", "--epochs", 50, "--batch-size", 1000, "-o", model)[0] == 0
    text = (model / "README.md").read_text()
    assert "| data set | digits |" in text
    assert text.count("\n| ") < 60  # not a line for each of many epochs
    assert "| 50 | " in text
    hg.load_model(model).save(tmp_path / "n.hg")
    assert (tmp_path / "n.hg" / "README.md").read_text() == text


def test_a_card_of_a_table_and_of_a_training_that_stopped(tmp_path: Path) -> None:
    table = np.random.default_rng(0).normal(size=(200, 5))
    model = hg.Autoencoder(2, epochs=30, early_stopping=True, learning_rate=0.5, random_state=0).fit(table)
    model.save(tmp_path / "m.hg")
    text = (tmp_path / "m.hg" / "README.md").read_text()
    best = min(model.history_, key=lambda row: row["validation_loss"])
    assert f"after {best['epoch']} epochs is" in text
    assert "| kind | rows of a table |" in text
    assert "pipeline_tag" not in metadata(text)
    assert "pixels" not in text


def test_a_trained_model_alone_has_a_card_too(images: np.ndarray, tmp_path: Path) -> None:
    hg.Autoencoder(4, **QUICK).fit(images).model_.save(tmp_path / "m.hg")
    assert "hourglass.trained.Trained.load" in (tmp_path / "m.hg" / "README.md").read_text()


# --- the hub ----------------------------------------------------------------------------------------------------------


def test_what_is_pushed_is_loaded(hub: hub_stand_in.Hub, images: np.ndarray) -> None:
    model = hg.Denoiser(4, **QUICK).fit(images)
    url = push(model, hub, license="apache-2.0", private=False)
    assert url.startswith(f"{hub.url}/{NAME}/commit/")
    files = hub.repos[NAME]["main"]
    assert set(files) == {".gitattributes", "README.md", "config.json", "model.safetensors"}
    assert metadata(files["README.md"].decode())["license"] == "apache-2.0"
    assert f'model = hg.from_pretrained("{NAME}")' in files["README.md"].decode()
    assert not hub.private[NAME]
    loaded = hg.from_pretrained(NAME, endpoint=hub.url)
    assert type(loaded) is hg.Denoiser
    assert np.array_equal(loaded.transform(images), model.transform(images))


def test_an_index_on_a_hub_is_replaced_and_known_at_home(hub: hub_stand_in.Hub, images: np.ndarray, tmp_path: Path) -> None:
    model = hg.Retriever(4, **QUICK).fit(images[:50])
    model.save(tmp_path / "r.hg")
    model.add(images[50:60]).save(tmp_path / "r.hg")
    push(model, hub)
    hub.repos[NAME]["main"]["index-000007.safetensors"] = b"of an older index"
    model.remove([3])
    commit = push(model, hub).rpartition("/")[2]
    assert {name for name in hub.repos[NAME]["main"] if name.startswith("index")} == {"index.json", "index-000000.safetensors"}
    assert hg.from_pretrained(NAME, endpoint=hub.url).ids_.tolist() == model.ids_.tolist()
    before = (tmp_path / "r.hg" / "index-000000.safetensors").stat().st_ino
    model.save(tmp_path / "r.hg")  # only what changed
    assert (tmp_path / "r.hg" / "index-000000.safetensors").stat().st_ino == before
    push(model.add(images[60:70]), hub)
    assert len(hg.from_pretrained(NAME, endpoint=hub.url, revision=commit).index_) == 59


def test_branches_and_private_models(hub: hub_stand_in.Hub, images: np.ndarray) -> None:
    one, other = (hg.Autoencoder(2, epochs=1, random_state=seed).fit(images) for seed in (0, 1))
    push(one, hub, private=True)
    push(other, hub, revision="next", message="another seed")
    known = {"endpoint": hub.url, "token": hub_stand_in.TOKEN}
    with pytest.raises(hg.DownloadError, match="check the name, the network and the access token"):
        hg.from_pretrained(NAME, endpoint=hub.url)
    assert np.array_equal(hg.from_pretrained(NAME, **known).encode(images), one.encode(images))
    assert np.array_equal(hg.from_pretrained(NAME, revision="next", **known).encode(images), other.encode(images))
    with pytest.raises(hg.DownloadError, match="check the name"):
        hg.from_pretrained(NAME, revision="none", **known)


def test_what_goes_wrong_is_said_in_a_line(
    hub: hub_stand_in.Hub, images: np.ndarray, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model = hg.Autoencoder(2, **QUICK).fit(images)
    with pytest.raises(hg.DownloadError, match="me/digits: ") as told:
        push(model, hub, token="wrong")
    assert "\n" not in str(told.value)
    assert hub.repos == {}
    with pytest.raises(hg.ParameterError, match="license='MIT License'; allowed: a name in small letters"):
        push(model, hub, license="MIT License")
    for name in ("a/b/c", "no spaces", "../up"):
        with pytest.raises(hg.ParameterError, match="names no repository"):
            hg.from_pretrained(name, endpoint=hub.url)
    with pytest.raises(hg.DownloadError, match="me/none: "):
        hg.from_pretrained("me/none", endpoint=hub.url, token=hub_stand_in.TOKEN)
    with pytest.raises(hg.DownloadError, match="me/digits: "):
        hg.from_pretrained(NAME, endpoint="http://127.0.0.1:9")  # where nothing answers
    hub.repos["me/other"], hub.private["me/other"] = {"main": {"README.md": b"of something else", "evil.py": b"harm"}}, False
    with pytest.raises(hg.FormatError, match="no model"):
        hg.from_pretrained("me/other", endpoint=hub.url)
    names = {file.name for file in (tmp_path / "cache").rglob("*")}
    assert "README.md" in names
    assert "evil.py" not in names  # nothing else is fetched
    push(model, hub)
    hub.repos[NAME]["main"]["model.safetensors"] = b"x"
    with pytest.raises(hg.FormatError, match="damaged"):
        hg.from_pretrained(NAME, endpoint=hub.url)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(hg.ParameterError, match=r'pip install "hourglass-autoencoders\[hub\]"'):
        push(model, hub)
