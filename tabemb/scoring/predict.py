"""`predict`: from files to a file of predictions, in bounded memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq

from tabemb.estimators.encoder import EmbeddingEncoder
from tabemb.estimators.unseen import UnseenCells, as_one_input
from tabemb.files.whole import replacing
from tabemb.fitting.settings import FLAG, VERBOSE, whole
from tabemb.progress import progress
from tabemb.saving.native import load
from tabemb.scoring.answers import Answers, Model, answers_of, check_model, columns_read
from tabemb.scoring.parts import PARQUET, Part, check_parts, parts_of
from tabemb.scoring.text_cells import TextCells

ENDINGS = (*PARQUET, ".csv")
"""Endings of output files."""


def predict(
    source: Any,
    output: str | os.PathLike[str],
    model: Any,
    *,
    keep: Sequence[str] = (),
    probabilities: bool | None = None,
    coverage: float | None = None,
    overwrite: bool = False,
    batch_size: int = 32_768,
    verbose: bool | None = None,
) -> int:
    """Predict files of any size, batch by batch, and write one file of predictions.

    Rows keep their order. The output appears only when it is complete; after an error, an older file
    stays. Memory depends on ``batch_size``, not on the number of rows.

    Parameters
    ----------
    source : str, path-like, list of them, or pyarrow.dataset.Dataset
        Parquet or CSV files, also gzipped CSV; a path may be a pattern such as ``"orders/*.parquet"``,
        whose files come in sorted order. The model determines how cells of CSV are read.
    output : str or path-like
        The file to write, which ends in .parquet, .pq or .csv.
    model : fitted estimator or path
        EmbeddingClassifier, EmbeddingRegressor or EmbeddingEncoder, or the path of a saved one. It must
        have been fitted on a frame. An encoder writes the columns of its ``transform``.
    keep : sequence of str, optional
        Columns to copy to the output, before the new ones. A new column with the name of one of them
        gets an underscore at its end.
    probabilities : bool, optional
        For a classifier: whether to write the probability of each class too; None: yes.
    coverage : float, optional
        For a regressor: write intervals with this coverage as ``lower`` and ``upper``.
    overwrite : bool, default=False
        Whether an existing file may be replaced.
    batch_size : int, default=32768
        Rows that are read and predicted at a time.
    verbose : bool, optional
        Whether to show a progress bar. None: on a terminal or in a notebook, after three seconds.

    Returns
    -------
    int
        The number of rows.

    Raises
    ------
    FileExistsError
        The output exists, and ``overwrite`` is false.
    FileNotFoundError
    ValueError
        A file is damaged or lacks a column, a column has different types in different files, or the
        model refuses a value; the error names the file.

    Examples
    --------
    >>> import tempfile
    >>> import pandas as pd
    >>> from tabemb import EmbeddingRegressor
    >>> X = pd.DataFrame({"id": range(80), "city": ["Bonn", "Rome"] * 40})
    >>> model = EmbeddingRegressor(max_epochs=20, random_state=0).fit(X[["city"]], [10.0, 20.0] * 40)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     X.to_parquet(f"{folder}/in.parquet")
    ...     n_rows = predict(f"{folder}/in.parquet", f"{folder}/out.parquet", model, keep=["id"])
    ...     columns = list(pd.read_parquet(f"{folder}/out.parquet"))
    >>> n_rows, columns
    (80, ['id', 'prediction'])
    """
    FLAG.check("overwrite", overwrite)
    FLAG.or_(None).check("probabilities", probabilities)
    VERBOSE.check("verbose", verbose)
    whole(1).check("batch_size", batch_size)
    keep = _checked_names(keep)
    _check_output(output, overwrite)
    fitted = check_model(load(model) if isinstance(model, (str, os.PathLike)) else model)
    parts = parts_of(source, lambda path: TextCells(fitted.encoder_, path))
    _check_apart(parts, output)
    columns = columns_read(fitted)
    check_parts(parts, columns, keep)
    typed = _typed(parts[0], [*columns, *keep])
    answers = answers_of(fitted, probabilities, coverage, keep, typed)
    kept = [_plain(typed.field(name)) for name in keep]
    schema = pa.schema([*kept, *map(_plain, answers.fields)])
    _check_writable(schema, output)
    n_rows = 0
    with (
        _one_note(fitted),
        replacing(output) as file,
        _writer(file, schema, output) as write,
        progress(_total(parts), "rows", verbose) as bar,
    ):
        for table in _predicted(parts, columns, keep, answers, schema, batch_size):
            write(table)
            bar.update(table.num_rows)
            n_rows += table.num_rows
    return n_rows


def _predicted(
    parts: Sequence[Part],
    columns: Sequence[str],
    keep: Sequence[str],
    answers: Answers,
    schema: pa.Schema,
    batch_size: int,
) -> Iterator[pa.Table]:
    """Yield the rows of the output, batch by batch."""
    for part in parts:
        first = 0
        for table in part.tables([*columns, *keep], batch_size):
            with _located(part, first):
                rows = part.convert(table) if part.convert else table
                new = answers.of(rows.select(columns))
                values = [*(rows[name] for name in keep), *new]
                cast = [v.cast(field.type) for v, field in zip(values, schema, strict=True)]
            yield pa.Table.from_arrays(cast, schema=schema)
            first += table.num_rows


@contextmanager
def _located(part: Part, first: int) -> Iterator[None]:
    """Add the file to an error, and the row from which the row numbers in the error count."""
    try:
        yield
    except (ValueError, TypeError, pa.ArrowException) as error:  # not all of Arrow's are ValueErrors
        reason = str(error).splitlines()[0].removesuffix(".")
        raise ValueError(f"{part.name!r}, counting from row {first}: {reason}.") from error


@contextmanager
def _one_note(model: Model) -> Iterator[UnseenCells]:
    """Warn about many unseen categories only once, after all rows."""
    with as_one_input() as cells:
        yield cells
    if not isinstance(model, EmbeddingEncoder):
        model.note_unseen(cells, stacklevel=5)


@contextmanager
def _writer(
    file: BinaryIO, schema: pa.Schema, output: str | os.PathLike[str]
) -> Iterator[Callable[[pa.Table], None]]:
    """Yield a function that appends rows to a file."""
    is_text = _ending(output) == ".csv"
    writer = arrow_csv.CSVWriter(file, schema) if is_text else pq.ParquetWriter(file, schema)
    with writer:
        yield writer.write_table


def _total(parts: Sequence[Part]) -> int | None:
    """Return the number of rows; None if a file does not store it."""
    known = [part.n_rows for part in parts if part.n_rows is not None]
    return sum(known) if len(known) == len(parts) else None


def _ending(output: str | os.PathLike[str]) -> str:
    return Path(os.fspath(output)).suffix.lower()


def _checked_names(keep: Sequence[str]) -> list[str]:
    if isinstance(keep, str) or not all(isinstance(name, str) for name in keep):
        raise ValueError(f"keep must be a list of column names; got {keep!r}.")
    if len(set(keep)) < len(keep):
        raise ValueError(f"keep must name each column once; got {list(keep)!r}.")
    return list(keep)


def _check_output(output: str | os.PathLike[str], overwrite: bool) -> None:
    if _ending(output) not in ENDINGS:
        raise ValueError(f"output must end in {', '.join(ENDINGS)}; got {os.fspath(output)!r}.")
    if os.path.lexists(output) and not overwrite:
        raise FileExistsError(
            f"output: {os.fspath(output)!r} exists; pass overwrite=True (--overwrite) to replace it."
        )


def _check_apart(parts: Sequence[Part], output: str | os.PathLike[str]) -> None:
    target = os.path.realpath(output)
    if any(part.path is not None and os.path.realpath(part.path) == target for part in parts):
        raise ValueError(f"output must be none of the files that are read; got {os.fspath(output)!r}.")


def _typed(part: Part, columns: Sequence[str]) -> pa.Schema:
    """Return the types of columns as the model reads them."""
    fields = [part.schema.field(name) for name in dict.fromkeys(columns)]
    empty = pa.schema(fields).empty_table()
    return (part.convert(empty) if part.convert else empty).schema


def _plain(field: pa.Field) -> pa.Field:
    """Return a field of the output, with plain values instead of a dictionary."""
    dtype = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    return pa.field(field.name, dtype)


def _check_writable(schema: pa.Schema, output: str | os.PathLike[str]) -> None:
    lists = [field for field in schema if pa.types.is_nested(field.type)]
    if lists and _ending(output) == ".csv":
        raise ValueError(
            f"Column {lists[0].name!r} has the type {lists[0].type}, which CSV has no cells for; write "
            "Parquet, or leave it out of keep."
        )
