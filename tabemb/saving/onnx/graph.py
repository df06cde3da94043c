"""An ONNX graph that is built node by node."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tabemb.extras import need

OPSETS = {"": 19, "ai.onnx.ml": 4}
"""Versions of the operators: those that onnxruntime 1.17 and later run."""
IR_VERSION = 9


class Graph:
    """Nodes and constants; a value in the graph is its name.

    Parameters
    ----------
    taken : iterable of str
        Names of inputs, which no other value has.
    """

    def __init__(self, taken: Iterable[str]) -> None:
        self.onnx = need("onnx", "onnx")
        self.taken = set(taken)
        self.prefix = "/"
        while any(name.startswith(self.prefix) for name in self.taken):
            self.prefix += "/"
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []
        self._named: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._n_values = 0

    def add(self, op: str, *inputs: str, ml: bool = False, **attributes: Any) -> str:
        """Add a node, and return the name of its output.

        Parameters
        ----------
        op : str
            Name of the operator.
        inputs : str
            Values; "" leaves one out.
        ml : bool
            Whether the operator is one of ``ai.onnx.ml``.
        attributes : Any
            An array becomes a tensor.
        """
        return self._add(op, inputs, 1, "ai.onnx.ml" if ml else "", attributes)[0]

    def split(self, value: str, sizes: Sequence[int], axis: int) -> list[str]:
        """Return parts of so many columns each."""
        lengths = self.constant(list(sizes), np.int64)
        return self._add("Split", [value, lengths], len(sizes), "", {"axis": axis})

    def _add(
        self,
        op: str,
        inputs: Sequence[str],
        n_outputs: int,
        domain: str,
        attributes: Mapping[str, Any],
    ) -> list[str]:
        outputs = [self._new_name() for _ in range(n_outputs)]
        given = {
            name: self._tensor(value) if isinstance(value, np.ndarray) else value
            for name, value in attributes.items()
        }
        node = self.onnx.helper.make_node(op, inputs, outputs, name=outputs[0], domain=domain, **given)
        self.nodes.append(node)  # onnxruntime names the nodes that it makes after those that it joins
        return outputs

    def constant(self, values: Any, dtype: Any = None) -> str:
        """Return a constant; equal ones are stored once."""
        array = np.asarray(values, dtype)
        if array.dtype.kind in "OU":
            key = (str(array.tolist()), array.shape, b"")
        else:
            key = (str(array.dtype), array.shape, array.tobytes())
        if key not in self._named:
            self._named[key] = self._new_name()
            self.constants.append(self._tensor(array, self._named[key]))
        return self._named[key]

    def input(self, name: str, dtype: Any, dims: Sequence[str | int]) -> str:
        """Add an input of the graph."""
        self.inputs.append(self._value_info(name, dtype, dims))
        return name

    def output(self, value: str, name: str, dtype: Any, dims: Sequence[str | int]) -> str:
        """Add an output of the graph, and return its name, which is free."""
        while name in self.taken:
            name += "_"
        self.taken.add(name)
        self.nodes.append(self.onnx.helper.make_node("Identity", [value], [name], name=name))
        self.outputs.append(self._value_info(name, dtype, dims))
        return name

    def model(self, description: str, metadata: dict[str, str]) -> Any:
        """Return the model."""
        helper = self.onnx.helper
        graph = helper.make_graph(
            self.nodes, "tabemb", self.inputs, self.outputs, self.constants, description
        )
        opsets = [helper.make_opsetid(domain, version) for domain, version in OPSETS.items()]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
        model.producer_name = "tabemb"
        helper.set_model_props(model, metadata)
        return model

    # Operations that several parts need

    def cast(self, value: str, dtype: Any) -> str:
        """Return values in another type."""
        return self.add("Cast", value, to=self._element_type(dtype))

    def where(self, condition: str, yes: str, no: str) -> str:
        """Return one value or the other by element."""
        return self.add("Where", condition, yes, no)

    def unsqueeze(self, value: str, axis: int) -> str:
        """Return a value with one more axis of length one."""
        return self.add("Unsqueeze", value, self.constant([axis], np.int64))

    def reshape(self, value: str, shape: Sequence[int]) -> str:
        """Return a value in another shape: 0 keeps a length, -1 is what remains."""
        return self.add("Reshape", value, self.constant(shape, np.int64))

    def concat(self, values: Sequence[str], axis: int) -> str:
        """Return values side by side."""
        return values[0] if len(values) == 1 else self.add("Concat", *values, axis=axis)

    def stack(self, values: Sequence[str], n_axes: int) -> str:
        """Return values of one shape, with so many axes, along a new last axis."""
        if n_axes > 1:
            return self.concat([self.unsqueeze(value, -1) for value in values], -1)
        # one node for all columns instead of one for each
        shape = self.concat([self.constant([len(values)], np.int64), self.add("Shape", values[0])], 0)
        rows = self.add("Reshape", self.concat(values, 0), shape)
        return self.add("Transpose", rows, perm=[1, 0])

    def look_up(self, value: str, keys: np.ndarray, result: np.ndarray, default: int) -> str:
        """Return the whole number that stands for each key, ``default`` where there is none."""
        none = np.array([default], np.int64)
        return self.add(
            "LabelEncoder",
            value,
            ml=True,
            keys_tensor=keys,
            values_tensor=result.astype(np.int64),
            default_tensor=none,
        )

    def squash(self, value: str) -> str:
        """Clip smoothly to (-3, 3), as `tabemb.network.numbers.squash`."""
        third = self.add("Mul", value, self.constant(1 / 3, np.float32))
        length = self.add("Add", self.add("Mul", third, third), self.constant(1, np.float32))
        return self.add("Div", value, self.add("Sqrt", length))

    def clip(self, value: str, low: float, high: float, dtype: Any = np.float32) -> str:
        """Return values between bounds; what becomes of NaN is left open."""
        return self.add("Clip", value, self.constant(low, dtype), self.constant(high, dtype))

    def columns(self, value: str, positions: Sequence[int], n_columns: int, axis: int = 1) -> str:
        """Return some columns, by position."""
        if list(positions) == list(range(n_columns)):
            return value
        return self.add("Gather", value, self.constant(list(positions), np.int64), axis=axis)

    def _new_name(self) -> str:
        self._n_values += 1
        return f"{self.prefix}{self._n_values}"

    def _element_type(self, dtype: Any) -> int:
        if dtype is str:
            return int(self.onnx.TensorProto.STRING)
        return int(self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def _value_info(self, name: str, dtype: Any, dims: Sequence[str | int]) -> Any:
        return self.onnx.helper.make_tensor_value_info(name, self._element_type(dtype), list(dims))

    def _tensor(self, array: np.ndarray, name: str = "") -> Any:
        if array.dtype.kind in "OU":
            texts = [str(text).encode() for text in array.ravel()]
            strings = self.onnx.TensorProto.STRING
            return self.onnx.helper.make_tensor(name, strings, array.shape, texts)
        return self.onnx.numpy_helper.from_array(np.asarray(array, order="C"), name)
