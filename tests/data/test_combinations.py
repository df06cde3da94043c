"""Combinations of inputs: planted ones are found, random ones are not."""

import numpy as np
import pytest

from tabemb.data.combinations import Candidates, choose_combinations
from tabemb.data.effects import Effects
from tabemb.data.pairs import key_bits, key_levels, term_keys


def columns(n_rows, n_columns, n_levels=4, seed=0):
    return list(np.random.default_rng(seed).integers(0, n_levels, (n_columns, n_rows)))


def noise(n_rows):
    return np.random.default_rng(9).normal(size=n_rows)


def chosen(levels, rest, categorical=None, numbers=(), n_most=9):
    candidates = Candidates(levels, rest[:, None], np.ones(len(rest)))
    return choose_combinations(
        candidates, categorical or range(len(levels) - len(numbers)), numbers, n_most
    )


def test_a_planted_pair_is_the_only_one_that_is_chosen():
    levels = columns(4000, 6)
    rest = 1.0 * (levels[1] == levels[4]) + noise(4000)
    assert chosen(levels, rest - rest.mean()) == [(1, 4)]


def test_a_planted_triple_grows_from_a_pair():
    levels = columns(6000, 5, n_levels=3)
    of_three = np.random.default_rng(3).normal(size=(3, 3, 3))
    rest = of_three[levels[0], levels[2], levels[3]] + noise(6000)
    terms = chosen(levels, rest - rest.mean())
    assert (0, 2, 3) in terms
    assert not any({1, 4} & set(term) for term in terms)


def test_noise_has_no_combinations():
    for seed in range(5):
        levels = columns(3000, 10, seed=seed)
        assert chosen(levels, noise(3000)) == []


def test_a_column_that_follows_from_another_adds_nothing():
    levels = columns(4000, 3)
    levels.append(levels[0] // 2)
    rest = 1.0 * (levels[0] == levels[1]) + noise(4000)
    terms = chosen(levels, rest - rest.mean())
    assert (0, 1) in terms
    assert not any(3 in term and 0 in term for term in terms)


def test_no_combination_has_two_numbers():
    levels = columns(4000, 4, n_levels=5)
    rest = 1.0 * (levels[2] == levels[3]) + (levels[0] == levels[2]) + noise(4000)
    assert chosen(levels, rest - rest.mean(), [0, 1], [2, 3]) == [(0, 2)]


def test_the_number_of_combinations_is_bounded():
    levels = columns(4000, 4)
    rest = 1.0 * (levels[0] == levels[1]) + (levels[2] == levels[3]) + noise(4000)
    rest -= rest.mean()
    assert len(chosen(levels, rest)) == 2
    assert len(chosen(levels, rest, n_most=1)) == 1
    assert chosen(levels, rest, n_most=0) == []


@pytest.mark.parametrize("n_inputs", [1, 2, 3, 4])
def test_keys_are_read_back(n_inputs):
    bits = 31 if n_inputs < 3 else key_bits(n_inputs)
    levels = [np.array([0, 1, 2**bits - 1]) for _ in range(n_inputs)]
    levels[-1] = levels[-1][::-1].copy()
    keys = term_keys(levels, tuple(range(n_inputs)))
    assert (key_levels(keys, n_inputs) == np.column_stack(levels)).all()


def test_a_level_without_room_in_the_key_is_unknown():
    levels = [np.array([2**21, 5]), np.array([3, 3]), np.array([4, 4])]
    keys = term_keys(levels, (0, 1, 2))
    assert keys[0] == -1
    assert keys[1] > 0


def step_in_number(n_rows, seed):
    rng = np.random.default_rng(seed)
    codes, number = rng.integers(2, 6, (n_rows, 2)), rng.normal(size=(n_rows, 1))
    y = np.where(number[:, 0] > 0, codes[:, 0] % 2, 0.5) + 0.1 * rng.normal(size=n_rows)
    return codes, number, y[:, None]


def test_effects_of_a_number_within_categories_come_where_something_is_left_to_explain():
    codes, number, y = step_in_number(4000, 0)
    weights, rng = np.ones(4000), np.random.default_rng(0)
    without = Effects(9, False).fit(codes, number, y, weights, rng)
    explained = np.full_like(y, y.mean())
    effects = Effects(9, False).fit(codes, number, y, weights, rng, explained=explained)
    assert (0, 3) in effects.terms_
    assert (0, 3) not in without.terms_
    assert effects.inputs_of((0, 3)) == [0, 2]
    t = effects.terms_.index((0, 3))
    assert effects.reads[t].tolist() == [True, False, True]
    new_codes, new_number, new_y = step_in_number(2000, 1)
    feature = effects.transform(new_codes, new_number)[:, t, 0]
    assert np.corrcoef(feature, new_y[:, 0])[0, 1] > 0.9
    all_explained = Effects(9, False).fit(codes, number, y, weights, rng, explained=y)
    assert all_explained.terms_ == without.terms_
