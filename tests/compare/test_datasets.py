from __future__ import annotations

import os
from dataclasses import replace
from urllib.error import URLError

import numpy as np
import pandas as pd
import pytest

from tabemb.compare import load_dataset, named_dataset


@pytest.fixture
def table(tmp_path):
    frame = pd.DataFrame(
        {
            "zip": [1, 2, 1, 2, 3],
            "sold": ["2020-01-02", "2020-01-01", None, "soon", "2021-05-01"],
            "price": [1.0, np.e, np.nan, 1.0, np.e**2],
            "fold": [1, 1, 2, 2, 2],
        }
    )
    path = tmp_path / "houses.csv"
    frame.to_csv(path, index=False)
    return path


def test_options_reach_the_data_set_and_missing_targets_are_counted(table):
    options = {
        "categorical": ["zip"],
        "datetimes": ["sold"],
        "target_transform": "log",
        "fold": "fold",
        "time": "sold",
    }
    with (
        pytest.warns(UserWarning, match="dropped 1 of 5 rows without 'price'"),
        pytest.warns(
            UserWarning, match="1 of 4 values of column 'sold' are no dates .* 'soon' in line 5"
        ),
    ):
        dataset = load_dataset("houses", path=table, target="price", **options)
    assert dataset.task == "regression"
    np.testing.assert_allclose(dataset.y, [0, 1, 0, 2])
    assert list(dataset.X) == ["zip", "sold"]
    assert list(dataset.X.index) == [0, 1, 3, 4]
    assert dataset.roles == {"zip": "categorical"}
    assert dataset.time.isna().tolist() == [False, False, True, False]
    assert list(dataset.fold) == [1, 1, 2, 2]
    assert dataset.target == "log price"


@pytest.mark.parametrize(
    ("values", "task"),
    [(["a", "b"], "binary"), ([True, False], "binary"), ([0, 1], "binary"), (list("abc"), "multiclass"),
     ([1, 2, 3], "regression"), ([0.5, 1.5, 2.5], "regression")],
)  # fmt: skip
def test_task_is_inferred(tmp_path, values, task):
    pd.DataFrame({"x": range(len(values)), "y": values}).to_parquet(tmp_path / "t.parquet")
    dataset = load_dataset(path=tmp_path / "t.parquet", target="y")
    assert (dataset.name, dataset.task) == ("t", task)


def test_one_name_stands_for_a_list_of_one(table):
    options = {"categorical": "zip", "datetimes": "sold", "drop": "price"}
    with pytest.warns(UserWarning, match="1 of 5 values of column 'sold' are no dates"):
        dataset = load_dataset(path=table, target="fold", **options)
    assert list(dataset.X) == ["zip", "sold"]
    assert dataset.roles == {"zip": "categorical"}
    assert dataset.X["sold"].dtype.kind == "M"


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_the_header_tells_what_separates_the_columns(tmp_path, mark):
    path = tmp_path / "t.csv"
    path.write_text(f"a{mark}y\nb{mark}0\nc{mark}1\n")
    assert list(load_dataset(path=path, target="y").X) == ["a"]


def test_an_empty_file_is_named(tmp_path):
    (tmp_path / "t.csv").write_text("")
    with pytest.raises(ValueError, match=r"path: the file '.*t.csv' is empty"):
        load_dataset(path=tmp_path / "t.csv", target="y")


def test_a_missing_column_is_named_with_its_neighbour(table):
    with pytest.raises(
        ValueError, match=r"target: data set 'houses' has no column 'Price' \(did you mean 'price'\?\)\."
    ):
        load_dataset("houses", path=table, target="Price")
    with pytest.raises(ValueError, match="time: data set 'houses' has no column 'when'"):
        load_dataset("houses", path=table, target="price", time="when")


def test_a_target_that_does_not_fit_is_refused(tmp_path):
    pd.DataFrame({"x": [1, 2, 3], "y": [0.0, 1.0, 2.0], "t": list("abc")}).to_parquet(
        tmp_path / "t.parquet"
    )
    with pytest.raises(ValueError, match=r"'y' must be finite after log; its smallest value is 0\.0"):
        load_dataset("t", path=tmp_path / "t.parquet", target="y", target_transform="log")
    with pytest.raises(ValueError, match="a regression needs numbers; column 't'"):
        load_dataset("t", path=tmp_path / "t.parquet", target="t", task="regression")
    with pytest.raises(ValueError, match="a binary column has 2 classes; 't' has 3"):
        load_dataset("t", path=tmp_path / "t.parquet", target="t", task="binary")


