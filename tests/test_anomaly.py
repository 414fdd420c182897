"""Evidence of anomalies, its weights by synthetic anomalies, and where images depart from normal."""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import find_objects, label
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline

import hourglass as hg
from hourglass import evaluation
from hourglass.anomaly import EVIDENCE, TABLE, Region, enlarged, power_of, regions_of, synthetic_rows, weights_by_power


@pytest.fixture(scope="module")
def table() -> np.ndarray:
    """1,200 rows on a curved surface, in columns of other units: one heavy-tailed, one binary, one constant."""
    rng = np.random.default_rng(0)
    t = rng.normal(size=1200)
    columns = [
        t,
        1e4 * np.sin(t) + 50 * rng.normal(size=1200),
        1e-3 * t**2,
        rng.standard_t(2, size=1200),
        t > 0.5,
        np.full(1200, 7.0),
    ]
    return np.column_stack(columns)


@pytest.fixture(scope="module")
def detector(table: np.ndarray) -> hg.AnomalyDetector:
    return hg.AnomalyDetector(quantile=0.95, random_state=0).fit(table[:1000])


def test_a_detector_weighs_evidence_by_its_power_on_synthetic_anomalies(
    table: np.ndarray, detector: hg.AnomalyDetector
) -> None:
    assert list(detector.evidence_) == list(TABLE)
    assert detector.weights_.sum() == pytest.approx(1)
    mean = np.mean([*detector.power_.values()], axis=0)
    assert np.argmax(mean) == np.argmax(detector.weights_)
    new = table[1000:]
    assert (detector.predict(new) < 0).mean() <= 0.1  # promised 0.05
    broken = new.copy()
    broken[:, 1] = new[::-1, 1]  # each value usual, their combination not
    scores = detector.score_samples(np.concatenate([new, broken]))
    is_broken = np.repeat([False, True], len(new))
    assert roc_auc_score(~is_broken, scores) > 0.8
    far = new.copy()
    far[:, 2] += 0.05
    assert (detector.predict(far) < 0).all()


def test_evidence_is_saved_with_the_model(table: np.ndarray, detector: hg.AnomalyDetector, tmp_path: Path, run: Any) -> None:
    detector.save(tmp_path / "d.hg")
    again = hg.load_model(tmp_path / "d.hg")
    assert np.array_equal(again.score_samples(table), detector.score_samples(table))
    for kind, power in detector.power_.items():
        assert np.array_equal(again.power_[kind], power)
        assert np.array_equal(again.synthetic_scores_[kind], detector.synthetic_scores_[kind])
    code, out, err = run("info", tmp_path / "d.hg")
    assert code == 0, err
    assert "Synthetic anomalies found at its threshold" in out
    assert all(name in out for name in (*TABLE, *detector.power_))


@pytest.mark.parametrize("name", TABLE)
def test_a_sample_is_not_compared_with_itself(name: str, table: np.ndarray, detector: hg.AnomalyDetector) -> None:
    some = np.concatenate([table[:300], 100 + table[:1]])  # one alone
    evidence = EVIDENCE[name]().fit(some, detector.model_)
    with_own = evidence.scores(some, detector.model_)
    without = evidence.scores(some, detector.model_, without_own=True)
    assert without.mean() >= with_own.mean()
    if name != "principal rows":  # the far row has a component of its own
        assert np.argmax(without) == 300
    one = EVIDENCE[name]().fit(some[:1], detector.model_)
    assert np.isfinite(one.scores(some, detector.model_)).all()
    assert np.isfinite(one.scores(some[:1], detector.model_, without_own=True)).all()


def test_power_is_the_area_under_the_curve() -> None:
    rng = np.random.default_rng(0)
    normal, other = rng.normal(size=(50, 3)).round(1), rng.normal([0, 1, -1], 1, size=(30, 3)).round(1)
    labels = np.repeat([0, 1], [50, 30])
    expected = [roc_auc_score(labels, np.concatenate([normal[:, k], other[:, k]])) for k in range(3)]
    power = power_of(normal, {"shifted": other, "same": normal})
    np.testing.assert_allclose(power["shifted"], expected)
    np.testing.assert_allclose(power["same"], 0.5)
    weights = weights_by_power({"shifted": power["shifted"]})
    assert weights[2] == 0 < weights[0] < weights[1] == pytest.approx(1, abs=0.3)
    assert weights_by_power({"same": power["same"]}).tolist() == [1 / 3] * 3


