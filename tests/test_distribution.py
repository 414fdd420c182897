"""Two processes train what one does; one of them writes; and none waits for one that is lost.

torchrun runs this file, too, to train each case in two processes (`_train_all`). For the command line it runs dying.py, which
imports nothing of the tests.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import hourglass as hg
from hourglass.cli.main import main
from hourglass.corruption import seeded
from hourglass.images import Sample
from hourglass.networks import build
from hourglass.objectives import LOSSES, Objective
from hourglass.training import OPTIMIZERS, Examples, FullBatch, Rows, Run, current, joined
from hourglass.training.distribution import ALONE, Processes
from hourglass.training.engine import engine_for


class Double(torch.nn.Module):
    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        return samples.double()


def in_double() -> tuple[torch.nn.Module, torch.nn.Module]:
    """In whose arithmetic rounding has no time to grow: what is left between one process and two is what they do."""
    torch.manual_seed(0)
    first, middle, last = (torch.nn.Linear(*widths, dtype=torch.float64) for widths in ((64, 30), (30, 6), (6, 64)))
    encoder = torch.nn.Sequential(torch.nn.Flatten(), Double(), first, torch.nn.LeakyReLU(), middle)
    return encoder, torch.nn.Sequential(last, torch.nn.Sigmoid(), torch.nn.Unflatten(1, (1, 8, 8)))


DIGITS = hg.load("digits").train.images[:203]
# Rates for Muon let rounding grow.
COMMON: dict[str, Any] = {"epochs": 1, "optimizer": "adam", "learning_rate": 0.003, "random_state": 0}
CASES: dict[str, tuple[hg.Autoencoder | hg.Denoiser, np.ndarray]] = {
    "noise": (hg.Denoiser(6, batch_size=49, **COMMON), DIGITS),
    "as they are": (hg.Autoencoder(6, batch_size=49, **COMMON), DIGITS),
    "convolutions": (hg.Denoiser(6, network="conv", hidden=(4, 8), batch_size=50, **COMMON), DIGITS),
    "penalties": (hg.Autoencoder(6, penalty=[hg.L1(0.01), hg.Contractive(0.01, n_probes=0)], batch_size=49, **COMMON), DIGITS),
    "in double precision": (hg.Denoiser(6, network=in_double(), batch_size=49, **COMMON), DIGITS),
    "all at once": (hg.Autoencoder(3, network="linear", **COMMON), DIGITS),
    "a share without a row": (hg.Denoiser(6, batch_size=1, **COMMON), DIGITS[:7]),
    "fewer than a batch": (hg.Autoencoder(6, batch_size=1000, **COMMON), DIGITS[:5]),
    "early stopping": (hg.Denoiser(6, early_stopping=True, patience=1, **COMMON | {"epochs": 3}), DIGITS),
}


# --- what two processes run ---------------------------------------------------------------------------------------------


def _train_all(folder: Path) -> None:
    """A user's own script: every case, and what the processes tell each other, in one start of torchrun."""
    torch.distributed.init_process_group("gloo")
    processes = current()
    assert processes.size == 2
    _check_messages(processes)
    for name, (model, images) in CASES.items():
        model.fit(images)
        weights = {key: tensor.cpu().numpy() for key, tensor in model.network_.state_dict().items()}
        np.savez(folder / f"{name}.{processes.rank}.npz", losses=_losses(model), **weights)
    torch.distributed.destroy_process_group()


def _fail(error: Exception) -> None:
    raise error


def _check_messages(processes: Processes) -> None:
    is_first = processes.is_first
    assert processes.from_first(lambda: [1, None] if is_first else 1 / 0) == [1, None]
    assert processes.from_first(lambda: bytes(range(256))) == bytes(range(256))
    assert processes.from_first(lambda: None) is None
    for raised, heard in ((hg.FormatError("it is torn"), hg.FormatError), (OSError("no disk"), (OSError, hg.HourglassError))):
        with pytest.raises(heard, match=str(raised)):
            processes.from_first(partial(_fail, raised))
    processes.check_alike({"data": (1, 2), "own": f"<object at 0x{processes.rank}>"})
    if is_first:
        processes.check_alike({"data": 0})
    else:
        with pytest.raises(hg.ParameterError, match="data 0 there, 1 here"):
            processes.check_alike({"data": 1})
    parameters = [torch.zeros(2, 3, requires_grad=True), torch.zeros(4, requires_grad=True), torch.zeros(0, requires_grad=True)]
    if is_first:  # three rows of the first, none of the second, whose gradients are left from before, or not there at all
        parameters[0].grad = torch.full((2, 3), 5.0)
    else:
        parameters[0].grad = torch.full((2, 3), torch.nan)
    place = parameters[0].grad
    assert processes.average(parameters, 7.0 if is_first else torch.nan, 3 if is_first else 0) == (7.0, 3)
    assert parameters[0].grad is place
    assert torch.equal(place, torch.full((2, 3), 5.0))
    loss, count = processes.average(parameters, 1.0 + processes.rank, 1 + processes.rank)
    assert loss == pytest.approx(5 / 3)
    assert count == 3


