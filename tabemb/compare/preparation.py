"""Preparation of a frame: the numbers that each kind of scikit-learn model needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import sklearn
from pandas.api import types
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
    TargetEncoder,
)
from sklearn.utils.fixes import parse_version

from tabemb.data.keys import key_of
from tabemb.labels import text_of

# scikit-learn's boosted trees have 255 bins per column, and each level takes one
MAX_NATIVE_LEVELS = 255
_TARGET_TYPES = {"binary": "binary", "multiclass": "multiclass", "regression": "continuous"}


@dataclass(frozen=True)
class Columns:
    """The kind of every column of a training frame.

    Parameters
    ----------
    few, many : list of str
        Categorical columns with up to 255 levels in training, and with more.
    numbers, datetimes : list of str
        Numbers (booleans among them) and dates.
    roles : mapping
        The roles of the columns, for models that take roles: the estimators of tabemb then read every
        column as the other models do. Booleans and columns without values have no role.
    """

    few: list[str]
    many: list[str]
    numbers: list[str]
    datetimes: list[str]
    roles: Mapping[str, str] = field(default_factory=dict)

    @property
    def categorical(self) -> list[str]:
        """All categorical columns, those with few levels first."""
        return self.few + self.many


def sort_columns(X: pd.DataFrame, roles: Mapping[str, str] | None = None) -> Columns:
    """Sort the columns of a training frame by kind.

    Parameters
    ----------
    X : DataFrame of shape (n_rows, n_columns)
    roles : mapping, optional
        `"categorical"` or `"number"` for columns whose dtype does not show it.

    Returns
    -------
    Columns
    """
    roles, kinds = dict(roles or {}), dict(roles or {})
    columns: dict[str, list[str]] = {"few": [], "many": [], "numbers": [], "datetimes": []}
    for column in X.columns:
        kind = roles.get(column) or _kind(X[column])
        if not types.is_bool_dtype(X[column]) and X[column].notna().any():
            kinds[column] = kind
        if kind == "categorical":
            kind = "few" if X[column].nunique() <= MAX_NATIVE_LEVELS else "many"
        columns["numbers" if kind == "number" else kind].append(column)
    kinds = {column: "datetime" if kind == "datetimes" else kind for column, kind in kinds.items()}
    return Columns(**columns, roles=kinds)


def _kind(column: pd.Series) -> str:
    if types.is_numeric_dtype(column) or types.is_timedelta64_dtype(column):
        return "number"
    return "datetimes" if types.is_datetime64_any_dtype(column) else "categorical"


def as_text(frame: pd.DataFrame) -> pd.DataFrame:
    """Turn every value into text and missing ones into NaN, as encoders accept one type only."""
    texts: pd.DataFrame = frame.apply(_column_as_text)
    return texts.astype(object).where(frame.notna(), np.nan)


def _column_as_text(column: pd.Series) -> pd.Series:
    if types.is_object_dtype(column):
        return column.map(_as_text, na_action="ignore")
    # via the string dtype of pandas, in which a missing value does not become "nan"
    return column.astype("string").astype(object)


def _as_text(value: Any) -> str:
    """Return a text that is unique to a value: 1, "1" and b"1" are three levels."""
    return text_of(value if isinstance(value, str) else f"<{key_of(value, 'X')}>")


def as_numbers(frame: pd.DataFrame) -> pd.DataFrame:
    """Turn numbers, booleans and durations (in seconds) into floats with NaN where missing."""
    numbers: pd.DataFrame = frame.apply(
        lambda c: c.dt.total_seconds() if types.is_timedelta64_dtype(c) else c.astype("Float64")
    )
    return numbers.astype(float)


def datetime_numbers(frame: pd.DataFrame) -> pd.DataFrame:
    """Turn dates into days since 1970, year, month, day of the year, day of the week and hour."""
    return pd.concat([_date_parts(frame[column]).add_prefix(f"{column}_") for column in frame], axis=1)


def _date_parts(column: pd.Series) -> pd.DataFrame:
    # all parts must refer to one time zone, UTC
    at = column.dt.tz_convert(None) if getattr(column.dt, "tz", None) is not None else column
    parts = {
        name: getattr(at.dt, name) for name in ("year", "month", "day_of_year", "day_of_week", "hour")
    }
    return pd.DataFrame({"days": (at - pd.Timestamp(0)) / pd.Timedelta(days=1), **parts}).astype(float)


def number_steps() -> Pipeline:
    """Build imputed, scaled numbers, with an indicator for each column that has missing values."""
    impute = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    return make_pipeline(FunctionTransformer(as_numbers), impute, StandardScaler())


def datetime_steps() -> Pipeline:
    """Build imputed, scaled numbers of dates."""
    impute = SimpleImputer(strategy="median", keep_empty_features=True)
    return make_pipeline(FunctionTransformer(datetime_numbers), impute, StandardScaler())


def codes() -> Pipeline:
    """Build the encoding of categories as 0, 1, ..., with NaN for missing and unseen ones."""
    encoder = OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=np.nan, encoded_missing_value=np.nan
    )
    return make_pipeline(FunctionTransformer(as_text), encoder)


def level_means(task: str, seed: int) -> Pipeline:
    """Build smoothed, out-of-fold target means by level; an unseen level gets the overall mean."""
    # in-sample means would leak the target of training rows into their inputs
    encoder = TargetEncoder(target_type=_TARGET_TYPES[task], **_five_folds(task, seed))
    return make_pipeline(FunctionTransformer(as_text), encoder)


def _five_folds(task: str, seed: int) -> dict[str, Any]:
    if parse_version(sklearn.__version__) < parse_version("1.9"):  # accepts no splitter, draws the same
        return {"cv": 5, "random_state": seed}
    folds = KFold if task == "regression" else StratifiedKFold
    return {"cv": folds(5, shuffle=True, random_state=seed)}


def one_hot(min_frequency: int = 5) -> Pipeline:
    """Build one-hot columns; levels rarer than `min_frequency` and unseen ones share a column."""
    encoder = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=min_frequency)
    return make_pipeline(FunctionTransformer(as_text), encoder)


def tree_inputs(columns: Columns, task: str, seed: int) -> ColumnTransformer:
    """Build inputs for trees: codes for few levels, level means for many, numbers with NaN.

    The codes come first, so that columns 0 to `len(columns.few) - 1` are the categorical ones.
    """
    return _by_kind(
        few=(codes(), columns.few),
        many=(level_means(task, seed), columns.many),
        numbers=(FunctionTransformer(as_numbers), columns.numbers),
        datetimes=(FunctionTransformer(datetime_numbers), columns.datetimes),
    )


def native_inputs(columns: Columns) -> ColumnTransformer:
    """Build inputs for trees with native categories: codes first, then numbers."""
    return _by_kind(
        categorical=(codes(), columns.categorical),
        numbers=(FunctionTransformer(as_numbers), columns.numbers),
        datetimes=(FunctionTransformer(datetime_numbers), columns.datetimes),
    )


def dense_inputs(columns: Columns, task: str, seed: int) -> ColumnTransformer:
    """Build inputs for models that use distances: scaled level means and imputed numbers."""
    return _by_kind(
        categorical=(make_pipeline(level_means(task, seed), StandardScaler()), columns.categorical),
        numbers=(number_steps(), columns.numbers),
        datetimes=(datetime_steps(), columns.datetimes),
    )


def sparse_inputs(columns: Columns) -> ColumnTransformer:
    """Build inputs for linear models: one-hot columns and scaled, imputed numbers."""
    return _by_kind(
        categorical=(one_hot(), columns.categorical),
        numbers=(number_steps(), columns.numbers),
        datetimes=(datetime_steps(), columns.datetimes),
    )


def _by_kind(**steps: tuple[Pipeline | FunctionTransformer, Sequence[str]]) -> ColumnTransformer:
    # a kind without columns is left out: several encoders refuse an empty frame
    return ColumnTransformer(
        [(kind, step, list(names)) for kind, (step, names) in steps.items() if names]
    )
