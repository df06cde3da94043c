"""The command `tabemb compare`: a comparison as the configuration and the command line describe it."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from inspect import signature
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from tabemb.compare.conf import check_option, conf_folder, config_options
from tabemb.compare.datasets import Dataset, load_dataset
from tabemb.compare.grid import run, select
from tabemb.compare.hints import did_you_mean
from tabemb.compare.models import ModelSpec
from tabemb.compare.report import write_report
from tabemb.compare.splits import Protocol, choose_protocol
from tabemb.compare.store import newest, read_cells
from tabemb.compare.table import matching_label, print_report
from tabemb.extras import need

RUN_OPTIONS = ("seeds", "folds", "n_jobs", "isolate", "time_limit", "retry_failed", "progress")
SCOPES = ("dataset", "all")
GROUPS = ("dataset", "model", "protocol", "experiment")


class UsageError(Exception):
    """A command line that cannot be understood; its message is one line."""


def run_config(config: DictConfig, folder: Path) -> Path:
    """Run a comparison as a configuration describes it, print the results and write the report.

    Parameters
    ----------
    config : DictConfig
        As composed from `conf/compare.yaml`.
    folder : Path
        Where the page, the pictures, the tables and the resolved configuration go.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    ValueError, FileNotFoundError, MissingMandatoryValue
        If a setting does not exist, does not fit the data, or is missing.
    ImportError
        If a package of the extra `compare` is not installed.
    """
    settings: dict[str, Any] = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)  # type: ignore[assignment]
    if settings["scope"] not in SCOPES:
        raise ValueError(f"scope must be 'dataset' or 'all'; got {settings['scope']!r}.")
    for module in ("rich", "matplotlib"):  # before hours of fits, not after
        need(module, "compare")
    dataset = _noted(lambda: load_dataset(**settings["dataset"]))
    protocol = choose_protocol(dataset, settings["protocol"])
    specs = [ModelSpec(**spec) for spec in settings["models"].values()]
    cells = Path(settings["results"]) / "cells"
    _check_reference(settings["reference"], specs, cells)
    run(dataset, specs, protocol, cells, **{name: settings[name] for name in RUN_OPTIONS})
    results = stored_results(cells, dataset, protocol, settings["scope"])
    print_report(results, settings["reference"])
    resolved = OmegaConf.to_yaml(config, resolve=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(resolved, encoding="utf-8")
    title = f"Comparison on {dataset.name}"
    return write_report(folder, results, settings["reference"], title, resolved)


def _noted(load: Any) -> Dataset:
    """Load a data set, and print its warnings as notes."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        dataset: Dataset = load()
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
        matching_label([*labels, *(stored["model"].unique() if len(stored) else ())], reference)


def stored_results(cells: Path, dataset: Dataset, protocol: Protocol, scope: str) -> pd.DataFrame:
    """Read the cells of this and earlier runs under a protocol.

    Parameters
    ----------
    cells : Path
        The folder of the cells.
    dataset : Dataset
    protocol : Protocol
    scope : {"dataset", "all"}
        Those of this data set, or those of all data sets, this one first.

    Returns
    -------
    DataFrame
    """
    stored = read_cells(cells)
    results = select(stored, dataset, protocol)
    if scope == "dataset":
        return results
    same_protocol = newest(stored[stored["protocol"] == protocol.label])
    others = same_protocol[same_protocol["dataset"] != dataset.name]
    return pd.concat([results, others], ignore_index=True)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """End the program with one line where the user can mend the fault; a traceback would bury it."""
    try:
        yield
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit("interrupted: finished fits are kept, the same command goes on from there")
    except MissingMandatoryValue as error:
        sys.exit(f"error: {error.full_key} must be given, as {error.full_key}=...")
    except (ValueError, OSError, ImportError, OmegaConfBaseException) as error:
        sys.exit(f"error: {_one_line(error)}")


