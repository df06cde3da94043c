"""The results of a model for rows, as columns of an output file."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from sklearn.utils.validation import check_is_fitted

from tabemb.estimators.encoder import EmbeddingEncoder
from tabemb.estimators.events import EventClassifier, EventRegressor
from tabemb.estimators.rows import EmbeddingClassifier, EmbeddingRegressor
from tabemb.fitting.calibration import check_coverage
from tabemb.labels import text_of
from tabemb.targets import MultilabelTarget

Model = EmbeddingClassifier | EmbeddingRegressor | EmbeddingEncoder


class Answers(NamedTuple):
    """The columns that a model adds to a file.

    Parameters
    ----------
    fields : list of pyarrow.Field
        Names and types of the columns.
    of : callable
        Function from rows to the values of each column.
    """

    fields: list[pa.Field]
    of: Callable[[pa.Table], list[pa.Array]]


def check_model(model: Any) -> Model:
    """Return the model if it can predict files.

    Raises
    ------
    TypeError
        The model is of another kind.
    ValueError
        The model reads columns by their positions.
    sklearn.exceptions.NotFittedError
    """
    if not isinstance(model, Model) or isinstance(model, EventClassifier | EventRegressor):
        raise TypeError(
            "model must be an EmbeddingClassifier, an EmbeddingRegressor, an EmbeddingEncoder or a path "
            f"of one; got {type(model).__name__}, so load its rows and call its own methods."
        )
    check_is_fitted(model)
    if not hasattr(model, "feature_names_in_"):
        raise ValueError(
            "model must know its columns by name to read files; this one was fitted on an array, so fit "
            "it on a frame."
        )
    return model


def columns_read(model: Model) -> list[str]:
    """Return the columns that a model needs."""
    kept = model.kept_columns_ if isinstance(model, EmbeddingEncoder) else []
    return list(dict.fromkeys([*model.encoder_.schema.used, *kept]))


def answers_of(
    model: Model,
    probabilities: bool | None,
    coverage: float | None,
    taken: Iterable[str],
    schema: pa.Schema,
) -> Answers:
    """Return the new columns of a model.

    Parameters
    ----------
    model : fitted estimator
    probabilities : bool, optional
        For a classifier: whether each class has a column; None: yes.
    coverage : float, optional
        For a regressor: the coverage of the intervals to write.
    taken : iterable of str
        Names that are in use; a new column with such a name gets an underscore.
    schema : pyarrow.Schema
        Types of the columns that an encoder copies.
    """
    if coverage is not None and not isinstance(model, EmbeddingRegressor):
        raise ValueError(
            f"coverage must be None for {type(model).__name__}, as only regressors have intervals; "
            f"got {coverage!r}."
        )
    if probabilities is not None and not isinstance(model, EmbeddingClassifier):
        raise ValueError(
            f"probabilities must be None for {type(model).__name__}, as only classifiers have them; "
            f"got {probabilities!r}."
        )
    if isinstance(model, EmbeddingClassifier):
        answers = _classes(model, probabilities is not False)
    elif isinstance(model, EmbeddingRegressor):
        answers = _numbers(model, coverage)
    else:
        answers = _features(model, schema)
    names = free_names([field.name for field in answers.fields], taken)
    fields = [field.with_name(name) for field, name in zip(answers.fields, names)]
    return answers._replace(fields=fields)


def free_names(names: Iterable[str], taken: Iterable[str]) -> list[str]:
    """Return names that differ from those taken and from each other, by appending underscores.

    Examples
    --------
    >>> free_names(["prediction", "lower"], taken=["prediction"])
    ['prediction_', 'lower']
    """
    known, free = set(taken), []
    for name in names:
        while name in known:
            name += "_"
        known.add(name)
        free.append(name)
    return free


def _classes(model: EmbeddingClassifier, has_probabilities: bool) -> Answers:
    """Return the most probable class of each target, and the probability of each class."""
    is_one = not isinstance(model.classes_, list)
    are_labels = isinstance(model.target_, MultilabelTarget)  # several may be true
    classes = [model.classes_] if is_one else model.classes_
    labels = [_as_arrow(of_target) for of_target in classes]
    ends = [""] if is_one else [f"_{i}" for i in range(len(classes))]
    fields = [pa.field(f"prediction{end}", column.type) for end, column in zip(ends, labels)]
    if has_probabilities and are_labels:
        fields += [pa.field(f"probability{end}", pa.float64()) for end in ends]
    elif has_probabilities:
        pairs = [(end, label) for end, of_target in zip(ends, classes) for label in of_target]
        fields += [pa.field(f"probability{end}_{text_of(label)}", pa.float64()) for end, label in pairs]

    def of(frame: pa.Table) -> list[pa.Array]:
        given = model.predict_proba(frame)
        parts = [np.stack([1 - p, p], axis=1) for p in given.T] if are_labels else given
        parts = [given] if is_one else parts
        chosen = given.T >= 0.5 if are_labels else [p.argmax(1) for p in parts]
        positions = [pa.array(np.asarray(c, np.int64)) for c in chosen]
        predicted = [of_target.take(p) for of_target, p in zip(labels, positions)]
        columns = given.T if are_labels else [column for p in parts for column in p.T]
        return predicted + [_float_column(column) for column in columns if has_probabilities]

    return Answers(fields, of)


def _as_arrow(labels: np.ndarray) -> pa.Array:
    """Return class labels as Arrow; as text where Arrow has no type for them."""
    try:
        return pa.array(labels)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError, TypeError):
        return pa.array(map(text_of, labels), pa.string())


def _float_column(values: np.ndarray) -> pa.Array:
    return pa.array(np.ascontiguousarray(values, np.float64))


def _numbers(model: EmbeddingRegressor, coverage: float | None) -> Answers:
    """Return the prediction of each target, and its interval."""
    is_one, n_targets = model.target_.one_dimensional, model.target_.n_outputs
    names = ["prediction"]
    if coverage is not None:
        check_coverage(coverage)
        names += ["lower", "upper"]
    ends = [""] if is_one else [f"_{i}" for i in range(n_targets)]

    def of(frame: pa.Table) -> list[pa.Array]:
        n = frame.num_rows
        parts = [model.predict(frame).reshape(n, -1)]
        if coverage is not None:
            bounds = model.predict_interval(frame, coverage).reshape(n, -1, 2)
            parts += [bounds[..., 0], bounds[..., 1]]
        return [_float_column(column) for part in parts for column in part.T]

    return Answers([pa.field(f"{name}{end}", pa.float64()) for name in names for end in ends], of)


def _features(model: EmbeddingEncoder, schema: pa.Schema) -> Answers:
    """Return the columns of `transform`: the copied ones, then the new ones."""
    kept = model.kept_columns_
    new = [name for name in model.get_feature_names_out() if name not in kept]
    fields = [schema.field(name) for name in kept] + [pa.field(name, pa.float32()) for name in new]

    def of(frame: pa.Table) -> list[pa.Array]:
        return list(model.transform(frame).columns)

    return Answers(fields, of)
