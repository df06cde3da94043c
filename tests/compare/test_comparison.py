from __future__ import annotations

import os
import re
import sys
from html.parser import HTMLParser
from inspect import signature

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from omegaconf import OmegaConf

from tabemb.compare import (
    ModelSpec,
    Protocol,
    compare,
    conf_folder,
    load_dataset,
    paired_differences,
    run,
)
from tabemb.compare.comparison import DEFAULT_MODELS
from tabemb.compare.grid import select

QUICK = {"progress": False, "n_jobs": 1, "importances": False}
MODELS = ["linear", "dummy"]


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    city = rng.integers(0, 5, 300)
    return pd.DataFrame(
        {
            "city": [f"city {c}" for c in city],
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(300) // 3, unit="D"),
            "sold": np.arange(300) % 7,
            "price": city + 0.1 * rng.normal(size=300),
        }
    )


def test_results_are_those_of_run_on_the_same_data_set(frame, tmp_path):
    comparison = compare(frame, "price", MODELS, time="day", **QUICK)
    path = tmp_path / "table.parquet"
    frame.to_parquet(path)
    dataset = load_dataset("data", path=path, target="price", time="day")
    cells = run(dataset, MODELS, Protocol("time"), tmp_path, isolate=False, **QUICK)
    assert comparison.cells["protocol"].unique().tolist() == ["newest 20 %"]
    pd.testing.assert_series_equal(comparison.cells["rmse"], cells["rmse"])


def test_table_holds_errors_with_intervals_and_differences(frame):
    comparison = compare(frame, "price", MODELS, "kfold", reference="dummy", **QUICK)
    table = comparison.table
    assert list(table.index) == ["linear", "dummy"]
    (pair,) = paired_differences(comparison.cells, "dummy").to_dict("records")
    row = table.loc["linear"]
    assert row["mean"] == comparison.cells.query("model == 'linear'")["rmse"].mean()
    assert row["low"] < row["mean"] < row["high"]
    assert [row[f"difference{end}"] for end in ("", "_low", "_high")] == [
        pair["difference"],
        pair["low"],
        pair["high"],
    ]
    assert row["outcome"] == "worse"
    assert np.isnan(table.loc["dummy", "difference"])
    assert comparison.verdicts == [pair["verdict"]]


def test_text_and_html_show_the_same_figures(frame):
    comparison = compare(frame, "price", MODELS, name="A & B", **QUICK)
    text, html = repr(comparison), comparison._repr_html_()
    error = comparison.table.loc["linear", "mean"]
    shown = re.search(r"linear \* +(0\.\d+) +\[0\.\d+, 0\.\d+\]", text)[1]
    assert float(shown) == pytest.approx(error, rel=1e-3)
    assert f"<td class='main'>{shown}</td>" in html
    assert "linear is better than dummy by" in text
    assert "linear is better than dummy by" in html
    assert text.startswith("A & B: price, holdout of 20 %, 240 training rows in fold 1\n")
    assert "A &amp; B: price" in html
    HTMLParser().feed(html)


def test_every_library_of_frames_gives_the_same_results(frame):
    expected = compare(frame, "price", MODELS, **QUICK).table["mean"]
    for other in (pl.from_pandas(frame), pa.Table.from_pandas(frame)):
        pd.testing.assert_series_equal(compare(other, "price", MODELS, **QUICK).table["mean"], expected)


def test_a_path_is_read(frame, tmp_path):
    frame.to_csv(tmp_path / "sales.csv", index=False)
    comparison = compare(tmp_path / "sales.csv", "price", "dummy", **QUICK)
    assert comparison.cells["dataset"].tolist() == ["sales"]
    with pytest.raises(FileNotFoundError, match=r"path: there is no file 'nope\.csv'\."):
        compare("nope.csv", "price")


