"""Values of categories by code: look-up for rows, values for new categories, and the inverse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.metrics import pairwise_distances_argmin

from tabemb.data.encoding import Encoder
from tabemb.data.floats import to_floats
from tabemb.data.frames import is_frame, to_arrow
from tabemb.data.schema import near
from tabemb.data.shrinkage import LevelSums
from tabemb.data.similar import likeness_gain
from tabemb.data.vocabulary import MISSING, N_SPECIAL, UNKNOWN, Vocabulary
from tabemb.fitting.placing import labels_in, likeness_by_input, likeness_of
from tabemb.likeness.nearest import Likeness


@dataclass(frozen=True)
class Placing:
    """How new categories of one column are placed among the known ones.

    Parameters
    ----------
    input : int
        Position of the column.
    share : float
        Total weight of the known categories; the rest is the weight of the unknown category.
    gain : float
        Share of the variance of the effects of known categories that this explains, out of sample.
    """

    input: int
    share: float
    gain: float


class Placer:
    """Mixes the values of known categories for new categories that resemble them.

    Parameters
    ----------
    encoder : Encoder
    placings : sequence of Placing
    """

    def __init__(self, encoder: Encoder, placings: Sequence[Placing]) -> None:
        self.encoder, self.placings = encoder, placings

    def alike(self, placing: Placing) -> Likeness | None:
        """Return the likeness by which the categories of a column are compared, if there is one."""
        name = self.encoder.schema.table_names[placing.input]
        tables, vocabularies = self.encoder.schema.tables, self.encoder.vocabularies_
        return likeness_of(name, tables[name], vocabularies[name])

    def of_table(self, name: str) -> Placing | None:
        """Return the placing with the largest gain among the columns that read a table."""
        names = self.encoder.schema.table_names
        of_table = [placing for placing in self.placings if names[placing.input] == name]
        return max(of_table, key=lambda placing: placing.gain) if of_table else None


def column_placings(
    encoder: Encoder,
    codes: np.ndarray,
    responses: np.ndarray,
    weights: np.ndarray,
    generator: np.random.Generator,
) -> list[Placing]:
    """Return the placings of the columns whose descriptions predict the effects well enough.

    Parameters
    ----------
    encoder : Encoder
    codes : ndarray of shape (n_rows, n_columns)
    responses : ndarray of shape (n_rows, n_responses)
    weights : ndarray of shape (n_rows,)
    generator : Generator
    """
    centered = responses - np.average(responses, axis=0, weights=weights)
    placings = []
    for column, alike in likeness_by_input(encoder).items():
        sums = LevelSums.from_rows(codes[:, column], centered, weights)
        strength, _ = sums.best_strength()
        labels = np.arange(len(sums.counts)) - N_SPECIAL
        gain = likeness_gain(labels, sums, strength, alike, generator)
        placings += [] if gain is None else [Placing(column, *gain)]
    return placings


def read_values(by_code: Sequence[np.ndarray], codes: np.ndarray) -> np.ndarray:
    """Return the values of the codes of all columns, (n_rows, n_features)."""
    return np.hstack([values[column] for values, column in zip(by_code, codes.T)])


def place_values(
    features: np.ndarray,
    by_code: Sequence[np.ndarray],
    codes: np.ndarray,
    frame: pa.Table,
    placer: Placer,
) -> None:
    """Replace the values of the unknown category by those of new categories, in place.

    Parameters
    ----------
    features : ndarray of shape (n_rows, n_features)
        From `read_values`.
    by_code : sequence of ndarray of shape (n_codes, width)
    codes : ndarray of shape (n_rows, n_columns)
    frame : pyarrow.Table
        The rows.
    placer : Placer
    """
    ends = np.cumsum([values.shape[1] for values in by_code])
    for placing in placer.placings:
        values = by_code[placing.input]
        rows = np.flatnonzero(codes[:, placing.input] == UNKNOWN)
        alike = placer.alike(placing) if len(rows) else None
        if alike is None:
            continue
        column = placer.encoder.schema.categorical[placing.input].column
        labels, cells = labels_in(frame, column, rows)
        end = ends[placing.input]
        of_labels = values_of_new(values, alike, labels, placing.share)
        features[rows, end - values.shape[1] : end] = of_labels[cells]


def fill_absent(values: np.ndarray, counts: np.ndarray, placer: Placer, placing: Placing) -> None:
    """Fill in the values of known categories without rows as for new categories, in place.

    Parameters
    ----------
    values : ndarray of shape (n_codes, width)
    counts : ndarray of shape (n_codes,)
        Counts in the rows that the values are computed from.
    placer : Placer
    placing : Placing
    """
    alike = placer.alike(placing)
    absent = np.flatnonzero(counts[N_SPECIAL:] == 0)
    if alike is None or not len(absent):
        return
    others, weights = alike.nearest_others(absent)
    values[absent + N_SPECIAL] = mixed(values, others + N_SPECIAL, placing.share * weights)


def values_of_new(
    values: np.ndarray, alike: Likeness, labels: Sequence[Any], share: float
) -> np.ndarray:
    """Return the values of new labels, (n, width): those of unknown for a label that resembles none."""
    of_labels = np.repeat(values[:1].astype(np.float64), len(labels), axis=0)
    has = np.flatnonzero(alike.has(labels))
    near, weights = alike.nearest([labels[i] for i in has.tolist()])
    of_labels[has] = mixed(values, near + N_SPECIAL, share * weights)
    return of_labels


def mixed(values: np.ndarray, codes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return weighted means of values by code, (n, width); the unknown category has the weight left."""
    rest = (1 - weights.sum(axis=1))[:, None] * values[UNKNOWN]
    return np.asarray(rest + np.einsum("nk,nkd->nd", weights, values[codes]))


def nearest_categories(vocabulary: Vocabulary, by_code: np.ndarray, features: np.ndarray) -> np.ndarray:
    """Return the category with the nearest values; None stands for a missing value."""
    first = MISSING if vocabulary.counts[MISSING] else N_SPECIAL
    labels = np.array([None, *vocabulary.labels()], dtype=object)[first - MISSING :]
    values = by_code[first : vocabulary.kept.stop]
    nearest: np.ndarray = labels[pairwise_distances_argmin(features, values)]
    return nearest


def features_in(X: Any, names: Sequence[str], estimator: Any) -> np.ndarray:
    """Return the new columns from a frame, by name, or from an array, (n_rows, n_features)."""
    if not is_frame(X):
        values = np.asarray(X, dtype=np.float64)
        if values.ndim != 2 or values.shape[1] != len(names):
            raise ValueError(
                f"X must have {len(names)} columns, the new ones; got the shape {values.shape}."
            )
        return values
    frame = to_arrow(X, estimator)
    for name in names:
        if name not in frame.schema.names:
            raise ValueError(f"X lacks column {name!r}{near(name, frame.schema.names)}.")
    return np.column_stack([to_floats(frame[name], name) for name in names])
