"""Trackers: what TensorBoard and MLflow are told of a training."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hourglass as hg
from hourglass.cli.options import TRACKERS as NAMES
from hourglass.training import TRACKERS

NUMBERS = {"loss", "validation_loss", "learning_rate", "seconds", "images_per_second"}


def model(**options: Any) -> hg.Autoencoder:
    return hg.Autoencoder(4, hidden=(16,), **{"epochs": 3, "random_state": 0} | options)


class Remember(hg.Tracker):
    """A tracker that keeps what it is told."""

    def __init__(self, fails_at: str = "") -> None:
        self.told: list[Any] = []
        self.fails_at = fails_at

    def _tell(self, what: str, *told: Any) -> None:
        self.told.append((what, *told))
        if what == self.fails_at:
            raise OSError("the server is gone")

    def begin(self, run: hg.Run, settings: dict[str, str]) -> None:
        self._tell("begin", run.epoch, settings)

    def record(self, epoch: int, numbers: dict[str, float]) -> None:
        self._tell("record", epoch, numbers)

    def end(self, is_finished: bool) -> None:
        self._tell("end", is_finished)


class Stop(hg.Callback):
    def on_epoch_end(self, run: hg.Run) -> None:
        if run.epoch == 2:
            raise KeyboardInterrupt


def test_a_tracker_is_told_settings_epochs_and_the_end(digits: np.ndarray) -> None:
    tracker = Remember()
    fitted = model().fit(digits, callbacks=[tracker])
    (_, epoch, settings), *records, end = tracker.told
    assert (epoch, end) == (0, ("end", True))
    assert settings["learning_rate"] == str(fitted.settings_["learning_rate"])
    assert settings.keys() == fitted.settings_.keys()
    assert [(what, epoch) for what, epoch, _ in records] == [("record", 1), ("record", 2), ("record", 3)]
    assert [numbers["loss"] for *_, numbers in records] == [row["loss"] for row in fitted.history_]
    assert records[0][2].keys() == NUMBERS
    alone = Remember()
    model(validation_fraction=0.0).fit(digits, callbacks=[alone])
    assert alone.told[1][2].keys() == NUMBERS - {"validation_loss"}
    stopped = Remember()
    with pytest.raises(KeyboardInterrupt):
        model().fit(digits, callbacks=[stopped, Stop()])
    assert stopped.told[-1] == ("end", False)


def test_a_tracker_that_fails_midway_does_not_end_the_training(digits: np.ndarray) -> None:
    with pytest.raises(OSError, match="the server is gone"):
        model().fit(digits, callbacks=[tracker := Remember("begin")])
    assert [what for what, *_ in tracker.told] == ["begin"]  # and is not asked to end what never began
    for part, n_told in (("record", 2), ("end", 5)):
        tracker = Remember(part)
        with pytest.warns(hg.HourglassWarning, match=r"Remember records no more of this run \(OSError: the server is gone\)"):
            assert len(model().fit(digits, callbacks=[tracker]).history_) == 3
        assert len(tracker.told) == n_told


# --- TensorBoard ------------------------------------------------------------------------------------------------------


def events(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    return accumulator


def test_tensorboard_shows_a_run_and_goes_on_with_it(digits: np.ndarray, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra hourglass-autoencoders[tensorboard] is not installed")
    folder, checkpoint = tmp_path / "runs" / "a", tmp_path / "run.checkpoint"
    with pytest.raises(KeyboardInterrupt):
        model().fit(digits, callbacks=[hg.TensorBoard(folder), Stop()], checkpoint=checkpoint)
    fitted = model().fit(digits, callbacks=[hg.TensorBoard(folder)], checkpoint=checkpoint, resume=True)
    found = events(folder)
    assert set(found.Tags()["scalars"]) == NUMBERS
    losses = {event.step: event.value for event in found.Scalars("loss")}
    assert losses == pytest.approx({row["epoch"]: row["loss"] for row in fitted.history_})
    text = found.Tensors("settings/text_summary")[-1].tensor_proto.string_val[0].decode()
    assert f"| learning_rate | {fitted.settings_['learning_rate']} |" in text


# --- MLflow -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder as MLflow's store, which new versions take if asked to."""
    pytest.importorskip("mlflow", reason="the extra hourglass-autoencoders[mlflow] is not installed")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    return (tmp_path / "mlflow").as_uri()


