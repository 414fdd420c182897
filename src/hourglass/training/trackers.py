"""Callbacks that record a run for the tools that compare runs: TensorBoard and MLflow."""

from __future__ import annotations

import math
import time
from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, final

from hourglass.data.write import output_path
from hourglass.errors import ParameterError
from hourglass.notes import note, quiet
from hourglass.training.callbacks import WriteHistory
from hourglass.training.run import Callback, Run

_MOST_TEXT = 500  # characters of a setting


class Tracker(Callback):
    """Base of trackers: settings at the beginning, the numbers of each epoch, and how the run ended.

    What fails at the beginning ends the run. Later, when there is something to lose, a HourglassWarning says that no more is
    recorded, and the training goes on.
    """

    writes = True
    _failures: tuple[type[Exception], ...] = (OSError,)
    _is_recording = False

    @abstractmethod
    def begin(self, run: Run, settings: dict[str, str]) -> None:
        """Open a record of a new run, or of one that goes on after `run.epoch` epochs."""

    @abstractmethod
    def record(self, epoch: int, numbers: dict[str, float]) -> None:
        """Record the numbers of an epoch."""

    @abstractmethod
    def end(self, is_finished: bool) -> None:
        """Close the record."""

    def on_train_begin(self, run: Run) -> None:
        self._is_recording = False
        self.begin(run, {name: str(value)[:_MOST_TEXT] for name, value in run.settings.items()})
        self._is_recording = True

    def on_epoch_end(self, run: Run) -> None:
        if self._is_recording:
            self._attempt(self.record, run.epoch, numbers_of(run.history[-1]))

    def on_train_end(self, run: Run) -> None:
        if self._is_recording:
            self._attempt(self.end, run.stop or run.epoch >= run.n_epochs)

    def _attempt(self, work: Callable[..., None], *arguments: Any) -> None:
        try:
            work(*arguments)
        except self._failures as error:
            self._is_recording = False
            reason = " ".join(str(error).split())[:300]
            note(
                f"{type(self).__name__} records no more of this run ({type(error).__name__}: {reason}); the training goes on.",
                4,
            )


@final
class TensorBoard(Tracker):
    """Records a run as a folder that TensorBoard shows: ``tensorboard --logdir FOLDER``.

    Needs the extra `tensorboard`.

    A run that is resumed goes on in its folder. Give each run a folder of its own.

    Parameters
    ----------
    folder : path
        Created if there is none.

    Raises
    ------
    ParameterError
        If the extra is missing.

    Examples
    --------
    >>> import hourglass as hg
    >>> tracker = hg.TensorBoard("runs/a")  # doctest: +SKIP
    >>> hg.Autoencoder(8).fit(hg.load("digits").train.images, callbacks=[tracker])  # doctest: +SKIP
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = output_path(folder)
        with quiet():  # of what it imports
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ModuleNotFoundError as error:
                raise _missing("TensorBoard", "tensorboard") from error
        self._new_writer = SummaryWriter
        self._writer: Any = None

    def begin(self, run: Run, settings: dict[str, str]) -> None:
        self._writer = self._new_writer(str(self.folder), purge_step=run.epoch + 1)
        rows = "\n".join(f"| {name} | {value.replace('|', '&#124;')} |" for name, value in settings.items())
        self._writer.add_text("settings", f"| setting | value |\n| --- | --- |\n{rows}", run.epoch)

    def record(self, epoch: int, numbers: dict[str, float]) -> None:
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, epoch)
        self._writer.flush()

    def end(self, is_finished: bool) -> None:
        self._writer.close()


@final
class MLflow(Tracker):
    """Records a run in MLflow: settings as parameters, the numbers of each epoch as metrics.

    Needs the extra `mlflow`.

    A run that is resumed is a new run in MLflow, with the epochs before it.

    Parameters
    ----------
    uri : str, optional
        Where: a server (http://…), a database (sqlite:///…, which needs the whole package mlflow), or a folder, which new
        versions take only if the environment variable MLFLOW_ALLOW_FILE_STORE is true. By default MLFLOW_TRACKING_URI.
    experiment : str
        Created if there is none.
    name : str, optional
        The run's name; MLflow makes one up by default.

    Raises
    ------
    ParameterError
        If the extra is missing.
    """

    def __init__(self, uri: str | None = None, experiment: str = "hourglass", name: str | None = None) -> None:
        self.uri, self.experiment, self.name = uri, experiment, name
        with quiet():
            try:
                import mlflow
            except ModuleNotFoundError as error:
                raise _missing("MLflow", "mlflow") from error
        self._mlflow = mlflow
        self._failures = (mlflow.exceptions.MlflowException, OSError)
        self._client: Any = None
        self._run_id = ""

    def begin(self, run: Run, settings: dict[str, str]) -> None:
        entities = self._mlflow.entities
        with quiet():
            try:
                self._client = self._mlflow.MlflowClient(tracking_uri=self.uri)
                known = self._client.get_experiment_by_name(self.experiment)
                place = self._client.create_experiment(self.experiment) if known is None else known.experiment_id
                self._run_id = self._client.create_run(place, run_name=self.name).info.run_id
                params = [entities.Param(name, value) for name, value in settings.items()]
                self._client.log_batch(self._run_id, params=params)
                for row in run.history:
                    self.record(row["epoch"], numbers_of(row))
            except self._failures as error:
                reason = " ".join(str(error).split())[:500]
                raise ParameterError(f"MLflow({self.uri!r}) cannot record this run: {reason}") from error

    def record(self, epoch: int, numbers: dict[str, float]) -> None:
        now = int(time.time() * 1000)
        metrics = [self._mlflow.entities.Metric(name, value, now, epoch) for name, value in numbers.items()]
        self._client.log_batch(self._run_id, metrics=metrics)

    def end(self, is_finished: bool) -> None:
        self._client.set_terminated(self._run_id, "FINISHED" if is_finished else "FAILED")


TRACKERS: dict[str, Callable[[str], Callback]] = {
    "json": lambda place: WriteHistory(output_path(place)),
    "tensorboard": TensorBoard,
    "mlflow": MLflow,
}
"""What `hourglass train --track NAME:PLACE` takes: name -> a function of the place that gives the callback."""


def numbers_of(row: dict[str, Any]) -> dict[str, float]:
    """The finite numbers in a row of the history, without the epoch's own."""
    return {
        name: float(value)
        for name, value in row.items()
        if name != "epoch" and isinstance(value, int | float) and math.isfinite(value)
    }


def _missing(what: str, extra: str) -> ParameterError:
    return ParameterError(f'{what} is not installed: pip install "hourglass-autoencoders[{extra}]".')
