"""Targets that are numbers, a class for each loss."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from tabemb.targets.base import Target, check_width

MOST_SPREAD = 1e154
"""Largest standard deviation of a target: its square is still a finite float."""
LIMIT = 1e12
"""Encoded numbers are clipped to +-``LIMIT``, so that float32 holds their squares."""
MOST_ERROR = 30.0
"""Logarithm of the largest relative error whose loss is exact."""


class NumberTarget(Target):
    """One number or several at once, with squared error.

    y is (n,) or (n, n_targets). It is standardised for the network, and predictions have the user's unit
    and shape.

    Attributes
    ----------
    smallest : float
        Smallest possible value of the target.
    """

    smallest = -math.inf
    loss_name, loss_unit = "squared error", "of y's variance"

    def fit(self, y: np.ndarray, weights: np.ndarray | None) -> NumberTarget:
        columns = y.reshape(len(y), -1)
        self.one_dimensional = y.ndim == 1
        self.n_outputs = columns.shape[1]
        self._check_range(columns)
        self._fit_scale(columns, weights)
        return self

    def grown(
        self, y: np.ndarray, weights: np.ndarray | None, classes: np.ndarray | None
    ) -> NumberTarget:
        check_width(y, () if self.one_dimensional else (self.n_outputs,))
        self._check_range(y.reshape(len(y), -1))
        return self

    def _check_range(self, y: np.ndarray) -> None:
        """Raise ValueError if y (n, n_targets) contains numbers that the loss does not allow."""

    def _fit_scale(self, y: np.ndarray, weights: np.ndarray | None) -> None:
        """Measure the centre and scale of each column, and the bias."""
        powers = _powers_of_two(y)
        small = np.ldexp(y, -powers)  # exact; sums and squares stay in the range of floats
        center = np.average(small, axis=0, weights=weights)
        center = np.where(np.ptp(small, axis=0) == 0, small[0], center)  # no rounding error
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
        with np.errstate(over="ignore"):  # clipped below
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
    """A quantile, with the pinball loss.

    Parameters
    ----------
    level : float
        Above 0 and below 1.
    """

    loss_name, loss_unit = "pinball loss", "standard deviations of y"

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
    """The median, with absolute error."""

    loss_name = "absolute error"

    def __init__(self) -> None:
        super().__init__(level=0.5)

    def loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        return (outputs - y.unsqueeze(1)).abs().mean(-1)


class CountTarget(NumberTarget):
    """A count or another number >= 0, with the Poisson deviance and a log link."""

    smallest = 0.0
    loss_name, loss_unit = "Poisson loss", ""

    def _check_range(self, y: np.ndarray) -> None:
        if (y < 0).any():
            raise ValueError(
                f"loss='poisson' needs y >= 0; y holds {y.min()} in row {y.min(axis=1).argmin()}."
            )

    def _fit_scale(self, y: np.ndarray, weights: np.ndarray | None) -> None:
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
    """A number > 0, with absolute percentage error and a log link.

    The outputs are standardised logarithms; the loss is computed from the numbers themselves.
    """

    smallest = 0.0
    loss_name, loss_unit = "relative error", ""

    def _check_range(self, y: np.ndarray) -> None:
        if (y <= 0).any():
            raise ValueError(
                f"loss='absolute_percentage_error' needs y > 0; y holds {y.min()} in row "
                f"{y.min(axis=1).argmin()}."
            )

    def _fit_scale(self, y: np.ndarray, weights: np.ndarray | None) -> None:
        super()._fit_scale(np.log(y), weights)

    def encode(self, y: np.ndarray) -> Tensor:
        return super().encode(np.log(y))

    def loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        scale = torch.as_tensor(self.scale, dtype=outputs.dtype, device=outputs.device)
        error = (outputs - y.unsqueeze(1)) * scale
        # far above y the loss continues as a line: the exponential would overflow float32
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
