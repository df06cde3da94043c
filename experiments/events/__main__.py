"""Compare a recurrent network on events, boosted trees on aggregates of them, and both together.

`python -m experiments.events` compares them on one split of each problem, with several seeds. Finished
cells are kept under `outputs/events`; a second run continues from there.
"""

from __future__ import annotations

import os
from pathlib import Path

import hydra
from omegaconf import DictConfig

from experiments.events.comparison import compare, show
from experiments.events.models import MODELS
from experiments.shared.settings import CONFIG_FOLDER, check_choices, read_settings


@hydra.main(version_base="1.3", config_path=str(CONFIG_FOLDER), config_name="events")
def main(config: DictConfig) -> None:
    settings = read_settings(config)
    check_choices("models", settings["models"], MODELS)
    # the made-up pattern needs no data
    folder = os.environ.get("TABEMB_DATA")
    show(compare(settings, Path(folder) if folder else None))


if __name__ == "__main__":
    main()
