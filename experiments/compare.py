"""Compare models on a data set.

`python -m experiments.compare dataset=adult 'model=[embedding,lightgbm_td]' protocol=published`
compares two models on one data set; `-m dataset=adult,kc_house` sweeps. Finished cells are kept under
`outputs/compare/cells`: runs add up, and an interrupted one resumes. `tabemb compare` does the same for
one data set without a checkout.
"""

from __future__ import annotations

import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from tabemb.compare import conf_folder
from tabemb.compare.command import one_line_errors, run_config
from tabemb.compare.outputs import removed_if_failed


@hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name="compare")
def main(config: DictConfig) -> None:
    """Run the comparison that the configuration describes."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    with one_line_errors(), removed_if_failed(folder):
        page = run_config(config, folder)
        print(f"report: {page}", file=sys.stderr)


if __name__ == "__main__":
    main()
