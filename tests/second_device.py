"""A simulated second device: its tensors are in main memory, and its rules are those of CUDA.

With it, a machine without a GPU detects nearly everything that a GPU would refuse: tensors of two
devices in one operation, a tensor of the device converted to numpy, a generator of the other device.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
_CPU_INDEX_ALLOWED = ("aten.index.Tensor", "aten.index_put", "aten._index_put_impl_")
_BETWEEN_DEVICES = ("aten.copy_", "aten.set_")
_REAL_GENERATOR = torch.Generator
_ASKED = {
    Tensor.device.__get__: lambda on: CUDA if on else CPU,
    Tensor.is_cuda.__get__: lambda on: on,
    Tensor.is_cpu.__get__: lambda on: not on,
}


class _Storages:
    """The memory of the tensors that are on the device.

    A tensor that a kernel creates from nothing, within one call from Python, has no device until it is
    used with another tensor: the real kernel would have created it on that one's device.
    """

    def __init__(self) -> None:
        self._on = WeakIdKeyDictionary()

    def __contains__(self, tensor: Any) -> bool:
        return isinstance(tensor, Tensor) and self._state(tensor) is True

    def is_open(self, tensor: Tensor) -> bool:
        return self._state(tensor) is None

    def _state(self, tensor: Tensor) -> bool | None:
        with torch._C._DisableTorchDispatch(), torch._C.DisableTorchFunction():
            if tensor.is_sparse:
                tensor = tensor._values()
            return self._on.get(tensor.untyped_storage(), False)

    def mark(self, tensor: Tensor, is_on: bool | None = True) -> None:
        with torch._C._DisableTorchDispatch(), torch._C.DisableTorchFunction():
            parts = [tensor._values(), tensor._indices()] if tensor.is_sparse else [tensor]
            for part in parts:
                self._on[part.untyped_storage()] = is_on


_ON = _Storages()


class _Move(torch.autograd.Function):
    """A copy on the other device, whose gradient is copied back."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, to_device: bool) -> Tensor:
        ctx.to_device = to_device
        return _copied(tensor, to_device)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _copied(gradient, not ctx.to_device), None


def _copied(tensor: Tensor, to_device: bool) -> Tensor:
    with torch._C._DisableTorchDispatch():
        copy = tensor.detach().clone()
    _ON.mark(copy, to_device)
    return copy


def _moved(tensor: Tensor, to_device: bool) -> Tensor:
    if (tensor in _ON) == to_device:
        return tensor
    if tensor.requires_grad and torch.is_grad_enabled():
        return _Move.apply(tensor, to_device)
    return _copied(tensor, to_device)


class Generator(_REAL_GENERATOR):
    """A generator that reports the device on which it draws."""

    def __new__(cls, device: Any = CPU) -> Generator:
        made = super().__new__(cls)
        made.on = torch.device(device)
        return made

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return self.on


def _tensors_in(nested: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(nested) if isinstance(leaf, Tensor)]


class _Functions(TorchFunctionMode):
    """Functions as the caller sees them: devices of tensors, moves, factories."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        first = args[0] if args else None
        if func in _ASKED:
            return _ASKED[func](first in _ON)
        if func in (Tensor.numpy, Tensor.__array__) and first in _ON and not kwargs.get("force"):
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first.")
        if func in (Tensor.cpu, Tensor.cuda):
            return _moved(first, func is Tensor.cuda)
        if func is Tensor.to:
            return self._to(first, args[1:], kwargs)
        if func is Tensor.backward:
            with self:  # explicit gradients ask for devices too
                return torch.autograd.backward(*args)
        return self._made(func, args, kwargs)

    def _to(self, tensor: Tensor, args: Any, kwargs: Any) -> Tensor:
        target, rest = tensor in _ON, []
        for arg in [*args, kwargs.pop("device", None), kwargs.pop("other", None)]:
            if isinstance(arg, str | torch.device):
                target = torch.device(arg).type == "cuda"
            elif isinstance(arg, Tensor):
                target = arg in _ON
                rest.append(arg.dtype)
            elif arg is not None:
                rest.append(arg)
        kwargs.pop("non_blocking", None)
        dtypes = [arg for arg in rest if isinstance(arg, torch.dtype)]
        dtype = kwargs.get("dtype") or (dtypes[0] if dtypes else None)
        return _moved(tensor if dtype is None else tensor.to(dtype), target)

    def _made(self, func: Any, args: Any, kwargs: Any) -> Any:
        first = args[0] if args else None
        device = kwargs.pop("device", None)
        on = first in _ON if device is None else torch.device(device).type == "cuda"
        generator = kwargs.get("generator")
        if generator is not None and (generator.device.type == "cuda") != on:
            raise RuntimeError(f"Expected a generator on {'cuda' if on else 'cpu'}: {func}")
        made = func(*args, **kwargs)
        is_of_first = func in (Tensor.new_tensor, Tensor.__deepcopy__)
        for tensor in _tensors_in(made):
            if _ON.is_open(tensor):
                _ON.mark(tensor, on and device is not None)
        if isinstance(made, Tensor) and (device is not None or (on and is_of_first)):
            _ON.mark(made, on)
        return made


class _Operations(TorchDispatchMode):
    """Operations as the kernels see them: no operation has tensors of two devices."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **kwargs or {})
        name = str(func)
        tensors = _tensors_in((args, kwargs))
        if all(map(_ON.is_open, tensors)):
            for tensor in _tensors_in(out):
                _ON.mark(tensor, None)
        elif name.startswith("aten._pack_padded_sequence"):
            _ON.mark(out[0], tensors[0] in _ON)  # the batch sizes stay on the CPU
        elif name.startswith(("aten._foreach", "aten._fused")):
            self._each(args, out)
        elif not name.startswith(_BETWEEN_DEVICES) and any(tensor in _ON for tensor in tensors):
            self._together(name, args, tensors)
            for tensor in _tensors_in(out):
                _ON.mark(tensor)
        return out

    @staticmethod
    def _together(name: str, args: Any, tensors: list[Tensor]) -> None:
        for tensor in filter(_ON.is_open, tensors):
            _ON.mark(tensor)
        off = [tensor for tensor in tensors if tensor not in _ON and tensor.dim()]
        may_index = name.startswith(_CPU_INDEX_ALLOWED) and args[0] in _ON
        if off and not may_index:
            raise RuntimeError(f"Expected all tensors to be on the same device: {name}")

    @staticmethod
    def _each(args: Any, out: Any) -> None:
        lists = [
            arg for arg in args if isinstance(arg, list | tuple) and arg and isinstance(arg[0], Tensor)
        ]
        for together in zip(*lists):
            if len({tensor in _ON for tensor in together if tensor.dim()}) > 1:
                raise RuntimeError("Expected all tensors to be on the same device: foreach")
        if isinstance(out, list | tuple):
            for source, made in zip(lists[0], out):
                if made is not source:
                    _ON.mark(made, source in _ON)


@contextmanager
def second_device() -> Iterator[None]:
    """Give this thread a second device, "cuda", within the block."""
    torch.Generator = Generator  # type: ignore[misc]
    try:
        with _Operations(), _Functions():
            yield
    finally:
        torch.Generator = _REAL_GENERATOR  # type: ignore[misc]
