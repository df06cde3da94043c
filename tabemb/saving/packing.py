"""Objects as JSON and arrays, and back; only classes that are listed here are ever built."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from tabemb import targets
from tabemb.data.effects import Effects, Levels
from tabemb.data.encoding import Encoder, Inputs, Scale
from tabemb.data.encounters import Encounters
from tabemb.data.pairs import PairCodes
from tabemb.data.schema import Feature, Schema, Table
from tabemb.data.states import Codebook, EntityStates
from tabemb.data.times import TimeAxis
from tabemb.data.vocabulary import Vocabulary
from tabemb.estimators.encoder import EmbeddingEncoder
from tabemb.estimators.events import EventClassifier, EventRegressor
from tabemb.estimators.rows import EmbeddingClassifier, EmbeddingRegressor
from tabemb.estimators.sequences import SequenceEncoder
from tabemb.fitting.event_source import EventSource
from tabemb.fitting.pretrained import given_vectors
from tabemb.fitting.sources import RowSource
from tabemb.labels import as_objects
from tabemb.saving.labels import needs_keys, pack_labels, unpack_labels
from tabemb.saving.scalars import SCALARS, scalar_name
from tabemb.spaces.space import EmbeddingSpace

Arrays = dict[str, np.ndarray]


def _by_name(*classes: type) -> dict[str, type]:
    return {cls.__name__: cls for cls in classes}


ESTIMATORS = _by_name(
    EmbeddingClassifier,
    EmbeddingRegressor,
    EventClassifier,
    EventRegressor,
    EmbeddingEncoder,
    SequenceEncoder,
)
"""The estimators that can be saved, by name."""
TARGETS = [
    cls for cls in vars(targets).values() if isinstance(cls, type) and issubclass(cls, targets.Target)
]
PARTS = _by_name(
    Codebook,
    Effects,
    EmbeddingSpace,
    Encoder,
    Encounters,
    EntityStates,
    EventSource,
    Feature,
    Inputs,
    Levels,
    PairCodes,
    RowSource,
    Scale,
    Schema,
    Table,
    TimeAxis,
    Vocabulary,
    *TARGETS,
)
"""The other classes that a file may hold, as the contents of their ``__dict__``."""


def pack(value: Any, arrays: Arrays, name: str) -> Any:
    """Return a value as JSON; its arrays go to ``arrays``, and their keys stay in the JSON.

    Raises
    ------
    TypeError
        The value, or one inside it, has no place in a file; ``name`` says where it was.
    """
    scalar = scalar_name(value)
    if scalar is not None:
        parts = SCALARS[scalar].write(value)
        return {"$scalar": scalar, "parts": [pack(part, arrays, name) for part in parts]}
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return {"$" + type(value).__name__: [pack(item, arrays, name) for item in value]}
    if isinstance(value, dict):
        items = [[pack(key, arrays, name), pack(item, arrays, str(key))] for key, item in value.items()]
        return {"$dict": items}
    if isinstance(value, np.ndarray | torch.Tensor | pa.Array | pd.Index):
        return _pack_array(value, arrays, name)
    if type(value) in ESTIMATORS.values():  # a parameter
        params = pack(value.get_params(deep=False), arrays, name)
        return {"$estimator": type(value).__name__, "params": params}
    if isinstance(value, Table):
        value = _with_space(value, name)
    if type(value) in PARTS.values():
        return {"$class": type(value).__name__, "state": pack(_state(value), arrays, name)}
    raise TypeError(f"{name} holds a {type(value).__name__}, {value!r}, which cannot be saved.")


def _with_space(table: Table, name: str) -> Table:
    """Return the table with its pretrained vectors, whatever holds them, as a space."""
    if table.pretrained is None or isinstance(table.pretrained, EmbeddingSpace):
        return table
    vectors = given_vectors(name, table.pretrained)
    space = EmbeddingSpace(vectors.to_numpy(), vectors.index)
    return Table(**{**vars(table), "pretrained": space})


def _state(value: Any) -> dict[str, Any]:
    has_getstate = "__getstate__" in {name for cls in type(value).__mro__[:-1] for name in vars(cls)}
    return dict(value.__getstate__() if has_getstate else vars(value))


def _pack_array(value: Any, arrays: Arrays, name: str) -> Any:
    kind = "tensor" if isinstance(value, torch.Tensor) else "numpy"
    if isinstance(value, pd.Index) and needs_keys(value):
        return pack_labels(value)
    if isinstance(value, pd.Index):
        kind, value = "index", pa.array(value)
    elif isinstance(value, np.ndarray) and value.dtype.kind in "OUS":
        labels = [pack(item, arrays, name) for item in value.tolist()]
        return {"$labels": labels, "dtype": value.dtype.str}
    elif isinstance(value, np.ndarray) and value.dtype.kind in "mM":  # no type of a safetensors file
        return {"$times": pack(value.view(np.int64), arrays, name), "dtype": value.dtype.str}
    elif isinstance(value, pa.Array):
        kind = "arrow"
    key = f"array{len(arrays)}"
    arrays[key] = _to_bytes(value) if isinstance(value, pa.Array) else np.asarray(value)
    return {"$" + kind: key}


def _to_bytes(array: pa.Array) -> np.ndarray:
    sink = pa.BufferOutputStream()
    batch = pa.record_batch([array], names=["values"])
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return np.frombuffer(sink.getvalue(), dtype=np.uint8)


def _from_bytes(array: np.ndarray) -> pa.Array:
    with pa.ipc.open_stream(pa.py_buffer(array.tobytes())) as reader:
        return reader.read_all()["values"].combine_chunks()


def unpack(value: Any, arrays: Arrays) -> Any:
    """Return what `pack` was given."""
    if not isinstance(value, dict):
        return value
    tag = next(key for key in value if key.startswith("$"))
    return UNPACK[tag](value, arrays)


def _unpack_list(value: dict[str, Any], arrays: Arrays) -> list[Any]:
    return [unpack(item, arrays) for item in value["$list"]]


def _unpack_tuple(value: dict[str, Any], arrays: Arrays) -> tuple[Any, ...]:
    return tuple(unpack(item, arrays) for item in value["$tuple"])


def _unpack_dict(value: dict[str, Any], arrays: Arrays) -> dict[Any, Any]:
    return {unpack(key, arrays): unpack(item, arrays) for key, item in value["$dict"]}


def _unpack_labels(value: dict[str, Any], arrays: Arrays) -> np.ndarray:
    labels = as_objects(unpack(item, arrays) for item in value["$labels"])
    return labels.astype(value["dtype"])


def _unpack_times(value: dict[str, Any], arrays: Arrays) -> np.ndarray:
    times: np.ndarray = unpack(value["$times"], arrays).view(value["dtype"])
    return times


def _unpack_scalar(value: dict[str, Any], arrays: Arrays) -> Any:
    return SCALARS[value["$scalar"]].read(*(unpack(part, arrays) for part in value["parts"]))


def _unpack_part(value: dict[str, Any], arrays: Arrays) -> Any:
    part: Any = object.__new__(PARTS[value["$class"]])
    state = unpack(value["state"], arrays)
    getattr(part, "__setstate__", part.__dict__.update)(state)
    return part


def _unpack_estimator(value: dict[str, Any], arrays: Arrays) -> Any:
    return ESTIMATORS[value["$estimator"]](**unpack(value["params"], arrays))


UNPACK: dict[str, Callable[[dict[str, Any], Arrays], Any]] = {
    "$list": _unpack_list,
    "$tuple": _unpack_tuple,
    "$dict": _unpack_dict,
    "$labels": _unpack_labels,
    "$times": _unpack_times,
    "$scalar": _unpack_scalar,
    "$numpy": lambda value, arrays: arrays[value["$numpy"]],
    "$tensor": lambda value, arrays: torch.tensor(arrays[value["$tensor"]]),
    "$arrow": lambda value, arrays: _from_bytes(arrays[value["$arrow"]]),
    "$index": lambda value, arrays: pd.Index(_from_bytes(arrays[value["$index"]]).to_pandas()),
    "$values": unpack_labels,
    "$class": _unpack_part,
    "$estimator": _unpack_estimator,
}
"""How to build a value, by the tag that `pack` gave it."""
