"""Vectors of items equal those of gensim, planted groups are found, sets have no order."""

import itertools
import pickle
from collections import Counter

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV

import tabemb
from tabemb import ItemEmbedder
from tabemb.unsupervised.item_lists import ItemLists
from tabemb.unsupervised.item_quality import adjacent_pairs

Word2Vec = pytest.importorskip("gensim.models", reason="gensim is not installed").Word2Vec

SMALL = {"dim": 16, "max_epochs": 20, "random_state": 0}


def group_of(item):
    return str(item)[0]


def planted(n_lists=300, n_groups=4, size=6, length=4, seed=0):
    """Return lists with items of one group each; items are named by group and number."""
    rng = np.random.default_rng(seed)
    groups = rng.integers(n_groups, size=n_lists)
    items = [rng.choice(size, length, replace=False) for _ in groups]
    return [[f"{'abcdefgh'[g]}{i}" for i in row] for g, row in zip(groups, items)]


def purity(space, k=4):
    """Return the share of neighbours in the same group as their item."""
    near = space.neighbors(k=k)
    return (near["category"].map(group_of) == near["neighbor"].map(group_of)).mean()


def zipf(n_items=200, n_lists=600, seed=0):
    rng = np.random.default_rng(seed)
    chance = 1 / np.arange(1, n_items + 1)
    lists = [
        [f"w{i:03d}" for i in rng.choice(n_items, rng.integers(2, 12), p=chance / chance.sum())]
        for _ in range(n_lists)
    ]
    return lists


GENSIM = {
    "skip-gram": ({}, {}),
    "cbow": ({"skip_gram": False}, {"sg": 0}),
    "hierarchical": ({"n_negatives": 0}, {"hs": 1, "negative": 0}),
    "negative exponent": (
        {"negative_exponent": -0.5, "n_negatives": 3},
        {"ns_exponent": -0.5, "negative": 3},
    ),
    "no subsampling": ({"subsample": 0.0}, {"sample": 0}),
    "whole window": ({"window": 3, "shrink_windows": False}, {"window": 3, "shrink_windows": False}),
}


@pytest.mark.parametrize("name", GENSIM)
def test_a_sequence_is_trained_as_bare_gensim_trains_it(name):
    ours, theirs = GENSIM[name]
    lists = zipf()
    counts = Counter(word for words in lists for word in words)
    frequent_first = dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))
    seed = int(np.random.RandomState(3).randint(2**31 - 1))
    settings = {"sg": 1, "sample": 0.002, **theirs}
    model = Word2Vec(vector_size=8, min_count=1, sorted_vocab=0, workers=1, seed=seed, **settings)
    model.build_vocab_from_freq(frequent_first)
    model.train(lists, total_words=sum(counts.values()), epochs=3)
    params = {"dim": 8, "max_epochs": 3, "subsample": 0.002, "random_state": 3, **ours}
    embedder = ItemEmbedder(**params).fit(lists)
    order = model.wv.index_to_key
    np.testing.assert_array_equal(
        embedder.space_.vectors[embedder.space_.positions(order)], model.wv.vectors
    )
    if model.negative:
        contexts = embedder.context_space_
        np.testing.assert_array_equal(contexts.vectors[contexts.positions(order)], model.syn1neg)
    else:
        assert embedder.context_space_ is None
    assert embedder.space_.counts[embedder.space_.positions(order)].tolist() == list(
        frequent_first.values()
    )


@pytest.mark.parametrize("mode", ["sequence", "set"])
@pytest.mark.parametrize(
    "settings", [{}, {"skip_gram": False, "max_epochs": 60}, {"n_negatives": 0}, {"window": 1}], ids=str
)
def test_planted_groups_are_found(mode, settings):
    embedder = ItemEmbedder(**{**SMALL, "mode": mode, "subsample": 0, **settings}).fit(planted())
    hit_rate = embedder.evaluate(planted(seed=1), k=5)["hit_rate"]  # the other five items of the group
    assert hit_rate["popularity"] < 0.4
    if not embedder.skip_gram:  # an item is never its own context, so the others of its group predict it
        assert hit_rate["context"] > 0.9
        return
    assert purity(embedder.space_) > 0.95
    assert hit_rate["similar"] > 0.9


