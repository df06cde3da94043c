"""Measure fits on rows that exceed memory: seconds, peak memory and error for 2, 8 and 32 million.

`python -m experiments.scale` writes Parquet files with a planted truth, fits them as streams, each in a
separate process, and prints a line for each. There are twelve columns. Eight are categorical, with
levels that follow Zipf's law and up to five million levels. The error of the true mean is known.
``peers=[xgboost]`` (extra ``xgboost``) fits XGBoost with external memory on the same files.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

import tabemb
from tabemb.extras import need
from tabemb.network.tables import Tables, TableSpec
from tabemb.training.optimizers import Loss, Optimizer

CONFIG_FOLDER = Path(__file__).resolve().parents[1] / "conf"
LEVELS = {
    "user": 5_000_000,
    "item": 200_000,
    "city": 20_000,
    "shop": 1_000,
    "brand": 300,
    "device": 40,
    "hour": 24,
    "weekday": 7,
}
"""Categorical columns, with their numbers of levels."""
NUMBERS = ("price", "age", "distance", "discount")
SPREAD = 0.5
"""Standard deviation of the effects of a column."""
AT_ONCE = 2**20
"""Rows that are written at a time."""
N_TEST = 200_000
GIB = 2**30
SIZES = (10**4, 10**7)
"""Rows of the embedding tables whose steps are compared."""


class Truth:
    """The planted data: draws rows whose target is a known mean plus standard normal noise."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        draw = {name: rng.normal(0, SPREAD, n) for name, n in LEVELS.items()}
        self.effects = {name: effects.astype(np.float32) for name, effects in draw.items()}
        self.together = rng.normal(0, SPREAD, (LEVELS["brand"], LEVELS["hour"])).astype(np.float32)

    def rows(self, n: int, seed: int) -> pa.Table:
        """Return ``n`` rows, with their mean and their y."""
        rng = np.random.default_rng([1, seed])
        codes = {name: zipf(rng, n, n_levels) for name, n_levels in LEVELS.items()}
        numbers = {name: rng.normal(size=n).astype(np.float32) for name in NUMBERS}
        mean = sum(self.effects[name][of_rows] for name, of_rows in codes.items())
        mean = mean + self.together[codes["brand"], codes["hour"]]
        mean = mean + np.sin(2 * numbers["price"]) + np.abs(numbers["age"])
        texts = {name: _texts(of_rows, name) for name, of_rows in codes.items()}
        return pa.table({**texts, **numbers, "mean": mean, "y": mean + rng.normal(size=n)})


def zipf(rng: np.random.Generator, n: int, n_levels: int) -> np.ndarray:
    """Return levels whose share is proportional to one over their rank, int64 (n,)."""
    drawn = np.exp(rng.random(n) * np.log(n_levels + 1)).astype(np.int64) - 1
    return np.asarray(np.minimum(drawn, n_levels - 1))


def _texts(codes: np.ndarray, name: str) -> pa.Array:
    levels, places = np.unique(codes, return_inverse=True)
    texts = pa.array([f"{name} {level}" for level in levels.tolist()])
    return pa.DictionaryArray.from_arrays(pa.array(places.astype(np.int32)), texts).cast(pa.string())


