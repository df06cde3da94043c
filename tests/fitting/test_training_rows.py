"""Training rows as a source of batches: out-of-fold effects, and validation rows like new rows."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from tabemb import EmbeddingRegressor
from tabemb.data.vocabulary import MISSING, N_SPECIAL, UNKNOWN
from tabemb.fitting.checks import Rows
from tabemb.fitting.holdout import Holdout
from tabemb.fitting.recipe import Recipe
from tabemb.fitting.settings import RowSettings
from tabemb.fitting.sources import RowSource
from tabemb.fitting.training_rows import TrainingRows
from tabemb.network.inputs import Batch, Kept, Prefixes, Ragged, RowInputs
from tabemb.targets import NUMBER_TARGETS

CITIES = np.array(["Bonn", "Rome", "Oslo"])
MEANS = np.array([0.0, 2.0, 7.0])


def cities(n=300):
    """Return rows whose target is the random mean of their city, nearly without noise."""
    rng = np.random.default_rng(0)
    city = rng.integers(0, 3, n)
    return Rows(pa.table({"city": CITIES[city]}), MEANS[city] + 0.1 * rng.normal(size=n), None)


def prepared(rows, train=None, **parameters):
    """Run the stages of a fit up to the training rows; return these and the fitted effects."""
    settings = RowSettings.of(EmbeddingRegressor(**parameters, device="cpu"))
    recipe = Recipe(settings, RowSource(), NUMBER_TARGETS["squared_error"](), stratify=False, seed=0)
    rows = recipe.prepare(rows)
    encoder = recipe.fit_encoder(rows)
    batch = recipe.encode(encoder, rows)
    holdout = Holdout(rows, train=train)
    sample = recipe.sample(batch, holdout)
    effects, out_of_fold = recipe.fit_effects(encoder, batch, holdout, sample)
    return TrainingRows(batch, out_of_fold), effects


def arrays_of(inputs):
    return inputs.codes.numpy(), inputs.numbers.numpy()


def test_rows_are_those_of_the_batch_with_effects():
    rows, effects = prepared(cities())
    assert len(rows) == 300
    assert rows.device == torch.device("cpu")
    order = torch.tensor([7, 3, 3])
    taken = rows.take(order)
    assert torch.equal(taken.inputs.codes, rows.batch.inputs.codes[order])
    assert torch.equal(taken.y, rows.batch.y[order])
    assert torch.equal(taken.weight, torch.ones(3))
    assert taken.inputs.effects.shape == (3, *effects.shape)


def test_without_effects_rows_are_those_of_the_batch():
    rows, effects = prepared(cities(), effects=False)
    assert effects is None
    assert rows.take(torch.arange(4)).inputs.effects.shape == (4, 0, 1)
    rows.use_effects_of(np.arange(10))  # nothing to compute


def test_no_row_reads_its_target_in_its_effect():
    """A city with one row has no effect for that row, even with an extreme target; new rows see it."""
    rows = cities()
    frame = pa.table({"city": [*rows.frame["city"].to_pylist(), "Lima"]})
    training_rows, effects = prepared(Rows(frame, np.r_[rows.y, 1e3], None))
    effect, count = training_rows.take(torch.tensor([300])).inputs.effects[0, 0].tolist()
    assert (effect, count) == (0, 0)
    codes, numbers = (values[[300]] for values in arrays_of(training_rows.batch.inputs))
    effect, count = effects.transform(codes, numbers)[0, 0].tolist()
    assert effect > 1
    assert count > 0


def test_effects_of_training_rows_are_near_those_of_new_rows_and_vary():
    training_rows, effects = prepared(cities())
    expected = effects.transform(*arrays_of(training_rows.batch.inputs))
    drawn = []
    for seed in range(2):  # another order puts the rows into other folds
        order = torch.from_numpy(np.random.default_rng(seed).permutation(300))
        drawn.append(training_rows.take(order).inputs.effects[order.argsort()].numpy())
        np.testing.assert_allclose(drawn[-1], expected, atol=0.1)
    assert (drawn[0] != drawn[1]).any()
    assert np.ptp(expected[:, 0, 0]) > 2  # the cities differ by much more


def test_validation_rows_have_the_effects_that_new_rows_would_have():
    train = np.random.default_rng(1).permutation(300)[:200]
    rest = np.setdiff1d(np.arange(300), train)
    training_rows, effects = prepared(cities(), train)
    training_rows.use_effects_of(train)
    validation = training_rows.validation_rows(train)
    assert torch.equal(validation.y, training_rows.batch.y[rest])
    expected = effects.transform(*(values[rest] for values in arrays_of(training_rows.batch.inputs)))
    np.testing.assert_allclose(validation.inputs.effects, expected, atol=1e-6)

    seen = training_rows.batch.y[train, 0].numpy()
    centered = (seen - seen.mean()) / seen.std()
    codes = training_rows.batch.inputs.codes[:, 0].numpy()
    of_city = centered[codes[train] == codes[rest[0]]]
    effect = of_city.sum() / (len(of_city) + effects.strength_[0])
    first = float(validation.inputs.effects[0, 0, 0]) * effects.effect_units_[0, 0, 0]
    assert first == pytest.approx(effect, rel=1e-4)  # from the training rows only

    training_rows.use_effects_of(None)
    assert effects.counts_.sum() == 300
    training_rows.use_effects_of(train)
    assert effects.counts_.sum() == 200


def coded(*columns):
    return torch.tensor(columns, dtype=torch.int32).T.contiguous()


def as_rows(inputs):
    return TrainingRows(Batch(inputs, torch.zeros(len(inputs)), torch.ones(len(inputs))), None)


A, B, C, D = range(N_SPECIAL, N_SPECIAL + 4)
TRAIN = np.array([0, 1, 3])


def test_categories_of_validation_rows_alone_are_read_as_unknown():
    inputs = RowInputs.of(coded([A, B, C, A, B], [A, A, A, B, MISSING]), torch.zeros(5, 0))
    rows = as_rows(inputs)
    before = inputs.codes.clone()
    validation = rows.validation_rows(TRAIN)
    assert validation.inputs.codes.tolist() == [[UNKNOWN, A], [B, UNKNOWN]]  # column by column
    assert torch.equal(inputs.codes, before)  # they are known again once these rows are trained on


def test_events_of_validation_rows_alone_are_read_as_unknown():
    history = Ragged(torch.tensor([0, 2, 2, 4, 5, 6]), coded([A, B, A, C, D, D]), torch.zeros(6, 0))
    inputs = RowInputs.of(torch.zeros(5, 0).int(), torch.zeros(5, 0), [history])
    validation = as_rows(inputs).validation_rows(TRAIN)
    assert validation.inputs.histories[0].codes[:, 0].tolist() == [A, UNKNOWN, D]
    assert history.codes[:, 0].tolist() == [A, B, A, C, D, D]


def test_sequences_of_validation_rows_alone_are_read_as_unknown():
    sequences = Ragged(torch.tensor([0, 2, 5, 6]), coded([A, B, A, C, B, D]), torch.zeros(6, 0))
    inputs = RowInputs.of(coded([A, A, A, B, A, A]), torch.zeros(6, 0), [Prefixes(sequences)])
    validation = as_rows(inputs).validation_rows(np.array([0, 1, 5]))
    assert validation.inputs.codes[:, 0].tolist() == [A, UNKNOWN, A]
    assert validation.inputs.histories[0].events.codes[:, 0].tolist() == [A, UNKNOWN, B]


def test_another_history_takes_the_place_of_the_last_one():
    history = Ragged(torch.tensor([0, 1, 2]), coded([A, B]), torch.zeros(2, 0))
    rows = as_rows(RowInputs.of(coded([A, B]), torch.zeros(2, 0), [history, history]))
    states = Kept(torch.zeros(2, 3), torch.zeros(2).long())
    assert rows.with_history(states).batch.inputs.histories == (history, states)
    assert rows.batch.inputs.histories == (history, history)
