"""From the values of columns and fields to codes and scaled numbers, in a graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tabemb.data.encoding import Inputs
from tabemb.data.scales import LIMIT
from tabemb.data.schema import BINS, WITHIN, Feature
from tabemb.data.times import SECONDS_PER_DAY
from tabemb.data.vectors import LARGEST, VectorScale
from tabemb.data.vocabulary import MISSING, N_SPECIAL, UNKNOWN, Vocabulary
from tabemb.saving.onnx.calendar import calendar_part
from tabemb.saving.onnx.graph import Graph
from tabemb.saving.onnx.newcomers import Newcomers
from tabemb.saving.onnx.raw import KINDS, NO_INTEGER, markers


class Columns(NamedTuple):
    """Codes, int64 (..., n_categorical), and numbers, float32 (..., n_numbers), NaN where missing.

    ``is_infinite`` says of each number whether it is infinite, bool (..., n_numbers). ``extended`` has
    the codes of columns with known new categories, (n,) by position, which follow the vocabulary's.
    """

    codes: str | None
    numbers: str | None
    is_infinite: str | None
    extended: Mapping[int, str] = {}

    def any_infinite(self, graph: Graph) -> str | None:
        """Return whether a number of a row is infinite, int32 (n, 1); None without numbers."""
        if self.is_infinite is None:
            return None
        axis = graph.constant([1], np.int64)
        flags = graph.cast(self.is_infinite, np.int32)
        return graph.add("ReduceMax", flags, axis, keepdims=1)


class Encoding:
    """Turns the raw values of rows, (n,), or of events, (n, length), into codes and numbers.

    Parameters
    ----------
    graph : Graph
    inputs : Inputs
    vocabularies : sequence of Vocabulary
        One for each categorical feature.
    values : mapping of column -> str
        Raw values in the graph.
    clocks : mapping of part -> function, optional
        Of events: from the days since the origin, NaN where missing, to "gap" and "ago".
    newcomers : mapping of int -> Newcomers, optional
        New categories that the graph knows, by the position of the column.
    """

    def __init__(
        self,
        graph: Graph,
        inputs: Inputs,
        vocabularies: Sequence[Vocabulary],
        values: Mapping[str, str],
        clocks: Mapping[str, Callable[[str], str]] | None = None,
        newcomers: Mapping[int, Newcomers] | None = None,
    ) -> None:
        self.graph, self.inputs, self.vocabularies = graph, inputs, vocabularies
        self.values, self.clocks = values, clocks or {}
        self.newcomers = newcomers or {}
        self.codes: dict[str, str] = {}
        self.extended: dict[int, str] = {}

    def encode(self) -> Columns:
        """Return codes and numbers, as `Inputs.encode` gives them."""
        schema = self.inputs.schema
        for i, (feature, vocabulary) in enumerate(zip(schema.categorical, self.vocabularies)):
            self.codes[feature.name] = self._code(i, feature, vocabulary)
        numbers = [self._number(feature) for feature in schema.numbers]
        n_axes = 2 if self.clocks else 1
        codes = self.graph.stack(list(self.codes.values()), n_axes) if self.codes else None
        if not numbers:
            return Columns(codes, None, None, self.extended)
        raw = self.graph.stack(numbers, n_axes)
        is_infinite = self.graph.add("IsInf", raw)
        return Columns(codes, self._scaled(raw), is_infinite, self.extended)

    def _code(self, place: int, feature: Feature, vocabulary: Vocabulary) -> str:
        graph, value = self.graph, self.values[feature.column]
        if feature.part == BINS:
            return self._bin_code(feature)
        if feature.part is not None:
            return self._calendar_code(feature, vocabulary)
        new = self.newcomers.get(place)
        if new is None:
            return self._looked_up(value, vocabulary, *known_keys(vocabulary))
        keys, codes = map(np.concatenate, zip(known_keys(vocabulary), (new.keys, new.codes)))
        extended = self.extended[place] = self._looked_up(value, vocabulary, keys, codes)
        is_known = graph.add("Less", extended, graph.constant(new.n_known, np.int64))
        return graph.where(is_known, extended, graph.constant(UNKNOWN, np.int64))

    def _looked_up(self, value: str, vocabulary: Vocabulary, keys: np.ndarray, codes: np.ndarray) -> str:
        """Return the codes of raw values."""
        graph, kind = self.graph, KINDS[vocabulary.kind]
        if kind == "number":
            positive = graph.add("Add", value, graph.constant(0.0, np.float64))  # -0.0 is 0.0
            result = graph.look_up(positive, keys, codes, UNKNOWN)
            missing = graph.constant(MISSING, np.int64)
            return graph.where(graph.add("IsNaN", value), missing, result)
        marker = np.array([markers(kind, vocabulary)[0]], keys.dtype)
        keys, codes = np.concatenate([keys, marker]), np.append(codes, MISSING)
        return graph.look_up(value, keys, codes, UNKNOWN)

    def _calendar_code(self, feature: Feature, vocabulary: Vocabulary) -> str:
        graph, value = self.graph, self.values[feature.column]
        zone = (self.inputs.zones or {}).get(feature.column)
        part = calendar_part(graph, value, str(feature.part), zone)
        keys, codes = known_keys(vocabulary)
        result = graph.look_up(part, keys, codes, UNKNOWN) if len(keys) else self._all_unknown(value)
        return graph.where(self._no_time(value), graph.constant(MISSING, np.int64), result)

    def _all_unknown(self, value: str) -> str:
        return self.graph.add("Mul", value, self.graph.constant(0, np.int64))

    def _no_time(self, value: str) -> str:
        return self.graph.add("Equal", value, self.graph.constant(NO_INTEGER, np.int64))

    def _bin_code(self, feature: Feature) -> str:
        graph, within = self.graph, self.inputs.within[feature.column]
        level, value = self.codes[within.by], self.values[feature.column]
        first = graph.add("Gather", graph.constant(within.firsts, np.int64), level, axis=0)
        edges = graph.add("Gather", graph.constant(within.edges, np.float64), level, axis=0)
        above = graph.add("Greater", graph.unsqueeze(value, -1), edges)  # (..., n_edges)
        last = graph.constant([-1], np.int64)
        n_above = graph.add("ReduceSum", graph.cast(above, np.int64), last, keepdims=0)
        has_bins = graph.add("Equal", first, graph.constant(UNKNOWN, np.int64))
        code = graph.where(has_bins, first, graph.add("Add", first, n_above))
        return graph.where(graph.add("IsNaN", value), graph.constant(MISSING, np.int64), code)

    def _number(self, feature: Feature) -> str:
        """Return the unscaled values of a number, float64."""
        graph, value = self.graph, self.values[feature.column]
        if feature.part == WITHIN:
            within = self.inputs.within[feature.column]
            level = self.codes[within.by]
            parts = scale_parts(within.centers, within.units)
            by_level = [graph.add("Gather", graph.constant(p), level, axis=0) for p in parts]
            return scaled(graph, value, by_level)
        if feature.part is None:
            return value
        since = graph.add("Sub", value, graph.constant(self.inputs.origins[feature.column], np.int64))
        ticks = graph.constant(SECONDS_PER_DAY * 1e6, np.float64)
        days = graph.add("Div", graph.cast(since, np.float64), ticks)
        days = graph.where(self._no_time(value), graph.constant(np.nan, np.float64), days)
        return days if feature.part == "elapsed" else self.clocks[feature.part](days)

    def _scaled(self, raw: str) -> str:
        scales = self.inputs.scales
        parts = scale_parts(np.array([s.center for s in scales]), np.array([s.unit for s in scales]))
        values = scaled(self.graph, raw, [self.graph.constant(part) for part in parts])
        return self.graph.cast(values, np.float32)


def scale_parts(center: np.ndarray, unit: np.ndarray) -> list[np.ndarray]:
    """Return two factors, powers of two, and the center and the unit after them."""
    power = -np.frexp(np.maximum(np.abs(center), unit))[1]
    half = power // 2  # one factor may be too large for a float
    factors = [np.ldexp(1.0, half), np.ldexp(1.0, power - half)]
    return [*factors, np.ldexp(center, power), np.ldexp(unit, power)]


def scaled(graph: Graph, raw: str, parts: Sequence[str]) -> str:
    """Return scaled numbers, float64, by `scale_parts`.

    Each step rounds as in `tabemb.data.scales.scaled`, so that a number lies in the same bin.
    """
    for op, part in zip(("Mul", "Mul", "Sub", "Div"), parts):
        raw = graph.add(op, raw, part)
    clipped = graph.clip(raw, -LIMIT, LIMIT, np.float64)
    nan = graph.constant(np.nan, np.float64)
    return graph.where(graph.add("IsNaN", raw), nan, clipped)


def known_keys(vocabulary: Vocabulary) -> tuple[np.ndarray, np.ndarray]:
    """Return the categories as an array of text, int64 or float64, and their codes."""
    values = vocabulary.categories
    kind = KINDS[vocabulary.kind]
    if kind == "text":
        keys = np.array(values.to_pylist(), object)
    elif kind == "number":
        keys = values.to_numpy(zero_copy_only=False).astype(np.float64)
    else:
        keys = values.to_numpy(zero_copy_only=False).astype(
            "datetime64[us]" if kind == "time" else np.int64
        )
        keys = keys.astype(np.int64)
    return keys, N_SPECIAL + np.arange(len(keys))


def read_vectors(graph: Graph, vectors: str, scale: VectorScale) -> str:
    """Return scaled vectors, float32 (n, width), NaN in rows without one."""
    shifted = graph.add("Sub", vectors, graph.constant(scale.center, np.float64))
    value = graph.add("Div", shifted, graph.constant(scale.unit, np.float64))
    clipped = graph.clip(value, -LARGEST, LARGEST, np.float64)
    nan = graph.constant(np.nan, np.float64)
    return graph.cast(graph.where(graph.add("IsNaN", value), nan, clipped), np.float32)
