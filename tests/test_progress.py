"""Bars and lines: only for long work on a terminal or in a notebook, and none without a request."""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from tabemb import EmbeddingEncoder, EmbeddingRegressor
from tabemb import progress as module
from tabemb.progress import bar_settings, in_notebook, print_line, quiet


@pytest.fixture
def notebook(monkeypatch):
    """Let IPython report that a Jupyter kernel runs this process."""
    ipython = ModuleType("IPython")
    ipython.get_ipython = lambda: SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", ipython)


def test_a_shell_of_ipython_is_no_notebook(monkeypatch):
    ipython = ModuleType("IPython")
    ipython.get_ipython = lambda: SimpleNamespace()
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    assert not in_notebook()
    monkeypatch.delitem(sys.modules, "IPython")
    assert not in_notebook()


def test_a_notebook_shows_bars(notebook):
    assert bar_settings()["disable"] is False
    assert bar_settings(False)["disable"] is True


def test_elsewhere_the_terminal_decides(monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", None)
    assert bar_settings()["disable"] is None
    assert bar_settings(True)["disable"] is False


@pytest.mark.parametrize(
    ("show", "seconds", "is_terminal", "is_said"),
    [
        (None, 9.0, True, True),
        (None, 0.1, True, False),
        (None, 9.0, False, False),
        (True, 0.1, False, True),
        (False, 9.0, True, False),
    ],
)
def test_a_line_is_printed_where_it_helps(show, seconds, is_terminal, is_said, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)
    print_line("done", seconds, show)
    assert capsys.readouterr().err == ("done\n" if is_said else "")
    with quiet():
        print_line("done", seconds, show)
    assert capsys.readouterr().err == ""


def test_a_fit_in_a_notebook_says_one_line(notebook, monkeypatch, capsys):
    monkeypatch.setattr(module, "find_spec", lambda name: None)  # ipywidgets
    X = pd.DataFrame({"city": ["Bonn", "Rome"] * 100})
    y = np.tile([1.0, 2.0], 100)
    settings = {"max_epochs": 2, "n_members": 1, "hidden": (8,), "random_state": 0}
    EmbeddingRegressor(**settings).fit(X, y)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("EmbeddingRegressor: 2 epochs, training squared error ")
    EmbeddingRegressor(**settings, verbose=False).fit(X, y)
    EmbeddingEncoder(estimator=EmbeddingRegressor(**settings), cv=2, n_jobs=1, random_state=0).fit(X, y)
    assert capsys.readouterr().out == ""
