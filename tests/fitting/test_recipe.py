"""The inputs of each training of a fit: rows, effects, number of epochs, weights."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from tabemb import EmbeddingClassifier, EmbeddingRegressor, EventRegressor
from tabemb.estimators import base
from tabemb.fitting.objective import Objective
from tabemb.network.inputs import Batch, RowInputs
from tabemb.network.model import Output
from tabemb.targets import NUMBER_TARGETS, ClassTarget, Sample
from tabemb.training.loop import Trained

BEST_EPOCH = 16
N = 200


def frame(n=N):
    at = np.arange(n)
    c = np.array(list("abc"))[at * 3 // n]
    return pd.DataFrame({"who": at % 20, "at": at, "c": c, "x": np.random.default_rng(0).random(n)})


@pytest.fixture
def trainings(monkeypatch):
    """Replace the trainings of a fit: collect them with the encoded targets of their rows."""
    seen = []

    def train(training):
        y = torch.cat([batch.y for batch in training.batches]).flatten()
        seen.append((training, sorted(y.tolist())))
        curve = {key: [1.0] * 20 for key in ("epoch", "seconds", "train_loss", "eval_loss")}
        return Trained(curve, BEST_EPOCH)

    monkeypatch.setattr(base, "train", train)
    return seen


def rows_in_effects(model):
    """Return the number of rows that each term of the effects was summed over."""
    effects = model.effects_
    return [counts.sum() for counts in np.split(effects.counts_[:-1], effects.ends_[1:-1])]


ESTIMATORS = [
    (EmbeddingRegressor(random_state=0, n_jobs=1), 9),  # half of 17
    (EventRegressor(entity="who", time="at", random_state=0, n_jobs=1), 3),  # an eighth of 17
]


@pytest.mark.parametrize(("model", "n_epochs"), ESTIMATORS)
def test_validation_rows_choose_the_epoch_and_all_rows_train_in_the_end(model, n_epochs, trainings):
    y = np.arange(float(N))  # unique to each row
    model.fit(frame(), y)
    (first, seen_first), (second, seen_second) = trainings
    everything = sorted(model.target_.encode(y).flatten().tolist())
    assert len(seen_first) == 0.9 * N
    assert set(seen_first) < set(everything)
    assert seen_second == everything
    assert first.evaluate is not None
    assert second.evaluate is None
    assert second.max_epochs == n_epochs
    assert second.network is first.network is model.network_
    assert set(rows_in_effects(model)) == {N}


@pytest.mark.parametrize(("model", "n_epochs"), ESTIMATORS)
def test_given_validation_rows_never_train_and_are_in_no_effect(model, n_epochs, trainings):
    y = np.arange(float(N))
    model.fit(frame(), y, eval_X=frame(40), eval_y=np.full(40, 1e3))
    (training, seen), *others = trainings
    assert not others
    assert training.evaluate is not None
    assert seen == sorted(model.target_.encode(y).flatten().tolist())
    assert set(rows_in_effects(model)) == {N}


@pytest.mark.parametrize("is_class", [False, True])
def test_a_weight_of_three_is_three_rows_in_every_fitted_part(is_class, trainings):
    X, weights = frame(), np.random.default_rng(1).integers(1, 4, N).astype(float)
    X["y"] = (X["c"] == "a") + X["x"]
    again = X.loc[np.repeat(np.arange(N), weights.astype(int))].reset_index(drop=True)
    cls = EmbeddingClassifier if is_class else EmbeddingRegressor
    weighted, repeated = (
        cls(early_stopping=False, random_state=0, n_jobs=1).fit(
            rows[["c", "x"]], rows["y"] > 1 if is_class else rows["y"], sample_weight=weight
        )
        for rows, weight in ((X, weights), (again, None))
    )
    for part in ("counts_", "sums_", "mean_", "unit_"):
        first, second = (getattr(model.effects_, part) for model in (weighted, repeated))
        np.testing.assert_allclose(first, second, rtol=1e-9, atol=1e-9)
    assert weighted.effects_.terms_ == repeated.effects_.terms_
    first, second = (model.encoder_ for model in (weighted, repeated))
    np.testing.assert_array_equal(first.vocabularies_["c"].counts, second.vocabularies_["c"].counts)
    assert first.scales_[0].center == second.scales_[0].center
    assert first.scales_[0].unit == second.scales_[0].unit
    assert torch.allclose(weighted.target_.bias, repeated.target_.bias)


class Known(torch.nn.Module):
    """A network of one member whose outputs are the row's numbers, for some or all classes."""

    def forward(self, inputs, classes=None):
        outputs = inputs.numbers[:, None, :] if classes is None else inputs.numbers[:, None, classes]
        return Output(outputs, outputs, torch.zeros(len(inputs)))


