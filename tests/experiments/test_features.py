"""The features experiment: encodings are complete, and vectors of training rows are out-of-fold."""

import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf
from scipy.sparse import issparse

from experiments.features import comparison
from experiments.features.comparison import SUITABLE, compare, gain, show
from experiments.features.encodings import encode
from experiments.shared.models import EncodedModel
from experiments.shared.settings import CONFIG_FOLDER
from experiments.shared.tables import TableProblem
from tabemb import EmbeddingRegressor
from tabemb.compare.preparation import sort_columns

QUICK = EmbeddingRegressor(hidden=(8,), n_members=1, max_epochs=8, effects=False, biases=False, n_jobs=1)
QUICK.set_params(batch_size=32, learning_rate=0.01)


@pytest.fixture
def settings(tmp_path):
    config = OmegaConf.load(CONFIG_FOLDER / "features.yaml")
    config.pop("defaults"), config.pop("hydra")
    quick = {
        "folder": str(tmp_path),
        "n_jobs": 1,
        "data": ["made up"],
        "encoder": {"cv": 2, "n_repeats": 1},
    }
    return {**OmegaConf.to_container(config), **quick}


@pytest.fixture
def problem(monkeypatch, settings):
    """Return rows of 120 shops with an effect each: categories, a number and a time, some missing."""
    rng, n = np.random.default_rng(0), 600
    level = rng.normal(size=120)
    shop, size = rng.integers(0, 120, n), rng.normal(size=n)
    X = pd.DataFrame({"shop": shop.astype(str), "size": size, "at": pd.Timestamp("2026-01-01")})
    X.loc[rng.random(n) < 0.05, ["shop", "size"]] = None
    y = level[shop] + 0.5 * size + rng.normal(scale=0.1, size=n)
    made = TableProblem(
        "made up", X[:450], y[:450], X[450:], y[450:], "regression", sort_columns(X[:450]), "rmse"
    )
    monkeypatch.setattr(comparison, "find_problem", lambda *args: made)
    settings["encoder"]["estimator"] = QUICK
    return made


def test_every_suited_pair_of_model_and_encoding_is_measured_once(
    problem, settings, capsys, monkeypatch
):
    fast = ["lightgbm", "nearest neighbours", "linear", "svm"]
    cells = compare({**settings, "models": fast})
    assert len(cells) == sum(len(SUITABLE[model]) for model in fast)
    assert (cells["error"] > 0.05).all()
    linear = cells[cells["model"] == "linear"].set_index("encoding")["error"]
    assert linear["vectors"] < linear["ordinal"]  # the integers are unrelated to the effects of shops
    monkeypatch.setattr(EncodedModel, "predict", lambda *args: pytest.fail("fitted again"))
    pd.testing.assert_frame_equal(compare({**settings, "models": fast}), cells)
    show(cells)
    out = capsys.readouterr().out
    assert "linear" in out
    assert "native" in out


def test_encodings_are_complete_and_vectors_are_out_of_fold(problem, settings):
    for encoding in ("ordinal", "target means", "in-sample vectors", "vectors"):
        encoded = encode(problem, encoding, True, settings, seed=0)
        assert encoded.train.shape[0] == 450
        assert encoded.test.shape[0] == 150
        assert np.isfinite(encoded.train).all()
        assert np.isfinite(encoded.test).all()
    assert issparse(encode(problem, "one-hot", True, settings, seed=0).train)
    native = encode(problem, "native and vectors", False, settings, seed=0)
    assert native.categorical == ["shop"]
    assert {"shop", "size", "shop_0"} <= set(native.train)
    out_of_fold, in_sample = (
        encode(problem, e, False, settings, 0).train for e in ("vectors", "in-sample vectors")
    )
    assert not np.allclose(out_of_fold, in_sample)


def test_gain_is_against_the_best_without_vectors():
    errors = pd.Series({"native": 2.0, "target means": 1.0, "in-sample vectors": 0.1, "vectors": 0.9})
    assert gain(errors) == pytest.approx(0.1)
    assert gain(errors.drop("vectors").rename({"native": "native and vectors"})) == pytest.approx(-1.0)
