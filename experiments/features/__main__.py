"""Compare vectors with other encodings of categories: seven data sets, six models, nine encodings.

`python -m experiments.features` gives each model out-of-fold vectors (`EmbeddingEncoder`), its native
categories, integers, one-hot columns, scikit-learn's TargetEncoder, and in-sample vectors, which show
the leak. Finished cells are kept under `outputs/features`; a second run continues from there.
"""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from experiments.features.comparison import compare, show
from experiments.features.encodings import ENCODINGS
from experiments.shared.models import MODELS
from experiments.shared.settings import CONFIG_FOLDER, check_choices, data_folder, read_settings


@hydra.main(version_base="1.3", config_path=str(CONFIG_FOLDER), config_name="features")
def main(config: DictConfig) -> None:
    settings = read_settings(config)
    check_choices("models", settings["models"], MODELS)
    check_choices("encodings", settings["encodings"], ENCODINGS)
    data_folder()
    show(compare(settings))


if __name__ == "__main__":
    main()
