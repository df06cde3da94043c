"""A night: one update of a fitted model with new rows, which keeps the model near its previous state.

A night has the stages of a fit, and each stage continues from the previous model. Vocabularies and sums
of effects count the new rows too. The network trains on the new rows and on the rows that the model has
kept (experience replay: Rolnick et al. 2019). Each kept row is weighted by the number of rows that it
stands for, so the loss is that over all rows so far. The training is as long as the first fit's was for
this number of new rows; with more steps, the network would overfit the kept rows, which it reads every
night. It trains longer where the new rows surprise the model. Once the kept and new rows are a quarter
more than all rows at the last large night, new trees are grown, and the training is as long as for all
rows since then.

A model without kept rows trains on the new rows alone. The prior of each level is then centred on its
previous vector, and is stronger for a level with more earlier rows: each of them is worth as much as the
ordinary prior divided by the rows that shrinkage adds to the level (online Laplace; Ritter, Botev &
Barber 2018).
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from tabemb.data.effects import Effects
from tabemb.data.encoding import Encoder
from tabemb.data.out_of_fold import OutOfFold
from tabemb.data.schema import Table
from tabemb.data.vocabulary import N_SPECIAL, Vocabulary
from tabemb.drift.profiles import Profile
from tabemb.drift.vectors import VectorProfile
from tabemb.fitting.checks import Rows
from tabemb.fitting.dependence import grown_dependents
from tabemb.fitting.fitted import Fitted, FittedParts, texts_of
from tabemb.fitting.growth import Growth, version_of
from tabemb.fitting.holdout import Holdout
from tabemb.fitting.intervals import Intervals
from tabemb.fitting.networks import MOST_STRENGTH, TYPICAL_STRENGTH
from tabemb.fitting.placing import likeness_by_input
from tabemb.fitting.pretrained import given_vectors, match_vectors
from tabemb.fitting.profiles import grown_profiles
from tabemb.fitting.recipe import Recipe, Schedule, Trainer
from tabemb.fitting.replay import KeptRows, Replayed
from tabemb.fitting.responses import Reference, axes_of
from tabemb.fitting.samples import RowSample
from tabemb.fitting.sets import ClassSets
from tabemb.fitting.surprise import Surprise
from tabemb.fitting.training_rows import TrainingRows
from tabemb.fitting.trees import OutOfFoldTrees, Trees, fit_trees
from tabemb.labels import codes_of
from tabemb.network.dropout import base_rate
from tabemb.network.growth import take_over
from tabemb.network.inputs import Batch
from tabemb.network.tables import Tables
from tabemb.targets import ClassTarget
from tabemb.training.loop import Budget, Trained
from tabemb.training.workers import current

LARGE = 1.25
"""A night is large if its kept and new rows are this many times the rows at the last large night."""
RATE = 0.1
"""Learning rate of all weights but the tables if no rows are kept, in units of ``learning_rate``."""
HOLD = 0.1
"""Prior strength of a level per earlier row, in units of the prior divided by the rows of shrinkage."""


@dataclass(frozen=True)
class Start:
    """A fitted model that a night starts from."""

    fitted: Fitted
    reference: Reference
    profiles: dict[str, Profile]
    vector_profiles: dict[str, VectorProfile]
    intervals: Intervals | None
    sets: ClassSets | None
    n_rows: int
    missing: dict[str, float]
    growth: Growth


@dataclass(frozen=True)
class Night(Recipe):
    """The stages of a fit that starts from a fitted model, which stays unchanged."""

    start: Start
    n_rows: int
    """Number of new rows."""
    surprise: Surprise = field(default_factory=Surprise)
    """How much the new rows surprise the model; measured before the training."""

    def prepare(self, rows: Rows) -> Rows:
        """Return the rows as the source reads them; the target already counts them."""
        return self.source.prepare(rows, self.target)

    def hold_out(self, rows: Rows, validation: Rows | None) -> Holdout:
        """Let all rows train: the epochs of a night follow from the first fit."""
        if validation is not None:
            validation = self.source.prepare_validation(validation, self.target)
        return Holdout(rows, validation)

    def fit_encoder(self, rows: Rows) -> Encoder:
        """Add new categories and counts to the vocabularies; scales and widths of tables stay fixed."""
        old = self.start.fitted
        encoder, tables = old.encoder.grown(rows.frame, rows.weights), old.network.networks[0].tables
        widths = {
            name: replace(table, dim=tables.vectors(t).shape[1])
            for t, (name, table) in enumerate(encoder.schema.tables.items())
        }
        encoder.schema = replace(encoder.schema, tables=widths)
        return encoder

    def sample(self, batch: Batch, holdout: Holdout) -> RowSample:
        """Return all new rows."""
        return RowSample.of(batch, holdout, None)

    def fit_trees(self, sample: RowSample, budget: Budget) -> RowSample:
        """Score the new rows with the previous trees, or grow new trees on a large night."""
        trees, kept = self.start.fitted.trees, self._kept
        if trees is None:
            return sample
        trees = replace(trees, responses=self._responses_now(trees.responses))
        if self._is_large and not self._has_new_outputs:
            replayed = self._replayed(sample.batch, sample.holdout)
            return replace(sample, trees=self._new_trees(trees, replayed, budget))
        inputs = sample.batch.inputs
        scored = trees.on_new_rows(*(t.numpy(force=True) for t in (inputs.codes, inputs.numbers)))
        return replace(sample, trees=scored if kept is None else scored.followed_by(kept.scores))

    def _new_trees(self, trees: Trees, rows: Replayed, budget: Budget) -> OutOfFoldTrees | None:
        """Fit trees on the new rows and the kept ones, for the responses of the previous trees."""
        return current().shared(
            lambda: fit_trees(
                rows.codes,
                rows.numbers,
                rows.responses,
                weights=rows.batch.weight.double().numpy(force=True),
                are_shares=self.target.gives_shares,
                seed=self.seed,
                budget=budget.share(4),
                show=self.settings.show,
                always=trees.responses,
            )
        )

    def fit_effects(
        self, encoder: Encoder, batch: Batch, holdout: Holdout, sample: RowSample
    ) -> tuple[Effects | None, OutOfFold | None]:
        """Add the rows to the sums of the effects; return the effects, and their out-of-fold values."""
        if self.start.fitted.effects is None:
            return None, None
        old = copy(self.start.fitted.effects)
        old.responses_ = self._responses_now(old.responses_)
        likeness = likeness_by_input(encoder) if old.expected_ else {}
        new = Replayed.of(batch, holdout.rows, None, self.target)
        texts = texts_of(encoder, batch.inputs)
        effects = old.grown(
            new.codes,
            new.numbers,
            new.responses,
            new.weights,
            texts,
            likeness,
            encoder.hashed_from,
        )
        rows = self._replayed(batch, holdout)
        texts = texts_of(encoder, rows.batch.inputs)
        out_of_fold = OutOfFold(
            effects, rows.codes, rows.numbers, rows.responses, rows.weights, texts=texts
        )
        return effects, out_of_fold

    def training_rows(
        self,
        batch: Batch,
        holdout: Holdout,
        out_of_fold: OutOfFold | None,
        trees: OutOfFoldTrees | None,
    ) -> TrainingRows:
        """Return the new rows and those that are replayed."""
        return TrainingRows(self._replayed(batch, holdout).batch, out_of_fold, trees)

    def _replayed(self, batch: Batch, holdout: Holdout) -> Replayed:
        return Replayed.of(batch, holdout.rows, self._kept, self.target)

    def build(
        self, encoder: Encoder, effects: Effects | None, trees: OutOfFoldTrees | None, n_rows: int
    ) -> Fitted:
        """Return all parts, with a network that starts from the previous one.

        If no rows are kept, priors pull its tables to their previous rows.
        """
        old = self.start.fitted
        parts = FittedParts(
            settings=self.settings,
            source=self.source,
            target=self.target,
            encoder=encoder,
            effects=effects,
            trees=None if trees is None else trees.trees,
            hidden=old.hidden,
        )
        fitted = Fitted(**vars(parts), network=parts.new_network(self.start.n_rows + n_rows))
        starts = [
            _start_of(encoder.schema.tables[name], name, vocabulary, old.encoder.vocabularies_[name])
            for name, vocabulary in encoder.vocabularies_.items()
        ]
        for network, known in zip(fitted.network.networks, old.network.networks, strict=True):
            take_over(network, known, starts, self._outputs)
            for tables in filter(None, (network.tables, network.biases)):
                if self._kept is None:
                    tables.anchor(self._strengths(tables, encoder, n_rows))
        return fitted

    def trainers(
        self, fitted: Fitted, rows: TrainingRows, holdout: Holdout, budget: Budget
    ) -> Iterator[Trainer]:
        """Measure how new the new rows are, then yield a trainer for each network."""
        if self._kept is not None:
            new_rows = rows.take(torch.arange(self.n_rows, device=rows.device))
            self.surprise.measure(fitted, new_rows, rows.batch, self.start.growth)
        yield from super().trainers(fitted, rows, holdout, budget)

    @property
    def schedule(self) -> Schedule:
        """As many steps at the full rate as the first fit took for this number of new rows.

        A large night counts all rows since the last large one. If the model no longer explains a share
        of what it explained, at least that share of the first fit's training is repeated. New classes
        need all of it. Without kept rows, all epochs train at a low rate, which is lower for very few
        rows.
        """
        n_epochs = self.start.growth.n_epochs
        if (self._outputs < 0).any():
            return Schedule(n_epochs)
        if self._kept is None:
            return Schedule(n_epochs, RATE * min(1.0, self.n_rows / self.source.smallest_batch))
        passes = n_epochs * max(self._share_of_new, self.surprise.lost)
        rounded = max(1, round(passes))
        rate = min(1.0, passes / rounded)
        return Schedule(rounded, rate, rate)

    @property
    def _kept(self) -> KeptRows | None:
        return self.start.growth.kept

    @property
    def _share_of_new(self) -> float:
        """Share of new rows among all so far; on a large night, of rows since the last large one."""
        n_before = self.start.growth.n_large if self._is_large else self.start.n_rows
        return 1 - n_before / (self.start.n_rows + self.n_rows)

    @property
    def _is_large(self) -> bool:
        """Whether there are enough more rows than at the last large night for new trees."""
        n_at_hand = 0 if self._kept is None else len(self._kept) + self.n_rows
        return n_at_hand >= LARGE * self.start.growth.n_large

    def finish(self, fitted: Fitted, prepared: Rows) -> None:
        """Drop the anchors, and do what remains after training."""
        for network in fitted.network.networks:
            for tables in filter(None, (network.tables, network.biases)):
                tables.release()
        super().finish(fitted, prepared)

    def calibrated(self, trainer: Trainer) -> tuple[Intervals | None, ClassSets | None]:
        """Return intervals or sets from the validation rows of this night, or else the earlier ones."""
        if trainer.calibration is None:
            return self.start.intervals, self.start.sets
        return super().calibrated(trainer)

    def profiles(self, encoder: Encoder, batch: Batch, holdout: Holdout) -> dict[str, Profile]:
        """Add the rows to the profiles of the earlier rows."""
        counted = self._counted(batch, holdout)
        return grown_profiles(self.start.profiles, encoder, batch.inputs, counted)

    def vector_profiles(
        self, encoder: Encoder, batch: Batch, holdout: Holdout
    ) -> dict[str, VectorProfile]:
        """Return the profiles of the first fit: the axes of vectors stay unchanged."""
        return self.start.vector_profiles

    def joined(self, n_rows: int, missing: dict[str, float]) -> tuple[int, dict[str, float]]:
        """Return the number of all rows so far, and the shares of missing values among them."""
        share = n_rows / (n_rows + self.start.n_rows)
        before = self.start.missing
        return n_rows + self.start.n_rows, {
            name: share * new + (1 - share) * before[name] for name, new in missing.items()
        }

    def reference(self, encoder: Encoder, batch: Batch, holdout: Holdout) -> Reference:
        """Return the reference rows and axes of the first fit, so that vectors of all nights compare.

        The axes do not cover new outputs, so new outputs start new axes.
        """
        earlier, axes = self.start.reference, self.start.reference.axes
        sizes = [len(vocabulary) for vocabulary in encoder.vocabularies_of(encoder.inputs_[0])]
        if axes is None and not self._has_new_outputs:
            axes = axes_of(self.start.fitted, earlier)
        dependents = grown_dependents(earlier.dependents, batch.inputs, sizes)
        return Reference(earlier.rows, dependents, None if self._has_new_outputs else axes)

    def growth(
        self,
        fitted: Fitted,
        trained: Trained,
        holdout: Holdout,
        sample: RowSample,
    ) -> Growth:
        """Return what the next night needs. New outputs start new spaces, without ancestors."""
        growth, version = self.start.growth, version_of(fitted)
        before = () if self._has_new_outputs else growth.ancestry
        return replace(
            growth,
            ancestry=(*before, version),
            kept=self.kept_rows(sample),
            n_large=self.start.n_rows + self.n_rows if self._is_large else growth.n_large,
            loss=self.surprise.expected,
        )

    def kept_rows(self, sample: RowSample) -> KeptRows | None:
        """Return a sample of all rows so far; None if the previous model kept none."""
        if self._kept is None:
            return None
        kept, trees, rows = self._kept, sample.trees, sample.holdout.rows
        new = KeptRows.of(rows, sample.batch.inputs, trees, self.start.n_rows)
        if trees is not None:
            kept = replace(kept, scores=trees.scores[len(new) :])
        return new.followed_by(kept).sample()

    @property
    def _has_new_outputs(self) -> bool:
        return self.target.n_outputs != self.start.fitted.target.n_outputs

    @property
    def _outputs(self) -> Tensor:
        """Position of each output among the previous ones; -1 for a class without rows until now."""
        old, new = self.start.fitted.target, self.target
        if not isinstance(old, ClassTarget) or old.has_many_classes:
            return torch.arange(new.n_outputs)
        assert isinstance(new, ClassTarget)
        places = codes_of(old.classes_, new.classes_)
        comes_now = (old.counts_[places] == 0) & (new.counts_ > 0)
        return torch.from_numpy(np.where(comes_now, -1, places))

    def _responses_now(self, responses: np.ndarray) -> np.ndarray:
        """Return the positions of some previous responses among the present ones."""
        old, target = self.start.fitted.target, self.target
        if not self._has_new_outputs or not isinstance(old, ClassTarget):
            return responses
        places = codes_of(target.classes_, old.classes_)
        return np.asarray(places[responses + 1] if old.n_outputs == 2 else places[responses])

    def _strengths(self, tables: Tables, encoder: Encoder, n_rows: int) -> list[Tensor]:
        """Return how strongly each row of each table is pulled to its previous value."""
        rate, n_before = self.settings.unknown_rate, self.start.n_rows
        strengths = []
        for t, (name, vocabulary) in enumerate(encoder.vocabularies_.items()):
            before = np.zeros(len(vocabulary))
            counts = self.start.fitted.encoder.vocabularies_[name].counts
            before[: len(counts)] = counts
            now = vocabulary.counts - before
            hidden = base_rate(rate, n_before + n_rows)
            for counts, n in ((before, n_before), (now, n_rows)):
                counts[:N_SPECIAL] += hidden * n
            prior = tables.priors(t).numpy(force=True) * np.maximum(before + now, 1)
            worth = before / self._rows_of_prior(name)
            strengths.append(torch.from_numpy(prior * (1 + HOLD * worth) / np.maximum(now, 1)).float())
        return strengths

    def _rows_of_prior(self, name: str) -> float:
        """Return the rows that the ordinary prior of a table is worth."""
        encoder, effects = self.start.fitted.encoder, self.start.fitted.effects
        columns = [i for i, table in enumerate(encoder.schema.table_names) if table == name]
        if effects is None or not columns:
            return TYPICAL_STRENGTH
        strengths = np.minimum(effects.input_strength_[columns], MOST_STRENGTH)
        return float(np.exp(np.log(strengths).mean()))


def _start_of(table: Table, name: str, vocabulary: Vocabulary, old: Vocabulary) -> Tensor:
    """Return start vectors of new categories: the pretrained ones, and NaN for all others."""
    n_new = len(vocabulary) - len(old)
    if table.pretrained is None:
        return torch.full((n_new, 1), torch.nan)
    vectors = match_vectors(name, given_vectors(name, table.pretrained), vocabulary)
    return torch.as_tensor(vectors[len(old) :], dtype=torch.float32)
