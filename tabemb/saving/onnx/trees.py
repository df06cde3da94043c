"""LightGBM's boosted trees in a graph."""

from __future__ import annotations

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


def scores(graph: Graph, trees: Trees, columns: Columns) -> str:
    """Return the scores of boosted trees, float32 (n, width), as `Trees` gives them."""
    given = [values for values in (columns.codes, columns.numbers) if values is not None]
    inputs = graph.concat([graph.cast(values, np.float64) for values in given], 1)
    forest = Forest(is_double=True)
    for target, (text, unit) in enumerate(zip(trees.texts, trees.units)):
        for tree in read_trees(text):
            forest.start()
            _add_tree(forest, tree, target, float(unit))
    base = -trees.centers / trees.units
    scaled = forest.value(graph, inputs, base.tolist())
    new = _is_new(graph, trees, columns)
    return scaled if new is None else graph.where(new, graph.constant(0, np.float32), scaled)


def _add_tree(forest: Forest, tree: TreeText, target: int, unit: float) -> None:
    nodes = [forest.place() for _ in range(len(tree.columns))]
    leaves = [forest.place() for _ in range(tree.n_leaves)]

    def child(number: int) -> int:
        return nodes[number] if number >= 0 else leaves[~number]

    for i, node in enumerate(nodes):
        children = child(int(tree.left[i])), child(int(tree.right[i]))
        column, decision = int(tree.columns[i]), int(tree.decisions[i])
        if decision & IS_CATEGORICAL:
            _split_by_set(forest, node, column, tree.members(i), children)
            continue
        # where training had no missing value, LightGBM reads a later one as zero
        missing = decision & DEFAULT_LEFT if decision & MISSING_IS_NAN else tree.thresholds[i] >= 0
        forest.split(node, column, float(tree.thresholds[i]), children, missing=bool(missing))
    for leaf, weight in zip(leaves, tree.leaves):
        forest.leaf(leaf, target, float(weight) / unit)


def _split_by_set(
    forest: Forest, node: int, column: int, members: np.ndarray, children: tuple[int, int]
) -> None:
    """Add a chain of nodes, one for each member: all lead to the first child, the last to the second.

    onnxruntime takes several parents of a first child, and joins comparisons with small numbers.
    """
    first, second = children
    for i, member in enumerate(members):
        following = second if i == len(members) - 1 else forest.place()
        forest.split(node, column, float(member), (first, following), equal=True)
        node = following


def _is_new(graph: Graph, trees: Trees, columns: Columns) -> str | None:
    """Return whether rows hold something decisive that no training row held, bool (n, 1), or None."""
    n = len(trees.n_codes)
    flags = []
    at = [i for i in range(n) if trees.decisive[i]]
    if at:
        chosen = graph.columns(str(columns.codes), at, n)
        ends = graph.constant(trees.n_codes[at], np.int64)
        flags.append(graph.add("GreaterOrEqual", chosen, ends))
        for code, has in ((UNKNOWN, trees.has_unknown), (MISSING, trees.has_missing[:n])):
            # -1 is no code: a code that training rows held is not new
            never = graph.constant(np.where(has[at], -1, code), np.int64)
            flags.append(graph.add("Equal", chosen, never))
    at = [i for i in range(len(trees.decisive) - n) if trees.decisive[n + i] and not trees.has_missing[n + i]]
    if at:
        chosen = graph.columns(str(columns.numbers), at, len(trees.decisive) - n)
        flags.append(graph.add("IsNaN", chosen))
    if not flags:
        return None
    either = graph.cast(graph.concat(flags, 1), np.int32)
    highest = graph.add("ReduceMax", either, graph.constant([1], np.int64), keepdims=1)
    return graph.cast(highest, np.bool_)
