"""Coordinates in a plane: PCA, t-SNE and UMAP, and the coordinates of new vectors on an existing map."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd

from tabemb.extras import imported, need
from tabemb.forks import is_forked, n_cores, one_thread_after_fork
from tabemb.progress import bar_settings, progress
from tabemb.spaces.search import METRICS, choose
from tabemb.spaces.vectors import CategoryVectors

MIN_VECTORS = 5
"""Fewer vectors have no neighbourhoods to keep; PCA places them."""
PERPLEXITY = 30.0
"""About the number of neighbours that t-SNE keeps (van der Maaten & Hinton 2008)."""
NEW_PERPLEXITY = 5.0
"""Perplexity for a vector placed later, which should lie next to its nearest neighbours."""
N_NEIGHBORS = 15
"""Neighbours that UMAP keeps."""
MIN_PARALLEL = 10_000
"""Minimum number of vectors for which t-SNE uses all cores; with fewer, threads mostly wait."""
STEPS = 250 + 500
"""Steps of t-SNE, first with exaggerated neighbourhoods: openTSNE's defaults."""
STEPS_PER_UPDATE = 50
"""Steps between two updates of the progress bar; each update evaluates the loss once."""
_NUMBA_STARTED_IN: set[int] = set()


@dataclass(frozen=True)
class Method:
    """A projection to the plane."""

    project: Callable[[np.ndarray, int | None], np.ndarray]
    """Function from vectors (n, d) and a seed to coordinates (n, 2)."""
    place: Callable[[np.ndarray, np.ndarray, np.ndarray, int | None], np.ndarray]
    """Function from vectors (n, d), their coordinates (n, 2), new vectors (m, d) and a seed to the
    coordinates of the new vectors, (m, 2)."""


@one_thread_after_fork()
def coordinates(
    space: CategoryVectors,
    method: str = "tsne",
    metric: str = "cosine",
    random_state: int | None = 0,
) -> pd.DataFrame:
    """Return the coordinates of the categories, as `EmbeddingSpace.coordinates` describes."""
    projection = choose("method", method, METHODS)
    vectors = choose("metric", metric, PLANE_METRICS).vectors_of(space)
    key = (method, metric, random_state)
    if key not in space.maps:
        space.maps[key] = projection.project(vectors, random_state)
    return pd.DataFrame(space.maps[key].copy(), index=space.named_categories, columns=["x", "y"])


@one_thread_after_fork()
def place(
    space: CategoryVectors, new: Any, method: str, metric: str, random_state: int | None
) -> pd.DataFrame:
    """Return coordinates of new vectors on the map of a space, as `EmbeddingSpace.place` describes."""
    existing = coordinates(space, method, metric, random_state).to_numpy()
    is_space = isinstance(new, CategoryVectors)
    vectors = np.asarray(new.vectors if is_space else new, dtype=np.float32)
    width = space.vectors.shape[1]
    if vectors.ndim != 2 or vectors.shape[1] != width:
        raise ValueError(f"new must have shape (n, {width}), as {space!r} has; got {vectors.shape}.")
    measure = PLANE_METRICS[metric]
    placed = METHODS[method].place(
        measure.vectors_of(space), existing, measure.prepared(vectors), random_state
    )
    return pd.DataFrame(placed, index=new.named_categories if is_space else None, columns=["x", "y"])


def pca(vectors: np.ndarray, random_state: int | None = None) -> np.ndarray:
    """Project vectors (n, d) onto their two directions of largest variance, (n, 2).

    With fewer than two directions, the missing coordinates are zero. The result is deterministic.
    """
    return place_by_pca(vectors, np.empty((0, 2)), vectors)


def place_by_pca(
    vectors: np.ndarray, existing: np.ndarray, new: np.ndarray, random_state: int | None = None
) -> np.ndarray:
    """Project `new` onto the two directions of largest variance of `vectors`."""
    if not len(vectors):
        return np.zeros((len(new), 2))
    mean = vectors.mean(axis=0, dtype=np.float64)
    directions = np.linalg.svd(vectors - mean, full_matrices=False)[2][:2]  # (at most 2, d)
    # a direction and its opposite are equally good; a fixed sign keeps maps from flipping between runs
    strongest = directions[np.arange(len(directions)), np.abs(directions).argmax(axis=1)]
    projected = (new - mean) @ (directions * np.sign(strongest)[:, None]).T
    return np.pad(projected, ((0, 0), (0, 2 - projected.shape[1])))


def tsne(vectors: np.ndarray, random_state: int | None = 0) -> np.ndarray:
    """Project vectors (n, d) to (n, 2) by t-SNE, started from `pca`; few or equal ones only by `pca`."""
    start = pca(vectors)
    spread = start[:, 0].std() if len(vectors) else 0.0
    if len(vectors) < MIN_VECTORS or spread == 0:
        return start
    opentsne = _opentsne()
    with progress(STEPS) as bar:

        def update(*_: Any) -> None:  # a true result would stop t-SNE
            bar.update(STEPS_PER_UPDATE)

        model = opentsne.TSNE(
            perplexity=_perplexity(PERPLEXITY, vectors),
            initialization=start / spread * 1e-4,  # the early phase expects a small start
            neighbors="exact",
            n_jobs=_n_jobs(vectors),
            random_state=random_state,
            callbacks=update,
            callbacks_every_iters=STEPS_PER_UPDATE,
        )
        return np.asarray(model.fit(vectors))


