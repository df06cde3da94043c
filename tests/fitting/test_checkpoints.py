"""Checkpoints: whenever a fit is stopped, the same call resumes it and gets the same weights."""

import multiprocessing
import os
import time

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

import tabemb
from tabemb import (
    EmbeddingClassifier,
    EmbeddingEncoder,
    EmbeddingRegressor,
    EventClassifier,
    SequenceEncoder,
    Table,
)
from tabemb.training import checkpoints, loop
from tests.fuzz import trials

N_ROWS = 240


def table(seed=0):
    rng = np.random.default_rng(seed)
    X = pd.DataFrame({"city": rng.choice(list("abcdef"), N_ROWS), "size": rng.normal(size=N_ROWS)})
    X["user"], X["time"] = rng.integers(0, 30, N_ROWS), np.arange(N_ROWS)
    return X, (rng.random(N_ROWS) < 0.3 + 0.4 * (X["size"] > 0)).astype(int)


def baskets():
    rng = np.random.default_rng(0)
    return pd.DataFrame({"basket": [list(rng.choice(list("abcdef"), 4)) for _ in range(60)]}), None


def more_rows(X, y):
    return {"eval_X": X[:50], "eval_y": y[:50]}


SMALL = {"random_state": 0, "n_members": 2, "n_pairs": 2, "hidden": (8,), "batch_size": 48}
SHORT = {**SMALL, "max_epochs": 3}
LOG = {"entity": "user", "time": "time"}
SPARSE = {"city": Table(["city"], sparse=True)}
CASES = {
    "early stopping, then all rows": lambda: (EmbeddingClassifier(**SMALL, patience=1), *table(), {}),
    "a falling rate": lambda: (EmbeddingClassifier(**SMALL, max_epochs=4), *table(), {}),
    "validation rows": lambda: (
        EmbeddingRegressor(**SMALL, max_epochs=4),
        *table(),
        more_rows(*table()),
    ),
    "two networks": lambda: (EmbeddingRegressor(**SMALL, n_networks=2, max_epochs=3), *table(), {}),
    "a sparse table": lambda: (EmbeddingRegressor(**SMALL, tables=SPARSE, max_epochs=3), *table(), {}),
    "no effects": lambda: (EmbeddingRegressor(**SMALL, effects=False, max_epochs=3), *table(), {}),
    "events": lambda: (EventClassifier(**SMALL, **LOG, max_epochs=3), *table(), {}),
    "sequences": lambda: (
        SequenceEncoder(random_state=0, max_epochs=5, d_history=8, device="cpu"),
        *baskets(),
        {},
    ),
}


class Killed(BaseException):
    """Simulates a kill: nothing catches it."""


@pytest.fixture
def write_always(monkeypatch):
    monkeypatch.setattr(checkpoints, "PAUSE", 0.0)


@pytest.fixture
def kill_after(monkeypatch, write_always):
    """Return a function that makes the n-th next epoch end in a kill, after or instead of its write."""
    original = checkpoints.Checkpoints.write

    def set_up(n, *, writes=True):
        left = iter(range(n - 1, -1, -1))

        def write(self, *args, **kwargs):
            is_last = next(left, None) == 0
            if writes or not is_last:
                original(self, *args, **kwargs)
            if is_last:
                raise Killed

        monkeypatch.setattr(checkpoints.Checkpoints, "write", write)

    return set_up


def fit(model, X, y, more):
    return clone(model).fit(X, y, **more)


def weights_of(model):
    return [weight.numpy(force=True).copy() for weight in model.network_.parameters()]


def assert_same(model, expected):
    for weight, other in zip(weights_of(model), weights_of(expected), strict=True):
        np.testing.assert_array_equal(weight, other)
    for key in ("epoch", "train_loss", "eval_loss"):
        np.testing.assert_array_equal(model.learning_curve_[key], expected.learning_curve_[key])


UNWRITTEN = ["early stopping, then all rows", "two networks"]
"""Cases whose last epoch is also lost before its write in the ordinary run."""


