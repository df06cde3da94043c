"""Likeness of labels by their spelling."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from tabemb.likeness.nearest import Likeness

N_GRAMS = (2, 4)
"""Shortest and longest n-gram of characters that is compared."""
WORDS = re.compile(r"\d+(?:[.,:/-]\d+)*|\w+|[^\w\s.,;:/\-'\"()]")
"""Numbers, words, and signs other than punctuation."""


def spelling_parts() -> Any:
    """Return a vectoriser for TF-IDF of the character n-grams of words."""
    # slow to import, and only needed for new categories
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(analyzer="char_wb", ngram_range=N_GRAMS, sublinear_tf=True, dtype=np.float32)


class Spellings(Likeness):
    """Labels as TF-IDF of the character n-grams of their words, compared by cosine.

    Parameters
    ----------
    labels : sequence of str

    Examples
    --------
    >>> spellings = Spellings(["Senior Engineer", "Junior Engineer", "Nurse"])
    >>> spellings.nearest(["Sr. Engineer", "nurses"])[0][:, 0].tolist()
    [0, 2]
    """

    _forms: dict[tuple[str, ...], int] | None

    def __init__(self, labels: Sequence[str]) -> None:
        self._labels, self._forms = labels, None
        self._parts = spelling_parts()
        self._rows = self._parts.fit_transform(labels)
        self.known = np.ones(len(labels), dtype=bool)

    def same(self, labels: Sequence[Any]) -> np.ndarray:
        """Return the position of the only known text of the same words in any order or case, or -1."""
        if self._forms is None:
            forms = [_form(label) for label in self._labels]
            counts = Counter(forms)
            self._forms = {form: i for i, form in enumerate(forms) if counts[form] == 1}
        of_labels = (self._forms.get(_form(x), -1) if isinstance(x, str) else -1 for x in labels)
        return np.fromiter(of_labels, np.int64, len(labels))

    def has(self, labels: Sequence[Any]) -> np.ndarray:
        """Return whether each label is a text."""
        return np.array([isinstance(label, str) for label in labels], dtype=bool)

    def rows_of(self, labels: Sequence[Any]) -> Any:
        """Return texts as rows, (n, d)."""
        return self._parts.transform(labels) if len(labels) else self._rows[:0]


def _form(text: str) -> tuple[str, ...]:
    """Return the words of a text, sorted, in lower case."""
    return tuple(sorted(WORDS.findall(unicodedata.normalize("NFKC", text).casefold())))
