"""Objects as JSON and arrays, and back; only classes that are listed here are ever built."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from tabemb import targets
from tabemb.data.clustering import Clustering
from tabemb.data.effects import Effects
from tabemb.data.encoding import Encoder, Inputs
from tabemb.data.encounters import Encounters
from tabemb.data.expected import ExpectedEffects
from tabemb.data.keys import key_of, value_of
from tabemb.data.levels import Levels
from tabemb.data.pairs import PairCodes
from tabemb.data.scales import Scale
from tabemb.data.schema import Feature, Schema, Table
from tabemb.data.seen import SeenClasses
from tabemb.data.states import Codebook, EntityStates
from tabemb.data.times import TimeAxis
from tabemb.data.vectors import VectorScale
from tabemb.data.vocabulary import Vocabulary
from tabemb.data.within import Within
from tabemb.data.words import WordEffects
from tabemb.drift.profiles import Profile
from tabemb.drift.vectors import VectorProfile
from tabemb.estimators.by_code import Placing
from tabemb.estimators.encoder import EmbeddingEncoder
from tabemb.estimators.events import EventClassifier, EventRegressor
from tabemb.estimators.rows import EmbeddingClassifier, EmbeddingRegressor
from tabemb.estimators.sequences import SequenceEncoder
from tabemb.files.layout import NAMES, Arrays
from tabemb.fitting.dependence import Dependents
from tabemb.fitting.event_source import EventSource
from tabemb.fitting.growth import Growth
from tabemb.fitting.intervals import Intervals
from tabemb.fitting.pretrained import given_vectors
from tabemb.fitting.replay import KeptRows
from tabemb.fitting.responses import Axes, Reference
from tabemb.fitting.sets import ClassSets
from tabemb.fitting.settings import check_parameters, is_here
from tabemb.fitting.sources import RowSource
from tabemb.fitting.trees import Trees
from tabemb.labels import as_objects
from tabemb.likeness.descriptions import described
from tabemb.network.inputs import Kept, Ragged, RowInputs
from tabemb.saving.arrow import from_bytes, to_bytes
from tabemb.scalars import from_json, to_json
from tabemb.spaces.arrow_formats import as_arrow
from tabemb.spaces.space import EmbeddingSpace
from tabemb.unsupervised.baselines import ALS, BPR, EASE, ItemKNN, Popularity, RandomItems
from tabemb.unsupervised.interactions import Entities, Lists
from tabemb.unsupervised.items import ItemEmbedder
from tabemb.unsupervised.pairs import PairEmbedder

MOST_PADDING = 2**24
"""Maximum size in bytes of an array of texts for which the width of its dtype is restored."""


def _by_name(*classes: type) -> dict[str, type]:
    return {cls.__name__: cls for cls in classes}


ESTIMATORS = _by_name(
    EmbeddingClassifier,
    EmbeddingRegressor,
    EventClassifier,
    EventRegressor,
    EmbeddingEncoder,
    ItemEmbedder,
    PairEmbedder,
    Popularity,
    RandomItems,
    ItemKNN,
    EASE,
    ALS,
    BPR,
    SequenceEncoder,
)
"""The estimators that can be saved, by name."""
TARGETS = [
    cls for cls in vars(targets).values() if isinstance(cls, type) and issubclass(cls, targets.Target)
]
PARTS = _by_name(
    Axes,
    ClassSets,
    Clustering,
    Codebook,
    Dependents,
    Effects,
    EmbeddingSpace,
    Encoder,
    Entities,
    Encounters,
    EntityStates,
    EventSource,
    ExpectedEffects,
    Feature,
    Growth,
    Inputs,
    Intervals,
    Kept,
    KeptRows,
    Levels,
    Lists,
    PairCodes,
    Placing,
    Profile,
    Ragged,
    Reference,
    RowInputs,
    RowSource,
    Scale,
    Schema,
    SeenClasses,
    Table,
    TimeAxis,
    Trees,
    VectorProfile,
    VectorScale,
    Vocabulary,
    Within,
    WordEffects,
    *TARGETS,
)
"""The other classes that a file may contain, as the contents of their ``__dict__``."""


def pack(value: Any, arrays: Arrays, name: str) -> Any:
    """Return a value as JSON; its arrays go to ``arrays``, and their keys stay in the JSON.

    Raises
    ------
    TypeError
        The value, or one inside it, cannot be saved; the message contains ``name``.
    """
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
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
    return to_json(value, name)


def _with_space(table: Table, name: str) -> Table:
    """Return the table with its vectors by category, of any type, converted to spaces."""
    if table.pretrained is not None and not isinstance(table.pretrained, EmbeddingSpace):
        table = replace(table, pretrained=_as_space(given_vectors(name, table.pretrained)))
    if not isinstance(table.describe, EmbeddingSpace | str | None):
        labels, vectors = described(name, table.describe)
        table = replace(table, describe=EmbeddingSpace(vectors, labels))
    return table


def _as_space(vectors: pd.DataFrame) -> EmbeddingSpace:
    return EmbeddingSpace(vectors.to_numpy(), vectors.index)


def _state(value: Any) -> dict[str, Any]:
    """Return the state of an object; for a dataclass its fields, without values computed from them."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    has_getstate = "__getstate__" in {name for cls in type(value).__mro__[:-1] for name in vars(cls)}
    return dict(value.__getstate__() if has_getstate else vars(value))


