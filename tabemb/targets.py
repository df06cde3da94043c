"""Targets: from the user's y to tensors, losses and predictions; a kind of target is one class."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tabemb.labels import codes_of, distinct, natural

MANY_CLASSES = 1000
"""With more classes than this, each has a vector, and a training step uses a sample of them."""
N_DRAWN = 512
"""Classes that are drawn for a step, in addition to the classes of the batch."""
MOST_SPREAD = 1e154
"""Largest standard deviation of a number whose square is a float."""
LIMIT = 1e12
"""Encoded numbers are clipped to +-``LIMIT``, so that float32 holds their squares."""
MOST_ERROR = 30.0
"""Logarithm of the largest relative error whose loss is exact."""
MOST_RESPONSES = 16
"""Responses of a target with many classes: indicators of the most frequent ones."""


class Sample(NamedTuple):
    """The classes that one training step uses, of very many.

    Parameters
    ----------
    classes : int64 tensor of shape (m,)
        Codes of the classes.
    places : int64 tensor of shape (n,)
        Position of the class of each row among them.
    log_chance : tensor of shape (m,)
        Logarithm of each class's probability to be in the sample, which the loss subtracts from its
        output.
    """

    classes: Tensor
    places: Tensor
    log_chance: Tensor


class Target:
    """One kind of target: encoding of y, loss of a network's outputs, predictions in the user's unit.

    Outputs are tensors (n, n_members, n_outputs), where members are the networks of an ensemble. Encoded
    targets are tensors (n, ...).

    Attributes
    ----------
    n_outputs : int
        Outputs that a network needs.
    bias : tensor of shape (n_outputs,)
        Outputs that predict the marginal distribution of y, where training starts.
    classes_ : ndarray or list of ndarray or None
        The labels of a class target; a list for several targets.
    gives_shares : bool
        Whether `responses` are indicators, so that their means are shares.
    has_many_classes : bool
        Whether a training step needs a `sample` of the classes.
    """

    n_outputs: int
    bias: Tensor
    classes_: Any = None
    gives_shares = False
    has_many_classes = False

    def fit(self, y: np.ndarray, weights: np.ndarray | None) -> Target:
        """Fit the labels or the scale of training targets.

        Parameters
        ----------
        y : ndarray of shape (n,) or (n, n_targets)
        weights : ndarray of shape (n,), optional

        Returns
        -------
        self

        Raises
        ------
        ValueError
            y holds values that this target cannot have.
        """
        raise NotImplementedError

    def encode(self, y: np.ndarray) -> Tensor:
        """Return targets as the tensor that `loss` takes."""
        raise NotImplementedError

    def responses(self, y: np.ndarray) -> np.ndarray:
        """Return targets as numbers whose means by level are effects, float64 (n, n_responses)."""
        return self.encode(y).double().numpy().reshape(len(y), -1)

    def loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Return the loss of each member on each row, (n, n_members), from encoded targets."""
        raise NotImplementedError

    def sample(self, y: Tensor, generator: torch.Generator | None = None) -> Sample | None:
        """Return the classes that a training step with these encoded targets uses; None: all classes."""
        return None

    def noise(self, loss: Tensor) -> Tensor | float:
        """Return the loss that stands for one unit of log likelihood, from the mean loss of a batch.

        The prior of the vectors is in units of log likelihood; multiplied by this it can be added to the
        loss.
        """
        return 1.0

    def average(self, outputs: Tensor) -> Tensor:
        """Return outputs (n, 1, n_outputs) whose prediction is the mean of the members' predictions."""
        return outputs.mean(1, keepdim=True)

    def predict(self, outputs: Tensor) -> Any:
        """Return the mean prediction of all members: in the user's unit, or probabilities."""
        raise NotImplementedError

    def as_outputs_of(self, whole: Target, outputs: Tensor) -> Tensor:
        """Return outputs in the order and unit of those of a target that was fitted on more rows.

        Outputs that say nothing beside others are left out, so that those of two networks compare.
        """
        return outputs


