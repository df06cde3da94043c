"""The vectors of one embedding table together with the categories they stand for; numpy only, no torch."""

from __future__ import annotations

import difflib
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from tabemb.spaces import exchange, matching, plane
from tabemb.spaces.index import ApproximateIndex
from tabemb.spaces.search import METRICS, Metric, check_k, first_k, named, neighbors, pairs, unit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_EXACT = 100_000**2
"""Most pairs that are compared one by one where the caller leaves the choice."""
# Comparing spellings costs some 20 microseconds a category, and an error must not take minutes in a space of millions.
MAX_SPELLINGS = 50_000


class EmbeddingSpace:
    """Search, export and draw the vectors of one embedding table by category.

    Parameters
    ----------
    vectors : array-like of shape (n_levels, d)
        One finite vector a category; kept as a read-only float32 copy.
    categories : sequence of n_levels hashables
        A list, numpy array, pandas Index, Series or Categorical, or Arrow array, in the order of `vectors`.
    counts : array-like of shape (n_levels,), optional
        Training rows (or their weight) of each category.
    name : str, default=""
        What the space is of, such as the column; names the exported columns.

    Attributes
    ----------
    vectors : ndarray of shape (n_levels, d)
    categories : pandas.Index of length n_levels
    counts : ndarray of shape (n_levels,) or None
    name : str

    Raises
    ------
    ValueError
        If shapes disagree, a category occurs twice, a vector is not finite or a count is negative.

    Examples
    --------
    >>> from tabemb.spaces import EmbeddingSpace
    >>> space = EmbeddingSpace([[1, 0], [2, 1], [0, 3]], ["oslo", "bergen", "cairo"], counts=[50, 20, 90], name="city")
    >>> space
    EmbeddingSpace('city', 3 categories, 2 dimensions)
    >>> space["bergen"]
    array([2., 1.], dtype=float32)
    >>> space.nearest("oslo", k=1)
      category  similarity  count
    0   bergen    0.894427     20
    """

    def __init__(self, vectors: Any, categories: Any, counts: Any = None, name: str = "") -> None:
        self.categories = _as_index(categories)
        self.vectors = _checked_vectors(vectors, self.categories)
        self.counts = None if counts is None else _checked_counts(counts, self.categories)
        self.name = name

    def __repr__(self) -> str:
        return (
            f"EmbeddingSpace({self.name!r}, {len(self)} categories, {self.vectors.shape[1]} dimensions)"
        )

    def __len__(self) -> int:
        return len(self.categories)

    def __iter__(self) -> Iterator[Hashable]:
        return iter(self.categories)

    def __contains__(self, category: Hashable) -> bool:
        return self._position(category) >= 0

    def __getitem__(self, category: Hashable) -> np.ndarray:
        return self.vectors[self._known_position(category)]

    def nearest(self, category: Any, k: int = 10, metric: str = "cosine") -> pd.DataFrame:
        """Return the categories whose vectors lie nearest, the nearest first.

        Parameters
        ----------
        category : hashable, or ndarray or list of d numbers
            A category of the space, which is then left out of the answer, or any vector, such as
            ``space["a"] - space["b"] + space["c"]``.
        k : int, default=10
            How many to return; all of them if the space holds fewer.
        metric : {"cosine", "euclidean", "dot"}, default="cosine"
            "cosine" compares directions only; a vector of zeros has cosine 0 with every other.

        Returns
        -------
        pandas.DataFrame
            Columns `category`, `similarity` (`distance` for "euclidean") and, where the space has counts, `count`.
            Ties keep the order of the space.

        Raises
        ------
        KeyError
            If the category is unknown; the message names close spellings.
        ValueError
            If the metric, `k` or the vector's shape is not allowed.

        Examples
        --------
        >>> space = EmbeddingSpace([[0, 0], [3, 4], [0, 1]], ["a", "b", "c"])
        >>> space.nearest("a", metric="euclidean")
          category  distance
        0        c       1.0
        1        b       5.0
        """
        query, own = self._query(category)
        return self._ranked(query, metric, k, without=[] if own < 0 else [own])

    def analogy(self, a: Any, b: Any, c: Any, k: int = 10) -> pd.DataFrame:
        """Answer "a is to b as what is to c?" by the categories nearest to a - b + c.

        The vectors are scaled to length one first, and the three are left out of the answer (3CosAdd: Mikolov, Yih &
        Zweig 2013, https://aclanthology.org/N13-1090/).

        Parameters
        ----------
        a, b, c : hashable
            Categories of the space.
        k : int, default=10
            How many to return; all of the others if there are fewer.

        Returns
        -------
        pandas.DataFrame
            Columns `category`, `similarity` (cosine) and, where the space has counts, `count`.

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
        positions = [self._known_position(category) for category in (a, b, c)]
        first, second, third = self._unit_vectors[positions]
        return self._ranked(first - second + third, "cosine", k, without=positions)

    def neighbors(
        self,
        categories: Iterable[Hashable] | None = None,
        k: int = 10,
        metric: str = "cosine",
        approximate: bool | None = None,
    ) -> pd.DataFrame:
        """Return the categories nearest to each of many, in memory that does not grow with their number squared.

        Parameters
        ----------
        categories : sequence of hashables, optional
            All of the space by default.
        k : int, default=10
            How many for each; all others if the space holds fewer.
        metric : {"cosine", "euclidean", "dot"}, default="cosine"
            As for `nearest`.
        approximate : bool, optional
            Whether to ask an `ApproximateIndex`, by cosine alone: the one that `index` built or `open_index` opened
            last, or a new one. By default only where more than 100,000 times 100,000 pairs would be compared.

        Returns
        -------
        pandas.DataFrame
            Columns `category`, `rank` (from 1), `neighbor` and `similarity` (`distance` for "euclidean").

        Raises
        ------
        KeyError
            If a category is unknown; the message names close spellings.
        ValueError
            If the metric or `k` is not allowed, or an approximate answer is asked for another metric than "cosine".

        Examples
        --------
        >>> space = EmbeddingSpace([[1, 0], [2, 1], [0, 3]], ["oslo", "bergen", "cairo"])
        >>> space.neighbors(["oslo", "cairo"], k=1)
          category  rank neighbor  similarity
        0     oslo     1   bergen    0.894427
        1    cairo     1   bergen    0.447214
        """
        measure = named("metric", metric, METRICS)
        check_k(k)
        asked = self._positions(categories)
        if approximate is None:
            approximate = metric == "cosine" and len(asked) * len(self) > MAX_EXACT
        if not approximate:
            found, scores = neighbors(self._measured(measure), asked, k, measure)
            return pairs(self.categories, asked, found, scores, measure.column)
        if metric != "cosine":
            raise ValueError(f"an approximate answer needs metric 'cosine', got {metric!r}")
        return (self._index or self.index()).neighbors(self.categories[asked], k)

    def index(self, path: str | Path | None = None) -> ApproximateIndex:
        """Build an approximate index of the space by cosine, for more than some 100,000 categories.

        Needs usearch: ``pip install tabemb[index]``. `ApproximateIndex` says which search runs when.

        Parameters
        ----------
        path : str or path-like, optional
            File to write the index to; `open_index` opens it.

        Returns
        -------
        ApproximateIndex
            Answers `nearest` and `neighbors`. The space remembers it for its own `neighbors`.

        Examples
        --------
        >>> space = EmbeddingSpace([[1, 0], [2, 1], [0, 3]], ["oslo", "bergen", "cairo"])
        >>> space.index().neighbors(["oslo"], k=1)
          category  rank neighbor  similarity
        0     oslo     1   bergen    0.894427
        """
        self._index = ApproximateIndex.build(self, path)
        return self._index

    def open_index(self, path: str | Path) -> ApproximateIndex:
        """Open an index that `index` wrote for this space, mapped into memory: it is not read as a whole.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If the file is no index, or the index of other vectors.

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

    def clusters(self, n_clusters: int, random_state: int | None = 0) -> pd.DataFrame:
        """Divide the categories into groups of similar direction: k-means on the vectors scaled to length one.

        Parameters
        ----------
        n_clusters : int
        random_state : int or None, default=0
            Seed of the first centres.

        Returns
        -------
        pandas.DataFrame
            Columns `cluster`, counted from 0, and `similarity`, the cosine with the middle of the cluster; indexed by
            category. The largest cluster comes first, and in each the category nearest to its middle.

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
        from tabemb.spaces.clusters import k_means  # scikit-learn takes long to import

        cluster, similarity = k_means(self._unit_vectors, n_clusters, random_state)
        table = pd.DataFrame(
            {"cluster": cluster, "similarity": similarity}, index=self._named_categories
        )
        return table.iloc[np.lexsort([-similarity, cluster])]

    def normalized(self) -> EmbeddingSpace:
        """Return the space of the same categories with vectors of length one; vectors of zeros stay zero.

        Examples
        --------
        >>> EmbeddingSpace([[3, 4], [0, 0]], ["a", "b"]).normalized().vectors
        array([[0.6, 0.8],
               [0. , 0. ]], dtype=float32)
        """
        return EmbeddingSpace(self._unit_vectors, self.categories, self.counts, self.name)

    def subset(self, categories: Iterable[Hashable] | int) -> EmbeddingSpace:
        """Return the space of some of the categories.

        Parameters
        ----------
        categories : sequence of hashables, or int
            In the order that they shall have; an int takes so many of the most frequent.

        Returns
        -------
        EmbeddingSpace

        Raises
        ------
        KeyError
            If a category is unknown; the message names close spellings.
        ValueError
            If an int is given and the space has no counts.

        Examples
        --------
        >>> space = EmbeddingSpace([[1, 0], [2, 1], [0, 3]], ["oslo", "bergen", "cairo"], counts=[50, 20, 90])
        >>> space.subset(2).categories.tolist()
        ['cairo', 'oslo']
        """
        if isinstance(categories, int):
            if self.counts is None:
                raise ValueError(f"{self!r} has no counts, which tell the {categories} most frequent")
            chosen = np.argsort(-self.counts, kind="stable")[:categories]
        else:
            chosen = self._positions(categories)
        counts = None if self.counts is None else self.counts[chosen]
        return EmbeddingSpace(self.vectors[chosen], self.categories[chosen], counts, self.name)

    def similarity(self, a: Any, b: Any) -> float:
        """Return the cosine of the angle between two categories, vectors, or one of each.

        Examples
        --------
        >>> space = EmbeddingSpace([[3, 4], [4, 3], [-3, -4]], ["a", "b", "c"])
        >>> round(space.similarity("a", "b"), 2), round(space.similarity("a", "c"), 2)
        (0.96, -1.0)
        """
        cosine = float(unit(self._as_vector(a)) @ unit(self._as_vector(b)))
        return min(max(cosine, -1.0), 1.0)

    def to_frame(self) -> pd.DataFrame:
        """Return the vectors as a frame with one row a category and columns `{name}_0`, `{name}_1`, ...

        The columns of a space without a name are `vector_0`, `vector_1`, ...

        Examples
        --------
        >>> EmbeddingSpace([[1, 2], [3, 4]], ["a", "b"], name="shop").to_frame()
              shop_0  shop_1
        shop
        a        1.0     2.0
        b        3.0     4.0
        """
        columns = [f"{self.name or 'vector'}_{i}" for i in range(self.vectors.shape[1])]
        return pd.DataFrame(self.vectors.copy(), index=self._named_categories, columns=columns)

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, counts: Any = None) -> EmbeddingSpace:
        """Make a space of a frame with one row a category, such as `to_frame` gives.

        Parameters
        ----------
        frame : pandas.DataFrame of shape (n_levels, d)
            Columns of numbers, indexed by category; the index names the space.
        counts : array-like of shape (n_levels,), optional

        Raises
        ------
        ValueError
            If a column does not hold numbers.

        Examples
        --------
        >>> frame = EmbeddingSpace([[1, 2], [3, 4]], ["a", "b"], name="shop").to_frame()
        >>> EmbeddingSpace.from_frame(frame)
        EmbeddingSpace('shop', 2 categories, 2 dimensions)
        """
        return cls(*exchange.frame_parts(frame, counts))

    def to_parquet(self, path: str | Path) -> None:
        """Write one parquet file with the columns `category`, `vector` (a list of d floats) and, if known, `count`.

        What `coordinates` has computed is written too, a column `map_{method}_{metric}_{seed}` of two floats each.

        Raises
        ------
        TypeError
            If the categories have no common Arrow type, such as numbers mixed with strings, or tuples.

        Examples
        --------
        >>> import tempfile
        >>> path = tempfile.mkdtemp() + "/shop.parquet"
        >>> EmbeddingSpace([[1, 2], [3, 4]], ["a", "b"], name="shop").to_parquet(path)
        >>> EmbeddingSpace.from_parquet(path)["b"]
        array([3., 4.], dtype=float32)
        """
        exchange.write_parquet(self, path, self._maps)

    @classmethod
    def from_parquet(cls, path: str | Path) -> EmbeddingSpace:
        """Read a space that `to_parquet` wrote, with its counts, its name and its coordinates.

        Raises
        ------
        ValueError
            If the file has no `category` or no `vector` column.

        Examples
        --------
        >>> import tempfile
        >>> path = tempfile.mkdtemp() + "/shop.parquet"
        >>> EmbeddingSpace([[1, 2], [3, 4]], ["a", "b"], counts=[7, 9], name="shop").to_parquet(path)
        >>> EmbeddingSpace.from_parquet(path)
        EmbeddingSpace('shop', 2 categories, 2 dimensions)
        """
        parts, maps = exchange.read_parquet(path)
        space = cls(*parts)
        space._maps.update(maps)
        return space

    def to_word2vec(
        self, path: str | Path, binary: bool = False, counts_path: str | Path | None = None
    ) -> None:
        """Write the word2vec format, text or binary, which gensim's ``KeyedVectors.load_word2vec_format`` opens.

        Categories are written as text. The format ends a word at a space, so spaces and line breaks in a category
        become underscores, as in the published word2vec vectors.

        Parameters
        ----------
        path : str or path-like
        binary : bool, default=False
        counts_path : str or path-like, optional
            A second file of words and whole counts, gensim's ``fvocab``.

        Raises
        ------
        ValueError
            If two categories would be written as the same text, or there are no counts to write.

        Examples
        --------
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "city.txt"
        >>> EmbeddingSpace([[1, 0.5], [3, 4]], ["oslo", "new york"]).to_word2vec(path)
        >>> print(path.read_text())
        2 2
        oslo 1.0 0.5
        new_york 3.0 4.0
        """
        exchange.write_word2vec(self, path, binary, counts_path)

    @classmethod
    def from_word2vec(
        cls, path: str | Path, binary: bool = False, counts_path: str | Path | None = None
    ) -> EmbeddingSpace:
        """Read a file in the word2vec format, such as published word vectors; the file's name names the space.

        Parameters
        ----------
        path : str or path-like
        binary : bool, default=False
        counts_path : str or path-like, optional
            A second file with the count of each word, gensim's ``fvocab``.

        Raises
        ------
        ValueError
            If the file is not of this format, or a line has another width than the first line says.

        Examples
        --------
        >>> import tempfile
        >>> path = tempfile.mkdtemp() + "/city.bin"
        >>> EmbeddingSpace([[1, 2], [3, 4]], ["oslo", "new york"]).to_word2vec(path, binary=True)
        >>> EmbeddingSpace.from_word2vec(path, binary=True)["new_york"]
        array([3., 4.], dtype=float32)
        """
        return cls(*exchange.read_word2vec(path, binary, counts_path))

    def to_projector(self, folder: str | Path, metadata: pd.DataFrame | None = None) -> None:
        """Write `vectors.tsv`, `metadata.tsv` and `projector_config.pbtxt` for TensorBoard's projector.

        ``tensorboard --logdir folder`` shows them, and https://projector.tensorflow.org loads the first two. The
        metadata holds the categories as text, with tabs and line breaks as spaces, and the counts.

        Parameters
        ----------
        folder : str or path-like
            Made if there is none.
        metadata : pandas.DataFrame, optional
            More columns of metadata, indexed by category; what it lacks is empty.

        Raises
        ------
        ValueError
            If two categories would be written as the same text, or no index of `metadata` is a category.

        Examples
        --------
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> EmbeddingSpace([[1, 2], [3, 4]], ["oslo", "new york"], counts=[7, 9]).to_projector(folder)
        >>> print((folder / "metadata.tsv").read_text().expandtabs(10))
        category  count
        oslo      7
        new york  9
        """
        exchange.write_projector(self, folder, metadata)

    @classmethod
    def from_projector(cls, folder: str | Path) -> EmbeddingSpace:
        """Read the vectors, categories, counts and name that `to_projector` wrote; categories are text.

        Raises
        ------
        ValueError
            If the vectors differ in width, or there are more or fewer than rows of metadata.

        Examples
        --------
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> EmbeddingSpace([[1, 2], [3, 4]], ["oslo", "new york"], name="city").to_projector(folder)
        >>> EmbeddingSpace.from_projector(folder)
        EmbeddingSpace('city', 2 categories, 2 dimensions)
        """
        return cls(*exchange.read_projector(folder))

    def to_duckdb(self, database: Any, table: str) -> None:
        """Create a DuckDB table of the columns `category`, `vector` and, if known, `count`.

        The vectors are of the type FLOAT[d], which DuckDB's `array_cosine_distance` takes.
        Needs duckdb: ``pip install tabemb[duckdb]``.

        Parameters
        ----------
        database : duckdb.DuckDBPyConnection, str or path-like
            An open connection, or a file, which is made if there is none.
        table : str
            Name of the table.

        Raises
        ------
        ValueError
            If there is a table of this name; none is replaced.
        TypeError
            As for `to_parquet`.

        Examples
        --------
        >>> import duckdb
        >>> connection = duckdb.connect()
        >>> EmbeddingSpace([[1, 0], [2, 1], [0, 3]], ["oslo", "bergen", "cairo"]).to_duckdb(connection, "city")
        >>> connection.execute("SELECT category FROM city ORDER BY array_cosine_distance(vector, [1, 0]::FLOAT[2])")
        <...>
        >>> connection.fetchall()
        [('oslo',), ('bergen',), ('cairo',)]
        """
        exchange.write_duckdb(self, database, table)

    @classmethod
    def from_duckdb(cls, database: Any, table: str) -> EmbeddingSpace:
        """Read a table with the columns `category`, `vector` and perhaps `count`; its name is that of the space.

        Parameters
        ----------
        database : duckdb.DuckDBPyConnection, str or path-like
            An open connection, or a file.
        table : str

        Raises
        ------
        ValueError
            If there is no such table, or it lacks a column.

        Examples
        --------
        >>> import duckdb
        >>> connection = duckdb.connect()
        >>> EmbeddingSpace([[1, 2], [3, 4]], ["oslo", "cairo"]).to_duckdb(connection, "city")
        >>> EmbeddingSpace.from_duckdb(connection, "city")["cairo"]
        array([3., 4.], dtype=float32)
        """
        return cls(*exchange.read_duckdb(database, table))

    def match(self, categories: Any, counts: Any = None) -> matching.Match:
        """Look up the vectors of wanted categories, such as a column's in published vectors, and report what is found.

        A category is looked for by value, then by its text, then without regard to case, underscores and outer blanks.

        Parameters
        ----------
        categories : sequence of hashables
            The categories wanted. One that repeats, as in a column of data, counts that often.
        counts : array-like of the same length, optional
            How much each counts.

        Returns
        -------
        Match
            ``space``: the wanted categories that have a vector, fit for ``Table(pretrained=...)``; ``table``: how each
            was found; ``share`` and ``share_of_rows``: how many were. It prints as a report.

        Raises
        ------
        ValueError
            If not a single category has a vector.

        Examples
        --------
        >>> words = EmbeddingSpace([[1, 0], [2, 1]], ["new_york", "oslo"])
        >>> found = words.match(["Oslo", "Oslo", "oslo", "New York", "Rome"])
        >>> found
        3 of 4 categories have a vector (75.0%; 80.0% of rows)
        found: 1 exact, 2 casefolded
        not found: 'Rome'
        >>> list(found.space)
        ['Oslo', 'oslo', 'New York']
        """
        given = _as_index(categories, unique=False)
        weights = (
            np.ones(len(given), dtype=np.int64) if counts is None else _checked_counts(counts, given)
        )
        return matching.match(self, given, weights)

    def coordinates(
        self, method: str = "tsne", metric: str = "cosine", random_state: int | None = 0
    ) -> pd.DataFrame:
        """Place the categories in a plane so that categories with near vectors are near.

        The space remembers the answer, and `to_parquet` writes it.

        Parameters
        ----------
        method : {"tsne", "umap", "pca"}, default="tsne"
            "tsne" keeps neighbourhoods (van der Maaten & Hinton 2008, as openTSNE computes it), and so does "umap"
            (McInnes, Healy & Melville 2018; needs ``pip install tabemb[umap]``); "pca" keeps the two directions of
            largest variance. Fewer than five categories have no neighbourhoods to keep: "pca" places them.
        metric : {"cosine", "euclidean"}, default="cosine"
            What near means; "cosine", as in `nearest`, ignores how long the vectors are.
        random_state : int or None, default=0
            Seed of UMAP; "tsne" starts from "pca" and draws nothing.

        Returns
        -------
        pandas.DataFrame of shape (n_levels, 2)
            Columns `x` and `y`, indexed by category. They have no unit.

        Examples
        --------
        >>> space = EmbeddingSpace([[0, 0], [3, 0], [6, 0]], ["a", "b", "c"])
        >>> space.coordinates("pca", metric="euclidean")
             x    y
        a -3.0  0.0
        b  0.0  0.0
        c  3.0  0.0
        """
        way = named("method", method, plane.METHODS)
        vectors = self._measured(named("metric", metric, PLANE_METRICS))
        key = (method, metric, random_state)
        if key not in self._maps:
            self._maps[key] = way.project(vectors, random_state)
        return pd.DataFrame(self._maps[key].copy(), index=self._named_categories, columns=["x", "y"])

    def place(
        self, new: Any, method: str = "tsne", metric: str = "cosine", random_state: int | None = 0
    ) -> pd.DataFrame:
        """Place new vectors on the map of `coordinates`, which stays as it is.

        Each new vector goes to where the method would put it, next to its nearest categories, regardless of the others.

        Parameters
        ----------
        new : EmbeddingSpace, or array-like of shape (n, d)
            Vectors as those of the space, such as those of a later model that started from it.
        method, metric, random_state
            As for `coordinates`.

        Returns
        -------
        pandas.DataFrame of shape (n, 2)
            Columns `x` and `y`, indexed by category where `new` is a space.

        Raises
        ------
        ValueError
            If the vectors have another width.

        Examples
        --------
        >>> space = EmbeddingSpace([[0, 0], [3, 0], [6, 0]], ["a", "b", "c"])
        >>> space.place([[4, 0]], "pca", metric="euclidean")
             x    y
        0  1.0  0.0
        """
        places = self.coordinates(method, metric, random_state).to_numpy()
        index = new._named_categories if isinstance(new, EmbeddingSpace) else None
        vectors = np.asarray(new.vectors if isinstance(new, EmbeddingSpace) else new, dtype=np.float32)
        if vectors.ndim != 2 or vectors.shape[1] != self.vectors.shape[1]:
            raise ValueError(
                f"new must have shape (n, {self.vectors.shape[1]}), as {self!r} has; got {vectors.shape}"
            )
        measure = PLANE_METRICS[metric]
        placed = plane.METHODS[method].place(
            self._measured(measure), places, unit(vectors) if measure.unit else vectors, random_state
        )
        return pd.DataFrame(placed, index=index, columns=["x", "y"])

    def map(
        self,
        color: Any = None,
        label: Any = None,
        method: str = "tsne",
        *,
        metric: str = "cosine",
        highlight: Sequence[Hashable] = (),
        n_labels: int = 300,
        title: str | None = None,
        figsize: tuple[float, float] = (11.0, 8.0),
        random_state: int | None = 0,
    ) -> Figure:
        """Draw the categories as a labelled map, a matplotlib figure for a person to read.

        Frequent categories get larger points and are labelled first.
        A label that would cover a point or another label stands further away, at the end of a thin line, or is dropped.

        Parameters
        ----------
        color : Series or mapping from category to value, or sequence of n_levels values, optional
            Numbers are drawn on a colour scale, anything else as classes with a legend. A Series names the scale.
        label : Series or mapping from category to text, or sequence of n_levels texts, optional
            By default the categories themselves. Categories missing from a mapping get no label.
        method, metric, random_state
            As for `coordinates`.
        highlight : sequence of categories, default=()
            Labelled before all others, and in bold.
        n_labels : int, default=300
            At most so many labels are tried; 0 draws none.
        title : str, optional
            By default the name of the space.
        figsize : tuple of float, default=(11.0, 8.0)
            Width and height in inches.

        Returns
        -------
        matplotlib.figure.Figure
            Unknown to pyplot, so nothing needs closing; `figure.savefig("map.png")` writes it.

        Examples
        --------
        >>> space = EmbeddingSpace([[0, 1], [1, 2], [2, 0]], ["a", "b", "c"], counts=[5, 50, 500], name="shop")
        >>> figure = space.map(color={"a": 1.5, "b": 0.2, "c": 0.9}, method="pca")
        >>> figure.axes[0].get_title(loc="left")
        'shop'
        """
        from tabemb.spaces import (
            maps,
        )  # matplotlib takes long to import, and most uses of a space draw nothing

        return maps.draw(
            self.coordinates(method, metric, random_state).to_numpy(),
            labels=maps.by_category(
                self.categories if label is None else label, self.categories, "label"
            ),
            colors=None if color is None else maps.by_category(color, self.categories, "color"),
            counts=self.counts,
            title=self.name if title is None else title,
            highlight=[self._known_position(category) for category in highlight],
            n_labels=n_labels,
            figsize=figsize,
        )

    def atlas(
        self,
        path: str | Path,
        metadata: Any = None,
        *,
        coordinates: pd.DataFrame | None = None,
        others: Mapping[str, Any] | None = None,
        color: str | None = None,
        title: str | None = None,
    ) -> Path:
        """Write one self-contained HTML page in which a person explores the space; it needs no network.

        The page draws the categories as a map and lets the reader search, ask for the nearest of a category, compare
        two, colour and filter, and select categories and copy them as CSV, with a mouse, a keyboard or on a phone.

        Parameters
        ----------
        path : str or Path
            The file to write; its folder must exist.
        metadata : DataFrame or mapping from name to Series, indexed by category, optional
            What the page tells of a category. Numbers and dates colour on a scale, anything else as classes, the seven
            most frequent apart; a text that is nearly always another one is shown but does not colour.
            Categories that it lacks are missing, further ones are ignored. The counts of the space are offered too.
        coordinates : DataFrame with columns x and y, indexed by category, optional
            Where the categories stand; by default `coordinates()`.
        others : mapping from name to EmbeddingSpace, or to a pair of a space and its coordinates, optional
            Further spaces that the reader can change to, of the same categories or of others.
        color : str, optional
            The column of `metadata`, or "count", that colours at first.
        title : str, optional
            By default the name of the space.

        Returns
        -------
        Path
            The file written: some 2.7 bytes for each number of the vectors, and the texts.

        Raises
        ------
        FileNotFoundError
            If the folder does not exist.
        ValueError
            If a space has no categories or more than 50,000, or metadata, coordinates or `color` do not fit.

        Notes
        -----
        The page computes cosines from the unit vectors in 16 bits. They differ from those of `nearest` by about
        0.00001 (four digits are right), so categories closer together than that may change places in a list.

        Examples
        --------
        >>> import tempfile
        >>> space = EmbeddingSpace([[0, 1], [1, 2], [2, 0]], ["a", "b", "c"], counts=[5, 50, 500], name="shop")
        >>> page = space.atlas(tempfile.mkdtemp() + "/shop.html", {"city": {"a": "Bonn", "c": "Oslo"}}, color="city")
        >>> page.name
        'shop.html'
        """
        from tabemb.spaces import atlas

        return atlas.write(path, self, metadata, coordinates, others, color, title)

    @cached_property
    def _unit_vectors(self) -> np.ndarray:
        return unit(self.vectors)

    @cached_property
    def _maps(self) -> dict[exchange.MapKey, np.ndarray]:
        """What `coordinates` has computed, (n_levels, 2) each."""
        return {}

    @cached_property
    def _index(self) -> ApproximateIndex | None:
        """The index that was built or opened last."""
        return None

    def __getstate__(self) -> dict[str, Any]:
        # the unit vectors are soon computed again, and an index belongs to a file of its own
        return {
            name: value for name, value in vars(self).items() if name not in ("_unit_vectors", "_index")
        }

    @property
    def _named_categories(self) -> pd.Index:
        return self.categories.rename(self.name or None)

    def _measured(self, measure: Metric) -> np.ndarray:
        """Return the vectors as this metric compares them."""
        return self._unit_vectors if measure.unit else self.vectors

    def _query(self, category_or_vector: Any) -> tuple[np.ndarray, int]:
        """Return a vector to compare with all, and the position to leave out, -1 for none."""
        position = -1 if _is_vector(category_or_vector) else self._known_position(category_or_vector)
        return self._as_vector(category_or_vector), position

    def _positions(self, categories: Iterable[Hashable] | None) -> np.ndarray:
        if categories is None:
            return np.arange(len(self))
        asked = _as_index(categories, unique=False)
        positions = self.categories.get_indexer(asked)
        for i in np.flatnonzero(
            positions < 0
        ).tolist():  # another kind of missing value, or an unknown category
            positions[i] = self._known_position(asked[i])
        return positions

    def _ranked(self, query: np.ndarray, metric: str, k: int, without: Sequence[int]) -> pd.DataFrame:
        measure = named("metric", metric, METRICS)
        check_k(k)
        query = unit(query) if measure.unit else query
        scores = measure.scores(query[None], self._measured(measure))[0]
        candidates = np.delete(np.arange(len(self)), without)
        order = candidates[first_k(measure.sign * scores[candidates], k)]
        return self._listing(order, measure.column, scores[order])

    def _position(self, category: Any) -> int:
        if pd.api.types.is_scalar(category) and pd.isna(
            category
        ):  # None, NaN and NaT name one missing category
            return int(np.append(np.flatnonzero(self.categories.isna()), -1)[0])
        # tupleize_cols: a tuple is a category here, not the key of several index levels
        return int(self.categories.get_indexer(pd.Index([category], tupleize_cols=False))[0])

    def _known_position(self, category: Hashable) -> int:
        position = self._position(category)
        if position < 0:
            raise KeyError(f"{category!r} is not a category of {self!r}{self._spellings(category)}")
        return position

    def _spellings(self, category: Hashable) -> str:
        frequent = (
            np.arange(len(self)) if self.counts is None else np.argsort(-self.counts, kind="stable")
        )
        spelled = {str(c).casefold(): c for c in self.categories[frequent[:MAX_SPELLINGS]]}
        wanted = str(category).casefold()
        close = difflib.get_close_matches(wanted, spelled, n=3)
        close += [text for text in spelled if wanted and text.startswith(wanted) and text not in close]
        return (
            "; did you mean " + " or ".join(repr(spelled[text]) for text in close[:3]) + "?"
            if close
            else ""
        )

    def _as_vector(self, category_or_vector: Any) -> np.ndarray:
        if not _is_vector(category_or_vector):
            return self[category_or_vector]
        vector = np.asarray(category_or_vector, dtype=np.float32)
        if vector.shape != self.vectors.shape[1:]:
            raise ValueError(
                f"a vector of {self!r} must have shape {self.vectors.shape[1:]}, got {vector.shape}"
            )
        return vector

    def _listing(self, positions: np.ndarray, column: str, scores: np.ndarray) -> pd.DataFrame:
        listing = pd.DataFrame({"category": self.categories[positions], column: scores})
        if self.counts is not None:
            listing["count"] = self.counts[positions]
        return listing


PLANE_METRICS = {name: METRICS[name] for name in ("cosine", "euclidean")}


def _is_vector(category_or_vector: Any) -> bool:
    # a list cannot be a category, for it has no hash; a tuple can
    return isinstance(category_or_vector, np.ndarray | list)


def _as_index(categories: Any, unique: bool = True) -> pd.Index:
    if isinstance(categories, str):
        raise TypeError(f"categories must be a sequence of categories, got the text {categories!r}")
    if isinstance(categories, pa.Array | pa.ChunkedArray):
        categories = categories.to_pylist()
    elif not isinstance(categories, pd.Index | pd.Series | np.ndarray):
        categories = list(categories)
    index = pd.Index(categories, tupleize_cols=False, name=None)
    if isinstance(
        index, pd.CategoricalIndex
    ):  # categories go by value; the codes behind them mean nothing here
        index = index.astype(index.categories.dtype)
    if unique and not index.is_unique:
        raise ValueError(
            f"categories must not repeat, but {index[index.duplicated()][0]!r} occurs more than once"
        )
    return index


def _checked_vectors(vectors: Any, categories: pd.Index) -> np.ndarray:
    checked = np.array(vectors, dtype=np.float32)
    if checked.ndim != 2 or checked.shape[1] == 0:
        raise ValueError(
            f"vectors must have shape (n_levels, d) with d of at least 1, got {checked.shape}"
        )
    if len(checked) != len(categories):
        raise ValueError(
            f"vectors and categories must have one length, got {len(checked)} and {len(categories)}"
        )
    bad = np.flatnonzero(~np.isfinite(checked).all(axis=1))
    if len(bad):
        raise ValueError(f"vectors must be finite; that of {categories[bad[0]]!r} is {checked[bad[0]]}")
    checked.setflags(write=False)  # the unit vectors are cached; a changed vector would make them lie
    return checked


def _checked_counts(counts: Any, categories: pd.Index) -> np.ndarray:
    checked = np.array(counts)
    if checked.shape != categories.shape:
        raise ValueError(
            f"counts must have shape {categories.shape}, one for each category, got {checked.shape}"
        )
    bad = np.flatnonzero(~(checked >= 0))  # also where NaN
    if len(bad):
        raise ValueError(
            f"counts must not be negative or missing; {categories[bad[0]]!r} has {checked[bad[0]]}"
        )
    checked.setflags(write=False)
    return checked
