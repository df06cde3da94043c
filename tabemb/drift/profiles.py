"""Profiles: how the values of each input were distributed over the training rows.

Later rows are compared with a profile, so the training rows are not needed (`tabemb.drift.shifts`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

UNSEEN, MISSING = 0, 1
"""The first two levels of a profile, like the first two codes of a vocabulary; then come the values."""
N_SPECIAL = 2
N_BINS = 20
"""Largest number of bins of a number."""
IN_A_BIN = 50
"""Fewest training rows of a bin, because quantiles of few rows are inaccurate."""
MIDDLES = (np.arange(N_BINS) + 0.5) / N_BINS
"""Levels of the quantiles from which the distance of two distributions is measured."""
EMPTY = np.zeros(0)


@dataclass
class Profile:
    """How the values of one input were distributed over the training rows.

    Parameters
    ----------
    counts : ndarray of shape (n_levels,)
        Sum of the rows' weights by level: unseen (or rare) values, missing values, then each category by
        its code, or each bin of a number.
    bounds : ndarray of shape (n_bins,)
        Upper bounds of the bins, of which the last is the largest training value; empty for categories.
    quantiles : ndarray of shape (n_quantiles,)
        Quantiles of the numbers, at ``MIDDLES``; empty for categories.
    low : float
        The smallest training value of a number.
    min_count : float
        Categories with fewer rows are read as unknown.
    """

    counts: np.ndarray
    bounds: np.ndarray
    quantiles: np.ndarray
    low: float
    min_count: float = 1.0

    @classmethod
    def of_codes(
        cls, codes: np.ndarray, n_codes: int, weights: np.ndarray, min_count: float = 1.0
    ) -> Profile:
        """Count codes of categories (n_rows,); the first two codes are unknown and missing."""
        return cls(np.bincount(codes, weights, n_codes), EMPTY, EMPTY, 0.0, max(min_count, 1.0))

    @classmethod
    def of_counts(cls, counts: np.ndarray) -> Profile:
        """Return the profile of categories with these counts, (n_categories,)."""
        return cls(np.concatenate([np.zeros(N_SPECIAL), counts]), EMPTY, EMPTY, 0.0)

    @classmethod
    def of_numbers(cls, values: np.ndarray, weights: np.ndarray) -> Profile:
        """Bin numbers (n_rows,), NaN where missing, at their quantiles."""
        present = ~np.isnan(values) & (weights > 0)
        if not present.any():
            nothing = np.array([0.0, weights.sum(), 0.0])
            return cls(nothing, np.zeros(1), np.full(N_BINS, np.nan), np.inf)
        known = values[present]
        n_bins = int(np.clip(len(known) // IN_A_BIN, 1, N_BINS))
        bounds = np.unique(np.quantile(known, np.arange(1, n_bins + 1) / n_bins, method="higher"))
        profile = cls(EMPTY, bounds, np.quantile(known, MIDDLES), float(known.min()))
        profile.counts = np.bincount(profile.levels(values), weights, len(bounds) + N_SPECIAL)
        return profile

    def grown(self, values: np.ndarray, weights: np.ndarray, n_codes: int | None) -> Profile:
        """Return the profile with later rows added; ``n_codes`` is the number of codes of a category.

        Bins stay, except for the end of the last one. New quantiles are computed from the later values
        and the earlier quantiles, each weighted by its share of the earlier rows.
        """
        if n_codes is not None:
            counts = np.bincount(values, weights, n_codes)
            counts[: len(self.counts)] += self.counts
            return replace(self, counts=counts)
        present = ~np.isnan(values) & (weights > 0)
        known, n_before = values[present], self.counts[N_SPECIAL:].sum()
        if not self.has_values or not len(known):
            profile = Profile.of_numbers(values, weights) if len(known) else self
            n_missing = self.counts[MISSING] + weights[np.isnan(values)].sum()
            counts = profile.counts.copy()
            counts[MISSING] = n_missing
            return replace(profile, counts=counts)
        bounds = self.bounds.copy()
        bounds[-1] = max(bounds[-1], known.max())
        pooled = np.concatenate([self.quantiles, known])
        shares = np.concatenate([np.full(N_BINS, n_before / N_BINS), weights[present]])
        quantiles = np.quantile(pooled, MIDDLES, weights=shares, method="inverted_cdf")
        profile = replace(self, bounds=bounds, quantiles=quantiles, low=min(self.low, known.min()))
        profile.counts = self.counts + np.bincount(profile.levels(values), weights, len(self.counts))
        return profile

    @property
    def is_number(self) -> bool:
        """Whether the levels are bins of a number."""
        return len(self.bounds) > 0

    @property
    def has_values(self) -> bool:
        """Whether training had any value that is not missing."""
        return bool(self.counts[N_SPECIAL:].any())

    def levels(self, values: np.ndarray) -> np.ndarray:
        """Return the level of each value (n_rows,): the code itself, or the bin of a number."""
        if not self.is_number:
            return values
        bins = np.minimum(np.searchsorted(self.bounds, values), len(self.bounds) - 1)
        return np.where(np.isnan(values), MISSING, bins + N_SPECIAL)
