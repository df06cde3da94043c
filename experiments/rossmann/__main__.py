"""Repeat the table of Guo & Berkhahn 2016 (arXiv 1604.06737) on their protocol, next to their results.

`python -m experiments.rossmann` predicts the daily sales of 1,115 stores from store, day of week,
promotion, year, month, day and state, with a shuffled split and one in time. Nearest neighbours, a
random forest, boosted trees and a network are fitted without and with the network's embeddings. Finished
cells are kept under `outputs/rossmann`; a second run continues from there.
"""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from experiments.rossmann.comparison import PAPER, compare, show
from experiments.shared.sales import read_sales
from experiments.shared.settings import CONFIG_FOLDER, check_choices, read_settings


@hydra.main(version_base="1.3", config_path=str(CONFIG_FOLDER), config_name="rossmann")
def main(config: DictConfig) -> None:
    settings = read_settings(config)
    check_choices("splits", settings["splits"], PAPER)
    show(compare(read_sales(), settings))


if __name__ == "__main__":
    main()
