import numpy as np
import pandas as pd
import pytest
from scipy.special import logit

from tabemb.data.effects import MAX_RESPONSES

NO_NUMBERS = np.zeros((400, 0))


def generator(seed=0):
    return np.random.default_rng(seed)


def test_an_effect_is_the_shrunken_difference_of_means(fit_effects, two):
    codes, y = two
    effects, _ = fit_effects(codes, y)
    t, level = effects.terms_.index((0,)), 5
    values = (y[codes[:, 0] == level] - y.mean()) / y.std()
    expected = values.sum() / (len(values) + effects.strength_[t]) / effects.effect_units_[t, 0, 0]
    effect, log_count = effects.transform(np.array([[level, 2]]), NO_NUMBERS[:1])[0, t]
    assert effect == pytest.approx(expected, rel=1e-5)
    assert log_count == pytest.approx(np.log1p(len(values)) / effects.count_units_[t, 0], rel=1e-5)


def test_effects_on_shares_are_differences_of_log_odds(fit_effects, two):
    codes, y = two
    effects, _ = fit_effects(codes, y > y.mean(), are_shares=True)
    t = effects.terms_.index((0,))
    share, values = (y > y.mean()).mean(), (y > y.mean())[codes[:, 0] == 3]
    shrunken = (values.sum() + effects.strength_[t] * share) / (len(values) + effects.strength_[t])
    effect = effects.transform(np.array([[3, 2]]), NO_NUMBERS[:1])[0, t, 0]
    expected = logit(shrunken) - logit(share)
    assert effect * effects.effect_units_[t, 0, 0] == pytest.approx(expected, rel=1e-4)


def test_pairs_that_add_to_their_inputs_are_terms(fit_effects, two):
    codes, y = two
    codes = np.column_stack(
        [codes, codes[:, 0], generator().integers(2, 6, len(y))]
    )  # a copy, and noise

    def pairs(n_pairs):
        return [term for term in fit_effects(codes, y, n_pairs=n_pairs)[0].terms_ if len(term) == 2]

    assert set(pairs(4)) == {(0, 1), (1, 2)}
    assert len(pairs(1)) == 1
    assert pairs(0) == []


def test_numbers_have_levels_too(fit_effects):
    """There is one level per value if there are few values, else bins, and one for missing values."""
    rng = generator()
    exact, wide = rng.integers(0, 200, 5000).astype(float), rng.normal(size=5000)
    y = rng.normal(size=200)[exact.astype(int)] + np.where(np.isnan(wide), 5, np.sign(wide))
    wide[:500], y[:500] = np.nan, y[:500] + 5
    effects, _ = fit_effects(np.zeros((5000, 0), int), y, np.column_stack([exact, wide]))
    assert (0,) in effects.terms_
    assert (1,) in effects.terms_
    at = effects.transform(np.zeros((3, 0), int), np.array([[7, np.nan], [7, -9.0], [7, 9.0]]))
    t = effects.terms_.index((1,))
    missing, low, high = at[:, t, 0]
    assert missing > high > low


def test_an_unseen_level_reads_zero(fit_effects, two):
    codes, y = two
    effects, _ = fit_effects(codes, y)
    for unseen in ([0, 0], [99, 99], [5, 10**9]):
        features = effects.transform(np.array([unseen]), NO_NUMBERS[:1])[0]
        reads = effects.reads
        known = ~(reads[:, 1] | (reads[:, 0] & (unseen[0] != 5)))
        assert (features[~known] == 0).all()
        assert (features[known, 1] > 0).all()


def test_reads_holds_the_columns_of_each_term(fit_effects, two):
    codes, y = two
    number = generator().normal(size=(len(y), 1))
    effects, _ = fit_effects(codes, y + 3 * number[:, 0], number)
    assert effects.terms_ == [(0,), (1,), (2,), (0, 1)]
    expected = [[True, False, False], [False, True, False], [False, False, True], [True, True, False]]
    assert effects.reads.tolist() == expected


def test_a_row_of_weight_two_counts_as_two_rows(fit_effects, two):
    codes, y = (part[:500] for part in two)
    weights = np.where(np.arange(500) < 100, 2.0, 1.0)
    weighted, _ = fit_effects(codes, y, weights=weights)
    doubled, _ = fit_effects(np.r_[codes, codes[:100]], np.r_[y, y[:100]])
    assert weighted.terms_ == doubled.terms_
    features = [effects.transform(codes[:400], NO_NUMBERS) for effects in (weighted, doubled)]
    np.testing.assert_allclose(*features, rtol=1e-4)


