"""Fits and predictions in special processes: after a fork, in threads, in a read-only container."""

import contextlib
import gc
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc

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
    SequenceEncoder,
)
from tabemb.estimators import cross_fitting
from tabemb.fitting.checks import Columns
from tabemb.training.optimizers import Optimizer

QUICK = {"max_epochs": 2, "n_members": 2, "hidden": (16,), "n_jobs": 1, "random_state": 0}


def run(code, timeout=120):
    """Run Python code in a new process, and return what it prints."""
    command = [sys.executable, "-W", "ignore", "-c", code]
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive"}  # faster on a busy machine
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, check=False, env=environment
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout.strip()


FORK = """
import multiprocessing as mp
import numpy as np, pandas as pd, pyarrow as pa, torch
from tabemb import *

torch.set_num_threads(2)
n, rng = 20_000, np.random.default_rng(0)
shop = rng.choice(list("abcdef"), n)
X = pd.DataFrame({"shop": shop, "size": rng.normal(size=n), "id": np.arange(n) // 4, "at": np.arange(n)})
y = np.where(rng.random(n) < 0.5, "no", "yes")
lists = pa.table({"visits": [[{"page": page, "seconds": 1.0}] * 2 for page in shop]})
quick = {"max_epochs": 1, "n_members": 2, "hidden": (16,), "n_jobs": 2, "random_state": 0}
net = EmbeddingClassifier(preset="fast", **quick)
encoder = EmbeddingEncoder(estimator=net, cv=2, n_repeats=1, random_state=0)
models = {
    "rows": (EmbeddingClassifier(**quick), X, "predict_proba"),
    "histories": (EmbeddingClassifier(**quick), lists, "predict_proba"),
    "events": (EventClassifier(entity="id", time="at", **quick), X, "predict_proba"),
    "hidden layer": (EmbeddingClassifier(**quick), X, "transform"),
    "sequences": (SequenceEncoder(max_epochs=1, n_jobs=2, random_state=0), lists, "transform"),
    "encoder": (encoder, X[["shop"]], "transform"),
}


def predictions(name):
    model, rows, method = models[name]
    rows = rows.assign(at=rows["at"] + n) if name == "events" else rows
    result = getattr(model, method)(rows)
    if name == "encoder":
        model.inverse_transform(result)
    return np.asarray(result, dtype=float)


def fit(name):
    model, rows, _ = models[name]
    model.fit(rows[:500], y[:500])


def work(connection):
    for name, (model, *_) in models.items():
        connection.send(predictions(name))  # with the n_jobs=2 of the parent
        model.n_jobs = 1
        connection.send(predictions(name))
        fit(name)  # and a fit in the child
        connection.send(predictions(name))


expected = {}
for name in models:
    fit(name)
    expected[name] = predictions(name)
receiver, sender = mp.Pipe()
child = mp.get_context("fork").Process(target=work, args=(sender,))
child.start()
try:
    for name in models:
        for call in ("as in the parent", "n_jobs=1", "after a fit"):
            assert receiver.poll(40), f"{name}, {call}: the forked process hangs"
            np.testing.assert_allclose(receiver.recv(), expected[name], atol=1e-3)
    child.join(30)
    assert child.exitcode == 0, child.exitcode
finally:
    child.kill()
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="a process is forked")
def test_a_forked_process_predicts_and_fits_after_its_parent_used_threads():
    """OpenMP's threads do not survive a fork, so work for them would hang forever."""
    run(FORK, timeout=300)


def shops(n=300):
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"shop": rng.choice(list("abcdef"), n), "size": rng.normal(size=n)})
    return X, X["size"] + (X["shop"] > "c")


def lists(n=60):
    X, _ = shops(n)
    return pd.DataFrame({"visits": [[shop, "x", "y"] * 2 for shop in X["shop"]]})


