"""The target: between the user's answers and a network's outputs, with the loss that joins them."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from torch import Tensor
from torch.nn import functional as F

MANY_CLASSES = 1000
"""Classes from which each has a vector, and a step of training compares the answers with some classes alone."""
N_DRAWN = 512
"""Classes that are drawn for a step, beside those that are answers in it."""
MOST_RESPONSES = 16
"""Classes, the most frequent ones, among the responses of many."""


class Sample(NamedTuple):
    """Some of many classes, for one step.

    Their codes (m,), where among them each answer is (n,), the logarithm of each class's chance to be there (m,).
    """

    classes: Tensor
    places: Tensor
    log_chance: Tensor


class Target:
    """One kind of target. Outputs are (n, n_members, n_outputs); encoded answers are (n, ...) tensors.

    ``n_outputs``, ``bias`` (the output that predicts the marginal) and the scale are learned by :meth:`fit`.
    """

    n_outputs: int
    bias: Tensor
    classes_: Any = None  # labels, or a list of them, of class targets
    gives_shares = False  # whether responses are indicators
    has_many_classes = False

    def fit(self, y: np.ndarray, weights: np.ndarray | None) -> Target:
        """Learn the labels or the scale from training answers."""
        raise NotImplementedError

    def encode(self, y: np.ndarray) -> Tensor:
        """Answers as the tensor that the loss wants."""
        raise NotImplementedError

    def responses(self, y: np.ndarray) -> np.ndarray:
        """Answers as numbers whose mean by level is worth knowing, float64 (n, n_responses)."""
        return self.encode(y).double().numpy().reshape(len(y), -1)

    def loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Loss of each member on each row, (n, n_members)."""
        raise NotImplementedError

    def sample(self, y: Tensor) -> Sample | None:
        """The classes that a step compares these answers with, where it is not all of them."""
        return None

    def noise(self, loss: Tensor) -> Tensor | float:
        """The unit of the loss, from its mean over a batch: what a loss of one unit of log likelihood comes to."""
        return 1.0

    def average(self, outputs: Tensor) -> Tensor:
        """One output for all members, (n, 1, n_outputs), whose prediction is the members' mean prediction."""
        return outputs.mean(1, keepdim=True)

    def predict(self, outputs: Tensor) -> Any:
        """Prediction in the user's unit, or probabilities, from outputs of all members."""
        raise NotImplementedError


def _per_member(loss: Any, outputs: Tensor, y: Tensor) -> Tensor:
    """Apply a loss of torch that takes (rows, ...) to every member's output for the same answers."""
    n, k = outputs.shape[:2]
    return (
        loss(outputs.flatten(0, 1), y.repeat_interleave(k, dim=0), reduction="none")
        .view(n, k, -1)
        .mean(-1)
    )


class ClassTarget(Target):
    """One class of several, by softmax and log loss."""

    gives_shares = True

    def fit(self, y: np.ndarray, weights: np.ndarray | None) -> ClassTarget:
        self.classes_, codes = np.unique(y, return_inverse=True)
        self.n_outputs = len(self.classes_)
        if self.n_outputs < 2:
            raise ValueError(
                f"y holds only one class, {self.classes_.tolist()[0]!r}, among the rows with a weight above zero; a "
                "classifier needs at least two classes."
            )
        share = np.bincount(codes, weights) / (len(y) if weights is None else weights.sum())
        self.bias = torch.as_tensor(np.log(share), dtype=torch.float32)
        self.has_many_classes = self.n_outputs > MANY_CLASSES
        return self

    def sample(self, y: Tensor) -> Sample | None:
        """Answers of the others and classes drawn by their share (sampled softmax, Bengio & Senecal 2008)."""
        if not self.has_many_classes:
            return None
        share = self.bias.exp().to(y.device)
        drawn = torch.multinomial(share, N_DRAWN, replacement=True)
        classes, places = torch.unique(torch.cat([y, drawn]), return_inverse=True)
        log_absent = (len(y) + N_DRAWN) * torch.log1p(-share[classes])
        return Sample(classes, places[: len(y)], torch.log(-torch.expm1(log_absent)))

    def encode(self, y: np.ndarray) -> Tensor:
        codes = pd.Index(self.classes_).get_indexer(pd.Index(y))
        if (codes < 0).any():
            raise ValueError(f"eval_y holds class {y[codes < 0].tolist()[0]!r}, which y does not hold.")
        return torch.as_tensor(codes)

    def responses(self, y: np.ndarray) -> np.ndarray:
        """Indicators of the classes; of two, that of the second says all, of many, those of the most frequent."""
        codes = self.encode(y).numpy()
        if self.has_many_classes:
            return (
                codes[:, None] == np.argsort(-self.bias.numpy(), kind="stable")[:MOST_RESPONSES]
            ).astype(float)
        indicators = np.eye(self.n_outputs)[codes]
        return indicators[:, 1:] if self.n_outputs == 2 else indicators

    def loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        return _per_member(F.cross_entropy, outputs, y)

    def average(self, outputs: Tensor) -> Tensor:
        log_probability = outputs.log_softmax(-1)
        return (log_probability.logsumexp(1) - math.log(outputs.shape[1])).unsqueeze(1)

    def predict(self, outputs: Tensor) -> np.ndarray:
        probability = self.average(outputs)[:, 0].double().softmax(-1)
        return probability.numpy(force=True)


