"""Methods to export a space to the frames, files and tables of other tools, and to import it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import pandas as pd

from tabemb.spaces import arrow_formats, text_formats
from tabemb.spaces.versions import VersionedVectors


class PortableVectors(VersionedVectors):
    """Category vectors that can be written to, and read from, the formats of other tools.

    `EmbeddingSpace` is the public class; it adds search and maps.
    """

    def to_frame(self) -> pd.DataFrame:
        """Return the vectors as a frame with one row for each category.

        The columns are `{name}_0`, `{name}_1`, ..., and `vector_0`, ... for a space without a name. The
        counts and the reliability are not included: `from_frame` takes them as separate arguments.

        Examples
        --------
        >>> from tabemb.spaces import EmbeddingSpace
        >>> EmbeddingSpace([[1, 2], [3, 4]], ["a", "b"], name="shop").to_frame()
              shop_0  shop_1
        shop
        a        1.0     2.0
        b        3.0     4.0
        """
        return arrow_formats.to_frame(self)

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, counts: Any = None, reliability: Any = None) -> Self:
        """Build a space from a frame with one row for each category, such as `to_frame` returns.

        Parameters
        ----------
        frame : pandas.DataFrame of shape (n_levels, d)
            Columns of numbers, indexed by category; the name of the index becomes that of the space.
        counts, reliability : array-like of shape (n_levels,), optional
            One value for each category, in the order of the frame.

        Raises
        ------
        ValueError
            If a column does not contain numbers, or counts or reliability are invalid.

        Examples
        --------
        >>> from tabemb.spaces import EmbeddingSpace
        >>> frame = EmbeddingSpace([[1, 2], [3, 4]], ["a", "b"], name="shop").to_frame()
        >>> EmbeddingSpace.from_frame(frame)
        EmbeddingSpace('shop', 2 categories, 2 dimensions, reliability not known)
        """
        return cls(*arrow_formats.from_frame(frame, counts, reliability))

    def to_parquet(self, path: str | Path) -> None:
        """Write a Parquet file with the columns `category` and `vector`.

        If known, the columns `count` and `reliability` follow. A vector is a list of d floats. The
        ancestry and the maps computed by `coordinates` are written too, each map as a column
        `map_{method}_{metric}_{seed}` with two floats per row. If the categories have no common Arrow
        type (numbers mixed with text, intervals, tuples), `category` contains them as text, and a column
        `category_json` contains them as JSON, from which `from_parquet` restores their types.

        Parameters
        ----------
        path : str or path-like
            An existing file is replaced.

        Raises
        ------
        TypeError
            If a category cannot be written as JSON, such as an enum member; the error names it.

        Examples
        --------
        >>> import tempfile
        >>> from tabemb.spaces import EmbeddingSpace
        >>> path = tempfile.mkdtemp() + "/shop.parquet"
        >>> EmbeddingSpace([[1, 2], [3, 4]], ["a", "b"], name="shop").to_parquet(path)
        >>> EmbeddingSpace.from_parquet(path)["b"]
        array([3., 4.], dtype=float32)
        """
        arrow_formats.write_parquet(self, path)

    @classmethod
    def from_parquet(cls, path: str | Path) -> Self:
        """Read a space written by `to_parquet`, with its counts, reliability, name and maps.

        Parameters
        ----------
        path : str or path-like

        Raises
        ------
        ValueError
            If the file has no `category` or no `vector` column.

        Examples
        --------
        >>> import tempfile
        >>> from tabemb.spaces import EmbeddingSpace
        >>> path = tempfile.mkdtemp() + "/shop.parquet"
        >>> EmbeddingSpace([[1, 2], [3, 4]], ["a", "b"], counts=[7, 9], name="shop").to_parquet(path)
        >>> EmbeddingSpace.from_parquet(path)
        EmbeddingSpace('shop', 2 categories, 2 dimensions, reliability not known)
        """
        parts, maps = arrow_formats.read_parquet(path)
        space = cls(*parts)
        space.maps.update(maps)
        return space

    def to_word2vec(
        self, path: str | Path, binary: bool = False, counts_path: str | Path | None = None
    ) -> None:
        """Write the word2vec format, text or binary, which gensim's ``load_word2vec_format`` reads.

        Categories are written as text. A blank ends a word in this format, so blanks and line breaks in
        a category become underscores, as in the published word2vec vectors. The format cannot store
        reliability.

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
        >>> from tabemb.spaces import EmbeddingSpace
        >>> path = Path(tempfile.mkdtemp()) / "city.txt"
        >>> EmbeddingSpace([[1, 0.5], [3, 4]], ["oslo", "new york"]).to_word2vec(path)
        >>> print(path.read_text())
        2 2
        oslo 1.0 0.5
        new_york 3.0 4.0
        """
        text_formats.write_word2vec(self, path, binary, counts_path)

    @classmethod
    def from_word2vec(
        cls, path: str | Path, binary: bool = False, counts_path: str | Path | None = None
    ) -> Self:
        """Read a file in the word2vec format, such as published word vectors.

        The name of the file becomes that of the space.

        Parameters
        ----------
        path : str or path-like
        binary : bool, default=False
        counts_path : str or path-like, optional
            A second file with the count of each word, gensim's ``fvocab``.

        Raises
        ------
        ValueError
            If the file does not have this format, or the width of a line differs from the first line's.

        Examples
        --------
        >>> import tempfile
        >>> from tabemb.spaces import EmbeddingSpace
        >>> path = tempfile.mkdtemp() + "/city.bin"
        >>> EmbeddingSpace([[1, 2], [3, 4]], ["oslo", "new york"]).to_word2vec(path, binary=True)
        >>> EmbeddingSpace.from_word2vec(path, binary=True)["new_york"]
        array([3., 4.], dtype=float32)
        """
        return cls(*text_formats.read_word2vec(path, binary, counts_path))

    def to_projector(self, folder: str | Path, metadata: pd.DataFrame | None = None) -> None:
        """Write `vectors.tsv`, `metadata.tsv` and `projector_config.pbtxt` for TensorBoard's projector.

        ``tensorboard --logdir folder`` shows them, and https://projector.tensorflow.org loads the first
        two. The metadata contain the categories as text, with tabs and line breaks replaced by blanks,
        and the columns `count` and `reliability` if the space has them.

        Parameters
        ----------
        folder : str or path-like
            Created if it does not exist.
        metadata : pandas.DataFrame, optional
            Further columns of metadata, indexed by category; a category without a row has empty cells.

        Raises
        ------
        ValueError
            If two categories would be written as the same text, or no label in the index of `metadata`
            is a category.

        Examples
        --------
        >>> import tempfile
        >>> from tabemb.spaces import EmbeddingSpace
        >>> folder = Path(tempfile.mkdtemp())
        >>> EmbeddingSpace([[1, 2], [3, 4]], ["oslo", "new york"], counts=[7, 9]).to_projector(folder)
        >>> print((folder / "metadata.tsv").read_text().expandtabs(10))
        category  count
        oslo      7
        new york  9
        """
        text_formats.write_projector(self, folder, metadata)

    @classmethod
    def from_projector(cls, folder: str | Path) -> Self:
        """Read the files written by `to_projector`; the categories are text.

        Parameters
        ----------
        folder : str or path-like

        Raises
        ------
        ValueError
            If the vectors differ in width, or there are more or fewer vectors than rows of metadata.

        Examples
        --------
        >>> import tempfile
        >>> from tabemb.spaces import EmbeddingSpace
        >>> folder = tempfile.mkdtemp()
        >>> EmbeddingSpace([[1, 2], [3, 4]], ["oslo", "new york"], name="city").to_projector(folder)
        >>> EmbeddingSpace.from_projector(folder)
        EmbeddingSpace('city', 2 categories, 2 dimensions, reliability not known)
        """
        return cls(*text_formats.read_projector(folder))

    def to_duckdb(self, database: Any, table: str) -> None:
        """Create a DuckDB table with the columns `category` and `vector`.

        If known, the columns `count` and `reliability` follow. The vectors have the type FLOAT[d],
        which DuckDB's `array_cosine_distance` accepts; that function ignores the reliability.
        Needs duckdb: ``pip install 'tabemb[duckdb]'``.

        Parameters
        ----------
        database : duckdb.DuckDBPyConnection, str or path-like
            An open connection, or a file, which is created if it does not exist.
        table : str
            Name of the table.

        Raises
        ------
        ValueError
            If there is already a table with this name; it is not replaced.
        TypeError
            As for `to_parquet`.

        Examples
        --------
        >>> import duckdb
        >>> from tabemb.spaces import EmbeddingSpace
        >>> connection = duckdb.connect()
        >>> space = EmbeddingSpace([[1, 0], [2, 1], [0, 3]], ["oslo", "bergen", "cairo"])
        >>> space.to_duckdb(connection, "city")
        >>> order = "array_cosine_distance(vector, [1, 0]::FLOAT[2])"
        >>> connection.execute(f"SELECT category FROM city ORDER BY {order}").fetchall()
        [('oslo',), ('bergen',), ('cairo',)]
        """
        arrow_formats.write_duckdb(self, database, table)

    @classmethod
    def from_duckdb(cls, database: Any, table: str) -> Self:
        """Read a table with the columns `category`, `vector` and optionally `count` and `reliability`.

        The name of the table becomes that of the space. Needs duckdb: ``pip install 'tabemb[duckdb]'``.

        Parameters
        ----------
        database : duckdb.DuckDBPyConnection, str or path-like
            An open connection, or a file.
        table : str

        Raises
        ------
        ValueError
            If there is no such table, or a column is missing.

        Examples
        --------
        >>> import duckdb
        >>> from tabemb.spaces import EmbeddingSpace
        >>> connection = duckdb.connect()
        >>> EmbeddingSpace([[1, 2], [3, 4]], ["oslo", "cairo"]).to_duckdb(connection, "city")
        >>> EmbeddingSpace.from_duckdb(connection, "city")["cairo"]
        array([3., 4.], dtype=float32)
        """
        return cls(*arrow_formats.read_duckdb(database, table))
