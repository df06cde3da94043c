"""Likeness of labels by their spelling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tabemb.likeness.nearest import Likeness

N_GRAMS = (2, 4)
"""Lengths of the parts of words that are compared, in characters."""


def spelling_parts() -> Any:
    """Return what turns texts into TF-IDF of the character n-grams of their words."""
    # slow to import, and needed for new categories alone
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(analyzer="char_wb", ngram_range=N_GRAMS, sublinear_tf=True, dtype=np.float32)


class Spellings(Likeness):
    """Labels by the parts of their words: TF-IDF of character n-grams, compared by cosine.

    Parameters
    ----------
    labels : sequence of str

    Examples
    --------
    >>> spellings = Spellings(["Senior Engineer", "Junior Engineer", "Nurse"])
    >>> spellings.nearest(["Sr. Engineer", "nurses"])[0][:, 0].tolist()
    [0, 2]
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self._parts = spelling_parts()
        self._rows = self._parts.fit_transform(labels)
        self.known = np.ones(len(labels), dtype=bool)

    def has(self, labels: Sequence[Any]) -> np.ndarray:
        """Return whether each label is a text."""
        return np.array([isinstance(label, str) for label in labels], dtype=bool)

    def rows_of(self, labels: Sequence[Any]) -> Any:
        """Return texts as rows, (n, d)."""
        return self._parts.transform(labels)
