"""Names that are composed from data: unique, and safe for the libraries that read the frames."""

import lightgbm
import numpy as np
import pandas as pd
import polars as pl
import pytest

from tabemb import EmbeddingEncoder
from tabemb.data.aggregates import AggregateJoiner
from tabemb.names import UNSAFE, safe_names
from tabemb.spaces import EmbeddingSpace

N = 300
LEVELS = ["a:b", "a_b", "a,b", "x[0]", '{"k": 1}', "new\nline", "New York", "New_York", "<5", "café", ""]


def log(levels=LEVELS):
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "who": rng.integers(0, 30, N),
            "at": pd.Timestamp("2020") + pd.to_timedelta(rng.integers(0, 1000, N), unit="h"),
            "what": rng.choice(levels, N),
            "paid": rng.normal(size=N),
        }
    )


ROWS = pd.DataFrame({"who": np.arange(30), "today": pd.Timestamp("2020-02-10")})


def joined(events, rows=ROWS, **settings):
    joiner = AggregateJoiner(events, entity="who", time="at", cutoff="today", top_k=20, **settings)
    frame = joiner.fit_transform(rows)
    assert list(frame.columns) == list(joiner.get_feature_names_out())
    return frame


def fits_lightgbm(frame):
    numbers = frame.select_dtypes("number")
    assert not any(UNSAFE.search(name) for name in frame.columns)
    assert frame.columns.str.replace(r"\s", "_", regex=True).is_unique
    model = lightgbm.LGBMRegressor(n_estimators=2, min_child_samples=2, verbose=-1)
    numbers = numbers.rename(columns=lambda name: name.replace(" ", "_"))
    model.fit(numbers, np.arange(len(frame)))
    assert model.booster_.num_trees() == 2


def test_levels_with_every_character_give_a_frame_that_lightgbm_takes():
    events = log()
    frame = joined(events, windows=["1 day 12:00:00", pd.Timedelta("30D"), None])
    fits_lightgbm(frame)
    before = events[events["at"] < ROWS["today"][0]]
    for level, name in [("a:b", "a_b"), ("a_b", "a_b"), ("a,b", "a_b"), ("New York", "New York")]:
        n_events = before[before["what"] == level].groupby("who").size().reindex(range(30), fill_value=0)
        pattern = rf"history_what_{name}_count(_\d)?"
        same = [c for c in frame if pd.Series(c).str.fullmatch(pattern).item()]
        assert any((frame[column].to_numpy() == n_events.to_numpy()).all() for column in same)


@pytest.mark.parametrize("levels", [[1.5, 2.0], [True, False], list(pd.date_range("2020", periods=3))])
def test_levels_of_other_types_enter_names_safely(levels):
    events = log([0, 1]).assign(what=lambda d: pd.Series(levels)[d["what"] % len(levels)].to_numpy())
    fits_lightgbm(joined(events.assign(what=events["what"].astype("category"))))


def test_fields_and_levels_that_make_one_name_have_a_column_each():
    events = log(["x"]).rename(columns={"paid": "gap"})
    events["what_x"] = (
        events["gap"] * 0 + 7.0
    )  # history_what_x_count belongs to a level, and gap_mean to a time
    events["what_x_gap"] = 2.0
    frame = joined(events)
    fits_lightgbm(frame)
    time_gaps = joined(log(["x"]))["history_gap_mean"]
    assert frame["history_gap_mean"].tolist() == pytest.approx(time_gaps.tolist(), nan_ok=True)
    of_field = events[events["at"] < ROWS["today"][0]].groupby("who")["gap"].mean().reindex(range(30))
    assert frame["history_gap_mean_2"].tolist() == pytest.approx(of_field.tolist(), nan_ok=True)


@pytest.mark.parametrize("library", [lambda frame: frame, pl.from_pandas])
def test_a_column_of_x_is_never_overwritten(library):
    rows = ROWS.assign(history_count=-1)
    with pytest.raises(
        ValueError, match="X has a column 'history_count' already, which is the name of a"
    ):
        joined(library(log()), library(rows))
    joiner = AggregateJoiner(log(), entity="who", time="at", cutoff="today").fit(ROWS)
    with pytest.raises(ValueError, match="choose another name than 'history'"):
        joiner.transform(library(rows))
    assert (joined(log(), rows, name="past")["history_count"] == -1).all()


def test_classes_and_columns_of_the_encoder_give_a_frame_that_lightgbm_takes():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"a:b": rng.choice(["u", "v"], 120), "a_b": rng.choice(["u", "v"], 120)})
    encoder = EmbeddingEncoder(kind="prediction", n_pairs=2, keep="none", random_state=0)
    frame = encoder.fit_transform(X, rng.choice(["lo:w", "lo_w", "high[1]"], 120))
    assert list(frame.columns) == list(encoder.get_feature_names_out())
    assert frame.shape[1] in (6, 9)
    fits_lightgbm(frame)
    assert list(encoder.inverse_transform(encoder.transform(X)).columns) == ["a:b", "a_b"]


def test_the_frame_of_a_space_has_safe_columns():
    space = EmbeddingSpace([[1, 2], [3, 4]], ["a", "b"], name="h.{what}: x")
    assert list(space.to_frame().columns) == ["h._what__ x_0", "h._what__ x_1"]
    assert EmbeddingSpace.from_frame(space.to_frame()).name == space.name


def test_ordinary_names_stay():
    names = ["history_count", "city*shop_effect", "über größe", "a (b)", "x.1", "50%", "a|b"]
    assert safe_names(names) == names