def _pack_array(value: Any, arrays: Arrays, name: str) -> Any:
    kind = _tensor_kind(value) if isinstance(value, torch.Tensor) else "numpy"
    if isinstance(value, pd.Index):
        labels = as_arrow(value)
        if labels is None:
            texts = (label if _has_json(label) else key_of(label, name) for label in value)
            return {"$index": pack(as_objects(texts), arrays, name)}
        kind, value = "index", labels
    elif isinstance(value, np.ndarray) and value.dtype.kind in "OUS":
        labels = [pack(item, arrays, name) for item in value.ravel().tolist()]
        shape = {"shape": list(value.shape)} if value.ndim > 1 else {}
        return {"$labels": labels, "dtype": value.dtype.str, **shape}
    elif isinstance(value, pa.Array):
        kind = "arrow"
    key = f"array{len(arrays)}"
    if isinstance(value, np.ndarray) and value.dtype.kind in "mM":  # safetensors has no such type
        arrays[key] = value.view(np.int64)
        return {"$times": key, "dtype": value.dtype.str}
    array = to_bytes(value) if isinstance(value, pa.Array) else np.asarray(value)
    if array.dtype.newbyteorder("<").str not in NAMES:
        raise TypeError(f"{name} holds an array of {array.dtype}, which cannot be saved.")
    arrays[key] = array
    return {"$" + kind: key}


def _tensor_kind(tensor: torch.Tensor) -> str:
    """Return the tag of a tensor: "numbers" if it contains NaN, as numbers of rows may."""
    return "numbers" if tensor.is_floating_point() and tensor.isnan().any() else "tensor"


def _has_json(label: Any) -> bool:
    """Return whether a file can store a label; of others, such as enum members, it stores a key."""
    try:
        to_json(label, "")
    except TypeError:
        return False
    return True


def unpack(value: Any, arrays: Arrays) -> Any:
    """Return the value that `pack` was given; the arrays that it uses are removed from ``arrays``.

    Raises
    ------
    ValueError, KeyError, TypeError, AttributeError, RecursionError
        The value was not returned by `pack`, or breaks a rule of its class.
    """
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
    """Return labels; texts get the width of their dtype, unless that takes much memory."""
    labels = as_objects(unpack(item, arrays) for item in value["$labels"])
    dtype = np.dtype(value["dtype"])
    if dtype.kind not in "OUS":
        raise ValueError(f"labels have the dtype {dtype}.")
    if dtype.kind in "US" and dtype.itemsize * len(labels) > MOST_PADDING:
        dtype = np.dtype(dtype.kind)
    return labels.astype(dtype).reshape(value.get("shape", -1))


def _unpack_index(value: dict[str, Any], arrays: Arrays) -> pd.Index:
    """Return labels: from Arrow if all have one plain type, else from JSON."""
    labels = value["$index"]
    if isinstance(labels, dict):
        return pd.Index(unpack(labels, arrays), dtype=object, tupleize_cols=False)
    index: pd.Index = pd.Index(from_bytes(_take(arrays, labels)).to_pandas())
    return index


