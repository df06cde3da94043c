"""Training on later rows: `partial_fit`, and what `fit` takes from a fitted model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pyarrow as pa
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from tabemb.data.schema import near
from tabemb.fitting.checks import Columns, check_target
from tabemb.fitting.growth import Growth
from tabemb.fitting.memory import memory_checked
from tabemb.fitting.nights import Start
from tabemb.fitting.settings import RowSettings

SHAPING = (
    *("roles", "min_count", "dim", "biases", "effects", "n_pairs", "numbers", "n_bins", "d_number"),
    *("backbone", "hidden", "n_members", "n_networks", "history", "d_history", "pooling", "max_events"),
)
"""Settings that shape a model; they must equal those of the model from which a fit starts."""


def can_grow(estimator: Any) -> bool:
    """Return whether an estimator can be trained on later rows."""
    return bool(estimator._grows)


class GrowingRows:
    """Mixin of the estimators of single rows: `partial_fit`."""

    _grows: ClassVar[bool] = True
    _reads_long_streams: ClassVar[bool] = True

    if TYPE_CHECKING:
        fit: Callable[..., Self]

    @available_if(can_grow)  # type: ignore[untyped-decorator]
    @memory_checked
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Self:
        """Continue training on new rows; on an unfitted estimator this is `fit`.

        New categories get vectors. All others stay near their previous vectors, the nearer the more rows
        they have had. A refused or interrupted call leaves the estimator as it was.

        Parameters
        ----------
        X : frame or array-like of shape (n_rows, n_columns)
            Only the new rows, with the columns of the first call.
        y : array-like of shape (n_rows,) or (n_rows, n_targets)
        sample_weight : array-like of shape (n_rows,), optional
        classes : array-like, optional
            All classes that y may contain, now or later. A later call may add classes.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            X has other columns than before, or values of another kind; y has a new class that is not in
            ``classes``.

        Examples
        --------
        >>> import pandas as pd
        >>> from tabemb import EmbeddingRegressor
        >>> X = pd.DataFrame({"city": ["Bonn", "Rome"] * 100})
        >>> model = EmbeddingRegressor(max_epochs=2, random_state=0).fit(X, [10.0, 20.0] * 100)
        >>> new = pd.DataFrame({"city": ["Oslo", "Rome"] * 50})
        >>> model = model.partial_fit(new, [30.0, 20.0] * 50)
        >>> list(model.spaces_["city"])
        ['Bonn', 'Rome', 'Oslo']
        """
        start = self if hasattr(self, "best_epoch_") else None
        self.fit(X, y, sample_weight=sample_weight, start=start, classes=classes)
        return self

    @available_if(can_grow)  # type: ignore[untyped-decorator]
    def forget_rows(self) -> Self:
        """Delete the training rows that the model keeps, so that its files and copies contain none.

        Predictions and spaces do not change. Later fits that start from the model train on their new
        rows only, which makes them worse, and keep no rows either.

        Returns
        -------
        self

        Examples
        --------
        >>> import pandas as pd
        >>> from tabemb import EmbeddingRegressor
        >>> X = pd.DataFrame({"city": ["Bonn", "Rome"] * 100})
        >>> model = EmbeddingRegressor(max_epochs=2, random_state=0).fit(X, [10.0, 20.0] * 100)
        >>> len(model.growth_.kept)
        200
        >>> print(model.forget_rows().growth_.kept)
        None
        """
        check_is_fitted(self, "growth_")
        self.growth_: Growth = replace(self.growth_, kept=None)
        return self


def start_of(model: Any, estimator: Any) -> Start:
    """Return the parts of a fitted model from which a fit of an estimator starts.

    Raises
    ------
    ValueError
        The model is of another class or shape, or lacks parts that such a fit needs.
    NotFittedError
    """
    if type(model) is not type(estimator):
        name = type(estimator).__name__
        raise ValueError(f"start must be a fitted {name}; got {type(model).__name__}.")
    check_is_fitted(model)
    _check_growing(model, estimator)
    return Start(
        model._fitted,
        model.reference_,
        model.profiles_,
        model.vector_profiles_,
        model.intervals_,
        model.sets_,
        model.n_rows_,
        model.missing_shares_,
        model.growth_,
    )


def check_no_time(time: Any, start: Any) -> None:
    """Raise ValueError if ``time`` is passed with ``start``: new rows all count the same."""
    if time is not None and start is not None:
        raise ValueError("time must be None where start is passed: new rows all count the same.")


def _check_growing(model: Any, estimator: Any) -> None:
    if not can_grow(estimator):
        raise ValueError(
            f"start must be None, as {type(estimator).__name__} cannot go on with later rows; update "
            "reads new events without training, and fit takes all of them."
        )
    if not hasattr(model, "growth_"):
        raise ValueError(
            "This model was saved by an earlier version of tabemb, without what it needs to go on with "
            "later rows; fit a new one on all rows."
        )
    if isinstance(getattr(estimator, "class_weight", None), str):
        raise ValueError(
            "class_weight must be a dict or None with start, and in a second partial_fit; got "
            f"{estimator.class_weight!r}, which would balance the classes of these rows alone."
        )
    old, new = RowSettings.of(model), RowSettings.of(estimator)
    names = [*SHAPING, *(name for name in ("loss", "quantile") if hasattr(estimator, name))]
    for name in names:
        values = [getattr(s, name, getattr(e, name, None)) for s, e in ((old, model), (new, estimator))]
        if values[0] != values[1]:
            raise ValueError(f"{name} must be {values[0]!r}, as it is in start; got {values[1]!r}.")


def check_columns(columns: Columns, frame: pa.Table) -> None:
    """Raise ValueError for columns that the first fit did not have."""
    known = [f"x{i}" for i in range(columns.n)] if columns.names is None else list(columns.names)
    new = [name for name in frame.schema.names if name not in known]
    if new:
        raise ValueError(
            f"X has the column {new[0]!r}{near(new[0], known)}, which the first fit did not have; leave "
            "it out, or fit a new model on all rows."
        )


def checked_classes(classes: Any, numeric: bool) -> np.ndarray | None:
    """Return the classes that a user passes as a numpy array, (n_classes,).

    Raises
    ------
    ValueError
        They are not a list, contain missing values, or are passed to a regressor (``numeric``).
    """
    if classes is None:
        return None
    if numeric:
        raise ValueError(f"classes must be None, as a regressor has none; got {classes!r:.60}.")
    values = check_target(classes, "classes", numeric=False)
    if values.ndim != 1:
        raise ValueError(f"classes must have one dimension; got the shape {values.shape}.")
    return values
