"""A comparison of models on the user's data: data sets, models, protocols, statistics, reports."""

from tabemb.compare.comparison import Comparison, compare
from tabemb.compare.conf import conf_folder, config_options, dataset_options, named_dataset
from tabemb.compare.datasets import Dataset, dataset_from_frame, load_dataset
from tabemb.compare.grid import run, select
from tabemb.compare.models import MODELS, ModelSpec, build_model
from tabemb.compare.page import figure_html, render_html
from tabemb.compare.report import write_report
from tabemb.compare.runner import run_cells
from tabemb.compare.splits import Protocol, Split, choose_protocol, make_splits
from tabemb.compare.statistics import RankTest, paired_differences, rank_test, summarize
from tabemb.compare.store import newest, read_cells
from tabemb.compare.table import print_report, verdicts

__all__ = [
    "MODELS",
    "Comparison",
    "Dataset",
    "ModelSpec",
    "Protocol",
    "RankTest",
    "Split",
    "build_model",
    "choose_protocol",
    "compare",
    "conf_folder",
    "config_options",
    "dataset_from_frame",
    "dataset_options",
    "figure_html",
    "load_dataset",
    "make_splits",
    "named_dataset",
    "newest",
    "paired_differences",
    "print_report",
    "rank_test",
    "read_cells",
    "render_html",
    "run",
    "run_cells",
    "select",
    "summarize",
    "verdicts",
    "write_report",
]
