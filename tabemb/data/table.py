"""Settings of embedding tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from tabemb.data.hashing import Limit


@dataclass
class Table:
    """Settings of one embedding table: its columns, its start vectors and its regularisation.

    A setting of None means the estimator's setting.

    Parameters
    ----------
    columns : list of str
        The columns whose categories share this table.
    dim : int or str, optional
        Width of a vector, or the name of a rule (see the estimator's ``dim``).
    min_count : float, optional
        Categories with a smaller count have no vector of their own.
    init : float or "uniform", default=0.1
        Standard deviation of the normal distribution that start vectors are drawn from; "uniform" draws
        from (-1/sqrt(dim), 1/sqrt(dim)).
    l2 : float, optional
        Strength of the prior that shrinks a category's vector to zero, divided by the category's count.
    max_norm : float, optional
        Vectors longer than this are rescaled to this length whenever they are read.
    norm_type : float, default=2.0
        The p of the p-norm that ``max_norm`` measures.
    scale_grad_by_freq : bool, default=False
        Divide a vector's gradient by the number of times its category occurs in the batch.
    sparse : bool, optional
        Update only the rows that a batch reads. None: for tables of more than 30,000 rows.
    pretrained : EmbeddingSpace or DataFrame or mapping, optional
        Vectors to start from, by category; categories without one start from ``init``. Categories are
        matched by value. ``EmbeddingSpace.match`` also matches other spellings, and reports categories
        without a match.
    frozen : bool, default=False
        Keep the pretrained vectors unchanged; only vectors that were not given are trained.
    describe : "text", EmbeddingSpace, DataFrame, Series or mapping, optional, default="text"
        Descriptions by which new and rare categories are compared with others: parts of their own text,
        or given vectors or other columns by category, which may include categories that are not in
        training. They are used if they predict the effects of known categories from those of others.
        None: new categories are unknown, and rare ones are not compared. Not used with ``rest="hash"``.
    max_size : int, optional
        Largest number of categories with a vector of their own. The most frequent ones get it; ties go
        to the first in sorted order.
    rest : {"unknown", "hash"}, default="unknown"
        How all other categories are read, in training and later: as unknown, or as one of ``n_hashed``
        further rows of the table, chosen by a hash of the category that is the same in every process.
        The rare categories that share a hashed row train it. Needs ``max_size``.
    n_hashed : int, optional
        Number of hashed rows; None: one for every ten categories that share them, and at most a tenth of
        ``max_size``.
    precision : {"float32", "bfloat16"}, default="float32"
        Precision of the table, in training and in the model. "bfloat16" halves the bytes of a vector, of
        its average and of its moments. It has three significant digits; numbers are rounded at random so
        that small steps are not lost, and only the rows that a batch reads are updated.

    Examples
    --------
    >>> Table(columns=["origin", "destination"], dim=16).dim
    16
    """

    columns: list[str]
    dim: int | str | None = None
    min_count: float | None = None
    init: float | str = 0.1
    l2: float | None = None
    max_norm: float | None = None
    norm_type: float = 2.0
    scale_grad_by_freq: bool = False
    sparse: bool | None = None
    pretrained: Any = None
    frozen: bool = False
    describe: Any = "text"
    max_size: int | None = None
    rest: str = "unknown"
    n_hashed: int | None = None
    precision: str = "float32"

    def limit(self, min_count: float) -> Limit:
        """Return which categories have a row; ``min_count`` is that of the estimator."""
        n_hashed = self.n_hashed if self.rest == "hash" else 0
        least = min_count if self.min_count is None else self.min_count
        return Limit(least, self.max_size, n_hashed)


def _at_least_zero(value: Any) -> bool:
    return value is None or (isinstance(value, Real) and float(value) >= 0)


def _is_size(value: Any) -> bool:
    return value is None or (
        isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 1
    )


_TABLE_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "min_count": (_at_least_zero, "a number >= 0 or None"),
    "max_size": (_is_size, "a whole number >= 1 or None"),
    "rest": (("unknown", "hash").__contains__, "'unknown' or 'hash'"),
    "n_hashed": (_is_size, "a whole number >= 1 or None"),
    "precision": (("float32", "bfloat16").__contains__, "'float32' or 'bfloat16'"),
    "l2": (_at_least_zero, "a number >= 0 or None"),
    "max_norm": (lambda v: _at_least_zero(v) and v != 0, "a number > 0 or None"),
    "init": (
        lambda v: v == "uniform" or (v is not None and _at_least_zero(v)),
        "a number >= 0 or 'uniform'",
    ),
}
"""For each setting, a check of its value and the rule in words; `table_dim` checks ``dim``."""


def check_table(name: str, table: Any) -> None:
    """Raise unless a user's table obeys the rules of its settings.

    Raises
    ------
    TypeError, ValueError
    """
    if not isinstance(table, Table):
        raise TypeError(f"tables[{name!r}] must be a tabemb.Table; got {type(table).__name__}.")
    if isinstance(table.columns, str) or not table.columns:
        raise ValueError(f"Table {name!r} must list its columns; got columns={table.columns!r}.")
    for setting, (is_allowed, rule) in _TABLE_RULES.items():
        value = getattr(table, setting)
        if not is_allowed(value):
            raise ValueError(f"Table {name!r}: {setting} must be {rule}; got {value!r}.")
    if isinstance(table.describe, str) and table.describe != "text":
        raise ValueError(
            f"Table {name!r}: describe must be 'text', vectors or other columns by category, or None; "
            f"got {table.describe!r}."
        )
    _check_rest(name, table)
    _check_precision(name, table)
    if table.frozen and table.pretrained is None:
        raise ValueError(f"Table {name!r} is frozen, but has no pretrained vectors; pass pretrained=.")


def _check_rest(name: str, table: Table) -> None:
    """Raise if settings for categories without a vector of their own contradict each other."""
    if table.rest == "hash" and table.max_size is None:
        raise ValueError(
            f"Table {name!r}: rest='hash' needs max_size, the number of categories with a vector of "
            "their own; got max_size=None."
        )
    if table.rest == "hash" and not isinstance(table.describe, str | None):
        raise ValueError(
            f"Table {name!r}: describe must be left out with rest='hash', as new categories are hashed "
            "and not compared with known ones; or pass rest='unknown'."
        )
    if table.rest != "hash" and table.n_hashed is not None:
        raise ValueError(
            f"Table {name!r}: n_hashed={table.n_hashed!r} needs rest='hash'; got rest={table.rest!r}."
        )


def _check_precision(name: str, table: Table) -> None:
    """Raise if half precision contradicts another setting."""
    if table.precision == "float32":
        return
    if table.sparse is not None and not table.sparse:
        raise ValueError(
            f"Table {name!r}: sparse must be True or None with precision={table.precision!r}, which is "
            f"trained row by row; got sparse={table.sparse!r}."
        )
    if table.frozen:
        raise ValueError(
            f"Table {name!r}: frozen vectors stay as they are, and precision={table.precision!r} would "
            "round them; leave one of the two out."
        )
