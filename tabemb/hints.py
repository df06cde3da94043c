"""Hints in error messages: the names most like one that is unknown."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def similar(name: object, known: Iterable[object], n: int = 3) -> list[str]:
    """Return up to ``n`` known names that are spelled like ``name``, the most similar first.

    Upper and lower case count as the same.

    Examples
    --------
    >>> similar("Prize", ["price", "zip"])
    ['price']
    """
    by_folded = {str(candidate).casefold(): str(candidate) for candidate in known}
    return [by_folded[key] for key in difflib.get_close_matches(str(name).casefold(), by_folded, n=n)]
