"""All models of a comparison get the same columns, and doubtful columns cause one note."""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest

import tabemb
from tabemb.compare import (
    MODELS,
    ModelSpec,
    Protocol,
    build_model,
    compare,
    dataset_from_frame,
    make_splits,
)
from tabemb.compare.preparation import sort_columns
from tabemb.data.frames import to_arrow
from tabemb.data.schema import roles_of

N = 150
ROWS = np.arange(N)
QUICK = {"isolate": False, "progress": False, "n_jobs": 1, "importances": False}
SMALL = {"max_epochs": 8, "batch_size": 64, "trees": False}
FOREST = ModelSpec("random_forest", {"n_estimators": 20})
DAYS = pd.date_range("2020-01-01", periods=N)
COLUMNS = {
    "text": [f"city {i % 7}" for i in ROWS],
    "text dates": DAYS.strftime("%m/%d/%Y"),
    "text numbers": [f"{i},5" for i in ROWS],
    "zip": 10_000 + ROWS % 90,
    "dates": DAYS,
    "zoned": DAYS.tz_localize("Europe/Berlin"),
    "python dates": [day.date() for day in DAYS],
    "periods": DAYS.to_period("D"),
    "times of day": [dt.time(int(i) % 24, 5) for i in ROWS],
    "durations": pd.to_timedelta(ROWS, unit="h"),
    "decimals": [Decimal(int(i)) / 4 for i in ROWS],
    "nullable integers": pd.array(ROWS, "Int64"),
    "nullable floats": pd.array(ROWS / 3, "Float64"),
    "categories of integers": pd.Categorical(ROWS % 5),
    "bytes": [b"a", b"b"] * 75,
    "small": ROWS.astype(np.int8) % 11,
    "half": (ROWS / 8).astype(np.float32),
}  # fmt: skip


def with_gaps(values):
    column = pd.Series(values)
    return column.where(ROWS % 10 > 0, None) if column.dtype != "int8" else column


def described(frame, **options):
    y = frame.assign(y=ROWS % 5 / 2.0)
    return dataset_from_frame(y, "y", **options)


@pytest.mark.filterwarnings("ignore::tabemb.data.notes.InputNote")
@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("change", [pd.Series, with_gaps])
def test_the_net_and_the_others_read_each_column_alike(name, change):
    dataset = described(pd.DataFrame({name: change(COLUMNS[name])}))
    columns = sort_columns(dataset.X, dataset.roles)
    role = {"numbers": "number", "datetimes": "datetime"}
    kinds = {
        column: role.get(kind, "categorical")
        for kind in ("few", "many", "numbers", "datetimes")
        for column in getattr(columns, kind)
    }
    # on its own, and as the comparison builds it
    assert roles_of(to_arrow(dataset.X), dataset.roles) == kinds
    net = build_model(ModelSpec("embedding"), "regression", dataset.X, dataset.roles)
    assert roles_of(to_arrow(dataset.X), net.roles) == kinds


@pytest.mark.filterwarnings("ignore::tabemb.data.notes.InputNote")
@pytest.mark.parametrize("library", [pd.DataFrame, pl.from_pandas])
def test_one_frame_is_the_same_data_in_every_library(library):
    unlike = ("periods", "bytes", "categories of integers")  # polars has none of these
    frame = pd.DataFrame({name: COLUMNS[name] for name in COLUMNS if name not in unlike})
    dataset = described(frame)
    other = dataset_from_frame(library(frame.assign(y=ROWS % 5 / 2.0)), "y")
    assert sort_columns(dataset.X).roles == sort_columns(other.X).roles


def test_options_that_settle_a_column_reach_every_model():
    frame = pd.DataFrame({name: COLUMNS[name] for name in ("text dates", "text numbers", "zip")})
    stated = {"datetimes": "text dates", "numbers": "text numbers", "categorical": "zip"}
    dataset = described(frame, **stated)
    assert dataset.X["text dates"].tolist() == list(DAYS)
    np.testing.assert_array_equal(dataset.X["text numbers"], ROWS + 0.5)
    net = build_model(ModelSpec("embedding"), "regression", dataset.X, dataset.roles)
    columns = build_model(ModelSpec("lightgbm"), "regression", dataset.X, dataset.roles).columns
    assert net.roles == {"text dates": "datetime", "text numbers": "number", "zip": "categorical"}
    assert (columns.datetimes, columns.numbers) == (["text dates"], ["text numbers"])
    assert columns.categorical == ["zip"]


