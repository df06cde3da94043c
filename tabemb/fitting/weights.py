"""Weights of rows and of classes: what a user passes, and weights that can be summed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tabemb.data.frames import to_vector
from tabemb.fitting.target_values import check_mask
from tabemb.labels import codes_of, distinct

MOST = 2.0**40
"""Largest weight: sums over very many rows, and their cubes, stay finite."""
LEAST = 1e-200
"""Smallest weight of a class above zero: multiplied by the weight of a row it stays above zero."""
LEAST_SHARE = 1e-30
"""Smallest weight, as a share of the largest: float32 can still represent it."""
LEAST_ROWS = 2.0
"""Weights with a smaller sum are relative: no fit could learn from less than two rows."""


def check_weights(sample_weight: Any, n_rows: int) -> np.ndarray | None:
    """Return the weights as float64 of shape (n_rows,), or None.

    Raises
    ------
    ValueError
        A wrong shape, a negative, missing or infinite weight, no weight above zero.
    """
    if sample_weight is None:
        return None
    weights = _as_floats(sample_weight)
    if weights.ndim == 0:
        weights = np.full(n_rows, float(weights))
    if weights.shape != (n_rows,):
        raise ValueError(
            f"sample_weight must have the shape ({n_rows},), one a row; got {weights.shape}."
        )
    bad = ~np.isfinite(weights) | (weights < 0)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise ValueError(f"sample_weight must be finite and not negative; row {row} has {weights[row]}.")
    if not weights.any():
        raise ValueError("sample_weight is zero in every row; at least one weight must be above zero.")
    return bounded(weights)


def _as_floats(sample_weight: Any) -> np.ndarray:
    check_mask(sample_weight, "sample_weight")
    values = to_vector(sample_weight)
    try:
        if values.dtype.kind in "cmM":
            raise TypeError
        return np.asarray(values, dtype=np.float64)
    except (ValueError, TypeError, OverflowError):
        raise ValueError(
            f"sample_weight must hold numbers, one a row; got {sample_weight!r:.60}."
        ) from None


def bounded(weights: np.ndarray) -> np.ndarray:
    """Rescale weights so that their sums are neither zero nor infinite.

    Ordinary weights are returned unchanged: a row of weight two counts as two rows. Weights that sum to
    less than two rows, such as shares that sum to one, are scaled to a mean of one. Very large weights
    are scaled down.
    """
    largest = weights.max()
    if largest > MOST:
        weights = weights * (MOST / largest)
    elif weights.sum() < LEAST_ROWS:
        relative = weights / largest
        weights = relative / relative[weights > 0].mean()
    return np.where(weights > 0, np.maximum(weights, weights.max() * LEAST_SHARE), 0.0)


def with_class_weight(
    class_weight: Mapping[Any, float] | str, y: np.ndarray, weights: np.ndarray | None
) -> np.ndarray:
    """Return the weight of each row times that of its class, float64 (n_rows,).

    Parameters
    ----------
    class_weight : dict of label -> weight, or "balanced"
        Labels are matched by value; a class that is not named has the weight one.
    y : ndarray of shape (n_rows,) or (n_rows, n_targets)
        With several targets the weights of their classes are multiplied; a dict is for one target.
    weights : ndarray of shape (n_rows,), optional
    """
    if isinstance(class_weight, Mapping):
        by_row = _named(class_weight, y)
    else:
        by_row = np.prod([_balanced(column) for column in y.reshape(len(y), -1).T], axis=0)
    by_row = by_row if weights is None else by_row * weights
    if not by_row.any():
        raise ValueError(
            "class_weight and sample_weight give every row a weight of zero; at least one must be above "
            "zero."
        )
    return bounded(by_row)


def by_code(class_weight: Mapping[Any, float] | str, rows: Any) -> Mapping[Any, float] | str:
    """Return class weights by code instead of label, if y of the rows contains codes."""
    labels = getattr(rows, "labels", None)
    if labels is None or not isinstance(class_weight, Mapping):
        return class_weight
    codes = {
        label: int(codes_of(labels, np.fromiter([label], dtype=object))[0]) for label in class_weight
    }
    for label, code in codes.items():
        if code < 0:
            raise ValueError(f"class_weight names class {label!r}, which y does not hold.")
    return {code: class_weight[label] for label, code in codes.items()}


def _balanced(y: np.ndarray) -> np.ndarray:
    classes, codes = distinct(y)
    by_class = len(y) / (len(classes) * np.bincount(codes))
    return np.asarray(by_class[codes])


def _named(class_weight: Mapping[Any, float], y: np.ndarray) -> np.ndarray:
    if y.ndim > 1:
        raise ValueError(
            f"class_weight must be 'balanced' or None for several targets; got {class_weight!r:.60}."
        )
    classes, codes = distinct(y)
    by_class = np.ones(len(classes))
    for label, weight in class_weight.items():
        number = _class_weight(label, weight)
        place = codes_of(classes, np.fromiter([label], dtype=object))[0]
        if place < 0:
            raise ValueError(f"class_weight names class {label!r}, which y does not hold.")
        by_class[place] = np.clip(number, LEAST, MOST) if number else 0.0
    return np.asarray(by_class[codes])


def _class_weight(label: Any, weight: Any) -> float:
    try:
        number = float(weight)
    except (ValueError, TypeError, OverflowError):
        number = float("nan")
    if not np.isfinite(number) or number < 0:
        raise ValueError(
            f"class_weight must be finite and not negative; class {label!r} has {weight!r}."
        )
    return number
