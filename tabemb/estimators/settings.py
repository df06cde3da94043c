"""What each setting of an estimator must be, and how to say it."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

import numpy as np
import torch

from tabemb.network.backbone import BACKBONES
from tabemb.network.history import HISTORY_ENCODERS, POOLINGS
from tabemb.network.numbers import NUMBER_ENCODINGS
from tabemb.network.tables import table_dim

Rule = tuple[Callable[[Any], bool], str | Callable[[], str]]


def _whole(low: int) -> Callable[[Any], bool]:
    return lambda v: isinstance(v, numbers.Integral) and not isinstance(v, bool) and int(v) >= low


def _real(low: float, high: float = np.inf, strict: bool = False) -> Callable[[Any], bool]:
    def holds(v: Any) -> bool:
        is_number = isinstance(v, numbers.Real) and not isinstance(v, bool)
        return is_number and low <= float(v) < high and not (strict and float(v) == low)

    return holds


def _or(special: Any, holds: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda v: v is special or (isinstance(v, str) and v == special) or holds(v)


def _one_of(choices: Iterable[str]) -> Rule:
    """One of these names, those among them that are registered later."""
    return (
        lambda v: isinstance(v, str) and v in choices,
        lambda: f"one of {', '.join(map(repr, choices))}",
    )


def _widths(v: Any) -> bool:
    return (
        isinstance(v, Iterable)
        and not isinstance(v, str)
        and len(list(v)) > 0
        and all(map(_whole(1), v))
    )


_FLAG: Rule = (lambda v: isinstance(v, (bool, np.bool_)), "True or False")
_MAPPING: Rule = (_or(None, lambda v: isinstance(v, Mapping)), "a dict or None")

PRESETS: dict[str, dict[str, Any]] = {
    "fast": {"n_members": 4, "n_pairs": 18},
    "default": {},
    "best": {"hidden": (256, 256), "n_networks": 5, "d_number": 32},
}
"""What a preset puts in the place of the defaults."""

RULES: dict[str, Rule] = {
    "preset": _one_of(PRESETS),
    "roles": _MAPPING,
    "tables": _MAPPING,
    "min_count": (_real(0), "a number >= 0"),
    "unknown_rate": (_real(0, 0.5), "a number >= 0 and < 0.5"),
    "l2": (_real(0), "a number >= 0"),
    "offsets": _FLAG,
    "recurrences": _FLAG,
    "effects": _FLAG,
    "n_pairs": (_whole(0), "a whole number >= 0"),
    "n_repeats": (_whole(1), "a whole number >= 1"),
    "min_agreement": (_real(0, 1), "a number >= 0 and < 1"),
    "numbers": _one_of(NUMBER_ENCODINGS),
    "n_bins": (_whole(2), "a whole number >= 2"),
    "d_number": (_whole(1), "a whole number >= 1"),
    "backbone": _one_of(BACKBONES),
    "hidden": (_or("auto", _widths), "a sequence of whole numbers >= 1 or 'auto'"),
    "dropout": (_real(0, 1), "a number >= 0 and < 1"),
    "n_members": (_whole(1), "a whole number >= 1"),
    "n_networks": (_whole(1), "a whole number >= 1"),
    "history": _one_of(HISTORY_ENCODERS),
    "d_history": (_whole(1), "a whole number >= 1"),
    "pooling": _one_of(POOLINGS),
    "max_events": (_or(None, _whole(1)), "a whole number >= 1 or None"),
    "max_epochs": (_or("auto", _whole(1)), "a whole number >= 1 or 'auto'"),
    "batch_size": (_or("auto", _whole(1)), "a whole number >= 1 or 'auto'"),
    "precision": _one_of(("auto", "float32", "bfloat16")),
    "temperature": (_real(0, strict=True), "a number > 0"),
    "learning_rate": (_real(0, strict=True), "a number > 0"),
    "table_rate": (_real(0, strict=True), "a number > 0"),
    "weight_decay": (_real(0), "a number >= 0"),
    "early_stopping": (_or("auto", lambda v: isinstance(v, (bool, np.bool_))), "True, False or 'auto'"),
    "validation_fraction": (_or("auto", _real(0, 1, strict=True)), "a number > 0 and < 1 or 'auto'"),
    "patience": (_whole(1), "a whole number >= 1"),
    "max_time": (_or(None, _real(0, strict=True)), "a number > 0 of seconds, or None"),
    "n_jobs": (
        _or(None, lambda v: isinstance(v, numbers.Integral) and v != 0),
        "a whole number but 0, or None",
    ),
    "verbose": (_or(None, lambda v: isinstance(v, (bool, int))), "True, False or None"),
}


def check_settings(estimator: Any) -> None:
    """Check those settings of an estimator that need no data.

    Raises
    ------
    ValueError
        Names the setting, the rule and the value.
    """
    for name, rule in RULES.items():
        if hasattr(estimator, name):
            check_rule(name, getattr(estimator, name), rule)
    table_dim(estimator.dim, n_categories=1)
    torch_device(estimator.device)


def check_rule(name: str, value: Any, rule: Rule) -> None:
    """Raise unless the value holds to the rule."""
    holds, text = rule
    if not holds(value):
        raise ValueError(f"{name} must be {text() if callable(text) else text}; got {value!r}.")


def check_count(name: str, value: Any) -> None:
    """Raise unless the value is a whole number of at least one."""
    check_rule(name, value, (_whole(1), "a whole number >= 1"))


def check_choice(name: str, value: Any, choices: Iterable[str]) -> None:
    """Raise unless ``value`` is one of the names in ``choices``."""
    check_rule(name, value, _one_of(choices))


def torch_device(name: Any) -> torch.device:
    """The device of that name; "auto" takes CUDA where there is one.

    Raises
    ------
    ValueError
        No such device, or not here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        raise ValueError(
            f"device must be 'auto', 'cpu', 'cuda' or another device of torch; got {name!r}."
        ) from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device is {name!r}, but this machine has no CUDA device that torch can use.")
    return device


@cache  # asked in every step of training
def is_fast_in_bfloat16(device: torch.device) -> bool:
    """Whether products of bfloat16 matrices are faster there than those of float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and bool(torch.cpu.get_capabilities().get("amx_bf16"))
