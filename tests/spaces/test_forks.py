"""A space in a process that was forked from a process that had used threads."""

import multiprocessing as mp
import os
import subprocess
import sys

import numpy as np
import pytest

from tabemb.spaces import EmbeddingSpace, plane

FORK = """
import multiprocessing as mp
import os, sys, tempfile
import numpy as np, pandas as pd, torch
import tabemb
from tabemb.spaces import EmbeddingSpace, agreement, stability

torch.set_num_threads(2)
rng, folder = np.random.default_rng(0), tempfile.mkdtemp()
centers = 9 * rng.normal(size=(20, 16))
vectors = np.tile(centers, (600, 1)) + rng.normal(size=(12_000, 16))  # so many that all threads work
n, n_few = len(vectors), 300

def new(n=n):
    return EmbeddingSpace(vectors[:n], np.arange(n), np.ones(n), name="shop")

few = new(n_few)
file = folder + "/shop.usearch"
few.index(file)
X = pd.DataFrame({"shop": rng.integers(0, 50, 20_000).astype(str), "size": rng.normal(size=20_000)})
quick = {"max_epochs": 1, "n_members": 2, "hidden": (64,), "n_jobs": 2, "random_state": 0}
model = tabemb.EmbeddingRegressor(**quick).fit(X, X["size"])
tabemb.save(model, folder + "/model.tabemb")
def atlas(space):
    path = space.atlas(folder + "/page.html")
    return [len(path.read_bytes())]

works = {
    "clusters": lambda: new().clusters(20)["similarity"],
    "nearest": lambda: new().nearest(3)["category"],
    "analogy": lambda: new().analogy(3, 4, 5)["category"],
    "neighbors": lambda: new().neighbors(range(300))["neighbor"],
    "index": lambda: few.index().neighbors()["similarity"],
    "open_index": lambda: few.open_index(file).neighbors()["similarity"],
    "pca": lambda: new().coordinates("pca")["x"],
    "tsne": lambda: new(n_few).coordinates()["x"] * 0,  # threads change its last digits, then its path
    "place": lambda: few.place(vectors[:50])["x"] * 0,
    "map": lambda: [new(n_few).map().canvas.draw()] == [None],
    "atlas": lambda: atlas(new(n_few)),
    "stability": lambda: stability([new(), new()])[:1],
    "agreement": lambda: agreement(new(), [(1, 2, 0.3), (2, 3, 0.2), (1, 3, 0.9)]),
    "load": lambda: tabemb.load(folder + "/model.tabemb").spaces_["shop"].nearest("3")["similarity"],
}

def work(connection):
    for do in works.values():
        connection.send(np.asarray(do(), dtype=float))

expected = {name: np.asarray(do(), dtype=float) for name, do in works.items()}
receiver, sender = mp.Pipe()
child = mp.get_context("fork").Process(target=work, args=(sender,))
child.start()
try:
    for name in works:
        assert receiver.poll(30), f"{name}: the forked process hangs"
        np.testing.assert_allclose(receiver.recv(), expected[name], atol=0.02, err_msg=name)
    child.join(30)
    assert child.exitcode == 0, child.exitcode
finally:
    child.kill()
"""


def run(code, timeout=300):
    """Run Python code in a new process, and return what it prints."""
    command = [sys.executable, "-W", "ignore", "-c", code]
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "passive"}
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, check=False, env=environment
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout.splitlines()


@pytest.mark.slow
@pytest.mark.skipif("fork" not in mp.get_all_start_methods(), reason="a process is forked")
def test_a_space_works_after_a_fork_of_a_process_that_used_threads():
    """k-means, t-SNE and the check of a loaded model must not use threads that do not exist anymore."""
    run(FORK)


def test_umap_after_a_fork_is_a_sentence_where_numba_would_end_the_process(monkeypatch):
    pytest.importorskip("numba")
    monkeypatch.setattr("numba.threading_layer", lambda: "omp")
    monkeypatch.setattr(plane, "is_forked", lambda: True)
    space = EmbeddingSpace(np.random.default_rng(0).normal(size=(60, 4)), range(60))
    with pytest.raises(RuntimeError, match="method='umap' cannot run after a fork"):
        space.coordinates("umap")
