"""Targets that are classes: one target, several at once, or yes/no labels."""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import copy

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tabemb.labels import codes_of, distinct, natural
from tabemb.network.draws import Draws
from tabemb.targets.base import Sample, Target, check_width, first_fraction

MANY_CLASSES = 1000
"""With more classes than this, each class has a vector by default."""
MOST_COMPARED = 50_000
"""With up to this many classes, a step compares its targets with all of them; with more, a sample."""
N_DRAWN = 2048
"""Classes that are drawn for a step, in addition to the classes of the batch."""
HALF_A_ROW = 0.5
"""Count that gives the initial output of a class without rows."""
MOST_RESPONSES = 16
"""Number of responses of a target with many classes: indicators of the most frequent classes."""


class ClassSampler:
    """Draws classes by their share, in addition to the classes of the batch: sampled softmax.

    The probability that a class is in the sample counts the classes of the batch as draws too
    (Bengio & Senecal 2008; "logQ", Yi et al. 2019).

    Parameters
    ----------
    share : Tensor of shape (n_classes,)
    """

    def __init__(self, share: Tensor) -> None:
        self.draws = Draws(share)

    def draw(self, y: Tensor, generator: torch.Generator | None) -> Sample:
        """Return the sample of a step with these encoded targets."""
        drawn = self.draws.draw(N_DRAWN, generator).to(y.device)
        classes, places = torch.unique(torch.cat([y, drawn]), return_inverse=True)
        # a class is absent with the probability (1 - share) ** draws
        share = self.draws.share[classes.to(self.draws.share.device)].float().to(y.device)
        log_absent = (len(y) + N_DRAWN) * torch.log1p(-share)
        return Sample(classes, places[: len(y)], torch.log(-torch.expm1(log_absent)))


