"""Predictions of small fits are those of the code before it was rearranged."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
spec = importlib.util.spec_from_file_location("fits", HERE / "fits.py")
fits = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fits)


@pytest.mark.parametrize("fit", fits.FITS, ids=lambda f: f.__name__)
def test_unchanged(fit):
    stored = np.load(HERE / "predictions.npz")
    for i, values in enumerate(fits.run(fit)):
        np.testing.assert_allclose(values, stored[f"{fit.__name__}_{i}"], rtol=0, atol=1e-6)
