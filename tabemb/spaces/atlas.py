"""One page for the browser in which a person explores spaces; it carries everything along and needs no network."""

from __future__ import annotations

import base64
import hashlib
import json
import reprlib
from collections import Counter
from collections.abc import Hashable, Mapping
from difflib import get_close_matches
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.colors import to_hex
from pandas.api import types
from sklearn.preprocessing import normalize

from tabemb.spaces import maps
from tabemb.spaces.space import EmbeddingSpace

# What a browser draws fluently without a graphics card; the file grows by 2.7 bytes a number of the vectors.
MAX_CATEGORIES = 50_000
SCRIPTS = ("data.js", "paint.js", "hand.js", "panel.js")
SCALE = [to_hex(color) for color in colormaps["viridis"](np.linspace(0, 1, 64))]
MISSING = -1  # the code of a missing class


def write(
    path: str | Path,
    space: EmbeddingSpace,
    metadata: Any = None,
    coordinates: pd.DataFrame | None = None,
    others: Mapping[str, Any] | None = None,
    color: str | None = None,
    title: str | None = None,
) -> Path:
    """Write the page of `EmbeddingSpace.atlas`, which describes the arguments."""
    path = _writable(Path(path))
    placed = _named_spaces(space, coordinates, others or {})
    for name, (shown, _) in placed.items():
        _check_size(name, shown)
    categories = _union([shown for shown, _ in placed.values()])
    columns = _columns(_by_category(metadata, categories))
    given = {
        "title": title or space.name or "Atlas",
        "color": _checked_color(color, columns, space),
        "palette": maps.CLASSES,
        "scale": SCALE,
        "texts": ["(missing)" if _is_missing(category) else str(category) for category in categories],
        "columns": columns,
        "spaces": [_packed(name, *shown, categories) for name, shown in placed.items()],
    }
    # half of a surrogate pair can stand in a str, but not in a file
    path.write_text(_page(given), encoding="utf-8", errors="replace", newline="\n")
    return path


def _writable(path: Path) -> Path:
    if not path.parent.is_dir():
        raise FileNotFoundError(f"path: the folder {str(path.parent)!r} does not exist")
    if path.is_dir():
        raise IsADirectoryError(f"path must name a file, but {str(path)!r} is a folder")
    return path


def _named_spaces(
    space: EmbeddingSpace, coordinates: pd.DataFrame | None, others: Mapping[str, Any]
) -> dict[str, tuple[EmbeddingSpace, pd.DataFrame | None]]:
    """Return each space with its coordinates, where given, by name; the first is the one that opens."""
    if not isinstance(others, Mapping):
        raise ValueError(f"others must map names to spaces, got {type(others).__name__}")
    first = space.name or "this space"
    if first in others:
        raise ValueError(f"others: {first!r} is the name of the space itself; choose another")
    pairs = {
        name: other if isinstance(other, tuple) else (other, None) for name, other in others.items()
    }
    for name, pair in pairs.items():
        if len(pair) != 2 or not isinstance(pair[0], EmbeddingSpace):
            raise ValueError(
                f"others must hold spaces, or pairs of a space and its coordinates; {name!r} does not"
            )
    return {first: (space, coordinates), **pairs}


def _check_size(name: str, space: EmbeddingSpace) -> None:
    if not len(space):
        raise ValueError(f"an atlas needs at least one category, but {name!r} has none")
    if len(space) > MAX_CATEGORIES:
        raise ValueError(
            f"an atlas shows at most {MAX_CATEGORIES:,} categories, but {name!r} has {len(space):,}; "
            "pass a smaller space, such as subset(50_000), the most frequent"
        )


def _union(spaces: list[EmbeddingSpace]) -> pd.Index:
    """Return the categories of the first space, then those of the others that are new."""
    union = spaces[0].categories
    for space in spaces[1:]:
        new = space.categories[union.get_indexer(space.categories) < 0]
        union = pd.Index([*union, *new], tupleize_cols=False) if len(new) else union
    return union


def _by_category(metadata: Any, categories: pd.Index) -> pd.DataFrame:
    """Return the metadata in the order of the categories; what it lacks is missing."""
    try:
        frame = pd.DataFrame({} if metadata is None else metadata)
    except ValueError as error:
        kinds = "a DataFrame, or a mapping from name to Series, indexed by category"
        raise ValueError(f"metadata must be {kinds}; got {reprlib.repr(metadata)}") from error
    if not len(frame.columns):
        return frame
    index = pd.Index(frame.index.to_flat_index(), tupleize_cols=False)
    if not index.is_unique:
        raise ValueError(
            f"metadata must hold each category once, but {index[index.duplicated()][0]!r} occurs again"
        )
    rows = index.get_indexer(categories)
    if (rows < 0).all():
        example = f"; its first is {index[0]!r}, a category is {categories[0]!r}" if len(index) else ""
        raise ValueError(
            f"metadata must be indexed by category, but nothing in its index is one{example}"
        )
    return frame.set_axis(pd.RangeIndex(len(frame))).reindex(
        rows
    )  # no row has the label -1: there all is missing


def _columns(metadata: pd.DataFrame) -> list[dict[str, Any]]:
    return [_column(str(name), metadata.iloc[:, i]) for i, name in enumerate(metadata.columns)]


