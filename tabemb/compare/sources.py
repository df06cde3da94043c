"""Sources of data: a frame, a file, the folder named by TABEMB_DATA, OpenML, or a reader function."""

from __future__ import annotations

import os
import pkgutil
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from pandas.api import types

from tabemb.compare.text_files import TextOptions, read_text_file
from tabemb.data.frames import is_frame, to_arrow
from tabemb.extras import need

FOLDER_VARIABLE = "TABEMB_DATA"


def as_pandas(frame: Any) -> pd.DataFrame:
    """Turn a frame of any library into pandas, with row numbers as index and text as column names.

    Parameters
    ----------
    frame : DataFrame of pandas, polars or any library that narwhals reads, or pyarrow.Table

    Returns
    -------
    DataFrame

    Raises
    ------
    TypeError
        If it is not a frame.
    ValueError
        If two columns have the same name, or there is no row.
    """
    if not is_frame(frame):
        kind = type(frame).__name__
        raise TypeError(f"frame must be a pandas, polars or pyarrow frame; got a {kind}.")
    table = _from_pandas(frame) if isinstance(frame, pd.DataFrame) else _from_arrow(to_arrow(frame))
    table = table.set_axis([str(column) for column in table.columns], axis=1)
    if not table.columns.is_unique:
        twice = table.columns[table.columns.duplicated()][0]
        raise ValueError(f"frame must have unique column names; it has several columns {twice!r}.")
    if table.empty:
        raise ValueError(f"frame must have rows and columns; its shape is {table.shape}.")
    return table


def _from_pandas(frame: pd.DataFrame) -> pd.DataFrame:
    """Convert objects that are numbers or times to such dtypes, so that all models read the same."""
    table = frame.reset_index(drop=True)
    for position, dtype in enumerate(table.dtypes):
        if types.is_object_dtype(dtype):
            plain = _plain_objects(table.iloc[:, position])
            table = table if plain is None else _replaced(table, position, plain)
        elif isinstance(dtype, pd.PeriodDtype):
            table = _replaced(table, position, table.iloc[:, position].dt.to_timestamp())
    return table


def _plain_objects(column: pd.Series) -> pd.Series | None:
    try:
        values = pa.Array.from_pandas(column)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError, TypeError):
        return None
    kinds = (pa.types.is_decimal, pa.types.is_time, pa.types.is_date)
    if not any(is_kind(values.type) for is_kind in kinds):
        return None
    return _from_arrow(pa.table({"column": values}))["column"]


def _replaced(table: pd.DataFrame, position: int, column: pd.Series) -> pd.DataFrame:
    # by position, as names may not be unique yet
    columns = [column if i == position else table.iloc[:, i] for i in range(table.shape[1])]
    return pd.concat(columns, axis=1).set_axis(table.columns, axis=1)


def _from_arrow(table: pa.Table) -> pd.DataFrame:
    # pandas would keep decimals, dates and times of day as objects, which are read as categories
    columns = [_plain_column(column) for column in table.columns]
    plain: pd.DataFrame = pa.table(columns, names=table.schema.names).to_pandas(date_as_object=False)
    return plain


def _plain_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    dtype = column.type
    if pa.types.is_decimal(dtype):
        return column.cast(pa.float64())
    if pa.types.is_time(dtype):
        # Arrow has no direct cast from a time of day to a duration
        return column.cast(f"int{dtype.bit_width}").cast(pa.int64()).cast(pa.duration(dtype.unit))
    return column