class MultilabelTarget(Target):
    """Several yes/no answers at once, by independent logits; y is (n, n_labels) of 0 and 1."""

    gives_shares = True

    def fit(self, y: np.ndarray, weights: np.ndarray | None) -> MultilabelTarget:
        self.n_outputs = y.shape[1]
        self.classes_ = [np.array([0, 1]) for _ in range(self.n_outputs)]
        share = np.clip(np.average(y, axis=0, weights=weights), 1e-3, 1 - 1e-3)
        self.bias = torch.as_tensor(np.log(share / (1 - share)), dtype=torch.float32)
        return self

    def encode(self, y: np.ndarray) -> Tensor:
        return torch.tensor(y, dtype=torch.float32)

    def loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        return _per_member(F.binary_cross_entropy_with_logits, outputs, y)

    def average(self, outputs: Tensor) -> Tensor:
        return torch.logit(outputs.sigmoid().mean(1, keepdim=True), eps=1e-7)

    def predict(self, outputs: Tensor) -> np.ndarray:
        return outputs.double().sigmoid().mean(1).numpy(force=True)


class MultioutputClassTarget(Target):
    """Several class targets at once; y is (n, n_targets), each column with classes of its own."""

    gives_shares = True

    def fit(self, y: np.ndarray, weights: np.ndarray | None) -> MultioutputClassTarget:
        self.targets = [ClassTarget().fit(column, weights) for column in y.T]
        self.classes_ = [target.classes_ for target in self.targets]
        self.n_outputs = sum(target.n_outputs for target in self.targets)
        self.bias = torch.cat([target.bias for target in self.targets])
        return self

    def _split(self, outputs: Tensor) -> tuple[Tensor, ...]:
        return outputs.split([target.n_outputs for target in self.targets], dim=-1)

    def encode(self, y: np.ndarray) -> Tensor:
        return torch.stack([target.encode(column) for target, column in zip(self.targets, y.T)], dim=1)

    def responses(self, y: np.ndarray) -> np.ndarray:
        return np.concatenate(
            [target.responses(column) for target, column in zip(self.targets, y.T)], axis=1
        )

    def loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        parts = zip(self.targets, self._split(outputs), y.unbind(1))
        return torch.stack([target.loss(part, answer) for target, part, answer in parts]).mean(0)

    def average(self, outputs: Tensor) -> Tensor:
        parts = zip(self.targets, self._split(outputs))
        return torch.cat([target.average(part) for target, part in parts], dim=-1)

    def predict(self, outputs: Tensor) -> list[np.ndarray]:
        return [target.predict(part) for target, part in zip(self.targets, self._split(outputs))]


