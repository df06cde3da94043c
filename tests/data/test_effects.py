import numpy as np
import pytest
from scipy.special import logit

from tabemb.data.effects import MAX_RESPONSES, Effects
from tabemb.data.out_of_fold import OutOfFold
from tabemb.data.shrinkage import STRENGTHS

NO_NUMBERS = np.zeros((400, 0))


def generator(seed=0):
    return np.random.default_rng(seed)


def learn(codes, responses, numbers=None, weights=None, n_pairs=4, are_shares=False):
    numbers = np.zeros((len(codes), 0)) if numbers is None else numbers
    weights = np.ones(len(codes)) if weights is None else weights
    rows = (codes, numbers, np.asarray(responses, float).reshape(len(codes), -1), weights)
    effects = Effects(n_pairs, are_shares).fit(*rows, generator())
    return effects, OutOfFold(effects, *rows)


def shuffled(crossed, seed=0):
    """What all rows are told, asked in random order at once, in the order of the rows."""
    order = generator(seed).permutation(len(crossed.weights))
    told = np.empty_like(crossed(order))
    told[order] = crossed(order)
    return told


@pytest.fixture
def two():
    """Two categorical inputs of ten levels and an answer that the first one and the pair of both explain."""
    rng = generator(1)
    codes = rng.integers(2, 12, (4000, 2))
    pair = rng.normal(size=(12, 12))
    y = codes[:, 0] + 2 * pair[codes[:, 0], codes[:, 1]] + rng.normal(size=4000) * 0.1
    return codes, y


def test_an_effect_is_the_shrunk_difference_of_means(two):
    codes, y = two
    effects, _ = learn(codes, y)
    t, level = effects.terms_.index((0,)), 5
    own = (y[codes[:, 0] == level] - y.mean()) / y.std()
    expected = own.sum() / (len(own) + effects.strength_[t]) / effects.effect_units_[t, 0, 0]
    found = effects.transform(np.array([[level, 2]]), NO_NUMBERS[:1])[0, t]
    assert found[0] == pytest.approx(expected, rel=1e-5)
    assert found[1] == pytest.approx(np.log1p(len(own)) / effects.count_units_[t, 0], rel=1e-5)


@pytest.mark.parametrize("ratio", [1.0, 16.0])
def test_strength_is_the_ratio_of_variances(ratio):
    rng = generator()
    codes = rng.integers(2, 1002, (8000, 1))
    y = rng.normal(size=1002)[codes[:, 0]] + ratio**0.5 * rng.normal(size=8000)
    effects, _ = learn(codes, y)
    assert ratio / 2 <= effects.strength_[0] <= ratio * 2
    assert effects.strength_[0] in STRENGTHS


def test_shares_are_told_as_differences_of_log_odds(two):
    codes, y = two
    effects, _ = learn(codes, y > y.mean(), are_shares=True)
    t = effects.terms_.index((0,))
    share, own = (y > y.mean()).mean(), (y > y.mean())[codes[:, 0] == 3]
    shrunk = (own.sum() + effects.strength_[t] * share) / (len(own) + effects.strength_[t])
    found = (
        effects.transform(np.array([[3, 2]]), NO_NUMBERS[:1])[0, t, 0] * effects.effect_units_[t, 0, 0]
    )
    assert found == pytest.approx(logit(shrunk) - logit(share), rel=1e-4)


def test_a_row_is_told_the_answers_of_the_other_folds_alone():
    """Level 2 has ten rows and each has a fold of its own: what a row is told is the mean of the nine others."""
    codes, y = np.r_[np.full(10, 2), np.full(20, 3)][:, None], np.r_[np.arange(10.0) + 20, np.zeros(20)]
    _, crossed = learn(codes, y)
    centered = (y - y.mean()) / y.std()
    crossed.effects.features_of, folds = (
        (lambda sums, counts, terms: sums[..., :1].transpose(1, 0, 2)),
        np.arange(30) % 10,
    )
    expected = centered[:10].sum() - centered[:10]
    assert crossed._term_features(0, np.arange(30), folds)[:10, 0, 0] == pytest.approx(expected)


def test_noise_has_no_effect_out_of_fold():
    """In sample a level seen twice seems to explain its rows; the rows that teach must not be told so."""
    rng = generator()
    codes, y = rng.integers(2, 1002, (2000, 1)), rng.normal(size=2000)
    codes[:1000, 0] = 2
    y[:1000] += 3  # one level that matters, or there would be no term
    effects, crossed = learn(codes, y)
    rare = slice(1000, None)
    in_sample = effects.transform(codes, np.zeros((2000, 0)))[rare, 0, 0]
    assert np.corrcoef(in_sample, y[rare])[0, 1] > 0.5
    drawn = np.mean([shuffled(crossed, seed)[rare, 0, 0] for seed in range(5)], axis=0)
    assert np.corrcoef(drawn, y[rare])[0, 1] < 0.05


def test_rows_looked_at_together_are_a_fold(two):
    """A tenth of the rows are told what the other nine tenths say, whatever is asked of those."""
    codes, y = two
    effects, crossed = learn(codes, y)
    asked, others = np.arange(400), np.arange(400, 4000)
    term = effects.terms_.index((0,))
    told = crossed(asked)[:, term, 0] * effects.effect_units_[term, 0, 0]
    level = (codes[:, 0] == codes[0, 0])[others]
    own = ((y - y.mean()) / y.std())[others][level]
    assert told[0] == pytest.approx(own.sum() / (len(own) + effects.strength_[term]), rel=1e-5)
    np.testing.assert_array_equal(crossed(asked[::-1])[::-1], crossed(asked))


