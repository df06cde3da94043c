"""The path from fit to the network is short enough to read in a stack trace."""

import traceback
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import tabemb
from tabemb import EmbeddingRegressor, EventClassifier
from tabemb.network.model import TabularNetwork

PACKAGE = Path(tabemb.__file__).parent
QUICK = {"hidden": (8,), "n_members": 1, "max_epochs": 1, "random_state": 0, "n_jobs": 1}
FRAME = pd.DataFrame({"who": list("ab") * 20, "at": np.arange(40), "what": list("xyyx") * 10})


@pytest.mark.parametrize(
    "model",
    [EmbeddingRegressor(**QUICK), EventClassifier(entity="who", time="at", **QUICK)],
    ids=lambda model: type(model).__name__,
)
def test_four_frames_lie_between_fit_and_forward(model, monkeypatch):
    forward, stacks = TabularNetwork.forward, []

    def recorded(self, *inputs):
        stacks.append(traceback.extract_stack()[:-1])  # without this function
        return forward(self, *inputs)

    monkeypatch.setattr(TabularNetwork, "forward", recorded)
    model.fit(FRAME, np.arange(40) % 2)
    frames = [frame.name for frame in stacks[0] if PACKAGE in Path(frame.filename).parents]
    assert [*frames, "forward"] == ["fit", "train", "__call__", "forward"]
