"""Vectors in a plane: PCA, t-SNE and UMAP, and where new vectors lie on a map that exists."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import joblib
import numpy as np

from tabemb.progress import bar_settings, progress

FEWEST = 5
"""Fewer vectors have no neighbourhoods to keep; they are placed by PCA."""
PERPLEXITY = 30.0
"""About the number of neighbours that t-SNE keeps (van der Maaten & Hinton 2008)."""
PERPLEXITY_OF_NEW = 5.0
"""The same for a vector placed later, which is to lie beside its very nearest."""
N_NEIGHBORS = 15
"""Neighbours that UMAP keeps."""
MANY = 10_000
"""From so many vectors on t-SNE uses all cores: with fewer, threads wait for each other longer than they work."""
STEPS = 250 + 500
"""Steps of t-SNE, first with exaggerated neighbourhoods: openTSNE's own numbers."""
EVERY = 50
"""Steps between two movements of the progress bar: each costs an evaluation of the loss."""


@dataclass(frozen=True)
class Method:
    """A way to a plane: `project` takes (n, d) to (n, 2); `place` new vectors, (m, d), on the map of (n, d), (n, 2)."""

    project: Callable[[np.ndarray, int | None], np.ndarray]
    place: Callable[[np.ndarray, np.ndarray, np.ndarray, int | None], np.ndarray]


def pca(vectors: np.ndarray, random_state: int | None = None) -> np.ndarray:
    """Project (n, d) vectors onto their two directions of largest variance, (n, 2); directions that lack are zero."""
    return place_by_pca(vectors, np.empty((0, 2)), vectors)


def place_by_pca(
    vectors: np.ndarray, places: np.ndarray, new: np.ndarray, random_state: int | None = None
) -> np.ndarray:
    """Project `new` onto the two directions of largest variance of `vectors`."""
    if not len(vectors):
        return np.zeros((len(new), 2))
    mean = vectors.mean(axis=0, dtype=np.float64)
    directions = np.linalg.svd(vectors - mean, full_matrices=False)[2][:2]
    # a direction and its opposite are equally good: fix the sign, so that a map does not flip from run to run
    strongest = directions[np.arange(len(directions)), np.abs(directions).argmax(axis=1)]
    plane = (new - mean) @ (directions * np.sign(strongest)[:, None]).T
    return np.pad(plane, ((0, 0), (0, 2 - plane.shape[1])))


def tsne(vectors: np.ndarray, random_state: int | None = 0) -> np.ndarray:
    """Project (n, d) vectors to (n, 2) by t-SNE started from `pca`; a few vectors, or equal ones, by `pca` alone."""
    start = pca(vectors)
    spread = start[:, 0].std() if len(vectors) else 0.0
    if len(vectors) < FEWEST or spread == 0:
        return start
    from openTSNE import TSNE

    with progress(STEPS) as bar:

        def step(*_: Any) -> None:  # a true answer would stop it
            bar.update(EVERY)

        model = TSNE(
            perplexity=min(PERPLEXITY, (len(vectors) - 1) / 3),  # well below the number of points
            initialization=start / spread * 1e-4,  # the small start that the early phase expects
            neighbors="exact",
            n_jobs=_n_jobs(vectors),
            random_state=random_state,
            callbacks=step,
            callbacks_every_iters=EVERY,
        )
        return np.asarray(model.fit(vectors))


def place_by_tsne(
    vectors: np.ndarray, places: np.ndarray, new: np.ndarray, random_state: int | None = 0
) -> np.ndarray:
    """Move each new vector alone by the gradient of t-SNE, from the median of its neighbours' places."""
    if len(vectors) < FEWEST or not np.ptp(places, axis=0).any():
        return place_by_pca(vectors, places, new)
    from openTSNE import TSNEEmbedding
    from openTSNE.affinity import PerplexityBasedNN

    perplexity, n_jobs = min(PERPLEXITY_OF_NEW, (len(vectors) - 1) / 3), _n_jobs(vectors)
    affinities = PerplexityBasedNN(vectors, perplexity=perplexity, method="exact", n_jobs=n_jobs)
    middle = (places.max(axis=0) + places.min(axis=0)) / 2  # transform moves the map's middle to zero
    known = TSNEEmbedding(places - middle, affinities, n_jobs=n_jobs, random_state=random_state)
    return np.asarray(known.transform(new, perplexity=perplexity)) + middle


def _n_jobs(vectors: np.ndarray) -> int:
    return joblib.cpu_count() if len(vectors) >= MANY else 1


def umap(vectors: np.ndarray, random_state: int | None = 0) -> np.ndarray:
    """Project (n, d) vectors to (n, 2) by UMAP started from `pca`; a few vectors, or equal ones, by `pca` alone."""
    start = pca(vectors)
    if len(vectors) < FEWEST or not np.ptp(start, axis=0).all():
        return start
    return _umap(vectors, start, random_state).fit_transform(vectors).astype(np.float64)


def place_by_umap(
    vectors: np.ndarray, places: np.ndarray, new: np.ndarray, random_state: int | None = 0
) -> np.ndarray:
    """Place each new vector by UMAP's own rule, from the places of its neighbours."""
    if len(vectors) < FEWEST or not np.ptp(places, axis=0).all():
        return place_by_pca(vectors, places, new)
    # no epochs: only the graph of neighbours is made, and the map itself is the one that is known
    model = _umap(vectors, places, random_state, n_epochs=0).fit(vectors)
    model.n_epochs, model.embedding_ = None, np.ascontiguousarray(places, dtype=np.float32)
    return model.transform(new).astype(np.float64)


def _umap(
    vectors: np.ndarray, start: np.ndarray, random_state: int | None, n_epochs: int | None = None
) -> Any:
    try:
        with warnings.catch_warnings():
            # umap says on import that it could do more with tensorflow, which nothing here asks for
            warnings.filterwarnings("ignore", "Tensorflow not installed", ImportWarning)
            from umap import UMAP
    except ImportError as error:
        raise ImportError("method 'umap' needs umap-learn: pip install tabemb[umap]") from error
    return UMAP(
        n_neighbors=min(N_NEIGHBORS, len(vectors) - 1),
        init=start.astype(
            np.float32
        ),  # its own, spectral start fails on a few vectors and on groups far apart
        n_epochs=n_epochs,
        n_jobs=joblib.cpu_count() if random_state is None else 1,  # a seed repeats on one thread alone
        random_state=random_state,
        tqdm_kwds=bar_settings(),
    )


METHODS = {
    "tsne": Method(tsne, place_by_tsne),
    "umap": Method(umap, place_by_umap),
    "pca": Method(pca, place_by_pca),
}
