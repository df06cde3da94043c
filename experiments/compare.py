"""Compare models on a data set.

`python -m experiments.compare dataset=adult 'model=[embedding,lightgbm_td]' protocol=published`
compares two models on one data set; `-m dataset=adult,kc_house` sweeps. Finished cells are kept under
`outputs/compare/cells`: runs add up, and an interrupted one resumes.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hydra
import pandas as pd
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue
from rich.console import Console

from tabemb.compare import (
    Dataset,
    ModelSpec,
    Protocol,
    load_dataset,
    newest,
    print_report,
    read_cells,
    run,
    select,
    write_report,
)

CONFIG_FOLDER = Path(__file__).resolve().parents[1] / "conf"
RUN_OPTIONS = ("seeds", "folds", "n_jobs", "isolate", "time_limit", "retry_failed", "progress")


@hydra.main(version_base="1.3", config_path=str(CONFIG_FOLDER), config_name="compare")
def main(config: DictConfig) -> None:
    folder = Path(HydraConfig.get().runtime.output_dir)
    try:
        page = compare(config, folder)
    except KeyboardInterrupt:
        sys.exit("interrupted: finished cells are kept, the same command goes on from there")
    except MissingMandatoryValue as error:
        sys.exit(f"error: {error.full_key} must be given, as {error.full_key}=...")
    except (ValueError, FileNotFoundError) as error:
        # what a user can mend is told in a line; a traceback would bury it
        sys.exit(f"error: {error}")
    Console(stderr=True).print(f"report: {page}", highlight=False, soft_wrap=True)


def compare(config: DictConfig, folder: Path) -> Path:
    """Run what the configuration asks for, print it and write the report into a folder.

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
    """
    settings: dict[str, Any] = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)  # type: ignore[assignment]
    if settings["scope"] not in ("dataset", "all"):
        raise ValueError(f"scope must be 'dataset' or 'all', got {settings['scope']!r}")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        dataset = load_dataset(**settings["dataset"])
    for warning in caught:
        Console(stderr=True).print(f"note: {warning.message}", highlight=False, soft_wrap=True)
    protocol = protocol_for(dataset, settings["protocol"])
    specs = [ModelSpec(**spec) for spec in settings["models"].values()]
    cells = Path(settings["results"]) / "cells"
    run(dataset, specs, protocol, cells, **{name: settings[name] for name in RUN_OPTIONS})
    results = stored_results(cells, dataset, protocol, settings["scope"])
    print_report(results, settings["reference"])
    resolved = OmegaConf.to_yaml(config, resolve=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(resolved, encoding="utf-8")
    return write_report(
        folder, results, settings["reference"], f"Comparison on {dataset.name}", resolved
    )


def protocol_for(dataset: Dataset, options: Mapping[str, Any]) -> Protocol:
    """Build the protocol; the kind "auto" becomes the one that the data set's columns are made for."""
    if options["kind"] != "auto":
        return Protocol(**options)
    made_for = {"published": dataset.fold, "time": dataset.time, "grouped": dataset.groups}
    kind = next((kind for kind, column in made_for.items() if column is not None), "holdout")
    return Protocol(**{**options, "kind": kind, "folds": 1 if kind in ("time", "holdout") else 5})


def stored_results(cells: Path, dataset: Dataset, protocol: Protocol, scope: str) -> pd.DataFrame:
    """Read what this and earlier runs found under the protocol, on this data set or on all, this one first."""
    stored = read_cells(cells)
    this = select(stored, dataset, protocol)
    if scope == "dataset":
        return this
    same_protocol = newest(stored[stored["protocol"] == protocol.label])
    return pd.concat([this, same_protocol[same_protocol["dataset"] != dataset.name]], ignore_index=True)


if __name__ == "__main__":
    main()
