"""An approximate index of a space, for more categories than can be compared one by one."""

from __future__ import annotations

import zlib
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np
import pandas as pd

from tabemb.progress import progress
from tabemb.spaces.search import check_k, pairs, unit

if TYPE_CHECKING:
    from tabemb.spaces.space import EmbeddingSpace

POSITION = np.uint64(2**32 - 1)
"""Part of a key that holds the position of the category; the part above holds the fingerprint of the space."""


class ApproximateIndex:
    """A graph over the vectors of a space that finds nearly all of the nearest by cosine, without comparing with all.

    `EmbeddingSpace.index` makes one and `EmbeddingSpace.open_index` opens a saved one.

    Which search runs when: `EmbeddingSpace.nearest` and `EmbeddingSpace.neighbors` compare with all categories and are
    exact. Approximate answers come from this class, from ``neighbors(approximate=True)``, and from ``neighbors`` by
    cosine when it would compare more than 100,000 times 100,000 pairs.

    The graph is that of Malkov & Yashunin (2020), https://arxiv.org/abs/1603.09320, as usearch builds it. Built by
    several threads it differs a little from run to run.

    Examples
    --------
    >>> from tabemb.spaces import EmbeddingSpace
    >>> space = EmbeddingSpace([[1, 0], [2, 1], [0, 3]], ["oslo", "bergen", "cairo"])
    >>> space.index().nearest("oslo", k=1)
      category  similarity
    0   bergen    0.894427
    """

    def __init__(self, space: EmbeddingSpace, graph: Any) -> None:
        self._space, self._graph = space, graph

    def __repr__(self) -> str:
        return f"ApproximateIndex({self._space!r})"

    @classmethod
    def build(cls, space: EmbeddingSpace, path: str | Path | None = None) -> ApproximateIndex:
        """Build the graph of a space and write it to `path`, if one is given."""
        if path is not None and not Path(path).parent.is_dir():  # said before the work, not after it
            raise FileNotFoundError(f"{str(path)!r} lies in a folder that does not exist")
        graph = _usearch()(ndim=space.vectors.shape[1], metric="ip", dtype="f32")
        keys = np.arange(len(space), dtype=np.uint64) | _fingerprint(space)
        with progress(len(space)) as bar:
            graph.add(keys, space._unit_vectors, threads=joblib.cpu_count(), progress=_shown_on(bar))
        if path is not None:
            graph.save(str(path))
        return cls(space, graph)

    @classmethod
    def open(cls, space: EmbeddingSpace, path: str | Path) -> ApproximateIndex:
        """Open the saved index of this space; what a search needs of the file is read when it needs it."""
        if not Path(path).is_file():
            raise FileNotFoundError(f"{str(path)!r} is not a file")
        try:
            graph = _usearch().restore(str(path), view=True)
        except (ValueError, RuntimeError) as error:
            raise ValueError(f"{str(path)!r} is not a usearch index: {error}") from error
        fits = (len(graph), graph.ndim) == space.vectors.shape
        if not fits or (len(graph) and np.uint64(graph.keys[0]) & ~POSITION != _fingerprint(space)):
            held = f"{len(graph)} of width {graph.ndim}"
            raise ValueError(
                f"{str(path)!r} is the index of other vectors ({held}) than those of {space!r}"
            )
        return cls(space, graph)

    def nearest(self, category: Any, k: int = 10) -> pd.DataFrame:
        """Return the categories nearest by cosine, as `EmbeddingSpace.nearest` does.

        Parameters
        ----------
        category : hashable, or ndarray or list of d numbers
        k : int, default=10

        Returns
        -------
        pandas.DataFrame
            Columns `category`, `similarity` and, where the space has counts, `count`.

        Raises
        ------
        KeyError
            If the category is unknown; the message names close spellings.
        """
        query, own = self._space._query(category)
        found, similarities = self._search(unit(query)[None], np.array([own]), k)
        there = found[0] >= 0
        return self._space._listing(found[0][there], "similarity", similarities[0][there])

    def neighbors(self, categories: Iterable[Hashable] | None = None, k: int = 10) -> pd.DataFrame:
        """Return the nearest of many categories by cosine, as `EmbeddingSpace.neighbors` does.

        Parameters
        ----------
        categories : sequence of hashables, optional
            All of the space by default.
        k : int, default=10

        Returns
        -------
        pandas.DataFrame
            Columns `category`, `rank`, `neighbor`, `similarity`.

        Raises
        ------
        KeyError
            If a category is unknown; the message names close spellings.
        """
        asked = self._space._positions(categories)
        found, similarities = self._search(self._space._unit_vectors[asked], asked, k)
        return pairs(self._space.categories, asked, found, similarities, "similarity")

    def _search(self, queries: np.ndarray, own: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Positions and similarities, (m, at most k), without the position `own` of each; -1 where nothing is left."""
        check_k(k)
        if not len(self._space) or not len(queries):
            return np.empty((len(queries), 0), dtype=np.int64), np.empty(
                (len(queries), 0), dtype=np.float32
            )
        # one more than asked, as the category itself is found too
        with progress(len(queries)) as bar:
            count = min(k + 1, len(self._space))
            matches = self._graph.search(
                queries, count, threads=joblib.cpu_count(), progress=_shown_on(bar)
            )
        found = (np.atleast_2d(matches.keys) & POSITION).astype(np.int64)
        n_found = matches.counts if len(queries) > 1 else np.array([len(matches)])
        missing = np.arange(found.shape[1]) >= n_found[:, None]
        found[missing | (found == own[:, None])] = -1
        order = np.argsort(found < 0, axis=1, kind="stable")[:, :k]
        similarities = np.clip(1 - np.atleast_2d(matches.distances), -1, 1)
        return np.take_along_axis(found, order, axis=1), np.take_along_axis(similarities, order, axis=1)


def _fingerprint(space: EmbeddingSpace) -> np.uint64:
    return np.uint64(zlib.crc32(space.vectors.tobytes())) << np.uint64(32)


def _shown_on(bar: Any) -> Any:
    """What usearch calls with (done, total); it goes on while the answer is true."""

    def show(done, total):
        bar.update(done - bar.n)
        return True

    show.__annotations__ = {"done": int, "total": int, "return": bool}  # compared as types, not as text
    return show


def _usearch() -> Any:
    try:
        from usearch.index import Index
    except ImportError as error:
        raise ImportError("the approximate index needs usearch: pip install tabemb[index]") from error
    return Index
