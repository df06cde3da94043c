"""The memory of a level in `summary` is that of the tensors of the model and of training."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tabemb import EmbeddingEncoder, EmbeddingRegressor, Table
from tabemb.training.loop import Optimizer

FAST = {"hidden": (8,), "n_members": 2, "max_epochs": 2, "random_state": 0, "n_jobs": 1}


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"id": rng.integers(1000, 9000, 3000).astype(str), "kind": rng.choice(list("ab"), 3000)}
    )
    return frame, rng.normal(size=3000)


def test_bytes_are_those_of_the_formula(rows):
    """A level has 8 numbers (32 bytes), a bias, two priors, a rate of hiding, four letters, a count."""
    table = Table(["id"], dim=8, describe=None)
    model = EmbeddingRegressor(**FAST, early_stopping=True, tables={"id": table}).fit(*rows)
    memory = model.summary(spaces=False).memory.set_index("table")
    n = model.encoder_.vocabularies_["id"]
    assert memory.loc["id", "rows"] == len(n)
    in_model = 4 * 8 + 4 + 4 + 4 + 4
    texts = n.categories.nbytes + 8 * len(n)
    assert memory.loc["id", "bytes"] == in_model * len(n) + texts
    in_training = in_model + 4 * (4 * 8 + 4)  # average, two moments, weights of the best epoch
    assert memory.loc["id", "bytes_training"] == in_training * len(n) + texts
    assert memory.loc["id", "bytes_a_level"] == pytest.approx(in_model + 8 + 4 + 8, abs=0.1)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_bytes_of_training_are_those_of_the_tensors(rows, monkeypatch, precision):
    optimizers = []
    init = Optimizer.__init__
    monkeypatch.setattr(
        Optimizer, "__init__", lambda self, *a, **k: optimizers.append(self) or init(self, *a, **k)
    )
    table = Table(["id"], dim=8, sparse=True, precision=precision, describe=None)
    settings = {**FAST, "early_stopping": False, "tables": {"id": table}, "biases": False}
    model = EmbeddingRegressor(**settings).fit(rows[0][["id"]], rows[1])
    (optimizer,) = optimizers
    network = model.network_
    kept = list(optimizer.optimizers[1].moments.values())
    (counters,) = [counts for _, counts in optimizer.average.state()["n_row_updates"]]
    weight = network.tables.groups[0].weight
    average = next(a for a in optimizer.average.averages if a.shape == weight.shape)
    measured = average.nbytes + kept[0].mean.nbytes + kept[0].square.nbytes + counters.nbytes
    memory = model.summary(spaces=False).memory.iloc[0]
    assert memory["bytes_training"] - memory["bytes"] == measured
    vocabulary = model.encoder_.vocabularies_["id"]
    buffers = network.tables.groups[0].prior.nbytes + network.dropout.rates.nbytes
    texts = vocabulary.categories.nbytes + vocabulary.counts.nbytes
    assert memory["bytes"] == weight.nbytes + buffers + texts


def test_the_summary_names_the_largest_table_and_what_is_hashed(rows):
    table = Table(["id"], max_size=100, rest="hash", n_hashed=1500)
    model = EmbeddingRegressor(**FAST, n_networks=2, tables={"id": table}).fit(*rows)
    summary = model.summary(spaces=False)
    share = model.encoder_.vocabularies_["id"].counts[102:].sum() / 3000
    assert summary.facts["hashed"] == f"{share:.0%} of 'id' in 1,500 rows"
    assert "a level of 'id'" in summary.facts["tables"]
    assert "in training" in str(summary)
    one = EmbeddingRegressor(**FAST, tables={"id": table}).fit(*rows)
    both, alone = summary.memory.iloc[0], one.summary(spaces=False).memory.iloc[0]
    texts = model.encoder_.vocabularies_["id"].categories.nbytes + 8 * both["rows"]
    assert both["bytes"] - texts == 2 * (alone["bytes"] - texts)


def test_an_encoder_has_no_tables(rows):
    encoder = EmbeddingEncoder(columns=["kind"], kind="prediction", cv=2, random_state=0).fit(*rows)
    assert encoder.summary().memory is None