def write(folder: Path, n_rows: int) -> None:
    """Write the rows to files of a million rows each; existing files are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    truth = Truth()
    for i, start in enumerate(range(0, n_rows, AT_ONCE)):
        path = folder / f"{i:04}.parquet"
        if not path.exists():
            part = path.with_suffix(".part")
            pq.write_table(truth.rows(min(AT_ONCE, n_rows - start), i).drop_columns("mean"), part)
            os.replace(part, path)


class Peak:
    """The peak memory of this process: of all its pages, and of anonymous pages (not of files)."""

    def __init__(self) -> None:
        self.anonymous, self._ended = 0, threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while not self._ended.wait(0.05):
            self.anonymous = max(self.anonymous, self._now("RssAnon"))

    @staticmethod
    def _now(name: str) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith(name))

    def end(self) -> dict[str, float]:
        """Return both peaks in GiB."""
        self._ended.set()
        return {"peak": self._now("VmHWM") / GIB, "anonymous": self.anonymous / GIB}


Predict = Callable[[pa.Table], np.ndarray]


def fit_tabemb(paths: list[str], parameters: dict[str, Any]) -> tuple[Predict, dict[str, float]]:
    """Fit a stream; return its prediction function, and numbers about the training."""
    model = tabemb.EmbeddingRegressor(**parameters).fit(tabemb.Stream(paths), "y")
    curve = model.learning_curve_
    weights = sum(p.numel() * p.element_size() for p in model.network_.parameters())
    rate = model.n_rows_ * len(curve["epoch"]) / curve["seconds"][-1]
    return model.predict, {"weights": weights / GIB, "train_rows_per_second": rate}


def fit_xgboost(paths: list[str], parameters: dict[str, Any]) -> tuple[Predict, dict[str, float]]:
    """Fit XGBoost with external memory; categories become numbers, as there are too many."""
    xgboost: Any = need("xgboost", "xgboost")

    def matrix(table: pa.Table) -> np.ndarray:
        codes = [_numbers(table[name]) for name in LEVELS]
        return np.column_stack([*codes, *(table[name].to_numpy() for name in NUMBERS)])

    class Files(xgboost.DataIter):
        def __init__(self, folder: str) -> None:
            self.at = 0
            super().__init__(cache_prefix=str(Path(folder) / "cache"))

        def next(self, input_data: Any) -> bool:
            if self.at == len(paths):
                return False
            table = pq.read_table(paths[self.at])
            input_data(data=matrix(table), label=table["y"].to_numpy())
            self.at += 1
            return True

        def reset(self) -> None:
            self.at = 0

    with tempfile.TemporaryDirectory() as folder:
        data = xgboost.ExtMemQuantileDMatrix(Files(folder), max_bin=256)
        settings = {"tree_method": "hist", "max_depth": 8, "eta": 0.1}
        booster = xgboost.train(settings, data, num_boost_round=200)
    return lambda X: booster.predict(xgboost.DMatrix(matrix(X))), {}


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    """Return the number at the end of each text, which orders levels by frequency."""
    coded = column.combine_chunks().dictionary_encode()
    numbers = np.array([int(text.rsplit(" ")[-1]) for text in coded.dictionary.to_pylist()], np.float32)
    return np.asarray(numbers[coded.indices.to_numpy()])


MODELS = {"tabemb": fit_tabemb, "xgboost": fit_xgboost}


def measure(model: str, paths: list[str], parameters: dict[str, Any]) -> dict[str, Any]:
    """Fit one model in this process, and score it on new rows."""
    peak, start = Peak(), time.perf_counter()
    predict, said = MODELS[model](paths, parameters)
    result = {"model": model, "seconds": time.perf_counter() - start, **peak.end(), **said}
    result["n_rows"] = pads.dataset(paths).count_rows()
    test = Truth().rows(N_TEST, seed=10**6)
    y = test["y"].to_numpy()
    result["rmse"] = rmse(y - predict(test.drop_columns(["mean", "y"])))
    return result | {"truth": rmse(y - test["mean"].to_numpy())}


def rmse(errors: np.ndarray) -> float:
    """Return the root of the mean squared error."""
    return float(np.sqrt(np.mean(np.square(errors))))


def in_words(result: dict[str, Any]) -> str:
    """Describe a result in words."""
    said = (
        f"{result['model']}: {result['n_rows']:,} rows, {result['seconds']:.0f} s, peak "
        f"{result['peak']:.2f} GiB ({result['anonymous']:.2f} that no file holds), RMSE "
        f"{result['rmse']:.4f} (truth {result['truth']:.4f})"
    )
    if "weights" in result:
        rate = result["train_rows_per_second"]
        said += f"; weights {result['weights']:.2f} GiB, training {rate:,.0f} rows/s"
    return said


def step_seconds(n_rows: int, n_steps: int = 300, batch_size: int = 1024) -> float:
    """Return the median seconds of a training step if the largest table has `n_rows` rows."""
    sizes = [n_rows, *list(LEVELS.values())[1:]]
    generator = torch.Generator().manual_seed(0)
    specs = [TableSpec(n, 16, np.zeros(n, np.float32)) for n in sizes]
    tables = Tables(specs, range(len(sizes)), generator)
    layers = nn.Linear(tables.dim, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 1)
    network = nn.ModuleDict({"tables": tables, "backbone": nn.Sequential(*layers)})
    optimizer, taken = Optimizer(network, 3e-3, 0.0), []
    rng = np.random.default_rng(0)
    for _ in range(n_steps):
        codes = torch.from_numpy(np.stack([zipf(rng, batch_size, n) for n in sizes], axis=1))
        start = time.perf_counter()
        vectors, penalty = tables(codes)
        optimizer.step(Loss(network["backbone"](vectors).square().mean(), penalty.mean()))
        taken.append(time.perf_counter() - start)
    return float(np.median(taken[n_steps // 4 :]))


@contextmanager
def folder_of(path: str | None) -> Iterator[Path]:
    """Yield the folder of the rows: a temporary one unless a path is given."""
    if path is not None:
        yield Path(path)
        return
    with tempfile.TemporaryDirectory(prefix="tabemb-scale-") as folder:
        yield Path(folder)


def in_own_process(model: str, paths: list[str], parameters: dict[str, Any]) -> dict[str, Any]:
    """Measure a model in a separate process."""
    task = json.dumps({"model": model, "paths": paths, "parameters": parameters})
    command = [sys.executable, "-m", "experiments.scale", f"task='{task}'"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


@hydra.main(version_base="1.3", config_path=str(CONFIG_FOLDER), config_name="scale")
def main(config: DictConfig) -> None:
    if config.task is not None:
        print(json.dumps(measure(**json.loads(config.task))))
        return
    if config.steps:
        small, large = (step_seconds(n) for n in SIZES)
        print(
            f"a step with a table of {SIZES[0]:,} rows {1e3 * small:.2f} ms, of {SIZES[1]:,} rows "
            f"{1e3 * large:.2f} ms: {large / small:.2f} x",
            flush=True,
        )
    parameters: Any = OmegaConf.to_container(config.parameters)
    with folder_of(config.folder) as folder:
        for n_rows in config.rows:
            write(folder, n_rows)
            paths = [str(path) for path in sorted(folder.glob("*.parquet"))[: -(-n_rows // AT_ONCE)]]
            for model in ["tabemb", *config.peers]:
                print(in_words(in_own_process(model, paths, parameters)), flush=True)


if __name__ == "__main__":
    main()
