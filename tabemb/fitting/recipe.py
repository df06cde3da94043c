"""The stages of a fit, in their order: hold-out, encoding, effects, network, training."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pyarrow as pa
import torch

from tabemb.data.effects import Effects
from tabemb.data.encoding import Encoder
from tabemb.data.out_of_fold import OutOfFold, weights_of
from tabemb.data.sampling import MOST_ROWS, sampled_rows
from tabemb.data.storage import IN_MEMORY, Storage
from tabemb.data.term_levels import EffectRows
from tabemb.drift.profiles import Profile
from tabemb.drift.vectors import VectorProfile
from tabemb.fitting.calibration import Calibration, calibration_of
from tabemb.fitting.checkpoints import open_checkpoints
from tabemb.fitting.checks import Rows
from tabemb.fitting.dependence import dependents_of
from tabemb.fitting.fitted import Fitted, FittedParts, texts_of
from tabemb.fitting.growth import Growth, version_of
from tabemb.fitting.holdout import Holdout, hold_out
from tabemb.fitting.intervals import Intervals, fit_intervals
from tabemb.fitting.objective import Objective
from tabemb.fitting.placing import check_describable, likeness_by_input
from tabemb.fitting.profiles import profiles_of, row_weights, vector_profiles_of
from tabemb.fitting.replay import KeptRows
from tabemb.fitting.responses import Reference, reference_rows, with_newest
from tabemb.fitting.samples import RowSample
from tabemb.fitting.sets import ClassSets, fit_sets, most_rows_of
from tabemb.fitting.settings import RowSettings
from tabemb.fitting.sharing import check_same_terms
from tabemb.fitting.sources import RowSource
from tabemb.fitting.training_rows import TrainingRows
from tabemb.fitting.trees import MIN_ROWS, OutOfFoldTrees, fit_trees
from tabemb.network.inputs import Batch
from tabemb.network.model import TabularNetwork
from tabemb.network.randomness import current as current_random
from tabemb.targets import NumberTarget, Target
from tabemb.training.average import WINDOW
from tabemb.training.best import Validated
from tabemb.training.checkpoints import NoCheckpoints
from tabemb.training.loop import Budget, Trained, Training
from tabemb.training.optimizers import Optimizer
from tabemb.training.workers import current

N_STEPS = 1000
"""Steps that ``max_epochs="auto"`` allows, within the bounds that follow."""
FEWEST_EPOCHS, MOST_EPOCHS = 30, 60
"""Bounds of ``max_epochs="auto"``."""
FEWEST_STEPS = 40
"""Steps of an epoch with ``batch_size="auto"``, within the bounds of the source."""
MANY_EVENTS = 50
"""Events per row, in histories, from which an epoch has more steps."""
LONG_WINDOW = 3.0
"""Window of the weight average if histories are long: it covers a third of the steps.

