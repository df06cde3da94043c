"""The public methods that all estimators of rows share: fit, transform, spaces, learning curves."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any, ClassVar, Never, Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from tabemb.data.effects import Effects
from tabemb.data.encoding import Encoder
from tabemb.data.notes import note_doubts
from tabemb.data.schema import Table
from tabemb.data.streams import OpenStream, is_source
from tabemb.estimators.checked import CheckedRows
from tabemb.estimators.columns import missing_shares
from tabemb.estimators.explained import ExplainedRows
from tabemb.estimators.fit_line import fit_line
from tabemb.estimators.growth import check_columns, check_no_time, checked_classes, start_of
from tabemb.fitting.calibration import counts_of, level_counts
from tabemb.fitting.checkpoints import check_repeatable
from tabemb.fitting.checks import Columns, Rows, align_columns, check_rows, frame_tags
from tabemb.fitting.fitted import Fitted, FittedParts
from tabemb.fitting.growth import Growth
from tabemb.fitting.intervals import Intervals
from tabemb.fitting.memory import memory_checked, memory_needed
from tabemb.fitting.nights import Night, Start
from tabemb.fitting.placing import NewCategories
from tabemb.fitting.profiles import clustering_of
from tabemb.fitting.reading import check_first, check_stream, on_stream, pair_of, read_validation
from tabemb.fitting.recency import HALF_LIFE
from tabemb.fitting.recipe import Recipe
from tabemb.fitting.responses import Reference, spaces_of
from tabemb.fitting.sets import ClassSets
from tabemb.fitting.settings import (
    FLAG,
    FOLDER,
    MAPPING,
    N_JOBS,
    PRESETS,
    SECONDS,
    VERBOSE,
    WIDTHS,
    RowSettings,
    Rule,
    check_parameters,
    one_of,
    real,
    whole,
)
from tabemb.fitting.sharing import check_tables_of_workers
from tabemb.fitting.sources import RowSource
from tabemb.fitting.stream_recipe import StreamRows, recipe_of
from tabemb.fitting.trees import Trees
from tabemb.hints import NamesMisspelt, refuse_unknown
from tabemb.network.backbone import BACKBONES
from tabemb.network.history import HISTORY_ENCODERS, POOLINGS
from tabemb.network.inputs import RowInputs
from tabemb.network.model import Network, Output
from tabemb.network.numbers import NUMBER_ENCODINGS
from tabemb.network.randomness import Random, drawing_from
from tabemb.progress import print_line
from tabemb.spaces.collection import Spaces
from tabemb.targets import Target
from tabemb.training.loop import Budget, LearningCurve, train
from tabemb.training.threads import threads
from tabemb.training.watch import Callback, watched
from tabemb.training.workers import current

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class RowEstimator(NamesMisspelt, CheckedRows, ExplainedRows, TransformerMixin, BaseEstimator):
    """Base class of the estimators of rows: everything but the target."""

    rules: ClassVar[Mapping[str, Rule]] = {
        "preset": one_of(PRESETS),
        "roles": MAPPING,
        "tables": MAPPING,
        "min_count": real(0),
        "unknown_rate": real(0, 0.5),
        "l2": real(0),
        "biases": FLAG,
        "effects": FLAG,
        "trees": FLAG,
        "n_pairs": whole(0),
        "numbers": one_of(NUMBER_ENCODINGS),
        "n_bins": whole(2),
        "d_number": whole(1),
        "backbone": one_of(BACKBONES),
        "hidden": WIDTHS.or_("auto"),
        "dropout": real(0, 1),
        "n_members": whole(1).or_("auto"),
        "n_networks": whole(1),
        "history": one_of(HISTORY_ENCODERS),
        "d_history": whole(1),
        "pooling": one_of(POOLINGS),
        "max_events": whole(1).or_(None),
        "max_epochs": whole(1).or_("auto"),
        "batch_size": whole(1).or_("auto"),
        "precision": one_of(("auto", "float32", "bfloat16")),
        "learning_rate": real(0, open_low=True),
        "table_rate": real(0, open_low=True),
        "weight_decay": real(0),
        "early_stopping": FLAG.or_("auto"),
        "validation_fraction": real(0, 1, open_low=True).or_("auto"),
        "patience": whole(1),
        "max_time": SECONDS,
        "checkpoint": FOLDER,
        "n_jobs": N_JOBS,
        "verbose": VERBOSE,
    }
    _numeric_target: ClassVar[bool]
    _grows: ClassVar[bool] = False
    _reads_long_streams: ClassVar[bool] = False

    roles: Mapping[str | int, str] | None
    tables: Mapping[str, Table] | None
    max_time: float | None
    checkpoint: str | os.PathLike[str] | None
    device: str
    n_jobs: int | None
    random_state: int | np.random.RandomState | None

    source_: RowSource
    target_: Target
    encoder_: Encoder
    effects_: Effects | None
    trees_: Trees | None
    hidden_: tuple[int, ...]
    network_: Network
    learning_curve_: LearningCurve
    best_epoch_: int
    intervals_: Intervals | None
    sets_: ClassSets | None
    reference_: Reference
    _spaces: tuple[Network, Spaces] | None = None
    """The spaces, once they have been computed, and the network that they belong to."""
    growth_: Growth
    _new_categories: NewCategories | None = None

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        eval_X: Any = None,
        eval_y: Any = None,
        time: Any = None,
        half_life: float | None = HALF_LIFE,
        start: Any = None,
        classes: Any = None,
        eval_set: Any = None,
        callbacks: Sequence[Callback] | None = None,
        **unknown: Never,
    ) -> Self:
        """Fit vocabularies, effects and the network.

        A refused or interrupted call leaves the estimator as it was.

        Parameters
        ----------
        X : frame or array-like of shape (n_rows, n_columns), or a stream
            Missing values are allowed, infinite numbers are not. A stream is the path or pattern of
            files (``orders/*.parquet``), a pyarrow Dataset, a DuckDB relation, a Polars LazyFrame or a
            `Stream`. It need not fit into memory; y and sample_weight are then names of its columns.
        y : array-like of shape (n_rows,) or (n_rows, n_targets), or str
        sample_weight : array-like of shape (n_rows,), optional
            A row of weight two counts as two rows; a row of weight zero is left out.
            Weights that sum to less than two are scaled to a mean of one.
        eval_X, eval_y : like X and y, optional
            Validation rows, which choose the best epoch instead of a part of X.
        time : str or array-like of shape (n_rows,), optional
            When each row happened: the name of a column of X, or times or numbers. Later rows then
            count more, which suits drifting data and predictions for future rows.
        half_life : float or None, default=0.5
            Share of the rows after which the weight of a row is halved, if ``time`` is passed. None: all
            rows count the same.
        start : fitted estimator, optional
            Continue from this model, which is not changed, with X as its new rows. ``partial_fit`` does
            this in place.
        classes : array-like, optional
            For a classifier, all classes that y may contain. None: those of y, or of ``start``.
        eval_set : list of one pair (X, y), optional
            Another way to pass ``eval_X`` and ``eval_y``.
        callbacks : list of `tabemb.callbacks.Callback`, optional
            Called after each epoch; each of them can stop the fit.

        Returns
        -------
        self
            The estimator itself.

        Raises
        ------
        ValueError
            A parameter, column, target or weight is invalid; the message names it.
        MemoryError
            Memory ran out, in this process or on the device.
        """
        refuse_unknown(self, "fit", unknown)
        ages = {"time": time, "half_life": half_life}
        eval_X, eval_y = pair_of(eval_set, eval_X, eval_y)
        if is_source(X):
            other = {"eval_X": eval_X, "eval_y": eval_y, "start": start, "classes": classes}
            other["callbacks"] = callbacks
            done: Self = on_stream(self.fit, self, X, y, sample_weight=sample_weight, **other, **ages)
            return done
        budget = Budget(self.max_time)
        check_parameters(self, self.rules)
        check_repeatable(self.checkpoint, self.random_state)
        check_no_time(time, start)
        check_tables_of_workers(self.tables)
        earlier = None if start is None else start_of(start, self)
        known = None if start is None else Columns.seen_by(start)
        check_first(X, start, classes)
        columns, rows, validation = self._check_rows(X, y, sample_weight, eval_X, eval_y, known, **ages)
        recipe = self._recipe(rows, earlier, checked_classes(classes, self._numeric_target))
        memory = memory_needed(len(rows), recipe.settings.batch_size, self.device)
        watching = watched(callbacks, self)
        with memory, drawing_from(Random(recipe.seed)), threads(self.n_jobs), watching as watch:
            prepared = recipe.prepare(rows)
            holdout = recipe.hold_out(prepared, validation)
            encoder = current().shared(lambda: recipe.fit_encoder(holdout.rows))
            if start is None:
                note_doubts(rows.frame, self.roles, self.tables, recipe.source.keys)
            batch = recipe.encode(encoder, holdout.rows)
            sample = recipe.fit_trees(recipe.sample(batch, holdout), budget)
            trees = recipe.scored(batch, sample)
            effects, out_of_fold = recipe.fit_effects(encoder, batch, holdout, sample)
            fitted = recipe.build(encoder, effects, trees, len(batch))
            training_rows = recipe.training_rows(batch, holdout, out_of_fold, trees)
            results = []
            for trainer in recipe.trainers(fitted, training_rows, holdout, budget):
                trained = train(trainer.first())
                trainer.calibrate()
                if holdout.refit:
                    trained = trained.followed_by(train(trainer.refit(trained.best_epoch)))
                results.append(trained)
            intervals, sets = recipe.calibrated(trainer)
            recipe.finish(fitted, prepared)
            growth = recipe.growth(fitted, results[0], holdout, sample)
            batch, holdout = sample.batch, sample.holdout
            reference = recipe.reference(encoder, batch, holdout)
            profiles = recipe.profiles(encoder, batch, holdout)
            of_vectors = recipe.vector_profiles(encoder, batch, holdout)
            groups = recipe.source.groups(holdout.rows.frame)
            clustering = clustering_of(effects, batch.inputs, recipe.target, holdout.rows, groups)
            n_rows, missing = recipe.joined(len(rows), missing_shares(encoder, batch.inputs))
        after = copy(self)
        columns.remember(after)
        after._remember(fitted)
        after.reference_, after.clustering_ = reference, clustering
        after.profiles_, after.vector_profiles_ = profiles, of_vectors
        after._spaces, after._new_categories = None, NewCategories(encoder, effects)
        after.intervals_, after.sets_ = intervals, sets
        after.n_rows_, after.fit_seconds_, after.missing_shares_ = n_rows, budget.seconds, missing
        after.learning_curve_, after.best_epoch_ = results[0]
        after.growth_ = growth
        self.__dict__ = after.__dict__  # in one step, so that an interrupt leaves all or nothing
        show = recipe.settings.show if current().rank == 0 else False
        print_line(fit_line(self), self.fit_seconds_, show)
        watch.fit_ended(self)
        return self

    def _check_rows(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        eval_X: Any,
        eval_y: Any,
        columns: Columns | None = None,
        **ages: Any,
    ) -> tuple[Columns, Rows, Rows | None]:
        """Return the columns of X, the training rows, and the validation rows if any were passed.

        ``columns`` are those of an earlier fit, which X must have; ``ages`` are as in `check_rows`.
        """
        numeric = self._numeric_target
        eval_X, eval_y = read_validation(eval_X, eval_y)
        if isinstance(X, OpenStream):
            show = RowSettings.of(self).show
            rows: Rows = check_stream(X, y, sample_weight, numeric=numeric, show=show, **ages)
        else:
            rows = check_rows(
                X, y, sample_weight, numeric=numeric, estimator=self, columns=columns, **ages
            )
        rows = self._reweighted(rows)
        if columns is None:
            columns = Columns.of(rows.frame if isinstance(X, OpenStream) else X, rows.frame)
        check_columns(columns, rows.frame)
        if (eval_X is None) != (eval_y is None):
            raise ValueError("eval_X and eval_y must be passed together; one of them is None.")
        if eval_X is None:
            return columns, rows, None
        validation = check_rows(eval_X, eval_y, None, numeric=numeric, estimator=self, name="eval_y")
        if validation.y.shape[1:] != rows.y.shape[1:]:
            raise ValueError(
                "eval_y must have as many columns as y; "
                f"got shapes {validation.y.shape} and {rows.y.shape}."
            )
        return columns, rows, Rows(columns.align(eval_X, self), validation.y, None)

    def _recipe(self, rows: Rows, start: Start | None, classes: np.ndarray | None) -> Recipe:
        seed = int(current().agreed(check_random_state(self.random_state).randint(2**31 - 1)))
        settings, stratify = RowSettings.of(self), not self._numeric_target
        if start is None:
            target = self._new_target(rows.y, classes)
            stages = settings, self._new_source(), target, stratify, seed
            return Recipe(*stages) if not isinstance(rows, StreamRows) else recipe_of(rows, *stages)
        target = start.fitted.target.grown(rows.y, rows.weights, classes)
        return Night(settings, self._new_source(), target, stratify, seed, start, len(rows))

    def _new_target(self, y: np.ndarray, classes: np.ndarray | None = None) -> Target:
        """Return an unfitted target that suits y; ``classes`` are all classes that y may contain."""
        raise NotImplementedError

    def _new_source(self) -> RowSource:
        """Return the source, which turns the rows of the user into inputs of the network."""
        return RowSource()

    def _reweighted(self, rows: Rows) -> Rows:
        """Return the rows with the weights that the estimator gives them."""
        return rows

    @property
    def _parts(self) -> FittedParts:
        """The parts that were fitted before the network."""
        return FittedParts(
            settings=RowSettings.of(self),
            source=self.source_,
            target=self.target_,
            encoder=self.encoder_,
            effects=self.effects_,
            trees=getattr(self, "trees_", None),  # files of tabemb 0.2 have none
            hidden=self.hidden_,
        )

    @property
    def _fitted(self) -> Fitted:
        """All fitted parts."""
        check_is_fitted(self)
        return Fitted(**vars(self._parts), network=self.network_)

    def _remember(self, fitted: Fitted) -> None:
        """Store the fitted parts one by one, as attributes of the estimator."""
        self.source_, self.target_, self.encoder_ = fitted.source, fitted.target, fitted.encoder
        self.effects_, self.trees_ = fitted.effects, fitted.trees
        self.hidden_, self.network_ = fitted.hidden, fitted.network

    def _new_network(self) -> nn.Module:
        """Return an untrained network with the shape of ``network_``, to load weights into."""
        return self._parts.new_network(n_rows=1)

    def _raw_outputs(self, X: Any) -> Tensor:
        """Return the members' average output for rows of the user, (n, 1, n_outputs)."""
        return self._outputs(X, lambda output: self.target_.average(output.outputs))

    def _predictions(self, X: Any) -> Any:
        """Return the target's predictions for rows of the user; they use the threads of torch too."""
        with threads(self.n_jobs):
            outputs = self._raw_outputs(X)
            return self.target_.predict(outputs)

    def _outputs(
        self, X: Any, part: Callable[[Output], Tensor], classes: Tensor | None = None
    ) -> Tensor:
        """Return a part of the network's output for rows of the user; ``classes`` as in `Fitted`."""
        return self._read(X, part, classes)[1]

    def _outputs_and_counts(self, X: Any, part: Callable[[Output], Tensor]) -> tuple[Tensor, np.ndarray]:
        """Return a part of the output, and the counts of the rows' levels, (n_rows, n_categorical)."""
        inputs, outputs = self._read(X, part)
        return outputs, counts_of(inputs.codes.numpy(force=True), level_counts(self._fitted))

    def _read(
        self, X: Any, part: Callable[[Output], Tensor], classes: Tensor | None = None
    ) -> tuple[RowInputs, Tensor]:
        """Return rows of the user as the network reads them, and a part of its output."""
        fitted = self._fitted
        frame = align_columns(self, X)
        with threads(self.n_jobs):
            inputs = fitted.source.encode_new(fitted.encoder, frame)
            self._warn_of_unseen(inputs, frame)
            inputs = self._newcomers.read(inputs, frame)
            return inputs, fitted.outputs_of(inputs, part, classes)

    @property
    def _newcomers(self) -> NewCategories:
        """Reads new categories by their likeness to known ones; created when it is first needed."""
        kept = self._new_categories
        if kept is None or kept.encoder is not self.encoder_ or kept.effects is not self.effects_:
            self._new_categories = kept = NewCategories(self.encoder_, self.effects_)
        return kept

    @memory_checked
    def transform(self, X: Any) -> Any:
        """Return the last hidden layer, averaged over the members.

        Parameters
        ----------
        X : frame or array-like of shape (n_rows, n_columns)

        Returns
        -------
        ndarray of shape (n_rows, hidden[-1]), float32
            Or the container that ``set_output`` chooses.
        """
        with threads(self.n_jobs):
            hidden = self._outputs(X, lambda output: output.hidden.mean(1))
            return hidden.float().numpy(force=True)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the columns of :meth:`transform`: the estimator's name and a number."""
        check_is_fitted(self)
        prefix = type(self).__name__.lower()
        return np.asarray([f"{prefix}{i}" for i in range(self.network_.d_hidden)], dtype=object)

    @property
    def spaces_(self) -> Spaces:
        """The vectors of each table by category."""
        check_is_fitted(self)
        if self._spaces is None or self._spaces[0] is not self.network_:
            reference = getattr(self, "reference_", None)  # files of tabemb 0.2 have none
            ancestry = self.growth_.ancestry if hasattr(self, "growth_") else ()
            self._spaces = self.network_, spaces_of(self._fitted, reference, self.n_jobs, ancestry)
        return self._spaces[1]

    def __getstate__(self) -> dict[str, Any]:
        computed = {"_spaces", "_new_categories"}  # computed again when needed
        state = super().__getstate__().items()
        return {name: value for name, value in state if name not in computed}

    def plot_learning_curve(self, ax: Axes | None = None) -> Axes:
        """Draw the losses of training and validation rows by epoch, and mark the epoch that was kept.

        Both losses are means over rows, without the prior of the tables; the axis names the loss and its
        unit. Training rows are read with dropout, so their loss may be above that of validation rows.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            A new figure when None.

        Returns
        -------
        matplotlib Axes
        """
        check_is_fitted(self)
        from tabemb.estimators.plots import (
            draw_learning_curve,
        )  # matplotlib is optional and slow to import

        return draw_learning_curve(self.learning_curve_, self.best_epoch_, self.target_, ax)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "best_epoch_")

    def __sklearn_tags__(self) -> Any:
        return frame_tags(super().__sklearn_tags__())
