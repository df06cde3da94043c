"""Decision trees in a graph, and step functions, such as the bins of numbers, as trees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tabemb.saving.onnx.graph import Graph


class Forest:
    """The nodes of several trees, whose leaves add up to one number for each target.

    Parameters
    ----------
    is_double : bool
        Whether inputs, thresholds and sums have double precision; the output never has.
    """

    def __init__(self, is_double: bool) -> None:
        self.is_double = is_double
        self.nodes: list[tuple[int, int, str, float, int, int, int, int]] = []
        self.leaves: list[tuple[int, int, int, float]] = []
        self.n_trees = self.n_nodes = 0

    def start(self) -> None:
        """Start the next tree; its first node is the root."""
        self.n_trees, self.n_nodes = self.n_trees + 1, 0

    def place(self) -> int:
        """Return the number of a new node, which is added later."""
        self.n_nodes += 1
        return self.n_nodes - 1

    def split(
        self,
        node: int,
        column: int,
        threshold: float,
        children: tuple[int, int],
        equal: bool = False,
        missing: bool = False,
    ) -> None:
        """Add a node: the first child where the column is at most, or equals, the threshold.

        ``missing`` says whether NaN goes to the first child too.
        """
        mode = "BRANCH_EQ" if equal else "BRANCH_LEQ"
        tree = self.n_trees - 1
        self.nodes.append((tree, node, mode, threshold, column, *children, int(missing)))

    def leaf(self, node: int, target: int, weight: float) -> None:
        """Add a leaf, which adds a weight to a target."""
        tree = self.n_trees - 1
        self.nodes.append((tree, node, "LEAF", 0.0, 0, 0, 0, 0))
        self.leaves.append((tree, node, target, weight))

    def value(self, graph: Graph, inputs: str, base: Sequence[float]) -> str:
        """Return the sums of the leaves that rows (n, n_columns) reach, float32 (n, n_targets)."""
        trees, nodes, modes, thresholds, columns, firsts, seconds, missing = zip(*self.nodes)
        leaf_trees, leaf_nodes, targets, weights = zip(*self.leaves)
        numbers: dict[str, Any]
        if self.is_double:
            numbers = {
                "nodes_values_as_tensor": np.array(thresholds),
                "target_weights_as_tensor": np.array(weights),
                "base_values_as_tensor": np.array(base, np.float64),
            }
        else:
            lists = {"nodes_values": thresholds, "target_weights": weights, "base_values": base}
            numbers = {name: list(map(float, values)) for name, values in lists.items()}
        return str(
            graph.add(
                "TreeEnsembleRegressor",
                inputs,
                ml=True,
                n_targets=len(base),
                nodes_treeids=trees,
                nodes_nodeids=nodes,
                nodes_modes=modes,
                nodes_featureids=columns,
                nodes_truenodeids=firsts,
                nodes_falsenodeids=seconds,
                nodes_missing_value_tracks_true=missing,
                target_treeids=leaf_trees,
                target_nodeids=leaf_nodes,
                target_ids=targets,
                **numbers,
            )
        )


def steps(graph: Graph, values: str, functions: Sequence[tuple[int, np.ndarray, np.ndarray]]) -> str:
    """Return step functions of columns, float32 (n, n_functions); zero where a column is NaN.

    Parameters
    ----------
    graph : Graph
    values : str
        Columns (n, n_columns), float32 or float64 as the bounds are.
    functions : sequence of (column, bounds, heights)
        Up to and with the first bound, the function has the first height; above the last one the last.
        There is one height more than bounds.
    """
    forest = Forest(is_double=functions[0][1].dtype == np.float64)
    largest = float(np.finfo(functions[0][1].dtype).max)
    for target, (column, bounds, heights) in enumerate(functions):
        forest.start()
        root, first = forest.place(), forest.place()
        is_nan = forest.place()
        forest.split(root, column, largest, (first, is_nan))
        forest.leaf(is_nan, target, 0.0)
        _halve(forest, first, column, target, bounds, heights)
    return forest.value(graph, values, [0.0] * len(functions))


def _halve(
    forest: Forest, node: int, column: int, target: int, bounds: np.ndarray, heights: np.ndarray
) -> None:
    if not len(bounds):
        forest.leaf(node, target, float(heights[0]))
        return
    middle = len(bounds) // 2
    low, high = forest.place(), forest.place()
    forest.split(node, column, float(bounds[middle]), (low, high))
    _halve(forest, low, column, target, bounds[:middle], heights[: middle + 1])
    _halve(forest, high, column, target, bounds[middle + 1 :], heights[middle + 1 :])
