"""EventClassifier and EventRegressor: one target for each event, from the entity's earlier events."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from tabemb.data.schema import Table
from tabemb.estimators.candidates import CandidateEstimator
from tabemb.estimators.event_base import EventEstimator
from tabemb.estimators.rows import EmbeddingClassifier, EmbeddingRegressor
from tabemb.fitting.settings import FLAG, Rule, one_of, store
from tabemb.targets import Target, class_target

RULES: Mapping[str, Rule] = {
    "encounters": FLAG,
    "example_age": FLAG,
    "ties": one_of(("hidden", "order", "merge")),
}


class EventClassifier(CandidateEstimator, EmbeddingClassifier):
    """Classifier of events that reads the earlier events of the same entity and their targets.

    X is the log, and y has one target for each event, such as whether a question was answered correctly
    or which item comes next. The columns of an event are concatenated with a vector that a recurrent net
    computes from the entity's earlier events, with their outcomes and targets (deep knowledge tracing,
    Piech et al. 2015). The state after the last event of each entity is kept: ``predict`` continues from
    it, and ``update`` reads new events.

    If y has more than a thousand classes, such as items, each class has a vector that also encodes
    earlier targets, and the output of a class is the dot product with its vector. `recommend`,
    `user_vectors` and ``class_space_`` use these vectors. A training step compares the target with all
    classes, or with a sample if there are more than 50,000. The fitted attributes are those of
    `EmbeddingClassifier`, and ``class_space_``.

    Parameters
    ----------
    entity : str
        Column of X that names the entity of each event.
    time : str
        Column of X with the time of each event: timestamps, dates or numbers.
    outcome_fields : sequence of str, default=()
        Columns of X that are known only after the event. Later events of the entity see them, the event
        itself does not, and ``predict`` does not need them. Columns of lists are read for the current
        event only, not for earlier ones.
    encounters : bool, default=True
        Whether the entity's earlier events with the same category are inputs, for each categorical
        column: their number, the time since the last one and, unless y has three classes or more, the
        mean and the last of their targets.
    ties : {"hidden", "order", "merge"}, default="hidden"
        What an event sees of other events of its entity at the same time. "hidden": nothing, as in
        `HistoryJoiner`. "order": those before it in X, with their outcomes and targets. "merge":
        nothing, and later events see the events of one time as one step, pooled without order; this is
        faster, and often better, if many events share a time. In all cases, ``predict`` and `update` see
        every event that an earlier call has read, even at the same time.
    example_age : bool, default=False
        Whether the time from an event to the newest event of ``fit`` is an input ("example age",
        Covington et al. 2016), in days if ``time`` is a timestamp or date. Predictions use zero, so they
        describe the present, such as the popularity of a new item. The time column is then better
        ignored (``roles={"at": "ignored"}``).
    class_vectors : bool or "auto", default="auto"
        Whether each class has a vector, and its output is the dot product with it. `user_vectors`,
        ``class_space_`` and `recommend` need this. "auto": with more than a thousand classes.
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
    n_pairs : int, default=36
        Largest number of pairs of categorical columns that get effects: the pairs that explain most
        beyond their two columns.
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
        "auto": eight.
    n_networks : int, default=1
        Number of independent ensembles, trained one after the other; their predictions are averaged too.
    history : {"gru", "lstm", "mean"}, default="gru"
        Encoder of the earlier events. "gru" and "lstm" are recurrent nets. "mean" applies a layer to
        each event, then takes mean, maximum, sum and last.
    d_history : int, default=64
        Width of a history's vector.
    pooling : {"all", "last", "mean", "attention"}, default="all"
        Not used: an event sees the state before it.
    max_events : int, optional, default=500
        Not used: an event sees all earlier events of its entity.
    class_weight : dict, "balanced" or None, default=None
        Weight of each class; it is multiplied by ``sample_weight``.
    max_epochs : int or "auto", default="auto"
        Largest number of epochs. "auto": enough for about 1,000 steps, but between 30 and 60.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Precision of matrix products in training; weights and losses are always float32. "auto" uses
        bfloat16 if the hardware multiplies it faster (AMX, AVX-512 BF16, recent GPUs).
    batch_size : int or "auto", default="auto"
        Events in a step, taken as whole sequences or parts of long ones. "auto": a power of two near
        1/40 of the events, but between 64 and 1,024.
    learning_rate : float, default=0.003
        Learning rate of AdamW. It is constant; the model uses an average of the weights over the last
        tenth of the steps.
    table_rate : float, default=1.0
        Learning rate of the embedding tables, relative to ``learning_rate``.
    weight_decay : float, default=0.02
        Weight decay of the weight matrices of the backbone.
    early_stopping : bool or "auto", default="auto"
        Whether to hold out validation entities and keep the epoch with the smallest validation loss, not
        the last one. "auto": if ``max_epochs="auto"`` and there are at least 100 events; all entities
        then train for an eighth as many additional epochs. Events passed as ``eval_X`` are always used.
    validation_fraction : float or "auto", default="auto"
        Share of the entities that early stopping holds out. "auto": 0.1; from 10,000 events on
        10 / sqrt(n_events).
    patience : int, default=4
        Training stops after this many epochs without an improvement of the validation loss by 0.1 %.
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

    Examples
    --------
    >>> import pandas as pd
    >>> log = pd.DataFrame({"who": ["ann", "bob"] * 30, "at": range(60), "what": ["add", "sub"] * 30})
    >>> model = EventClassifier(entity="who", time="at", max_epochs=2, random_state=0)
    >>> model = model.fit(log, [True, False, False] * 20)
    >>> new = pd.DataFrame({"who": ["ann"], "at": [70], "what": ["add"]})
    >>> model.update(new, [True]).predict_proba(new).shape
    (1, 2)
    """

    rules: ClassVar[Mapping[str, Rule]] = {
        **EmbeddingClassifier.rules,
        **RULES,
        "class_vectors": FLAG.or_("auto"),
    }

    class_vectors: bool | str

    def __init__(
        self,
        *,
        entity: str,
        time: str,
        outcome_fields: Sequence[str] = (),
        encounters: bool = True,
        ties: str = "hidden",
        example_age: bool = False,
        class_vectors: bool | str = "auto",
        preset: str = "default",
        roles: Mapping[str | int, str] | None = None,
        tables: Mapping[str, Table] | None = None,
        min_count: float = 1,
        dim: int | str = "auto",
        unknown_rate: float = 0.01,
        l2: float = 200.0,
        biases: bool = True,
        effects: bool = True,
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
        patience: int = 4,
        max_time: float | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        device: str = "auto",
        n_jobs: int | None = None,
        verbose: bool | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        store(self, locals())

    def _new_target(self, y: np.ndarray, classes: np.ndarray | None = None) -> Target:
        return class_target(y, self.class_vectors, classes)

    def replay_proba(self, X: Any, y: Any) -> Any:
        """Return the probabilities for every event of a log, each from the events before it.

        The kept states do not change.

        Parameters
        ----------
        X : frame of shape (n_events, n_columns)
            Events as `update` takes them, in any order.
        y : array-like of shape (n_events,)
            Their targets, which later events of their entity see.

        Returns
        -------
        ndarray of shape (n_events, n_classes)
            The same values as from calls of `predict_proba` and `update`, time by time.
        """
        return self._replayed(X, y)


class EventRegressor(EventEstimator, EmbeddingRegressor):
    """Regressor of events that reads the earlier events of the same entity and their targets.

    It works like `EventClassifier`, for numbers. The fitted attributes are those of
    `EmbeddingRegressor`.

    Parameters
    ----------
    entity : str
        Column of X that names the entity of each event.
    time : str
        Column of X with the time of each event: timestamps, dates or numbers.
    outcome_fields : sequence of str, default=()
        Columns of X that are known only after the event. Later events of the entity see them, the event
        itself does not, and ``predict`` does not need them. Columns of lists are read for the current
        event only, not for earlier ones.
    encounters : bool, default=True
        Whether the entity's earlier events with the same category are inputs, for each categorical
        column: their number, the time since the last one and, unless y has three classes or more, the
        mean and the last of their targets.
    ties : {"hidden", "order", "merge"}, default="hidden"
        What an event sees of other events of its entity at the same time. "hidden": nothing, as in
        `HistoryJoiner`. "order": those before it in X, with their outcomes and targets. "merge":
        nothing, and later events see the events of one time as one step, pooled without order; this is
        faster, and often better, if many events share a time. In all cases, ``predict`` and `update` see
        every event that an earlier call has read, even at the same time.
    example_age : bool, default=False
        Whether the time from an event to the newest event of ``fit`` is an input ("example age",
        Covington et al. 2016), in days if ``time`` is a timestamp or date. Predictions use zero, so they
        describe the present, such as the popularity of a new item. The time column is then better
        ignored (``roles={"at": "ignored"}``).
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
    n_pairs : int, default=36
        Largest number of pairs of categorical columns that get effects: the pairs that explain most
        beyond their two columns.
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
        "auto": eight.
    n_networks : int, default=1
        Number of independent ensembles, trained one after the other; their predictions are averaged too.
    history : {"gru", "lstm", "mean"}, default="gru"
        Encoder of the earlier events. "gru" and "lstm" are recurrent nets. "mean" applies a layer to
        each event, then takes mean, maximum, sum and last.
    d_history : int, default=64
        Width of a history's vector.
    pooling : {"all", "last", "mean", "attention"}, default="all"
        Not used: an event sees the state before it.
    max_events : int, optional, default=500
        Not used: an event sees all earlier events of its entity.
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
        Events in a step, taken as whole sequences or parts of long ones. "auto": a power of two near
        1/40 of the events, but between 64 and 1,024.
    learning_rate : float, default=0.003
        Learning rate of AdamW. It is constant; the model uses an average of the weights over the last
        tenth of the steps.
    table_rate : float, default=1.0
        Learning rate of the embedding tables, relative to ``learning_rate``.
    weight_decay : float, default=0.02
        Weight decay of the weight matrices of the backbone.
    early_stopping : bool or "auto", default="auto"
        Whether to hold out validation entities and keep the epoch with the smallest validation loss, not
        the last one. "auto": if ``max_epochs="auto"`` and there are at least 100 events; all entities
        then train for an eighth as many additional epochs. Events passed as ``eval_X`` are always used.
    validation_fraction : float or "auto", default="auto"
        Share of the entities that early stopping holds out. "auto": 0.1; from 10,000 events on
        10 / sqrt(n_events).
    patience : int, default=4
        Training stops after this many epochs without an improvement of the validation loss by 0.1 %.
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
    """

    rules: ClassVar[Mapping[str, Rule]] = {**EmbeddingRegressor.rules, **RULES}

    def __init__(
        self,
        *,
        entity: str,
        time: str,
        outcome_fields: Sequence[str] = (),
        encounters: bool = True,
        ties: str = "hidden",
        example_age: bool = False,
        preset: str = "default",
        roles: Mapping[str | int, str] | None = None,
        tables: Mapping[str, Table] | None = None,
        min_count: float = 1,
        dim: int | str = "auto",
        unknown_rate: float = 0.01,
        l2: float = 200.0,
        biases: bool = True,
        effects: bool = True,
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
        patience: int = 4,
        max_time: float | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        device: str = "auto",
        n_jobs: int | None = None,
        verbose: bool | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        store(self, locals())

    def replay(self, X: Any, y: Any) -> Any:
        """Return the predictions for every event of a log, each from the events before it.

        The kept states do not change.

        Parameters
        ----------
        X : frame of shape (n_events, n_columns)
            Events as `update` takes them, in any order.
        y : array-like of shape (n_events,) or (n_events, n_targets)
            Their targets, which later events of their entity see.

        Returns
        -------
        ndarray of shape (n_events,) or (n_events, n_targets)
            The same values as from calls of `predict` and `update`, time by time.
        """
        return self._replayed(X, y)
