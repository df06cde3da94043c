"""The command `tabemb compare`: run the comparison that configuration and command line describe."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from inspect import signature
from pathlib import Path
from typing import Any, NoReturn

import pandas as pd
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from tabemb.compare.conf import check_option, conf_folder, config_options
from tabemb.compare.datasets import Dataset, load_dataset
from tabemb.compare.grid import run, select
from tabemb.compare.hints import did_you_mean
from tabemb.compare.models import ModelSpec
from tabemb.compare.outputs import new_folder, remove_empty
from tabemb.compare.report import write_report
from tabemb.compare.splits import Protocol, choose_protocol
from tabemb.compare.store import newest, read_cells
from tabemb.compare.table import matching_label, print_report
from tabemb.extras import need

RUN_OPTIONS = (
    *("seeds", "folds", "n_jobs", "isolate", "time_limit", "retry_failed", "importances", "progress"),
)
SCOPES = ("dataset", "all")
GROUPS = ("dataset", "model", "protocol", "experiment")


class UsageError(Exception):
    """A command line that cannot be understood; its message is one line."""


def run_config(config: DictConfig, folder: Path) -> Path:
    """Run the comparison that a configuration describes, print the results and write the report.

    Parameters
    ----------
    config : DictConfig
        As composed from `conf/compare.yaml`.
    folder : Path
        Where the page, the pictures, the tables and the resolved configuration go.

    Returns
    -------
    Path
        The report.

    Raises
    ------
    ValueError, FileNotFoundError, ImportError
        If a setting, a file or a package of the extra `compare` is missing.
    """
    for key in _missing(OmegaConf.to_container(config)):
        raise ValueError(f"{key} must have a value; give {key}=VALUE.")
    settings: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    if settings["scope"] not in SCOPES:
        raise ValueError(f"scope must be 'dataset' or 'all'; got {settings['scope']!r}.")
    # fail on a missing package before hours of fits, not after
    for module in ("rich", "matplotlib"):
        need(module, "compare")
    _check_keys("dataset", settings["dataset"], signature(load_dataset).parameters)
    _check_keys("protocol", settings["protocol"], signature(Protocol).parameters)
    dataset = _noted(lambda: load_dataset(**settings["dataset"]))
    protocol = choose_protocol(dataset, settings["protocol"])
    specs = [ModelSpec(**spec) for spec in settings["models"].values()]
    cells = Path(settings["results"]) / "cells"
    _check_reference(settings["reference"], specs, cells)
    stored_before = set(cells.glob("*.parquet"))
    of_run = run(dataset, specs, protocol, cells, **{name: settings[name] for name in RUN_OPTIONS})
    _check_finished(of_run, specs, cells, stored_before)
    results = stored_results(cells, dataset, protocol, settings["scope"])
    print_report(results, settings["reference"])
    resolved = OmegaConf.to_yaml(config, resolve=True)
    title = f"Comparison on {dataset.name}"
    with new_folder(folder):
        (folder / "config.yaml").write_text(resolved, encoding="utf-8")
        return write_report(folder, results, settings["reference"], title, resolved)


def _check_finished(
    results: pd.DataFrame, specs: Sequence[ModelSpec], cells: Path, stored_before: set[Path]
) -> None:
    """Raise an error if none of the requested fits finished, and remove the files of such a run."""
    chosen = results[results["model"].isin([spec.label for spec in specs])]
    if (chosen["status"] == "ok").any():
        return
    for path in set(cells.glob("*.parquet")) - stored_before:
        if pd.read_parquet(path, columns=["status"])["status"].iloc[0] == "failed":
            path.unlink()
    remove_empty([cells, cells.parent, cells.parent.parent])
    reasons = (f"{one['model']}: {one['error'].rstrip('.')}" for _, one in _first_failures(chosen))
    raise ValueError(f"No fit finished ({'; '.join(reasons)}).")


def _first_failures(cells: pd.DataFrame) -> Iterator[tuple[Any, pd.Series]]:
    return cells.drop_duplicates("model").iterrows()


def _missing(settings: Any, key: str = "") -> Iterator[str]:
    """Yield the keys that the user must set, marked by "???" in the configuration."""
    if isinstance(settings, dict):
        for name, value in settings.items():
            yield from _missing(value, f"{key}.{name}" if key else str(name))
    elif settings == "???":
        yield key


def _check_keys(group: str, settings: Iterable[str], known: Iterable[str]) -> None:
    names = list(known)
    for key in settings:
        if key not in names:
            hint = did_you_mean(key, names, lists_all=True)
            raise ValueError(f"{group}: there is no setting {key!r} ({hint}).")


def _noted(load: Callable[[], Dataset]) -> Dataset:
    """Load a data set, and print its warnings as notes."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        dataset = load()
    for warning in caught:
        print(f"note: {warning.message}", file=sys.stderr)
    return dataset


def _check_reference(reference: str | None, specs: Sequence[ModelSpec], cells: Path) -> None:
    labels = [spec.label for spec in specs]
    try:
        matching_label(labels, reference)
    except ValueError:
        # the report also shows the stored models of earlier runs
        stored = read_cells(cells)
        known = dict.fromkeys([*labels, *(stored["model"] if len(stored) else ())])
        matching_label(list(known), reference)


