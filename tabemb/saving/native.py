"""Save a fitted estimator to one file, and load it without running code from it.

The file is in the safetensors format: arrays as tensors, categories as Arrow IPC bytes, everything
else as JSON in the header. A checksum in the header detects damage. Because a checksum can be forged,
classes, parameters, shapes and memory are checked as well, before any memory is allocated.
"""

from __future__ import annotations

import os
from importlib.metadata import version
from inspect import signature
from pathlib import Path
from platform import python_version
from typing import Any

import torch
from sklearn.utils.validation import check_is_fitted
from torch import nn

from tabemb.files import layout
from tabemb.files.layout import Arrays
from tabemb.fitting.settings import check_parameters, torch_device
from tabemb.network.halves import numpy_of_any
from tabemb.saving import format_1
from tabemb.saving.packing import ESTIMATORS, new_estimator, pack, unpack
from tabemb.saving.trial import try_out
from tabemb.saving.weights import check_finite, restored
from tabemb.training.threads import threads

LIBRARIES = ("tabemb", "torch", "numpy", "pyarrow", "pandas", "scikit-learn")
MOST_CHARACTERS = 300
"""Maximum length of the reason in an error; a forged file may contain very long names."""
WEIGHTS = "network."
"""Prefix of the arrays that are weights of the network."""


def save(model: Any, path: str | os.PathLike[str]) -> None:
    """Write a fitted estimator to one file.

    The file of a classifier or regressor of rows contains up to 20,000 training rows with their targets,
    for `partial_fit`; ``model.forget_rows()`` drops them.

    Parameters
    ----------
    model : fitted estimator
        EmbeddingClassifier, EmbeddingRegressor, EventClassifier, EventRegressor, EmbeddingEncoder,
        ItemEmbedder, SequenceEncoder, PairEmbedder or another recommender.
    path : str or path-like
        The file to write; nothing else is written.

    Raises
    ------
    TypeError
        The model is of another kind, or a parameter or label cannot be JSON (such as a RandomState).
    ValueError
        A parameter breaks its rule, or a weight is not finite, so that the file could not be loaded.
    sklearn.exceptions.NotFittedError
    """
    if type(model) not in ESTIMATORS.values():
        raise TypeError(f"save takes {' or '.join(ESTIMATORS)}; got {type(model).__name__}.")
    check_is_fitted(model)
    check_parameters(model, model.rules)
    arrays: Arrays = {}
    fitted = _fitted_attributes(model)
    network = fitted.pop("network_", None)
    header = {
        "format": layout.FORMAT,
        "versions": _versions(),
        "class": type(model).__name__,
        "params": pack(model.get_params(deep=False), arrays, "parameter"),
        "fitted": {name: pack(value, arrays, name) for name, value in fitted.items()},
    }
    if isinstance(network, nn.Module):
        weights = network.state_dict().items()
        arrays |= {WEIGHTS + name: numpy_of_any(weight) for name, weight in weights}
        check_finite(network.state_dict())
    layout.write(path, header, arrays)


def _fitted_attributes(model: Any) -> dict[str, Any]:
    """Return what ``fit`` has set: by scikit-learn's rule, the attributes that end in an underscore."""
    return {name: value for name, value in vars(model).items() if _is_fitted_attribute(name)}


def _is_fitted_attribute(name: str) -> bool:
    return name.endswith("_") and not name.startswith("_")


def _versions() -> dict[str, str]:
    """Return the versions of the libraries that write a file, as information for readers."""
    return {name: version(name) for name in LIBRARIES} | {"python": python_version()}


def load(path: str | os.PathLike[str], device: str | None = None) -> Any:
    """Read an estimator that :func:`save` wrote; no code from the file is run.

    Parameters
    ----------
    path : str or path-like
    device : str, optional
        New ``device`` of the estimator; None keeps the saved one.

    Returns
    -------
    estimator
        The saved estimator, on the CPU or on its ``device``.

    Raises
    ------
    FileNotFoundError
    ValueError
        The file is damaged, is not a tabemb file, or was written by a later version; or this machine
        does not have ``device``.

    Warns
    -----
    RuntimeWarning
        The model was saved with a CUDA device that this machine does not have; it uses the CPU.
    """
    if device is not None:
        torch_device(device)
    if not Path(path).is_file():
        raise FileNotFoundError(f"{os.fspath(path)!r} is not a file.")
    header, arrays = layout.read(path)
    try:
        if header["format"] == 1:
            header, arrays = format_1.upgrade(header, arrays)
        with threads(1):  # little work, and a forked process has only one
            return _rebuild(header, arrays, device)
    except Exception as error:  # a forged file can break any rule of any class
        raise ValueError(
            f"{os.fspath(path)!r} holds no model that can be used here: {_reason(error)}."
        ) from error


def _check_has_device(name: str, device: str) -> None:
    if "device" not in signature(ESTIMATORS[name]).parameters:
        raise ValueError(f"device must be None for {name}, which computes on the CPU; got {device!r}.")


def _reason(error: Exception) -> str:
    """Return the text of an error as a part of a sentence."""
    text = " ".join(str(error).split()).removesuffix(".")
    name = "" if isinstance(error, ValueError) and text else type(error).__name__
    return ": ".join(filter(None, (name, text)))[:MOST_CHARACTERS]


def _rebuild(header: dict[str, Any], arrays: Arrays, device: str | None) -> Any:
    name, params = header["class"], unpack(header["params"], arrays)
    if device is not None:
        _check_has_device(name, device)
        params["device"] = device
    model = new_estimator(name, params)
    for name, value in header["fitted"].items():
        if not _is_fitted_attribute(name) or name == "network_" or hasattr(type(model), name):
            raise ValueError(f"{name!r} is no attribute that fit sets.")
        setattr(model, name, unpack(value, arrays))
    check_is_fitted(model)
    weights = {
        name.removeprefix(WEIGHTS): torch.tensor(array)
        for name, array in arrays.items()
        if name.startswith(WEIGHTS)
    }
    if weights or hasattr(model, "_new_network"):
        model.network_ = restored(model, weights)
    try_out(model)
    return model
