"""The loop: resume, early stopping, callbacks, divergence."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

import hourglass as hg
from hourglass.estimators.settings import Circumstances
from hourglass.networks import NETWORKS
from hourglass.training import SCHEDULES, Plan, Run, WriteHistory
from hourglass.training.plan import pace
from reliability import collapse


class StopAfter(hg.Callback):
    """Ends the run like a kill would: by an exception, after the checkpoint of epoch `epoch` is written."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_batch_end(self, run: Run) -> None:
        if run.epoch == self.epoch:
            raise KeyboardInterrupt


def weights(model: hg.Autoencoder) -> dict[str, torch.Tensor]:
    return model.network_.state_dict()


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
@pytest.mark.parametrize("network", NETWORKS)
def test_resumed_is_uninterrupted_bit_for_bit(network: str, optimizer: str, digits: np.ndarray, tmp_path) -> None:
    hidden = (6, 8) if NETWORKS[network].takes_any_size else None  # for speed

    def model() -> hg.Denoiser:
        options: dict[str, Any] = {"network": network, "hidden": hidden, "optimizer": optimizer}
        return hg.Denoiser(4, **options, epochs=4, learning_rate=0.01, random_state=7)

    straight = model().fit(digits)
    checkpoint = tmp_path / "run.checkpoint"
    for stop in (1, 3):  # interrupted twice, in the middle of an epoch
        with pytest.raises(KeyboardInterrupt):
            model().fit(digits, callbacks=[StopAfter(stop)], checkpoint=checkpoint, resume=True)
    resumed = model().fit(digits, checkpoint=checkpoint, resume=True)
    assert all(torch.equal(tensor, weights(resumed)[name]) for name, tensor in weights(straight).items())
    losses = [[(row["epoch"], row["loss"], row["validation_loss"]) for row in m.history_] for m in (straight, resumed)]
    assert losses[0] == losses[1]


def test_resume_with_early_stopping_keeps_the_best_epoch(digits: np.ndarray, tmp_path) -> None:
    options: dict[str, Any] = {"epochs": 40, "early_stopping": True, "patience": 3, "learning_rate": 0.3, "random_state": 0}
    straight = hg.Autoencoder(4, **options).fit(digits)
    checkpoint = tmp_path / "c"
    with pytest.raises(KeyboardInterrupt):
        hg.Autoencoder(4, **options).fit(digits, callbacks=[StopAfter(5)], checkpoint=checkpoint)
    resumed = hg.Autoencoder(4, **options).fit(digits, checkpoint=checkpoint, resume=True)
    assert all(torch.equal(tensor, weights(resumed)[name]) for name, tensor in weights(straight).items())


def test_early_stopping_stops_and_goes_back_to_the_best(digits: np.ndarray) -> None:
    model = hg.Autoencoder(
        16, epochs=400, schedule="constant", learning_rate=0.2, early_stopping=True, patience=4, random_state=0
    ).fit(digits)
    losses = [row["validation_loss"] for row in model.history_]
    best = int(np.argmin(losses))
    assert model.n_iter_ == best + 1 + 4 < 400
    order = np.random.default_rng(np.random.RandomState(0).randint(2**31 - 1, size=6)[0]).permutation(200)
    assert -model.score(digits[order[:20]]) == pytest.approx(losses[best], rel=1e-3)


def test_a_checkpoint_of_another_run_is_refused(digits: np.ndarray, tmp_path) -> None:
    checkpoint = tmp_path / "c"
    hg.Autoencoder(4, epochs=1, random_state=0).fit(digits, checkpoint=checkpoint)
    for other in (hg.Autoencoder(5, epochs=1, random_state=0), hg.Autoencoder(4, epochs=1, random_state=1)):
        with pytest.raises(hg.ParameterError, match="made by another run"):
            other.fit(digits, checkpoint=checkpoint, resume=True)
    with pytest.raises(hg.ParameterError, match="made by another run"):
        hg.Autoencoder(4, epochs=1, random_state=0).fit(digits[::-1].copy(), checkpoint=checkpoint, resume=True)
    with pytest.raises(hg.ParameterError, match="needs checkpoint"):
        hg.Autoencoder(4).fit(digits, resume=True)


