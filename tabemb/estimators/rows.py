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

    Targets may be binary, multiclass, several class targets at once (y of shape (n_rows, n_targets)) or
    multilabel (a matrix of only 0 and 1). Labels may be of any hashable type. Entity embeddings follow
    Guo & Berkhahn (2016), the piecewise-linear encoding of numbers follows Gorishniy et al. (2022), and
    the members follow TabM (Gorishniy et al. 2025).

    Parameters
    ----------
    preset : {"fast", "default", "best"}, default="default"
        How much to compute. "best" averages five wider networks and takes about ten times as long.
        "fast" trains one small network for eight epochs, without trees and validation rows, in a quarter
        of the time. A preset only changes parameters that are left at their defaults.
    roles : dict of column -> str, optional
        Roles of columns that differ from the role of their type (docs/estimators.md lists these):
        "categorical", "number", "datetime", "text" (a bag of words), "vector", "history" or "ignored".
        Columns of an array are named by position or as "x0", ...
    tables : dict of name -> Table, optional
        Embedding tables that several columns share or that have special settings. Every other column
        gets one table.
    min_count : float, default=1
        Categories with a smaller count (sum of weights) in the training rows are read as unknown.
    dim : int or {"auto", "fastai", "fourth_root", "half"}, default="auto"
        Width of a vector, or the rule that computes it from the number of categories.
    unknown_rate : float, default=0.01
        Share of cells hidden in each epoch, which trains the vectors of unknown categories and missing
        values. At least 100 cells of a categorical column are hidden, or a twentieth if that is fewer;
        rare categories are hidden up to eleven times as often. 0: none.
    l2 : float, default=200.0
        Strength of the prior that pulls a vector to zero, for a target that is pure noise. It is divided
        by the count of the category, and grows with the square root of the noise in the effects of the
        column (``effects_.input_strength_``, typically 2). In regression it falls with the share of the
        variance of y that is still unexplained.
    biases : bool, default=True
        Whether each category also adds a number directly to the output, under the same prior. Not used
        with more than a thousand classes, where each class has a vector.
    effects : bool, default=True
        Whether the effects and counts of categories, of bins of numbers and of pairs of categories are
        inputs. An effect is the shrunken mean of the target minus the mean of all rows. Training rows
        get out-of-fold effects.
    trees : bool, default=True
        Whether predictions of boosted trees (LightGBM) are inputs, if there are at least 1,000 rows.
        Training rows get out-of-fold predictions.
    n_pairs : int, default=36
        Largest number of pairs of categorical columns that get effects: the pairs that explain most
        beyond their two columns. With trees, also the largest number of combinations of up to four
        columns that get effects: those that explain most beyond the trees.
    numbers : {"piecewise", "periodic", "scale"}, default="piecewise"
        Encoding of numbers. "piecewise" and "periodic" learn vectors of piecewise-linear bins or of
        cosines; "scale" uses only the scaled value.
    n_bins : int, default=48
        Largest number of bins of a number.
    d_number : int, default=24
        Width of a number's vector. Columns with fewer bins use the bins directly.
    backbone : {"mlp", "wide_deep", "deepfm"}, default="mlp"
        Network that reads the concatenated vectors: MLP, Wide & Deep (Cheng 2016) or DeepFM (Guo 2017).
    hidden : sequence of int or "auto", default="auto"
        Widths of the hidden layers. "auto": two layers of width 128, or 256 from 50,000 rows on.
    dropout : float, default=0.1
        Share of hidden units that a training step drops.
    n_members : int or "auto", default="auto"
        Number of networks that share all weights but input scales and heads; predictions are their mean.
        "auto": four with trees, eight without.
    n_networks : int, default=1
        Number of independent ensembles, trained one after the other; their predictions are averaged too.
    history : {"gru", "lstm", "mean"}, default="gru"
        Encoder of a column of lists. "gru" and "lstm" are recurrent nets over the events. "mean" applies
        a layer to each event, then takes mean, maximum, sum and last; it suits bags of categories too.
    d_history : int, default=64
        Width of a history's vector.
    pooling : {"all", "last", "mean", "attention"}, default="all"
        How the states of a recurrent net become one vector. "last": the last state; "mean": their mean;
        "attention": a mean weighted by a learned score; "all": last, mean and maximum side by side.
    max_events : int, optional, default=500
        Largest number of events, words or steps read from a cell; the newest or last are kept.
    class_weight : dict, "balanced" or None, default=None
        Weight of each class; it is multiplied by ``sample_weight``.
    max_epochs : int or "auto", default="auto"
        Largest number of epochs. "auto": enough for about 1,000 steps, but between 30 and 60.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Precision of matrix products in training; weights and losses are always float32. "auto" uses
        bfloat16 if the hardware multiplies it faster (AMX, AVX-512 BF16, recent GPUs).
    batch_size : int or "auto", default="auto"
        Rows in a step. "auto": about 1/40 of the rows, or 1/160 if histories are long, but between 16
        and 256 (1024 from a million rows on).
    learning_rate : float, default=0.003
        Learning rate of AdamW. It is constant; the model uses an average of the weights over the last
        tenth of the steps.
    table_rate : float, default=1.0
        Learning rate of the embedding tables, relative to ``learning_rate``.
    weight_decay : float, default=0.02
        Weight decay of the weight matrices of the backbone.
    early_stopping : bool or "auto", default="auto"
        Whether to hold out validation rows and keep the epoch with the smallest validation loss, not the
        last one. "auto": if ``max_epochs="auto"`` and there are at least 100 rows; all rows then train
        for half as many additional epochs. Rows passed as ``eval_X`` are always used.
    validation_fraction : float or "auto", default="auto"
        Share of rows held out by early stopping. "auto": 0.1; from 10,000 rows on 10 / sqrt(n_rows).
    patience : int, default=3
        Training stops after this many epochs without a better validation loss. A better one is smaller
        by more than 0.1 % and, unless rows have histories, by more than half a standard error.
    max_time : float, optional
        Time limit of ``fit`` in seconds; the model keeps the best epoch so far.
    checkpoint : str or path-like, optional
        Folder where ``fit`` saves its state. After a kill, the same call resumes from it, bit for bit.
    device : str, default="auto"
        A torch device; "auto" uses CUDA if there is a CUDA device.
    n_jobs : int, optional
        Number of threads. None: the free cores, but one inside a joblib worker. -1: every core.
    verbose : bool, optional
        Whether to show a progress bar, and a line after ``fit``. None: in a notebook, and on a terminal
        after three seconds, but not inside a joblib worker.
    random_state : int, RandomState or None, default=None
        With an int, two fits on one thread give the same model bit for bit.

    Attributes
    ----------
    spaces_ : Spaces, a mapping of table name -> EmbeddingSpace
        The model's answers for each category, with their reliability; ``spaces_.raw``: table rows.
    learning_curve_ : dict of list
        One entry per epoch: epoch, seconds, train_loss, eval_loss (NaN without validation rows).
    best_epoch_ : int
        The epoch with the smallest validation loss, counted from 0; the last one without validation.
    encoder_ : Encoder
        Roles, vocabularies and scales.
    effects_ : Effects or None
        Effects of levels; ``effects_.terms_`` lists their inputs.
    trees_ : Trees or None
        Boosted trees whose score is an input; ``trees_.texts`` has LightGBM's models.
    target_ : Target
        Scale or classes of y, and the loss.
    hidden_ : tuple of int
        Widths of the hidden layers.
    network_ : torch.nn.Module
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only if X had column names.
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
            Multilabel: (n_rows, n_labels), probabilities of the labels. Several targets: a list.
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
            Labels as they were in y; an object array if the targets have labels of different types.
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

    The target is one number or several at once (y of shape (n_rows, n_targets)). It is scaled
    internally, and predictions are in the unit of y. Entity embeddings follow Guo & Berkhahn (2016), the
    piecewise-linear encoding of numbers follows Gorishniy et al. (2022), and the members follow TabM
    (Gorishniy et al. 2025).

    Parameters
    ----------
    preset : {"fast", "default", "best"}, default="default"
        How much to compute. "best" averages five wider networks and takes about ten times as long.
        "fast" trains one small network for eight epochs, without trees and validation rows, in a quarter
        of the time. A preset only changes parameters that are left at their defaults.
    roles : dict of column -> str, optional
        Roles of columns that differ from the role of their type (docs/estimators.md lists these):
        "categorical", "number", "datetime", "text" (a bag of words), "vector", "history" or "ignored".
        Columns of an array are named by position or as "x0", ...
    tables : dict of name -> Table, optional
        Embedding tables that several columns share or that have special settings. Every other column
        gets one table.
    min_count : float, default=1
        Categories with a smaller count (sum of weights) in the training rows are read as unknown.
    dim : int or {"auto", "fastai", "fourth_root", "half"}, default="auto"
        Width of a vector, or the rule that computes it from the number of categories.
    unknown_rate : float, default=0.01
        Share of cells hidden in each epoch, which trains the vectors of unknown categories and missing
        values. At least 100 cells of a categorical column are hidden, or a twentieth if that is fewer;
        rare categories are hidden up to eleven times as often. 0: none.
    l2 : float, default=200.0
        Strength of the prior that pulls a vector to zero, for a target that is pure noise. It is divided
        by the count of the category, and grows with the square root of the noise in the effects of the
        column (``effects_.input_strength_``, typically 2). In regression it falls with the share of the
        variance of y that is still unexplained.
    biases : bool, default=True
        Whether each category also adds a number directly to the output, under the same prior. Not used
        with more than a thousand classes, where each class has a vector.
    effects : bool, default=True
        Whether the effects and counts of categories, of bins of numbers and of pairs of categories are
        inputs. An effect is the shrunken mean of the target minus the mean of all rows. Training rows
        get out-of-fold effects.
    trees : bool, default=True
        Whether predictions of boosted trees (LightGBM) are inputs, if there are at least 1,000 rows.
        Training rows get out-of-fold predictions.
    n_pairs : int, default=36
        Largest number of pairs of categorical columns that get effects: the pairs that explain most
        beyond their two columns. With trees, also the largest number of combinations of up to four
        columns that get effects: those that explain most beyond the trees.
    numbers : {"piecewise", "periodic", "scale"}, default="piecewise"
        Encoding of numbers. "piecewise" and "periodic" learn vectors of piecewise-linear bins or of
        cosines; "scale" uses only the scaled value.
    n_bins : int, default=48
        Largest number of bins of a number.
    d_number : int, default=24
        Width of a number's vector. Columns with fewer bins use the bins directly.
    backbone : {"mlp", "wide_deep", "deepfm"}, default="mlp"
        Network that reads the concatenated vectors: MLP, Wide & Deep (Cheng 2016) or DeepFM (Guo 2017).
    hidden : sequence of int or "auto", default="auto"
        Widths of the hidden layers. "auto": two layers of width 128, or 256 from 50,000 rows on.
    dropout : float, default=0.1
        Share of hidden units that a training step drops.
    n_members : int or "auto", default="auto"
        Number of networks that share all weights but input scales and heads; predictions are their mean.
        "auto": four with trees, eight without.
    n_networks : int, default=1
        Number of independent ensembles, trained one after the other; their predictions are averaged too.
    history : {"gru", "lstm", "mean"}, default="gru"
        Encoder of a column of lists. "gru" and "lstm" are recurrent nets over the events. "mean" applies
        a layer to each event, then takes mean, maximum, sum and last; it suits bags of categories too.
    d_history : int, default=64
        Width of a history's vector.
    pooling : {"all", "last", "mean", "attention"}, default="all"
        How the states of a recurrent net become one vector. "last": the last state; "mean": their mean;
        "attention": a mean weighted by a learned score; "all": last, mean and maximum side by side.
    max_events : int, optional, default=500
        Largest number of events, words or steps read from a cell; the newest or last are kept.
    loss : {"squared_error", "absolute_error", "absolute_percentage_error", "poisson", "quantile"}
        Loss that training minimises, "squared_error" by default. "absolute_percentage_error" and
        "poisson" predict through a logarithm.
    quantile : float, optional
        The level, above 0 and below 1, that ``loss="quantile"`` predicts.
    max_epochs : int or "auto", default="auto"
        Largest number of epochs. "auto": enough for about 1,000 steps, but between 30 and 60.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Precision of matrix products in training; weights and losses are always float32. "auto" uses
        bfloat16 if the hardware multiplies it faster (AMX, AVX-512 BF16, recent GPUs).
    batch_size : int or "auto", default="auto"
        Rows in a step. "auto": about 1/40 of the rows, or 1/160 if histories are long, but between 16
        and 256 (1024 from a million rows on).
    learning_rate : float, default=0.003
        Learning rate of AdamW. It is constant; the model uses an average of the weights over the last
        tenth of the steps.
    table_rate : float, default=1.0
        Learning rate of the embedding tables, relative to ``learning_rate``.
    weight_decay : float, default=0.02
        Weight decay of the weight matrices of the backbone.
    early_stopping : bool or "auto", default="auto"
        Whether to hold out validation rows and keep the epoch with the smallest validation loss, not the
        last one. "auto": if ``max_epochs="auto"`` and there are at least 100 rows; all rows then train
        for half as many additional epochs. Rows passed as ``eval_X`` are always used.
    validation_fraction : float or "auto", default="auto"
        Share of rows held out by early stopping. "auto": 0.1; from 10,000 rows on 10 / sqrt(n_rows).
    patience : int, default=3
        Training stops after this many epochs without a better validation loss. A better one is smaller
        by more than 0.1 % and, unless rows have histories, by more than half a standard error.
    max_time : float, optional
        Time limit of ``fit`` in seconds; the model keeps the best epoch so far.
    checkpoint : str or path-like, optional
        Folder where ``fit`` saves its state. After a kill, the same call resumes from it, bit for bit.
    device : str, default="auto"
        A torch device; "auto" uses CUDA if there is a CUDA device.
    n_jobs : int, optional
        Number of threads. None: the free cores, but one inside a joblib worker. -1: every core.
    verbose : bool, optional
        Whether to show a progress bar, and a line after ``fit``. None: in a notebook, and on a terminal
        after three seconds, but not inside a joblib worker.
    random_state : int, RandomState or None, default=None
        With an int, two fits on one thread give the same model bit for bit.

    Attributes
    ----------
    spaces_ : Spaces, a mapping of table name -> EmbeddingSpace
        The model's answers for each category, with their reliability; ``spaces_.raw``: table rows.
    learning_curve_ : dict of list
        One entry per epoch: epoch, seconds, train_loss, eval_loss (NaN without validation rows).
    best_epoch_ : int
        The epoch with the smallest validation loss, counted from 0; the last one without validation.
    encoder_ : Encoder
        Roles, vocabularies and scales.
    effects_ : Effects or None
        Effects of levels; ``effects_.terms_`` lists their inputs.
    trees_ : Trees or None
        Boosted trees whose score is an input; ``trees_.texts`` has LightGBM's models.
    target_ : Target
        Scale or classes of y, and the loss.
    hidden_ : tuple of int
        Widths of the hidden layers.
    network_ : torch.nn.Module
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only if X had column names.

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
