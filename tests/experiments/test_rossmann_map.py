"""The map of Rossmann's states and stores, on made-up sales."""

import numpy as np
import pandas as pd
import pytest

from experiments.rossmann_map import (
    STATES,
    agreement,
    draw,
    first_component,
    fitted_net,
    geography,
    store_pairs,
)
from experiments.shared.sales import INPUTS
from tabemb import EmbeddingSpace


def made_up_sales(n=3000):
    """Return forty stores whose sales rise from the first to the last."""
    rng = np.random.default_rng(0)
    columns = {name: rng.integers(1, 4, n) for name in INPUTS}
    columns["store"] = rng.integers(0, 40, n)
    columns["state"] = np.array(list(STATES))[columns["store"] % 12]
    return pd.DataFrame(
        {**columns, "sales": 1000 * np.exp(columns["store"] / 20 + rng.normal(scale=0.05, size=n))}
    )


def test_stores_lie_by_their_sales(tmp_path):
    sales = made_up_sales()
    net = {
        "effects": False,
        "biases": False,
        "dim": 4,
        "max_epochs": 10,
        "learning_rate": 0.01,
        "hidden": [16],
        "n_members": 1,
        "n_jobs": 1,
    }
    settings = {"folder": str(tmp_path), "n_rows": 3000, "seed": 0, "net": {**net, "batch_size": 128}}
    model = fitted_net(sales, settings)
    assert (
        fitted_net(sales, settings).spaces_["store"].vectors == model.spaces_["store"].vectors
    ).all()  # the stored net is reused
    by_store = np.log(sales["sales"]).groupby(sales["store"]).mean()
    pairs = store_pairs(model.spaces_["store"], by_store, 500, seed=0)
    assert pairs.corr("spearman").iloc[0, 1] > 0.7
    first = first_component(model.spaces_["store"], by_store)
    assert first.corr().iloc[0, 1] > 0.9
    figure = draw(model.spaces_["state"], pairs, first)
    assert len(figure.axes) == 4
    assert figure.axes[2].get_title(loc="left") == f"{len(pairs):,} pairs of stores"


def test_states_that_lie_as_on_the_map_agree_with_it_and_shuffled_ones_do_not():
    names = list(STATES)
    places = geography(EmbeddingSpace(np.eye(12), names))
    along = places / np.abs(places).max()
    true = EmbeddingSpace(np.column_stack([along, np.ones(12)]), names)
    correlation, p_value = agreement(true, n_draws=200)
    assert correlation > 0.95
    assert p_value == 0
    shuffled = EmbeddingSpace(true.vectors[np.random.default_rng(0).permutation(12)], names)
    assert agreement(shuffled, n_draws=200)[0] < 0.4
    assert np.linalg.norm(places[names.index("HH")] - places[names.index("BY")]) == pytest.approx(
        520, abs=40
    )
