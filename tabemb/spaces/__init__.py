"""Vectors by category: search them, export them, look at them, and measure how far to trust them.

Each file imports only files above it in this list::

    vectors.py         CategoryVectors, the core: vectors, categories, counts, name; look-up by category
    placing.py         PlacingVectors: the core that also places new categories
    versions.py        VersionedVectors: the core with its ancestry, and who moved since a version
    checks.py          whether later categories are distributed like those of the space
    search.py          metrics and exact search
    index.py           approximate search
    clusters.py        groups of similar direction
    matching.py        vectors of wanted categories
    quality.py         stability, agreement, lengths by count
    plane.py           coordinates by PCA, t-SNE and UMAP
    palette.py         colours of maps and pages
    regions.py         words for the parts of a map
    maps.py            the picture of a map
    atlas.py           the interactive page, from the files in atlas_page/
    arrow_formats.py   Parquet, DuckDB, frames
    text_formats.py    word2vec, TensorBoard's projector
    exchange.py        PortableVectors: VersionedVectors with methods for these formats
    drawing.py         DrawnVectors: PortableVectors with coordinates, maps and pages
    space.py           EmbeddingSpace, the public class: PlacingVectors and DrawnVectors, with search
    collection.py      Spaces: the spaces of a model, each computed when it is first read
"""

from tabemb.spaces.index import ApproximateIndex
from tabemb.spaces.matching import Match
from tabemb.spaces.quality import agreement, lengths_by_count, stability
from tabemb.spaces.space import EmbeddingSpace

__all__ = ["ApproximateIndex", "EmbeddingSpace", "Match", "agreement", "lengths_by_count", "stability"]