def test_rows_without_weight_are_not_known_until_they_teach(two):
    """Rows that judge: neither their answers nor the values that they alone hold may be in what is learned."""
    codes, y = two
    numbers = np.arange(4000.0)[:, None] % 200
    weights = (np.arange(4000) % 200 != 7).astype(float)  # the value 7 is in rows without weight alone
    rows = (codes, numbers, y[:, None])
    effects = Effects(0, False).fit(*rows, weights, generator())
    assert 7.0 not in effects.levels_.bounds[0]
    crossed = OutOfFold(effects, *rows, np.ones(4000))
    crossed.use_rows(np.flatnonzero(weights))
    kept = weights > 0
    apart = Effects(0, False).fit(*(part[kept] for part in rows), weights[kept], generator())
    judge = np.flatnonzero(~kept)
    expected = apart.transform(codes[judge], numbers[judge])
    np.testing.assert_allclose(crossed(judge), expected, atol=1e-5)
    np.testing.assert_allclose(effects.transform(codes[judge], numbers[judge]), expected, atol=1e-5)
    crossed.use_rows(None)
    assert effects.counts_.sum() == pytest.approx(4000 * len(effects.terms_))


def test_pairs_that_add_to_their_inputs_are_found(two):
    codes, y = two
    twice = np.column_stack(
        [codes, codes[:, 0], generator().integers(2, 6, len(y))]
    )  # a copy, and noise
    effects, _ = learn(twice, y)
    pairs = [term for term in effects.terms_ if len(term) == 2]
    assert set(pairs) == {(0, 1), (1, 2)}  # a column and its copy are no pair
    assert not [term for term in learn(twice, y, n_pairs=0)[0].terms_ if len(term) == 2]
    assert len([term for term in learn(twice, y, n_pairs=1)[0].terms_ if len(term) == 2]) == 1


def test_a_pure_interaction_is_found():
    codes = generator().integers(2, 4, (2000, 2))
    effects, crossed = learn(codes, codes[:, 0] == codes[:, 1], are_shares=True)
    assert effects.terms_ == [(0, 1)]
    assert np.corrcoef(shuffled(crossed)[:, 0, 0], codes[:, 0] == codes[:, 1])[0, 1] > 0.99


def test_numbers_have_levels_too():
    """Exact values where there are few, else bins; the missing value has a level of its own."""
    rng = generator()
    exact, wide = rng.integers(0, 200, 5000).astype(float), rng.normal(size=5000)
    y = rng.normal(size=200)[exact.astype(int)] + np.where(np.isnan(wide), 5, np.sign(wide))
    wide[:500], y[:500] = np.nan, y[:500] + 5
    effects, _ = learn(np.zeros((5000, 0), int), y, np.column_stack([exact, wide]))
    assert (0,) in effects.terms_
    assert (1,) in effects.terms_
    at = effects.transform(np.zeros((3, 0), int), np.array([[7, np.nan], [7, -9.0], [7, 9.0]]))
    t = effects.terms_.index((1,))
    missing, low, high = at[:, t, 0]
    assert missing > high > low


def test_a_level_never_seen_reads_zero(two):
    codes, y = two
    effects, _ = learn(codes, y)
    for unseen in ([0, 0], [99, 99], [5, 10**9]):
        found = effects.transform(np.array([unseen]), NO_NUMBERS[:1])[0]
        reads = effects.reads
        known = ~(reads[:, 1] | (reads[:, 0] & (unseen[0] != 5)))
        assert (found[~known] == 0).all()
        assert (found[known, 1] > 0).all()


def test_reads_says_which_columns_a_term_is_made_of(two):
    codes, y = two
    number = generator().normal(size=(len(y), 1))
    effects, _ = learn(codes, y + 3 * number[:, 0], number)
    assert effects.terms_ == [(0,), (1,), (2,), (0, 1)]
    expected = [[True, False, False], [False, True, False], [False, False, True], [True, True, False]]
    assert effects.reads.tolist() == expected


def test_a_row_of_weight_two_counts_as_two_rows(two):
    codes, y = (part[:500] for part in two)
    weights = np.where(np.arange(500) < 100, 2.0, 1.0)
    weighted, _ = learn(codes, y, weights=weights)
    doubled, _ = learn(np.r_[codes, codes[:100]], np.r_[y, y[:100]])
    assert weighted.terms_ == doubled.terms_
    found = [effects.transform(codes[:400], NO_NUMBERS) for effects in (weighted, doubled)]
    np.testing.assert_allclose(*found, rtol=1e-4)


def test_of_very_many_classes_the_frequent_ones_are_told():
    rng = generator()
    labels = np.minimum(rng.geometric(0.1, 4000), 40) - 1
    effects, _ = learn((labels % 7 + 2)[:, None], np.eye(40)[labels], are_shares=True)
    assert len(effects.responses_) == MAX_RESPONSES
    frequent = np.sort(np.argsort(-np.bincount(labels, minlength=40))[:MAX_RESPONSES])
    assert set(effects.responses_) == set(frequent)


def test_a_constant_answer_and_inputs_that_say_nothing_give_no_terms():
    codes = generator().integers(2, 4, (400, 2))
    for responses in (np.ones(400), generator().normal(size=400)):
        effects, crossed = learn(codes, responses)
        assert effects.terms_ == []
        assert shuffled(crossed).shape == (400, 0, len(effects.responses_) + 1)
        assert effects.transform(codes, NO_NUMBERS).shape[:2] == (400, 0)
