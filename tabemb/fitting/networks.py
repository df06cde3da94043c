"""From what an encoder has learned to a network of plain numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from tabemb.data.effects import Effects
from tabemb.data.encoding import Encoder, Inputs
from tabemb.data.frames import to_arrow
from tabemb.data.schema import Table
from tabemb.data.vocabulary import MISSING, N_SPECIAL, UNKNOWN, Vocabulary
from tabemb.network.backbone import BACKBONES
from tabemb.network.dropout import CellDropout, base_rate, hiding_rates
from tabemb.network.history import HISTORY_ENCODERS, HistoryNetwork, SequenceNetwork
from tabemb.network.model import Network, NetworkEnsemble, Reader, TabularNetwork
from tabemb.network.numbers import NUMBER_ENCODINGS, NumberEncoding
from tabemb.network.tables import Tables, TableSpec, table_dim
from tabemb.spaces.space import EmbeddingSpace

TYPICAL_STRENGTH = 2.0
"""Strength of shrinkage of a column's effects for which ``l2`` is meant."""
D_EVENT_NUMBER = 8
"""Width of the vector of an event's number: there are many events, and a recurrent net to read them."""
D_CLASS = 64
"""Width of the vectors of many classes."""
MOST_STRENGTH = 64.0
"""Strengths above say no more than that a column alone explains nothing: it may still matter beside others."""


@dataclass(frozen=True)
class NetworkSettings:
    """The estimator's settings that shape its network; `EmbeddingClassifier` describes them."""

    dim: int | str
    unknown_rate: float
    numbers: str
    history: str
    d_history: int
    pooling: str
    l2: float = 0.0
    offsets: bool = False
    d_number: int = 1
    backbone: str = "mlp"
    hidden: tuple[int, ...] = ()
    dropout: float = 0.0
    n_members: int = 1
    n_networks: int = 1
    has_sequences: bool = False
    classes: np.ndarray | None = None
    """Classes that have vectors, as there are many."""
    answers: str | None = None
    """Field of the earlier events that holds such classes."""


def build_networks(
    encoder: Encoder, effects: Effects | None, bias: Tensor, settings: NetworkSettings, n_rows: int
) -> Network:
    """A new network, or an ensemble of several, for rows of this encoder, started from torch's random state."""
    networks = [
        _build_network(encoder, effects, bias, settings, n_rows) for _ in range(settings.n_networks)
    ]
    return networks[0] if len(networks) == 1 else NetworkEnsemble(networks)


def build_reader(encoder: Encoder, settings: NetworkSettings, n_rows: int) -> Reader:
    """A new network that reads the histories of rows alone."""
    tables = _start(_specs(encoder, None, settings, n_rows), table_of=[])
    read = [
        _history(HistoryNetwork, encoder, own, tables, settings, n_rows) for own in encoder.inputs_[1:]
    ]
    return Reader(tables, read)


def _specs(
    encoder: Encoder, effects: Effects | None, settings: NetworkSettings, n_rows: int
) -> list[TableSpec]:
    return [_table_spec(name, encoder, effects, settings, n_rows) for name in encoder.schema.tables]


def _start(specs: list[TableSpec], table_of: list[int]) -> Tables:
    return Tables(specs, table_of, torch.Generator().manual_seed(int(torch.randint(2**31, ()).item())))


def _build_network(
    encoder: Encoder, effects: Effects | None, bias: Tensor, settings: NetworkSettings, n_rows: int
) -> TabularNetwork:
    rows, *histories = encoder.inputs_
    specs, table_of = _specs(encoder, effects, settings, n_rows), _tables_read(encoder, rows)
    tables = _start(specs, table_of)
    numbers = _numbers(rows, settings, settings.d_number)
    kinds = [HistoryNetwork] * len(histories)
    if settings.has_sequences:  # the last one is of the events before the row in its own sequence
        kinds[-1] = SequenceNetwork
    read = [
        _history(kind, encoder, inputs, tables, settings, n_rows)
        for kind, inputs in zip(kinds, histories)
    ]
    d_effects = math.prod(effects.shape) if effects else 0
    d_joined = tables.dim + numbers.dim + d_effects + sum(history.dim for history in read)
    backbone = BACKBONES[settings.backbone](
        d_joined, settings.hidden, settings.dropout, settings.n_members
    )
    dropout = _cell_dropout(encoder, rows, settings.unknown_rate, n_rows, effects)
    has_offsets = settings.offsets and table_of and settings.classes is None
    offsets = _offsets(specs, table_of, len(bias)) if has_offsets else None
    vectors = (
        None
        if settings.classes is None
        else _class_vectors(settings.classes, settings.answers, encoder, tables)
    )
    return TabularNetwork(
        dropout, tables, numbers, backbone, settings.n_members, bias, offsets, read, vectors
    )


