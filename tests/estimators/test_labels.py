"""Labels of any type: equal values are one class, and predictions are the given labels."""

import datetime as dt
import uuid
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.model_selection import GroupKFold

from tabemb import (
    EmbeddingClassifier,
    EmbeddingEncoder,
    EmbeddingRegressor,
    EventClassifier,
    load,
    save,
)

N = 40
CODES = np.arange(N) % 2
X = pd.DataFrame({"c": np.array(["a", "b"])[CODES]})
SETTINGS = {
    "hidden": (16,),
    "n_members": 1,
    "max_epochs": 8,
    "batch_size": 40,
    "learning_rate": 0.05,
    "random_state": 0,
    "n_jobs": 1,
}
DAYS = dt.date(2020, 1, 1), dt.date(2019, 1, 1)
MOMENTS = dt.datetime(2020, 1, 1), dt.datetime(2019, 1, 1)
TOKYO = pa.timestamp("us", "Asia/Tokyo")


def of(first, second):
    """Return N labels that follow the column."""
    return [second if code else first for code in CODES]


LABELS = {
    "number and text": of(1, "a"),
    "text and its number": of("1", 1),
    "decimals": of(Decimal("1.5"), Decimal(2)),
    "dates": of(*DAYS),
    "datetimes": of(*MOMENTS),
    "naive and zoned": of(MOMENTS[0], MOMENTS[1].replace(tzinfo=dt.UTC)),
    "date and datetime": of(DAYS[0], MOMENTS[0]),
    "intervals": pd.Series(pd.cut(CODES, [-1, 0, 1])),
    "uuids": of(uuid.UUID(int=5), uuid.UUID(int=3)),
    "bytes": of(b"a\0", b"a"),
    "text with a zero": of("a\0", "a"),
    "integers beyond 64 bits": of(2**70, -5),
    "tuples": pd.Series(of((1, 2), (3, 4))),
    "sets": pd.Series(of(frozenset([1]), frozenset([2]))),
    "periods": pd.Series(pd.PeriodIndex(of("2020-01", "2020-02"), freq="M")),
    "durations": pd.Series(pd.to_timedelta(of(1, 2), unit="D")),
    "times of a zone": pd.Series(pd.DatetimeIndex(of(*MOMENTS), tz="Europe/Berlin")),
    "numpy's times": np.array(of(*DAYS), dtype="M8[ns]"),
    "ends of int64": np.array(of(2**63 - 1, -(2**63))),
    "large floats": np.array(of(1e300, 2e300)),
    "pandas Int64": pd.array(of(7, 8), dtype="Int64"),
    "pandas category": pd.Categorical(of("z", "b")),
    "pandas text": pd.Series(of("z", "b"), dtype="string"),
    "pandas Arrow": pd.Series(of(*DAYS), dtype=pd.ArrowDtype(pa.date32())),
    "polars category": pl.Series(of("x", "y"), dtype=pl.Categorical),
    "polars dates": pl.Series(of(*DAYS)),
    "polars zone": pl.Series(of(*MOMENTS)).dt.replace_time_zone("Asia/Tokyo"),
    "Arrow dictionary": pa.array(of("x", "y")).dictionary_encode(),
    "Arrow zone": pa.array(of(*MOMENTS), TOKYO),
    "Arrow decimals": pa.chunked_array([pa.array(of(Decimal("1.5"), Decimal(2)))]),
}


def as_list(y):
    if isinstance(y, pa.Array | pa.ChunkedArray):
        return y.to_pylist()
    return y.to_list() if isinstance(y, pl.Series) else list(y)


@pytest.mark.parametrize("name", LABELS)
def test_labels_of_any_type_come_back_also_from_a_file(name, tmp_path):
    y = LABELS[name]
    model = EmbeddingClassifier(**SETTINGS).fit(X, y)
    predicted = model.predict(X)
    assert all(label == given for label, given in zip(predicted, as_list(y)))
    assert all(model.classes_[model.predict_proba(X).argmax(1)] == predicted)
    save(model, tmp_path / "m.tabemb")
    loaded = load(tmp_path / "m.tabemb")
    assert [type(label) for label in loaded.classes_] == [type(label) for label in model.classes_]
    assert all(loaded.classes_ == model.classes_)
    assert all(loaded.predict(X) == predicted)


def test_equal_labels_are_one_class_and_text_is_not_its_number():
    y = [1, 1.0, True, "1", Decimal(1), "a"] * 10
    frame = pd.DataFrame({"c": list("uuuvuw") * 10})
    model = EmbeddingClassifier(**SETTINGS | {"max_epochs": 60}).fit(frame, y)
    assert model.classes_.tolist() == [1, "1", "a"]
    assert model.predict(frame).tolist() == y


def test_the_order_of_classes_does_not_depend_on_the_order_of_rows():
    labels = [3, "b", None.__class__, Decimal("2.5"), (1, 2), "a", 10, frozenset([2, 3]), frozenset([1])]
    frame = pd.DataFrame({"c": np.arange(len(labels)).astype(str)})
    y = pd.Series(labels, dtype=object)
    there, back = (EmbeddingClassifier(**SETTINGS).fit(frame, order) for order in (y, y[::-1]))
    assert there.classes_.tolist() == back.classes_.tolist()


