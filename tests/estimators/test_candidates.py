"""Candidates of `EventClassifier`: vectors of entities and classes, what they recommend, fresh items."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

import tabemb
from tabemb import EventClassifier
from tabemb.fitting import recommending

N_ITEMS = 60


def sessions(n_sessions=80, length=8, seed=0, first=0):
    """Return sessions in which each item has a fixed successor; a fifth starts with item 0."""
    rng = np.random.default_rng(seed)
    successor = np.random.default_rng(1).permutation(N_ITEMS)
    items = np.empty((n_sessions, length), int)
    items[:, 0] = rng.integers(N_ITEMS, size=n_sessions) * (rng.random(n_sessions) < 0.8)
    for i in range(1, length):
        items[:, i] = successor[items[:, i - 1]]
    who = first + np.repeat(np.arange(n_sessions), length)
    X = pd.DataFrame({"who": who, "at": np.tile(np.arange(length), n_sessions)})
    return X, np.array([f"item {i}" for i in items.ravel()])


def classifier(**settings):
    defaults = {
        "entity": "who",
        "time": "at",
        "history": "mean",
        "hidden": (64,),
        "n_members": 2,
        "max_epochs": 20,
        "learning_rate": 0.01,
        "class_vectors": True,
        "random_state": 0,
        "n_jobs": 1,
    }
    return EventClassifier(**defaults | settings)


def next_events(X, at=100):
    return X.groupby("who").tail(1).assign(at=at)


@pytest.fixture(scope="module")
def log():
    return sessions()


@pytest.fixture(scope="module", params=[1, 2], ids=["one network", "two networks"])
def model(request, log):
    return classifier(n_networks=request.param, max_epochs=20 if request.param == 1 else 4).fit(*log)


def test_products_of_both_vectors_are_the_outputs(model, log):
    new = next_events(log[0])
    users, space = model.user_vectors(new), model.class_space_
    assert users.index.name == "who"
    assert users.index.tolist() == new["who"].tolist()
    assert list(users.columns[:2]) == ["who_0", "who_1"]
    assert list(space) == list(model.classes_)
    outputs = torch.from_numpy(users.to_numpy() @ space.vectors.T)
    np.testing.assert_allclose(outputs.softmax(1).numpy(), model.predict_proba(new), atol=1e-5)


def test_counts_of_the_space_are_the_events_of_each_class(model, log):
    space = model.class_space_
    assert dict(zip(space, space.counts)) == pd.Series(log[1]).value_counts().to_dict()


def test_the_index_finds_without_the_model_what_the_model_predicts(model, log, tmp_path):
    pytest.importorskip("usearch")
    new = next_events(log[0])
    users, space = model.user_vectors(new), model.class_space_
    path = tmp_path / "items.usearch"
    space.index(path, metric="dot")
    copy = tabemb.EmbeddingSpace(space.vectors, space.categories)
    found = copy.open_index(path).nearest_to(users, k=5)
    exact = copy.nearest_to(users, k=5, metric="dot")
    best = model.classes_[np.argsort(-model.predict_proba(new), axis=1, kind="stable")[:, :5]]
    for table in (found, exact):
        assert table["who"].tolist() == np.repeat(new["who"], 5).tolist()
        assert (table["category"].to_numpy().reshape(-1, 5) == best).mean() > 0.99
    np.testing.assert_allclose(found["similarity"], exact["similarity"], rtol=1e-4, atol=1e-4)


def test_recommendations_are_the_most_probable_classes(model, log, monkeypatch):
    monkeypatch.setattr(recommending, "MOST_SCORES", 7 * N_ITEMS)  # seven entities at a time
    new = next_events(log[0]).sample(frac=1, random_state=0)
    table = model.recommend(new, k=3, exclude_seen=False)
    assert list(table.columns) == ["who", "rank", "answer", "score"]
    assert table["who"].tolist() == np.repeat(new["who"], 3).tolist()
    assert table["rank"].tolist() == [1, 2, 3] * len(new)
    best = np.sort(model.predict_proba(new), axis=1)[:, ::-1][:, :3]
    columns = pd.Index(model.classes_).get_indexer(table["answer"]).reshape(-1, 3)
    chosen = np.take_along_axis(model.predict_proba(new), columns, axis=1)
    np.testing.assert_allclose(chosen, best, rtol=1e-4)


def test_what_an_entity_has_had_is_not_recommended(model, log, tmp_path):
    X, items = log
    more, theirs = sessions(n_sessions=3, length=4, seed=5)
    tabemb.save(model, tmp_path / "m.tabemb")
    again = tabemb.load(tmp_path / "m.tabemb").update(more.assign(at=more["at"] + 50), theirs)
    had = set(zip([*X["who"], *more["who"]], [*items, *theirs]))
    table = again.recommend(next_events(X), k=2 * N_ITEMS)
    assert not had & set(zip(table["who"], table["answer"]))
    assert len(table) + len(had) == X["who"].nunique() * len(model.classes_)
    again.forget()
    assert len(again.recommend(next_events(X).head(2), k=2 * N_ITEMS)) == 2 * len(model.classes_)


def test_a_model_that_has_not_noted_classes_says_so(log):
    model = classifier(max_epochs=1).fit(*log)
    model.source_.seen = None  # as files of earlier versions have it
    new = next_events(log[0]).head(2)
    with pytest.raises(ValueError, match="exclude_seen must be False for a model of an earlier version"):
        model.recommend(new)
    assert len(model.recommend(new, k=3, exclude_seen=False)) == 6
    for wrong, error in ({"k": 0}, "k must be"), ({"exclude_seen": 1}, "exclude_seen must be"):
        with pytest.raises(ValueError, match=error):
            model.recommend(new, **wrong)


def test_a_new_entity_has_a_vector_and_recommendations(model):
    new = pd.DataFrame({"who": [10**6], "at": [3]})
    assert np.isfinite(model.user_vectors(new)).all(axis=None)
    assert model.recommend(new, k=2)["who"].tolist() == [10**6] * 2


def test_few_classes_have_no_vectors_unless_they_are_asked_for():
    X, items = sessions(n_sessions=10)
    model = classifier(class_vectors="auto", max_epochs=1).fit(X, items)
    for call in (model.user_vectors, model.recommend):
        with pytest.raises(ValueError, match=r"class_vectors must be True .* got 'auto' and"):
            call(X.head(1))
    with pytest.raises(ValueError, match=r"class_vectors must be .*; got 'yes'"):
        classifier(class_vectors="yes").fit(X, items)
    two = np.stack([items, items], axis=1)
    with pytest.raises(ValueError, match="class_vectors must not be True where y has several columns"):
        classifier().fit(X, two)


def ranks_of_next(model, log):
    later, theirs = log
    probability = model.replay_proba(later, theirs)
    own = probability[np.arange(len(theirs)), pd.Index(model.classes_).get_indexer(theirs)]
    return (probability > own[:, None]).sum(1)[later["at"] > 0]


@pytest.mark.slow
def test_a_sample_of_the_classes_ranks_as_well_as_all_of_them(log, monkeypatch):
    """Without correcting for how often a class is drawn, frequent classes would rank lower."""
    later = sessions(n_sessions=60, seed=2, first=1000)
    full = classifier().fit(*log)
    monkeypatch.setattr("tabemb.targets.classes.MOST_COMPARED", 10)
    monkeypatch.setattr("tabemb.targets.classes.N_DRAWN", 8)
    sampled = classifier(batch_size=16).fit(*log)
    assert sampled.target_.is_sampled
    assert not full.target_.is_sampled
    for model in (full, sampled):
        assert (ranks_of_next(model, later) == 0).mean() > 0.9
    first = next_events(log[0], at=0).assign(who=lambda x: x["who"] + 5000)  # users without events
    shares = [model.predict_proba(first)[0] for model in (full, sampled)]
    start = np.flatnonzero(full.classes_ == "item 0")[0]
    assert shares[0].argmax() == shares[1].argmax() == start
    assert shares[1][start] == pytest.approx(shares[0][start], abs=0.1)


def test_a_step_with_a_sample_changes_the_classes_of_the_sample_alone(monkeypatch):
    monkeypatch.setattr("tabemb.targets.classes.MOST_COMPARED", 10)
    monkeypatch.setattr("tabemb.targets.classes.N_DRAWN", 2)
    X, items = sessions(n_sessions=200, length=2)
    model = classifier(max_epochs=1, batch_size=4).fit(X, items)
    head = model.network_.head
    assert head.is_sparse
    table = head.tied.tables
    group = table.groups[table.place[head.tied.table][0]]
    assert group.is_sparse
    sample = model.target_.sampler().draw(torch.tensor([3, 3]), torch.Generator().manual_seed(0))
    outputs = head(torch.randn(2, 2, 64), sample.classes)
    outputs.sum().backward()
    assert outputs.shape == (2, 1, len(sample.classes))
    assert sorted(head.bias.grad.coalesce().indices()[0].tolist()) == sample.classes.tolist()


def rising(n=3000, seed=0):
    """Return first events of users with random items; "fresh" only occurs in the last tenth of time."""
    rng = np.random.default_rng(seed)
    at = np.sort(rng.uniform(0, 100, n))
    items = rng.choice([f"old {i}" for i in range(8)], n)
    is_fresh = (at > 90) & (rng.random(n) < 0.6)
    X = pd.DataFrame({"who": np.arange(n), "at": at})
    return X, np.where(is_fresh, "fresh", items)


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["numbers", "times"])
def test_with_the_age_of_examples_an_item_that_has_become_frequent_is_ranked_first(unit):
    X, items = rising()
    if unit == "times":
        X["at"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(X["at"], unit="D")
    new = pd.DataFrame({"who": -1 - np.arange(20), "at": X["at"].max()})
    roles = {"at": "ignored", "at.gap": "ignored"}
    share = {}
    for age in (False, True):
        model = classifier(example_age=age, roles=roles, max_epochs=8).fit(X, items)
        column = np.flatnonzero(model.classes_ == "fresh")[0]
        share[age] = model.predict_proba(new)[:, column].mean()
        assert ("at.age" in model.encoder_.schema.roles) == age
    assert share[False] < 0.15  # 6 % of all events
    assert share[True] > 0.45  # 60 % of the newest
    assert (model.recommend(new, k=1)["answer"] == "fresh").all()


def test_ages_are_those_of_the_fit_and_zero_in_predictions():
    X, items = rising(400)
    model = classifier(example_age=True, max_epochs=1).fit(X, items)
    source = model.source_
    frame = pa.table({"at": [0.0, X["at"].max(), 1e3]})
    assert source._ages(frame).tolist() == [X["at"].max(), 0, 0]
    new = next_events(X, at=X["at"].max())
    np.testing.assert_allclose(  # a replay of events at any time predicts with age zero, too
        model.forget().replay_proba(new, items[: len(new)]), model.predict_proba(new), atol=1e-6
    )
