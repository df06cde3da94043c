"""An interactive page of one or several spaces: one HTML file that needs no network."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import reprlib
from collections import Counter
from collections.abc import Mapping
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types

from tabemb.files.whole import replacing
from tabemb.hints import similar
from tabemb.labels import text_of
from tabemb.spaces import plane
from tabemb.spaces.palette import CLASSES, SCALE
from tabemb.spaces.quality import overlap_in_words
from tabemb.spaces.regions import Classes, regions
from tabemb.spaces.search import DOUBTFUL
from tabemb.spaces.vectors import CategoryVectors, is_missing

MAX_CATEGORIES = 200_000
"""As many as a browser draws smoothly without a graphics card; a file grows by 2.7 bytes a number."""
SCRIPTS = (
    "data.js",
    "paint.js",
    "marks.js",
    "views.js",
    "hand.js",
    "elements.js",
    "search.js",
    "choice.js",
    "cards.js",
    "filters.js",
    "links.js",
    "main.js",
)
MISSING = -1
"""Code of a missing class."""

JSONObject = dict[str, Any]


def write(
    path: str | Path,
    space: CategoryVectors,
    metadata: Any,
    coordinates: pd.DataFrame | None,
    others: Mapping[str, Any] | None,
    color: str | None,
    title: str | None,
) -> Path:
    """Write the page of a space, as `EmbeddingSpace.atlas` describes."""
    path = _writable(Path(path))
    spaces = _named_spaces(space, coordinates, others or {})
    for name, (shown, _) in spaces.items():
        _check_size(name, shown)
    categories = _union([shown for shown, _ in spaces.values()])
    columns = _columns(_by_category(metadata, categories))
    texts = ["(missing)" if is_missing(category) else text_of(category) for category in categories]
    data = {
        "title": title or space.name or "Atlas",
        "color": _checked_color(color, columns, space),
        "palette": CLASSES,
        "scale": SCALE,
        "doubtful": DOUBTFUL,
        "texts": texts,
        "columns": columns,
        "spaces": [_packed(name, *shown, categories, texts, columns) for name, shown in spaces.items()],
    }
    # errors: a str may hold half of a surrogate pair, a file may not
    page = _page(data).encode("utf-8", errors="replace")
    with replacing(path) as file:
        file.write(page)
    return path


def _writable(path: Path) -> Path:
    if not path.parent.is_dir():
        raise FileNotFoundError(f"path must lie in an existing folder; got {str(path)!r}.")
    if path.is_dir():
        raise IsADirectoryError(f"path must name a file; {str(path)!r} is a folder.")
    return path


def _named_spaces(
    space: CategoryVectors, coordinates: pd.DataFrame | None, others: Mapping[str, Any]
) -> dict[str, tuple[CategoryVectors, pd.DataFrame | None]]:
    """Return each space with its coordinates, where given, by name; the page opens with the first."""
    if not isinstance(others, Mapping):
        raise ValueError(f"others must map names to spaces; got {type(others).__name__}.")
    name = space.name or "this space"
    if name in others:
        raise ValueError(f"others must not use the name of the space itself; got {name!r}.")
    pairs = {key: other if isinstance(other, tuple) else (other, None) for key, other in others.items()}
    for key, pair in pairs.items():
        if len(pair) != 2 or not isinstance(pair[0], CategoryVectors):
            raise ValueError(
                "others must map names to spaces, or to pairs of a space and its coordinates; "
                f"{key!r} is neither."
            )
    return {name: (space, coordinates), **pairs}


def _check_size(name: str, space: CategoryVectors) -> None:
    if not len(space):
        raise ValueError(f"An atlas needs a space with at least one category; {name!r} has none.")
    if len(space) > MAX_CATEGORIES:
        raise ValueError(
            f"An atlas shows at most {MAX_CATEGORIES:,} categories; {name!r} has {len(space):,}, "
            f"so pass a smaller space, such as subset({MAX_CATEGORIES:_}), the most frequent."
        )


def _union(spaces: list[CategoryVectors]) -> pd.Index:
    """Return the categories of the first space, then the new ones of each further space."""
    union = spaces[0].categories
    for space in spaces[1:]:
        new = space.categories[union.get_indexer(space.categories) < 0]
        union = pd.Index([*union, *new], tupleize_cols=False) if len(new) else union
    return union


def _by_category(metadata: Any, categories: pd.Index) -> pd.DataFrame:
    """Return the metadata in the order of the categories; where there are none, values are missing."""
    try:
        frame = pd.DataFrame({} if metadata is None else metadata)
    except ValueError as error:
        raise ValueError(
            "metadata must be a DataFrame, or a mapping from name to Series, indexed by category; "
            f"got {reprlib.repr(metadata)}."
        ) from error
    if not len(frame.columns):
        return frame
    index = pd.Index(frame.index.to_flat_index(), tupleize_cols=False)
    if not index.is_unique:
        repeated = index[index.duplicated()][0]
        raise ValueError(f"metadata must hold each category once; {repeated!r} occurs more than once.")
    rows = index.get_indexer(categories)
    if (rows < 0).all():
        start = f"starts with {index[0]!r}" if len(index) else "is empty"
        raise ValueError(
            f"metadata must be indexed by category, such as {categories[0]!r}; its index {start}."
        )
    # no row has the label -1, so a category without metadata gets missing values
    return frame.set_axis(pd.RangeIndex(len(frame))).reindex(rows)


def _columns(metadata: pd.DataFrame) -> list[JSONObject]:
    return [_column(str(name), metadata.iloc[:, i]) for i, name in enumerate(metadata.columns)]


def _column(name: str, values: pd.Series) -> JSONObject:
    """Describe one column for the page: numbers, dates, classes or texts."""
    if types.is_datetime64_any_dtype(values):
        stamps = values.dt.tz_localize(None).astype("datetime64[ms]")
        milliseconds = stamps.astype("int64").where(stamps.notna())
        return {"name": name, "kind": "date", "values": _numbers(name, milliseconds)}
    if types.is_numeric_dtype(values) and not types.is_bool_dtype(values):
        return {"name": name, "kind": "number", "values": _numbers(name, values)}
    texts = [None if missing else str(value) for value, missing in zip(values, values.isna())]
    counts = Counter(text for text in texts if text is not None)
    codes = {text: code for code, (text, _) in enumerate(counts.most_common())}
    # a text that is nearly always different is shown, but is no class to colour by
    kind = "text" if len(codes) > max(len(CLASSES), counts.total() / 2) else "class"
    coded = [MISSING if text is None else codes[text] for text in texts]
    return {"name": name, "kind": kind, "levels": list(codes), "values": coded}


def _numbers(name: str, values: pd.Series) -> list[float | None]:
    """Return numbers as JSON writes them shortest; None where missing."""
    floats = values.to_numpy(dtype=float, na_value=np.nan)
    if np.isinf(floats).any():
        raise ValueError(f"metadata must be finite; column {name!r} holds an infinite number.")
    return [
        None if value != value else int(value) if value.is_integer() else value
        for value in floats.tolist()
    ]


def _checked_color(color: str | None, columns: list[JSONObject], space: CategoryVectors) -> str | None:
    values = {"count": space.counts, "reliability": space.reliability}
    choices = [name for name in values if values[name] is not None]
    choices += [column["name"] for column in columns if column["kind"] != "text"]
    if color is not None and color not in choices:
        close = similar(color, choices, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise ValueError(
            "color must name a column of metadata with numbers, dates or classes, or 'count' or "
            f"'reliability' where the space has them; got {color!r}{hint}."
        )
    return color


def _packed(
    name: str,
    space: CategoryVectors,
    coordinates: pd.DataFrame | None,
    categories: pd.Index,
    texts: list[str],
    columns: list[JSONObject],
) -> JSONObject:
    """Describe one space for the page, its arrays as base64 of little-endian numbers."""
    vectors, scales = quantised(space.vectors)
    if space.reliability is not None:
        scales = scales * np.sqrt(space.reliability, dtype=np.float32)  # as in `space.directions`
    members = categories.get_indexer(space.categories)
    frame = plane.coordinates(space) if coordinates is None else coordinates
    xy = _checked_coordinates(name, space, frame)
    classes = [_classes(column, members) for column in columns if column["kind"] == "class"]
    described = regions(xy, [texts[member] for member in members], classes, space.counts)
    return {
        "name": str(name),
        "d": space.vectors.shape[1],
        "members": None if np.array_equal(members, np.arange(len(categories))) else members.tolist(),
        "counts": None if space.counts is None else space.counts.tolist(),
        "reliability": None if space.reliability is None else space.reliability.round(6).tolist(),
        "overlap": overlap_in_words(space),
        "xy": _base64(xy, "<f4"),
        "regions": [dataclasses.asdict(region) for region in described],
        "vectors": _base64(vectors, "<i2"),
        "scales": _base64(scales, "<f4"),
    }


def _classes(column: JSONObject, members: np.ndarray) -> Classes:
    """Return a column of classes for the categories of a space."""
    return Classes(np.array(column["values"])[members], column["levels"])


def quantised(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return vectors of length one as 16-bit integers.

    The cosine of two such rows is off by some 0.00001 for any d, because the errors of its products
    cancel.

    Returns
    -------
    codes : ndarray of shape (n, d), int16
    scales : ndarray of shape (n,), float32
        A code times the scale of its row is within half a scale of the number.
    """
    from sklearn.preprocessing import normalize  # takes long to import

    unit = normalize(vectors)
    scales = (np.abs(unit).max(axis=1) / np.iinfo(np.int16).max).astype(np.float32)
    return np.rint(unit / np.where(scales == 0, 1, scales)[:, None]).astype(np.int16), scales


