"""Checks of LightGBM's text of trees, before LightGBM reads it from a file.

LightGBM does not check its texts: it would read a child or a column that does not exist from outside
its arrays.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

IS_CATEGORICAL, DEFAULT_LEFT, MISSING_IS_NAN = 1, 2, 8
"""The bits of a decision: it compares categories; missing values go left; NaN is a missing value."""


def without_sizes(text: str) -> str:
    """Return the text without the sizes of its trees, which LightGBM would read without a check."""
    lines = text.split("\n")
    return "\n".join(line for line in lines if not line.startswith("tree_sizes="))


def check_trees(text: str, n_inputs: int) -> None:
    """Check that trees have one output and read ``n_inputs`` columns, and that their nodes fit together.

    Raises
    ------
    ValueError
        The trees break one of these rules.
    """
    head, *trees = text.split("\nTree=")
    fields = _fields(head)
    expected = {"num_class": "1", "num_tree_per_iteration": "1", "max_feature_idx": f"{n_inputs - 1}"}
    if {name: fields.get(name) for name in expected} != expected or "tree_sizes" in fields:
        raise ValueError(f"the trees do not read {n_inputs} columns, or have several outputs.")
    for place, tree in enumerate(trees):
        if not TreeText.read(tree).is_sound(n_inputs):
            raise ValueError(f"tree {place} has nodes that do not fit together.")


def read_trees(text: str) -> list[TreeText]:
    """Return the trees of a text that `check_trees` has passed."""
    return [TreeText.read(tree) for tree in text.split("\nTree=")[1:]]


class TreeText(NamedTuple):
    """One tree: its nodes by number, with a negative number ~i for the child that is leaf i."""

    n_leaves: int
    columns: np.ndarray
    decisions: np.ndarray
    thresholds: np.ndarray
    left: np.ndarray
    right: np.ndarray
    leaves: np.ndarray
    bounds: np.ndarray
    bits: np.ndarray
    is_linear: bool

    @classmethod
    def read(cls, text: str) -> TreeText:
        """Return the tree of one part of LightGBM's text."""
        fields = _fields(text.split("\nend of trees")[0])

        def numbers(name: str, dtype: type = int) -> np.ndarray:
            return np.array(fields.get(name, "").split(), dtype)

        return cls(
            n_leaves=int(fields["num_leaves"]),
            columns=numbers("split_feature"),
            decisions=numbers("decision_type"),
            thresholds=numbers("threshold", float),
            left=numbers("left_child"),
            right=numbers("right_child"),
            leaves=numbers("leaf_value", float),
            bounds=numbers("cat_boundaries") if int(fields["num_cat"]) else np.zeros(1, int),
            bits=numbers("cat_threshold"),
            is_linear=fields.get("is_linear", "0") != "0",
        )

    def members(self, node: int) -> np.ndarray:
        """Return the categories that a node sends to its left child, ascending."""
        place = int(self.thresholds[node])
        words = self.bits[self.bounds[place] : self.bounds[place + 1]].astype(np.uint32)
        return np.flatnonzero(np.unpackbits(words.view(np.uint8), bitorder="little"))

    def is_sound(self, n_inputs: int) -> bool:
        """Whether all nodes read columns, children and sets of categories that exist."""
        n_nodes = self.n_leaves - 1
        of_nodes = (self.columns, self.decisions, self.thresholds, self.left, self.right)
        if n_nodes < 0 or any(len(part) != n_nodes for part in of_nodes):
            return False
        sets = self.thresholds[(self.decisions & IS_CATEGORICAL) > 0]
        return (
            not self.is_linear
            and len(self.leaves) == self.n_leaves
            and bool(np.isfinite(self.leaves).all())
            and _within(self.columns, 0, n_inputs)
            and self._are_children(self.left)
            and self._are_children(self.right)
            and _within(sets, 0, len(self.bounds) - 1)
            and self.bounds[0] == 0
            and bool((np.diff(self.bounds) >= 0).all())
            and self.bounds[-1] <= len(self.bits)
        )

    def _are_children(self, children: np.ndarray) -> bool:
        """Whether children are leaves, or nodes after their parents, so that no path is endless."""
        is_node = children >= 0
        parents = np.arange(len(children))
        nodes_follow = (children > parents) & (children < len(children))
        return bool(np.where(is_node, nodes_follow, ~children < self.n_leaves).all())


def _within(values: np.ndarray, low: int, high: int) -> bool:
    return bool(((values >= low) & (values < high)).all())


def _fields(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.split("\n") if "=" in line)
