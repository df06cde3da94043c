"""Settings of estimators: rules for their values, presets, and the meaning of "auto" on this machine."""

from __future__ import annotations

import numbers
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cache
from inspect import signature
from typing import Any, Self

import numpy as np
import torch

from tabemb.data.schema import Table
from tabemb.network.tables import table_dim
from tabemb.training.threads import is_nested

PRESETS: dict[str, dict[str, Any]] = {
    "fast": {"trees": False, "n_members": 1, "n_pairs": 6, "hidden": (64, 64), "max_epochs": 8},
    "default": {},
    "best": {"hidden": (256, 256), "n_members": 8, "n_networks": 5, "d_number": 32},
}
"""The values with which a preset replaces defaults."""


@dataclass(frozen=True)
class Rule:
    """A rule for a parameter: a test of its value, and the rule in words.

    Examples
    --------
    >>> whole(1).check("k", 3)
    >>> whole(1).or_("auto").check("k", 0)
    Traceback (most recent call last):
    ValueError: k must be a whole number >= 1 or 'auto'; got 0.
    """

    holds: Callable[[Any], bool]
    words: Callable[[], str]

    def or_(self, special: str | None) -> Rule:
        """Return a rule that allows one more value."""
        return Rule(
            lambda v: v is special or (isinstance(v, str) and v == special) or self.holds(v),
            lambda: f"{self.words()} or {special!r}",
        )

    def check(self, name: str, value: Any) -> None:
        """Raise ValueError unless the value satisfies the rule."""
        if not self.holds(value):
            raise ValueError(f"{name} must be {self.words()}; got {value!r}.")


def whole(low: int) -> Rule:
    """Return the rule for whole numbers from ``low`` on."""
    return Rule(
        lambda v: isinstance(v, numbers.Integral) and not isinstance(v, bool) and int(v) >= low,
        lambda: f"a whole number >= {low}",
    )


def real(low: float, high: float = np.inf, *, open_low: bool = False) -> Rule:
    """Return the rule for numbers from ``low`` (excluded if ``open_low``) to ``high`` (excluded)."""

    def holds(v: Any) -> bool:
        is_number = isinstance(v, numbers.Real) and not isinstance(v, bool)
        return is_number and low <= float(v) < high and not (open_low and float(v) == low)

    sign = ">" if open_low else ">="
    return Rule(
        holds, lambda: f"a number {sign} {low:g}" + (f" and < {high:g}" if high < np.inf else "")
    )


def one_of(choices: Iterable[str]) -> Rule:
    """Return the rule for names in ``choices``, which is read at every check: a registry may grow."""
    return Rule(
        lambda v: isinstance(v, str) and v in choices,
        lambda: f"one of {', '.join(map(repr, choices))}",
    )


def _is_widths(v: Any) -> bool:
    holds = whole(1).holds
    return isinstance(v, Iterable) and not isinstance(v, str) and len(list(v)) > 0 and all(map(holds, v))


FLAG = Rule(lambda v: isinstance(v, bool | np.bool_), lambda: "True or False")
MAPPING = Rule(lambda v: v is None or isinstance(v, Mapping), lambda: "a dict or None")
WIDTHS = Rule(_is_widths, lambda: "a sequence of whole numbers >= 1")
SECONDS = Rule(
    lambda v: v is None or real(0, open_low=True).holds(v), lambda: "a number > 0 of seconds, or None"
)
N_JOBS = Rule(
    lambda v: v is None or (isinstance(v, numbers.Integral) and v != 0),
    lambda: "a whole number but 0, or None",
)
FOLDER = Rule(
    lambda v: v is None or isinstance(v, str | os.PathLike), lambda: "the path of a folder, or None"
)
VERBOSE = Rule(lambda v: v is None or isinstance(v, bool | int), lambda: "True, False or None")


