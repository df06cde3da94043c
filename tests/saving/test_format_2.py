"""Files of format 2 (tabemb 0.2), which have no checksum, still load and predict the same."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import tabemb
from tabemb.spaces import EmbeddingSpace

FOLDER = Path(__file__).parent / "format_2"
FRAMES = Path(__file__).parent / "format_1"
PREDICTIONS = np.load(FOLDER / "predictions.npz")


def frame_of(name):
    if name in ("histories", "sequences"):
        return pq.read_table(FRAMES / "histories.parquet")
    if name == "events":
        return pd.read_parquet(FRAMES / "log.parquet").drop(columns="result").assign(at=9000)
    rows = pd.read_parquet(FRAMES / "rows.parquet")
    return rows[["city", "shop", "flag"]] if name == "encoder" else rows


METHODS = {
    "classifier": "predict_proba",
    "regressor": "predict",
    "histories": "predict",
    "sequences": "transform",
    "events": "predict_proba",
    "encoder": "transform",
}


def answers(model, name):
    found = getattr(model, METHODS[name])(frame_of(name))
    return found.select_dtypes("number").to_numpy() if name == "encoder" else found


@pytest.mark.parametrize("name", METHODS)
def test_predictions_stay_and_go_to_the_present_format(name, tmp_path):
    model = tabemb.load(FOLDER / f"{name}.tabemb")
    np.testing.assert_allclose(answers(model, name), PREDICTIONS[name], atol=1e-6)
    tabemb.save(model, tmp_path / "again.tabemb")
    again = tabemb.load(tmp_path / "again.tabemb")
    np.testing.assert_array_equal(answers(again, name), answers(model, name))


def test_a_space_in_parquet():
    space = EmbeddingSpace.from_parquet(FOLDER / "space.parquet")
    assert (len(space), space.name, space.counts.tolist()) == (20, "city", list(range(20)))
