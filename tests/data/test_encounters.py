import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tabemb.data.encounters import Encounters
from tabemb.data.frames import to_arrow
from tabemb.data.times import TimeAxis


def events(n=300, seed=0):
    rng = np.random.default_rng(seed)
    X = pd.DataFrame({"who": rng.choice(list("abcdef"), n), "at": np.sort(rng.integers(0, 90, n))})
    X["skill"] = rng.choice(["x", "y", "z", None], n)
    X["page"] = pd.Categorical(rng.choice([4, 5, 6], n), categories=[6, 5, 4, 3])
    return X.sort_values(["who", "at"], kind="stable"), rng.normal(size=(n, 2))


def counted(mean=(0.5, -1.0)):
    return Encounters("who", ["skill", "page"], TimeAxis(), np.array(mean))


def by_hand(X, answers, mean=(0.5, -1.0)):
    """What stands in the documentation, event by event."""
    seen, rows = {}, []
    for (who, at, *levels), answer in zip(X.itertuples(index=False), answers):
        row = {}
        for field, level in zip(["skill", "page"], levels):
            past = seen.setdefault((who, field, level if isinstance(level, (str, int)) else None), [])
            row[f"{field}.count"] = len(past)
            row[f"{field}.since"] = at - past[-1][0] if past else np.nan
            for i in range(2):
                row[f"{field}.mean_{i}"] = (sum(a[i] for _, a in past) + mean[i]) / (len(past) + 1)
                row[f"{field}.last_{i}"] = past[-1][1][i] if past else np.nan
            past.append((at, answer))
        rows.append(row)
    return pd.DataFrame(rows)


@pytest.mark.parametrize("parts", [1, 2, 7])
def test_recurrences_are_those_counted_by_hand_in_one_go_or_in_parts(parts):
    X, answers = events()
    recurrences, found = counted(), []
    order = X["at"].argsort(kind="stable").to_numpy()  # parts follow one another in time
    for part in np.array_split(order, parts):
        part = np.sort(part)
        frame, moments = to_arrow(X.iloc[part]), X["at"].to_numpy()[part]
        ahead = recurrences.before(frame, moments, answers[part])
        kept = recurrences.before(frame, moments, answers[part], keep=True)
        pd.testing.assert_frame_equal(pd.DataFrame(ahead), pd.DataFrame(kept))
        found.append(pd.DataFrame(kept, index=part))
    expected = by_hand(X, answers)
    found = pd.concat(found).sort_index()[expected.columns.tolist()]
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)


def test_what_is_known_of_new_events_is_what_was_taken_in():
    X, answers = events()
    recurrences = counted()
    recurrences.before(to_arrow(X), X["at"].to_numpy(), answers, keep=True)
    new = X.iloc[[0, 100, 299]].assign(at=100)
    new.loc[len(X)] = ["nobody", 100, "x", 4]
    expected = [by_hand(pd.concat([X, new.iloc[[i]]]), [*answers, [0, 0]]).iloc[-1] for i in range(4)]
    found = pd.DataFrame(recurrences.known(to_arrow(new), np.full(4, 100)))
    expected = pd.DataFrame(expected).reset_index(drop=True)
    pd.testing.assert_frame_equal(found[expected.columns.tolist()], expected, check_dtype=False)
    recurrences.forget()
    assert not recurrences.known(to_arrow(new), np.full(4, 100))["skill.count"].any()


def test_without_answers_to_sum_there_are_counts_and_times():
    X, answers = events(20)
    recurrences = Encounters("who", ["skill"], TimeAxis(), np.zeros(0))
    numbers = recurrences.before(to_arrow(X), X["at"].to_numpy(), answers[:, :0])
    assert sorted(numbers) == ["skill.count", "skill.since"]
    assert pa.table(numbers).num_rows == 20
