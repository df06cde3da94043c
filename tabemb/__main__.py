"""The command `tabemb`: compare models on a table; draw, export and predict with a saved model."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

import tabemb
from tabemb.compare import command
from tabemb.compare.hints import did_you_mean
from tabemb.spaces.space import EmbeddingSpace

_HELP = """\
usage: tabemb COMMAND ...

commands:
  compare   compare models on a table: tabemb compare my.csv --target y
  atlas     draw the vectors of a saved model as a page: tabemb atlas model.tabemb city
  export    write a saved model as ONNX, or its vectors: tabemb export model.tabemb model.onnx
  predict   predict files with a saved model: tabemb predict model.tabemb in.parquet out.parquet

tabemb COMMAND --help shows the arguments of a command, and tabemb --version the version."""


def atlas(arguments: Sequence[str]) -> None:
    """Write the vectors of a saved model as a page for the browser."""
    parser = command.Parser(
        prog="tabemb atlas",
        description="Write the vectors of one column of a saved model as a page to explore "
        "them: a map, search, and the nearest categories. The page needs no network.",
    )
    parser.add_argument("model", help="a file written by tabemb.save")
    _add_space(parser)
    parser.add_argument("--output", metavar="FILE", help="the page to write (default: SPACE.html)")
    given = parser.parse_args(arguments)
    model = _loaded(given.model)
    name, space = _chosen_space(model, given)
    safe = "".join(c if c.isalnum() or c in "-_." else "_" for c in name)
    facts = _facts_of_levels(model, name).reindex(space.categories).dropna(axis=1, how="all")
    color = None if facts.empty else str(facts.columns[0])
    page = space.atlas(given.output or f"{safe}.html", facts, color=color)
    print(f"page: {page}", file=sys.stderr)


def export(arguments: Sequence[str]) -> None:
    """Write a saved model as an ONNX file, or the vectors of one column to Parquet or DuckDB."""
    parser = command.Parser(
        prog="tabemb export",
        description="Write a saved model as an ONNX file, which answers without tabemb, or the vectors "
        "of one column as a Parquet file or as a table of a DuckDB database.",
    )
    parser.add_argument("model", help="a file written by tabemb.save")
    parser.add_argument("output", help="a file ending in .onnx, .parquet or .duckdb")
    _add_space(parser)
    given = parser.parse_args(arguments)
    ending = Path(given.output).suffix
    if ending not in (".onnx", ".parquet", ".duckdb"):
        raise command.UsageError(f"output must end in .onnx, .parquet or .duckdb; got {given.output!r}.")
    if ending == ".onnx" and given.space is not None:
        raise command.UsageError(f"space must be left out for an ONNX file; got {given.space!r}.")
    model = _loaded(given.model)
    if ending == ".onnx":
        tabemb.to_onnx(model, given.output)
    else:
        name, space = _chosen_space(model, given)
        if ending == ".parquet":
            space.to_parquet(given.output)
        else:
            space.to_duckdb(given.output, name)
    print(f"written: {given.output}", file=sys.stderr)


def predict(arguments: Sequence[str]) -> None:
    """Write the predictions of a saved model for files of any size."""
    parser = command.Parser(
        prog="tabemb predict",
        description="Write the predictions of a saved model for Parquet or CSV files of any size.",
    )
    parser.add_argument("model", help="a file written by tabemb.save")
    parser.add_argument("source", nargs="+", help="Parquet or CSV files, or a quoted pattern of them")
    parser.add_argument("output", help="a file ending in .parquet or .csv")
    parser.add_argument(
        "--keep", metavar="COLUMN", action="append", default=[], help="carry a column over; repeatable"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the output if it exists")
    parser.add_argument(
        "--coverage", type=float, help="also write intervals with this coverage, of a regressor"
    )
    parser.add_argument("--no-probabilities", action="store_true", help="write the classes alone")
    given = parser.parse_args(arguments)
    try:
        n_rows = tabemb.predict(
            given.source,
            given.output,
            _loaded(given.model),
            keep=given.keep,
            probabilities=False if given.no_probabilities else None,
            coverage=given.coverage,
            overwrite=given.overwrite,
        )
    except KeyboardInterrupt:
        sys.exit("interrupted: nothing was written")
    print(f"written: {given.output} ({n_rows:,} rows)", file=sys.stderr)


def _add_space(parser: command.Parser) -> None:
    parser.add_argument(
        "space", nargs="?", help="the column; it may be left out where the model has one"
    )


def _chosen_space(model: Any, given: Namespace) -> tuple[str, EmbeddingSpace]:
    """Return the name and the vectors of the column that the arguments choose."""
    spaces = getattr(model, "spaces_", {})
    name = _space_name(list(spaces), given.space, given.model)
    return name, spaces[name]


def _facts_of_levels(model: Any, table: str) -> pd.DataFrame:
    """Return the effect and the mean answer of each category of a table; empty without effects."""
    if getattr(model, "effects_", None) is None:
        return pd.DataFrame()
    schema, frame = model.encoder_.schema, model.effects_frame()
    columns = [feature.name for feature in schema.categorical if schema.tables_of([feature]) == [table]]
    frame = frame[frame["term"].isin(columns) & frame["level"].notna()]
    if frame.empty:
        return pd.DataFrame()
    keys = [key for key in ("term", "target", "class") if key in frame and frame[key].nunique() > 1]
    groups = frame.groupby(keys, sort=False) if keys else [((), frame)]
    parts = {}
    for values, part in groups:
        whose = "".join(f", {key} {value}" for key, value in zip(keys, values))
        by_level = part.drop_duplicates("level").set_index("level")
        parts[f"effect{whose}"], parts[f"mean answer{whose}"] = by_level["effect"], by_level["mean"]
    return pd.DataFrame(parts)


def _loaded(path: str) -> Any:
    if not Path(path).is_file():
        raise FileNotFoundError(f"model: there is no file {path!r}.")
    return tabemb.load(path)


def _space_name(names: list[str], wanted: str | None, model: str) -> str:
    if not names:
        raise ValueError(f"model: {model!r} has no vectors of categories.")
    if wanted in names:
        return str(wanted)
    if wanted is None and len(names) == 1:
        return names[0]
    if wanted is None:
        raise command.UsageError(f"space must name one of {', '.join(map(repr, names))}; got none.")
    raise ValueError(
        f"space: {model!r} has no space {wanted!r} ({did_you_mean(wanted, names, 'it has')})."
    )


COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {
    "compare": command.main,
    "atlas": atlas,
    "export": export,
    "predict": predict,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; an error prints one line, with exit code 2 for wrong usage and 1 for a failure.

    Parameters
    ----------
    arguments : sequence of str, optional
        The arguments of the program by default.
    """
    first, *rest = (sys.argv[1:] if arguments is None else list(arguments)) or ["--help"]
    if first in ("-h", "--help"):
        print(_HELP)
    elif first == "--version":
        print(f"tabemb {tabemb.__version__}")
    else:
        with command.one_line_errors():
            if first not in COMMANDS:
                hint = did_you_mean(first, COMMANDS)
                raise command.UsageError(f"there is no command {first!r} ({hint}).")
            COMMANDS[first](rest)


if __name__ == "__main__":
    main()
