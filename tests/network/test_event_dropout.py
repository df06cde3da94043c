"""Dropout of events: which histories it thins, what it keeps, and sums that it does not change."""

import numpy as np
import pandas as pd
import pytest
import torch

from tabemb import EmbeddingClassifier
from tabemb.network.dropout import N_KEPT, EventDropout
from tabemb.network.history import HISTORY_ENCODERS, BagOfEvents, BagOfWords, StepPool
from tabemb.network.inputs import Ragged
from tabemb.network.randomness import Random, drawing_from

LENGTHS = [400, 0, 40, 1000]


def histories(lengths, step=None):
    """Return histories whose events have the code (row, position), in steps of ``step`` events."""
    offsets = torch.tensor(np.concatenate([[0], np.cumsum(lengths)]))
    codes = torch.tensor([(row, i) for row, n in enumerate(lengths) for i in range(n)]).reshape(-1, 2)
    numbers = codes[:, 1:].float()
    if step is None:
        return Ragged(offsets, codes, numbers)
    return Ragged(offsets // step, codes, numbers, torch.arange(0, int(offsets[-1]) + 1, step))


def thinned(history):
    with drawing_from(Random(0)):
        return EventDropout().train()(history)


@pytest.mark.parametrize("step", [None, 10])
def test_long_histories_lose_some_of_their_events_and_keep_their_order(step):
    kept = thinned(histories(LENGTHS, step))
    counts = kept.event_offsets.diff().tolist()
    assert counts[1:3] == [0, 40]
    assert 250 < counts[0] < 310
    assert 640 < counts[3] < 760
    rows = torch.repeat_interleave(torch.tensor(counts))
    assert torch.equal(kept.codes[:, 0], rows)
    assert torch.equal(kept.numbers[:, 0], kept.codes[:, 1].float())
    same_row = rows.diff() == 0
    assert bool((kept.codes[:, 1].diff()[same_row] > 0).all())


def test_a_history_of_middle_length_keeps_about_n_kept_events():
    kept = thinned(histories([N_KEPT + 10] * 200))
    assert abs(float(kept.lengths.float().mean()) - N_KEPT) < 2


def test_texts_lose_words_however_short_they_are():
    with drawing_from(Random(0)):
        kept = EventDropout(BagOfWords.n_kept).train()(histories([8] * 500))
    assert abs(float(kept.lengths.float().mean()) - 0.7 * 8) < 0.2


def test_steps_stay_and_hold_their_own_events():
    whole = histories(LENGTHS, step=10)
    kept = thinned(whole)
    assert torch.equal(kept.lengths, whole.lengths)
    steps = torch.repeat_interleave(kept.in_steps.lengths)
    first = torch.cat([torch.zeros(1, dtype=torch.long), whole.lengths.cumsum(0)])[kept.codes[:, 0]]
    assert torch.equal(steps, first + kept.codes[:, 1] // 10)


def test_nothing_is_dropped_outside_training_or_from_short_histories():
    long, short = histories(LENGTHS), histories([N_KEPT, 3, 0])
    assert EventDropout().eval()(long) is long
    assert EventDropout().train()(short) is short


def test_sums_are_those_of_the_whole_history():
    """All events are equal, so a sum depends only on their number."""
    torch.manual_seed(0)
    whole = histories(LENGTHS, step=10)
    kept, ones = thinned(whole), torch.ones(int(whole.event_offsets[-1]), 3)
    pool = StepPool(3, 4)
    full = pool(ones, whole.in_steps)
    part = pool(ones[: len(kept.codes)], kept.in_steps, whole.in_steps.lengths)
    has_events = kept.in_steps.lengths > 0
    torch.testing.assert_close(part[has_events], full[has_events])
    bag, whole, kept = BagOfEvents(3, 4, "all"), histories(LENGTHS), thinned(histories(LENGTHS))
    torch.testing.assert_close(
        bag.of_whole(ones[: len(kept.codes)], kept, whole.lengths), bag(ones, whole)
    )


@pytest.mark.parametrize("name", HISTORY_ENCODERS)
def test_a_history_without_dropped_events_is_whole(name):
    history = histories([3, 0, 5])
    encoder = HISTORY_ENCODERS[name](2, 4, "all").eval()
    events = torch.randn(8, 2)
    expected = encoder(events, history)
    torch.testing.assert_close(encoder.of_whole(events, history, history.lengths), expected)


@pytest.mark.parametrize("is_measured", [False, True])
def test_events_are_dropped_where_a_quantity_is_measured_again_and_again_alone(is_measured, monkeypatch):
    """A pattern of nine bits would rarely survive; a number within its category is a measurement."""
    seen, rng = [], np.random.default_rng(0)
    forward = EventDropout.forward
    monkeypatch.setattr(
        EventDropout, "forward", lambda self, history: seen.append(1) or forward(self, history)
    )
    kinds = rng.choice(["low", "high"], (40, 60))
    units = {"low": 1.0, "high": 1000.0 if is_measured else 1.0}
    rows = [[{"kind": k, "value": units[k] * rng.random()} for k in row] for row in kinds]
    settings = {"hidden": (4,), "n_members": 1, "d_history": 4, "effects": False, "max_epochs": 1}
    X = pd.DataFrame({"log": rows})
    EmbeddingClassifier(**settings, random_state=0, n_jobs=1).fit(X, np.arange(40) % 2)
    assert bool(seen) == is_measured