class ClassTarget(Target):
    """One class of several, by softmax and log loss; predictions are probabilities (n, n_classes).

    Parameters
    ----------
    has_vectors : bool or "auto", default="auto"
        Whether each class has a vector; "auto": if there are more than a thousand.
    classes : ndarray, optional
        All classes, also those that are not in y yet; None: those of y.
    """

    gives_shares = True
    has_vectors: bool | str = "auto"
    classes: np.ndarray | None = None  # for files that tabemb 0.2 saved

    def __init__(self, has_vectors: bool | str = "auto", classes: np.ndarray | None = None) -> None:
        self.has_vectors, self.classes = has_vectors, classes

    def fit(self, y: np.ndarray, weights: np.ndarray | None) -> ClassTarget:
        self.classes_, codes = distinct(y)
        if self.classes is not None:
            self.classes_ = distinct(self.classes)[0]
            codes = codes_of(self.classes_, y)
            _check_known(y, codes)
        self.n_outputs = len(self.classes_)
        if self.n_outputs < 2:
            raise ValueError(
                f"y holds only one class, {self.classes_.tolist()[0]!r}, among the rows with a weight "
                "above zero; a classifier needs at least two classes."
            )
        self._count(codes, weights)
        are_many = self.n_outputs > MANY_CLASSES
        self.has_many_classes = are_many if self.has_vectors == "auto" else bool(self.has_vectors)
        self.is_sampled = self.has_many_classes and self.n_outputs > MOST_COMPARED
        return self

    def _count(
        self, codes: np.ndarray, weights: np.ndarray | None, before: np.ndarray | float = 0
    ) -> None:
        """Count the classes, and set the initial outputs to the logarithms of their shares."""
        self.counts_ = before + np.bincount(codes, weights, self.n_outputs)
        total = (len(codes) if weights is None else weights.sum()) + np.sum(before)
        share = np.maximum(self.counts_ / total, np.finfo(np.float32).tiny)  # so its logarithm is finite
        share[self.counts_ == 0] = HALF_A_ROW / total
        self.bias = torch.as_tensor(np.log(share), dtype=torch.float32)

    def grown(
        self, y: np.ndarray, weights: np.ndarray | None, classes: np.ndarray | None
    ) -> ClassTarget:
        check_width(y, ())
        grown = copy(self)
        grown.classes_ = self.classes_ if classes is None else distinct(classes)[0]
        grown.n_outputs = len(grown.classes_)
        codes, places = codes_of(grown.classes_, y), codes_of(grown.classes_, self.classes_)
        _check_known(y, codes)
        if (places < 0).any():
            lacking = self.classes_[places < 0].tolist()[0]
            raise ValueError(f"classes must hold all classes of the model; it lacks {lacking!r}.")
        if not self.has_many_classes:
            before = np.zeros(grown.n_outputs)
            before[places] = self.counts_
            grown._count(codes, weights, before)
        elif grown.n_outputs > self.n_outputs:
            raise ValueError(
                "classes must be those of the model where each has a vector, as each of its "
                f"{self.n_outputs} classes has; fit a new model on all rows."
            )
        return grown

    def sampler(self) -> ClassSampler | None:
        return ClassSampler(self.bias.exp()) if self.is_sampled else None

    def encode(self, y: np.ndarray) -> Tensor:
        return torch.as_tensor(validation_codes(self.classes_, y))

    def responses(self, y: np.ndarray) -> np.ndarray:
        """Return indicators of the classes: of two only the second, of many the most frequent ones."""
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
        if self.has_many_classes:  # the mean stays a dot product with the vectors of the classes
            return outputs.mean(1, keepdim=True)
        log_probability = outputs.log_softmax(-1)
        return (log_probability.logsumexp(1) - math.log(outputs.shape[1])).unsqueeze(1)

    def predict(self, outputs: Tensor) -> np.ndarray:
        probability = self.average(outputs)[:, 0].double().softmax(-1)
        return probability.numpy(force=True)

    def as_outputs_of(self, whole: Target, outputs: Tensor) -> Tensor:
        """Return differences from the mean of the classes; of many, only for the most frequent ones.

        A class that this target does not have gets a difference of zero.
        """
        assert isinstance(whole, ClassTarget)
        positions = torch.as_tensor(codes_of(self.classes_, whole._compared), device=outputs.device)
        centered = outputs - outputs.mean(-1, keepdim=True)
        return centered[..., positions.clamp(min=0)] * (positions >= 0)

    @property
    def _compared(self) -> np.ndarray:
        """The labels of all classes if they are few, else of the most frequent; of two, the second."""
        classes: np.ndarray = self.classes_[1:] if self.n_outputs == 2 else self.classes_
        frequent = np.argsort(-self.bias.numpy(), kind="stable")[:MOST_RESPONSES]
        return classes if self.n_outputs <= MOST_RESPONSES else classes[np.sort(frequent)]


