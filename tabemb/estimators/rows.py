"""EmbeddingClassifier and EmbeddingRegressor: one row, one target."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from tabemb.data.schema import Table
from tabemb.estimators.growth import GrowingRows
from tabemb.estimators.intervals import PredictsIntervals
from tabemb.estimators.sets import PredictsSets
from tabemb.fitting.checks import Rows
from tabemb.fitting.memory import memory_checked
from tabemb.fitting.settings import Rule, one_of, real, store
from tabemb.fitting.weights import by_code, with_class_weight
from tabemb.labels import side_by_side
from tabemb.targets import NUMBER_TARGETS, QuantileTarget, Target, class_target


class EmbeddingClassifier(ClassifierMixin, GrowingRows, PredictsSets):
    """Classifier that learns a vector for every category and reads it with a small ensemble of networks.

    Binary, multiclass, several class targets at once (y of shape (n_rows, n_targets)) and multilabel (a
    matrix of 0 and 1 alone). Labels may be of any hashable type. Entity embeddings follow Guo & Berkhahn
    (2016), the piecewise-linear numbers Gorishniy et al. (2022), the members TabM (same, 2025).

    Parameters
    ----------
    preset : {"fast", "default", "best"}, default="default"
        How much to compute. "best" averages five wider networks, in some ten times the seconds; "fast"
        trains one small network for eight epochs, without trees and validation rows, in a quarter.
        A preset sets only parameters that are left at their defaults.
    roles : dict of column -> str, optional
        "categorical", "number", "datetime", "text" (a bag of words), "vector", "history" or "ignored",
        where a column shall not have the role of its type, which docs/estimators.md lists. Columns of
        an array are named by position or "x0", ...
    tables : dict of name -> Table, optional
        Embedding tables that columns share, or with settings of their own; other columns have one each.
    min_count : float, default=1
        Categories with a smaller count (sum of weights) in the training rows are read as unknown.
    dim : int or {"auto", "fastai", "fourth_root", "half"}, default="auto"
        Width of a vector, or the rule that computes it from the number of categories.
    unknown_rate : float, default=0.01
        Share of cells that an epoch hides, so that unknown and missing ones have trained vectors, but at
        least a hundred of a categorical column, or a twentieth. Rare categories more often; 0: none.
    l2 : float, default=200.0
        Strength of the prior that pulls a vector to zero, for a target that is all noise. It is divided
        by the count of the category, follows the root of the noise in the effects of the column
        (``effects_.input_strength_``, of which 2 is typical) and, in regression, falls with the share
        of the variance of y that is still unexplained.
    biases : bool, default=True
        Whether each category also adds a number to the output directly, under the same prior. Not used
        with more than a thousand classes, each of which has a vector then.
    effects : bool, default=True
        Whether the effects of categories, of bins of numbers and of pairs of categories are inputs,
        with their counts. An effect is the shrunken mean of the target minus the mean of all rows; for
        training rows it is out-of-fold.
    trees : bool, default=True
        Whether predictions of boosted trees (LightGBM) are inputs, from 1,000 rows on; out-of-fold too.
    n_pairs : int, default=36
        Largest number of pairs of categorical columns that have effects, which explain most beyond the
        two, and of combinations of up to four columns, which explain most beyond the trees.
    numbers : {"piecewise", "periodic", "scale"}, default="piecewise"
        Encoding of numbers: learned vectors of piecewise-linear bins or cosines, or the scaled value.
    n_bins : int, default=48
        Largest number of bins of a number.
    d_number : int, default=24
        Width of a number's vector. Columns with fewer bins use the bins directly.
    backbone : {"mlp", "wide_deep", "deepfm"}, default="mlp"
        Network that reads the joined vectors: MLP, Wide & Deep (Cheng 2016) or DeepFM (Guo 2017).
    hidden : sequence of int or "auto", default="auto"
        Widths of the hidden layers. "auto": two of 128, of 256 from 50,000 rows on.
    dropout : float, default=0.1
        Share of hidden units that a training step drops.
    n_members : int or "auto", default="auto"
        Networks that share all weights but input scales and heads; predictions are their mean.
        "auto": four beside trees, eight without.
    n_networks : int, default=1
        Such ensembles that share nothing, of which predictions are the mean too.
    history : {"gru", "lstm", "mean"}, default="gru"
        Encoder of a column of lists: a recurrent net over the events, or one layer for each event and
        then mean, maximum, sum and last, which suits bags of categories too.
    d_history : int, default=64
        Width of a history's vector.
    pooling : {"all", "last", "mean", "attention"}, default="all"
        Vector that a recurrent net's states become: the last state, the mean of all, a mean weighted by
        a learned score, or last, mean and maximum side by side.
    max_events : int, optional, default=500
        Largest number of events, words or steps of a cell that are read; the newest or last stay.
    class_weight : dict, "balanced" or None, default=None
        Weight of each class, multiplied with ``sample_weight``.
    max_epochs : int or "auto", default="auto"
        Largest number of epochs. "auto": as many as make about 1,000 steps, but 30 to 60.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Precision of matrix products in training; weights and losses are always float32. "auto" takes
        bfloat16 where the processor multiplies it faster (AMX, AVX-512 BF16, recent GPUs).
    batch_size : int or "auto", default="auto"
        Rows in a step. "auto": near a fortieth of the rows, a 160th if histories are long; 16 to 256
        (1024 from a million rows on).
    learning_rate : float, default=0.003
        Learning rate of AdamW. It is constant; the weights that are kept are an average over the last
        tenth of the steps.
    table_rate : float, default=1.0
        Learning rate of the embedding tables, in units of ``learning_rate``.
    weight_decay : float, default=0.02
        Weight decay of the backbone's matrices.
    early_stopping : bool or "auto", default="auto"
        Whether to hold out validation rows and keep the epoch with the smallest validation loss, not the
        last one. "auto": where ``max_epochs="auto"`` and there are 100 rows; all rows then train for
        half as many epochs more. Rows that are passed as ``eval_X`` are used in any case.
    validation_fraction : float or "auto", default="auto"
        Share of the rows that early stopping holds out. "auto": a tenth, from 10,000 rows on ten times
        their root.
    patience : int, default=3
        Epochs after which training stops if none of them improved the validation loss by a thousandth.
    max_time : float, optional
        Time limit of ``fit`` in seconds; the best epoch so far is kept.
    checkpoint : str or path-like, optional
        Folder for the state of ``fit``: after a kill, the same call goes on from there, bit for bit.
    device : str, default="auto"
        A torch device; "auto" takes CUDA where there is one.
    n_jobs : int, optional
        Threads. None: the free cores, or one inside a joblib worker. -1: every core.
    verbose : bool, optional
        Whether to show a progress bar, and a line after ``fit``. None: on a terminal, after three
        seconds, and in a notebook; never inside a joblib worker.
    random_state : int, RandomState or None, default=None
        With an int, two fits on one thread give the same model bit for bit.

    Attributes
    ----------
    spaces_ : Spaces, a mapping of table name -> EmbeddingSpace
        What the model answers for each category, with its reliability; ``spaces_.raw``: table rows.
    learning_curve_ : dict of list
        One entry an epoch: epoch, seconds, train_loss, eval_loss (NaN without validation rows).
    best_epoch_ : int
        The epoch with the smallest validation loss, or else the last one; counted from 0.
    encoder_ : Encoder
        Roles, vocabularies and scales.
    effects_ : Effects or None
        Effects of levels; ``effects_.terms_`` lists their inputs.
    trees_ : Trees or None
        Boosted trees whose score is an input; ``trees_.texts`` are LightGBM's models.
    target_ : Target
        Scale or classes of y, and the loss.
    hidden_ : tuple of int
        Widths of the hidden layers.
    network_ : torch.nn.Module
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only where X had column names.
    classes_ : ndarray of shape (n_classes,), or a list of one for each target

    Examples
    --------
    >>> import pandas as pd
    >>> X = pd.DataFrame({"city": ["Bonn", "Rome"] * 40, "size": range(80)})
    >>> model = EmbeddingClassifier(max_epochs=20, random_state=0).fit(X, X["city"] == "Rome")
    >>> model.predict(X.head(2)).tolist()
    [False, True]
    >>> model.spaces_.raw["city"].vectors.shape
    (2, 2)
    """

    _numeric_target = False

    class_weight: Mapping[Any, float] | str | None

    def __init__(
        self,
        *,
        preset: str = "default",
        roles: Mapping[str | int, str] | None = None,
        tables: Mapping[str, Table] | None = None,
        min_count: float = 1,
        dim: int | str = "auto",
        unknown_rate: float = 0.01,
        l2: float = 200.0,
        biases: bool = True,
        effects: bool = True,
        trees: bool = True,
        n_pairs: int = 36,
        numbers: str = "piecewise",
        n_bins: int = 48,
        d_number: int = 24,
        backbone: str = "mlp",
        hidden: tuple[int, ...] | str = "auto",
        dropout: float = 0.1,
        n_members: int | str = "auto",
        n_networks: int = 1,
        history: str = "gru",
        d_history: int = 64,
        pooling: str = "all",
        max_events: int | None = 500,
        class_weight: Mapping[Any, float] | str | None = None,
        max_epochs: int | str = "auto",
        precision: str = "auto",
        batch_size: int | str = "auto",
        learning_rate: float = 3e-3,
        table_rate: float = 1.0,
        weight_decay: float = 0.02,
        early_stopping: bool | str = "auto",
        validation_fraction: float | str = "auto",
        patience: int = 3,
        max_time: float | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        device: str = "auto",
        n_jobs: int | None = None,
        verbose: bool | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        store(self, locals())

    def _new_target(self, y: np.ndarray, classes: np.ndarray | None = None) -> Target:
        return class_target(y, classes=classes)

    @property
    def classes_(self) -> Any:
        """The classes in the order of the columns of `predict_proba`; a list for several targets."""
        check_is_fitted(self, "target_")
        return self.target_.classes_

    def _reweighted(self, rows: Rows) -> Rows:
        if self.class_weight is None:
            return rows
        if not isinstance(self.class_weight, Mapping):
            one_of(("balanced",)).check("class_weight", self.class_weight)
        weights = with_class_weight(by_code(self.class_weight, rows), rows.y, rows.weights)
        return replace(rows, weights=weights).with_weight()

    @memory_checked
    def predict_proba(self, X: Any) -> Any:
        """Return the probability of each class.

        Parameters
        ----------
        X : frame or array-like of shape (n_rows, n_columns)

        Returns
        -------
        ndarray of shape (n_rows, n_classes)
            Multilabel: (n_rows, n_labels), the probability of each label. Several targets: a list.
        """
        return self._predictions(X)

    @memory_checked
    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class.

        Parameters
        ----------
        X : frame or array-like of shape (n_rows, n_columns)

        Returns
        -------
        ndarray of shape (n_rows,) or (n_rows, n_targets)
            Labels of y, as they were given; objects where several targets have labels of several types.
        """
        probability = self.predict_proba(X)
        classes = self.classes_
        if isinstance(probability, list):
            return side_by_side([c[p.argmax(1)] for c, p in zip(classes, probability)])
        if isinstance(classes, list):
            is_one = (probability >= 0.5).astype(int).T
            return side_by_side([c[column] for c, column in zip(classes, is_one)])
        return np.asarray(classes[probability.argmax(1)])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class EmbeddingRegressor(RegressorMixin, GrowingRows, PredictsIntervals):
    """Regressor that learns a vector for every category and reads it with a small ensemble of networks.

    One number or several at once (y of shape (n_rows, n_targets)); they are scaled inside, and
    predictions come in the unit of y. Entity embeddings follow Guo & Berkhahn (2016), the
    piecewise-linear numbers Gorishniy et al. (2022), the ensemble of members that share weights TabM
    (Gorishniy et al. 2025).

    Parameters
    ----------
    preset : {"fast", "default", "best"}, default="default"
        How much to compute. "best" averages five wider networks, in some ten times the seconds; "fast"
        trains one small network for eight epochs, without trees and validation rows, in a quarter.
        A preset sets only parameters that are left at their defaults.
    roles : dict of column -> str, optional
        "categorical", "number", "datetime", "text" (a bag of words), "vector", "history" or "ignored",
        where a column shall not have the role of its type, which docs/estimators.md lists. Columns of
        an array are named by position or "x0", ...
    tables : dict of name -> Table, optional
        Embedding tables that columns share, or with settings of their own; other columns have one each.
    min_count : float, default=1
        Categories with a smaller count (sum of weights) in the training rows are read as unknown.
    dim : int or {"auto", "fastai", "fourth_root", "half"}, default="auto"
        Width of a vector, or the rule that computes it from the number of categories.
    unknown_rate : float, default=0.01
        Share of cells that an epoch hides, so that unknown and missing ones have trained vectors, but at
        least a hundred of a categorical column, or a twentieth. Rare categories more often; 0: none.
    l2 : float, default=200.0
        Strength of the prior that pulls a vector to zero, for a target that is all noise. It is divided
        by the count of the category, follows the root of the noise in the effects of the column
        (``effects_.input_strength_``, of which 2 is typical) and, in regression, falls with the share
        of the variance of y that is still unexplained.
    biases : bool, default=True
        Whether each category also adds a number to the output directly, under the same prior. Not used
        with more than a thousand classes, each of which has a vector then.
    effects : bool, default=True
        Whether the effects of categories, of bins of numbers and of pairs of categories are inputs,
        with their counts. An effect is the shrunken mean of the target minus the mean of all rows; for
        training rows it is out-of-fold.
    trees : bool, default=True
        Whether predictions of boosted trees (LightGBM) are inputs, from 1,000 rows on; out-of-fold too.
    n_pairs : int, default=36
        Largest number of pairs of categorical columns that have effects, which explain most beyond the
        two, and of combinations of up to four columns, which explain most beyond the trees.
    numbers : {"piecewise", "periodic", "scale"}, default="piecewise"
        Encoding of numbers: learned vectors of piecewise-linear bins or cosines, or the scaled value.
    n_bins : int, default=48
        Largest number of bins of a number.
    d_number : int, default=24
        Width of a number's vector. Columns with fewer bins use the bins directly.
    backbone : {"mlp", "wide_deep", "deepfm"}, default="mlp"
        Network that reads the joined vectors: MLP, Wide & Deep (Cheng 2016) or DeepFM (Guo 2017).
    hidden : sequence of int or "auto", default="auto"
        Widths of the hidden layers. "auto": two of 128, of 256 from 50,000 rows on.
    dropout : float, default=0.1
        Share of hidden units that a training step drops.
    n_members : int or "auto", default="auto"
        Networks that share all weights but input scales and heads; predictions are their mean.
        "auto": four beside trees, eight without.
    n_networks : int, default=1
        Such ensembles that share nothing, of which predictions are the mean too.
    history : {"gru", "lstm", "mean"}, default="gru"
        Encoder of a column of lists: a recurrent net over the events, or one layer for each event and
        then mean, maximum, sum and last, which suits bags of categories too.
    d_history : int, default=64
        Width of a history's vector.
    pooling : {"all", "last", "mean", "attention"}, default="all"
        Vector that a recurrent net's states become: the last state, the mean of all, a mean weighted by
        a learned score, or last, mean and maximum side by side.
    max_events : int, optional, default=500
        Largest number of events, words or steps of a cell that are read; the newest or last stay.
    loss : {"squared_error", "absolute_error", "absolute_percentage_error", "poisson", "quantile"}
        Loss that training minimises, "squared_error" by default. "absolute_percentage_error" and
        "poisson" predict through a logarithm.
    quantile : float, optional
        The level, above 0 and below 1, that ``loss="quantile"`` predicts.
    max_epochs : int or "auto", default="auto"
        Largest number of epochs. "auto": as many as make about 1,000 steps, but 30 to 60.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Precision of matrix products in training; weights and losses are always float32. "auto" takes
        bfloat16 where the processor multiplies it faster (AMX, AVX-512 BF16, recent GPUs).
    batch_size : int or "auto", default="auto"
        Rows in a step. "auto": near a fortieth of the rows, a 160th if histories are long; 16 to 256
        (1024 from a million rows on).
    learning_rate : float, default=0.003
        Learning rate of AdamW. It is constant; the weights that are kept are an average over the last
        tenth of the steps.
    table_rate : float, default=1.0
        Learning rate of the embedding tables, in units of ``learning_rate``.
    weight_decay : float, default=0.02
        Weight decay of the backbone's matrices.
    early_stopping : bool or "auto", default="auto"
        Whether to hold out validation rows and keep the epoch with the smallest validation loss, not the
        last one. "auto": where ``max_epochs="auto"`` and there are 100 rows; all rows then train for
        half as many epochs more. Rows that are passed as ``eval_X`` are used in any case.
    validation_fraction : float or "auto", default="auto"
        Share of the rows that early stopping holds out. "auto": a tenth, from 10,000 rows on ten times
        their root.
    patience : int, default=3
        Epochs after which training stops if none of them improved the validation loss by a thousandth.
    max_time : float, optional
        Time limit of ``fit`` in seconds; the best epoch so far is kept.
    checkpoint : str or path-like, optional
        Folder for the state of ``fit``: after a kill, the same call goes on from there, bit for bit.
    device : str, default="auto"
        A torch device; "auto" takes CUDA where there is one.
    n_jobs : int, optional
        Threads. None: the free cores, or one inside a joblib worker. -1: every core.
    verbose : bool, optional
        Whether to show a progress bar, and a line after ``fit``. None: on a terminal, after three
        seconds, and in a notebook; never inside a joblib worker.
    random_state : int, RandomState or None, default=None
        With an int, two fits on one thread give the same model bit for bit.

    Attributes
    ----------
    spaces_ : Spaces, a mapping of table name -> EmbeddingSpace
        What the model answers for each category, with its reliability; ``spaces_.raw``: table rows.
    learning_curve_ : dict of list
        One entry an epoch: epoch, seconds, train_loss, eval_loss (NaN without validation rows).
    best_epoch_ : int
        The epoch with the smallest validation loss, or else the last one; counted from 0.
    encoder_ : Encoder
        Roles, vocabularies and scales.
    effects_ : Effects or None
        Effects of levels; ``effects_.terms_`` lists their inputs.
    trees_ : Trees or None
        Boosted trees whose score is an input; ``trees_.texts`` are LightGBM's models.
    target_ : Target
        Scale or classes of y, and the loss.
    hidden_ : tuple of int
        Widths of the hidden layers.
    network_ : torch.nn.Module
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only where X had column names.

    Examples
    --------
    >>> import pandas as pd
    >>> X = pd.DataFrame({"city": ["Bonn", "Rome"] * 40})
    >>> model = EmbeddingRegressor(max_epochs=20, random_state=0).fit(X, [10.0, 20.0] * 40)
    >>> model.predict(X.head(2)).round().tolist()
    [10.0, 20.0]
    """

    _numeric_target = True
    rules: ClassVar[Mapping[str, Rule]] = {**PredictsIntervals.rules, "loss": one_of(NUMBER_TARGETS)}

    loss: str
    quantile: float | None

    def __init__(
        self,
        *,
        preset: str = "default",
        roles: Mapping[str | int, str] | None = None,
        tables: Mapping[str, Table] | None = None,
        min_count: float = 1,
        dim: int | str = "auto",
        unknown_rate: float = 0.01,
        l2: float = 200.0,
        biases: bool = True,
        effects: bool = True,
        trees: bool = True,
        n_pairs: int = 36,
        numbers: str = "piecewise",
        n_bins: int = 48,
        d_number: int = 24,
        backbone: str = "mlp",
        hidden: tuple[int, ...] | str = "auto",
        dropout: float = 0.1,
        n_members: int | str = "auto",
        n_networks: int = 1,
        history: str = "gru",
        d_history: int = 64,
        pooling: str = "all",
        max_events: int | None = 500,
        loss: str = "squared_error",
        quantile: float | None = None,
        max_epochs: int | str = "auto",
        precision: str = "auto",
        batch_size: int | str = "auto",
        learning_rate: float = 3e-3,
        table_rate: float = 1.0,
        weight_decay: float = 0.02,
        early_stopping: bool | str = "auto",
        validation_fraction: float | str = "auto",
        patience: int = 3,
        max_time: float | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        device: str = "auto",
        n_jobs: int | None = None,
        verbose: bool | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        store(self, locals())

    def _new_target(self, y: np.ndarray, classes: np.ndarray | None = None) -> Target:
        if (self.quantile is not None) != (self.loss == "quantile"):
            raise ValueError(
                "quantile goes with loss='quantile'; "
                f"got quantile={self.quantile!r}, loss={self.loss!r}."
            )
        if self.quantile is None:
            return NUMBER_TARGETS[self.loss]()
        if not (real(0, 1, open_low=True).holds(self.quantile)):
            raise ValueError(f"quantile must be above 0 and below 1; got {self.quantile!r}.")
        return QuantileTarget(self.quantile)

    @memory_checked
    def predict(self, X: Any) -> np.ndarray:
        """Return the predicted numbers, in the unit of y.

        Parameters
        ----------
        X : frame or array-like of shape (n_rows, n_columns)

        Returns
        -------
        ndarray of shape (n_rows,) or (n_rows, n_targets)
        """
        return np.asarray(self._predictions(X))
