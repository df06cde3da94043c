"""The whole network: tables, numbers and histories joined, a backbone, one linear head for each member."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tabemb.network.backbone import Backbone
from tabemb.network.dropout import CellDropout
from tabemb.network.history import EVENT_SCALE, HistoryNetwork, Kept, Prefixes, Ragged, SequenceNetwork
from tabemb.network.numbers import NumberEncoding, squash
from tabemb.network.tables import Tables

Events = Ragged | Prefixes | Kept
"""What the history networks of a network read."""


class Answer(NamedTuple):
    """Outputs (n, n_members, n_outputs), last hidden layer (n, n_members, d_hidden), the tables' penalty (n,)."""

    outputs: Tensor
    hidden: Tensor
    penalty: Tensor


class TabularNetwork(nn.Module):
    """Embeds the categories, encodes numbers and histories, joins all and answers once for each member.

    ``offsets``, tables as wide as the output, add an effect of each category directly: the wide part of Wide & Deep
    (Cheng et al. 2016), a random effect of the category. With ``class_vectors`` each class has a vector
    (`ClassVectors`).

    Effects of levels, learned before, are inputs beside the vectors. In training some cells are hidden first. Doubles
    as ``numbers`` give an answer in double precision, if the weights outside the tables are doubles too.

    Shape
    -----
    codes   : int32 or int64 (n, n_categorical)
    numbers : float32 (n, n_numbers), NaN where missing
    effects : float32 (n, n_terms, d_term)
    histories : `Ragged` of n rows each, one for each of the network's ``histories``
    classes : int64 (m,), where there are many: those that the outputs are of; None for all
    output  : an :class:`Answer`
    """

    histories: Sequence[HistoryNetwork]

    def __init__(
        self,
        dropout: CellDropout,
        tables: Tables,
        numbers: NumberEncoding,
        backbone: Backbone,
        n_members: int,
        bias: Tensor,
        offsets: Tables | None = None,
        histories: Sequence[HistoryNetwork] = (),
        class_vectors: tuple[int, tuple[Tables, int, Tensor] | None] | None = None,
    ) -> None:
        super().__init__()
        self.offsets = offsets
        self.histories = nn.ModuleList(histories)  # type: ignore[assignment]
        self.dropout, self.tables = dropout, tables
        self.numbers: NumberEncoding = numbers
        self.backbone: Backbone = backbone
        self.head = (
            MemberHeads(n_members, backbone.dim, bias)
            if class_vectors is None
            else ClassVectors(n_members, backbone.dim, bias, *class_vectors)
        )

    @property
    def d_hidden(self) -> int:
        """Width of the last hidden layer."""
        return self.backbone.dim

    @property
    def networks(self) -> Sequence[TabularNetwork]:
        """The networks that are trained one by one: this one."""
        return [self]

    @property
    def _readers(self) -> list[SequenceNetwork]:
        return [network for network in self.histories if isinstance(network, SequenceNetwork)]

    @property
    def d_state(self) -> int:
        """Width of the state that is kept of a sequence."""
        return sum(reader.encoder.d_state for reader in self._readers)

    def advance(self, sequences: Prefixes) -> Tensor:
        """The state after all events of each sequence, (n_sequences, d_state)."""
        return self._readers[0].advance(sequences, self.tables)[1]

    def carry(self, parts: Prefixes) -> None:
        """Let every part of a sequence that was cut start from the state after the part before it."""
        self._readers[0].carry(parts, self.tables)

    def column_weights(self) -> list[Tensor] | None:
        """What the first layer multiplies the vector of each categorical column with, (n_members x d_out, dim) each.

        Two categories are as far apart as these weights make them; None where the backbone has no such layer.
        """
        weights, columns = self.backbone.first_weights(), self.tables.columns
        if weights is None:
            return None
        read = {
            c: self.tables.groups[g].weight.shape[1]
            for g in columns.groups
            for c in columns.of(g).tolist()
        }
        blocks = dict(zip(read, weights[:, : self.tables.dim].split(list(read.values()), dim=1)))
        return [blocks[column] for column in sorted(blocks)]

    def forward(
        self,
        codes: Tensor,
        numbers: Tensor,
        effects: Tensor,
        *histories: Events,
        classes: Tensor | None = None,
    ) -> Answer:
        codes, numbers, effects = self.dropout(codes, numbers, effects)
        vectors, penalty = self.tables(codes)  # (n, d_tables)
        parts = [vectors, self.numbers(numbers), squash(effects).flatten(1)]
        for network, events in zip(self.histories, histories):
            vector, pull = network(events, self.tables)  # (n, d_history)
            parts.append(vector)
            penalty = penalty + pull
        joined = torch.cat(parts, dim=1)  # (n, d_joined)
        hidden = self.backbone(joined)  # (n, n_members, d_hidden)
        outputs = self.head(hidden, classes)
        if self.offsets is not None:
            offsets, pull = self.offsets(codes)  # (n, n_categorical x n_outputs)
            outputs = outputs + offsets.view(len(codes), 1, -1, outputs.shape[-1]).sum(2)
            penalty = penalty + pull
        return Answer(outputs, hidden, penalty)