def _loss_by_member(loss: Callable[..., Tensor], outputs: Tensor, y: Tensor) -> Tensor:
    """Apply a loss of torch to the outputs of every member; (n, n_members)."""
    n, n_members = outputs.shape[:2]
    by_row_and_member = y.repeat_interleave(n_members, dim=0)
    losses = loss(outputs.flatten(0, 1), by_row_and_member, reduction="none")  # (n x n_members, ...)
    return losses.view(n, n_members, -1).mean(-1)


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


class NumberTarget(Target):
    """One number or several at once, by squared error.

    y is (n,) or (n, n_targets). It is standardised for the network, and predictions come back in the
    user's unit and shape.

    Attributes
    ----------
    smallest : float
        Smallest number that the target can be.
    """

    smallest = -math.inf

    def fit(self, y: np.ndarray, weights: np.ndarray | None) -> NumberTarget:
        columns = y.reshape(len(y), -1)
        self.one_dimensional = y.ndim == 1
        self.n_outputs = columns.shape[1]
        self._fit_scale(columns, weights)
        return self

    def _fit_scale(self, y: np.ndarray, weights: np.ndarray | None) -> None:
        """Measure the centre and scale of each column, and the bias."""
        powers = _powers_of_two(y)
        small = np.ldexp(y, -powers)  # exact, and neither sums nor squares leave the range of floats
        center = np.average(small, axis=0, weights=weights)
        center = np.where(np.ptp(small, axis=0) == 0, small[0], center)  # no error of rounding spreads
        spread = np.sqrt(np.average((small - center) ** 2, axis=0, weights=weights))
        self.center, spread = np.ldexp(center, powers), np.ldexp(spread, powers)
        if (spread > MOST_SPREAD).any():
            rows = int(y.max(axis=1).argmax()), int(y.min(axis=1).argmin())
            raise ValueError(
                f"y spreads too far to be scaled; row {rows[0]} holds {y[rows[0]].max()} and row "
                f"{rows[1]} holds {y[rows[1]].min()}."
            )
        self.scale = np.where(spread > 0, spread, 1.0)
        self.bias = torch.zeros(self.n_outputs)

    def encode(self, y: np.ndarray) -> Tensor:
        with np.errstate(over="ignore"):  # clipped in the end
            scaled = (y.reshape(len(y), -1) - self.center) / self.scale
        return torch.as_tensor(np.clip(scaled, -LIMIT, LIMIT), dtype=torch.float32)

    def loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        return (outputs - y.unsqueeze(1)).square().mean(-1)

    def noise(self, loss: Tensor) -> Tensor | float:
        """Return the mean loss: the variance of normal errors, or the scale of Laplace ones."""
        return loss.detach()

    def predict(self, outputs: Tensor) -> np.ndarray:
        scaled = self.average(outputs)[:, 0].double().numpy(force=True)
        return self._as_given(scaled * self.scale + self.center)

    def as_outputs_of(self, whole: Target, outputs: Tensor) -> Tensor:
        """Return outputs in units of the other target's scale."""
        assert isinstance(whole, NumberTarget)
        return outputs * torch.as_tensor(self.scale / whole.scale, dtype=outputs.dtype).to(
            outputs.device
        )

    def _as_given(self, values: np.ndarray) -> np.ndarray:
        """Return predictions (n, n_targets) in the shape that y had in ``fit``."""
        return values[:, 0] if self.one_dimensional else values


class QuantileTarget(NumberTarget):
    """A quantile, by the pinball loss.

    Parameters
    ----------
    level : float
        Above 0 and below 1.
    """

    def __init__(self, level: float) -> None:
        self.level = level

    def _fit_scale(self, y: np.ndarray, weights: np.ndarray | None) -> None:
        super()._fit_scale(y, weights)
        marginal = np.quantile(y, self.level, axis=0, weights=weights, method="inverted_cdf")
        self.bias = torch.as_tensor((marginal - self.center) / self.scale, dtype=torch.float32)

    def loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        above = y.unsqueeze(1) - outputs
        return torch.maximum(self.level * above, (self.level - 1) * above).mean(-1)


class MedianTarget(QuantileTarget):
    """The median, by absolute error."""

    def __init__(self) -> None:
        super().__init__(level=0.5)

    def loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        return (outputs - y.unsqueeze(1)).abs().mean(-1)


