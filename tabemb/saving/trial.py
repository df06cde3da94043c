"""A trial of a loaded model on made-up rows, which detects parts that do not fit together."""

from __future__ import annotations

from itertools import chain, islice, repeat
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from tabemb.data.encoding import Encoder, Inputs
from tabemb.estimators.base import RowEstimator
from tabemb.estimators.encoder import EmbeddingEncoder
from tabemb.fitting.calibration import counts_of, level_counts
from tabemb.fitting.event_source import EventSource
from tabemb.fitting.sets import classes_by_target
from tabemb.fitting.sources import RowSource
from tabemb.network.devices import device_of
from tabemb.network.inputs import History, Kept, Ragged, RowInputs
from tabemb.unsupervised.items import ItemEmbedder
from tabemb.unsupervised.recommender import Recommender

N_ROWS = 2
"""A row of the last category of each table and zeros, and a row of unknown categories and no numbers."""
SMALL_COVERAGE = 0.01
"""A coverage for which a single validation row is enough."""


@torch.no_grad()
def try_out(model: Any) -> None:
    """Encode a row of missing values, and predict rows with the first and last code of each table.

    Raises
    ------
    Exception
        Any exception, if the parts do not fit together; ValueError if a prediction is not finite.
    """
    if isinstance(model, ItemEmbedder | Recommender):
        model.check_parts()
        return
    encoder: Encoder = model.encoder_
    _check_vocabularies(encoder)
    encoder.transform(pa.table({name: pa.nulls(1) for name in encoder.schema.used}))
    if isinstance(model, EmbeddingEncoder):
        _check_values(model)
        return
    if isinstance(model, RowEstimator):
        fitted = model._fitted
        rows = fitted.with_effects(_rows(encoder, fitted.source))
        answers = fitted.target.predict(fitted.network(rows.to(device_of(fitted.network))).outputs)
        _check_finite(answers if isinstance(answers, list) else [answers], "predictions")
        _check_intervals(model, rows.codes.numpy(force=True))
        _check_sets(model, rows.codes.numpy(force=True))
        _check_kept(model)
        _check_seen(fitted.source, fitted.target.n_outputs)
    else:
        rows = _rows(encoder, RowSource()).to(device_of(model.network_))
        _check_finite([model.network_(rows).numpy(force=True)], "vectors")


def _check_vocabularies(encoder: Encoder) -> None:
    """Check that each code of a table has a count, including hashed ones."""
    for name, vocabulary in encoder.vocabularies_.items():
        n_hashed = vocabulary.n_hashed
        if type(n_hashed) is not int or n_hashed < 0 or len(vocabulary.counts) != len(vocabulary):
            raise ValueError(f"table {name!r} has another number of counts than of codes.")


def _check_intervals(model: RowEstimator, codes: np.ndarray) -> None:
    """Check the intervals of made-up rows, if the model has intervals."""
    intervals = getattr(model, "intervals_", None)
    if intervals is None:
        return
    spread = np.ones((len(codes), model.target_.n_outputs))
    if intervals.scores.shape[1] != spread.shape[1]:
        raise ValueError("its intervals are of another number of targets.")
    counts = counts_of(codes, level_counts(model._fitted))
    _check_finite([intervals.half_widths(counts, spread, SMALL_COVERAGE)], "intervals")


def _check_sets(model: RowEstimator, codes: np.ndarray) -> None:
    """Check the sets of classes of made-up rows, if the model has sets."""
    sets = getattr(model, "sets_", None)
    if sets is None:
        return
    if sets.scores.shape[1] != len(classes_by_target(model.target_)):
        raise ValueError("its sets are of another number of targets.")
    counts = counts_of(codes, level_counts(model._fitted))
    _check_finite([sets.thresholds(counts, SMALL_COVERAGE)], "sets")


def _check_kept(model: RowEstimator) -> None:
    """Check the training rows that a model keeps, if there are any."""
    growth = getattr(model, "growth_", None)  # files of tabemb 0.2 have none
    if growth is None or growth.kept is None:
        return
    fitted = model._fitted
    kept, encoder = growth.kept, fitted.encoder
    kept.check([*map(len, encoder.vocabularies_of(encoder.inputs_[0]))], fitted.trees)
    fitted.target.encode(kept.y)


def _check_seen(source: RowSource, n_classes: int) -> None:
    """Check the classes that entities have had, if the source has recorded them."""
    if isinstance(source, EventSource) and source.seen is not None:
        source.seen.check(len(source.states), n_classes)


def _rows(encoder: Encoder, source: RowSource) -> RowInputs:
    codes, numbers = _cells(encoder, encoder.inputs_[0])
    each = torch.arange(N_ROWS + 1)
    histories: list[History] = [
        Ragged(each, *_cells(encoder, inputs), each if inputs.schema.in_steps else None)
        for inputs in encoder.inputs_[1:]
    ]
    if isinstance(source, EventSource):
        histories[-1] = _kept(source)
    vectors = torch.tensor([0.0, torch.nan]).unsqueeze(1)
    return RowInputs.of(
        codes, numbers, histories, [vectors.expand(-1, scale.width) for scale in encoder.vectors_]
    )


def _cells(encoder: Encoder, inputs: Inputs) -> tuple[Tensor, Tensor]:
    last = [len(vocabulary) - 1 for vocabulary in encoder.vocabularies_of(inputs)]
    codes = torch.tensor([last, [0] * len(last)], dtype=torch.int32)
    numbers = torch.zeros(N_ROWS, len(inputs.scales))
    numbers[1] = torch.nan
    return codes, numbers


def _kept(source: EventSource) -> Kept:
    """Return the states of the first two entities; if there are fewer, zeros as for new ones."""
    states = source.states
    past = states.read(islice(chain(states.keys.code_of, repeat(None)), N_ROWS))
    return Kept(torch.from_numpy(past.states), torch.from_numpy(past.counts))


def _check_values(model: EmbeddingEncoder) -> None:
    """Check the values of an encoder that has no network: a row for each code."""
    sizes = [*map(len, model._vocabularies), *model.pair_codes_.sizes]
    if [len(values) for values in model.by_code_] != sizes:
        raise ValueError("the columns have other numbers of categories than of values.")
    _check_finite(model.by_code_, "values")


def _check_finite(arrays: list[np.ndarray], name: str) -> None:
    if not all(len(array) and np.isfinite(array).all() for array in arrays):
        raise ValueError(f"its {name} are not finite.")
