"""Damaged files are refused in one sentence; forged ones are refused, or predict finite numbers.

A forged file is a changed file with a recomputed checksum.
"""

import json
import platform
import random
import resource
import sys
from importlib.metadata import version

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors import safe_open

import tabemb
from tabemb.files import layout
from tabemb.saving.arrow import from_bytes, to_bytes
from tabemb.saving.native import LIBRARIES
from tests.fuzz import trials
from tests.saving.test_format_2 import FOLDER, METHODS, answers

MOST_MEMORY = 2**28
"""Bytes by which memory may grow while the process reads all forged files of one kind."""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A file of the current format for each kind of model."""
    folder = tmp_path_factory.mktemp("files")
    for name in METHODS:
        tabemb.save(tabemb.load(FOLDER / f"{name}.tabemb"), folder / name)
    return folder


def is_sentence(error):
    text = str(error)
    return text.endswith(".") and "\n" not in text and len(text) < 600


def load_or_refusal(path):
    """Return the model, or the error of loading its file, which must be one sentence."""
    try:
        return tabemb.load(path)
    except ValueError as error:
        refusal = error
    assert is_sentence(refusal), str(refusal)
    return refusal


@pytest.mark.parametrize("name", METHODS)
def test_a_flipped_bit_is_refused(name, files, tmp_path):
    content, draw = (files / name).read_bytes(), random.Random(name)
    for _ in range(trials(20, 1000)):
        damaged = bytearray(content)
        damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
        (tmp_path / "damaged").write_bytes(damaged)
        assert isinstance(load_or_refusal(tmp_path / "damaged"), ValueError)


@pytest.mark.parametrize("name", METHODS)
def test_a_file_that_is_cut_or_longer_is_refused(name, files, tmp_path):
    content, draw = (files / name).read_bytes(), random.Random(name)
    sizes = [0, 1, 7, 8, 20, layout.PLACE, layout.PLACE + 64, len(content) - 1]
    sizes += [draw.randrange(len(content)) for _ in range(trials(5, 200))]
    for damaged in [*(content[:size] for size in sizes), content + b"\0", content * 2]:
        (tmp_path / "damaged").write_bytes(damaged)
        assert isinstance(load_or_refusal(tmp_path / "damaged"), ValueError)


def leaves(value, path=()):
    """Yield the path to each leaf of a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        if isinstance(item, dict | list) and item:
            yield from leaves(item, (*path, key))
        yield (*path, key)


DEEP = json.loads('{"$list": [' * 300 + "1" + "]}" * 300)
STRANGE = [
    *(0, -1, 1, 2, 7, 5000, 10**6, 2**31, 2**62, 10**30, 0.5, -1e308, float("nan"), float("inf")),
    *(None, True, "", "x", "auto", "array0", "array3", [], {}, {"$list": []}, {"$dict": []}, DEEP),
    *({"$tuple": [10**5, 10**5]}, {"$numpy": "array1"}, {"$arrow": "array1"}, {"$index": "array0"}),
    *({"$class": "Table", "state": {"$dict": []}}, {"$labels": ["a"] * 99, "dtype": "<U9999999"}),
    {"$estimator": "EmbeddingRegressor", "params": {"$dict": [["hidden", {"$tuple": [10**9]}]]}},
]


def forge_header(header, draw):
    paths = list(leaves(header))
    path = draw.choice(paths)
    place = header
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = draw.choice(STRANGE)


def forge_array(arrays, draw):
    name = draw.choice(sorted(arrays))
    array = arrays[name]
    kind = draw.randrange(5)
    if kind == 0 and array.size:
        array.reshape(-1).view(np.uint8)[draw.randrange(array.nbytes)] ^= 1 << draw.randrange(8)
        arrays[name] = array if array.dtype.kind != "b" else array.view(np.uint8) & 1 != 0
    elif kind == 1:
        arrays[name] = array.reshape(-1)[: draw.randrange(array.size + 1)]
    elif kind == 2 and array.dtype.kind == "f":
        arrays[name] = np.full_like(array, draw.choice([np.nan, np.inf, 0.0, -1.0, 1e38]))
    elif kind == 3:
        arrays[name] = np.zeros((draw.choice([0, 10**12]), 0), array.dtype)
    else:
        arrays[name] = array.astype(draw.choice([np.uint8, np.int64, np.float32, np.float64]))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", METHODS)
def test_a_forged_file_is_refused_or_harmless(name, files, tmp_path):
    draw, refused = random.Random(name), 0
    before, n_trials = peak_memory(), trials(30, 1000)
    for _ in range(n_trials):
        header, arrays = layout.read(files / name)
        forge = draw.choice([forge_header, forge_array])
        forge(header if forge is forge_header else arrays, draw)
        layout.write(tmp_path / "forged", header, arrays)
        model = load_or_refusal(tmp_path / "forged")
        refused += isinstance(model, ValueError)
        if not isinstance(model, ValueError):
            predict_or_refuse(model, name)
    assert refused > n_trials / 5
    assert peak_memory() - before < MOST_MEMORY


def set_parameter(header, name, value):
    items = header["params"]["$dict"]
    next(item for item in items if item[0] == name)[1] = value


