"""The benchmark: who is measured when, what is made of it, and that nothing stays behind. No time is held to a limit here."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

import hourglass as hg
from benchmarks.rounds import Contender, Round, Worker, alternate, alternate_anew, beside
from benchmarks.rows import Bar, Row, Spread, compare
from benchmarks.task import Task, write
from contenders import complain, die, fail, hold, refuse, tick, write_down

ROOT = Path(__file__).resolve().parent.parent

# --- rounds -------------------------------------------------------------------------------------------------------------


def test_contenders_take_turns_after_one_round_that_does_not_count(tmp_path: Path) -> None:
    contenders = [Contender(name, partial(write_down, name, tmp_path / "diary")) for name in "AB"]
    rounds = alternate(contenders, 3)
    lines = [line.split() for line in (tmp_path / "diary").read_text().splitlines()]
    assert [name for name, _ in lines] == list("ABABABAB")
    assert len({process for _, process in lines} | {str(os.getpid())}) == 3  # two, and this one
    assert {name: len(figures) for name, figures in rounds.items()} == {"A": 3, "B": 3}
    assert not multiprocessing.active_children()
    alternate_anew(contenders[:1], 2)
    assert len({line.split()[1] for line in (tmp_path / "diary").read_text().splitlines()[8:]}) == 2


def load_peer(task: Task) -> Round:
    """Prepares a peer, and measures which packages of the library its process holds."""
    from benchmarks import peers

    one_round = peers.sliced_loop(task)
    return lambda: one_round() | dict.fromkeys((name.split(".")[1] for name in sys.modules if "hourglass." in name), 1.0)


def test_a_peers_process_holds_nothing_of_ours_that_it_does_not_need(task: Task) -> None:
    rounds = alternate_anew([Contender("peer", partial(load_peer, task))], 1)
    measured = {"seconds", "epoch_seconds", "ready_mb", "peak_mb"}
    assert set(rounds["peer"][0]) - measured == {"_version", "errors", "images", "notes", "corruption"}


def test_memory_is_the_contenders_own() -> None:
    mine = np.ones(60_000_000)  # 480 MB that a child's `ru_maxrss` on Linux would begin with
    rounds = alternate_anew([Contender(str(size), partial(hold, size)) for size in (10, 200)], 1)
    peaks = {name: figures[0]["peak_mb"] for name, figures in rounds.items()}
    assert peaks["10"] < 0.9 * mine.nbytes / 1e6
    assert 170 < peaks["200"] - peaks["10"] < 230
    assert rounds["200"][0]["ready_mb"] < peaks["200"] - 170


@pytest.mark.parametrize(
    ("when", "how", "message"),
    [
        ("ready", complain, "ValueError: this is what went wrong"),
        ("round", refuse, "no such images."),
        ("ready", die, r"its process ended during the measurement .*exit code 3"),
        ("round", die, r"its process ended during the measurement .*exit code 3"),
    ],
)
def test_an_error_in_a_process_is_reported_in_one_line(
    when: str, how: Callable[[], None], message: str, tmp_path: Path
) -> None:
    well = Contender("well", partial(write_down, "well", tmp_path / "diary"))
    with pytest.raises(hg.HourglassError, match=rf"^poor: {message}") as raised:
        alternate([well, Contender("poor", partial(fail, when, how))], 1)
    assert "\n" not in str(raised.value)
    assert not multiprocessing.active_children()


def test_a_round_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.rounds.LONGEST_ROUND", 0.1)
    monkeypatch.setattr("benchmarks.rounds._GRACE", 0.1)
    with (
        pytest.raises(hg.HourglassError, match=r"^slow: no result"),
        Worker.of(Contender("slow", partial(fail, "round", partial(time.sleep, 60)))) as worker,
    ):
        worker.round()
    assert not multiprocessing.active_children()


def test_a_neighbour_is_busy_as_long_as_the_block(tmp_path: Path) -> None:
    file = tmp_path / "ticks"
    with beside(partial(tick, file)):
        first = file.stat().st_size  # it has begun
        deadline = time.monotonic() + 10
        while file.stat().st_size == first and time.monotonic() < deadline:
            time.sleep(0.01)
    assert file.stat().st_size > first > 0
    assert not multiprocessing.active_children()


# --- rows ---------------------------------------------------------------------------------------------------------------


def test_ratios_are_of_the_same_turn() -> None:
    rounds = {
        "peer": [{"seconds": value} for value in (1.0, 10.0, 4.0)],
        "ours": [{"seconds": value} for value in (0.5, 2.0, 4.0)],
    }
    rows = compare("work", rounds, reference="peer")
    assert rows["ours"].value == Spread(0.5, 2.0, 4.0)
    assert rows["ours"].ratio == Spread(1.0, 2.0, 5.0)  # the machine was slow in the second turn, for both
    assert rows["peer"].ratio == Spread(1.0, 1.0, 1.0)
    speeds = compare("work", rounds, reference="peer", larger_is_better=True)
    assert speeds["ours"].ratio == Spread(0.2, 0.5, 1.0)
    assert compare("work", rounds)["ours"].ratio is None


def test_a_row_says_whether_its_bar_is_met() -> None:
    row = Row("work", "ours", "s", Spread(1, 2, 3), "peer", Spread(2, 2.5, 3), gflops=80.0)
    met = {bar: Row(**vars(row) | {"bar": bar}).is_met for bar in (Bar("ratio", "≥", 2.5), Bar("ratio", "≥", 2.6))}
    assert list(met.values()) == [True, False]
    assert Row(**vars(row) | {"bar": Bar("value", "≤", 2.0)}).is_met
    assert not Row(**vars(row) | {"bar": Bar("value", "≤", 1.9)}).is_met
    assert not Row(**vars(row) | {"bar": Bar("ratio", "≥", 1), "is_comparable": False}).is_met  # not the same work
    assert row.is_met is None
    held = Row(**vars(row) | {"bar": Bar("share", "≥", 0.8)})
    assert held.is_met is None  # nothing to take a share of yet
    shared = held.with_share(plain=100.0, best=200.0)
    assert shared.is_met
    assert shared.note == "80 GFLOP/s."
    assert shared.cells() == ["work", "ours", "2.00 s", "1.00 – 3.00", "2.50 (2.00 – 3.00)", "80%", "40%", "≥ 80%", "met"]
    assert Row.from_content(json.loads(json.dumps(shared.to_content()))) == shared


def test_arithmetic_of_the_chapters_network() -> None:
    from benchmarks.matrix import forward_work, matrix_rates, together, training_work
    from benchmarks.peers import chapter_network
    from benchmarks.task import widths

    layers = [str(module).partition(", bias")[0].partition("(negative")[0] for module in chapter_network(784)]
    sizes = [layer for layer in layers if layer.startswith("Linear")]
    assert sizes == [f"Linear(in_features={a}, out_features={b}" for a, b in itertools.pairwise(widths((28, 28)))]
    assert layers[1::2] == ["LeakyReLU"] * 5 + ["Sigmoid()"]
    assert widths((28, 28)) == (784, 128, 64, 32, 64, 128, 784)
    assert training_work(widths((28, 28))) == 6 * 221_184 - 2 * 784 * 128
    assert forward_work((784, 128, 64, 32)) == 2 * 110_592
    rates = matrix_rates(2, side=64)
    assert all(len(values) == 2 and min(values) > 0 for values in rates.values())
    assert together({"a": [1.0, 9.0]}, {"a": [2.0]}) == {"a": {"median": 2.0, "best": 9.0}}


# --- the suites, on a few small images, in this process -------------------------------------------------------------------


@pytest.fixture
def task(tmp_path: Path) -> Task:
    digits = hg.load("digits")
    write(tmp_path, digits.train.images[:640], digits.test.images[:100])
    return Task(tmp_path, seed=0)


@pytest.mark.filterwarnings("ignore:the network learned next to nothing:hourglass.HourglassWarning")
def test_the_chapters_loop_and_ours_do_the_same_work(task) -> None:
    from benchmarks import ours, peers

    loop, mine = peers.chapter_loop(task), ours.fit(task, "chapter")
    for _ in range(2):
        theirs, own = loop(), mine()
        assert own["loss"] == pytest.approx(theirs["loss"], rel=0.05)
        assert own["test_mse"] == pytest.approx(theirs["test_mse"], rel=0.1)
        assert own["epoch_seconds"] <= own["seconds"]
    noisy, clean = task.test_pairs()
    assert theirs["test_mse"] < np.square(noisy - clean).mean()
    assert set(peers.sliced_loop(task)()) == {"seconds", "epoch_seconds"}


def test_time_to_a_result_ends_where_it_is_reached(task) -> None:
    from benchmarks import ours, peers

    for until in (peers.chapter_until, ours.fit_until):
        easy, never = until(task, 0.2)(), until(task, 0.0)()
        assert easy["is_reached"] == 1
        assert easy["test_mse"] <= 0.2
        assert never["is_reached"] == 0
        assert never["seconds"] > easy["seconds"]
    assert never["steps"] >= 600  # all of the preset's
    an_epoch = peers.n_steps_an_epoch(task.train(), task)
    assert peers.chapter_until(task, 0.0)()["steps"] >= peers.MOST_EPOCHS * an_epoch
    assert peers.LOOKS * easy["steps"] <= never["steps"]


def test_a_stopped_clock_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.task import Clock

    times = iter([0.0, 5.0, 105.0, 107.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(times))
    clock = Clock()
    with clock.stopped():  # from 5 to 105
        pass
    assert clock.seconds == 7.0


def test_convolutions_and_libraries_train(task) -> None:
    from benchmarks import ours, peers

    theirs = peers.convolutional_loop(task, "conv", 8, (4, 8))()
    own = ours.fit_convolution(_with(task, epochs=1), "conv", 8, (4, 8))()
    assert own["loss"] == pytest.approx(theirs["loss"], rel=0.1)
    assert peers.mlp_regressor(task)()["epoch_seconds"] > 0


def test_applying_gives_what_it_should(task) -> None:
    from benchmarks import infer
    from benchmarks.peers import chapter_network

    images = task.test()
    network = chapter_network(64)
    assert infer._through(network, images).shape == (100, 64)
    np.testing.assert_allclose(infer._through(network, images), infer._through(network, hg.to_float(images)), atol=1e-6)
    assert infer._through(network[: infer._ENCODER], images).shape == (100, 32)
    for way in (infer.our_transform, infer.pca_transform, infer.torch_reconstruct, infer.mlp_reconstruct):
        assert way(task)()["seconds"] > 0


def test_exported_models_are_timed_in_float_and_in_8_bits(task) -> None:
    from benchmarks import exported

    share = exported.prepare(task, "mlp")
    assert share > -0.5
    sizes = [(task.folder / f"mlp.{ending}").stat().st_size for ending in ("onnx", "int8.onnx")]
    assert sizes[1] < sizes[0]
    for way in exported.WAYS.values():
        assert way(task, "mlp", 64, 1)()["seconds"] > 0


@pytest.mark.parametrize("name", ["denoise", "detect", "generate", "encode", "search", "compress", "enhance"])
def test_every_use_has_two_methods(name: str, task, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.uses import USES, applied
    from hourglass.estimators import presets

    monkeypatch.setattr(presets, "MINIMAL_STEPS", {})
    assert set(USES) == {"denoise", "detect", "generate", "encode", "search", "compress", "enhance"}
    small = _with(task, n_images=200)
    for is_ours in (False, True):
        figures = applied(small, name, is_ours, 20, 1)()
        assert figures["images_per_second"] == pytest.approx(20 / figures["seconds"])
        assert figures["fit_seconds"] >= 0


def test_more_images_are_shifted_copies_and_larger_ones_the_same(task) -> None:
    from benchmarks.growth import many, slope

    digits = task.test()
    more = many(digits, 250, 1)
    np.testing.assert_array_equal(more[:100], digits)
    np.testing.assert_array_equal(more[100:200], np.roll(digits, (-1, 0), axis=(1, 2)))
    assert len(np.unique(more[[0, 100, 200]], axis=0)) == 3
    np.testing.assert_array_equal(many(digits, 10, 0.5), digits[:10, ::2, ::2])
    large = many(digits, 10, 2)
    assert large.shape == (10, 16, 16)
    assert (large[:, ::2, ::2] == digits[:10]).all()
    assert (large[:, 1::2, 1::2] == digits[:10]).all()
    assert many(np.zeros((3, 5, 7, 3), np.float32), 4, 0.5).shape == (4, 3, 4, 3)
    assert slope([(x, 3 * x**1.5) for x in (1.0, 10.0, 500.0)]) == pytest.approx(1.5)


def test_a_command_that_fails_is_reported() -> None:
    from benchmarks.startup import HELP, commands, start_in_turn

    assert HELP in commands()
    python = [sys.executable, "-c"]
    rounds = start_in_turn({"a": [*python, "pass"], "b": [*python, "pass"]}, 2)
    assert {name: len(figures) for name, figures in rounds.items()} == {"a": 2, "b": 2}
    with pytest.raises(hg.HourglassError, match=r"^b: exit code 1 \(ValueError: so\)"):
        start_in_turn({"b": [*python, "raise ValueError('so')"]}, 1)


# --- the command ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def entry_point() -> Callable[[list[str]], NoReturn]:
    from benchmarks.__main__ import main

    return main


@pytest.fixture
def _briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Suites that measure nothing, between products of small matrices."""
    from benchmarks import suite
    from benchmarks.matrix import matrix_rates
    from benchmarks.setting import Measured

    def measured(bench) -> Measured:
        rounds = {"peer": [{"seconds": 3.0}] * bench.rounds, "ours": [{"seconds": 1.0}] * bench.rounds}
        rows = compare(f"work of {bench.n_train}", rounds, reference="peer")
        return Measured(list(rows.values()), ["as expected"])

    def grown(bench) -> Measured:
        names = [f"{cost} over {size}" for size in ("images", "pixels an image") for cost in ("seconds", "memory in MB")]
        curves = {name: [(1000.0, 1.0), (30_000.0, 20.0)] for name in names}
        return Measured([Row(name, "slope", "", Spread(0.9, 0.9, 0.9)) for name in names], [], curves)

    monkeypatch.setitem(suite.SUITES, "train", measured)
    monkeypatch.setitem(suite.SUITES, "infer", measured)
    monkeypatch.setitem(suite.SUITES, "growth", grown)
    monkeypatch.setattr(suite, "matrix_rates", lambda repeats: matrix_rates(1, side=16))


