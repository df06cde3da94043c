"""The configuration files of the comparison: where they are, and the data sets that they describe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from tabemb.compare.datasets import Dataset, load_dataset
from tabemb.compare.hints import did_you_mean


def conf_folder() -> Path:
    """Return the folder of the hydra configuration: `tabemb/conf` of the wheel, or `conf` of a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"


def config_options(group: str) -> list[str]:
    """Return the names of a group's files, such as the data sets of `conf/dataset`."""
    return sorted(path.stem for path in (conf_folder() / group).glob("*.yaml"))


def dataset_options(name: str) -> dict[str, Any]:
    """Return the arguments of `load_dataset` that `conf/dataset/{name}.yaml` holds.

    Raises
    ------
    ValueError
        If there is no such file.
    """
    known = config_options("dataset")
    if name not in known:
        raise ValueError(
            f"dataset must be a file of conf/dataset; got {name!r}, {did_you_mean(name, known)}"
        )
    options = OmegaConf.load(conf_folder() / "dataset" / f"{name}.yaml")
    return OmegaConf.to_container(options, resolve=True)  # type: ignore[return-value]


def named_dataset(name: str) -> Dataset:
    """Load the data set that `conf/dataset/{name}.yaml` describes."""
    return load_dataset(**dataset_options(name))
