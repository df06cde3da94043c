"""Cells of real data: missing values of any type, any hashable as a category, single odd values."""

import datetime as dt
import enum
import pickle
import uuid
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.model_selection import cross_val_score

import tabemb
from tabemb import (
    AggregateJoiner,
    EmbeddingEncoder,
    EmbeddingRegressor,
    EventRegressor,
    HistoryJoiner,
    SequenceEncoder,
)

NETWORK = {"hidden": (8,), "n_members": 2, "max_epochs": 1, "batch_size": 32, "n_jobs": 1}
QUICK = {**NETWORK, "random_state": 0}
N = 60
Y = np.arange(N) % 3 + np.linspace(0, 1, N)


def thirds(*values):
    """Return a column that repeats these values."""
    cells = np.empty(N, dtype=object)
    for i in range(N):
        cells[i] = values[i % len(values)]
    return pd.Series(cells, dtype=object)


DAYS = pd.Timestamp("2020-01-01") + pd.to_timedelta(np.arange(N) % 50, unit="D")
TRIPS = [
    [{"city": "abc"[i % 3], "paid": i / 9, "at": dt.datetime(2020, 1, 1 + i % 9)}] for i in range(N)
]
COLUMNS = {
    "text": thirds("a", "b", "c"),
    "real": pd.Series(Y),
    "whole": pd.Series(np.arange(N) % 7),
    "level": thirds("a", "b").astype("category"),
    "at": pd.Series(DAYS),
    "flag": pd.Series(np.arange(N) % 2 == 0),
    "price": thirds(Decimal("1.5"), Decimal("2.5")),
    "wait": pd.Series(pd.to_timedelta(np.arange(N) % 9, unit="h")),
    "band": pd.Series(pd.cut(Y, 3)),
    "id": thirds(uuid.UUID(int=1), uuid.UUID(int=2)),
    "tags": thirds(["a", "b"], ["b"], []),
    "trips": pd.Series(TRIPS),
}
X = pd.DataFrame(COLUMNS)


def carriers(n):
    """Return columns of missing values, in every dtype that libraries use for them."""
    return {
        "float": pd.Series([np.nan] * n),
        "None": pd.Series([None] * n, dtype=object),
        "NA": pd.Series([pd.NA] * n, dtype=object),
        "NaT": pd.Series([pd.NaT] * n),
        "str": pd.Series([None] * n, dtype="str"),
        "Int64": pd.Series([pd.NA] * n, dtype="Int64"),
        "category": pd.Series(pd.Categorical([None] * n, categories=["q"])),
        "arrow": pd.Series([None] * n, dtype=pd.ArrowDtype(pa.null())),
    }


CARRIERS = list(carriers(1))


def cells_of(column):
    """Return the cells of a column as Python objects, with one missing, for a comparison of frames."""
    cells = column.astype(object)
    cells.iloc[0] = None
    return cells


@pytest.fixture(scope="module")
def model():
    return EmbeddingRegressor(**QUICK).fit(X, Y)


@pytest.mark.parametrize("n", [1, 5])
@pytest.mark.parametrize("name", list(COLUMNS))
def test_a_column_all_missing_at_predict_reads_as_missing_cells_do(model, name, n):
    beside_others = model.predict(X.assign(**{name: cells_of(X[name])}))[0]
    for carrier, column in carriers(n).items():
        predicted = model.predict(X.head(n).assign(**{name: column.array}))
        assert predicted[0] == pytest.approx(beside_others, abs=1e-6), carrier


def test_missing_frames_of_other_libraries_are_read_alike(model):
    missing = model.predict(pd.DataFrame({name: [None] for name in X}))
    assert model.predict(pl.DataFrame({name: [None] for name in X})) == pytest.approx(missing)
    assert model.predict(pa.table({name: pa.nulls(1) for name in X})) == pytest.approx(missing)
    assert model.predict(pl.DataFrame({name: [np.nan] for name in X})) == pytest.approx(missing)


@pytest.mark.parametrize("carrier", CARRIERS)
def test_a_column_all_missing_in_fit_commits_to_no_kind(carrier):
    for name, column in COLUMNS.items():
        fitted = EmbeddingRegressor(**QUICK).fit(X[["text"]].assign(x=carriers(N)[carrier].array), Y)
        given = X[["text"]].assign(x=column)
        predicted = fitted.predict(given)
        assert np.isfinite(predicted).all(), name
        assert fitted.predict(given[:1]) == pytest.approx(predicted[:1], abs=1e-6), name