def _class_vectors(
    classes: np.ndarray, answers: str | None, encoder: Encoder, tables: Tables
) -> tuple[int, tuple[Tables, int, Tensor] | None]:
    """Width of the vectors of many classes, and the table that holds them where earlier events have such answers."""
    if answers is None:
        return D_CLASS, None
    fields = [feature.name for feature in encoder.inputs_[-1].schema.categorical]
    t = _tables_read(encoder, encoder.inputs_[-1])[fields.index(answers)]
    places = (
        encoder.vocabularies_[list(encoder.schema.tables)[t]].labels().get_indexer(pd.Index(classes))
    )
    codes = torch.from_numpy(np.where(places < 0, UNKNOWN, places + N_SPECIAL))
    return tables.vectors(t).shape[1], (tables, t, codes)


def _tables_read(encoder: Encoder, inputs: Inputs) -> list[int]:
    """Position of the table that each categorical feature of rows or events reads."""
    position = {name: t for t, name in enumerate(encoder.schema.tables)}
    return [position[name] for name in encoder.schema.tables_of(inputs.schema.categorical)]


def _numbers(inputs: Inputs, settings: NetworkSettings, d_number: int) -> NumberEncoding:
    edges = [scale.edges for scale in inputs.scales]
    return NUMBER_ENCODINGS[settings.numbers if edges else "scale"](edges, d_number)


def _history(
    kind: type[HistoryNetwork],
    encoder: Encoder,
    inputs: Inputs,
    tables: Tables,
    settings: NetworkSettings,
    n_rows: int,
) -> HistoryNetwork:
    columns, numbers = (
        tables.read_by(_tables_read(encoder, inputs)),
        _numbers(inputs, settings, D_EVENT_NUMBER),
    )
    pooling = "last" if kind is SequenceNetwork else settings.pooling  # of what is known before an event
    network = HISTORY_ENCODERS[settings.history](columns.dim + numbers.dim, settings.d_history, pooling)
    return kind(_cell_dropout(encoder, inputs, settings.unknown_rate, n_rows), columns, numbers, network)


def _offsets(specs: list[TableSpec], table_of: list[int], n_outputs: int) -> Tables:
    """Tables as wide as the output, from zero, under the priors of the tables that the columns read."""
    flat = [TableSpec(s.n_rows, n_outputs, s.prior, init=0.0, sparse=s.sparse) for s in specs]
    return Tables(flat, table_of)


def _cell_dropout(
    encoder: Encoder, inputs: Inputs, rate: float, n_rows: int, effects: Effects | None = None
) -> CellDropout:
    vocabularies = encoder.vocabularies_of(inputs)
    rates = [_rates(vocabulary, base_rate(rate, n_rows)) for vocabulary in vocabularies]
    as_missing = [vocabulary.counts[MISSING] == 0 for vocabulary in vocabularies]
    number_rates = [0.0 if scale.has_missing else rate for scale in inputs.scales]
    return CellDropout(rates, as_missing, number_rates, effects.reads if effects else None)


def _rates(vocabulary: Vocabulary, rate: float) -> np.ndarray:
    rates = hiding_rates(vocabulary.counts, rate) if rate else np.zeros(len(vocabulary))
    rates[:N_SPECIAL] = 0
    return rates


def _table_spec(
    name: str, encoder: Encoder, effects: Effects | None, settings: NetworkSettings, n_rows: int
) -> TableSpec:
    table, vocabulary = encoder.schema.tables[name], encoder.vocabularies_[name]
    given = (
        None if table.pretrained is None else _check_given(name, given_vectors(name, table.pretrained))
    )
    dim = _dim(name, table, settings, given, vocabulary)
    return TableSpec(
        n_rows=len(vocabulary),
        dim=dim,
        prior=_prior(vocabulary, settings, table, n_rows) * _relative_strength(name, encoder, effects),
        init=table.init,
        max_norm=table.max_norm,
        norm_type=table.norm_type,
        scale_grad_by_freq=table.scale_grad_by_freq,
        sparse=table.sparse,
        vectors=None if given is None else _matched(given, vocabulary, name),
        frozen=table.frozen,
        n_special=N_SPECIAL,
    )


def _prior(vocabulary: Vocabulary, settings: NetworkSettings, table: Table, n_rows: int) -> np.ndarray:
    """Pull to zero of each code: the strength divided by how often the code is read in one pass."""
    counts = vocabulary.counts.copy()
    counts[[UNKNOWN, MISSING]] += base_rate(settings.unknown_rate, n_rows) * n_rows
    return (settings.l2 if table.l2 is None else table.l2) / np.maximum(counts, 1)


