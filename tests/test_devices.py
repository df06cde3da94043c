"""Everything on a GPU: on a real one if there is one, and by its rules in main memory anywhere.

The stand-in of `second_device` refuses what CUDA refuses, so a forgotten move is found on any machine.
Only a real GPU can show that its kernels give the same numbers.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch

import tabemb
from tabemb import (
    EmbeddingClassifier,
    EmbeddingEncoder,
    EmbeddingRegressor,
    EventClassifier,
    EventRegressor,
    PairEmbedder,
    SequenceEncoder,
    Table,
)
from tabemb.fitting import settings
from tabemb.network import devices
from tabemb.network.history import HISTORY_ENCODERS
from tabemb.network.tables import TableGroup
from tabemb.training import checkpoints
from tests.second_device import second_device

SAME = 1e-3
"""Tolerance of two fits with one seed on one device: GPU sums vary, and training amplifies that."""
NEAR = 1e-5
"""Tolerance of double precision on two devices, from the same weights in single precision."""


@pytest.fixture(params=["stand-in", "cuda"], autouse=True)
def device(request, monkeypatch):
    """Provide a device "cuda": a real one, or a stand-in with the same rules."""
    settings.is_fast_in_bfloat16.cache_clear()
    if request.param == "cuda":
        if not torch.cuda.is_available():
            pytest.skip("there is no CUDA device that torch can use")
        yield request.param
        return
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)
    monkeypatch.setattr(torch.backends.cudnn, "is_acceptable", lambda _: False)
    monkeypatch.setattr(devices, "free_bytes", lambda _: math.inf)
    with second_device():
        yield request.param
    settings.is_fast_in_bfloat16.cache_clear()


@pytest.fixture(params=["room", "no room"])
def has_room(request, device, monkeypatch):
    """Return whether tables fit on the device; otherwise all of them stay in main memory."""
    if request.param == "no room":
        monkeypatch.setattr(devices, "free_bytes", lambda it: 0.0 if it.type == "cuda" else math.inf)
    return request.param == "room"


SMALL = {"hidden": (16,), "n_members": 2, "n_pairs": 4, "random_state": 0, "n_jobs": 1}
QUICK = {**SMALL, "max_epochs": 2, "batch_size": 64, "early_stopping": True, "precision": "float32"}
LOG = {"entity": "who", "time": "at"}


def planted(n=160, seed=0):
    """Return rows with all kinds of columns, and a target from a city's effect and a slope."""
    rng = np.random.default_rng(seed)
    city = rng.integers(20, size=n)
    X = pd.DataFrame({"city": np.array([f"c{i}" for i in range(20)])[city], "size": rng.normal(size=n)})
    X.loc[::17, "size"] = np.nan
    X["bag"] = [list(rng.choice(list("abcdef"), rng.integers(0, 4))) for _ in range(n)]
    X["text"] = [" ".join(rng.choice(["red", "green", "blue"], 3)) for _ in range(n)]
    X["vector"] = list(rng.normal(size=(n, 3)).astype("float32"))
    y = np.linspace(-2, 2, 20)[city] + X["size"].fillna(0).to_numpy() + rng.normal(scale=0.1, size=n)
    return X, y


ROLES = {"bag": "history", "text": "text", "vector": "vector"}