Epochs are then long, and the loss of few validation rows varies by chance between epochs.
"""
HARDLY = 0.02
"""An epoch is hardly worse than the best if its loss is larger by at most this share."""
N_WIDE = 50_000
"""Rows from which the layers are wider: fewer rows cannot train so many weights."""


@dataclass(frozen=True)
class Schedule:
    """Length and rates of a training, fixed before it starts; if None, the settings give the epochs."""

    n_epochs: int | None = None
    rate: float = 1.0
    """Learning rate of all weights but the tables, in units of ``learning_rate``."""
    table_rate: float = 1.0
    """Learning rate of the tables, in units of their usual rate."""


@dataclass(frozen=True)
class Recipe:
    """The stages of a fit on rows.

    `fit` of the estimators calls them in the order of their definitions. Each stage takes what earlier
    stages returned, and changes nothing but the target and the source of this recipe.
    """

    settings: RowSettings
    source: RowSource
    """Turns the rows of the user into what a network reads."""
    target: Target
    """The first stage fits it."""
    stratify: bool
    """Whether the hold-out keeps the shares of the classes."""
    seed: int
    storage: Storage = field(default=IN_MEMORY, kw_only=True)
    """Where arrays with an entry for every row are stored."""

    def prepare(self, rows: Rows) -> Rows:
        """Fit the target, and return the rows as the source reads them."""
        self.target.fit(rows.y, rows.weights)
        return self.source.prepare(rows, self.target)

    def hold_out(self, rows: Rows, validation: Rows | None) -> Holdout:
        """Decide which of the prepared rows train, and which rows validate."""
        if validation is not None:
            validation = self.source.prepare_validation(validation, self.target)
        groups = self.source.groups(rows.frame)
        return hold_out(
            rows, validation, self.settings, groups=groups, stratify=self.stratify, seed=self.seed
        )

    def fit_encoder(self, rows: Rows) -> Encoder:
        """Infer the roles of the columns, and fit vocabularies and scales."""
        settings = self.settings
        frame = rows.frame
        chosen = sampled_rows(len(rows))
        if chosen is not None:
            frame = frame.take(pa.array(chosen))
        schema = self.source.schema(frame, settings.roles, settings.tables, self.target)
        limits = (settings.n_bins, settings.min_count, settings.max_events)
        encoder = Encoder(schema, *limits, earlier=self.source.earlier, clocks=self.source.clocks)
        return encoder.fit(rows.frame, rows.weights)

    def encode(self, encoder: Encoder, rows: Rows) -> Batch:
        """Return rows as tensors on the device, with weights of mean one and without effects."""
        weights = np.ones(1) if rows.weights is None else rows.weights / rows.weights.mean()
        weight = torch.as_tensor(weights, dtype=torch.float32).expand(len(rows))
        inputs = self.source.encode(encoder, rows.frame)
        return Batch(inputs, self.target.encode(rows.y), weight).to(self.settings.torch_device)

    def sample(self, batch: Batch, holdout: Holdout) -> RowSample:
        """Return all rows, or a sample if there are very many."""
        return RowSample.of(batch, holdout, sampled_rows(len(batch)))

    def fit_trees(self, sample: RowSample, budget: Budget) -> RowSample:
        """Return the sample with trees that are fitted on it; events have no trees."""
        rows, source = sample.holdout.rows, self.source
        codes, numbers = _arrays(sample.batch)
        has_inputs = codes.shape[1] + numbers.shape[1] > 0
        if not self.settings.trees or source.has_sequences or not has_inputs or len(rows) < MIN_ROWS:
            return sample
        trees = current().shared(
            lambda: fit_trees(
                codes,
                numbers,
                self.target.responses(rows.y),
                weights=rows.all_weights,
                are_shares=self.target.gives_shares,
                seed=self.seed,
                budget=budget.share(4),
                show=self.settings.show,
            )
        )
        return replace(sample, trees=trees)

    def scored(self, batch: Batch, sample: RowSample) -> OutOfFoldTrees | None:
        """Return the scores of all rows, each from trees that did not see the row."""
        if sample.trees is None or sample.positions is None:
            return sample.trees
        return sample.trees.spread(sample.positions, *_arrays(batch), self.storage)

    def fit_effects(
        self, encoder: Encoder, batch: Batch, holdout: Holdout, sample: RowSample
    ) -> tuple[Effects | None, OutOfFold | None]:
        """Fit effects on the rows that train first; return them, and the effects of training rows."""
        has_sequences = self.source.has_sequences
        check_describable(encoder.schema, not has_sequences, self.settings.effects)
        if not self.settings.effects:
            return None, None
        effects = Effects(self.settings.n_pairs, self.target.gives_shares)
        explained = None if sample.trees is None else sample.trees.predictions
        generator = np.random.default_rng(self.seed)
        effects.choose(
            self._effect_rows(sample.batch, sample.holdout),
            generator,
            explained,
            n_rows=len(batch),
            hashed_from=encoder.hashed_from,
        )
        check_same_terms(effects.terms_)
        rows, likeness = self._effect_rows(batch, holdout), likeness_by_input(encoder)
        parts = rows.parts(self.storage, self.settings.show)
        effects.sum_up(parts, {} if has_sequences else likeness)
        texts = texts_of(encoder, batch.inputs)
        effects.fit_words(texts, rows.responses, rows.weights)
        rows = rows._replace(weights=holdout.rows.all_weights)
        show = self.settings.show
        return effects, OutOfFold(effects, *rows, holdout.train, texts, self.storage, show)

    def _effect_rows(self, batch: Batch, holdout: Holdout) -> EffectRows:
        """Return rows as effects read them; rows that validate first have weight zero."""
        weights = weights_of(holdout.train, holdout.rows.all_weights)
        return EffectRows(*_arrays(batch), self.responses(holdout.rows), weights)

    def responses(self, rows: Rows) -> np.ndarray:
        """Return the targets of rows as effects read them."""
        return self.target.responses(rows.y)

    def build(
        self, encoder: Encoder, effects: Effects | None, trees: OutOfFoldTrees | None, n_rows: int
    ) -> Fitted:
        """Return all fitted parts with a new network, which is still to be trained."""
        parts = FittedParts(
            settings=self.settings,
            source=self.source,
            target=self.target,
            encoder=encoder,
            effects=effects,
            trees=None if trees is None else trees.trees,
            hidden=_hidden(self.settings.hidden, n_rows),
        )
        return Fitted(**vars(parts), network=parts.new_network(n_rows))

    def training_rows(
        self,
        batch: Batch,
        holdout: Holdout,
        out_of_fold: OutOfFold | None,
        trees: OutOfFoldTrees | None,
    ) -> TrainingRows:
        """Return the rows that train, as a source of batches."""
        return TrainingRows(batch, out_of_fold, trees)

    def trainers(
        self,
        fitted: Fitted,
        rows: TrainingRows,
        holdout: Holdout,
        budget: Budget,
    ) -> Iterator[Trainer]:
        """Yield a trainer for each network; they share the time that is left."""
        validation = self._validation(fitted, rows, holdout)
        checkpoints = self._checkpoints(fitted, rows.batch, validation, holdout)
        calibration = self._calibration(fitted, rows, validation, holdout)
        generator = torch.Generator().manual_seed(self.seed)
        current_random().draw_as(current().rank)
        networks = fitted.network.networks
        for i, network in enumerate(networks):
            share = budget.share(len(networks) - i)
            yield Trainer(
                fitted,
                network,
                rows,
                validation,
                holdout,
                generator,
                share,
                checkpoints,
                calibration,
                self.schedule,
            )
        checkpoints.complete()

    @property
    def schedule(self) -> Schedule:
        """Length and rates of the trainings, fixed before they start."""
        return Schedule()

    def finish(self, fitted: Fitted, prepared: Rows) -> None:
        """Do what remains after training, with the prepared training rows."""
        self.source.finish(fitted.encoder, fitted.network, prepared, self.target)

    def calibrated(self, trainer: Trainer) -> tuple[Intervals | None, ClassSets | None]:
        """Return intervals or sets of classes after the last training; None without validation rows."""
        return trainer.intervals(), trainer.sets()

    def profiles(self, encoder: Encoder, batch: Batch, holdout: Holdout) -> dict[str, Profile]:
        """Return how the values of each input are distributed over the training rows."""
        return profiles_of(encoder, batch.inputs, self._counted(batch, holdout))

    def vector_profiles(
        self, encoder: Encoder, batch: Batch, holdout: Holdout
    ) -> dict[str, VectorProfile]:
        """Return how the vectors of each column of vectors are distributed."""
        groups = self.source.groups(holdout.rows.frame)
        return vector_profiles_of(encoder, batch.inputs, self._counted(batch, holdout), groups)

    def _counted(self, batch: Batch, holdout: Holdout) -> np.ndarray:
        groups = self.source.groups(holdout.rows.frame)
        return row_weights(holdout.rows.weights, groups, len(batch))

    def joined(self, n_rows: int, missing: dict[str, float]) -> tuple[int, dict[str, float]]:
        """Return the number of all training rows, and the shares of missing values among them."""
        return n_rows, missing

    def growth(
        self,
        fitted: Fitted,
        trained: Trained,
        holdout: Holdout,
        sample: RowSample,
    ) -> Growth:
        """Return what later rows need to continue from this fit."""
        kept = self.kept_rows(sample)
        validation, training = (trained.curve[f"{name}_loss"] for name in ("eval", "train"))
        loss = float(validation[trained.best_epoch])
        return Growth(
            n_epochs=n_useful(validation),
            ancestry=(version_of(fitted),),
            kept=kept,
            n_large=sample.n_rows,
            loss=float(training[-1]) if math.isnan(loss) else loss,
            n_validation=holdout.n_validation or sample.n_rows,
        )

    def kept_rows(self, sample: RowSample) -> KeptRows | None:
        """Return a sample of the rows, which later fits replay; None if rows are events."""
        if self.source.has_sequences:
            return None
        kept = KeptRows.of(sample.holdout.rows, sample.batch.inputs, sample.trees)
        return kept.standing_for(sample.n_rows).sample()

    def reference(self, encoder: Encoder, batch: Batch, holdout: Holdout) -> Reference:
        """Return a few training rows, in which the categories are compared."""
        rows = reference_rows(batch.inputs)
        reference = self.source.reference(batch.inputs, holdout.rows.frame, rows)
        sizes = [len(vocabulary) for vocabulary in encoder.vocabularies_of(encoder.inputs_[0])]
        dependents = dependents_of(batch.inputs, sizes)
        return Reference(with_newest(reference).to(torch.device("cpu")), dependents)

    def _checkpoints(
        self, fitted: Fitted, batch: Batch, validation: Batch | None, holdout: Holdout
    ) -> NoCheckpoints:
        """Return the checkpoints of the fit with these settings and network inputs."""
        settings = replace(self.settings, verbose=None, checkpoint=None)
        target = [type(self.target).__name__, vars(self.target)]
        parts = [settings, target, batch, validation, holdout.train]
        return open_checkpoints(self.settings.checkpoint, fitted.network, *parts)

    def _calibration(
        self, fitted: Fitted, rows: TrainingRows, validation: Batch | None, holdout: Holdout
    ) -> Calibration | None:
        if validation is None:
            return None
        if isinstance(self.target, NumberTarget):  # intervals need all members
            return calibration_of(fitted, rows, validation, holdout, lambda outputs: outputs)
        most = most_rows_of(self.target)
        return calibration_of(fitted, rows, validation, holdout, self.target.average, most)

    def _validation(self, fitted: Fitted, rows: TrainingRows, holdout: Holdout) -> Batch | None:
        if holdout.train is not None:
            return rows.validation_rows(holdout.train)
        if holdout.validation is None:
            return None
        batch = self.encode(fitted.encoder, holdout.validation)
        return batch.with_inputs(fitted.with_effects(batch.inputs))


def _arrays(batch: Batch) -> tuple[np.ndarray, np.ndarray]:
    """Return the codes and the numbers of rows."""
    codes, numbers = batch.inputs.codes, batch.inputs.numbers
    return codes.numpy(force=True), numbers.numpy(force=True)


def _hidden(hidden: tuple[int, ...] | str, n_rows: int) -> tuple[int, ...]:
    if isinstance(hidden, str):
        return (256, 256) if n_rows >= N_WIDE else (128, 128)
    return tuple(hidden)


def n_useful(losses: Sequence[float]) -> int:
    """Return the number of epochs for later rows, from the validation losses of a fit.

    It counts the epochs up to the last that was hardly worse than the best, as chance decides which of
    these is best, and the epochs on all rows, which have no validation loss.

    Examples
    --------
    >>> n_useful([0.5, 0.4, 0.404, 0.45, math.nan]), n_useful([math.nan] * 3)
    (4, 3)
    """
    validated = np.array([loss for loss in losses if not math.isnan(loss)])
    if not len(validated):
        return len(losses)
    good = np.flatnonzero(validated <= validated.min() + HARDLY * abs(validated.min()))
    return int(good[-1]) + 1 + len(losses) - len(validated)


def n_steps_of(n_rows: int, n_events: int) -> float:
    """Return the number of steps of an epoch: 40, and up to 160 if rows have many events.

    An epoch with long histories takes long, and a step on fewer rows is hardly less exact.

    Examples
    --------
    >>> n_steps_of(3000, 0), n_steps_of(3000, 300_000), n_steps_of(3000, 1_200_000)
    (40.0, 80.0, 160.0)
    """
    return FEWEST_STEPS * float(np.clip(n_events / max(n_rows, 1) / MANY_EVENTS, 1, 4))


@dataclass(frozen=True)
class Trainer:
    """The trainings of one network: the first, and one on all rows if the hold-out refits."""

    fitted: Fitted
    network: TabularNetwork
    rows: TrainingRows
    validation: Batch | None
    holdout: Holdout
    generator: torch.Generator
    budget: Budget
    checkpoints: NoCheckpoints
    calibration: Calibration | None
    schedule: Schedule

    def first(self) -> Training:
        """Return the first training, which validation rows stop if there are any."""
        train = self.holdout.train
        self.rows.use_effects_of(train)
        budget = self.budget.share(2) if self.holdout.refit else self.budget
        return self._training(train, budget, self.schedule.n_epochs, self.validation is not None)

    def calibrate(self) -> None:
        """Record the outputs for validation rows, on which the network has not trained yet."""
        if self.calibration is None:
            return
        result = self.checkpoints.result()
        if result is None:
            result = {"outputs": self.calibration.outputs_of(self.network)}
            self.checkpoints.ended(result, is_cut=False)
        self.calibration.outputs.append(result["outputs"])

    def intervals(self) -> Intervals | None:
        """Return intervals from all networks, once all have trained; None without validation rows."""
        target = self.fitted.target
        if self.calibration is None or not isinstance(target, NumberTarget):
            return None
        return fit_intervals(self.calibration, target)

    def sets(self) -> ClassSets | None:
        """Return sets of classes from all networks, as `intervals` does for numbers."""
        target = self.fitted.target
        if self.calibration is None or isinstance(target, NumberTarget):
            return None
        return fit_sets(self.calibration, target)

    def refit(self, best_epoch: int) -> Training:
        """Return the second training, on all rows, for a share of the best number of epochs.

        If an epoch has more steps, there are fewer epochs.
        """
        self.rows.use_effects_of(None)
        divisor = self.fitted.source.refit_divisor * self._n_steps / FEWEST_STEPS
        return self._training(None, self.budget, math.ceil((best_epoch + 1) / divisor), validates=False)

    def _training(
        self, train: np.ndarray | None, budget: Budget, n_epochs: int | None, validates: bool
    ) -> Training:
        settings, source = self.fitted.settings, self.fitted.source
        positions = None if train is None else torch.from_numpy(train)
        batch_size = self._batch_size()
        batches = source.batches(self.network, self.rows, batch_size, self.generator, positions)
        return Training(
            self.network,
            batches,
            self._objective,
            self._optimizer,
            max_epochs=n_epochs or self._max_epochs(len(batches)),
            evaluate=self._validation_loss if validates else None,
            falls=not self._is_long or self.validation is None,
            patience=settings.patience,
            budget=budget,
            show=settings.show,
            checkpoints=self.checkpoints,
        )

    @cached_property
    def _optimizer(self) -> Optimizer:
        settings = self.fitted.settings
        schedule = self.schedule
        rates = (
            settings.learning_rate * schedule.rate,
            settings.weight_decay,
            settings.table_rate * schedule.table_rate / schedule.rate,
        )
        return Optimizer(self.network, *rates, LONG_WINDOW if self._is_long else WINDOW)

    @property
    def _n_steps(self) -> float:
        """Steps that an epoch should have."""
        return n_steps_of(len(self.rows), self.rows.batch.inputs.n_events)

    @property
    def _is_long(self) -> bool:
        """Whether the histories are long."""
        return self._n_steps > FEWEST_STEPS

    @cached_property
    def _objective(self) -> Objective:
        return Objective(self.network, self.fitted.target, self.fitted.settings.in_bfloat16)

    def _validation_loss(self) -> Validated:
        assert self.validation is not None
        validated = self._objective.on_validation(self.fitted.validation_pieces(self.validation))
        # the events of a sequence are not independent; with other histories the rule was not measured
        has_histories = len(self.validation.inputs.histories) > 0
        return Validated(validated.loss) if has_histories else validated

    def _batch_size(self) -> int:
        settings, source = self.fitted.settings, self.fitted.source
        if settings.batch_size != "auto":
            return int(settings.batch_size)
        size = 2 ** round(np.log2(len(self.rows) / self._n_steps))
        are_many = len(self.rows) > MOST_ROWS
        largest = source.very_large_batch if are_many else source.largest_batch
        return int(np.clip(size, source.smallest_batch, largest))

    def _max_epochs(self, n_batches: int) -> int:
        max_epochs = self.fitted.settings.max_epochs
        if max_epochs != "auto":
            return int(max_epochs)
        return int(np.clip(round(N_STEPS / n_batches), FEWEST_EPOCHS, MOST_EPOCHS))