@pytest.mark.parametrize("name", list(COLUMNS))
def test_a_column_all_missing_in_fit_keeps_a_given_role_and_reads_its_values(model, name):
    role = model.encoder_.schema.roles[name]
    gone = X[["text", "real"]].assign(**{name: np.nan})
    fitted = EmbeddingRegressor(**QUICK, roles={name: role}).fit(gone, Y)
    assert fitted.encoder_.schema.roles[name] == role
    assert np.isfinite(fitted.predict(X)).all()
    if role == "number":  # fit saw no values to compare with
        with_gaps = fitted.predict(X.assign(**{name: np.nan}))
        np.testing.assert_array_equal(fitted.predict(X), with_gaps)


def test_fields_of_a_history_all_missing_in_fit_keep_their_roles():
    gone = pd.DataFrame({"text": X["text"], "trips": np.nan})
    fitted = EmbeddingRegressor(**QUICK, roles={"trips.city": "categorical", "trips.paid": "number"})
    fitted.fit(gone, Y)
    assert fitted.encoder_.schema.histories["trips"].roles == {
        "trips.city": "categorical",
        "trips.paid": "number",
    }
    assert np.isfinite(fitted.predict(X[["text", "trips"]])).all()


def test_a_field_all_missing_at_predict_reads_as_missing_cells_do(model):
    def with_city(row, city):
        return [{**event, "city": city} for event in row]

    for value in (None, np.nan, pd.NA, pd.NaT):
        one = X.head(1).assign(trips=[with_city(TRIPS[0], value)])
        beside = X.head(2).assign(trips=[with_city(TRIPS[0], None), TRIPS[1]])
        assert model.predict(one) == pytest.approx(model.predict(beside)[:1], abs=1e-6)
    no_events = X.head(1).assign(trips=[[None]])
    beside = X.head(2).assign(trips=[[None], TRIPS[1]])
    assert model.predict(no_events) == pytest.approx(model.predict(beside)[:1], abs=1e-6)


def test_cross_validation_passes_a_fold_without_any_value():
    sparse = X[["text"]].assign(note=["seen" if i < 20 else None for i in range(N)])
    scores = cross_val_score(EmbeddingRegressor(**QUICK), sparse, Y, cv=3, error_score="raise")
    assert np.isfinite(scores).all()


def test_encoders_read_missing_columns():
    plain = X[["text", "real"]]
    encoder = EmbeddingEncoder(estimator=EmbeddingRegressor(**QUICK), random_state=0).fit(plain, Y)
    gone = plain.head(1).assign(text=np.nan)
    mixed = plain.assign(text=cells_of(X["text"]))
    np.testing.assert_allclose(encoder.transform(gone), encoder.transform(mixed)[:1], rtol=1e-5)
    sequences = SequenceEncoder(d_history=4, max_epochs=1, random_state=0, n_jobs=1).fit(X[["trips"]])
    assert not np.asarray(sequences.transform(pd.DataFrame({"trips": [np.nan]}))).any()


def test_joiners_give_a_missing_entity_no_events():
    log = pd.DataFrame({"who": ["a", "b"], "day": [1, 2], "what": ["x", "y"]})
    rows = pd.DataFrame({"who": [np.nan, np.nan], "today": [3, 3]})
    joiner = HistoryJoiner(log, entity="who", time="day", cutoff="today").fit(rows)
    assert [list(row) for row in joiner.transform(rows)["history"]] == [[], []]
    counts = AggregateJoiner(log, entity="who", time="day", cutoff="today").fit_transform(rows)
    assert counts["history_count"].tolist() == [0, 0]


def test_events_with_a_missing_column_are_read_as_missing_cells_are():
    log = pd.DataFrame({"who": thirds("a", "b", "c"), "at": DAYS, "text": X["text"], "real": Y})
    fitted = EventRegressor(entity="who", time="at", **QUICK).fit(log, Y)
    later = log.assign(at=log["at"] + pd.Timedelta("90D")).head(3)
    mixed = fitted.predict(later.assign(text=cells_of(later["text"])))
    assert fitted.predict(later.head(1).assign(text=np.nan)) == pytest.approx(mixed[:1], abs=1e-6)
    empty = EventRegressor(entity="who", time="at", **QUICK).fit(log.assign(text=np.nan), Y)
    assert np.isfinite(empty.predict(later)).all()