def runs(store: str, experiment: str = "hourglass") -> list[Any]:
    """All runs, the oldest first."""
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=store)
    known = client.get_experiment_by_name(experiment)
    return [] if known is None else client.search_runs([known.experiment_id], order_by=["attributes.start_time ASC"])


def losses(store: str, run: Any) -> dict[int, float]:
    import mlflow

    return {one.step: one.value for one in mlflow.MlflowClient(tracking_uri=store).get_metric_history(run.info.run_id, "loss")}


def test_mlflow_keeps_a_run(store: str, digits: np.ndarray, tmp_path: Path) -> None:
    fitted = model().fit(digits, callbacks=[hg.MLflow(store, name="first")])
    (run,) = runs(store)
    assert (run.info.run_name, run.info.status) == ("first", "FINISHED")
    assert run.data.params == {name: str(value) for name, value in fitted.settings_.items()}
    assert run.data.metrics.keys() == NUMBERS
    assert losses(store, run) == {row["epoch"]: row["loss"] for row in fitted.history_}
    checkpoint = tmp_path / "run.checkpoint"
    with pytest.raises(KeyboardInterrupt):
        model().fit(digits, callbacks=[hg.MLflow(store, "other"), Stop()], checkpoint=checkpoint)
    model().fit(digits, callbacks=[hg.MLflow(store, "other")], checkpoint=checkpoint, resume=True)
    stopped, resumed = runs(store, "other")
    assert (stopped.info.status, resumed.info.status) == ("FAILED", "FINISHED")
    assert losses(store, resumed) == losses(store, run)  # with the epochs before it


def test_mlflow_that_cannot_record_says_so_before_training(
    store: str, digits: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    monkeypatch.setattr(mlflow.MlflowClient, "create_run", lambda *_, **__: (_ for _ in ()).throw(OSError("nobody is there")))
    with pytest.raises(hg.ParameterError, match="cannot record this run: nobody is there"):
        model().fit(digits, callbacks=[hg.MLflow(store)])


# --- on the command line ----------------------------------------------------------------------------------------------


def test_the_command_line_knows_all_trackers() -> None:
    assert NAMES.keys() == TRACKERS.keys()


def test_train_tracks(run, tmp_path: Path) -> None:
    quick = ["train", "--data", "digits", "--epochs", 2, "--batch-size", 500, "-o", tmp_path / "m.hg"]
    assert run(*quick, "--track", f"json:{tmp_path / 'history.jsonl'}")[0] == 0
    rows = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert rows == hg.load_model(tmp_path / "m.hg").history_
    for wrong in ("wandb:x", "json", "tensorboard:"):
        code, _, err = run(*quick, "--track", wrong)
        assert code == 2
        assert f"'{wrong}'; allowed: json:FILE, tensorboard:FOLDER, mlflow:URI." in err


def test_train_tracks_in_tensorboard_and_mlflow(store: str, run, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra hourglass-autoencoders[tensorboard] is not installed")
    quick = ["train", "--data", "digits", "--epochs", 2, "--batch-size", 500, "-o", tmp_path / "m.hg"]
    code, _, err = run(*quick, "--track", f"tensorboard:{tmp_path / 'runs'}", "--track", f"mlflow:{store}")
    assert (code, err) == (0, "")
    assert [event.step for event in events(tmp_path / "runs").Scalars("validation_loss")] == [1, 2]
    assert losses(store, runs(store)[0]).keys() == {1, 2}


@pytest.mark.parametrize(("kind", "module"), [("tensorboard", "torch.utils.tensorboard"), ("mlflow", "mlflow")])
def test_a_missing_extra_is_named_before_anything_is_read(
    kind: str, module: str, run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    code, _, err = run("train", "--data", tmp_path / "none", "-o", tmp_path / "m.hg", "--track", f"{kind}:{tmp_path / 'x'}")
    assert code == 2
    assert f'is not installed: pip install "hourglass-autoencoders[{kind}]".' in err