def validation_codes(classes: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the code of each label, (n,), among these classes.

    Raises
    ------
    ValueError
        A label is not among the classes; this can happen only for validation rows.
    """
    codes = codes_of(classes, y)
    if (codes < 0).any():
        row = int(np.argmax(codes < 0))
        raise ValueError(
            f"eval_y holds class {y[row : row + 1].tolist()[0]!r}, which y does not hold, in row "
            f"{row}; the classes of eval_y must be among those of y."
        )
    return codes


def _check_known(y: np.ndarray, codes: np.ndarray) -> None:
    """Raise ValueError if y (n,) has a label with the code -1."""
    if (codes < 0).any():
        row = int(np.argmax(codes < 0))
        raise ValueError(
            f"y holds class {y[row : row + 1].tolist()[0]!r} in row {row}, which is none of the model; "
            "pass classes with the old and the new ones to add it."
        )


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

    def grown(
        self, y: np.ndarray, weights: np.ndarray | None, classes: np.ndarray | None
    ) -> MultilabelTarget:
        check_width(y, (self.n_outputs,))
        _refuse_classes(classes)
        if not is_indicator(y):
            place = _no_indicator(y)
            raise ValueError(
                f"y holds {y[place]!r} in row {place[0]}, where it held 0 and 1 alone in the first fit; "
                "correct such rows or leave them out."
            )
        return self

    def encode(self, y: np.ndarray) -> Tensor:
        if not is_indicator(y):
            place = _no_indicator(y)
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


def _refuse_classes(classes: np.ndarray | None) -> None:
    if classes is not None:
        raise ValueError("classes must be None where y has several columns; each has those of its rows.")


def _no_indicator(y: np.ndarray) -> tuple[int, ...]:
    """Return the position of the first label (n, n_labels) that is neither 0 nor 1."""
    return next(place for place in np.ndindex(y.shape) if y[place] not in (0, 1))


def _column_target(
    target: ClassTarget | None, y: np.ndarray, column: int, weights: np.ndarray | None
) -> ClassTarget:
    """Return the target of one column: a new one, or one that has grown."""
    try:
        labels = natural(y[:, column])
        return (
            ClassTarget().fit(labels, weights) if target is None else target.grown(labels, weights, None)
        )
    except ValueError as error:
        reason = str(error).removesuffix(".")
        raise ValueError(f"Column {column} of y: {reason}.") from error


class MultioutputClassTarget(Target):
    """Several class targets at once.

    y is (n, n_targets), and each column has its classes. Predictions are a list of probabilities, one
    array for each target.
    """

    gives_shares = True

    def fit(self, y: np.ndarray, weights: np.ndarray | None) -> MultioutputClassTarget:
        self.targets = [_column_target(None, y, i, weights) for i in range(y.shape[1])]
        self.classes_ = [target.classes_ for target in self.targets]
        self.n_outputs = sum(target.n_outputs for target in self.targets)
        self.bias = torch.cat([target.bias for target in self.targets])
        return self

    def grown(
        self, y: np.ndarray, weights: np.ndarray | None, classes: np.ndarray | None
    ) -> MultioutputClassTarget:
        check_width(y, (len(self.targets),))
        _refuse_classes(classes)
        grown = copy(self)
        grown.targets = [_column_target(t, y, i, weights) for i, t in enumerate(self.targets)]
        return grown

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
    """Return whether y (n, n_labels) contains only 0 and 1, or only False and True."""
    return natural(y.ravel()).dtype.kind in "biuf" and bool(np.isin(y.astype(float), (0, 1)).all())


def class_target(
    y: np.ndarray, has_vectors: bool | str = "auto", classes: np.ndarray | None = None
) -> Target:
    """Return an unfitted target for a classifier's y.

    Several columns of 0 and 1 are yes/no labels (multilabel); with other values, each column has its
    classes.

    Parameters
    ----------
    y : ndarray of shape (n,) or (n, n_targets)
    has_vectors, classes
        As in `ClassTarget`.

    Raises
    ------
    ValueError
        ``y`` holds continuous numbers, or several columns whose classes should have vectors.
    """
    for column in y.reshape(len(y), -1).T:
        row = first_fraction(natural(column))
        if row is not None:
            raise ValueError(
                f"Unknown label type: y holds continuous numbers, {column[row]!s} in row {row}; pass "
                "classes, or take a regressor."
            )
    if y.ndim == 1:
        return ClassTarget(has_vectors, classes)
    _refuse_classes(classes)
    if has_vectors is True:
        raise ValueError(
            f"class_vectors must not be True where y has several columns, here {y.shape[1]}; pass one."
        )
    return MultilabelTarget() if is_indicator(y) else MultioutputClassTarget()


def _loss_by_member(loss: Callable[..., Tensor], outputs: Tensor, y: Tensor) -> Tensor:
    """Apply a loss of torch to the outputs of every member; (n, n_members)."""
    n, n_members = outputs.shape[:2]
    by_row_and_member = y.repeat_interleave(n_members, dim=0)
    losses = loss(outputs.flatten(0, 1), by_row_and_member, reduction="none")  # (n x n_members, ...)
    return losses.view(n, n_members, -1).mean(-1)
