"""Names of new columns: safe for other libraries, and unique."""

from __future__ import annotations

import re
from collections.abc import Iterable

UNSAFE = re.compile(r'[,:\[\]{}"<\x00-\x1f\x7f\ud800-\udfff]')
"""Characters that LightGBM or XGBoost refuse in a name, control characters and lone surrogates."""


def safe_names(names: Iterable[str]) -> list[str]:
    """Return unique names without characters that boosted trees refuse.

    Such a character becomes an underscore. A name that came before gets a number at its end; spaces and
    underscores count as equal.

    Examples
    --------
    >>> safe_names(["size", "city_a:b", "city_a_b", "size"])
    ['size', 'city_a_b', 'city_a_b_2', 'size_2']
    """
    taken: set[str] = set()
    return [_free(UNSAFE.sub("_", name), taken) for name in names]


def _free(name: str, taken: set[str]) -> str:
    """Return the name, with the first free number if it is taken, and add it to ``taken``."""
    free, n = name, 1
    while _key(free) in taken:
        n += 1
        free = f"{name}_{n}"
    taken.add(_key(free))
    return free


def _key(name: str) -> str:
    return re.sub(r"\s", "_", name)
