import numpy as np
import pandas as pd
import pytest

from experiments import intervals
from tabemb.compare import Dataset

SETTINGS = {"n_rows": 200, "n_test": 40, "coverage": 0.8, "n_jobs": 1}


@pytest.fixture
def rows(monkeypatch):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {"city": rng.choice(list("abc"), 300), "shop": rng.integers(0, 40, 300).astype(str)}
    )
    dataset = Dataset("made up", X, pd.Series(rng.normal(size=300)), "regression", roles={})
    monkeypatch.setattr(intervals, "load_named", lambda name: dataset)
    return intervals.rows_of("made up", 0, SETTINGS)


def test_each_test_row_has_an_interval_of_both_methods(rows):
    assert rows.groupby("method").size().to_dict() == {"by count": 40, "one quantile": 40}
    assert set(rows["column"]) == {"shop"}
    assert set(rows["bucket"]) <= set(intervals.BUCKETS)
    assert np.ptp(rows["width"][rows["method"] == "one quantile"]) < 1e-9
    assert np.ptp(rows["width"][rows["method"] == "by count"]) > 0.01


def test_coverage_by_bucket_and_its_standard_error(capsys):
    part = {"dataset": "t", "column": "c", "method": "by count", "width": 2.0}
    rows = pd.DataFrame([{**part, "bucket": "1-2", "is_held": held} for held in (1, 1, 1, 0)])
    rows = pd.concat([rows, rows.assign(method="one quantile", is_held=1)])
    table = intervals.by_bucket(rows).set_index(["method", "bucket"])
    assert table.loc[("by count", "1-2"), "coverage"] == 0.75
    assert table.loc[("by count", "1-2"), "standard_error"] == pytest.approx((0.75 * 0.25 / 4) ** 0.5)
    assert table.loc[("one quantile", "all"), "n"] == 4
    intervals.show(table.reset_index(), 0.9)
    assert "0.750 ± 0.217" in capsys.readouterr().out


def test_classes_have_sets_of_both_methods(monkeypatch):
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"shop": rng.integers(0, 40, 300).astype(str)})
    dataset = Dataset("classes", X, pd.Series(rng.choice([*"abc"], 300)), "multiclass", roles={})
    monkeypatch.setattr(intervals, "load_named", lambda name: dataset)
    rows = intervals.rows_of("classes", 0, SETTINGS)
    assert rows.groupby("method").size().to_dict() == {"by count": 40, "one quantile": 40}
    assert rows["width"].between(1, 3).all()
    assert 0.5 < rows["is_held"].mean() <= 1
