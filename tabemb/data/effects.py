"""Effects of levels: how far the mean answer of a category, a bin or a pair of them lies from the mean of all.

What a mixed model calls a random effect, and the clearest thing to know about a category: its mean answer, shrunk to
the mean of all by a strength that the data choose, and its count, which says how far to trust it. The rows that teach
a network must not see effects that their own answers made, so :class:`CrossFit` computes those out-of-fold, as
scikit-learn's TargetEncoder does, with new folds for every epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.special import logit

from tabemb.data.encoding import quantiles

N_FINE = 256
"""A number of at most so many distinct values has a level for each of them; any other has ``N_QUANTILES`` bins."""
N_QUANTILES = 64
N_PAIRED = 14
"""Categorical inputs that are tried in pairs: those whose own effects explain most."""
N_TRIED = 100_000
"""Rows that choose the pairs, where there are more."""
N_FOLDS = 10
MAX_RESPONSES = 16
"""Answers in the effects: of more (a target of many classes), those that vary most."""
MIN_GAIN = 1e-4
"""Share of the answers' variance that a term must explain out of sample."""
STRENGTHS = 2.0 ** np.arange(-1, 11)
"""Strengths of shrinkage that are tried: in rows that say nothing but the mean of all."""


@dataclass
class Levels:
    """Inputs as whole numbers: categories by code, numbers by bin.

    A bin is named by its upper bound; level 0 is the missing value.
    """

    bounds: list[np.ndarray]

    @classmethod
    def learn(cls, numbers: np.ndarray, weights: np.ndarray | None) -> Levels:
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


@dataclass
class _Sums:
    """Counts, sums and squares of the answers of each level of one term; a row of weight two counts as two rows."""

    counts: np.ndarray  # (n_levels,)
    sums: np.ndarray  # (n_levels, n_responses)
    squares: np.ndarray  # (n_levels,)

    @classmethod
    def of(cls, ids: np.ndarray, responses: np.ndarray, weights: np.ndarray) -> _Sums:
        n_levels = int(ids.max()) + 1
        sums = np.zeros((n_levels, responses.shape[1]))
        for r, column in enumerate(responses.T):
            sums[:, r] = np.bincount(ids, weights * column, n_levels)
        squares = np.bincount(ids, weights * np.square(responses).sum(1), n_levels)
        return cls(np.bincount(ids, weights, n_levels), sums, squares)

    def strength(self) -> tuple[float, float]:
        """The strength with the smallest leave-one-out error, and the share of the squares that it explains."""
        products = np.square(self.sums).sum(1)
        others = np.maximum(self.counts - 1, 0)
        errors = []
        for (
            strength
        ) in STRENGTHS:  # error of y - (sum - y) / (others + strength), summed over the rows of a level
            inverse = 1 / (others + strength)
            own = 1 + inverse
            error = (
                own**2 * self.squares
                - 2 * own * inverse * products
                + inverse**2 * self.counts * products
            )
            errors.append(error.sum())
        best, total = int(np.argmin(errors)), self.squares.sum()
        return float(STRENGTHS[best]), 1 - errors[best] / total if total else 0.0

    def without_own(self, ids: np.ndarray, responses: np.ndarray, strength: float) -> np.ndarray:
        """The effect that the other rows of its level give to each row, (n_rows, n_responses)."""
        others = np.maximum(self.counts - 1, 0)[ids] + strength
        return (self.sums[ids] - responses) / others[:, None]


