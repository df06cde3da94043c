"""Pretrained vectors of a table: as the user gives them, checked, and matched to a vocabulary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from tabemb.data.frames import to_arrow
from tabemb.data.vocabulary import Vocabulary
from tabemb.spaces.space import EmbeddingSpace


def given_vectors(name: str, pretrained: Any) -> pd.DataFrame:
    """Return pretrained vectors as a frame: one row per category, one column per dimension."""
    if isinstance(pretrained, EmbeddingSpace):
        return pd.DataFrame(pretrained.vectors, index=pretrained.categories)
    if isinstance(pretrained, pd.DataFrame):
        return pretrained
    if not isinstance(pretrained, Mapping):
        raise TypeError(
            f"Table {name!r}: pretrained must be an EmbeddingSpace, a DataFrame indexed by category or "
            f"a mapping from category to vector; got {type(pretrained).__name__}."
        )
    widths = {np.size(vector) for vector in pretrained.values()}
    if len(widths) != 1:
        raise ValueError(
            f"Table {name!r}: pretrained vectors must all have one width; got widths {sorted(widths)}."
        )
    return pd.DataFrame(
        np.stack([np.ravel(v) for v in pretrained.values()]),
        index=pd.Index(list(pretrained), tupleize_cols=False),
    )


def check_vectors(name: str, given: pd.DataFrame) -> pd.DataFrame:
    """Return the vectors if each category has one finite vector."""
    if not given.index.is_unique:
        twice = given.index[given.index.duplicated()][0]
        raise ValueError(f"Table {name!r}: pretrained has several vectors for category {twice!r}.")
    try:
        finite = np.isfinite(given.to_numpy(np.float64)).all(axis=1)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"Table {name!r}: pretrained vectors must hold numbers alone; {error}."
        ) from error
    if not finite.all():
        raise ValueError(
            f"Table {name!r}: the pretrained vector of category {given.index[~finite][0]!r} is not "
            "finite."
        )
    return given


def match_vectors(name: str, given: pd.DataFrame, vocabulary: Vocabulary) -> np.ndarray:
    """Return the start vectors by code, (n_codes, dim), NaN for a code without one; matched by value."""
    labels = to_arrow(pd.DataFrame({name: pd.Series(list(given.index), dtype=object)}))
    try:
        codes = vocabulary.codes(labels[name], labels.schema.field(name))
    except ValueError:
        raise ValueError(
            f"Table {name!r}: pretrained vectors must be indexed by category; the index holds "
            f"{given.index[0]!r}, while the columns hold {vocabulary.kind} values."
        ) from None
    known = (codes >= vocabulary.kept.start) & (codes < vocabulary.kept.stop)
    if not known.any():
        raise ValueError(
            f"Table {name!r}: none of the {len(given)} pretrained vectors is of a category of its "
            "columns."
        )
    vectors = np.full((len(vocabulary), given.shape[1]), np.nan, dtype=np.float32)
    vectors[codes[known]] = given.to_numpy(np.float32)[known]
    return vectors