# Any hashable can be a category


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


MOMENTS = pd.to_datetime(["2020", "2021", "2022"], format="%Y")
HASHABLES = {
    "interval": [pd.Interval(0, 1), pd.Interval(1.0, 2.5), pd.Interval(2.5, 3)],
    "interval of times": list(pd.IntervalIndex.from_breaks(MOMENTS)),
    "uuid": [uuid.UUID(int=1), uuid.UUID(int=2**100)],
    "tuple": [(1, 2), (1,), (), ("a", (None, 1.5))],
    "frozenset": [frozenset([1, "a"]), frozenset()],
    "bytes": [b"a", b"\xff"],
    "surrogate": ["\ud800", "a", "'"],
    "large": [2**70, 2**70 + 1, -5],
    "decimal": [Decimal("1.50"), Decimal("0.1"), Decimal("Infinity")],
    "fraction": [Fraction(1, 3), 2, 0.5],
    "time of day": [dt.time(1), dt.time(2, 30)],
    "mixed": [1, "1", 2.5, (1,)],
    "period": [pd.Period("2020-01", "M"), pd.Period("2020-02", "M")],
    "zero": [0.0, 0.5],
    "numpy": [np.int8(3), np.float32(2.5), np.str_("a")],
}


@pytest.mark.parametrize("name", list(HASHABLES))
@pytest.mark.parametrize("as_category", [False, True])
def test_the_labels_are_the_values_that_the_user_gave(name, as_category, tmp_path):
    values = HASHABLES[name]
    column = thirds(*values)
    if as_category:
        index = pd.Index(values, dtype=object, tupleize_cols=False)
        codes = np.arange(N) % len(values)
        column = pd.Series(pd.Categorical.from_codes(codes, categories=index))
    frame = pd.DataFrame({"x": column})
    fitted = EmbeddingRegressor(**QUICK, roles={"x": "categorical"}).fit(frame, Y)
    predicted = fitted.predict(frame)
    for i in range(len(values)):
        assert fitted.predict(frame[i : i + 1]) == pytest.approx(predicted[i : i + 1], abs=1e-6)
    labels = list(fitted.spaces_["x"].categories)
    assert set(labels) == set(values)
    assert fitted.spaces_["x"][values[0]].shape == (fitted.spaces_["x"].vectors.shape[1],)
    tabemb.save(fitted, tmp_path / "model")
    loaded = tabemb.load(tmp_path / "model")
    assert list(loaded.spaces_["x"].categories) == labels
    np.testing.assert_array_equal(loaded.predict(frame), predicted)


def test_bands_of_cut_are_known_in_one_row_and_unknown_bands_are_unknown():
    bands = pd.cut(Y, [-1, 1, 2, 9])
    for column in (pd.Series(bands), pd.Series(pd.arrays.IntervalArray(list(bands)))):
        frame = pd.DataFrame({"x": column})
        fitted = EmbeddingRegressor(**QUICK).fit(frame, Y)
        codes = fitted.encoder_.transform(tabemb.data.frames.to_arrow(frame[:1])).codes
        assert codes.item() >= 2
        new = pd.DataFrame({"x": pd.arrays.IntervalArray.from_breaks([50, 60])})
        assert fitted.encoder_.transform(tabemb.data.frames.to_arrow(new)).codes.item() == 0
        assert all(type(label) is pd.Interval for label in fitted.spaces_["x"].categories)


class Named(pa.ExtensionType):
    def __init__(self):
        super().__init__(pa.string(), "tests.named")

    def __arrow_ext_serialize__(self):
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type, serialized):
        return cls()


IDS = pa.array([uuid.UUID(int=i % 3).bytes for i in range(N)], pa.binary(16))
EXTENSIONS = {
    "uuid": (pa.ExtensionArray.from_storage(pa.uuid(), IDS), {uuid.UUID(int=i) for i in range(3)}),
    "bool8": (
        pa.ExtensionArray.from_storage(pa.bool8(), pa.array(np.arange(N) % 2, pa.int8())),
        {True, False},
    ),
    "own": (pa.ExtensionArray.from_storage(Named(), pa.array(["a", "b", "c"] * 20)), {"a", "b", "c"}),
}