def stored_results(cells: Path, dataset: Dataset, protocol: Protocol, scope: str) -> pd.DataFrame:
    """Read the cells of this and earlier runs under a protocol.

    Parameters
    ----------
    cells : Path
        The folder of the cells.
    dataset : Dataset
    protocol : Protocol
    scope : {"dataset", "all"}
        Cells of this data set, or of all data sets, this one first.

    Returns
    -------
    DataFrame
    """
    stored = read_cells(cells)
    results = select(stored, dataset, protocol)
    if scope == "dataset":
        return results
    same_protocol = newest(stored[stored["protocol"] == protocol.label])
    further = same_protocol[same_protocol["dataset"] != dataset.name]
    return pd.concat([results, further], ignore_index=True)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """End the program with a one-line message instead of a traceback if the user can fix the error."""
    try:
        yield
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit("interrupted: finished fits are kept, the same command goes on from there")
    except (ValueError, OSError, ImportError, OmegaConfBaseException) as error:
        sys.exit(f"error: {_one_line(error)}")


def _one_line(error: BaseException) -> str:
    return " ".join(line.strip() for line in str(error).splitlines() if line.strip())


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Raise an error instead of printing the usage."""
        _, is_unknown, text = message.partition("unrecognized arguments: ")
        if is_unknown:
            options = [option for option in self._option_string_actions if option.startswith("--")]
            hint = did_you_mean(text.split()[0], options, "there are")
            raise UsageError(f"{self.prog}: there is no option {text.split()[0]!r} ({hint}).")
        raise UsageError(f"{self.prog}: {message}; {self.prog} --help shows how it is used.")


_DESCRIPTION = """\
Compare models on a table: all are fitted on the same rows, and tested on the same new rows.
The command prints a table with confidence intervals and paired differences, and writes a
page, report.html, below outputs/compare. Finished fits are kept there and do not run again."""
_EPILOG = """\
examples:
  tabemb compare sales.csv --target price --categorical zip,product_id
  tabemb compare visits.parquet --target converted --time date --datetimes date
  tabemb compare sales.csv --target price --models embedding,catboost --protocol kfold
  tabemb compare sales.csv --target price seeds=[0,1] +models.embedding.params.n_members=4

KEY=VALUE sets anything else of the configuration, in the language of hydra:
  seeds=[0,1]  folds=[1]  n_jobs=2  time_limit=600  reference=linear  results=FOLDER
  dataset.target_transform=log  dataset.task=binary  protocol.test_size=0.3
"""


def compare_parser() -> Parser:
    """Return the parser of `tabemb compare`."""
    parser = Parser(
        prog="tabemb compare",
        usage="tabemb compare FILE --target COLUMN [options] [KEY=VALUE ...]",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "items", nargs="*", metavar="FILE, KEY=VALUE", help="a CSV or parquet file, and further settings"
    )
    models, protocols = ", ".join(config_options("model")), ", ".join(config_options("protocol"))
    parser.add_argument("--target", metavar="COLUMN", help="the column to predict")
    for flag, meaning in (
        ("--categorical", 'columns whose values are ids, also if they are numbers, or "all"'),
        ("--datetimes", "text columns that hold dates"),
        ("--numbers", "text columns that hold numbers, in any usual notation"),
        ("--drop", "columns that are not inputs"),
        ("--models", f"of {models} (default: embedding, lightgbm_td, linear, dummy)"),
    ):
        parser.add_argument(flag, action="append", metavar="A,B", help=meaning)
    for flag, metavar, meaning in (
        ("--sep", "MARK", 'what separates the fields of a text file, such as ";" or tab'),
        ("--decimal", "MARK", 'the decimal mark of a text file: "." or ","'),
        ("--encoding", "NAME", "of a text file, such as cp1252"),
    ):
        parser.add_argument(flag, metavar=metavar, help=meaning + " (default: as the file shows)")
    parser.add_argument(
        "--missing", action="append", metavar="TEXT", help="a text that is a missing value, such as NA"
    )
    parser.add_argument("--time", metavar="COLUMN", help="the order of the rows: the newest are tested")
    parser.add_argument("--group", metavar="COLUMN", help="rows of one group are never on both sides")
    parser.add_argument("--protocol", metavar="NAME", help=f"one of {protocols} (default: auto)")
    return parser


def main(arguments: Sequence[str]) -> None:
    """Run `tabemb compare` with its arguments.

    Raises
    ------
    UsageError
        If the arguments cannot be understood.
    """
    overrides, columns = read_arguments(arguments)
    config, folder = compose_config(overrides, columns)
    page = run_config(config, folder)
    print(f"report: {page}", file=sys.stderr)


def read_arguments(arguments: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Translate the command line into overrides and settings of the data set.

    Parameters
    ----------
    arguments : sequence of str

    Returns
    -------
    overrides : list of str
        In hydra's syntax.
    columns : dict
        Settings of the data set.

    Raises
    ------
    UsageError
        If the arguments cannot be understood.
    """
    given = compare_parser().parse_intermixed_args(arguments)
    files = [item for item in given.items if Path(item).is_file() or not _is_override(item)]
    overrides = [item for item in given.items if item not in files]
    if len(files) > 1:
        raise UsageError(f"there must be one file; got {', '.join(files)}.")
    is_named = any(item.startswith("dataset=") for item in overrides)
    if bool(files) == is_named:
        raise UsageError(
            "the table must be a CSV or parquet file, or dataset=NAME; "
            f"got {'both' if files else 'neither'}."
        )
    if files and not given.target and not any(i.startswith("dataset.target=") for i in overrides):
        raise UsageError(f"--target must name the column of {files[0]} to predict.")
    overrides = [*_group_overrides(given, bool(files)), *overrides]
    for override in overrides:
        _check_override(override)
    return overrides, _columns(given, files)


