"""The configuration files of the comparison: where they are, and what they describe by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from tabemb.compare.datasets import Dataset, load_dataset
from tabemb.compare.hints import did_you_mean


def conf_folder() -> Path:
    """Return the folder of the configuration: `tabemb/conf` in a wheel, `conf` in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"


def config_options(group: str) -> list[str]:
    """Return the names of a group's files, such as the data sets of `conf/dataset`.

    Parameters
    ----------
    group : {"dataset", "model", "protocol"}
        The folder below `conf`.

    Returns
    -------
    list of str
    """
    return sorted(path.stem for path in (conf_folder() / group).glob("*.yaml"))


def read_option(group: str, name: str) -> dict[str, Any]:
    """Read one file of a group.

    Parameters
    ----------
    group : {"dataset", "model", "protocol"}
        The folder.
    name : str
        The file's name without its extension.

    Returns
    -------
    dict

    Raises
    ------
    ValueError
        If there is no such file.
    """
    check_option(group, name)
    options = OmegaConf.load(conf_folder() / group / f"{name}.yaml")
    return OmegaConf.to_container(options, resolve=True)  # type: ignore[return-value]


def check_option(group: str, name: str) -> None:
    """Refuse a name for which the group has no file."""
    known = config_options(group)
    if name not in known:
        hint = did_you_mean(name, known, lists_all=True)
        raise ValueError(f"{group}: there is no {group} {name!r} in conf/{group} ({hint}).")


def dataset_options(name: str) -> dict[str, Any]:
    """Return the arguments of `load_dataset` in `conf/dataset/{name}.yaml`.

    Parameters
    ----------
    name : str
        Name of the file without its extension.

    Returns
    -------
    dict
    """
    return read_option("dataset", name)


def named_dataset(name: str) -> Dataset:
    """Load the data set that `conf/dataset/{name}.yaml` describes.

    Parameters
    ----------
    name : str
        Name of the file without its extension.

    Returns
    -------
    Dataset
    """
    return load_dataset(**dataset_options(name))
