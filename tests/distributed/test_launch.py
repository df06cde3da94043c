"""`distributed.fit`: workers that torchrun starts, a killed one, and how errors come back."""

import os
import signal
import time
from threading import Thread

import numpy as np
import pandas as pd
import psutil
import pytest
from sklearn.base import clone

import tabemb
from tabemb import EmbeddingClassifier, EmbeddingRegressor, PairEmbedder, distributed
from tabemb.distributed import engines
from tabemb.distributed.engines import ENGINES
from tabemb.files import layout
from tests.distributed.together import together

WORKER = "tabemb.distributed.worker"
SETTINGS = {
    "random_state": 0,
    "n_jobs": 1,
    "hidden": (16,),
    "n_members": 2,
    "batch_size": 128,
    "learning_rate": 0.01,
}


def planted(n_rows=1000, seed=0):
    rng = np.random.default_rng(seed)
    effects = {"north": -2.0, "south": 0.0, "east": 1.0, "west": 3.0}
    X = pd.DataFrame({"shop": rng.choice(list(effects), n_rows), "size": rng.normal(size=n_rows)})
    return X, X["shop"].map(effects) + 2 * X["size"] + rng.normal(scale=0.1, size=n_rows)


X, Y = planted()


@pytest.fixture
def here(monkeypatch):
    """An engine that runs the job in this process."""
    monkeypatch.setitem(
        ENGINES, "torchrun", lambda job, n_workers, max_restarts, folder: job.run(folder)
    )


def weights_of(model):
    return np.concatenate([weight.detach().numpy().ravel() for weight in model.network_.parameters()])


class Killer(Thread):
    """Kill the second worker, a real process, once there is a checkpoint; record its epochs."""

    def __init__(self, folder):
        super().__init__(daemon=True)
        self.folder, self.seconds, self.killed = folder, [], None

    def run(self):
        end = time.perf_counter() + 60
        while self.killed is None and time.perf_counter() < end:
            for path in self.folder.glob("*.checkpoint"):
                self.seconds = layout.read(path)[0]["fit"]["run"]["curve"]["seconds"]
                self.killed = self._second_worker()
                os.kill(self.killed, signal.SIGKILL)
            time.sleep(0.02)

    @staticmethod
    def _second_worker():
        for process in psutil.Process().children(recursive=True):
            if WORKER in process.cmdline() and process.environ().get("RANK") == "1":
                return process.pid
        raise AssertionError("there is no second worker")


def uninterrupted(workers, model):
    return weights_of(model.fit(X, Y))


@pytest.mark.slow
def test_a_job_goes_on_from_the_checkpoint_when_a_worker_is_killed(tmp_path):
    model = EmbeddingRegressor(**SETTINGS, max_epochs=30, trees=False, dropout=0.1, early_stopping=False)
    killer = Killer(tmp_path / "kept")
    handlers = [signal.getsignal(one) for one in engines.SIGNALS]
    killer.start()
    kept = clone(model).set_params(checkpoint=tmp_path / "kept")
    assert distributed.fit(kept, X, Y, n_workers=2, max_restarts=1) is kept
    assert killer.killed
    assert 0 < len(killer.seconds) < 30
    assert kept.learning_curve_["seconds"][: len(killer.seconds)] == killer.seconds
    assert [signal.getsignal(one) for one in engines.SIGNALS] == handlers
    (tmp_path / "whole").mkdir()
    for weights in together(uninterrupted, 2, tmp_path / "whole", model):
        np.testing.assert_array_equal(weights_of(kept), weights)
    # as good as the fit of one process, against the planted truth
    test, truth = planted(400, seed=1)
    alone = clone(model).fit(X, Y)
    errors = [np.sqrt(np.mean((one.predict(test) - truth) ** 2)) for one in (kept, alone)]
    assert errors[0] < 1.1 * errors[1] < 0.17 * truth.std()


@pytest.mark.slow
def test_a_worker_that_is_killed_in_the_last_attempt_is_named(tmp_path):
    killer = Killer(tmp_path)
    killer.start()
    model = EmbeddingRegressor(**SETTINGS, max_epochs=1000, early_stopping=False, checkpoint=tmp_path)
    with pytest.raises(
        RuntimeError, match=r"^Worker 1 of 2 failed \(SIGKILL\), after 0 restarts; with "
    ):
        distributed.fit(model, X, Y, n_workers=2)
    assert not hasattr(model, "best_epoch_")


def test_the_model_is_fitted_in_place(here, tmp_path):
    model = EmbeddingRegressor(**SETTINGS, max_epochs=2, tables=None)
    same = distributed.fit(model, X, Y)
    assert same is model
    assert weights_of(model).tolist() == weights_of(clone(model).fit(X, Y)).tolist()
    earlier = dict(vars(model))
    model.set_params(max_epochs=1, learning_rate=1e-3)
    distributed.fit(model, X, Y, sample_weight=np.arange(len(X)), folder=tmp_path / "new")
    expected = clone(model).fit(X, Y, sample_weight=np.arange(len(X)))
    assert weights_of(model).tolist() == weights_of(expected).tolist()
    assert set(vars(model)) <= set(earlier)
    assert list((tmp_path / "new").iterdir()) == []


