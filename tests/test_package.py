"""The package metadata: version, dependencies, extras, and an import without extras."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from functools import cache
from importlib import metadata
from pathlib import Path

import joblib
import pytest
import torch
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import tabemb
from tabemb.extras import need
from tabemb.training import threads

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
FILES = sorted((ROOT / "tabemb").rglob("*.py"))
# scikit-learn depends on it, so it is installed without any extra
ALWAYS_THERE = {"threadpoolctl"}
# slow imports, which belong into the functions that use them
HEAVY = {
    "hydra",
    "lightgbm",
    "matplotlib",
    "openTSNE",
    "sklearn.cluster",
    "sklearn.ensemble",
    "statsmodels",
}


def names(requirements):
    return {canonicalize_name(Requirement(text).name) for text in requirements}


def extra(name):
    """Return the distributions of an extra, including those of other extras of tabemb that it names."""
    for requirement in map(Requirement, PROJECT["optional-dependencies"][name]):
        if requirement.name == "tabemb":
            yield from (part for inner in requirement.extras for part in extra(inner))
        else:
            yield canonicalize_name(requirement.name)


@cache
def installed():
    """Return the distributions that provide a module, by module."""
    owners = metadata.packages_distributions().items()
    return {module: {canonicalize_name(name) for name in names} for module, names in owners}


def distributions_of(module):
    return installed().get(module, {module})


def modules_of(distributions):
    return {module for module, owners in installed().items() if distributions & owners}


@cache
def tree_of(path):
    return ast.parse(path.read_text())


@cache
def optional():
    """Return the distributions of all extras."""
    return {part for name in PROJECT["optional-dependencies"] for part in extra(name)}


def imported_packages(path, top_level_only=False):
    """Return the other packages that a file imports, except under TYPE_CHECKING."""
    tree = tree_of(path)
    unused = {
        node
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
        for node in ast.walk(block)
    }
    for node in tree.body if top_level_only else ast.walk(tree):
        if node in unused:
            continue
        if isinstance(node, ast.ImportFrom) and not node.level:
            modules = [node.module]
        elif isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        else:
            continue
        yield from {name.split(".")[0] for name in modules} - set(sys.stdlib_module_names) - {"tabemb"}


def needed(path):
    """Return the packages that a file imports by `need`, with the extra of each call."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "need":
            module, name = [*node.args, *(keyword.value for keyword in node.keywords)]
            if isinstance(module, ast.Constant):
                yield module.value.split(".")[0], name.value


def run_python(code, *arguments):
    """Run code in a new process and return what it prints."""
    command = [sys.executable, "-W", "error", "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_version_is_that_of_the_metadata():
    assert tabemb.__version__ == metadata.version("tabemb")


def test_the_change_log_opens_with_the_version():
    text = (ROOT / "CHANGELOG.md").read_text()
    versions = re.findall(r"^## \[([\d.]+)\]", text, re.MULTILINE)
    assert versions[0] == tabemb.__version__
    assert versions == sorted(versions, key=lambda v: [int(part) for part in v.split(".")], reverse=True)


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "CHANGELOG.md"])
def test_files_that_a_page_names_exist(page):
    text = (ROOT / page).read_text()
    named = re.findall(r"`((?:tabemb|tests|conf|docs)/[\w/.]*)`", text)
    named += re.findall(r"\]\(([^)#:]+)[^):]*\)", text)
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_package_is_marked_as_typed():
    assert (ROOT / "tabemb" / "py.typed").exists()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_import_is_a_declared_dependency(path):
    # hydra-core depends on omegaconf
    base = names(PROJECT["dependencies"]) | {"omegaconf"}
    undeclared = {m for m in imported_packages(path) if not distributions_of(m) & (base | optional())}
    assert undeclared == set()
    # nothing else imports the comparison, so its files may import packages of its extra
    allowed = base | (set(extra("compare")) if path.parent.name == "compare" else set())
    at_once = {
        m for m in imported_packages(path, top_level_only=True) if not distributions_of(m) & allowed
    }
    assert at_once == set()
    wrong = {
        (module, name)
        for module, name in needed(path)
        if not distributions_of(module) & set(extra(name))
    }
    assert wrong == set()


