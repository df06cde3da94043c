from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyRegressor

from tabemb.compare import ModelSpec, Protocol, cells, make_splits, read_cells, run, select
from tabemb.compare.metrics import SMALLEST_PROBABILITY, class_probabilities, row_losses, score
from tabemb.compare.models import MODELS, Model
from tabemb.compare.store import newest, write_cell


class Counting(DummyRegressor):
    """A mean predictor that counts its fits."""

    fits = 0

    def fit(self, X, y, sample_weight=None):
        type(self).fits += 1
        self.learning_curve_ = {"epoch": [1, 2], "eval_loss": np.array([2.0, 1.0])}
        return super().fit(X, y, sample_weight)


class Broken(DummyRegressor):
    def fit(self, X, y, sample_weight=None):
        raise ArithmeticError("the cat ate it")


@pytest.fixture
def registry(monkeypatch):
    monkeypatch.setattr(Counting, "fits", 0)
    monkeypatch.setitem(MODELS, "counting", Model(lambda task, columns, seed, n_jobs: Counting()))
    monkeypatch.setitem(MODELS, "broken", Model(lambda task, columns, seed, n_jobs: Broken()))
    monkeypatch.setitem(
        MODELS, "constant", Model(lambda task, columns, seed, n_jobs: Counting(), seeded=False)
    )


HERE = {"isolate": False, "progress": False, "n_jobs": 1}
KFOLD = Protocol("kfold", folds=3)


def test_a_second_run_fits_nothing_and_runs_add_up(regression, registry, tmp_path):
    first = run(regression, ["counting"], KFOLD, tmp_path, seeds=[0, 1], **HERE)
    assert Counting.fits == 6 == len(first)
    again = run(regression, ["counting"], KFOLD, tmp_path, seeds=[0, 1], **HERE)
    assert Counting.fits == 6
    pd.testing.assert_frame_equal(first, again)
    more = run(regression, ["counting", "dummy"], KFOLD, tmp_path, seeds=[0, 1, 2], **HERE)
    assert Counting.fits == 9
    assert more.groupby("model").size().to_dict() == {"counting": 9, "dummy": 3}


