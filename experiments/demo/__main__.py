"""Fit data with a column of many names, compare errors, and show the vectors of the names.

`python -m experiments.demo` forecasts baseball batters; `data=fertility` forecasts births per woman,
where boosted trees are better. Both print errors, nearest neighbours and the value of the vectors as
inputs of LightGBM, and write a map, an atlas page and the vectors to `outputs/demo`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig

from experiments.demo.scores import NET, TREES, error_table, feature_errors, fit_models
from experiments.demo.stories import STORIES, Story
from experiments.demo.view import (
    say,
    show_errors,
    show_features,
    show_nearest,
    stage,
    write_vectors,
)
from experiments.shared.settings import CONFIG_FOLDER, check_choices, read_settings
from tabemb.compare import ModelSpec, build_model
from tabemb.hints import similar

NEXT = "With your own table: tabemb compare my.csv --target y (in .venv/bin after `make demo`)."


@hydra.main(version_base="1.3", config_path=str(CONFIG_FOLDER), config_name="demo")
def main(config: DictConfig) -> None:
    settings = read_settings(config)
    check_choices("data", [settings["data"]], STORIES)
    started = time.perf_counter()
    try:
        story = STORIES[settings.pop("data")]()
        files = demo(story, **{**settings, "folder": Path(settings["folder"])})
    except (ValueError, ImportError) as error:
        # a traceback would hide the line that says what to change
        sys.exit(f"error: {error}")
    seconds = time.perf_counter() - started
    say(f"\nFinished in {seconds:.0f} s. Look at the map and the page:")
    for path in files:
        say(f"  {path}")
    say(NEXT)


def demo(
    story: Story,
    folder: Path,
    peers: Sequence[str],
    params: Mapping[str, Any],
    names: Sequence[str] | None,
    n_nearest: int,
) -> list[Path]:
    """Compare the models, show the vectors of the network, and write them.

    `conf/demo.yaml` explains the arguments and contains their defaults.

    Returns
    -------
    list of Path
        The picture, the page and the file of the vectors.
    """
    story = with_names(story, names)
    say(f"{story.title}\n{story.about}\n")
    fitted = fit_models(story, [NET, TREES, *installed(peers)], params, stage)
    show_errors(story, error_table(story, fitted))
    net = fitted[NET].model
    with stage(f"vectors of each {story.entity}"):
        space = net.spaces_[story.entity]
    show_nearest(story, space, n_nearest)
    show_features(story, feature_errors(story, fitted[TREES], stage))
    with stage("map and atlas"):
        return write_vectors(folder, story, net, space)


def with_names(story: Story, names: Sequence[str] | None) -> Story:
    """Return the story with other names to show, which must be in the training rows."""
    if not names:
        return story
    known = set(story.X.loc[~story.is_test, story.entity])
    for name in names:
        if name not in known:
            near = similar(name, sorted(known)) or sorted(known)[:3]
            raise ValueError(
                f"names must be categories of {story.entity!r} in the training rows; got {name!r}, and "
                f"there are {', '.join(near)}."
            )
    return replace(story, names=list(names))


def installed(models: Sequence[str]) -> list[str]:
    """Return the models whose packages are installed, and print which others are left out."""
    found = []
    for name in models:
        try:
            build_model(ModelSpec(name), "regression")
        except ImportError as error:
            say(f"{name} is left out: {error}")
        else:
            found.append(name)
    return found


if __name__ == "__main__":
    main()
