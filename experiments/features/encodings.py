"""Nine ways to encode categories for a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix, hstack, issparse
from sklearn.base import TransformerMixin
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from experiments.features.vectors import effects, vectors
from experiments.shared.tables import Encoded, TableProblem
from tabemb.compare.preparation import (
    as_numbers,
    as_text,
    codes,
    datetime_numbers,
    level_means,
    number_steps,
    one_hot,
)

ENCODINGS = (
    "native",
    "ordinal",
    "one-hot",
    "target means",
    "in-sample vectors",
    "vectors",
    "vectors and effects",
    "native and vectors",
    "ordinal, vectors and effects",
)


def encode(
    problem: TableProblem, encoding: str, scaled: bool, settings: Mapping[str, Any], seed: int
) -> Encoded:
    """Encode the categories of a problem, and add its numbers and times.

    Parameters
    ----------
    problem : TableProblem
    encoding : str
        One of :data:`ENCODINGS`.
    scaled : bool
        Whether to standardise numbers, codes and means, for a model that measures distances.
    settings : mapping
        ``folder``, ``n_jobs`` and the arguments of the ``encoder`` of vectors.
    seed : int
    """
    numbers = _numbers(problem, scaled)
    if encoding in ("native", "native and vectors"):
        parts = [_texts(problem), numbers]
        if encoding == "native and vectors":
            parts.append(vectors(problem, settings, seed))
        train = pd.concat([part.train.reset_index(drop=True) for part in parts], axis=1)
        test = pd.concat([part.test.reset_index(drop=True) for part in parts], axis=1)
        return Encoded(train, test, problem.columns.categorical)
    return _beside(_as_numbers(problem, encoding, scaled, settings, seed), numbers)


def _as_numbers(
    problem: TableProblem, encoding: str, scaled: bool, settings: Mapping[str, Any], seed: int
) -> Encoded:
    """Encode only the categories, as numbers."""
    if encoding in _ENCODERS:
        encoder = _ENCODERS[encoding](problem, seed)
        return _transformed(problem, encoder, scaled and encoding != "one-hot")
    encoded = vectors(problem, settings, seed, in_sample=encoding == "in-sample vectors")
    if "effects" in encoding:
        encoded = _beside(encoded, effects(problem, scaled, seed))
    if "ordinal" in encoding:
        encoded = _beside(_transformed(problem, _ordinal(problem, seed), scaled=False), encoded)
    return encoded


def _ordinal(problem: TableProblem, seed: int) -> TransformerMixin:
    return make_pipeline(codes(), FunctionTransformer(lambda values: np.nan_to_num(values, nan=-1.0)))


_ENCODERS: dict[str, Callable[[TableProblem, int], TransformerMixin]] = {
    "ordinal": _ordinal,
    "one-hot": lambda problem, seed: one_hot(),
    "target means": lambda problem, seed: level_means(problem.kind, seed),
}


def _transformed(problem: TableProblem, encoder: Any, scaled: bool) -> Encoded:
    names = problem.columns.categorical
    steps = make_pipeline(encoder, StandardScaler()) if scaled else encoder
    train = steps.fit_transform(problem.X[names], problem.y)
    return Encoded(train, steps.transform(problem.X_test[names]))


def _texts(problem: TableProblem) -> Encoded:
    names = problem.columns.categorical
    return Encoded(as_text(problem.X[names]), as_text(problem.X_test[names]))


def _numbers(problem: TableProblem, scaled: bool) -> Encoded:
    """Return numbers and times, with missing ones replaced by medians."""
    train, test = (_plain_numbers(problem, X) for X in (problem.X, problem.X_test))
    if not scaled or not train.shape[1]:
        medians = train.median()
        return Encoded(train.fillna(medians), test.fillna(medians))
    steps = number_steps().fit(train)
    return Encoded(steps.transform(train), steps.transform(test))


def _plain_numbers(problem: TableProblem, X: pd.DataFrame) -> pd.DataFrame:
    kinds = problem.columns
    parts = [as_numbers(X[kinds.numbers])] if kinds.numbers else []
    parts += [datetime_numbers(X[kinds.datetimes])] if kinds.datetimes else []
    return pd.concat(parts, axis=1) if parts else pd.DataFrame(index=X.index)


def _beside(first: Encoded, second: Encoded) -> Encoded:
    return Encoded(_stacked(first.train, second.train), _stacked(first.test, second.test))


def _stacked(first: Any, second: Any) -> Any:
    if issparse(first):
        both: Any = [first, csr_matrix(np.asarray(second))]
        return hstack(both).tocsr().astype(np.float32)
    return np.hstack([np.asarray(first), np.asarray(second)]).astype(np.float32)
