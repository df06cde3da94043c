"""Ray, Spark and Dask, each with its extra: the code of docs/scale.md, and a killed worker of Ray."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

import numpy as np
import pandas as pd
import psutil
import pytest

import tabemb
from tabemb import distributed
from tabemb.distributed.engines import ENGINES
from tests.test_readme import ROOT, code_blocks, modules_of_engines

PAGE = ROOT / "docs" / "scale.md"


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """Change to an empty folder, and let the processes of all engines find the modules."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join(path or os.getcwd() for path in [str(ROOT), *sys.path])
    )
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path


def run_page(engine, monkeypatch):
    """Run the blocks of the page that need only this engine, or none (those in this process)."""
    monkeypatch.setitem(
        ENGINES, "torchrun", lambda job, n_workers, max_restarts, folder: job.run(folder)
    )
    names = {"__name__": "page"}
    for block in code_blocks(PAGE.read_text()):
        if modules_of_engines(block) <= {engine}:
            exec(compile(block, PAGE, "exec"), names)
    return names


def assert_scored(folder, names):
    scored = pd.read_parquet(folder).sort_values(["city", "size"])
    rows = names["orders"].sort_values(["city", "size"])
    expected = tabemb.load("m.tabemb").predict_proba(rows.drop(columns="late"))[:, 1]
    np.testing.assert_allclose(scored["p_late"], expected, atol=1e-6)


@pytest.fixture
def ray():
    ray = pytest.importorskip("ray", reason="ray is not installed: pip install tabemb[ray]")
    yield ray
    ray.shutdown()


@pytest.mark.filterwarnings("ignore")
def test_the_page_runs_on_ray(ray, monkeypatch):
    names = run_page("ray", monkeypatch)
    assert_scored("scored_by_ray", names)
    assert names["model"].score(names["orders"], names["orders"]["late"]) > 0.8


@pytest.mark.filterwarnings("ignore")
def test_a_killed_worker_of_ray_is_started_again(ray, place):
    from tests.distributed.test_launch import SETTINGS, X, Y

    ray.init(num_cpus=2, include_dashboard=False)
    killed = []

    def kill():
        end = time.perf_counter() + 200
        while not killed and time.perf_counter() < end:
            if list((place / "fits").glob("*.checkpoint")):
                for process in psutil.process_iter(["cmdline"]):
                    if "ray::RayTrainWorker" in " ".join(process.info["cmdline"] or ()):
                        killed.append(process.pid)
                        process.kill()
                        break
            time.sleep(0.02)

    Thread(target=kill, daemon=True).start()
    model = tabemb.EmbeddingRegressor(**SETTINGS, max_epochs=40, early_stopping=False, trees=False)
    model.set_params(checkpoint="fits")
    distributed.fit(model, X, Y, engine="ray", n_workers=2, max_restarts=1)
    assert killed
    assert model.score(X, Y) > 0.98
    assert len(model.learning_curve_["epoch"]) == 40


@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(shutil.which("java") is None, reason="Spark needs Java")
def test_the_page_runs_on_spark(monkeypatch):
    pytest.importorskip("pyspark", reason="pyspark is not installed: pip install tabemb[spark]")
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    names = run_page("pyspark", monkeypatch)
    assert_scored("scored_by_spark", names)
    assert names["model"].score(names["orders"], names["orders"]["late"]) > 0.8
    with pytest.raises(ValueError, match=r"^max_restarts must be 0 with engine='spark'; got 1\."):
        distributed.fit(names["model"], "orders.parquet", "late", engine="spark", max_restarts=1)
    names["spark"].stop()


@pytest.mark.filterwarnings("ignore")
def test_the_page_runs_on_dask(monkeypatch):
    pytest.importorskip("dask.dataframe", reason="dask is not installed: pip install tabemb[dask]")
    assert_scored("scored_by_dask", run_page("dask", monkeypatch))


@pytest.mark.parametrize(("engine", "module"), [("ray", "ray.train.torch"), ("spark", "pyspark.ml")])
def test_a_missing_engine_is_named(engine, module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, f"{module}.torch.distributor", None)
    model = tabemb.EmbeddingClassifier()
    with pytest.raises(
        ImportError, match=rf"is not installed; pip install 'tabemb\[{engine}\]' brings it\."
    ):
        distributed.fit(model, [["a"], ["b"]], [0, 1], engine=engine)


@pytest.mark.slow
def test_the_script_of_the_page_runs_under_torchrun():
    blocks = [block for block in code_blocks(PAGE.read_text()) if not modules_of_engines(block)]
    (script,) = [block for block in blocks if block.lstrip().startswith("# train.py")]
    first = next(block for block in blocks if "distributed.fit" in block)
    names = {}
    exec(first.partition("model =")[0], names)
    Path("train.py").write_text(script)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run([*command, "train.py"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    model, orders = tabemb.load("m.tabemb"), names["orders"]
    assert model.score(orders.drop(columns="late"), orders["late"]) > 0.8
