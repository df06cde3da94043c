import numpy as np
import pytest

from tabemb.data.effects import Effects
from tabemb.data.out_of_fold import OutOfFold, weights_of


def shuffled(out_of_fold, seed=0):
    """Return the features of all rows in their order, computed in one call in random order."""
    order = np.random.default_rng(seed).permutation(len(out_of_fold.weights))
    features = np.empty_like(out_of_fold(order))
    features[order] = out_of_fold(order)
    return features


def test_a_row_reads_the_targets_of_the_other_folds_alone(fit_effects):
    """Level 2 has ten rows in ten different folds, and each row reads the sum of the other nine."""
    codes, y = np.r_[np.full(10, 2), np.full(20, 3)][:, None], np.r_[np.arange(10.0) + 20, np.zeros(20)]
    effects, out_of_fold = fit_effects(codes, y)
    effects.features_of = lambda sums, counts, terms: sums[..., :1].transpose(1, 0, 2)
    features = out_of_fold._term_features(0, np.arange(30), np.arange(30) % 10)
    centered = (y - y.mean()) / y.std()
    assert features[:10, 0, 0] == pytest.approx(centered[:10].sum() - centered[:10])


def test_noise_has_no_effect_out_of_fold(fit_effects):
    """In-sample, a level of two rows seems to explain them; training rows must not read that."""
    rng = np.random.default_rng(0)
    codes, y = rng.integers(2, 1002, (2000, 1)), rng.normal(size=2000)
    codes[:1000, 0] = 2
    y[:1000] += 3  # one level with an effect, as there would be no term otherwise
    effects, out_of_fold = fit_effects(codes, y)
    rare = slice(1000, None)
    in_sample = effects.transform(codes, np.zeros((2000, 0)))[rare, 0, 0]
    assert np.corrcoef(in_sample, y[rare])[0, 1] > 0.5
    features = np.mean([shuffled(out_of_fold, seed)[rare, 0, 0] for seed in range(5)], axis=0)
    assert np.corrcoef(features, y[rare])[0, 1] < 0.05


def test_a_batch_of_a_tenth_of_the_rows_is_one_fold(fit_effects, two):
    """The effects of the batch come from the other nine tenths, whatever its order."""
    codes, y = two
    effects, out_of_fold = fit_effects(codes, y)
    batch, rest = np.arange(400), np.arange(400, 4000)
    term = effects.terms_.index((0,))
    effect = out_of_fold(batch)[0, term, 0] * effects.effect_units_[term, 0, 0]
    same_level = (codes[:, 0] == codes[0, 0])[rest]
    values = ((y - y.mean()) / y.std())[rest][same_level]
    assert effect == pytest.approx(values.sum() / (len(values) + effects.strength_[term]), rel=1e-5)
    np.testing.assert_array_equal(out_of_fold(batch[::-1])[::-1], out_of_fold(batch))


def test_validation_rows_are_in_no_effect_until_they_train(two):
    """Effects use neither the targets of validation rows nor values that only these have."""
    codes, y = two
    numbers = np.arange(4000.0)[:, None] % 200
    weights = (np.arange(4000) % 200 != 7).astype(float)  # only rows of weight zero have the value 7
    rows = (codes, numbers, y[:, None])
    effects = Effects(0, False).fit(*rows, weights, np.random.default_rng(0))
    assert 7.0 not in effects.levels_.bounds[0]
    out_of_fold = OutOfFold(effects, *rows, np.ones(4000))
    out_of_fold.use_rows(np.flatnonzero(weights))
    train, validation = np.flatnonzero(weights), np.flatnonzero(weights == 0)
    apart = Effects(0, False).fit(*(part[train] for part in rows), weights[train], None)
    expected = apart.transform(codes[validation], numbers[validation])
    np.testing.assert_allclose(out_of_fold(validation), expected, atol=1e-5)
    in_effects = effects.transform(codes[validation], numbers[validation])
    np.testing.assert_allclose(in_effects, expected, atol=1e-5)
    out_of_fold.use_rows(None)
    assert effects.counts_.sum() == pytest.approx(4000 * len(effects.terms_))


def test_a_pure_interaction_is_known_out_of_fold(fit_effects):
    codes = np.random.default_rng(0).integers(2, 4, (2000, 2))
    y = codes[:, 0] == codes[:, 1]
    effects, out_of_fold = fit_effects(codes, y, are_shares=True)
    assert effects.terms_ == [(0, 1)]
    assert np.corrcoef(shuffled(out_of_fold)[:, 0, 0], y)[0, 1] > 0.99


def test_without_terms_there_are_no_features(fit_effects):
    codes = np.random.default_rng(0).integers(2, 4, (400, 2))
    _, out_of_fold = fit_effects(codes, np.ones(400))
    assert shuffled(out_of_fold).shape == (400, 0, 1)


def test_rows_outside_of_a_selection_weigh_nothing():
    weights = np.array([2.0, 1.0, 3.0])
    assert weights_of(np.array([2, 0]), weights).tolist() == [2.0, 0.0, 3.0]
    assert weights_of(None, weights) is weights