@pytest.mark.parametrize(("low", "high"), [(1, 2), (-1, 1), (0, 3), ("no", "yes"), (DAYS[1], DAYS[0])])
def test_two_columns_of_classes_other_than_0_and_1_have_classes_each(low, high, tmp_path):
    y = np.array([of(low, high), of(high, low)], dtype=object).T
    y = np.array(y.tolist()) if isinstance(low, int) else y
    model = EmbeddingClassifier(**SETTINGS).fit(X, y)
    assert (model.predict(X) == y).all()
    assert [set(classes) for classes in model.classes_] == [{low, high}] * 2


@pytest.mark.parametrize("dtype", [bool, np.int8, float])
def test_matrices_of_0_and_1_keep_their_type(dtype):
    y = np.stack([CODES, 1 - CODES], axis=1).astype(dtype)
    model = EmbeddingClassifier(**SETTINGS).fit(X, y)
    assert model.predict_proba(X).shape == (N, 2)
    predicted = model.predict(X)
    assert predicted.dtype == dtype
    assert (predicted == y).all()


def test_class_columns_of_different_types_keep_their_labels(tmp_path):
    columns = {"n": of(3, 4), "day": of(*DAYS), "flag": of(True, False), "text": of("u", "v")}
    for y in (pd.DataFrame(columns), pl.DataFrame(columns), pa.table(columns)):
        model = EmbeddingClassifier(**SETTINGS).fit(X, y)
        assert model.classes_[0].dtype == np.int64
        assert model.classes_[2].dtype == bool
        for i, column in enumerate(columns.values()):
            assert all(label == given for label, given in zip(model.predict(X)[:, i], column))
        assert [p.shape for p in model.predict_proba(X)] == [(N, 2)] * 4
    save(model, tmp_path / "m.tabemb")
    assert (load(tmp_path / "m.tabemb").predict(X) == model.predict(X)).all()


def put(value, y):
    return [*y[:3], value, *y[4:]]


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.ma.array(CODES, mask=np.arange(N) == 3), "y must not hold masked cells; row 3 is masked"),
        (np.ma.array(np.c_[CODES, CODES], mask=np.arange(2 * N).reshape(N, 2) == 7), "row 3 is masked"),
        (put(np.ma.masked, CODES.tolist()), "row 3 is masked"),
        (pd.Series(put(np.ma.masked, CODES.tolist()), dtype=object), "row 3 is masked"),
        (put(np.ma.array([0, 1], mask=[0, 1]), [[0, 1]] * N), "row 3 is masked"),
        (put(np.nan, of("a", "b")), "first in row 3, nan"),
        (put(None, of(True, False)), "first in row 3, None"),
        (pd.array(put(pd.NA, CODES.tolist()), dtype="Int64"), "first in row 3"),
        (pl.Series(put(None, of("a", "b"))), "first in row 3, None"),
        (pa.array(put(None, of(*DAYS))), "first in row 3, NaT"),
        (put(Decimal("NaN"), of(Decimal(1), Decimal(2))), "first in row 3, NaN"),
        (put(float("inf"), of("a", "b")), "first in row 3, inf"),
        (pd.Series(put([1], of("a", "b"))), r"labels that can be hashed; row 3 holds \[1\]"),
        (put({"v": 1}, of("a", "b")), "row 3 holds {'v': 1}"),
        (put(1.5, CODES.tolist()), "Unknown label type: y holds continuous numbers, 1.5 in row 3"),
        (np.array(5), r"1d array or a 2d array of several targets; got shape \(\)"),
        (np.c_[CODES, np.ones(N) * 7], "Column 1 of y: y holds only one class, 7.0"),
    ],
)
def test_what_is_no_label_is_named_with_row_and_value(y, message):
    with pytest.raises(ValueError, match=message):
        EmbeddingClassifier(**SETTINGS).fit(X, y)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.ma.array(CODES, mask=np.arange(N) == 3), "row 3 is masked"),
        (put("high", of(1, 2)), "y must hold numbers for a regressor; row 3 holds 'high'"),
        (put([1], of(1, 2)), r"row 3 holds \[1\]"),
        (put(dt.date(2020, 1, 1), of(1, 2)), r"row 3 holds datetime.date\(2020, 1, 1\)"),
        (put("nan", of("1", "2")), "first in row 3, nan"),
        (put(Decimal("Infinity"), of(1, 2)), "first in row 3, Infinity"),
        (put(10**400, of(1, 2)), "row 3 holds 1000"),
    ],
)
def test_what_is_no_number_is_named_with_row_and_value(y, message):
    with pytest.raises(ValueError, match=message):
        EmbeddingRegressor(**SETTINGS).fit(X, y)


def test_decimals_are_numbers_for_a_regressor():
    y = pd.Series(of(Decimal("1.5"), Decimal(20)))
    decimals, floats = (EmbeddingRegressor(**SETTINGS).fit(X, v) for v in (y, y.astype(float)))
    assert (decimals.predict(X) == floats.predict(X)).all()


