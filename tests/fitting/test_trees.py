"""Trees with the network: scores that do not use the row's target, combinations, files."""

import copy

import lightgbm
import numpy as np
import pandas as pd
import pytest

import tabemb
from tabemb.data.vocabulary import MISSING, UNKNOWN
from tabemb.fitting import recipe
from tabemb.fitting.tree_texts import check_trees, without_sizes
from tabemb.fitting.trees import MIN_ROWS, Trees, fit_trees, share_explained
from tabemb.training.loop import Budget


def planted(n_rows, seed=0):
    """Return codes, numbers and a response that steps at zero within each of three categories."""
    rng = np.random.default_rng(seed)
    codes, numbers = rng.integers(2, 5, (n_rows, 1)), rng.normal(size=(n_rows, 1))
    y = (numbers[:, 0] > 0) * (codes[:, 0] - 3.0) + 0.1 * rng.normal(size=n_rows)
    return codes.astype(np.int32), numbers.astype(np.float32), y[:, None]


def fitted(codes, numbers, y, weights=None, **settings):
    weights = np.ones(len(y)) if weights is None else weights
    given = {"are_shares": False, "seed": 0, "budget": Budget()} | settings
    return fit_trees(codes, numbers, y, weights, **given)


def test_scores_follow_a_planted_step():
    stacked = fitted(*planted(3000))
    codes, numbers, y = planted(1000, seed=1)
    scores = stacked.trees(codes, numbers)
    assert scores.shape == (1000, 1)
    assert scores.dtype == np.float32
    assert np.corrcoef(scores[:, 0], y[:, 0])[0, 1] > 0.98


def test_scores_of_training_rows_do_not_know_their_targets():
    rng = np.random.default_rng(0)
    codes, numbers, _ = planted(2000)
    y = rng.normal(size=(2000, 1))
    y[:, 0] += 0.5 * numbers[:, 0]  # a signal in addition to noise
    stacked = fitted(codes, numbers, y)
    noise = y[:, 0] - 0.5 * numbers[:, 0]
    assert abs(np.corrcoef(stacked.scores[:, 0], noise)[0, 1]) < 0.06
    seen = stacked.trees(codes, numbers)[:, 0]
    assert np.corrcoef(seen, noise)[0, 1] > 0.1


def test_scores_are_in_standard_deviations():
    stacked = fitted(*planted(2000))
    assert stacked.scores.mean() == pytest.approx(0, abs=1e-5)
    assert stacked.scores.std() == pytest.approx(1, abs=1e-5)


def test_new_categories_are_unknown_ones_which_trees_have_seen():
    codes, numbers, y = planted(8000)
    trees = fitted(codes, numbers, y).trees
    raw = trees(np.array([[2], [4], [5], [UNKNOWN], [MISSING]]), np.ones((5, 1), np.float32))
    lowest, highest, *unknown = (raw * trees.units + trees.centers)[:, 0]
    assert [lowest, highest] == pytest.approx([-1, 1], abs=0.1)
    assert unknown == pytest.approx([unknown[0]] * 3, abs=1e-6)
    assert unknown[0] == pytest.approx(0, abs=0.4)  # the mean of the three categories


def test_missing_values_that_training_rows_had_are_a_category():
    codes, numbers, y = planted(8000)
    missing = np.where(codes == 4, MISSING, codes)
    trees = fitted(missing, numbers, y).trees
    raw = trees(np.array([[MISSING]]), np.ones((1, 1), np.float32)) * trees.units + trees.centers
    assert raw == pytest.approx(1, abs=0.1)


def test_trees_know_missing_numbers():
    codes, numbers, y = planted(8000)
    trees = fitted(codes, numbers, y).trees
    raw = trees(np.array([[4]]), np.array([[np.nan]], np.float32)) * trees.units + trees.centers
    assert raw == pytest.approx(0.5, abs=0.25)  # the mean of those above and below zero


def test_training_rows_whose_category_no_other_fold_holds_are_read_as_unknown():
    codes, numbers, y = planted(2000)
    codes[0] = 9  # only its fold contains this category
    stacked = fitted(codes, numbers, y)
    unknown = stacked.of_rows(np.array([0]), np.array([[UNKNOWN]]), numbers[:1])
    assert stacked.scores[:1] == pytest.approx(unknown)


def test_decisive_inputs_are_those_of_most_gain():
    codes, numbers, y = planted(3000)
    noise = np.random.default_rng(5).integers(2, 9, (3000, 1))
    trees = fitted(np.hstack([codes, noise]), numbers, y).trees
    assert trees.decisive.tolist() == [True, False, True]


def test_noise_has_no_trees():
    codes, numbers, _ = planted(2000)
    assert fitted(codes, numbers, np.random.default_rng(1).normal(size=(2000, 1))) is None


def test_responses_without_trees_are_predicted_by_their_mean():
    codes, numbers, y = planted(2000)
    noise = np.random.default_rng(1).normal(size=2000)
    stacked = fitted(codes, numbers, np.column_stack([noise, y[:, 0]]))
    assert stacked.trees.width == 1
    assert stacked.predictions[:, 0] == pytest.approx(noise.mean())
    assert share_explained(y[:, 0], stacked.predictions[:, 1], np.ones(2000)) > 0.9