def _unpack_keys(value: dict[str, Any], arrays: Arrays) -> pd.Index:
    """Return labels of any type from a file of tabemb 0.2."""
    labels = [value_of(key, key) for key in value["$values"]]
    return pd.Index(labels, dtype=object, tupleize_cols=False)


def _take(arrays: Arrays, key: str) -> np.ndarray:
    """Remove an array from ``arrays`` and return it, so that nothing else uses it."""
    array = arrays.pop(key)
    if array.dtype.kind == "f" and np.isnan(array).any():
        raise ValueError(f"{key} holds NaN.")
    return array


def _unpack_part(value: dict[str, Any], arrays: Arrays) -> Any:
    cls, state = PARTS[value["$class"]], unpack(value["state"], arrays)
    _check_state(cls, state)
    if cls is EmbeddingSpace:
        names = ("vectors", "categories", "counts", "name")
        given = {name: state[name] for name in names}
        space = EmbeddingSpace(**given, reliability=state.get("reliability"))  # tabemb 0.2 had none
        space.maps.update(state.get("_maps", {}))
        if state.get("descriptions") is not None:
            space.descriptions = _described(state["descriptions"])
        return space
    part: Any = object.__new__(cls)
    if hasattr(cls, "__setstate__"):
        part.__setstate__(state)
        return part
    if is_dataclass(cls):
        return cls(**state)
    vars(part).update(state)
    return part


def _described(given: Any) -> EmbeddingSpace:
    if not isinstance(given, EmbeddingSpace):
        raise TypeError(f"the descriptions of a space are an object of type {type(given).__name__}.")
    return given


def _check_state(cls: type, state: dict[str, Any]) -> None:
    """Raise ValueError unless each name may be a data attribute of the class."""
    for name in state:
        if not name.isidentifier() or name.startswith("__") or callable(getattr(cls, name, None)):
            raise ValueError(f"{cls.__name__} has an attribute {name!r}.")


def _unpack_times(value: dict[str, Any], arrays: Arrays) -> np.ndarray:
    dtype = np.dtype(value["dtype"])
    if dtype.kind not in "mM":
        raise ValueError(f"times have the dtype {dtype}.")
    return _take(arrays, value["$times"]).view(dtype)


def _unpack_estimator(value: dict[str, Any], arrays: Arrays) -> Any:
    return new_estimator(value["$estimator"], unpack(value["params"], arrays))


def new_estimator(name: str, params: dict[str, Any]) -> Any:
    """Return an unfitted estimator, after a check of its parameters.

    Raises
    ------
    KeyError, TypeError, ValueError
        There is no such class or parameter, or a value breaks its rule.
    """
    model = ESTIMATORS[name](**params)
    device = getattr(model, "device", "auto")
    if isinstance(device, str) and device.startswith("cuda") and not is_here(torch.device(device)):
        warnings.warn(
            f"The model was saved with device={device!r}, which this machine does not have; it gets "
            "device='cpu'.",
            RuntimeWarning,
            stacklevel=5,
        )
        model.set_params(device="cpu")
    check_parameters(model, model.rules)
    return model


UNPACK: dict[str, Callable[[dict[str, Any], Arrays], Any]] = {
    "$list": _unpack_list,
    "$tuple": _unpack_tuple,
    "$dict": _unpack_dict,
    "$labels": _unpack_labels,
    "$times": _unpack_times,
    "$scalar": lambda value, arrays: from_json(value),
    "$numpy": lambda value, arrays: _take(arrays, value["$numpy"]),
    "$tensor": lambda value, arrays: torch.tensor(_take(arrays, value["$tensor"])),
    "$numbers": lambda value, arrays: torch.tensor(arrays.pop(value["$numbers"])),
    "$arrow": lambda value, arrays: from_bytes(_take(arrays, value["$arrow"])),
    "$index": _unpack_index,
    "$values": _unpack_keys,
    "$class": _unpack_part,
    "$estimator": _unpack_estimator,
}
"""How to build a value, by the tag that `pack` gave it."""