def events(n_entities=30, n_events=8, seed=0):
    """Return a log in which each answer depends on the previous event."""
    rng = np.random.default_rng(seed)
    n = n_entities * n_events
    X = pd.DataFrame(
        {
            "who": np.repeat(np.arange(n_entities), n_events),
            "at": np.tile(np.arange(n_events) // 2, n_entities),
            "what": rng.choice(["a", "b"], n),
            "hard": rng.normal(size=n),
        }
    )
    return X, (X.groupby("who")["what"].shift() == "a").to_numpy()


def blocks(n_users=80, n_items=40):
    """Return users who like the items of their own group, one of four."""
    rng = np.random.default_rng(0)
    rows = [
        (f"u{user}", f"i{item}")
        for user in range(n_users)
        for item in rng.choice(np.arange(user % 4, n_items, 4), 7, replace=False)
    ]
    return pd.DataFrame(rows, columns=["user", "item"])


def group(labels):
    return labels.str[1:].astype(int) % 4


def devices_of(model):
    return {weight.device.type for weight in model.network_.parameters()}


def on_cpu(model, folder):
    """Return the model as a machine without a GPU loads it."""
    tabemb.save(model, folder / "model")
    return tabemb.load(folder / "model", device="cpu")


def fitted(kind, **changes):
    """Return a model of this kind, fitted on the device, and rows to predict with their targets."""
    X, y = planted()
    new, answers = planted(60, seed=1)
    log, answered = events()
    if kind == "regressor":
        model = EmbeddingRegressor(roles=ROLES, **QUICK, device="cuda", **changes)
        return model.fit(X, y), new, answers
    if kind == "classifier":
        model = EmbeddingClassifier(roles=ROLES, **QUICK, device="cuda", **changes)
        return model.fit(X, y > 0), new, answers > 0
    if kind == "event classifier":
        model = EventClassifier(**LOG, n_networks=2, **QUICK, d_history=8, device="cuda", **changes)
        return model.fit(log, answered), log.assign(at=99), answered
    model = EventRegressor(**LOG, **QUICK, d_history=8, device="cuda", **changes)
    return model.fit(log, answered + 0.1 * log["hard"]), log.assign(at=99), answered


KINDS = ["regressor", "classifier", "event classifier", "event regressor"]
MOST_KINDS = [*KINDS[:3], pytest.param("event regressor", marks=pytest.mark.slow)]


def products(space):
    """Return the dot products of all vectors, which do not depend on the signs of axes."""
    return space.vectors @ space.vectors.T


def answer(model, X):
    answers = model.predict_proba(X) if hasattr(model, "predict_proba") else model.predict(X)
    return np.asarray(answers, dtype=float)


# every estimator


@pytest.mark.parametrize("kind", MOST_KINDS)
def test_a_model_lies_on_the_device_and_predicts_the_same_on_the_cpu(kind, tmp_path):
    model, X, _ = fitted(kind)
    assert devices_of(model) == {"cuda"}
    few, many = X.head(5), pd.concat([X] * 18)  # in double precision, and in single
    loaded = on_cpu(model, tmp_path)
    assert devices_of(loaded) == {"cpu"}
    assert loaded.device == "cpu"
    np.testing.assert_allclose(answer(model, few), answer(loaded, few), atol=NEAR)
    np.testing.assert_allclose(answer(model, many), answer(loaded, many), atol=1e-3)
    np.testing.assert_allclose(model.transform(few), loaded.transform(few), atol=NEAR)
    for name, space in loaded.spaces_.items():
        np.testing.assert_allclose(products(model.spaces_[name]), products(space), atol=1e-3)
    back = tabemb.load(tmp_path / "model", device="cuda")
    assert devices_of(back) == {"cuda"}
    np.testing.assert_allclose(answer(back, few), answer(model, few), atol=NEAR)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_one_seed_gives_one_model(kind):
    first, X, _ = fitted(kind)
    second, _, _ = fitted(kind)
    np.testing.assert_allclose(answer(first, X), answer(second, X), atol=SAME)


@pytest.mark.parametrize("precision", ["float32", "auto"])
def test_planted_effects_are_found(device, precision):
    if device == "stand-in":
        pytest.skip("the stand-in computes as the CPU does")
    settings = {**SMALL, "hidden": (32,), "learning_rate": 0.01, "device": "cuda"}
    settings |= {"precision": precision, "max_epochs": 20}
    X, y = planted(3000)
    model = EmbeddingRegressor(roles=ROLES, **settings).fit(X, y)
    new, answers = planted(1000, seed=1)
    assert np.sqrt(np.mean((model.predict(new) - answers) ** 2)) < 0.25  # the noise is 0.1
    log, answers = events(100, 20)
    log["at"] = log.index
    known = log["who"] < 80
    model = EventClassifier(**LOG, **settings, d_history=16)
    probability = model.fit(log[known], answers[known]).replay_proba(log[~known], answers[~known])
    assert (model.classes_[probability.argmax(1)] == answers[~known]).mean() > 0.95


@pytest.mark.slow
@pytest.mark.parametrize("history", HISTORY_ENCODERS)
def test_states_of_events_go_on_on_the_device(history, tmp_path):
    model, X, y = fitted("event classifier", history=history)
    loaded = on_cpu(model, tmp_path)
    later, answers = X.head(60).assign(at=100), y[:60]
    probability = model.replay_proba(later, answers)
    np.testing.assert_allclose(probability, loaded.replay_proba(later, answers), atol=1e-3)
    model.update(later, answers)
    loaded.update(later, answers)
    last = later.assign(at=101)
    np.testing.assert_allclose(answer(model, last), answer(loaded, last), atol=1e-3)


@pytest.mark.filterwarnings("ignore:Tables that take")
def test_many_classes_have_vectors_and_recommendations(has_room, tmp_path):
    X, _ = events()
    items = np.random.default_rng(0).choice([f"i{k}" for k in range(30)], len(X))
    settings = {**LOG, **QUICK, "d_history": 8, "class_vectors": True}
    model = EventClassifier(**settings, device="cuda").fit(X, items)
    assert ("cpu" in devices_of(model)) != has_room
    new = X.drop_duplicates("who").assign(at=99)
    loaded = on_cpu(model, tmp_path)
    np.testing.assert_allclose(model.user_vectors(new), loaded.user_vectors(new), atol=NEAR)
    scores = [it.recommend(new, k=3)["score"] for it in (model, loaded)]
    np.testing.assert_allclose(*scores, atol=1e-3)


@pytest.mark.slow
def test_what_is_said_of_a_model_is_computed_on_the_device(tmp_path):
    model, X, y = fitted("regressor")
    loaded = on_cpu(model, tmp_path)
    np.testing.assert_allclose(model.predict_interval(X), loaded.predict_interval(X), atol=1e-3)
    both = [it.importances(X, y, n_repeats=1, random_state=0)["importance"] for it in (model, loaded)]
    np.testing.assert_allclose(*both, atol=1e-3)
    model.summary()
    assert str(model.check(X, y)) == str(loaded.check(X, y))
    sets = fitted("classifier")[0].predict_set(X)
    assert len(sets) == len(X)


@pytest.mark.parametrize("trees", [pytest.param(False, marks=pytest.mark.slow), True])
def test_all_stages_of_the_default_run_on_the_device(trees):
    X, y = planted(1200)
    settings = {**QUICK, "hidden": (32,), "batch_size": 256, "learning_rate": 0.02}
    model = EmbeddingRegressor(roles=ROLES, trees=trees, **settings, device="cuda").fit(X, y)
    assert np.corrcoef(model.predict(X), y)[0, 1] > 0.8
    assert (model.trees_ is not None) == trees


@pytest.mark.slow
def test_a_model_goes_on_with_new_categories_and_classes(tmp_path):
    X, y = planted()
    model = EmbeddingClassifier(roles=ROLES, **QUICK, device="cuda").fit(X, np.where(y > 0, "yes", "no"))
    later, y = planted(120, seed=2)
    later["city"] = later["city"].replace({"c0": "new", "c1": "another"})
    label = np.where(later["city"] == "new", "maybe", np.where(y > 0, "yes", "no"))
    loaded = on_cpu(model, tmp_path)  # continues from a file of another device
    for it in (model, loaded):
        it.partial_fit(later, label, classes=["yes", "no", "maybe"])
    assert devices_of(model) == {"cuda"}
    assert devices_of(loaded) == {"cpu"}
    again = on_cpu(model, tmp_path)
    np.testing.assert_allclose(answer(model, X.head(5)), answer(again, X.head(5)), atol=NEAR)
    model.fit(later, label, start=loaded)
    assert devices_of(model) == {"cuda"}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Tables that take")
@pytest.mark.parametrize(
    ("numbers", "negatives"), [(False, "uniform"), (False, "in_batch"), (True, "uniform")]
)
def test_pairs(numbers, negatives, has_room, tmp_path):
    pairs = blocks()
    y = np.random.default_rng(0).normal(size=len(pairs)) if numbers else None
    settings = {"dim": 8, "l2": 0.1, "max_epochs": 10, "batch_size": 64, "learning_rate": 0.03}
    settings |= {"negatives": negatives, "n_jobs": 1, "random_state": 0}
    model = PairEmbedder(**settings, device="cuda").fit(pairs, y)
    assert ("cpu" in devices_of(model)) != has_room
    if not numbers:
        best = model.recommend(k=3)
        assert (group(best["user"]) == group(best["item"])).mean() > 0.5  # 0.25 by chance
    loaded = on_cpu(model, tmp_path)
    np.testing.assert_allclose(model.predict(pairs), loaded.predict(pairs), atol=NEAR)
    more = pd.DataFrame({"user": ["new", "new"], "item": ["i0", "i4"]})
    for it in (model, loaded):
        it.extend(more, np.zeros(2) if numbers else None)
    np.testing.assert_allclose(model.predict(more), loaded.predict(more), atol=1e-3)


@pytest.mark.filterwarnings("ignore:Tables that take")
def test_sequences(has_room, tmp_path):
    X = planted()[0][["bag"]]
    model = SequenceEncoder(d_history=8, max_epochs=3, random_state=0, n_jobs=1, device="cuda").fit(X)
    loaded = on_cpu(model, tmp_path)
    assert devices_of(model) == ({"cuda"} if has_room else {"cuda", "cpu"})
    np.testing.assert_allclose(model.transform(X), loaded.transform(X), atol=1e-3)
    np.testing.assert_allclose(model.spaces_["bag"].vectors, loaded.spaces_["bag"].vectors, atol=NEAR)


def test_an_encoder_of_networks_on_the_device(tmp_path):
    X, y = planted(300)
    X = X[["city", "size"]]
    net = EmbeddingRegressor(**QUICK, device="cuda")
    encoder = EmbeddingEncoder(estimator=net, columns=["city"], random_state=0, n_jobs=1)
    features = encoder.fit_transform(X, y)
    assert np.isfinite(features.filter(like="city")).all().all()
    tabemb.save(encoder, tmp_path / "encoder")
    loaded = tabemb.load(tmp_path / "encoder")
    pd.testing.assert_frame_equal(loaded.transform(X), encoder.transform(X))


def test_a_stream_trains_on_the_device(tmp_path):
    pytest.importorskip("duckdb", reason="duckdb is not installed")
    X, y = planted(400)
    X = X[["city", "size"]]
    X.assign(y=y).to_parquet(tmp_path / "rows.parquet")
    stream = tabemb.Stream(tmp_path / "rows.parquet", in_memory=0)
    model = EmbeddingRegressor(**QUICK | {"early_stopping": "auto"}, device="cuda").fit(stream, y="y")
    assert devices_of(model) == {"cuda"}
    loaded = on_cpu(model, tmp_path)
    np.testing.assert_allclose(model.predict(X.head(5)), loaded.predict(X.head(5)), atol=NEAR)


@pytest.mark.parametrize(
    "kind",
    ["regressor", "event regressor", pytest.param("event classifier", marks=pytest.mark.slow)],
)
def test_a_fit_that_was_killed_goes_on_on_the_device(kind, tmp_path, monkeypatch):
    whole, X, _ = fitted(kind, checkpoint=tmp_path / "whole")
    monkeypatch.setattr(checkpoints, "PAUSE", 0.0)
    write, left = checkpoints.Checkpoints.write, iter([1, 0])

    def killed(self, *args, **kwargs):
        write(self, *args, **kwargs)
        if next(left, None) == 0:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints.Checkpoints, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        fitted(kind, checkpoint=tmp_path / "killed")
    again, _, _ = fitted(kind, checkpoint=tmp_path / "killed")
    np.testing.assert_allclose(answer(again, X), answer(whole, X), atol=SAME)


# tables that are too large for the device


@pytest.mark.slow
@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize("kind", ["regressor", "event classifier"])
def test_a_table_that_does_not_fit_stays_in_main_memory_and_learns_the_same(
    kind, sparse, tmp_path, monkeypatch
):
    name = "city" if kind == "regressor" else "what"
    tables = {name: Table([name], dim=16, sparse=sparse)}
    whole, X, _ = fitted(kind, tables=tables, unknown_rate=0.0, dropout=0.0)
    of_table = sum(group.weight.numel() for group in largest(whole.network_)) * 4
    n_bytes = sum(weight.numel() for weight in whole.network_.parameters()) * 4
    room = devices.COPIES * (n_bytes - 0.9 * of_table) / devices.SHARE
    monkeypatch.setattr(devices, "free_bytes", lambda it: room if it.type == "cuda" else math.inf)
    with pytest.warns(RuntimeWarning, match="stay in main memory, as 'cuda' has .* GB free"):
        parted, _, _ = fitted(kind, tables=tables, unknown_rate=0.0, dropout=0.0)
    stay = {group.weight.device.type for group in largest(parted.network_)}
    assert stay == {"cpu"}
    assert devices_of(parted) == {"cpu", "cuda"}
    np.testing.assert_allclose(answer(parted, X), answer(whole, X), atol=SAME)
    loaded = on_cpu(parted, tmp_path)
    np.testing.assert_allclose(answer(parted, X.head(5)), answer(loaded, X.head(5)), atol=NEAR)
    for it in parted.spaces_:
        np.testing.assert_allclose(products(parted.spaces_[it]), products(loaded.spaces_[it]), atol=1e-3)
    if kind == "regressor":
        with pytest.warns(RuntimeWarning, match="stay in main memory"):
            parted.partial_fit(*planted(100, seed=3))


def test_the_memory_of_a_device_is_read(device):
    assert devices.free_bytes(torch.device("cpu")) == math.inf
    if device == "cuda":
        free = devices.free_bytes(torch.device("cuda"))
        block = torch.empty(2**28, dtype=torch.uint8, device="cuda")
        assert free - devices.free_bytes(torch.device("cuda")) == pytest.approx(len(block), rel=0.2)


def largest(network):
    """Return the groups of tables of 16 numbers a vector."""
    groups = [module for module in network.modules() if isinstance(module, TableGroup)]
    return [group for group in groups if group.weight.shape[1] == 16]
