"""The package as a user gets it: built, installed into an empty environment, run elsewhere."""

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[1]
BIN = "Scripts" if os.name == "nt" else "bin"
# output of pip if no index answers
UNREACHABLE = ("Retrying (", "Could not fetch URL")
# keep the checkout and its data out of the new environment, and let it write bytecode
DROPPED = {"PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "TABEMB_DATA"}
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in DROPPED}


def run(*command, cwd):
    """Run a command and return its output on both streams."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**ENVIRONMENT, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=900,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}\n{done.stdout}")
    return done.stdout


def pip(*arguments, cwd):
    return run(
        sys.executable, "-m", "pip", *arguments, "--quiet", "--disable-pip-version-check", cwd=cwd
    )


def build(folder):
    """Build the source archive, and the wheel from it."""
    run(sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", folder, cwd=ROOT)
    (archive,) = folder.glob("*.tar.gz")
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, archive, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    return wheel


def install(environment, *packages):
    """Install into another environment; skip the test if no index can be reached."""
    options = [
        "--python",
        environment,
        "--no-compile",
        "--retries",
        "1",
        "--constraint",
        ROOT / "constraints.txt",
    ]
    try:
        pip(*options[:2], "install", *options[2:], *packages, cwd=environment)
    except RuntimeError as error:
        if any(sign in str(error) for sign in UNREACHABLE):
            pytest.skip("pip reaches no index, so the wheel cannot be installed with its dependencies")
        raise


@pytest.fixture
def folder():
    """A folder that is removed right after use, as its environment has more than a gigabyte."""
    with tempfile.TemporaryDirectory(prefix="tabemb-wheel-") as name:
        yield Path(name).resolve()


def write_table(path):
    """Write 300 rows whose target consists of the shop, the size and some noise."""
    rng = np.random.default_rng(0)
    shop = rng.choice(["north", "south", "east", "west"], 300)
    size = rng.normal(size=300)
    y = pd.Series(shop).map({"north": -2, "south": 0, "east": 1, "west": 3}) + size
    pd.DataFrame({"shop": shop, "size": size, "y": y + rng.normal(scale=0.1, size=300)}).to_csv(
        path, index=False
    )


@pytest.mark.slow
def test_the_wheel_compares_models_on_a_csv(folder):
    wheel = build(folder)
    packed = set(zipfile.ZipFile(wheel).namelist())
    settings = {path.relative_to(ROOT).as_posix() for path in (ROOT / "conf").rglob("*.yaml")}
    assert {f"tabemb/{name}" for name in settings} | {
        "tabemb/py.typed",
        "tabemb/compare/page.html",
    } <= packed
    assert all(name.startswith(("tabemb/", "tabemb-")) for name in packed)

    environment = folder / "environment"
    run(sys.executable, "-m", "venv", "--without-pip", environment, cwd=folder)
    install(environment, "torch")
    install(environment, f"{wheel}[compare]")

    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    write_table(elsewhere / "my.csv")
    code = "import tabemb; from tabemb.compare import compare; print(tabemb.__file__, callable(compare))"
    place, is_function = run(environment / BIN / "python", "-c", code, cwd=elsewhere).split()
    assert "site-packages" in Path(place).parts
    assert environment in Path(place).parents
    assert is_function == "True"

    printed = run(environment / BIN / "tabemb", "compare", "my.csv", "--target", "y", cwd=elsewhere)
    for model in ("embedding", "lightgbm_td", "linear", "dummy"):
        assert model in printed
    (page,) = elsewhere.rglob("report.html")
    assert "lightgbm_td" in page.read_text(encoding="utf-8")
