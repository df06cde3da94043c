"""The tuner finds settings that are known to be better, and measures them on pairs it has not seen."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

pytest.importorskip("gensim", reason="gensim is not installed")

from tabemb import ItemEmbedder, tune_items
from tabemb.unsupervised import tuning

SMALL = {"dim": 8, "random_state": 0}


def chains(n=300, n_items=40, seed=0):
    """Return sequences with a fixed successor of each item, which a window of 1 and many epochs find."""
    rng = np.random.default_rng(seed)
    starts = rng.integers(n_items, size=n)
    return [[f"i{(start + j) % n_items:02d}" for j in range(5)] for start in starts]


def test_the_better_setting_is_found_and_measured_on_other_pairs():
    embedder = ItemEmbedder(**SMALL, max_epochs=1)
    space = {"max_epochs": [1, 60], "window": [1]}
    tuned = tune_items(embedder, chains(), n_trials=3, space=space, k=3, random_state=0)
    assert tuned.best_params == {"max_epochs": 60, "window": 1}
    assert tuned.embedder.max_epochs == 60
    assert len(tuned.trials) == 3
    assert tuned.trials["hit_rate"].is_monotonic_decreasing
    assert sorted(tuned.trials.index) == [0, 1, 2]
    assert tuned.trials.loc[0, "window"] == "auto"  # the settings given
    best = tuned.quality.loc["best"]["hit_rate"]
    assert best[["similar", "context"]].max() > 0.9
    assert best["popularity"] < 0.4
    given = tuned.quality.loc["given"]["hit_rate"]
    assert given[["similar", "context"]].max() < 0.6
    assert set(tuned.embedder.space_) == {f"i{i:02d}" for i in range(40)}


def test_held_out_pairs_are_not_trained_on():
    """The last item of each list a, b, z_i occurs nowhere else, so no setting can find it."""
    lists = [["a", "b", f"z{i}"] for i in range(60)]
    tuned = tune_items(ItemEmbedder(**SMALL), lists, n_trials=1, random_state=0)
    assert tuned.trials["hit_rate"].tolist() == [0]
    assert tuned.quality["n_unseen"].unique().tolist() == [30]


def test_two_calls_give_the_same_result_and_a_limit_of_time_keeps_the_first_trial():
    runs = [tune_items(ItemEmbedder(**SMALL), chains(), n_trials=2, random_state=3) for _ in range(2)]
    pd.testing.assert_frame_equal(*(run.trials.drop(columns="seconds") for run in runs))
    np.testing.assert_array_equal(*(run.embedder.space_.vectors for run in runs))
    short = tune_items(ItemEmbedder(**SMALL), chains(), max_time=1e-9, random_state=0)
    assert short.trials.index.tolist() == [0]


def test_sets_and_goals_and_groups_are_tuned_too(monkeypatch):
    lists = [sorted(row) for row in chains(80)]
    tuned = tune_items(
        ItemEmbedder(mode="set", **SMALL, max_epochs=2), lists, n_trials=2, random_state=0
    )
    assert "window" not in tuned.trials
    pytest.importorskip("numba", reason="numba is not installed")
    X = pa.table({"page": lists, "goal": [row[0] for row in lists]})
    groups = {f"i{i:02d}": i % 3 for i in range(40)}
    embedder = ItemEmbedder(item="page", goal="goal", groups=groups, **SMALL, max_epochs=2)
    tuned = tune_items(embedder, X, n_trials=2, space={"window": [1, 2]}, random_state=0)
    assert tuned.embedder.goal == "goal"
    assert tuned.embedder.groups == groups


def test_the_default_space_holds_to_the_rules():
    for name, values in tuning.SPACE.items():
        for value in values:
            ItemEmbedder.rules[name].check(name, value)
    assert any(value < 0 for value in tuning.SPACE["negative_exponent"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"space": {"mode": ["set"]}},
            r"space must name parameters that change the vectors; got 'mode'\.",
        ),
        ({"space": {"window": 3}}, r"space must hold a sequence of values of window; got 3\."),
        (
            {"space": {"window": [0]}},
            r"space: window must be a whole number >= 1 or 'auto' or None; got 0\.",
        ),
        ({"n_trials": 0}, r"n_trials must be a whole number >= 1; got 0\."),
    ],
)
def test_wrong_arguments_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        tune_items(ItemEmbedder(), chains(), **settings)


def test_too_few_lists_are_refused():
    with pytest.raises(ValueError, match=r"X must have at least 20 lists of 3 items .*; it has 1\."):
        tune_items(ItemEmbedder(), [["a", "b", "c"], ["a", "b"]])
