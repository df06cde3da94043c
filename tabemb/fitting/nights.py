"""A night: a fitted model goes on with new rows, and stays near what it was.

All stages are those of a fit, each from where yesterday's model left off. Vocabularies and sums of
effects count the new rows too. The prior of each level is centred on its vector of yesterday, with the
strength that its count has earned: a row is worth as much as the ordinary prior divided by the
rows that shrinkage adds to the level (online Laplace; Ritter, Botev & Barber 2018).
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, replace

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
from tabemb.fitting.responses import Reference, axes_of
from tabemb.fitting.sets import ClassSets
from tabemb.fitting.trees import OutOfFoldTrees
from tabemb.labels import codes_of
from tabemb.network.dropout import base_rate
from tabemb.network.growth import take_over
from tabemb.network.inputs import Batch
from tabemb.network.tables import Tables
from tabemb.targets import ClassTarget
from tabemb.training.loop import Budget

RATE = 0.1
"""Learning rate of all weights but the tables, in units of ``learning_rate``."""
HOLD = 0.1
"""How much an earlier row holds its levels, in units of the prior divided by the rows of shrinkage."""


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
    """The stages of a fit that starts from a fitted model, which stays as it is."""

    start: Start
    n_rows: int
    """Number of new rows."""

    def prepare(self, rows: Rows) -> Rows:
        """Return the rows as the source reads them; the target has grown by them already."""
        return self.source.prepare(rows, self.target)

    def hold_out(self, rows: Rows, validation: Rows | None) -> Holdout:
        """Let all rows train: the epochs of a night follow from the first fit."""
        if validation is not None:
            validation = self.source.prepare_validation(validation, self.target)
        return Holdout(rows, validation)

    def fit_encoder(self, rows: Rows) -> Encoder:
        """Add new categories and counts to the vocabularies; scales and widths of tables stay."""
        old = self.start.fitted
        encoder, tables = old.encoder.grown(rows.frame, rows.weights), old.network.networks[0].tables
        widths = {
            name: replace(table, dim=tables.vectors(t).shape[1])
            for t, (name, table) in enumerate(encoder.schema.tables.items())
        }
        encoder.schema = replace(encoder.schema, tables=widths)
        return encoder

    def fit_trees(self, batch: Batch, holdout: Holdout, budget: Budget) -> OutOfFoldTrees | None:
        """Let yesterday's trees score the rows, which they did not see."""
        trees = self.start.fitted.trees
        if trees is None:
            return None
        return trees.on_new_rows(
            *(t.numpy(force=True) for t in (batch.inputs.codes, batch.inputs.numbers))
        )

    def fit_effects(
        self, encoder: Encoder, batch: Batch, holdout: Holdout, trees: OutOfFoldTrees | None
    ) -> tuple[Effects | None, OutOfFold | None]:
        """Add the rows to the sums of the effects; return these, and the effects of the rows."""
        if self.start.fitted.effects is None:
            return None, None
        old, rows = copy(self.start.fitted.effects), holdout.rows
        old.responses_ = self._responses_now(old.responses_)
        codes, numbers = (t.numpy(force=True) for t in (batch.inputs.codes, batch.inputs.numbers))
        weights = np.ones(len(rows)) if rows.weights is None else rows.weights
        responses, texts = self.target.responses(rows.y), texts_of(encoder, batch.inputs)
        likeness = likeness_by_input(encoder) if old.expected_ else {}
        effects = old.grown(codes, numbers, responses, weights, texts, likeness)
        return effects, OutOfFold(effects, codes, numbers, responses, weights, texts=texts)

    def build(
        self, encoder: Encoder, effects: Effects | None, trees: OutOfFoldTrees | None, n_rows: int
    ) -> Fitted:
        """Return all parts with a network that starts from yesterday's, and is pulled to it."""
        old = self.start.fitted
        parts = FittedParts(
            settings=self.settings,
            source=self.source,
            target=self.target,
            encoder=encoder,
            effects=effects,
            trees=old.trees,
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
                tables.anchor(self._strengths(tables, encoder, n_rows))
        return fitted

    @property
    def schedule(self) -> Schedule:
        """Epochs of the first fit; a low rate, lower with very few rows, but full for new classes."""
        rate = RATE * min(1.0, self.n_rows / self.source.smallest_batch)
        return Schedule(self.start.growth.n_epochs, 1.0 if (self._outputs < 0).any() else rate)

    def finish(self, fitted: Fitted, prepared: Rows) -> None:
        """Drop the anchors, and do what remains after training."""
        for network in fitted.network.networks:
            for tables in filter(None, (network.tables, network.biases)):
                tables.release()
        super().finish(fitted, prepared)

    def calibrated(self, trainer: Trainer) -> tuple[Intervals | None, ClassSets | None]:
        """Return those of the validation rows of this night, or else the earlier ones."""
        if trainer.calibration is None:
            return self.start.intervals, self.start.sets
        return super().calibrated(trainer)

    def profiles(self, encoder: Encoder, batch: Batch, holdout: Holdout) -> dict[str, Profile]:
        """Add the rows to the distributions of the earlier ones."""
        counted = self._counted(batch, holdout)
        return grown_profiles(self.start.profiles, encoder, batch.inputs, counted)

    def vector_profiles(
        self, encoder: Encoder, batch: Batch, holdout: Holdout
    ) -> dict[str, VectorProfile]:
        """Return those of the first fit: axes of vectors stay."""
        return self.start.vector_profiles

    def joined(self, n_rows: int, missing: dict[str, float]) -> tuple[int, dict[str, float]]:
        """Return the number of all rows so far, and the shares of missing values among them."""
        share = n_rows / (n_rows + self.start.n_rows)
        before = self.start.missing
        return n_rows + self.start.n_rows, {
            name: share * new + (1 - share) * before[name] for name, new in missing.items()
        }

    def reference(self, encoder: Encoder, batch: Batch, holdout: Holdout) -> Reference:
        """Return the reference rows and axes of the first fit, by which vectors of all nights compare.

        New outputs have no place along the axes: they start new ones.
        """
        earlier, axes = self.start.reference, self.start.reference.axes
        sizes = [len(vocabulary) for vocabulary in encoder.vocabularies_of(encoder.inputs_[0])]
        if axes is None and not self._has_new_outputs:
            axes = axes_of(self.start.fitted, earlier)
        dependents = grown_dependents(earlier.dependents, batch.inputs, sizes)
        return Reference(earlier.rows, dependents, None if self._has_new_outputs else axes)

    def growth(self, fitted: Fitted, best_epoch: int) -> Growth:
        """Return what the next night needs. New outputs start new spaces, without ancestors."""
        growth, version = self.start.growth, version_of(fitted)
        before = () if self._has_new_outputs else growth.ancestry
        return replace(growth, ancestry=(*before, version))

    @property
    def _has_new_outputs(self) -> bool:
        return self.target.n_outputs != self.start.fitted.target.n_outputs

    @property
    def _outputs(self) -> Tensor:
        """Position of each output among those of yesterday; -1 for a class without rows until now."""
        old, new = self.start.fitted.target, self.target
        if not isinstance(old, ClassTarget) or old.has_many_classes:
            return torch.arange(new.n_outputs)
        assert isinstance(new, ClassTarget)
        places = codes_of(old.classes_, new.classes_)
        comes_now = (old.counts_[places] == 0) & (new.counts_ > 0)
        return torch.from_numpy(np.where(comes_now, -1, places))

    def _responses_now(self, responses: np.ndarray) -> np.ndarray:
        """Return the positions of some of yesterday's responses among those of today."""
        old, target = self.start.fitted.target, self.target
        if not self._has_new_outputs or not isinstance(old, ClassTarget):
            return responses
        places = codes_of(target.classes_, old.classes_)
        return np.asarray(places[responses + 1] if old.n_outputs == 2 else places[responses])

    def _strengths(self, tables: Tables, encoder: Encoder, n_rows: int) -> list[Tensor]:
        """Return how much each row of each table is pulled to yesterday's."""
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
    """Return start vectors of new categories: those given as pretrained ones, NaN for all others."""
    n_new = len(vocabulary) - len(old)
    if table.pretrained is None:
        return torch.full((n_new, 1), torch.nan)
    vectors = match_vectors(name, given_vectors(name, table.pretrained), vocabulary)
    return torch.as_tensor(vectors[len(old) :], dtype=torch.float32)
