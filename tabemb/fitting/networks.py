"""From a fitted encoder to a network of plain sizes."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from tabemb.data.effects import Effects
from tabemb.data.encoding import Encoder, Inputs
from tabemb.data.schema import Table
from tabemb.data.vocabulary import MISSING, N_SPECIAL, UNKNOWN, Vocabulary
from tabemb.fitting.pretrained import check_vectors, given_vectors, match_vectors
from tabemb.fitting.target_values import label_column
from tabemb.fitting.trees import Trees
from tabemb.network.backbone import BACKBONES
from tabemb.network.dropout import CellDropout, base_rate, hiding_rates
from tabemb.network.history import (
    HISTORY_ENCODERS,
    BagOfWords,
    ByCategory,
    HistoryEncoder,
    HistoryNetwork,
    SequenceNetwork,
    StepPool,
)
from tabemb.network.model import (
    ClassVectors,
    MemberHeads,
    Network,
    NetworkEnsemble,
    Reader,
    TabularNetwork,
    TiedClasses,
)
from tabemb.network.numbers import NUMBER_ENCODINGS, NumberEncoding
from tabemb.network.pairs import Tower
from tabemb.network.tables import Tables, TableSpec, table_dim
from tabemb.network.vectors import VectorInputs
from tabemb.spaces.space import EmbeddingSpace
from tabemb.targets import Target

TYPICAL_STRENGTH = 2.0
"""Shrinkage strength of a column's effects at which ``l2`` applies unchanged."""
D_EVENT_NUMBER = 8
"""Width of the vector of an event's number: there are many events, and a recurrent net to read them."""
FEW_EVENTS = 50
"""Events per row up to which tables that only events read have the full prior. With more, a vector
matters little in each row, and the full prior would pull it to zero before it is learned."""
D_CLASS = 64
"""Width of the vectors of many classes."""
MOST_STRENGTH = 64.0
"""Upper bound of the strength: a column that explains nothing alone may matter together with others."""


@dataclass(frozen=True)
class NetworkSettings:
    """The settings that shape a network; `EmbeddingClassifier` describes those that it shares."""

    dim: int | str
    unknown_rate: float
    numbers: str
    history: str
    d_history: int
    pooling: str
    l2: float = 0.0
    biases: bool = False
    d_number: int = 1
    backbone: str = "mlp"
    hidden: tuple[int, ...] = ()
    dropout: float = 0.0
    n_members: int = 1
    n_networks: int = 1
    has_sequences: bool = False
    """Whether the last history is the earlier events of the row's own sequence."""
    target_field: str | None = None
    """Field of the earlier events that contains their targets."""
    merge_ties: bool = False
    """Whether the events of a sequence at one time are one step of the history encoder."""

    @classmethod
    def of(cls, settings: Any, **more: Any) -> Self:
        """Take the fields that an object with settings has, and ``more``."""
        given = {f.name: getattr(settings, f.name) for f in fields(cls) if hasattr(settings, f.name)}
        return cls(**given | more)


def build_networks(
    encoder: Encoder,
    effects: Effects | None,
    trees: Trees | None,
    target: Target,
    settings: NetworkSettings,
    n_rows: int,
) -> Network:
    """Return a new network, or an ensemble of several, initialised from torch's random state.

    Parameters
    ----------
    encoder : Encoder
    effects : Effects, optional
    trees : Trees, optional
    target : Target
        Gives the number of outputs, their starting values, and the classes if there are many.
    settings : NetworkSettings
    n_rows : int
        Number of training rows, which the priors and the share of hidden cells depend on.
    """
    networks = [
        _build_network(encoder, effects, trees, target, settings, n_rows)
        for _ in range(settings.n_networks)
    ]
    return networks[0] if len(networks) == 1 else NetworkEnsemble(networks)


def build_reader(encoder: Encoder, settings: NetworkSettings, n_rows: int) -> Reader:
    """Return a new network that reads only the histories of rows."""
    tables = _start(_specs(encoder, None, settings, n_rows), table_of=[])
    networks = [
        _history(HistoryNetwork, encoder, inputs, tables, settings, n_rows)
        for inputs in encoder.inputs_[1:]
    ]
    return Reader(tables, networks)


