"""An approximate index of a space, for more categories than can be compared pair by pair."""

from __future__ import annotations

import mmap
import os
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tabemb.extras import need
from tabemb.files.whole import BLANK, N_DIGITS, check_seal, replacing, seal
from tabemb.forks import n_cores
from tabemb.progress import progress
from tabemb.spaces import search
from tabemb.spaces.search import METRICS, choose
from tabemb.spaces.vectors import CategoryVectors, is_vector

POSITION = np.uint64(2**32 - 1)
"""Lower half of a key, the position of the category; the upper half is the fingerprint of the space."""

OVERSAMPLED = 3
"""Oversampling factor of a filtered search, on top of 1 / (share of categories that a filter keeps)."""
MOST_FOUND = 1000
"""If a filtered search needs more results than this, the few categories kept are compared exactly."""

ADDED_ALONE = 10_000
"""Number of vectors that one thread adds first. Several threads that add to a small graph may miss each
other's points, which can leave a group of points without a link to the others."""

MARK = b"tabemb index, sha256: "
"""The bytes before the checksum at the end of a file; usearch does not read them."""


class Directions:
    """The vectors that a graph for cosine search contains: the `directions` of a space."""

    def __init__(self, space: CategoryVectors) -> None:
        self.vectors = space.directions

    @staticmethod
    def fingerprint(space: CategoryVectors) -> np.uint64:
        """Return the upper half of the keys of the graph, a checksum of the vectors."""
        return np.uint64(zlib.crc32(space.directions.tobytes())) << np.uint64(32)

    def scores(self, products: np.ndarray, queries: np.ndarray) -> np.ndarray:
        """Convert products (m, k) of queries (m, d) and vectors of the graph to similarities."""
        scores: np.ndarray = np.clip(products, -1, 1)
        return scores


class Centered(Directions):
    """The vectors that a graph for dot-product search contains: those of a space minus their mean.

    Subtracting the mean changes all products of a query by the same amount. A graph of products finds
    the largest ones well if the vectors are centred (ip-NSW, Morozov & Babenko 2018). If all vectors
    share a large component, such as a bias far from zero, it finds few of them.
    """

    def __init__(self, space: CategoryVectors) -> None:
        self.mean = space.vectors.mean(axis=0) if len(space) else np.zeros(space.vectors.shape[1])
        self.vectors = (space.vectors - self.mean).astype(np.float32)

    @staticmethod
    def fingerprint(space: CategoryVectors) -> np.uint64:
        return np.uint64(zlib.crc32(space.vectors.tobytes(), 1)) << np.uint64(32)

    def scores(self, products: np.ndarray, queries: np.ndarray) -> np.ndarray:
        scores: np.ndarray = products + (queries @ self.mean)[:, None]
        return scores


GRAPHS: dict[str, type[Directions]] = {"cosine": Directions, "dot": Centered}
"""The vectors that a graph contains, by search metric."""


