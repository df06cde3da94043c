import numpy as np

from tabemb.data.states import Codebook, EntityStates, Past
from tabemb.data.times import TimeAxis


def test_states_are_stored_by_key_whatever_their_number():
    states = EntityStates(3)
    for i in range(100):
        past = Past(np.full((2, 3), i, np.float32), np.array([i, i]), np.array([i, i]))
        states.write([f"e{i}", i], past)
    past = states.read(["e7", 7, "new", 99])
    assert past.states[:, 0].tolist() == [7, 7, 0, 99]
    assert past.counts.tolist() == [7, 7, 0, 99]
    assert len(states) == 200
    assert len(states.counts) <= 256


def test_moments_that_are_no_whole_numbers_are_not_cut():
    states = EntityStates(1)
    states.write(["a"], Past(np.zeros((1, 1)), np.ones(1), np.array([2])))
    states.write(["b"], Past(np.zeros((1, 1)), np.ones(1), np.array([2.5])))
    assert states.read(["a", "b"]).moments.tolist() == [2, 2.5]


def test_the_time_since_the_last_event_is_in_days_and_missing_without_one():
    past = Past(np.zeros((2, 1)), np.array([3, 0]), np.array([0, 0]))
    days = past.since(TimeAxis("s"), np.array([86_400, 86_400]))
    np.testing.assert_array_equal(days, [1.0, np.nan])


def test_a_codebook_has_every_kind_of_value_after_it_was_saved():
    book = Codebook()
    book.add(["a", "b", None, "a"])
    loaded = object.__new__(Codebook)
    loaded.__dict__.update(book.__getstate__())
    assert loaded.codes([None, "b", "c"]).tolist() == [2, 1, -1]
    loaded.add(["c"])
    assert loaded.codes(["c"]).tolist() == [3]
    assert len(book) == 3