def predicted(kind, seed):
    """Fit a model of a kind with all of its randomness, and return its predictions."""
    quick = {**QUICK, "random_state": seed}
    X, y = shops()
    if kind == "rows":
        model = EmbeddingRegressor(**quick, dropout=0.3, numbers="periodic", n_networks=2)
        return model.fit(X, y).predict(X)
    if kind == "classes":  # so many classes that a step draws a sample of them
        labels = np.arange(2500) % 1100
        model = EmbeddingClassifier(**quick, early_stopping=False)
        return model.fit(pd.DataFrame({"a": labels % 7}), labels).predict_proba(pd.DataFrame({"a": [3]}))
    if kind == "events":
        log = X.assign(id=np.arange(len(X)) % 9, at=np.arange(len(X)))
        model = EventClassifier(entity="id", time="at", history="lstm", **quick).fit(log, y > 0.5)
        return model.predict_proba(log.assign(at=log["at"] + 1000))
    return SequenceEncoder(max_epochs=2, n_jobs=1, random_state=seed).fit_transform(lists())


@pytest.mark.parametrize(
    "kind", ["rows", pytest.param("classes", marks=pytest.mark.slow), "events", "sequences"]
)
def test_fits_in_several_threads_are_those_of_one_thread(kind):
    """Each fit has its seed, and all draw at the same time. A shared random state would differ."""
    expected, together = [predicted(kind, seed) for seed in range(3)], {}
    start = threading.Barrier(3)

    def work(seed):
        start.wait()
        together[seed] = predicted(kind, seed)

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for seed in range(3):
        np.testing.assert_array_equal(together[seed], expected[seed])


@pytest.mark.parametrize("kind", ["rows", "classes", "events", "sequences"])
def test_a_fit_never_touches_the_random_states_of_the_process(kind, monkeypatch):
    """They must not even be changed and restored, as another thread could see that."""

    def refuse(*args, **kwargs):
        raise AssertionError("torch's random state is changed")

    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    for name in ("manual_seed", "set_rng_state"):
        monkeypatch.setattr(torch, name, refuse)
        monkeypatch.setattr(torch.random, name, refuse)
    predicted(kind, 0)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert (np.random.get_state()[1] == numpy_state).all()  # noqa: NPY002


THREADS = """
import threading
import numpy as np, pandas as pd, torch
from tabemb import EmbeddingRegressor
from tabemb.training.loop import Budget
from tabemb.estimators import cross_fitting
from tabemb.training.optimizers import Optimizer
from tabemb.training.threads import _guard

def fresh():
    seen = []
    thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start(), thread.join()
    return seen[0]

torch.set_num_threads(3)
step, seen = Optimizer.step, []
def watched(*args):
    with _guard():  # not while another fit sets its number, which torch also gives to new threads
        seen.append((torch.get_num_threads(), fresh()))
    return step(*args)
Optimizer.step = watched
X = pd.DataFrame({"a": list("abcd") * 20, "b": range(80)})
def fit():
    EmbeddingRegressor(max_epochs=2, n_members=2, hidden=(8,), n_jobs=1, random_state=0).fit(X, X["b"])
    counts.append(torch.get_num_threads())
counts = []
workers = [threading.Thread(target=fit) for _ in range(3)]
[worker.start() for worker in workers], fit(), [worker.join() for worker in workers]
print(set(seen), set(counts), fresh(), torch.get_num_threads())
"""


@pytest.mark.slow
def test_the_number_of_threads_is_set_for_the_thread_that_computes_alone():
    """torch.set_num_threads also sets the default of new threads; the user's number must stay."""
    assert run(THREADS) == "{(1, 3)} {3} 3 3"


CONTAINER = """
import os, sys, tempfile, warnings
warnings.simplefilter("error")
import numpy as np, pandas as pd
from tabemb import *

page = os.environ.pop("PAGE")
wanted = ("HOME", "TMPDIR", "TEMP", "TMP", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
os.environ.update(dict.fromkeys(wanted, "/dev/null/x"))  # a path that nobody can make, not even root
for name in ("MPLCONFIGDIR", "NUMBA_CACHE_DIR"):
    os.environ.pop(name, None)

def refuse(*args):
    raise FileNotFoundError("No usable temporary directory found")

tempfile._get_default_tempdir, tempfile.tempdir = refuse, None

def read_only(event, args):
    writes = event == "os.mkdir" or (event == "open" and set("wax+") & set(str(args[1])))
    if writes and not str(args[0]).startswith((os.path.dirname(page), "/dev/", "/proc/")):
        raise OSError(30, "Read-only file system", str(args[0]))

sys.addaudithook(read_only)
X = pd.DataFrame({"shop": list("abcdefgh") * 20, "size": np.arange(160.0)})
quick = {"max_epochs": 1, "n_members": 2, "hidden": (8,), "random_state": 0}
model = EmbeddingRegressor(**quick).fit(X, X["size"])
model.predict(X)
EventClassifier(entity="shop", time="size", **quick).fit(X, X["size"] > 80)
SequenceEncoder(max_epochs=1).fit(pd.DataFrame({"visits": [["a", "b"]] * 9}))
for n_jobs in (None, 2):
    net = EmbeddingRegressor(**quick)
    EmbeddingEncoder(cv=2, n_repeats=1, estimator=net, n_jobs=n_jobs).fit_transform(X, X["size"])
space = model.spaces_["shop"]
space.map().canvas.draw()
space.clusters(2)
model.plot_learning_curve().figure.canvas.draw()
space.atlas(page)
assert "torch._dynamo" not in sys.modules
"""