def test_a_damaged_checkpoint_is_refused(digits: np.ndarray, tmp_path) -> None:
    checkpoint = tmp_path / "c"
    hg.Autoencoder(2, network="linear", epochs=1, random_state=0).fit(digits, checkpoint=checkpoint)
    whole = checkpoint.read_bytes()
    rng = np.random.default_rng(0)
    for position in [*range(0, 64), *rng.integers(0, len(whole), 200)]:
        broken = bytearray(whole)
        broken[position] ^= 1 << int(rng.integers(8))
        checkpoint.write_bytes(broken)
        with pytest.raises(hg.FormatError):
            hg.Autoencoder(2, network="linear", epochs=1, random_state=0).fit(digits, checkpoint=checkpoint, resume=True)
    checkpoint.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(hg.FormatError, match="Start again"):
        hg.Autoencoder(2, network="linear", epochs=1, random_state=0).fit(digits, checkpoint=checkpoint, resume=True)


def test_partial_fit_goes_on_learning(digits: np.ndarray, tmp_path) -> None:
    model = hg.Autoencoder(8, random_state=0)
    scores = [model.partial_fit(digits).score(digits) for _ in range(30)]
    assert scores[-1] > scores[0]
    assert model.n_iter_ == 30
    model.save(tmp_path / "m.hg")
    loaded = hg.load_model(tmp_path / "m.hg")
    assert loaded.partial_fit(digits).score(digits) > scores[0]
    fitted = hg.Autoencoder(8, epochs=3, random_state=0).fit(digits)
    before = fitted.score(digits)
    for _ in range(20):
        fitted.partial_fit(digits)
    assert fitted.score(digits) > before


def test_partial_fit_keeps_the_fitted_scale_and_fit_begins_anew() -> None:
    table = np.random.default_rng(0).uniform(0, 100, size=(60, 5))
    model = hg.Autoencoder(2, network="linear", epochs=5, random_state=0).fit(table)
    layout = model.sample_
    model.partial_fit(table[:20] / 2)
    assert model.sample_ == layout
    again = model.fit(table).transform(table)
    fresh = hg.Autoencoder(2, network="linear", epochs=5, random_state=0).fit_transform(table)
    assert np.array_equal(again, fresh)
    model.partial_fit(table)
    assert [row["epoch"] for row in model.history_] == [1, 2, 3, 4, 5, 6]


def test_resume_needs_a_seed(digits: np.ndarray, tmp_path) -> None:
    with pytest.raises(hg.ParameterError, match="random_state"):
        hg.Autoencoder(2).fit(digits, checkpoint=tmp_path / "c", resume=True)


def test_a_diverging_run_stops_and_says_so(digits: np.ndarray, tmp_path) -> None:
    model = hg.Autoencoder(4, network="linear", optimizer="adam", learning_rate=1e25, epochs=5, random_state=0)
    with pytest.raises(hg.DivergenceError, match="smaller learning_rate"):
        model.fit(digits)


def test_callbacks_hear_of_everything_and_can_stop(digits: np.ndarray, tmp_path) -> None:
    heard: list[str] = []

    class Listen(hg.Callback):
        def on_train_begin(self, run: Run) -> None:
            heard.append(f"begin {run.n_epochs}×{run.n_batches}")

        def on_batch_end(self, run: Run) -> None:
            heard.append("batch")

        def on_epoch_end(self, run: Run) -> None:
            heard.append("epoch")
            run.stop = run.epoch == 2

        def on_train_end(self, run: Run) -> None:
            heard.append("end")

    path = tmp_path / "history.jsonl"
    model = hg.Autoencoder(2, epochs=9, batch_size=90, random_state=0)
    model.fit(digits, callbacks=[Listen(), WriteHistory(path, model="x")])
    assert heard == ["begin 9×2", *(["batch"] * 2 + ["epoch"]) * 2, "end"]
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(row["model"], row["epoch"]) for row in rows] == [("x", 1), ("x", 2)]
    assert set(rows[0]) >= {"loss", "validation_loss", "learning_rate", "seconds", "images_per_second"}