def test_synthetic_rows_are_what_they_are_called(table: np.ndarray) -> None:
    rows = table[:100]
    made = synthetic_rows(rows, 40, seed=1)
    assert all(values.shape == (40, rows.shape[1]) and np.isfinite(values).all() for values in made.values())
    assert all(np.isin(made["swapped"][:, column], rows[:, column]).all() for column in range(rows.shape[1]))
    inside = (made["out of range"] >= rows.min(0)) & (made["out of range"] <= rows.max(0))
    assert not inside[:, :-1].all(1).any()
    assert np.array_equal(made["between"], synthetic_rows(rows, 40, seed=1)["between"])
    one = synthetic_rows(rows[:1], 3, seed=0)  # all that there is
    assert np.array_equal(one["swapped"], np.repeat(rows[:1], 3, 0))


def test_the_suite_of_tables_stands_beside_baselines(
    table: np.ndarray, tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOURGLASS_DATA", str(tmp_path))
    code, _, err = run("evaluate", "--suite", "tables")
    assert code == 2
    assert "adbench" in err
    (tmp_path / "adbench").mkdir()
    rng = np.random.default_rng(1)
    rows, labels = np.concatenate([table, table[:20] + np.array([0, 0, 0.1, 0, 0, 0])]), np.repeat([0, 1], [1200, 20])
    np.savez(tmp_path / "adbench" / "3_one.npz", X=rows, y=labels)
    order = rng.permutation(1220)
    np.savez(tmp_path / "adbench" / "12_other.npz", X=rows[order], y=labels[order, None])
    code, out, err = run("evaluate", "--suite", "tables", "-o", tmp_path / "out", "--seed", 0)
    assert code == 0, err
    assert "isolation forest" in out
    content = json.loads((tmp_path / "out" / "tables.json").read_text())
    assert [found["name"] for found in content["tables"]] == ["other", "one"]
    assert all(found["auroc"]["AnomalyDetector"] > 0.95 for found in content["tables"])
    assert [(found["n_normal"], found["n_test"]) for found in content["tables"]] == [(600, 620)] * 2
    assert "| mean |" in (tmp_path / "out" / "tables.md").read_text()
    assert run("evaluate", "--suite", "tables", "--data", "digits")[0] == 2


def test_the_suite_of_alarms_counts_false_positives_of_new_normal_samples(
    table: np.ndarray, tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOURGLASS_DATA", str(tmp_path))
    assert run("evaluate", "--suite", "alarms")[0] == 2
    (tmp_path / "adbench").mkdir()
    np.savez(tmp_path / "adbench" / "3_one.npz", X=table, y=np.zeros(len(table)))
    monkeypatch.setattr(evaluation, "measure_alarms", partial(evaluation.measure_alarms, sizes=(2000,)))
    monkeypatch.delitem(evaluation.NORMALS, "digits")
    monkeypatch.delitem(evaluation.NORMALS, "magnetic tiles")
    code, _, err = run("evaluate", "--suite", "alarms", "-o", tmp_path / "out", "--seed", 0)
    assert code == 0, err
    found = json.loads((tmp_path / "out" / "alarms.json").read_text())["detectors"]
    assert [(result["n_trained"], result["n_new"]) for result in found] == [(960, 240)]
    assert all(result["false_positives"]["0.01"] <= result["false_positives"]["0.05"] < 0.15 for result in found)
    assert "| tables | 960 | 1 |" in (tmp_path / "out" / "alarms.md").read_text()


def test_regions_are_connected_at_corners_too_and_that_of_the_largest_error_comes_first() -> None:
    errors = np.zeros((10, 12))
    errors[8, 0] = 3
    errors[2:4, 3:6] = 4
    errors[4, 6] = 10
    assert regions_of(errors, 2.0) == [(3, 2, 4, 3, 7, 5.0), (0, 8, 1, 1, 1, 1.5)]
    assert regions_of(errors, 20.0) == []
    assert regions_of(np.ones((1, 1)), 0.0)[0][:5] == (0, 0, 1, 1, 1)
    assert enlarged(Region(3, 2, 4, 3, 7, 5.0), (10, 12), (20, 30)) == (7, 4, 11, 6, 35, 5.0)
    assert enlarged(Region(0, 8, 1, 1, 1, 1.5), (10, 12), (5, 6)) == (0, 4, 1, 1, 1, 1.5)


def test_regions_are_those_that_scipy_labels() -> None:
    rng = np.random.default_rng(0)
    for size in rng.integers(1, 20, (200, 2)):
        errors, level = rng.random(size), rng.random()
        numbers, _ = label(errors > level, structure=np.ones((3, 3)))
        boxes = [
            (rows, columns, numbers[rows, columns] == number) for number, (rows, columns) in enumerate(find_objects(numbers), 1)
        ]
        expected = {
            (
                columns.start,
                rows.start,
                *inside.shape[::-1],
                int(inside.sum()),
                float(errors[rows, columns][inside].max()) / level,
            )
            for rows, columns, inside in boxes
        }
        assert {tuple(region) for region in regions_of(errors, level)} == expected


def test_one_in_a_thousand_normal_pixels_is_above_the_level_of_maps(digits: np.ndarray, tmp_path: Path) -> None:
    others = hg.load("digits").test.images
    for count in (60, 200):  # cross-fitted, and held out
        detector = hg.AnomalyDetector(8, epochs=3, quantile=0.9, random_state=0).fit(digits[:count])
        assert 0 < np.mean(detector.error_maps(others) > detector.map_level_) < 0.01
        marked = np.repeat(np.full_like(digits[:1], 0), 2, axis=0)
        marked[1, 5:8, 5:8] = 255
        first = detector.regions(marked)[1][0]
        assert first.left <= 6 < first.left + first.width
        assert first.top <= 6 < first.top + first.height
        assert first.peak > 1
    detector.save(tmp_path / "d.hg")
    assert hg.load_model(tmp_path / "d.hg").map_level_ == detector.map_level_
    with pytest.raises(NotFittedError):
        hg.AnomalyDetector().regions(digits)


def test_regions_need_images_and_a_level(digits: np.ndarray, tmp_path: Path) -> None:
    rows = digits.reshape(200, 64)
    table = hg.AnomalyDetector(2, epochs=1, random_state=0).fit(rows)
    table.map_level_ = math.nan  # as of a model that was saved before there were levels
    with pytest.raises(hg.DataError, match="needs images"):
        table.regions(rows)
    images = hg.AnomalyDetector(2, epochs=1, random_state=0).fit(digits)
    images.map_level_ = math.nan
    images.save(tmp_path / "old.hg")
    assert "map_level" not in (tmp_path / "old.hg" / "config.json").read_text()
    old = hg.load_model(tmp_path / "old.hg")
    with pytest.raises(hg.DataError, match="without map_level_"):
        old.regions(digits)
    old.map_level_ = old.level_of(digits)
    assert len(old.regions(digits[:3])) == 3
    images.map_level_ = -1.0
    images.save(tmp_path / "odd.hg")
    with pytest.raises(hg.FormatError):
        hg.load_model(tmp_path / "odd.hg")


@pytest.mark.parametrize("kind", ["colour", "12 bits"])
def test_regions_of_colour_and_of_deep_images(kind: str, digits: np.ndarray) -> None:
    images = np.repeat(digits[..., None], 3, axis=3) if kind == "colour" else digits.astype(np.uint16) * 16
    model = hg.Autoencoder(4, epochs=2, white=None if kind == "colour" else 4080, random_state=0).fit(images)
    detector = hg.AnomalyDetector.from_autoencoder(model, images, quantile=0.9)
    plain = hg.AnomalyDetector.from_autoencoder(hg.Autoencoder(4, epochs=2, random_state=0).fit(digits), digits, quantile=0.9)
    assert detector.map_level_ < 0.5  # of squares in 0..1, in whatever units images come
    assert sum(map(len, detector.regions(images))) > 0
    assert plain.map_level_ == pytest.approx(detector.map_level_, rel=0.5)


def test_known_anomalies_choose_weights_and_threshold(table: np.ndarray, tmp_path: Path) -> None:
    brief: Any = {"epochs": 2, "random_state": 0}
    odd = table[:12].copy()
    odd[:, 1] = 0  # usual in itself; what it goes with is not
    rows, labels = np.concatenate([table[:500], odd]), np.repeat([0, 1], [500, 12])
    order = np.insert(np.arange(500), np.arange(12) * 40, np.arange(500, 512))  # among the normal ones, whose order stays
    with pytest.warns(hg.HourglassWarning, match="12 of 512 samples are labelled as anomalies"):
        told = hg.AnomalyDetector(quantile=0.95, **brief).fit(rows[order], labels[order])
    untold = hg.AnomalyDetector(quantile=0.95, **brief).fit(table[:500])
    np.testing.assert_array_equal(told.model_.encode(rows[:5]), untold.model_.encode(rows[:5]))  # the same network
    assert "known" in told.power_
    assert told.labels_.shape == told.decision_scores_.shape == (512,)
    assert told.labels_[labels[order] == 1].mean() > told.labels_[labels[order] == 0].mean()
    assert set(told.validation_rows_) <= set(np.flatnonzero(labels[order] == 0))
    np.testing.assert_allclose(told.decision_scores_, -told.score_samples(rows[order]), atol=2e-4)  # four decimals
    told.save(tmp_path / "d.hg")
    loaded = hg.load_model(tmp_path / "d.hg")
    assert loaded.offset_ == told.offset_
    np.testing.assert_array_equal(loaded.synthetic_scores_["known"], told.synthetic_scores_["known"])
    with pytest.raises(hg.DataError, match="500 samples need 500 labels"):
        hg.AnomalyDetector(**brief).fit(table[:500], labels)
    # Other labels are classes, and say nothing.
    for classes in (np.arange(500) % 2, np.arange(500) % 3, np.array(["a"] * 500)):
        same = hg.AnomalyDetector(quantile=0.95, **brief).fit(table[:500], classes)
        assert same.offset_ == untold.offset_
    with pytest.warns(hg.HourglassWarning, match="labelled as anomalies"):
        signed = hg.AnomalyDetector(quantile=0.95, **brief).fit(rows, np.where(labels, -1, 1))
    assert signed.offset_ == pytest.approx(told.offset_, abs=1e-3)
    with pytest.warns(hg.HourglassWarning, match="labelled as anomalies"):
        verdicts = hg.AnomalyDetector(quantile=0.95, **brief).fit_predict(rows[order], labels[order])
    np.testing.assert_array_equal(verdicts == -1, told.labels_ == 1)
    with pytest.warns(hg.HourglassWarning, match="labelled as anomalies"):
        shared = hg.AnomalyDetector(contamination=0.08, **brief).fit(rows[order], labels[order])
    assert shared.labels_.mean() == pytest.approx(0.08, abs=0.01)  # of all, known ones included


def test_tables_of_mixed_columns() -> None:
    pd = pytest.importorskip("pandas", reason="mixed columns come as DataFrames of pandas")
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 3, 600)
    frame = pd.DataFrame(
        {
            "length": 10.0 * kind + rng.normal(size=600),
            "kind": np.array(["bolt", "nut", "washer"])[kind],
            "coated": kind == 1,
            "grade": pd.Categorical(np.array(["a", "b"])[rng.integers(0, 2, 600)]),
        }
    )
    frame.loc[::7, "length"] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        make_pipeline(hg.table_encoder(), hg.AnomalyDetector(epochs=1, random_state=0)).fit(frame)
    pipeline = make_pipeline(hg.table_encoder(missing="indicate"), hg.AnomalyDetector(quantile=0.95, random_state=0))
    pipeline.fit(frame[:500])
    assert (pipeline.predict(frame[500:]) < 0).mean() <= 0.12  # promised 0.05, of 100 rows
    mixed = frame[500:].assign(kind=frame["kind"][500:].replace({"bolt": "nut", "nut": "washer", "washer": "bolt"}))
    unknown = frame[500:].assign(kind="rivet")
    for strange in (mixed, unknown):
        scores = pipeline.score_samples(pd.concat([frame[500:], strange]))
        assert roc_auc_score(np.repeat([1, 0], 100), scores) > 0.9
    with pytest.raises(hg.ParameterError, match="refuse"):
        hg.table_encoder(missing="drop")
