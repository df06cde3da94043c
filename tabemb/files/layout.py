"""The layout of a file: a safetensors file whose header contains a checksum of the whole file.

The checksum is always at the same position, so a reader checks it before it parses anything. Files of
formats 1 and 2 have no checksum; their contents are checked as strictly.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from tabemb.files.whole import BLANK, check_seal, replacing, seal

Arrays = dict[str, np.ndarray]

FORMAT = 3
"""Version of the layout. Files of earlier formats are upgraded, those of later ones are refused."""
OLDER = (1, 2)
"""Formats without a checksum."""
N_LENGTH = 8
"""Bytes at the start of a safetensors file that contain the length of its header."""
OPENING = b'{"__metadata__":{"sha256":"'
"""The start of the header; the checksum follows."""
PLACE = N_LENGTH + len(OPENING)
DTYPES = {
    "BOOL": "|b1",
    "U8": "|u1",
    "I8": "|i1",
    "I16": "<i2",
    "U16": "<u2",
    "F16": "<f2",
    "I32": "<i4",
    "U32": "<u4",
    "F32": "<f4",
    "F64": "<f8",
    "I64": "<i8",
    "U64": "<u8",
}
"""Names of dtypes in a safetensors file."""
NAMES = {dtype: name for name, dtype in DTYPES.items()}


def write(path: str | os.PathLike[str], header: dict[str, Any], arrays: Arrays) -> None:
    """Write header and arrays to a file, which is replaced as a whole or not at all."""
    contents = {name: _little_endian(array) for name, array in arrays.items()}
    metadata = {"sha256": BLANK.decode(), "tabemb": json.dumps(header)}
    entries: dict[str, Any] = {"__metadata__": metadata}
    position = 0
    for name, array in contents.items():
        end = position + array.nbytes
        dtype = NAMES[array.dtype.str]
        entries[name] = {"dtype": dtype, "shape": array.shape, "data_offsets": [position, end]}
        position = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # arrays start at a multiple of eight bytes
    with replacing(path) as file:
        file.write(len(text).to_bytes(N_LENGTH, "little") + text)
        for array in contents.values():
            file.write(array.data if array.size else b"")
        seal(file, PLACE)


def _little_endian(array: np.ndarray) -> np.ndarray:
    return np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], Arrays]:
    """Return the header and the arrays of a file.

    Raises
    ------
    ValueError
        The file is damaged, is not a tabemb file, or was written by a later version.
    """
    content, name = bytearray(Path(path).read_bytes()), os.fspath(path)
    is_sealed = content[N_LENGTH:PLACE] == OPENING
    if is_sealed:
        check_seal(content, PLACE, name)
    try:
        entries, data = _split(content)
        header = json.loads(entries.pop("__metadata__")["tabemb"])
        version = header["format"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{name!r} is not a tabemb file; it has no header that can be read.") from error
    if version not in ((FORMAT,) if is_sealed else OLDER):
        raise ValueError(_refusal(name, version, header.get("versions")))
    return header, _arrays(entries, data)


def _refusal(name: str, version: Any, versions: Any) -> str:
    if type(version) is int and version > FORMAT:
        writer = versions.get("tabemb", "?") if isinstance(versions, dict) else "?"
        return (
            f"{name!r} is not a tabemb file of format {FORMAT} or earlier; it has format {version}, of "
            f"tabemb {writer}, so load it with that version."
        )
    return (
        f"{name!r} is not a tabemb file of format {FORMAT} or earlier, or it is damaged; its format is "
        f"{version!r:.20}."
    )


def _split(content: bytearray) -> tuple[dict[str, Any], memoryview]:
    """Return the parsed header of a safetensors file, and its data."""
    end = N_LENGTH + int.from_bytes(content[:N_LENGTH], "little")
    if not N_LENGTH + 2 <= end <= len(content):
        raise ValueError("the header is longer than the file.")
    entries = json.loads(content[N_LENGTH:end])
    if not isinstance(entries, dict):
        raise ValueError("the header is not an object.")
    return entries, memoryview(content)[end:]


def _arrays(entries: dict[str, Any], data: memoryview) -> Arrays:
    """Return the arrays as views of the data, which they must fill without gap or overlap."""
    arrays, position = {}, 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1]["data_offsets"]):
        begin, end = entry["data_offsets"]
        dtype, shape = np.dtype(DTYPES[entry["dtype"]]), entry["shape"]
        if not all(type(size) is int and size >= 0 for size in (begin, end, *shape)):
            raise ValueError(f"array {name!r} has a size that is no whole number.")
        if begin != position or end > len(data) or math.prod(shape) * dtype.itemsize != end - begin:
            raise ValueError(f"array {name!r} has shape {shape}, which does not fit its bytes.")
        arrays[name] = np.ndarray(tuple(shape), dtype, buffer=data, offset=begin)
        position = end
        if dtype.kind == "b" and (arrays[name].view(np.uint8) > 1).any():
            raise ValueError(f"array {name!r} must hold True and False only.")
    if position != len(data):
        raise ValueError(f"{len(data) - position} bytes belong to no array.")
    return arrays