@pytest.mark.parametrize("name", list(EXTENSIONS))
def test_extension_types_of_arrow_are_the_values_that_they_stand_for(name):
    column, labels = EXTENSIONS[name]
    lists = pa.ListArray.from_arrays(pa.array(np.arange(N + 1), pa.int32()), column)
    for table in (pa.table({"x": column}), pa.table({"x": lists})):
        fitted = EmbeddingRegressor(**QUICK).fit(table, Y)
        assert set(fitted.spaces_["x"].categories) == labels
        assert fitted.predict(table.slice(0, 1)) == pytest.approx(fitted.predict(table)[:1], abs=1e-6)


def test_the_two_zeros_are_one_category():
    frame = pd.DataFrame({"x": [0.0, -0.0, 0.5] * 20})
    fitted = EmbeddingRegressor(**QUICK, roles={"x": "categorical"}).fit(frame, Y)
    assert fitted.spaces_["x"].categories.tolist() == [0.0, 0.5]
    assert fitted.predict(frame)[0] == fitted.predict(frame)[1]


TYPED = {
    "decimal": [Decimal("1.50"), Decimal(2), Decimal("Infinity")],
    "decimals of Arrow": [Decimal("1.5"), Decimal("2.0")],
    "date": [dt.date(2020, 1, 1), dt.date(2021, 1, 1)],
    "date and text": [dt.date(2020, 1, 1), "a"],
    "boolean and number": [True, 2],
    "boolean and text": [True, "a"],
    "float and text": [1.0, "a"],
    "time and text": [dt.datetime(2020, 1, 1), "a"],
    "duration and text": [dt.timedelta(1), "a"],
    "time beyond pandas and text": [dt.timedelta.max, "a"],
    "enum": [Colour.RED, Colour.BLUE],
}


@pytest.mark.parametrize("name", TYPED)
@pytest.mark.parametrize("inside", ["column", "category", "list"])
def test_the_labels_have_the_types_that_the_user_gave(name, inside, tmp_path):
    values = TYPED[name]
    column = thirds(*values)
    if inside == "category":
        index = pd.Index(np.fromiter(values, object), dtype=object, tupleize_cols=False)
        column = pd.Series(pd.Categorical.from_codes(np.arange(N) % len(values), categories=index))
    frame = pd.DataFrame({"x": column if inside != "list" else [[value] for value in column]})
    fitted = EmbeddingRegressor(**QUICK, roles={"x": "categorical"}).fit(frame, Y)
    labels = list(fitted.spaces_["x"].categories)
    assert {(type(label), label) for label in labels} == {(type(value), value) for value in values}
    assert fitted.spaces_["x"][values[0]].shape == fitted.spaces_["x"].vectors[0].shape
    tabemb.save(fitted, tmp_path / "model")
    loaded = tabemb.load(tmp_path / "model")
    assert list(map(repr, loaded.spaces_["x"].categories)) == list(map(repr, labels))
    again = pickle.loads(pickle.dumps(fitted))
    assert list(map(repr, again.spaces_["x"].categories)) == list(map(repr, labels))
    np.testing.assert_array_equal(loaded.predict(frame), fitted.predict(frame))


def test_times_of_a_zone_are_labels_of_that_zone(tmp_path):
    times = pd.to_datetime(["2020", "2021", "2022"], format="%Y").tz_localize("Asia/Tokyo")
    frame = pd.DataFrame({"x": thirds(*times).astype("datetime64[us, Asia/Tokyo]")})
    fitted = EmbeddingRegressor(**QUICK, roles={"x": "categorical"}).fit(frame, Y)
    tabemb.save(fitted, tmp_path / "model")
    for model in (fitted, tabemb.load(tmp_path / "model")):
        space = model.spaces_["x"]
        assert space.categories.tolist() == times.tolist()
        assert str(space.categories.tz) == "Asia/Tokyo"
        np.testing.assert_array_equal(space[times[1]], space.vectors[1])


