"""Values of a column with how often they occur."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


class Counted(NamedTuple):
    """Values of a categorical feature with their weights; without weights, each value counts as one."""

    values: pa.ChunkedArray
    field: pa.Field
    weights: np.ndarray | None


def has_missing(column: pa.ChunkedArray) -> bool:
    """Return whether a value of a column is missing."""
    return bool(column.null_count) or bool(pc.any(column.is_null(nan_is_null=True)).as_py())


def with_counts(sums: pa.Table | None, values: pa.ChunkedArray, weights: np.ndarray) -> pa.Table:
    """Add further values to sums of weights by value; return columns "value" and "n"."""
    more = pa.table({"value": values, "n": weights})
    both = more if sums is None else pa.concat_tables([sums, more], promote_options="permissive")
    return both.group_by("value").aggregate([("n", "sum")]).rename_columns({"n_sum": "n"})
