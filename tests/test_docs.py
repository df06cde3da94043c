"""The documentation site: pages, reference, drawings, gallery; the build if Sphinx is installed.

tests/test_readme.py runs the code of the pages and follows their links as GitHub does.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import os
import re
import runpy
import subprocess
import sys
import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

import tabemb
from tabemb import compare, spaces

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
BUILT = {"_build", "auto_gallery", "generated"}
REFERENCE = DOCS / "reference" / "api.rst"
EXAMPLES = sorted((DOCS / "gallery").glob("plot_*.py"))
DIRECTIVE = re.compile(r"^\.\. (toctree|autosummary)::\n((?:[ ]{3}.*\n|\n)+)", re.MULTILINE)
DATA = re.compile(r"^\.\. py:data:: (\S+)", re.MULTILINE)
MODULE = re.compile(r"^\.\. currentmodule:: (\S+)", re.MULTILINE)


NOT_BUILT = {"tabemb.InputNote", "tabemb.spaces.ApproximateIndex"}
"""A warning, and a class whose objects a method returns."""


OF_OTHERS = {"self", "input_features"}
"""Parameters that Python and scikit-learn pass."""


def script(path):
    """Import a script of docs/ as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pages():
    files = [path for ending in ("*.md", "*.rst") for path in DOCS.rglob(ending)]
    return {p for p in files if not BUILT & set(p.relative_to(DOCS).parts) and p.parent.name != "class"}


def entries(text, directive):
    """Return the entries of all directives of one kind."""
    bodies = [body for name, body in DIRECTIVE.findall(text) if name == directive]
    lines = [line.strip() for body in bodies for line in body.splitlines()]
    listed = [line for line in lines if line and not line.startswith(":")]
    return [re.sub(r"^.* <(.+)>$", r"\1", line) for line in listed]


def listed_pages(root):
    """Return the pages that the table of contents reaches, without their extensions."""
    found = {root}
    index = root.with_suffix(".rst")
    if index.exists() and not BUILT & set(index.relative_to(ROOT).parts):
        for entry in entries(index.read_text(), "toctree"):
            found |= listed_pages((root.parent / entry).resolve())
    return found


def reference_names():
    """Return the full names that the reference documents."""
    parts = MODULE.split(REFERENCE.read_text())[1:]
    return [
        f"{module}.{name}"
        for module, part in zip(parts[::2], parts[1::2])
        for name in [*entries(part, "autosummary"), *DATA.findall(part)]
    ]


def found(name):
    """Return the object of a full name."""
    value = tabemb
    for part in name.split(".")[1:]:
        if not hasattr(value, part):
            importlib.import_module(f"{value.__name__}.{part}")
        value = getattr(value, part)
    return value


def documented(obj):
    """Return the names in the Parameters and Attributes sections of a docstring."""
    text = inspect.getdoc(obj) or ""
    parts = re.findall(
        r"^(?:Parameters|Attributes)\n-+\n(.*?)(?=^\S[^\n]*\n-{3,}$|\Z)", text, re.MULTILINE | re.DOTALL
    )
    lines = [line for part in parts for line in part.splitlines()]
    heads = [line.split(" : ")[0] for line in lines if line and not line.startswith(" ")]
    return {name.strip("* ") for head in heads for name in head.split(",")}


def methods(obj):
    """Return the public methods of a class that the library defines."""
    members = inspect.getmembers(obj, inspect.isroutine) if inspect.isclass(obj) else []
    ours = [
        (name, part)
        for name, part in members
        if f"{getattr(part, '__module__', '')}".startswith("tabemb")
    ]
    return [part for name, part in ours if not name.startswith("_")]


