"""The results as files in a folder: the page, a picture of each data set, and tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from tabemb.compare.outputs import new_folder
from tabemb.compare.page import render_html
from tabemb.compare.statistics import summarize
from tabemb.compare.table import choose_reference
from tabemb.extras import need
from tabemb.files.csv_cells import write_csv


def write_report(
    folder: str | Path,
    results: pd.DataFrame,
    reference: str | None = None,
    title: str = "Comparison",
    config: str = "",
    sections: Sequence[tuple[str, str]] = (),
    confidence: float = 0.95,
) -> Path:
    """Write `report.html`, a PNG of each data set, `results.parquet` (a row per cell), `summary.csv`.

    Parameters
    ----------
    folder : str or Path
        Created if it does not exist.
    results, reference, title, config, sections, confidence
        As in `render_html`.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    need("matplotlib", "compare")
    need("matplotlib.figure", "compare")  # its import lists the fonts
    from tabemb.compare.figures import plot_all

    reference = choose_reference(results, reference)
    html = render_html(results, reference, title, config, sections, confidence)
    with new_folder(Path(folder)) as folder:
        results.drop(columns="losses", errors="ignore").to_parquet(
            folder / "results.parquet", index=False
        )
        write_csv(summarize(results, confidence), folder / "summary.csv")
        for name, cells in results.groupby("dataset", sort=False):
            if (cells["status"] == "ok").any():
                picture = folder / f"{_file_name(str(name))}.png"
                plot_all(cells, reference, confidence).savefig(picture, dpi=130)
        page = folder / "report.html"
        page.write_text(html, encoding="utf-8")
    return page


def _file_name(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in name)
