"""The interface of a target, which connects y and the outputs of a network."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor


class Sample(NamedTuple):
    """The sample of very many classes that one training step uses.

    Parameters
    ----------
    classes : int64 tensor of shape (m,)
        Codes of the classes.
    places : int64 tensor of shape (n,)
        Position of the class of each row in ``classes``.
    log_chance : tensor of shape (m,)
        Logarithm of each class's probability to be in the sample, which the loss subtracts from its
        output.
    """

    classes: Tensor
    places: Tensor
    log_chance: Tensor


class Sampler(Protocol):
    """Draws the classes that training steps compare their targets with."""

    def draw(self, y: Tensor, generator: torch.Generator | None) -> Sample:
        """Return the sample of a step with these encoded targets."""


class Target:
    """One kind of target: encoding of y, loss of a network's outputs, predictions in the user's unit.

    Outputs are tensors (n, n_members, n_outputs); the members are the networks of an ensemble. Encoded
    targets are tensors (n, ...).

    Attributes
    ----------
    n_outputs : int
        Number of outputs that a network needs.
    bias : tensor of shape (n_outputs,)
        Outputs that predict the marginal distribution of y; training starts there.
    classes_ : ndarray or list of ndarray or None
        The labels of a class target; a list for several targets.
    gives_shares : bool
        Whether `responses` are indicators, so that their means are shares.
    has_many_classes : bool
        Whether each class has a vector, and its output is the dot product with it.
    is_sampled : bool
        Whether a training step compares the target with a sample of the classes.
    loss_name, loss_unit : str
        Name and unit of the loss; the unit is "" if there is none.
    """

    n_outputs: int
    bias: Tensor
    classes_: Any = None
    gives_shares = False
    has_many_classes = False
    is_sampled = False
    loss_name, loss_unit = "log loss", ""

    @property
    def loss_label(self) -> str:
        """The loss with its unit, as the label of an axis."""
        return ", ".join(filter(None, [self.loss_name, self.loss_unit]))

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

    def grown(self, y: np.ndarray, weights: np.ndarray | None, classes: np.ndarray | None) -> Target:
        """Return a target that also suits later rows: labels may be added, and a scale stays.

        Parameters
        ----------
        y : ndarray of shape (n,) or (n, n_targets)
            Targets of the later rows.
        weights : ndarray of shape (n,), optional
        classes : ndarray, optional
            All classes, old and new; None if no new ones are allowed.

        Raises
        ------
        ValueError
            y holds values that this target cannot have, or new classes that are not among ``classes``.
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

    def sampler(self) -> Sampler | None:
        """Return the sampler of the classes of training steps; None if a step uses all classes."""
        return None

    def noise(self, loss: Tensor) -> Tensor | float:
        """Return the loss that is worth one unit of log likelihood, from the mean loss of a batch.

        The prior of the vectors is in units of log likelihood. Multiplied by this loss, it can be added
        to the loss of the batch.
        """
        return 1.0

    def average(self, outputs: Tensor) -> Tensor:
        """Return outputs (n, 1, n_outputs) whose prediction is the mean of the members' predictions."""
        return outputs.mean(1, keepdim=True)

    def predict(self, outputs: Tensor) -> Any:
        """Return the mean prediction of all members: in the user's unit, or probabilities."""
        raise NotImplementedError

    def as_outputs_of(self, whole: Target, outputs: Tensor) -> Tensor:
        """Return outputs in the order and unit of a target that was fitted on more rows.

        Redundant outputs are left out, so that the outputs of two networks can be compared.
        """
        return outputs


def check_width(y: np.ndarray, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless rows of y have this shape: () of one target, (n_targets,) of several."""
    if y.shape[1:] != shape:
        n_columns = f"{shape[0]} columns" if shape else "one column"
        raise ValueError(f"y must have {n_columns}, as it had in the first fit; got shape {y.shape}.")


def first_fraction(values: np.ndarray) -> int | None:
    """Return the row of the first float in values (n,) that is not whole; None if there is none."""
    if values.dtype.kind != "f":
        return None
    rows = np.flatnonzero(values != np.floor(values))
    return int(rows[0]) if len(rows) else None
