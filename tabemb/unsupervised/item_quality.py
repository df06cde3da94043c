"""How well vectors find the item next to another one: hit rates, compared with popularity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from tabemb.data.vocabulary import N_SPECIAL
from tabemb.progress import bar_class, bar_settings, progress
from tabemb.spaces.space import EmbeddingSpace
from tabemb.unsupervised.item_lists import ItemLists

HIT_RATE = "hit_rate"
BLOCK = 2**22
"""Maximum number of scores in memory at once."""
Z = 1.96
"""Half width of a 95 % interval in standard errors."""


class Pairs(NamedTuple):
    """Pairs of items as codes of a vocabulary, each array of shape (n_pairs,).

    Parameters
    ----------
    queries, targets : ndarray of int64
    lists : ndarray of int64
        The list that each pair comes from.
    """

    queries: np.ndarray
    targets: np.ndarray
    lists: np.ndarray


def adjacent_pairs(lists: ItemLists, shuffle: np.random.Generator | None) -> Pairs:
    """Pair each item of a list with the next one; in random order, also the last with the first.

    Parameters
    ----------
    lists : ItemLists
    shuffle : numpy.random.Generator, optional
        Shuffles the items of each list. None: the lists are sequences and keep their order.
    """
    if shuffle is not None:
        lists = lists.shuffled(shuffle)
    following = np.arange(len(lists.codes)) + 1
    last = lists.offsets[1:][lists.lengths > 0] - 1
    following[last] = lists.offsets[:-1][lists.lengths > 0]
    is_pair = following != np.arange(len(following))
    if shuffle is None:
        is_pair[last] = False
    queries = np.flatnonzero(is_pair)
    return Pairs(lists.codes[queries], lists.codes[following[queries]], lists.rows[queries])


def joined(parts: Sequence[Pairs]) -> Pairs:
    """Concatenate the pairs of several pieces of an input; lists of different pieces stay distinct."""
    shifts = np.cumsum([0, *(int(part.lists.max(initial=-1)) + 1 for part in parts)])
    lists = [part.lists + shift for part, shift in zip(parts, shifts)]
    queries, targets = zip(*((part.queries, part.targets) for part in parts))
    return Pairs(np.concatenate(queries), np.concatenate(targets), np.concatenate(lists))


def quality(
    space: EmbeddingSpace,
    contexts: EmbeddingSpace | None,
    log_odds: np.ndarray,
    pairs: Pairs,
    k: int,
) -> pd.DataFrame:
    """Return the table that `ItemEmbedder.evaluate` describes.

    The product of a vector and an item's context vector, plus ``log_odds``, (n_items,), is the logarithm
    of the item's frequency in this context, up to a constant.
    """
    if not len(pairs.queries):
        raise ValueError("X must have a list of at least two items; it has none.")
    assert space.counts is not None
    ways = {"similar": (space.unit_vectors, space.unit_vectors)}
    if contexts is not None:
        ways["context"] = (space.vectors, contexts.vectors)
        ones = np.ones((len(space), 1), np.float32)
        odds = log_odds.astype(np.float32)[:, None]
        ways["predicted"] = (np.hstack([space.vectors, ones]), np.hstack([contexts.vectors, odds]))
    rows = {name: _row(target_ranks(*sides, pairs), pairs, k) for name, sides in ways.items()}
    popularity = space.counts[:, None]
    rows["popularity"] = _row(target_ranks(np.ones_like(popularity), popularity, pairs), pairs, k)
    return pd.DataFrame.from_dict(rows, orient="index")


def target_ranks(queries: np.ndarray, targets: np.ndarray, pairs: Pairs) -> np.ndarray:
    """Return the rank of each pair's target among all items except the query, from 1; ties count half.

    Parameters
    ----------
    queries, targets : ndarray of shape (n_items, d)
        The score of a target is the product of the two rows.
    pairs : Pairs

    Returns
    -------
    ndarray of shape (n_pairs,)
        Infinite if one of the two items has no vector.
    """
    ranks = np.full(len(pairs.queries), np.inf)
    known = np.flatnonzero((pairs.queries >= N_SPECIAL) & (pairs.targets >= N_SPECIAL))
    size = max(BLOCK // len(targets), 1)
    blocks = np.split(known, range(size, len(known), size))
    for block in bar_class()(blocks, unit="blocks", **bar_settings()):
        query, target = pairs.queries[block] - N_SPECIAL, pairs.targets[block] - N_SPECIAL
        scores = queries[query] @ targets.T  # (n_block, n_items)
        rows = np.arange(len(block))
        of_target = scores[rows, target][:, None]
        scores[rows, query] = np.where(query == target, scores[rows, query], -np.inf)
        ranks[block] = 0.5 + (scores > of_target).sum(axis=1) + (scores == of_target).sum(axis=1) / 2
    return ranks


def best(
    queries: np.ndarray,
    contexts: EmbeddingSpace,
    log_odds: np.ndarray,
    excluded: ItemLists | None,
    k: int,
) -> pd.DataFrame:
    """Return the items with the largest sum of log odds and product with each query's vector.

    Parameters
    ----------
    queries : ndarray of shape (n_lists, d)
    contexts : EmbeddingSpace
    log_odds : ndarray of shape (n_items,)
    excluded : ItemLists, optional
        The items to leave out for each list, as codes.
    k : int

    Returns
    -------
    DataFrame
        Columns list (the position of the query), rank, item and score.
    """
    k, size = min(k, len(contexts)), max(BLOCK // len(contexts), 1)
    positions = np.empty((len(queries), k), np.int64)
    scores = np.empty((len(queries), k))
    with progress(len(queries), "lists") as bar:
        for first in range(0, len(queries), size):
            block = slice(first, min(first + size, len(queries)))
            all_scores = queries[block] @ contexts.vectors.T + log_odds  # (n_block, n_items)
            if excluded is not None:
                lists = excluded.take(np.arange(block.start, block.stop))
                all_scores[lists.rows, lists.codes - N_SPECIAL] = -np.inf
            order = np.argpartition(-all_scores, k - 1, axis=1)[:, :k]
            chosen = np.take_along_axis(all_scores, order, axis=1)
            by_score = np.lexsort((order, -chosen), axis=1)
            positions[block] = np.take_along_axis(order, by_score, axis=1)
            scores[block] = np.take_along_axis(chosen, by_score, axis=1)
            bar.update(len(all_scores))
    rows, ranks = np.nonzero(scores > -np.inf)
    items = contexts.categories[positions[rows, ranks]]
    columns = {"list": rows, "rank": ranks + 1, "item": items, "score": scores[rows, ranks]}
    return pd.DataFrame(columns)


def _row(ranks: np.ndarray, pairs: Pairs, k: int) -> dict[str, float]:
    hits = ranks <= k
    rate = hits.mean()
    by_list = np.bincount(pairs.lists, hits - rate)
    error = Z * np.sqrt((by_list**2).sum()) / len(hits)
    return {
        HIT_RATE: rate,
        "low": max(rate - error, 0.0),
        "high": min(rate + error, 1.0),
        "mrr": (1 / ranks).mean(),
        "n_pairs": len(hits),
        "n_unseen": int(np.isinf(ranks).sum()),
    }
