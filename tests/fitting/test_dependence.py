"""Values that depend on a category follow it into a row of another category."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.spatial.distance import pdist
from scipy.stats import spearmanr

import tabemb
from tabemb import EmbeddingRegressor
from tabemb.fitting.dependence import Dependents, decided_shares, dependents_of
from tabemb.network.inputs import RowInputs


def inputs_of(codes, numbers):
    return RowInputs.of(torch.from_numpy(codes.astype(np.int32)), torch.from_numpy(numbers), [])


def test_a_column_decides_what_it_is_a_part_of_and_its_twin():
    rng = np.random.default_rng(0)
    model = rng.integers(2, 42, 3000)
    brand, twin, other = model // 10 + 2, model * 2, rng.integers(2, 8, 3000)
    shares = decided_shares(np.stack([model, brand, twin, other], axis=1), np.zeros((3000, 0)))
    np.testing.assert_allclose(shares[0, [0, 1, 2]], 1, atol=0.05)
    np.testing.assert_allclose(shares[2, [0, 1, 2]], 1, atol=0.05)
    assert shares[1, 0] < 0.2  # a brand has ten models
    assert np.abs(shares[:3, 3]).max() < 0.1
    assert np.abs(shares[3, :3]).max() < 0.1


def test_the_share_of_a_number_is_that_of_its_variance_however_many_the_categories():
    rng = np.random.default_rng(0)
    for n_levels in (10, 2000):
        level = rng.integers(0, n_levels, 8000)
        place = 2 * rng.normal(size=n_levels)[level] + rng.normal(size=8000)
        place[::7] = np.nan
        numbers = np.stack([place, rng.normal(size=8000), np.ones(8000)], axis=1)
        shares = decided_shares(level[:, None] + 2, numbers)
        known = np.nanvar(place)
        np.testing.assert_allclose(shares[0, 1:], [1 - 1 / known, 0, 0], atol=0.08)


def test_rows_without_the_category_do_not_count():
    """Most rows have no company and another rate; among the others, the company has no effect."""
    rng = np.random.default_rng(0)
    company = np.where(rng.random(5000) < 0.2, rng.integers(2, 30, 5000), 1)
    rate = np.where(company > 1, rng.normal(size=5000), rng.normal(20, 1, size=5000))
    assert abs(decided_shares(company[:, None], rate[:, None])[0, 1]) < 0.1


def test_few_pairs_of_rows_show_no_dependence():
    """A rare word that hardly any two films of a director share does not depend on the director."""
    rng = np.random.default_rng(0)
    director, words = rng.integers(2, 6002, 2000), rng.random((2000, 50)) < 0.01
    assert decided_shares(director[:, None], words.astype(float))[0, 1:].max() < 0.5


def test_what_depends_on_a_category_follows_it():
    codes = np.array([[2, 5], [2, 5], [2, 6], [3, 7], [3, 7], [4, 8]])
    numbers = np.array([[1.0], [3.0], [2.0], [10.0], [np.nan], [20.0]], np.float32)
    city = dependents_of(inputs_of(np.tile(codes, (50, 1)), np.tile(numbers, (50, 1))), [6, 9])[0]
    assert city.codes[1].tolist() == [-1, -1, 5, 7, 8, -1]
    np.testing.assert_allclose(city.numbers[0].tolist(), [7.2] * 2 + [2, 10, 20] + [7.2], rtol=1e-3)
    rows = inputs_of(codes, numbers)
    after = torch.tensor([3, 5, 2, 4, 2, 0])
    city.follow(rows, rows.codes[:, 0], after)
    assert rows.codes[:, 1].tolist() == [7, 5, 5, 8, 5, 8]
    expected = [9, 8.2, 2, 20, np.nan, 7.2]
    np.testing.assert_allclose(rows.numbers[:, 0].tolist(), expected, rtol=1e-3)


def test_rows_stay_where_nothing_depends():
    rows = inputs_of(np.array([[2], [3]]), np.array([[1.0], [2.0]]))
    Dependents({}, {}).follow(rows, rows.codes[:, 0], torch.tensor([3, 3]))
    assert rows.codes[:, 0].tolist() == [2, 3]
    assert rows.numbers[:, 0].tolist() == [1, 2]


@pytest.fixture(scope="module")
def places():
    """The target depends on the latitude, which the zip code nearly determines."""
    rng = np.random.default_rng(0)
    latitude = rng.uniform(size=30)
    zipcode = rng.integers(0, 30, 3000)
    X = pd.DataFrame({"zipcode": zipcode.astype(str), "twin": (100 + zipcode).astype(str)})
    X["latitude"] = latitude[zipcode] + 0.01 * rng.normal(size=3000)
    y = 3 * X["latitude"] + 0.1 * rng.normal(size=3000)
    model = EmbeddingRegressor(random_state=0, n_members=2, hidden=(16,), max_epochs=8).fit(X, y)
    return model, latitude


def test_a_vector_knows_what_the_answer_owes_to_a_column_that_depends_on_the_category(places):
    model, latitude = places
    zipcodes, twins = model.spaces_["zipcode"], model.spaces_["twin"]
    order = zipcodes.categories.to_numpy().astype(int)
    distances = pdist(zipcodes.vectors[:, :1])
    assert spearmanr(distances, pdist(latitude[order, None])).statistic > 0.95
    in_order = twins.vectors[twins.positions([str(100 + code) for code in order])]
    assert spearmanr(distances, pdist(in_order[:, :1])).statistic > 0.99


def test_a_file_keeps_what_depends(places, tmp_path):
    model, _ = places
    tabemb.save(model, tmp_path / "m")
    loaded = tabemb.load(tmp_path / "m").spaces_["zipcode"]
    np.testing.assert_array_equal(loaded.vectors, model.spaces_["zipcode"].vectors)