def test_constraints_pin_a_version_of_every_dependency():
    pinned = dict(
        line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line
    )
    pinned = {canonicalize_name(name): version for name, version in pinned.items()}
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    for requirement in (Requirement(text) for group in groups for text in group):
        if requirement.name != "tabemb":
            name = canonicalize_name(requirement.name)
            assert name in pinned, f"{name} has no version in constraints.txt"
            assert requirement.specifier.contains(pinned[name]), (
                f"{name}=={pinned[name]} is not {requirement}"
            )


def test_a_missing_extra_is_one_sentence_that_names_it():
    with pytest.raises(ImportError) as error:
        need("no_such_module", "maps")
    assert str(error.value) == "no_such_module is not installed; pip install 'tabemb[maps]' brings it."
    assert error.value.__suppress_context__
    assert need("json.decoder", "maps").JSONDecoder


WITHOUT_EXTRAS = """
import sys, tempfile
from pathlib import Path
import numpy as np
sys.modules.update(dict.fromkeys(sys.argv[1:]))  # None: an import of it fails
import pandas as pd
import tabemb

X = pd.DataFrame({"city": [f"city {i % 50}" for i in range(200)], "size": range(200)})
y = X["city"] == "city 7"
model = tabemb.EmbeddingClassifier(max_epochs=3, n_jobs=1, random_state=0).fit(X, y)
path = Path(tempfile.mkdtemp()) / "model.tabemb"
tabemb.save(model, path)
loaded = tabemb.load(path)
np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
cities = loaded.spaces_.raw["city"]
assert len(cities.nearest(cities["city 1"], k=2)) == 2
cities.coordinates("pca")

features = {
    "maps": [
        cities.map,
        lambda: cities.atlas(path.with_suffix(".html")),
        lambda: cities.coordinates("tsne"),
        model.plot_learning_curve,
    ],
    "umap": [lambda: cities.coordinates("umap")],
    "index": [cities.index],
    "duckdb": [lambda: cities.to_duckdb(path.with_suffix(".db"), "cities")],
    "items": [lambda: tabemb.ItemEmbedder().fit([["a", "b"], ["b", "c"]])],
}
for extra, calls in features.items():
    for call in calls:
        try:
            call()
        except ImportError as error:
            rule = f"is not installed; pip install 'tabemb[{extra}]' brings it."
            assert str(error).endswith(rule), error
        else:
            raise AssertionError(f"nothing names the extra {extra}")

from tabemb.__main__ import main

main(["--version"])
X.assign(y=y).to_csv(path.with_suffix(".csv"))
try:
    main(["compare", str(path.with_suffix(".csv")), "--target", "y"])
except SystemExit as stop:
    print(stop.code)
"""


@pytest.mark.slow
def test_the_estimators_work_without_any_extra():
    missing = modules_of(set(extra("all")) - names(PROJECT["dependencies"]) - ALWAYS_THERE)
    assert {"rich", "matplotlib", "openTSNE", "umap", "usearch", "duckdb", "catboost"} <= missing
    version, error = run_python(WITHOUT_EXTRAS, *sorted(missing)).splitlines()
    assert version == f"tabemb {tabemb.__version__}"
    assert error == "error: rich is not installed; pip install 'tabemb[compare]' brings it."


def test_the_import_leaves_heavy_packages_for_those_who_use_them():
    code = "import tabemb, sys; print(*sorted(set(sys.argv[1:]) & set(sys.modules)))"
    assert run_python(code, *HEAVY).split() == []


def test_threads_are_counted_where_the_platform_has_no_load_average(monkeypatch):
    monkeypatch.delattr(os, "getloadavg", raising=False)
    monkeypatch.setattr(threads, "is_nested", lambda: False)
    assert threads.n_threads(None) == max(1, min(torch.get_num_threads(), joblib.cpu_count()))
    monkeypatch.setattr(os, "getloadavg", lambda: (1000.0, 0.0, 0.0), raising=False)
    assert threads.n_threads(None) == 1