@pytest.mark.usefixtures("_briefly")
def test_the_command_writes_a_page_and_keeps_what_stands(run, tmp_path: Path) -> None:
    options = ["--data", "digits", "-o", tmp_path]
    code, out, err = run(*options, "--suite", "infer", "--rounds", 3, "--json")
    assert code == 0, err
    assert [suite["rounds"] for suite in json.loads(out)["suites"]] == [3]
    code, out, err = run(*options, "--suite", "train", "--suite", "growth")
    assert code == 0, err
    assert "| train | work of 1437 | ours | 1.00 s |" in out
    content = json.loads((tmp_path / "performance.json").read_text())
    assert [(suite["suite"], suite["rounds"]) for suite in content["suites"]] == [("train", 5), ("infer", 3), ("growth", 5)]
    assert content["suites"][0]["rows"][1]["ratio"] == {"least": 3.0, "median": 3.0, "most": 3.0}
    assert {"threads", "torch", "processor", "instructions"} <= set(content["machine"])
    page = (tmp_path / "performance.md").read_text()
    codes = {suite["suite"]: suite["code"] for suite in content["suites"]}
    assert page.index("## Training") < page.index("## Inference") < page.index("## How the cost grows")
    assert "| work of 1437 | ours | 1.00 s |  | 3.00 |" in page
    assert "- as expected" in page
    assert "Matrix rate, torch.mm:" in page
    assert (
        f"`python -m benchmarks --data digits -o {tmp_path} --suite infer --rounds 3 --json`, code {codes['infer']}: 3 rounds"
        in page
    )
    content["suites"][1]["code"] = "of before"  # what other code measured stays, and says so
    (tmp_path / "performance.json").write_text(json.dumps(content))
    assert run(*options, "--suite", "growth")[0] == 0
    kept = json.loads((tmp_path / "performance.json").read_text())["suites"]
    assert [suite["code"] for suite in kept] == [codes["train"], "of before", codes["growth"]]
    assert "--json`, code of before: 3 rounds" in (tmp_path / "performance.md").read_text()
    assert (tmp_path / "performance-growth.png").stat().st_size > 10_000
    for other in (["--seed", 1], ["--quick"]):  # another draw, fewer images: nothing of before may stand beside it
        assert run(*options, "--suite", "infer", *other)[0] == 0
        kept = json.loads((tmp_path / "performance.json").read_text())["suites"]
        assert [suite["suite"] for suite in kept] == ["infer"]
    assert "A quick look" in (tmp_path / "performance.md").read_text()
    assert kept[0]["rounds"] == 2