def shuffled(lists, seed):
    rng = np.random.default_rng(seed)
    return [rng.permutation(lists[i]).tolist() for i in rng.permutation(len(lists))]


@pytest.mark.parametrize("settings", [{}, {"window": 2}, {"skip_gram": False}], ids=str)
def test_the_order_of_sets_and_of_their_items_changes_nothing(settings):
    lists = planted()
    one, other = (
        ItemEmbedder(mode="set", **SMALL, **settings).fit(order) for order in (lists, shuffled(lists, 5))
    )
    np.testing.assert_array_equal(one.space_.vectors, other.space_.vectors)
    np.testing.assert_array_equal(one.context_space_.vectors, other.context_space_.vectors)
    sequences = [ItemEmbedder(**SMALL).fit(order) for order in (lists, shuffled(lists, 5))]
    assert not np.array_equal(sequences[0].space_.vectors, sequences[1].space_.vectors)


def test_all_pairs_of_a_set_are_trained_and_of_a_sequence_those_in_the_window():
    """x and y are at the ends of long lists, so that only a window of the whole list contains both."""
    rng = np.random.default_rng(0)
    fillers = [f"f{i}" for i in range(200)]
    lists = [["x", *rng.choice(fillers, 12, replace=False), "y"] for _ in range(200)]
    settings = {**SMALL, "max_epochs": 5, "subsample": 0}
    best = {}
    for name, params in {
        "set": {"mode": "set"},
        "all": {"window": None},
        "narrow": {"window": 2},
    }.items():
        embedder = ItemEmbedder(**settings, **params).fit(lists)
        beside = embedder.context_space_.nearest(embedder.space_["x"], k=1, metric="dot")
        best[name] = beside["category"][0]
    assert best["set"] == best["all"] == "y"
    assert best["narrow"] != "y"


def test_the_order_of_a_set_is_drawn_anew():
    """With a window of 1, an item of a set is next to all others in the course of the epochs."""
    lists = [[f"i{j}" for j in range(8)]] * 60
    settings = {"mode": "set", "window": 1, "subsample": 0, **SMALL}
    loss = ItemEmbedder(**settings).fit(lists).learning_curve_["train_loss"]
    fixed = ItemEmbedder(**{**settings, "mode": "sequence"}).fit(lists).learning_curve_["train_loss"]
    assert loss[-1] > 1.3 * fixed[-1]  # a changing neighbour is harder to predict than a fixed one


def test_a_set_pairs_its_last_item_with_its_first():
    lists = ItemLists(np.array([2, 3, 4, 5, 6]), np.array([0, 3, 3, 4, 5]))
    pairs = adjacent_pairs(lists, np.random.default_rng(0))
    assert sorted(pairs.queries) == sorted(pairs.targets) == [2, 3, 4]
    assert all(query != target for query, target in zip(pairs.queries, pairs.targets))
    in_order = adjacent_pairs(lists, None)
    assert list(zip(in_order.queries, in_order.targets)) == [(2, 3), (3, 4)]


def test_long_lists_are_cut_and_batches_hold_whole_lists():
    lists = ItemLists(
        np.arange(25, dtype=np.int32), np.array([0, 3, 20, 20, 25]), np.arange(4, dtype=np.int32)
    )
    cut = lists.cut(7)
    assert cut.to_lists() == [
        [0, 1, 2],
        list(range(3, 10)),
        list(range(10, 17)),
        [17, 18, 19],
        [],
        list(range(20, 25)),
    ]
    assert cut.goals.tolist() == [0, 1, 1, 1, 2, 3]
    batches = [batch.to_lists() for batch in cut.batches(10)]
    assert batches == [cut.to_lists()[:2], cut.to_lists()[2:5], cut.to_lists()[5:]]


