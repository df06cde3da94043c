"""Effects of words in a graph: each word, or pair of neighbours, of a text counts once."""

from __future__ import annotations

import numpy as np

from tabemb.data.vocabulary import N_SPECIAL
from tabemb.data.words import Link, WordEffects
from tabemb.saving.onnx.graph import Graph
from tabemb.saving.onnx.histories import EncodedEvents

PAIR = 2**32
"""Factor on the first word of a pair in its key."""


def word_features(graph: Graph, effects: WordEffects, link: Link, words: EncodedEvents) -> str:
    """Return the features of texts, float32 (n, n_responses + 1), as `WordEffects.transform`."""
    places = _places(graph, effects, words)
    values = link(effects.sums / (effects.counts + effects.strength)[:, None])
    is_counted = (effects.counts > 0)[:, None].astype(np.float64)
    table = np.concatenate([values, is_counted], axis=1)
    table = np.concatenate([table, np.zeros_like(table[:1])])  # for -1
    last = graph.constant(len(effects.keys), np.int64)
    is_held = graph.add("GreaterOrEqual", places, graph.constant(0, np.int64))
    rows = graph.add("Gather", graph.constant(table), graph.where(is_held, places, last), axis=0)
    once = graph.unsqueeze(graph.cast(_is_first(graph, places), np.float64), 2)
    axis = graph.constant([1], np.int64)
    sums = graph.add("ReduceSum", graph.add("Mul", rows, once), axis, keepdims=0)
    totals, n_known = graph.split(sums, [values.shape[1], 1], axis=1)
    count = graph.add("Log", graph.add("Add", n_known, graph.constant(1, np.float64)))
    features = graph.add("Div", graph.concat([totals, count], 1), graph.constant(effects.units))
    return graph.cast(features, np.float32)


def _places(graph: Graph, effects: WordEffects, words: EncodedEvents) -> str:
    """Return the place of each word, or of each pair with the word before, among the keys; or -1."""
    codes = graph.add("Gather", str(words.columns.codes), graph.constant(0, np.int64), axis=2)
    is_word = graph.add("GreaterOrEqual", codes, graph.constant(N_SPECIAL, np.int64))
    is_word = graph.add("And", is_word, words.padded.is_event)
    none = graph.constant(-1, np.int64)
    keys = graph.where(is_word, codes, none)
    if effects.length == 2:
        before = words.padded.previous(keys)
        is_second = graph.add("Greater", words.padded.positions, graph.constant(0, np.int64))
        is_pair = graph.add(
            "And", graph.add("GreaterOrEqual", before, graph.constant(0, np.int64)), is_word
        )
        first = graph.add("Mul", before, graph.constant(PAIR, np.int64))
        keys = graph.where(graph.add("And", is_pair, is_second), graph.add("Add", first, keys), none)
    return graph.look_up(keys, effects.keys, np.arange(len(effects.keys)), -1)


def _is_first(graph: Graph, places: str) -> str:
    """Return whether no earlier word of the text has the same place, bool (n, longest)."""
    same = graph.add("Equal", graph.unsqueeze(places, 2), graph.unsqueeze(places, 1))
    earlier = graph.add("Trilu", graph.cast(same, np.float32), graph.constant(-1, np.int64), upper=0)
    n_earlier = graph.add("ReduceSum", earlier, graph.constant([2], np.int64), keepdims=0)
    return graph.add("Equal", n_earlier, graph.constant(0, np.float32))
