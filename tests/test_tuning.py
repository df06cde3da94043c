"""The search space: what Optuna may try, around the defaults."""

import math

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from tabemb import EmbeddingClassifier, EmbeddingEncoder, EmbeddingRegressor, EventClassifier, tuning

optuna = pytest.importorskip("optuna")
optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.mark.parametrize(
    "estimator",
    [EmbeddingClassifier(), EmbeddingRegressor(), EventClassifier(entity="user", time="day")],
)
def test_the_defaults_are_in_the_space_and_its_bounds_are_allowed(estimator):
    space = tuning.space(estimator)
    for name, distribution in space.items():
        default = estimator.get_params()[name]
        assert distribution._contains(distribution.to_internal_repr(default)), name
        ends = getattr(distribution, "choices", None) or (distribution.low, distribution.high)
        for value in ends:
            estimator.rules[name].check(name, value)
    assert ("d_history" in space) == isinstance(estimator, EventClassifier)


def test_what_was_chosen_by_hand_stays():
    assert "dropout" not in tuning.space(EmbeddingClassifier(dropout=0.3))
    assert "n_pairs" not in tuning.space(EmbeddingClassifier(preset="fast"))
    assert "d_number" not in tuning.space(EmbeddingClassifier(preset="best"))


def test_other_estimators_are_refused():
    with pytest.raises(TypeError, match="got EmbeddingEncoder"):
        tuning.space(EmbeddingEncoder())


def test_trials_go_to_set_params_and_the_first_may_be_set():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"id": rng.permutation(400).astype(str), "shop": rng.choice(list("ab"), 400)})
    y = (X["shop"] == "a") + 0.5 * rng.normal(size=400)
    model = EmbeddingRegressor(max_epochs=3, n_members=1, hidden=(8,), random_state=0)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.enqueue_trial({"dropout": 0.1, "l2": 200.0})
    space = tuning.space(model)
    for _ in range(4):
        trial = study.ask(space)
        tried = clone(model).set_params(**trial.params).fit(X[:300], y[:300])
        study.tell(trial, float(np.mean((tried.predict(X[300:]) - y[300:]) ** 2)))
    assert study.trials[0].params["l2"] == 200.0
    assert len({trial.params["learning_rate"] for trial in study.trials}) == 4
    assert math.isfinite(study.best_value)
