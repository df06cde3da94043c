"""What several workers cannot share: settings of tables that read a batch as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tabemb.training.workers import current

OF_WHOLE_BATCHES = {"max_norm": None, "scale_grad_by_freq": False}
"""Settings of tables by which a worker's piece of a batch changes rows, and what leaves them out."""


def check_tables_of_workers(tables: Mapping[str, Any] | None) -> None:
    """Raise ValueError where several workers train tables that a piece of a batch would change."""
    if current().size == 1:
        return
    for name, table in (tables or {}).items():
        for setting, unused in OF_WHOLE_BATCHES.items():
            value = getattr(table, setting, unused)
            if value != unused:
                raise ValueError(
                    f"{setting} of the table {name!r} must be {unused} where several workers train, "
                    f"as it needs whole batches; got {value!r}."
                )