@pytest.mark.slow
def test_a_container_without_temporary_folder_fits_predicts_and_draws(tmp_path, monkeypatch):
    """torch's optimisers, joblib and matplotlib must not need a writable folder."""
    monkeypatch.setenv("PAGE", str(tmp_path / "page.html"))
    run(CONTAINER)
    assert os.listdir(tmp_path) == ["page.html"]


def interrupting_step(n_interrupts=1):
    """Return an optimiser step that sends Ctrl-C at its third call, once or several times."""
    step, calls = Optimizer.step, []

    def interrupting(*args):
        loss = step(*args)
        calls.append(1)
        for _ in range(n_interrupts if len(calls) == 3 else 0):
            os.kill(os.getpid(), signal.SIGINT)
        return loss

    return interrupting


def rows_and_targets(kind):
    X, y = shops()
    if kind == "rows":
        return EmbeddingRegressor(**{**QUICK, "max_epochs": 500, "early_stopping": False}), (X, y)
    if kind == "events":
        log = X.assign(id=np.arange(len(X)) % 9, at=np.arange(len(X)))
        return EventClassifier(entity="id", time="at", **{**QUICK, "max_epochs": 500}), (log, y > 0.5)
    if kind == "sequences":
        return SequenceEncoder(max_epochs=500, batch_size=8, n_jobs=1), (lists(),)
    net = EmbeddingRegressor(**{**QUICK, "max_epochs": 500})
    return EmbeddingEncoder(estimator=net, cv=2, n_repeats=1), (X, y)


KINDS = ("rows", "events", "sequences", "encoder")


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_trained_before_ctrl_c_is_kept_on_request(kind, monkeypatch):
    model, data = rows_and_targets(kind)
    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(Optimizer, "step", interrupting_step())
    with tabemb.keep_on_interrupt():
        model.fit(*data)
    if kind == "encoder":
        assert np.isfinite(model.transform(data[0]).to_numpy()[:, 1:].astype(float)).all()
    else:
        assert len(model.learning_curve_["epoch"]) <= 2  # one epoch of each training
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("keeps", [False, True])
def test_ctrl_c_without_the_request_and_the_second_one_leave_the_estimator_as_it_was(
    kind, keeps, monkeypatch
):
    model, data = rows_and_targets(kind)
    attributes = dict(vars(model))
    monkeypatch.setattr(Optimizer, "step", interrupting_step(2 if keeps else 1))
    request = tabemb.keep_on_interrupt() if keeps else contextlib.nullcontext()
    with request, pytest.raises(KeyboardInterrupt):
        model.fit(*data)
    assert vars(model) == attributes


@pytest.mark.parametrize("kind", ["sequences", "encoder"])
def test_ctrl_c_while_the_results_are_stored_leaves_the_estimator_as_it_was(kind, monkeypatch):
    def remember(*args):
        original(*args)
        raise KeyboardInterrupt

    original = Columns.remember
    model, data = rows_and_targets(kind)
    (model.estimator if kind == "encoder" else model).set_params(max_epochs=1)
    attributes = dict(vars(model.fit(*data)))
    with monkeypatch.context() as patched:
        patched.setattr(Columns, "remember", remember)
        with pytest.raises(KeyboardInterrupt):
            model.fit(data[0].rename(columns=str.upper), *data[1:])
    assert vars(model) == attributes
    assert model.fit(data[0].rename(columns=str.upper), *data[1:]).feature_names_in_[0].isupper()


