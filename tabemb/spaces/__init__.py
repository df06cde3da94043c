"""Vectors by category: search them, export them, look at them."""

from tabemb.spaces.index import ApproximateIndex
from tabemb.spaces.matching import Match
from tabemb.spaces.quality import agreement, lengths_by_count, stability
from tabemb.spaces.space import EmbeddingSpace

__all__ = ["ApproximateIndex", "EmbeddingSpace", "Match", "agreement", "lengths_by_count", "stability"]
