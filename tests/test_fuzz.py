"""Random inputs of every kind: each draw gives finite predictions, or one clear error.

`make test` runs 500 draws, `make fuzz` 20,000. To repeat a draw, give its number:
`FUZZ_FIRST=1234 FUZZ_DRAWS=1 python -m pytest tests/test_fuzz.py`.
"""

import datetime
import decimal
import enum
import fractions
import os
import uuid
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import tabemb

FIRST, DRAWS = int(os.environ.get("FUZZ_FIRST", 0)), int(os.environ.get("FUZZ_DRAWS", 500))
CHUNK = 25
TINY = {"hidden": (4,), "n_members": 1, "d_number": 2, "n_bins": 3, "dim": 2, "max_epochs": 1}
QUICK = {**TINY, "n_pairs": 2, "batch_size": 16, "n_jobs": 1, "verbose": False}
Color = enum.Enum("Color", "RED GREEN BLUE")


def of(*values):
    """Return a kind of column whose cells are drawn from these values."""
    return lambda rng, n: pd.Series([values[i] for i in rng.integers(0, len(values), n)], dtype=object)


def typed(kind, dtype):
    return lambda rng, n: kind(rng, n).astype(dtype)


def arrow(dtype, *values):
    """Return a kind of column with an Arrow type."""

    def draw(rng, n):
        cells = pa.array([values[i] for i in rng.integers(0, len(values), n)], dtype)
        return pd.Series(cells, dtype=pd.ArrowDtype(dtype))

    return draw


def numbers(low, high, dtype=float):
    return lambda rng, n: pd.Series(rng.uniform(low, high, n).astype(dtype))


def times(unit, zone=None):
    def draw(rng, n):
        days = pd.to_timedelta(rng.integers(0, 900, n), "D")
        return pd.Series((pd.Timestamp("2021-03-01") + days).as_unit(unit)).dt.tz_localize(zone)

    return draw


def lists_of(kind):
    """Return a kind of column with lists of 0 to 4 cells of another kind."""

    def draw(rng, n):
        return pd.Series([kind(rng, k).tolist() for k in rng.integers(0, 5, n)], dtype=object)

    return draw


def events(rng, n):
    """Return a column of lists of events with fields."""
    return pd.Series(
        [
            [{"what": str(rng.choice(["a", "b"])), "paid": float(rng.normal())} for _ in range(k)]
            for k in rng.integers(0, 4, n)
        ],
        dtype=object,
    )


def with_missing(kind, value=None):
    """Return the same kind of column with a third of its cells missing."""

    def draw(rng, n):
        column = kind(rng, n).astype(object)
        column[rng.random(n) < 1 / 3] = value
        return column

    return draw


