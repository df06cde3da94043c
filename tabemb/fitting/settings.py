"""Settings of estimators: rules, presets, and what "auto" means on this machine."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cache
from inspect import signature
from typing import Any, Self

import numpy as np
import torch

from tabemb.data.schema import Table
from tabemb.network.backbone import BACKBONES
from tabemb.network.history import HISTORY_ENCODERS, POOLINGS
from tabemb.network.numbers import NUMBER_ENCODINGS
from tabemb.network.tables import table_dim
from tabemb.training.threads import is_nested

PRESETS: dict[str, dict[str, Any]] = {
    "fast": {"n_members": 4, "n_pairs": 18},
    "default": {},
    "best": {"hidden": (256, 256), "n_networks": 5, "d_number": 32},
}
"""The values that a preset puts in the place of defaults."""


@dataclass(frozen=True)
class Rule:
    """A rule of a parameter: a test of its value, and the same in words."""

    holds: Callable[[Any], bool]
    words: str | Callable[[], str]

    def check(self, name: str, value: Any) -> None:
        """Raise ValueError unless the value holds to the rule."""
        if not self.holds(value):
            words = self.words() if callable(self.words) else self.words
            raise ValueError(f"{name} must be {words}; got {value!r}.")


def whole(low: int, or_else: str | None | type[Ellipsis] = ...) -> Rule:  # type: ignore[valid-type]
    raise NotImplementedError