def _relative_strength(name: str, encoder: Encoder, effects: Effects | None) -> float:
    """How much less the vectors of a table deserve trust than those of typical columns, as its effects are noisier.

    The square root, between the columns' own strength and the typical one: vectors are for more than these effects.
    """
    columns = [i for i, own in enumerate(encoder.schema.table_names) if own == name]
    if effects is None or not columns:
        return 1.0
    strengths = np.minimum(effects.input_strength_[columns], MOST_STRENGTH)
    return float(np.exp(np.log(strengths / TYPICAL_STRENGTH).mean() / 2))


def _dim(
    name: str,
    table: Table,
    settings: NetworkSettings,
    given: pd.DataFrame | None,
    vocabulary: Vocabulary,
) -> int:
    if given is None:
        return table_dim(settings.dim if table.dim is None else table.dim, len(vocabulary.categories))
    if table.dim is not None and table.dim != given.shape[1]:
        raise ValueError(
            f"Table {name!r} has dim={table.dim!r}, but its pretrained vectors have the width {given.shape[1]}."
        )
    return given.shape[1]


def given_vectors(name: str, pretrained: Any) -> pd.DataFrame:
    """Pretrained vectors as a frame: one row a category, one column a dimension."""
    if isinstance(pretrained, EmbeddingSpace):
        return pd.DataFrame(pretrained.vectors, index=pretrained.categories)
    if isinstance(pretrained, pd.DataFrame):
        return pretrained
    if not isinstance(pretrained, Mapping):
        raise TypeError(
            f"Table {name!r}: pretrained must be an EmbeddingSpace, a DataFrame indexed by category or a mapping from "
            f"category to vector; got {type(pretrained).__name__}."
        )
    widths = {np.size(vector) for vector in pretrained.values()}
    if len(widths) != 1:
        raise ValueError(
            f"Table {name!r}: pretrained vectors must all have one width; got widths {sorted(widths)}."
        )
    return pd.DataFrame(
        np.stack([np.ravel(v) for v in pretrained.values()]), index=_plain_index(pretrained)
    )


def _check_given(name: str, given: pd.DataFrame) -> pd.DataFrame:
    if not given.index.is_unique:
        twice = given.index[given.index.duplicated()][0]
        raise ValueError(f"Table {name!r}: pretrained has several vectors for category {twice!r}.")
    try:
        finite = np.isfinite(given.to_numpy(np.float64)).all(axis=1)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"Table {name!r}: pretrained vectors must hold numbers alone; {error}."
        ) from error
    if not finite.all():
        raise ValueError(
            f"Table {name!r}: the pretrained vector of category {given.index[~finite][0]!r} is not finite."
        )
    return given


def _plain_index(categories: Mapping) -> pd.Index:
    return pd.Index(list(categories), tupleize_cols=False)


def _matched(given: pd.DataFrame, vocabulary: Vocabulary, name: str) -> np.ndarray:
    """Start vectors by code, (n_codes, dim), NaN for the codes that have none; categories are matched by value."""
    labels = to_arrow(pd.DataFrame({name: pd.Series(list(given.index), dtype=object)}))
    try:
        codes = vocabulary.codes(labels[name], labels.schema.field(name))
    except ValueError:
        raise ValueError(
            f"Table {name!r}: pretrained vectors must be indexed by category; the index holds {given.index[0]!r}, "
            f"while the columns hold {vocabulary.kind} values."
        ) from None
    known = codes >= N_SPECIAL
    if not known.any():
        raise ValueError(
            f"Table {name!r}: none of the {len(given)} pretrained vectors is of a category of its columns."
        )
    vectors = np.full((len(vocabulary), given.shape[1]), np.nan, dtype=np.float32)
    vectors[codes[known]] = given.to_numpy(np.float32)[known]
    return vectors


def spaces_of(encoder: Encoder, network: Network | Reader) -> dict[str, EmbeddingSpace]:
    """The vectors of every table by category, without the special codes; those of several networks side by side."""
    return {
        name: space_of(
            name,
            encoder.vocabularies_[name],
            torch.cat([n.tables.vectors(t) for n in network.networks], 1).numpy(force=True),
        )
        for t, name in enumerate(encoder.schema.tables)
    }


def space_of(name: str, vocabulary: Vocabulary, vectors: np.ndarray) -> EmbeddingSpace:
    """The space of vectors by code, (n_codes, d), without the special codes."""
    counts = vocabulary.counts[N_SPECIAL:]
    whole = counts.astype(np.int64)  # weights of rows may make counts fractions
    return EmbeddingSpace(
        vectors[N_SPECIAL:],
        vocabulary.labels(),
        whole if np.array_equal(whole, counts) else counts,
        name,
    )
