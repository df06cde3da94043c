"""Weights by age: later rows count more if `fit` gets their times."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tabemb import EmbeddingClassifier, EmbeddingEncoder, EmbeddingRegressor
from tabemb.fitting.recency import recency_weights

DAYS = pd.date_range("2024-01-01", periods=4, freq="D")
AMERICAN = ["1/1/2024", "2/1/2024", "12/31/2024", "1/1/2025"]
FRAME = pa.table({"day": DAYS, "text": AMERICAN, "iso": DAYS.astype(str), "number": [3, 5, 7, 9]})
BY_DAY = 0.5 ** (np.array([0.75, 0.5, 0.25, 0.0]) / 0.5)
"""The newest row has weight one; each quarter of the time before it gives a factor of sqrt(1/2)."""


@pytest.mark.parametrize(
    "time",
    [
        "day",
        "text",
        "iso",
        "number",
        DAYS,
        DAYS.tz_localize("UTC"),
        pd.Series(DAYS).dt.date,
        [-2.5, 0, 1, 9],
    ],
)
def test_a_row_counts_half_after_half_life_of_the_rows(time):
    assert recency_weights(time, 0.5, FRAME) == pytest.approx(BY_DAY)


def test_the_order_of_the_rows_does_not_matter():
    assert recency_weights([9, 1, 5, 7], 0.5, FRAME) == pytest.approx(BY_DAY[[3, 0, 1, 2]])


def test_rows_of_one_moment_have_one_weight():
    weights = recency_weights([1, 2, 2, 3], 1.0, FRAME)
    assert weights == pytest.approx(0.5 ** np.array([0.75, 0.25, 0.25, 0.0]))


@pytest.mark.parametrize(("time", "half_life"), [(None, 0.5), ("day", None)])
def test_no_time_or_no_half_life_means_equal_weights(time, half_life):
    assert recency_weights(time, half_life, FRAME) is None


@pytest.mark.parametrize(
    ("time", "words"),
    [
        ("dya", r"X has no column 'dya' \(did you mean 'day'\?\)\."),
        ([1, 2], r"time must have the shape \(4,\), one a row of X; got \(2,\)\."),
        ([1, 2, None, 4], "must hold a time in every row; it is .* in row 2"),
        (
            ["2024-01-01", "soon", "2024-01-02", "2024-01-03"],
            "'soon' in row 1, which is not a date of",
        ),
        ([1, 2, np.inf, 4], "must hold finite times; it is inf in row 2"),
        (["1/2/2024", "2/3/2024", "3/4/2024", "4/5/2024"], "may be 2024-02-01 or 2024-01-02"),
        ([True, False, True, True], "must hold times or numbers"),
    ],
)
def test_errors_name_the_value_and_its_row(time, words):
    with pytest.raises((ValueError, TypeError), match=words):
        recency_weights(time, 0.5, FRAME)


@pytest.mark.parametrize("half_life", [0, -1, "long", np.inf])
def test_half_life_must_be_a_share_above_zero(half_life):
    with pytest.raises(ValueError, match="half_life must be a number > 0 or None"):
        EmbeddingRegressor().fit([["a"]] * 4, [1.0, 2.0, 3.0, 4.0], half_life=half_life)


def drifting(n=600):
    """Return rows whose categories swap their effects after two thirds of the time."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"city": rng.choice(["Bonn", "Rome"], n)})
    is_late = np.arange(n) >= n * 2 / 3
    return X, np.where(is_late, X["city"] == "Rome", X["city"] == "Bonn").astype(float)


def test_a_fit_with_times_is_one_with_their_weights():
    X, y = drifting()
    given = np.linspace(1, 2, len(y))
    weights = given * recency_weights(np.arange(len(y)), 0.2, pa.Table.from_pandas(X))
    settings = {"max_epochs": 2, "n_members": 1, "random_state": 0}
    by_time = EmbeddingRegressor(**settings).fit(
        X, y, sample_weight=given, time=np.arange(len(y)), half_life=0.2
    )
    by_weight = EmbeddingRegressor(**settings).fit(X, y, sample_weight=weights)
    assert (by_time.predict(X) == by_weight.predict(X)).all()


@pytest.mark.slow
def test_late_rows_decide_where_the_world_has_changed():
    X, y = drifting()
    cities = pd.DataFrame({"city": ["Bonn", "Rome"]})
    settings = {"max_epochs": 20, "n_members": 1, "random_state": 0}
    bonn, rome = EmbeddingRegressor(**settings).fit(X, y).predict(cities)
    assert bonn > rome
    model = EmbeddingRegressor(**settings).fit(X, y, time=range(len(y)), half_life=0.1)
    bonn, rome = model.predict(cities)
    assert bonn < rome


def test_rows_so_old_that_they_weigh_nothing_are_left_out():
    X = pd.DataFrame({"city": ["Bonn"] * 300 + ["Rome"] * 300})
    y = np.tile([0, 1], 300)
    model = EmbeddingClassifier(max_epochs=1, n_members=1).fit(X, y, time=np.arange(600), half_life=1e-5)
    assert model.n_rows_ < 300


def test_new_rows_of_a_model_that_goes_on_have_no_age():
    X, y = drifting(100)
    model = EmbeddingRegressor(max_epochs=1, n_members=1).fit(X, y)
    with pytest.raises(ValueError, match="time must be None where start is passed"):
        EmbeddingRegressor(max_epochs=1, n_members=1).fit(X, y, start=model, time=range(100))


def test_other_estimators_say_that_they_take_no_time():
    with pytest.raises(TypeError, match="time"):
        EmbeddingEncoder().fit([["a"], ["b"]], [0.0, 1.0], time=[1, 2])
