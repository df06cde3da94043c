"""Measure what a parameter search gains over the defaults, on test rows that it has not seen.

`python -m experiments.tuning` lets Optuna try 30 settings of `tabemb.tuning.space` on a part of the
training rows and chooses the best one by another part. It then fits that one and the defaults to all
training rows with several seeds, and prints their errors on the test rows of the published splits.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import hydra
import numpy as np
import optuna
from omegaconf import DictConfig
from sklearn.base import clone

from experiments.shared.published import error_on, load_named
from experiments.shared.settings import CONFIG_FOLDER, data_folder, read_settings
from tabemb import EmbeddingClassifier, EmbeddingRegressor, tuning
from tabemb.compare import Dataset, Protocol, make_splits

VALID_SHARE = 0.2
"""Share of the training rows by which settings are chosen."""


@hydra.main(version_base="1.3", config_path=str(CONFIG_FOLDER), config_name="tuning")
def main(config: DictConfig) -> None:
    settings = read_settings(config)
    data_folder()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for name in settings["datasets"]:
        print(gain_of(load_named(name), settings), flush=True)


def gain_of(dataset: Dataset, settings: Mapping[str, Any]) -> str:
    """Search on the training rows of the first fold; describe the errors on its test rows."""
    split = make_splits(dataset, Protocol("published"))[0]
    rng = np.random.default_rng(0)
    train = rng.permutation(split.train)[: settings["n_rows"]]
    model = new_model(dataset, settings["n_jobs"])
    start = time.perf_counter()
    best = search(dataset, model, train, settings["n_trials"])
    seconds = time.perf_counter() - start
    tests = split.test
    errors = np.array(
        [
            [
                error_with(dataset, clone(model).set_params(**params, random_state=seed), train, tests)
                for params in ({}, best)
            ]
            for seed in settings["seeds"]
        ]
    )
    return described(dataset.name, errors, best, f"{settings['n_trials']} trials, {seconds:.0f} s")


def described(name: str, errors: np.ndarray, best: Mapping[str, Any], cost: str) -> str:
    """Describe the errors with the defaults and with the best settings, (n_seeds, 2), in words."""
    changes, (default, tuned) = 100 * (errors[:, 1] / errors[:, 0] - 1), errors.mean(0)
    chosen = ", ".join(f"{parameter} {value:.3g}" for parameter, value in best.items())
    return (
        f"{name}: {default:.4f} with the defaults, {tuned:.4f} after {cost}: {changes.mean():+.1f} % "
        f"(seeds {changes.min():+.1f} to {changes.max():+.1f}); {chosen}"
    )


def new_model(dataset: Dataset, n_jobs: int) -> EmbeddingClassifier | EmbeddingRegressor:
    """Return the default model of a data set."""
    estimator = EmbeddingRegressor if dataset.task == "regression" else EmbeddingClassifier
    roles: Any = dict(dataset.roles)  # keys may be names or positions
    return estimator(roles=roles, n_jobs=n_jobs, random_state=0)


def search(dataset: Dataset, model: Any, rows: np.ndarray, n_trials: int) -> dict[str, Any]:
    """Return the parameters of the trial with the smallest error on the last rows."""
    n_valid = int(VALID_SHARE * len(rows))
    space = tuning.space(model)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    study.enqueue_trial({name: model.get_params()[name] for name in space})
    for _ in range(n_trials):
        trial = study.ask(space)
        tried = clone(model).set_params(**trial.params)
        study.tell(trial, error_with(dataset, tried, rows[n_valid:], rows[:n_valid]))
    return dict(study.best_params)


def error_with(dataset: Dataset, model: Any, train: np.ndarray, test: np.ndarray) -> float:
    """Fit a model to some rows and return its error on others."""
    y = dataset.y.to_numpy()
    model.fit(dataset.X.iloc[train], y[train])
    return error_on(dataset, model, dataset.X.iloc[test], y[test])


if __name__ == "__main__":
    main()