def test_an_item_counts_once_in_a_set_and_each_time_in_a_sequence():
    lists = [["a", "b", "b", None], ["b", "c"], []]
    in_set = ItemEmbedder(mode="set", **SMALL).fit(lists)
    assert dict(zip(in_set.space_.categories, in_set.space_.counts)) == {"a": 1, "b": 2, "c": 1}
    assert in_set.tally_["repeated"] == 1
    assert in_set.tally_["missing"] == 1
    assert (in_set.tally_["lists"], in_set.tally_["items"]) == (3, 6)
    sequence = ItemEmbedder(**SMALL).fit(lists)
    assert sequence.space_.counts.tolist() == [1, 3, 1]
    assert sequence.tally_["repeated"] == 0


def test_rare_items_and_items_that_stand_alone_are_counted():
    lists = [["a", "b"], ["a", "b", "rare"], ["alone"], ["alone"]]
    embedder = ItemEmbedder(min_count=2, subsample=0, **SMALL).fit(lists)
    assert list(embedder.space_) == ["a", "alone", "b"]
    assert (embedder.tally_["rare"], embedder.tally_["rare_items"]) == (1, 1)
    assert embedder.tally_["untrained"] == 1
    np.testing.assert_array_equal(embedder.space_["alone"], np.zeros(16))
    with pytest.raises(
        ValueError, match=r"at least two different items, .*min_count=9 times; 0 of 4 are left\."
    ):
        ItemEmbedder(min_count=9).fit(lists)


def test_one_thread_is_repeatable_and_a_seed_alone_takes_one():
    lists = planted()
    for settings in ({"n_jobs": 1}, {}):
        one, other = (ItemEmbedder(**SMALL, **settings).fit(lists).space_ for _ in range(2))
        np.testing.assert_array_equal(one.vectors, other.vectors)
    another = ItemEmbedder(**{**SMALL, "random_state": 1}).fit(lists).space_
    assert not np.array_equal(one.vectors, another.vectors)


def test_several_threads_find_the_groups_too():
    lists = planted(n_lists=6000)
    embedder = ItemEmbedder(n_jobs=2, mode="set", subsample=0, **{**SMALL, "max_epochs": 2}).fit(lists)
    assert purity(embedder.space_) > 0.95
    assert len(embedder.learning_curve_["train_loss"]) == 2


def test_an_error_in_a_thread_ends_the_fit(monkeypatch):
    from tabemb.unsupervised.skip_gram import GensimTrainer

    def fail(self, lists, rate):
        raise MemoryError("no more")

    monkeypatch.setattr(GensimTrainer, "step", fail)
    with pytest.raises(MemoryError, match="no more"):
        ItemEmbedder(n_jobs=2, **SMALL).fit(planted())


def test_the_loss_falls():
    loss = ItemEmbedder(mode="set", subsample=0, **SMALL).fit(planted()).learning_curve_["train_loss"]
    assert loss[-1] < 0.7 * loss[0]


# inputs


def frames(lists):
    polars = pytest.importorskip("polars", reason="polars is not installed")
    arrow = pa.table({"basket": lists, "shop": list(range(len(lists)))})
    return {
        "lists": lists,
        "tuples": [tuple(row) for row in lists],
        "arrays": [np.array(row) for row in lists],
        "arrow column": arrow["basket"],
        "arrow": arrow,
        "dictionaries": pa.table(
            {"basket": pa.array(lists, pa.list_(pa.dictionary(pa.int32(), pa.string())))}
        ),
        "pandas": pd.DataFrame({"basket": lists}),
        "pandas column": pd.Series(lists),
        "polars": polars.DataFrame({"basket": lists}),
        "polars column": polars.Series("basket", lists),
    }


def test_all_forms_of_lists_give_the_same_vectors():
    lists = planted(60)
    expected = ItemEmbedder(**SMALL).fit(lists).space_
    for name, X in frames(lists).items():
        space = ItemEmbedder(**SMALL).fit(X).space_
        assert list(space) == list(expected), name
        np.testing.assert_array_equal(space.vectors, expected.vectors, err_msg=name)


