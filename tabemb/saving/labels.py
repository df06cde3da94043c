"""Labels of categories as text, for those that Arrow has no type for."""

from __future__ import annotations

from typing import Any

import pandas as pd

from tabemb.data.keys import key_of, value_of


def needs_keys(labels: pd.Index) -> bool:
    """Return whether some labels are neither text nor of the index's type, such as intervals."""
    return labels.dtype == object and any(not isinstance(label, str) for label in labels)


def pack_labels(labels: pd.Index) -> dict[str, Any]:
    """Return labels as JSON."""
    return {"$values": [key_of(label, "categories") for label in labels]}


def unpack_labels(value: dict[str, Any], arrays: Any) -> pd.Index:
    """Return what `pack_labels` was given."""
    labels = [value_of(key, key) for key in value["$values"]]
    return pd.Index(labels, dtype=object, tupleize_cols=False)
