"""Start a network from the weights of an older one that has fewer categories and classes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tabemb.network.dropout import UNKNOWN
from tabemb.network.model import MemberHeads, TabularNetwork
from tabemb.network.tables import Tables


@torch.no_grad()
def take_over(
    network: TabularNetwork, old: TabularNetwork, starts: Sequence[Tensor], outputs: Tensor
) -> None:
    """Copy the weights of an older network into one with more rows of tables or more outputs.

    A new category starts at its vector in ``starts`` or at that of the unknown category; its biases are
    those of the unknown category. A new output starts with nothing but its bias.

    Parameters
    ----------
    network, old : TabularNetwork
    starts : sequence of Tensor of shape (n_new, dim), one per table
        Vectors of the new categories, NaN in rows that start as the unknown category.
    outputs : int64 tensor of shape (n_outputs,)
        Position of each output of ``network`` among the outputs of ``old``, -1 for a new one.

    Raises
    ------
    ValueError
        A weight has different shapes in the two networks.
    """
    for table, start in enumerate(starts):
        _take_rows(network.tables, old.tables, table, start)
        if network.biases is not None and old.biases is not None:
            nothing = torch.full((len(start), 1), torch.nan)
            _take_rows(network.biases, old.biases, table, nothing, outputs)
    apart = _weights_of(network.tables, network.biases)
    if isinstance(network.head, MemberHeads) and isinstance(old.head, MemberHeads):
        _take_outputs(network.head, old.head, outputs)
        apart |= _weights_of(network.head)
    known = dict(old.named_parameters())
    for name, weight in network.named_parameters():
        if id(weight) not in apart:
            _take(name, weight, known.get(name))


def _weights_of(*modules: nn.Module | None) -> set[int]:
    return {id(weight) for module in modules if module is not None for weight in module.parameters()}


def _take_rows(
    tables: Tables, old: Tables, table: int, start: Tensor, outputs: Tensor | None = None
) -> None:
    """Copy the rows of one table; rows of biases have a number for each output."""
    rows = tables.rows(table)
    known, start = (vectors.to(rows.device) for vectors in (old.vectors(table), start))
    if outputs is not None:
        known = _by_output(known, outputs)
    if rows.shape[1] != known.shape[1]:
        name = f"tables.{table}"
        raise _another_shape(name)
    rows[: len(known)] = known
    rows[len(known) :] = torch.where(start.isnan(), known[UNKNOWN], start).to(rows)


def _take_outputs(head: MemberHeads, old: MemberHeads, outputs: Tensor) -> None:
    """Copy the heads of the outputs that are not new; a new output depends only on its bias."""
    if head.weight.shape[:2] != old.weight.shape[:2]:
        name = "head.weight"
        raise _another_shape(name)
    head.weight.copy_(_by_output(old.weight, outputs))
    bias = _by_output(old.bias, outputs).to(head.bias.device)
    head.bias.copy_(torch.where(outputs.to(head.bias.device) < 0, head.bias, bias))


def _by_output(known: Tensor, outputs: Tensor) -> Tensor:
    """Reorder the last axis to the new order of the outputs, with zeros for new outputs."""
    outputs = outputs.to(known.device)
    return known[..., outputs.clamp(min=0)] * (outputs >= 0)


def _take(name: str, weight: Tensor, known: Tensor | None) -> None:
    if known is None or known.shape != weight.shape:
        raise _another_shape(name)
    weight.copy_(known)


def _another_shape(name: str) -> ValueError:
    return ValueError(
        "Parameters that shape the network, such as dim, hidden and n_members, must be those of the fit "
        f"that is continued; the weight {name!r} has another shape; set them back, or fit a new model."
    )
