"""What a comparison leaves in a folder: the page, a picture of each data set, and the figures as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from tabemb.compare.figures import plot_all
from tabemb.compare.page import render_html
from tabemb.compare.statistics import summarize
from tabemb.compare.table import choose_reference


def write_report(
    folder: str | Path,
    results: pd.DataFrame,
    reference: str | None = None,
    title: str = "Comparison",
    config: str = "",
    sections: Sequence[tuple[str, str]] = (),
    confidence: float = 0.95,
) -> Path:
    """Write `report.html`, a PNG of each data set, `results.parquet` (a row a cell) and `summary.csv` into a folder.

    Parameters
    ----------
    folder : str or Path
        Made where it is missing.
    results : DataFrame
        Cells as returned by `run`; several data sets may be stacked.
    reference : str, optional
        The model that the others are set against; the embedding net by default.
    title, config, sections
        As in `render_html`.
    confidence : float
        Coverage of the intervals.

    Returns
    -------
    Path
        The page.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    reference = choose_reference(results, reference)
    results.drop(columns="losses", errors="ignore").to_parquet(folder / "results.parquet", index=False)
    summarize(results, confidence).to_csv(folder / "summary.csv", index=False)
    for name, cells in results.groupby("dataset", sort=False):
        if (cells["status"] == "ok").any():
            plot_all(cells, reference, confidence).savefig(
                folder / f"{_file_name(str(name))}.png", dpi=130
            )
    page = folder / "report.html"
    page.write_text(
        render_html(results, reference, title, config, sections, confidence), encoding="utf-8"
    )
    return page


def _file_name(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in name)
