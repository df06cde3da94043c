"""Experiments import tabemb and the shared modules, but not each other; imports are only parsed."""

import ast
from pathlib import Path

import pytest

import experiments
from experiments.shared.settings import CONFIG_FOLDER

ROOT = Path(experiments.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
SHARED = "shared"


def part_of(path):
    """Return the experiment that a file belongs to, or "shared"."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def crosses(importer, module):
    """Return whether an experiment or a shared module imports from another experiment."""
    package, _, rest = module.partition(".")
    return package == "experiments" and rest.split(".")[0] not in (SHARED, importer)


def is_private(module):
    return module.startswith("tabemb") and any(name.startswith("_") for name in module.split("."))


def name_of(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_experiment_imports_another_or_a_private_name(path):
    modules = list(imports_of(path))
    assert [module for module in modules if crosses(part_of(path), module)] == []
    assert [module for module in modules if is_private(module)] == []


def test_the_library_imports_no_experiment():
    library = ROOT.parent / "tabemb"
    modules = {module for path in library.rglob("*.py") for module in imports_of(path)}
    assert [module for module in modules if module.split(".")[0] == "experiments"] == []


def test_only_experiments_can_be_run():
    runnable = {part_of(path) for path in FILES if 'if __name__ == "__main__":' in path.read_text()}
    assert runnable == {part_of(path) for path in FILES} - {SHARED, "__init__"}
    assert runnable == {path.stem for path in CONFIG_FOLDER.glob("*.yaml")}


def test_every_file_is_small():
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in FILES}
    assert {name: n for name, n in lengths.items() if n >= 320} == {}
    assert {name: n for name, n in lengths.items() if "/" in name and n >= 250} == {}


def test_the_rule_would_see_a_crossing():
    assert crosses("ablation", "experiments.suite.measure")
    assert crosses("shared", "experiments.events.models.MODELS")
    assert not crosses("events", "experiments.events.models.MODELS")
    assert not crosses("ablation", "experiments.shared.settings.RESULTS")
    assert not crosses("ablation", "tabemb.compare.run")
    assert is_private("tabemb.compare.models._lightgbm")