def test_ctrl_c_can_be_kept_in_the_main_thread_alone():
    seen = []

    def work():
        with pytest.raises(ValueError, match="main thread"), tabemb.keep_on_interrupt():
            pass
        seen.append(1)

    worker = threading.Thread(target=work)
    worker.start(), worker.join()
    assert seen


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("numpy's"),
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_memory_that_runs_out_is_one_clear_error_and_changes_nothing(kind, error, monkeypatch):
    def stops(*args):
        raise error

    model, data = rows_and_targets(kind)
    attributes = dict(vars(model))
    monkeypatch.setattr(Optimizer, "step", stops)
    with pytest.raises(MemoryError, match=r"fit ran out of memory with \d+ rows, batch_size=.*device="):
        model.fit(*data)
    assert vars(model) == attributes


@pytest.mark.parametrize(
    ("kind", "method"),
    [
        *itertools.product(["rows", "classes"], ["predict", "transform"]),
        ("classes", "predict_proba"),
        *itertools.product(["events"], ["predict", "predict_proba", "replay_proba", "update"]),
        ("sequences", "transform"),
        *itertools.product(["encoder"], ["fit", "fit_transform", "transform"]),
    ],
)
def test_memory_that_runs_out_after_fit_is_a_sentence_too(kind, method, monkeypatch):
    def stops(*args, **kwargs):
        raise MemoryError("Unable to allocate 6.00 GiB")

    model, data = rows_and_targets("rows" if kind == "classes" else kind)
    if kind == "classes":
        model, data = EmbeddingClassifier(**QUICK), (data[0], data[1] > 0.5)
    (model.estimator if kind == "encoder" else model).set_params(max_epochs=1)
    model.fit(*data)
    if kind == "events":
        model.forget()
    monkeypatch.setattr("tabemb.data.encoding.Encoder.transform", stops)
    takes_y = method in ("fit", "fit_transform", "update", "replay_proba")
    with pytest.raises(
        MemoryError, match=r" ran out of memory with \d+ rows; pass fewer rows at a time"
    ):
        getattr(model, method)(*data[: 1 + takes_y])


@pytest.mark.parametrize("n_jobs", [10**9, 5000, -1, -50, None])
def test_no_more_processes_are_started_than_there_are_folds(n_jobs, monkeypatch, tmp_path):
    asked = []

    class Watched(cross_fitting.Parallel):
        def __init__(self, n_jobs, **kwargs):
            asked.append(n_jobs)
            super().__init__(1, **kwargs)

    monkeypatch.setattr(cross_fitting, "Parallel", Watched)
    model, data = rows_and_targets("encoder")
    model.set_params(n_jobs=n_jobs, estimator__max_epochs=1).fit(*data)
    tabemb.save(model, tmp_path / "model.tabemb")
    tabemb.load(tmp_path / "model.tabemb").fit(*data)
    assert len(asked) == 2
    assert all(1 <= n <= 2 for n in asked)


def test_another_error_of_torch_is_not_taken_for_one_of_memory(monkeypatch):
    def stops(*args):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(Optimizer, "step", stops)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        EmbeddingRegressor(**QUICK).fit(*shops())


@pytest.mark.parametrize("kind", ["best", "encoder", "two processes"])
def test_max_time_is_that_of_all_networks_together(kind):
    X, y = shops()
    endless = {**QUICK, "max_epochs": 10**6, "max_time": 1.5, "early_stopping": False}
    model = EmbeddingRegressor(**{**endless, "n_networks": 5})
    if kind != "best":
        net, n_jobs = EmbeddingRegressor(**endless), 2 if kind == "two processes" else 1
        model = EmbeddingEncoder(estimator=net, cv=3, n_repeats=2, n_jobs=n_jobs)
    start = time.perf_counter()
    model.fit(X, y)
    assert 1 < time.perf_counter() - start < 4


@pytest.mark.slow
def test_many_single_rows_leave_no_memory_behind(shops, small):
    X, y = shops
    model = EmbeddingRegressor(**small | {"max_epochs": 1}).fit(X, y)
    rows = X.head(50).to_dict("records")

    def answer_all():
        for row in rows:
            model.predict(pd.DataFrame([row]))

    tracemalloc.start()
    try:
        sizes = []
        for _ in range(8):
            answer_all()
            gc.collect()
            sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert sizes[-1] - sizes[2] < 20_000  # keeping one number of each of the 250 rows would be as much
