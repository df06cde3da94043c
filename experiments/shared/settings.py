"""Settings, data folder and results of a run, and the check of settings."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from tabemb.compare import conf_folder

CONFIG_FOLDER = conf_folder()
RESULTS = Path(__file__).resolve().parents[1] / "results"


def read_settings(config: DictConfig) -> dict[str, Any]:
    """Return the settings that hydra composed as plain Python values."""
    settings: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    return settings


def data_folder() -> Path:
    """Return the folder that ``TABEMB_DATA`` names, or end the program with a line that asks for it."""
    folder = os.environ.get("TABEMB_DATA")
    if not folder:
        sys.exit("error: TABEMB_DATA must name the folder of the data sets; it is not set.")
    return Path(folder)


def check_choices(option: str, values: Iterable[str], known: Collection[str]) -> None:
    """End the program with a line that lists the known values if an option has another one."""
    for value in values:
        if value not in known:
            sys.exit(f"error: {option} must be among {', '.join(known)}; got {value!r}.")
