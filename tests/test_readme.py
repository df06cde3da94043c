"""What the README says is so: its code runs, and the files, commands and settings that it names exist."""

from __future__ import annotations

import inspect
import re
import shlex
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from tabemb import EmbeddingClassifier, EmbeddingEncoder, EmbeddingRegressor, EventClassifier, Table

ROOT = Path(__file__).resolve().parents[1]
PAGES = [page for page in (ROOT / "README.md", ROOT / "experiments" / "README.md") if page.exists()]
CODE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^(?:\$ )?python -m experiments\.(\w+)(.*)$", re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)[^)]*\)")
FILE = re.compile(r"`((?:tabemb|tests|conf|experiments)/[\w/.]*)`")
SETTING = re.compile(r"`(\w+)=[^`]*`")


def page_name(page):
    return str(page.relative_to(ROOT))


def code_blocks(text):
    """Each block under as many empty lines as stand above it, so that errors show the page's own line numbers."""
    for found in CODE.finditer(text):
        yield "\n" * text.count("\n", 0, found.start(1)) + found[1]


def targets_of(makefile):
    return set(re.findall(r"^(\w+):", makefile, re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_python_blocks_run_one_after_the_other(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "readme"}
    for block in code_blocks(page.read_text()):
        exec(compile(block, page, "exec"), names)


def test_the_readme_has_code_and_dated_results():
    text = (ROOT / "README.md").read_text()
    assert len(list(code_blocks(text))) >= 1
    results = text.split("## Results")[1].split("\n## ")[0]
    assert re.search(r"Measured on \d{4}-\d\d-\d\d on ", results)
    assert "| data (error) |" in results


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_links_and_named_files_exist(page):
    text = page.read_text()
    links = [link for link in LINK.findall(text) if not link.startswith(("http:", "https:", "mailto:"))]
    missing = [link for link in links if not (page.parent / link).exists()]
    missing += [path for path in FILE.findall(text) if not (ROOT / path).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_named_make_targets_exist(page):
    named = set(re.findall(r"`make (\w+)", page.read_text()))
    assert named <= targets_of((ROOT / "Makefile").read_text())


def test_the_two_commands_are_named():
    assert {"demo", "test"} <= set(re.findall(r"`make (\w+)", (ROOT / "README.md").read_text()))


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_commands_name_experiments_and_options_that_exist(page):
    for name, rest in COMMAND.findall(page.read_text()):
        files = (f"{name}.py", f"{name}/__main__.py")
        assert any((ROOT / "experiments" / file).exists() for file in files), name
        overrides = [word for word in shlex.split(rest, comments=True) if not word.startswith("-")]
        if (ROOT / "conf" / f"{name}.yaml").exists():
            with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
                compose(name, overrides, return_hydra_config="hydra." in rest or "-m" in rest.split())


def test_settings_in_the_readme_are_parameters():
    named = set(SETTING.findall((ROOT / "README.md").read_text())) - {"protocol"}
    signed = (EmbeddingClassifier, EmbeddingRegressor, EmbeddingEncoder, EventClassifier, Table)
    known = [inspect.signature(made).parameters for made in signed]
    assert named <= {name for parameters in known for name in parameters}


def test_line_numbers_of_blocks_are_those_of_the_page():
    (block,) = code_blocks("# Title\n\n```python\n1 / 0\n```\n")
    assert block.splitlines().index("1 / 0") == 3
