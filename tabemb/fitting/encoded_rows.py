"""Encoded rows on disk: written once in shuffled order, reused, and resumed after a kill.

Rows are shuffled in two steps that need little memory (Sanders 1998). Each row goes to one of many
files by its random key; then each file is sorted by the keys.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tabemb.data.encoding import Encoder
from tabemb.data.sampling import MOST_ROWS, row_keys, slices
from tabemb.data.storage import Folder
from tabemb.data.streams import AT_ONCE, N_DIGITS, OpenStream
from tabemb.files.folders import locked
from tabemb.files.whole import replacing
from tabemb.progress import progress

FORMAT = 1
"""Version of the file layout."""
OF_FILE, MOST_FILES = 2**18, 256
"""Rows per file, which is sorted in memory, and the largest number of files."""
OFTEN = 16
"""Parts between two writes of the progress of encoding."""
COMPLETE, PROGRESS = "complete.json", "progress.json"


@dataclass(frozen=True)
class EncodedRows:
    """Encoded rows in memory-mapped files, in the order of their random keys.

    Parameters
    ----------
    codes, numbers : ndarray of shape (n_rows, ...)
    vectors : list of ndarray of shape (n_rows, width)
    y : ndarray of shape (n_rows,) or (n_rows, n_targets)
    weights : ndarray of shape (n_rows,), optional
    origins : ndarray of int
        Positions in the source of the first rows, as many as a sample has.
    """

    codes: np.ndarray
    numbers: np.ndarray
    vectors: list[np.ndarray]
    y: np.ndarray
    weights: np.ndarray | None
    origins: np.ndarray

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.codes)


def encoded_rows(
    stream: OpenStream,
    encoder: Encoder,
    y: np.ndarray,
    weights: np.ndarray | None,
    show: bool | None,
) -> tuple[EncodedRows, Folder]:
    """Return the encoded rows of a stream, from the cache if they are in it.

    Parameters
    ----------
    stream : OpenStream
    encoder : Encoder
        Fitted.
    y : ndarray of shape (n_rows, ...)
        In the order of the stream; numbers or codes of classes.
    weights : ndarray of shape (n_rows,), optional
    show : bool or None
        As in `progress`.
    """
    name = _fingerprint(stream, encoder, y, weights)
    folder = stream.folder / f"rows-{name}"
    record = _record(encoder, y, weights)
    folder.mkdir(exist_ok=True)
    with locked(folder):  # if another process encodes the same rows, its result is used
        if not (folder / COMPLETE).is_file():
            _spread(folder, stream, encoder, record, y, weights, show)
            _sort(folder, record, len(y))
    storage = Folder(folder)
    return _opened(storage, record), storage


def _record(encoder: Encoder, y: np.ndarray, weights: np.ndarray | None) -> np.dtype[Any]:
    """Return the layout of one row."""
    rows = encoder.inputs_[0].schema
    fields: list[tuple[Any, ...]] = [
        ("key", "f8"),
        ("origin", "i8"),
        ("codes", "i4", (len(rows.categorical),)),
        ("numbers", "f4", (len(encoder.inputs_[0].scales),)),
        ("y", y.dtype.str, y.shape[1:]),
    ]
    fields += [(f"vectors_{i}", "f4", (v.width,)) for i, v in enumerate(encoder.vectors_)]
    fields += [] if weights is None else [("weights", "f8")]
    return np.dtype(fields)


def _spread(
    folder: Path,
    stream: OpenStream,
    encoder: Encoder,
    record: np.dtype[Any],
    y: np.ndarray,
    weights: np.ndarray | None,
    show: bool | None,
) -> None:
    """Encode the rows and write each to one of the files, continuing where a killed process stopped."""
    n_rows = len(y)
    n_files = _n_files(n_rows)
    done, sizes = _progress_of(folder, n_files)
    paths = [folder / f"part-{i:03}" for i in range(n_files)]
    for path, size in zip(paths, sizes):
        with open(path, "ab") as file:
            file.truncate(size)
    start = 0
    with progress(n_rows, "rows", show, done=done) as bar:
        for nth, part in enumerate(stream.parts(encoder.schema.used), 1):
            stop = start + part.num_rows
            if stop > done:
                rows = _encoded(part, encoder, record, y[start:stop], start)
                if weights is not None:
                    rows["weights"] = weights[start:stop]
                sizes = _append(paths, rows, sizes)
                bar.update(part.num_rows)
                if nth % OFTEN == 0 or stop == n_rows:
                    _write_json(folder / PROGRESS, {"done": stop, "sizes": sizes})
            start = stop
    if start != n_rows:
        raise ValueError(f"The source had {n_rows} rows, and has {start} now; fit again when it rests.")


def _n_files(n_rows: int) -> int:
    return min(max(1, math.ceil(n_rows / OF_FILE)), MOST_FILES)


def _encoded(
    part: pa.Table, encoder: Encoder, record: np.dtype[Any], y: np.ndarray, start: int
) -> np.ndarray:
    """Return some rows of the stream as records; ``start`` is the position of the first."""
    encoded = encoder.transform(part)
    rows = np.zeros(part.num_rows, record)
    rows["key"] = row_keys(start, start + part.num_rows)
    rows["origin"] = np.arange(start, start + part.num_rows)
    rows["codes"], rows["numbers"], rows["y"] = encoded.codes, encoded.numbers, y
    for i, vectors in enumerate(encoded.vectors):
        rows[f"vectors_{i}"] = vectors
    return rows


def _append(paths: Sequence[Path], rows: np.ndarray, sizes: Sequence[int]) -> list[int]:
    """Write rows to the files of their keys; return the sizes of the files."""
    of_file = np.minimum((rows["key"] * len(paths)).astype(int), len(paths) - 1)
    order = np.argsort(of_file, kind="stable")
    ends = np.searchsorted(of_file[order], np.arange(len(paths) + 1))
    after = list(sizes)
    for i, path in enumerate(paths):
        if ends[i] < ends[i + 1]:
            of_path = rows[order[ends[i] : ends[i + 1]]]
            with open(path, "ab") as file:
                file.write(of_path.tobytes())
            after[i] += of_path.nbytes
    return after


def _sort(folder: Path, record: np.dtype[Any], n_rows: int) -> None:
    """Write the rows of each file in the order of their keys, and remove the files."""
    storage = Folder(folder)
    names = [name for name in record.names or () if name not in ("key", "origin")]
    arrays = {
        name: storage.empty(name, (n_rows, *record[name].shape), record[name].base) for name in names
    }
    origins = storage.empty("origins", (min(n_rows, MOST_ROWS),), np.int64)
    start = 0
    for path in sorted(folder.glob("part-*")):
        rows = np.fromfile(path, record)
        rows = rows[np.argsort(rows["key"], kind="stable")]
        stop = start + len(rows)
        for name, array in arrays.items():
            array[start:stop] = rows[name]
        n_origins = max(0, min(stop, len(origins)) - start)
        origins[start : start + n_origins] = rows["origin"][:n_origins]
        storage.release()
        start = stop
    storage.flush()
    layout = {name: [list(array.shape), array.dtype.str] for name, array in arrays.items()}
    _write_json(folder / COMPLETE, {"n_rows": n_rows, "arrays": layout})
    for path in [*folder.glob("part-*"), *folder.glob(".tabemb-*.part"), folder / PROGRESS]:
        path.unlink(missing_ok=True)


def _opened(storage: Folder, record: np.dtype[Any]) -> EncodedRows:
    with open(storage.path / COMPLETE) as file:
        shapes = json.load(file)["arrays"]

    def array(name: str) -> np.ndarray:
        shape, dtype = shapes[name]
        return np.empty(shape, dtype) if 0 in shape else storage.open(name)

    n_vectors = sum(name.startswith("vectors_") for name in record.names or ())
    return EncodedRows(
        codes=array("codes"),
        numbers=array("numbers"),
        vectors=[array(f"vectors_{i}") for i in range(n_vectors)],
        y=array("y"),
        weights=array("weights") if "weights" in shapes else None,
        origins=storage.open("origins"),
    )


def _progress_of(folder: Path, n_files: int) -> tuple[int, list[int]]:
    """Return the number of rows encoded so far, and the sizes of the files at that point."""
    try:
        with open(folder / PROGRESS) as file:
            state = json.load(file)
        return int(state["done"]), [int(size) for size in state["sizes"]]
    except FileNotFoundError:
        return 0, [0] * n_files


def _write_json(path: Path, value: Any) -> None:
    with replacing(path) as file:
        file.write(json.dumps(value).encode())


def _fingerprint(stream: OpenStream, encoder: Encoder, y: np.ndarray, weights: np.ndarray | None) -> str:
    """Return a name that differs where the encoded rows would differ."""
    digest = hashlib.sha256(f"{FORMAT} {AT_ONCE} {stream.signature} {stream.weight}".encode())
    for piece in _pieces(encoder):
        digest.update(piece)
    for array in (y, weights):
        for start, stop in slices(0 if array is None else len(array), MOST_ROWS):
            digest.update(np.ascontiguousarray(array[start:stop]).data)  # type: ignore[index]
    return digest.hexdigest()[:N_DIGITS]


def _pieces(encoder: Encoder) -> Iterator[bytes]:
    """Yield the bytes of all that encoded rows depend on."""
    inputs = encoder.inputs_[0]
    features = [*inputs.schema.categorical, *inputs.schema.numbers]
    tables = encoder.schema.tables_of(inputs.schema.categorical)
    yield repr((features, tables, inputs.origins, inputs.zones, encoder.vectors_)).encode()
    for scale in inputs.scales:
        yield repr((scale.center, scale.unit)).encode()
    for name in tables:
        vocabulary = encoder.vocabularies_[name]
        yield f"{name} {vocabulary.kind} {vocabulary.n_hashed}".encode()
        for buffer in filter(None, vocabulary.categories.buffers()):
            yield memoryview(buffer)  # type: ignore[misc]
