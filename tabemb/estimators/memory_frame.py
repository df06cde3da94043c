"""Memory of the tables of a model: bytes for each level and in total, in the model and in training."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from tabemb.data.encoding import Encoder
from tabemb.data.vocabulary import Vocabulary
from tabemb.network.model import Reader, TabularNetwork
from tabemb.network.tables import TableGroup, Tables

N_MOMENTS = 2
"""Numbers that Adam keeps for a weight."""
COUNTER = 4
"""Bytes of the number of updates of a row, if only the rows of a batch are updated."""
COLUMNS = ["table", "rows", "bytes_a_level", "bytes", "bytes_training_a_level", "bytes_training"]
RATE = 4
"""Bytes of the share of cells to hide in training, for a level in each column of rows or events."""


def memory_frame(
    encoder: Encoder, networks: Sequence[TabularNetwork | Reader], keeps_best: bool
) -> pd.DataFrame:
    """Return one row for each table: its rows, and their bytes in the model and in training.

    Parameters
    ----------
    encoder : Encoder
    networks : sequence of TabularNetwork or Reader
        All networks; they train one after another.
    keeps_best : bool
        Whether training keeps a copy of the weights of the best epoch.
    """
    lines = []
    for t, (name, table) in enumerate(encoder.schema.tables.items()):
        vocabulary = encoder.vocabularies_[name]
        model = RATE * len(table.columns) * len(networks)
        training = 0
        for network in networks:
            for tables in filter(None, (network.tables, getattr(network, "biases", None))):
                of_network, of_training = _bytes_of_row(tables, t, keeps_best)
                model, training = model + of_network, training + of_training
        n_rows, of_categories = len(vocabulary), _bytes_of(vocabulary)
        in_model = model * n_rows + of_categories
        in_training = in_model + training * n_rows
        sizes = (in_model / n_rows, in_model, in_training / n_rows, in_training)
        lines.append((name, n_rows, *sizes))
    return pd.DataFrame(lines, columns=COLUMNS)


def _bytes_of_row(tables: Tables, t: int, keeps_best: bool) -> tuple[int, int]:
    """Return the bytes of a row: those of its vector and prior, and those that training adds."""
    group: TableGroup = tables.groups[tables.place[t][0]]
    vector = group.weight.shape[1] * group.weight.element_size()
    n_copies = 1 + N_MOMENTS + keeps_best  # the first one is the average
    return vector + group.prior.element_size(), vector * n_copies + COUNTER * group.is_sparse


def _bytes_of(vocabulary: Vocabulary) -> int:
    """Return the bytes of the categories and their counts."""
    return int(vocabulary.categories.nbytes) + vocabulary.counts.nbytes


def memory_fact(frame: pd.DataFrame) -> str:
    """Return the bytes of all tables, and of a level of the largest table, in a few words."""
    largest = frame.to_dict("records")[int(frame["bytes"].argmax())]
    total, training = (_in_words(frame[name].sum()) for name in ("bytes", "bytes_training"))
    level, trained = (_in_words(largest[f"{name}_a_level"]) for name in ("bytes", "bytes_training"))
    return f"{total} ({training} in training), a level of {largest['table']!r} {level} ({trained})"


def share_hashed(vocabulary: Vocabulary) -> float:
    """Return the share of a table's training cells that are read as hashed rows."""
    counts = vocabulary.counts
    return float(counts[vocabulary.kept.stop :].sum() / max(counts.sum(), 1))


def _in_words(n_bytes: float) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if n_bytes >= size:
            return f"{n_bytes / size:.3g} {unit}"
    return f"{n_bytes:.0f} bytes"
