"""Scales and bins of numbers, measured robustly on training values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LIMIT = 1e12
"""Scaled numbers are clipped to +-``LIMIT``, so that float32 can represent them and their squares."""


@dataclass
class Scale:
    """How one number is scaled and binned.

    Parameters
    ----------
    center : float
        The median; NaN if all training values are missing, so that any later value is missing too.
    unit : float
        The interquartile range or, if the quartiles are equal, half the range, as in RealMLP
        (Holzmueller et al. 2024).
    edges : ndarray
        Edges of the bins of scaled values, ascending.
    has_missing : bool
        Whether a training value is missing.
    """

    center: float
    unit: float
    edges: np.ndarray
    has_missing: bool = False

    @classmethod
    def from_values(cls, values: np.ndarray, weights: np.ndarray | None, n_bins: int) -> Scale:
        """Measure float64 values of shape (n_rows,), without those that are NaN."""
        present = ~np.isnan(values)
        values, weights = values[present], None if weights is None else weights[present]
        if len(values) == 0:  # later values are missing too
            return cls(np.nan, 1.0, np.zeros(1), True)
        low, center, high = quantiles(values, [0.25, 0.5, 0.75], weights)
        half = _difference(values.max(), values.min()) / 2
        unit = _difference(high, low) or half or 1.0
        scale = cls(float(center), float(unit), np.zeros(1), bool(~present.all()))
        scale.edges = bin_edges(scale.apply(values), weights, n_bins)
        return scale

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Return scaled values, float64, within +-``LIMIT``."""
        return scaled(values, self.center, self.unit)


def apply_scales(scales: Sequence[Scale], values: np.ndarray) -> np.ndarray:
    """Return the scaled values of several numbers, (n_rows, n_numbers), as in `Scale.apply`."""
    center, unit = np.array([scale.center for scale in scales]), np.array([s.unit for s in scales])
    return scaled(values, center, unit)


def scaled(values: np.ndarray, center: float | np.ndarray, unit: float | np.ndarray) -> np.ndarray:
    """Return (values - center) / unit within +-``LIMIT``; center and unit broadcast with the values."""
    with np.errstate(over="ignore"):  # overflow is clipped
        power = -np.frexp(np.maximum(np.abs(center), unit))[1]  # exact, and no difference overflows
        shifted = np.ldexp(values, power) - np.ldexp(center, power)
        return np.asarray(np.clip(shifted / np.ldexp(unit, power), -LIMIT, LIMIT))


def _difference(high: float, low: float) -> float:
    """Return high - low, at most the largest float."""
    with np.errstate(over="ignore"):
        return float(min(high - low, np.finfo(float).max))


def quantiles(
    values: np.ndarray, levels: Sequence[float] | np.ndarray, weights: np.ndarray | None
) -> np.ndarray:
    """Return quantiles of weighted values; a row with weight two counts as two rows."""
    result: np.ndarray = np.quantile(values, levels, weights=weights, method="inverted_cdf")
    return result


def bin_edges(values: np.ndarray, weights: np.ndarray | None, n_bins: int) -> np.ndarray:
    """Return the edges of at most ``n_bins`` bins.

    Half of them are at quantiles of the rows and half at quantiles of the distinct values: quantiles of
    the rows alone collapse if one value is frequent (a number that is zero in nine rows of ten).
    """
    distinct = np.unique(values)
    if len(distinct) <= n_bins:
        return distinct
    levels = np.linspace(0, 1, n_bins // 2 + 1)
    edges = np.concatenate([quantiles(values, levels, weights), quantiles(distinct, levels, None)])
    return np.unique(edges)