def test_rows_of_no_weight_do_not_count():
    codes, numbers, y = planted(4000)
    weights = np.repeat([1.0, 0.0], 2000)
    y[2000:] *= -1
    stacked = fitted(codes, numbers, y, weights)
    scores = stacked.trees(codes[:2000], numbers[:2000])
    assert np.corrcoef(scores[:, 0], y[:2000, 0])[0, 1] > 0.97


def test_other_codes_of_training_rows_are_read_by_the_trees_of_their_fold():
    codes, numbers, y = planted(2000)
    stacked = fitted(codes, numbers, y)
    rows = np.array([5, 3, 1999])
    same = stacked.of_rows(rows, codes[rows], numbers[rows])
    assert same == pytest.approx(stacked.scores[rows], abs=1e-6)
    assert stacked.of_rows(rows, 7 - codes[rows], numbers[rows]) != pytest.approx(same)


def test_a_spent_budget_ends_the_growing():
    quick = fitted(*planted(2000), budget=Budget(1e-9))
    assert quick.trees.texts[0].count("\nTree=") == 1


def table(n_rows):
    codes, numbers, y = planted(n_rows)
    X = pd.DataFrame({"kind": np.array(list("??abc"))[codes[:, 0]], "size": numbers[:, 0]})
    return X, y[:, 0]


def short(**settings):
    return tabemb.EmbeddingRegressor(max_epochs=2, random_state=0, n_jobs=1, **settings)


def test_trees_come_from_a_thousand_rows_on():
    X, y = table(MIN_ROWS)
    assert short().fit(X, y).trees_ is not None
    assert short().fit(X[:-1], y[:-1]).trees_ is None
    assert short(trees=False).fit(X, y).trees_ is None


def test_trees_help_a_network_of_two_epochs():
    X, y = table(3000)
    new, truth = table(2000)
    errors = [np.mean((short(trees=t).fit(X, y).predict(new) - truth) ** 2) for t in (True, False)]
    assert errors[0] < 0.7 * errors[1]


@pytest.mark.parametrize("early_stopping", [True, "auto"])
def test_trees_are_read_without_effects_too(early_stopping, monkeypatch):
    monkeypatch.setattr(recipe, "FEWEST_EPOCHS", 6)
    monkeypatch.setattr(recipe, "MOST_EPOCHS", 6)
    X, y = table(1300)
    settings = {"random_state": 0, "n_jobs": 1, "hidden": (8,), "n_members": 1, "patience": 1}
    model = tabemb.EmbeddingRegressor(**settings, effects=False, early_stopping=early_stopping)
    assert model.fit(X, y).trees_ is not None
    assert model.score(X, y) > 0.5


def test_events_have_no_trees():
    assert not tabemb.EventRegressor.trees
    assert "trees" not in tabemb.EventRegressor(entity="user", time="at").get_params()


def test_a_saved_model_predicts_the_same_bits(tmp_path):
    X, y = table(1500)
    model = short().fit(X, y)
    tabemb.save(model, tmp_path / "model.tabemb")
    again = tabemb.load(tmp_path / "model.tabemb")
    assert (again.predict(X) == model.predict(X)).all()
    assert (copy.deepcopy(model).predict(X) == model.predict(X)).all()


@pytest.fixture(scope="module")
def text():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.integers(0, 40, 500), rng.normal(size=500)])
    y = 9 * np.sin(X[:, 0]) + X[:, 1]
    settings = {"verbose": -1, "num_leaves": 5, "min_data_per_group": 5}
    data = lightgbm.Dataset(X, y, categorical_feature=[0], params=settings)
    return without_sizes(lightgbm.train(settings, data, 3).model_to_string())


def test_a_sound_text_is_read_as_it_was(text):
    check_trees(text, 2)
    assert "tree_sizes" not in text
    assert lightgbm.Booster(model_str=text).num_trees() == 3


def forged(text, name, change):
    """Return the text with the first values of a field changed."""
    line = next(line for line in text.split("\n") if line.startswith(name + "="))
    return text.replace(line, f"{name}={change(line.split('=')[1])}", 1)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("max_feature_idx", lambda v: "7"),
        ("num_class", lambda v: "2"),
        ("split_feature", lambda v: "9" + v[1:]),
        ("left_child", lambda v: "0" + v[v.index(" ") :]),
        ("right_child", lambda v: "-99" + v[v.index(" ") :]),
        ("leaf_value", lambda v: "nan" + v[v.index(" ") :]),
        ("num_leaves", lambda v: "6"),
        ("cat_boundaries", lambda v: v + "00"),
        ("is_linear", lambda v: "1"),
    ],
)
def test_a_forged_text_is_refused(text, name, change):
    with pytest.raises(ValueError, match=r"columns|do not fit together"):
        check_trees(forged(text, name, change), 2)


KNOWN = (np.ones(2, bool), np.array([5]), np.zeros(1, bool))


def test_a_file_with_other_scales_is_refused(text):
    with pytest.raises(ValueError, match="another number of ensembles"):
        Trees((text,), np.zeros(2), np.ones(2), *KNOWN, np.zeros(1, int))
    none = np.zeros(0, bool)
    with pytest.raises(ValueError, match="another number of inputs"):
        Trees((text,), np.zeros(1), np.ones(1), KNOWN[0], KNOWN[1], none, np.zeros(1, int))
