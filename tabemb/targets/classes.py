"""Targets that are classes: one, several at once, or labels that are set or not."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tabemb.labels import codes_of, distinct, natural
from tabemb.targets.base import Sample, Target, first_fraction

MANY_CLASSES = 1000
"""With more classes than this, each has a vector, and a training step uses a sample of them."""
N_DRAWN = 512
"""Classes that are drawn for a step, in addition to the classes of the batch."""
MOST_RESPONSES = 16
"""Responses of a target with many classes: indicators of the most frequent ones."""


class ClassTarget(Target):
    """One class of several, by softmax and log loss; predictions are probabilities (n, n_classes)."""

    gives_shares = True

    def fit(self, y: np.ndarray, weights: np.ndarray | None) -> ClassTarget:
        self.classes_, codes = distinct(y)
        self.n_outputs = len(self.classes_)
        if self.n_outputs < 2:
            raise ValueError(
                f"y holds only one class, {self.classes_.tolist()[0]!r}, among the rows with a weight "
                "above zero; a classifier needs at least two classes."
            )
        share = np.bincount(codes, weights) / (len(y) if weights is None else weights.sum())
        share = np.maximum(share, np.finfo(np.float32).tiny)  # its logarithm is finite
        self.bias = torch.as_tensor(np.log(share), dtype=torch.float32)
        self.has_many_classes = self.n_outputs > MANY_CLASSES
        return self

    def sample(self, y: Tensor, generator: torch.Generator | None = None) -> Sample | None:
        """Return the classes of the batch and classes drawn by their share.

        This is sampled softmax (Bengio & Senecal 2008). For the chance that a class is in the sample,
        the classes of the batch are taken for draws too.
        """
        if not self.has_many_classes:
            return None
        share = self.bias.exp().to(y.device)
        drawn = torch.multinomial(share, N_DRAWN, replacement=True, generator=generator)
        classes, places = torch.unique(torch.cat([y, drawn]), return_inverse=True)
        # a class is absent with the probability (1 - share) ** draws
        log_absent = (len(y) + N_DRAWN) * torch.log1p(-share[classes])
        return Sample(classes, places[: len(y)], torch.log(-torch.expm1(log_absent)))

    def encode(self, y: np.ndarray) -> Tensor:
        codes = codes_of(self.classes_, y)
        if (codes < 0).any():
            row = int(np.argmax(codes < 0))
            raise ValueError(
                f"eval_y holds class {y[row : row + 1].tolist()[0]!r}, which y does not hold, in row "
                f"{row}; the classes of eval_y must be among those of y."
            )
        return torch.as_tensor(codes)

    def responses(self, y: np.ndarray) -> np.ndarray:
        """Return indicators of the classes: the second of two, the most frequent ones of many."""
        codes = self.encode(y).numpy()
        if self.has_many_classes:
            frequent = np.argsort(-self.bias.numpy(), kind="stable")[:MOST_RESPONSES]
            is_class: np.ndarray = codes[:, None] == frequent
            return is_class.astype(float)
        indicators: np.ndarray = np.eye(self.n_outputs)[codes]
        return indicators[:, 1:] if self.n_outputs == 2 else indicators

    def loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        return _loss_by_member(F.cross_entropy, outputs, y)

    def average(self, outputs: Tensor) -> Tensor:
        log_probability = outputs.log_softmax(-1)
        return (log_probability.logsumexp(1) - math.log(outputs.shape[1])).unsqueeze(1)

    def predict(self, outputs: Tensor) -> np.ndarray:
        probability = self.average(outputs)[:, 0].double().softmax(-1)
        return probability.numpy(force=True)

    def as_outputs_of(self, whole: Target, outputs: Tensor) -> Tensor:
        """Return differences from the mean of the classes, those of the most frequent ones of many.

        A class that these rows did not hold has a difference of zero.
        """
        assert isinstance(whole, ClassTarget)
        positions = torch.as_tensor(codes_of(self.classes_, whole._compared), device=outputs.device)
        centered = outputs - outputs.mean(-1, keepdim=True)
        return centered[..., positions.clamp(min=0)] * (positions >= 0)

    @property
    def _compared(self) -> np.ndarray:
        """The labels of the most frequent classes; of all where they are few, the second of two."""
        classes: np.ndarray = self.classes_[1:] if self.n_outputs == 2 else self.classes_
        frequent = np.argsort(-self.bias.numpy(), kind="stable")[:MOST_RESPONSES]
        return classes if self.n_outputs <= MOST_RESPONSES else classes[np.sort(frequent)]


class MultilabelTarget(Target):
    """Several yes/no labels at once, by independent logits.

    y is (n, n_labels) of 0 and 1, or of False and True; predictions are probabilities of 1,
    (n, n_labels).
    """

    gives_shares = True

    def fit(self, y: np.ndarray, weights: np.ndarray | None) -> MultilabelTarget:
        self.n_outputs = y.shape[1]
        self.classes_ = [np.array([0, 1], dtype=natural(column).dtype) for column in y.T]
        # clipped, so that the logit of a label that is never or always 1 is finite
        share = np.clip(np.average(y.astype(float), axis=0, weights=weights), 1e-3, 1 - 1e-3)
        self.bias = torch.as_tensor(np.log(share / (1 - share)), dtype=torch.float32)
        return self

    def encode(self, y: np.ndarray) -> Tensor:
        if not is_indicator(y):
            place = next(place for place in np.ndindex(y.shape) if y[place] not in (0, 1))
            raise ValueError(
                f"eval_y holds {y[place]!r} in row {place[0]}, where y holds 0 and 1 alone; the labels "
                "of eval_y must be among those of y."
            )
        return torch.tensor(y.astype(np.float32))

    def loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        return _loss_by_member(F.binary_cross_entropy_with_logits, outputs, y)

    def average(self, outputs: Tensor) -> Tensor:
        return torch.logit(outputs.sigmoid().mean(1, keepdim=True), eps=1e-7)

    def predict(self, outputs: Tensor) -> np.ndarray:
        return outputs.double().sigmoid().mean(1).numpy(force=True)


def _column_target(y: np.ndarray, column: int, weights: np.ndarray | None) -> ClassTarget:
    try:
        return ClassTarget().fit(natural(y[:, column]), weights)
    except ValueError as error:
        reason = str(error).removesuffix(".")
        raise ValueError(f"Column {column} of y: {reason}.") from error


class MultioutputClassTarget(Target):
    """Several class targets at once.

    y is (n, n_targets), each column with its classes; predictions are a list of probabilities, one array
    a target.
    """

    gives_shares = True

    def fit(self, y: np.ndarray, weights: np.ndarray | None) -> MultioutputClassTarget:
        self.targets = [_column_target(y, i, weights) for i in range(y.shape[1])]
        self.classes_ = [target.classes_ for target in self.targets]
        self.n_outputs = sum(target.n_outputs for target in self.targets)
        self.bias = torch.cat([target.bias for target in self.targets])
        return self

    def _split(self, outputs: Tensor) -> tuple[Tensor, ...]:
        """Split outputs by target."""
        widths = [target.n_outputs for target in self.targets]
        parts: tuple[Tensor, ...] = torch.split(outputs, widths, dim=-1)
        return parts

    def encode(self, y: np.ndarray) -> Tensor:
        return torch.stack([target.encode(column) for target, column in zip(self.targets, y.T)], dim=1)

    def responses(self, y: np.ndarray) -> np.ndarray:
        responses = [target.responses(column) for target, column in zip(self.targets, y.T)]
        return np.concatenate(responses, axis=1)

    def loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        parts = zip(self.targets, self._split(outputs), y.unbind(1))
        return torch.stack([target.loss(part, column) for target, part, column in parts]).mean(0)

    def average(self, outputs: Tensor) -> Tensor:
        parts = zip(self.targets, self._split(outputs))
        return torch.cat([target.average(part) for target, part in parts], dim=-1)

    def predict(self, outputs: Tensor) -> list[np.ndarray]:
        return [target.predict(part) for target, part in zip(self.targets, self._split(outputs))]

    def as_outputs_of(self, whole: Target, outputs: Tensor) -> Tensor:
        """Return differences from the mean of the classes of each target."""
        assert isinstance(whole, MultioutputClassTarget)
        of_targets = zip(self.targets, whole.targets, self._split(outputs))
        return torch.cat([target.as_outputs_of(w, part) for target, w, part in of_targets], dim=-1)


def is_indicator(y: np.ndarray) -> bool:
    """Return whether y (n, n_labels) holds 0 and 1, or False and True, and nothing else."""
    return natural(y.ravel()).dtype.kind in "biuf" and bool(np.isin(y.astype(float), (0, 1)).all())


def class_target(y: np.ndarray) -> Target:
    """Return the target for a classifier's y, not yet fitted.

    Several columns of 0 and 1 are labels that may hold together; columns with other values have classes
    each.

    Raises
    ------
    ValueError
        ``y`` holds continuous numbers.
    """
    for column in y.reshape(len(y), -1).T:
        row = first_fraction(natural(column))
        if row is not None:
            raise ValueError(
                f"Unknown label type: y holds continuous numbers, {column[row]!s} in row {row}; pass "
                "classes, or take a regressor."
            )
    if y.ndim == 1:
        return ClassTarget()
    return MultilabelTarget() if is_indicator(y) else MultioutputClassTarget()


def _loss_by_member(loss: Callable[..., Tensor], outputs: Tensor, y: Tensor) -> Tensor:
    """Apply a loss of torch to the outputs of every member; (n, n_members)."""
    n, n_members = outputs.shape[:2]
    by_row_and_member = y.repeat_interleave(n_members, dim=0)
    losses = loss(outputs.flatten(0, 1), by_row_and_member, reduction="none")  # (n x n_members, ...)
    return losses.view(n, n_members, -1).mean(-1)
