"""LightGBM's boosted trees in a graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tabemb.data.vocabulary import MISSING, UNKNOWN
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


class Recoded(NamedTuple):
    """The categories of one column that boosted trees compare, as whole numbers in several columns.

    A row has one number above zero, in the column of its category, if trees compare that at all.

    Parameters
    ----------
    first : int
        The first of the columns.
    values : ndarray of float64, shape (n_codes, n_columns)
    """

    first: int
    values: np.ndarray

    @classmethod
    def of(cls, first: int, sets: list[np.ndarray], n_codes: int) -> Recoded:
        """Give numbers to the members of sets, first to those of most sets."""
        counts = np.bincount(np.concatenate([*sets, np.zeros(0, np.int64)]), minlength=n_codes)
        ranks = np.argsort(np.argsort(-counts, kind="stable"))
        used = np.flatnonzero(counts)
        values = np.zeros((n_codes, -(-len(used) // AT_ONCE)))
        values[used, ranks[used] // AT_ONCE] = ranks[used] % AT_ONCE + 1
        return cls(first, values)

    def comparisons(self, members: np.ndarray) -> list[tuple[int, float]]:
        """Return the column and the number of each member, column by column."""
        rows, columns = np.nonzero(self.values[members])
        values = self.values[members][rows, columns]
        return sorted(zip((self.first + columns).tolist(), values.tolist()))


def scores(graph: Graph, trees: Trees, sizes: Sequence[int], columns: Columns) -> str:
    """Return the scores of boosted trees, float32 (n, width), as `Trees` gives them.

    ``sizes`` are the numbers of codes of the categorical inputs.
    """
    read = [read_trees(text) for text in trees.texts]
    recoded = _recoded([tree for ensemble in read for tree in ensemble], sizes)
    parts = []
    for i, column in enumerate(recoded):
        if column.values.shape[1]:
            codes = graph.add("Gather", str(columns.codes), graph.constant(i, np.int64), axis=1)
            parts.append(graph.add("Gather", graph.constant(column.values), codes, axis=0))
    first_number = sum(column.values.shape[1] for column in recoded)
    if columns.numbers is not None:
        parts.append(graph.cast(columns.numbers, np.float64))
    forest = Forest(is_double=True)
    for target, (ensemble, unit) in enumerate(zip(read, trees.units)):
        for tree in ensemble:
            forest.start()
            _add_tree(forest, tree, target, float(unit), recoded, first_number)
    base = -trees.centers / trees.units
    scaled = forest.value(graph, graph.concat(parts, 1), base.tolist())
    new = _is_new(graph, trees, columns)
    return scaled if new is None else graph.where(new, graph.constant(0, np.float32), scaled)


def _recoded(trees: Sequence[TreeText], sizes: Sequence[int]) -> list[Recoded]:
    """Return the categories that trees compare, of each categorical input."""
    sets: list[list[np.ndarray]] = [[] for _ in sizes]
    for tree in trees:
        for node in np.flatnonzero(tree.decisions & IS_CATEGORICAL).tolist():
            sets[tree.columns[node]].append(tree.members(node))
    recoded: list[Recoded] = []
    first = 0
    for of_column, n_codes in zip(sets, sizes):
        recoded.append(Recoded.of(first, of_column, n_codes))
        first += recoded[-1].values.shape[1]
    return recoded


def _add_tree(
    forest: Forest,
    tree: TreeText,
    target: int,
    unit: float,
    recoded: Sequence[Recoded],
    first_number: int,
) -> None:
    nodes = [forest.place() for _ in range(len(tree.columns))]
    leaves = [forest.place() for _ in range(tree.n_leaves)]

    def child(number: int) -> int:
        return nodes[number] if number >= 0 else leaves[~number]

    for i, node in enumerate(nodes):
        children = child(int(tree.left[i])), child(int(tree.right[i]))
        column, decision = int(tree.columns[i]), int(tree.decisions[i])
        if decision & IS_CATEGORICAL:
            comparisons = recoded[column].comparisons(tree.members(i))
            _split_by_set(forest, node, comparisons, children)
            continue
        # where training had no missing value, LightGBM reads a later one as zero
        missing = decision & DEFAULT_LEFT if decision & MISSING_IS_NAN else tree.thresholds[i] >= 0
        column += first_number - len(recoded)
        forest.split(node, column, float(tree.thresholds[i]), children, missing=bool(missing))
    for leaf, weight in zip(leaves, tree.leaves):
        forest.leaf(leaf, target, float(weight) / unit)


def _split_by_set(
    forest: Forest, node: int, comparisons: list[tuple[int, float]], children: tuple[int, int]
) -> None:
    """Add a chain of nodes, one for each member: all lead to the first child, the last to the second.

    onnxruntime takes several parents of a first child, and makes one comparison of those of a column.
    """
    first, second = children
    for i, (column, value) in enumerate(comparisons):
        following = second if i == len(comparisons) - 1 else forest.place()
        forest.split(node, column, value, (first, following), equal=True)
        node = following


def _is_new(graph: Graph, trees: Trees, columns: Columns) -> str | None:
    """Return whether rows hold something decisive that no training row held, bool (n, 1), or None."""
    n = len(trees.n_codes)
    flags = []
    at = np.flatnonzero(trees.decisive[:n]).tolist()
    if at:
        chosen = graph.columns(str(columns.codes), at, n)
        ends = graph.constant(trees.n_codes[at], np.int64)
        flags.append(graph.add("GreaterOrEqual", chosen, ends))
        for code, has in ((UNKNOWN, trees.has_unknown), (MISSING, trees.has_missing[:n])):
            # -1 is no code: a code that training rows held is not new
            never = graph.constant(np.where(has[at], -1, code), np.int64)
            flags.append(graph.add("Equal", chosen, never))
    at = [
        i
        for i in range(len(trees.decisive) - n)
        if trees.decisive[n + i] and not trees.has_missing[n + i]
    ]
    if at:
        chosen = graph.columns(str(columns.numbers), at, len(trees.decisive) - n)
        flags.append(graph.add("IsNaN", chosen))
    if not flags:
        return None
    either = graph.cast(graph.concat(flags, 1), np.int32)
    highest = graph.add("ReduceMax", either, graph.constant([1], np.int64), keepdims=1)
    return graph.cast(highest, np.bool_)
