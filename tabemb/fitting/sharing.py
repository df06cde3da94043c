"""Checks of what several workers cannot share: table settings for whole batches, different effects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tabemb.training.workers import current

OF_WHOLE_BATCHES = {"max_norm": None, "scale_grad_by_freq": False}
"""Table settings that need the whole batch, each with the value that turns it off."""


def check_tables_of_workers(tables: Mapping[str, Any] | None) -> None:
    """Raise ValueError where several workers train tables with settings that need whole batches."""
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
    """Raise RuntimeError where workers have chosen different effects: one network cannot read both."""
    if len(set(current().gathered(repr(terms)))) > 1:
        raise RuntimeError(
            "The workers have chosen other effects of the same rows, as processors of different kinds "
            "round in different ways; run them on machines of one kind."
        )
