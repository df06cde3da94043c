"""Rows that a model keeps: a uniform sample, whose rows count as all rows that they represent."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch

from tabemb.fitting import replay
from tabemb.fitting.checks import Rows
from tabemb.fitting.replay import KeptRows, Replayed, joined, priorities_of
from tabemb.network.inputs import Batch, Ragged, RowInputs
from tabemb.targets import NumberTarget


def rows_of(start, n, weights=None):
    """Return rows whose number is also their code and their target."""
    y = np.arange(start, start + n, dtype=float)
    return Rows(pa.table({"a": y}), y, weights)


def inputs_of(rows):
    codes = torch.from_numpy(rows.y.astype(np.int32)).unsqueeze(1)
    return RowInputs.of(codes, torch.zeros(len(rows), 0))


def kept_of(start, n, weights=None):
    rows = rows_of(start, n, weights)
    return KeptRows.of(rows, inputs_of(rows), None, start)


def after_nights(sizes):
    kept = kept_of(0, sizes[0]).sample()
    for start, n in zip(np.cumsum(sizes), sizes[1:]):
        kept = kept_of(int(start), n).followed_by(kept).sample()
    return kept


def test_the_rows_with_the_smallest_random_numbers_are_kept(monkeypatch):
    monkeypatch.setattr(replay, "MOST_KEPT", 50)
    sizes = [120, 7, 300, 1, 72]
    kept = after_nights(sizes)
    starts = np.cumsum([0, *sizes])
    priorities = np.concatenate([priorities_of(int(s), n) for s, n in zip(starts, sizes)])
    assert sorted(kept.y) == np.sort(np.argsort(priorities)[:50]).tolist()
    assert np.array_equal(kept.inputs.codes[:, 0].numpy(), kept.y)
    assert np.array_equal(priorities[kept.y.astype(int)], kept.priorities)
    assert kept.total == 500
    assert kept.n_stood_for == 10


def test_every_night_has_its_share_of_the_sample(monkeypatch):
    monkeypatch.setattr(replay, "MOST_KEPT", 100)
    sizes = np.random.default_rng(0).integers(50, 150, (60, 8))
    late = [np.mean(after_nights(s.tolist()).y >= s[:4].sum()) - s[4:].sum() / s.sum() for s in sizes]
    assert abs(np.mean(late)) < 3 * 0.05 / np.sqrt(60)  # standard error of a share of 100 rows: .05
    assert np.std(late) < 0.08


def test_fewer_rows_are_kept_where_they_are_wide(monkeypatch):
    monkeypatch.setattr(replay, "MOST_CELLS", 60)
    rows = rows_of(0, 100)
    wide = replace(inputs_of(rows), vectors=(torch.zeros(100, 5),))
    assert len(KeptRows.of(rows, wide, None).sample()) == 10
    assert len(KeptRows.of(rows, inputs_of(rows), None).sample()) == 60


def test_kept_rows_count_as_all_that_they_stand_for():
    kept = replace(kept_of(0, 10, np.full(10, 2.0)), total=200.0)
    rows = rows_of(10, 20, np.full(20, 3.0))
    target = NumberTarget().fit(np.arange(30.0), None)
    batch = Batch(inputs_of(rows), target.encode(rows.y), torch.ones(20))
    both = Replayed.of(batch, rows, kept, target)
    assert len(both.batch) == 30
    of_new, of_kept = both.batch.weight[:20].sum(), both.batch.weight[20:].sum()
    assert of_kept / of_new == pytest.approx(200 / 60)
    assert both.batch.weight.mean() == pytest.approx(1)
    assert both.weights.tolist() == [3.0] * 20 + [2.0] * 10  # in the sums of effects, a row counts once
    assert torch.equal(both.batch.y, target.encode(np.append(rows.y, kept.y)))
    assert np.array_equal(both.responses, target.responses(np.append(rows.y, kept.y)))
    alone = Replayed.of(batch, rows, None, target)
    assert alone.batch is batch


def test_histories_and_vectors_are_joined_row_by_row():
    def inputs(lengths, first):
        n, n_events = len(lengths), sum(lengths)
        offsets = torch.tensor([0, *np.cumsum(lengths)])
        events = torch.arange(first, first + n_events).unsqueeze(1)
        steps = torch.arange(n_events + 1)
        history = Ragged(offsets, events, torch.zeros(n_events, 0), steps)
        vectors = torch.full((n, 2), float(first))
        return RowInputs.of(torch.zeros(n, 0), torch.zeros(n, 0), [history], [vectors])

    both = joined(inputs([2, 0], 0), inputs([1, 3], 10))
    (history,) = both.histories
    assert [part.codes[:, 0].tolist() for part in history.split([1, 1, 1, 1])] == [
        [0, 1],
        [],
        [10],
        [11, 12, 13],
    ]
    assert history.step_offsets.tolist() == list(range(7))
    assert both.vectors[0][:, 0].tolist() == [0, 0, 10, 10]


@pytest.mark.parametrize(
    "change",
    [
        {"y": np.zeros(3)},
        {"weights": np.ones(3)},
        {"total": 1.0},
        {"scores": np.zeros((4, 1), np.float32)},
        {"inputs": RowInputs.of(torch.full((4, 1), 4), torch.zeros(4, 0))},
        {"inputs": RowInputs.of(torch.zeros(4, 2), torch.zeros(4, 0))},
    ],
    ids=str,
)
def test_kept_rows_that_do_not_fit_the_model_are_refused(change):
    kept = kept_of(0, 4)
    kept.check([4], None)
    with pytest.raises(ValueError, match="kept rows"):
        replace(kept, **change).check([4], None)
