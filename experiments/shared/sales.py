"""Sales of 1,115 Rossmann stores with the seven inputs of Guo & Berkhahn 2016 (arXiv:1604.06737)."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from experiments.shared.settings import data_folder

INPUTS = ["store", "day of week", "promo", "year", "month", "day", "state"]


def read_sales(path: Path | None = None) -> pd.DataFrame:
    """Read the seven inputs and ``sales`` of every open day, oldest first.

    Parameters
    ----------
    path : Path, optional
        The parquet file; ``rossmann.parquet`` in the folder that ``TABEMB_DATA`` names by default.
    """
    path = path or data_folder() / "rossmann.parquet"
    if not path.exists():
        sys.exit(
            f"error: there is no {str(path)!r}; put the data of Kaggle's Rossmann Store Sales there."
        )
    sales = pd.read_parquet(path, columns=["Store", "DayOfWeek", "Promo", "Date", "State", "Sales"])
    at = sales["Date"].dt
    columns = [sales["Store"], sales["DayOfWeek"], sales["Promo"], at.year, at.month, at.day]
    inputs = dict(zip(INPUTS, [*columns, sales["State"]]))
    return pd.DataFrame({**inputs, "sales": sales["Sales"].astype(float)})