WORDS = of("a", "b", "c d", "", "NA", "None", "ü")
WHOLE = lambda rng, n: pd.Series(rng.integers(-5, 5, n))  # noqa: E731
FLAGS = lambda rng, n: pd.Series(rng.random(n) < 0.5)  # noqa: E731
FLOATS = numbers(-1, 1)
UUIDS = [uuid.UUID(int=i) for i in range(4)]
DATES = [datetime.date(2020, 1, 1 + i) for i in range(5)]
BASE = {
    "words": WORDS,
    "string": typed(WORDS, "string"),
    "category": typed(WORDS, "category"),
    "whole": WHOLE,
    "flags": FLAGS,
    "floats": FLOATS,
    "nullable": typed(WHOLE, "Int64"),
    "nullable flags": typed(FLAGS, "boolean"),
    "float32": numbers(-1, 1, np.float32),
    "int8": numbers(-100, 100, np.int8),
    "uint64": of(*np.array([0, 2**63, 2**64 - 1], dtype=np.uint64)),
    "int64 extremes": lambda rng, n: pd.Series(rng.choice([-(2**63), 0, 2**63 - 1], n)),
    "huge integers": of(2**70, -(2**80), 5),
    "huge": numbers(-1e300, 1e300),
    "denormal": numbers(0, 1e-310),
    "tiny spread": numbers(1e9, 1e9 + 1e-6),
    "float category": typed(of(0.5, 1.5), "category"),
    "signed zeros": of(0.0, -0.0, 1.0),
    "constant": of(7),
    "constant word": of("x"),
    "decimals": of(decimal.Decimal("1.5"), decimal.Decimal("2.5")),
    "infinite decimals": of(decimal.Decimal("Infinity"), decimal.Decimal(1)),
    "fractions": of(fractions.Fraction(1, 3), fractions.Fraction(1, 2)),
    "complex": of(1j, 2 + 0j),
    "uuids": of(*UUIDS),
    "bytes": of(b"a", b"\xff"),
    "tuples": of((1, "a"), (2, "b")),
    "frozensets": of(frozenset("ab"), frozenset()),
    "enums": of(*Color),
    "intervals": lambda rng, n: pd.Series(pd.cut(rng.uniform(0, 10, n), [0, 3, 6, 10])),
    "interval dtype": lambda rng, n: pd.Series(pd.arrays.IntervalArray.from_breaks(range(n + 1))),
    "periods": lambda rng, n: pd.Series(pd.period_range("2020-01", periods=n, freq="M")),
    "mixed": of(1, "1", 2.5, None, True),
    "surrogates": of("\ud800", "a"),
    "long words": of("x" * 5000, "y"),
    "dates": of(*DATES),
    "datetimes": times("ns"),
    "datetimes s": times("s"),
    "zoned": times("us", "Asia/Tokyo"),
    "far dates": of(datetime.date(1, 1, 1), datetime.date(9999, 12, 31)),
    "clock times": of(datetime.time(1), datetime.time(23, 59)),
    "durations": lambda rng, n: pd.Series(pd.to_timedelta(rng.integers(0, 9, n), "h")),
    "number text": of("1", "2.5", "1e3"),
    "date text": of("2020-01-02", "2020-02-01"),
    "bags": lists_of(of("a", "b")),
    "bags of numbers": lists_of(WHOLE),
    "bags of flags": lists_of(FLAGS),
    "nested": of([["a"], []], [["b", "c"]]),
    "mixed lists": of(["a", 7], [1.5], []),
    "empty lists": of([]),
    "events": events,
    "odd events": of([{"v": "high"}], [{"v": 1.0}], [{"w": 2}]),
    "structs": of({"a": 1}, {"a": 2}),
    "sets": of({1}, {2}),
    "objects": of(object(), object()),
    "all None": of(None),
    "all nan": of(float("nan")),
    "all NA": of(pd.NA),
    "infinite": of(1.0, float("inf")),
    "arrow strings": arrow(pa.large_string(), "a", "b", None),
    "arrow dictionary": arrow(pa.dictionary(pa.int8(), pa.string()), "a", "b", None),
    "arrow decimals": arrow(pa.decimal128(5, 2), decimal.Decimal("1.25"), None),
    "arrow dates": arrow(pa.date32(), *DATES, None),
    "arrow lists": arrow(pa.list_(pa.string()), ["a"], [], None),
    "arrow null": arrow(pa.null(), None),
    "arrow binary": arrow(pa.binary(), b"a", None),
}
KINDS = {
    **BASE,
    **{f"{name} with gaps": with_missing(kind) for name, kind in list(BASE.items())[:18]},
    **{f"{name} with nan": with_missing(kind, float("nan")) for name, kind in list(BASE.items())[:8]},
}
"""Kinds of columns by name."""
LIBRARIES = {
    "pandas": lambda X: X,
    "polars": pl.from_pandas,
    "arrow": lambda X: pa.Table.from_pandas(X, preserve_index=False),
}


def frame_of(rng, n):
    """Draw a frame of one to four columns; return it with the names of their kinds."""
    kinds = rng.choice(list(KINDS), rng.integers(1, 5))
    return pd.DataFrame({f"c{i} {kind}": KINDS[kind](rng, n) for i, kind in enumerate(kinds)})


def target_of(rng, n):
    return {
        "number": lambda: rng.normal(size=n),
        "class": lambda: rng.choice(["u", "v"], n),
        "flag": lambda: np.arange(n) % 2 == 0,
        "several": lambda: rng.normal(size=(n, 2)),
    }[rng.choice(["number", "class", "flag", "several"])]()


def changed(rng, X):
    """Return rows to predict: rows of X, partly with other columns of the same names, in any library."""
    X = X.iloc[rng.permutation(len(X))[: rng.integers(1, len(X) + 1)]].reset_index(drop=True)
    if rng.random() < 0.4:  # another kind of column under the same name
        X = X.assign(**{rng.choice(X.columns): KINDS[rng.choice(list(KINDS))](rng, len(X))})
    if rng.random() < 0.3:
        X = X[rng.permutation(X.columns)].assign(more=1)
    return in_a_library(rng, X)


def in_a_library(rng, X):
    """Return X as a frame of a library that supports its columns."""
    try:
        return LIBRARIES[rng.choice(list(LIBRARIES))](X)
    except (pa.ArrowException, TypeError, ValueError, OverflowError, pl.exceptions.PolarsError):
        return X


def check_finite(predictions, n):
    for part in predictions if isinstance(predictions, list) else [predictions]:
        assert len(part) == n
        if np.asarray(part).dtype.kind == "f":
            assert np.isfinite(np.asarray(part)).all()