def build_tower(
    encoder: Encoder,
    settings: NetworkSettings,
    n_rows: int,
    is_normalized: bool = False,
    base: np.ndarray | None = None,
    dropout_rate: float = 0.0,
) -> Tower:
    """Return a new tower of pairs, whose vectors have the width ``settings.dim``.

    Parameters
    ----------
    encoder : Encoder
        Encodes the rows of one side.
    settings : NetworkSettings
        If ``hidden`` is empty, the vectors of the columns are summed.
    n_rows : int
        Number of training pairs.
    is_normalized, base, dropout_rate
        As in `Tower`.
    """
    rows, dim = encoder.inputs_[0], table_dim(settings.dim, 1)
    specs, table_of = _specs(encoder, None, settings, n_rows), _tables_read(encoder, rows)
    tables = _start(specs, table_of)
    numbers = _numbers(rows, settings, settings.d_number)
    histories = _histories(encoder, tables, settings, n_rows)
    vectors, d_vectors = _vectors(encoder, settings)
    backbone = None
    if settings.hidden:
        d_joined = tables.dim + numbers.dim + sum(history.dim for history in histories) + d_vectors
        backbone = BACKBONES[settings.backbone](d_joined, settings.hidden, settings.dropout, 1)
    elif wrong := next((n for n, s in zip(encoder.schema.tables, specs) if s.dim != dim), None):
        raise ValueError(
            f"Table {wrong!r} must have the width dim={dim}, as the vectors of columns are summed; "
            "leave out its dim, or pass hidden layers."
        )
    biases = _biases(specs, table_of, 1) if settings.biases and table_of else None
    dropout = _cell_dropout(encoder, rows, settings.unknown_rate, n_rows)
    start = None if base is None else torch.as_tensor(base, dtype=torch.float32)
    return Tower(
        dim,
        dropout,
        tables,
        numbers,
        histories,
        backbone,
        biases,
        is_normalized,
        start,
        dropout_rate,
        vectors,
    )


def _specs(
    encoder: Encoder, effects: Effects | None, settings: NetworkSettings, n_rows: int
) -> list[TableSpec]:
    columns: dict[str, list[int]] = {name: [] for name in encoder.schema.tables}
    for i, name in enumerate(encoder.schema.table_names):
        columns[name].append(i)

    def strength(name: str) -> float:
        has_own = encoder.schema.tables[name].l2 is not None
        if columns[name] or settings.has_sequences or has_own:
            return _relative_strength(columns[name], effects)
        return event_strength(encoder.vocabularies_[name].counts, n_rows)

    return [
        _table_spec(name, encoder, settings, n_rows, strength(name)) for name in encoder.schema.tables
    ]


def _start(specs: list[TableSpec], table_of: list[int]) -> Tables:
    seed = int(torch.randint(2**31, ()).item())
    return Tables(specs, table_of, torch.Generator().manual_seed(seed))


def _build_network(
    encoder: Encoder,
    effects: Effects | None,
    trees: Trees | None,
    target: Target,
    settings: NetworkSettings,
    n_rows: int,
) -> TabularNetwork:
    rows = encoder.inputs_[0]
    specs, table_of = _specs(encoder, effects, settings, n_rows), _tables_read(encoder, rows)
    tables = _start(specs, table_of)
    numbers = _numbers(rows, settings, settings.d_number)
    histories = _histories(encoder, tables, settings, n_rows)
    vectors, d_vectors = _vectors(encoder, settings)
    n_terms, d_term = effects.shape if effects else (0, 1)
    d_effects = (n_terms + (trees.width if trees else 0)) * d_term
    d_histories = sum(history.dim for history in histories)
    d_joined = tables.dim + numbers.dim + d_effects + d_vectors + d_histories
    backbone = BACKBONES[settings.backbone](
        d_joined, settings.hidden, settings.dropout, settings.n_members
    )
    dropout = _cell_dropout(encoder, rows, settings.unknown_rate, n_rows, effects, trees)
    has_biases = settings.biases and table_of and not target.has_many_classes
    biases = _biases(specs, table_of, target.n_outputs) if has_biases else None
    head = _head(encoder, target, tables, settings, backbone.dim)
    return TabularNetwork(dropout, tables, numbers, backbone, head, biases, histories, vectors)


def _vectors(encoder: Encoder, settings: NetworkSettings) -> tuple[VectorInputs | None, int]:
    """Return the module that reads the columns of vectors, or None, and its width."""
    scales = encoder.vectors_
    if not scales:
        return None, 0
    rates = [0.0 if scale.has_missing else settings.unknown_rate for scale in scales]
    vectors = VectorInputs([scale.width for scale in scales], rates)
    return vectors, vectors.dim


