import numpy as np

from tabemb.data.states import Codebook, EntityStates, Past


def test_states_are_kept_by_key_whatever_their_number():
    kept = EntityStates(3)
    for i in range(100):
        kept.write(
            [f"e{i}", i], Past(np.full((2, 3), i, np.float32), np.array([i, i]), np.array([i, i]))
        )
    past = kept.read(["e7", 7, "new", 99])
    assert past.states[:, 0].tolist() == [7, 7, 0, 99]
    assert past.counts.tolist() == [7, 7, 0, 99]
    assert len(kept) == 200
    assert len(kept.counts) <= 256


def test_moments_that_are_no_whole_numbers_are_not_cut():
    kept = EntityStates(1)
    kept.write(["a"], Past(np.zeros((1, 1)), np.ones(1), np.array([2])))
    kept.write(["b"], Past(np.zeros((1, 1)), np.ones(1), np.array([2.5])))
    assert kept.read(["a", "b"]).moments.tolist() == [2, 2.5]


def test_a_codebook_keeps_every_kind_of_value():
    book = Codebook()
    book.add(["a", "b", None, "a"])
    again = object.__new__(Codebook)
    again.__dict__.update(book.__getstate__())
    assert again.codes([None, "b", "c"]).tolist() == [2, 1, -1]
