"""Save a fitted estimator to one file, and load it without running code from it.

The file is in the safetensors format: arrays as tensors, categories as Arrow IPC bytes, everything
else as JSON in the header.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from sklearn.utils.validation import check_is_fitted
from torch import nn

from tabemb.fitting.settings import torch_device
from tabemb.saving import format_1
from tabemb.saving.packing import ESTIMATORS, Arrays, pack, unpack

FORMAT = 2
"""Version of the layout. Files of earlier formats are upgraded, those of later ones are refused."""
WEIGHTS = "network."
"""Prefix of the arrays that are weights of the network."""


def save(model: Any, path: str | os.PathLike[str]) -> None:
    """Write a fitted estimator to one file.

    Parameters
    ----------
    model : fitted estimator
        EmbeddingClassifier, EmbeddingRegressor, EventClassifier, EventRegressor, EmbeddingEncoder or
        SequenceEncoder.
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
    arrays: Arrays = {}
    fitted = _fitted_attributes(model)
    network = fitted.pop("network_", None)
    header = {
        "format": FORMAT,
        "class": type(model).__name__,
        "params": pack(model.get_params(deep=False), arrays, "parameter"),
        "fitted": {name: pack(value, arrays, name) for name, value in fitted.items()},
    }
    if isinstance(network, nn.Module):
        weights = network.state_dict().items()
        arrays |= {WEIGHTS + name: weight.numpy(force=True) for name, weight in weights}
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    _write(contiguous, json.dumps(header), Path(path))


def _fitted_attributes(model: Any) -> dict[str, Any]:
    """Return what ``fit`` has set: by scikit-learn's rule, the attributes that end in an underscore."""
    attributes = vars(model).items()
    return {name: v for name, v in attributes if name.endswith("_") and not name.startswith("_")}


def _write(arrays: Arrays, header: str, path: Path) -> None:
    """Write under another name first, so that a reader never sees half a file."""
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
    if header["format"] == 1:
        header, arrays = format_1.upgrade(header, arrays)
    return _rebuild(header, arrays)


def _rebuild(header: dict[str, Any], arrays: Arrays) -> Any:
    model = ESTIMATORS[header["class"]](**unpack(header["params"], arrays))
    for name, value in header["fitted"].items():
        setattr(model, name, unpack(value, arrays))
    weights = {
        name.removeprefix(WEIGHTS): torch.tensor(array)
        for name, array in arrays.items()
        if name.startswith(WEIGHTS)
    }
    if weights:
        with torch.random.fork_rng(devices=[]):
            network = model._new_network()
        network.load_state_dict(weights)
        model.network_ = network.to(torch_device(model.device)).eval()
    return model
