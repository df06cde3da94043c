"""Find the levels whose mean answer in later rows differs from their effect in training.

A change of the overall mean, which all levels share, is measured separately: a later level is compared
with its effect plus that change. An effect is a prediction with an error, so the p-values come from
predictive distributions.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy import stats
from scipy.special import expit, logit

from tabemb.data.effects import SHARES
from tabemb.data.term_levels import TermLevels

MIN_ROWS = 10
"""Fewest later rows of a level that is tested."""
N_PRIOR = 4
"""Number of rows that the variance within all levels counts as in the variance within one level."""
MANY = 50.0
"""Variance of a count from which its distribution is approximated by a normal one."""
N_STEPS = 50
MOST_LEAVING = 20
"""Largest number of levels that are left out of the common change because they clearly moved."""
CLEARLY = 0.05
"""Levels with a p-value (corrected for their number) up to this have clearly moved."""
TINY = 1e-300


class Moved(NamedTuple):
    """The levels of one term in later rows.

    Parameters
    ----------
    counts : ndarray of shape (n_levels,)
    means : ndarray of shape (n_levels, n_responses)
        Mean minus the mean of all training rows, in the unit of `TermLevels`; NaN without rows.
    p_values : ndarray of shape (n_levels, n_responses)
        NaN for levels that are worth fewer than ``MIN_ROWS`` independent rows.
    """

    counts: np.ndarray
    means: np.ndarray
    p_values: np.ndarray


class Later(NamedTuple):
    """Later rows of the tested levels; ``squares`` are sums of squared answers."""

    counts: np.ndarray
    means: np.ndarray
    squares: np.ndarray


def moved_levels(
    levels: TermLevels,
    ids: np.ndarray,
    centered: np.ndarray,
    shares: np.ndarray | None,
    worth: np.ndarray | None = None,
) -> Moved:
    """Compare the answers of later rows with the effects of their levels.

    Parameters
    ----------
    levels : TermLevels
    ids : ndarray of shape (n_rows,)
        Position of each row's level, -1 if the level was not in training.
    centered : ndarray of shape (n_rows, n_responses)
        From `Effects.center`.
    shares : ndarray of shape (n_responses,), optional
        Mean of all training rows, if responses are indicators.
    worth : ndarray of shape (n_levels,), optional
        How many independent rows a row of each level is worth; one when None.
    """
    known = ids >= 0
    ids, centered, n_levels = ids[known], centered[known], len(levels.counts)
    counts = np.bincount(ids, minlength=n_levels).astype(float)
    sums = _by_level(ids, centered, n_levels)
    with np.errstate(invalid="ignore"):  # levels without rows
        means = sums / counts[:, None]
    p_values = np.full(means.shape, np.nan)
    n_independent = counts if worth is None else np.floor(counts * worth)
    at = np.flatnonzero(n_independent >= MIN_ROWS)
    if len(at):
        squares = _by_level(ids, np.square(centered), n_levels)[at]
        squares *= (n_independent / np.maximum(counts, 1))[at, None]
        later = Later(n_independent[at], means[at], squares)
        compare = _of_numbers if shares is None else partial(_of_shares, shares=shares)
        p_values[at] = _beside_a_common_change(compare, levels, at, later)
    return Moved(counts, means, p_values)


def _beside_a_common_change(
    compare: Callable[..., np.ndarray], levels: TermLevels, at: np.ndarray, later: Later
) -> np.ndarray:
    """Return p-values, with the common change measured without levels that have clearly moved.

    These are left out one at a time, the clearest first. Otherwise, a few levels that moved far would
    make the others seem to have moved the other way.
    """
    stayed = np.ones(later.means.shape, dtype=bool)
    p_values = compare(levels, at, later, stayed)
    for _ in range(MOST_LEAVING):
        among = np.where(stayed, p_values, 1.0)
        clearest, responses = among.argmin(axis=0), np.arange(len(among.T))
        leaves = among[clearest, responses] * len(at) <= CLEARLY
        leaves &= stayed.sum(axis=0) > 2  # the remaining levels determine the common change
        if not leaves.any():
            break
        stayed[clearest[leaves], responses[leaves]] = False
        p_values = compare(levels, at, later, stayed)
    return p_values


def _by_level(ids: np.ndarray, values: np.ndarray, n_levels: int) -> np.ndarray:
    return np.stack([np.bincount(ids, column, n_levels) for column in values.T], axis=1)


def _of_numbers(levels: TermLevels, at: np.ndarray, later: Later, stayed: np.ndarray) -> np.ndarray:
    """Return the p-values of t-tests, each based on the variance within the level."""
    n, means = later.counts[:, None], later.means
    within = np.maximum(later.squares - n * means**2, 0)  # sum of squares
    pooled = within.sum(0) / max(float(n.sum()) - len(n), 1.0)
    n_free = n - 1 + N_PRIOR
    variance = (within + N_PRIOR * pooled) / n_free
    change = means - levels.effects[at]
    # the error of an effect assumes the same variance within all levels
    errors = levels.errors[at] ** 2 * np.maximum(variance / np.maximum(pooled, TINY), 1)
    precision = 1 / np.maximum(variance / n + errors, TINY)
    if len(at) > 1:
        weights = precision * stayed
        change = change - (change * weights).sum(0) / weights.sum(0)
    return np.asarray(2 * stats.t.sf(np.abs(change) * np.sqrt(precision), n_free))


def _of_shares(
    levels: TermLevels, at: np.ndarray, later: Later, stayed: np.ndarray, shares: np.ndarray
) -> np.ndarray:
    """Return the p-values of counts of a class, whose share has a beta distribution."""
    n = later.counts[:, None]
    expected = np.clip(levels.effects[at] + shares, *SHARES)
    hits = np.round((later.means + shares) * n)
    if len(at) > 1:
        expected = _with_total(expected, n * stayed, (hits * stayed).sum(0))
    size = levels.counts[at] + levels.strength
    columns = [_two_sided(k, later.counts, p, size) for k, p in zip(hits.T, expected.T)]
    return np.stack(columns, axis=1)


def _with_total(expected: np.ndarray, counts: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """Shift the log odds of the expected shares by the same amount in all levels.

    The shift makes the expected number of rows of each class equal to ``totals``, given ``counts`` rows
    of each level.
    """
    odds = logit(expected)
    low, high = np.full(len(totals), -40.0), np.full(len(totals), 40.0)
    for _ in range(N_STEPS):  # bisection
        middle = (low + high) / 2
        is_less = (expit(odds + middle) * counts).sum(0) < totals
        low, high = np.where(is_less, middle, low), np.where(is_less, high, middle)
    return np.asarray(np.clip(expit(odds + low), *SHARES))


def _two_sided(hits: np.ndarray, n: np.ndarray, share: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Return the p-value of each count under a beta-binomial distribution with this mean and size."""
    variance = n * share * (1 - share) * (n + size) / (size + 1)
    z = (np.abs(hits - n * share) - 0.5) / np.sqrt(np.maximum(variance, TINY))
    p = 2 * stats.norm.sf(np.maximum(z, 0))
    few = variance < MANY
    if few.any():
        k, a, b = hits[few], share[few] * size[few], (1 - share[few]) * size[few]
        tails = stats.betabinom.cdf(k, n[few], a, b), stats.betabinom.sf(k - 1, n[few], a, b)
        p[few] = 2 * np.minimum(*tails)
    return np.asarray(np.minimum(p, 1.0))
