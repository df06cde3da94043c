"""Drift: how later rows differ from the training rows, input by input, and what chance alone explains.

Every p-value is the probability of a difference at least this large if the later rows come from the same
distribution as the training rows. Both are samples: a level with two training rows may well have none or
five in as many later rows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import stats

from tabemb.drift.profiles import MIDDLES, MISSING, N_SPECIAL, UNSEEN, Profile

MIN_EXPECTED = 5.0
"""Levels with fewer expected rows in one of the samples are merged (Cochran 1954)."""
HALF = 0.5
"""Number of rows added to each level, so that the logarithm of a share is finite."""


class Shift(NamedTuple):
    """How later values of one input differ from the training values.

    Parameters
    ----------
    unseen, expected_unseen : float
        Share of later rows with a category that was not in training, and the share that was to be
        expected; NaN for numbers.
    missing, missing_before : float
        Share of rows without a value, now and in training.
    outside : float
        Share of rows below the smallest or above the largest training value; NaN for categories.
    psi, psi_low, psi_high : float
        Population stability index of the values, corrected for chance, with a 95 % interval. Unseen
        categories count up to their expected share.
    distance : float
        Mean distance of the quantiles, in the unit of the values; NaN for categories.
    p_values : dict of str -> float
        By the kind of difference: "unseen", "missing", "outside" and "shift".
    """

    unseen: float
    expected_unseen: float
    missing: float
    missing_before: float
    outside: float
    psi: float
    psi_low: float
    psi_high: float
    distance: float
    p_values: dict[str, float]


def shift_of(profile: Profile, values: np.ndarray, weights: np.ndarray) -> Shift:
    """Compare later values of an input with its profile.

    Parameters
    ----------
    profile : Profile
    values : ndarray of shape (n_rows,)
        Codes of categories, or numbers, NaN where missing.
    weights : ndarray of shape (n_rows,)
        Their sum is the number of independent rows.
    """
    before = profile.counts
    now = np.bincount(profile.levels(values), weights, len(before))
    n, n_before = now.sum(), before.sum()
    p_values, unseen, expected, outside, distance = {}, np.nan, np.nan, np.nan, np.nan
    if profile.is_number:
        outside, p_values["outside"] = _outside(profile, values, weights)
        distance = _distance(profile, values, weights)
    else:
        unseen, expected = now[UNSEEN] / n, expected_unseen(profile)
        p_values["unseen"] = _unseen_by_chance(profile, now)
        now[UNSEEN] = min(now[UNSEEN], expected * n)  # the excess is not counted as a shift too
    missing, missing_before = now[MISSING] / n, before[MISSING] / n_before
    p_values["missing"] = same_share(now[MISSING], n, before[MISSING], n_before)
    psi, low, high, p_values["shift"] = _shifted(before, now, profile.is_number)
    return Shift(unseen, expected, missing, missing_before, outside, psi, low, high, distance, p_values)


def holm(p_values: np.ndarray) -> np.ndarray:
    """Return p-values corrected for their number (Holm 1979); NaN means no test."""
    corrected = np.full(len(p_values), np.nan)
    tests = np.flatnonzero(~np.isnan(p_values))
    order = tests[np.argsort(p_values[tests], kind="stable")]
    factors = len(order) - np.arange(len(order))
    corrected[order] = np.minimum(np.maximum.accumulate(p_values[order] * factors), 1)
    return corrected


def same_share(k: float, n: float, k_before: float, n_before: float, more: bool = False) -> float:
    """Test if the share k of n rows equals the share before (Fisher's exact test); return the p-value.

    With ``more``, the test is one-sided, against a larger share now.
    """
    table = np.floor([[k, n - k], [k_before, n_before - k_before]]).astype(np.int64)
    return float(stats.fisher_exact(table, "greater" if more else "two-sided").pvalue)


def expected_unseen(profile: Profile) -> float:
    """Return the expected share of later rows with a category that was not in training."""
    return _alone(profile)[0] / float(profile.counts.sum())


def _alone(profile: Profile) -> tuple[float, float]:
    """Return how many training rows would be unseen given the other rows, and the variance.

    These rows are in a level without other rows, or with too few (`min_count`). Their share is the
    expected share of unseen later rows (Good 1953). The variance is that of levels, not of rows.
    """
    counts, least = profile.counts[N_SPECIAL:], profile.min_count
    alone = profile.counts[UNSEEN] + counts[counts < least + 1].sum()
    next_to_them = counts[(counts >= least + 1) & (counts < least + 2)].sum()
    return float(alone), least * float(alone + next_to_them)


def _unseen_by_chance(profile: Profile, now: np.ndarray) -> float:
    """Test for more unseen categories than expected by chance; return the p-value."""
    alone, variance = _alone(profile)
    factor = alone / variance if alone else 1.0  # effective rows with the variance of levels
    n_before = profile.counts.sum() * factor
    return same_share(now[UNSEEN], now.sum(), alone * factor, n_before, more=True)


def _outside(profile: Profile, values: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Return the share of values outside the range of the training values, and its p-value."""
    with np.errstate(invalid="ignore"):  # missing values are on neither side
        below = weights[values < profile.low].sum()
        above = weights[values > profile.bounds[-1]].sum()
    n, n_before = weights[~np.isnan(values)].sum(), profile.counts[N_SPECIAL:].sum()
    p = min(1.0, 2 * min(_all_beyond(below, n, n_before), _all_beyond(above, n, n_before)))
    return (below + above) / weights.sum(), p


def _all_beyond(k: float, n: float, n_before: float) -> float:
    """Return the probability that the k smallest of all values are among the n later ones."""
    ranks = np.arange(int(min(k, n)))
    return float(np.prod((n - ranks) / (n + n_before - ranks)))


def _distance(profile: Profile, values: np.ndarray, weights: np.ndarray) -> float:
    """Return the mean distance of the quantiles at ``MIDDLES``: the first Wasserstein distance."""
    kept = ~np.isnan(values) & (weights > 0)
    if not kept.any():
        return np.nan
    order = np.argsort(values[kept])
    ends = np.cumsum(weights[kept][order])
    places = np.minimum(np.searchsorted(ends, MIDDLES * ends[-1]), len(ends) - 1)
    now = values[kept][order][places]
    return float(np.abs(now - profile.quantiles).mean())


def _shifted(before: np.ndarray, now: np.ndarray, is_number: bool) -> tuple[float, float, float, float]:
    """Return the PSI of the levels with its interval, and the p-value of equal distributions.

    Unseen and rare categories are merged into one level; missing values are left out.
    """
    first, second = (np.delete(counts, MISSING) for counts in (before, now))
    if is_number:  # numbers are never unseen
        first, second = first[1:], second[1:]
    n_before, n = first.sum(), second.sum()
    if not n_before or not n:
        return np.nan, np.nan, np.nan, 1.0
    cells = (_bins_together if is_number else _rare_together)(first, second)
    first, second = (np.bincount(cells, counts) for counts in (first, second))
    kept = first + second > 0
    first, second = first[kept], second[kept]
    return *_psi(first, second), _same_distribution(first, second)


def _rare_together(before: np.ndarray, now: np.ndarray) -> np.ndarray:
    """Return the cell of each category, (n_levels,); the first category is unknown.

    Whether a category is rare depends on both samples equally.
    """
    smaller = min(before.sum(), now.sum()) / (before.sum() + now.sum())
    is_rare = (before + now) * smaller < MIN_EXPECTED
    is_rare[0] = True  # unseen categories are not a level of their own
    return np.where(is_rare, 0, np.cumsum(~is_rare))


def _bins_together(before: np.ndarray, now: np.ndarray) -> np.ndarray:
    """Merge neighbouring bins of a number until enough rows are expected; return cells (n_bins,).

    Only training values decide, because the bins are their quantiles.
    """
    expected = np.cumsum(before) * min(1.0, now.sum() / before.sum())
    cells = np.maximum(np.ceil(expected / MIN_EXPECTED - 1e-9) - 1, 0)
    return np.unique(cells, return_inverse=True)[1]


def _same_distribution(before: np.ndarray, now: np.ndarray) -> float:
    """Return the p-value of the chi-squared test of two samples."""
    if len(before) < 2:
        return 1.0
    total = before + now
    statistic = 0.0
    for counts in (before, now):
        expected = total * counts.sum() / total.sum()
        statistic += float((np.square(counts - expected) / expected).sum())
    return float(stats.chi2.sf(statistic, len(before) - 1))


def _psi(before: np.ndarray, now: np.ndarray) -> tuple[float, float, float]:
    """Return the PSI minus its expectation without a shift, with the ends of its 95 % interval.

    The population stability index is the sum of (q - p) * log(q / p) over levels. Its variance is from
    the delta method, plus the variance without any shift, for which the delta method gives zero.
    """
    sizes = before.sum(), now.sum()
    p, q = ((counts + HALF) / (counts + HALF).sum() for counts in (before, now))
    log = np.log(q / p)
    scatter, n_free = 1 / sizes[0] + 1 / sizes[1], len(p) - 1
    psi = float(((q - p) * log).sum()) - n_free * scatter
    slopes = -log - (q - p) / p, log + (q - p) / q
    variance = 2 * n_free * scatter**2
    for share, slope, size in zip((p, q), slopes, sizes):
        variance += float((share * slope**2).sum() - (share * slope).sum() ** 2) / size
    half = stats.norm.isf(0.025) * np.sqrt(max(variance, 0.0))
    return max(psi, 0.0), max(psi - half, 0.0), max(psi + half, 0.0)
