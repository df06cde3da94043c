"""The state of a training: nested plain values and tensors, and the same as JSON and arrays."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tabemb.files.layout import Arrays
from tabemb.network.halves import as_half, is_half, numpy_of_any

State = dict[str, Any]
"""Dictionaries with text keys and lists, of numbers, text, None and tensors."""
TENSOR = "$tensor"
"""The key under which the name of a tensor replaces the tensor."""


def packed(state: Any, arrays: Arrays, name: str = "state") -> Any:
    """Return a state as JSON, and put its tensors into ``arrays``.

    Examples
    --------
    >>> arrays: Arrays = {}
    >>> packed({"n": 1, "weights": [torch.zeros(2)]}, arrays)
    {'n': 1, 'weights': [{'$tensor': 'state.weights.0'}]}
    >>> list(arrays)
    ['state.weights.0']
    """
    if isinstance(state, Tensor):
        arrays[name] = numpy_of_any(state)
        return {TENSOR: name, "is_half": True} if is_half(state) else {TENSOR: name}
    if isinstance(state, dict):
        return {key: packed(value, arrays, f"{name}.{key}") for key, value in state.items()}
    if isinstance(state, list):
        return [packed(value, arrays, f"{name}.{i}") for i, value in enumerate(state)]
    return state


def unpacked(state: Any, arrays: Arrays) -> Any:
    """Return the state that `packed` was given, with tensors on the CPU."""
    if isinstance(state, dict):
        if TENSOR in state:
            tensor = torch.from_numpy(arrays[state[TENSOR]])
            return as_half(tensor) if state.get("is_half") else tensor
        return {key: unpacked(value, arrays) for key, value in state.items()}
    if isinstance(state, list):
        return [unpacked(value, arrays) for value in state]
    return state
