import numpy as np
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
    """One for each value where there are few, else bins; the missing value has a level."""
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