def test_a_member_of_an_enum_is_its_repr_where_its_class_is_not_known(monkeypatch):
    frame = pd.DataFrame({"x": thirds(Colour.RED, Colour.BLUE)})
    fitted = EmbeddingRegressor(**QUICK).fit(frame, Y)
    monkeypatch.setattr(tabemb.data.keys, "_MEMBERS", {})  # as in a process that loads the model
    assert fitted.spaces_["x"].categories.tolist() == [repr(Colour.BLUE), repr(Colour.RED)]
    before = fitted.predict(frame[:2])
    fitted = pickle.loads(pickle.dumps(fitted))  # the copy has not listed its members yet
    assert fitted.spaces_["x"].categories.tolist() == [Colour.BLUE, Colour.RED]
    np.testing.assert_array_equal(fitted.predict(frame[:2]), before)


def test_numpy_times_of_any_unit_are_times():
    frame = pd.DataFrame({"x": thirds(np.datetime64("2020"), np.datetime64("2021-05-01"))})
    same = pd.DataFrame({"x": thirds(pd.Timestamp("2020"), pd.Timestamp("2021-05-01"))})
    fitted = EmbeddingRegressor(**QUICK).fit(frame, Y)
    np.testing.assert_array_equal(
        fitted.predict(same), EmbeddingRegressor(**QUICK).fit(same, Y).predict(same)
    )
    spans = pd.DataFrame({"x": thirds(np.timedelta64(1, "D"), np.timedelta64(2, "h"))})
    table = tabemb.data.frames.to_arrow(spans)
    assert table["x"].to_pylist()[:2] == [dt.timedelta(1), dt.timedelta(hours=2)]


def test_an_infinite_decimal_is_an_error_that_names_the_row():
    frame = pd.DataFrame({"x": thirds(Decimal(1), Decimal("Infinity"))})
    with pytest.raises(ValueError, match="Column 'x' holds inf in row 1; a number must be finite"):
        EmbeddingRegressor(**QUICK).fit(frame, Y)


# A failed conversion is not a category

STRAYS = {
    "text among numbers": ([1.5, 2.5, "high"], r"Column 'x' holds 'high' in row 2 among numbers"),
    "a number as text": ([1, 2, "3"], r"Column 'x' holds '3' in row 2 among numbers"),
    "text among times": ([DAYS[0], DAYS[1], "?"], r"Column 'x' holds '\?' in row 2 among times"),
    "a number among durations": (
        [dt.timedelta(1), dt.timedelta(2), 3],
        r"Column 'x' holds 3 in row 2 among durations",
    ),
    "one zone": (
        [dt.datetime(2020, 1, 1), None, dt.datetime(2020, 1, 1, tzinfo=dt.UTC)],
        r"Column 'x' holds datetime.datetime\(2020.* in row 2 among times",
    ),
    "text among lists": ([["a"], ["b"], "c"], r"Column 'x' holds 'c' in row 2 among lists"),
    "a set among lists": ([["a"], ["b"], {"c"}], r"Column 'x' holds \{'c'\} in row 2 among lists"),
    "a number among text": ([["a", "b"], ["a"], [7]], r"Column 'x' holds 7 in row 2 among text"),
    "a dict among numbers": ([[1], [2], [{"v": 3}]], r"Column 'x' holds \{'v': 3\} in row 2 among num"),
    "text in a field": (
        [[{"v": 1}, {"v": 2}], [{"v": 3}], [{"v": 4}, {"v": "high"}]],
        r"Column 'x\.v' holds 'high' in row 2 among numbers",
    ),
    "a value among structs": ([[{"v": 1}], [{"v": 2}], [3]], r"Column 'x' holds 3 in row 2 among dicts"),
    "dicts": ([{"v": 1}, {"v": 2}, {"v": "high"}], r"Column 'x' holds \{'v': 1\} in row 0"),
    "nested lists": (
        [[[["a"]]], [[["b"]]], [[["c"]]]],
        r"Column 'x' holds lists inside the lists of column",
    ),
    "lists in a field": (
        [[{"v": ["a"]}], [{"v": ["b"]}], [{"v": []}]],
        r"Column 'x\.v' holds lists inside the lists of column 'x'",
    ),
}


