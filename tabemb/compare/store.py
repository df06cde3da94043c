"""Results on disk: one small parquet file per finished cell, so runs add up and can be resumed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

# the columns that a result depends on; every other column of a cell is the result
IDENTITY = ("dataset", "fingerprint", "model", "code", "protocol", "rows", "fold", "seed", "n_jobs")


def cell_key(identity: Mapping[str, Any]) -> str:
    """Hash the columns that a result depends on: data, model, settings, code, rows, seed and threads."""
    text = json.dumps({name: identity[name] for name in IDENTITY}, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def cell_name(identity: Mapping[str, Any]) -> str:
    """Join the values of an identity to a readable file name."""
    return "-".join(map(str, identity.values())).replace(" ", "_").replace("/", "_")


def cell_path(folder: Path, key: str) -> Path:
    """Return the file of a cell."""
    return folder / f"{key}.parquet"


def write_cell(folder: Path, key: str, cell: Mapping[str, Any]) -> None:
    """Write a finished cell under another name and rename it, so that readers find complete files."""
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f".{key}.{os.getpid()}.draft"
    pd.DataFrame([cell]).to_parquet(draft, index=False)
    draft.replace(cell_path(folder, key))


def read_cells(folder: str | Path) -> pd.DataFrame:
    """Read all finished cells of a folder.

    Parameters
    ----------
    folder : str or Path
        The folder given to `run` or `run_cells`.

    Returns
    -------
    DataFrame
        One row per cell; empty if there are none.
    """
    files = sorted(Path(folder).glob("*.parquet"))
    return (
        pd.concat([pd.read_parquet(file) for file in files], ignore_index=True)
        if files
        else pd.DataFrame()
    )


def newest(cells: pd.DataFrame) -> pd.DataFrame:
    """Keep the cells of each data set's latest state and of each model's latest code.

    Results from before and after a change of the data or the code are not comparable.

    Parameters
    ----------
    cells : DataFrame
        Cells as returned by `read_cells`.

    Returns
    -------
    DataFrame
    """
    if cells.empty:
        return cells
    cells = cells.sort_values("finished")
    # first the data, then the code on that data: a model may not have run since the data changed
    for group, state in (
        (["dataset", "protocol"], "fingerprint"),
        (["dataset", "protocol", "model"], "code"),
    ):
        cells = cells[cells[state] == cells.groupby(group)[state].transform("last")]
    return cells.drop_duplicates(
        ["dataset", "protocol", "model", "fold", "seed"], keep="last"
    ).reset_index(drop=True)
