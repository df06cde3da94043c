"""A fitted model: from rows of the user to the outputs of its networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tabemb.data.effects import Effects
from tabemb.data.encoding import Encoder
from tabemb.data.words import Text
from tabemb.fitting.networks import NetworkSettings, build_networks
from tabemb.fitting.settings import RowSettings
from tabemb.fitting.sources import RowSource
from tabemb.fitting.trees import Trees
from tabemb.network.devices import device_of, place
from tabemb.network.inputs import Batch, Ragged, RowInputs
from tabemb.network.model import Network, Output, in_double_precision
from tabemb.network.randomness import Building
from tabemb.targets import Target
from tabemb.training.batches import pieces_of

BESIDE_TREES, ALONE = 4, 8
"""Members for ``n_members="auto"``: trees replace half of them at less than half the cost."""
MOST_OUTPUTS = 2**23
"""Outputs of all members that are computed at a time."""


def texts_of(encoder: Encoder, inputs: RowInputs) -> list[Text]:
    """Return the words of each column of text."""
    histories = dict(zip(encoder.schema.histories, inputs.histories))
    texts = []
    for name in encoder.schema.texts:
        words = histories[name]
        assert isinstance(words, Ragged)
        texts.append(Text(words.offsets.numpy(force=True), words.codes[:, 0].numpy(force=True)))
    return texts


@dataclass(frozen=True, kw_only=True)
class FittedParts:
    """The parts of an estimator that are fitted before its network.

    Parameters
    ----------
    settings : RowSettings
    source : RowSource
    target : Target
    encoder : Encoder
    effects : Effects, optional
    trees : Trees, optional
    hidden : tuple of int
        Widths of the hidden layers.
    """

    settings: RowSettings
    source: RowSource
    target: Target
    encoder: Encoder
    effects: Effects | None
    trees: Trees | None
    hidden: tuple[int, ...]

    @property
    def n_members(self) -> int:
        """Number of members of a network."""
        given = self.settings.n_members
        if given == "auto":
            return BESIDE_TREES if self.trees is not None else ALONE
        return int(given)

    def new_network(self, n_rows: int) -> Network:
        """Return an untrained network for these parts, from the generator of the fit."""
        settings = NetworkSettings.of(
            self.settings,
            hidden=self.hidden,
            n_members=self.n_members,
            has_sequences=self.source.has_sequences,
            target_field=self.source.target_field,
            merge_ties=self.source.merge_ties,
        )
        with Building():
            network = build_networks(
                self.encoder, self.effects, self.trees, self.target, settings, n_rows
            )
        return place(network, self.settings.torch_device)


@dataclass(frozen=True, kw_only=True)
class Fitted(FittedParts):
    """The fitted parts of an estimator with its network, and their predictions."""

    network: Network

    def with_effects(self, inputs: RowInputs, scores: np.ndarray | None = None) -> RowInputs:
        """Add effects and scores of trees to rows that the effects were not fitted on.

        The rows may already have the effects that are expected of new categories, as
        `NewCategories.read` returns them.

        Parameters
        ----------
        inputs : RowInputs of n rows
        scores : ndarray of shape (n, n_responses), optional
            Scores of other trees, for rows that these trees were fitted on.
        """
        codes, numbers = (t.numpy(force=True) for t in (inputs.codes, inputs.numbers))
        if self.effects is not None:
            has_new = self.effects.expected_ and inputs.effects.shape[1:] == self.effects.expected_shape
            new = inputs.effects.numpy(force=True) if has_new else None
            effects = self.effects.transform(codes, numbers, texts_of(self.encoder, inputs), new)
            inputs = inputs.with_effects(torch.from_numpy(effects))
        if self.trees is None:
            return inputs
        scores = self.trees(codes, numbers) if scores is None else scores
        return inputs.with_scores(torch.from_numpy(scores))

    @torch.no_grad()
    def outputs_of(
        self, inputs: RowInputs, part: Callable[[Output], Tensor], classes: Tensor | None = None
    ) -> Tensor:
        """Return a part of the network's output, computed piece by piece in bounded memory.

        Parameters
        ----------
        inputs : RowInputs of n rows
            Without effects, except those that are expected of new categories.
        part : callable
            Takes the `Output` of a piece of rows and returns a tensor (n_piece, ...).
        classes : Tensor of shape (m,), int64, optional
            If there are many classes, those whose outputs are computed; all when None.
        """
        device = device_of(self.network)
        precise = len(inputs) <= self.source.n_precise
        network = in_double_precision(self.network) if precise else self.network
        results = []
        for piece in pieces_of(inputs.to(device), self._piece_sizes(inputs)):
            rows = self.with_effects(piece)
            results.append(part(network(rows.double() if precise else rows, classes)))
        return torch.cat(results)

    def validation_pieces(self, batch: Batch) -> list[Batch]:
        """Split validation rows into pieces to predict at a time."""
        return list(pieces_of(batch, self._piece_sizes(batch.inputs)))

    def _piece_sizes(self, inputs: RowInputs) -> list[int]:
        n_members = 1 if self.target.has_many_classes else self.n_members
        outputs_of_row = n_members * self.target.n_outputs
        return self.source.piece_sizes(inputs, max(1, MOST_OUTPUTS // outputs_of_row))
