"""What a run takes of the machine: threads and memory."""

from __future__ import annotations

import ctypes
import os
import random
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest
import torch
from joblib import parallel_config
from sklearn.model_selection import GridSearchCV

import hourglass as hg
from hourglass.training import Callback, machine
from hourglass.training.run import Run
from reliability import busy


class FakeMachine:
    """A clock, and torch's threads, with which a step takes as long as it is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, costs: dict[int, float]) -> None:
        self.now, self.n_threads, self.costs = 100.0, max(costs), costs
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(torch, "set_num_threads", lambda n: setattr(self, "n_threads", n))
        monkeypatch.setattr(torch, "get_num_threads", lambda: self.n_threads)
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        self.slow = hg.Callback()  # another's, whose time is not the step's
        self.slow.on_batch_end = self._wait  # type: ignore[method-assign]

    def _wait(self, run: Run) -> None:
        self.now += random.choice([0, 0, 1])

    def train(self, threads: machine.Threads, n_steps: int) -> list[int]:
        """The number of threads of each step."""
        used = []
        for _ in range(n_steps):
            used.append(self.n_threads)
            self.now += self.costs[self.n_threads]
            for callback in threads.around([self.slow]):
                callback.on_batch_end(None)  # type: ignore[arg-type]
        return used


def test_threads_are_chosen_by_trial_and_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeMachine(monkeypatch, {1: 3e-3, 2: 1e-3, 4: 0.95e-3, 8: 5e-3})
    with machine.Threads(torch.device("cpu")) as threads:
        used = fake.train(threads, 5000)
        assert set(used) == {1, 2, 4, 8}
        assert used[-1] == 2  # four are hardly faster than two
        assert used.count(2) > 0.9 * len(used)
        fake.costs = {1: 3e-3, 2: 30e-3, 4: 30e-3, 8: 30e-3}  # something else has begun to run
        used = fake.train(threads, 300)
        assert used[20:].count(1) > 0.95 * len(used[20:])  # found in a tenth of a second, not after two
        fake.costs = {1: 3e-3, 2: 1e-3, 4: 0.95e-3, 8: 5e-3}  # and has ended
        assert fake.train(threads, 7000)[-1] == 2
    assert fake.n_threads == 8


def test_trials_of_slow_steps_take_little_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeMachine(monkeypatch, {1: 0.8, 2: 0.4})
    with machine.Threads(torch.device("cpu")) as threads:
        used = fake.train(threads, 1000)
    assert 0 < used.count(1) < 0.05 * len(used)


def test_beside_a_busy_process_steps_of_many_threads_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeMachine(monkeypatch, {1: 1e-3, 2: 0.25})
    with machine.Threads(torch.device("cpu")) as threads:
        used = fake.train(threads, 1000)  # a second of work: one trial
    assert used[0] == 1  # not one step before the trial
    assert used.count(2) == 1  # and one that is hopeless is enough


def test_a_number_of_threads_that_is_fixed_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeMachine(monkeypatch, {1: 1e-3, 8: 1.0})
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    with machine.Threads(torch.device("cpu")) as threads:
        assert set(fake.train(threads, 100)) == {8}


def test_one_of_a_process_chooses_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeMachine(monkeypatch, {1: 3e-3, 2: 1e-3})
    cpu = torch.device("cpu")
    with machine.Threads(cpu) as outer:
        torch.set_num_threads(1)  # in a trial, say
        with machine.Threads(cpu) as inner:
            assert not inner.watches
        assert fake.n_threads == 1
        assert outer.watches
    assert fake.n_threads == 2

    def interrupted() -> None:
        with machine.Threads(cpu) as threads:
            for _ in threads.over(range(100)):
                fake.now += fake.costs[fake.n_threads]
                if fake.n_threads == 1:  # in the midst of a trial
                    raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert fake.n_threads == 2
    with machine.Threads(cpu) as threads:
        for _ in threads.over(range(100)):
            fake.now += fake.costs[fake.n_threads]
        assert threads.watches
        assert fake.n_threads == 2


def test_memory_is_kept_only_within(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple] = []

    class Libc:
        def mallopt(self, *arguments: int) -> None:
            calls.append(arguments)

        def malloc_trim(self, pad: int) -> None:
            calls.append(("trim", pad))

    monkeypatch.setattr(ctypes, "CDLL", lambda name: Libc())
    for name in [name for name in os.environ if name.startswith("MALLOC_")]:
        monkeypatch.delenv(name)

    @machine.kept_memory()
    def fail() -> None:
        assert calls == [(-3, 32 << 20), (-1, 1 << 30)]
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert calls[2:] == [(-1, 64 << 20), ("trim", 0)]
    calls.clear()
    with machine.kept_memory(), machine.kept_memory():  # a callback that applies the network during training
        pass
    assert calls == [(-3, 32 << 20), (-1, 1 << 30), (-1, 64 << 20), ("trim", 0)]
    calls.clear()
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1")
    with machine.kept_memory():
        pass
    assert not calls


def test_a_seed_gives_the_same_bits_on_two_threads_and_nearly_the_losses_of_one() -> None:
    """Sums that two threads share round in another order: no more may differ. Beside busy processes: `make reliability`."""
    ones, twos = busy.fits(1), busy.fits(2)
    for one, two in zip(ones, twos, strict=True):
        assert (one.n_threads, two.n_threads) == (1, 2)
        assert one.network == two.network
        assert two.losses == pytest.approx(one.losses, rel=1e-3)
        assert two.losses[-2] < 0.95 * two.losses[0]  # it has learned: these are no losses of a network at rest
    for network in ("conv", "mlp"):
        for fits in (ones, twos):
            own = [fit for fit in fits if fit.network == network]
            assert len(own) == 2
            assert own[0] == own[1]


def test_a_seed_gives_the_same_scores_on_threads_and_processes(digits: np.ndarray) -> None:
    state = torch.random.get_rng_state()
    grid = {"n_components": [2, 3, 4, 6]}

    def scores(backend: str, n_jobs: int, **given: Any) -> list[float]:
        search = GridSearchCV(hg.Autoencoder(epochs=1, random_state=0, **given), grid, cv=2)
        with parallel_config(backend, n_jobs=n_jobs):
            return search.fit(digits).cv_results_["mean_test_score"].tolist()

    for given in ({}, {"network": "noisy"}, {"network": "conv", "n_threads": 1}, {"penalty": hg.Contractive()}):
        wanted = scores("sequential", 1, **given)
        assert scores("threading", 4, **given) == wanted
    assert scores("loky", 2) == scores("sequential", 1)
    assert torch.equal(torch.random.get_rng_state(), state)


_SEEDED = """
import hashlib, threading, torch, hourglass as hg
from joblib import Parallel, delayed
torch.set_num_threads(2)
images = hg.load("digits").train.images[:100]
def fit(_=0):
    model = hg.Autoencoder(4, network="conv", hidden=(8, 16), epochs=1, random_state=0).fit(images)
    weights = [tensor.cpu().numpy().tobytes() for tensor in model.network_.state_dict().values()]
    return hashlib.sha256(b"".join(weights)).hexdigest()
