"""Goals of lists and negatives of groups (Grbovic & Cheng 2018), by the compiled kernel."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

pytest.importorskip("numba", reason="numba is not installed")
pytest.importorskip("gensim", reason="gensim is not installed")

from tabemb import ItemEmbedder
from tabemb.unsupervised.item_lists import ItemLists
from tabemb.unsupervised.skip_gram import GensimTrainer, GroupTrainer, SkipGramSettings

SETTINGS = SkipGramSettings(
    dim=4,
    skip_gram=True,
    window=1,
    shrink_windows=False,
    n_negatives=0,
    negative_exponent=0.75,
    subsample=0.0,
)
SMALL = {"dim": 16, "max_epochs": 30, "random_state": 0, "subsample": 0}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def trainer_of(vectors, contexts, **settings):
    trainer = GroupTrainer(SETTINGS, np.ones(len(vectors)), 0)
    trainer.vectors[:], trainer.contexts[:] = vectors, contexts
    return trainer


def test_one_step_is_a_step_of_gradient_descent():
    rng = np.random.default_rng(0)
    v, c = rng.normal(size=(2, 3, 4)).astype(np.float32)
    trainer = trainer_of(v, c)
    loss = trainer.step(ItemLists(np.array([0, 1], np.int32), np.array([0, 2])), 0.1)
    # first item 0 with context 1, then item 1 with context 0
    first, second = v[0] @ c[1], v[1] @ c[0]
    np.testing.assert_allclose(trainer.vectors[0], v[0] + 0.1 * (1 - sigmoid(first)) * c[1], rtol=1e-5)
    np.testing.assert_allclose(trainer.contexts[1], c[1] + 0.1 * (1 - sigmoid(first)) * v[0], rtol=1e-5)
    np.testing.assert_allclose(trainer.vectors[1], v[1] + 0.1 * (1 - sigmoid(second)) * c[0], rtol=1e-5)
    np.testing.assert_array_equal(trainer.vectors[2], v[2])
    assert loss == pytest.approx(-np.log(sigmoid(first)) - np.log(sigmoid(second)), rel=1e-5)


def test_the_goal_is_context_of_each_position_and_no_item_of_the_list():
    rng = np.random.default_rng(0)
    v, c = rng.normal(size=(2, 4, 4)).astype(np.float32)
    trainer = trainer_of(v, c)
    lists = ItemLists(np.array([0, 3], np.int32), np.array([0, 1, 2]), np.array([2, -1], np.int32))
    trainer.step(lists, 0.1)
    product = v[0] @ c[2]
    np.testing.assert_allclose(trainer.vectors[0], v[0] + 0.1 * (1 - sigmoid(product)) * c[2], rtol=1e-5)
    np.testing.assert_allclose(
        trainer.contexts[2], c[2] + 0.1 * (1 - sigmoid(product)) * v[0], rtol=1e-5
    )
    np.testing.assert_array_equal(trainer.vectors[1:], v[1:])
    np.testing.assert_array_equal(np.delete(trainer.contexts, 2, axis=0), np.delete(c, 2, axis=0))


def test_the_kernel_and_gensim_have_one_objective():
    """Both have the same mean loss over many steps from the same vectors."""
    rng = np.random.default_rng(0)
    settings = SkipGramSettings(
        dim=8,
        skip_gram=True,
        window=3,
        shrink_windows=True,
        n_negatives=4,
        negative_exponent=0.5,
        subsample=0.05,
    )
    codes = np.minimum(rng.geometric(0.1, 40_000) - 1, 30).astype(np.int32)
    lists = ItemLists(codes, np.arange(0, 40_001, 8))
    counts = np.bincount(codes).astype(float)
    losses = {}
    for cls in (GensimTrainer, GroupTrainer):
        trainer = cls(settings, counts, 0)
        losses[cls] = [
            sum(trainer.step(batch, 0.05) for batch in lists.batches(10_000)) / len(codes)
            for _ in range(4)
        ]
    np.testing.assert_allclose(losses[GroupTrainer], losses[GensimTrainer], rtol=0.02)


def sessions(n=600, seed=0):
    """Return sessions whose goal is far from their first items; each goal has its own first items."""
    rng = np.random.default_rng(seed)
    goals = rng.integers(4, size=n)
    rows = [
        [f"{'abcd'[g]}{rng.integers(5)}", *(f"x{i}" for i in rng.integers(40, size=12))] for g in goals
    ]
    return pa.table({"pages": rows, "booked": [f"hotel {'abcd'[g]}" for g in goals]})


def test_items_come_near_the_goal_of_their_lists():
    X = sessions()
    embedder = ItemEmbedder(item="pages", goal="booked", **SMALL).fit(X)
    for name in "abcd":
        best = embedder.context_space_.nearest(embedder.space_[f"{name}0"], k=1, metric="dot")
        assert best["category"][0] == f"hotel {name}"
    without = ItemEmbedder(item="pages", **SMALL).fit(X)
    assert "hotel a" not in without.space_


def test_the_goal_of_a_log_is_one_for_each_entity():
    log = pd.DataFrame({"s": [1, 1, 2, 2], "page": list("abab"), "goal": [None, "h", None, None]})
    settings = {"entity": "s", "item": "page", "goal": "goal", **SMALL}
    one = ItemEmbedder(**settings).fit(log)
    frame = pa.table({"page": [["a", "b"], ["a", "b"]], "goal": ["h", None]})
    other = ItemEmbedder(item="page", goal="goal", **SMALL).fit(frame)
    np.testing.assert_array_equal(one.space_.vectors, other.space_.vectors)
    assert one.transform(log.drop(columns="goal")).shape == (2, 16)
    wrong = log.assign(goal=["g", "h", None, None])
    with pytest.raises(
        ValueError, match=r"Column 'goal' must hold one goal for each entity; 1 has 'g' and 'h'\."
    ):
        ItemEmbedder(**settings).fit(wrong)


def test_negatives_of_the_group_spread_the_items_of_a_group():
    """Each market has two kinds of items, which users rarely mix; markets are never mixed.

    Most negatives from all items are from other markets, so items of one market look alike.
    """
    rng = np.random.default_rng(0)
    items = {(m, kind): [f"{m}{kind}{i}" for i in range(5)] for m in range(12) for kind in "pq"}
    places = list(items)
    lists = []
    for _ in range(1500):
        m, kind = places[rng.integers(len(places))]
        row = list(rng.choice(items[m, kind], 4, replace=False))
        if rng.random() < 0.3:  # sometimes an item of the other kind
            row[0] = rng.choice(items[m, "q" if kind == "p" else "p"])
        lists.append(row)
    markets = {item: m for (m, _), names in items.items() for item in names}

    def gap(groups):
        space = (
            ItemEmbedder(mode="set", groups=groups, **{**SMALL, "n_negatives": 2, "max_epochs": 5})
            .fit(lists)
            .space_
        )
        cosines = space.unit_vectors @ space.unit_vectors.T
        kinds = np.array([name[:-1] for name in space])
        place = np.array([markets[name] for name in space])
        same = (kinds[:, None] == kinds) & ~np.eye(len(kinds), dtype=bool)
        other = (kinds[:, None] != kinds) & (place[:, None] == place)
        return cosines[same].mean() - cosines[other].mean()

    far = dict.fromkeys(list(markets)[:1], 0)  # a group of one item: no negative is drawn
    assert gap(markets) > gap(far) + 0.5


def test_items_without_a_group_are_counted():
    embedder = ItemEmbedder(groups={"a": 1, "b": 1}, **SMALL).fit([["a", "b", "c"]] * 20)
    assert embedder.tally_["without_group"] == 1
    embedder.add_items([["a", "d"]] * 5)
    assert len(embedder.space_) == 4
