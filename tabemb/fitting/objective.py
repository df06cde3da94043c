"""The objective of training: the loss of the target and the prior of the tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from tabemb.network.inputs import Batch
from tabemb.network.model import TabularNetwork
from tabemb.network.randomness import generator
from tabemb.targets import Sampler, Target
from tabemb.training.best import Validated
from tabemb.training.optimizers import Loss
from tabemb.training.workers import current


@dataclass(frozen=True)
class Objective:
    """The loss of a network on a batch of training rows."""

    network: TabularNetwork
    target: Target
    in_bfloat16: bool
    """Whether matrix products are computed in bfloat16; losses and weights are float32."""

    def __call__(self, batch: Batch) -> Loss:
        """Return the mean loss of the members on a batch, and the prior of their tables."""
        y, sample = batch.y, None
        if self._sampler is not None:
            sample = self._sampler.draw(batch.y, generator(batch.device))
        classes = None if sample is None else sample.classes
        with torch.autocast(batch.device.type, torch.bfloat16, enabled=self.in_bfloat16):
            output = self.network(batch.inputs, classes)
        outputs = output.outputs.float()
        if sample is not None:
            outputs, y = outputs - sample.log_chance, sample.places
        loss = (self.target.loss(outputs, y).mean(1) * batch.weight).mean()
        penalty = (
            output.penalty * batch.weight
        ).mean()  # negative log prior, in units of log likelihood
        noise = self.target.noise(loss)
        if isinstance(noise, Tensor):
            noise = current().mean(noise, len(batch))
        return Loss(loss, penalty * noise)

    @cached_property
    def _sampler(self) -> Sampler | None:
        return self.target.sampler()

    @torch.no_grad()
    def on_validation(self, pieces: Sequence[Batch]) -> Validated:
        """Return the weighted mean loss of the members' average prediction, without the prior."""
        self.network.eval()
        workers = current()
        weights = float(torch.cat([piece.weight for piece in pieces]).sum())
        losses = [self._of_rows(piece) for piece in pieces[workers.rank :: workers.size]]
        of_rows = torch.cat(losses) / weights if losses else torch.zeros(0)
        return Validated(workers.total(float(of_rows.sum())), of_rows)

    def _of_rows(self, piece: Batch) -> Tensor:
        """Return the weighted losses of validation rows, (n_rows,)."""
        outputs = self.target.average(self.network(piece.inputs).outputs)
        return self.target.loss(outputs, piece.y)[:, 0] * piece.weight
