"""Data sets: a frame, its target, and the roles of columns whose dtype does not show them."""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pandas.api import types

from tabemb.compare.hints import did_you_mean
from tabemb.compare.row_names import NOTES, lines_of, named_rows, naming_lines
from tabemb.compare.sources import as_pandas, read_table
from tabemb.compare.text_columns import MIN_NUMBERS, TextColumn
from tabemb.compare.text_files import TextOptions
from tabemb.data.dates import parse_dates
from tabemb.data.frames import to_arrow
from tabemb.data.keys import key_of
from tabemb.data.notes import Doubt, InputNote, doubts
from tabemb.data.number_text import choose_format, decimal_of
from tabemb.labels import as_objects, distinct, text_of

TASKS = ("binary", "multiclass", "regression")
HALF = re.compile("[\ud800-\udfff]")
"""A surrogate (half of a character), which the text dtype of pandas cannot store."""
TRANSFORMS = {"log": np.log, "log1p": np.log1p}

ColumnNames = Sequence[str] | str


@dataclass(frozen=True)
class Dataset:
    """A frame with a target, ready to be split.

    Parameters
    ----------
    name : str
        The name in tables and reports.
    X : DataFrame of shape (n_rows, n_columns)
        The inputs as they were read; the index is each row's number in the source.
    y : Series of shape (n_rows,)
        The target without missing values: floats for a regression, else labels.
    task : {"binary", "multiclass", "regression"}
    roles : dict, optional
        Role (`"categorical"`, `"number"`) by column where the dtype does not show it, as for integer
        ids.
    fold : Series, optional
        The published test fold of each row, or `"train"`/`"test"`.
    groups, time : Series, optional
        The group of each row (no group may be in both training and test rows), and its time.
    target : str
        The name of the target, with its transform.
    notes : sequence of str
        How doubtful inputs were read, for reports.
    column_notes : mapping
        The doubt about each doubtful column, for reports.
    lines : array, optional
        The line of each row of the source if that is a text file; error messages name rows by it.
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
    notes: Sequence[str] = ()
    column_notes: Mapping[str, str] = field(default_factory=dict)
    lines: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Refuse an unknown task or role, different lengths, and values that no model accepts."""
        if self.task not in TASKS:
            raise ValueError(f"task must be one of {', '.join(TASKS)}; got {self.task!r}.")
        if len(self.X) != len(self.y):
            raise ValueError(f"X and y must have as many rows; got {len(self.X)} and {len(self.y)}.")
        for column, role in self.roles.items():
            if column not in self.X or role not in ("categorical", "number"):
                raise ValueError(
                    "roles must map columns of X to 'categorical' or 'number'; "
                    f"got {column!r}: {role!r}."
                )

    @cached_property
    def classes_and_codes(self) -> tuple[np.ndarray, np.ndarray]:
        """The distinct labels in their order, and the position of each row's label among them."""
        return distinct(self.y.to_numpy())

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the inputs, the target and the roles, so that results on different data never mix."""
        digest = hashlib.blake2b(digest_size=8)
        shape = [
            list(map(str, self.X.columns)),
            list(map(str, self.X.dtypes)),
            self.task,
            dict(sorted(self.roles.items())),
        ]
        digest.update(json.dumps(shape).encode())
        for values in (self.X.apply(_hashable), _hashable(self.y)):
            digest.update(pd.util.hash_pandas_object(values).to_numpy().tobytes())
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
    drop: ColumnNames = (),
    categorical: ColumnNames = (),
    datetimes: ColumnNames = (),
    numbers: ColumnNames = (),
    target_transform: str | None = None,
    time: str | None = None,
    group: str | None = None,
    fold: str | None = None,
    sep: str | None = None,
    decimal: str | None = None,
    thousands: str | None = None,
    encoding: str | None = None,
    missing: ColumnNames | None = None,
    header: bool | None = None,
    comment: str | None = None,
    quote: str = '"',
) -> Dataset:
    """Read data and describe its columns.

    Parameters
    ----------
    name : str, optional
        The name in reports; by default the file's name without its extension.
    target : str
        The column to predict. Rows in which it is missing are dropped, with a warning that counts them.
    path, file, openml, reader, source
        Where the data is, see `tabemb.compare.sources.read_table`.
    task : {"binary", "multiclass", "regression"}, optional
        Inferred by default: text, categories and booleans are classes, two distinct numbers are
        "binary", any other numbers are a "regression".
    rename : mapping, optional
        New column names by name in the source; names that the source lacks are ignored, as sources
        differ.
    drop : str or sequence of str
        Columns that must not be inputs.
    categorical : str or sequence of str
        Columns to treat as categorical whatever their dtype, such as ids; "all" means every column.
    datetimes : str or sequence of str
        Text columns that contain dates, each column in one format. Other text becomes missing, with a
        warning that counts it.
    numbers : str or sequence of str
        Text columns that contain numbers, in any usual notation.
    target_transform : {"log", "log1p"}, optional
        Applied to the target of a regression; errors are on that scale.
    time, group, fold : str, optional
        Columns with the order of the rows, their groups, and the published test fold. `fold` is
        never an input; `time` and `group` are, unless dropped.
    sep, decimal, thousands, encoding, missing, header, comment, quote
        How a text file is read, see `tabemb.compare.compare`; most of it is inferred from the file.

    Returns
    -------
    Dataset

    Raises
    ------
    ValueError
        If a named column is not in the data, or the target does not fit the task.
    FileNotFoundError
        If there is no such file, or the source cannot be reached.
    """
    name = name or Path(str(path or file or openml or reader)).stem
    text = TextOptions(sep, decimal, thousands, encoding, missing, header, comment, quote)
    frame = read_table(name, path, file, openml, reader, source, text)
    frame = frame.rename(columns=dict(rename or {}))
    return dataset_from_frame(
        frame,
        target=target,
        name=name,
        task=task,
        drop=drop,
        categorical=categorical,
        datetimes=datetimes,
        numbers=numbers,
        target_transform=target_transform,
        time=time,
        group=group,
        fold=_known_fold(name, fold, frame, openml),
    )


def dataset_from_frame(
    frame: Any,
    target: str,
    name: str = "data",
    *,
    task: str | None = None,
    drop: ColumnNames = (),
    categorical: ColumnNames = (),
    datetimes: ColumnNames = (),
    numbers: ColumnNames = (),
    target_transform: str | None = None,
    time: str | None = None,
    group: str | None = None,
    fold: str | None = None,
) -> Dataset:
    """Describe the columns of a frame.

    Parameters
    ----------
    frame : DataFrame of pandas, polars or any library that narwhals reads, or pyarrow.Table
    target, name, task, drop, categorical, datetimes, numbers, target_transform, time, group, fold
        As in `load_dataset`.

    Returns
    -------
    Dataset

    Raises
    ------
    ValueError
        If a named column is not in the frame, a column holds lists, or the target does not fit the task.
    TypeError
        If `frame` is not a frame.
    """
    frame = as_pandas(frame)
    notes, lines = list(frame.attrs.get(NOTES, ())), lines_of(frame)
    drop, datetimes, numbers = _listed(drop), _listed(datetimes), _listed(numbers)
    # "all" means the inputs, not the target and the folds
    every_input = [str(c) for c in frame if c not in {target, fold, *drop}]
    ids = every_input if categorical == "all" else _listed(categorical)
    _check_columns(name, frame, {"target": [target], "drop": drop, "categorical": ids})
    optional = {"time": time, "group": group, "fold": fold}
    _check_columns(name, frame, {key: [column] for key, column in optional.items() if column})
    _check_columns(name, frame, {"datetimes": datetimes, "numbers": numbers})
    _check_stated_once({"categorical": ids, "datetimes": datetimes, "numbers": numbers})
    frame = _without_missing_target(name, frame, target)
    with naming_lines(lines):
        frame = _parse_numbers(_parse_datetimes(frame, datetimes, lines), numbers)
        task = task or _infer_task(frame[target])
        y = _prepare_target(frame[target], task, target_transform)
    inputs = frame.drop(columns=list({target, fold, *drop} - {None}))
    _check_inputs(name, inputs)
    doubtful = _doubts(inputs, {*ids, *datetimes, *numbers, time, group})
    notes += _note_doubts(name, doubtful)
    return Dataset(
        name=name,
        X=inputs,
        y=y,
        task=task,
        roles=dict.fromkeys((c for c in ids if c in inputs), "categorical"),
        fold=frame[fold] if fold else None,
        groups=frame[group] if group else None,
        time=frame[time] if time else None,
        target=f"{target_transform} {target}" if target_transform else target,
        notes=notes,
        column_notes={d.column: d.sentence.removeprefix(f"column {d.column!r} ") for d in doubtful},
        lines=lines,
    )


def _listed(columns: ColumnNames) -> list[str]:
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


def _check_columns(name: str, frame: pd.DataFrame, named: Mapping[str, Sequence[str]]) -> None:
    for argument, columns in named.items():
        for column in columns:
            if column not in frame:
                hint = did_you_mean(column, frame.columns, "it has")
                raise ValueError(f"{argument}: data set {name!r} has no column {column!r} ({hint}).")


def _check_inputs(name: str, inputs: pd.DataFrame) -> None:
    if not inputs.shape[1]:
        raise ValueError(
            f"data set {name!r} must have one input column or more; all are target or dropped."
        )
    for column in inputs:
        if _is_nested(inputs[column]):
            raise ValueError(
                f"data set {name!r}: column {column!r} must hold one value a row; "
                "it holds lists, so aggregate it or name it in drop."
            )


def _is_nested(column: pd.Series) -> bool:
    if isinstance(column.dtype, pd.ArrowDtype):
        return bool(pa.types.is_nested(column.dtype.pyarrow_dtype))
    first = column.first_valid_index() if column.dtype == object else None
    return first is not None and isinstance(column[first], (list, dict, np.ndarray))


def _without_missing_target(name: str, frame: pd.DataFrame, target: str) -> pd.DataFrame:
    known = frame[target].notna()
    if not known.all():
        warnings.warn(
            f"data set {name!r}: dropped {(~known).sum()} of {len(frame)} rows without {target!r}",
            stacklevel=4,
        )
    return frame[known]


def _parse_datetimes(
    frame: pd.DataFrame, columns: Sequence[str], lines: np.ndarray | None
) -> pd.DataFrame:
    return frame.assign(**{c: _parse_datetime(frame[c], lines) for c in columns})


def _parse_datetime(column: pd.Series, lines: np.ndarray | None) -> pd.Series:
    """Parse a column as dates, and warn of the number of values that are not dates."""
    times = parse_dates(column, f"datetimes: column {column.name!r}")
    unread = column[times.isna() & column.notna()]
    if len(unread):
        note = (
            f"datetimes: {len(unread)} of {len(column)} values of column {column.name!r} are no dates "
            f"and are now missing, the first {unread.iloc[0]!r} in row {unread.index[0]}."
        )
        warnings.warn(named_rows(note, None, lines), stacklevel=5)
    return times


def _parse_numbers(frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    return frame.assign(
        **{c: _numbers(frame[c]) for c in columns if not types.is_numeric_dtype(frame[c])}
    )


def _numbers(column: pd.Series) -> pd.Series:
    """Parse a column of texts as numbers."""
    texts = _text_column(column)
    formats = texts.formats()
    numbers = texts.numbers(choose_format(formats, decimal_of([formats]))) if formats else None
    if numbers is None:
        strays = texts.strays() or list(texts.levels[texts.numeric])
        fault = (
            f"it holds {strays[0]!r} in row {column.index[texts.first_row(strays[0])]}"
            if strays
            else "it has none"
        )
        raise ValueError(f"numbers: column {column.name!r} must hold numbers in one notation; {fault}.")
    return numbers.set_axis(column.index)


def _text_column(column: pd.Series) -> TextColumn:
    if types.is_object_dtype(column):
        column = column.map(text_of, na_action="ignore")
    return TextColumn(str(column.name), pa.array(column.astype("string"), pa.string()))


def _check_stated_once(stated: Mapping[str, Sequence[str]]) -> None:
    for (first, columns), (second, others) in combinations(stated.items(), 2):
        for column in columns:
            if column in others:
                raise ValueError(f"column {column!r} must be in {first} or in {second}; it is in both.")


def _doubts(inputs: pd.DataFrame, stated: set[str | None]) -> list[Doubt]:
    unstated = inputs[[column for column in inputs if column not in stated]]
    return doubts(to_arrow(unstated)) if unstated.shape[1] else []


def _note_doubts(name: str, doubtful: Sequence[Doubt]) -> list[str]:
    """Warn of all columns that look like another type in one note with the remedy, and return it."""
    if not doubtful:
        return []
    texts = "; ".join(doubt.sentence for doubt in doubtful)
    meant = _options(doubtful, {"dates": "datetimes", "numbers": "numbers", "ids": "categorical"})
    kept = _options(doubtful, {"dates": "categorical", "numbers": "categorical", "ids": "numbers"})
    note = (
        f"{texts}. {meant} reads them as what they look like, {kept} keeps them as they are; either "
        "ends this note."
    )
    warnings.warn(f"data set {name!r}: {note}", InputNote, stacklevel=4)
    return [note]


def _options(doubtful: Sequence[Doubt], option_of: Mapping[str, str]) -> str:
    columns: dict[str, list[str]] = {}
    for doubt in doubtful:
        columns.setdefault(option_of[doubt.looks], []).append(doubt.column)
    return ", ".join(f"{option}={listed}" for option, listed in columns.items())


def _refuse_numbers_in_text(y: pd.Series) -> None:
    """Refuse a text target that contains numbers: every number would become a class."""
    texts = _text_column(y)
    numeric, strays = texts.levels[texts.numeric], texts.strays()
    if len(numeric) >= MIN_NUMBERS and (strays or texts.formats()):
        row = y.index[texts.first_row(strays[0] if strays else numeric[0])]
        fault = f"{strays[0]!r} in row {row}" if strays else f"{numeric[0]!r}"
        remedy = f"give missing=[{strays[0]!r}] or mend it" if strays else f"give numbers=[{y.name!r}]"
        raise ValueError(
            f"target: column {y.name!r} holds numbers as text ({fault}); {remedy}, or give "
            "task=multiclass if they are labels."
        )


def _infer_task(y: pd.Series) -> str:
    n_values = y.nunique()
    if types.is_string_dtype(y.dtype):
        _refuse_numbers_in_text(y)
    # two numbers are classes; more may be classes too, but only the user knows
    if types.is_numeric_dtype(y) and not types.is_bool_dtype(y) and n_values > 2:
        return "regression"
    return "binary" if n_values <= 2 else "multiclass"


def _prepare_target(y: pd.Series, task: str, transform: str | None) -> pd.Series:
    if transform is not None and (transform not in TRANSFORMS or task != "regression"):
        raise ValueError(
            f"target_transform must be one of {', '.join(TRANSFORMS)}, for a regression; "
            f"got {transform!r} for {task}."
        )
    if task != "regression":
        return _labels(y, task)
    if not types.is_numeric_dtype(y):
        raise ValueError(f"target: a regression needs numbers; column {y.name!r} holds {y.dtype}.")
    y = y.astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        transformed = pd.Series(TRANSFORMS[transform](y)) if transform else y
    if not np.isfinite(transformed).all():
        after = f" after {transform}" if transform else ""
        raise ValueError(
            f"target: column {y.name!r} must be finite{after}; its smallest value is {y.min()}."
        )
    return transformed


def _labels(y: pd.Series, task: str) -> pd.Series:
    n_classes = y.nunique()
    if n_classes < 2 or (task == "binary" and n_classes > 2):
        rule = "2 classes" if task == "binary" else "2 classes or more"
        raise ValueError(f"target: a {task} column has {rule}; {y.name!r} has {n_classes}.")
    if types.is_integer_dtype(y) or types.is_bool_dtype(y):
        return y.astype(int)
    labels = pd.Series(as_objects(y), y.index, dtype=object, name=y.name)
    return y.astype("str") if _is_text(labels) else labels


def _is_text(values: pd.Series) -> bool:
    return all(isinstance(value, str) and not HALF.search(value) for value in values)


def _hashable(values: pd.Series) -> pd.Series:
    """Return values that pandas can hash; different objects become different texts."""
    if not types.is_object_dtype(values) or _is_text(values.dropna()):
        return values
    return values.map(lambda value: ascii(key_of(value, str(values.name))), na_action="ignore")
