"""The split in time sorts rows by time, also if times are text."""

import numpy as np
import pandas as pd
import pytest

from experiments.in_time import split_at
from tabemb.compare.datasets import dataset_from_frame

SETTINGS = {"n_rows": 30, "test_share": 0.1}


@pytest.mark.parametrize("as_text", [False, True])
def test_training_rows_are_the_newest_before_the_test_rows(as_text):
    day = pd.Series(pd.date_range("2008-11-01", periods=100, freq="17D"))
    shuffled = day.sample(frac=1, random_state=0).reset_index(drop=True)
    sold = shuffled.dt.strftime("%-m/%-d/%Y") if as_text else shuffled
    frame = pd.DataFrame({"sold": sold, "size": range(100), "price": range(100)})
    dataset = dataset_from_frame(frame, target="price", task="regression", time="sold")
    split = split_at(dataset, 0.6, SETTINGS)
    np.testing.assert_array_equal(shuffled[split.y.astype(int)], day[30:60])
    np.testing.assert_array_equal(shuffled[split.y_test.astype(int)], day[60:70])
