"""Imports have one direction: between folders only to lower floors, within a folder without cycles.

Imports are parsed from the source, including those in functions and under TYPE_CHECKING.
"""

import ast
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import tabemb

ROOT = Path(tabemb.__file__).parent
FLOORS = {
    "__main__": 6,
    "callbacks": 2,
    "compare": 5,
    "scoring": 5,
    "distributed": 5,
    "saving": 4,
    "estimators": 3,
    "unsupervised": 3,
    "fitting": 2,
    "data": 1,
    "spaces": 1,
    "training": 1,
    "drift": 0,
    "files": 0,
    "forks": 0,
    "hints": 0,
    "labels": 0,
    "likeness": 0,
    "names": 0,
    "network": 0,
    "progress": 0,
    "scalars": 0,
    "targets": 1,
    "tuning": 3,
    "extras": -1,
}


def module_name(path, root):
    """Return the import name of a file; `__init__` has the name of its folder."""
    parts = path.relative_to(root.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_names(path, module):
    """Return the full names in the imports of a file; `from a import b` gives a.b."""
    return names_in(path.read_text(), module, path.stem == "__init__")


@cache
def names_in(text, module, is_package):
    names = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = module.split(".") if is_package else module.split(".")[:-1]
            base = package[: len(package) - node.level + 1] if node.level else []
            base += [node.module] if node.module else []
            names += [".".join([*base, alias.name]) for alias in node.names]
    return names


def import_graph(root):
    """Return for each module of a package the modules of the package that it imports."""
    paths = {module_name(path, root): path for path in root.rglob("*.py")}
    graph = {}
    for module, path in paths.items():
        # a name that is not a module is defined in the module before the last dot
        candidates = [(name, name.rpartition(".")[0]) for name in imported_names(path, module)]
        targets = (next((name for name in pair if name in paths), None) for pair in candidates)
        graph[module] = {target for target in targets if target}
    return graph


def floor_of(module, floors):
    return floors[module.split(".")[1]]


def climbs(graph, floors):
    """Return the imports between folders that do not go to a lower floor.

    The package's `__init__` imports all but the top floor; only the rule about cycles applies to it.
    """
    return sorted(
        f"{module} imports {target}"
        for module, targets in graph.items()
        for target in targets
        if "." in module and "." in target and module.split(".")[1] != target.split(".")[1]
        if floor_of(target, floors) >= floor_of(module, floors)
    )


def cycle_in(graph):
    """Return a cycle of imports as text, or None."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return " imports ".join(reversed(error.args[1]))
    return None


def private_imports(root):
    """Return the imports of names with a leading underscore from another file of the package."""
    return sorted(
        f"{module_name(path, root)} imports {name}"
        for path in root.rglob("*.py")
        for name in imported_names(path, module_name(path, root))
        if name.startswith(f"{root.name}.") and name.split(".")[-1].startswith("_")
    )


def test_no_import_goes_up_or_sideways():
    assert climbs(import_graph(ROOT), FLOORS) == []


def test_no_import_is_circular():
    assert cycle_in(import_graph(ROOT)) is None


def test_no_private_name_is_imported():
    assert private_imports(ROOT) == []


def test_every_folder_has_a_floor():
    folders = {module.split(".")[1] for module in import_graph(ROOT) if "." in module}
    assert folders <= set(FLOORS)


@pytest.fixture
def package(tmp_path):
    """Write a tiny package from a text for each file."""

    def write(**files):
        for name, text in {"": "", **files}.items():
            path = tmp_path.joinpath("tiny", *name.split("_"))
            path = path / "__init__.py" if name in ("", "low", "high") else path.with_suffix(".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path / "tiny"

    return write


TINY = {"low": 0, "high": 1}


def test_a_package_that_obeys_the_rules(package):
    root = package(
        low_a="import os\nfrom . import b",
        low_b="",
        high="from tiny.high.c import C",
        high_c="from tiny.low import a\nimport tiny.low.b\nclass C: ...",
    )
    graph = import_graph(root)
    assert graph == {
        "tiny": set(),
        "tiny.low.a": {"tiny.low.b"},
        "tiny.low.b": set(),
        "tiny.high": {"tiny.high.c"},
        "tiny.high.c": {"tiny.low.a", "tiny.low.b"},
    }
    assert climbs(graph, TINY) == []
    assert cycle_in(graph) is None
    assert private_imports(root) == []


@pytest.mark.parametrize(
    "text",
    [
        "from tiny.low.a import f",
        "import tiny.low.a",
        "from . import a",
        "from .a import f",
        "def late():\n    from tiny.low import a",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from tiny.low.a import f",
    ],
)
def test_a_planted_cycle_is_reported(package, text):
    cycle = cycle_in(import_graph(package(low_a="from tiny.low.b import g", low_b=text)))
    assert cycle in (
        "tiny.low.a imports tiny.low.b imports tiny.low.a",
        "tiny.low.b imports tiny.low.a imports tiny.low.b",
    )


def test_a_cycle_through_the_file_of_a_folder_is_reported(package):
    root = package(low="from tiny.low.a import f", low_a="from tiny.low import f")
    assert "tiny.low imports tiny.low.a" in cycle_in(import_graph(root))
    root = package(**{"": "import tiny.low.a"}, low="", low_a="import tiny")
    assert "tiny imports tiny.low.a" in cycle_in(import_graph(root))


def test_a_planted_climb_and_a_sideways_import_are_reported(package):
    root = package(low_a="def late():\n    import tiny.high.c", high_c="", low_b="")
    assert climbs(import_graph(root), TINY) == ["tiny.low.a imports tiny.high.c"]
    assert climbs(import_graph(root), {"low": 1, "high": 1}) == ["tiny.low.a imports tiny.high.c"]
    assert climbs(import_graph(root), {"low": 2, "high": 1}) == []


def test_a_planted_private_import_is_reported(package):
    root = package(low_a="from tiny.low.b import _hidden", low_b="from os import _exit")
    assert private_imports(root) == ["tiny.low.a imports tiny.low.b._hidden"]


def test_no_torch_in_data_and_no_frame_in_the_network():
    def packages(folder):
        paths = (ROOT / folder).rglob("*.py")
        return {
            name.split(".")[0]
            for path in paths
            for name in imported_names(path, module_name(path, ROOT))
        }

    assert "torch" not in packages("data") | packages("spaces")
    frames = {"pandas", "pyarrow", "narwhals", "polars"}
    assert not frames & (packages("network") | packages("training"))
