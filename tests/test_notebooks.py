"""Executed notebooks: the output that a reader sees below the cells."""

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

FIT = """
import pandas as pd
from tabemb import EmbeddingRegressor, progress
progress.BAR_DELAY = 0
X = pd.DataFrame({"city": ["Bonn", "Oslo", "Rome"] * 100, "area": range(300)})
model = EmbeddingRegressor(random_state=0, n_jobs=1).fit(X, X["area"] + 50.0 * (X["city"] == "Rome"))
"""


@pytest.fixture(scope="module")
def outputs():
    """Execute the cells in one kernel, and return what each shows."""
    cells = [FIT, "model.spaces_['city'].map(method='pca')", "model", "model.plot_learning_curve()"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python", "language": "python"}
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    return [cell.outputs for cell in notebook.cells]


def kinds(shown):
    return {kind for output in shown for kind in output.get("data", {})}


def printed(shown, stream):
    return "".join(o.text for o in shown if o.output_type == "stream" and o.name == stream)


@pytest.mark.slow
def test_a_fit_shows_a_bar_and_then_a_line(outputs):
    (line,) = printed(outputs[0], "stdout").splitlines()
    assert line.startswith("EmbeddingRegressor: best epoch ")
    assert "validation squared error" in line
    assert "epoch 1/" in printed(outputs[0], "stderr")  # plain text, as there are no widgets


@pytest.mark.slow
def test_a_map_as_the_first_plot_is_a_picture(outputs):
    assert "image/png" in kinds(outputs[1])


@pytest.mark.slow
def test_a_model_shows_its_summary(outputs):
    (html,) = [output.data["text/html"] for output in outputs[2] if "data" in output]
    assert "city" in html
    assert "categorical" in html


@pytest.mark.slow
def test_a_learning_curve_is_a_picture(outputs):
    assert "image/png" in kinds(outputs[3])