def _is_override(item: str) -> bool:
    return "=" in item or item.startswith("~")


def _group_overrides(given: argparse.Namespace, has_file: bool) -> list[str]:
    overrides = ["dataset=file"] if has_file else []
    overrides += [f"model=[{','.join(_split(given.models))}]"] if given.models else []
    return overrides + ([f"protocol={given.protocol}"] if given.protocol else [])


def _columns(given: argparse.Namespace, files: Sequence[str]) -> dict[str, Any]:
    columns: dict[str, Any] = {"path": files[0]} if files else {}
    for name in ("target", "time", "group", "sep", "decimal", "encoding", "missing"):
        if getattr(given, name) is not None:
            columns[name] = getattr(given, name)
    for name in ("categorical", "datetimes", "numbers", "drop"):
        if getattr(given, name) is not None:
            columns[name] = _split(getattr(given, name))
    if columns.get("categorical") == ["all"]:
        columns["categorical"] = "all"
    return columns


def _split(texts: Sequence[str]) -> list[str]:
    """Split texts such as "a,b" of a flag that may be given several times."""
    return [name.strip() for text in texts for name in text.split(",") if name.strip()]


def _check_override(override: str) -> None:
    """Refuse an override that hydra cannot parse, or that names a missing file of a group."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        OverridesParser.create().parse_override(override)
    except HydraException as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"{override!r} must have the form KEY=VALUE of hydra ({reason}).") from None
    group, _, value = override.partition("=")
    if group not in GROUPS or value in ("", "null", "[]"):
        return
    if "," in value and not value.startswith("["):
        rule = "be written model=[A,B] for several models"
        if group != "model":
            rule = f"name one {group}; in a checkout, python -m experiments.compare -m runs several"
        raise UsageError(f"{group} must {rule}; got {override!r}.")
    for name in value.strip("[]").split(","):
        try:
            check_option(group, name.strip())
        except ValueError as error:
            raise UsageError(str(error)) from None


def compose_config(overrides: Sequence[str], columns: dict[str, Any]) -> tuple[DictConfig, Path]:
    """Compose the configuration.

    Parameters
    ----------
    overrides : sequence of str
        In hydra's syntax.
    columns : dict
        Settings of the data set, which may contain any character.

    Returns
    -------
    config : DictConfig
    folder : Path
        The folder of this run.

    Raises
    ------
    UsageError
        If an override cannot be read, or names a setting that does not exist.
    """
    from hydra import compose, initialize_config_dir
    from hydra.core.hydra_config import HydraConfig
    from hydra.errors import HydraException

    try:
        with initialize_config_dir(str(conf_folder()), version_base="1.3"):
            config = compose("compare", list(overrides), return_hydra_config=True)
    except HydraException as error:
        raise UsageError(_hydra_message(error)) from None
    # the folder's name contains the data set's name, which hydra resolves from its global state
    HydraConfig.instance().set_config(config)
    folder = Path(config.hydra.run.dir)
    with open_dict(config):
        del config["hydra"]
        # not as overrides: a column's name may contain characters of hydra's syntax
        config.dataset.update(columns)
    return config, folder


def _hydra_message(error: Exception) -> str:
    text = _one_line(error)
    if not text.startswith("Could not override"):
        return f"{text.rstrip('.')}."
    key = text.split("'")[1]
    if key.startswith("models.") and ".params." in key:
        return f"there is no setting {key!r} yet; +{key}=VALUE adds a parameter of a model."
    return f"there is no setting {key!r} ({did_you_mean(key, _settings_beside(key), lists_all=True)})."


def _settings_beside(key: str) -> list[str]:
    """Return the settings that exist at the level of a key."""
    group = key.partition(".")[0] if "." in key else ""
    arguments: dict[str, Any] = {"dataset": load_dataset, "protocol": Protocol}
    if group in arguments:
        return [f"{group}.{name}" for name in signature(arguments[group]).parameters]
    if group == "models":
        return [f"models.{name}" for name in config_options("model")]
    settings = OmegaConf.load(conf_folder() / "compare.yaml")
    return [*GROUPS, *(str(name) for name in settings if name not in ("defaults", "hydra"))]
