"""Sources of a table: a frame, a file, the folder named by TABEMB_DATA, OpenML, or a reader function."""

from __future__ import annotations

import os
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

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
    table = frame.reset_index(drop=True) if isinstance(frame, pd.DataFrame) else _from_arrow(frame)
    table = table.set_axis([str(column) for column in table.columns], axis=1)
    if not table.columns.is_unique:
        twice = table.columns[table.columns.duplicated()][0]
        raise ValueError(f"frame must have unique column names; it has several columns {twice!r}.")
    if table.empty:
        raise ValueError(f"frame must have rows and columns; its shape is {table.shape}.")
    return table


def _from_arrow(frame: Any) -> pd.DataFrame:
    table = to_arrow(frame)
    # pandas would keep decimals as objects, which are categories, and dates as objects too
    fields = [
        field.with_type(pa.float64()) if pa.types.is_decimal(field.type) else field
        for field in table.schema
    ]
    plain: pd.DataFrame = table.cast(pa.schema(fields)).to_pandas(date_as_object=False)
    return plain


def _read_csv(path: Path) -> pd.DataFrame:
    """Read a CSV file; a header without commas may be separated by semicolons or tabs."""
    try:
        header = pd.read_csv(path, nrows=0).columns
    except pd.errors.EmptyDataError:
        raise ValueError(f"path: the file {str(path)!r} is empty.") from None
    marks = [mark for mark in ";\t" if len(header) == 1 and mark in header[0]]
    return pd.read_csv(path, sep=marks[0] if marks else ",")


_READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".parquet": pd.read_parquet,
    ".pq": pd.read_parquet,
    ".csv": _read_csv,
    ".gz": _read_csv,
}


def read_table(
    name: str,
    path: str | Path | None = None,
    file: str | None = None,
    openml: int | str | None = None,
    reader: str | None = None,
    source: str | None = None,
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

    Returns
    -------
    DataFrame

    Raises
    ------
    FileNotFoundError
        If no source exists; the message says which file goes where.
    """
    if path is not None:
        return read_file(Path(path).expanduser())
    if reader is not None:
        frame: pd.DataFrame = pkgutil.resolve_name(reader)()
        return frame
    # a local copy comes before a download
    local = _in_data_folder(file)
    if local is not None and local.exists():
        return read_file(local)
    if openml is not None:
        return _fetch_openml(name, openml, file)
    raise FileNotFoundError(_how_to_get(name, file, local, source))


def read_file(path: Path) -> pd.DataFrame:
    """Read one parquet or CSV file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If its ending is neither parquet nor CSV, or the file is empty.
    """
    if not path.exists():
        raise FileNotFoundError(f"path: there is no file {str(path)!r}.")
    if path.suffix.lower() not in _READERS:
        raise ValueError(f"path must end in one of {', '.join(_READERS)}; got {str(path)!r}.")
    return _READERS[path.suffix.lower()](path)


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
    """Read the World Bank's births per woman, which the installed statsmodels carries.

    Returns
    -------
    DataFrame
        One row a country (or group of countries) and year with a known value: country, code, year,
        births.
    """
    need("statsmodels", "compare")
    from statsmodels.datasets import fertility

    wide = fertility.load_pandas().data
    years = [column for column in wide if column.isdigit()]
    long: pd.DataFrame = wide.rename(columns={"Country Name": "country", "Country Code": "code"}).melt(
        id_vars=["country", "code"], value_vars=years, var_name="year", value_name="births"
    )
    return long.dropna(subset="births").astype({"year": int}).reset_index(drop=True)
