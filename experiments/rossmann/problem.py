"""One of the paper's two splits of the sales, and the inputs that its models get."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import tabemb
from experiments.rossmann.vectors import crossed, input_vectors
from experiments.shared.sales import INPUTS
from tabemb import EmbeddingRegressor


@dataclass
class SalesProblem:
    """Training rows, test rows and settings of one split.

    Parameters
    ----------
    train, test : DataFrame
        The seven inputs and ``sales``.
    split : {"shuffled", "time"}
    settings : mapping
        ``conf/rossmann.yaml``.
    """

    train: pd.DataFrame
    test: pd.DataFrame
    split: str
    settings: Mapping[str, Any]

    @classmethod
    def draw(cls, sales: pd.DataFrame, split: str, settings: Mapping[str, Any]) -> SalesProblem:
        """Draw training rows with replacement from the first 90 %; the last 10 % are the test rows."""
        rng = np.random.default_rng(settings["seed"])
        order = rng.permutation(len(sales)) if split == "shuffled" else np.arange(len(sales))
        cut = int(0.9 * len(sales))
        drawn = order[rng.integers(0, cut, settings["n_rows"])]
        return cls(sales.iloc[drawn], sales.iloc[order[cut:]], split, settings)

    def without_net(self) -> SalesProblem:
        """Return the problem without the loaded network, small enough to send to a worker."""
        return replace(self)

    @property
    def recipe(self) -> Mapping[str, Any]:
        """The network's settings on this split."""
        recipe: Mapping[str, Any] = self.settings["recipes"][self.split]
        return recipe

    @property
    def log_sales(self) -> np.ndarray:
        """Target of all models except the network, which takes the logarithm itself."""
        return np.asarray(np.log(self.train["sales"].to_numpy()))

    def mape(self, predicted: np.ndarray) -> float:
        """Return the mean absolute percentage error of predicted sales of the test rows."""
        return float(np.mean(np.abs(predicted / self.test["sales"].to_numpy() - 1)))

    @property
    def net_path(self) -> Path:
        """Where the first network is kept, so that a later run finds its vectors."""
        return Path(self.settings["folder"]) / f"net_{self.split}.tabemb"

    @cached_property
    def net(self) -> EmbeddingRegressor:
        """The first network."""
        net: EmbeddingRegressor = tabemb.load(self.net_path)
        return net

    def inputs(self, embeddings: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return training and test inputs: the network's vectors, or integers as in the paper."""
        if not embeddings:
            return integer_codes(self.train), integer_codes(self.test)
        crosses = self.recipe["crosses"] if self.recipe["crosses_as_inputs"] else {}
        train, test = crossed(self.train, crosses), crossed(self.test, crosses)
        return input_vectors(self.net, train), input_vectors(self.net, test)


def integer_codes(rows: pd.DataFrame) -> np.ndarray:
    """Return the seven inputs as integers; states are numbered alphabetically."""
    codes = {state: i for i, state in enumerate(sorted(rows["state"].unique()))}
    return rows[INPUTS].assign(state=rows["state"].map(codes)).to_numpy(np.float32)