def _histories(
    encoder: Encoder, tables: Tables, settings: NetworkSettings, n_rows: int
) -> list[HistoryNetwork]:
    kinds: list[type[HistoryNetwork]] = [HistoryNetwork] * (len(encoder.inputs_) - 1)
    if settings.has_sequences:
        kinds[-1] = SequenceNetwork
    are_words = [name in encoder.schema.texts for name in encoder.schema.histories]
    return [
        _history(
            kind,
            encoder,
            inputs,
            tables,
            settings,
            n_rows,
            by=_by_field(inputs) if kind is HistoryNetwork else None,
            encoder_class=BagOfWords if is_words else None,
        )
        for kind, inputs, is_words in zip(kinds, encoder.inputs_[1:], are_words)
    ]


def _head(
    encoder: Encoder, target: Target, tables: Tables, settings: NetworkSettings, d_in: int
) -> MemberHeads | ClassVectors:
    if not target.has_many_classes:
        return MemberHeads(settings.n_members, d_in, target.bias)
    if settings.target_field is None:
        return ClassVectors(settings.n_members, d_in, target.bias, D_CLASS, sparse=target.is_sampled)
    tied = _tied(encoder, tables, settings.target_field, target.classes_)
    d_class = tables.vectors(tied.table).shape[1]
    return ClassVectors(settings.n_members, d_in, target.bias, d_class, tied, sparse=target.is_sampled)


def _tied(encoder: Encoder, tables: Tables, field: str, classes: np.ndarray) -> TiedClasses:
    """Find the vectors of the classes in the table for the targets of the earlier events."""
    events = encoder.inputs_[-1]
    names = [feature.name for feature in events.schema.categorical]
    table = _tables_read(encoder, events)[names.index(field)]
    vocabulary = encoder.vocabularies_[list(encoder.schema.tables)[table]]
    labels = label_column(classes, classes, field)
    if vocabulary.n_hashed:
        name = list(encoder.schema.tables)[table]
        raise ValueError(
            f"Table {name!r} must not have rest='hash', as the classes have its vectors and each needs "
            "its own; pass rest='unknown' or no max_size."
        )
    codes = vocabulary.codes(pa.chunked_array([labels.array]), labels.field(field))
    return TiedClasses(tables, table, torch.from_numpy(codes))


def _tables_read(encoder: Encoder, inputs: Inputs) -> list[int]:
    """Return the position of the table that each categorical feature of rows or events reads."""
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
    by: int | None = None,
    encoder_class: type[HistoryEncoder] | None = None,
) -> HistoryNetwork:
    """Return the network of a history.

    ``by`` is the field whose categories are pooled one by one; ``encoder_class`` replaces the encoder
    that the settings name.
    """
    columns = tables.read_by(_tables_read(encoder, inputs))
    numbers = _numbers(inputs, settings, D_EVENT_NUMBER)
    # a row of a sequence sees the state before it, which has no later states to pool
    pooling = "last" if kind is SequenceNetwork else settings.pooling
    d_event = columns.dim + numbers.dim
    in_steps = settings.merge_ties if kind is SequenceNetwork else inputs.schema.in_steps
    pool = StepPool(d_event, settings.d_history) if in_steps else None
    encoder_class = encoder_class or HISTORY_ENCODERS[settings.history]
    history_encoder = encoder_class(pool.dim if pool else d_event, settings.d_history, pooling)
    dropout = _cell_dropout(encoder, inputs, settings.unknown_rate, n_rows)
    by_category = None if by is None else ByCategory(by, d_event, settings.d_history)
    return kind(dropout, columns, numbers, history_encoder, pool, by_category)


def _by_field(inputs: Inputs) -> int | None:
    """Return the position of the categorical field that a number is scaled within, or None."""
    names = [feature.name for feature in inputs.schema.categorical]
    return next((names.index(within.by) for within in inputs.within.values()), None)


def _biases(specs: list[TableSpec], table_of: list[int], n_outputs: int) -> Tables:
    """Return tables as wide as the output, all zeros, with the priors of the columns' tables."""
    flat = [TableSpec(s.n_rows, n_outputs, s.prior, init=0.0, sparse=s.sparse) for s in specs]
    return Tables(flat, table_of)


