"""Read and write formats in which categories are text: word2vec, TensorBoard's projector.

Readers return `Parts`, the arguments of a space. `EmbeddingSpace` describes the formats.
"""

from __future__ import annotations

import json
import mmap
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd

from tabemb.files.csv_cells import guarded, without_guard
from tabemb.files.whole import replacing
from tabemb.labels import text_of
from tabemb.spaces.vectors import CategoryVectors, Parts

VECTORS, METADATA, CONFIG = "vectors.tsv", "metadata.tsv", "projector_config.pbtxt"
SPARE = 2**20
"""A file that lacks more bytes than this, by its first line, is refused before it is read."""


def write_word2vec(
    space: CategoryVectors, path: str | Path, binary: bool, counts_path: str | Path | None
) -> None:
    """Write the format that gensim's `KeyedVectors.load_word2vec_format` reads."""
    words = _as_texts(space.categories, r"\s", "_")
    if counts_path is not None and space.counts is None:
        raise ValueError(f"counts_path must be None for a space without counts; {space!r} has none.")
    with replacing(path) as file:
        file.write(f"{len(space)} {space.vectors.shape[1]}\n".encode())
        for word, vector in zip(words, space.vectors):
            numbers = vector.astype("<f4").tobytes() if binary else (_line(vector, " ") + "\n").encode()
            file.write(f"{word} ".encode() + numbers)
    if counts_path is None or space.counts is None:
        return
    counts = np.rint(space.counts).astype(np.int64)
    _write_lines(Path(counts_path), [f"{word} {count}" for word, count in zip(words, counts)])


def read_word2vec(path: str | Path, binary: bool, counts_path: str | Path | None) -> Parts:
    """Read a file of `write_word2vec` or gensim."""
    with open(path, "rb") as file:
        header = file.readline(100).split()
        if len(header) != 2 or not all(part.isdigit() for part in header):
            raise ValueError(
                "path must name a word2vec file, whose first line holds two numbers, words and width; "
                f"{str(path)!r} is not one."
            )
        shape = int(header[0]), int(header[1])
        _check_size(shape, path, 4 if binary else 2)
        words, vectors = (_binary_vectors if binary else _text_vectors)(file, shape, path)
    counts = None if counts_path is None else _counts(counts_path, words)
    return Parts(vectors, pd.Index(words, dtype=str), counts, Path(path).stem)


def _check_size(shape: tuple[int, int], path: str | Path, n_bytes: int) -> None:
    """Raise ValueError if a file is too small for words of one byte and numbers of ``n_bytes`` each."""
    least, size = shape[0] * (1 + n_bytes * shape[1]), Path(path).stat().st_size
    if least > size + SPARE:  # for a small file, the reader says where it ends
        raise ValueError(
            f"{path} must hold {shape[0]} words of {shape[1]} numbers, as its first line states; it has "
            f"{size} bytes, too few for them."
        )


def _text_vectors(
    file: BinaryIO, shape: tuple[int, int], path: str | Path
) -> tuple[list[str], np.ndarray]:
    words, vectors = [], np.empty(shape, dtype=np.float32)
    for i, line in enumerate(file):
        if i == shape[0]:
            raise ValueError(
                f"{path} must hold the {shape[0]} words that its first line states; it holds more."
            )
        word, *numbers = line.rstrip().split(b" ")
        place = f"Line {i + 2} of {path}"
        if len(numbers) != shape[1]:
            raise ValueError(
                f"{place} must hold a word without spaces and {shape[1]} numbers, as the first line "
                f"states; it holds {len(numbers)} numbers (a binary file needs binary=True)."
            )
        try:
            vectors[i] = numbers
            words.append(word.decode())
        except ValueError as error:
            raise ValueError(f"{place} must hold a word and numbers: {error}.") from error
    if len(words) < shape[0]:
        raise ValueError(
            f"{path} must hold the {shape[0]} words that its first line states; it holds {len(words)}."
        )
    return words, vectors


def _binary_vectors(
    file: BinaryIO, shape: tuple[int, int], path: str | Path
) -> tuple[list[str], np.ndarray]:
    words, vectors = [], np.empty(shape, dtype=np.float32)
    rule = f"{path} must hold the {shape[0]} words that its first line states"
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        end = file.tell()
        for i in range(shape[0]):
            start, space = end, data.find(b" ", end)
            end = space + 1 + 4 * shape[1]
            if space < 0 or end > len(data):
                raise ValueError(f"{rule}; it ends before (a text file needs binary=False).")
            # the original word2vec wrote a newline after each vector
            words.append(_decoded(data[start:space].lstrip(b"\n"), path))
            vectors[i] = np.frombuffer(data[space + 1 : end], dtype="<f4")
        if data[end:].strip(b"\n"):
            raise ValueError(f"{rule}; it holds more (a text file needs binary=False).")
    return words, vectors


def _decoded(text: bytes, path: str | Path) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} must hold text in UTF-8; it holds {text[:20]!r}.") from error


