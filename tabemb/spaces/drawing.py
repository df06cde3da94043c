"""Maps and atlas pages of a space as methods; the work is done by functions of the other files."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from tabemb.spaces import atlas, maps, plane
from tabemb.spaces.exchange import PortableVectors

if TYPE_CHECKING:  # matplotlib is an optional package
    from matplotlib.figure import Figure


class DrawnVectors(PortableVectors):
    """Vectors with coordinates, pictures and pages; `EmbeddingSpace` is the public class."""

    def coordinates(
        self, method: str = "tsne", metric: str = "cosine", random_state: int | None = 0
    ) -> pd.DataFrame:
        """Return coordinates in a plane in which categories with similar vectors are close.

        The space keeps them in `maps`, and `to_parquet` writes them.

        Parameters
        ----------
        method : {"tsne", "umap", "pca"}, default="tsne"
            "tsne" keeps neighbourhoods (van der Maaten & Hinton 2008; needs openTSNE,
            ``pip install 'tabemb[maps]'``). "umap" keeps them too (McInnes, Healy & Melville 2018;
            needs ``pip install 'tabemb[umap]'``). It cannot run in a process forked from one that has
            run it. "pca" keeps the two directions of largest variance. It also places fewer than five
            categories, which have no neighbourhoods to keep.
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
        >>> from tabemb.spaces import EmbeddingSpace
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
        """Return coordinates of new vectors on the map of `coordinates`, which does not change.

        Each new vector is placed independently of the others, next to its nearest categories.

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
            Columns `x` and `y`, indexed by category if `new` is a space.

        Raises
        ------
        ValueError
            If the width of the vectors differs from that of the space.

        Examples
        --------
        >>> from tabemb.spaces import EmbeddingSpace
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

        Frequent categories have larger points and are labelled first. If the space has reliability,
        unreliable points are fainter and smaller, reliable categories are labelled first, and a legend
        and a sentence below the map say how far to trust it. A label that would cover a point or another
        label is drawn further away, at the end of a thin line, or is dropped. Needs matplotlib:
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
            Categories to label first and in bold.
        n_labels : int, default=300
            Maximum number of labels; 0 draws none.
        title : str, optional
            By default the name of the space.
        figsize : tuple of float, default=(11.0, 8.0)
            Width and height in inches.

        Returns
        -------
        matplotlib.figure.Figure
            It is not registered with pyplot, so it need not be closed; `savefig` writes it to a file.

        Examples
        --------
        >>> from tabemb.spaces import EmbeddingSpace
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
        """Write an HTML page to explore the space; it is one file and needs no network.

        The page draws the categories as a map. A reader can search, list the nearest categories of one,
        compare two, colour, filter, select and copy as CSV, by mouse, keyboard or touch.

        Parameters
        ----------
        path : str or Path
            The file to write; its folder must exist.
        metadata : DataFrame or mapping from name to Series, indexed by category, optional
            Columns that the page shows for a category. Numbers and dates are coloured on a scale, other
            values as classes, with a separate colour for each of the seven most frequent. Text columns
            in which nearly all values differ cannot be used as colours. A category without metadata has
            missing values. The counts and the reliability of the space are shown too.
        coordinates : DataFrame with columns x and y, indexed by category, optional
            By default the result of `coordinates`.
        others : mapping from name to EmbeddingSpace or to (EmbeddingSpace, coordinates), optional
            Further spaces that the reader can switch to, with the same or with other categories.
        color : str, optional
            The column of `metadata`, "count" or "reliability", by which the page colours at first.
        title : str, optional
            By default the name of the space.

        Returns
        -------
        Path
            The file written. Its size is about 2.7 bytes for each number in the vectors, plus the texts.

        Raises
        ------
        FileNotFoundError
            If the folder does not exist.
        ValueError
            If a space has no categories or more than 200,000, or another argument is invalid.

        Notes
        -----
        If the space has reliability, unreliable points are fainter and smaller, the lists are those of
        `nearest`, and a slider hides less reliable categories. The page computes cosines from 16-bit
        unit vectors. They differ from those of `nearest` by about 0.00001, so categories whose
        similarities differ by less may change places in a list.

        Examples
        --------
        >>> from tabemb.spaces import EmbeddingSpace
        >>> import tempfile
        >>> counts, path = [5, 50, 500], tempfile.mkdtemp() + "/shop.html"
        >>> space = EmbeddingSpace([[0, 1], [1, 2], [2, 0]], ["a", "b", "c"], counts, name="shop")
        >>> space.atlas(path, {"city": {"a": "Bonn", "c": "Oslo"}}, color="city").name
        'shop.html'
        """
        return atlas.write(path, self, metadata, coordinates, others, color, title)
