"""PairEmbedder: planted structure, columns of a side, negatives, losses, new users and items."""

from functools import cache

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

import tabemb
from tabemb import EmbeddingSpace, PairEmbedder, Table
from tabemb.network.inputs import RowInputs
from tabemb.training.optimizers import Optimizer
from tabemb.unsupervised.negatives import KnownPairs, Sampler
from tabemb.unsupervised.objective import LOSSES, Negatives
from tabemb.unsupervised.splits import split_users

SMALL = {"dim": 8, "max_epochs": 20, "l2": 0.1, "n_jobs": 1, "random_state": 0}
SMALL |= {"batch_size": 64, "learning_rate": 0.06}
BRIEF = SMALL | {"max_epochs": 2}
"""For tests that need a fitted model, but not a good one."""


def blocks(n_users=80, n_items=40, n=10, seed=0):
    """Return users who like only items of their own group, which is the number modulo 4."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(n_users):
        liked = np.arange(user % 4, n_items, 4)
        rows += [(f"u{user}", f"i{item}") for item in rng.choice(liked, min(n, len(liked)) - 3, False)]
    return pd.DataFrame(rows, columns=["user", "item"])


@cache
def fitted():
    """Return the model of `blocks()` for tests that do not change it."""
    return PairEmbedder(**SMALL).fit(blocks())


def group(label):
    return int(label[1:]) % 4


def share_right(table):
    return (table["user"].map(group) == table["item"].map(group)).mean()


# ways to train


ORDINARY = {("logistic", "uniform"), ("softmax", "uniform"), ("squared", "popularity")}
ORDINARY |= {("bpr", "popularity"), ("softmax", "in_batch"), ("bpr", "in_batch")}
"""Every loss and every kind of negatives, some twice; `make slow` has the other pairs."""


@pytest.mark.parametrize(
    ("loss", "negatives", "normalized"),
    [
        pytest.param(loss, kind, unit, marks=[] if (loss, kind) in ORDINARY else pytest.mark.slow)
        for loss in LOSSES
        for kind, unit in (("uniform", True), ("popularity", False), ("in_batch", False))
    ],
)
def test_every_loss_finds_the_groups_with_all_negatives(loss, negatives, normalized):
    sampled = {} if negatives == "in_batch" else {"n_negatives": 20}
    model = PairEmbedder(**SMALL, loss=loss, negatives=negatives, normalized=normalized, **sampled)
    assert share_right(model.fit(blocks()).recommend(k=3)) > 0.9
    lengths = np.linalg.norm(model.item_vectors_, axis=1)
    assert np.allclose(lengths, 1) == normalized


def test_negatives_of_the_same_group_separate_within_it():
    # users like either even or odd items of every market; the market alone explains nothing
    rng = np.random.default_rng(0)
    rows = []
    for user in range(60):
        liked = np.arange(user % 2, 40, 2)
        rows += [(f"u{user}", f"i{item}") for item in rng.choice(liked, 10, False)]
    pairs = pd.DataFrame(rows, columns=["user", "item"])
    items = pd.DataFrame({"item": [f"i{i}" for i in range(40)], "market": np.arange(40) // 10})
    model = PairEmbedder(**SMALL, negatives="group", group="market", n_negatives=5)
    model.set_params(roles={"market": "ignored"}).fit(pairs, items=items)
    table = model.recommend(k=3)
    same = table["user"].str[1:].astype(int) % 2 == table["item"].str[1:].astype(int) % 2
    assert same.mean() > 0.9


@pytest.mark.parametrize("how", ["uniform", "popularity"])
def test_sampled_softmax_estimates_the_sum_over_all_items(how):
    rng = torch.Generator().manual_seed(0)
    scores, positive = torch.randn(1, 200, generator=rng), torch.tensor([1.5])
    sampler = Sampler(how, torch.arange(1, 201), 100, 0.75)
    sums = []
    for _ in range(2000):
        pool = sampler.draw(torch.tensor([0]), rng)
        sampled = Negatives(
            scores[:, pool.items],
            torch.tensor(False),
            torch.zeros(1, len(pool.items)).bool(),
            pool.log_expected,
            torch.tensor([0]),
        )
        loss = LOSSES["softmax"](positive, sampled, 1.0)
        sums.append(float((loss + positive).exp() - positive.exp()))
    full = Negatives(scores, torch.tensor(False), None, torch.tensor(0.0), torch.tensor([0]))
    expected = float((LOSSES["softmax"](positive, full, 1.0) + positive).exp())
    assert expected == pytest.approx(float(scores.exp().sum()), rel=1e-5)
    assert np.mean(sums) == pytest.approx(expected, rel=0.02)


def test_sampler_draws_by_the_power_of_the_counts():
    counts = torch.tensor([1, 4, 16])
    for exponent, expected in [(1.0, [1, 4, 16]), (0.5, [1, 2, 4]), (-0.5, [4, 2, 1])]:
        pool = Sampler("popularity", counts, 60_000, exponent).draw(
            torch.tensor([0]), torch.Generator().manual_seed(0)
        )
        shares = torch.bincount(pool.items, minlength=3) / 60_000
        wanted = torch.tensor(expected) / sum(expected)
        assert torch.allclose(shares, wanted, atol=0.01)
        assert torch.allclose(pool.log_expected.exp(), 60_000 * wanted[pool.items], rtol=1e-3)


def test_negatives_of_a_group_are_of_that_group():
    groups = torch.tensor([2, 3, 2, 3, 3])
    sampler = Sampler("group", torch.ones(5), 200, 1.0, groups)
    pool = sampler.draw(torch.tensor([0, 4]), torch.Generator().manual_seed(0))
    assert set(pool.items[0].tolist()) == {0, 2}
    assert set(pool.items[1].tolist()) == {1, 3, 4}


def test_known_pairs_are_those_of_a_full_table():
    rng = np.random.default_rng(0)
    table = rng.random((7, 11)) < 0.3
    offsets = torch.tensor([0, *table.sum(1).cumsum()])
    known = KnownPairs(offsets, torch.from_numpy(np.nonzero(table)[1]), 11)
    users, pool = torch.tensor([3, 0, 6]), torch.tensor([5, 5, 1, 10])
    expected = torch.from_numpy(table[[[3], [0], [6]], [5, 5, 1, 10]])
    for _ in range(2):
        assert torch.equal(known.of(users, pool), expected)
    assert torch.equal(known.each(users, pool.repeat(3, 1)), expected)


# numbers


def ratings(n_users=150, n_items=80, n=6000, noise=0.2, seed=0):
    rng = np.random.default_rng(seed)
    u, v = rng.normal(size=(n_users, 3)), rng.normal(size=(n_items, 3))
    a, b = rng.normal(size=n_users), rng.normal(size=n_items)
    user, item = rng.integers(n_users, size=n), rng.integers(n_items, size=n)
    y = 3 + a[user] + b[item] + (u[user] * v[item]).sum(1) * 0.5 + noise * rng.normal(size=n)
    return pd.DataFrame({"user": user, "item": item}), y


FAST = {"batch_size": 1024, "learning_rate": 0.1}


@pytest.mark.parametrize("settings", [FAST, pytest.param({}, marks=pytest.mark.slow)])
def test_numbers_of_low_rank_are_recovered_nearly_to_their_noise(settings):
    X, y = ratings()
    model = PairEmbedder(dim=8, n_jobs=1, random_state=0, **settings).fit(X[:5000], y[:5000])
    error = np.sqrt(np.mean((model.predict(X[5000:]) - y[5000:]) ** 2))
    assert error < 0.4 < np.std(y[5000:]) / 3
    assert model.recommend([3], k=1, exclude_seen=False)["score"].iloc[0] > y.mean()


def test_offsets_alone_are_shrunken_means():
    # with one item, a user's offset is the sum of deviations over count + strength
    rng = np.random.default_rng(0)
    counts = np.repeat([2, 30], 40)
    user = np.repeat(np.arange(80), counts)
    y = 2 * rng.choice([-1, 1], 80)[user] + rng.normal(size=len(user))
    X = pd.DataFrame({"user": user, "item": 0})
    model = PairEmbedder(dim=1, l2=3, unknown_rate=0, early_stopping=False, random_state=0, n_jobs=1)
    tiny = {"user": Table(["user"], init=0.0), "item": Table(["item"], init=0.0)}
    model.set_params(tables=tiny, max_epochs=150, batch_size=1280, learning_rate=0.05).fit(X, y)
    # the prior is in units of the noise variance, as a share of the variance of y
    strength = 3 * np.mean((model.predict(X) - y) ** 2) / np.var(y)
    deviations = pd.Series(y - y.mean()).groupby(user).sum().to_numpy()
    expected = y.mean() + deviations / (counts + strength)
    predicted = model.predict(pd.DataFrame({"user": np.arange(80), "item": 0}))
    assert np.abs(predicted - expected).mean() < 0.05


def test_numbers_and_pairs_need_fitting_losses():
    X, y = ratings(n=50)
    with pytest.raises(ValueError, match="loss must be 'auto' or 'squared'"):
        PairEmbedder(loss="bpr").fit(X, y)
    with pytest.raises(ValueError, match="y must have the shape"):
        PairEmbedder().fit(X, y[:, None] * [1, 1])
    with pytest.raises(ValueError, match="first in row 3"):
        PairEmbedder().fit(X, np.where(np.arange(50) == 3, np.nan, y))


# columns of a side


def described(pairs):
    users = pd.DataFrame({"user": pairs["user"].unique()})
    items = pd.DataFrame({"item": pairs["item"].unique()})
    users["taste"], items["genre"] = users["user"].map(group), items["item"].map(group)
    return users.astype({"taste": str}), items.astype({"genre": str})


@pytest.mark.parametrize("hidden", [(), (16,)])
def test_new_users_and_items_from_their_columns(hidden):
    pairs = blocks()
    users, items = described(pairs)
    model = PairEmbedder(**SMALL | {"learning_rate": 0.03}, hidden=hidden, unknown_rate=0.1)
    model.fit(pairs, users=users, items=items)
    more_items = pd.DataFrame({"item": ["i1001", "i1002"], "genre": ["1", "2"]})
    more_users = pd.DataFrame({"user": ["u2001"], "taste": ["1"]})
    after = model.extend(users=more_users, items=more_items)
    table = after.recommend(["u2001"], k=5)
    assert share_right(table) >= 0.8
    scores = after.predict(pd.DataFrame({"user": ["u1", "u1"], "item": ["i1001", "i1002"]}))
    assert scores[0] > scores[1]
    np.testing.assert_array_equal(after.item_vectors_[: len(model.item_vectors_)], model.item_vectors_)


def test_items_without_pairs_are_recommended_by_their_columns():
    pairs = blocks()
    users, items = described(pairs)
    items = pd.concat([items, pd.DataFrame({"item": ["i1003"], "genre": ["3"]})], ignore_index=True)
    model = PairEmbedder(**SMALL, unknown_rate=0.1).fit(pairs, users=users, items=items)
    frame = pd.DataFrame({"user": [f"u{i}" for i in range(80)], "item": "i1003"})
    scores = pd.Series(model.predict(frame)).groupby(frame["user"].map(group)).mean()
    assert scores.idxmax() == 3


def test_histories_of_users():
    pairs = blocks()
    users, _ = described(pairs)
    users["read"] = [[f"g{group(user)}"] * 3 for user in users["user"]]
    users["age"] = np.arange(len(users)) * 1.0
    users = pl.from_pandas(users.drop(columns="taste"))
    model = PairEmbedder(**SMALL, unknown_rate=0.2).fit(pairs, users=users)
    new = pl.DataFrame({"user": ["u2002"], "read": [["g2", "g2"]], "age": [20.0]})
    assert share_right(model.extend(users=new).recommend(["u2002"], k=4)) >= 0.75


def test_rows_of_a_side_are_checked():
    pairs = blocks()
    users, items = described(pairs)
    with pytest.raises(ValueError, match="users must have a row for each 'user' of X; 1 have none"):
        PairEmbedder().fit(pairs, users=users.iloc[1:])
    twice = pd.concat([items, items.head(1)])
    with pytest.raises(ValueError, match="items must have one row for each 'item'; row 0 is one of 2"):
        PairEmbedder().fit(pairs, items=twice)
    with pytest.raises(ValueError, match="roles names 'gnre', which is on neither side"):
        PairEmbedder(roles={"gnre": "number"}).fit(pairs, items=items)
    with pytest.raises(ValueError, match="must have the width dim=64"):
        PairEmbedder(tables={"genre": Table(["genre"], dim=2)}).fit(pairs, items=items)
    with pytest.raises(ValueError, match="items lacks column 'item'"):
        PairEmbedder().fit(pairs, items=items.rename(columns={"item": "book"}))


# new users and items from pairs


def test_a_history_folds_in_and_moves_nothing():
    model = fitted()
    before = model.recommend(k=3)
    new = pd.DataFrame({"user": ["u1001"] * 4 + ["u1002"] * 4})
    new["item"] = [f"i{i}" for i in (1, 5, 9, 13, 2, 6, 10, 14)]
    after = model.extend(new)
    table = after.recommend(["u1001", "u1002"], k=4)
    assert share_right(table) == 1
    assert not set(table["item"]) & set(new["item"])
    pd.testing.assert_frame_equal(model.recommend(k=3), before)
    np.testing.assert_array_equal(after.user_vectors_[:80], model.user_vectors_)
    np.testing.assert_array_equal(after.item_vectors_, model.item_vectors_)
    pd.testing.assert_frame_equal(
        after.recommend([f"u{i}" for i in range(80)], k=3),
        model.recommend([f"u{i}" for i in range(80)], k=3),
    )


def test_a_new_item_is_placed_by_its_users():
    model = fitted()
    new = pd.DataFrame({"user": [f"u{i}" for i in (2, 6, 10, 14, 18)], "item": "i1002"})
    after = model.extend(new)
    nearest = after.similar(["i1002"], k=5)["neighbor"]
    assert (nearest.map(group) == 2).mean() >= 0.8
    assert after.spaces_["item"].counts[-1] == 5


def test_new_users_of_numbers_fold_in():
    X, y = ratings()
    old = (X["user"] < 140).to_numpy()
    model = PairEmbedder(dim=8, n_jobs=1, random_state=0, **FAST).fit(X[old], y[old])
    new_X, new_y = X[~old], y[~old]
    n = len(new_X) * 2 // 3
    unknown = np.mean((model.predict(new_X[n:]) - new_y[n:]) ** 2)
    known = np.mean((model.extend(new_X[:n], new_y[:n]).predict(new_X[n:]) - new_y[n:]) ** 2)
    assert known < unknown / 2
    with pytest.raises(ValueError, match="y must be passed with X"):
        model.extend(new_X)


def test_new_ids_of_another_kind_are_refused():
    model = fitted()
    with pytest.raises(ValueError, match="holds integer, but held text in fit"):
        model.extend(pd.DataFrame({"user": [1], "item": ["i1"]}))


# one table for both sides


def test_shared_vectors_of_a_graph():
    rng = np.random.default_rng(0)
    edges = rng.integers(60, size=(2000, 2))
    edges = edges[edges[:, 0] % 3 == edges[:, 1] % 3]
    frame = pd.DataFrame(edges, columns=["source", "target"])
    model = PairEmbedder(**SMALL, shared=True).fit(frame)
    spaces = model.spaces_
    np.testing.assert_array_equal(spaces["source"].vectors, spaces["target"].vectors)
    neighbours = model.similar([7], k=10)["neighbor"]
    assert (neighbours % 3 == 7 % 3).mean() > 0.9
    new = pd.DataFrame({"source": [100] * 5, "target": [1, 4, 7, 10, 13]})
    assert (model.extend(new).similar([100], k=5)["neighbor"] % 3 == 1).mean() >= 0.8


# training


def test_a_step_changes_only_the_rows_that_it_reads():
    pairs = blocks()
    sparse = {name: Table([name], sparse=True) for name in ("user", "item")}
    model = PairEmbedder(**BRIEF, tables=sparse, loss="bpr", n_negatives=4).fit(pairs)
    network = model._new_network()
    rows = RowInputs.of(torch.arange(2, 82, dtype=torch.int32).unsqueeze(1), torch.zeros(80, 0))
    weight = network.users.tables.groups[0].weight
    before = weight.detach().clone()
    network.train()
    optimizer = Optimizer(network, 0.01, 0.0)
    loss = network.users(rows.take(torch.tensor([3, 7]))).vectors.square().sum()
    loss.backward()
    assert weight.grad.is_sparse
    optimizer.optimizers[-1].step()
    changed = (weight != before).any(1).nonzero().flatten().tolist()
    assert set(changed) <= {0, 1, 5, 9}
    assert changed


def test_held_out_pairs_choose_the_epoch():
    train, test = split_users(blocks(n=20), "user", random_state=0)
    model = PairEmbedder(**SMALL | {"max_epochs": 200, "l2": 0.01}, early_stopping=True, patience=2)
    model.fit(train)
    curve = model.learning_curve_
    assert set(curve) == {"epoch", "seconds", "train_loss", "eval_loss"}
    n_validated = np.isfinite(curve["eval_loss"]).sum()
    assert n_validated < 200
    assert model.best_epoch_ == np.argmin(curve["eval_loss"][:n_validated]) or n_validated > 3
    given = PairEmbedder(**BRIEF).fit(train, eval_X=test)
    assert np.isfinite(given.learning_curve_["eval_loss"]).all()


def test_weight_two_is_two_pairs_and_weight_zero_is_none():
    pairs = blocks()
    weights = np.where(
        np.arange(len(pairs)) % 3 == 0, 2.0, np.where(np.arange(len(pairs)) % 3 == 1, 1, 0)
    )
    params = SMALL | {"early_stopping": False, "unknown_rate": 0.0, "batch_size": 10_000}
    weighted = PairEmbedder(**params).fit(pairs, sample_weight=weights)
    assert len(weighted.seen_.values) == (weights > 0).sum()
    with pytest.raises(ValueError, match="row 0 has -1"):
        PairEmbedder().fit(pairs, sample_weight=-np.ones(len(pairs)))


def test_parameters_that_contradict_each_other():
    with pytest.raises(ValueError, match="group must name a column"):
        PairEmbedder(negatives="group").fit(blocks())
    with pytest.raises(ValueError, match="n_negatives must be 'auto'"):
        PairEmbedder(negatives="in_batch", n_negatives=5).fit(blocks())
    with pytest.raises(ValueError, match="users must be None with shared"):
        PairEmbedder(shared=True).fit(blocks(), users=described(blocks())[0])
    with pytest.raises(ValueError, match="eval_X must come with eval_y"):
        PairEmbedder().fit(blocks(), eval_y=[1.0])
    with pytest.raises(TypeError, match="Did you mean max_epochs"):
        PairEmbedder(epochs=3)


def test_an_interrupted_fit_changes_nothing(monkeypatch):
    model = PairEmbedder(**BRIEF).fit(blocks())
    before = dict(vars(model))

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("tabemb.unsupervised.pair_training.train", interrupt)
    with pytest.raises(KeyboardInterrupt):
        model.fit(blocks(seed=1))
    assert vars(model) == before


def test_spaces_are_spaces_of_both_sides():
    model = fitted()
    space = model.spaces_["item"]
    assert isinstance(space, EmbeddingSpace)
    assert space.counts.sum() == len(blocks())
    assert (space.nearest("i5", k=5)["category"].map(group) == 1).all()
    assert list(model.spaces_) == ["user", "item"]


@pytest.mark.parametrize("with_numbers", [False, True])
def test_saved_with_columns_and_extended_after(tmp_path, with_numbers):
    pairs = blocks()
    users, items = described(pairs)
    y = np.arange(len(pairs)) % 5 * 1.0 if with_numbers else None
    model = PairEmbedder(**BRIEF, hidden=(8,)).fit(pairs, y, users=users, items=items)
    tabemb.save(model, tmp_path / "m")
    loaded = tabemb.load(tmp_path / "m")
    new = pd.DataFrame({"item": ["i1001"], "genre": ["1"]})
    frame = pd.DataFrame({"user": ["u1", "u2", "who"], "item": ["i1001", "i1", "i1001"]})
    np.testing.assert_array_equal(
        loaded.extend(items=new).predict(frame), model.extend(items=new).predict(frame)
    )


def test_forged_files_are_refused(tmp_path):
    model = PairEmbedder(**BRIEF).fit(blocks())
    model.item_vectors_ = model.item_vectors_[:-1]
    tabemb.save(model, tmp_path / "m")
    with pytest.raises(ValueError, match="no model that can be used"):
        tabemb.load(tmp_path / "m")
