"""The whole network: tables, numbers and histories, a backbone, and a head for each member."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tabemb.network.backbone import Backbone
from tabemb.network.dropout import CellDropout
from tabemb.network.history import EVENT_SCALE, HistoryNetwork, SequenceNetwork
from tabemb.network.inputs import Kept, Prefixes, Ragged, RowInputs
from tabemb.network.numbers import NumberEncoding, squash
from tabemb.network.tables import Tables
from tabemb.network.vectors import VectorInputs


class Output(NamedTuple):
    """The output of a network.

    Shape
    -----
    outputs : (n, n_members, n_outputs); (n, 1, n_outputs) with `ClassVectors`
    hidden  : (n, n_members, d_hidden), the last hidden layer
    penalty : (n,), the tables' prior
    """

    outputs: Tensor
    hidden: Tensor
    penalty: Tensor


class TabularNetwork(nn.Module):
    """Embed categories, encode numbers and histories, and return one output for each member.

    ``biases`` are tables as wide as the output, which add a vector for each category to the output: the
    wide part of Wide & Deep (Cheng et al. 2016), or a random effect of the category. Effects of levels
    are inputs in addition to the vectors. In training some cells are hidden first. Inputs in double
    precision give an output in double precision if the weights outside the tables are doubles too.

    Parameters
    ----------
    dropout : CellDropout
    tables : Tables
    numbers : NumberEncoding
    backbone : Backbone
    head : MemberHeads or ClassVectors
    biases : Tables, optional
    histories : sequence of HistoryNetwork
        One for each of ``inputs.histories``.
    vectors : VectorInputs, optional
        Reads ``inputs.vectors``.

    Shape
    -----
    inputs  : `RowInputs` of n rows
    classes : int64 (m,), the classes to compute outputs of if there are many; None for all
    output  : an :class:`Output`
    """

    histories: Sequence[HistoryNetwork]

    def __init__(
        self,
        dropout: CellDropout,
        tables: Tables,
        numbers: NumberEncoding,
        backbone: Backbone,
        head: MemberHeads | ClassVectors,
        biases: Tables | None = None,
        histories: Sequence[HistoryNetwork] = (),
        vectors: VectorInputs | None = None,
    ) -> None:
        super().__init__()
        self.biases, self.vectors = biases, vectors
        self.histories = nn.ModuleList(histories)  # type: ignore[assignment]
        self.dropout, self.tables = dropout, tables
        self.numbers: NumberEncoding = numbers
        self.backbone: Backbone = backbone
        self.head = head

    @property
    def d_hidden(self) -> int:
        """Width of the last hidden layer."""
        return self.backbone.dim

    @property
    def networks(self) -> Sequence[TabularNetwork]:
        """The networks that are trained one after another: only this one."""
        return [self]

    @property
    def _sequence_networks(self) -> list[SequenceNetwork]:
        return [network for network in self.histories if isinstance(network, SequenceNetwork)]

    @property
    def d_state(self) -> int:
        """Width of the state that is kept of a sequence."""
        return sum(network.encoder.d_state for network in self._sequence_networks)

    def advance(self, sequences: Prefixes) -> Tensor:
        """Return the state after each sequence, (n_sequences, d_state)."""
        return self._sequence_networks[0].advance(sequences, self.tables)[1]

    def carry(self, parts: Prefixes) -> None:
        """Start every part of a cut sequence from the state after the previous part."""
        self._sequence_networks[0].carry(parts, self.tables)

    def queries(self, hidden: Tensor) -> Tensor:
        """Turn last hidden layers into queries, (n, d), for comparison with many class vectors.

        Their dot products with `class_vectors` are the outputs; the last coordinate, 1, adds the bias.
        """
        assert isinstance(self.head, ClassVectors)
        queries = self.head.queries(hidden)
        return torch.cat([queries, queries.new_ones(len(queries), 1)], dim=1)

    def class_vectors(self) -> Tensor:
        """Return the vectors of many classes, (n_classes, d); the last coordinate is the bias."""
        assert isinstance(self.head, ClassVectors)
        return torch.cat([self.head.compared(), self.head.bias], dim=1)

    def column_weights(self) -> list[Tensor] | None:
        """Return the first layer's weights of each categorical column, (n_members x d_out, dim) each.

        They determine how far apart two categories are for the network. None if the backbone has no such
        layer.
        """
        weights, columns = self.backbone.first_weights(), self.tables.columns
        if weights is None:
            return None
        widths = {
            column: self.tables.groups[group].weight.shape[1]
            for group in columns.groups
            for column in columns.of(group).tolist()
        }
        blocks = dict(zip(widths, weights[:, : self.tables.dim].split(list(widths.values()), dim=1)))
        return [blocks[column] for column in sorted(blocks)]

    def forward(self, inputs: RowInputs, classes: Tensor | None = None) -> Output:
        codes, numbers, effects = self.dropout(inputs.codes, inputs.numbers, inputs.effects)
        vectors, penalty = self.tables(codes)  # (n, d_tables)
        parts = [vectors, self.numbers(numbers), squash(effects).flatten(1)]
        if self.vectors is not None:
            parts.append(self.vectors(inputs.vectors))
        for network, history in zip(self.histories, inputs.histories):
            vector, history_penalty = network(history, self.tables)  # (n, d_history)
            parts.append(vector)
            penalty = penalty + history_penalty
        hidden = self.backbone(torch.cat(parts, dim=1))  # (n, n_members, d_hidden)
        outputs = self.head(hidden, classes)  # (n, n_members, n_outputs)
        if self.biases is not None:
            biases, bias_penalty = self.biases(codes)  # (n, n_categorical x n_outputs)
            outputs = outputs + biases.view(len(codes), 1, -1, outputs.shape[-1]).sum(2)
            penalty = penalty + bias_penalty
        return Output(outputs, hidden, penalty)


class Reader(nn.Module):
    """Read only histories, and return one vector for the events of each row.

    Shape
    -----
    input  : `RowInputs` of n rows, with one `Ragged` for each of ``histories``
    output : (n, dim)
    """

    histories: Sequence[HistoryNetwork]

    def __init__(self, tables: Tables, histories: Sequence[HistoryNetwork]) -> None:
        super().__init__()
        self.tables, self.histories = tables, nn.ModuleList(histories)  # type: ignore[assignment]
        self.dim = sum(history.encoder.dim for history in histories)

    @property
    def networks(self) -> Sequence[Reader]:
        """The networks that have tables: only this one."""
        return [self]

    def forward(self, inputs: RowInputs) -> Tensor:
        vectors = []
        for network, history in zip(self.histories, inputs.histories):
            assert isinstance(history, Ragged)
            vectors.append(network.encode(history, self.tables))
        return torch.cat(vectors, dim=1)


class NetworkEnsemble(nn.Module):
    """Networks of equal shape without shared weights; their members form the ensemble.

    Shape
    -----
    as `TabularNetwork`, with the last hidden layers concatenated
    """

    networks: Sequence[TabularNetwork]

    def __init__(self, networks: Sequence[TabularNetwork]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)  # type: ignore[assignment]

    @property
    def d_hidden(self) -> int:
        """Width of the concatenated last hidden layers."""
        return sum(network.d_hidden for network in self.networks)

    @property
    def d_state(self) -> int:
        """Width of the concatenated states that are kept of a sequence."""
        return sum(network.d_state for network in self.networks)

    def advance(self, sequences: Prefixes) -> Tensor:
        """Return the states after each sequence, (n_sequences, d_state)."""
        states = []
        for start, network in self._with_starts():
            states.append(network.advance(sequences.narrow(start, network.d_state)))
        return torch.cat(states, dim=1)

    def queries(self, hidden: Tensor) -> Tensor:
        """Return the queries of all networks, concatenated and divided by the number of networks."""
        parts = hidden.split([network.d_hidden for network in self.networks], dim=2)
        each = [network.queries(part) for network, part in zip(self.networks, parts)]
        return torch.cat(each, dim=1) / len(each)

    def class_vectors(self) -> Tensor:
        """Return the vectors of many classes, concatenated over networks."""
        return torch.cat([network.class_vectors() for network in self.networks], dim=1)

    def _with_starts(self) -> list[tuple[int, TabularNetwork]]:
        """Return each network with the position of the first column of its states."""
        widths = [network.d_state for network in self.networks]
        return [(sum(widths[:i]), network) for i, network in enumerate(self.networks)]

    def forward(self, inputs: RowInputs, classes: Tensor | None = None) -> Output:
        results = []
        for start, network in self._with_starts():
            histories = (
                history.narrow(start, network.d_state)
                if isinstance(history, Prefixes | Kept)
                else history
                for history in inputs.histories
            )
            results.append(network(replace(inputs, histories=tuple(histories)), classes))
        outputs, hidden, penalties = zip(*results)
        return Output(
            torch.cat(outputs, dim=1), torch.cat(hidden, dim=2), torch.stack(penalties).mean(0)
        )


Network = TabularNetwork | NetworkEnsemble


class _Double(NamedTuple):
    """A copy in double precision, and the state of the weights that it was copied from."""

    network: Network
    weights: list[nn.Parameter]
    state: list[tuple[int, int]]


_DOUBLES: WeakKeyDictionary[Network, _Double] = WeakKeyDictionary()


def in_double_precision(network: Network) -> Network:
    """Return a copy of the network in double precision, which shares the tables.

    Copying takes longer than the forward pass of one row, so the copy is kept until a weight changes.
    """
    kept = _DOUBLES.get(network)
    if kept is None or kept.state != _state(kept.weights):
        weights = list(network.parameters())
        kept = _DOUBLES[network] = _Double(_doubled(network), weights, _state(weights))
    return kept.network


def _state(weights: Sequence[nn.Parameter]) -> list[tuple[int, int]]:
    """Return the address of each weight, and how often it was written to."""
    return [(weight.data_ptr(), weight._version) for weight in weights]


def _doubled(network: Network) -> Network:
    double = copy.deepcopy(
        network, {id(module): module for module in network.modules() if isinstance(module, Tables)}
    )
    for name, weight in double.named_parameters():
        if not {"tables", "biases"}.intersection(name.split(".")):
            weight.data = weight.data.double()
    return double


class MemberHeads(nn.Module):
    """One linear map for each member, whose bias starts at the given output.

    Shape
    -----
    input  : (n, n_members, d_in)
    output : (n, n_members, n_outputs)
    """

    def __init__(self, n_members: int, d_in: int, bias: Tensor) -> None:
        super().__init__()
        bound = 1 / math.sqrt(max(d_in, 1))
        self.weight = nn.Parameter(torch.empty(n_members, d_in, len(bias)).uniform_(-bound, bound))
        self.bias = nn.Parameter(bias.expand(n_members, -1).clone())

    def forward(self, hidden: Tensor, classes: Tensor | None = None) -> Tensor:
        """Return the outputs of all classes; only `ClassVectors` uses ``classes``."""
        return torch.einsum("nkd,kdo->nko", hidden, self.weight) + self.bias


class TiedClasses(NamedTuple):
    """Where the class vectors are stored: tables, position of the table, code of each class."""

    tables: Tables
    table: int
    codes: Tensor


class ClassVectors(nn.Module):
    """A vector for each of many classes, whose dot product with the mapped hidden layer is the output.

    The members' mapped hidden layers are averaged, so the output is one dot product, and a step compares
    the classes once instead of once for each member.

    If earlier events contain such classes, both read the same vectors ("tied", Press & Wolf 2017). It is
    then easy to learn that a class is repeated, or occurs together with earlier classes.

    Parameters
    ----------
    tied : TiedClasses, optional
        The table that contains the vectors.
    sparse : bool, default=True
        Whether a step updates only the classes that it computes outputs of.

    Shape
    -----
    input  : (n, n_members, d_in), and the classes (m,) to compute outputs of, None for all
    output : (n, 1, m)
    """

    def __init__(
        self,
        n_members: int,
        d_in: int,
        bias: Tensor,
        d_class: int,
        tied: TiedClasses | None = None,
        sparse: bool = True,
    ) -> None:
        super().__init__()
        self.is_sparse = sparse
        self.query = MemberHeads(n_members, d_in, torch.zeros(d_class))
        self.bias = nn.Parameter(bias.unsqueeze(1).clone())
        self.vectors: Tensor = nn.Parameter(0.1 * torch.randn(0 if tied else len(bias), d_class))
        self.tied = tied  # in a tuple, because the tables belong to the network, not to its head

    def forward(self, hidden: Tensor, classes: Tensor | None = None) -> Tensor:
        classes = torch.arange(len(self.bias), device=self.bias.device) if classes is None else classes
        bias = F.embedding(classes, self.bias, sparse=self.is_sparse)  # (m, 1)
        vectors = EVENT_SCALE * self._vectors(classes)
        queries = self.queries(hidden)
        outputs: Tensor = queries @ vectors.T.to(queries.dtype) + bias.T
        return outputs.unsqueeze(1)

    def queries(self, hidden: Tensor) -> Tensor:
        """Return the vectors that are compared with the class vectors, (n, d_class)."""
        queries: Tensor = self.query(hidden).mean(1)
        return queries

    def compared(self) -> Tensor:
        """Return the vectors of all classes, to compare `queries` with, (n_classes, d_class)."""
        return EVENT_SCALE * self._vectors(torch.arange(len(self.bias), device=self.bias.device))

    def _vectors(self, classes: Tensor) -> Tensor:
        if self.tied is None:
            return F.embedding(classes, self.vectors, sparse=self.is_sparse)
        tables, table, codes = self.tied
        return tables.read(table, codes.to(classes.device)[classes])