def test_an_interrupted_run_resumes_where_it_stopped(regression, registry, tmp_path, monkeypatch):
    def interrupted(self, X, y, sample_weight=None):
        if type(self).fits == 1:
            raise KeyboardInterrupt
        return fit(self, X, y, sample_weight)

    fit = Counting.fit
    monkeypatch.setattr(Counting, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(regression, ["counting"], KFOLD, tmp_path, **HERE)
    assert len(read_cells(tmp_path)) == 1
    monkeypatch.setattr(Counting, "fit", fit)
    assert len(run(regression, ["counting"], KFOLD, tmp_path, **HERE)) == 3
    assert Counting.fits == 3
    assert not list(tmp_path.glob(".*"))


def test_other_data_params_or_protocol_are_other_cells(regression, registry, tmp_path):
    run(regression, ["counting"], KFOLD, tmp_path, **HERE)
    run(replace(regression, y=regression.y + 1), ["counting"], KFOLD, tmp_path, **HERE)
    run(regression, ["counting"], Protocol("kfold", folds=3, seed=1), tmp_path, **HERE)
    assert Counting.fits == 9
    assert len(select(read_cells(tmp_path), regression, KFOLD)) == 3


def test_a_model_without_luck_runs_with_one_seed(regression, registry, tmp_path):
    run(regression, ["constant"], KFOLD, tmp_path, seeds=[3, 4, 5], **HERE)
    assert Counting.fits == 3


def test_only_the_asked_folds_run_and_later_the_others(regression, registry, tmp_path):
    assert list(run(regression, ["counting"], KFOLD, tmp_path, folds=[2], **HERE)["fold"]) == [2]
    assert len(run(regression, ["counting"], KFOLD, tmp_path, **HERE)) == 3
    assert Counting.fits == 3
    with pytest.raises(
        ValueError, match=r"folds must be among \[1, 2, 3\], the folds of the protocol; got 4"
    ):
        run(regression, ["counting"], KFOLD, tmp_path, folds=[4], **HERE)


def test_a_failure_is_recorded_with_its_text_and_can_be_retried(regression, registry, tmp_path):
    results = run(regression, ["broken", "counting"], Protocol(), tmp_path, **HERE)
    assert results.set_index("model").loc["broken", ["status", "error"]].tolist() == [
        "failed",
        "ArithmeticError: the cat ate it",
    ]
    MODELS["broken"] = MODELS["counting"]
    assert "failed" in set(run(regression, ["broken"], Protocol(), tmp_path, **HERE)["status"])
    assert set(
        run(regression, ["broken"], Protocol(), tmp_path, retry_failed=True, **HERE)["status"]
    ) == {"ok"}


def test_a_misspelling_is_told_before_any_fit(regression, registry, tmp_path):
    with pytest.raises(ValueError, match=r"got 'lihgtgbm' \(did you mean 'lightgbm'"):
        run(regression, ["counting", "lihgtgbm"], Protocol(), tmp_path, **HERE)
    with pytest.raises(ValueError, match="no parameter 'num_leavs'"):
        run(
            regression,
            ["counting", ModelSpec("lightgbm", {"num_leavs": 3})],
            Protocol(),
            tmp_path,
            **HERE,
        )
    with pytest.raises(ValueError, match="time_limit needs isolate=True"):
        run(regression, ["counting"], Protocol(), tmp_path, time_limit=3, **HERE)
    assert Counting.fits == 0


def test_a_cell_holds_errors_times_losses_and_curves(regression, registry, tmp_path):
    (cell,) = run(regression, ["counting"], Protocol(), tmp_path, **HERE).to_dict("records")
    (split,) = make_splits(regression, Protocol())
    errors = regression.y.iloc[split.test] - regression.y.iloc[split.train].mean()
    assert cell["rmse"] == pytest.approx(np.sqrt((errors**2).mean()))
    assert cell["mae"] == pytest.approx(errors.abs().mean())
    np.testing.assert_allclose(cell["losses"], errors**2, rtol=1e-6)
    assert cell["learning_curve"] == '{"epoch": [1, 2], "eval_loss": [2.0, 1.0]}'
    assert (cell["n_train"], cell["n_test"]) == (len(split.train), len(split.test))
    assert all(
        cell[f"{stage}_{what}"] >= 0
        for stage in ("fit", "predict")
        for what in ("seconds", "memory_mib")
    )


@pytest.mark.slow
def test_a_fresh_process_measures_the_same_errors_and_survives_a_crash(
    regression, tmp_path, monkeypatch
):
    (tmp_path / "crashing.py").write_text(
        "import os, time, numpy\n"
        "from sklearn.dummy import DummyRegressor\n"
        "class Crash(DummyRegressor):\n"
        "    def fit(self, X, y): os._exit(3)\n"
        "class Greedy(DummyRegressor):\n"
        "    def fit(self, X, y):\n"
        "        block = numpy.ones(2**23)\n"
        "        time.sleep(0.2)\n"
        "        return super().fit(X, y)\n"
        "def crash(task, columns, seed, n_jobs): return Crash()\n"
        "def greedy(task, columns, seed, n_jobs): return Greedy()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    options = {"n_jobs": 1, "progress": False}
    models = ["crashing:crash", "crashing:greedy"]
    apart = run(regression, models, Protocol(), tmp_path / "apart", **options).set_index("model")
    here = run(regression, ["dummy"], Protocol(), tmp_path / "here", isolate=False, **options)
    assert apart.loc["crashing:crash", "error"] == "The process of the cell died with exit code 3."
    assert apart.loc["crashing:greedy", "rmse"] == here["rmse"].item()
    # the fit allocates 64 MiB of ones and frees them before the prediction
    assert 60 < apart.loc["crashing:greedy", "fit_memory_mib"] < 90
    assert apart.loc["crashing:greedy", "predict_memory_mib"] < 30


def test_a_time_limit_ends_a_cell(regression, tmp_path):
    results = run(regression, ["dummy"], Protocol(), tmp_path, n_jobs=1, progress=False, time_limit=0.01)
    assert results["error"].item() == "The cell took longer than the time limit of 0.01 seconds."


def test_predictions_that_are_no_numbers_fail(regression, registry, tmp_path, monkeypatch):
    monkeypatch.setattr(Counting, "predict", lambda self, X: np.full(len(X), np.nan))
    results = run(regression, ["counting"], Protocol(), tmp_path, **HERE)
    error = "ValueError: counting must predict finite numbers; 140 of 140 are NaN or infinite."
    assert results["error"].item() == error


def test_newest_code_and_data_win(tmp_path):
    base = {"dataset": "d", "protocol": "p", "model": "m", "seed": 0, "status": "ok"}
    rows = [("data 1", "code 1", 1, "1"), ("data 2", "code 1", 1, "2"), ("data 2", "code 1", 2, "3"),
            ("data 2", "code 2", 1, "4")]  # fmt: skip
    for number, (fingerprint, code, fold, finished) in enumerate(rows):
        row = base | {"fingerprint": fingerprint, "code": code, "fold": fold, "finished": finished}
        write_cell(tmp_path, str(number), row)
    assert newest(read_cells(tmp_path))["finished"].tolist() == ["4"]


def test_progress_names_the_cell_and_its_failure(regression, registry, tmp_path, capsys):
    run(regression, ["counting", "broken"], Protocol(), tmp_path, **(HERE | {"progress": True}))
    shown = capsys.readouterr().err
    assert "planted · counting · fold 1 · seed 0: rmse " in shown
    assert "planted · broken · fold 1 · seed 0: FAILED, ArithmeticError: the cat ate it" in shown


def test_scores_by_hand():
    classes = np.array(["a", "b", "c"])
    y = np.array(["a", "b", "b"])
    p = np.array([[0.5, 0.5, 0], [0.2, 0.8, 0], [0.5, 0.25, 0.25]])
    np.testing.assert_allclose(row_losses("multiclass", y, p, classes), -np.log([0.5, 0.8, 0.25]))
    found = score("multiclass", y, p, classes)
    assert found["log_loss"] == pytest.approx(-np.log([0.5, 0.8, 0.25]).mean())
    assert found["accuracy"] == pytest.approx(2 / 3)
    # a against the rest: .5 is above .2 and equals .5; b against the rest: .8 is above .5, .25 below;
    # c has no rows
    assert found["roc_auc"] == pytest.approx((0.75 + 0.5) / 2)
    errors = score("regression", np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    assert errors == pytest.approx({"rmse": 2**0.5, "mse": 2, "mae": 1, "mape": 0.5, "r2": -7})


def test_classes_never_seen_get_the_smallest_probability():
    class Two:
        classes_ = np.array([1, 3])

        def predict_proba(self, X):
            return np.array([[0.25, 0.75]])

    found = class_probabilities(Two(), None, np.array([1, 2, 3]))
    np.testing.assert_allclose(found, [[0.25, SMALLEST_PROBABILITY, 0.75]], rtol=1e-6)
    assert found.sum() == pytest.approx(1)


def test_the_stopwatch_sees_cpu_and_wall_time():
    with cells._Stopwatch("x") as watch:
        sum(i * i for i in range(300_000))
    assert 0 < watch.readings["x_cpu_seconds"] <= watch.readings["x_seconds"] * 1.5 + 0.05
