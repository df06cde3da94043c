"""A second device that is not there: its tensors lie in main memory, and its rules are those of CUDA.

A machine without a GPU finds nearly all that a GPU would refuse: tensors of two devices in one
operation, a tensor of the device turned into an array of numpy, a generator of the other device.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.weak import WeakIdKeyDictionary

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
_CPU_INDEX_ALLOWED = ("aten.index.Tensor", "aten.index_put", "aten._index_put_impl_")
_BETWEEN = ("aten.copy_", "aten._to_copy")
_REAL_GENERATOR = torch.Generator


class _Storages:
    """The memory of the tensors that are on the device."""

    def __init__(self) -> None:
        self._on = WeakIdKeyDictionary()

    def __contains__(self, tensor: Any) -> bool:
        if not isinstance(tensor, Tensor):
            return False
        with torch._C._DisableTorchDispatch(), torch._C.DisableTorchFunction():
            if tensor.is_sparse:
                tensor = tensor._values()
            return self._on.get(tensor.untyped_storage(), False)

    def mark(self, tensor: Tensor, is_on: bool = True) -> None:
        with torch._C._DisableTorchDispatch(), torch._C.DisableTorchFunction():
            parts = [tensor._values(), tensor._indices()] if tensor.is_sparse else [tensor]
            for part in parts:
                self._on[part.untyped_storage()] = is_on


_ON = _Storages()


class _Move(torch.autograd.Function):
    """A copy on the other device, whose gradient comes back."""

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
    """A generator that says on which device it draws."""

    def __new__(cls, device: Any = CPU) -> Generator:
        made = super().__new__(cls)
        made.on = torch.device(device)
        return made

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return self.on


class _Functions(TorchFunctionMode):
    """What the caller sees: devices of tensors, moves, factories."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        first = args[0] if args else None
        if func in (Tensor.device.__get__, Tensor.is_cuda.__get__, Tensor.is_cpu.__get__):
            on = first in _ON
            answers = (CUDA if on else CPU, on, not on)
            return answers[(Tensor.device.__get__, Tensor.is_cuda.__get__, Tensor.is_cpu.__get__).index(func)]
        if func in (Tensor.numpy, Tensor.__array__) and first in _ON and not kwargs.get("force"):
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first.")
        if func in (Tensor.cpu, Tensor.cuda):
            return _moved(first, func is Tensor.cuda)
        if func is Tensor.to:
            return self._to(first, args[1:], kwargs)
        if func is Tensor.backward:
            with self:  # gradients that are written out ask for devices too
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
        if isinstance(made, Tensor) and (device is not None or (on and is_of_first)):
            _ON.mark(made, on)
        return made


class _Operations(TorchDispatchMode):
    """What the kernels see: no operation on tensors of two devices."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = str(func)
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        on = [tensor for tensor in tensors if tensor in _ON]
        out = func(*args, **kwargs)
        if not on or name.startswith(_BETWEEN[0]):
            return out
        if name.startswith(("aten._foreach", "aten._fused")):
            return self._each(args, out)
        off = [tensor for tensor in tensors if tensor not in _ON and tensor.dim()]
        may_index = name.startswith(_CPU_INDEX_ALLOWED) and args[0] in _ON
        if off and not may_index:
            raise RuntimeError(f"Expected all tensors to be on the same device: {name}")
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor) and not any(leaf is tensor for tensor in tensors):
                _ON.mark(leaf)
        return out

    @staticmethod
    def _each(args: Any, out: Any) -> Any:
        lists = [arg for arg in args if isinstance(arg, list | tuple) and arg and isinstance(arg[0], Tensor)]
        for together in zip(*lists):
            if len({tensor in _ON for tensor in together if tensor.dim()}) > 1:
                raise RuntimeError("Expected all tensors to be on the same device: foreach")
        if isinstance(out, list | tuple):
            for source, made in zip(lists[0], out):
                if made is not source:
                    _ON.mark(made, source in _ON)
        return out


@contextmanager
def second_device() -> Iterator[None]:
    """Let this thread have a second device, "cuda", within the block."""
    torch.Generator = Generator  # type: ignore[misc]
    try:
        with _Operations(), _Functions():
            yield
    finally:
        torch.Generator = _REAL_GENERATOR  # type: ignore[misc]