# --- what looks at them -------------------------------------------------------------------------------------------------


def _losses(model: Any) -> np.ndarray:
    return np.array([[row["loss"], row["validation_loss"] or 0.0] for row in model.history_])


def torchrun(file: str, *arguments: object, restarts: int = 0) -> subprocess.CompletedProcess[str]:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launch, "--max-restarts", str(restarts), str(Path(__file__).with_name(file)), *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)


def train(folder: Path) -> list[str]:
    command = (
        "train --data digits --task autoencoder --optimizer adam --learning-rate 0.003 --epochs 4 --batch-size 301 --seed 3 -o"
    )
    return [*command.split(), str(folder / "m.hg")]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return hg.load_model(folder / "m.hg").network_.state_dict()


def largest_difference(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    return max(float((tensor.cpu() - other[name].cpu()).abs().max()) for name, tensor in one.items())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what each of two processes has made of each case."""
    folder = tmp_path_factory.mktemp("two")
    done = torchrun("test_distribution.py", folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("name", CASES)
def test_two_processes_train_what_one_does(name: str, trained: Path) -> None:
    model, images = CASES[name]
    model.fit(images)
    for rank in (0, 1):
        two = dict(np.load(trained / f"{name}.{rank}.npz"))
        np.testing.assert_allclose(two.pop("losses"), _losses(model), rtol=1e-6 if model.epochs == 1 else 1e-5)
        difference = largest_difference(model.network_.state_dict(), {key: torch.from_numpy(two[key]) for key in two})
        assert difference <= (1e-12 if name == "in double precision" else 1e-4)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the model of one process alone."""
    folder = tmp_path_factory.mktemp("one")
    with pytest.raises(SystemExit):
        main(train(folder))
    return folder


def test_one_process_writes_and_speaks(undisturbed: Path, tmp_path: Path) -> None:
    done = torchrun("dying.py", "none", *train(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{tmp_path / 'm.hg'}: epoch 4: loss ")
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""
    files = [sorted(path.relative_to(folder) for path in folder.rglob("*")) for folder in (tmp_path, undisturbed)]
    assert files[0] == files[1]
    assert largest_difference(weights(tmp_path), weights(undisturbed)) <= 1e-4


def test_a_lost_process_ends_the_run_with_a_word(tmp_path: Path) -> None:
    done = torchrun("dying.py", "0", *train(tmp_path))
    assert done.returncode != 0
    (told,) = [line for line in done.stderr.splitlines() if "error: " in line and "hourglass" in line]
    assert told.startswith("process 1: error: ")
    assert "The last checkpoint stands" in told
    assert "--resume" in told
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.hg.checkpoint"]


def test_a_restarted_run_goes_on_from_its_checkpoint(undisturbed: Path, tmp_path: Path) -> None:
    done = torchrun("dying.py", "1", *train(tmp_path), "--json", restarts=1)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("The last checkpoint stands") == 1
    assert '"epoch": 4' in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.hg"]
    assert largest_difference(weights(tmp_path), weights(undisturbed)) <= 1e-4


def test_an_error_of_all_is_told_once(tmp_path: Path) -> None:
    done = torchrun("dying.py", "none", *train(tmp_path), "--network", "linear", "--loss", "bce")
    assert done.returncode != 0
    assert len([line for line in done.stderr.splitlines() if "needs reconstructions in 0..1" in line]) == 1
    assert "Traceback" not in done.stderr.partition("elastic")[0]


# --- without torchrun ---------------------------------------------------------------------------------------------------


@given(st.integers(0, 10_000), st.integers(0, 10_000), st.integers(1, 40))
def test_shares_cover_a_batch_in_order(count: int, larger: int, size: int) -> None:
    shares = [Processes(rank, size).share(count) for rank in range(size)]
    assert [row for share in shares for row in range(count)[share]] == list(range(count))
    sizes = [share.stop - share.start for share in shares]
    assert max(sizes) - min(sizes) <= 1
    of_larger = [Processes(rank, size).share(max(count, larger)) for rank in range(size)]
    assert all(size <= share.stop - share.start for size, share in zip(sizes, of_larger, strict=True))


def _examples() -> Iterator[Examples]:
    layout = Sample.of(DIGITS)
    noise = hg.GaussianNoise(std=0.2)
    yield Examples(Rows(layout, DIGITS))
    yield Examples(Rows(layout, DIGITS, DIGITS[::-1].copy(), np.arange(3, 150)))
    yield Examples(Rows(layout, DIGITS), noise)
    yield Examples(Rows(layout, DIGITS), noise, 2)
    yield Examples(FullBatch(layout, DIGITS))


@pytest.mark.parametrize("batch_size", [1, 2, 50, 1000])
@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("writes", [False, True])
def test_shares_of_all_processes_are_the_batch(size: int, batch_size: int, writes: bool) -> None:
    def run() -> Run:
        network = build("mlp", (1, 8, 8), 3, (4,))
        return Run(network, OPTIMIZERS["adam"](network.parameters(), 0.1), seeded(0), seeded(0), 0)

    for examples in _examples():
        memories = [engine_for(run(), Objective(LOSSES["mse"])).memory if writes else None for _ in range(size)]
        parts = [
            examples.shuffled(batch_size, seeded(1), seeded(2), memory, Processes(rank, size))
            for rank, memory in enumerate(memories)
        ]
        for whole in examples.shuffled(batch_size, seeded(1), seeded(2)):
            taken = [next(part) for part in parts]
            for place in (0, 1):
                views = [[v.flatten(1) for v in one[place].chunk(examples.n_views)] for one in taken if len(one[place])]
                joint = torch.cat([torch.cat(view) for view in zip(*views, strict=True)])
                assert torch.equal(joint, whole[place].flatten(1))
        assert all(next(part, None) is None for part in parts)


def test_a_process_that_nobody_joined_is_alone() -> None:
    with joined() as gather:
        gather()
        assert current() == ALONE
    assert ALONE.share(7) == slice(0, 7)
    assert ALONE.from_first(lambda: {1}) == {1}


def begun(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the command comes as far as to train; which it then does not."""
    from hourglass.cli.progress import ShowProgress

    class Begun(Exception):
        pass

    def begin(*_: object) -> None:
        raise Begun

    monkeypatch.setattr(ShowProgress, "on_train_begin", begin)
    try:
        main(arguments)
    except Begun:
        return True
    except SystemExit:
        return False


def test_a_leftover_checkpoint_is_removed_where_a_run_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A restart of torchrun goes on from a checkpoint: it must be of the same run."""
    leftover = tmp_path / "m.hg.checkpoint"
    for begins, is_removed, arguments, environment in (
        (False, False, ["--resume"], {}),
        (False, False, [], {"TORCHELASTIC_RESTART_COUNT": "1"}),
        (True, True, [], {"TORCHELASTIC_RESTART_COUNT": "0"}),
        (True, False, [], {}),  # nobody starts it again: who forgot --resume can still stop it
    ):
        leftover.write_bytes(b"of an older run")
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            assert begun([*train(tmp_path), *arguments], patch) is begins  # this one is not readable
        assert leftover.exists() is not is_removed


@pytest.mark.parametrize("rank", [0, 1])
def test_of_an_interruption_only_the_first_process_speaks(
    rank: int, run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hourglass.cli.progress import ShowProgress

    def stop(_: ShowProgress, run: Run) -> None:
        if run.epoch == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr("hourglass.training.current", lambda: Processes(rank, 2))  # as the verb asks
    monkeypatch.setattr(ShowProgress, "on_batch_end", stop)
    code, out, err = run(*train(tmp_path))
    assert (code, out) == (130, "")
    assert err.endswith("interrupted.\n")
    assert ("add --resume to go on" in err) is (rank == 0)


if __name__ == "__main__":
    _train_all(Path(sys.argv[1]))