def test_a_failed_call_leaves_the_model_as_it_was(here):
    model = EmbeddingRegressor(**SETTINGS, max_epochs=1).fit(X, Y)
    before = dict(vars(model))
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples: \[1000, 3\]"):
        distributed.fit(model, X, Y[:3])
    assert vars(model) == before


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        (lambda *args: None, r"^The workers have ended without a model; their output says why\.$"),
        (lambda *args: {}["address"], r"^The workers that torchrun has started failed: 'address'\.$"),
    ],
)
def test_an_engine_that_fails_is_one_error(engine, message, monkeypatch):
    monkeypatch.setitem(ENGINES, "torchrun", engine)
    with pytest.raises(RuntimeError, match=message):
        distributed.fit(EmbeddingRegressor(**SETTINGS), X, Y)


def test_files_are_read_by_the_workers(here, tmp_path, monkeypatch):
    X.assign(sales=Y).to_parquet(tmp_path / "sales.parquet")
    monkeypatch.chdir(tmp_path)
    model = EmbeddingRegressor(**SETTINGS, max_epochs=2)
    distributed.fit(model, "sales.parquet", "sales")
    assert weights_of(model).tolist() == weights_of(clone(model).fit(X, Y)).tolist()
    with pytest.raises(ValueError, match=r"^y must name a column of the source, which has no 'price'"):
        distributed.fit(model, "sales.parquet", "price")


@pytest.mark.slow
def test_the_workers_share_the_encoded_rows_of_a_long_stream(tmp_path):
    X.assign(sales=Y).to_parquet(tmp_path / "sales.parquet")
    stream = tabemb.Stream(tmp_path / "sales.parquet", cache=tmp_path / "cache", in_memory=0)
    model = EmbeddingRegressor(**SETTINGS | {"n_jobs": None}, max_epochs=20)
    distributed.fit(model, stream, "sales", n_workers=2)
    new_X, new_y = planted(seed=1)
    assert np.mean((model.predict(new_X) - new_y) ** 2) < 0.05 * new_y.var()
    (rows,) = (tmp_path / "cache").glob("rows-*")
    assert (rows / "complete.json").exists()


def test_a_random_state_is_a_seed_for_the_workers(here):
    model = EmbeddingRegressor(**SETTINGS | {"random_state": np.random.RandomState(0)}, max_epochs=1)
    state = model.random_state
    distributed.fit(model, X, Y)
    assert model.random_state is state


def test_folders_mean_the_same_to_workers_elsewhere(monkeypatch, tmp_path):
    sent = []
    monkeypatch.setitem(ENGINES, "torchrun", lambda job, *args: (sent.append(job), job.run(args[-1])))
    monkeypatch.chdir(tmp_path)
    distributed.fit(EmbeddingRegressor(**SETTINGS, max_epochs=1, checkpoint="kept"), X, Y)
    assert sent[0].model.checkpoint == str(tmp_path / "kept")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"engine": "mpi"}, ValueError, r"engine must be one of .*; got 'mpi'\.$"),
        ({"n_workers": 0}, ValueError, r"^n_workers must be a whole number >= 1; got 0\.$"),
        ({"max_restarts": -1}, ValueError, r"^max_restarts must be a whole number >= 0; got -1\.$"),
        ({"folder": 3}, ValueError, r"^folder must be the path of a folder"),
        (
            {"model": PairEmbedder()},
            TypeError,
            r"^model must be an EmbeddingClassifier, .*PairEmbedder\.$",
        ),
        ({"model": EmbeddingClassifier(n_bins=0)}, ValueError, r"^n_bins must be a whole number >= 2"),
        (
            {"source": (row for row in [])},
            TypeError,
            r"^source and the arguments of fit must be what other",
        ),
        ({"tabels": {}}, TypeError, r"unexpected keyword argument"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_wrong_arguments_are_refused(change, error, message, monkeypatch):
    if "tabels" in change:
        monkeypatch.setitem(ENGINES, "torchrun", lambda job, *args: job.run(args[-1]))
    arguments = {"model": EmbeddingRegressor(**SETTINGS), "source": X, "y": Y}
    with pytest.raises(error, match=message):
        distributed.fit(**arguments | change)


def test_a_script_is_its_one_worker_where_no_engine_has_started_it(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    with distributed.workers() as group:
        assert (group.rank, group.size) == (0, 1)
        tabemb.EmbeddingRegressor(**SETTINGS, max_epochs=1).fit(X, Y)