def _cell_dropout(
    encoder: Encoder,
    inputs: Inputs,
    rate: float,
    n_rows: int,
    effects: Effects | None = None,
    trees: Trees | None = None,
) -> CellDropout:
    vocabularies = encoder.vocabularies_of(inputs)
    rates = [_rates(vocabulary, base_rate(rate, n_rows)) for vocabulary in vocabularies]
    as_missing = [vocabulary.counts[MISSING] == 0 for vocabulary in vocabularies]
    number_rates = [0.0 if scale.has_missing else rate for scale in inputs.scales]
    n_inputs = len(rates) + len(number_rates)
    none = np.zeros((0, n_inputs), bool)
    reads, expects = (effects.reads, effects.expects) if effects else (none, none)
    if trees is not None:
        reads = np.concatenate([reads, np.tile(trees.decisive, (trees.width, 1))])
        expects = np.concatenate([expects, np.zeros((trees.width, n_inputs), bool)])
    return CellDropout(rates, as_missing, number_rates, reads, expects)


def _rates(vocabulary: Vocabulary, rate: float) -> np.ndarray:
    rates = hiding_rates(vocabulary.counts, rate) if rate else np.zeros(len(vocabulary))
    rates[:N_SPECIAL] = 0
    return rates


def _table_spec(
    name: str, encoder: Encoder, settings: NetworkSettings, n_rows: int, strength: float
) -> TableSpec:
    table, vocabulary = encoder.schema.tables[name], encoder.vocabularies_[name]
    given = (
        None if table.pretrained is None else check_vectors(name, given_vectors(name, table.pretrained))
    )
    dim = _dim(name, table, settings, given, vocabulary)
    return TableSpec(
        n_rows=len(vocabulary),
        dim=dim,
        prior=_prior(vocabulary, settings, table, n_rows) * strength,
        init=table.init,
        max_norm=table.max_norm,
        norm_type=table.norm_type,
        scale_grad_by_freq=table.scale_grad_by_freq,
        sparse=table.sparse,
        vectors=None if given is None else match_vectors(name, given, vocabulary),
        frozen=table.frozen,
        precision=table.precision,
        n_special=N_SPECIAL,
    )


def _prior(vocabulary: Vocabulary, settings: NetworkSettings, table: Table, n_rows: int) -> np.ndarray:
    """Return the prior of each code: its strength divided by how often an epoch reads the code."""
    counts = vocabulary.counts.copy()
    counts[[UNKNOWN, MISSING]] += base_rate(settings.unknown_rate, n_rows) * n_rows
    strength = settings.l2 if table.l2 is None else table.l2
    return np.asarray(strength / np.maximum(counts, 1))


def event_strength(counts: np.ndarray, n_rows: int) -> float:
    """Return the factor on the prior of a table that only events read: below one for many events.

    Examples
    --------
    >>> event_strength(np.array([0, 0, 400, 600]), n_rows=50), event_strength(np.array([1000]), n_rows=5)
    (1.0, 0.25)
    """
    return FEW_EVENTS / max(float(counts.sum()) / n_rows, FEW_EVENTS)


def _relative_strength(columns: list[int], effects: Effects | None) -> float:
    """Return the factor on the prior of these columns' table: above one where they are noisy.

    The square root is a compromise between no factor and the full one, as vectors contain more than
    these effects.
    """
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
            f"Table {name!r} has dim={table.dim!r}, but its pretrained vectors have width "
            f"{given.shape[1]}."
        )
    return given.shape[1]


def raw_spaces(encoder: Encoder, network: Network | Reader) -> dict[str, EmbeddingSpace]:
    """Return the rows of every table by category; rows of several networks are concatenated."""
    return {
        name: space_of(
            name,
            vocabulary,
            np.concatenate(
                [part.tables.vectors(t)[vocabulary.kept].numpy(force=True) for part in network.networks],
                1,
            ),
        )
        for t, (name, vocabulary) in enumerate(_vocabularies(encoder))
    }


def _vocabularies(encoder: Encoder) -> list[tuple[str, Vocabulary]]:
    """Return the tables in their order, with their vocabularies."""
    return [(name, encoder.vocabularies_[name]) for name in encoder.schema.tables]


def space_of(
    name: str,
    vocabulary: Vocabulary,
    vectors: np.ndarray,
    reliability: np.ndarray | None = None,
    ancestry: tuple[str, ...] = (),
) -> EmbeddingSpace:
    """Return the space of the vectors of a vocabulary's categories, (n_categories, d)."""
    counts = vocabulary.counts[vocabulary.kept]
    whole = counts.astype(np.int64)  # weights of rows may make counts fractions
    exact = whole if np.array_equal(whole, counts) else counts
    space = EmbeddingSpace(vectors, vocabulary.labels(), exact, name, reliability, ancestry)
    space.n_hashed = vocabulary.n_hashed
    return space