@pytest.mark.parametrize("name", list(STRAYS))
def test_a_stray_value_in_fit_is_an_error_that_names_column_row_and_value(name):
    values, message = STRAYS[name]
    with pytest.raises(ValueError, match=message):
        EmbeddingRegressor(**QUICK).fit(pd.DataFrame({"x": pd.Series(values * 20, dtype=object)}), Y)


def test_a_time_with_a_zone_among_times_without_is_an_error_in_predict_too():
    days = pd.date_range("2020-01-01", periods=60)
    fitted = EmbeddingRegressor(**QUICK).fit(pd.DataFrame({"x": days}), Y)
    mixed = [dt.datetime(2020, 1, 1), None, dt.datetime(2020, 1, 2, tzinfo=dt.UTC)]
    with pytest.raises(
        ValueError,
        match=r"Column 'x' holds '2020-01-02 00:00:00\+00:00' in row 2, which has a time zone, and "
        r"'2020-01-01 00:00:00' in row 0, which has none; localise one of them\.",
    ):
        fitted.predict(pd.DataFrame({"x": pd.Series(mixed, dtype=object)}))


def test_a_decimal_beside_a_float_is_a_number():
    values = thirds(Decimal("1.5"), 2.5, Fraction(7, 2))
    fitted = EmbeddingRegressor(**QUICK).fit(pd.DataFrame({"x": values}), Y)
    plain = EmbeddingRegressor(**QUICK).fit(pd.DataFrame({"x": values.astype(float)}), Y)
    assert fitted.encoder_.schema.roles == {"x": "number"}
    np.testing.assert_array_equal(
        fitted.predict(pd.DataFrame({"x": values})), plain.predict(pd.DataFrame({"x": values}))
    )


def test_dates_beside_times_keep_their_hours():
    days = thirds(dt.date(2020, 1, 1), dt.datetime(2020, 1, 1, 12), dt.datetime(2020, 1, 2))
    fitted = EmbeddingRegressor(**QUICK).fit(pd.DataFrame({"x": days}), Y)
    plain = EmbeddingRegressor(**QUICK).fit(pd.DataFrame({"x": pd.to_datetime(days)}), Y)
    assert fitted.encoder_.schema.roles == {"x": "datetime"}
    np.testing.assert_array_equal(
        fitted.predict(pd.DataFrame({"x": days})),
        plain.predict(pd.DataFrame({"x": pd.to_datetime(days)})),
    )


AT_PREDICT = {
    # column: a stray cell, and the cell as which it is read
    "text": (7, "never seen"),
    "real": ("high", None),
    "whole": ({"v": 1}, None),
    "flag": ("?", "never seen"),
    "at": ("?", None),
    "price": ("high", None),
    "wait": ("high", None),
    "band": ("high", "never seen"),
    "id": (7, "never seen"),
    "tags": ("high", None),
    "trips": (7.5, None),
}


@pytest.mark.parametrize("name", list(AT_PREDICT))
def test_a_stray_cell_at_predict_is_unseen_or_missing_and_others_read_as_before(model, name):
    cell, stands_for = AT_PREDICT[name]
    expected, cells = model.predict(X), X[name].astype(object)
    cells.at[3] = cell
    predicted = model.predict(X.assign(**{name: cells}))
    assert np.delete(predicted, 3) == pytest.approx(np.delete(expected, 3), abs=1e-6)
    if stands_for is None:
        cells.at[3] = None
        assert predicted[3] == pytest.approx(model.predict(X.assign(**{name: cells}))[3], abs=1e-6)
    elif name == "text":
        alone = model.predict(X[3:4].assign(text="never seen"))
        assert predicted[3] == pytest.approx(alone[0], abs=1e-6)


@pytest.mark.parametrize(
    ("tags", "trips"),
    [
        (["a", 7], [{"city": "a", "paid": "high", "at": DAYS[0]}]),
        ([{"v": 1}, "a"], [{"city": 7, "paid": 1.0, "at": DAYS[0]}]),
        ([["a"], "b"], [{"city": "a", "paid": 1.0, "at": "?"}]),
        (["a", None, b"x"], [3, {"city": "a", "paid": 1.0, "at": DAYS[0]}]),
    ],
)
def test_a_stray_value_in_a_history_leaves_other_rows_as_they_are(model, tags, trips):
    expected = model.predict(X)
    given = X.assign(tags=[tags, *X["tags"][1:]], trips=[trips, *X["trips"][1:]])
    predicted = model.predict(given)
    assert predicted[1:] == pytest.approx(expected[1:], abs=1e-6)
    assert np.isfinite(predicted).all()


