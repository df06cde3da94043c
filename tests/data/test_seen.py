from contextlib import ExitStack

import numpy as np
import pytest

from tabemb.data.seen import SeenClasses


def listed(seen, entities):
    rows, classes = seen.of(np.array(entities))
    return [sorted(classes[rows == row].tolist()) for row in range(len(entities))]


def test_classes_are_those_of_all_calls():
    rng = np.random.default_rng(0)
    seen, expected = SeenClasses(), {}
    for _ in range(20):
        entities = np.sort(rng.integers(0, 30, 15))
        classes = rng.integers(0, 9, 15)
        for entity, one in zip(entities.tolist(), classes.tolist()):
            expected.setdefault(entity, []).append(one)
        seen.add(entities, classes)
    assert listed(seen, range(32)) == [sorted(expected.get(entity, [])) for entity in range(32)]
    assert listed(seen, [-1, 5, 5]) == [[], sorted(expected[5]), sorted(expected[5])]


def test_what_was_added_is_taken_back():
    seen = SeenClasses()
    seen.add(np.array([0, 0, 2]), np.array([4, 5, 6]))
    with ExitStack() as undo:
        seen.add(np.array([0, 3]), np.array([7, 7]), undo)
        assert listed(seen, [0, 2, 3]) == [[4, 5, 7], [6], [7]]
    assert listed(seen, [0, 2, 3]) == [[4, 5], [6], []]
    seen.add(np.array([2]), np.array([1]))
    assert listed(seen, [0, 2, 3]) == [[4, 5], [1, 6], []]


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [("before", 1, 1), ("before", 0, -2), ("classes", 2, 9), ("last", 0, 3), ("last", 3, 0)],
)
def test_entries_that_do_not_fit_are_refused(name, place, value):
    """An entry that points to itself would cause an endless search."""
    seen = SeenClasses()
    seen.add(np.array([0, 0, 2]), np.array([4, 5, 6]))
    seen.last = np.append(seen.last, -1)
    seen.check(n_entities=3, n_classes=9)
    getattr(seen, name)[place] = value
    with pytest.raises(ValueError, match="the classes that entities have had are damaged"):
        seen.check(n_entities=3, n_classes=9)
