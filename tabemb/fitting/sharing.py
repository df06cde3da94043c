"""What several workers cannot share: settings of tables that read a whole batch, and other effects."""

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


def check_same_terms(terms: object) -> None:
    """Raise RuntimeError where workers have chosen other effects, which one network cannot read."""
    if len(set(current().gathered(repr(terms)))) > 1:
        raise RuntimeError(
            "The workers have chosen other effects of the same rows, as processors of different kinds "
            "round in different ways; run them on machines of one kind."
        )