class CountTarget(NumberTarget):
    """A count or another number >= 0, by the Poisson deviance with a log link."""

    smallest = 0.0

    def _fit_scale(self, y: np.ndarray, weights: np.ndarray | None) -> None:
        if (y < 0).any():
            raise ValueError(
                f"loss='poisson' needs y >= 0; y holds {y.min()} in row {y.min(axis=1).argmin()}."
            )
        powers = _powers_of_two(y)
        mean = np.ldexp(np.average(np.ldexp(y, -powers), axis=0, weights=weights), powers)
        # counts are only divided by their mean: the log link then predicts the mean from an output of 0
        self.center, self.scale = np.zeros_like(mean), np.where(mean > 0, mean, 1.0)
        self.bias = torch.zeros(self.n_outputs)

    def loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        return (outputs.exp() - y.unsqueeze(1) * outputs).mean(-1)

    def noise(self, loss: Tensor) -> Tensor | float:
        """Return 1: the Poisson deviance is a log likelihood."""
        return 1.0

    def average(self, outputs: Tensor) -> Tensor:
        return (outputs.logsumexp(1) - math.log(outputs.shape[1])).unsqueeze(1)

    def as_outputs_of(self, whole: Target, outputs: Tensor) -> Tensor:
        """Return the outputs: logarithms of a ratio, which have no unit."""
        return outputs

    def predict(self, outputs: Tensor) -> np.ndarray:
        relative = _exp(self.average(outputs)[:, 0].double().numpy(force=True))
        with np.errstate(over="ignore"):
            return self._as_given(np.minimum(relative * self.scale, np.finfo(float).max))


class RelativeTarget(NumberTarget):
    """A number > 0, by absolute percentage error with a log link.

    The outputs are standardised logarithms; the loss is taken on the numbers themselves.
    """

    smallest = 0.0

    def _fit_scale(self, y: np.ndarray, weights: np.ndarray | None) -> None:
        if (y <= 0).any():
            raise ValueError(
                f"loss='absolute_percentage_error' needs y > 0; y holds {y.min()} in row "
                f"{y.min(axis=1).argmin()}."
            )
        super()._fit_scale(np.log(y), weights)

    def encode(self, y: np.ndarray) -> Tensor:
        return super().encode(np.log(y))

    def loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        scale = torch.as_tensor(self.scale, dtype=outputs.dtype, device=outputs.device)
        error = (outputs - y.unsqueeze(1)) * scale
        # far above y the loss goes on along a line: its exponential has no place in float32
        far = math.expm1(MOST_ERROR) * (1 + error - MOST_ERROR)
        relative = torch.expm1(error.clamp(max=MOST_ERROR)).abs()
        return torch.where(error > MOST_ERROR, far, relative).mean(-1)

    def predict(self, outputs: Tensor) -> np.ndarray:
        scaled = self.average(outputs)[:, 0].double().numpy(force=True)
        return self._as_given(_exp(scaled * self.scale + self.center))


def _powers_of_two(y: np.ndarray) -> np.ndarray:
    """Return the exponent of two just above the largest absolute value of each column."""
    return np.asarray(np.frexp(np.abs(y).max(axis=0))[1])


def _exp(logarithms: np.ndarray) -> np.ndarray:
    """Return the exponential, at most the largest float."""
    return np.asarray(np.exp(np.minimum(logarithms, math.log(np.finfo(float).max))))


NUMBER_TARGETS: dict[str, type[NumberTarget]] = {
    "squared_error": NumberTarget,
    "absolute_error": MedianTarget,
    "quantile": QuantileTarget,
    "poisson": CountTarget,
    "absolute_percentage_error": RelativeTarget,
}
"""Targets of a regressor by the name of their loss."""


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


def first_fraction(values: np.ndarray) -> int | None:
    """Return the row of the first float that is not whole, of values (n,); None where there is none."""
    if values.dtype.kind != "f":
        return None
    rows = np.flatnonzero(values != np.floor(values))
    return int(rows[0]) if len(rows) else None
