"""Effects of levels: how far the mean answer of a category, a bin or a pair of them lies from the mean of all.

What a mixed model calls a random effect, and the clearest thing to know about a category: its mean answer, shrunk to
the mean of all by a strength that the data choose, and its count, which says how far to trust it. The rows that teach
a network must not see effects that their own answers made, so :class:`OutOfFold` computes those out-of-fold, as
scikit-learn's TargetEncoder does, with new folds for every epoch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import logit

from tabemb.data.encoding import quantiles
from tabemb.data.pairs import MIN_GAIN, choose_pairs, find_keys, term_keys, tried_rows
from tabemb.data.shrinkage import LevelSums

N_FINE = 256
"""A number of at most so many distinct values has a level for each of them; any other has ``N_QUANTILES`` bins."""
N_QUANTILES = 64
MAX_RESPONSES = 16
"""Answers in the effects: of more (a target of many classes), those that vary most."""


@dataclass
class Levels:
    """Inputs as whole numbers: categories by code, numbers by bin.

    A bin is named by its upper bound; level 0 is the missing value.
    """

    bounds: list[np.ndarray]

    @classmethod
    def from_numbers(cls, numbers: np.ndarray, weights: np.ndarray | None) -> Levels:
        """Learn the bins of numbers (n_rows, n_numbers), NaN where missing; a row without weight has no say."""
        if weights is not None:
            numbers, weights = numbers[weights > 0], weights[weights > 0]
        return cls([_bounds(column, weights) for column in numbers.T])

    def __call__(self, codes: np.ndarray, numbers: np.ndarray) -> list[np.ndarray]:
        """Levels of the categorical inputs, then of the numbers: whole numbers (n_rows,) each."""
        return [*codes.T, *(_bin(column, bounds) for column, bounds in zip(numbers.T, self.bounds))]


def _bounds(values: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    present = ~np.isnan(values)
    values, weights = values[present], None if weights is None else weights[present]
    distinct = np.unique(values)
    if len(distinct) <= N_FINE:
        return distinct
    return np.unique(quantiles(values, np.linspace(0, 1, N_QUANTILES + 1)[1:], weights))


def _bin(values: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    bins = np.minimum(np.searchsorted(bounds, values), max(len(bounds) - 1, 0))
    return np.where(np.isnan(values), 0, bins + 1).astype(np.int16)


class Effects:
    """Learns the effects of categories, bins of numbers and the pairs of categories that matter; describes any rows.

    A *term* is an input or a pair of categorical inputs: pairs with bins of numbers made smooth tables worse. Each
    gives the effect on every response, as a difference of log odds where the responses are shares, and the logarithm
    of the level's count; a level never seen has zeros, as a hidden one.

    Parameters
    ----------
    n_pairs : int
        Most pairs to keep.
    are_shares : bool
        Whether responses are indicators whose means are shares.

    Attributes
    ----------
    terms_ : list of tuple of int
        Rows of what `Levels` gives.
    input_strength_ : ndarray of shape (n_inputs,)
        Strength that shrinks the effects of each input best: the variance within its levels, in units of the variance
        between them; a term or not.
    """

    def __init__(self, n_pairs: int, are_shares: bool) -> None:
        self.n_pairs = n_pairs
        self.are_shares = are_shares

    def fit(
        self,
        codes: np.ndarray,
        numbers: np.ndarray,
        responses: np.ndarray,
        weights: np.ndarray,
        generator: np.random.Generator,
    ) -> Effects:
        """Learn from training rows.

        Parameters
        ----------
        codes : ndarray of shape (n_rows, n_categorical), whole numbers
        numbers : ndarray of shape (n_rows, n_numbers), NaN where missing
        responses : ndarray of shape (n_rows, n_responses)
        weights : ndarray of shape (n_rows,)
        generator : Generator
            Draws the rows that choose the pairs where there are very many.
        """
        self.n_columns_ = codes.shape[1] + numbers.shape[1]
        self.levels_ = Levels.from_numbers(numbers, weights)
        self._learn_center(responses, weights)
        levels, centered = self.levels_(codes, numbers), self.center(responses)
        tried = tried_rows(len(codes), generator)
        some = [level[tried] for level in levels]
        found = [LevelSums.of(ids, centered[tried], weights[tried]).strength() for ids in some]
        self.input_strength_, gains = np.array(found).reshape(-1, 2).T
        singles: list[tuple[int, ...]] = [(int(i),) for i in np.flatnonzero(gains > MIN_GAIN)]
        pairs = choose_pairs(some[: codes.shape[1]], centered[tried], weights[tried], self.n_pairs)
        self.terms_ = [*singles, *pairs]
        self._learn_sums(levels, centered, weights)
        return self

    def _learn_center(self, responses: np.ndarray, weights: np.ndarray) -> None:
        mean = np.average(responses, axis=0, weights=weights)
        variance = np.average(np.square(responses - mean), axis=0, weights=weights)
        most = np.argsort(-variance, kind="stable")[:MAX_RESPONSES]
        self.responses_ = np.sort(most[variance[most] > 0])
        self.mean_ = mean[self.responses_]
        self.unit_ = 1.0 if self.are_shares else np.sqrt(variance[self.responses_])

    def center(self, responses: np.ndarray) -> np.ndarray:
        """Differences from the mean of all, (n_rows, n_responses); in standard deviations if they are no shares."""
        return (responses[:, self.responses_] - self.mean_) / self.unit_

    def _learn_sums(self, levels: list[np.ndarray], centered: np.ndarray, weights: np.ndarray) -> None:
        """Lay the levels of all terms end to end; one row more, of zeros, stands for levels never seen."""
        keys, sums = [], []
        for term in self.terms_:
            own, ids = np.unique(term_keys(levels, term), return_inverse=True)
            keys.append(own)
            sums.append(LevelSums.of(ids, centered, weights))
        self.ends_ = np.cumsum([0, *map(len, keys)])
        self.keys_ = np.concatenate([*keys, np.zeros(0, np.int64)])
        self.counts_ = np.concatenate([*(s.counts for s in sums), np.zeros(1)])
        self.sums_ = np.concatenate([*(s.sums for s in sums), np.zeros((1, len(self.responses_)))])
        self.strength_ = np.array([s.strength()[0] for s in sums])
        self._learn_units()

    def _learn_units(self) -> None:
        """Standard deviation of each term's effects and mean of its log counts, over the training rows."""
        n_terms, n_responses = len(self.terms_), len(self.responses_)
        self.effect_units_, self.count_units_ = np.ones((n_terms, 1, n_responses)), np.ones((n_terms, 1))
        for t in range(n_terms):
            own = self._own(t)
            counts, strength = self.counts_[own], self.strength_[t]
            effects = self._linked(self.sums_[own] / (counts + strength)[:, None])
            mean = np.average(effects, axis=0, weights=counts)
            spread = np.sqrt(np.average(np.square(effects - mean), axis=0, weights=counts))
            self.effect_units_[t] = np.maximum(spread, 1e-6)
            self.count_units_[t] = np.average(np.log1p(counts), weights=counts)

    def _own(self, t: int) -> slice:
        """Where the levels of one term lie among those of all."""
        return slice(self.ends_[t], self.ends_[t + 1])

    def _linked(self, effects: np.ndarray) -> np.ndarray:
        """Differences of shares as differences of log odds."""
        return logit(effects + self.mean_) - logit(self.mean_) if self.are_shares else effects

    @property
    def shape(self) -> tuple[int, int]:
        """Number of terms, and of what is said of each: an effect on every response, and the count."""
        return len(self.terms_), len(self.responses_) + 1

    @property
    def reads(self) -> np.ndarray:
        """Which columns, the categorical ones before the numbers, each term reads: bool (n_terms, n_columns)."""
        reads = np.zeros((len(self.terms_), self.n_columns_), dtype=bool)
        for t, term in enumerate(self.terms_):
            reads[t, list(term)] = True
        return reads

    def places(self, codes: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Where each term's level of each row stands in the sums; the last place if it was never seen.

        Returns
        -------
        ndarray of shape (n_terms, n_rows)
        """
        levels = self.levels_(codes, numbers)
        places = np.empty(
            (len(self.terms_), len(codes)), np.int32 if len(self.counts_) < 2**31 else np.int64
        )
        for t, term in enumerate(self.terms_):
            known = self.keys_[self._own(t)]
            found = find_keys(known, term_keys(levels, term))
            places[t] = np.where(found < len(known), found + self.ends_[t], len(self.keys_))
        return places

    def refit_sums(self, places: np.ndarray, centered: np.ndarray, weights: np.ndarray) -> None:
        """Count and sum the levels anew, for `places` and centered responses; terms, strengths and units stay."""
        for t, own in enumerate(places):
            sums = LevelSums.of(own - self.ends_[t], centered, weights)
            self.counts_[self._own(t)], self.sums_[self._own(t)] = sums.counts, sums.sums

    def transform(self, codes: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Effects and counts of any rows, float32 (n_rows, n_terms, n_responses + 1)."""
        places = self.places(codes, numbers)
        return self.describe(self.sums_[places], self.counts_[places])

    def describe(self, sums: np.ndarray, counts: np.ndarray, terms: slice = slice(None)) -> np.ndarray:
        """From sums (n_terms, n_rows, n_responses) and counts (n_terms, n_rows) to what the network reads."""
        effects = sums / (counts + self.strength_[terms, None])[..., None]
        effects = self._linked(effects) / self.effect_units_[terms]
        certainty = np.log1p(counts) / self.count_units_[terms]
        return np.concatenate([effects, certainty[..., None]], axis=2, dtype=np.float32).transpose(
            1, 0, 2
        )
