"""Save a fitted estimator to one file and load it without running code from it.

The file is in the safetensors format: arrays as tensors, categories as Arrow IPC bytes, everything else as JSON in the
header. Loading builds objects of the classes listed in :data:`SAVED` alone.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from sklearn.utils.validation import check_is_fitted

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
from tabemb.estimators.networks import given_vectors
from tabemb.estimators.rows import EmbeddingClassifier, EmbeddingRegressor
from tabemb.estimators.sequences import SequenceEncoder
from tabemb.estimators.settings import torch_device
from tabemb.spaces.space import EmbeddingSpace

FORMAT = 1
"""Version of the layout; a file of a later one is refused."""

ESTIMATORS: dict[str, type] = {
    cls.__name__: cls
    for cls in (
        EmbeddingClassifier,
        EmbeddingRegressor,
        EventClassifier,
        EventRegressor,
        EmbeddingEncoder,
        SequenceEncoder,
    )
}
_TARGETS = [
    cls for cls in vars(targets).values() if isinstance(cls, type) and issubclass(cls, targets.Target)
]
SAVED: dict[str, type] = {
    cls.__name__: cls
    for cls in (
        Encoder,
        Inputs,
        Effects,
        Levels,
        PairCodes,
        TimeAxis,
        Codebook,
        EntityStates,
        Encounters,
        Schema,
        Feature,
        Scale,
        Table,
        Vocabulary,
        EmbeddingSpace,
        *_TARGETS,
    )
}
"""The classes that a file may hold, as the contents of their ``__dict__``."""
_RENAMED = {
    "Crossed": "PairCodes",
    "Clock": "TimeAxis",
    "KeptStates": "EntityStates",
    "Recurrences": "Encounters",
}
"""Classes that files of format 1 hold under an older name."""
_RENAMED_ATTRIBUTES = {"Recurrences": {"clock": "axis", "kept": "states"}}
_FITTED = (
    "encoder_",
    "effects_",
    "hidden_",
    "target_",
    "history_",
    "best_epoch_",
    "answer_names_",
    "clock_",
    "kept_",
    "recurrences_",
    "columns_",
    "kept_columns_",
    "kept_positions_",
    "by_code_",
    "vectors_",
    "agreement_",
    "crossed_",
    "effect_names_",
    "is_continuous_",
    "n_features_in_",
    "feature_names_in_",
)


def save(model: Any, path: str | os.PathLike[str]) -> None:
    """Write a fitted estimator to one file.

    Parameters
    ----------
    model : fitted estimator
        EmbeddingClassifier, EmbeddingRegressor, EventClassifier, EventRegressor, EmbeddingEncoder or SequenceEncoder.
    path : str or path-like
        The file to write; nothing else is written.

    Raises
    ------
    TypeError
        Another kind of model, or a parameter or label that has no place in JSON (say a RandomState).
    sklearn.exceptions.NotFittedError
    """
    if type(model) not in ESTIMATORS.values():
        raise TypeError(f"save takes {' or '.join(ESTIMATORS)}; got {type(model).__name__}.")
    check_is_fitted(model)
    arrays: dict[str, np.ndarray] = {}
    header = {
        "format": FORMAT,
        "class": type(model).__name__,
        "params": _pack(model.get_params(deep=False), arrays, "parameter"),
        "fitted": {
            name: _pack(getattr(model, name), arrays, name) for name in _FITTED if hasattr(model, name)
        },
    }
    if hasattr(model, "network_"):
        arrays |= {
            f"network.{name}": t.numpy(force=True) for name, t in model.network_.state_dict().items()
        }
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    _write(contiguous, json.dumps(header), Path(path))


def _write(arrays: dict[str, np.ndarray], header: str, path: Path) -> None:
    """Write under another name first: a reader never sees half a file."""
    if path.is_dir() or not path.parent.is_dir():
        reason = "is a folder" if path.is_dir() else "lies in a folder that does not exist"
        raise ValueError(f"path must name a file; {str(path)!r} {reason}.")
    part = path.with_name(path.name + ".part")
    try:
        save_file(arrays, part, metadata={"tabemb": header})
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def load(path: str | os.PathLike[str]) -> Any:
    """Read an estimator that :func:`save` wrote; no code from the file is run.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    estimator
        As it was saved, on the CPU or wherever its ``device`` says.

    Raises
    ------
    FileNotFoundError
    ValueError
        The file is not one of tabemb's, or was written by a later version.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{os.fspath(path)!r} is not a file.")
    try:
        with safe_open(path, framework="numpy") as file:
            header = json.loads((file.metadata() or {}).get("tabemb", "null"))
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except SafetensorError as error:
        raise ValueError(f"{os.fspath(path)!r} is not a tabemb file: {error}.") from error
    if header is None or header.get("format", FORMAT + 1) > FORMAT:
        raise ValueError(f"{os.fspath(path)!r} is not a tabemb file of format {FORMAT} or earlier.")
    return _rebuild(header, arrays)