def _read_parquet(path: Path) -> pd.DataFrame:
    """Read a parquet file; an index with a name is a column."""
    try:
        frame = pd.read_parquet(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise ValueError(f"path: {str(path)!r} is no readable parquet file ({reason}).") from None
    names = [name for name in frame.index.names if name is not None]
    return frame.reset_index(names) if names else frame


_PARQUET = (".parquet", ".pq")
_TEXT = (".csv", ".tsv", ".tab", ".txt", ".gz")


def read_table(
    name: str,
    path: str | Path | None = None,
    file: str | None = None,
    openml: int | str | None = None,
    reader: str | None = None,
    source: str | None = None,
    text: TextOptions | None = None,
) -> pd.DataFrame:
    """Read a table from the first of its sources that exists.

    The order is `path`, `reader`, `file` in the folder of the environment variable TABEMB_DATA,
    `openml`.

    Parameters
    ----------
    name : str
        The name of the table in error messages.
    path : str or Path, optional
        A parquet or CSV file.
    file : str, optional
        A file name in the folder that the environment variable TABEMB_DATA names (empty counts as
        unset).
    openml : int or str, optional
        An OpenML id or name; scikit-learn keeps the download in its data folder.
    reader : str, optional
        `"package.module:function"` without arguments that returns a frame.
    source : str, optional
        Where the table is published, for the error message.
    text : TextOptions, optional
        How a text file is read.

    Returns
    -------
    DataFrame

    Raises
    ------
    FileNotFoundError
        If no source exists; the message says which file goes where.
    """
    if path is not None:
        return read_file(Path(path).expanduser(), text)
    if reader is not None:
        refuse_text_options(text, f"reader {reader!r}")
        frame: pd.DataFrame = pkgutil.resolve_name(reader)()
        return frame
    # a local copy is preferred to a download
    local = _in_data_folder(file)
    if local is not None and local.exists():
        return read_file(local, text)
    if openml is not None:
        refuse_text_options(text, f"OpenML {openml!r}")
        return _fetch_openml(name, openml, file)
    raise FileNotFoundError(_how_to_get(name, file, local, source))


def read_file(path: Path, text: TextOptions | None = None) -> pd.DataFrame:
    """Read one parquet or text file.

    Parameters
    ----------
    path : Path
    text : TextOptions, optional
        How a text file is read.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If its extension is neither that of parquet nor of text, or it cannot be read.
    """
    if not path.exists():
        raise FileNotFoundError(f"path: there is no file {str(path)!r}.")
    suffix = path.suffix.lower()
    if suffix in _PARQUET:
        refuse_text_options(text, f"the parquet file {str(path)!r}")
        return _read_parquet(path)
    if suffix in _TEXT:
        return read_text_file(path, text)
    raise ValueError(f"path must end in one of {', '.join(_PARQUET + _TEXT)}; got {str(path)!r}.")


def refuse_text_options(text: TextOptions | None, owner: str) -> None:
    """Refuse an option of text files for another source, which would ignore it."""
    if text is not None and text.given:
        raise ValueError(f"{text.given[0]} is an option of text files; {owner} is none.")


def _in_data_folder(file: str | None) -> Path | None:
    folder = os.environ.get(FOLDER_VARIABLE)
    return Path(folder) / file if folder and file else None


def _how_to_get(name: str, file: str | None, local: Path | None, source: str | None) -> str:
    if file is None:
        return f"data set {name!r} must have one of path, file, openml or reader; it has none."
    missing = (
        f"there is no {str(local)!r}"
        if local is not None
        else f"the variable {FOLDER_VARIABLE} is not set"
    )
    hint = f" (published at {source})" if source else ""
    return (
        f"data set {name!r}: {missing}; put {file}{hint} into the folder that {FOLDER_VARIABLE} names, "
        "or pass path."
    )


def _fetch_openml(name: str, openml: int | str, file: str | None) -> pd.DataFrame:
    from sklearn.datasets import fetch_openml

    query = {"data_id": int(openml)} if str(openml).isdigit() else {"name": openml}
    try:
        frame: pd.DataFrame = fetch_openml(**query, as_frame=True, parser="auto").frame
    except OSError as error:
        local = file or f"{name}.parquet"
        raise FileNotFoundError(
            f"data set {name!r}: OpenML {openml!r} could not be reached ({error}); "
            f"connect to the network, or put {local} into the folder that {FOLDER_VARIABLE} names."
        ) from error
    return frame


def read_fertility() -> pd.DataFrame:
    """Read the World Bank's births per woman from the installed statsmodels.

    Returns
    -------
    DataFrame
        One row per country (or group of countries) and year with a known value: country, code,
        year, births.
    """
    need("statsmodels", "compare")
    from statsmodels.datasets import fertility

    wide = fertility.load_pandas().data
    years = [column for column in wide if column.isdigit()]
    long: pd.DataFrame = wide.rename(columns={"Country Name": "country", "Country Code": "code"}).melt(
        id_vars=["country", "code"], value_vars=years, var_name="year", value_name="births"
    )
    return long.dropna(subset="births").astype({"year": int}).reset_index(drop=True)
