"""Turn a stream that a user passes into rows: few rows in memory, many rows read in parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Sized
from dataclasses import replace
from functools import partial, wraps
from typing import Any, TypeVar, cast

import numpy as np
import pyarrow as pa

from tabemb.data.sampling import MOST_ROWS, smallest
from tabemb.data.streams import OpenStream, as_stream, is_source
from tabemb.data.vocabulary import MISSING, N_SPECIAL, Vocabulary
from tabemb.fitting.checks import check_target
from tabemb.fitting.recency import recency_weights, with_recency
from tabemb.fitting.stream_recipe import StreamRows
from tabemb.fitting.weights import check_weights
from tabemb.labels import distinct

MethodT = TypeVar("MethodT", bound=Callable[..., Any])


def reads_streams(method: MethodT) -> MethodT:
    """Let a method take a stream as its first argument, as `on_stream` describes."""

    @wraps(method)
    def reading(self: Any, X: Any, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        if not is_source(X):
            return method(self, X, y, *args, **kwargs)
        if args:
            args, kwargs = args[1:], {"sample_weight": args[0], **kwargs}
        return on_stream(partial(method, self), self, X, y, *args, **kwargs)

    return cast(MethodT, reading)


def on_stream(
    method: Callable[..., Any], estimator: Any, X: Any, y: Any, *args: Any, **kwargs: Any
) -> Any:
    """Call a method with the rows of a stream, whose y and ``sample_weight`` are names of columns.

    A stream of few rows is read as a frame. A stream of many rows is passed on as an `OpenStream` if the
    estimator supports it, and is otherwise read as a frame too.
    """
    stream, weight = as_stream(X), kwargs.get("sample_weight")
    check_names(y, "y")
    check_names(weight, "sample_weight")
    with stream.opened() as rows:
        rows.check_columns(_listed(y), "y")
        rows.check_columns(_listed(weight), "sample_weight")
        reads_long = getattr(estimator, "_reads_long_streams", False)
        if reads_long and rows.n_rows > stream.in_memory:
            return method(rows, y, *args, **kwargs)
        needed = getattr(estimator, "_columns_read", None)
        names = [*_listed(y), *_listed(weight)]
        table = rows.table(rows.names if needed is None else [*needed, *names])
        if weight is not None:
            kwargs["sample_weight"] = table[weight]
        target = None if y is None else _target(table, y)
        return method(table.drop_columns(names), target, *args, **kwargs)


def check_names(names: Any, argument: str) -> None:
    """Raise ValueError unless an argument names columns, or is None."""
    are_names = isinstance(names, str) or (
        isinstance(names, list) and argument == "y" and all(isinstance(name, str) for name in names)
    )
    if names is not None and not are_names:
        raise ValueError(
            f"{argument} must name a column of the source where X is a stream; got a "
            f"{type(names).__name__}."
        )


def _listed(names: str | Sequence[str] | None) -> list[str]:
    return [] if names is None else [names] if isinstance(names, str) else list(names)


def pair_of(eval_set: Any, X: Any, y: Any) -> tuple[Any, Any]:
    """Return validation rows and targets, which may come as a list of one pair.

    Raises
    ------
    ValueError
        Both forms are given, or the list is not one pair.
    """
    if eval_set is None:
        return X, y
    if X is not None or y is not None:
        raise ValueError("eval_set goes without eval_X and eval_y, which say the same.")
    pairs = [eval_set] if isinstance(eval_set, tuple) else eval_set
    if not isinstance(pairs, list) or len(pairs) != 1 or len(pairs[0]) != 2:
        raise ValueError(
            "eval_set must be a list of one pair (X, y): its rows choose the best epoch; "
            f"got {_described(eval_set)}."
        )
    return tuple(pairs[0])


def _described(value: Any) -> str:
    return f"a {type(value).__name__}" + (f" of {len(value)}" if isinstance(value, Sized) else "")


def read_validation(X: Any, y: Any) -> tuple[Any, Any]:
    """Return validation rows as a frame with its targets, where they are a stream."""
    if X is None or not is_source(X):
        return X, y
    check_names(y, "eval_y")
    with as_stream(X).opened() as rows:
        rows.check_columns(_listed(y), "eval_y")
        table = rows.table(rows.names)
        return table.drop_columns(_listed(y)), _target(table, y)


def check_first(X: Any, start: Any, classes: Any) -> None:
    """Raise ValueError where a long stream comes with an argument for rows in memory."""
    for name, value in (("start", start), ("classes", classes)):
        if isinstance(X, OpenStream) and value is not None:
            raise ValueError(
                f"{name} goes with rows in memory; pass parts of a long stream to partial_fit."
            )


def check_stream(
    stream: OpenStream,
    y: str | list[str] | None,
    sample_weight: str | None,
    *,
    numeric: bool,
    show: bool | None,
    time: Any,
    half_life: float | None,
) -> StreamRows:
    """Return the rows of a long stream, with their targets and weights in memory.

    Parameters
    ----------
    stream : OpenStream
    y, sample_weight : str or list of str
        Names of columns.
    numeric : bool
        Whether the target must be numbers.
    show : bool or None
        As in `progress`.
    time, half_life : as in `recency_weights`; ``time`` names a column of X.
    """
    if y is None:
        raise ValueError("This estimator requires y to be passed, but the target y is None.")
    whole, stream = stream, replace(stream, weight=sample_weight)
    columns = [name for name in stream.names if name not in (*_listed(y), sample_weight)]
    labels = None
    if numeric:
        target = check_target(_target(stream.table(_listed(y)), y), "y", numeric=True)
    else:
        target, labels = _classes(stream, y)
    weights = None
    if sample_weight is not None:
        weights = check_weights(whole.table([sample_weight])[sample_weight], whole.n_rows)
    if time is not None:
        weights = with_recency(weights, _recency(whole, time, half_life, columns))
    if weights is not None:
        weights = weights[weights > 0]
    chosen = smallest(len(target), min(len(target), MOST_ROWS))
    frame, missing = stream.sample(columns, chosen, len(target), show)
    return StreamRows(frame, target, weights, stream, columns, frozenset(missing), labels)


def _target(table: pa.Table, y: str | list[str]) -> Any:
    return table[y] if isinstance(y, str) else table.select(y)


def _recency(
    stream: OpenStream, time: Any, half_life: float | None, columns: list[str]
) -> np.ndarray | None:
    if not isinstance(time, str):
        raise ValueError(
            f"time must name a column of the source where X is a stream; got a {type(time).__name__}."
        )
    frame = stream.table([time]) if time in columns else pa.table({name: [] for name in columns})
    return recency_weights(time, half_life, frame)


def _classes(stream: OpenStream, y: str | list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the code of each row's class, int32 (n_rows,), and the classes."""
    if not isinstance(y, str):
        raise ValueError(
            "y must name one column for a classifier of a long stream; got "
            f"{len(y)}. Fit several targets on rows in memory."
        )
    counted = stream.counted(y)
    vocabulary = Vocabulary.from_columns({y: (counted.values, counted.field)})
    if len(vocabulary) == N_SPECIAL:
        raise ValueError(f"y must hold classes; column {y!r} of the source holds missing values alone.")
    present = counted.values.drop_null()
    present = present.filter(pa.array(~np.asarray(present.is_null(nan_is_null=True))))
    labels, code_of_value = distinct(check_target(present, "y", numeric=False))
    codes = np.zeros(len(vocabulary), np.int32)
    codes[vocabulary.codes(present, counted.field)] = code_of_value
    of_rows: list[np.ndarray] = []
    start = 0
    for part in stream.parts([y]):
        read = vocabulary.codes(part[y], part.schema.field(y))
        if (read == MISSING).any():
            raise ValueError(
                "y must not hold missing or infinite values (NaN, inf); the first is in row "
                f"{start + int(np.argmax(read == MISSING))}; leave such rows out before fit."
            )
        of_rows.append(codes[read])
        start += part.num_rows
    return np.concatenate(of_rows), labels