def _counts(path: str | Path, words: list[str]) -> list[int]:
    by_word = dict(line.rpartition(" ")[::2] for line in _lines(Path(path)) if line)
    if missing := [word for word in words if word not in by_word]:
        raise ValueError(f"{path} must hold a count for each word; {missing[0]!r} has none.")
    for word in words:
        if not by_word[word].isdecimal():
            raise ValueError(f"{path} must hold whole counts; {word!r} has {by_word[word]!r}.")
    return [int(by_word[word]) for word in words]


def write_projector(space: CategoryVectors, folder: str | Path, metadata: pd.DataFrame | None) -> None:
    """Write the three files that TensorBoard's projector reads."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    columns = {"category": _as_texts(space.categories, r"\s+", " ")}
    if space.counts is not None:
        columns["count"] = list(map(str, space.counts))
    if space.reliability is not None:
        columns["reliability"] = list(map(str, space.reliability))
    columns |= {} if metadata is None else _metadata_columns(metadata, space.categories)
    # TensorBoard reads a header only if there are several columns
    header = [tuple(columns)] if len(columns) > 1 else []
    lines = ["\t".join(map(guarded, cells)) for cells in [*header, *zip(*columns.values())]]
    _write_lines(folder / METADATA, lines)
    _write_lines(folder / VECTORS, [_line(vector, "\t") for vector in space.vectors])
    entries = {"tensor_name": space.name or "vectors", "tensor_path": VECTORS, "metadata_path": METADATA}
    body = [f"  {key}: {json.dumps(value, ensure_ascii=False)}" for key, value in entries.items()]
    _write_lines(folder / CONFIG, ["embeddings {", *body, "}"])


def read_projector(folder: str | Path) -> Parts:
    """Read the files of `write_projector`; the categories are text."""
    folder = Path(folder)
    rows = [line.split("\t") for line in _lines(folder / VECTORS)]
    if len({len(row) for row in rows}) != 1:
        raise ValueError(f"{folder / VECTORS} must hold vectors of one width, a line each.")
    cells = [line.split("\t") for line in _lines(folder / METADATA)]
    header = cells.pop(0) if len(cells) == len(rows) + 1 else ["category"]
    if len(cells) != len(rows):
        raise ValueError(
            f"{folder / METADATA} must hold a line for each of the {len(rows)} vectors; "
            f"it holds {len(cells)}."
        )
    by_name = dict(zip(header, zip(*cells)))
    counts, reliability = (
        _as_floats(by_name[column], folder / METADATA, np.float64) if column in by_name else None
        for column in ("count", "reliability")
    )
    name = re.search(r"tensor_name: (\".*\")", "\n".join(_lines(folder / CONFIG)))
    vectors = _as_floats(rows, folder / VECTORS, np.float32)
    categories = [without_guard(text) for text in by_name[header[0]]]
    return Parts(vectors, categories, counts, json.loads(name[1]) if name else "", reliability)


def _as_floats(cells: Any, path: Path, dtype: type[np.floating[Any]]) -> np.ndarray:
    try:
        return np.array(cells, dtype=dtype)
    except ValueError as error:
        raise ValueError(f"{path} must hold numbers only: {error}.") from error


def _metadata_columns(metadata: pd.DataFrame, categories: pd.Index) -> dict[str, list[str]]:
    if not metadata.index.is_unique:
        raise ValueError("metadata must be indexed by unique categories; its index repeats one.")
    if not metadata.index.isin(categories).any():
        raise ValueError("metadata must be indexed by category; none of its index is a category.")
    if reserved := {"category", "count", "reliability"} & set(metadata.columns):
        raise ValueError(
            f"metadata must not have a column {min(reserved)!r}, because the space writes one itself."
        )
    rows = metadata.astype(object).reindex(categories)
    rows = rows.where(rows.notna(), "")
    return {
        _as_text(name, r"\s+", " "): [_as_text(cell, r"\s+", " ") for cell in rows[name]]
        for name in metadata.columns
    }


def _as_texts(categories: pd.Index, pattern: str, replacement: str) -> list[str]:
    """Return categories as texts in which `pattern` is replaced; two equal texts are an error."""
    by_text: dict[str, Hashable] = {}
    for category in categories:
        text = _as_text(category, pattern, replacement)
        if text in by_text:
            raise ValueError(
                f"categories must differ as text; {by_text[text]!r} and {category!r} would both be "
                f"written as {text!r}, so rename one of them."
            )
        by_text[text] = category
    return list(by_text)


def _as_text(value: Any, pattern: str, replacement: str) -> str:
    return re.sub(pattern, replacement, text_of(value))


def _line(vector: np.ndarray, separator: str) -> str:
    return separator.join(vector.astype(str))  # the shortest text that reads back as the same float32


def _write_lines(path: Path, lines: list[str]) -> None:
    with replacing(path) as file:
        file.write("".join(line + "\n" for line in lines).encode())


def _lines(path: Path) -> list[str]:
    return _decoded(path.read_bytes(), path).removesuffix("\n").split("\n")