def missing_in(obj):
    """Return the parameters that a docstring neither lists nor mentions."""
    parameters = inspect.signature(obj).parameters.values()
    names = {p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
    text = inspect.getdoc(obj) or ""
    return {n for n in names - documented(obj) - OF_OTHERS if f"``{n}``" not in text}


def test_every_page_is_in_the_table_of_contents():
    listed = listed_pages(DOCS / "index")
    sources = [p for p in pages() if p.parent.name not in ("gallery", "autosummary")]
    assert [str(p.relative_to(ROOT)) for p in sources if p.with_suffix("") not in listed] == []
    outside = [*ROOT.glob("*.md"), *(ROOT / "experiments").glob("*.md")]
    assert [p.name for p in outside if p.with_suffix("") not in listed] == []


def test_every_entry_of_the_table_of_contents_is_a_page():
    missing = [
        str(page.relative_to(ROOT))
        for page in listed_pages(DOCS / "index")
        if not any(page.with_suffix(ending).exists() for ending in (".md", ".rst"))
    ]
    assert set(missing) <= {"docs/auto_gallery/index"}


def test_every_public_name_is_in_the_reference():
    names = reference_names()
    assert len(names) == len(set(names))
    public = {f"tabemb.{name}" for name in tabemb.__all__}
    parts = [getattr(tabemb, name) for name in tabemb.__all__]
    for module in (compare, *filter(inspect.ismodule, parts)):
        public.discard(module.__name__)
        public |= {f"{module.__name__}.{name}" for name in module.__all__}
    public |= {f"tabemb.spaces.{name}" for name in spaces.__all__ if name != "EmbeddingSpace"}
    assert public <= set(names), public - set(names)
    assert [model for model in compare.MODELS if f"``{model}``" not in REFERENCE.read_text()] == []


@pytest.mark.parametrize("name", reference_names())
def test_every_parameter_of_the_reference_is_described(name):
    obj = found(name)
    if not callable(obj) or name in NOT_BUILT:
        return
    undescribed = {part.__qualname__: missing_in(part) for part in [obj, *methods(obj)]}
    assert {part: names for part, names in undescribed.items() if names} == {}


def test_the_code_of_the_start_page_runs():
    block = re.search(
        r"^\.\. code-block:: python\n((?: {3}.*\n|\n)+)", (DOCS / "index.rst").read_text(), re.M
    )
    names = {}
    exec(textwrap.dedent(block[1]), names)
    assert len(names["model"].spaces_["city"].nearest("Bonn", k=2)) == 2


def test_drawings_are_those_of_the_script():
    draw = script(DOCS / "images" / "draw.py")
    for drawing in draw.DRAWINGS:
        text = (DOCS / "images" / f"{drawing.__name__}.svg").read_text(encoding="utf-8")
        assert text == drawing().svg(), f"python docs/images/draw.py draws {drawing.__name__} anew"


def test_the_gallery_has_ten_examples_with_titles_and_no_network():
    assert len(EXAMPLES) >= 10
    for path in EXAMPLES:
        text = ast.get_docstring(ast.parse(path.read_text()))
        title, line = text.splitlines()[:2]
        assert len(title) == len(line), path.name
        assert not re.search(r"https?://|fetch_|openml|TABEMB_DATA", path.read_text()), path.name


@pytest.fixture
def site(tmp_path):
    """Write a site of two pages with one link from the first."""

    def write(link):
        (tmp_path / "b").mkdir()
        (tmp_path / "a.html").write_text(f'<p id="top">{link}</p>')
        (tmp_path / "b" / "index.html").write_text(
            '<h1 id="one two">x</h1><a href="../a.html#top">y</a>'
        )
        return tmp_path

    return write


@pytest.mark.parametrize(
    ("link", "n_problems"),
    [
        ('<a href="b/index.html#one%20two">x</a>', 0),
        ('<a href="b/">x</a>', 0),
        ('<a href="#top">x</a>', 0),
        ('<a href="https://example.org/">x</a>', 0),
        ('<a href="#bottom">x</a>', 1),
        ('<a href="b/index.html#three">x</a>', 1),
        ('<a href="c.html">x</a>', 1),
        ('<img src="no.png">', 1),
        ('<script src="https://example.org/x.js"></script>', 1),
        ('<link rel="stylesheet" href="//example.org/x.css">', 1),
    ],
)
def test_broken_links_of_a_site_are_found(site, link, n_problems):
    assert len(script(DOCS / "check_links.py").problems(site(link))) == n_problems


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_of_the_gallery_run(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(path))
    plt.close("all")


@pytest.mark.slow
def test_the_site_is_built_without_warnings(tmp_path):
    """The build skips the pictures of the gallery; the test above runs its examples."""
    for package in ("sphinx", "pydata_sphinx_theme", "myst_parser", "sphinx_gallery", "numpydoc"):
        pytest.importorskip(package)
    command = [sys.executable, "-m", "sphinx", "-c", "docs", ".", str(tmp_path / "html")]
    options = ["-d", str(tmp_path / "trees"), "-W", "-n", "--keep-going", "-D", "plot_gallery=0"]
    done = subprocess.run(
        [*command, *options], cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr
    assert script(DOCS / "check_links.py").problems(tmp_path / "html") == []
