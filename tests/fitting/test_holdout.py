"""The hold-out: training rows, validation rows, and whether the latter are trained on in the end."""

import numpy as np
import pyarrow as pa
import pytest

from tabemb import EmbeddingRegressor
from tabemb.fitting.checks import Rows
from tabemb.fitting.holdout import hold_out
from tabemb.fitting.settings import RowSettings

DRAWN = [2, 16, 26, 54, 55, 73, 75, 86, 93, 95]
"""The first ten of ``RandomState(0).permutation(100)``, sorted: a tenth of a hundred rows."""


def numbered(n, y=None, weights=None):
    """Return rows whose only column is their number."""
    y = np.zeros(n) if y is None else np.asarray(y)
    return Rows(pa.table({"row": np.arange(n)}), y, weights)


def numbers_in(rows):
    return rows.frame["row"].to_numpy()


def split(rows, validation=None, *, groups=None, stratify=False, seed=0, **settings):
    settings = RowSettings.of(EmbeddingRegressor(**settings))
    return hold_out(rows, validation, settings, groups=groups, stratify=stratify, seed=seed)


@pytest.mark.parametrize("early_stopping", [True, False, "auto"])
def test_given_rows_validate_and_never_train(early_stopping):
    rows, validation = numbered(200), numbered(7)
    holdout = split(rows, validation, early_stopping=early_stopping)
    assert holdout.rows is rows
    assert holdout.validation is validation
    assert holdout.train is None
    assert not holdout.refit


def test_early_stopping_takes_a_tenth_for_good():
    weights = np.arange(100.0)
    holdout = split(numbered(100, np.arange(100) / 2, weights), early_stopping=True)
    assert numbers_in(holdout.validation).tolist() == DRAWN
    assert numbers_in(holdout.rows).tolist() == np.setdiff1d(np.arange(100), DRAWN).tolist()
    assert holdout.validation.y.tolist() == [number / 2 for number in DRAWN]
    assert holdout.validation.weights.tolist() == DRAWN
    assert not holdout.refit


@pytest.mark.parametrize("max_epochs", [3, "auto"])
def test_early_stopping_needs_two_rows(max_epochs):
    two = split(numbered(2), early_stopping=True, max_epochs=max_epochs)
    assert (len(two.rows), len(two.validation)) == (1, 1)
    one = split(numbered(1), early_stopping=True, max_epochs=max_epochs)
    assert (len(one.rows), one.validation, one.train) == (1, None, None)


def test_by_default_a_tenth_of_a_hundred_rows_validates_first_and_trains_in_the_end():
    rows = numbered(100)
    holdout = split(rows)
    assert holdout.rows is rows
    assert holdout.validation is None
    assert sorted(holdout.train) == np.setdiff1d(np.arange(100), DRAWN).tolist()
    assert holdout.rest.tolist() == DRAWN
    assert holdout.refit
    assert split(rows, seed=1).rest.tolist() != DRAWN


@pytest.mark.parametrize(
    ("n_rows", "settings"),
    [(99, {}), (100, {"max_epochs": 30}), (100, {"early_stopping": False})],
    ids=["fewer rows", "a number of epochs", "switched off"],
)
def test_otherwise_all_rows_train_from_the_start(n_rows, settings):
    rows = numbered(n_rows)
    holdout = split(rows, **settings)
    assert holdout.rows is rows
    assert (holdout.validation, holdout.train, holdout.refit) == (None, None, False)


@pytest.mark.parametrize("early_stopping", ["auto", True])
def test_groups_stay_whole(early_stopping):
    groups = np.random.default_rng(0).permutation(np.repeat(np.arange(20), 10))
    holdout = split(numbered(200), groups=groups, early_stopping=early_stopping)
    validates = numbers_in(holdout.validation) if early_stopping is True else holdout.rest
    trains = np.setdiff1d(np.arange(200), validates)
    assert not set(groups[validates]) & set(groups[trains])
    assert len(np.unique(groups[validates])) == 2  # a tenth of the groups, with all their rows
    assert len(validates) == 20


def test_a_single_group_is_not_held_out():
    assert split(numbered(200), groups=np.zeros(200, int)).train is None


def test_classes_keep_their_shares():
    y = np.arange(200) % 10 == 3
    for seed in range(5):
        rest = split(numbered(200, y), stratify=True, seed=seed).rest
        assert (len(rest), y[rest].sum()) == (20, 2)
    shares = {int(y[split(numbered(200, y), seed=seed).rest].sum()) for seed in range(5)}
    assert len(shares) > 1  # without stratification, chance decides


@pytest.mark.parametrize(
    "y",
    [np.r_[np.zeros(99), 1], np.arange(100) // 2, np.zeros((100, 2))],
    ids=["a class of one row", "more classes than validation rows", "several targets"],
)
def test_classes_that_cannot_keep_their_shares_are_drawn_as_other_rows(y):
    assert split(numbered(100, y), stratify=True).rest.tolist() == DRAWN


@pytest.mark.parametrize(
    ("n_rows", "fraction", "n_validation"),
    [(200, 0.25, 50), (200, "auto", 20), (10_000, "auto", 1000), (40_000, "auto", 2000)],
)
def test_the_share_is_given_or_falls_with_the_root_of_the_rows(n_rows, fraction, n_validation):
    holdout = split(numbered(n_rows), validation_fraction=fraction)
    assert len(holdout.rest) == n_validation
    assert len(holdout.train) == n_rows - n_validation
