"""A network in a graph: tables, numbers, backbone and head, as their modules compute them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from tabemb.network.backbone import MLP, Backbone, DeepFM, WideDeep
from tabemb.network.model import ClassVectors, MemberHeads, TabularNetwork
from tabemb.network.numbers import (
    EmbeddedBins,
    EmbeddedNumbers,
    NumberEncoding,
    PeriodicNumbers,
    PiecewiseLinearNumbers,
    ScaledNumbers,
)
from tabemb.network.tables import Columns, TableGroup, Tables
from tabemb.network.vectors import LONGEST
from tabemb.saving.onnx.graph import Graph


class NetworkInputs(NamedTuple):
    """What a network reads of n rows, as `RowInputs`; None for what there is nothing of."""

    codes: str | None
    numbers: str | None
    effects: str | None
    vectors: Sequence[str]
    histories: Sequence[str]


def numpy_of(weights: Any) -> np.ndarray:
    """Return weights as float32."""
    return np.asarray(weights.detach().float().cpu())


def network_outputs(graph: Graph, network: TabularNetwork, inputs: NetworkInputs) -> str:
    """Return the outputs of the members, float32 (n, n_members, n_outputs); 1 member of many classes."""
    parts = []
    if inputs.codes is not None:
        parts.append(table_vectors(graph, network.tables, inputs.codes))
    if inputs.numbers is not None:
        parts.append(number_vectors(graph, network.numbers, inputs.numbers))
    if inputs.effects is not None:
        parts.append(graph.add("Flatten", graph.squash(inputs.effects), axis=1))
    parts += [*(scaled_vectors(graph, v) for v in inputs.vectors), *inputs.histories]
    hidden = backbone_vectors(graph, network.backbone, graph.concat(parts, 1))
    outputs = _head(graph, network.head, hidden)
    if network.biases is not None and inputs.codes is not None:
        biases = table_vectors(graph, network.biases, inputs.codes)
        n_outputs = network.biases.groups[0].weight.shape[1]
        by_column = graph.reshape(biases, [0, -1, n_outputs])
        axis = graph.constant([1], np.int64)
        outputs = graph.add("Add", outputs, graph.add("ReduceSum", by_column, axis, keepdims=1))
    return outputs


def table_vectors(
    graph: Graph, tables: Tables, codes: str, columns: Columns | None = None, scale: float = 1.0
) -> str:
    """Return the vectors of codes (n, n_columns), group by group: (n, dim)."""
    columns = tables.columns if columns is None else columns
    n_columns = len(columns.firsts)
    rows = graph.add("Add", codes, graph.constant(columns.firsts.cpu().numpy()))
    parts = []
    for group in columns.groups:
        chosen = graph.columns(rows, columns.of(group).tolist(), n_columns)
        weight = graph.constant(scale * _as_read(tables.groups[group]), np.float32)
        vectors = graph.add("Gather", weight, chosen, axis=0)
        parts.append(graph.add("Flatten", vectors, axis=1))
    return graph.concat(parts, 1)


def _as_read(group: TableGroup) -> np.ndarray:
    """Return the vectors of a group; those that are too long are cut when they are read."""
    with torch.no_grad():
        rows = torch.arange(len(group.weight), device=group.weight.device)
        weight = group.weight.detach().clone().float()
        return numpy_of(F.embedding(rows, weight, None, group.max_norm, group.norm_type))


def number_vectors(graph: Graph, encoding: NumberEncoding, numbers: str) -> str:
    """Return numbers (n, n_numbers), NaN where missing, as the inputs that an encoding makes of them."""
    if isinstance(encoding, PiecewiseLinearNumbers):
        return _piecewise(graph, encoding, numbers)
    missing = graph.add("IsNaN", numbers)
    present = graph.where(missing, graph.constant(0, np.float32), numbers)
    if isinstance(encoding, ScaledNumbers):
        return graph.concat([graph.squash(present), graph.cast(missing, np.float32)], 1)
    assert isinstance(encoding, PeriodicNumbers)
    return _embedded(graph, encoding, missing, present, _cosines(graph, encoding, present))


def _cosines(graph: Graph, encoding: PeriodicNumbers, present: str) -> str:
    frequency = graph.constant(2 * math.pi * numpy_of(encoding.frequency), np.float32)
    angle = graph.add("Mul", graph.unsqueeze(graph.squash(present), -1), frequency)
    return graph.add("Cos", graph.add("Add", angle, graph.constant(numpy_of(encoding.phase))))


def _embedded(graph: Graph, encoding: EmbeddedNumbers, missing: str, present: str, terms: str) -> str:
    """Return the vectors of numbers from their terms, (n, n_numbers, n_terms)."""
    flags = graph.unsqueeze(missing, -1)
    terms = graph.concat([terms, graph.unsqueeze(graph.squash(present), -1)], 2)
    terms = graph.where(flags, graph.constant(0, np.float32), terms)
    terms = graph.concat([terms, graph.cast(flags, np.float32)], 2)
    by_number = graph.add("Transpose", terms, perm=[1, 0, 2])
    vectors = graph.add("MatMul", by_number, graph.constant(numpy_of(encoding.weight)))
    vectors = graph.add("Add", vectors, graph.constant(numpy_of(encoding.bias)))
    return graph.add("Flatten", graph.add("Transpose", vectors, perm=[1, 0, 2]), axis=1)


def _piecewise(graph: Graph, encoding: PiecewiseLinearNumbers, numbers: str) -> str:
    long, short = encoding.long.tolist(), encoding.short.tolist()
    missing = graph.add("IsNaN", numbers)
    present = graph.where(missing, graph.constant(0, np.float32), numbers)
    n_numbers, parts = len(long) + len(short), []
    if long:
        of_long = graph.columns(present, long, n_numbers)
        shares = _shares(graph, encoding.embedded, graph.unsqueeze(of_long, -1))
        is_missing = graph.columns(missing, long, n_numbers)
        parts.append(_embedded(graph, encoding.embedded, is_missing, of_long, shares))
    of_bin = encoding.short_of_bin.tolist()
    if of_bin:
        by_bin = graph.columns(present, of_bin, n_numbers)
        is_missing = graph.columns(missing, of_bin, n_numbers)
        shares = _shares(graph, encoding, by_bin)
        parts.append(graph.where(is_missing, graph.constant(0, np.float32), shares))
    if short:
        parts.append(graph.cast(graph.columns(missing, short, n_numbers), np.float32))
    return graph.concat(parts, 1)


def _shares(graph: Graph, bins: EmbeddedBins | PiecewiseLinearNumbers, numbers: str) -> str:
    """Return the covered share of each bin."""
    above = graph.add("Sub", numbers, graph.constant(numpy_of(bins.low)))
    shares = graph.add("Mul", above, graph.constant(numpy_of(bins.inverse_width)))
    return graph.clip(shares, 0.0, 1.0)


def scaled_vectors(graph: Graph, vectors: str) -> str:
    """Return scaled vectors, float32 (n, width), NaN in rows without one, as `VectorInputs` does."""
    axis = graph.constant([1], np.int64)
    width = graph.add("Shape", vectors, start=1)
    is_nan = graph.cast(graph.add("IsNaN", vectors), np.float32)
    total = graph.add("ReduceSum", is_nan, axis, keepdims=1)
    width = graph.cast(width, np.float32)
    is_missing = graph.add("GreaterOrEqual", total, width)
    present = graph.where(is_missing, graph.constant(0, np.float32), vectors)
    square = graph.add("ReduceSumSquare", present, axis, keepdims=1)
    one = graph.constant(1, np.float32)
    mean = graph.add("Div", square, graph.add("Max", width, one))
    ratio = graph.add("Div", mean, graph.constant(LONGEST**2, np.float32))
    clipped = graph.add("Div", present, graph.add("Sqrt", graph.add("Add", ratio, one)))
    return graph.concat([clipped, graph.cast(is_missing, np.float32)], 1)


def backbone_vectors(graph: Graph, backbone: Backbone, x: str) -> str:
    """Return the last hidden layer, (n, n_members, dim), of inputs (n, d_in)."""
    assert isinstance(backbone, MLP)
    parts = [_mlp(graph, backbone, x)]
    if isinstance(backbone, WideDeep):
        parts.append(_beside(graph, backbone, x))
    if isinstance(backbone, DeepFM):
        parts.append(_beside(graph, backbone, _products(graph, backbone, x)))
    return graph.concat(parts, 2)


def _mlp(graph: Graph, backbone: MLP, x: str) -> str:
    # the first layer of all members is one product, with their scales in its weights
    first, *others = [layer for layer in backbone.layers if isinstance(layer, nn.Linear)]
    weights = backbone.first_weights()
    assert weights is not None
    n_members = len(weights) // len(first.weight)
    bias = np.tile(numpy_of(first.bias), n_members)
    x = graph.add("Gemm", x, graph.constant(numpy_of(weights)), graph.constant(bias), transB=1)
    x = graph.add("Relu", graph.reshape(x, [0, n_members, -1]))
    for layer in others:
        product = graph.add("MatMul", x, graph.constant(numpy_of(layer.weight).T))
        x = graph.add("Relu", graph.add("Add", product, graph.constant(numpy_of(layer.bias))))
    return x


def _beside(graph: Graph, backbone: WideDeep, x: str) -> str:
    repeats = graph.constant([1, backbone.n_members, 1], np.int64)
    return graph.add("Tile", graph.unsqueeze(x, 1), repeats)


def _products(graph: Graph, backbone: DeepFM, x: str) -> str:
    factors = numpy_of(backbone.factors)
    x = graph.cast(x, np.float64)  # a difference of near equals
    of_sum = graph.add("MatMul", x, graph.constant(factors, np.float64))
    sum_of = graph.add("MatMul", graph.add("Mul", x, x), graph.constant(factors**2, np.float64))
    difference = graph.add("Sub", graph.add("Mul", of_sum, of_sum), sum_of)
    return graph.cast(graph.add("Mul", difference, graph.constant(0.5, np.float64)), np.float32)


def _member_heads(graph: Graph, heads: MemberHeads, hidden: str) -> str:
    """Return the output of each member, (n, n_members, n_outputs)."""
    by_member = graph.add("Transpose", hidden, perm=[1, 0, 2])
    outputs = graph.add("MatMul", by_member, graph.constant(numpy_of(heads.weight)))
    outputs = graph.add("Transpose", outputs, perm=[1, 0, 2])
    return graph.add("Add", outputs, graph.constant(numpy_of(heads.bias)))


def _head(graph: Graph, head: MemberHeads | ClassVectors, hidden: str) -> str:
    if isinstance(head, MemberHeads):
        return _member_heads(graph, head, hidden)
    queries = _member_heads(graph, head.query, hidden)
    query = graph.add("ReduceMean", queries, graph.constant([1], np.int64), keepdims=0)
    with torch.no_grad():
        vectors = graph.constant(numpy_of(head.compared()).T)
    bias = graph.constant(numpy_of(head.bias).T)
    return graph.unsqueeze(graph.add("Add", graph.add("MatMul", query, vectors), bias), 1)


def linear(graph: Graph, layer: nn.Linear, x: str) -> str:
    """Return a linear layer of values (..., d_in)."""
    product = graph.add("MatMul", x, graph.constant(numpy_of(layer.weight).T))
    return graph.add("Add", product, graph.constant(numpy_of(layer.bias)))
