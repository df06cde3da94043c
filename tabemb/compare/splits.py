"""Protocols: which rows are training rows, and which are test rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types
from sklearn.model_selection import (
    GroupKFold,
    RepeatedKFold,
    RepeatedStratifiedKFold,
    ShuffleSplit,
    StratifiedGroupKFold,
    StratifiedShuffleSplit,
)

from tabemb.compare.datasets import Dataset
from tabemb.compare.hints import did_you_mean
from tabemb.data.dates import iso_times
from tabemb.labels import distinct, readable

# seed and test share of the fixed splits of data sets that were published without splits
PUBLISHED_SEED = 20261120
PUBLISHED_TEST_SIZE = 0.2
# folds under "auto" where the data set names a fold or a group column
AUTO_FOLDS = 5


@dataclass(frozen=True)
class Split:
    """One division of the rows: positions in `Dataset.X`.

    Parameters
    ----------
    fold : int
        The number of the fold, from 1.
    train, test : ndarray of int
        Positions of the training and of the test rows.
    """

    fold: int
    train: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class Protocol:
    """How the rows are divided into training and test rows.

    Parameters
    ----------
    kind : {"holdout", "kfold", "grouped", "time", "published"}
        "holdout" draws test rows at random; "kfold" tests every row once per repeat; both are
        stratified by class. "grouped" is k-fold with no group in both training and test rows. "time"
        trains on the oldest rows and tests on the newest. With several folds, the test windows
        follow one another, and all rows before a window are its training rows. "published" takes the
        data set's fold column; without one, row i of the source is a test row of fold f if
        `numpy.random.default_rng(20261120 + f).random(n)[i] < 0.2`.
    folds : int
        Number of folds; for "published" only where the data set has no fold column.
    repeats : int
        How often "kfold", "grouped" and "holdout" are repeated with other draws.
    test_size : float
        Share of the rows in each test set, for "holdout" and "time".
    seed : int
        Seed of the draws.
    """

    kind: str = "holdout"
    folds: int = 1
    repeats: int = 1
    test_size: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse an unknown kind, and counts that allow no split."""
        if self.kind not in _SPLITTERS:
            hint = did_you_mean(self.kind, _SPLITTERS, "the kinds are", lists_all=True)
            raise ValueError(f"protocol: there is no kind {self.kind!r} ({hint}).")
        if not 0 < self.test_size < 1:
            raise ValueError(f"test_size must be above 0 and below 1; got {self.test_size}.")
        least = 2 if self.kind in ("kfold", "grouped") else 1
        if self.folds < least or self.repeats < 1:
            raise ValueError(
                f"protocol {self.kind!r} needs folds >= {least} and repeats >= 1; "
                f"got {self.folds} and {self.repeats}."
            )
        if self.kind == "time" and self.folds * self.test_size >= 1:
            raise ValueError(
                f"protocol 'time' needs folds * test_size below 1; got {self.folds} * {self.test_size}."
            )

    @property
    def label(self) -> str:
        """The name in reports; results of protocols with the same label belong together."""
        repeats = f"{self.repeats} x " if self.repeats > 1 else ""
        share, seed = f"{100 * self.test_size:g} %", f", seed {self.seed}" if self.seed else ""
        return {
            "published": "published splits",
            "holdout": f"{repeats}holdout of {share}{seed}",
            "kfold": f"{repeats}{self.folds}-fold{seed}",
            "grouped": f"{repeats}{self.folds}-fold by group{seed}",
            "time": f"newest {share}" if self.folds == 1 else f"newest {self.folds} x {share}",
        }[self.kind]


def make_splits(dataset: Dataset, protocol: Protocol) -> list[Split]:
    """Divide a data set's rows.

    Parameters
    ----------
    dataset : Dataset
    protocol : Protocol

    Returns
    -------
    list of Split
        Numbered from 1; train and test never share a row.

    Raises
    ------
    ValueError
        If the data set lacks the group or time column, or training or test rows would be empty.
    """
    splits = [
        Split(fold, np.asarray(train), np.asarray(test))
        for fold, (train, test) in _SPLITTERS[protocol.kind](dataset, protocol)
    ]
    for split in splits:
        if not len(split.train) or not len(split.test):
            sizes = f"{len(split.train)} training and {len(split.test)} test rows"
            raise ValueError(
                "protocol must leave rows on both sides; "
                f"{protocol.label!r} leaves {sizes} of {dataset.name!r} in fold {split.fold}."
            )
    return splits


def choose_protocol(dataset: Dataset, options: Mapping[str, Any]) -> Protocol:
    """Build a protocol; the kind "auto" becomes the one that suits the data set's columns.

    Parameters
    ----------
    dataset : Dataset
    options : mapping
        Arguments of `Protocol`. With the kind "auto", a fold column gives the published folds, else
        a time column the newest rows, else a group column folds by group, else a random holdout.

    Returns
    -------
    Protocol
    """
    if options["kind"] != "auto":
        return Protocol(**options)
    columns = {"published": dataset.fold, "time": dataset.time, "grouped": dataset.groups}
    kind = next((kind for kind, column in columns.items() if column is not None), "holdout")
    folds = 1 if kind in ("time", "holdout") else AUTO_FOLDS
    return Protocol(**{**options, "kind": kind, "folds": folds})