def test_columns_in_doubt_draw_one_note_with_the_options_that_settle_it():
    frame = pd.DataFrame({name: COLUMNS[name] for name in ("text dates", "text numbers", "zip", "text")})
    with pytest.warns(tabemb.InputNote) as caught:
        described(frame)
    (note,) = [str(one.message) for one in caught]
    assert (
        "column 'text dates' holds text that looks like dates ('01/01/2020') and is read as cat" in note
    )
    meant = "datetimes=['text dates'], numbers=['text numbers'], categorical=['zip'] reads them as what"
    kept = "categorical=['text dates', 'text numbers'], numbers=['zip'] keeps them"
    assert meant in note
    assert kept in note
    # no note: warnings are errors here
    described(frame, categorical=["text dates", "text numbers"], numbers="zip")
    described(frame, drop=list(frame)[:3])


@pytest.mark.parametrize("model", ["embedding", "lightgbm", "linear"])
def test_every_model_fits_what_was_in_doubt_without_a_further_note(model):
    frame = pd.DataFrame({name: COLUMNS[name] for name in COLUMNS if name != "bytes"})
    spec = ModelSpec(model, {"max_epochs": 1} if model == "embedding" else {})
    table = frame.assign(y=ROWS % 5 / 2.0)
    with pytest.warns(tabemb.InputNote) as caught:
        compared = compare(table, "y", spec, n_jobs=1, progress=False, importances=False)
    assert len([one for one in caught if issubclass(one.category, tabemb.InputNote)]) == 1
    assert compared.cells["error"].fillna("").tolist() == [""]
    assert model in MODELS


def thirds(*values):
    return pd.Series(np.fromiter((values[i % len(values)] for i in ROWS), object), dtype=object)


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


LABELS = {
    "number and text": thirds(1, "a"),
    "text and its number": thirds(1, "1"),
    "booleans": thirds(True, False),
    "decimals": thirds(Decimal("1.5"), Decimal(2)),
    "dates": thirds(dt.date(2020, 1, 1), dt.date(2019, 1, 1)),
    "bands": pd.Series(pd.cut(ROWS % 3, [-1, 0, 1, 2])),
    "names of nothing": thirds("None", "NA", "nan"),
    "surrogates": thirds("a\ud800", "a\ud801"),
    "uuids": thirds(uuid.UUID(int=1), uuid.UUID(int=2)),
    "tuples": thirds((1, 2), (3,)),
    "text and bytes": thirds("a", b"a"),
    "enum": thirds(Colour.RED, Colour.BLUE),
}


@pytest.mark.parametrize("name", LABELS)
def test_classes_of_any_type_are_told_apart_by_all_models(name):
    y = LABELS[name]
    n = len(set(y))
    frame = pd.DataFrame({"x": [float(i % n) for i in ROWS], "y": y})
    models = ["lightgbm", FOREST, "linear", "dummy"]
    found = compare(frame, "y", models, **QUICK).cells
    accuracy = found.set_index("model")["accuracy"]
    assert len(accuracy) == 4
    assert accuracy.drop("dummy").eq(1).all()
    assert accuracy["dummy"] < 0.6


@pytest.mark.parametrize("name", LABELS)
def test_categories_of_any_type_are_told_apart_by_all_models(name):
    x = LABELS[name]
    n = len(set(x))
    frame = pd.DataFrame({"x": x, "y": [f"class {i % n}" for i in ROWS]})
    models = [ModelSpec("embedding", SMALL), "lightgbm", FOREST, "linear"]
    found = compare(frame, "y", models, categorical="x", **QUICK)
    assert found.cells["accuracy"].eq(1).all()


def test_other_labels_are_another_data_set():
    frame = pd.DataFrame({"x": ROWS, "y": thirds(1, "a")})
    first = dataset_from_frame(frame, "y").fingerprint
    assert dataset_from_frame(frame, "y").fingerprint == first
    assert dataset_from_frame(frame.assign(y=thirds("1", "a")), "y").fingerprint != first
    assert dataset_from_frame(frame.assign(y=thirds("a", 1)), "y").fingerprint != first


def test_groups_and_folds_may_be_of_any_type():
    keys = thirds(1, "1", (2, 3))
    frame = pd.DataFrame({"x": ROWS, "y": ROWS % 2, "key": keys})
    for options in ({"group": "key"}, {"fold": "key"}):
        dataset = dataset_from_frame(frame, "y", **options)
        protocol = Protocol("grouped", folds=3) if "group" in options else Protocol("published")
        tested = [set(keys.iloc[split.test]) for split in make_splits(dataset, protocol)]
        assert sorted(map(len, tested)) == [1, 1, 1]
        assert set.union(*tested) == set(keys)
