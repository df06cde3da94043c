"""Skip-gram with negative sampling as compiled code, with goals of lists and negatives of groups.

The functions are plain Python; numba compiles them on first use. Compiled functions are passed as
arguments, because the names in the module refer to the Python functions.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np

from tabemb.extras import need


@cache
def compiled() -> Callable[..., float]:
    """Compile the kernel, which takes seconds once per process; nothing is written to disk.

    Returns
    -------
    callable
        ``(codes, offsets, goals, vectors, contexts, negatives, groups, window, shrink, rate, seed) ->
        loss``. ``negatives`` is the table and the number of negatives. ``groups`` is the group of each
        item, the items sorted by group, and the first position of each group. The kernel updates
        ``vectors`` and ``contexts`` by a step of gradient descent for each pair, and returns the sum of
        the losses before each step.
    """
    njit: Any = need("numba", "items").njit(nogil=True, fastmath=True, cache=False)
    functions = [njit(function) for function in (_draw, _update, _pair)]
    return partial(njit(_train), *functions)


def _draw(state: Any) -> Any:
    """Return the next state of the random number generator of Java and word2vec."""
    return (state * np.uint64(25214903917) + np.uint64(11)) & np.uint64(281474976710655)


def _update(
    center: int,
    target: int,
    label: float,
    rate: Any,
    vectors: np.ndarray,
    contexts: np.ndarray,
    change: np.ndarray,
) -> Any:
    """Update the context vector of the target, and add to the change of the center's vector."""
    product = np.float32(0)
    for d in range(len(change)):
        product += vectors[center, d] * contexts[target, d]
    share = np.float32(1) / (np.float32(1) + np.exp(-product))
    step = np.float32((label - share) * rate)
    for d in range(len(change)):
        change[d] += step * contexts[target, d]
        contexts[target, d] += step * vectors[center, d]
    signed = product if label > 0 else -product
    return np.log1p(np.exp(-signed)) if signed > -30 else -signed


def _pair(
    draw: Any,
    update: Any,
    center: int,
    context: int,
    rate: Any,
    vectors: np.ndarray,
    contexts: np.ndarray,
    change: np.ndarray,
    negatives: Any,
    groups: Any,
    state: Any,
) -> Any:
    """Train on a pair with its negatives; return the loss and the state of the generator."""
    table, n_negatives = negatives
    group_of, members, first = groups
    change[:] = 0
    loss = update(center, context, 1.0, rate, vectors, contexts, change)
    for _ in range(n_negatives):
        state = draw(state)
        negative = np.searchsorted(table, np.uint32((state >> np.uint64(16)) % np.uint64(table[-1])))
        if negative != context:
            loss += update(center, negative, 0.0, rate, vectors, contexts, change)
    group = group_of[center]
    size = first[group + 1] - first[group] if group >= 0 else 0
    for _ in range(n_negatives if size else 0):
        state = draw(state)
        negative = members[first[group] + int((state >> np.uint64(16)) % np.uint64(size))]
        if negative not in (context, center):
            loss += update(center, negative, 0.0, rate, vectors, contexts, change)
    for d in range(len(change)):
        vectors[center, d] += change[d]
    return loss, state


def _train(
    draw: Any,
    update: Any,
    pair: Any,
    codes: np.ndarray,
    offsets: np.ndarray,
    goals: np.ndarray,
    vectors: np.ndarray,
    contexts: np.ndarray,
    negatives: Any,
    groups: Any,
    window: int,
    shrink: bool,
    rate: Any,
    seed: int,
) -> float:
    """Train on lists: each item with the items in its window, and with the goal of the list."""
    loss = 0.0
    change = np.zeros(vectors.shape[1], np.float32)
    state = np.uint64(seed)
    for row in range(len(goals)):
        start, stop = offsets[row], offsets[row + 1]
        for i in range(start, stop):
            center, reach = codes[i], window
            if shrink:
                state = draw(state)
                reach = window - int((state >> np.uint64(16)) % np.uint64(window))
            for j in range(max(start, i - reach), min(stop, i + reach + 1)):
                if j != i:
                    pair_loss, state = pair(
                        draw,
                        update,
                        center,
                        codes[j],
                        rate,
                        vectors,
                        contexts,
                        change,
                        negatives,
                        groups,
                        state,
                    )
                    loss += pair_loss
            if goals[row] >= 0 and goals[row] != center:
                change[:] = 0
                loss += update(center, goals[row], 1.0, rate, vectors, contexts, change)
                for d in range(len(change)):
                    vectors[center, d] += change[d]
    return loss