def shrunken_means(
    codes: np.ndarray, responses: np.ndarray, weights: np.ndarray, n_codes: int
) -> np.ndarray:
    """Mean answer of each code, pulled to the mean of all by the strength that predicts other rows best.

    Parameters
    ----------
    codes : ndarray of shape (n_rows,), whole numbers below ``n_codes``
    responses : ndarray of shape (n_rows, n_responses)
    weights : ndarray of shape (n_rows,)
    n_codes : int

    Returns
    -------
    ndarray of shape (n_codes, n_responses)
        The mean of all for a code without rows.

    Examples
    --------
    >>> shrunken_means(np.array([0, 0, 1, 1]), np.array([[0.0], [0.0], [9.0], [9.0]]), np.ones(4), 3).round(1).ravel()
    array([0.9, 8.1, 4.5])
    """
    mean = np.average(responses, axis=0, weights=weights)
    sums = _Sums.of(codes, responses - mean, weights)
    strength, _ = sums.strength()
    means = np.tile(mean, (n_codes, 1))
    means[: len(sums.counts)] += sums.sums / (sums.counts + strength)[:, None]
    return means


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
        self.levels_ = Levels.learn(numbers, weights)
        self._learn_center(responses, weights)
        levels, centered = self.levels_(codes, numbers), self.center(responses)
        tried = tried_rows(len(codes), generator)
        some = [level[tried] for level in levels]
        found = [_Sums.of(ids, centered[tried], weights[tried]).strength() for ids in some]
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
            own, ids = np.unique(_keys(levels, term), return_inverse=True)
            keys.append(own)
            sums.append(_Sums.of(ids, centered, weights))
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
            found = _find(known, _keys(levels, term))
            places[t] = np.where(found < len(known), found + self.ends_[t], len(self.keys_))
        return places

    def learn_again(self, places: np.ndarray, centered: np.ndarray, weights: np.ndarray) -> None:
        """Count and sum the levels anew, for `places` and centered responses; terms, strengths and units stay."""
        for t, own in enumerate(places):
            sums = _Sums.of(own - self.ends_[t], centered, weights)
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


