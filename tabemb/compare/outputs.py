"""Folders of results that are removed again if the work fails."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Create a folder for the files of the block; if the block fails, remove what was created.

    Parameters
    ----------
    folder : Path
        A folder that already exists is never removed.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield folder
    except BaseException:
        if folder in made:
            _remove(folder, made)
        raise


@contextmanager
def removed_if_failed(folder: Path) -> Iterator[None]:
    """Remove a folder that other code, such as hydra, created for the block, if the block fails."""
    try:
        yield
    except BaseException:
        _remove(folder, list(folder.parents)[:3])
        raise


def _remove(folder: Path, parents: list[Path]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    remove_empty(parents)


def remove_empty(folders: list[Path]) -> None:
    """Remove those of these folders that are empty; the innermost must come first."""
    for path in folders:
        with suppress(OSError):
            path.rmdir()
