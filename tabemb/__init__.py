"""Entity embeddings for tables and event logs, as scikit-learn estimators."""

from tabemb import callbacks, distributed, tuning
from tabemb.data.aggregates import AggregateJoiner
from tabemb.data.joins import HistoryJoiner
from tabemb.data.notes import InputNote
from tabemb.data.schema import Table
from tabemb.data.streams import Stream
from tabemb.drift.report import DriftReport
from tabemb.estimators.encoder import EmbeddingEncoder
from tabemb.estimators.events import EventClassifier, EventRegressor
from tabemb.estimators.rows import EmbeddingClassifier, EmbeddingRegressor
from tabemb.estimators.sequences import SequenceEncoder
from tabemb.saving.native import load, save
from tabemb.saving.onnx.export import onnx_inputs, to_onnx
from tabemb.scoring.predict import predict
from tabemb.spaces.space import EmbeddingSpace
from tabemb.training.loop import keep_on_interrupt
from tabemb.unsupervised.items import ItemEmbedder
from tabemb.unsupervised.pairs import PairEmbedder
from tabemb.unsupervised.tuning import tune_items
from tabemb.unsupervised.walks import random_walks

__version__ = "0.2.0"
__all__ = [
    "AggregateJoiner",
    "DriftReport",
    "EmbeddingClassifier",
    "EmbeddingEncoder",
    "EmbeddingRegressor",
    "EmbeddingSpace",
    "EventClassifier",
    "EventRegressor",
    "HistoryJoiner",
    "InputNote",
    "ItemEmbedder",
    "PairEmbedder",
    "SequenceEncoder",
    "Stream",
    "Table",
    "callbacks",
    "distributed",
    "keep_on_interrupt",
    "load",
    "onnx_inputs",
    "predict",
    "random_walks",
    "save",
    "to_onnx",
    "tune_items",
    "tuning",
]
