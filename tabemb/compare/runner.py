"""The loop over cells: stored cells do not run again, and each finished one is stored at once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from tabemb.compare.live import FORMAT, LiveBar
from tabemb.compare.store import cell_name, cell_path, read_cells, write_cell
from tabemb.progress import progress

Identity = Mapping[str, Any]


def run_cells(
    folder: str | Path,
    identities: Iterable[Identity],
    measure: Callable[[Identity], Mapping[str, Any]],
    outcome: Callable[[Mapping[str, Any]], str] | None = None,
    *,
    key: Callable[[Identity], str] = cell_name,
    label: Callable[[Identity], str] | None = None,
    retry_failed: bool = False,
    show: bool = True,
) -> pd.DataFrame:
    """Run every cell that is not in the folder yet, and store each as soon as it is finished.

    A cell is one measurement, such as a model fitted on one split with one seed. After an
    interrupt, the next call keeps the finished cells and runs the others.

    Parameters
    ----------
    folder : str or Path
        Where each finished cell is stored as one parquet file.
    identities : iterable of mapping
        The columns that name a cell, such as data set, model and seed.
    measure : callable
        Takes an identity and returns the other columns of the cell's row. What it reports by
        `tabemb.compare.live.report` is shown next to the bar.
    outcome : callable, optional
        Takes the row of a finished cell and returns the text that is shown after the cell's name.
    key : callable, optional
        Takes an identity and returns the name of its file; by default its values, joined by "-".
    label : callable, optional
        Takes an identity and returns the cell's name on the screen; by default its values, joined
        by ", ".
    retry_failed : bool
        Whether stored cells whose `status` is "failed" run again.
    show : bool
        Whether each cell prints a line on stderr; on a terminal, a bar shows the running cell, its
        seconds and its progress.

    Returns
    -------
    DataFrame
        All cells of the folder, including those of earlier runs, one row per cell.

    Examples
    --------
    >>> import tempfile
    >>> cells = [{"model": "a", "seed": 0}, {"model": "b", "seed": 0}]
    >>> run_cells(tempfile.mkdtemp(), cells, lambda cell: {"error": 0.5}, show=False)
      model  seed  error
    0     a     0    0.5
    1     b     0    0.5
    """
    folder, cells = Path(folder), list(identities)
    waiting = [cell for cell in cells if _is_waiting(cell_path(folder, key(cell)), retry_failed)]
    name = label or _joined
    with _bar(len(cells), len(cells) - len(waiting), show) as bar:
        live = LiveBar(bar)
        for cell in waiting:
            with live.cell(name(cell)):
                row = {**cell, **measure(cell)}
                write_cell(folder, key(cell), row)
            if show:
                text = outcome(row) if outcome else "finished"
                bar.write(f"{name(cell)}: {text}", file=sys.stderr)
    return read_cells(folder)


def _joined(identity: Identity) -> str:
    return ", ".join(map(str, identity.values()))


def _is_waiting(path: Path, retry_failed: bool) -> bool:
    if not path.exists():
        return True
    return retry_failed and pd.read_parquet(path, columns=["status"])["status"].iloc[0] == "failed"


def _bar(total: int, n_stored: int, show: bool) -> tqdm[Any]:
    """Return a bar; stored cells count as finished, but not in the estimate of the remaining time."""
    if show and n_stored:
        print(f"{n_stored} of {total} cells are already stored.", file=sys.stderr)
    bar = progress(total, "cell", None if show else False, done=n_stored)
    bar.bar_format = FORMAT
    return bar
