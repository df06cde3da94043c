"""The details that cells store, compared with closed forms and planted answers."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from tabemb.compare import ModelSpec, Protocol, compare, dataset_from_frame, details, make_splits, run
from tabemb.compare.columns import BINS, SplitColumns, error_by_rarity
from tabemb.compare.details import MAX_REPEATS, calibration, importances
from tabemb.compare.stored import (
    calibration_gap,
    calibrations,
    importance_table,
    rarity,
)

QUICK = {"progress": False, "n_jobs": 1, "isolate": False}


def split_columns(train, test, y=None, task="regression", roles=None, notes=None):
    y = np.zeros(len(train)) if y is None else np.asarray(y)
    return SplitColumns(train, test, y, task, roles or {}, notes or {})


# ------------------------------------------------------------------ rarity


def test_the_rarest_category_of_a_row_decides():
    train = pd.DataFrame({"a": ["x"] * 120 + ["y"] * 30, "b": ["p"] * 145 + ["q"] * 5, "n": range(150)})
    test = pd.DataFrame(
        {"a": ["x", "x", "y", "x", "new"], "b": ["p", "q", "p", "new", "q"], "n": [999] * 5}
    )
    found = split_columns(train, test)
    # 120 rows of x and 145 of p: the rarer one is x; numbers are not categories
    assert found.rarest().tolist() == [120, 5, 30, 0, 0]


def test_a_missing_value_is_a_category_and_1_is_not_its_text():
    train = pd.DataFrame({"a": pd.Series([1, "1", "1", None, None, None], dtype=object)})
    test = pd.DataFrame({"a": pd.Series([1, "1", None, 2], dtype=object)})
    assert split_columns(train, test).rarest().tolist() == [1, 2, 3, 0]


def test_ids_do_not_make_every_row_unseen_and_are_named():
    train = pd.DataFrame({"id": [f"i{i}" for i in range(200)], "a": ["x", "y"] * 100})
    test = pd.DataFrame({"id": [f"j{i}" for i in range(50)], "a": ["x", "z"] * 25})
    found = split_columns(train, test)
    assert found.dividing == ["a"]
    assert sorted(set(found.rarest())) == [0, 100]
    # if nothing else is left, the ids are used
    assert set(split_columns(train[["id"]], test[["id"]]).rarest()) == {0}
    assert split_columns(train[["a"]].assign(a=1.0), test[["a"]].assign(a=2.0)).rarest() is None


def test_errors_by_rarity_are_those_of_the_rows_of_each_bin():
    rng = np.random.default_rng(0)
    rarest = rng.choice([0, 1, 9, 10, 99, 100, 5000], 400)
    losses = rng.exponential(size=400) * (1 + (rarest == 0))
    found = error_by_rarity(losses, rarest)
    expected = [rarest == 0, (rarest > 0) & (rarest < 10), (rarest > 9) & (rarest < 100), rarest > 99]
    assert found["bin"] == [name for name, _, _ in BINS] == ["unseen", "1-9", "10-99", "100+"]
    assert found["n_rows"] == [rows.sum() for rows in expected]
    np.testing.assert_allclose(found["total"], [losses[rows].sum() for rows in expected])


@pytest.fixture(scope="module")
def planted():
    """Shops with 120, 40, 5 and no training rows; the errors of predicting the mean are known."""
    sizes = {"common": 120, "some": 40, "rare": 5}
    train = pd.DataFrame({"shop": np.repeat(list(sizes), list(sizes.values())), "fold": "train"})
    train["y"] = np.where(np.arange(len(train)) % 2, 1.0, -1.0)
    train.loc[len(train) - 1, "y"] = 0.0  # 165 rows: the mean is zero
    errors = {"common": 1.0, "some": 2.0, "rare": 3.0, "new": 4.0}
    test = pd.DataFrame({"shop": list(errors) * 10, "fold": "test"})
    test["y"] = test["shop"].map(errors) * np.where(np.arange(40) < 20, 1, -1)
    return pd.concat([train, test], ignore_index=True)


def test_planted_frequencies_have_their_errors(planted):
    cells = compare(planted, "y", "dummy", fold="fold", **QUICK).cells
    table = rarity(cells).set_index("bin")
    assert table["n_rows"].to_dict() == {"unseen": 10, "1-9": 10, "10-99": 10, "100+": 10}
    # all rows of a bin have the same absolute error
    assert table["error"].to_dict() == pytest.approx({"unseen": 4, "1-9": 3, "10-99": 2, "100+": 1})
    np.testing.assert_allclose(table["deviation"], 0, atol=1e-6)


def test_rarity_adds_up_over_folds_and_averages_over_seeds(regression, tmp_path):
    cells = run(regression, ["dummy"], Protocol("kfold", folds=3), tmp_path, **QUICK)
    table = rarity(cells)
    assert table["n_rows"].sum() == len(regression.X)
    total = (table["n_rows"] * table["error"] ** 2).sum()
    losses = np.concatenate(cells["losses"].to_numpy())
    assert total == pytest.approx(losses.sum(), rel=1e-5)
    twice = pd.concat([cells, cells.assign(seed=1)])
    pd.testing.assert_frame_equal(rarity(twice), table)
    # the standard error of the mean squared error in a bin, by the delta method
    splits = make_splits(regression, Protocol("kfold", folds=3))
    rarest = np.concatenate(
        [
            split_columns(
                regression.X.iloc[s.train], regression.X.iloc[s.test], roles=regression.roles
            ).rarest()
            for s in splits
        ]
    )
    unseen = losses[rarest == 0].astype(float)
    row = table.set_index("bin").loc["unseen"]
    assert row["n_rows"] == len(unseen)
    expected = unseen.std(ddof=1) / np.sqrt(len(unseen)) / (2 * np.sqrt(unseen.mean()))
    assert row["deviation"] == pytest.approx(expected, rel=1e-4)


# ------------------------------------------------------------------ columns


def test_columns_are_described_with_their_oddities():
    n = 400
    rng = np.random.default_rng(0)
    y = rng.normal(size=n)
    train = pd.DataFrame(
        {
            "shop": rng.choice(list("abcd"), n),
            "id": [f"customer {i}" for i in range(n)],
            "constant": 1.0,
            "empty": np.full(n, np.nan),
            "size": np.where(np.arange(n) % 4, rng.normal(size=n), np.nan),
            "leak": 3 * y**3 + 7,
            "flag": rng.random(n) < 0.5,
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 99, n), unit="D"),
            "zip": rng.integers(0, 9, n),
        }
    )
    test = train.head(100).assign(shop=["a", "new"] * 50, id=[f"new {i}" for i in range(100)])
    found = split_columns(train, test, y, roles={"zip": "categorical"}, notes={"day": "is odd"})
    rows = {row["column"]: row for row in found.described()}
    assert {name: row["role"] for name, row in rows.items()} == {
        "shop": "categorical", "id": "categorical", "constant": "number", "empty": "number",
        "size": "number", "leak": "number", "flag": "boolean", "day": "datetime", "zip": "categorical",
    }  # fmt: skip
    assert (rows["shop"]["levels"], rows["shop"]["unseen"]) == (4, 0.5)
    assert (rows["size"]["levels"], rows["size"]["missing"], rows["size"]["unseen"]) == (300, 0.25, None)
    assert rows["shop"]["note"] == "50.0 % of the test rows have a category that no training row has"
    assert rows["id"]["note"] == "another category in nearly every row, as ids and texts have"
    assert rows["constant"]["note"] == "one value only, which says nothing"
    assert rows["empty"]["note"] == "no training row has a value"
    assert rows["leak"]["note"].startswith("orders the rows as the target does (rank correlation 1.000)")
    assert rows["day"]["note"] == "is odd"
    assert not any(rows[name]["note"] for name in ("size", "flag", "zip"))


def test_a_column_that_decides_the_class_is_suspected_and_a_good_one_is_not():
    rng = np.random.default_rng(0)
    y = (rng.random(500) < 0.1).astype(int)
    train = pd.DataFrame(
        {
            "outcome": np.where(y, "left", rng.choice(["stays", "waits"], 500)),
            "good": np.where(rng.random(500) < 0.9, y, 1 - y).astype(str),
            "many": rng.choice([f"l{i}" for i in range(200)], 500),
        }
    )
    notes = {r["column"]: r["note"] for r in split_columns(train, train, y, "binary").described()}
    assert notes["outcome"].startswith("decides the class of 100 % of the training rows: is it known")
    assert (notes["good"], notes["many"]) == ("", "")


def test_what_was_noted_of_a_column_stands_beside_it():
    days = pd.date_range("2020-01-01", periods=200).strftime("%d.%m.%Y")
    frame = pd.DataFrame({"sold": days, "y": np.arange(200.0) % 7})
    with pytest.warns(UserWarning, match="looks like dates"):
        cells = compare(frame, "y", "dummy", **QUICK).cells
    (column,) = json.loads(cells["columns"].iloc[0])["columns"]
    assert column["note"].startswith(
        "holds text that looks like dates ('01.01.2020') and is read as cat"
    )


# ------------------------------------------------------------------ importances


def test_a_column_that_decides_everything_and_one_that_means_nothing():
    rng = np.random.default_rng(0)
    n = 1500
    frame = pd.DataFrame(
        {"all": rng.normal(size=n), "nothing": rng.normal(size=n), "city": ["a", "b", "c"] * 500}
    )
    frame["y"] = 5 * frame["all"]
    table = importance_table(compare(frame, "y", ["linear", "dummy"], **QUICK).cells)
    assert list(table.columns) == ["linear", "dummy"]
    assert table.index[0] == "all"
    # five times a permuted standard normal: the error is that of a difference of two, 5 sqrt(2)
    assert table.loc["all", "linear"] == pytest.approx(5 * 2**0.5, rel=0.1)
    assert abs(table.loc["nothing", "linear"]) < 0.05
    assert (table["dummy"] == 0).all()


def test_importances_use_a_thousand_rows_and_leave_the_frame_alone():
    class Model:
        seen = 0

        def predict(self, X):
            assert list(X.columns) == ["a", "a b"]
            assert len(X) == 1000
            self.seen += 1
            return X["a"]

    X = pd.DataFrame({"a": np.arange(3000.0), "a b": pd.Categorical(["x", "y"] * 1500)})
    before, model = X.copy(), Model()
    found = importances(model, "regression", X, np.arange(3000.0), None)
    pd.testing.assert_frame_equal(X, before)
    assert model.seen == 1 + 2 * MAX_REPEATS
    assert (found["column"], found["error"], found["rise"][1]) == (["a", "a b"], 0.0, 0.0)
    assert found["rise"][0] > 1000
    assert found == importances(Model(), "regression", X, np.arange(3000.0), None)


def test_names_of_columns_may_be_numbers():
    class Model:
        def predict(self, X):
            assert list(X.columns) == [0, 1]
            return X[1]

    X = pd.DataFrame(np.arange(200.0).reshape(100, 2))
    found = importances(Model(), "regression", X, X[1].to_numpy(), None)
    assert found["column"] == ["0", "1"]
    assert found["rise"][0] == 0 < found["rise"][1]


def test_a_slow_model_has_fewer_permutations_or_none(monkeypatch):
    assert [details._n_repeats(s, 10) for s in (0.1, 2.9, 5.9, 6.1)] == [3, 2, 1, 0]
    monkeypatch.setattr(details, "SECONDS", 0.0)
    frame = pd.DataFrame({"a": ["x", "y"] * 100, "y": np.arange(200.0)})
    cells = compare(frame, "y", "dummy", **QUICK).cells
    assert json.loads(cells["importances"].item())["column"] == []
    assert importance_table(cells).empty
    without = compare(frame, "y", "dummy", importances=False, **QUICK).cells
    assert (without["importances"].item(), importance_table(without).empty) == ("", True)


# ------------------------------------------------------------------ calibration


def test_tenths_of_a_regression_by_hand():
    predictions = np.arange(100.0)
    found = calibration("regression", predictions + np.tile([1.0, -1.0], 50), predictions)
    assert found["n_rows"] == [10] * 10
    np.testing.assert_allclose(found["predicted"], np.arange(10) * 10 + 4.5)
    np.testing.assert_allclose(found["observed"], found["predicted"])


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_a_calibrated_and_an_overconfident_model(task):
    rng = np.random.default_rng(0)
    n, n_classes = 20_000, 2 if task == "binary" else 4
    logits = 1.5 * rng.normal(size=(n, n_classes))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    y = (p.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    sharp = p**3 / (p**3).sum(axis=1, keepdims=True)
    gaps = {}
    for name, predictions in (("calibrated", p), ("overconfident", sharp)):
        found = pd.DataFrame(calibration(task, y, predictions))
        assert found["n_rows"].sum() == n
        found["deviation"] = np.sqrt(found["variance"] / found["n_rows"])
        gaps[name] = calibration_gap(found)
    gap, by_chance = gaps["calibrated"]
    assert gap < 2 * by_chance < 0.02
    gap, by_chance = gaps["overconfident"]
    assert gap > 10 * by_chance
    # extreme predictions are too extreme: fewer of those near one are right
    top = pd.DataFrame(calibration(task, y, sharp)).iloc[-1]
    assert top["observed"] < top["predicted"] - 0.02


def test_equal_predictions_are_in_one_tenth_and_folds_are_pooled():
    constant = calibration("binary", np.array([0, 1, 1, 1]), np.full((4, 2), 0.5))
    assert constant == {"n_rows": [4], "predicted": [0.5], "observed": [0.75], "variance": [0.1875]}
    parts = [calibration("regression", np.arange(50.0) + i, np.arange(50.0)) for i in (-1, 1)]
    cells = pd.DataFrame(
        {
            "dataset": "d", "model": "m", "status": "ok", "task": "regression", "metric": "rmse",
            "fold": [1, 2], "seed": 0, "rmse": 1.0, "mse": 1.0, "mae": 1.0, "mape": 1.0, "r2": 0.0,
            "n_train": 100, "n_test": 50, "fit_seconds": 1.0, "fit_cpu_seconds": 1.0, "error": "",
            "predict_seconds": 1.0, "fit_memory_mib": 1.0, "calibration": [json.dumps(p) for p in parts],
        }
    )  # fmt: skip
    tenths = calibrations(cells)["m"]
    assert tenths["n_rows"].tolist() == [10] * 10
    # the predictions of one fold are too low by one, those of the other too high by one
    np.testing.assert_allclose(tenths["observed"], tenths["predicted"])


@pytest.mark.slow
def test_cells_of_a_fresh_process_hold_the_same_details(tmp_path):
    frame = pd.DataFrame({"a": ["x", "y", "z"] * 100, "n": np.arange(300.0), "y": np.arange(300.0) % 3})
    dataset = dataset_from_frame(frame, "y", "three")
    options = {"n_jobs": 1, "progress": False}
    spec = [ModelSpec("linear")]
    apart = run(dataset, spec, Protocol(), tmp_path / "apart", **options)
    here = run(dataset, spec, Protocol(), tmp_path / "here", isolate=False, **options)
    for name in ("calibration", "importances", "columns", "rarity", "version"):
        assert apart[name].item() == here[name].item()
        assert apart[name].item()
