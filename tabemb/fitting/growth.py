"""What a fitted model keeps for updates with later rows."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

from tabemb.fitting.fitted import Fitted
from tabemb.fitting.replay import KeptRows
from tabemb.network.halves import numpy_of_any


@dataclass(frozen=True)
class Growth:
    """What a fitted model keeps for updates with later rows.

    Parameters
    ----------
    n_epochs : int
        Number of epochs for new rows, as the first fit measured it.
    ancestry : tuple of str
        The version of the model after the first fit and after each night.
    kept : KeptRows, optional
        A sample of the rows so far, which later fits replay; None: later fits train on new rows alone.
    n_large : int
        Number of all rows at the first fit, or at the last large night.
    loss : float
        Expected loss on new rows; after the first fit, the validation loss.
    n_validation : int
        Number of rows on which the first expected loss was measured.
    """

    n_epochs: int
    ancestry: tuple[str, ...]
    kept: KeptRows | None = None
    n_large: int = 0
    loss: float = math.inf
    n_validation: int = 1


def version_of(fitted: Fitted) -> str:
    """Return a checksum of the weights and the sums of effects."""
    digest = hashlib.sha256()
    for weight in fitted.network.state_dict().values():
        digest.update(numpy_of_any(weight).tobytes())
    if fitted.effects is not None:
        digest.update(fitted.effects.sums_.tobytes())
    return digest.hexdigest()[:16]