def _checked_coordinates(name: str, space: CategoryVectors, frame: Any) -> np.ndarray:
    """Return coordinates in the order of the space, (n_levels, 2)."""
    subject = f"coordinates of {name!r}"
    if not isinstance(frame, pd.DataFrame) or not {"x", "y"} <= set(frame.columns):
        raise ValueError(
            f"{subject} must be a frame with the columns x and y, such as coordinates() returns."
        )
    if len(frame) != len(space):
        raise ValueError(f"{subject} must have {len(space)} rows; got {len(frame)}.")
    index = pd.Index(frame.index.to_flat_index(), tupleize_cols=False)
    if not index.is_unique or (rows := index.get_indexer(space.categories)).min() < 0:
        raise ValueError(f"{subject} must be indexed by its categories, each once.")
    xy: np.ndarray = frame[["x", "y"]].to_numpy(dtype=float)[rows]
    if not np.isfinite(xy).all():
        raise ValueError(f"{subject} must be finite.")
    return xy


def _base64(array: np.ndarray, dtype: str) -> str:
    return base64.b64encode(np.ascontiguousarray(array, dtype=dtype).tobytes()).decode("ascii")


def _page(data: JSONObject) -> str:
    """Assemble the page.

    Its policy lets the browser run only the one script with this hash, and load nothing.
    """
    folder = resources.files("tabemb.spaces").joinpath("atlas_page")
    html, style, *scripts = (
        folder.joinpath(name).read_text(encoding="utf-8") for name in ("page.html", "page.css", *SCRIPTS)
    )
    script = "\n".join(scripts)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    text = json.dumps(data, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return Template(html).substitute(
        title=escape(data["title"]),
        style=style,
        script=script,
        script_hash=f"sha256-{digest}",
        # without < nothing in the data can end its element or begin another
        data=text.replace("<", "\\u003c"),
    )