class Reader(nn.Module):
    """Reads nothing but events: a vector for those of each row.

    Shape
    -----
    input  : `Ragged` of n rows, one for each of ``histories``
    output : (n, dim)
    """

    histories: Sequence[HistoryNetwork]

    def __init__(self, tables: Tables, histories: Sequence[HistoryNetwork]) -> None:
        super().__init__()
        self.tables, self.histories = tables, nn.ModuleList(histories)  # type: ignore[assignment]
        self.dim = sum(history.encoder.dim for history in histories)

    @property
    def networks(self) -> Sequence[Reader]:
        """The networks that have tables: this one."""
        return [self]

    def forward(self, *histories: Ragged) -> Tensor:
        read = []
        for network, events in zip(self.histories, histories):
            vectors, _ = network.embed(events, self.tables)
            read.append(network.encoder(vectors, events))
        return torch.cat(read, dim=1)


class NetworkEnsemble(nn.Module):
    """Networks of one shape that share nothing; the members of all of them are the members of the ensemble.

    Shape
    -----
    as `TabularNetwork`, with the last hidden layers side by side
    """

    networks: Sequence[TabularNetwork]

    def __init__(self, networks: Sequence[TabularNetwork]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)  # type: ignore[assignment]

    @property
    def d_hidden(self) -> int:
        """Width of the last hidden layers side by side."""
        return sum(network.d_hidden for network in self.networks)

    @property
    def d_state(self) -> int:
        """Width of the states that are kept of a sequence, side by side."""
        return sum(network.d_state for network in self.networks)

    def advance(self, sequences: Prefixes) -> Tensor:
        """The states after all events of each sequence, (n_sequences, d_state)."""
        return torch.cat([network.advance(own) for network, (own,) in self._own(sequences)], dim=1)

    def _own(self, *histories: Any) -> Iterator[tuple[TabularNetwork, list[Any]]]:
        """Each network with what it reads: of the states of sequences, those it made."""
        start = 0
        for network in self.networks:
            yield (
                network,
                [h if isinstance(h, Ragged) else h.narrow(start, network.d_state) for h in histories],
            )
            start += network.d_state

    def forward(self, codes: Tensor, numbers: Tensor, effects: Tensor, *histories: Events) -> Answer:
        answers = (network(codes, numbers, effects, *own) for network, own in self._own(*histories))
        outputs, hidden, penalties = zip(*answers)
        return Answer(
            torch.cat(outputs, dim=1), torch.cat(hidden, dim=2), torch.stack(penalties).mean(0)
        )


Network = TabularNetwork | NetworkEnsemble


class _Double(NamedTuple):
    """A copy in double precision, and what it was copied from."""

    network: Network
    weights: list[nn.Parameter]
    state: list[tuple[int, int]]


_DOUBLES: WeakKeyDictionary[Network, _Double] = WeakKeyDictionary()


def in_double_precision(network: Network) -> Network:
    """The same network with doubles as weights, outside the tables, which are only read from and are shared.

    Copying takes longer than answering a row, so the copy is kept until a weight changes.
    """
    known = _DOUBLES.get(network)
    if known is None or known.state != _state(known.weights):
        weights = list(network.parameters())
        known = _DOUBLES[network] = _Double(_doubled(network), weights, _state(weights))
    return known.network


def _state(weights: Sequence[nn.Parameter]) -> list[tuple[int, int]]:
    """Where the weights lie, and how often they were written to."""
    return [(weight.data_ptr(), weight._version) for weight in weights]


def _doubled(network: Network) -> Network:
    double = copy.deepcopy(
        network, {id(module): module for module in network.modules() if isinstance(module, Tables)}
    )
    for name, weight in double.named_parameters():
        if not {"tables", "offsets"}.intersection(name.split(".")):
            weight.data = weight.data.double()
    return double


class MemberHeads(nn.Module):
    """A linear map of its own for each member, starting at the given answer.

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
        """The outputs; ``classes``, if any, are all of them."""
        return torch.einsum("nkd,kdo->nko", hidden, self.weight) + self.bias


class ClassVectors(nn.Module):
    """A vector for each of many classes, and its product with what a linear map of each member makes of a row.

    Where the answers of earlier events are read, these are the vectors that they are read as: what comes again, or
    comes with what came before, is near at hand ("tied", Press & Wolf 2017).

    Parameters
    ----------
    tied : (Tables, int, Tensor), optional
        Tables, which of them holds the vectors of the classes, and their codes there.

    Shape
    -----
    input  : (n, n_members, d_in), and the classes (m,) that are asked for, None for all
    output : (n, n_members, m)
    """

    is_sparse = True

    def __init__(
        self,
        n_members: int,
        d_in: int,
        bias: Tensor,
        d_class: int,
        tied: tuple[Tables, int, Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.query = MemberHeads(n_members, d_in, torch.zeros(d_class))
        self.bias = nn.Parameter(bias.unsqueeze(1).clone())
        self.vectors: Tensor = nn.Parameter(0.1 * torch.randn(0 if tied else len(bias), d_class))
        self.tied = tied  # in a tuple: the tables belong to the network

    def forward(self, hidden: Tensor, classes: Tensor | None = None) -> Tensor:
        classes = torch.arange(len(self.bias), device=self.bias.device) if classes is None else classes
        bias = F.embedding(classes, self.bias, sparse=True)  # (m, 1)
        return self.query(hidden) @ (EVENT_SCALE * self._vectors(classes)).T.to(hidden.dtype) + bias.T

    def _vectors(self, classes: Tensor) -> Tensor:
        if self.tied is None:
            return F.embedding(classes, self.vectors, sparse=True)
        tables, table, codes = self.tied
        return tables.read(table, codes.to(classes.device)[classes])
