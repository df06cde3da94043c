"""EmbeddingClassifier and EmbeddingRegressor: one row, one answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.model_selection import ShuffleSplit, StratifiedShuffleSplit
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.validation import check_is_fitted

from tabemb.estimators.base import RowEstimator, extends
from tabemb.estimators.inputs import Rows
from tabemb.estimators.settings import check_choice
from tabemb.targets import NUMBER_TARGETS, QuantileTarget, Target, class_target

_PARAMETERS = """
    Parameters
    ----------
    preset : {"fast", "default", "best"}, default="default"
        What to spend. "best" trains five wider networks and averages them, at some ten times the seconds; "fast" takes
        half the members and pairs. It sets ``hidden``, ``n_members``, ``n_networks``, ``n_pairs`` and ``d_number``
        where they are left at their defaults.
    roles : dict of column -> {"categorical", "number", "datetime", "ignored"}, optional
        Overrides the role that a column gets by its type: text, booleans and dictionaries are categorical, integers
        and floats numbers, timestamps and dates datetimes. Columns of an array are named by position or "x0", ...
    tables : dict of name -> Table, optional
        Tables that several columns share, or with settings of their own. Other columns get a table each.
    min_count : float, default=1
        Categories with a smaller count (sum of weights) in the training rows are read as unknown.
    dim : int or {"auto", "fastai", "fourth_root", "half"}, default="auto"
        Width of a category's vector, or the rule that gives it from the number of categories.
    unknown_rate : float, default=0.01
        Share of cells that training hides, so that unknown categories and missing values have trained answers; rare
        categories are hidden up to eleven times as often, and of categories at least a hundred cells of a column in
        each pass (or a twentieth of them). 0 hides none.
    l2 : float, default=200.0
        Strength of the prior that pulls a category's vector to zero, for answers that are all noise; it is divided by
        the category's count, follows the root of the noise in its column's effects (``effects_.input_strength_``, 2
        being typical) and, in regression, falls with the share of the answers' variance that is still noise.
    offsets : bool, default=True
        Whether each category also adds an effect of its own directly to the output, under the same prior; not where
        there are more than a thousand classes, each of which has a vector then.
    effects : bool, default=True
        Whether the effect of each category, each bin of a number and each pair of them that matters (how far its mean
        answer lies from the mean of all, shrunk and, for the training rows, out-of-fold), and its count, are inputs.
    n_pairs : int, default=36
        Most pairs of categorical inputs in the effects; those that explain most beyond their two inputs are taken.
    numbers : {"piecewise", "periodic", "scale"}, default="piecewise"
        Encoding of numbers: learned vectors of piecewise-linear bins or of cosines, or the scaled value alone.
    n_bins : int, default=48
        Largest number of bins of a number.
    d_number : int, default=24
        Width of a number's vector; a number of fewer bins gives these themselves.
    backbone : {"mlp"}, default="mlp"
        What reads the joined vectors.
    hidden : sequence of int or "auto", default="auto"
        Widths of the backbone's layers. "auto": two of 128, from 50,000 rows on of 256.
    dropout : float, default=0.1
        Share of hidden units that a training step leaves out.
    n_members : int, default=8
        Networks that share all weights but their input scales and heads; their predictions are averaged.
    n_networks : int, default=1
        Such ensembles that share nothing, trained one after the other; their predictions are averaged too.
    history : {"gru", "lstm", "mean"}, default="gru"
        What reads the events of a column of lists: a recurrent net, or a layer for each event and then their mean,
        maximum, sum and last, right for bags of categories too.
    d_history : int, default=64
        Width of a history's vector.
    pooling : {"all", "last", "mean", "attention"}, default="all"
        What is read of a recurrent net: its last state, the mean of all its states, a mean weighted by a learned score,
        or last, mean and maximum side by side.
    max_events : int, optional, default=500
        Most events of a row that are read; the newest stay.
    OWN
    max_epochs : int or "auto", default="auto"
        Most passes over the rows. "auto": as many as make about 1,000 steps, but 30 to 60.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Of the products of matrices in training; weights and losses are always float32. "auto" takes bfloat16 where the
        processor has instructions for it (AMX, recent GPUs): it is twice as fast there, and slower elsewhere.
    batch_size : int or "auto", default="auto"
        Rows in a step. "auto": a power of two near a fortieth of the rows, 16 to 256.
    learning_rate : float, default=0.003
        Learning rate of AdamW. It stays; the weights that are kept are an average over the last tenth of the steps.
    table_rate : float, default=1.0
        Learning rate of the categories' vectors, in units of ``learning_rate``.
    weight_decay : float, default=0.02
        Weight decay of the backbone's matrices.
    early_stopping : bool or "auto", default="auto"
        Whether to hold rows back and keep the epoch that predicts them best. "auto": where ``max_epochs="auto"`` and
        there are 100 rows; the rows held back then teach too, in a third as many passes more. Otherwise the last epoch
        is kept. Rows given as ``eval_X`` are used in any case.
    validation_fraction : float or "auto", default="auto"
        Share of the rows that early stopping holds back. "auto": a tenth, from 10,000 rows on ten times their root.
    patience : int, default=4
        Epochs without an improvement by a thousandth of the loss after which training stops.
    max_time : float, optional
        Budget of ``fit`` in seconds; the best epoch so far is kept.
    device : str, default="auto"
        A torch device; "auto" takes CUDA where there is one.
    n_jobs : int, optional
        Threads. None: the free cores, or one inside a joblib worker. -1: every core.
    verbose : bool, optional
        Whether to show a progress bar. None: on a terminal alone, after three seconds, never inside a joblib worker.
    random_state : int, RandomState or None, default=None
        With an int, two fits on one thread give the same model bit for bit.
