"""README and docs/: their code runs, and the files, commands and names in them exist."""

from __future__ import annotations

import inspect
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

import tabemb
from tabemb import EmbeddingClassifier, EmbeddingRegressor, EmbeddingSpace, distributed
from tabemb import compare as comparison
from tabemb.compare.datasets import load_dataset
from tabemb.fitting import trees
from tabemb.training import loop
from tabemb.unsupervised import baselines, ranking, splits

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
DOCS = sorted(p for p in (ROOT / "docs").rglob("*.md") if "_build" not in p.parts)
PAGES = [*sorted(ROOT.glob("*.md")), *DOCS, *sorted((ROOT / "experiments").glob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^(?:\$ )?python -m experiments\.(\w+)(.*)$", re.MULTILINE)
COMPARE = re.compile(r"^tabemb compare (.*)$", re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FILE = re.compile(r"`((?:tabemb|tests|conf|experiments|docs)/(?!conf`)[\w/.]*)`")  # conf: in wheels
SETTING = re.compile(r"`([a-z]\w*)=[^`]*`")
METHOD = re.compile(r"`(?:\w+\.)?(\w+)\(\)`")
ATTRIBUTE = re.compile(r"`(?:\w+\.)?([a-z]\w*_)`")
# Words with an established term, and old names; tests/test_prose.py has the same rule for code.
OUT = re.compile(
    r"\b(teach(es|ing)?|taught|judge[sd]?|judging|held back|learns? from|tells? apart|rooms?|passes over"
    r"|offsets=|recurrences=|history_|plot_history)\b"
)


def cap_epochs(monkeypatch, n_epochs):
    """Fit for few epochs, whatever the code says; all of them would take too long in a test."""
    create = loop.Run.__init__

    def capped(self, training):
        create(self, replace(training, max_epochs=min(training.max_epochs, n_epochs)))

    monkeypatch.setattr(loop.Run, "__init__", capped)


def page_name(page):
    return str(page.relative_to(ROOT))


def code_blocks(text, language="python"):
    """Yield each block after as many empty lines as it has lines above, so errors have right lines."""
    for block in BLOCK.finditer(text):
        if block[1] == language:
            yield "\n" * text.count("\n", 0, block.start(2)) + block[2]


def without_blocks(text):
    return BLOCK.sub("", text)


def modules_of_engines(block):
    """Return the engines that a block imports; tests/distributed runs those blocks."""
    return set(re.findall(r"^(?:import|from) (ray|pyspark|dask)\b", block, re.MULTILINE))


def run_blocks(page):
    names = {"__name__": "page"}
    for block in code_blocks(page.read_text()):
        if not modules_of_engines(block):
            exec(compile(block, page, "exec"), names)


def anchors(page):
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", without_blocks(page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def exists(link, page):
    path, _, anchor = link.partition("#")
    target = (page.parent / path) if path else page
    return target.exists() and (not anchor or anchor in anchors(target))


def public_objects():
    """Return the public classes and functions, and the methods of the classes."""
    objects = [getattr(tabemb, name) for name in tabemb.__all__]
    objects += [getattr(comparison, name) for name in comparison.__all__]
    objects += [distributed.fit, distributed.workers]
    objects += [o for module in (baselines, ranking, splits) for o in vars(module).values()]
    methods = [
        method
        for cls in objects
        if inspect.isclass(cls)
        for name, method in inspect.getmembers(cls, callable)
        if not name.startswith("_")
    ]
    return [o for o in [*objects, *methods, load_dataset] if callable(o)]


def parameters():
    names = set()
    for function in public_objects():
        try:
            names |= set(inspect.signature(function).parameters)
        except ValueError:  # a builtin has no signature
            continue
    return names


def test_the_readme_runs_and_prints_its_score(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    cap_epochs(monkeypatch, 8)
    run_blocks(README)
    score = re.compile(r"^R2 ([\d.]+)$", re.MULTILINE)
    printed, shown = (float(score.search(t)[1]) for t in (capsys.readouterr().out, README.read_text()))
    assert abs(printed - shown) < 0.02  # rounding differs between machines


@pytest.mark.parametrize("page", [page for page in PAGES if page != README], ids=page_name)
def test_python_blocks_run_one_after_the_other(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cap_epochs(monkeypatch, 2)
    monkeypatch.setattr(trees, "MOST_ROUNDS", 20)
    run_blocks(page)


def test_the_readme_is_short():
    text = README.read_text()
    assert len(text.splitlines()) < 125
    assert len(text.encode()) < 9_000


def test_pictures_are_small():
    pictures = [
        link for page in PAGES for link in LINK.findall(page.read_text()) if link.endswith(".png")
    ]
    assert pictures
    assert all(path.stat().st_size < 150_000 for path in (ROOT / "docs").rglob("*.png"))


def test_the_readme_names_every_page_of_docs():
    links = set(LINK.findall(README.read_text()))
    assert {page_name(page) for page in DOCS if page.parent.name == "docs"} <= links


def test_the_readme_leads_to_dated_results():
    assert "docs/results.md" in README.read_text().split("## Results")[1].split("\n## ")[0]
    results = (ROOT / "docs" / "results.md").read_text()
    assert re.search(r"Measured on \d{4}-\d\d-\d\d on ", results)
    assert "| data (error) |" in results


def test_the_two_commands_are_named():
    assert {"demo", "test"} <= set(re.findall(r"`make (\w+)", README.read_text()))


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_links_and_named_files_exist(page):
    text = page.read_text()
    links = [link for link in LINK.findall(text) if not link.startswith(("http:", "https:", "mailto:"))]
    missing = [link for link in links if not exists(link, page)]
    missing += [path for path in FILE.findall(text) if not (ROOT / path).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_named_make_targets_exist(page):
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make (\w+)", page.read_text())) <= targets


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_commands_name_experiments_and_options_that_exist(page):
    for name, rest in COMMAND.findall(page.read_text()):
        experiment = ROOT / "experiments" / name
        assert experiment.with_suffix(".py").exists() or (experiment / "__main__.py").exists(), name
        overrides = [word for word in shlex.split(rest, comments=True) if not word.startswith("-")]
        if (ROOT / "conf" / f"{name}.yaml").exists():
            with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
                compose(name, overrides, return_hydra_config="hydra." in rest or "-m" in rest.split())


@pytest.mark.parametrize("page", [README, *DOCS], ids=page_name)
def test_comparisons_of_the_command_line_can_be_read(page):
    from tabemb.compare.command import compose_config, read_arguments

    for arguments in COMPARE.findall(page.read_text()):
        config, _ = compose_config(*read_arguments(shlex.split(arguments)))
        assert config.dataset.target


@pytest.mark.parametrize("page", [README, *DOCS], ids=page_name)
def test_named_settings_methods_and_attributes_exist(page):
    text = without_blocks(page.read_text())
    assert set(SETTING.findall(text)) <= parameters()
    callables = {getattr(function, "__name__", "") for function in public_objects()}
    assert set(METHOD.findall(text)) - {"list"} <= callables
    source = "".join(path.read_text() for path in (ROOT / "tabemb").rglob("*.py"))
    assert [name for name in ATTRIBUTE.findall(text) if name not in source] == []


@pytest.mark.parametrize("page", [README, *DOCS], ids=page_name)
def test_pages_use_the_words_of_the_field(page):
    lines = enumerate(page.read_text().splitlines(), start=1)
    assert [f"{number}: {line}" for number, line in lines if OUT.search(line)] == []


def test_the_page_on_vectors_names_every_method():
    text = (ROOT / "docs" / "vectors.md").read_text()
    methods = [
        name for name, _ in inspect.getmembers(EmbeddingSpace, callable) if not name.startswith("_")
    ]
    internal = {"as_vector", "normalized", "position", "positions"}
    assert [name for name in methods if name not in internal and name not in text] == []


def test_the_page_on_estimators_names_every_setting():
    text = (ROOT / "docs" / "estimators.md").read_text()
    settings = [inspect.signature(cls).parameters for cls in (EmbeddingClassifier, EmbeddingRegressor)]
    assert [name for names in settings for name in names if f"`{name}`" not in text] == []


def test_line_numbers_of_blocks_are_those_of_the_page():
    (block,) = code_blocks("# Title\n\n```python\n1 / 0\n```\n")
    assert block.splitlines().index("1 / 0") == 3


def test_anchors_are_those_of_github(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# Features: do the vectors pay?\n\n```\n# no heading\n```\n")
    assert anchors(page) == {"features-do-the-vectors-pay"}
    assert exists("#features-do-the-vectors-pay", page)
    assert not exists("page.md#no-heading", page)