class ApproximateIndex:
    """A graph of the vectors of a space that quickly finds nearly all nearest neighbours.

    `EmbeddingSpace.index` builds an index and `EmbeddingSpace.open_index` opens a saved one. Its metric
    is the cosine or the dot product.

    `EmbeddingSpace.nearest` and `EmbeddingSpace.neighbors` compare with all categories and are exact.
    Results are approximate in three cases: the methods of this class, ``neighbors(approximate=True)``,
    and ``neighbors`` by cosine if it would compare more than 100,000 times 100,000 pairs.

    usearch builds the graph of Malkov & Yashunin (2020), https://arxiv.org/abs/1603.09320. With more
    than 10,000 categories, several threads build it, and it differs a little from run to run.

    Examples
    --------
    >>> from tabemb.spaces import EmbeddingSpace
    >>> space = EmbeddingSpace([[1, 0], [2, 1], [0, 3]], ["oslo", "bergen", "cairo"])
    >>> space.index().nearest("oslo", k=1)
      category  similarity
    0   bergen    0.894427
    """

    def __init__(
        self, space: CategoryVectors, graph: Any, metric: str = "cosine", held: Directions | None = None
    ) -> None:
        self._space, self._graph, self.metric = space, graph, metric
        self._held = GRAPHS[metric](space) if held is None else held

    def __repr__(self) -> str:
        return f"ApproximateIndex({self._space!r}, by {self.metric})"

    @classmethod
    def build(
        cls, space: CategoryVectors, path: str | Path | None = None, metric: str = "cosine"
    ) -> ApproximateIndex:
        """Build the graph of a space.

        Parameters
        ----------
        space : EmbeddingSpace
        path : str or path-like, optional
            File to write the graph to.
        metric : {"cosine", "dot"}, default="cosine"
            How vectors are compared.

        Raises
        ------
        FileNotFoundError
            If the folder of `path` does not exist.
        ValueError
            If the metric is neither "cosine" nor "dot".
        ImportError
            If usearch is not installed.
        """
        # a wrong path is an error before the long work, not after it
        if path is not None and not Path(path).parent.is_dir():
            raise FileNotFoundError(f"path must lie in an existing folder; got {str(path)!r}.")
        held = choose("metric", metric, GRAPHS)(space)
        graph = _usearch_index()(ndim=held.vectors.shape[1], metric="ip", dtype="f32")
        keys = np.arange(len(space), dtype=np.uint64) | held.fingerprint(space)
        with progress(len(space)) as bar:
            for part, threads in (slice(ADDED_ALONE), 1), (slice(ADDED_ALONE, None), n_cores()):
                show = _shown_on(bar, done_before=int(bar.n))
                graph.add(keys[part], held.vectors[part], threads=threads, progress=show)
        if path is not None:
            _write(graph, path)
        return cls(space, graph, metric, held)

    @classmethod
    def open(cls, space: CategoryVectors, path: str | Path) -> ApproximateIndex:
        """Open the saved index of this space after a check of its checksum.

        A search then reads only the parts of the file that it needs.

        Parameters
        ----------
        space : EmbeddingSpace
        path : str or path-like

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If the file is not a usearch index with a checksum, is damaged, or indexes other vectors.
        ImportError
            If usearch is not installed.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f"path must name an existing file; got {str(path)!r}.")
        _check_whole(path)
        try:
            graph = _usearch_index().restore(str(path), view=True)
        except (ValueError, RuntimeError) as error:
            raise ValueError(
                f"path must name a usearch index; {str(path)!r} is not one: {error}."
            ) from error
        shape = len(graph), graph.ndim
        metric = _metric_of(graph, space) if shape == space.vectors.shape else None
        if metric is None:
            raise ValueError(
                f"path must name the index of {space!r}; {str(path)!r} is the index of other vectors, "
                f"{shape[0]} of width {shape[1]}."
            )
        return cls(space, graph, metric)

    def nearest(
        self, category: Any, k: int = 10, min_count: float = 0, min_reliability: float = 0
    ) -> pd.DataFrame:
        """Return the categories nearest by the metric, as `EmbeddingSpace.nearest` does.

        Parameters
        ----------
        category : hashable, or ndarray or list of d numbers
        k : int, default=10
        min_count, min_reliability : float, default=0
            Categories below these are left out. The graph cannot filter: it is searched for more than
            `k` categories, and those below are dropped. If too few are left, all categories that are
            not below are compared exactly.

        Returns
        -------
        pandas.DataFrame
            Columns `category`, `similarity` and, if the space has them, `count` and `reliability`.

        Warns
        -----
        UserWarning
            If the category has a reliability below .2: its neighbours are mostly chance.

        Raises
        ------
        KeyError
            If the category is unknown; the message names close spellings.
        ValueError
            If the space lacks the counts or the reliability to filter by.
        """
        kept = search.trusted(self._space, min_count, min_reliability)
        vector, position = search.query(self._space, category)
        measure = METRICS[self.metric]
        is_given = is_vector(category)
        compared = measure.prepared(vector) if is_given else measure.vectors_of(self._space)[position]
        nearest, similarities = self._search(compared[None], np.array([position]), k, kept)
        known = nearest[0] >= 0
        search.warn_of_noise(self._space, category)
        return search.listing(self._space, nearest[0][known], similarities[0][known], "similarity")

    def neighbors(
        self,
        categories: Iterable[Any] | None = None,
        k: int = 10,
        min_count: float = 0,
        min_reliability: float = 0,
    ) -> pd.DataFrame:
        """Return the nearest of many categories by the metric, as `EmbeddingSpace.neighbors` does.

        Parameters
        ----------
        categories : sequence of hashables, optional
            By default all categories of the space.
        k : int, default=10
        min_count, min_reliability : float, default=0
            Neighbours below these are left out, as in `nearest`.

        Returns
        -------
        pandas.DataFrame
            Columns `category`, `rank`, `neighbor`, `similarity` and, if the space has it, the
            `reliability` of the neighbour.

        Raises
        ------
        KeyError
            If a category is unknown; the message names close spellings.
        ValueError
            If the space lacks the counts or the reliability to filter by.
        """
        kept = search.trusted(self._space, min_count, min_reliability)
        positions = self._space.positions(categories)
        vectors = METRICS[self.metric].vectors_of(self._space)[positions]
        nearest, similarities = self._search(vectors, positions, k, kept)
        return search.pairs(self._space, positions, nearest, similarities, "similarity")

    def nearest_to(self, vectors: Any, k: int = 10) -> pd.DataFrame:
        """Return the categories nearest to each of many vectors, as `EmbeddingSpace.nearest_to` does.

        Parameters
        ----------
        vectors : pandas.DataFrame or array-like of shape (m, d)
        k : int, default=10

        Returns
        -------
        pandas.DataFrame
            The label of the vector, `rank` (from 1), `category` and `similarity`.

        Raises
        ------
        ValueError
            If the vectors are not finite, or differ in width from those of the space.
        """
        labels, given = search.queries(self._space, vectors)
        compared = METRICS[self.metric].prepared(given)
        nobody, all_of_them = np.full(len(given), -1), np.ones(len(self._space), dtype=bool)
        nearest, similarities = self._search(compared, nobody, k, all_of_them)
        return search.found(self._space, labels, nearest, similarities, "similarity")

    def _search(
        self, queries: np.ndarray, excluded: np.ndarray, k: int, kept: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Search the `kept` categories nearest to m vectors, (m, d), without the positions `excluded`.

        Returns
        -------
        positions, similarities : ndarray of shape (m, at most k)
            The nearest first; the position is -1 if there are fewer.
        """
        search.check_k(k)
        candidates = np.flatnonzero(kept)
        k = min(k, len(candidates))
        if not k or not len(queries):
            shape = (len(queries), 0)
            return np.empty(shape, dtype=np.int64), np.empty(shape, dtype=np.float32)
        # one more than wanted, because a category is its own nearest
        count = k + 1
        if len(candidates) < len(self._space):
            count = OVERSAMPLED * count * len(self._space) // len(candidates)
            if count > MOST_FOUND:
                return self._compare(queries, excluded, candidates, k)
        positions, similarities = self._reached(queries, excluded, min(count, len(self._space)), k, kept)
        others = len(candidates) - ((excluded >= 0) & kept[excluded])
        short = np.flatnonzero((positions >= 0).sum(1) < np.minimum(k, others))
        if len(short):
            positions[short], similarities[short] = self._compare(
                queries[short], excluded[short], candidates, k
            )
        return positions, similarities

    def _compare(
        self, queries: np.ndarray, excluded: np.ndarray, candidates: np.ndarray, k: int
    ) -> tuple[np.ndarray, np.ndarray]:
        measure = METRICS[self.metric]
        vectors = measure.vectors_of(self._space)
        return search.k_nearest_to(queries, excluded, vectors, candidates, k, measure)

    def _reached(
        self, queries: np.ndarray, excluded: np.ndarray, count: int, k: int, kept: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the first k kept among `count` categories that the graph finds, (m, k); -1 for none."""
        positions = np.full((len(queries), k), -1, dtype=np.int64)
        similarities = np.zeros((len(queries), k), dtype=np.float32)
        size = max(search.BLOCK // count, 1)  # queries at a time
        for start in range(0, len(queries), size):
            block = slice(start, start + size)
            reached, scores = self._of_graph(queries[block], count)
            reached[(reached == excluded[block, None]) | ~kept[reached]] = -1
            order = np.argsort(reached < 0, axis=1, kind="stable")[:, :k]
            n_reached = order.shape[1]
            positions[block, :n_reached] = np.take_along_axis(reached, order, axis=1)
            similarities[block, :n_reached] = np.take_along_axis(scores, order, axis=1)
        return positions, similarities

    def _of_graph(self, queries: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the positions and similarities that the graph finds, (m, count); -1 for none."""
        with progress(len(queries)) as bar:
            given = np.ascontiguousarray(queries, dtype=np.float32)
            matches = self._graph.search(given, count, threads=n_cores(), progress=_shown_on(bar))
        positions = (np.atleast_2d(matches.keys) & POSITION).astype(np.int64)  # (m, count)
        n_matches = matches.counts if len(queries) > 1 else np.array([len(matches)])
        positions[np.arange(positions.shape[1]) >= n_matches[:, None]] = -1
        return positions, self._held.scores(1 - np.atleast_2d(matches.distances), queries)


def _write(graph: Any, path: str | Path) -> None:
    """Write a graph and, after it, its checksum."""
    with replacing(path) as file:
        graph.save(file.name)
        place = file.seek(0, os.SEEK_END) + len(MARK)
        file.write(MARK + BLANK)
        seal(file, place)


def _check_whole(path: str | Path) -> None:
    """Raise ValueError unless a file ends with its checksum: usearch maps any file and may crash."""
    place = Path(path).stat().st_size - N_DIGITS
    with open(path, "rb") as file:
        file.seek(max(0, place - len(MARK)))
        if file.read(len(MARK)) != MARK:
            raise ValueError(
                f"path must name a usearch index; {str(path)!r} is not one that ends with a checksum, "
                "so build it again with index(path)."
            )
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            check_seal(content, place, str(path))


def _metric_of(graph: Any, space: CategoryVectors) -> str | None:
    """Return the metric of a graph with the shape of a space; None if its vectors are other ones."""
    if not len(graph):
        return "cosine"
    upper = np.uint64(graph.keys[0]) & ~POSITION
    return next((name for name, kind in GRAPHS.items() if kind.fingerprint(space) == upper), None)


def _shown_on(bar: Any, done_before: int = 0) -> Callable[[int, int], bool]:
    """Return a function that usearch calls with (done, total) and that moves the bar."""

    def show(done: int, total: int) -> bool:
        bar.update(done_before + done - bar.n)
        return True  # False would stop usearch

    # usearch compares the annotations as types, and `from __future__ import annotations` makes them text
    show.__annotations__ = {"done": int, "total": int, "return": bool}
    return show


def _usearch_index() -> Any:
    need("usearch", "index")
    from usearch.index import Index

    return Index
