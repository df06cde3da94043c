"""Effects of levels in a graph: one look-up for the levels of all terms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tabemb.data.effects import Effects
from tabemb.data.pairs import key_bits, key_levels
from tabemb.saving.onnx.columns import Columns
from tabemb.saving.onnx.forest import steps
from tabemb.saving.onnx.graph import Graph
from tabemb.saving.onnx.newcomers import Newcomers

MOST_KEYS = 2**62
"""Largest key of a look-up."""


class Term(NamedTuple):
    """The levels of one term, with features of each.

    Parameters
    ----------
    inputs : tuple of int
        Positions among the levels of a row.
    keys : ndarray of int64, shape (n_levels,)
        As `tabemb.data.pairs.term_keys` makes them.
    features : ndarray of float32, shape (n_levels + 1, n_features)
        The last ones are those of a level that is not among the keys.
    """

    inputs: tuple[int, ...]
    keys: np.ndarray
    features: np.ndarray


def effect_features(
    graph: Graph,
    effects: Effects,
    sizes: Sequence[int],
    columns: Columns,
    newcomers: Mapping[int, Newcomers],
    words: Sequence[str] = (),
) -> str:
    """Return the effects of rows, float32 (n, n_terms, n_features), as `Effects.transform` gives them.

    Parameters
    ----------
    graph : Graph
    effects : Effects
    sizes : sequence of int
        Number of codes of each categorical input.
    columns : Columns
    newcomers : mapping of int -> Newcomers
        New categories with expected effects, by the position of the column.
    words : sequence of str
        The features of texts, (n, n_features) each, which stand between the others.
    """
    between = [graph.unsqueeze(features, 1) for features in words]
    if not effects.terms_:
        return graph.concat(between, 1)
    levels, n_levels = _levels(graph, effects, sizes, columns)
    extended = {place: len(n_levels) + i for i, place in enumerate(columns.extended)}
    if extended:
        more = [graph.unsqueeze(codes, 1) for codes in columns.extended.values()]
        levels = graph.concat([levels, *more], 1)
        new = [newcomers[place] for place in extended]
        n_levels = np.append(n_levels, [one.n_known + len(one.values) for one in new])
    of_columns, expected = list(_terms(effects)), list(_expected_terms(effects, newcomers, extended))
    if not between:
        return features_of(graph, of_columns + expected, levels, n_levels)
    parts = [features_of(graph, of_columns, levels, n_levels), *between]
    if expected:
        parts.append(features_of(graph, expected, levels, n_levels))
    return graph.concat(parts, 1)


def features_of(graph: Graph, terms: Sequence[Term], levels: str, n_levels: np.ndarray) -> str:
    """Return the features of the levels of rows, float32 (n, n_terms, n_features).

    Parameters
    ----------
    graph : Graph
    terms : sequence of Term
    levels : str
        Whole numbers (n, n_inputs).
    n_levels : ndarray of shape (n_inputs,)
        How many levels each input has.
    """
    ends = np.cumsum([0, *(len(term.features) for term in terms)])
    features = np.concatenate([term.features for term in terms])
    places = [
        _places(graph, terms[i:j], levels, n_levels, ends[i:j]) for i, j in _groups(terms, n_levels)
    ]
    result = graph.concat(places, 1)
    return graph.add("Gather", graph.constant(features, np.float32), result, axis=0)


def _levels(
    graph: Graph, effects: Effects, sizes: Sequence[int], columns: Columns
) -> tuple[str, np.ndarray]:
    """Return the levels of rows, int64 (n, n_inputs), and how many each input has."""
    n_numbers = len(effects.levels_.bounds)
    bounds = [*effects.levels_.bounds, *effects.levels_.wide_bounds]
    n_levels = np.array([*sizes, *(max(len(b), 1) + 1 for b in bounds)], np.int64)
    parts = [] if columns.codes is None else [columns.codes]
    if not bounds:
        return parts[0], n_levels
    functions = [
        (i % n_numbers, rounded_down(b[:-1]), np.arange(1, max(len(b), 1) + 1))
        for i, b in enumerate(bounds)
    ]
    assert columns.numbers is not None
    parts.append(graph.cast(steps(graph, columns.numbers, functions), np.int64))
    return graph.concat(parts, 1), n_levels


def rounded_down(bounds: np.ndarray) -> np.ndarray:
    """Return the largest float32 up to each bound: a float32 is at most either or none of the two."""
    single = bounds.astype(np.float32)
    return np.where(single > bounds, np.nextafter(single, np.float32(-np.inf)), single)


def _terms(effects: Effects) -> Iterator[Term]:
    """Yield the terms of effects in their order."""
    for t, inputs in enumerate(effects.terms_):
        span = effects.span(t)
        part = effects.sums_[span][None], effects.counts_[span][None]
        features = effects.features_of(*part, slice(t, t + 1))[:, 0]
        yield Term(inputs, effects.keys_[span], np.pad(features, ((0, 1), (0, 0))))


def _expected_terms(
    effects: Effects, newcomers: Mapping[int, Newcomers], extended: Mapping[int, int]
) -> Iterator[Term]:
    """Yield the terms of expected effects, which read the codes of new categories too."""
    for expected in effects.expected_:
        inputs, keys = effects.terms_[expected.term], effects.keys_[effects.span(expected.term)]
        features = expected.of_levels(np.append(np.arange(len(keys)), -1))
        if inputs[0] in extended:
            new = newcomers[inputs[0]]
            inputs = (extended[inputs[0]],)
            keys = np.append(keys, new.n_known + np.arange(len(new.values)))
            features = np.concatenate([features[:-1], new.values, features[-1:]])
        yield Term(inputs, keys, features)


def _n_keys(term: Term, n_levels: np.ndarray) -> int:
    """Return the number of keys that a term needs, of which the last is for levels beyond its bits."""
    return int(np.prod(n_levels[list(term.inputs)].astype(object))) + 1


def _groups(terms: Sequence[Term], n_levels: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield the ends of runs of terms whose keys fit into one look-up."""
    start, total = 0, 0
    for i, term in enumerate(terms):
        total += _n_keys(term, n_levels)
        if total > MOST_KEYS and i > start:
            yield start, i
            start, total = i, _n_keys(term, n_levels)
        if total > MOST_KEYS:
            raise ValueError(
                f"The effects of {len(term.inputs)} columns together have {total} possible levels, more "
                "than a graph can number; fit with n_pairs=0, or a larger min_count."
            )
    yield start, len(terms)