def draw_rows(rng):
    n = int(rng.integers(2, 40))
    X, y = frame_of(rng, n), target_of(rng, n)
    is_number = np.asarray(y).dtype.kind == "f"
    estimator = tabemb.EmbeddingRegressor if is_number else tabemb.EmbeddingClassifier
    model = estimator(**QUICK, random_state=0).fit(in_a_library(rng, X), y)
    new = changed(rng, X)
    check_finite(model.predict(new) if is_number else model.predict_proba(new), len(new))


def draw_encoder(rng):
    n = int(rng.integers(6, 40))
    X, y = frame_of(rng, n), rng.normal(size=n)
    net = tabemb.EmbeddingRegressor(**QUICK)
    kind = rng.choice(["vectors", "prediction", "both"])
    encoder = tabemb.EmbeddingEncoder(kind=kind, cv=2, n_repeats=1, estimator=net, random_state=0)
    features = encoder.fit_transform(X, y)
    assert len(features) == n
    new = changed(rng, X)
    found = encoder.transform(new)
    columns = [name for name in encoder.get_feature_names_out() if name not in X.columns]
    check_finite([np.asarray(found[name]) for name in columns], len(new))


def draw_events(rng):
    n = int(rng.integers(6, 40))
    X = frame_of(rng, n).assign(who=rng.choice(["a", "b", "c"], n), at=KINDS["whole"](rng, n))
    if rng.random() < 0.3:
        X["at"] = KINDS[rng.choice(list(KINDS))](rng, n)
    if rng.random() < 0.3:
        X["who"] = KINDS[rng.choice(list(KINDS))](rng, n)
    y = rng.random(n) < 0.5
    model = tabemb.EventClassifier(entity="who", time="at", d_history=3, **QUICK, random_state=0).fit(
        X, y
    )
    later = X.tail(5)
    check_finite(model.predict_proba(later.assign(at=X["at"].astype(object).max())), len(later))


def draw_joins(rng):
    n = int(rng.integers(2, 40))
    log = frame_of(rng, n).assign(who=rng.choice(["a", "b"], n), day=rng.integers(0, 9, n))
    rows = pd.DataFrame({"who": ["a", "b", "z"], "now": [3, 9, 1]})
    joiner = tabemb.AggregateJoiner if rng.random() < 0.5 else tabemb.HistoryJoiner
    joined = joiner(log, entity="who", time="day", cutoff="now").fit_transform(rows)
    assert len(joined) == 3
    assert joined.columns.is_unique
    counts = {"a": 3, "b": 9, "z": 1}
    expected = [((log["who"] == who) & (log["day"] < now)).sum() for who, now in counts.items()]
    found = joined["history_count"] if joiner is tabemb.AggregateJoiner else joined["history"].map(len)
    assert list(found) == expected


def draw_sequences(rng):
    n = int(rng.integers(4, 20))
    X = pd.DataFrame(
        {"list": KINDS[rng.choice(["bags", "events", "arrow lists", "odd events"])](rng, n)}
    )
    model = tabemb.SequenceEncoder(d_history=3, n_bins=3, max_epochs=1, n_jobs=1, random_state=0).fit(X)
    new = changed(rng, X)
    check_finite(model.transform(new), len(new))


def draw_spaces(rng):
    n = int(rng.integers(1, 12))
    labels = KINDS[rng.choice(list(KINDS))](rng, n)
    labels = labels[~labels.map(repr).duplicated()]
    space = tabemb.EmbeddingSpace(rng.normal(size=(len(labels), 3)), labels, name="s")
    assert len(space.nearest(next(iter(space)), k=2)) <= 2
    check_finite(space.to_frame().to_numpy(), len(labels))


WORLDS = [draw_rows, draw_rows, draw_encoder, draw_events, draw_joins, draw_sequences, draw_spaces]
NAMED = ("column", "x ", "y ", "log", "role", "table", "entity", "time", "categor", "vector", "target")
"""An error must contain one of these words, to name the column or argument."""


def ends_in_tabemb(error):
    """Return whether tabemb itself raised an error, not a library that it calls."""
    last = pytest.ExceptionInfo.from_exception(error).traceback[-1]
    return "tabemb" in str(last.path)


def problem_of(seed):
    """Run a draw; return what is wrong with the outcome, or None."""
    world = WORLDS[seed % len(WORLDS)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "X has many categories")  # a draw may have only new categories
        try:
            world(np.random.default_rng(seed))
        except (ValueError, TypeError) as error:
            is_named = any(word in str(error).lower() for word in NAMED)
            return None if ends_in_tabemb(error) and is_named else f"{seed}, {world.__name__}: {error!r}"
        except Exception as error:
            return f"{seed}, {world.__name__}: {error!r}"
    return None


@pytest.mark.parametrize("first", range(FIRST, FIRST + DRAWS, CHUNK))
def test_draws_end_in_finite_predictions_or_a_clear_error(first):
    problems = map(problem_of, range(first, min(first + CHUNK, FIRST + DRAWS)))
    assert not [problem for problem in problems if problem]