def test_a_log_is_read_in_the_order_of_its_times():
    lists = planted(60)
    rows = [(f"s{i:03d}", j, item) for i, row in enumerate(lists) for j, item in enumerate(row)]
    log = pd.DataFrame(rows, columns=["session", "at", "page"])
    expected = ItemEmbedder(**SMALL).fit(lists)
    settings = {"item": "page", "entity": "session", "time": "at"}
    mixed = log.sample(frac=1, random_state=0)
    embedder = ItemEmbedder(**SMALL, **settings).fit(mixed)
    np.testing.assert_array_equal(embedder.space_.vectors, expected.space_.vectors)
    in_order = ItemEmbedder(**SMALL, item="page", entity="session").fit(log)
    np.testing.assert_array_equal(in_order.space_.vectors, expected.space_.vectors)
    means = embedder.transform(mixed)
    assert list(means.index) == [f"s{i:03d}" for i in range(60)]
    np.testing.assert_allclose(means.to_numpy(), expected.transform(lists), atol=1e-6)
    without = pd.concat([mixed, pd.DataFrame({"session": [None], "at": [0], "page": ["a0"]})])
    assert ItemEmbedder(**SMALL, **settings).fit(without).tally_["without_entity"] == 1


def test_fields_of_histories_can_be_items():
    log = pd.DataFrame({"who": ["u", "u", "v", "v"], "day": [1, 2, 1, 2], "page": list("abab")})
    rows = pd.DataFrame({"who": ["u", "v"], "now": [9, 9]})
    X = tabemb.HistoryJoiner(log, entity="who", time="day", cutoff="now").fit_transform(rows)
    embedder = ItemEmbedder(item="history.page", **SMALL).fit(X)
    assert list(embedder.space_) == ["a", "b"]
    with pytest.raises(
        ValueError, match=r"item must name a field of the events in column 'history': .*'history.page'"
    ):
        ItemEmbedder(**SMALL).fit(X)


def test_a_file_is_streamed_and_gives_the_vectors_of_its_frame(tmp_path, monkeypatch):
    monkeypatch.setattr("tabemb.unsupervised.item_sources.ROWS", 16)
    lists = [*planted(100), None, []]
    path = tmp_path / "lists.parquet"
    pq.write_table(pa.table({"basket": lists, "other": range(102)}), path, row_group_size=40)
    one = ItemEmbedder(**SMALL).fit(path)
    other = ItemEmbedder(**SMALL).fit(lists)
    assert list(one.space_) == list(other.space_)
    assert one.space_.counts.tolist() == other.space_.counts.tolist()
    assert one.tally_ == other.tally_
    assert purity(one.space_) > 0.9
    np.testing.assert_allclose(one.transform(path), one.transform(lists), atol=1e-6)
    permuted = [None if row is None else row[::-1] for row in lists]
    pq.write_table(pa.table({"basket": permuted}), tmp_path / "permuted.parquet")
    sets = [
        ItemEmbedder(mode="set", **SMALL).fit(tmp_path / f"{name}.parquet")
        for name in ("lists", "permuted")
    ]
    np.testing.assert_array_equal(sets[0].space_.vectors, sets[1].space_.vectors)


def test_a_log_in_a_file(tmp_path):
    log = pd.DataFrame({"who": ["u", "v", "u", "v"], "day": [2, 1, 1, 2], "page": list("abba"), "x": 1})
    log.to_parquet(tmp_path / "log.parquet")
    settings = {**SMALL, "item": "page", "entity": "who", "time": "day"}
    one, other = (ItemEmbedder(**settings).fit(X) for X in (tmp_path / "log.parquet", log))
    np.testing.assert_array_equal(one.space_.vectors, other.space_.vectors)


def test_items_are_matched_by_value_and_keep_their_type():
    embedder = ItemEmbedder(**SMALL).fit([[1, 2], [2, 3], [1, 3]] * 5)
    assert embedder.space_.categories.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(embedder.transform([[1.0, 2.0]]), embedder.transform([[1, 2]]))
    odd = ItemEmbedder(**SMALL).fit([[(1, "x"), "y"], ["y", "z"]] * 5)
    assert (1, "x") in odd.space_


