"""A comparison on one frame, in a notebook or a script."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from tabemb.compare.conf import read_option
from tabemb.compare.datasets import ColumnNames, Dataset, dataset_from_frame
from tabemb.compare.grid import run
from tabemb.compare.models import ModelSpec
from tabemb.compare.page import notebook_html, render_html
from tabemb.compare.report import write_report
from tabemb.compare.sources import read_file, refuse_text_options
from tabemb.compare.splits import Protocol, choose_protocol
from tabemb.compare.statistics import paired_differences, summarize
from tabemb.compare.table import matching_label, plain_table, verdicts
from tabemb.compare.text_files import TextOptions

DEFAULT_MODELS = ("embedding", "lightgbm_td", "linear", "dummy")


@dataclass(frozen=True, eq=False)
class Comparison:
    """The results of a comparison on one data set: a table, sentences, and a page to write.

    Parameters
    ----------
    cells : DataFrame
        One row per cell: `model`, `fold`, `seed`, `status`, the metrics, seconds, MiB, the losses of
        the test rows and the learning curve.
    reference : str
        Label of the model that the others are compared with.
    settings : str
        The settings of the comparison, shown at the end of the page.
    confidence : float
        Coverage of the intervals.
    """

    cells: pd.DataFrame
    reference: str
    settings: str = ""
    confidence: float = 0.95

    @property
    def table(self) -> pd.DataFrame:
        """One row per model, the best first.

        The first columns are those of `summarize`: `mean`, `low` and `high` are the main error with its
        interval, and smaller is better. The others are those of `paired_differences` to the reference:
        `difference`, `difference_low`, `difference_high`, the same in `percent` of the model's error,
        `p_value`, and `outcome`: whether the reference is "better" or "worse" than the model.
        """
        summary = summarize(self.cells, self.confidence).set_index("model")
        differences = paired_differences(self.cells, self.reference, self.confidence)
        if differences.empty:
            return summary
        names = {"low": "difference_low", "high": "difference_high"}
        columns = ["difference", *names.values(), "percent", "percent_low", "percent_high"]
        pairs = differences.set_index("model").rename(columns=names)
        return summary.join(pairs.reindex(columns=[*columns, "p_value", "outcome"]))

    @property
    def verdicts(self) -> list[str]:
        """One sentence per other model that compares it with the reference, wins and losses alike."""
        return verdicts(self.cells, self.reference, self.confidence)

    def report(self, path: str | Path) -> Path:
        """Write one self-contained HTML page.

        Parameters
        ----------
        path : str or Path
            The file to write; its folder must exist.

        Returns
        -------
        Path

        Raises
        ------
        FileNotFoundError
            If the folder of the file does not exist.
        ImportError
            If matplotlib is not installed.
        """
        path = Path(path)
        if not path.parent.is_dir():
            raise FileNotFoundError(f"path: there is no folder {str(path.parent)!r}.")
        shown = (self.cells, self.reference, self._title, self.settings)
        path.write_text(render_html(*shown, confidence=self.confidence), encoding="utf-8")
        return path

    def save(self, folder: str | Path) -> Path:
        """Write `report.html`, a picture, `results.parquet` and `summary.csv` into a folder.

        Parameters
        ----------
        folder : str or Path
            Created if it does not exist.

        Returns
        -------
        Path
            The page, as from `write_report`.
        """
        shown = (self.cells, self.reference, self._title, self.settings)
        return write_report(folder, *shown, confidence=self.confidence)

    @property
    def _title(self) -> str:
        return f"Comparison on {self.cells['dataset'].iloc[0]}"

    def __repr__(self) -> str:
        table = plain_table(self.cells, self.reference, self.confidence)
        return "\n".join([table, "", *self.verdicts]).rstrip()

    def _repr_html_(self) -> str:
        return notebook_html(self.cells, self.reference, self.confidence)


def compare(
    frame: Any,
    target: str,
    models: Sequence[ModelSpec | str] | ModelSpec | str = DEFAULT_MODELS,
    protocol: str | Protocol = "auto",
    *,
    name: str | None = None,
    task: str | None = None,
    categorical: ColumnNames = (),
    datetimes: ColumnNames = (),
    numbers: ColumnNames = (),
    drop: ColumnNames = (),
    target_transform: str | None = None,
    time: str | None = None,
    group: str | None = None,
    fold: str | None = None,
    sep: str | None = None,
    decimal: str | None = None,
    thousands: str | None = None,
    encoding: str | None = None,
    missing: ColumnNames | None = None,
    header: bool | None = None,
    comment: str | None = None,
    quote: str = '"',
    seeds: Sequence[int] = (0,),
    folds: Sequence[int] | None = None,
    n_jobs: int | None = None,
    isolate: bool = False,
    time_limit: float | None = None,
    reference: str | None = None,
    results: str | Path | None = None,
    retry_failed: bool = False,
    importances: bool = True,
    progress: bool = True,
) -> Comparison:
    """Compare models on a frame: fit all on the same training rows, test all on the same test rows.

    Nothing is written to disk unless `results` names a folder.

    Parameters
    ----------
    frame : DataFrame of pandas, polars or any library that narwhals reads, pyarrow.Table, or path
        The data, or the path of a CSV or parquet file.
    target : str
        The column to predict. Rows in which it is missing are dropped, with a warning that counts them.
    models : sequence of str or ModelSpec
        Names of `tabemb.compare.MODELS`, or `ModelSpec(name, params)` for other settings.
    protocol : str or Protocol
        The kind of split: "auto", "holdout", "kfold", "grouped", "time" or "published", or a
        `Protocol` with its settings. "auto" tests the folds of `fold` where it is given, else the
        newest rows by `time`, else folds by `group`, else a random fifth.
    name : str, optional
        The name of the data in the results; the file's name, or "data".
    task : {"binary", "multiclass", "regression"}, optional
        Inferred by default: text, categories and booleans are classes, two distinct numbers are
        "binary", any other numbers are a "regression".
    categorical : str or sequence of str
        Columns to treat as categorical whatever their dtype, such as ids; "all" means every column.
    datetimes : str or sequence of str
        Text columns that contain dates; unreadable ones become missing.
    numbers : str or sequence of str
        Text columns that contain numbers, in any usual notation.
    drop : str or sequence of str
        Columns that must not be inputs.
    target_transform : {"log", "log1p"}, optional
        Applied to the target of a regression; errors are on that scale.
    time, group, fold : str, optional
        Columns with the order of the rows, their groups, and the test fold of each row. `fold` is
        never an input; `time` and `group` are, unless dropped.
    sep : str, optional
        The separator of a text file: one character, "tab" or "space". By default, this and the next
        options are inferred from the whole file.
    decimal, thousands : str, optional
        The separators in numbers, such as "," and "." in 1.234,5.
    encoding : str, optional
        UTF-8, UTF-16 and UTF-32 are recognised; any other file is read as cp1252, with a note.
    missing : str or sequence of str, optional
        Texts that stand for missing values, in addition to the empty field.
    header : bool, optional
        False if the first line contains values; the columns are then named x0, x1, ...
    comment : str, optional
        Lines that begin with this text are skipped.
    quote : str
        The quote character around fields that contain separators or line ends; empty for none.
    seeds : sequence of int
        Each model runs once per seed; a model that does not depend on the seed runs with the first only.
    folds : sequence of int, optional
        Only these folds of the protocol.
    n_jobs : int, optional
        Threads of every model; None and -1 are all cores.
    isolate : bool
        Measure each fit in a fresh process: its memory is measured separately, and a crash is one
        failed cell. Scripts then need the usual `if __name__ == "__main__":`.
    time_limit : float, optional
        Seconds for a fit and its predictions; needs `isolate`.
    reference : str, optional
        The model that the others are compared with; the embedding net by default.
    results : str or Path, optional
        A folder that stores finished fits for later calls; by default they are kept in memory only.
    retry_failed : bool
        Run failed fits of `results` again.
    importances : bool
        Measure for the page which columns each model needs, for up to a minute after each fit.
    progress : bool
        Print a line on stderr for each finished fit, and show a bar on a terminal.

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError
        If a column, model, parameter or protocol does not exist or does not fit the data.
    TypeError
        If `frame` is not a frame.
    FileNotFoundError
        If there is no such file.
    ImportError
        If psutil is not installed.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"city": ["Bonn", "Rome"] * 50, "price": [1.0, 3.0] * 50})
    >>> comparison = compare(frame, "price", ["linear", "dummy"], progress=False)
    >>> list(comparison.table.index)
    ['linear', 'dummy']
    """
    columns: dict[str, Any] = {
        "task": task, "categorical": categorical, "datetimes": datetimes, "numbers": numbers,
        "drop": drop,
        "target_transform": target_transform, "time": time, "group": group, "fold": fold,
    }  # fmt: skip
    options: dict[str, Any] = {
        "seeds": seeds, "folds": folds, "n_jobs": n_jobs, "isolate": isolate,
        "time_limit": time_limit, "retry_failed": retry_failed, "importances": importances,
        "progress": progress,
    }  # fmt: skip
    text = TextOptions(sep, decimal, thousands, encoding, missing, header, comment, quote)
    table, default_name = _table(frame, text)
    dataset = dataset_from_frame(table, target, name or default_name, **columns)
    specs, chosen = _specs(models), _protocol(dataset, protocol)
    # a misspelled reference must fail before hours of fits, not after
    labels = [spec.label for spec in specs]
    label = matching_label(labels, reference)
    cells = _measured(dataset, specs, chosen, results, options)
    if reference is None:
        finished = set(cells.loc[cells["status"] == "ok", "model"])
        label = matching_label([one for one in labels if one in finished] or labels)
    return Comparison(cells, label, _settings(dataset, specs, chosen, seeds))


def _table(frame: Any, text: TextOptions) -> tuple[Any, str]:
    """Return the frame and its name; a path is read first."""
    if not isinstance(frame, (str, Path)):
        refuse_text_options(text, "a frame")
        return frame, "data"
    path = Path(frame).expanduser()
    return read_file(path, text), path.stem


def _specs(models: Sequence[ModelSpec | str] | ModelSpec | str) -> list[ModelSpec]:
    listed = [models] if isinstance(models, (str, ModelSpec)) else list(models)
    specs = [ModelSpec(model) if isinstance(model, str) else model for model in listed]
    for spec in specs:
        if not isinstance(spec, ModelSpec):
            raise TypeError(f"models must hold names or ModelSpec; got a {type(spec).__name__}.")
    if not specs:
        raise ValueError("models must name one model or more; got none.")
    return specs


def _protocol(dataset: Dataset, protocol: str | Protocol) -> Protocol:
    if isinstance(protocol, Protocol):
        return protocol
    return choose_protocol(dataset, read_option("protocol", protocol))


def _measured(
    dataset: Dataset,
    specs: list[ModelSpec],
    protocol: Protocol,
    results: str | Path | None,
    options: dict[str, Any],
) -> pd.DataFrame:
    with tempfile.TemporaryDirectory() as temporary:
        folder = temporary if results is None else results
        cells = run(dataset, specs, protocol, folder, **options)
    # a folder of results may contain models of earlier calls
    of_models = cells["model"].isin([spec.label for spec in specs])
    return cells[of_models].reset_index(drop=True)


def _settings(dataset: Dataset, specs: list[ModelSpec], protocol: Protocol, seeds: Sequence[int]) -> str:
    settings: dict[str, Iterable[object]] = {
        "target": [dataset.target],
        "inputs": dataset.X.columns,
        "categorical": dataset.roles,
        "models": [spec.label for spec in specs],
        "protocol": [protocol.label],
        "seeds": seeds,
    }
    return "\n".join(f"{name}: {', '.join(map(str, values))}" for name, values in settings.items())
