from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from tabemb.compare import Dataset, Protocol, make_splits


def assert_divides(splits, n_rows):
    for split in splits:
        assert set(split.train).isdisjoint(split.test)
        assert len(split.train) + len(split.test) <= n_rows


def test_kfold_tests_every_row_once_a_repeat_and_keeps_the_classes(binary):
    splits = make_splits(binary, Protocol("kfold", folds=5, repeats=2))
    assert [split.fold for split in splits] == list(range(1, 11))
    assert_divides(splits, len(binary.y))
    for repeat in (splits[:5], splits[5:]):
        assert sorted(np.concatenate([split.test for split in repeat])) == list(range(len(binary.y)))
        shares = [(binary.y.iloc[split.test] == "yes").mean() for split in repeat]
        assert max(shares) - min(shares) < 0.02
    assert not np.array_equal(splits[0].test, splits[5].test)


def test_holdout_has_its_size_and_its_seed(regression):
    first, again, other = (
        make_splits(regression, Protocol("holdout", test_size=0.25, seed=s))[0] for s in (0, 0, 1)
    )
    assert len(first.test) == len(regression.y) // 4
    np.testing.assert_array_equal(first.test, again.test)
    assert not np.array_equal(first.test, other.test)


def test_groups_are_never_on_both_sides(regression):
    splits = make_splits(regression, Protocol("grouped", folds=3, repeats=2))
    assert len(splits) == 6
    for split in splits:
        assert set(regression.groups.iloc[split.train]).isdisjoint(regression.groups.iloc[split.test])


@pytest.mark.parametrize("folds", [1, 3])
def test_time_never_leaks_and_ties_are_not_parted(regression, folds):
    splits = make_splits(regression, Protocol("time", folds=folds, test_size=0.2))
    time = regression.time.to_numpy()
    for split in splits:
        assert time[split.train].max() < time[split.test].min()
    assert time[splits[-1].test].max() == time.max()
    # the training rows of a window are all earlier rows, including earlier windows
    for earlier, later in pairwise(splits):
        np.testing.assert_array_equal(np.union1d(earlier.train, earlier.test), later.train)


def test_published_draws_follow_the_formula_on_source_rows():
    n = 1000
    kept = np.flatnonzero(np.arange(n) % 7 != 0)
    frame = pd.DataFrame({"x": np.arange(n)}).iloc[kept]
    dataset = Dataset("d", frame, pd.Series(np.arange(n, dtype=float)).iloc[kept], "regression")
    splits = make_splits(dataset, Protocol("published", folds=2))
    for split in splits:
        expected = (np.random.default_rng(20261120 + split.fold).random(n) < 0.2)[kept]
        np.testing.assert_array_equal(split.test, np.flatnonzero(expected))


def test_published_fold_columns(regression):
    fold = pd.Series(np.arange(len(regression.y)) % 3 + 1)
    splits = make_splits(replace(regression, fold=fold), Protocol("published", folds=5))
    assert [split.fold for split in splits] == [1, 2, 3]
    np.testing.assert_array_equal(splits[1].test, np.flatnonzero(fold == 2))
    names = fold.map({1: "train", 2: "train", 3: "test"})
    (split,) = make_splits(replace(regression, fold=names), Protocol("published"))
    np.testing.assert_array_equal(split.test, np.flatnonzero(fold == 3))


def test_what_is_lacking_is_named(binary, regression):
    with pytest.raises(
        ValueError, match="needs a time column, and data set 'planted_binary' names none"
    ):
        make_splits(binary, Protocol("time"))
    with pytest.raises(ValueError, match="needs a group column"):
        make_splits(binary, Protocol("grouped", folds=2))
    with pytest.raises(
        ValueError,
        match="time: column 'day' of data set 'planted' must be complete; it has 1 missing values",
    ):
        make_splits(
            replace(regression, time=regression.time.where(regression.time.index > 0)), Protocol("time")
        )
    with pytest.raises(ValueError, match="leaves 0 training"):
        make_splits(replace(regression, time=regression.time * 0), Protocol("time"))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"kind": "cv"}, r"there is no kind 'cv' \(the kinds are"),
     ({"kind": "kfold", "folds": 1}, "'kfold' needs folds >= 2"),
     ({"test_size": 1.5}, r"test_size must be above 0 and below 1; got 1\.5"),
     ({"kind": "time", "folds": 5, "test_size": 0.2}, "needs folds \\* test_size below 1")],
)  # fmt: skip
def test_impossible_protocols_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Protocol(**options)


def test_labels_tell_protocols_apart():
    kinds = [
        Protocol("kfold", folds=5),
        Protocol("grouped", folds=5),
        Protocol("time"),
        Protocol("published"),
    ]
    variants = [
        Protocol(test_size=0.199),
        Protocol(seed=1),
        Protocol(repeats=2),
        Protocol("time", folds=2),
    ]
    protocols = [Protocol(), *kinds, *variants]
    assert len({protocol.label for protocol in protocols}) == len(protocols)