REFUSED = {
    "a text": (["ab", "cd"], {}, r"X must hold a list of items in each row; row 0 holds 'ab'\."),
    "a set": (
        [["a"], {"b"}],
        {},
        r"a set has no order; row 1 holds a set; pass lists, or set mode='set'\.",
    ),
    "a number": (3, {}, r"X must be a frame, the path of a Parquet file or lists of items; got a int\."),
    "nothing": ([], {}, r"X must have at least one list of items; got none\."),
    "no lists": (pd.DataFrame({"a": ["x"]}), {}, r"X must have one column of lists; it has none"),
    "two columns": (
        pa.table({"a": [["x"]], "b": [["y"]]}),
        {},
        r"X must have one column of lists; it has 'a', 'b'; item names one",
    ),
    "a plain column": (
        pa.table({"a": [["x"]], "b": ["y"]}),
        {"item": "b"},
        r"item must name a column of lists where entity is None; 'b' holds string\.",
    ),
    "a wrong name": (
        pa.table({"basket": [["x"]]}),
        {"item": "baskt"},
        r"X lacks column 'baskt'.*'basket'",
    ),
    "time alone": (
        [["a"]],
        {"time": "t"},
        r"entity must name a column of the log where time does; got None\.",
    ),
    "lists for a log": (
        [["a"]],
        {"entity": "e", "item": "i"},
        r"X must be a frame with the columns of a log",
    ),
    "no item of a log": (
        pd.DataFrame({"e": [1]}),
        {"entity": "e"},
        r"item must name the column of items",
    ),
    "no such file": ("no.parquet", {}, r"X names no file: there is none at 'no.parquet'\."),
    "a mode": ([["a"]], {"mode": "bag"}, r"mode must be one of 'sequence', 'set'; got 'bag'\."),
    "goal with cbow": (
        pa.table({"a": [["x", "y"]], "g": ["y"]}),
        {"goal": "g", "skip_gram": False},
        r"skip_gram must be True and n_negatives at least 1 where goal .* is given; got skip_gram=False",
    ),
    "no group": (
        [["x", "y"]],
        {"groups": {"z": 1}},
        r"groups must hold the group of items of X by item; .*'x'\.",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused_in_one_sentence(name):
    X, settings, message = REFUSED[name]
    with pytest.raises((ValueError, TypeError, FileNotFoundError), match=message):
        ItemEmbedder(**{**SMALL, **settings}).fit(X)


def test_a_refused_fit_changes_nothing():
    embedder = ItemEmbedder(**SMALL).fit(planted())
    before = embedder.space_
    with pytest.raises(ValueError, match="X must hold a list"):
        embedder.fit(["text"])
    assert embedder.space_ is before


def test_sets_of_python():
    lists = planted(60)
    one = ItemEmbedder(mode="set", **SMALL).fit([set(row) for row in lists])
    other = ItemEmbedder(mode="set", **SMALL).fit(lists)
    np.testing.assert_array_equal(one.space_.vectors, other.space_.vectors)


# results and their use


def test_transform_is_the_mean_of_the_known_items():
    embedder = ItemEmbedder(**SMALL).fit(planted())
    means = embedder.transform([["a0", "a1", "never seen", None], [], ["never seen"]])
    expected = (embedder.space_["a0"] + embedder.space_["a1"]) / 2
    np.testing.assert_allclose(means[0], expected, rtol=1e-6)
    np.testing.assert_array_equal(means[1:], np.zeros((2, 16)))
    assert means.dtype == np.float32
    assert list(embedder.get_feature_names_out())[:2] == ["itemembedder0", "itemembedder1"]


@pytest.mark.parametrize("mode", ["sequence", "set"])
def test_added_items_find_their_group_and_move_no_other(mode):
    embedder = ItemEmbedder(mode=mode, **SMALL, subsample=0).fit(planted())
    before, contexts = embedder.space_, embedder.context_space_
    rng = np.random.default_rng(0)
    new = [[*rng.choice([f"a{i}" for i in range(6)], 2, replace=False), "a_new"] for _ in range(40)]
    embedder.add_items([*new, ["b0", "b1"], ["c0", "once"]])
    assert len(embedder.space_) == len(before) + 2
    for old, now in ((before, embedder.space_), (contexts, embedder.context_space_)):
        np.testing.assert_array_equal(now.vectors[now.positions(list(old))], old.vectors)
    assert set(embedder.space_.nearest("a_new", k=5)["category"].map(group_of)) == {"a"}
    counts = dict(zip(embedder.space_.categories, embedder.space_.counts))
    assert counts["a_new"] == 40
    assert counts["b0"] == before.counts[before.position("b0")] + 1
    with pytest.raises(
        ValueError, match=r"X must hold an item without a vector at least min_count=1 times"
    ):
        embedder.add_items([["a0", "a1"]])
    with pytest.raises(ValueError, match="hierarchical softmax, whose tree"):
        ItemEmbedder(n_negatives=0, **SMALL).fit(planted()).add_items(new)


def test_added_items_may_be_added_to_again():
    embedder = ItemEmbedder(mode="set", **SMALL).fit(planted())
    embedder.add_items([["a0", "a1", "n1"]] * 20)
    first = embedder.space_["n1"].copy()
    embedder.add_items([["b0", "b1", "n2"]] * 20)
    np.testing.assert_array_equal(embedder.space_["n1"], first)
    assert group_of(embedder.space_.nearest("n2", k=1)["category"][0]) == "b"


def test_the_hit_rate_is_computed_as_by_hand():
    embedder = ItemEmbedder(**SMALL).fit(planted())
    lists = [*planted(50, seed=1), ["a0", "never seen", "a1"]]
    pairs = [pair for row in lists for pair in itertools.pairwise(row)]
    hits = [
        b in embedder.space_.nearest(a, k=3)["category"].tolist()
        for a, b in pairs
        if "never seen" not in (a, b)
    ]
    quality = embedder.evaluate(lists, k=3)
    assert quality["n_pairs"].unique() == [len(pairs)]
    assert quality["n_unseen"].unique() == [2]
    assert quality["hit_rate"]["similar"] == pytest.approx(sum(hits) / len(pairs))
    popular = embedder.space_.counts
    ranks = [
        0.5
        + (popular > popular[b]).sum()
        - (popular[a] > popular[b])
        + ((popular == popular[b]).sum() - (popular[a] == popular[b])) / 2
        for a, b in ((embedder.space_.position(a), embedder.space_.position(b)) for a, b in pairs[:-2])
    ]
    assert quality["mrr"]["popularity"] == pytest.approx((1 / np.array(ranks)).sum() / len(pairs))
    assert embedder.score(lists) == pytest.approx(
        embedder.evaluate(lists).drop(index="popularity")["hit_rate"].max()
    )


@pytest.mark.parametrize("settings", [{}, {"subsample": 0.02}, {"negative_exponent": -0.5}], ids=str)
def test_predicted_is_how_often_an_item_stands_beside_another(settings):
    """q is followed by the popular item p half of the time; the rarer item r only follows q."""
    rng = np.random.default_rng(0)
    lists = [["q", *rng.choice(["p", "r", "s"], 1, p=[0.5, 0.3, 0.2])] for _ in range(500)]
    lists += [[f"x{rng.integers(5)}", "p"] for _ in range(2000)]
    params = {**SMALL, "subsample": 0, "max_epochs": 30, **settings}
    embedder = ItemEmbedder(**params).fit(lists)
    quality = embedder.evaluate([["q", "p"]], k=1)
    assert quality["mrr"]["context"] == (1 if "negative_exponent" in settings else 1 / 3)
    assert quality["mrr"]["predicted"] == 1
    assert embedder.evaluate([["q", "r"]], k=1)["mrr"]["predicted"] == 1 / 2
    assert embedder.evaluate([["q", "s"]], k=1)["mrr"]["predicted"] == 1 / 3
    best = embedder.recommend([["x0", "q"], [], ["q", "p"]], k=3)
    assert best["item"][best["list"] == 0].tolist() == ["p", "r", "s"]
    if embedder.negative_exponent > 0:
        assert best["item"][best["list"] == 1].tolist()[0] == "p"  # the most frequent
    assert not {"p", "q"} & set(best["item"][best["list"] == 2])
    assert (best["rank"].tolist(), best["list"].tolist()) == ([1, 2, 3] * 3, [0] * 3 + [1] * 3 + [2] * 3)
    seen = embedder.recommend([["q"]], k=20, exclude_seen=False)
    assert sorted(seen["item"]) == sorted(embedder.space_)


def test_a_set_is_completed_from_all_of_its_items():
    log = pd.DataFrame(
        [(i, item) for i, row in enumerate(planted()) for item in row], columns=["who", "what"]
    )
    embedder = ItemEmbedder(mode="set", item="what", entity="who", **SMALL, subsample=0).fit(log)
    new = pd.DataFrame({"who": ["u", "u", "v"], "what": ["a0", "a1", "b0"]})
    best = embedder.recommend(new, k=2).groupby("list")["item"].agg(list)
    assert [group_of(item) for item in best["u"] + best["v"]] == ["a", "a", "b", "b"]
    assert not {"a0", "a1"} & set(best["u"])
    hierarchical = ItemEmbedder(n_negatives=0, **SMALL).fit(planted())
    with pytest.raises(ValueError, match=r"n_negatives must be at least 1 to recommend; it was 0"):
        hierarchical.recommend([["a0"]])


def test_the_interval_covers_by_lists():
    """Repeating lists ten times adds no information, so the interval must not become narrow."""
    embedder = ItemEmbedder(**SMALL).fit(planted())
    lists = planted(40, seed=1)
    one = embedder.evaluate(lists, k=2).loc["similar"]
    longer = embedder.evaluate([row * 10 for row in lists], k=2).loc["similar"]
    assert longer["n_pairs"] > 9 * one["n_pairs"]
    assert longer["high"] - longer["low"] > 0.5 * (one["high"] - one["low"])


def test_it_is_an_estimator_of_scikit_learn():
    embedder = ItemEmbedder(**SMALL)
    assert clone(embedder).get_params() == embedder.get_params()
    for call in (
        lambda: embedder.transform([["a"]]),
        lambda: embedder.evaluate([["a"]]),
        lambda: embedder.add_items([["a"]]),
    ):
        with pytest.raises(NotFittedError):
            call()
    search = GridSearchCV(embedder, {"max_epochs": [1, 20]}, cv=2).fit(planted())
    assert search.best_params_ == {"max_epochs": 20}
    with pytest.raises(
        TypeError, match=r"unexpected keyword argument 'vector_size'\. Did you mean dim\?"
    ):
        ItemEmbedder(vector_size=3)


def test_a_saved_embedder_comes_back(tmp_path):
    lists = planted()
    for settings in ({}, {"n_negatives": 0}, {"groups": {"a0": 1, "a1": 1}}):
        embedder = ItemEmbedder(**SMALL, **settings).fit(lists)
        tabemb.save(embedder, tmp_path / "items.tabemb")
        loaded = tabemb.load(tmp_path / "items.tabemb")
        assert loaded.get_params() == embedder.get_params()
        assert loaded.tally_ == embedder.tally_
        np.testing.assert_array_equal(loaded.transform(lists), embedder.transform(lists))
        assert loaded.space_.nearest("a0").to_dict() == embedder.space_.nearest("a0").to_dict()
        pd.testing.assert_frame_equal(loaded.evaluate(lists), embedder.evaluate(lists))
        if loaded.n_negatives:
            loaded.add_items([["a0", "new"]] * 5)
    again = pickle.loads(pickle.dumps(embedder))
    np.testing.assert_array_equal(again.space_.vectors, embedder.space_.vectors)


def test_parts_of_a_file_that_do_not_fit_together_are_refused(tmp_path):
    embedder = ItemEmbedder(**SMALL).fit(planted())
    embedder.context_space_ = ItemEmbedder(**SMALL).fit(planted(n_groups=3)).context_space_
    tabemb.save(embedder, tmp_path / "items.tabemb")
    with pytest.raises(ValueError, match=r"its vectors are of other items than its vocabulary\."):
        tabemb.load(tmp_path / "items.tabemb")