def _column(name: str, values: pd.Series) -> dict[str, Any]:
    """Describe one column for the page: a number, date, class or text of each category."""
    if types.is_datetime64_any_dtype(values):
        stamps = values.dt.tz_localize(None).astype("datetime64[ms]")
        return {
            "name": name,
            "kind": "date",
            "values": _numbers(name, stamps.astype("int64").where(stamps.notna())),
        }
    if types.is_numeric_dtype(values) and not types.is_bool_dtype(values):
        return {"name": name, "kind": "number", "values": _numbers(name, values)}
    texts = [None if missing else str(value) for value, missing in zip(values, values.isna())]
    found = Counter(text for text in texts if text is not None)
    codes = {text: code for code, (text, _) in enumerate(found.most_common())}
    # a text that is nearly always another one is worth reading, but not worth a colour
    kind = "text" if len(codes) > max(len(maps.CLASSES), found.total() / 2) else "class"
    coded = [MISSING if text is None else codes[text] for text in texts]
    return {"name": name, "kind": kind, "levels": list(codes), "values": coded}


def _numbers(name: str, values: pd.Series) -> list[float | None]:
    """Return numbers as JSON writes them shortest; None where missing."""
    floats = values.to_numpy(dtype=float, na_value=np.nan)
    if np.isinf(floats).any():
        raise ValueError(f"metadata must be finite, but column {name!r} holds an infinite number")
    return [
        None if value != value else int(value) if value.is_integer() else value
        for value in floats.tolist()
    ]


def _checked_color(
    color: str | None, columns: list[dict[str, Any]], space: EmbeddingSpace
) -> str | None:
    choices = ([] if space.counts is None else ["count"]) + [
        c["name"] for c in columns if c["kind"] != "text"
    ]
    if color is not None and color not in choices:
        close = get_close_matches(str(color), choices, n=1)
        raise ValueError(
            f"color must name a column of metadata with numbers, dates or classes, or 'count' of a space with counts; "
            f"got {color!r}" + (f"; did you mean {close[0]!r}?" if close else "")
        )
    return color


def _packed(
    name: str, space: EmbeddingSpace, coordinates: pd.DataFrame | None, categories: pd.Index
) -> dict[str, Any]:
    """Describe one space for the page, its vectors and coordinates as base64 of little-endian arrays."""
    vectors, scales = quantised(space.vectors)
    members = categories.get_indexer(space.categories)
    return {
        "name": str(name),
        "d": space.vectors.shape[1],
        "members": None if np.array_equal(members, np.arange(len(categories))) else members.tolist(),
        "counts": None if space.counts is None else space.counts.tolist(),
        "xy": _base64(_checked_coordinates(name, space, coordinates), "<f4"),
        "vectors": _base64(vectors, "<i2"),
        "scales": _base64(scales, "<f4"),
    }


def quantised(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return unit vectors as int16 (n, d) and a scale a row (n,), whose product differs by half a scale at most.

    The cosine of two such rows is off by some 0.00001, whatever d is: the errors of its d products cancel out.
    """
    unit = normalize(vectors)
    scales = (np.abs(unit).max(axis=1) / np.iinfo(np.int16).max).astype(np.float32)
    return np.rint(unit / np.where(scales == 0, 1, scales)[:, None]).astype(np.int16), scales


def _checked_coordinates(
    name: Hashable, space: EmbeddingSpace, coordinates: pd.DataFrame | None
) -> np.ndarray:
    if coordinates is None:
        coordinates = space.coordinates()
    if not isinstance(coordinates, pd.DataFrame) or not {"x", "y"} <= set(coordinates.columns):
        raise ValueError(
            f"coordinates of {name!r} must be a frame with the columns x and y, as coordinates() gives"
        )
    if len(coordinates) != len(space):
        raise ValueError(f"coordinates of {name!r} must have {len(space)} rows, got {len(coordinates)}")
    index = pd.Index(coordinates.index.to_flat_index(), tupleize_cols=False)
    if not index.is_unique or (rows := index.get_indexer(space.categories)).min() < 0:
        raise ValueError(f"coordinates of {name!r} must be indexed by its categories, each once")
    plane = coordinates[["x", "y"]].to_numpy(dtype=float)[rows]
    if not np.isfinite(plane).all():
        raise ValueError(f"coordinates of {name!r} must be finite")
    return plane


def _base64(array: np.ndarray, dtype: str) -> str:
    return base64.b64encode(np.ascontiguousarray(array, dtype=dtype).tobytes()).decode("ascii")


def _page(given: dict[str, Any]) -> str:
    """Put the page together; the browser runs its one script only, known by its hash, and loads nothing."""
    sources = resources.files("tabemb.spaces").joinpath("atlas_page")
    html, style, *scripts = (
        sources.joinpath(name).read_text(encoding="utf-8")
        for name in ("page.html", "page.css", *SCRIPTS)
    )
    script = "\n".join(scripts)
    return Template(html).substitute(
        title=escape(given["title"]),
        style=style,
        script=script,
        script_hash="sha256-"
        + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
        # no < in the data: nothing in it can end its element or begin another
        data=json.dumps(given, allow_nan=False, ensure_ascii=False, separators=(",", ":")).replace(
            "<", "\\u003c"
        ),
    )


def _is_missing(category: Any) -> bool:
    return bool(types.is_scalar(category) and pd.isna(category))