def piece(numbers, y, weight):
    codes = torch.zeros(len(y), 0, dtype=torch.int32)
    return Batch(RowInputs.of(codes, torch.tensor(numbers)), torch.tensor(y), torch.tensor(weight))


def test_the_validation_loss_is_the_weighted_mean_over_all_pieces():
    squared = NUMBER_TARGETS["squared_error"]()
    pieces = [piece([[1.0], [2.0]], [[0.0], [0.0]], [1.0, 3.0]), piece([[5.0]], [[0.0]], [4.0])]
    validated = Objective(Known(), squared, False).on_validation(pieces)
    assert validated.loss == pytest.approx((1 * 1 + 3 * 4 + 4 * 25) / 8)
    assert validated.of_rows.tolist() == pytest.approx([1 / 8, 12 / 8, 100 / 8])
    classes = ClassTarget().fit(np.array(["a", "b"]), None)
    share = torch.tensor([[0.25, 0.75], [0.5, 0.5]]).log().tolist()
    validated = Objective(Known(), classes, False).on_validation([piece(share, [0, 1], [3.0, 1.0])])
    assert validated.loss == pytest.approx((3 * np.log(4) + np.log(2)) / 4)


def test_the_loss_of_a_sample_of_classes_allows_for_their_chance(monkeypatch):
    target = ClassTarget().fit(np.arange(4), None)
    sample = Sample(torch.tensor([0, 3]), torch.tensor([0, 1]), torch.tensor([1.0, 0.5]).log())
    sampler = SimpleNamespace(draw=lambda y, generator: sample)
    monkeypatch.setattr(target, "sampler", lambda: sampler)
    odds = torch.tensor([[2.0, 9.0, 9.0, 1.0], [1.0, 9.0, 9.0, 4.0]]).log().tolist()
    loss = Objective(Known(), target, False)(piece(odds, [0, 3], [1.0, 3.0])).data
    # a class in half of the samples counts as two: odds of 2 : 2 and of 1 : 8
    assert loss.item() == pytest.approx((np.log(2) - 3 * np.log(8 / 9)) / 2)


@pytest.mark.parametrize(("n_events", "batch_size"), [(0, 64), (40, 64), (100, 32), (400, 16)])
def test_an_epoch_has_more_steps_where_histories_are_long(trainings, n_events, batch_size):
    n = 1900
    X = pd.DataFrame({"x": np.arange(n), "bits": [["0"] * n_events] * n})
    settings = {"effects": False, "early_stopping": False, "max_epochs": 1}
    EmbeddingRegressor(**settings, roles={"bits": "history"}, max_events=None).fit(X, np.arange(n))
    assert trainings[0][0].batches.batch_size == batch_size


@pytest.mark.parametrize(
    ("n_events", "n_epochs", "window"), [(40, 9, 10.0), (100, 5, 3.0), (400, 3, 3.0)]
)
def test_where_histories_are_long_the_end_is_short_and_the_average_of_weights_wide(
    trainings, n_events, n_epochs, window
):
    """With two and four times as many steps, there are fewer than a third of 17 epochs."""
    X = pd.DataFrame({"bits": [["0"] * n_events] * N})
    EmbeddingRegressor(effects=False, random_state=0, n_jobs=1).fit(X, np.arange(N))
    (first, _), (second, _) = trainings
    assert second.max_epochs == n_epochs
    assert second.falls == (window == 10)
    assert first.optimizer.average.window == second.optimizer.average.window == window


@pytest.mark.parametrize(("n_events", "strength"), [(40, 200), (100, 100), (400, 25)])
def test_the_prior_of_vectors_of_events_falls_with_the_number_of_events_a_row(
    trainings, n_events, strength
):
    X = pd.DataFrame({"bits": [["0"] * n_events] * N})
    EmbeddingRegressor(effects=False, l2=200, random_state=0, n_jobs=1).fit(X, np.arange(N))
    (training, _), *_ = trainings
    prior = next(module.prior for module in training.network.modules() if hasattr(module, "prior"))
    assert prior[2].item() == pytest.approx(strength / (n_events * N))  # how often an epoch reads it
