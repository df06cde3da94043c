"""EventClassifier and EventRegressor: one event, one target, from the entity's events before it."""

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
    """Classifier of events from the events of the same entity before them, with their targets.

    X is the log, and y has one target for each event: was the question answered correctly, what comes
    next. The columns of an event are joined with the vector that a recurrent net makes of the entity's
    earlier events, their outcomes and targets included (deep knowledge tracing, Piech et al. 2015).
    The state after the last event of each entity is kept: ``predict`` goes on from there, and
    ``update`` reads new events. Where y has more than a thousand classes (the next item), each class
    has a vector, by which earlier targets are read too, and an output is a dot product with it:
    `recommend`, `user_vectors` and ``class_space_`` serve candidates. Up to 50,000 classes, a step of
    training compares all of them, beyond a sample. Fitted attributes are those of
    `EmbeddingClassifier`, and ``class_space_``.

    Parameters
    ----------
    entity : str
        Column of X that names the entity of each event.
    time : str
        Column of X with the time of each event: timestamps, dates or numbers.
    outcome_fields : sequence of str, default=()
        Columns of X that are known only after the event: later events of the entity see them, the event
        itself does not, and ``predict`` does not need them. Columns of lists are read of the present
        event alone.
    encounters : bool, default=True
        Whether the entity's earlier encounters with the same category are inputs, for each categorical
        column: their number, the time since the last and, unless y has three classes or more, the mean
        and the last of their targets.
    ties : {"hidden", "order", "merge"}, default="hidden"
        What an event sees of others of its entity at the same time. "hidden": nothing, as in
        `HistoryJoiner`. "order": those before it in X, with their outcomes and targets. "merge":
        nothing, and later events see those of one time as one step, pooled in no order: faster, and
        often better, where many events share a time. But ``predict`` and `update` see every event that
        an earlier call has read, also those at the same time.
    example_age : bool, default=False
        Whether the time from an event to the newest of ``fit`` is an input ("example age", Covington et
        al. 2016), in days if times are times. Predictions have zero: what they say is of now, such as
        the popularity of an item that is new. The time itself is better ignored then
        (``roles={"at": "ignored"}``).
    class_vectors : bool or "auto", default="auto"
        Whether each class has a vector, and an output is a dot product with it, as candidates need it:
        `user_vectors`, ``class_space_``, `recommend`. "auto": with more than a thousand classes.
    preset : {"fast", "default", "best"}, default="default"
        How much to compute. "best" averages five wider networks, in some ten times the seconds; "fast"
        trains one small network for eight epochs, without trees and validation rows, in a quarter.
        A preset sets only parameters that are left at their defaults.
    roles : dict of column -> str, optional
        "categorical", "number", "datetime", "text" (a bag of words), "vector", "history" or "ignored",
        where a column shall not have the role of its type, which docs/estimators.md lists. Columns of
        an array are named by position or "x0", ...
    tables : dict of name -> Table, optional
        Embedding tables that several columns share, or that have settings of their own. Every other
        column gets one table.
    min_count : float, default=1
        Categories with a smaller count (sum of weights) in the training rows are read as unknown.
    dim : int or {"auto", "fastai", "fourth_root", "half"}, default="auto"
        Width of a vector, or the rule that computes it from the number of categories.
    unknown_rate : float, default=0.01
        Share of cells that training hides, so that unknown categories and missing values have trained
        vectors. Rare categories are hidden up to eleven times as often. At least a hundred cells of a
        categorical column are hidden in each epoch, or a twentieth of them. 0 hides none.
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
    n_pairs : int, default=36
        Largest number of pairs of categorical columns that have effects: those that explain most beyond
        their two columns.
    numbers : {"piecewise", "periodic", "scale"}, default="piecewise"
        Encoding of numbers: learned vectors of piecewise-linear bins or of cosines, or the scaled value
        alone.
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
        Networks that share all weights but input scales and heads; predictions are their mean. "auto":
        eight.
    n_networks : int, default=1
        Such ensembles that share nothing, trained one after the other. Their predictions are averaged
        too.
    history : {"gru", "lstm", "mean"}, default="gru"
        Encoder of the earlier events: a recurrent net, or one layer for each event and then mean,
        maximum, sum and last.
    d_history : int, default=64
        Width of a history's vector.
    pooling : {"all", "last", "mean", "attention"}, default="all"
        Not used: an event sees the state before it.
    max_events : int, optional, default=500
        Not used: an event sees all earlier events of its entity.
    class_weight : dict, "balanced" or None, default=None
        Weight of each class, multiplied with ``sample_weight``.
    max_epochs : int or "auto", default="auto"
        Largest number of epochs. "auto": as many as make about 1,000 steps, but 30 to 60.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Precision of matrix products in training; weights and losses are always float32. "auto" takes
        bfloat16 where the processor multiplies it faster (AMX, AVX-512 BF16, recent GPUs).
    batch_size : int or "auto", default="auto"
        Events in a step, which are whole sequences or parts of long ones. "auto": a power of two near a
        fortieth of the events, 64 to 1,024.
    learning_rate : float, default=0.003
        Learning rate of AdamW. It is constant; the weights that are kept are an average over the last
        tenth of the steps.
    table_rate : float, default=1.0
        Learning rate of the embedding tables, in units of ``learning_rate``.
    weight_decay : float, default=0.02
        Weight decay of the backbone's matrices.
    early_stopping : bool or "auto", default="auto"
        Whether to hold out validation entities and keep the epoch with the smallest validation loss.
        "auto": where ``max_epochs="auto"`` and there are 100 events; all entities then train for an
        eighth as many epochs more. Otherwise the last epoch is kept. Events that are passed as
        ``eval_X`` are used in any case.
    validation_fraction : float or "auto", default="auto"
        Share of the entities that early stopping holds out. "auto": a tenth, from 10,000 events on ten
        times their root.
    patience : int, default=4
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
        Whether to show a progress bar. None: on a terminal or in a notebook, after three seconds,
        never inside a joblib worker.
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
        """Return the probabilities for every event of a log, each from those before it; keep no state.

        Parameters
        ----------
        X : frame of shape (n_events, n_columns)
            Events as `update` takes them, in any order.
        y : array-like of shape (n_events,)
            Their targets, which later events of their entity see.

        Returns
        -------
        ndarray of shape (n_events, n_classes)
            The same as `predict_proba` and `update` would give, time by time.
        """
        return self._replayed(X, y)


class EventRegressor(EventEstimator, EmbeddingRegressor):
    """Regressor of events from the events of the same entity before them, with their targets.

    As `EventClassifier`, for numbers. Fitted attributes are those of `EmbeddingRegressor`.

    Parameters
    ----------
    entity : str
        Column of X that names the entity of each event.
    time : str
        Column of X with the time of each event: timestamps, dates or numbers.
    outcome_fields : sequence of str, default=()
        Columns of X that are known only after the event: later events of the entity see them, the event
        itself does not, and ``predict`` does not need them. Columns of lists are read of the present
        event alone.
    encounters : bool, default=True
        Whether the entity's earlier encounters with the same category are inputs, for each categorical
        column: their number, the time since the last and, unless y has three classes or more, the mean
        and the last of their targets.
    ties : {"hidden", "order", "merge"}, default="hidden"
        What an event sees of others of its entity at the same time. "hidden": nothing, as in
        `HistoryJoiner`. "order": those before it in X, with their outcomes and targets. "merge":
        nothing, and later events see those of one time as one step, pooled in no order: faster, and
        often better, where many events share a time. But ``predict`` and `update` see every event that
        an earlier call has read, also those at the same time.
    example_age : bool, default=False
        Whether the time from an event to the newest of ``fit`` is an input ("example age", Covington et
        al. 2016), in days if times are times. Predictions have zero: what they say is of now, such as
        the popularity of an item that is new. The time itself is better ignored then
        (``roles={"at": "ignored"}``).
    preset : {"fast", "default", "best"}, default="default"
        How much to compute. "best" averages five wider networks, in some ten times the seconds; "fast"
        trains one small network for eight epochs, without trees and validation rows, in a quarter.
        A preset sets only parameters that are left at their defaults.
    roles : dict of column -> str, optional
        "categorical", "number", "datetime", "text" (a bag of words), "vector", "history" or "ignored",
        where a column shall not have the role of its type, which docs/estimators.md lists. Columns of
        an array are named by position or "x0", ...
    tables : dict of name -> Table, optional
        Embedding tables that several columns share, or that have settings of their own. Every other
        column gets one table.
    min_count : float, default=1
        Categories with a smaller count (sum of weights) in the training rows are read as unknown.
    dim : int or {"auto", "fastai", "fourth_root", "half"}, default="auto"
        Width of a vector, or the rule that computes it from the number of categories.
    unknown_rate : float, default=0.01
        Share of cells that training hides, so that unknown categories and missing values have trained
        vectors. Rare categories are hidden up to eleven times as often. At least a hundred cells of a
        categorical column are hidden in each epoch, or a twentieth of them. 0 hides none.
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
    n_pairs : int, default=36
        Largest number of pairs of categorical columns that have effects: those that explain most beyond
        their two columns.
    numbers : {"piecewise", "periodic", "scale"}, default="piecewise"
        Encoding of numbers: learned vectors of piecewise-linear bins or of cosines, or the scaled value
        alone.
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
        Networks that share all weights but input scales and heads; predictions are their mean. "auto":
        eight.
    n_networks : int, default=1
        Such ensembles that share nothing, trained one after the other. Their predictions are averaged
        too.
    history : {"gru", "lstm", "mean"}, default="gru"
        Encoder of the earlier events: a recurrent net, or one layer for each event and then mean,
        maximum, sum and last.
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
        Largest number of epochs. "auto": as many as make about 1,000 steps, but 30 to 60.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Precision of matrix products in training; weights and losses are always float32. "auto" takes
        bfloat16 where the processor multiplies it faster (AMX, AVX-512 BF16, recent GPUs).
    batch_size : int or "auto", default="auto"
        Events in a step, which are whole sequences or parts of long ones. "auto": a power of two near a
        fortieth of the events, 64 to 1,024.
    learning_rate : float, default=0.003
        Learning rate of AdamW. It is constant; the weights that are kept are an average over the last
        tenth of the steps.
    table_rate : float, default=1.0
        Learning rate of the embedding tables, in units of ``learning_rate``.
    weight_decay : float, default=0.02
        Weight decay of the backbone's matrices.
    early_stopping : bool or "auto", default="auto"
        Whether to hold out validation entities and keep the epoch with the smallest validation loss.
        "auto": where ``max_epochs="auto"`` and there are 100 events; all entities then train for an
        eighth as many epochs more. Otherwise the last epoch is kept. Events that are passed as
        ``eval_X`` are used in any case.
    validation_fraction : float or "auto", default="auto"
        Share of the entities that early stopping holds out. "auto": a tenth, from 10,000 events on ten
        times their root.
    patience : int, default=4
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
        Whether to show a progress bar. None: on a terminal or in a notebook, after three seconds,
        never inside a joblib worker.
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
        """Return the predictions for every event of a log, each from those before it; keep no state.

        Parameters
        ----------
        X : frame of shape (n_events, n_columns)
            Events as `update` takes them, in any order.
        y : array-like of shape (n_events,) or (n_events, n_targets)
            Their targets, which later events of their entity see.

        Returns
        -------
        ndarray of shape (n_events,) or (n_events, n_targets)
            The same as `predict` and `update` would give, time by time.
        """
        return self._replayed(X, y)
