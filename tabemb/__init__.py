"""Entity embeddings for tables: scikit-learn estimators whose category vectors leave the model."""

from tabemb.data.schema import Table
from tabemb.estimators.rows import EmbeddingClassifier, EmbeddingRegressor
from tabemb.files import load, save
from tabemb.spaces.space import EmbeddingSpace

__version__ = "0.1.0"
__all__ = ["EmbeddingClassifier", "EmbeddingRegressor", "EmbeddingSpace", "Table", "load", "save"]