class NumberTarget(Target):
    """One number or several at once; y is standardised inside and predictions come back in the user's unit."""

    def fit(self, y: np.ndarray, weights: np.ndarray | None) -> NumberTarget:
        columns = y.reshape(len(y), -1)
        self.one_dimensional = y.ndim == 1
        self.n_outputs = columns.shape[1]
        self._learn_scale(columns, weights)
        return self

    def _learn_scale(self, y: np.ndarray, weights: np.ndarray | None) -> None:
        self.center = np.average(y, axis=0, weights=weights)
        with np.errstate(over="ignore"):
            spread = np.sqrt(np.average((y - self.center) ** 2, axis=0, weights=weights))
        if not np.isfinite(spread).all():
            raise ValueError(f"y spreads too far to be scaled: it holds {y.min()} and {y.max()}.")
        self.scale = np.where(spread > 0, spread, 1.0)
        self.bias = torch.zeros(self.n_outputs)

    def encode(self, y: np.ndarray) -> Tensor:
        scaled = (y.reshape(len(y), -1) - self.center) / self.scale
        return torch.as_tensor(scaled, dtype=torch.float32)

    def loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        return (outputs - y.unsqueeze(1)).square().mean(-1)

    def noise(self, loss: Tensor) -> Tensor | float:
        """The variance of normal errors, or the scale of Laplace ones, is their mean loss itself."""
        return loss.detach()

    def predict(self, outputs: Tensor) -> np.ndarray:
        scaled = self.average(outputs)[:, 0].double().numpy(force=True)
        return self._shaped(scaled * self.scale + self.center)

    def _shaped(self, values: np.ndarray) -> np.ndarray:
        return values[:, 0] if self.one_dimensional else values


class QuantileTarget(NumberTarget):
    """A quantile, by the pinball loss; ``level`` is between 0 and 1."""

    def __init__(self, level: float) -> None:
        self.level = level

    def _learn_scale(self, y: np.ndarray, weights: np.ndarray | None) -> None:
        super()._learn_scale(y, weights)
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

    def _learn_scale(self, y: np.ndarray, weights: np.ndarray | None) -> None:
        if (y < 0).any():
            raise ValueError(f"loss='poisson' needs y >= 0; y holds {y.min()}.")
        mean = np.average(y, axis=0, weights=weights)
        self.center, self.scale = np.zeros_like(mean), np.where(mean > 0, mean, 1.0)
        self.bias = torch.zeros(self.n_outputs)

    def loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        return (outputs.exp() - y.unsqueeze(1) * outputs).mean(-1)

    def noise(self, loss: Tensor) -> Tensor | float:
        return 1.0

    def average(self, outputs: Tensor) -> Tensor:
        return (outputs.logsumexp(1) - math.log(outputs.shape[1])).unsqueeze(1)

    def predict(self, outputs: Tensor) -> np.ndarray:
        return self._shaped(self.average(outputs)[:, 0].double().exp().numpy(force=True) * self.scale)


class RelativeTarget(NumberTarget):
    """A number > 0, by absolute percentage error, with a log link.

    The outputs are standardised logarithms; the loss is taken on the numbers themselves.
    """

    def _learn_scale(self, y: np.ndarray, weights: np.ndarray | None) -> None:
        if (y <= 0).any():
            raise ValueError(f"loss='absolute_percentage_error' needs y > 0; y holds {y.min()}.")
        super()._learn_scale(np.log(y), weights)

    def encode(self, y: np.ndarray) -> Tensor:
        return super().encode(np.log(y))

    def loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        scale = torch.as_tensor(self.scale, dtype=outputs.dtype, device=outputs.device)
        return torch.expm1((outputs - y.unsqueeze(1)) * scale).abs().mean(-1)

    def predict(self, outputs: Tensor) -> np.ndarray:
        scaled = self.average(outputs)[:, 0].double().numpy(force=True)
        return self._shaped(np.exp(scaled * self.scale + self.center))


NUMBER_TARGETS: dict[str, type[NumberTarget]] = {
    "squared_error": NumberTarget,
    "absolute_error": MedianTarget,
    "quantile": QuantileTarget,
    "poisson": CountTarget,
    "absolute_percentage_error": RelativeTarget,
}
"""Targets of a regressor by the name of their loss."""


def class_target(y: np.ndarray) -> Target:
    """The target that suits a classifier's y.

    Raises
    ------
    ValueError
        ``y`` holds continuous numbers or something else that is no label.
    """
    check_classification_targets(y)
    kind = type_of_target(y, input_name="y")
    if kind == "multilabel-indicator":
        return MultilabelTarget()
    return MultioutputClassTarget() if kind == "multiclass-multioutput" else ClassTarget()