found = [fit(), *Parallel(2)(delayed(fit)(i) for i in range(2))]
class Beside(hg.Callback):
    def on_batch_end(self, run):
        if run.step == 1:
            thread = threading.Thread(target=lambda: found.append(fit()))
            thread.start()
            thread.join()
hg.Autoencoder(2, epochs=1, n_threads=1, random_state=0).fit(images, callbacks=[Beside()])
print(len(found), len(set(found)))
"""


def test_a_seed_gives_a_convolution_the_same_bits_in_workers_and_beside_a_fit_on_one_thread() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", _SEEDED], check=True, timeout=300, env=environment, capture_output=True, text=True
    )
    assert done.stdout.split() == ["4", "1"]


def test_the_number_of_threads_can_be_given(digits: np.ndarray) -> None:
    numbers, before = set(), torch.get_num_threads()

    class Look(Callback):
        def on_batch_end(self, run: Run) -> None:
            numbers.add(torch.get_num_threads())

    hg.Autoencoder(2, epochs=1, random_state=0, n_threads=3).fit(digits, callbacks=[Look()])
    assert numbers == {3}
    assert torch.get_num_threads() == before
    with pytest.raises(hg.ParameterError, match="n_threads"):
        hg.Autoencoder(2, n_threads="many").fit(digits)


_FORK = """
import multiprocessing, numpy as np, torch, hourglass as hg
torch.set_num_threads(2)
images = np.repeat(hg.load("digits").train.images, 10, 0)
model = hg.Denoiser(epochs=1, random_state=0, n_threads=2, device="cpu").fit(images)
def work(_):
    own = hg.Autoencoder(2, epochs=1, random_state=0, device="cpu").fit(images[:100])
    return float(model.transform(images[:500]).mean()), own.n_iter_
print(multiprocessing.get_context("fork").Pool(2).map_async(work, range(2)).get(60))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_pool_that_is_forked_after_a_fit_works() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    subprocess.run([sys.executable, "-c", _FORK], check=True, timeout=90, env=environment, capture_output=True)
