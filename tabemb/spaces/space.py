"""`EmbeddingSpace`, the public class: search, groups, maps and file formats as methods of one object.

The methods here describe arguments and results; the work is done by functions of the other files.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import pandas as pd

from tabemb.drift.report import DriftReport
from tabemb.spaces import checks, clusters, matching, search
from tabemb.spaces.drawing import DrawnVectors
from tabemb.spaces.index import GRAPHS, ApproximateIndex
from tabemb.spaces.placing import PlacingVectors
from tabemb.spaces.quality import expected_overlap

MAX_EXACT = 100_000**2
"""Maximum number of pairs that `neighbors` compares exactly by default."""


class EmbeddingSpace(PlacingVectors, DrawnVectors):
    """Search, export and draw the vectors of one embedding table by category.

    Parameters
    ----------
    vectors : array-like of shape (n_levels, d)
        One finite vector for each category; kept as a read-only float32 copy.
    categories : sequence of n_levels hashables
        A list, numpy array, pandas Index, Series, Categorical or Arrow array, in the order of `vectors`.
    counts : array-like of shape (n_levels,), optional
        Number of training rows of each category, or the sum of their weights.
    name : str, default=""
        The subject of the space, such as its column; it names exported columns.
    reliability : array-like of shape (n_levels,), optional
        How much of each vector is signal, from 0 (only noise) to 1.
    ancestry : sequence of str, optional
        Versions of the model that produced the vectors, the current one last; models set it.

    Attributes
    ----------
    vectors : ndarray of shape (n_levels, d)
    categories : pandas.Index of length n_levels
    counts : ndarray of shape (n_levels,) or None
    name : str
    reliability : ndarray of shape (n_levels,) or None
    ancestry : tuple of str
    version : int
        How often the model has grown; `compare` compares with an earlier version.
    unit_vectors : ndarray of shape (n_levels, d)
        The vectors scaled to length one.
    directions : ndarray of shape (n_levels, d)
        The unit vectors times the square root of their reliability; searches by cosine compare these.
    descriptions : EmbeddingSpace or None
        Vectors that describe known and new categories; `by_description` uses them.
    maps : dict from (method, metric, random_state) to ndarray of shape (n_levels, 2)
        The coordinates computed so far.

    n_hashed : int
        Further rows of the table, which all other categories share by their hash.

    Raises
    ------
    ValueError
        If shapes disagree, a category occurs twice, a vector is not finite or a count is negative.

    Examples
    --------
    >>> from tabemb.spaces import EmbeddingSpace
    >>> cities = ["oslo", "bergen", "cairo"]
    >>> space = EmbeddingSpace([[1, 0], [2, 1], [0, 3]], cities, counts=[50, 20, 90], name="city")
    >>> space
    EmbeddingSpace('city', 3 categories, 2 dimensions, reliability not known)
    >>> space["bergen"]
    array([2., 1.], dtype=float32)
    >>> space.nearest("oslo", k=1)
      category  similarity  count
    0   bergen    0.894427     20
    """

    n_hashed = 0

    @cached_property
    def overlap(self) -> float | None:
        """Expected overlap of the five nearest in two models fitted on disjoint halves of the rows."""
        return expected_overlap(self)

    def __repr__(self) -> str:
        hashed = f", others in {self.n_hashed} hashed rows" if self.n_hashed else ""
        if self.reliability is None:
            return f"{self._title}, reliability not known{hashed})"
        overlap = "" if self.overlap is None else f", expected overlap {self.overlap:.2f}"
        return f"{self._title}{overlap}{hashed})"

    def nearest(
        self,
        category: Any,
        k: int = 10,
        metric: str = "cosine",
        min_count: float = 0,
        min_reliability: float = 0,
    ) -> pd.DataFrame:
        """Return the categories whose vectors lie nearest, the nearest first.

        Parameters
        ----------
        category : hashable, or ndarray or list of d numbers
            A category of the space, which is left out of the result, or any vector, such as
            ``space["a"] - space["b"] + space["c"]``.
        k : int, default=10
            Number of categories to return; all of them if the space has fewer.
        metric : {"cosine", "euclidean", "dot"}, default="cosine"
            "cosine" compares directions only; a vector of zeros has cosine 0 with every vector. If the
            space has reliability, the cosine is multiplied by the square root of the reliability of each
            of the two categories.
        min_count, min_reliability : float, default=0
            Categories below these are left out.

        Returns
        -------
        pandas.DataFrame
            Columns `category`, `similarity` (`distance` for "euclidean") and, if the space has them,
            `count` and `reliability`. Ties keep the order of the space.

        Warns
        -----
        UserWarning
            If the category has a reliability below .2: its neighbours are mostly chance.

        Raises
        ------
        KeyError
            If the category is unknown; the message names close spellings.
        ValueError
            If the metric, `k` or the shape of the vector is invalid, or the space lacks the counts or
            the reliability to filter by.

        Examples
        --------
        >>> space = EmbeddingSpace([[0, 0], [3, 4], [0, 1]], ["a", "b", "c"])
        >>> space.nearest("a", metric="euclidean")
          category  distance
        0        c       1.0
        1        b       5.0
        """
        table = search.nearest(self, category, k, metric, min_count, min_reliability)
        search.warn_of_noise(self, category)
        return table

    def analogy(self, a: Any, b: Any, c: Any, k: int = 10) -> pd.DataFrame:
        """Return the categories that complete "a is to b as ... is to c", those nearest to a - b + c.

        The three vectors are first scaled to length one, and the three categories are left out of the
        result (3CosAdd: Mikolov, Yih & Zweig 2013, https://aclanthology.org/N13-1090/). The sum is
        compared in the same way as a vector passed to `nearest`.

        Parameters
        ----------
        a, b, c : hashable
            Categories of the space.
        k : int, default=10
            Number of categories to return; all but the three if there are fewer.

        Returns
        -------
        pandas.DataFrame
            Columns `category`, `similarity` (cosine) and, if the space has them, `count` and
            `reliability`.

        Warns
        -----
        UserWarning
            If one of the three has a reliability below .2.

        Raises
        ------
        KeyError
            If one of the three is unknown; the message names close spellings.

        Examples
        --------
        >>> vectors = [[1, 0, 1], [1, 0, 0], [0, 1, 0], [0, 1, 1], [1, 1, 0]]
        >>> space = EmbeddingSpace(vectors, ["Madrid", "Spain", "France", "Paris", "Andorra"])
        >>> space.analogy("Madrid", "Spain", "France", k=1)
          category  similarity
        0    Paris    0.958569
        """
        table = search.analogy(self, a, b, c, k)
        search.warn_of_noise(self, a, b, c)
        return table

    def neighbors(
        self,
        categories: Iterable[Hashable] | None = None,
        k: int = 10,
        metric: str = "cosine",
        approximate: bool | None = None,
        min_count: float = 0,
        min_reliability: float = 0,
    ) -> pd.DataFrame:
        """Return the nearest neighbours of many categories; memory grows linearly with their number.

        Parameters
        ----------
        categories : sequence of hashables, optional
            By default all categories of the space.
        k : int, default=10
            Number of neighbours of each; all other categories if the space has fewer.
        metric : {"cosine", "euclidean", "dot"}, default="cosine"
            As for `nearest`.
        approximate : bool, optional
            Whether to search an `ApproximateIndex`: the last one that `index` built or `open_index`
            opened, if it has this metric, or else a new one. The metric cannot be "euclidean". By
            default, only cosine searches that would compare more than 100,000 times 100,000 pairs are
            approximate.
        min_count, min_reliability : float, default=0
            Neighbours below these are left out; the categories asked for may be below. An approximate
            search finds more than `k`, drops those below, and compares exactly if too few are left.

        Returns
        -------
        pandas.DataFrame
            Columns `category`, `rank` (from 1), `neighbor`, `similarity` (`distance` for "euclidean")
            and, if the space has it, the `reliability` of the neighbour.

        Raises
        ------
        KeyError
            If a category is unknown; the message names close spellings.
        ValueError
            If the metric or `k` is invalid, the metric of an approximate search is "euclidean", or the
            space lacks the counts or the reliability to filter by.

        Examples
        --------
        >>> space = EmbeddingSpace([[1, 0], [2, 1], [0, 3]], ["oslo", "bergen", "cairo"])
        >>> space.neighbors(["oslo", "cairo"], k=1)
          category  rank neighbor  similarity
        0     oslo     1   bergen    0.894427
        1    cairo     1   bergen    0.447214
        """
        positions = self.positions(categories)
        if approximate is None:
            approximate = metric == "cosine" and len(positions) * len(self) > MAX_EXACT
        if not approximate:
            kept = search.trusted(self, min_count, min_reliability)
            return search.neighbors(self, positions, k, metric, kept)
        if metric not in GRAPHS:
            raise ValueError(
                f"metric must be 'cosine' or 'dot' for an approximate search; got {metric!r}."
            )
        index, wanted = self._index, self.categories[positions]
        if index is None or index.metric != metric:
            index = self.index(metric=metric)
        return index.neighbors(wanted, k, min_count, min_reliability)

    def nearest_to(self, vectors: Any, k: int = 10, metric: str = "cosine") -> pd.DataFrame:
        """Return the categories nearest to each of many vectors, such as those of users.

        Parameters
        ----------
        vectors : pandas.DataFrame or array-like of shape (m, d)
            The index of a frame labels its vectors.
        k : int, default=10
            Number of categories for each; all of them if the space has fewer.
        metric : {"cosine", "euclidean", "dot"}, default="cosine"
            As for `nearest`.

        Returns
        -------
        pandas.DataFrame
            The label of the vector, in a column with the name of the index or "vector", `rank` (from
            1), `category` and `similarity` (`distance` for "euclidean").

        Raises
        ------
        ValueError
            If the metric or `k` is invalid, or the vectors are not finite or differ in width from those
            of the space.

        Examples
        --------
        >>> space = EmbeddingSpace([[1, 0], [2, 1], [0, 3]], ["oslo", "bergen", "cairo"])
        >>> space.nearest_to([[1, 0], [0, 1]], k=1, metric="dot")
           vector  rank category  similarity
        0       0     1   bergen         2.0
        1       1     1    cairo         3.0
        """
        return search.nearest_to(self, vectors, k, metric)

    def index(self, path: str | Path | None = None, metric: str = "cosine") -> ApproximateIndex:
        """Build an approximate index of the space, for more than about 100,000 categories.

        `neighbors` uses the index that was built or opened last, if it has the same metric.
        `ApproximateIndex` lists the searches that are approximate. Needs usearch:
        ``pip install 'tabemb[index]'``.

        Parameters
        ----------
        path : str or path-like, optional
            File to write the index to; `open_index` opens it.
        metric : {"cosine", "dot"}, default="cosine"
            Search metric of the index. Scores of recommenders are dot products.

        Returns
        -------
        ApproximateIndex
            Has the methods `nearest`, `neighbors` and `nearest_to`.

        Examples
        --------
        >>> space = EmbeddingSpace([[1, 0], [2, 1], [0, 3]], ["oslo", "bergen", "cairo"])
        >>> space.index().neighbors(["oslo"], k=1)
          category  rank neighbor  similarity
        0     oslo     1   bergen    0.894427
        """
        self._index = ApproximateIndex.build(self, path, metric)
        return self._index

    def open_index(self, path: str | Path) -> ApproximateIndex:
        """Open an index that `index` wrote for this space; a search reads only the parts it needs.

        Parameters
        ----------
        path : str or path-like

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If the file is not an index, or is the index of other vectors.

        Examples
        --------
        >>> import tempfile
        >>> path = tempfile.mkdtemp() + "/city.usearch"
        >>> space = EmbeddingSpace([[1, 0], [2, 1], [0, 3]], ["oslo", "bergen", "cairo"])
        >>> _ = space.index(path)
        >>> space.open_index(path).nearest("cairo", k=1)
          category  similarity
        0   bergen    0.447214
        """
        self._index = ApproximateIndex.open(self, path)
        return self._index

    @cached_property
    def _index(self) -> ApproximateIndex | None:
        return None

    def __getstate__(self) -> dict[str, Any]:
        computed = {"_index", "overlap"}  # an index is saved in a file of its own, by `index`
        return {name: value for name, value in super().__getstate__().items() if name not in computed}

    def clusters(self, n_clusters: int, random_state: int | None = 0) -> pd.DataFrame:
        """Group categories of similar direction by k-means on `directions`.

        Without reliability, these are the vectors scaled to length one. With reliability, unreliable
        categories lie near zero: they hardly move the centres, their similarity is low, and they may
        form a separate cluster.

        Parameters
        ----------
        n_clusters : int
        random_state : int or None, default=0
            Seed of the first centres.

        Returns
        -------
        pandas.DataFrame
            Columns `cluster`, from 0, `similarity`, the cosine with the centre of the cluster (times the
            root of the reliability), and, if the space has it, `reliability`; indexed by category.
            The largest cluster comes first, and within a cluster the category nearest to its centre.

        Raises
        ------
        ValueError
            If there are fewer different directions than clusters.

        Examples
        --------
        >>> space = EmbeddingSpace([[0, 2], [1, 0], [5, 1]], ["cairo", "oslo", "bergen"], name="city")
        >>> space.clusters(2)["cluster"].to_dict()
        {'bergen': 0, 'oslo': 0, 'cairo': 1}
        """
        return clusters.k_means(self, n_clusters, random_state)

    def check(self, categories: Any) -> DriftReport:
        """Compare the categories of later rows with the counts of the space.

        Parameters
        ----------
        categories : array-like of shape (n_rows,)
            One for each row, missing ones too.

        Returns
        -------
        DriftReport
            The share of rows whose category has no vector, compared with the expected share, and the
            shift of the frequencies; `RowEstimator.check` describes it.

        Raises
        ------
        ValueError
            The space has no counts, or there are no rows.

        Examples
        --------
        >>> space = EmbeddingSpace([[1, 0], [2, 1]], ["cairo", "oslo"], counts=[60, 40], name="city")
        >>> space.check(["cairo", "rome"] * 20).verdict
        "Drift in 1 of 1 inputs: 'city' (large: unseen, shift) (40 rows against 100 training rows)."
        """
        return checks.check(self, categories)

    def match(self, categories: Any, counts: Any = None) -> matching.Match[Self]:
        """Look up wanted categories, such as those of a column, and report which have a vector.

        This prepares vectors made elsewhere, such as published word vectors, for
        ``Table(pretrained=...)``. A category is matched by value, then by its text, then by its text
        ignoring case, underscores and outer blanks.

        Parameters
        ----------
        categories : sequence of hashables
            The categories wanted. Repeated categories, as in a column of data, count repeatedly.
        counts : array-like of the same length, optional
            Weight of each category.

        Returns
        -------
        Match
            ``space``: the wanted categories that have a vector; ``table``: how each was matched;
            ``share`` and ``share_of_rows``: how many were matched. It prints as a report.

        Raises
        ------
        ValueError
            If no category has a vector.

        Examples
        --------
        >>> words = EmbeddingSpace([[1, 0], [2, 1]], ["new_york", "oslo"])
        >>> match = words.match(["Oslo", "Oslo", "oslo", "New York", "Rome"])
        >>> match
        3 of 4 categories have a vector (75.0%; 80.0% of rows)
        found: 1 exact, 2 casefolded
        not found: 'Rome'
        >>> list(match.space)
        ['Oslo', 'oslo', 'New York']
        """
        return matching.match(self, categories, counts)
