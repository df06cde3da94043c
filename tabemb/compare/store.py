"""Results on disk: one small parquet file a finished cell, so that runs add up and an interrupted one resumes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

# what a cell is the result of; everything else in its file is the result
IDENTITY = ("dataset", "fingerprint", "model", "code", "protocol", "rows", "fold", "seed", "n_jobs")


def cell_key(identity: Mapping[str, Any]) -> str:
    """Hash all that a result depends on: data, model and settings, code, rows of the split, seed, threads."""
    text = json.dumps({name: identity[name] for name in IDENTITY}, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def cell_path(folder: Path, key: str) -> Path:
    """Return the file of a cell."""
    return folder / f"{key}.parquet"


def write_cell(folder: Path, key: str, cell: Mapping[str, Any]) -> None:
    """Write a finished cell at once and whole: under another name first, then renamed."""
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f".{key}.{os.getpid()}.draft"
    pd.DataFrame([cell]).to_parquet(draft, index=False)
    draft.replace(cell_path(folder, key))


def read_cells(folder: str | Path) -> pd.DataFrame:
    """Read all finished cells of a folder.

    Parameters
    ----------
    folder : str or Path
        The folder given to `run`.

    Returns
    -------
    DataFrame
        One row a cell; empty if there are none.
    """
    files = sorted(Path(folder).glob("*.parquet"))
    return (
        pd.concat([pd.read_parquet(file) for file in files], ignore_index=True)
        if files
        else pd.DataFrame()
    )


def newest(cells: pd.DataFrame) -> pd.DataFrame:
    """Keep, of each data set, the cells on its latest state, and of each model there those of its latest code.

    What was measured before the data or the code changed is not comparable with what was measured after.
    """
    if cells.empty:
        return cells
    cells = cells.sort_values("finished")
    for group, state in (
        (["dataset", "protocol"], "fingerprint"),
        (["dataset", "protocol", "model"], "code"),
    ):
        cells = cells[cells[state] == cells.groupby(group)[state].transform("last")]
    return cells.drop_duplicates(
        ["dataset", "protocol", "model", "fold", "seed"], keep="last"
    ).reset_index(drop=True)
