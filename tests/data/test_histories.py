import datetime as dt

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tabemb.data.encoding import Encoder
from tabemb.data.frames import to_arrow
from tabemb.data.histories import Events, is_list_of_steps
from tabemb.data.schema import infer_schema

STEPS = [[["a", "b"], ["c"]], None, [], [[], None, ["d", None]], [["e"]]]


def events(values, max_events=None):
    column = to_arrow(pd.DataFrame({"what": values}))["what"]
    return Events.of(column, "what", max_events)


def test_steps_are_laid_end_to_end_with_their_events():
    found = events(STEPS)
    assert found.offsets.tolist() == [0, 2, 2, 2, 5, 6]
    assert found.step_offsets.tolist() == [0, 2, 3, 3, 3, 5, 6]
    assert found.frame["what"].to_pylist() == ["a", "b", "c", "d", None, "e"]
    assert found.counts.tolist() == [3, 0, 0, 2, 1]
    assert [found.row_of(event) for event in range(6)] == [0, 0, 0, 3, 3, 4]


def test_the_newest_steps_stay_whole():
    found = events(STEPS, max_events=1)
    assert found.offsets.tolist() == [0, 1, 1, 1, 2, 3]
    assert found.frame["what"].to_pylist() == ["c", "d", None, "e"]


def test_gaps_are_those_between_steps():
    found = events([[["a", "b"], [], ["c", "d"]], [["e"]], []])
    values = np.array([1.0, 3.0, 7.0, 6.0, 2.0])
    np.testing.assert_equal(found.since_previous(values), [np.nan, np.nan, 4.0, 3.0, np.nan])
    assert found.until_last(values).tolist() == [6.0, 4.0, 0.0, 1.0, 0.0]


def test_the_gap_of_an_event_does_not_depend_on_its_place_in_the_step():
    days = [[1, 3], [4, 4, 4], [9]]
    steps = [[{"at": dt.datetime(2020, 1, day)} for day in step] for step in days]
    X = pd.DataFrame({"log": [steps, [list(reversed(step)) for step in steps]]})
    frame = to_arrow(X)
    encoder = Encoder(infer_schema(frame), 4, 1).fit(frame)
    numbers = encoder.transform(frame).histories[0].numbers
    order = [1, 0, 2, 3, 4, 5]
    np.testing.assert_array_equal(numbers[:6], numbers[6:][order])


def steps_column(values):
    return pa.table({"log": pa.array(values)})


def test_lists_of_another_depth_than_in_fit_are_errors():
    flat, deep = steps_column([["a"], ["b", "c"]]), steps_column([[["a"]], [["b", "c"]]])
    for fitted, other, words in (
        (flat, deep, r"'log' holds lists of steps, such as \['a'\], .* fitted on lists of events"),
        (deep, flat, r"'log' holds lists of events, such as 'a', .* fitted on lists of steps"),
    ):
        encoder = Encoder(infer_schema(fitted), 4, 1).fit(fitted)
        with pytest.raises(ValueError, match=words):
            encoder.transform(other)


@pytest.mark.parametrize("fitted", [[["a"], ["b"]], [[["a"]], [["b", "c"]]]])
def test_empty_and_missing_lists_have_no_depth(fitted):
    frame = steps_column(fitted)
    encoder = Encoder(infer_schema(frame), 4, 1).fit(frame)
    empty_steps = [[[[]], []]] if is_list_of_steps(frame["log"].type) else []
    for values in ([None, None], [[], None], *empty_steps):
        history = encoder.transform(steps_column(values)).histories[0]
        assert len(history.codes) == 0
        assert len(history.offsets) == 3
    missing = encoder.transform(steps_column([[None, None], []])).histories[0]
    assert missing.offsets.tolist() == [0, 2, 2]


def test_lists_of_mixed_depth_are_errors_with_the_row_and_the_value():
    X = to_arrow(pd.DataFrame({"log": [[["a"], ["b"]], [["b"], "c"]]}))
    with pytest.raises(ValueError, match=r"Column 'log' holds 'c' in row 1 among lists"):
        infer_schema(X)


def test_lists_of_three_levels_are_errors():
    with pytest.raises(ValueError, match="'log' holds lists inside the lists of column 'log'"):
        infer_schema(steps_column([[[["a"]]]]))


def test_numbers_in_lists_of_lists_may_be_vectors_and_need_a_role():
    frame = steps_column([[[1.0, 2.0], [3.0, 4.0]]])
    with pytest.raises(ValueError, match=r"'log' holds lists of numbers inside lists"):
        infer_schema(frame)
    assert infer_schema(frame, {"log": "number"}).histories["log"].in_steps
    assert infer_schema(frame, {"log": "categorical"}).histories["log"].in_steps