def check_parameters(estimator: Any, rules: Mapping[str, Rule]) -> None:
    """Check those parameters of an estimator that can be checked without data.

    Raises
    ------
    ValueError
        Names the parameter, the rule and the value.
    """
    for name, rule in rules.items():
        rule.check(name, getattr(estimator, name))
    if hasattr(estimator, "dim"):
        table_dim(estimator.dim, n_categories=1)
    if hasattr(estimator, "device"):
        torch_device(estimator.device)


def store(estimator: Any, arguments: Mapping[str, Any]) -> None:
    """Set the constructor's arguments, ``locals()`` of ``__init__``, unchanged as attributes."""
    for name, value in arguments.items():
        if name not in ("self", "__class__"):
            setattr(estimator, name, value)


@dataclass(frozen=True, kw_only=True)
class RowSettings:
    """The settings of a fit on rows, with the preset applied; `EmbeddingClassifier` describes each."""

    roles: Mapping[str | int, str] | None
    tables: Mapping[str, Table] | None
    min_count: float
    dim: int | str
    unknown_rate: float
    l2: float
    biases: bool
    effects: bool
    trees: bool
    n_pairs: int
    numbers: str
    n_bins: int
    d_number: int
    backbone: str
    hidden: tuple[int, ...] | str
    dropout: float
    n_members: int | str
    n_networks: int
    history: str
    d_history: int
    pooling: str
    max_events: int | None
    max_epochs: int | str
    precision: str
    batch_size: int | str
    learning_rate: float
    table_rate: float
    weight_decay: float
    early_stopping: bool | str
    validation_fraction: float | str
    patience: int
    device: str
    verbose: bool | None
    checkpoint: str | os.PathLike[str] | None

    @classmethod
    def of(cls, estimator: Any) -> Self:
        """Read an estimator's parameters; its preset replaces those left at their defaults."""
        preset = PRESETS[estimator.preset]
        values = {field.name: getattr(estimator, field.name) for field in fields(cls)}
        estimator_class: Any = type(estimator)
        defaults = defaults_of(estimator_class)
        available = {name: value for name, value in preset.items() if name in defaults}
        chosen = {name: value for name, value in available.items() if values[name] == defaults[name]}
        return cls(**values | chosen)

    @property
    def show(self) -> bool | None:
        """Whether to show a progress bar; None where the terminal decides."""
        return show_progress(self.verbose)

    @property
    def torch_device(self) -> torch.device:
        """The device to train on."""
        return torch_device(self.device)

    @property
    def in_bfloat16(self) -> bool:
        """Whether training computes matrix products in bfloat16."""
        if self.precision == "auto":
            return is_fast_in_bfloat16(self.torch_device)
        return self.precision == "bfloat16"


@cache  # read with every prediction
def defaults_of(estimator: Callable[..., Any]) -> dict[str, Any]:
    """Return the default of each parameter of a class; ``Parameter.empty`` where there is none."""
    parameters = signature(estimator).parameters
    return {name: parameter.default for name, parameter in parameters.items()}


def show_progress(verbose: bool | None) -> bool | None:
    """Return whether to show a progress bar: not inside a joblib worker, unless ``verbose``."""
    return False if verbose is None and is_nested() else verbose


def torch_device(name: Any) -> torch.device:
    """Return the device with this name; "auto" is CUDA if it is available.

    Raises
    ------
    ValueError
        torch has no such device, or this machine has not.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        raise ValueError(
            f"device must be 'auto', 'cpu', 'cuda' or another device of torch; got {name!r}."
        ) from None
    if not is_here(device):
        which = f"with this number; it has {torch.cuda.device_count()}"
        words = which if torch.cuda.is_available() else "that torch can use"
        raise ValueError(f"device is {name!r}, but this machine has no CUDA device {words}.")
    return device


def is_here(device: torch.device) -> bool:
    """Return whether this machine has a CUDA device; True for other devices."""
    if device.type != "cuda":
        return True
    return torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()


@cache  # read in every step of training
def is_fast_in_bfloat16(device: torch.device) -> bool:
    """Return whether the device multiplies bfloat16 matrices faster than float32 ones."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    return any(capabilities.get(name) for name in ("amx_bf16", "avx512_bf16"))
