"""Random walks on a graph as lists of nodes, from which `ItemEmbedder` learns vectors of nodes.

With uniform walks this is DeepWalk (Perozzi et al. 2014, https://arxiv.org/abs/1403.6652), with p and q
node2vec (Grover & Leskovec 2016, https://arxiv.org/abs/1607.00653).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from sklearn.utils import check_random_state

from tabemb.data.frames import to_arrow
from tabemb.data.schema import check_column
from tabemb.data.values import is_keys
from tabemb.data.vocabulary import N_SPECIAL, Vocabulary
from tabemb.fitting.settings import FLAG, VERBOSE, real, show_progress, whole
from tabemb.progress import progress

WALK = "walk"
"""Name of the column of walks."""
BLOCK = 2**20
"""Number of walks that advance together."""


def random_walks(
    edges: Any,
    *,
    source: str = "source",
    target: str = "target",
    weight: str | None = None,
    directed: bool = False,
    n_walks: int = 10,
    length: int = 80,
    p: float = 1.0,
    q: float = 1.0,
    nodes: Any = None,
    verbose: bool | None = None,
    random_state: int | np.random.RandomState | None = None,
) -> pa.Table:
    """Return random walks on a graph, the same number from each node, in random order.

    A walk goes from a node to one of its neighbours, drawn in proportion to the weight of the edge. With
    ``p`` and ``q``, the weight also depends on the previous node: it is divided by ``p`` for a return to
    that node, by 1 for one of its neighbours, and by ``q`` for any other node (node2vec). All walks
    advance together, one step at a time. With ``p`` and ``q``, nodes are drawn by rejection sampling, so
    memory grows only with the number of edges (KnightKing: Yang et al. 2019).

    Parameters
    ----------
    edges : frame
        One edge per row. The weights of repeated edges are summed; an edge of weight 0 is ignored.
    source, target : str, default="source", "target"
        The columns of nodes, which have the same kind of values.
    weight : str, optional
        A column of finite numbers of at least 0. None: each edge has weight 1.
    directed : bool, default=False
        Whether edges lead from source to target only. A walk then ends at a node without outgoing edges.
    n_walks : int, default=10
        Number of walks that start from each node.
    length : int, default=80
        Number of nodes in a walk.
    p : float, default=1.0
        The larger, the less often a walk returns to the previous node.
    q : float, default=1.0
        Above 1, walks stay near the previous node, so nodes close to each other get similar vectors;
        below 1, walks move away.
    nodes : sequence, optional
        Further nodes, which may have no edge; their walks then have one node. None: the nodes of edges.
    verbose : bool, optional
        Whether to show a progress bar. None: on a terminal or in a notebook, after three seconds.
    random_state : int, RandomState or None, default=None
        With an int, two calls return the same walks.

    Returns
    -------
    pyarrow.Table of n_nodes * n_walks rows
        With one column, "walk", of lists of nodes.

    Raises
    ------
    ValueError
        A node or weight is missing, a weight is negative or not finite, or an argument is invalid.

    Examples
    --------
    >>> import pandas as pd
    >>> edges = pd.DataFrame({"source": ["a", "b", "c"], "target": ["b", "c", "a"]})
    >>> walks = random_walks(edges, n_walks=2, length=4, directed=True, random_state=0)
    >>> sorted(walks["walk"].to_pylist())[0]
    ['a', 'b', 'c', 'a']
    """
    whole(1).check("n_walks", n_walks)
    whole(1).check("length", length)
    real(0, open_low=True).check("p", p)
    real(0, open_low=True).check("q", q)
    FLAG.check("directed", directed)
    VERBOSE.check("verbose", verbose)
    frame = to_arrow(edges)
    columns = _node_columns(frame, source, target, nodes)
    vocabulary = Vocabulary.from_columns(columns)
    weights = None if weight is None else _weights(frame, weight)
    ends = [vocabulary.codes(*columns[name]) - N_SPECIAL for name in (source, target)]
    graph = Graph.of(ends[0], ends[1], weights, len(vocabulary.categories), directed)
    rng = np.random.default_rng(check_random_state(random_state).randint(2**31 - 1))
    starts = rng.permutation(np.tile(np.arange(graph.n_nodes, dtype=np.int32), n_walks))
    steps = _walked(graph, starts, int(length), float(p), float(q), rng, show_progress(verbose))
    return _table(steps, vocabulary, columns[source][1])


def _node_columns(
    frame: pa.Table, source: str, target: str, nodes: Any
) -> dict[str, tuple[pa.ChunkedArray, pa.Field]]:
    """Return the columns of nodes, after a check for missing nodes."""
    for name in (source, target):
        check_column(frame, name, "edges")
    if source == target:
        raise ValueError(f"source and target must be different columns; both are {source!r}.")
    columns = {name: (frame[name], frame.schema.field(name)) for name in (source, target)}
    if nodes is not None:
        further = to_arrow(pd.DataFrame({"nodes": list(nodes)}))
        columns["nodes"] = further["nodes"], further.schema.field("nodes")
    for name, (column, _) in columns.items():
        missing = column.is_null(nan_is_null=True).to_numpy()
        if missing.any():
            raise ValueError(
                f"Column {name!r} must hold a node in each row; it is missing in row {missing.argmax()}."
            )
    return columns


def _weights(frame: pa.Table, name: str) -> np.ndarray:
    check_column(frame, name, "edges")
    column = frame[name]
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise ValueError(
            f"Column {name!r} must hold numbers, as weight names it; it holds {column.type}."
        )
    weights: np.ndarray = column.cast(pa.float64()).to_numpy()
    wrong = np.flatnonzero(~((weights >= 0) & (weights < np.inf)))
    if len(wrong):
        raise ValueError(
            f"Column {name!r} must hold finite weights of at least 0; row {wrong[0]} has "
            f"{weights[wrong[0]]}."
        )
    return weights


@dataclass(frozen=True)
class Graph:
    """The arcs of a graph by the node that they leave (CSR).

    Parameters
    ----------
    offsets : ndarray of int64, shape (n_nodes + 1,)
        Node i has the arcs from ``offsets[i]`` up to ``offsets[i + 1]``.
    targets : ndarray of int32, shape (n_arcs,)
        The nodes that the arcs lead to, sorted and unique for each node.
    weights : ndarray of float64, shape (n_arcs,), optional
        Above 0. None: 1 each.
    """

    offsets: np.ndarray
    targets: np.ndarray
    weights: np.ndarray | None

    @classmethod
    def of(
        cls,
        sources: np.ndarray,
        targets: np.ndarray,
        weights: np.ndarray | None,
        n_nodes: int,
        directed: bool,
    ) -> Graph:
        """Return the graph of some edges; the weights of repeated edges are summed."""
        if not directed:
            is_loop = sources == targets  # has one arc; other edges have one in each direction
            weights = None if weights is None else np.concatenate([weights, weights[~is_loop]])
            sources, targets = (
                np.concatenate([sources, targets[~is_loop]]),
                np.concatenate([targets, sources[~is_loop]]),
            )
        keys, place = np.unique(sources * n_nodes + targets, return_inverse=True)
        sums = np.bincount(place, weights, len(keys))
        keys, sums = keys[sums > 0], sums[sums > 0]
        counts = np.bincount(keys // n_nodes, minlength=n_nodes)
        offsets = np.concatenate([[0], np.cumsum(counts)])
        has_weights = bool(len(sums)) and sums.min() != sums.max()
        return cls(offsets, (keys % n_nodes).astype(np.int32), sums if has_weights else None)

    @property
    def n_nodes(self) -> int:
        """Number of nodes."""
        return len(self.offsets) - 1

    @cached_property
    def degrees(self) -> np.ndarray:
        """Number of arcs that leave each node, (n_nodes,)."""
        return np.diff(self.offsets)

    @cached_property
    def _sums(self) -> np.ndarray:
        """The cumulative sum of the weights, from 0: (n_arcs + 1,)."""
        assert self.weights is not None
        return np.concatenate([[0], np.cumsum(self.weights)])

    @cached_property
    def strengths(self) -> np.ndarray:
        """Sum of the weights of the arcs that leave each node, (n_nodes,)."""
        if self.weights is None:
            return self.degrees.astype(float)
        strengths: np.ndarray = self._sums[self.offsets[1:]] - self._sums[self.offsets[:-1]]
        return strengths

    @cached_property
    def _keys(self) -> np.ndarray:
        """A sorted key for each arc: its source times n_nodes plus its target."""
        sources = np.repeat(np.arange(self.n_nodes, dtype=np.int64), self.degrees)
        keys: np.ndarray = sources * self.n_nodes + self.targets
        return keys

    def draw(self, nodes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return a neighbour of each node, drawn by weight; each node must have one."""
        random = rng.random(len(nodes))
        first, last = self.offsets[nodes], self.offsets[nodes + 1] - 1
        if self.weights is None:
            arcs = first + (random * self.degrees[nodes]).astype(np.int64)
        else:
            sums = self._sums[first] + random * self.strengths[nodes]
            arcs = np.searchsorted(self._sums, sums, side="right") - 1
        # rounding may lead to the arcs of the next node
        drawn: np.ndarray = self.targets[np.clip(arcs, first, last)]
        return drawn

    def arcs(self, sources: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return the position of the arc from each source to its target, -1 where there is none."""
        keys = sources.astype(np.int64) * self.n_nodes + targets
        places = np.searchsorted(self._keys, keys)
        exist = self._keys[np.minimum(places, len(self._keys) - 1)] == keys
        return np.where(exist, places, -1)

    def draw_second(
        self, before: np.ndarray, nodes: np.ndarray, p: float, q: float, rng: np.random.Generator
    ) -> np.ndarray:
        """Return a neighbour of each node, drawn by the weights of node2vec.

        A candidate drawn by weight is accepted with a probability proportional to its factor. A large
        factor of the return, 1 / p, would make the others rarely accepted, so its excess is drawn
        separately.
        """
        most = max(1.0, 1 / q)
        excess = np.zeros(len(nodes))
        if 1 / p > most:
            back = self.arcs(nodes, before)
            weights = np.ones(len(back)) if self.weights is None else self.weights[back]
            excess = np.where(back >= 0, (1 / p - most) * weights, 0.0)
        share = excess / (excess + most * self.strengths[nodes])
        following = np.empty_like(nodes)
        waiting = np.arange(len(nodes))
        while len(waiting):
            is_back = rng.random(len(waiting)) < share[waiting]
            here, last = nodes[waiting], before[waiting]
            drawn = np.where(is_back, last, self.draw(here, rng))
            factor = np.where(self.arcs(last, drawn) >= 0, 1.0, 1 / q)
            factor = np.where(drawn == last, min(1 / p, most), factor)
            accepted = is_back | (rng.random(len(waiting)) * most < factor)
            following[waiting[accepted]] = drawn[accepted]
            waiting = waiting[~accepted]
        return following


def _walked(
    graph: Graph,
    starts: np.ndarray,
    length: int,
    p: float,
    q: float,
    rng: np.random.Generator,
    show: bool | None,
) -> np.ndarray:
    """Return the nodes of each walk, int32 (n_walks, length); -1 after its end."""
    steps = np.full((len(starts), length), -1, np.int32)
    steps[:, 0] = starts
    with progress(len(starts) * (length - 1), "steps", show) as bar:
        for first in range(0, len(starts), BLOCK):
            walks = steps[first : first + BLOCK]
            going = np.flatnonzero(graph.degrees[walks[:, 0]] > 0)
            for step in range(1, length):
                here = walks[going, step - 1]
                if step == 1 or p == q == 1:
                    following = graph.draw(here, rng)
                else:
                    following = graph.draw_second(walks[going, step - 2], here, p, q, rng)
                walks[going, step] = following
                going = going[graph.degrees[following] > 0]
                bar.update(len(walks))
    return steps


def _table(steps: np.ndarray, vocabulary: Vocabulary, field: pa.Field) -> pa.Table:
    """Return walks as one column of lists, whose nodes are dictionary-encoded."""
    is_node = steps >= 0
    offsets = pa.array(np.concatenate([[0], np.cumsum(is_node.sum(axis=1))]))
    nodes = pa.DictionaryArray.from_arrays(pa.array(steps[is_node]), vocabulary.categories)
    metadata = field.metadata if is_keys(field) else None
    item = pa.field("item", nodes.type, metadata=metadata)
    lists = pa.LargeListArray.from_arrays(offsets, nodes, pa.large_list(item))
    return pa.table([lists], names=[WALK])
