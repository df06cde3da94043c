"""Named data sets: a frame, its target, and what the frame alone does not tell."""

from __future__ import annotations

import difflib
import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.api import types

from tabemb.compare.sources import read_table

TASKS = ("binary", "multiclass", "regression")
TRANSFORMS = {"log": np.log, "log1p": np.log1p}


@dataclass(frozen=True)
class Dataset:
    """A supervised table that is ready to be split.

    Parameters
    ----------
    name : str
        What tables and reports call it.
    X : DataFrame of shape (n_rows, n_columns)
        The inputs as they were read; the index holds each row's number in the source.
    y : Series of shape (n_rows,)
        The target without missing values: floats for regression, else labels.
    task : {"binary", "multiclass", "regression"}
    roles : dict, optional
        Column to role (`"categorical"`, `"number"`) where the dtype does not tell it, as for ids kept as integers.
    fold : Series, optional
        The published test fold of each row, or `"train"`/`"test"`.
    groups, time : Series, optional
        What must not stand in training and test at once, and what orders the rows.
    target : str
        What the target is called, with its transform.
    """

    name: str
    X: pd.DataFrame
    y: pd.Series
    task: str
    roles: Mapping[str, str] = field(default_factory=dict)
    fold: pd.Series | None = None
    groups: pd.Series | None = None
    time: pd.Series | None = None
    target: str = "y"

    def __post_init__(self) -> None:
        """Refuse a task or role that is none, and lengths that differ."""
        if self.task not in TASKS:
            raise ValueError(f"task must be one of {TASKS}, got {self.task!r}")
        if len(self.X) != len(self.y):
            raise ValueError(f"X and y must have as many rows, got {len(self.X)} and {len(self.y)}")
        for column, role in self.roles.items():
            if column not in self.X or role not in ("categorical", "number"):
                raise ValueError(
                    f"roles must map columns of X to 'categorical' or 'number', got {column!r}: {role!r}"
                )

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the inputs, the target and the roles: results on other data never mix with these."""
        digest = hashlib.blake2b(digest_size=8)
        shape = [
            list(map(str, self.X.columns)),
            list(map(str, self.X.dtypes)),
            self.task,
            dict(sorted(self.roles.items())),
        ]
        digest.update(json.dumps(shape).encode())
        digest.update(pd.util.hash_pandas_object(self.X).to_numpy().tobytes())
        digest.update(pd.util.hash_pandas_object(self.y).to_numpy().tobytes())
        return digest.hexdigest()


def load_dataset(
    name: str | None = None,
    *,
    target: str,
    path: str | Path | None = None,
    file: str | None = None,
    openml: int | str | None = None,
    reader: str | None = None,
    source: str | None = None,
    task: str | None = None,
    rename: Mapping[str, str] | None = None,
    drop: Sequence[str] | str = (),
    categorical: Sequence[str] | str = (),
    datetimes: Sequence[str] | str = (),
    target_transform: str | None = None,
    time: str | None = None,
    group: str | None = None,
    fold: str | None = None,
) -> Dataset:
    """Read a table and say which column is what.

    Parameters
    ----------
    name : str, optional
        What reports call the data set; the file's name without its ending when left out.
    target : str
        The column to predict. Rows in which it is missing are dropped, with a warning that counts them.
    path, file, openml, reader, source
        Where the table is, see `tabemb.compare.sources.read_table`.
    task : {"binary", "multiclass", "regression"}, optional
        Inferred when left out: text, categories and booleans are classes, two distinct numbers are "binary", any other
        numbers "regression".
    rename : mapping, optional
        Column names of the source to those used here; names that the source lacks are passed over, as sources differ.
    drop : str or sequence of str
        Columns that must not be inputs.
    categorical : str or sequence of str
        Columns whose values are ids whatever their dtype; "all" stands for every column.
    datetimes : str or sequence of str
        Text columns that hold dates; unreadable ones become missing.
    target_transform : {"log", "log1p"}, optional
        Taken of a regression target, so that errors are on that scale.
    time, group, fold : str, optional
        Columns that order the rows, tie them together, or hold the published test fold. `fold` is never an input;
        `time` and `group` are unless dropped.

    Returns
    -------
    Dataset

    Raises
    ------
    ValueError
        If a named column is not in the table, or the target does not fit the task.
    FileNotFoundError
        If the table is not at hand.
    """
    name = name or Path(str(path or file or openml or reader)).stem
    frame = read_table(name, path, file, openml, reader, source).rename(columns=dict(rename or {}))
    drop, datetimes = _listed(drop), _listed(datetimes)
    ids = (
        [str(c) for c in frame if c not in {target, fold, *drop}]
        if categorical == "all"
        else _listed(categorical)
    )
    fold = _known_fold(name, fold, frame, openml)
    _check_columns(name, frame, {"target": [target], "drop": drop, "categorical": ids, "datetimes": datetimes,
                                 "time": [time], "group": [group], "fold": [fold]})  # fmt: skip
    frame = _parse_datetimes(_without_missing_target(name, frame, target), datetimes)
    task = task or _infer_task(frame[target])
    inputs = frame.drop(columns=list({target, fold, *drop} - {None}))
    return Dataset(
        name=name,
        X=inputs,
        y=_prepare_target(frame[target], task, target_transform),
        task=task,
        roles=dict.fromkeys((c for c in ids if c in inputs), "categorical"),
        fold=frame[fold] if fold else None,
        groups=frame[group] if group else None,
        time=frame[time] if time else None,
        target=f"{target_transform} {target}" if target_transform else target,
    )


def _listed(columns: Sequence[str] | str) -> list[str]:
    return [columns] if isinstance(columns, str) else list(columns)


def _known_fold(
    name: str, fold: str | None, frame: pd.DataFrame, openml: int | str | None
) -> str | None:
    if fold is None or fold in frame or openml is None:
        return fold
    warnings.warn(
        f"data set {name!r}: its public copy has no split column {fold!r}; seeded splits are used",
        stacklevel=3,
    )
    return None


def _check_columns(name: str, frame: pd.DataFrame, wanted: Mapping[str, Sequence[str | None]]) -> None:
    for argument, columns in wanted.items():
        for column in columns:
            if column is not None and column not in frame:
                near = difflib.get_close_matches(column, map(str, frame.columns), n=3, cutoff=0.5)
                hint = (
                    f"did you mean {' or '.join(map(repr, near))}?"
                    if near
                    else f"it has {list(frame.columns)[:12]}"
                )
                raise ValueError(f"{argument}: data set {name!r} has no column {column!r}; {hint}")


def _without_missing_target(name: str, frame: pd.DataFrame, target: str) -> pd.DataFrame:
    known = frame[target].notna()
    if not known.all():
        warnings.warn(
            f"data set {name!r}: dropped {(~known).sum()} of {len(frame)} rows without {target!r}",
            stacklevel=3,
        )
    return frame[known]


def _parse_datetimes(frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    return frame.assign(
        **{c: pd.to_datetime(frame[c], errors="coerce", format="mixed") for c in columns}
    )


def _infer_task(y: pd.Series) -> str:
    n_values = y.nunique()
    if types.is_numeric_dtype(y) and not types.is_bool_dtype(y) and n_values > 2:
        return "regression"
    return "binary" if n_values <= 2 else "multiclass"


def _prepare_target(y: pd.Series, task: str, transform: str | None) -> pd.Series:
    if transform is not None and (transform not in TRANSFORMS or task != "regression"):
        raise ValueError(
            f"target_transform must be one of {list(TRANSFORMS)} of a regression, got {transform!r} for {task}"
        )
    if task != "regression":
        return _labels(y, task)
    if not types.is_numeric_dtype(y):
        raise ValueError(f"target: a regression needs numbers, column {y.name!r} holds {y.dtype}")
    y = y.astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        transformed = pd.Series(TRANSFORMS[transform](y)) if transform else y
    if not np.isfinite(transformed).all():
        raise ValueError(
            f"target: column {y.name!r} must be finite, its smallest value is {y.min()} ({transform=})"
        )
    return transformed


def _labels(y: pd.Series, task: str) -> pd.Series:
    n_classes = y.nunique()
    if n_classes < 2 or (task == "binary" and n_classes > 2):
        raise ValueError(
            f"target: a {task} column has {'2' if task == 'binary' else '>= 2'} classes, {y.name!r} has {n_classes}"
        )
    return y.astype(int) if types.is_integer_dtype(y) or types.is_bool_dtype(y) else y.astype("str")