def _one_line(error: BaseException) -> str:
    return " ".join(line.strip() for line in str(error).splitlines() if line.strip())


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> Any:
        """Raise instead of printing the usage."""
        raise UsageError(f"{message}; {self.prog} --help shows how it is used.")


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
        description="Compare models on a table: each is fitted on the same rows and tested on the same "
        "others. It prints a table with confidence intervals and paired differences, and writes a page, "
        "report.html, below outputs/compare. Finished fits are kept there, and do not run again.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "items", nargs="*", metavar="FILE, KEY=VALUE", help="a CSV or parquet file, and further settings"
    )
    models, protocols = ", ".join(config_options("model")), ", ".join(config_options("protocol"))
    parser.add_argument("--target", metavar="COLUMN", help="the column to predict")
    for flag, meaning in (
        (
            "--categorical",
            'columns whose values are ids, even if they are numbers; "all" is all columns',
        ),
        ("--datetimes", "text columns that hold dates"),
        ("--drop", "columns that are not inputs"),
        ("--models", f"of {models} (default: embedding, lightgbm_td, linear, dummy)"),
    ):
        parser.add_argument(flag, action="append", metavar="A,B", help=meaning)
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
    """Translate the command line.

    Parameters
    ----------
    arguments : sequence of str

    Returns
    -------
    overrides : list of str
        In the language of hydra.
    columns : dict
        Settings of the data set.

    Raises
    ------
    UsageError
        If the arguments cannot be understood.
    """
    given = compare_parser().parse_intermixed_args(arguments)
    files = [item for item in given.items if "=" not in item and not item.startswith("~")]
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
        _check_group(override)
    return overrides, _columns(given, files)


def _group_overrides(given: argparse.Namespace, has_file: bool) -> list[str]:
    overrides = ["dataset=file"] if has_file else []
    overrides += [f"model=[{','.join(_split(given.models))}]"] if given.models else []
    return overrides + ([f"protocol={given.protocol}"] if given.protocol else [])


def _columns(given: argparse.Namespace, files: Sequence[str]) -> dict[str, Any]:
    columns: dict[str, Any] = {"path": files[0]} if files else {}
    for name in ("target", "time", "group"):
        if getattr(given, name) is not None:
            columns[name] = getattr(given, name)
    for name in ("categorical", "datetimes", "drop"):
        if getattr(given, name) is not None:
            columns[name] = _split(getattr(given, name))
    if columns.get("categorical") == ["all"]:
        columns["categorical"] = "all"
    return columns


def _split(texts: Sequence[str]) -> list[str]:
    """Split texts such as "a,b" of a flag that may stand several times."""
    return [name.strip() for text in texts for name in text.split(",") if name.strip()]


def _check_group(override: str) -> None:
    """Refuse a data set, model, protocol or experiment that does not exist."""
    group, _, value = override.partition("=")
    if group not in GROUPS or value in ("", "null"):
        return
    if "," in value and not value.startswith("["):
        raise UsageError(
            f"{group}={value} names several; write {group}=[{value}], "
            "or sweep with `python -m experiments.compare -m` in a checkout."
        )
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
        In the language of hydra.
    columns : dict
        Settings of the data set, which may hold any character.

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
    HydraConfig.instance().set_config(config)
    folder = Path(config.hydra.run.dir)
    with open_dict(config):
        del config["hydra"]
        config.dataset.update(columns)
    return config, folder


def _hydra_message(error: Exception) -> str:
    text = _one_line(error)
    if not text.startswith("Could not override"):
        return f"{text.rstrip('.')}."
    key = text.split("'")[1]
    settings = OmegaConf.load(conf_folder() / "compare.yaml")
    known = [*GROUPS, *(str(name) for name in settings if name not in ("defaults", "hydra"))]
    known += [f"dataset.{name}" for name in signature(load_dataset).parameters]
    known += [f"protocol.{name}" for name in Protocol.__dataclass_fields__]
    return f"there is no setting {key!r}; {did_you_mean(key, known, 'there are')}"