HUGE = {
    "hidden": {"$tuple": [30_000, 30_000]},
    "n_members": 10**9,
    "n_networks": 10**9,
    "d_number": 10**9,
    "dim": 10**9,
    "d_history": 10**5,
    "n_pairs": -1,
    "n_jobs": 0,
    "dropout": 2.0,
    "history": "lstm9",
    "device": "nowhere",
    "tables": 3,
    "max_events": "all",
}


@pytest.mark.parametrize("parameter", HUGE)
def test_parameters_are_checked_before_memory_is_taken(parameter, files, tmp_path):
    header, arrays = layout.read(files / "histories")
    set_parameter(header, parameter, HUGE[parameter])
    if parameter == "hidden":
        header["fitted"]["hidden_"] = HUGE["hidden"]
    layout.write(tmp_path / "forged", header, arrays)
    before = peak_memory()
    assert isinstance(load_or_refusal(tmp_path / "forged"), ValueError)
    assert peak_memory() - before < 2**26


def test_more_threads_than_a_machine_can_start_are_not_started(files, tmp_path):
    header, arrays = layout.read(files / "regressor")
    set_parameter(header, "n_jobs", 5000)
    layout.write(tmp_path / "forged", header, arrays)
    model = tabemb.load(tmp_path / "forged")
    np.testing.assert_array_equal(answers(model, "regressor"), answers_of(files, "regressor"))


def answers_of(files, name):
    return answers(tabemb.load(files / name), name)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_must_be_finite(value, files, tmp_path):
    header, arrays = layout.read(files / "regressor")
    arrays["network.networks.0.head.weight"].reshape(-1)[0] = value
    layout.write(tmp_path / "forged", header, arrays)
    with pytest.raises(ValueError, match=r"head.weight' holds a number that is not finite"):
        tabemb.load(tmp_path / "forged")


def test_what_could_not_be_loaded_is_not_saved(files, tmp_path):
    model = tabemb.load(files / "regressor").set_params(n_jobs=0)
    with pytest.raises(ValueError, match="n_jobs must be a whole number but 0"):
        tabemb.save(model, tmp_path / "model")
    model.set_params(n_jobs=1)
    next(model.network_.parameters()).data[0] = torch.nan
    with pytest.raises(ValueError, match=r"The weight .* is not finite"):
        tabemb.save(model, tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_the_format_alone_does_not_switch_the_checksum_off(files, tmp_path):
    content = (files / "regressor").read_bytes()
    for older_format in b"12":
        older = content.replace(b'\\"format\\": 3', b'\\"format\\": ' + bytes([older_format]))
        assert older != content
        (tmp_path / "older").write_bytes(older)
        with pytest.raises(ValueError, match="does not match its checksum"):
            tabemb.load(tmp_path / "older")
    renamed = content.replace(b'"sha256"', b'"sha257"')
    (tmp_path / "older").write_bytes(renamed)
    with pytest.raises(ValueError, match="is damaged; its format is 3"):
        tabemb.load(tmp_path / "older")


def test_a_later_format_names_its_version(files, tmp_path):
    header, arrays = layout.read(files / "regressor")
    header |= {"format": 4, "versions": {"tabemb": "9.1"}}
    layout.write(tmp_path / "later", header, arrays)
    with pytest.raises(ValueError, match=r"of format 3 or earlier; it has format 4, of tabemb 9.1"):
        tabemb.load(tmp_path / "later")


def test_a_file_says_what_wrote_it_and_is_one_of_safetensors(files):
    with safe_open(files / "classifier", framework="numpy") as file:
        header = json.loads(file.metadata()["tabemb"])
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    assert header["versions"] == {
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
    }
    for name, array in layout.read(files / "classifier")[1].items():
        np.testing.assert_array_equal(array, arrays[name])


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (pa.nulls(10**9), "values in"),
        (pa.array(["a"], pa.string_view()), "type string_view"),
        (pa.RunEndEncodedArray.from_arrays([10**6], ["a"]), "type run_end_encoded"),
    ],
)
def test_few_bytes_of_arrow_stand_for_few_values(array, reason):
    with pytest.raises(ValueError, match=reason):
        from_bytes(to_bytes(array))


@pytest.mark.parametrize("values", [[1, 2, None], ["a", None], [[1], []], [{"a": 1}], [b"x"], [], [1.5]])
def test_arrow_arrays_come_back(values):
    array = pa.array(values)
    assert from_bytes(to_bytes(array)).equals(array)
    coded = array.dictionary_encode() if not pa.types.is_nested(array.type) else array
    assert from_bytes(to_bytes(coded)).equals(coded)


def test_compressed_arrow_is_refused():
    sink = pa.BufferOutputStream()
    batch = pa.record_batch([pa.array(["a" * 10**6])], names=["values"])
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(sink, batch.schema, options=options) as writer:
        writer.write_batch(batch)
    with pytest.raises(ValueError, match="compressed"):
        from_bytes(np.frombuffer(sink.getvalue(), np.uint8))


def predict_or_refuse(model, name):
    """Predict; a forged model may fail, but only with a Python exception."""
    try:
        found = answers(model, name)
    except Exception:
        return
    assert len(found)


def peak_memory():
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
