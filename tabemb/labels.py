"""Labels of classes: any hashable values, compared by value, in a fixed order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

UNSAFE = re.compile(r"""[\[\]{}:,"\x00-\x1f]""")
"""Characters that other libraries refuse in the name of a column."""


def as_objects(values: Iterable[Any]) -> np.ndarray:
    """Return values as an object array of shape (n,); a tuple or list is one value."""
    return np.fromiter(values, dtype=object)


def is_label(value: Any) -> bool:
    """Return whether a value can be a label: whether it can be hashed."""
    try:
        hash(value)
    except (TypeError, ValueError):
        return False
    return True


def natural(values: np.ndarray) -> np.ndarray:
    """Return an object array as numbers if it contains only numbers, and none changes its value."""
    numbers = (bool, int, float, np.bool_, np.integer, np.floating)
    if values.dtype != object or not all(isinstance(value, numbers) for value in values.flat):
        return values
    as_numbers = np.array(values.tolist())
    return as_numbers if as_numbers.tolist() == values.tolist() else values


def side_by_side(columns: Sequence[np.ndarray]) -> np.ndarray:
    """Return columns (n,) as one array (n, n_columns), an object array if their types differ.

    Examples
    --------
    >>> side_by_side([np.array([1, 2]), np.array(["a", "b"])])
    array([[1, 'a'],
           [2, 'b']], dtype=object)
    """
    if len({column.dtype.kind for column in columns}) == 1:
        return np.stack(columns, axis=1)
    together = np.empty((len(columns[0]), len(columns)), dtype=object)
    for i, column in enumerate(columns):
        # tolist() turns times into numbers
        together[:, i] = as_objects(column if column.dtype.kind in "mM" else column.tolist())
    return together


def distinct(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct labels, sorted as by `in_order`, and the position of each label among them.

    Labels that are equal in Python count as one: 1, 1.0 and True, but not "1".

    Parameters
    ----------
    labels : ndarray of shape (n,)

    Returns
    -------
    classes : ndarray of shape (n_classes,)
    codes : ndarray of int64 of shape (n,)

    Examples
    --------
    >>> distinct(as_objects(["b", 1, "a", 1.0]))
    (array([1, 'a', 'b'], dtype=object), array([2, 0, 1, 0]))
    """
    if labels.dtype != object:
        classes, codes = np.unique(labels, return_inverse=True)
        return classes, codes
    first_seen = as_objects(dict.fromkeys(labels))
    classes = as_objects(in_order(first_seen))
    return classes, codes_of(classes, labels)


def codes_of(classes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the position of each label among the classes, int64 (n,); -1 for any other label."""
    if object in (classes.dtype, labels.dtype):
        places = {label: place for place, label in enumerate(classes.tolist())}
        return np.fromiter((places.get(label, -1) for label in labels.tolist()), np.int64, len(labels))
    return np.asarray(pd.Index(classes).get_indexer(pd.Index(labels)), dtype=np.int64)


def in_order(labels: Iterable[Any]) -> list[Any]:
    """Return distinct labels sorted; if they cannot be compared, by type and then by text."""
    by_text = sorted(
        labels, key=_in_words
    )  # where < is a partial order, the result must not depend on the order of the rows
    try:
        return sorted(by_text)
    except TypeError:
        by_type: dict[str, list[Any]] = {}
        for label in by_text:
            by_type.setdefault(type(label).__name__, []).append(label)
    if len(by_type) == 1:
        return by_text
    return [label for name in sorted(by_type) for label in in_order(by_type[name])]


def readable(labels: np.ndarray) -> np.ndarray:
    """Return labels (n,) or (n, n_targets) that scikit-learn can read.

    Numbers and text stay as they are; others become codes.
    """
    is_text = labels.dtype == object and all(isinstance(label, str) for label in labels.flat)
    if is_text or labels.dtype.kind in "biufU":
        return labels
    codes = [distinct(column)[1] for column in labels.reshape(len(labels), -1).T]
    return np.stack(codes, axis=1).reshape(labels.shape)


def text_of(label: Any) -> str:
    r"""Return a label as text that a file can store: a lone surrogate is escaped.

    Examples
    --------
    >>> print(text_of("\ud83d"), text_of(1.5))
    \ud83d 1.5
    """
    return _in_words(label).encode(errors="backslashreplace").decode()


def _in_words(label: Any) -> str:
    """Return a label as text that is the same in every process: the members of a set are sorted."""
    if isinstance(label, frozenset):
        return f"{{{', '.join(sorted(map(_in_words, label)))}}}"
    return str(label)


def names_of(labels: Iterable[Any]) -> list[str]:
    """Return a different text for each label, without characters that other libraries refuse.

    Examples
    --------
    >>> names_of([1, "1", "a, b"])
    ['1', '1_2', 'a_ b']
    """
    names: list[str] = []
    for label in labels:
        text = UNSAFE.sub("_", text_of(label))
        name, count = text, 1
        while name in names:
            count += 1
            name = f"{text}_{count}"
        names.append(name)
    return names
