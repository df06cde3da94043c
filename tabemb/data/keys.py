"""Keys: text for Python values without an Arrow type, and the way back from a key to its value.

Equal values have equal keys in every process. A key of a value of a known type can be turned back into
the value.
"""

from __future__ import annotations

import ast
import datetime as dt
import enum
from collections.abc import Callable
from decimal import Context, Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd

_OBJECT_REPR: Any = object.__repr__
_BUILT: dict[str, Callable[..., Any]] = {
    "Decimal": Decimal,
    "Fraction": Fraction,
    "UUID": UUID,
    "Interval": pd.Interval,
    "Period": pd.Period,
    "Timestamp": pd.Timestamp,
    "Timedelta": pd.Timedelta,
    "datetime.date": dt.date,
    "datetime.time": dt.time,
    "datetime.datetime": dt.datetime,
    "datetime.timedelta": dt.timedelta,
}
"""The types that can be built from a key, by their name in the key; nothing else is ever called."""
_NAMES = {"nan": float("nan"), "inf": float("inf")}
_MEMBERS: dict[str, enum.Enum] = {}
"""Enum members that this process has made keys of, by key; the text alone cannot restore them."""
_NOT_A_KEY = (ValueError, TypeError, SyntaxError, ArithmeticError, RecursionError, MemoryError)


def key_of(value: Any, column: str) -> str:
    """Return text that is equal for equal values, for categories without an Arrow type.

    Equal numbers share a key whatever their type, so 1, 1.0 and numpy's 1 are one category.

    Raises
    ------
    TypeError
        The type of the value has no ``__repr__`` of its own; the default differs between processes.
    """
    value = _plain(value)
    if isinstance(value, (int, float, Decimal, Fraction)):
        return _number_key(value)
    if isinstance(value, str):
        return repr("".join(value))  # a plain str, also for subclasses
    if isinstance(value, (frozenset, set)):
        return "{" + ", ".join(sorted(key_of(item, column) for item in value)) + "}"
    if isinstance(value, tuple):
        items = ", ".join(key_of(item, column) for item in value)
        return f"({items},)" if len(value) == 1 else f"({items})"
    if isinstance(value, list):
        return "[" + ", ".join(key_of(item, column) for item in value) + "]"
    if isinstance(value, dict):
        items = ", ".join(f"{key_of(k, column)}: {key_of(v, column)}" for k, v in value.items())
        return "dict({" + items + "})"  # {} alone is the empty set
    if isinstance(value, pd.Interval):
        left, right = key_of(value.left, column), key_of(value.right, column)
        return f"Interval({left}, {right}, closed={value.closed!r})"
    if type(value).__repr__ is _OBJECT_REPR:
        raise TypeError(
            f"Column {column!r} holds a value of type {type(value).__name__}, whose repr is "
            "not the same in every process, so it cannot name a category; give the type a __repr__ or "
            "convert the column to text."
        )
    if isinstance(value, enum.Enum):
        _MEMBERS[repr(value)] = value
    return repr(value)


def _plain(value: Any) -> Any:
    """Convert numpy values and Python times to the types that keys are turned back into."""
    try:
        if isinstance(value, (np.datetime64, dt.datetime)):
            time = pd.Timestamp(value)
            return time if time.tz is None else time.tz_convert("UTC")
        if isinstance(value, (np.timedelta64, dt.timedelta)):
            return pd.Timedelta(value)
    except (ValueError, OverflowError):  # out of the range of pandas
        return value
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value.item() if isinstance(value, np.generic) else value


def _number_key(value: Any) -> str:
    if value != value:
        return "nan"
    if value in (float("inf"), float("-inf")):
        return repr(float(value))
    if value == int(value):
        return repr(int(value))
    if isinstance(value, float) or value == _as_float(value):
        return repr(float(value))
    return repr(_without_trailing_zeros(value) if isinstance(value, Decimal) else value)


def _without_trailing_zeros(value: Decimal) -> Decimal:
    # the default precision of 28 digits would round longer values
    return value.normalize(Context(prec=len(value.as_tuple().digits)))


def _as_float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf")


def value_of(key: str, default: Any = None) -> Any:
    """Return the value of a key from `key_of`; ``default`` if its type is not known.

    An enum member is known only if this process has made its key.

    Examples
    --------
    >>> value_of(key_of((1, frozenset("a")), "x"))
    (1, frozenset({'a'}))
    """
    if key in _MEMBERS:
        return _MEMBERS[key]
    try:
        node = ast.parse(key, mode="eval").body
        value = _built(node)
    except _NOT_A_KEY:
        return default
    # keys of tabemb 0.2 have no comma in a tuple of one value
    is_tuple_of_one = key.startswith("(") and not isinstance(node, ast.Tuple)
    return (value,) if is_tuple_of_one else value


def _built(node: ast.expr) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return _NAMES[node.id] if node.id in _NAMES else _refuse(node)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_built(node.operand)
    if isinstance(node, ast.Tuple):
        return tuple(map(_built, node.elts))
    if isinstance(node, ast.List):
        return list(map(_built, node.elts))
    if isinstance(node, ast.Set):
        return frozenset(map(_built, node.elts))
    if isinstance(node, ast.Dict) and not node.keys:
        return frozenset()
    return _called(node) if isinstance(node, ast.Call) else _refuse(node)


def _called(node: ast.Call) -> Any:
    name = ast.unparse(node.func)
    if name == "dict" and len(node.args) == 1 and isinstance(node.args[0], ast.Dict):
        items = zip(node.args[0].keys, node.args[0].values)
        return {_built(k): _built(v) for k, v in items if k is not None}
    if name not in _BUILT:
        _refuse(node)
    keywords = {word.arg: _built(word.value) for word in node.keywords if word.arg}
    return _BUILT[name](*map(_built, node.args), **keywords)


def _refuse(node: ast.expr) -> Any:
    raise ValueError(f"{ast.unparse(node)} is no value of a known type.")
