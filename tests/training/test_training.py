import itertools
import math
import time
from dataclasses import dataclass

import joblib
import pytest
import torch
from torch import nn

from tabemb.network.inputs import Kept
from tabemb.network.randomness import Building, Random, drawing_from
from tabemb.training import batches as batches_module
from tabemb.training.average import WINDOW, WeightAverage
from tabemb.training.batches import Batches, BlockedBatches, equal_sizes
from tabemb.training.best import TOLERANCE, BestWeights, Validated
from tabemb.training.loop import Budget, Training, train
from tabemb.training.optimizers import Loss, Optimizer, SparseAdam
from tabemb.training.threads import n_threads, threads


@dataclass
class Points:
    """Rows of two columns, as a source of batches."""

    x: torch.Tensor
    y: torch.Tensor
    device = torch.device("cpu")

    def __len__(self):
        return len(self.x)

    def take(self, rows):
        return Points(self.x[rows], self.y[rows])

    def split(self, sizes):
        return [Points(x, y) for x, y in zip(self.x.split(sizes), self.y.split(sizes))]


class Line(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def forward(self, x):
        return self.layer(x)


def planted():
    x = torch.linspace(-1, 1, 64).unsqueeze(1)
    return Points(x, 3 * x + 1)


def numbered(n):
    return Points(torch.arange(n), torch.arange(n))


def squared_error(network):
    return lambda batch: Loss((network(batch.x) - batch.y).square().mean())


def fit(max_epochs=60, **kwargs):
    torch.manual_seed(0)
    network, data = Line(), planted()
    batches = Batches(data, 16, torch.Generator().manual_seed(0))
    optimizer = Optimizer(network, 0.1, 0.0)
    trained = train(Training(network, batches, squared_error(network), optimizer, max_epochs, **kwargs))
    return network, trained.curve


def test_a_planted_line_is_found():
    network, history = fit()
    assert network.layer.weight.item() == pytest.approx(3, abs=0.02)
    assert network.layer.bias.item() == pytest.approx(1, abs=0.02)
    assert history["train_loss"][-1] < 1e-3 < history["train_loss"][0]
    assert len({len(curve) for curve in history.values()}) == 1


def test_a_step_goes_down_the_prior_too_and_the_curve_shows_the_rows_alone():
    torch.manual_seed(0)
    network, data = Line(), planted()
    batches = Batches(data, 64, torch.Generator().manual_seed(0))

    def loss(batch):
        nearer = network.layer.weight.square().sum() + network.layer.bias.square().sum()
        return Loss(squared_error(network)(batch).data, 1000 * nearer)

    trained = train(Training(network, batches, loss, Optimizer(network, 0.1, 0.0), max_epochs=60))
    assert network.layer.weight.item() == pytest.approx(0, abs=0.02)
    assert trained.curve["train_loss"][-1] == pytest.approx(data.y.square().mean().item(), rel=0.02)


def test_the_best_epoch_is_restored_and_patience_ends_the_wait():
    losses = iter([5.0, 1.0, 2.0, 2.0, 2.0, 9.0])
    seen = []
    torch.manual_seed(0)
    network = Line()
    batches = Batches(planted(), 16, torch.Generator().manual_seed(0))

    def evaluate():
        seen.append(network.layer.weight.item())
        return Validated(next(losses))

    optimizer, loss = Optimizer(network, 0.1, 0.0), squared_error(network)
    history, best = train(Training(network, batches, loss, optimizer, 50, evaluate, patience=3))
    assert history["eval_loss"] == [5.0, 1.0, 2.0, 2.0, 2.0]
    assert best == 1
    assert network.layer.weight.item() == seen[1]


@pytest.mark.parametrize(("validates", "falls"), [(False, True), (True, True), (False, False)])
def test_the_rate_falls_to_zero_where_the_end_is_known_and_stays_where_it_is_not(validates, falls):
    torch.manual_seed(0)
    network, steps = Line(), []
    batches = Batches(planted(), 16, torch.Generator().manual_seed(0))
    optimizer = Optimizer(network, 0.1, 0.0)

    def loss(batch):
        steps.append(network.layer.bias.item())
        error = network(batch.x) - batch.y
        return Loss(error.mean())  # a constant slope: each step of Adam has the length of its rate

    evaluate = (lambda: Validated(1.0)) if validates else None
    train(Training(network, batches, loss, optimizer, 10, evaluate, falls=falls, patience=10))
    lengths = [a - b for a, b in itertools.pairwise(steps)]
    stays = validates or not falls
    expected = [0.1 if stays else 0.05 * (1 + math.cos(math.pi * step / 40)) for step in range(39)]
    assert lengths == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("window", [WINDOW, 3.0])
def test_without_validation_the_averaged_weights_are_kept(window):
    torch.manual_seed(0)
    network, weights = Line(), []
    batches = Batches(planted(), 16, torch.Generator().manual_seed(0))

    def loss(batch):
        weights.append(network.layer.bias.item())
        return Loss((network(batch.x) - batch.y).mean())  # the bias decreases in every step

    optimizer = Optimizer(network, 0.1, 0.0, window=window)
    train(Training(network, batches, loss, optimizer, max_epochs=5))
    kept = network.layer.bias.item()
    weights.append(optimizer.average.averages[0].item())  # the last weights, as both were swapped
    expected = weights[0]
    for t, weight in enumerate(weights[1:], start=1):
        expected += (weight - expected) * window / (t + window)
    assert kept == pytest.approx(expected, abs=1e-5)
    assert kept > weights[-1] + 5e-3


def test_the_averaged_weights_are_validated_and_steps_go_on_from_the_last_ones():
    torch.manual_seed(0)
    network, steps, validated = Line(), [], []
    batches = Batches(planted(), 64, torch.Generator().manual_seed(0))  # one step per epoch

    def loss(batch):
        steps.append(network.layer.bias.item())
        return Loss((network(batch.x) - batch.y).mean())  # the bias decreases by the rate in every step

    def evaluate():
        validated.append(network.layer.bias.item())
        return Validated(1.0)

    train(Training(network, batches, loss, Optimizer(network, 0.1, 0.0), 5, evaluate, patience=9))
    assert steps == pytest.approx([steps[0] - 0.1 * step for step in range(5)], abs=1e-3)
    expected = steps[0]
    for t, average in enumerate(validated, start=1):
        expected += (steps[0] - 0.1 * t - expected) * WINDOW / (t + WINDOW)
        assert average == pytest.approx(expected, abs=1e-3)


def test_the_time_budget_ends_within_an_epoch():
    start = time.perf_counter()
    fit(max_epochs=20_000, budget=Budget(0.3))  # all epochs would take much longer
    assert time.perf_counter() - start < 2


def test_a_spent_budget_ends_the_epoch_after_a_step():
    network, losses = Line(), []
    batches = Batches(planted(), 16, torch.Generator().manual_seed(0))  # four steps per epoch

    def loss(batch):
        losses.append((network(batch.x) - batch.y).square().mean())
        return Loss(losses[-1])

    trained = train(
        Training(network, batches, loss, Optimizer(network, 0.1, 0.0), max_epochs=9, budget=Budget(0.0))
    )
    assert len(losses) == len(trained.curve["epoch"]) == 1
    assert trained.curve["train_loss"] == [losses[0].item()]


def test_a_share_is_an_equal_part_of_the_time_that_is_left():
    budget = Budget(9.0)
    budget.start -= 3  # three seconds earlier
    share = budget.share(3)
    assert share.limit == pytest.approx(2, abs=0.1)
    assert not share.over
    budget.start -= 7
    assert budget.over
    assert budget.share(3).limit == 0
    assert budget.share(3).over
    assert Budget().share(3).limit is None


def test_a_gain_too_small_to_wait_for_is_none():
    best = BestWeights(nn.Linear(1, 1), patience=2)
    for epoch, loss in enumerate([1.0, 1 - TOLERANCE / 2, 1 - TOLERANCE * 2, float("nan"), 2.0]):
        best.update(epoch, Validated(loss))
    assert (best.epoch, best.exhausted) == (2, True)


@pytest.mark.parametrize(("n_rows", "is_better"), [(100, False), (100_000, True)])
def test_a_gain_of_few_rows_may_be_chance(n_rows, is_better):
    """The mean gain is .01, its standard error .49 divided by the root of the number of rows."""
    gains = torch.tensor([0.5, -0.48]).repeat(n_rows // 2)
    first, second = (Validated(float(row.mean()), row / n_rows) for row in (1 + 0 * gains, 1 - gains))
    assert first.standard_error(second) == pytest.approx(0.49 / n_rows**0.5, rel=1e-3)
    best = BestWeights(nn.Linear(1, 1), patience=1)
    best.update(0, first)
    best.update(1, second)
    assert best.epoch == is_better
    best.update(2, Validated(first.loss - 0.01, (1 - 0.01 + 0 * gains) / n_rows))  # all rows gain alike
    assert best.epoch == (1 if is_better else 2)


def test_the_average_forgets_the_start_and_rests_where_steps_circle():
    """The noise of a constant rate is averaged out."""
    rng = torch.Generator().manual_seed(0)
    weight = nn.Parameter(torch.full((1,), 100.0))
    average = WeightAverage([weight])
    for _ in range(5000):
        weight.data = 3 + torch.randn(1, generator=rng)
        average.update()
    last = weight.item()
    with average.in_place():
        assert weight.item() == pytest.approx(3, abs=0.15)  # averages about 5000 / WINDOW noise terms
    assert weight.item() == last


def test_a_row_of_a_sparse_table_is_averaged_over_its_own_updates():
    table = nn.Embedding(3, 2, sparse=True)
    start = table.weight.detach().clone()
    average, expected = WeightAverage([table.weight]), start.clone()
    for step in range(1, 21):
        rows = torch.tensor([0, 0] if step % 2 else [0, 1])
        table.weight.grad = None
        table(rows).sum().backward()
        table.weight.data[rows] += 1
        average.update()
        for row in set(rows.tolist()):
            n = step if row == 0 else step // 2
            expected[row] += (table.weight.data[row] - expected[row]) * WINDOW / (n + WINDOW)
    assert torch.allclose(average.averages[0], expected)
    assert torch.equal(average.averages[0][2], start[2])


def test_weight_decay_spares_biases_and_tables():
    network = nn.ModuleDict({"linear": nn.Linear(2, 2), "table": nn.Embedding(3, 2)})
    groups = Optimizer(network, 0.1, 0.5).optimizers[0].param_groups
    assert [(group["weight_decay"], len(group["params"])) for group in groups] == [(0.0, 2), (0.5, 1)]


def test_batches_hold_every_row_once_and_are_of_one_size():
    batches = Batches(numbered(100), 33, torch.Generator().manual_seed(0))
    sizes = [len(batch) for batch in batches]
    assert sorted(sizes) == [25, 25, 25, 25]
    first, second = ([int(i) for batch in batches for i in batch.x] for _ in range(2))
    assert sorted(first) == sorted(second) == list(range(100))
    assert first != second
    assert [equal_sizes(n, 2) for n in (0, 1, 2, 5)] == [[0], [1], [2], [2, 2, 1]]


def test_groups_stay_whole_and_in_their_order_and_an_epoch_has_a_start():
    sizes, starts = [5, 1, 3, 8, 2, 4, 9], []
    groups = torch.repeat_interleave(torch.arange(7), torch.tensor(sizes))
    rows = torch.nonzero(groups != 3).flatten()
    generator = torch.Generator().manual_seed(0)
    batches = Batches(numbered(32), 6, generator, rows, groups=groups, start=lambda: starts.append(1))
    for epoch in range(3):
        found = [batch.x for batch in batches]
        assert sorted(torch.cat(found).tolist()) == rows.tolist()
        assert 0 < len(found) <= len(batches)
        for batch in found:
            for group in groups[batch].unique():
                assert (
                    batch[groups[batch] == group].tolist()
                    == torch.nonzero(groups == group).flatten().tolist()
                )
        assert len(starts) == epoch + 1


def test_the_users_random_state_and_threads_are_given_back():
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    before = torch.get_num_threads()
    with drawing_from(Random(3)), Building(), threads(before + 1):
        assert torch.get_num_threads() == before + 1
        nn.Linear(2, 2), nn.GRU(2, 2), torch.rand(5)
    assert torch.rand(1) == expected
    assert torch.get_num_threads() == before


def test_a_joblib_worker_takes_one_thread():
    inside = joblib.Parallel(n_jobs=2, backend="threading")(
        joblib.delayed(n_threads)(None) for _ in range(2)
    )
    assert inside == [1, 1]
    assert n_threads(-1) == joblib.cpu_count()
    assert not math.isnan(Budget().seconds)


@pytest.mark.parametrize("chosen", [None, torch.arange(3, 990)])
@pytest.mark.parametrize("batch_size", [7, 64, 2000])
def test_batches_of_blocks_hold_each_row_once_in_new_orders(chosen, batch_size, monkeypatch):
    monkeypatch.setattr(batches_module, "BLOCK", 10)
    monkeypatch.setattr(batches_module, "N_BLOCKS", 4)
    source = Kept(torch.zeros(1003, 1), torch.arange(1003))
    batches = BlockedBatches(source, batch_size, torch.Generator().manual_seed(0), chosen)
    first, second = ([batch.counts for batch in batches] for _ in range(2))
    expected = torch.arange(1003) if chosen is None else chosen
    for epoch in (first, second):
        assert torch.equal(torch.cat(epoch).sort().values, expected)
        assert len(epoch) == len(batches)
        assert max(map(len, epoch)) <= batch_size
    assert not torch.equal(torch.cat(first), torch.cat(second))
    part = torch.cat(first)[:40]  # from four blocks of ten adjacent rows, shuffled together
    assert len({int(row - expected[0]) // 10 for row in part}) == 4
    assert not torch.equal(part, part.sort().values)


def test_steps_of_sparse_tables_are_those_of_torch():
    torch.manual_seed(0)
    ours = nn.Embedding(50, 4, sparse=True)
    theirs = nn.Embedding.from_pretrained(ours.weight.detach().clone(), freeze=False, sparse=True)
    group = {"params": [ours.weight], "lr": 0.01}
    adam = SparseAdam([group], (0.9, 0.95))
    peer = torch.optim.SparseAdam(theirs.parameters(), 0.01, (0.9, 0.95))
    for _ in range(20):
        codes = torch.randint(50, (9,))
        for table, optimizer in ((ours, adam), (theirs, peer)):
            table(codes).pow(3).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
    torch.testing.assert_close(ours.weight, theirs.weight)