def _rebuild(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> Any:
    model = ESTIMATORS[header["class"]](**_unpack(header["params"], arrays))
    for name, value in header["fitted"].items():
        setattr(model, name, _unpack(value, arrays))
    weights = {
        n.removeprefix("network."): torch.tensor(a)
        for n, a in arrays.items()
        if n.startswith("network.")
    }
    if weights:
        with torch.random.fork_rng(devices=[]):
            network = model._build(n_rows=1)
        network.load_state_dict(weights)
        model.network_ = network.to(torch_device(model.device)).eval()
    return model


def _pack(value: Any, arrays: dict[str, np.ndarray], name: str) -> Any:
    """A value as JSON; arrays go to ``arrays`` and leave their key."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return {"$" + type(value).__name__: [_pack(item, arrays, name) for item in value]}
    if isinstance(value, dict):
        return {"$dict": [[_pack(k, arrays, name), _pack(v, arrays, str(k))] for k, v in value.items()]}
    if isinstance(value, (np.ndarray, torch.Tensor, pa.Array, pd.Index)):
        return _pack_array(value, arrays, name)
    if type(value) in ESTIMATORS.values():  # a parameter
        return {
            "$estimator": type(value).__name__,
            "params": _pack(value.get_params(deep=False), arrays, name),
        }
    if (
        isinstance(value, Table)
        and value.pretrained is not None
        and not isinstance(value.pretrained, EmbeddingSpace)
    ):
        vectors = given_vectors(name, value.pretrained)
        value = Table(**{**vars(value), "pretrained": EmbeddingSpace(vectors.to_numpy(), vectors.index)})
    if type(value).__name__ in SAVED:
        state = (
            value.__getstate__() if type(value).__getstate__ is not object.__getstate__ else vars(value)
        )
        return {"$class": type(value).__name__, "state": _pack(dict(state), arrays, name)}
    raise TypeError(f"{name} holds a {type(value).__name__}, {value!r}, which cannot be saved.")


def _pack_array(value: Any, arrays: dict[str, np.ndarray], name: str) -> Any:
    kind = "tensor" if isinstance(value, torch.Tensor) else "numpy"
    if isinstance(value, pd.Index):
        kind, value = "index", pa.array(value)
    elif isinstance(value, np.ndarray) and value.dtype.kind in "OUS":
        return {
            "$labels": [_pack(item, arrays, name) for item in value.tolist()],
            "dtype": value.dtype.str,
        }
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


def _unpack(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    if not isinstance(value, dict):
        return value
    tag = next(key for key in value if key.startswith("$"))
    return _UNPACK[tag](value, arrays)


def _unpack_object(value: dict[str, Any], arrays: dict[str, np.ndarray]) -> Any:
    name = value["$class"]
    made: Any = object.__new__(SAVED[_RENAMED.get(name, name)])
    renamed = _RENAMED_ATTRIBUTES.get(name, {})
    state = _unpack(value["state"], arrays)
    made.__dict__.update({renamed.get(key, key): item for key, item in state.items()})
    return made


_UNPACK: dict[str, Any] = {
    "$list": lambda v, arrays: [_unpack(item, arrays) for item in v["$list"]],
    "$tuple": lambda v, arrays: tuple(_unpack(item, arrays) for item in v["$tuple"]),
    "$dict": lambda v, arrays: {_unpack(k, arrays): _unpack(item, arrays) for k, item in v["$dict"]},
    "$labels": lambda v, arrays: np.array(
        [_unpack(item, arrays) for item in v["$labels"]], dtype=v["dtype"]
    ),
    "$numpy": lambda v, arrays: arrays[v["$numpy"]],
    "$tensor": lambda v, arrays: torch.tensor(arrays[v["$tensor"]]),
    "$arrow": lambda v, arrays: _from_bytes(arrays[v["$arrow"]]),
    "$index": lambda v, arrays: pd.Index(_from_bytes(arrays[v["$index"]]).to_pandas()),
    "$class": _unpack_object,
    "$estimator": lambda v, arrays: ESTIMATORS[v["$estimator"]](**_unpack(v["params"], arrays)),
}
