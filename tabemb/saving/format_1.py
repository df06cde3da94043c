"""Upgrade of files of format 1 (tabemb 0.1) to format 2: names of classes, parameters and attributes."""

from __future__ import annotations

from typing import Any

import numpy as np

CLASSES = {
    "Crossed": "PairCodes",
    "Clock": "TimeAxis",
    "KeptStates": "EntityStates",
    "Recurrences": "Encounters",
}
ATTRIBUTES = {"Recurrences": {"clock": "axis", "kept": "states"}}
"""Renamed attributes of these classes, by the older name of the class."""
PARAMETERS = {"offsets": "biases", "recurrences": "encounters"}
FITTED = {"history_": "learning_curve_", "crossed_": "pair_codes_"}
MODULES = {"offsets": "biases"}
LOG = {
    "clock_": "time_axis",
    "answer_names_": "target_names",
    "kept_": "states",
    "recurrences_": "encounters",
}
"""Attributes of event estimators that are now in an `EventSource`."""
LOG_PARAMETERS = ("entity", "time", "outcome_fields", "roles")


def upgrade(
    header: dict[str, Any], arrays: dict[str, np.ndarray]
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return header and arrays of a file of format 1 as those of format 2."""
    header = _renamed(header)
    fitted = {FITTED.get(name, name): value for name, value in header["fitted"].items()}
    header["params"] = _renamed_params(header["params"])
    if header["class"].startswith("Event"):
        fitted["source_"] = _event_source(header, fitted)
    elif header["class"] in ("EmbeddingClassifier", "EmbeddingRegressor"):
        fitted["source_"] = {"$class": "RowSource", "state": {"$dict": []}}
    header["fitted"] = {name: value for name, value in fitted.items() if name not in LOG}
    return header, {_renamed_weight(name): array for name, array in arrays.items()}


def _renamed(value: Any) -> Any:
    """Rename the classes, and the parameters of estimators, in a packed value."""
    if isinstance(value, list):
        return [_renamed(item) for item in value]
    if not isinstance(value, dict):
        return value
    value = {key: _renamed(item) for key, item in value.items()}
    if "$class" in value:
        attributes = ATTRIBUTES.get(value["$class"], {})
        items = value["state"]["$dict"]
        value["state"]["$dict"] = [[attributes.get(key, key), item] for key, item in items]
        value["$class"] = CLASSES.get(value["$class"], value["$class"])
    if "$estimator" in value:
        value["params"] = _renamed_params(value["params"])
    return value


def _renamed_params(params: dict[str, Any]) -> dict[str, Any]:
    return {"$dict": [[PARAMETERS.get(name, name), value] for name, value in params["$dict"]]}


def _event_source(header: dict[str, Any], fitted: dict[str, Any]) -> dict[str, Any]:
    params = dict(header["params"]["$dict"])
    state = {name: params[name] for name in LOG_PARAMETERS}
    if state["roles"] is None:
        state["roles"] = {"$dict": []}
    state["count_encounters"] = params["encounters"]
    state["numeric_target"] = header["class"] == "EventRegressor"
    state |= {new: fitted[old] for old, new in LOG.items()}
    return {"$class": "EventSource", "state": {"$dict": [list(item) for item in state.items()]}}


def _renamed_weight(name: str) -> str:
    if not name.startswith("network."):
        return name
    return ".".join(MODULES.get(part, part) for part in name.split("."))
