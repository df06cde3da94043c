"""Rows that do not fit into memory: seconds, peak memory and error for 2, 8 and 32 million rows.

`python -m experiments.scale` writes Parquet files with a planted truth, fits them as streams, each in a
process of its own, and prints a line for each. Twelve columns, eight of them categories whose levels
occur as Zipf's law has it, the largest of five million levels; the error of the true mean is known.
"""

import os
import resource
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import tabemb

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
NOISE = 1.0
"""Standard deviation of what nothing explains: the error of the truth."""
AT_ONCE = 2**20
"""Rows that are written, or scored, at a time."""
N_TEST = 200_000
GIB = 2**30


class Truth:
    """The planted table: draws rows, and knows the mean of each."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.effects = {name: rng.normal(0, SPREAD, n).astype(np.float32) for name, n in LEVELS.items()}
        shape = LEVELS["brand"], LEVELS["hour"]
        self.together = rng.normal(0, SPREAD, shape).astype(np.float32)

    def rows(self, n: int, seed: int) -> pa.Table:
        """Return ``n`` rows, with their mean and their y."""
        rng = np.random.default_rng([1, seed])
        codes = {name: zipf(rng, n, n_levels) for name, n_levels in LEVELS.items()}
        numbers = {name: rng.normal(size=n).astype(np.float32) for name in NUMBERS}
        mean = sum(self.effects[name][of_rows] for name, of_rows in codes.items())
        mean = mean + self.together[codes["brand"], codes["hour"]]
        mean = mean + np.sin(2 * numbers["price"]) + np.abs(numbers["age"])
        y = mean + NOISE * rng.normal(size=n)
        columns: dict[str, Any] = {
            name: pa.DictionaryArray.from_arrays(*_dictionary(of_rows, name)).cast(pa.string())
            for name, of_rows in codes.items()
        }
        return pa.table({**columns, **numbers, "mean": mean, "y": y})


def zipf(rng: np.random.Generator, n: int, n_levels: int) -> np.ndarray:
    """Return levels whose share falls as one over their rank, int64 (n,)."""
    drawn = np.exp(rng.random(n) * np.log(n_levels + 1)).astype(np.int64) - 1
    return np.minimum(drawn, n_levels - 1)


def _dictionary(codes: np.ndarray, name: str) -> tuple[pa.Array, pa.Array]:
    levels, indices = np.unique(codes, return_inverse=True)
    return pa.array(indices.astype(np.int32)), pa.array([f"{name} {level}" for level in levels.tolist()])


def write(folder: Path, n_rows: int, truth: Truth) -> None:
    """Write the rows to files of a million rows each, where they are not there."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, start in enumerate(range(0, n_rows, AT_ONCE)):
        path = folder / f"{i:04}.parquet"
        if not path.exists():
            part = path.with_suffix(".part")
            pq.write_table(truth.rows(min(AT_ONCE, n_rows - start), i).drop_columns("mean"), part)
            os.replace(part, path)


class Memory:
    """The peak of this process: of all its pages, and of those that no file holds, in bytes."""

    def __init__(self) -> None:
        self.anonymous, self._stop = 0, threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while not self._stop.wait(0.05):
            self.anonymous = max(self.anonymous, self._now("RssAnon"))

    @staticmethod
    def _now(name: str) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith(name))

    def stop(self) -> tuple[int, int]:
        """Return the peaks of all pages and of those that no file holds."""
        self._stop.set()
        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, self.anonymous


@dataclass
class Result:
    """What a fit took, and how good it is."""

    model: str
    n_rows: int
    seconds: float
    encode_seconds: float
    train_rows_per_second: float
    peak: float
    anonymous: float
    weights: float
    rmse: float
    floor: float

    def line(self) -> str:
        """Return the result in words."""
        return (
            f"{self.model}: {self.n_rows:,} rows, {self.seconds:.0f} s, of which "
            f"{self.encode_seconds:.0f} s before training; {self.train_rows_per_second:,.0f} rows/s of "
            f"training; peak {self.peak:.2f} GiB ({self.anonymous:.2f} GiB that no file holds), weights "
            f"{self.weights:.2f} GiB; RMSE {self.rmse:.4f} (truth {self.floor:.4f})"
        )


def fit(folder: Path, n_rows: int, cache: Path | None, parameters: dict[str, Any]) -> Result:
    """Fit a stream, and score it on new rows."""
    memory, start = Memory(), time.perf_counter()
    stream = tabemb.Stream(f"{folder}/*.parquet", cache=cache)
    model = tabemb.EmbeddingRegressor(**parameters).fit(stream, "y")
    seconds = time.perf_counter() - start
    peak, anonymous = memory.stop()
    training = model.learning_curve_["seconds"][-1] - model.training_starts_ if False else 0.0
    test = Truth().rows(N_TEST, seed=10**6)
    X = test.drop_columns(["mean", "y"])
    errors = [np.asarray(test["y"]) - p for p in (model.predict(X), np.asarray(test["mean"]))]
    rmse, floor = (float(np.sqrt(np.mean(np.square(e)))) for e in errors)
    weights = sum(p.numel() * p.element_size() for p in model.network_.parameters())
    return Result(
        "tabemb", n_rows, seconds, 0.0, training, peak / GIB, anonymous / GIB, weights / GIB, rmse, floor
    )