@pytest.mark.parametrize("folder", [None, ""])
def test_an_unset_folder_says_what_to_do(monkeypatch, folder):
    monkeypatch.delenv("TABEMB_DATA", raising=False)
    if folder is not None:
        monkeypatch.setenv("TABEMB_DATA", folder)
    with pytest.raises(
        FileNotFoundError, match=r"TABEMB_DATA is not set; put a\.parquet into .* or pass path"
    ):
        load_dataset("a", file="a.parquet", target="y")


def test_the_folder_is_read(monkeypatch, tmp_path):
    pd.DataFrame({"x": [1, 2], "y": [0, 1]}).to_parquet(tmp_path / "a.parquet")
    monkeypatch.setenv("TABEMB_DATA", str(tmp_path))
    assert len(load_dataset("a", file="a.parquet", target="y").X) == 2


def test_openml_out_of_reach_is_one_clear_line(monkeypatch):
    def unreachable(**query):
        raise URLError("no network")

    monkeypatch.delenv("TABEMB_DATA", raising=False)
    monkeypatch.setattr("sklearn.datasets.fetch_openml", unreachable)
    with pytest.raises(
        FileNotFoundError, match=r"OpenML 1590 could not be reached .* or put adult\.parquet into"
    ):
        load_dataset("adult", file="adult.parquet", openml=1590, target="income")


def test_openml_by_name_and_by_id(monkeypatch):
    asked = []

    def fetch(**query):
        asked.append(query)
        return type("Bunch", (), {"frame": pd.DataFrame({"class": ["a", "b"], "x": [1, 2]})})

    monkeypatch.setattr("sklearn.datasets.fetch_openml", fetch)
    with pytest.warns(UserWarning, match="its public copy has no split column 'split'"):
        dataset = load_dataset("t", openml="titanic", target="y", rename={"class": "y"}, fold="split")
    load_dataset("t", openml="40945", target="class")
    assert dataset.fold is None
    assert [{k: q.get(k) for k in ("name", "data_id")} for q in asked] == [
        {"name": "titanic", "data_id": None},
        {"name": None, "data_id": 40945},
    ]


def test_impossible_data_sets_are_refused(regression):
    with pytest.raises(ValueError, match=r"task must be one of .*; got 'rank'"):
        replace(regression, task="rank")
    with pytest.raises(ValueError, match="as many rows; got 700 and 699"):
        replace(regression, y=regression.y.iloc[1:])
    with pytest.raises(ValueError, match=r"roles must map .*; got 'shop': 'id'"):
        replace(regression, roles={"shop": "id"})


def test_fertility_is_long_and_complete():
    dataset = load_dataset(
        "f", reader="tabemb.compare.sources:read_fertility", target="births", drop=["code"], time="year"
    )
    assert list(dataset.X) == ["country", "year"]
    assert not dataset.X.duplicated().any()
    assert dataset.y.notna().all()
    # World Bank, SP.DYN.TFRT.IN: Afghanistan in 1960
    row = (dataset.X["country"] == "Afghanistan") & (dataset.X["year"] == 1960)
    assert dataset.y[row].item() == pytest.approx(7.671)


def test_the_fingerprint_sees_every_change(regression):
    changed = regression.X.assign(size=regression.X["size"].where(regression.X.index != 5, 3.0))
    prints = {
        regression.fingerprint,
        replace(regression, X=changed).fingerprint,
        replace(regression, y=regression.y + 1).fingerprint,
        replace(regression, roles={}).fingerprint,
        replace(regression, X=regression.X[regression.X.columns[::-1]]).fingerprint,
    }
    assert len(prints) == 5
    assert replace(regression).fingerprint == regression.fingerprint


@pytest.mark.skipif(not os.environ.get("TABEMB_DATA"), reason="TABEMB_DATA is not set")
def test_published_tables_have_their_sizes():
    for name, n_rows in (("adult", 48842), ("amazon_employee", 32769), ("kc_house", 21613)):
        assert len(named_dataset(name).X) == n_rows
