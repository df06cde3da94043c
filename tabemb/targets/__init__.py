"""Targets: from the user's y to tensors, losses and predictions; each kind of target is a class."""

from tabemb.targets.base import Sample, Sampler, Target, first_fraction
from tabemb.targets.classes import (
    MOST_RESPONSES,
    ClassTarget,
    MultilabelTarget,
    MultioutputClassTarget,
    class_target,
    is_indicator,
)
from tabemb.targets.numbers import (
    NUMBER_TARGETS,
    CountTarget,
    MedianTarget,
    NumberTarget,
    QuantileTarget,
    RelativeTarget,
)

__all__ = [
    "MOST_RESPONSES",
    "NUMBER_TARGETS",
    "ClassTarget",
    "CountTarget",
    "MedianTarget",
    "MultilabelTarget",
    "MultioutputClassTarget",
    "NumberTarget",
    "QuantileTarget",
    "RelativeTarget",
    "Sample",
    "Sampler",
    "Target",
    "class_target",
    "first_fraction",
    "is_indicator",
]