def _places(
    graph: Graph,
    terms: Sequence[Term],
    levels: str,
    n_levels: np.ndarray,
    firsts: np.ndarray,
) -> str:
    """Return the rows of the features of some terms, int64 (n, n_terms).

    The level of a term is one number: those of its inputs are digits, and the numbers of all terms
    follow each other.
    """
    factors = np.zeros((len(n_levels), len(terms)), np.int64)
    starts, known, result = np.zeros(len(terms), np.int64), [], []
    start = 0
    for t, (term, first) in enumerate(zip(terms, firsts)):
        sizes = n_levels[list(term.inputs)]
        digits = np.cumprod([1, *sizes[:0:-1]])[::-1]
        factors[list(term.inputs), t] = digits
        starts[t], n_keys = start, _n_keys(term, n_levels)
        of_term = key_levels(term.keys, len(term.inputs)) @ digits
        known.append(start + np.where(term.keys < 0, n_keys - 1, of_term))
        result.append(first + np.arange(len(term.keys)))
        start += n_keys
    keys = graph.add("MatMul", levels, graph.constant(factors))
    keys = graph.add("Add", keys, graph.constant(starts))
    keys = _beyond(graph, terms, levels, n_levels, keys, starts)
    places = graph.look_up(keys, np.concatenate(known), np.concatenate(result), -1)
    absent = np.array([first + len(term.keys) for term, first in zip(terms, firsts)], np.int64)
    is_known = graph.add("GreaterOrEqual", places, graph.constant(0, np.int64))
    return graph.where(is_known, places, graph.constant(absent))


def _beyond(
    graph: Graph,
    terms: Sequence[Term],
    levels: str,
    n_levels: np.ndarray,
    keys: str,
    starts: np.ndarray,
) -> str:
    """Return keys where rows whose levels have more bits than a key has for them share one."""
    limits = [1 << key_bits(len(term.inputs)) for term in terms]
    wide = [len(t.inputs) > 2 and n_levels[list(t.inputs)].max() > n for t, n in zip(terms, limits)]
    if not any(wide):
        return keys
    columns = []
    for t, (term, limit) in enumerate(zip(terms, limits)):
        column = graph.columns(keys, [t], len(terms))
        if wide[t]:
            chosen = graph.columns(levels, term.inputs, len(n_levels))
            highest = graph.add("ReduceMax", chosen, graph.constant([1], np.int64), keepdims=1)
            is_beyond = graph.add("GreaterOrEqual", highest, graph.constant(limit, np.int64))
            shared = graph.constant(starts[t] + _n_keys(term, n_levels) - 1, np.int64)
            column = graph.where(is_beyond, shared, column)
        columns.append(column)
    return graph.concat(columns, 1)
