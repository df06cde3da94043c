"""Convert Arrow arrays to bytes, and back from bytes that may be damaged or forged."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

DICTIONARY, RECORDS = "dictionary", "record batch"
"""Messages of Arrow's stream format that contain values."""


def to_bytes(array: pa.Array) -> np.ndarray:
    """Return an array as bytes of Arrow's stream format."""
    sink = pa.BufferOutputStream()
    batch = pa.record_batch([array], names=["values"])
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return np.frombuffer(sink.getvalue(), dtype=np.uint8)


def from_bytes(content: np.ndarray) -> pa.Array:
    """Read an array from bytes of `to_bytes`; it needs no more memory than the bytes.

    Raises
    ------
    ValueError
        The bytes contain something else, offsets that are out of bounds, or more values than bits.
    """
    buffer = pa.py_buffer(content.tobytes())
    _check_uncompressed(buffer)
    with pa.ipc.open_stream(buffer) as reader:
        _check_plain(reader.schema.field("values").type)
        table = reader.read_all()
    table.validate(full=True)
    values = table["values"]
    for part in (part for chunk in values.chunks for part in _parts(chunk)):
        if len(part) > 8 * len(buffer):
            raise ValueError(f"an Arrow array has {len(part)} values in {len(buffer)} bytes.")
    return values.combine_chunks()


def _check_uncompressed(buffer: pa.Buffer) -> None:
    """Raise ValueError for compressed arrays, in which a few bytes may stand for very many."""
    reader = pa.ipc.MessageReader.open_stream(buffer)
    while True:
        try:
            message = reader.read_next_message()
        except StopIteration:
            return
        if message.type in (RECORDS, DICTIONARY) and _is_compressed(message):
            raise ValueError("an Arrow array is compressed.")


def _is_compressed(message: pa.ipc.Message) -> bool:
    """Return whether a message names a compression: field 3 of its batch, which pyarrow hides.

    The metadata are a flatbuffer, https://arrow.apache.org/docs/format/Columnar.html.
    """
    data = message.metadata.to_pybytes()
    batch = _target(data, _target(data, 0), 2)
    if message.type == DICTIONARY:
        batch = _target(data, batch, 1)
    return _field(data, batch, 3) != 0


def _target(data: bytes, table: int, field: int | None = None) -> int:
    """Return the position of a table that the start of the data, or a field of a table, refers to."""
    place = table if field is None else table + _field(data, table, field)
    target: int = place + struct.unpack_from("<I", data, place)[0]
    return target


def _field(data: bytes, table: int, field: int) -> int:
    """Return where a field starts, counted from its table; zero where the table lacks it."""
    slots = table - struct.unpack_from("<i", data, table)[0]
    (n_bytes,), place = struct.unpack_from("<H", data, slots), 4 + 2 * field
    offset: int = struct.unpack_from("<H", data, slots + place)[0] if place < n_bytes else 0
    return offset


def _check_plain(dtype: pa.DataType) -> None:
    """Raise ValueError for types whose values may share bytes, so that few bytes stand for many."""
    types = pa.types
    is_shared = (
        types.is_union,
        types.is_run_end_encoded,
        types.is_list_view,
        types.is_large_list_view,
        types.is_string_view,
        types.is_binary_view,
    )
    if any(is_of_type(dtype) for is_of_type in is_shared):
        raise ValueError(f"an Arrow array has the type {dtype}.")
    for i in range(dtype.num_fields):
        _check_plain(dtype.field(i).type)


def _parts(array: pa.Array) -> Iterator[pa.Array]:
    """Yield an array and the arrays inside it."""
    yield array
    if isinstance(array, pa.ExtensionArray):
        yield from _parts(array.storage)
    elif isinstance(array, pa.DictionaryArray):
        yield from _parts(array.dictionary)
    elif isinstance(array, pa.StructArray):
        for child in array.flatten():
            yield from _parts(child)
    elif hasattr(array, "values"):
        yield from _parts(array.values)
