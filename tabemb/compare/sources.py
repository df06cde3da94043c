"""Where a table comes from: a file, the folder named by TABEMB_DATA, OpenML, or a reader function."""

from __future__ import annotations

import os
import pkgutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd

FOLDER_VARIABLE = "TABEMB_DATA"


def _read_csv(path: Path) -> pd.DataFrame:
    """Read a CSV file; a header without commas but with semicolons or tabs tells that those separate its columns."""
    try:
        header = pd.read_csv(path, nrows=0).columns
    except pd.errors.EmptyDataError:
        raise ValueError(f"path: {str(path)!r} is empty") from None
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
    """Read a table from the first of its sources that is at hand.

    The order is `path`, `reader`, `file` in the folder of the environment variable TABEMB_DATA, `openml`.

    Parameters
    ----------
    name : str
        What error messages call the table.
    path : str or Path, optional
        A parquet or CSV file.
    file : str, optional
        A file name in the folder that the environment variable TABEMB_DATA names (empty counts as unset).
    openml : int or str, optional
        An OpenML id or name; scikit-learn keeps the download in its own data folder.
    reader : str, optional
        `"package.module:function"` without arguments that returns a frame.
    source : str, optional
        Where the table is published, in words for the error message.

    Returns
    -------
    DataFrame

    Raises
    ------
    FileNotFoundError
        If no source is at hand; one line says what to do.
    """
    if path is not None:
        return read_file(Path(path).expanduser())
    if reader is not None:
        frame: pd.DataFrame = pkgutil.resolve_name(reader)()
        return frame
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
        If its ending is neither parquet nor CSV, or there is nothing in it.
    """
    if not path.exists():
        raise FileNotFoundError(f"path: there is no file {str(path)!r}")
    if path.suffix.lower() not in _READERS:
        raise ValueError(f"path: {str(path)!r} must end in one of {sorted(_READERS)}")
    return _READERS[path.suffix.lower()](path)


def _in_data_folder(file: str | None) -> Path | None:
    folder = os.environ.get(FOLDER_VARIABLE)
    return Path(folder) / file if folder and file else None


def _how_to_get(name: str, file: str | None, local: Path | None, source: str | None) -> str:
    if file is None:
        return f"data set {name!r}: give one of path, file, openml or reader"
    place = (
        f"there is no {str(local)!r}"
        if local is not None
        else f"the variable {FOLDER_VARIABLE} is not set"
    )
    hint = f"; published at {source}" if source else ""
    return f"data set {name!r}: {place}; put {file} into the folder that {FOLDER_VARIABLE} names, or pass path{hint}"


def _fetch_openml(name: str, openml: int | str, file: str | None) -> pd.DataFrame:
    from sklearn.datasets import fetch_openml

    query = {"data_id": int(openml)} if str(openml).isdigit() else {"name": openml}
    try:
        frame: pd.DataFrame = fetch_openml(**query, as_frame=True, parser="auto").frame
    except OSError as error:
        wanted = file or f"{name}.parquet"
        raise FileNotFoundError(
            f"data set {name!r}: OpenML {openml!r} could not be reached ({error}); connect to the network, "
            f"or put {wanted} into the folder that {FOLDER_VARIABLE} names"
        ) from error
    return frame


def read_fertility() -> pd.DataFrame:
    """Read the World Bank's births per woman, which the installed statsmodels carries.

    Returns
    -------
    DataFrame
        One row a country (or group of countries) and year with a known value: country, code, year, births.
    """
    from statsmodels.datasets import fertility

    wide = fertility.load_pandas().data
    years = [column for column in wide if column.isdigit()]
    long = wide.rename(columns={"Country Name": "country", "Country Code": "code"}).melt(
        id_vars=["country", "code"], value_vars=years, var_name="year", value_name="births"
    )
    return long.dropna(subset="births").astype({"year": int}).reset_index(drop=True)