def test_a_callbacks_stop_is_kept_beside_early_stopping(digits: np.ndarray) -> None:
    class Stop(hg.Callback):
        def on_batch_end(self, run: Run) -> None:
            run.stop = True

    model = hg.Autoencoder(2, epochs=6, early_stopping=True, random_state=0).fit(digits, callbacks=[Stop()])
    assert model.n_iter_ == 1


def test_partial_fit_leaves_the_settings_alone(digits: np.ndarray) -> None:
    model = hg.Autoencoder(2, early_stopping=True, epochs=7, random_state=0).fit(digits)
    before = dict(model.settings_)
    model.partial_fit(digits[:5])
    assert model.settings_ == before


def test_verbose_prints_a_line_an_epoch(digits: np.ndarray, capsys: pytest.CaptureFixture[str]) -> None:
    hg.Autoencoder(2, epochs=3, random_state=0, verbose=True).fit(digits)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 3
    assert "epoch 3: loss" in captured.err


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_stay_within_the_learning_rate(name: str) -> None:
    for n_steps in (1, 2, 1000):
        rates = [Plan(1, 1, 0.5, name).rate(step, n_steps) for step in range(n_steps)]
        assert min(rates) > 0
        assert max(rates) <= 0.5
    if name != "constant":
        assert np.argmax(rates) == {"linear": 100, "decay": 20}[name]
        assert rates[-1] < 0.001


def test_training_leaves_the_global_random_state_alone(digits: np.ndarray) -> None:
    torch.manual_seed(0)
    np.random.seed(0)
    expected = torch.rand(1), np.random.rand()
    torch.manual_seed(0)
    np.random.seed(0)
    hg.Denoiser(2, epochs=1, random_state=5).fit(digits)
    assert (torch.rand(1), np.random.rand()) == expected


# --- collapse ---------------------------------------------------------------------------------------------------------


HARDEST = ("sparse", "constant background")
KINDS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(NETWORKS, HARDEST),
    "conv": HARDEST[:1],
    "mlp": tuple(collapse.KINDS),
    **dict.fromkeys(("skip", "embedding", "codec", "maps", "patches"), ()),
}
"""Images for each network here; `make reliability` takes all networks and all kinds."""
NARROW = {
    "conv": (8, 16),
    "variational": (32,),
    "noisy": (32,),
    "quantised": (32,),
}
"""For speed; `make reliability` takes all networks as wide as they are by default."""


@pytest.mark.parametrize(
    ("network", "kind"),
    [
        (network, kind) for network in NETWORKS for kind in KINDS[network] if not NETWORKS[network].adds_input
    ],  # a network that adds to its input begins as the input itself
)
def test_a_default_fit_ends_no_worse_than_the_mean_image(network: str, kind: str) -> None:
    assert collapse.share(network, kind, hidden=NARROW.get(network)) <= 1


def test_the_rate_falls_where_the_loss_rises() -> None:
    falling = [1 / (n + 1) for n in range(60)]
    assert pace(falling, 6) == 1
    assert pace([1 + 0.1 * (-1) ** n for n in range(60)], 6) == 1  # noise
    rising = [*falling[:20], *[0.1 + 0.02 * n for n in range(40)]]
    assert [pace(rising[:end], 6) for end in (20, 30, 36, 60)] == [1, 0.5, 0.25, 0.0625]
    assert Plan(60, 32, 1.0, "constant").pace(rising) == 1


def test_a_network_that_learned_nothing_is_trained_again_at_a_lower_rate_and_says_so() -> None:
    images = collapse.KINDS["tiny"]
    with pytest.warns(hg.HourglassWarning, match="at a learning rate of 1 the network learned next to nothing") as told:
        model = _Hasty(8, random_state=0).fit(images)
    rate = model.settings_["learning_rate"]
    assert rate in (0.4, 0.1)  # rounding decides, which differs between versions of torch
    assert f"again at {rate}, " in str(told[0].message)
    with pytest.warns(hg.HourglassWarning, match="learned next to nothing.*Try another learning_rate"):
        hg.Autoencoder(8, learning_rate=50.0, random_state=0).fit(images)


class _Hasty(hg.Autoencoder):
    """Its preset's rate is much too high."""

    def _settle(self, given: Circumstances) -> dict:
        return super()._settle(given) | {"learning_rate": 1.0}
