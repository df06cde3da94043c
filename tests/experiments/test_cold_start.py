import numpy as np
import pandas as pd
import pytest

from experiments import cold_start
from experiments.cold_start import COLUMNS, MODELS, SPELLINGS, Axes, Rows, held_out, misspelt

pytestmark = pytest.mark.filterwarnings("ignore:X has many categories that training did not have")
SETTINGS = {
    "models": ["ours", "ours_unknown"],
    "folds": [0],
    "n_rows": 400,
    "n_test": 120,
    "seeds": [0],
    "share_misspelt": 0.5,
    "n_jobs": 1,
}


@pytest.fixture
def titles(monkeypatch):
    """Titles of a job and a grade, on which the target depends."""
    rng = np.random.default_rng(0)
    jobs = ["Engineer", "Nurse", "Driver", "Teacher", "Librarian", "Sheriff", "Plumber", "Gardener"]
    grades = ["Senior", "Junior", "Chief", "Deputy", "Trainee", "Acting"]
    job, grade = rng.integers(8, size=700), rng.integers(6, size=700)
    X = pd.DataFrame(
        {COLUMNS["employee_salaries"]: [f"{grades[g]} {jobs[j]}" for g, j in zip(grade, job)]}
    )
    rows = Rows(X, job + 0.3 * rng.normal(size=700), COLUMNS["employee_salaries"])
    monkeypatch.setattr(cold_start, "load", lambda name: rows)
    make = cold_start.EmbeddingRegressor
    quick = {"hidden": (16,), "n_members": 2, "max_epochs": 8, "batch_size": 32, "learning_rate": 0.01}
    monkeypatch.setattr(cold_start, "EmbeddingRegressor", lambda **kwargs: make(**quick, **kwargs))
    return rows


def test_whole_levels_are_held_out(titles):
    lines = pd.DataFrame(held_out("employee_salaries", SETTINGS)).set_index("model")
    assert lines["error"]["ours"] < 0.7 * lines["error"]["ours_unknown"]
    assert lines["fold"].tolist() == [0, 0]


def test_misspelt_titles_are_like_clean_ones(titles):
    errors = misspelt(SETTINGS).set_index("spelling")
    assert list(errors.index) == ["clean", *SPELLINGS]
    assert (errors["ours"] < 0.6 * errors["ours_unknown"])[1:].all()
    assert errors["ours"]["clean"] == pytest.approx(errors["ours_unknown"]["clean"], abs=0.2)


def test_spellings_are_wrong_in_their_way():
    rng = np.random.default_rng(0)
    title = "Senior Engineer"
    spelt = {name: spell(title, rng) for name, spell in SPELLINGS.items()}
    assert spelt["abbreviated"] == "Sr. Eng."
    assert spelt["lower"] == "senior engineer"
    assert spelt["punctuated"] == "Engineer, Senior"
    assert sorted(spelt["swapped"]) == sorted(title)
    assert spelt["swapped"] != title
    assert SPELLINGS["abbreviated"]("Bus Mechanic", rng) == "Bus Mech."


def test_the_axes_of_a_column_are_those_of_its_n_grams():
    column = pd.Series(["old town", "old towns", "wide sea", None], name="place")
    axes = Axes(column)(pd.Series(["old town", "a wide sea", None], index=[7, 8, 9]))
    assert list(axes.index) == [7, 8, 9]
    lengths = np.linalg.norm(axes.to_numpy(), axis=1)
    assert lengths[0] > 0.9
    assert lengths[2] == 0
    assert abs(axes.iloc[0] @ axes.iloc[1]) < 0.1
    assert set(MODELS) == {"ours", "ours_unknown", "catboost", "catboost_text"}
