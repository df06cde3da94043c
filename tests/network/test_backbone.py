"""Backbones: shapes, the closed form of the factorisation machine, and what it can learn."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import torch

import tabemb
from tabemb import EmbeddingClassifier, EmbeddingRegressor
from tabemb.network.backbone import BACKBONES, DeepFM, WideDeep


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("n_members", [1, 3])
@pytest.mark.parametrize("hidden", [(), (8, 4)])
def test_the_width_of_the_hidden_vector_is_dim(name, n_members, hidden):
    backbone = BACKBONES[name](5, hidden, dropout=0.1, n_members=n_members)
    assert backbone(torch.randn(2, 5)).shape == (2, n_members, backbone.dim)


def test_wide_and_deep_hands_the_inputs_on():
    x = torch.randn(4, 5)
    hidden = WideDeep(5, (8,), dropout=0.0, n_members=3)(x)
    for member in range(3):
        torch.testing.assert_close(hidden[:, member, 8:], x)


def test_the_products_are_those_of_all_pairs_of_inputs():
    backbone, x = DeepFM(5, (8,), dropout=0.0, n_members=1), torch.randn(4, 5)
    v = backbone.factors
    expected = sum((x[:, i] * x[:, j])[:, None] * v[i] * v[j] for i, j in combinations(range(5), 2))
    torch.testing.assert_close(backbone.products(x), expected)
    torch.testing.assert_close(backbone(x)[:, 0, 13:], expected)


def test_the_products_keep_their_precision_under_autocast():
    """In half precision, the difference of two nearly equal numbers would have no correct digits."""
    backbone, x = DeepFM(50, (8,), dropout=0.0, n_members=1), 10 * torch.randn(4, 50)
    with torch.autocast("cpu", torch.bfloat16):
        products = backbone.products(x)
    torch.testing.assert_close(products, backbone.products(x))


@pytest.mark.slow
def test_a_factorisation_machine_learns_a_dot_product_that_a_narrow_net_cannot():
    rng = np.random.default_rng(0)
    left, right = rng.integers(0, 30, (2, 6000))
    u, v = rng.normal(size=(2, 30, 2))
    y = (u[left] * v[right]).sum(1)
    X = pd.DataFrame({"left": left.astype(str), "right": right.astype(str)})
    train = np.arange(6000) < 4800
    quick = {"hidden": (2,), "n_pairs": 0, "trees": False, "max_epochs": 20, "random_state": 0}
    score = {}
    for name in BACKBONES:
        model = EmbeddingRegressor(backbone=name, **quick).fit(X[train], y[train])
        score[name] = model.score(X[~train], y[~train])
    assert score["deepfm"] > 0.75
    assert max(score["mlp"], score["wide_deep"]) < 0.6


@pytest.mark.parametrize("name", ["wide_deep", "deepfm"])
def test_a_backbone_serves_what_the_default_serves(name, tmp_path):
    """Vectors, effects and files do not depend on the backbone of a model."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"city": rng.choice(list("abcd"), 200), "size": rng.normal(size=200)})
    quick = {"backbone": name, "max_epochs": 3, "n_members": 2, "n_networks": 2, "random_state": 0}
    model = EmbeddingClassifier(**quick).fit(X, X["city"] == "a")
    assert set(model.spaces_["city"].categories) == set("abcd")
    tabemb.save(model, tmp_path / "m.tabemb")
    loaded = tabemb.load(tmp_path / "m.tabemb")
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