"""
_ATTRIBUTES = """
    Attributes
    ----------
    spaces_ : dict of table name -> EmbeddingSpace
        The vectors by category.
    history_ : dict of list
        Learning curves by epoch: epoch, seconds, train_loss, eval_loss (NaN where no rows were held back).
    best_epoch_ : int
        The epoch that predicted the rows held back best, or else the last one; counted from 0.
    encoder_ : Encoder
        Roles, vocabularies and scales.
    effects_ : Effects or None
        Effects of levels; ``effects_.terms_`` says of which inputs.
    hidden_ : tuple of int
        Widths of the backbone's layers.
    network_ : torch.nn.Module
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only where X had column names.
"""


class EmbeddingClassifier(ClassifierMixin, RowEstimator):  # noqa: D101 (composed below)
    __doc__ = f"""Classifier that learns a vector for every category and reads it with a small ensemble of networks.

    Binary, multiclass, several class targets at once (y of shape (n_rows, n_targets)) and multilabel (a 0/1 matrix).
    Entity embeddings follow Guo & Berkhahn (2016), the piecewise-linear numbers Gorishniy et al. (2022), the ensemble
    of members that share weights TabM (Gorishniy et al. 2025).
{
        _PARAMETERS.replace(
            "    OWN",
            '''    class_weight : dict, "balanced" or None, default=None
        Weight of each class, multiplied with ``sample_weight``.''',
        )
    }
{_ATTRIBUTES}    classes_ : ndarray of shape (n_classes,), or a list of one for each target

    Examples
    --------
    >>> import pandas as pd
    >>> X = pd.DataFrame({{"city": ["Bonn", "Rome"] * 40, "size": range(80)}})
    >>> model = EmbeddingClassifier(max_epochs=20, random_state=0).fit(X, X["city"] == "Rome")
    >>> model.predict(X.head(2)).tolist()
    [False, True]
    >>> model.spaces_["city"].vectors.shape
    (2, 2)
    """

    _numeric_target = False

    @extends(RowEstimator)
    def __init__(self, *, class_weight: Mapping | str | None = None, **shared: Any) -> None:
        super().__init__(**shared)
        self.class_weight = class_weight

    def _make_target(self, y: np.ndarray) -> Target:
        return class_target(y)

    @property
    def classes_(self) -> Any:
        """The classes in the order of the columns of :meth:`predict_proba`; a list of them for several targets."""
        check_is_fitted(self, "target_")
        return self.target_.classes_

    def _weigh(self, rows: Rows) -> Rows:
        if self.class_weight is None:
            return rows
        self._check_class_weight(rows.y)
        class_weights = compute_sample_weight(self.class_weight, rows.y)
        return replace(
            rows, weights=class_weights * (1.0 if rows.weights is None else rows.weights)
        ).with_weight()

    def _check_class_weight(self, y: np.ndarray) -> None:
        if not isinstance(self.class_weight, Mapping):
            return check_choice("class_weight", self.class_weight, ("balanced",))
        for label, weight in self.class_weight.items():
            if not np.isfinite(weight) or weight < 0:
                raise ValueError(
                    f"class_weight must be finite and not negative; class {label!r} has {weight!r}."
                )
            if not (y == label).any():
                raise ValueError(f"class_weight names class {label!r}, which y does not hold.")

    def _splitter(self, y: np.ndarray, seed: int) -> ShuffleSplit | StratifiedShuffleSplit:
        """Keep the shares of the classes, where each has the rows for it."""
        n_held_out = self._held_out_share(len(y)) * len(y)
        if y.ndim > 1 or np.unique(y, return_counts=True)[1].min() < 2 or n_held_out < len(np.unique(y)):
            return super()._splitter(y, seed)
        return StratifiedShuffleSplit(1, test_size=self._held_out_share(len(y)), random_state=seed)

    def predict_proba(self, X):
        """Probability of each class.

        Parameters
        ----------
        X : frame or array-like of shape (n_rows, n_columns)

        Returns
        -------
        ndarray of shape (n_rows, n_classes)
            Multilabel: (n_rows, n_labels), the probability of each label. Several targets: a list of arrays.
        """
        check_is_fitted(self)
        return self.target_.predict(self._raw_outputs(X))

    def predict(self, X):
        """Most probable class.

        Parameters
        ----------
        X : frame or array-like of shape (n_rows, n_columns)

        Returns
        -------
        ndarray of shape (n_rows,) or (n_rows, n_targets)
        """
        probability = self.predict_proba(X)
        classes = self.classes_
        if isinstance(probability, list):
            return np.stack([c[p.argmax(1)] for c, p in zip(classes, probability)], axis=1)
        if isinstance(classes, list):
            return (probability >= 0.5).astype(int)
        return classes[probability.argmax(1)]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class EmbeddingRegressor(RegressorMixin, RowEstimator):  # noqa: D101 (composed below)
    __doc__ = f"""Regressor that learns a vector for every category and reads it with a small ensemble of networks.

    One number or several at once (y of shape (n_rows, n_targets)); they are scaled inside, and predictions come in the
    unit of y. Entity embeddings follow Guo & Berkhahn (2016), the piecewise-linear numbers Gorishniy et al. (2022), the
    ensemble of members that share weights TabM (Gorishniy et al. 2025).
{
        _PARAMETERS.replace(
            "    OWN",
            '''    loss : {"squared_error", "absolute_error", "absolute_percentage_error", "poisson", "quantile"}
        What training minimises, "squared_error" by default. "absolute_percentage_error" and "poisson" predict through
        a logarithm.
    quantile : float, optional
        The level, above 0 and below 1, that ``loss="quantile"`` predicts.''',
        )
    }
{_ATTRIBUTES}
    Examples
    --------
    >>> import pandas as pd
    >>> X = pd.DataFrame({{"city": ["Bonn", "Rome"] * 40}})
    >>> model = EmbeddingRegressor(max_epochs=20, random_state=0).fit(X, [10.0, 20.0] * 40)
    >>> model.predict(X.head(2)).round().tolist()
    [10.0, 20.0]
    """

    _numeric_target = True

    @extends(RowEstimator)
    def __init__(
        self, *, loss: str = "squared_error", quantile: float | None = None, **shared: Any
    ) -> None:
        super().__init__(**shared)
        self.loss = loss
        self.quantile = quantile

    def _check_settings(self) -> None:
        super()._check_settings()
        check_choice("loss", self.loss, NUMBER_TARGETS)
        if (self.quantile is not None) != (self.loss == "quantile"):
            raise ValueError(
                f"quantile goes with loss='quantile'; got quantile={self.quantile!r}, loss={self.loss!r}."
            )
        if self.quantile is not None and not 0 < self.quantile < 1:
            raise ValueError(f"quantile must be above 0 and below 1; got {self.quantile!r}.")

    def _make_target(self, y: np.ndarray) -> Target:
        return (
            QuantileTarget(self.quantile) if self.quantile is not None else NUMBER_TARGETS[self.loss]()
        )

    def predict(self, X):
        """Predicted numbers, in the unit of y.

        Parameters
        ----------
        X : frame or array-like of shape (n_rows, n_columns)

        Returns
        -------
        ndarray of shape (n_rows,) or (n_rows, n_targets)
        """
        check_is_fitted(self)
        return self.target_.predict(self._raw_outputs(X))