@pytest.mark.usefixtures("_briefly")
def test_a_file_that_is_no_result_is_replaced(run, tmp_path: Path) -> None:
    for text in ("{", "[]", '{"data": "digits"}'):
        (tmp_path / "performance.json").write_text(text)
        code, _, err = run("--data", "digits", "-o", tmp_path, "--suite", "train")
        assert code == 0, err
        assert len(json.loads((tmp_path / "performance.json").read_text())["suites"]) == 1


def test_the_command_knows_all_suites(run) -> None:
    from benchmarks.page import TITLES
    from benchmarks.suite import SUITES

    assert list(SUITES) == list(TITLES)
    code, _, err = run("--suite", "sprint")
    assert code == 2
    assert "sprint" in err
    assert err.count("\n") == 1


def test_the_package_runs_from_the_root_of_a_checkout() -> None:
    command = [sys.executable, "-m", "benchmarks", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Usage: python -m benchmarks [OPTIONS]")


def test_a_growth_figure_has_a_panel_for_each_curve() -> None:
    from benchmarks.figure import growth_curves

    names = [f"{cost} over {size}" for size in ("images", "pixels") for cost in ("seconds", "MB")]
    figure = growth_curves({name: [(1e3, 1.0), (1e6, 900.0)] for name in names}, dict.fromkeys(names, 0.98))
    assert [(axes.get_ylabel(), axes.get_xlabel()) for axes in figure.axes] == [
        ("seconds", "images"), ("MB", "images"), ("seconds", "pixels"), ("MB", "pixels")
    ]  # fmt: skip
    for axes in figure.axes:
        np.testing.assert_array_equal(axes.lines[0].get_xdata(), [1e3, 1e6])
        np.testing.assert_array_equal(axes.lines[0].get_ydata(), [1.0, 900.0])
        legend = axes.get_legend()
        assert legend is not None
        assert "slope 0.98" in legend.get_texts()[0].get_text()


def _with(task, **fields):
    import dataclasses

    return dataclasses.replace(task, **fields)
