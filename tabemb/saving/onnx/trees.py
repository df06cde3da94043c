"""LightGBM's boosted trees in a graph."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tabemb.fitting.tree_texts import (
    DEFAULT_LEFT,
    IS_CATEGORICAL,
    MISSING_IS_NAN,
    TreeText,
    read_trees,
)
from tabemb.fitting.trees import Trees
from tabemb.saving.onnx.columns import Columns
from tabemb.saving.onnx.forest import Forest
from tabemb.saving.onnx.graph import Graph

AT_ONCE = 64
"""Categories that onnxruntime compares a column with at once: a whole number from 1 to 64 each."""


MOST_COMPARISONS = 1.25
"""Comparisons of a set, on average, from which on sets have columns that need one each."""
Comparisons = list[tuple[int, float]]
"""Columns and the numbers in them that a row is compared with, column by column."""


class Recoded(NamedTuple):
    """The categories of one column as whole numbers in several columns, zero for all others.

    Parameters
    ----------
    values : ndarray of float64, shape (n_codes, n_columns)
    comparisons : list of Comparisons
        Of each set of categories: a row that holds a member equals one of them.
    """

    values: np.ndarray
    comparisons: list[Comparisons]

    @classmethod
    def of(cls, sets: Sequence[np.ndarray], n_codes: int) -> Recoded:
        """Give numbers to the categories of sets, so that few columns are compared for each."""
        by_count = cls.by_count(sets, n_codes)
        n_columns = [len({column for column, _ in one}) for one in by_count.comparisons]
        if not sets or np.mean(n_columns) <= MOST_COMPARISONS:
            return by_count
        return cls.by_sets(sets, n_codes)

    @classmethod
    def by_count(cls, sets: Sequence[np.ndarray], n_codes: int) -> Recoded:
        """Give each category its number in one column, those of most sets in the first."""
        counts = np.bincount(np.concatenate([*sets, np.zeros(0, np.int64)]), minlength=n_codes)
        ranks = np.argsort(np.argsort(-counts, kind="stable"))
        used = np.flatnonzero(counts)
        values = np.zeros((n_codes, -(-len(used) // AT_ONCE)))
        values[used, ranks[used] // AT_ONCE] = ranks[used] % AT_ONCE + 1
        return cls(values, [_comparisons(values, members, 0) for members in sets])

    @classmethod
    def by_sets(cls, sets: Sequence[np.ndarray], n_codes: int) -> Recoded:
        """Give categories numbers by the sets that they are in: a column for as many sets as it has."""
        columns, comparisons = [], []
        numbers = np.zeros(n_codes, np.int64)  # one for each intersection of the sets of a column
        first = 0
        for i, members in enumerate(sets):
            is_member = np.zeros(n_codes, np.int64)
            is_member[members] = 1
            finer = np.unique(2 * numbers + is_member, return_inverse=True)[1]
            if finer.max() > AT_ONCE:
                columns.append(numbers)
                comparisons += [
                    _comparisons(numbers[:, None], s, len(columns) - 1) for s in sets[first:i]
                ]
                first, finer = i, is_member
            numbers = finer
        columns.append(numbers)
        comparisons += [_comparisons(numbers[:, None], s, len(columns) - 1) for s in sets[first:]]
        return cls(np.stack(columns, axis=1).astype(np.float64), comparisons)


def _comparisons(values: np.ndarray, members: np.ndarray, first: int) -> Comparisons:
    """Return the columns of ``values``, counted from ``first``, and the numbers that members have."""
    rows, columns = np.nonzero(values[members])
    numbers = values[members][rows, columns]
    return sorted({(first + int(c), float(n)) for c, n in zip(columns, numbers)})


def scores(graph: Graph, trees: Trees, sizes: Sequence[int], columns: Columns) -> str:
    """Return the scores of boosted trees, float32 (n, width), as `Trees` gives them.

    ``sizes`` are the numbers of codes of the categorical inputs.
    """
    read = [read_trees(text) for text in trees.texts]
    recoded = _recoded([tree for ensemble in read for tree in ensemble], sizes)
    parts, firsts = [], [0]
    for i, column in enumerate(recoded):
        if column.values.shape[1]:
            codes = graph.add("Gather", str(columns.codes), graph.constant(i, np.int64), axis=1)
            known = trees.known(np.arange(len(column.values))[:, None])[:, i]
            parts.append(graph.add("Gather", graph.constant(column.values[known]), codes, axis=0))
        firsts.append(firsts[-1] + column.values.shape[1])
    if columns.numbers is not None:
        parts.append(graph.cast(columns.numbers, np.float64))
    forest = Forest(is_double=True)
    sets = [iter(column.comparisons) for column in recoded]
    for target, (ensemble, unit) in enumerate(zip(read, trees.units)):
        for tree in ensemble:
            forest.start()
            _add_tree(forest, tree, target, float(unit), sets, firsts)
    base = -trees.centers / trees.units
    return forest.value(graph, graph.concat(parts, 1), base.tolist())


def _recoded(trees: Sequence[TreeText], sizes: Sequence[int]) -> list[Recoded]:
    """Return the categories that trees compare, of each categorical input."""
    sets: list[list[np.ndarray]] = [[] for _ in sizes]
    for tree in trees:
        for node in np.flatnonzero(tree.decisions & IS_CATEGORICAL).tolist():
            sets[tree.columns[node]].append(tree.members(node))
    return [Recoded.of(of_column, n_codes) for of_column, n_codes in zip(sets, sizes)]


def _add_tree(
    forest: Forest,
    tree: TreeText,
    target: int,
    unit: float,
    sets: Sequence[Iterator[Comparisons]],
    firsts: Sequence[int],
) -> None:
    """Add a tree.

    Parameters
    ----------
    forest : Forest
    tree : TreeText
    target : int
    unit : float
        What the leaves are divided by.
    sets : sequence of iterator of Comparisons
        The comparisons of the sets that come next, of each categorical input.
    firsts : sequence of int
        The first column of each categorical input, and that of the numbers.
    """
    nodes = [forest.place() for _ in range(len(tree.columns))]
    leaves = [forest.place() for _ in range(tree.n_leaves)]

    def child(number: int) -> int:
        return nodes[number] if number >= 0 else leaves[~number]

    for i, node in enumerate(nodes):
        children = child(int(tree.left[i])), child(int(tree.right[i]))
        column, decision = int(tree.columns[i]), int(tree.decisions[i])
        if decision & IS_CATEGORICAL:
            comparisons = [(firsts[column] + c, value) for c, value in next(sets[column])]
            _split_by_set(forest, node, comparisons, children)
            continue
        # where training had no missing value, LightGBM reads a later one as zero
        missing = decision & DEFAULT_LEFT if decision & MISSING_IS_NAN else tree.thresholds[i] >= 0
        column += firsts[-1] - len(sets)
        forest.split(node, column, float(tree.thresholds[i]), children, missing=bool(missing))
    for leaf, weight in zip(leaves, tree.leaves):
        forest.leaf(leaf, target, float(weight) / unit)


def _split_by_set(
    forest: Forest, node: int, comparisons: Comparisons, children: tuple[int, int]
) -> None:
    """Add a chain of nodes, one for each member: all lead to the first child, the last to the second.

    onnxruntime takes several parents of a first child, and makes one comparison of those of a column.
    """
    first, second = children
    for i, (column, value) in enumerate(comparisons):
        following = second if i == len(comparisons) - 1 else forest.place()
        forest.split(node, column, value, (first, following), equal=True)
        node = following