def test_a_row_in_an_error_about_an_event_is_a_row_of_the_frame():
    lists = [[1.0, 2.0, 3.0], [4.0], [5.0, float("inf")]] * 20
    with pytest.raises(ValueError, match="Column 'x' holds inf in row 2"):
        EmbeddingRegressor(**QUICK).fit(pd.DataFrame({"x": lists}), Y)


def test_a_role_settles_what_a_mixed_column_is():
    mixed = pd.DataFrame({"x": thirds(1, "2", 3.5)})
    with pytest.raises(ValueError, match=r"roles=\{'x': 'categorical'\}"):
        EmbeddingRegressor(**QUICK).fit(mixed, Y)
    as_categories = EmbeddingRegressor(**QUICK, roles={"x": "categorical"}).fit(mixed, Y)
    assert set(as_categories.spaces_["x"].categories) == {1, "2", 3.5}
    as_numbers = EmbeddingRegressor(**QUICK, roles={"x": "number"}).fit(mixed, Y)
    plain = EmbeddingRegressor(**QUICK).fit(mixed.astype(float), Y)
    np.testing.assert_array_equal(as_numbers.predict(mixed), plain.predict(mixed.astype(float)))


LOG = pd.DataFrame(
    {
        "who": thirds("a", "b", "c"),
        "at": DAYS,
        "text": thirds("x", "y", "z", "x"),
        "real": Y,
        "id": thirds(uuid.UUID(int=1), uuid.UUID(int=2)),
        "pair": thirds((1, 2), "a"),
    }
)


@pytest.fixture(scope="module")
def event_model():
    return EventRegressor(entity="who", time="at", **QUICK).fit(LOG, Y)


@pytest.mark.parametrize(
    ("name", "cell"), [("text", 7), ("real", "high"), ("id", 3), ("pair", 5), ("who", 7)]
)
def test_a_stray_cell_of_an_event_leaves_other_events_as_they_are(event_model, name, cell):
    later = LOG.assign(at=LOG["at"] + pd.Timedelta("90D")).head(6)
    expected, cells = event_model.predict(later), later[name].astype(object)
    cells.at[3] = cell
    predicted = event_model.predict(later.assign(**{name: cells}))
    assert np.delete(predicted, 3) == pytest.approx(np.delete(expected, 3), abs=1e-6)
    assert np.isfinite(predicted[3])


def test_entities_and_categories_of_events_may_be_any_hashable(event_model, tmp_path):
    later = LOG.assign(at=LOG["at"] + pd.Timedelta("90D")).head(6)
    text = later.assign(pair="a")  # only texts, while fit saw texts and tuples
    assert event_model.predict(text)[1] == pytest.approx(event_model.predict(later)[1], abs=1e-6)
    people = {"a": uuid.UUID(int=1), "b": (1, 2), "c": "c"}
    log = LOG.assign(who=pd.Series([people[name] for name in LOG["who"]], dtype=object))
    fitted = EventRegressor(entity="who", time="at", **QUICK).fit(log, Y)
    tabemb.save(fitted, tmp_path / "events")
    later = log.assign(at=log["at"] + pd.Timedelta("90D")).head(6)
    expected = fitted.predict(later)
    assert fitted.predict(later[2:3]) == pytest.approx(expected[2:3], abs=1e-6)
    assert tabemb.load(tmp_path / "events").predict(later) == pytest.approx(expected, abs=1e-9)


def test_a_stray_value_in_a_log_is_an_error_that_names_it():
    log = LOG.assign(real=[*LOG["real"][1:], "high"])
    with pytest.raises(ValueError, match="Column 'real' holds 'high' in row 59 among numbers"):
        EventRegressor(entity="who", time="at", **QUICK).fit(log, Y)
    rows = pd.DataFrame({"who": LOG["who"], "today": DAYS})
    joined = HistoryJoiner(log, entity="who", time="at", cutoff="today").fit_transform(rows)
    assert len(joined["history"][40]) > 0
    with pytest.raises(ValueError, match="'high' in row 59"):
        AggregateJoiner(log, entity="who", time="at", cutoff="today").fit(rows)
