"""A room imports only from floors below it: the imports are read, none is run."""

import ast
from pathlib import Path

import tabemb

ROOT = Path(tabemb.__file__).parent
FLOORS = {
    "progress": 0,
    "data": 1,
    "network": 1,
    "training": 1,
    "targets": 1,
    "spaces": 2,
    "estimators": 3,
    "files": 4,
    "compare": 5,
}


def room_of(path):
    part = path.relative_to(ROOT).parts[0]
    return part.removesuffix(".py")


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tabemb."):
            yield node.module.split(".")[1]
        elif isinstance(node, ast.Import):
            yield from (a.name.split(".")[1] for a in node.names if a.name.startswith("tabemb."))


def climbs(room, other):
    return other != room and FLOORS[other] >= FLOORS[room]


def test_no_import_goes_up_or_sideways():
    faults = [
        f"{path.relative_to(ROOT)} imports tabemb.{other}"
        for path in ROOT.rglob("*.py")
        if path.parent != ROOT or path.stem not in ("__init__",)
        for other in imports_of(path)
        if climbs(room_of(path), other)
    ]
    assert faults == []


def test_every_room_has_a_floor():
    rooms = {room_of(path) for path in ROOT.rglob("*.py")} - {"__init__"}
    assert rooms == set(FLOORS)


def test_the_rule_would_see_a_climb():
    assert climbs("data", "estimators")
    assert climbs("network", "data")
    assert not climbs("estimators", "data")


def test_no_torch_in_data_and_no_frame_in_the_network():
    def modules(room):
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ImportFrom):
                    yield (node.module or "").split(".")[0]
                elif isinstance(node, ast.Import):
                    yield from (a.name.split(".")[0] for a in node.names)

    assert "torch" not in set(modules("data"))
    assert not {"pandas", "pyarrow", "narwhals", "polars"} & (
        set(modules("network")) | set(modules("training"))
    )