@pytest.mark.parametrize(
    ("labels", "name"), [(of(*DAYS), DAYS[0]), (of(1, "a"), 1.0), (of(b"x", b"y"), b"x")]
)
def test_class_weights_are_found_by_value(labels, name):
    noise = pd.DataFrame({"c": ["a"] * N})
    model = EmbeddingClassifier(**SETTINGS | {"max_epochs": 40}, class_weight={name: 3.0}).fit(
        noise, labels
    )
    place = [label == name for label in model.classes_].index(True)
    assert model.predict_proba(noise[:1])[0, place] == pytest.approx(0.75, abs=0.05)
    balanced = EmbeddingClassifier(**SETTINGS, class_weight="balanced").fit(X, labels)
    assert all(label == given for label, given in zip(balanced.predict(X), labels))
    with pytest.raises(ValueError, match="names class 'new', which y does not hold"):
        EmbeddingClassifier(**SETTINGS, class_weight={"new": 2.0}).fit(X, labels)


def test_unknown_labels_in_validation_rows_are_named_with_their_row():
    with pytest.raises(ValueError, match=r"class '1', which y does not hold, in row 3"):
        EmbeddingClassifier(**SETTINGS).fit(X, CODES, eval_X=X, eval_y=put("1", CODES.tolist()))
    both = np.c_[CODES, CODES]
    with pytest.raises(ValueError, match=r"eval_y holds .*2.* in row 0, where y holds 0 and 1 alone"):
        EmbeddingClassifier(**SETTINGS).fit(X, both, eval_X=X, eval_y=both + 2)


@pytest.mark.parametrize("name", ["number and text", "intervals", "uuids", "dates", "decimals"])
def test_early_stopping_and_events_take_labels_of_any_type(name):
    y, n = as_list(LABELS[name]) * 3, 3 * N
    frame = pd.concat([X] * 3, ignore_index=True)
    stopped = EmbeddingClassifier(**SETTINGS | {"early_stopping": True}).fit(frame, y)
    assert all(label == given for label, given in zip(stopped.predict(frame), y))
    log = frame.assign(who=np.arange(n) // 8, at=np.arange(n))
    events = EventClassifier(entity="who", time="at", **SETTINGS | {"max_epochs": 1}).fit(log, y)
    events.update(log[:4].assign(at=n), y[:4])
    assert set(events.predict(log.assign(at=n))) <= set(y)


MASKS = {
    "array": np.ma.array(np.ones(N), mask=np.arange(N) == 3),
    "list": put(np.ma.masked, [1.0] * N),
    "column": pd.Series(put(np.ma.masked, [1.0] * N), dtype=object),
}


@pytest.mark.parametrize("name", MASKS)
def test_masked_weights_and_groups_are_refused_with_their_row(name):
    with pytest.raises(ValueError, match="sample_weight must not hold masked cells; row 3 is masked"):
        EmbeddingClassifier(**SETTINGS).fit(X, CODES, sample_weight=MASKS[name])
    with pytest.raises(ValueError, match="groups must not hold masked cells; row 3 is masked"):
        EmbeddingEncoder(cv=GroupKFold(2)).fit(X, CODES, groups=MASKS[name])


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize(
    "name", ["decimals", "dates", "intervals", "uuids", "tuples", "number and text"]
)
def test_spaces_of_answers_list_the_labels_that_were_given(name, many, monkeypatch, tmp_path):
    if many:
        monkeypatch.setattr("tabemb.targets.classes.MANY_CLASSES", 1)
    log = pd.DataFrame({"who": ["a", "b"] * 20, "at": range(N), "c": X["c"]})
    y = LABELS[name]
    model = EventClassifier(entity="who", time="at", **SETTINGS | {"max_epochs": 1}).fit(log, y)
    space = model.spaces_["answer" if many else "earlier.answer"]
    assert {(type(label), label) for label in space.categories} == {(type(v), v) for v in y}
    if many:
        assert list(model.class_space_) == list(model.classes_)
        last = log.tail(1).assign(at=N)
        table = model.recommend(last, k=len(set(y)), exclude_seen=False)
        assert {(type(label), label) for label in table["answer"]} == {(type(v), v) for v in y}
    save(model, tmp_path / "m.tabemb")
    later = log.assign(at=log["at"] + N)
    loaded = load(tmp_path / "m.tabemb").update(later, y)
    np.testing.assert_array_equal(
        loaded.predict_proba(later.assign(at=2 * N)),
        model.update(later, y).predict_proba(later.assign(at=2 * N)),
    )


def test_events_take_labels_of_halves_of_characters():
    log = pd.DataFrame({"who": ["a", "b"] * 20, "at": range(N), "c": X["c"]})
    model = EventClassifier(entity="who", time="at", **SETTINGS | {"max_epochs": 1})
    model.fit(log, pd.Series(of("\ud800", "a"), dtype=object))
    assert set(model.spaces_["earlier.answer"].categories) == {"\ud800", "a"}
