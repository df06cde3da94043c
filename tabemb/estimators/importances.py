"""Importances of columns: the share of the variance that their effects explain, and permutation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from tabemb.data.effects import Effects
from tabemb.data.encoding import Encoder
from tabemb.data.schema import near


def explained_shares(encoder: Encoder, effects: Effects | None) -> dict[str, float] | None:
    """Return the share of the variance of the target that the effects of each column explain.

    A datetime has the share of its strongest part. None if the shares are not known: without effects, or
    in files of tabemb 0.2.
    """
    if effects is None or not hasattr(effects, "input_gains_"):
        return None
    shares: dict[str, float] = {}
    for column, gain in zip(_columns_of_inputs(encoder), effects.input_gains_.tolist()):
        shares[column] = max(shares.get(column, 0.0), gain)
    return shares


def pair_shares(effects: Effects) -> dict[int, float]:
    """Return the share that each term of several inputs explains beyond its parts, by its position.

    The parts are each input alone, and the other terms of some of the inputs.
    """
    alone = np.maximum(effects.input_gains_, 0)
    inputs = [frozenset(effects.inputs_of(term)) for term in effects.terms_]
    beyond: dict[int, float] = {}
    for t in sorted(range(len(inputs)), key=lambda t: len(inputs[t])):
        if len(inputs[t]) > 1:
            of_parts = sum(share for s, share in beyond.items() if inputs[s] < inputs[t])
            rest = float(effects.gains_[t]) - alone[list(inputs[t])].sum() - of_parts
            beyond[t] = max(rest, 0.0)
    return beyond


def stored_importances(encoder: Encoder, effects: Effects) -> dict[str, float]:
    """Return the importance of each column; they sum to one, or are all zero if effects explain nothing.

    A column has the share that its effects explain, and an equal part of the share that each of its
    combinations explains beyond its parts.
    """
    shares = explained_shares(encoder, effects) or {}
    columns = _columns_of_inputs(encoder)
    for t, beyond in pair_shares(effects).items():
        inputs = effects.inputs_of(effects.terms_[t])
        for i in inputs:
            shares[columns[i]] += beyond / len(inputs)
    total = sum(shares.values())
    return {column: share / total if total else 0.0 for column, share in shares.items()}


def _columns_of_inputs(encoder: Encoder) -> list[str]:
    """Return the column of X that each input of the effects belongs to."""
    return [feature.column for feature in (*encoder.schema.categorical, *encoder.schema.numbers)]


def groups_of(
    frame: pa.Table,
    encoder: Encoder,
    keys: Sequence[str],
    groups: Mapping[str, Sequence[str]] | None,
) -> dict[str, list[str]]:
    """Return the columns that are permuted together, by the name of the group.

    Columns in no group are permuted alone. ``keys`` are one group: entity and time of an event together
    determine which earlier events it sees.
    """
    used = [name for name in frame.schema.names if encoder.schema.roles.get(name) != "ignored"]
    used = [name for name in used if name in encoder.schema.roles and name not in keys]
    named = {", ".join(keys): list(keys)} if keys else {}
    for group, columns in (groups or {}).items():
        if isinstance(columns, str) or not columns:
            raise ValueError(f"groups[{group!r}] must list columns; got {columns!r}.")
        for name in columns:
            if name not in used:
                raise ValueError(
                    f"groups[{group!r}] must list columns that the model reads; got {name!r}"
                    f"{near(name, used)}."
                )
        named[group] = list(columns)
    members = [name for columns in named.values() for name in columns]
    twice = {name for name in members if members.count(name) > 1}
    if twice:
        raise ValueError(f"groups must list each column once; {min(twice)!r} is in several.")
    alone = {name: [name] for name in used if name not in members}
    clash = set(alone) & set(named)
    if clash:
        raise ValueError(f"groups must not have the name of another column; got {min(clash)!r}.")
    return alone | named


def permuted_importances(
    frame: pa.Table,
    groups: Mapping[str, Sequence[str]],
    loss: Callable[[pa.Table], float],
    n_repeats: int,
    generator: np.random.Generator,
) -> pd.DataFrame:
    """Return how much the loss rises when the columns of each group are permuted (Breiman 2001).

    Parameters
    ----------
    frame : pyarrow.Table
    groups : mapping of name -> columns
    loss : callable
        Takes rows and returns their loss.
    n_repeats : int
    generator : Generator
        Draws the permutations, which are the same for all groups.

    Returns
    -------
    DataFrame
        Columns ``column``, ``importance`` and ``deviation``, largest importance first.
    """
    before = loss(frame)
    orders = [pa.array(generator.permutation(frame.num_rows)) for _ in range(n_repeats)]
    rises = {
        group: [loss(_permuted(frame, columns, order)) - before for order in orders]
        for group, columns in groups.items()
    }
    importances = pd.DataFrame(
        {
            "column": pd.Series(list(rises), dtype=object),
            "importance": [float(np.mean(rise)) for rise in rises.values()],
            "deviation": [float(np.std(rise)) for rise in rises.values()],
        }
    )
    importances.attrs["loss"] = before
    return importances.sort_values("importance", ascending=False, kind="stable", ignore_index=True)


def _permuted(frame: pa.Table, columns: Sequence[str], order: pa.Array) -> pa.Table:
    for name in columns:
        i = frame.schema.get_field_index(name)
        frame = frame.set_column(i, frame.schema.field(i), frame[name].take(order))
    return frame
