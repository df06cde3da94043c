from contextlib import ExitStack

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tabemb.data.encounters import Encounters
from tabemb.data.frames import to_arrow
from tabemb.data.times import TimeAxis


def events(n=300, seed=0):
    """Events sorted by entity and time, with two targets."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame({"who": rng.choice(list("abcdef"), n), "at": np.sort(rng.integers(0, 90, n))})
    X["skill"] = rng.choice(["x", "y", "z", None], n)
    X["page"] = pd.Categorical(rng.choice([4, 5, 6], n), categories=[6, 5, 4, 3])
    return X.sort_values(["who", "at"], kind="stable"), rng.normal(size=(n, 2))


def new_encounters(mean=(0.5, -1.0)):
    return Encounters("who", ["skill", "page"], TimeAxis(), np.array(mean))


def by_hand(X, targets, mean=(0.5, -1.0)):
    """Compute the numbers as the documentation defines them, event by event."""
    earlier, rows = {}, []
    for (who, at, *levels), target in zip(X.itertuples(index=False), targets):
        row = {}
        for field, level in zip(["skill", "page"], levels):
            key = (who, field, level if isinstance(level, (str, int)) else None)
            past = earlier.setdefault(key, [])
            row[f"{field}.count"] = len(past)
            row[f"{field}.since"] = at - past[-1][0] if past else np.nan
            for i in range(2):
                row[f"{field}.mean_{i}"] = (sum(y[i] for _, y in past) + mean[i]) / (len(past) + 1)
                row[f"{field}.last_{i}"] = past[-1][1][i] if past else np.nan
            past.append((at, target))
        rows.append(row)
    return pd.DataFrame(rows)


@pytest.mark.parametrize("n_parts", [1, 2, 7])
def test_encounters_are_those_counted_by_hand_at_once_or_in_parts(n_parts):
    X, targets = events()
    encounters, numbers = new_encounters(), []
    order = X["at"].argsort(kind="stable").to_numpy()  # the parts are consecutive in time
    for part in np.array_split(order, n_parts):
        part = np.sort(part)
        frame, moments = to_arrow(X.iloc[part]), X["at"].to_numpy()[part]
        without_storing = encounters.before(frame, moments, targets[part])
        stored = encounters.before(frame, moments, targets[part], undo=ExitStack())
        pd.testing.assert_frame_equal(pd.DataFrame(without_storing), pd.DataFrame(stored))
        numbers.append(pd.DataFrame(stored, index=part))
    expected = by_hand(X, targets)
    numbers = pd.concat(numbers).sort_index()[expected.columns.tolist()]
    pd.testing.assert_frame_equal(numbers, expected, check_dtype=False)


def test_hidden_ties_leave_out_events_of_the_same_time():
    X, targets = events()
    X["at"] //= 5
    assert X.duplicated(["who", "at", "skill"]).mean() > 0.1
    encounters = Encounters("who", ["skill", "page"], TimeAxis(), np.array([0.5, -1.0]), hide_ties=True)
    numbers = pd.DataFrame(encounters.before(to_arrow(X), X["at"].to_numpy(), targets))
    for i in range(0, len(X), 7):
        who, at = X.iloc[i][["who", "at"]]
        earlier = ((X["who"] == who) & (X["at"] < at)).to_numpy()
        seen = pd.concat([X[earlier], X.iloc[[i]]])
        expected = by_hand(seen, [*targets[earlier], [0, 0]]).iloc[-1].astype(float)
        assert numbers.iloc[i].astype(float).to_dict() == pytest.approx(
            expected.to_dict(), nan_ok=True, rel=1e-9
        )


def test_new_events_know_the_stored_events_alone():
    X, targets = events()
    encounters = new_encounters()
    encounters.before(to_arrow(X), X["at"].to_numpy(), targets, undo=ExitStack())
    new = X.iloc[[0, 100, 299]].assign(at=100)
    new.loc[len(X)] = ["nobody", 100, "x", 4]
    expected = [by_hand(pd.concat([X, new.iloc[[i]]]), [*targets, [0, 0]]).iloc[-1] for i in range(4)]
    numbers = pd.DataFrame(encounters.known(to_arrow(new), np.full(4, 100)))
    expected = pd.DataFrame(expected).reset_index(drop=True)
    pd.testing.assert_frame_equal(numbers[expected.columns.tolist()], expected, check_dtype=False)
    encounters.forget()
    assert not encounters.known(to_arrow(new), np.full(4, 100))["skill.count"].any()


def test_without_targets_there_are_counts_and_times():
    X, targets = events(20)
    encounters = Encounters("who", ["skill"], TimeAxis(), np.zeros(0))
    numbers = encounters.before(to_arrow(X), X["at"].to_numpy(), targets[:, :0])
    assert sorted(numbers) == ["skill.count", "skill.since"]
    assert pa.table(numbers).num_rows == 20