Pairs = list[tuple[int, tuple[np.ndarray, np.ndarray]]]


def _holdout(dataset: Dataset, protocol: Protocol) -> Pairs:
    if dataset.task != "regression" and dataset.y.value_counts().min() < 2:
        lonely = dataset.y.value_counts().idxmin()
        raise ValueError(
            "protocol 'holdout' needs two rows of every class; "
            f"class {lonely!r} of {dataset.target!r} has 1 row."
        )
    splitter = ShuffleSplit if dataset.task == "regression" else StratifiedShuffleSplit
    draws = splitter(
        protocol.folds * protocol.repeats, test_size=protocol.test_size, random_state=protocol.seed
    )
    return list(enumerate(draws.split(dataset.X, _stratified(dataset)), 1))


def _kfold(dataset: Dataset, protocol: Protocol) -> Pairs:
    splitter = RepeatedKFold if dataset.task == "regression" else RepeatedStratifiedKFold
    draws = splitter(n_splits=protocol.folds, n_repeats=protocol.repeats, random_state=protocol.seed)
    return list(enumerate(draws.split(dataset.X, _stratified(dataset)), 1))


def _stratified(dataset: Dataset) -> Any:
    """Return the target as splitters read it: numbers, or codes of the classes."""
    return dataset.y if dataset.task == "regression" else dataset.classes_and_codes[1]


def _grouped(dataset: Dataset, protocol: Protocol) -> Pairs:
    groups = readable(_required(dataset, "groups", "group", "grouped").to_numpy())
    splitter = GroupKFold if dataset.task == "regression" else StratifiedGroupKFold
    pairs = [
        pair
        for repeat in range(protocol.repeats)
        for pair in splitter(protocol.folds, shuffle=True, random_state=protocol.seed + repeat).split(
            dataset.X, _stratified(dataset), groups
        )
    ]
    return list(enumerate(pairs, 1))


def _time(dataset: Dataset, protocol: Protocol) -> Pairs:
    time = _ordered(_required(dataset, "time", "time", "time"))
    # the rank is the share of rows up to a time: equal times share it, so no cut separates them
    rank = time.rank(method="max", pct=True).to_numpy()
    # the last window ends with the newest row, the others end where the next one starts
    starts = [1 - protocol.test_size * (protocol.folds - i) for i in range(protocol.folds)]
    ends = [*starts[1:], 1.0]
    windows = [
        (np.flatnonzero(rank <= a), np.flatnonzero((rank > a) & (rank <= b)))
        for a, b in zip(starts, ends)
    ]
    return list(enumerate(windows, 1))


def _published(dataset: Dataset, protocol: Protocol) -> Pairs:
    if dataset.fold is None:
        tests = [_drawn(dataset.X.index, fold) for fold in range(1, protocol.folds + 1)]
    elif "test" in set(dataset.fold):
        tests = [(dataset.fold == "test").to_numpy()]
    else:
        values, folds = distinct(dataset.fold.to_numpy())
        known = [code for code, value in enumerate(values) if not pd.isna(value)]
        tests = [folds == code for code in known]
    return [(fold, (np.flatnonzero(~test), np.flatnonzero(test))) for fold, test in enumerate(tests, 1)]


def _drawn(rows: pd.Index, fold: int) -> np.ndarray:
    # draw for every row of the source, so that dropped rows without a target do not shift others
    drawn = np.random.default_rng(PUBLISHED_SEED + fold).random(int(rows.max()) + 1)[rows.to_numpy()]
    return np.asarray(drawn < PUBLISHED_TEST_SIZE)


def _ordered(time: pd.Series) -> pd.Series:
    """Return a time column that sorts by time; text must be ISO dates, as 31.12.2020 sorts by day."""
    if not (types.is_object_dtype(time) or types.is_string_dtype(time)):
        return time
    times = iso_times(time, f"time: column {time.name!r}")
    unread = time[times.isna()]
    if len(unread):
        raise ValueError(
            f"time: column {time.name!r} must hold numbers or dates; it holds {unread.iloc[0]!r} in row "
            f"{unread.index[0]}, so name it in datetimes too."
        )
    return times


def _required(dataset: Dataset, attribute: str, option: str, kind: str) -> pd.Series:
    values: pd.Series | None = getattr(dataset, attribute)
    if values is None:
        raise ValueError(
            f"protocol {kind!r} needs a {option} column, and data set {dataset.name!r} names none; "
            f"give {option}=COLUMN."
        )
    if values.isna().any():
        raise ValueError(
            f"{option}: column {values.name!r} of data set {dataset.name!r} must be complete; "
            f"it has {values.isna().sum()} missing values."
        )
    return values


_SPLITTERS: dict[str, Callable[[Dataset, Protocol], Pairs]] = {
    "holdout": _holdout,
    "kfold": _kfold,
    "grouped": _grouped,
    "time": _time,
    "published": _published,
}