class CrossFit:
    """Effects for the rows that taught them, each from rows that are not looked at together with it.

    Parameters
    ----------
    effects : Effects
    codes, numbers, responses, weights : ndarray
        The training rows.
    rows : ndarray of int, optional
        Positions of those that ``effects`` was fitted on, if not on all: the others had a weight of zero there.
    """

    def __init__(
        self,
        effects: Effects,
        codes: np.ndarray,
        numbers: np.ndarray,
        responses: np.ndarray,
        weights: np.ndarray,
        rows: np.ndarray | None = None,
    ) -> None:
        self.effects, self.all_weights, self.rows = effects, weights, rows
        self.places = effects.places(codes, numbers)
        self.centered = effects.center(responses)
        self.weights = weights_of(rows, weights)

    def learn_from(self, rows: np.ndarray | None) -> None:
        """Let these rows make the effects, of the same terms; None: all rows."""
        if rows is self.rows:  # sums over all terms are not for nothing
            return
        self.rows, self.weights = rows, weights_of(rows, self.all_weights)
        self.effects.learn_again(self.places, self.centered, self.weights)

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Effects and counts of some rows in random order, each from all rows but those of its fold.

        The rows are cut into folds of about a tenth of all rows; a tenth at a time is one fold.

        Returns
        -------
        ndarray of shape (len(rows), n_terms, n_responses + 1), float32
        """
        n_folds = max(1, round(N_FOLDS * len(rows) / len(self.weights)))
        folds = np.arange(len(rows)) % n_folds
        drawn = np.empty((len(rows), *self.effects.shape), np.float32)
        for t in range(len(self.places)):
            drawn[:, t] = self._of_term(t, rows, folds)[:, 0]
        return drawn

    def _of_term(self, t: int, rows: np.ndarray, folds: np.ndarray) -> np.ndarray:
        places, weights, effects = self.places[t, rows], self.weights[rows], self.effects
        cells = (places - effects.ends_[t]) * (int(folds.max()) + 1) + folds
        own = [
            np.bincount(cells, column)[cells]
            for column in (*(self.centered[rows] * weights[:, None]).T, weights)
        ]
        counts = np.maximum(effects.counts_[places] - own[-1], 0.0)
        sums = effects.sums_[places] - np.stack(own[:-1], axis=1)
        return effects.describe(sums[None], counts[None], slice(t, t + 1))


def weights_of(rows: np.ndarray | None, weights: np.ndarray) -> np.ndarray:
    """The weights of these rows, and zero for all others; None: all weights as they are."""
    if rows is None:
        return weights
    kept = np.zeros_like(weights)
    kept[rows] = weights[rows]
    return kept


def tried_rows(n_rows: int, generator: np.random.Generator) -> slice | np.ndarray:
    """The rows that choose the pairs: all, or some drawn at random where there are very many."""
    return slice(None) if n_rows <= N_TRIED else generator.choice(n_rows, N_TRIED, replace=False)


def choose_pairs(
    levels: Sequence[np.ndarray], centered: np.ndarray, weights: np.ndarray, n_pairs: int
) -> list[tuple[int, int]]:
    """The pairs of inputs that add most to their two effects, best first.

    Parameters
    ----------
    levels : sequence of ndarray of shape (n_rows,), whole numbers
    centered : ndarray of shape (n_rows, n_responses)
        Answers, as differences from their mean.
    weights : ndarray of shape (n_rows,)
    n_pairs : int
        The most to choose.
    """
    sums = [_Sums.of(ids, centered, weights) for ids in levels] if n_pairs else []
    found = [own.strength() for own in sums]
    pool = sorted(sorted(range(len(sums)), key=lambda i: -found[i][1])[:N_PAIRED])
    alone = {i: sums[i].without_own(levels[i], centered, found[i][0]) for i in pool}
    added = {
        (a, b): _added(levels, (a, b), centered - alone[a] - alone[b], weights)
        for a, b in combinations(pool, 2)
    }
    best = sorted(
        (pair for pair, gain in added.items() if gain > MIN_GAIN), key=lambda pair: -added[pair]
    )
    return best[:n_pairs]


def _keys(levels: Sequence[np.ndarray], term: tuple[int, ...]) -> np.ndarray:
    """One whole number for each level of a term: a pair has its first level in the upper half of the bits."""
    first = levels[term[0]].astype(np.int64)
    return first if len(term) == 1 else first << 32 | levels[term[1]]


def _find(known: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Where each key stands among the known ones, which are sorted; their number if it is none of them."""
    found = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    return np.where(known[found] == keys, found, len(known))


def _added(
    levels: Sequence[np.ndarray], pair: tuple[int, int], rest: np.ndarray, weights: np.ndarray
) -> float:
    """Share of the rest that a pair explains out of sample; nothing where one of its inputs says all of the other."""
    keys, ids = np.unique(_keys(levels, pair), return_inverse=True)
    if len(keys) <= max(len(np.unique(levels[i])) for i in pair):
        return 0.0
    return _Sums.of(ids, rest, weights).strength()[1]


@dataclass
class Crossed:
    """Pairs of columns as columns of codes: one for each pair of codes that was seen, the next for all others."""

    pairs: list[tuple[int, int]]
    keys: list[np.ndarray]

    @classmethod
    def learn(cls, codes: np.ndarray, pairs: list[tuple[int, int]]) -> Crossed:
        """Learn the pairs of codes (n_rows, n_columns) that there are."""
        return cls(pairs, [np.unique(_keys([*codes.T], pair)) for pair in pairs])

    @property
    def sizes(self) -> list[int]:
        """Number of codes of each pair."""
        return [len(known) + 1 for known in self.keys]

    def __call__(self, codes: np.ndarray) -> np.ndarray:
        """Codes of the pairs of these rows, int32 (n_rows, n_pairs)."""
        crossed = np.empty((len(codes), len(self.pairs)), np.int32)
        for p, (pair, known) in enumerate(zip(self.pairs, self.keys)):
            crossed[:, p] = _find(known, _keys([*codes.T], pair))
        return crossed