def test_of_very_many_classes_the_frequent_ones_have_effects(fit_effects):
    labels = np.minimum(generator().geometric(0.1, 4000), 40) - 1
    effects, _ = fit_effects((labels % 7 + 2)[:, None], np.eye(40)[labels], are_shares=True)
    assert len(effects.responses_) == MAX_RESPONSES
    frequent = np.sort(np.argsort(-np.bincount(labels, minlength=40))[:MAX_RESPONSES])
    assert set(effects.responses_) == set(frequent)


@pytest.mark.parametrize("responses", [np.ones(400), generator().normal(size=400)])
def test_a_constant_target_and_inputs_without_information_give_no_terms(fit_effects, responses):
    codes = generator().integers(2, 4, (400, 2))
    effects, _ = fit_effects(codes, responses)
    assert effects.terms_ == []
    assert effects.transform(codes, NO_NUMBERS).shape == (400, 0, len(effects.responses_) + 1)


def planted_levels(rng, n_levels, strength, are_shares):
    """Return codes, responses and true effects of levels of random size, given a strength."""
    codes = np.repeat(np.arange(n_levels) + 2, rng.geometric(1 / 8, n_levels))
    if are_shares:
        truth = rng.beta(0.3 * strength, 0.7 * strength, n_levels)
        return codes, (rng.random(len(codes)) < truth[codes - 2]).astype(float), truth
    truth = rng.normal(scale=5 / np.sqrt(strength), size=n_levels)
    return codes, truth[codes - 2] + rng.normal(scale=5, size=len(codes)), truth


@pytest.mark.parametrize("are_shares", [False, True])
@pytest.mark.parametrize("strength", [1, 3, 10])
def test_intervals_of_95_percent_cover_planted_effects(fit_effects, strength, are_shares):
    covered, counts = [], []
    for seed in range(8):
        codes, y, truth = planted_levels(generator(seed), 400, strength, are_shares)
        effects, _ = fit_effects(codes[:, None], y, np.zeros((len(y), 0)), are_shares=are_shares)
        levels = effects.levels_of(effects.terms_.index((0,)))
        unit = 1.0 if are_shares else effects.unit_[0]
        known = levels.effects[:, 0] * unit + effects.mean_[0]
        error = np.abs(known - truth[levels.levels[:, 0] - 2])
        covered.append(error < 1.96 * unit * levels.errors[:, 0])
        counts.append(levels.counts)
    covered, counts = np.concatenate(covered), np.concatenate(counts)
    for low, high in ((1, 3), (3, 10), (10, np.inf)):  # for levels with few and with many rows, too
        assert 0.92 < covered[(counts >= low) & (counts < high)].mean() < 0.98


def test_errors_are_those_of_a_random_effect(fit_effects, two):
    codes, y = two
    effects, _ = fit_effects(codes, y)
    t = effects.terms_.index((0, 1))
    levels = effects.levels_of(t)
    groups = pd.Series(y).groupby([codes[:, 0], codes[:, 1]])
    within = (groups.var() * (groups.size() - 1)).sum() / (len(y) - len(groups))
    expected = np.sqrt(within / (groups.size() + effects.strength_[t])).to_numpy()
    assert levels.levels.tolist() == [list(pair) for pair in groups.size().index]
    np.testing.assert_array_equal(levels.counts, groups.size())
    np.testing.assert_allclose(levels.means[:, 0] * effects.unit_, groups.mean() - y.mean())
    np.testing.assert_allclose(levels.errors[:, 0] * effects.unit_, expected, rtol=1e-3)


def test_levels_of_one_row_each_have_the_error_that_the_strength_implies(fit_effects):
    y = generator().normal(size=400)
    effects, _ = fit_effects(np.arange(400)[:, None] + 2, y)
    effects.terms_, effects.strength_ = [(0,)], np.array([3.0])
    effects.keys_, effects.ends_ = np.arange(400) + 2, np.array([0, 400])
    effects.counts_, effects.sums_ = np.ones(401), effects.center(y[:, None])
    assert effects.levels_of(0).errors == pytest.approx(np.sqrt(3 / 4 / 4))


def test_gains_are_the_share_of_variance_that_new_rows_would_have_explained(fit_effects):
    rng = generator()
    codes = rng.integers(2, 12, (20_000, 3))
    y = rng.normal(size=12)[codes[:, 0]] + 0.5 * rng.normal(size=12)[codes[:, 1]]
    y = y + rng.normal(size=len(y))
    effects, _ = fit_effects(codes, y)
    within = [1 - np.mean([y[codes[:, i] == c].var() for c in range(2, 12)]) / y.var() for i in (0, 1)]
    np.testing.assert_allclose(effects.input_gains_, [*within, 0], atol=2e-3)
    assert dict(zip(effects.terms_, effects.gains_))[(0,)] == pytest.approx(effects.input_gains_[0])