def place_by_tsne(
    vectors: np.ndarray, existing: np.ndarray, new: np.ndarray, random_state: int | None = 0
) -> np.ndarray:
    """Move each new vector by the gradient of t-SNE, from the median of its neighbours' coordinates."""
    if len(vectors) < MIN_VECTORS or not np.ptp(existing, axis=0).any():
        return place_by_pca(vectors, existing, new)
    opentsne = _opentsne()
    perplexity, n_jobs = _perplexity(NEW_PERPLEXITY, vectors), _n_jobs(vectors)
    affinities = opentsne.affinity.PerplexityBasedNN(
        vectors, perplexity=perplexity, method="exact", n_jobs=n_jobs
    )
    middle = (existing.max(axis=0) + existing.min(axis=0)) / 2  # transform() moves it to zero
    embedding = opentsne.TSNEEmbedding(
        existing - middle, affinities, n_jobs=n_jobs, random_state=random_state
    )
    placed: np.ndarray = np.asarray(embedding.transform(new, perplexity=perplexity)) + middle
    return placed


def _opentsne() -> ModuleType:
    """Import openTSNE after pynndescent, which it looks for but does not need for exact neighbours."""
    with suppress(ImportError):
        imported("pynndescent")
    return need("openTSNE", "maps")


def _perplexity(wanted: float, vectors: np.ndarray) -> float:
    """Return the perplexity lowered where needed: it must stay well below the number of vectors."""
    return min(wanted, (len(vectors) - 1) / 3)


def _n_jobs(vectors: np.ndarray) -> int:
    return n_cores() if len(vectors) >= MIN_PARALLEL else 1


def umap(vectors: np.ndarray, random_state: int | None = 0) -> np.ndarray:
    """Project vectors (n, d) to (n, 2) by UMAP, started from `pca`; few or equal ones only by `pca`."""
    start = pca(vectors)
    if len(vectors) < MIN_VECTORS or not np.ptp(start, axis=0).all():
        return start
    projected: np.ndarray = _umap_model(vectors, start, random_state).fit_transform(vectors)
    return projected.astype(np.float64)


def place_by_umap(
    vectors: np.ndarray, existing: np.ndarray, new: np.ndarray, random_state: int | None = 0
) -> np.ndarray:
    """Place each new vector by UMAP's transform, from the coordinates of its neighbours."""
    if len(vectors) < MIN_VECTORS or not np.ptp(existing, axis=0).all():
        return place_by_pca(vectors, existing, new)
    # zero epochs build the graph of neighbours only; the coordinates are those of the existing map
    model = _umap_model(vectors, existing, random_state, n_epochs=0).fit(vectors)
    model.n_epochs, model.embedding_ = None, np.ascontiguousarray(existing, dtype=np.float32)
    placed: np.ndarray = model.transform(new)
    return placed.astype(np.float64)


def _check_numba() -> None:
    """Raise RuntimeError if numba started OpenMP before a fork: its next use would kill this process."""
    try:
        layer = sys.modules["numba"].threading_layer()  # umap has imported it
    except ValueError:  # numba has not run yet, so it starts in this process
        _NUMBA_STARTED_IN.add(os.getpid())
        return
    if is_forked() and layer == "omp" and os.getpid() not in _NUMBA_STARTED_IN:
        raise RuntimeError(
            "method='umap' cannot run after a fork of a process in which numba has used OpenMP; take "
            "method='tsne', or start processes with multiprocessing.get_context('spawn')."
        )


def _umap_model(
    vectors: np.ndarray, start: np.ndarray, random_state: int | None, n_epochs: int | None = None
) -> Any:
    with warnings.catch_warnings():
        # on import umap announces a feature that needs tensorflow, which is not used here
        warnings.filterwarnings("ignore", "Tensorflow not installed", ImportWarning)
        package = need("umap", "umap")
    _check_numba()
    return package.UMAP(
        n_neighbors=min(N_NEIGHBORS, len(vectors) - 1),
        # UMAP's default, a spectral start, fails on few vectors and on distant groups
        init=start.astype(np.float32),
        n_epochs=n_epochs,
        # with a seed, a map is reproducible on one thread only
        n_jobs=n_cores() if random_state is None else 1,
        random_state=random_state,
        tqdm_kwds=bar_settings(),
    )


METHODS = {
    "tsne": Method(tsne, place_by_tsne),
    "umap": Method(umap, place_by_umap),
    "pca": Method(pca, place_by_pca),
}
PLANE_METRICS = {name: METRICS[name] for name in ("cosine", "euclidean")}
