"""Numbers within categories: the scale and the bins of a number within each level of a field.

In a long log, one field names what was measured and another contains the value: the same 100 is a fever
in one category and a low blood pressure in another. If a number of events differs more between the
levels of a categorical field than within them, it is also scaled within the levels, and its bins within
each level are categories of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa

from tabemb.data.hashing import hashed_names
from tabemb.data.pairs import tried_rows
from tabemb.data.scales import Scale, scaled
from tabemb.data.vocabulary import MISSING, N_SPECIAL, UNKNOWN, Vocabulary

MIN_SHARE = 0.5
"""Least share of variance between levels of a number that is scaled within levels."""
MIN_EVENTS = 100
"""Fewest values of a number that is scaled within levels."""
MIN_KNOWN = 0.5
"""Least share of the values in levels with at least `BIN_EVENTS` values, whose scale is known."""
MIN_VARYING = 0.05
"""Least share of the values that differ from the median of their level."""
N_COMMON = 5.0
"""Number of values of a level at which the common unit has a weight of one quarter."""
N_BINS = 8
"""Largest number of bins of a level."""
BIN_EVENTS = 20
"""Number of values of a level per bin."""


@dataclass
class Within:
    """How one number of events is scaled and binned within the levels of a categorical field.

    Codes are those of the field's vocabulary.

    Parameters
    ----------
    by : str
        The categorical field.
    share : float
        Share of the number's variance that is between the levels, from `between_share`.
    centers, units : ndarray of shape (n_codes,)
        Median and interquartile range of each level, shrunken to those of all values if the level has
        few values. Unknown and missing categories have those of all values.
    edges : ndarray of shape (n_codes, n_edges)
        Ascending upper edges of all bins of each level but the last, padded with infinity.
    firsts : ndarray of shape (n_codes,)
        Code of the first bin of each level among all bins; `UNKNOWN` for a level with few values.
    """

    by: str
    share: float
    centers: np.ndarray
    units: np.ndarray
    edges: np.ndarray
    firsts: np.ndarray

    @classmethod
    def from_values(cls, by: str, share: float, groups: GroupedValues, common: Scale) -> Within:
        """Measure the levels of values without missing ones, given the scale of all values."""
        edges = groups.edges()
        n_bins = np.where(np.isfinite(edges).any(1), np.isfinite(edges).sum(1) + 1, 0)
        firsts = N_SPECIAL + np.cumsum(n_bins) - n_bins
        centers, units = groups.scales(common)
        return cls(by, share, centers, units, edges, np.where(n_bins, firsts, UNKNOWN))

    @property
    def n_codes(self) -> int:
        """Number of codes of the bins of all levels, including special codes; 0 without bins."""
        n_edges = np.isfinite(self.edges).sum(1)
        n_bins = int((n_edges + 1)[n_edges > 0].sum())
        return N_SPECIAL + n_bins if n_bins else 0

    def scaled(self, codes: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Return values on the scales of their levels, (n_events,)."""
        return scaled(values, self.centers[codes], self.units[codes])

    def bins(self, codes: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Return the code of each value's bin within its level, int64 (n_events,)."""
        bins = self.firsts[codes]
        has_bins = bins != UNKNOWN
        for edges in self.edges.T:
            bins = bins + (has_bins & (values > edges[codes]))
        return np.where(np.isnan(values), MISSING, bins)

    def labels(self, levels: Vocabulary) -> pa.Array:
        """Return the name of each bin: its level and its range of values, such as "HR (60, 80]"."""
        names = ["", "", *map(str, levels.categories.to_pylist()), *hashed_names(levels.n_hashed)]
        return pa.array(
            [
                f"{names[code]} {interval}"
                for code in np.flatnonzero(self.firsts)
                for interval in _intervals(self.edges[code][np.isfinite(self.edges[code])].tolist())
            ],
            pa.large_string(),
        )


def _intervals(edges: list[float]) -> list[str]:
    """Return intervals between edges; each includes its upper edge."""
    inner = [f"({low:g}, {high:g}]" for low, high in pairwise(edges)]
    texts = [f"<= {edges[0]:g}", *inner, f"> {edges[-1]:g}"]
    if len(set(texts)) == len(texts):
        return texts
    inner = [f"({low!r}, {high!r}]" for low, high in pairwise(edges)]
    return [f"<= {edges[0]!r}", *inner, f"> {edges[-1]!r}"]


class GroupedValues:
    """Values sorted by level, to compute quantiles of each level.

    Parameters
    ----------
    codes : ndarray of shape (n,)
    values : ndarray of float64, shape (n,), none missing
    weights : ndarray of shape (n,), of mean one
    n_codes : int
    """

    def __init__(self, codes: np.ndarray, values: np.ndarray, weights: np.ndarray, n_codes: int) -> None:
        order = np.argsort(values)
        order = order[np.argsort(codes[order], kind="stable")]
        self.values = values[order]
        self.cumulated = np.cumsum(weights[order])
        stops = np.cumsum(np.bincount(codes, minlength=n_codes))
        self.starts, self.lasts = np.append(0, stops[:-1]), stops - 1
        ends = np.append(0.0, self.cumulated)
        self.before = ends[self.starts]
        self.counts = ends[stops] - self.before
        self.is_level = (self.counts > 0) & (np.arange(n_codes) >= N_SPECIAL)

    def quantiles(self, levels: np.ndarray) -> np.ndarray:
        """Return quantiles of each level, (n_codes, k), NaN without values.

        Parameters
        ----------
        levels : ndarray of shape (1 or n_codes, k)
            NaN gives NaN.
        """
        targets = self.before[:, None] + levels * self.counts[:, None]
        places = np.searchsorted(self.cumulated, targets * (1 - 1e-12))
        places = np.clip(places, self.starts[:, None], np.maximum(self.lasts, self.starts)[:, None])
        values = self.values[np.minimum(places, len(self.values) - 1)]
        return np.where((self.counts > 0)[:, None] & ~np.isnan(levels), values, np.nan)

    def scales(self, common: Scale) -> tuple[np.ndarray, np.ndarray]:
        """Return the center and the unit of each level, (n_codes,) each.

        The logarithm of the unit is shrunken to the common one by the square of N / (n + N), where n is
        the count of the level and N is `N_COMMON`: the influence of a common unit that is decades away
        must soon vanish. The median is shrunken to the common one by the share of their squared distance
        that is due to chance: the squared unit of the level divided by its count.
        """
        low, median, high = self.quantiles(np.array([[0.25, 0.5, 0.75]])).T
        smallest, largest = self.quantiles(np.array([[0.0, 1.0]])).T
        with np.errstate(all="ignore"):  # values of any size, levels without values
            unit = np.minimum(high - low, np.finfo(float).max)
            unit = np.where(unit > 0, unit, largest / 2 - smallest / 2)
            weight = np.square(N_COMMON / (self.counts + N_COMMON))
            units = np.exp((1 - weight) * np.log(unit) + weight * np.log(common.unit))
            units = np.where(self.is_level & (unit > 0), units, common.unit)
            chance = np.square(units / np.abs(median - common.center)) / self.counts
            pull = np.where(np.isnan(chance), 1.0, np.minimum(chance, 1.0))
            centers = median * (1 - pull) + common.center * pull
        return np.where(self.is_level, centers, common.center), units

    def edges(self) -> np.ndarray:
        """Return the edges of bins of equal counts, (n_codes, n_edges), padded with infinity."""
        n_bins = np.minimum(self.counts // BIN_EVENTS, N_BINS)[:, None]
        levels = np.arange(1, N_BINS) / np.maximum(n_bins, 1)
        edges = self.quantiles(np.where(levels < 1, levels, np.nan))
        is_new = np.diff(edges, axis=1, prepend=-np.inf) > 0
        is_edge = is_new & (edges < self.quantiles(np.array([[1.0]]))) & self.is_level[:, None]
        edges = np.sort(np.where(is_edge, edges, np.inf), axis=1)
        longest = int(np.isfinite(edges).sum(1).max(initial=0))
        return edges[:, :longest]


def find_within(
    values: np.ndarray,
    codes: Mapping[str, tuple[np.ndarray, int]],
    weights: np.ndarray | None,
    common: Scale,
) -> Within | None:
    """Scale a number within the field whose levels explain it best; None if none explains enough.

    Parameters
    ----------
    values : ndarray of float64, shape (n_events,), NaN where missing
    codes : mapping of field -> (codes of shape (n_events,), number of codes)
    weights : ndarray of shape (n_events,), optional
    common : Scale
        The scale of all values.
    """
    weights = np.ones(len(values)) if weights is None else weights
    counted = np.flatnonzero(~np.isnan(values) & (weights > 0))
    if len(counted) < MIN_EVENTS or common.unit <= 0:
        return None
    values, weights = values[counted], weights[counted] / weights[counted].mean()
    sample = tried_rows(len(values), np.random.default_rng(0))
    shares = {
        field: between_share(values[sample], of_field[counted][sample], weights[sample], n_codes)
        for field, (of_field, n_codes) in codes.items()
        if _known_share(of_field[counted], weights) >= MIN_KNOWN
    }
    by = max(shares, key=shares.__getitem__, default=None)
    if by is None or shares[by] < MIN_SHARE:
        return None
    of_field, n_codes = codes[by]
    groups = GroupedValues(of_field[counted], values, weights, n_codes)
    medians = groups.quantiles(np.array([[0.5]]))[:, 0]
    if np.average(values != medians[of_field[counted]], weights=weights) < MIN_VARYING:
        return None
    return Within.from_values(by, shares[by], groups, common)


def _known_share(codes: np.ndarray, weights: np.ndarray) -> float:
    counts = np.bincount(codes, weights)
    counts[:N_SPECIAL] = 0
    return float(counts[counts >= BIN_EVENTS].sum() / weights.sum())


def between_share(values: np.ndarray, codes: np.ndarray, weights: np.ndarray, n_codes: int) -> float:
    """Return the share of a number's variance between levels, from 0 to 1.

    It is the larger of two shares: for the ranks of the values, and for the ranks of their distances
    from the level's median, because levels with equal medians may have different spreads.

    Examples
    --------
    >>> values = np.arange(400) % 100 + np.repeat([0, 0, 1e6, 1e6], 100)
    >>> round(between_share(values, np.repeat([2, 3, 2, 3], 100), np.ones(400), 4), 1)
    0.0
    >>> round(between_share(values, np.repeat([2, 2, 3, 3], 100), np.ones(400), 4), 1)
    1.0
    """
    medians = GroupedValues(codes, values, weights, n_codes).quantiles(np.array([[0.5]]))[:, 0]
    with np.errstate(over="ignore"):
        distances = np.abs(values - medians[codes])
    return max(
        _rank_share(values, codes, weights, n_codes), _rank_share(distances, codes, weights, n_codes)
    )


def _rank_share(values: np.ndarray, codes: np.ndarray, weights: np.ndarray, n_codes: int) -> float:
    """Return omega squared (Hays 1963) of the ranks, relative to that of levels without overlap.

    It is corrected for chance. If levels with shares p do not overlap, 1 - sum(p^3) of the variance of
    the ranks is between them.
    """
    ranks = _ranks(values, weights)
    ranks -= np.average(ranks, weights=weights)
    counts, sums = (np.bincount(codes, w, n_codes) for w in (weights, weights * ranks))
    counts, sums = counts[counts > 0], sums[counts > 0]
    total, between = (weights * np.square(ranks)).sum(), (np.square(sums) / counts).sum()
    n_rest, most = counts.sum() - len(counts), 1 - np.power(counts / counts.sum(), 3).sum()
    if len(counts) < 2 or total <= 0 or n_rest <= 0:
        return 0.0
    noise = (total - between) / n_rest
    share = (between - (len(counts) - 1) * noise) / (total + noise)
    return float(np.clip(share / most, 0, 1))


def _ranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the rank of each value, (n,); equal values have the same rank."""
    _, inverse = np.unique(values, return_inverse=True)
    counts = np.bincount(inverse, weights)
    ranks: np.ndarray = (np.cumsum(counts) - counts / 2)[inverse]
    return ranks
