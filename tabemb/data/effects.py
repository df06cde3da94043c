"""Effects: shrunken mean targets of categories, bins of numbers and pairs of categories, as features.

The most useful facts about a category are its mean target and its count, which shows how reliable the
mean is. A training row must not read a mean that includes its own target. For training rows
:class:`~tabemb.data.out_of_fold.OutOfFold` therefore computes the effects out-of-fold, as scikit-learn's
TargetEncoder does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.special import logit

from tabemb.data.combinations import Candidates, choose_combinations
from tabemb.data.expected import MOST_LEVELS, ExpectedEffects
from tabemb.data.level_index import LevelIndex
from tabemb.data.levels import Levels
from tabemb.data.pairs import (
    MIN_GAIN,
    Term,
    choose_pairs,
    key_levels,
    term_keys,
    tried_rows,
)
from tabemb.data.sampling import MOST_ROWS, slices
from tabemb.data.shrinkage import LevelSums, merged_sums
from tabemb.data.storage import IN_MEMORY, Storage
from tabemb.data.term_levels import EffectRows, TermLevels
from tabemb.data.term_sums import Grid, TermSums
from tabemb.data.vocabulary import N_SPECIAL
from tabemb.data.words import LENGTHS, Text, WordEffects
from tabemb.likeness.nearest import Likeness

SHARES = (1e-300, 1 - 2.0**-53)
"""Bounds of a share, so that its log odds are finite even if a class has almost no weight."""
N_FREE = 10
"""Fewest degrees of freedom (rows minus levels) from which the variance within levels is measured."""
MAX_RESPONSES = 16
"""Largest number of responses with effects; if there are more classes, those of largest variance."""


class Effects:
    """Shrunken mean targets of those inputs and pairs of categorical inputs that predict something.

    A *term* is one input or one pair of categorical inputs. (Pairs with bins of numbers made predictions
    worse on smooth data.) For each term, a row has an effect on each response and the log count of its
    level. The effect is in standard deviations over the training rows, the log count in units of its
    mean. An effect is the level's shrunken mean minus the mean of all rows; if the responses are
    indicators, it is a difference of log odds. A level without training rows has zeros. Further terms
    follow: words and pairs of neighbouring words of texts (`WordEffects`), then the effects that are
    expected of categories from their descriptions (`ExpectedEffects`).

    Parameters
    ----------
    n_pairs : int
        Largest number of pairs.
    are_shares : bool
        Whether the responses are indicators, so that their means are shares.

    Attributes
    ----------
    terms_ : list of tuple of int
        Positions of each term's inputs, categorical inputs before numbers.
    input_strength_ : ndarray of shape (n_inputs,)
        Best strength of shrinkage of every input, whether it is a term or not: the variance of the
        target within its levels, in units of the variance between them.
    input_gains_ : ndarray of shape (n_inputs,)
        Share of the variance of the target that the effects of every input explain, out of sample
        (leave-one-out). It is negative if they predict worse than the mean of all rows. Files of
        tabemb 0.2 lack ``input_gains_`` and ``gains_``.
    gains_ : ndarray of shape (n_terms,)
        The same share for every term; for a pair it includes the effects of its two inputs.
    words_ : sequence of WordEffects
        Effects of words, for the texts where they predict something.
    expected_ : sequence of ExpectedEffects
        For the categorical inputs whose effects can be predicted from descriptions of the categories.
    """

    input_gains_: np.ndarray
    gains_: np.ndarray
    words_: Sequence[WordEffects] = ()  # in files without texts
    expected_: Sequence[ExpectedEffects] = ()  # in files of tabemb 0.2
    _index: LevelIndex | None = None
    """Finds levels; created when first needed, and not saved."""
    _grid: Grid | None = None
    """The grid that responses are rounded to before they are summed; not saved."""

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
        texts: Sequence[Text] = (),
        explained: np.ndarray | None = None,
        likeness: Mapping[int, Likeness] | None = None,
        hashed_from: tuple[int, ...] = (),
    ) -> Effects:
        """Choose the terms and compute the mean responses of their levels.

        Parameters
        ----------
        codes : ndarray of shape (n_rows, n_categorical), whole numbers
        numbers : ndarray of shape (n_rows, n_numbers), NaN where missing
        responses : ndarray of shape (n_rows, n_responses)
            The target as numeric columns: numbers, or indicators of classes.
        weights : ndarray of shape (n_rows,)
            Rows of weight zero are not training rows.
        generator : Generator
            Draws the sample of rows from which the pairs are chosen, if there are very many rows.
        texts : sequence of Text
            One for each text column, each with n_rows rows.
        explained : ndarray of shape (n_rows, n_responses), optional
            Out-of-fold predictions of the responses by another model. Pairs are then chosen by how much
            of the residuals they explain, and numbers can be in pairs too.
        likeness : mapping of input -> Likeness, optional
            Compares the categories of some categorical inputs, in the order of their codes.
        hashed_from : tuple of int, optional
            As in `Levels`.

        Returns
        -------
        self
        """
        rows = EffectRows(codes, numbers, responses, weights)
        self.choose(rows, generator, explained, hashed_from=hashed_from)
        self.sum_up([rows], likeness)
        self.fit_words(texts, responses, weights)
        return self

    def choose(
        self,
        rows: EffectRows,
        generator: np.random.Generator,
        explained: np.ndarray | None = None,
        n_rows: int | None = None,
        hashed_from: tuple[int, ...] = (),
    ) -> None:
        """Choose the terms from the training rows or a sample of these.

        Parameters
        ----------
        rows : EffectRows
        generator, explained : as in `fit`
        n_rows : int, optional
            Number of all rows, where ``rows`` are a sample.
        hashed_from : as in `fit`
        """
        codes, numbers, responses, weights = rows
        self.n_columns_ = codes.shape[1] + numbers.shape[1]
        levels_of = Levels.from_numbers(numbers, weights, has_wide=explained is not None)
        self.levels_ = replace(levels_of, hashed_from=hashed_from)
        self._fit_center(responses, weights)
        self._grid = Grid.of(self.center(responses), n_rows or len(codes))
        levels, centered = self.levels_(codes, numbers), self.center(responses)
        # a sample is enough to choose the terms; their sums are over all rows
        tried = tried_rows(len(codes), generator)
        tried_levels, tried_centered = [level[tried] for level in levels], centered[tried]
        best = [
            LevelSums.from_rows(ids, tried_centered, weights[tried]).best_strength()
            for ids in tried_levels[: self.n_columns_]
        ]
        self.input_strength_, self.input_gains_ = np.array(best).reshape(-1, 2).T
        useful = np.flatnonzero(self.input_gains_ > MIN_GAIN)
        singles: list[tuple[int, ...]] = [(int(i),) for i in useful]
        n_categorical = codes.shape[1]
        categorical = tried_levels[:n_categorical]
        pairs: list[Term] = [*choose_pairs(categorical, tried_centered, weights[tried], self.n_pairs)]
        if explained is not None:
            rest = tried_centered - self.center(explained)[tried]
            candidates = Candidates(tried_levels, rest, weights[tried])
            wide = range(self.n_columns_, len(levels))
            combined = choose_combinations(candidates, range(n_categorical), wide, self.n_pairs)
            pairs += [term for term in combined if term not in pairs]
        self.terms_ = [*singles, *pairs]

    def __getstate__(self) -> dict[str, Any]:
        transient = {"_index", "_grid"}
        return {name: value for name, value in vars(self).items() if name not in transient}

    def _fit_center(self, responses: np.ndarray, weights: np.ndarray) -> None:
        """Choose the responses, and compute their mean and unit."""
        mean = np.average(responses, axis=0, weights=weights)
        variance = np.average(np.square(responses - mean), axis=0, weights=weights)
        largest = np.argsort(-variance, kind="stable")[:MAX_RESPONSES]
        self.responses_ = np.sort(largest[variance[largest] > 0])  # a constant one has no effects
        self.mean_ = mean[self.responses_]
        self.unit_ = 1.0 if self.are_shares else np.sqrt(variance[self.responses_])

    def center(self, responses: np.ndarray) -> np.ndarray:
        """Return responses minus their overall mean, in their unit: (n_rows, n_used_responses)."""
        centered: np.ndarray = (responses[:, self.responses_] - self.mean_) / self.unit_
        return centered if self._grid is None else self._grid.round(centered)

    def sum_up(
        self, parts: Iterable[EffectRows], likeness: Mapping[int, Likeness] | None = None
    ) -> None:
        """Sum the responses by level of the chosen terms, over all training rows.

        A row of zeros at the end is for unseen levels.

        Parameters
        ----------
        parts : iterable of EffectRows
            In any order.
        likeness : as in `fit`
        """
        assert self._grid is not None
        by_term = [TermSums(len(self.responses_)) for _ in self.terms_]
        for codes, numbers, responses, weights in parts:
            levels, centered = self.levels_(codes, numbers), self.center(responses)
            squares = self._grid.squares(centered)
            for term, sums in zip(self.terms_, by_term):
                sums.add(term_keys(levels, term), centered, weights, squares)
        keys, of_terms = zip(*(sums.result() for sums in by_term)) if by_term else ((), ())
        self.ends_ = np.cumsum([0, *map(len, keys)])
        self.keys_ = np.concatenate([*keys, np.zeros(0, np.int64)])
        self.counts_ = np.concatenate([*(s.counts for s in of_terms), np.zeros(1)])
        self.sums_ = np.concatenate([*(s.sums for s in of_terms), np.zeros((1, len(self.responses_)))])
        best = [s.best_strength() for s in of_terms]
        self.strength_, self.gains_ = np.array(best).reshape(-1, 2).T
        self._fit_units()
        self._fit_expected(likeness or {}, of_terms)

    def _fit_expected(self, likeness: Mapping[int, Likeness], sums: Sequence[LevelSums]) -> None:
        self.expected_ = []
        for t, term in enumerate(self.terms_):
            labels = self.keys_[self.span(t)] - N_SPECIAL
            if len(term) > 1 or term[0] not in likeness or len(labels) > MOST_LEVELS:
                continue
            strength = float(self.strength_[t])
            expected = ExpectedEffects.fit(t, likeness[term[0]], labels, sums[t], strength)
            self.expected_ += [] if expected is None else [expected]

    def fit_words(self, texts: Sequence[Text], responses: np.ndarray, weights: np.ndarray) -> None:
        """Fit the effects of words to all training rows; parameters as in `fit`."""
        if not len(self.responses_) or not texts:
            return
        centered = self.center(responses)
        fitted = [
            WordEffects.fit(i, length, text, centered, weights, self.link)
            for i, text in enumerate(texts)
            for length in LENGTHS
        ]
        self.words_ = [words for words in fitted if words.gain > MIN_GAIN]

    def _fit_units(self) -> None:
        """Measure each term's standard deviation of effects and mean log count over training rows."""
        n_terms, n_responses = len(self.terms_), len(self.responses_)
        self.effect_units_, self.count_units_ = np.ones((n_terms, 1, n_responses)), np.ones((n_terms, 1))
        for t in range(n_terms):
            span = self.span(t)
            counts, strength = self.counts_[span], self.strength_[t]
            effects = self.link(self.sums_[span] / (counts + strength)[:, None])
            mean = np.average(effects, axis=0, weights=counts)
            spread = np.sqrt(np.average(np.square(effects - mean), axis=0, weights=counts))
            self.effect_units_[t] = np.maximum(spread, 1e-6)  # all effects of a term may be equal
            self.count_units_[t] = np.average(np.log1p(counts), weights=counts)

    def span(self, t: int) -> slice:
        """Return the positions of the levels of one term in ``counts_`` and ``sums_``."""
        return slice(self.ends_[t], self.ends_[t + 1])

    def levels_of(self, t: int) -> TermLevels:
        """Return the levels of one term that have training rows, with their effects and errors.

        The terms of words follow the terms of columns.

        Shrinkage of strength k is the prediction of a random effect: the variance between levels is
        s2 / k, where s2 is the variance of the responses within levels. The effect of a level of n rows
        then has the error variance s2 / (n + k) (Robinson 1991). For shares, s2 is
        share * (1 - share), which differs by level.
        """
        if t < len(self.terms_):
            span, strength, n_inputs = self.span(t), float(self.strength_[t]), len(self.terms_[t])
            parts = [part[span] for part in (self.keys_, self.counts_, self.sums_)]
        else:
            words = self.words_[t - len(self.terms_)]
            parts, strength, n_inputs = (
                [words.keys, words.counts, words.sums],
                words.strength,
                words.length,
            )
        keys, counts, sums = (part[parts[1] > 0] for part in parts)
        levels = key_levels(keys, n_inputs)
        n_shrunken = (counts + strength)[:, None]
        effects = sums / n_shrunken
        errors = np.sqrt(self._variance_within(counts, sums, effects, strength) / n_shrunken)
        return TermLevels(levels, counts, sums / counts[:, None], effects, errors, strength)

    def _variance_within(
        self, counts: np.ndarray, sums: np.ndarray, effects: np.ndarray, strength: float
    ) -> np.ndarray:
        """Return the variance of the responses within levels: (n_levels or 1, n_responses)."""
        if self.are_shares:
            shares = np.clip(effects + self.mean_, 0, 1)
            return np.asarray(shares * (1 - shares))
        n_free = counts.sum() - len(counts)
        if n_free < N_FREE:  # about one row per level: cannot be measured, but follows from the strength
            return np.full((1, sums.shape[1]), strength / (strength + 1))
        # the total variance is one; the part that is not between levels is within them
        between = (np.square(sums) / counts[:, None]).sum(0)
        return np.asarray(np.maximum(counts.sum() - between, 0) / n_free)[None]

    def link(self, effects: np.ndarray) -> np.ndarray:
        """Turn differences of shares into differences of log odds."""
        if not self.are_shares:
            return effects
        shares = np.clip(effects + self.mean_, *SHARES)
        return np.asarray(logit(shares) - logit(np.clip(self.mean_, *SHARES)))

    @property
    def shape(self) -> tuple[int, int]:
        """Number of terms and of features per term: an effect on each response, and the count."""
        n_terms = len(self.terms_) + len(self.words_) + len(self.expected_)
        return n_terms, len(self.responses_) + 1

    @property
    def expected_shape(self) -> tuple[int, int]:
        """Number of expected effects and of responses: the shape of what a new category is given."""
        return len(self.expected_), len(self.responses_)

    @property
    def reads(self) -> np.ndarray:
        """Which inputs each term reads: bool (n_terms, n_inputs), categorical inputs before numbers."""
        reads = np.zeros((self.shape[0], self.n_columns_), dtype=bool)
        for t, term in enumerate(self.terms_):
            reads[t, self.inputs_of(term)] = True
        return reads

    def inputs_of(self, term: Sequence[int]) -> list[int]:
        """Return the inputs that a term reads; a number in wide bins is the same input."""
        n_numbers = len(self.levels_.bounds)
        return [i if i < self.n_columns_ else i - n_numbers for i in term]

    @property
    def expects(self) -> np.ndarray:
        """Like `reads`, but for expected effects, which new categories have too."""
        expects = np.zeros((self.shape[0], self.n_columns_), dtype=bool)
        first = self.shape[0] - len(self.expected_)
        for t, expected in enumerate(self.expected_, first):
            expects[t, list(self.terms_[expected.term])] = True
        return expects

    def positions(self, codes: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Return the position in ``sums_`` of each row's level of each term; the last one if unseen.

        Returns
        -------
        ndarray of shape (n_terms, n_rows)
        """
        if self._index is None or self._index.keys is not self.keys_:
            self._index = LevelIndex(self.terms_, self.keys_, self.ends_)
        levels = self.levels_.of_inputs(codes, numbers, self._index.inputs)
        return self._index.positions(levels) if self.terms_ else np.zeros((0, len(codes)), np.int32)

    def levels_at(self, codes: np.ndarray, numbers: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the place of each row's level in `levels_of`, (n_rows,) for each term; -1 if unseen."""
        for t, positions in enumerate(self.positions(codes, numbers)):
            present = self.counts_[self.span(t)] > 0
            places = np.append(np.where(present, np.cumsum(present) - 1, -1), -1)
            yield places[np.minimum(positions - self.ends_[t], len(present))]

    def refit_sums(
        self,
        positions: np.ndarray,
        centered: np.ndarray,
        weights: np.ndarray,
        storage: Storage = IN_MEMORY,
    ) -> None:
        """Compute counts and sums of the levels again; the terms, strengths and units stay.

        Parameters
        ----------
        positions : ndarray of shape (n_terms, n_rows)
            From `positions`, without unseen levels.
        centered : ndarray of shape (n_rows, n_responses)
            From `center`.
        weights : ndarray of shape (n_rows,)
        storage : Storage, optional
            Where these arrays are kept.
        """
        self.counts_, self.sums_ = np.zeros_like(self.counts_), np.zeros_like(self.sums_)
        for start, stop in slices(len(weights), MOST_ROWS):
            part, of_part = slice(start, stop), weights[start:stop]
            weighted = of_part[:, None] * centered[part]
            for t, of_term in enumerate(positions):
                span, levels = self.span(t), of_term[part] - self.ends_[t]
                n_levels = span.stop - span.start
                self.counts_[span] += np.bincount(levels, of_part, n_levels)
                for r, column in enumerate(weighted.T):
                    self.sums_[span, r] += np.bincount(levels, column, n_levels)
            storage.release()
        for expected in self.expected_:
            span = self.span(expected.term)
            expected.refit(self.sums_[span], self.counts_[span])

    def grown(
        self,
        codes: np.ndarray,
        numbers: np.ndarray,
        responses: np.ndarray,
        weights: np.ndarray,
        texts: Sequence[Text] = (),
        likeness: Mapping[int, Likeness] | None = None,
        hashed_from: tuple[int, ...] = (),
    ) -> Effects:
        """Return effects whose sums and counts include later rows; new levels are added.

        Terms, strengths, units and the mean of all rows stay, so that an effect keeps its meaning.

        Parameters
        ----------
        codes, numbers, responses, weights, texts
            The later rows, as in `fit`.
        likeness : mapping of input -> Likeness, optional
            As in `fit`, for the old and the new categories.
        hashed_from : tuple of int, optional
            As in `Levels`.
        """
        grown, centered = copy(self), self.center(responses)
        grown.levels_ = replace(self.levels_, hashed_from=hashed_from)
        levels = grown.levels_(codes, numbers)
        parts = []
        for t, term in enumerate(self.terms_):
            keys, counts, sums = (part[self.span(t)] for part in (self.keys_, self.counts_, self.sums_))
            of_rows = term_keys(levels, term)
            parts.append(merged_sums(keys, counts, sums, of_rows, centered, weights))
        grown.ends_ = np.cumsum([0, *(len(keys) for keys, _, _ in parts)])
        unseen = self.keys_[:0], np.zeros(1), np.zeros((1, len(self.responses_)))
        grown.keys_, grown.counts_, grown.sums_ = map(np.concatenate, zip(*parts, unseen))
        grown.words_ = [words.grown(texts[words.text], centered, weights) for words in self.words_]
        grown.expected_ = [grown.expected_of(expected, likeness or {}) for expected in self.expected_]
        return grown

    def expected_of(self, earlier: ExpectedEffects, likeness: Mapping[int, Likeness]) -> ExpectedEffects:
        """Return the expected effects of all present levels of a term, given those of fewer levels."""
        span, (place,) = self.span(earlier.term), self.terms_[earlier.term]
        counts, sums = self.counts_[span], self.sums_[span]
        labels, strength = self.keys_[span] - N_SPECIAL, float(self.strength_[earlier.term])
        return earlier.grown(
            likeness[place], labels, LevelSums(counts, sums, np.zeros_like(counts)), strength
        )

    def transform(
        self,
        codes: np.ndarray,
        numbers: np.ndarray,
        texts: Sequence[Text] = (),
        new: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return the effects and log counts of any rows, float32 (n_rows, n_terms, n_responses + 1).

        The effects of a training row include its target; use `OutOfFold` for training rows.

        Parameters
        ----------
        codes, numbers, texts
            As in `fit`.
        new : ndarray of shape (n_rows, n_expected, n_responses), optional
            Effects that are expected of new categories; NaN elsewhere.
        """
        positions = self.positions(codes, numbers)
        features = self.features_of(self.sums_[positions], self.counts_[positions])
        others = [words.transform(texts[words.text], self.link) for words in self.words_]
        for i, expected in enumerate(self.expected_):
            at = positions[expected.term]
            levels = np.where(at < len(self.keys_), at - self.ends_[expected.term], -1)
            others.append(expected.of_levels(levels))
            if new is not None:
                is_new = ~np.isnan(new[:, i]).any(axis=1)
                others[-1][is_new] = expected.features(new[is_new, i], np.ones(is_new.sum(), bool))
        return np.concatenate([features, *(part[:, None] for part in others)], axis=1)

    def features_of(
        self, sums: np.ndarray, counts: np.ndarray, terms: slice = slice(None)
    ) -> np.ndarray:
        """Compute effects and log counts, in their units, from sums and counts of levels.

        Parameters
        ----------
        sums : ndarray of shape (n_terms, n_rows, n_responses)
        counts : ndarray of shape (n_terms, n_rows)
        terms : slice
            The terms whose sums and counts are given; all by default.

        Returns
        -------
        ndarray of shape (n_rows, n_terms, n_responses + 1), float32
        """
        effects = sums / (counts + self.strength_[terms, None])[..., None]
        effects = self.link(effects) / self.effect_units_[terms]
        log_counts = np.log1p(counts) / self.count_units_[terms]
        features = np.concatenate([effects, log_counts[..., None]], axis=2, dtype=np.float32)
        return features.transpose(1, 0, 2)