@pytest.mark.parametrize(
    ("case", "writes"),
    [
        *((case, True) for case in CASES),
        *((case, False) for case in UNWRITTEN),
        *(pytest.param(case, False, marks=pytest.mark.slow) for case in CASES if case not in UNWRITTEN),
    ],
)
def test_a_fit_killed_at_any_epoch_ends_in_the_same_weights(case, writes, kill_after, tmp_path):
    model, X, y, more = CASES[case]()
    expected = fit(model, X, y, more)
    n_epochs = len(expected.learning_curve_["epoch"]) * getattr(model, "n_networks", 1)
    for n in sorted({1, 2, n_epochs // 2, n_epochs - 1, n_epochs} - {0}):
        model.set_params(checkpoint=tmp_path / str(n))
        kill_after(n, writes=writes)
        with pytest.raises(Killed):
            fit(model, X, y, more)
        assert_same(fit(model, X, y, more), expected)


def test_a_fit_killed_again_and_again_ends_in_the_same_weights(kill_after, tmp_path):
    model, X, y, more = CASES["two networks"]()
    expected = fit(model, X, y, more)
    model.set_params(checkpoint=tmp_path)
    for _ in range(6):
        kill_after(1)
        with pytest.raises(Killed):
            fit(model, X, y, more)
    assert_same(fit(model, X, y, more), expected)


def fit_to_a_file(folder, path):
    X, y = table()
    model = EmbeddingClassifier(**SMALL, n_networks=2, max_epochs=40, checkpoint=folder, device="cpu")
    model.fit(X, y)
    curve = np.array(model.learning_curve_["train_loss"], np.float32)
    np.save(path, np.concatenate([curve, *map(np.ravel, weights_of(model))]))


@pytest.mark.slow
def test_a_process_killed_at_a_random_moment_leaves_what_the_next_goes_on_from(tmp_path):
    """There are twelve kills by SIGKILL, or fifty in a fuzz run."""
    start = time.perf_counter()
    run(tmp_path / "whole", tmp_path / "expected.npy").join()
    seconds, expected = time.perf_counter() - start, np.load(tmp_path / "expected.npy")
    rng, n_resumed = np.random.default_rng(0), 0
    for k in range(trials(12, 50)):
        folder, path = tmp_path / f"{k}", tmp_path / f"{k}.npy"
        process = run(folder, path)
        process.join(rng.uniform(0, seconds))
        process.kill()
        process.join()
        n_resumed += any(folder.glob("*.checkpoint"))
        run(folder, path).join()
        np.testing.assert_array_equal(np.load(path), expected)
    assert n_resumed > 3


def run(folder, path):
    process = multiprocessing.get_context("fork").Process(target=fit_to_a_file, args=(folder, path))
    process.start()
    return process


@pytest.fixture
def n_steps(monkeypatch):
    """Return a list that gets one entry per training step."""
    steps, step = [], loop.Optimizer.step
    monkeypatch.setattr(
        loop.Optimizer, "step", lambda self, *args: (steps.append(1), step(self, *args))[1]
    )
    return steps


def test_a_fit_that_was_over_trains_no_more(tmp_path, n_steps):
    X, y = table()
    model = EmbeddingClassifier(**SMALL, patience=1, checkpoint=tmp_path)  # trains twice
    first = clone(model).fit(X, y)
    n_before = len(n_steps)
    assert_same(clone(model).fit(X, y), first)
    assert len(n_steps) == n_before > 0


def test_all_folds_of_an_encoder_are_kept(tmp_path, n_steps):
    X, y = table()
    net = EmbeddingClassifier(**SHORT, checkpoint=str(tmp_path))
    encoder = EmbeddingEncoder(columns=["city"], estimator=net, n_jobs=1, random_state=0)
    first = encoder.fit_transform(X, y)
    n_before = len(n_steps)
    assert len(list(tmp_path.iterdir())) == 3
    pd.testing.assert_frame_equal(encoder.fit_transform(X, y), first)
    assert len(n_steps) == n_before


@pytest.mark.parametrize(
    "change",
    [
        {"X": table(seed=1)[0]},
        {"y": table(seed=1)[1]},
        {"sample_weight": np.arange(N_ROWS) + 1.0},
        {"eval_X": table(seed=1)[0], "eval_y": table(seed=1)[1]},
        {"random_state": 1},
        {"learning_rate": 0.01},
        {"dropout": 0.2},
        {"tables": {"city": Table(["city"], max_norm=1.0)}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_fit_has_a_file_of_its_own(change, tmp_path):
    X, y = table()
    data = {"X": X, "y": y}
    settings = {**SMALL, "max_epochs": 2, "n_members": 1, "checkpoint": tmp_path}
    EmbeddingClassifier(**settings).fit(**data)
    names = {"X", "y", "sample_weight", "eval_X", "eval_y"}
    data |= {name: value for name, value in change.items() if name in names}
    settings |= {name: value for name, value in change.items() if name not in names}
    assert_same(
        EmbeddingClassifier(**settings).fit(**data),
        EmbeddingClassifier(**settings | {"checkpoint": None}).fit(**data),
    )
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("change", [{"verbose": True}, {"max_time": 1e6}, {"n_jobs": 2}], ids=str)
def test_what_changes_no_weight_goes_on(change, tmp_path):
    X, y = table()
    for more in ({}, change):
        EmbeddingClassifier(**SMALL, max_epochs=2, checkpoint=tmp_path, **more).fit(X, y)
    assert len(list(tmp_path.iterdir())) == 1


def test_what_the_time_limit_cut_short_goes_on_in_the_next_call(tmp_path, write_always):
    X, y = table()
    model = EmbeddingClassifier(**SMALL, patience=3)
    expected = clone(model).fit(X, y)
    model.set_params(checkpoint=tmp_path)
    for seconds in (1e-6, 0.2):
        clone(model).set_params(max_time=seconds).fit(X, y)
    assert_same(model.fit(X, y), expected)


def test_a_limit_that_passes_just_after_a_write_ends_the_writing(tmp_path, write_always, monkeypatch):
    """Otherwise the second training would be written as if the first had finished."""
    X, y = table()
    model = EmbeddingClassifier(**SMALL, patience=1)
    expected, spent, original = model.fit(X, y), set(), checkpoints.Checkpoints.write

    def write(self, state, is_cut):
        original(self, state, is_cut=is_cut)
        if not spent:
            spent.add(state.__self__.training.budget)

    with monkeypatch.context() as patched:
        patched.setattr(loop.Budget, "over", property(lambda self: self in spent))
        patched.setattr(checkpoints.Checkpoints, "write", write)
        clone(model).set_params(checkpoint=tmp_path).fit(X, y)
    assert_same(clone(model).set_params(checkpoint=tmp_path).fit(X, y), expected)


def test_the_number_of_threads_is_that_of_the_first_call(tmp_path, kill_after, monkeypatch):
    X, y = table()
    used = []
    monkeypatch.setattr(loop, "threads", lambda n, threads=loop.threads: (used.append(n), threads(n))[1])
    kill_after(1)
    with pytest.raises(Killed):
        EmbeddingClassifier(**SHORT, checkpoint=tmp_path, n_jobs=2).fit(X, y)
    EmbeddingClassifier(**SHORT, checkpoint=tmp_path, n_jobs=1).fit(X, y)
    assert set(used) == {2}


def test_a_full_disk_ends_no_fit(tmp_path, write_always, monkeypatch):
    X, y = table()

    def write(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints.layout, "write", write)
    with pytest.warns(RuntimeWarning, match="cannot be written: No space left on device"):
        model = EmbeddingClassifier(**SHORT, checkpoint=tmp_path).fit(X, y)
    assert_same(model, EmbeddingClassifier(**SHORT).fit(X, y))


def test_writing_takes_a_twentieth_of_the_time(tmp_path, monkeypatch):
    clock, n_writes = [0.0], []
    monkeypatch.setattr(checkpoints.time, "perf_counter", lambda: clock[0])

    def write(*args):
        clock[0] += 1.0
        n_writes.append(1)

    monkeypatch.setattr(checkpoints.layout, "write", write)
    kept = checkpoints.Checkpoints(tmp_path / "a", loop.nn.Linear(1, 1), checkpoints.Random(0))
    for _ in range(200):  # each epoch takes a second
        clock[0] += 1.0
        kept.write(dict, is_cut=False)
    assert len(n_writes) == 200 // 20


def test_checkpoints_need_a_seed(tmp_path):
    with pytest.raises(ValueError, match="random_state must be a whole number where checkpoint"):
        EmbeddingClassifier(checkpoint=tmp_path).fit(*table())


@pytest.mark.parametrize("path", ["/dev/null/x", __file__])
def test_a_folder_that_cannot_be_written_to_is_refused(path):
    with pytest.raises(ValueError, match=r"checkpoint must name a folder that can be written to; '.*'"):
        EmbeddingClassifier(**SMALL, checkpoint=path).fit(*table())


def test_another_type_than_a_path_is_refused():
    with pytest.raises(ValueError, match="checkpoint must be the path of a folder, or None; got 3"):
        EmbeddingClassifier(**SMALL, checkpoint=3).fit(*table())


def test_a_damaged_checkpoint_is_refused(tmp_path):
    model = EmbeddingClassifier(**SMALL, max_epochs=2, checkpoint=tmp_path)
    model.fit(*table())
    (path,) = tmp_path.iterdir()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"\.checkpoint' is damaged: its content does not match"):
        model.fit(*table())


def test_leftovers_of_a_kill_are_removed_when_they_are_old(tmp_path):
    for name, age in [(".tabemb-1.part", 7200), (".tabemb-2.part", 1)]:
        (tmp_path / name).touch()
        os.utime(tmp_path / name, times=(time.time() - age,) * 2)
    EmbeddingClassifier(**SMALL, max_epochs=2, checkpoint=tmp_path).fit(*table())
    assert [path.name for path in tmp_path.glob(".*")] == [".tabemb-2.part"]


def test_a_model_with_a_checkpoint_is_saved(tmp_path):
    model = EmbeddingClassifier(**SMALL, max_epochs=2, checkpoint=tmp_path / "fits").fit(*table())
    tabemb.save(model, tmp_path / "m.tabemb")
    loaded = tabemb.load(tmp_path / "m.tabemb")
    assert loaded.checkpoint == str(tmp_path / "fits")
