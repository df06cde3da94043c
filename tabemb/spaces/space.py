"""`EmbeddingSpace`, the public class: search, groups, maps and file formats as methods of one object.

The methods here describe arguments and results; the work is done by functions of the other files.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pandas as pd

from tabemb.spaces import atlas, clusters, maps, matching, plane, search
from tabemb.spaces.exchange import PortableVectors
from tabemb.spaces.index import ApproximateIndex

if TYPE_CHECKING:  # matplotlib is an optional package
    from matplotlib.figure import Figure

MAX_EXACT = 100_000**2
"""Most pairs that `neighbors` compares one by one by default."""


class EmbeddingSpace(PortableVectors):
    """Search, export and draw the vectors of one embedding table by category.

    Parameters
    ----------
    vectors : array-like of shape (n_levels, d)
        One finite vector for each category; kept as a read-only float32 copy.
    categories : sequence of n_levels hashables
        A list, numpy array, pandas Index, Series, Categorical or Arrow array, in the order of `vectors`.
    counts : array-like of shape (n_levels,), optional
        Training rows (or their weight) of each category.
    name : str, default=""
        The subject of the space, such as its column; it names exported columns.

    Attributes
    ----------
    vectors : ndarray of shape (n_levels, d)
    categories : pandas.Index of length n_levels
    counts : ndarray of shape (n_levels,) or None
    name : str
    unit_vectors : ndarray of shape (n_levels, d)
        The vectors scaled to length one.
    maps : dict from (method, metric, random_state) to ndarray of shape (n_levels, 2)
        The coordinates computed so far.

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
    EmbeddingSpace('city', 3 categories, 2 dimensions)
    >>> space["bergen"]
    array([2., 1.], dtype=float32)
    >>> space.nearest("oslo", k=1)
      category  similarity  count
    0   bergen    0.894427     20
    """

    def nearest(self, category: Any, k: int = 10, metric: str = "cosine") -> pd.DataFrame:
        """Return the categories whose vectors lie nearest, the nearest first.

        Parameters
        ----------
        category : hashable, or ndarray or list of d numbers
            A category of the space, which is left out of the result, or any vector, such as
            ``space["a"] - space["b"] + space["c"]``.
        k : int, default=10
            Number of categories to return; all of them if the space holds fewer.
        metric : {"cosine", "euclidean", "dot"}, default="cosine"
            "cosine" compares directions only; a vector of zeros has cosine 0 with every vector.

        Returns
        -------
        pandas.DataFrame
            Columns `category`, `similarity` (`distance` for "euclidean") and, where the space has
            counts, `count`. Ties keep the order of the space.

        Raises
        ------
        KeyError
            If the category is unknown; the message names close spellings.
        ValueError
            If the metric, `k` or the shape of the vector is not allowed.

        Examples
        --------
        >>> space = EmbeddingSpace([[0, 0], [3, 4], [0, 1]], ["a", "b", "c"])
        >>> space.nearest("a", metric="euclidean")
          category  distance
        0        c       1.0
        1        b       5.0
        """
        return search.nearest(self, category, k, metric)

    def analogy(self, a: Any, b: Any, c: Any, k: int = 10) -> pd.DataFrame:
        """Return the categories that complete "a is to b as ... is to c", those nearest to a - b + c.

        The vectors are scaled to length one first, and the three are left out of the result (3CosAdd:
        Mikolov, Yih & Zweig 2013, https://aclanthology.org/N13-1090/).

        Parameters
        ----------
        a, b, c : hashable
            Categories of the space.
        k : int, default=10
            Number of categories to return; all but the three if there are fewer.

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
        return search.analogy(self, a, b, c, k)

    def neighbors(
        self,
        categories: Iterable[Hashable] | None = None,
        k: int = 10,
        metric: str = "cosine",
        approximate: bool | None = None,
    ) -> pd.DataFrame:
        """Return the categories nearest to each of many; memory grows linearly with their number.

        Parameters
        ----------
        categories : sequence of hashables, optional
            All of the space by default.
        k : int, default=10
            Number of neighbours of each; all other categories if the space holds fewer.
        metric : {"cosine", "euclidean", "dot"}, default="cosine"
            As for `nearest`.
        approximate : bool, optional
            Whether to search an `ApproximateIndex`, by cosine only: the one that `index` built or
            `open_index` opened last, or a new one. By default only where the exact search would compare
            more than 100,000 times 100,000 pairs.

        Returns
        -------
        pandas.DataFrame
            Columns `category`, `rank` (from 1), `neighbor` and `similarity` (`distance` for
            "euclidean").

        Raises
        ------
        KeyError
            If a category is unknown; the message names close spellings.
        ValueError
            If the metric or `k` is not allowed, or an approximate search has another metric than
            "cosine".

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
            return search.neighbors(self, positions, k, metric)
        if metric != "cosine":
            raise ValueError(f"metric must be 'cosine' for an approximate search; got {metric!r}.")
        return (self._index or self.index()).neighbors(self.categories[positions], k)

    def index(self, path: str | Path | None = None) -> ApproximateIndex:
        """Build an approximate index of the space by cosine, for more than some 100,000 categories.

        `neighbors` uses the index that was built or opened last. `ApproximateIndex` lists the searches
        that are approximate. Needs usearch: ``pip install 'tabemb[index]'``.

        Parameters
        ----------
        path : str or path-like, optional
            File to write the index to; `open_index` opens it.

        Returns
        -------
        ApproximateIndex
            Has the methods `nearest` and `neighbors`.

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
        """Open an index that `index` wrote for this space; a search reads only the parts it needs.

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

    @cached_property
    def _index(self) -> ApproximateIndex | None:
        return None

    def __getstate__(self) -> dict[str, Any]:
        # an index is saved in a file of its own, by `index`
        return {name: value for name, value in super().__getstate__().items() if name != "_index"}

    def clusters(self, n_clusters: int, random_state: int | None = 0) -> pd.DataFrame:
        """Group categories of similar direction by k-means on the vectors scaled to length one.

        Parameters
        ----------
        n_clusters : int
        random_state : int or None, default=0
            Seed of the first centres.

        Returns
        -------
        pandas.DataFrame
            Columns `cluster`, from 0, and `similarity`, the cosine with the centre of the cluster;
            indexed by category. The largest cluster comes first, and in each the category nearest to its
            centre.

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

    def match(self, categories: Any, counts: Any = None) -> matching.Match[Self]:
        """Look up wanted categories, such as those of a column, and report which have a vector.

        This prepares vectors made elsewhere, such as published word vectors, for
        ``Table(pretrained=...)``. A category is matched by value, then by its text, then by its text
        without regard to case, underscores and outer blanks.

        Parameters
        ----------
        categories : sequence of hashables
            The categories wanted. One that repeats, as in a column of data, counts that often.
        counts : array-like of the same length, optional
            Weight of each.

        Returns
        -------
        Match
            ``space``: the wanted categories that have a vector; ``table``: how each was matched;
            ``share`` and ``share_of_rows``: how many were. It prints as a report.

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

    def coordinates(
        self, method: str = "tsne", metric: str = "cosine", random_state: int | None = 0
    ) -> pd.DataFrame:
        """Return coordinates in a plane in which categories with similar vectors are near.

        The space keeps them in `maps`, and `to_parquet` writes them.

        Parameters
        ----------
        method : {"tsne", "umap", "pca"}, default="tsne"
            "tsne" keeps neighbourhoods (van der Maaten & Hinton 2008; needs openTSNE,
            ``pip install 'tabemb[maps]'``), and so does "umap" (McInnes, Healy & Melville 2018; needs
            ``pip install 'tabemb[umap]'``, and cannot run after a fork of a process that has run it);
            "pca" keeps the two directions of largest variance. Fewer than five categories have no
            neighbourhoods to keep, and "pca" places them.
        metric : {"cosine", "euclidean"}, default="cosine"
            The metric of similarity; "cosine", as in `nearest`, ignores the length of the vectors.
        random_state : int or None, default=0
            Seed of UMAP. t-SNE starts from PCA and uses no random numbers.

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
        return plane.coordinates(self, method, metric, random_state)

    def place(
        self, new: Any, method: str = "tsne", metric: str = "cosine", random_state: int | None = 0
    ) -> pd.DataFrame:
        """Return coordinates of new vectors on the map of `coordinates`, which stays as it is.

        Each new vector is placed alone, next to its nearest categories.

        Parameters
        ----------
        new : EmbeddingSpace, or array-like of shape (n, d)
            Vectors comparable with those of the space, such as those of a later model that started from
            it.
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
        return plane.place(self, new, method, metric, random_state)

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
        """Draw the categories as a labelled map, a matplotlib figure.

        Frequent categories have larger points and are labelled first. A label that would cover a point
        or another label stands further away, at the end of a thin line, or is dropped. Needs matplotlib:
        ``pip install 'tabemb[maps]'``.

        Parameters
        ----------
        color : Series or mapping from category to value, or sequence of n_levels values, optional
            Numbers are drawn on a colour scale, other values as classes with a legend. A Series names
            the scale.
        label : Series or mapping from category to text, or sequence of n_levels texts, optional
            By default the categories themselves. Categories missing from a mapping get no label.
        method, metric, random_state
            As for `coordinates`.
        highlight : sequence of categories, default=()
            Labelled first and in bold.
        n_labels : int, default=300
            Most labels that are tried; 0 draws none.
        title : str, optional
            By default the name of the space.
        figsize : tuple of float, default=(11.0, 8.0)
            Width and height in inches.

        Returns
        -------
        matplotlib.figure.Figure
            Not registered with pyplot, so nothing needs closing; its `savefig` writes it.

        Examples
        --------
        >>> counts = [5, 50, 500]
        >>> space = EmbeddingSpace([[0, 1], [1, 2], [2, 0]], ["a", "b", "c"], counts, name="shop")
        >>> figure = space.map(color={"a": 1.5, "b": 0.2, "c": 0.9}, method="pca")
        >>> figure.axes[0].get_title(loc="left")
        'shop'
        """
        points = self.coordinates(method, metric, random_state).to_numpy()
        positions = [self.position(category) for category in highlight]
        return maps.draw(self, points, color, label, positions, n_labels, title, figsize)

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
        """Write an HTML page in which a reader explores the space; it is one file and needs no network.

        The page draws the categories as a map. A reader can search, list the nearest of a category,
        compare two, colour, filter, select and copy as CSV, by mouse, keyboard or touch.

        Parameters
        ----------
        path : str or Path
            The file to write; its folder must exist.
        metadata : DataFrame or mapping from name to Series, indexed by category, optional
            Columns that the page shows for a category. Numbers and dates colour on a scale, other values
            as classes, the seven most frequent apart; texts that nearly all differ do not colour. A
            category without metadata has missing values. The counts of the space are shown too.
        coordinates : DataFrame with columns x and y, indexed by category, optional
            By default the result of `coordinates`.
        others : mapping from name to EmbeddingSpace or to (EmbeddingSpace, coordinates), optional
            Further spaces that the reader can change to, of the same categories or of other ones.
        color : str, optional
            The column of `metadata`, or "count", by which the page colours at first.
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
            If a space has no categories or more than 50,000, or another argument does not fit.

        Notes
        -----
        The page computes cosines from unit vectors of 16 bits. They differ from those of `nearest` by
        about 0.00001, so categories whose similarities differ by less may change places in a list.

        Examples
        --------
        >>> import tempfile
        >>> counts, path = [5, 50, 500], tempfile.mkdtemp() + "/shop.html"
        >>> space = EmbeddingSpace([[0, 1], [1, 2], [2, 0]], ["a", "b", "c"], counts, name="shop")
        >>> space.atlas(path, {"city": {"a": "Bonn", "c": "Oslo"}}, color="city").name
        'shop.html'
        """
        return atlas.write(path, self, metadata, coordinates, others, color, title)