def test_nothing_is_written_where_the_user_did_not_ask(undrawn, frame, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    comparison = compare(frame, "price", "dummy", **QUICK)
    assert os.listdir(tmp_path) == []
    page = comparison.report("page.html")
    assert os.listdir(tmp_path) == ["page.html"]
    assert "<h2>Configuration</h2>" in page.read_text()
    assert "protocol: holdout of 20 %" in page.read_text()
    comparison.save("folder")
    assert sorted(os.listdir("folder")) == [
        "data.png",
        "report.html",
        "results.parquet",
        "summary.csv",
    ]
    with pytest.raises(FileNotFoundError, match="path: there is no folder 'none'"):
        comparison.report("none/page.html")


def test_a_folder_of_results_is_read_again(frame, tmp_path):
    first = compare(frame, "price", "dummy", results=tmp_path, **QUICK)
    both = compare(frame, "price", MODELS, results=tmp_path, **QUICK)
    again = compare(frame, "price", "dummy", results=tmp_path, **QUICK)
    assert len(list(tmp_path.glob("*.parquet"))) == 2
    assert first.cells["finished"].tolist() == again.cells["finished"].tolist()
    assert sorted(both.cells["model"]) == ["dummy", "linear"]
    assert again.cells["model"].tolist() == ["dummy"]


def test_the_columns_reach_the_data_set(frame):
    comparison = compare(
        frame.assign(day=frame["day"].astype(str)),
        "price",
        ["dummy"],
        categorical="sold",
        datetimes="day",
        drop=["city"],
        group="sold",
        **QUICK,
    )
    settings = dict(line.split(": ") for line in comparison.settings.splitlines())
    assert (settings["inputs"], settings["categorical"]) == ("day, sold", "sold")
    assert settings["protocol"] == "5-fold by group"


def test_a_reference_can_be_named_without_its_settings(frame):
    models = [ModelSpec("dummy", {"strategy": "median"}), "linear"]
    assert (
        compare(frame, "price", models, reference="dummy", **QUICK).reference == "dummy(strategy=median)"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [({"target": "prize"}, r"target: .* 'data' has no column 'prize' \(did you mean 'price'\?\)\."),
     ({"time": "dya"}, r"time: data set 'data' has no column 'dya' \(did you mean 'day'\?\)\."),
     ({"models": "linaer"}, r"got 'linaer' \(did you mean 'linear'\? there are 'emb.*, 'dummy'\)\."),
     ({"models": [ModelSpec("linear", {"alfa": 1})]}, r"no parameter 'alfa' \(did you mean 'alpha'"),
     ({"models": []}, r"models must name one model or more; got none\."),
     ({"models": ["nomodule:f"]}, r"models: 'nomodule:f' cannot be imported \(No module named .*\)\."),
     ({"protocol": "kfolds"}, r"no protocol 'kfolds' .* mean 'kfold'\? there are 'auto', .*\)\."),
     ({"protocol": "grouped"}, r"protocol 'grouped' needs a group column, .* give group=COLUMN\."),
     ({"reference": "net"}, r"reference must be a model .* got 'net' \(the models are 'embed"),
     ({"seeds": 3}, r"seeds must be a list of one integer or more; got 3\."),
     ({"n_jobs": 0}, r"n_jobs must be 1 or more, .* got 0\."),
     ({"folds": [2]}, r"folds must be among \[1\], the folds of the protocol; got 2\."),
     ({"time_limit": 3}, r"time_limit needs isolate=True, .* got 3 seconds\."),
     ({"drop": ["city", "day", "sold"]}, r"must have one input column or more; all are target or "),
     ({"task": "rank"}, r"task must be one of binary, multiclass, regression; got 'rank'\.")],
)  # fmt: skip
def test_a_wrong_argument_is_one_sentence(frame, options, message):
    with pytest.raises(ValueError, match=message) as error:
        compare(frame, **({"target": "price"} | QUICK | options))
    assert "\n" not in str(error.value)


def test_a_frame_that_no_model_takes_is_refused(frame):
    with pytest.raises(
        TypeError, match=r"frame must be a pandas, polars or pyarrow frame; got a list\."
    ):
        compare([1, 2], "price")
    with pytest.raises(ValueError, match=r"column 'bag' must hold one value a row; it holds lists"):
        compare(frame.assign(bag=[["a"]] * 300), "price")
    with pytest.raises(ValueError, match=r"column 'bag' must hold one value a row"):
        compare(pa.table({"bag": [["a"]] * 9, "y": list(range(9))}), "y")
    with pytest.raises(ValueError, match=r"frame must have rows and columns; its shape is \(0, 4\)\."):
        compare(frame.head(0), "price")
    with pytest.raises(ValueError, match=r"must have unique column names; it has several columns 'a'\."):
        compare(pd.DataFrame(np.ones((5, 2)), columns=["a", "a"]), "a")


def test_dates_and_decimals_of_arrow_are_dates_and_numbers():
    days = pa.array(np.arange("2024-01-01", "2024-02-20", dtype="datetime64[D]"))
    amounts = pa.array(range(50), pa.decimal128(10, 2))
    table = pa.table({"day": days, "amount": amounts, "y": np.arange(50.0)})
    assert compare(table, "y", ["linear"], "time", time="day", **QUICK).table["mean"].item() < 10


def test_text_that_does_not_sort_by_time_is_refused(frame):
    text = frame.assign(day=frame["day"].dt.strftime("%d.%m.%Y"))
    with pytest.raises(ValueError, match=r"time: column 'day' must hold numbers or dates; it holds '01"):
        compare(text, "price", "dummy", time="day", **QUICK)
    iso = frame.assign(day=frame["day"].dt.strftime("%Y-%m-%d"))
    odd = iso.assign(day=iso["day"].where(iso.index != 7, "08.01.2024"))
    with pytest.raises(ValueError, match=r"it holds '08.01.2024' in row 7, so name it in datetimes too"):
        compare(odd, "price", "dummy", time="day", **QUICK)
    zoned = iso.assign(day=iso["day"].where(iso.index != 7, "2024-01-08T00:00Z"))
    with pytest.raises(ValueError, match=r"'2024-01-08T00:00Z' in row 7, which has a time zone, and"):
        compare(zoned, "price", "dummy", time="day", **QUICK)
    sizes = [len(compare(d, "price", "dummy", time="day", **QUICK).cells) for d in (frame, iso)]
    assert sizes == [1, 1]


def test_a_class_of_one_row_is_named(frame):
    kinds = pd.Series(["a", "b"] * 150).where(frame.index != 7, "lonely")
    with pytest.raises(
        ValueError, match=r"two rows of every class; class 'lonely' of 'kind' has 1 row\."
    ):
        compare(frame.assign(kind=kinds), "kind", "dummy", **QUICK)


def test_defaults_are_those_of_the_configuration():
    config = OmegaConf.load(conf_folder() / "compare.yaml")
    defaults = {name: p.default for name, p in signature(compare).parameters.items()}
    groups = {}
    for group in config.defaults:
        groups |= {} if isinstance(group, str) else dict(group)
    assert tuple(groups["model"]) == DEFAULT_MODELS == defaults["models"]
    assert groups["protocol"] == defaults["protocol"]
    for name in (
        "folds",
        "n_jobs",
        "time_limit",
        "retry_failed",
        "importances",
        "progress",
        "reference",
    ):
        assert config[name] == defaults[name]
    assert tuple(config["seeds"]) == defaults["seeds"]


@pytest.mark.parametrize("module", ["matplotlib", "rich"])
def test_tables_and_sentences_need_neither_matplotlib_nor_rich(frame, monkeypatch, tmp_path, module):
    monkeypatch.setitem(sys.modules, module, None)
    comparison = compare(frame, "price", MODELS, **QUICK)
    assert repr(comparison)
    assert comparison._repr_html_()
    if module == "matplotlib":
        for write in (comparison.report, comparison.save):
            with pytest.raises(ImportError, match=r"matplotlib is not installed; pip install 'tabemb"):
                write(tmp_path / "x")
        assert os.listdir(tmp_path) == []


def test_without_psutil_nothing_is_fitted(frame, monkeypatch):
    monkeypatch.setitem(sys.modules, "psutil", None)
    message = r"psutil is not installed; pip install 'tabemb\[compare\]' brings it\."
    with pytest.raises(ImportError, match=message):
        compare(frame, "price", "dummy", **QUICK)


def test_a_model_whose_package_is_missing_fails_and_names_the_extra(frame, monkeypatch):
    monkeypatch.setitem(sys.modules, "catboost", None)
    comparison = compare(frame, "price", ["catboost", "dummy"], **QUICK)
    error = "catboost is not installed; pip install 'tabemb[catboost]' brings it."
    assert comparison.table.loc["catboost", "error"] == f"ImportError: {error}"
    assert comparison.verdicts == [f"catboost failed on data: ImportError: {error}"]


def test_ranks_without_their_package_name_the_extra(undrawn, frame, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "scikit_posthocs", None)
    models = ["linear", "dummy", ModelSpec("dummy", {"strategy": "median"})]
    comparison = compare(frame, "price", models, "kfold", **QUICK)
    with pytest.raises(ImportError, match="scikit_posthocs is not installed"):
        comparison.report(tmp_path / "page.html")


def test_select_of_no_cells_is_empty(regression):
    assert select(pd.DataFrame(), regression, Protocol()).empty
