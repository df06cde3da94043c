"""The HTTP server of ONNX files: what it answers, what it refuses, and its load test."""

import json
import subprocess
import sys
from http.client import HTTPConnection

import numpy as np
import pandas as pd
import pytest

import tabemb

pytest.importorskip("onnx", reason="onnx is not installed: pip install tabemb[onnx]")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install tabemb[onnx]")
pytest.importorskip("fastapi", reason="fastapi is not installed: pip install tabemb[serve]")
pytest.importorskip("uvicorn", reason="uvicorn is not installed: pip install tabemb[serve]")
serve = pytest.importorskip("experiments.serve")
SMALL = {"hidden": (16,), "max_epochs": 1, "random_state": 0, "n_jobs": 1, "trees": False}


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    n = 300
    X = pd.DataFrame(
        {
            "city": rng.choice(["a", "b", None], n),
            "number of rooms": rng.integers(0, 9, n).astype(float),
            "id": rng.integers(0, 5, n),
            "at": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, n), unit="h"),
            "tags": [rng.choice(["u", "v"], k).tolist() for k in rng.integers(0, 4, n)],
            "orders": [
                [{"item": str(item), "value": 1.5} for item in rng.choice(["p", "q"], k)]
                for k in rng.integers(0, 4, n)
            ],
        }
    )
    X.loc[:9, "number of rooms"] = np.nan
    return X


@pytest.fixture(scope="module")
def model(rows):
    y = rows["tags"].map(len) + rows["id"] > 3
    return tabemb.EmbeddingClassifier(**SMALL, d_history=8, roles={"id": "categorical"}).fit(rows, y)


@pytest.fixture(scope="module")
def path(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("serve") / "m.onnx"
    tabemb.to_onnx(model, path)
    return str(path)


@pytest.fixture(scope="module")
def port(path):
    with serve.serving(serve.create_app(path, max_rows=50, max_bytes=20_000)) as port:
        yield port


@pytest.fixture
def connection(port):
    connection = HTTPConnection("127.0.0.1", port)
    yield connection
    connection.close()


def as_json(X):
    return json.loads(X.to_json(orient="records", date_format="iso", date_unit="us"))


def test_batches_and_single_rows_have_the_answers_of_the_model(model, rows, connection):
    status, answers = serve.post(connection, "/predict", {"rows": as_json(rows[:50])})
    assert status == 200
    np.testing.assert_allclose(answers["probabilities"], model.predict_proba(rows[:50]), atol=1e-5)
    assert answers["label"] == model.predict(rows[:50]).tolist()
    status, answer = serve.post(connection, "/predict_row", as_json(rows[20:21])[0])
    assert status == 200
    np.testing.assert_allclose(answer["probabilities"], model.predict_proba(rows[20:21])[0], atol=1e-5)


def test_health_and_schema(connection, model):
    for place in ("/health", "/schema"):
        connection.request("GET", place)
        response = connection.getresponse()
        assert response.status == 200
        answer = json.loads(response.read())
    assert [one["name"] for one in answer["inputs"]][:4] == ["city", "id", "number of rooms", "at"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"city": 7}, "city"),
        ({"id": "x"}, "id"),
        ({"number of rooms": "three"}, "number of rooms"),
        ({"number of rooms": float("inf")}, "number of rooms"),
        ({"at": "yesterday"}, "at"),
        ({"ctiy": "a"}, "ctiy"),
        ({"orders": [{"item": "p"}]}, "value"),
        ({"tags": ["u"] * 2000}, "tags"),
    ],
)
def test_a_row_that_breaks_the_schema_is_refused_by_name(change, named, rows, connection):
    row = as_json(rows[20:21])[0]
    status, answer = serve.post(connection, "/predict_row", row | change)
    assert status == 422
    assert named in json.dumps(answer["detail"][0]["loc"])


def test_a_row_that_lacks_a_column_is_refused(rows, connection):
    row = as_json(rows[20:21])[0]
    del row["id"]
    status, answer = serve.post(connection, "/predict", {"rows": [row]})
    assert status == 422
    assert answer["detail"][0]["loc"][-1] == "id"


def test_too_many_rows_and_too_many_bytes_are_refused(rows, connection):
    few = as_json(rows[:51])
    short = [row | {"orders": [], "tags": []} for row in few]
    assert serve.post(connection, "/predict", {"rows": short})[0] == 422
    assert serve.post(connection, "/predict", {"rows": []})[0] == 422
    status, answer = serve.post(connection, "/predict", {"rows": few * 9})
    assert status == 413
    assert "20000 bytes" in answer["detail"]


def test_the_load_test_gives_percentiles(port, rows):
    single, batches = serve.load_test(port, as_json(rows), n_requests=40, n_clients=2, n_batch=10)
    assert single.startswith("/predict_row, 1 rows, 2 clients: ms p50 ")
    assert batches.startswith("/predict, 10 rows, 2 clients: ms p50 ")
    assert "p99" in batches


def test_the_command_starts_a_server_and_ends_it(path, rows):
    with serve.started([f"path={path}", "max_rows=20"]) as port:
        (line, _) = serve.load_test(port, as_json(rows), n_requests=20, n_clients=2, n_batch=10)
    assert "p99" in line
    with pytest.raises(ConnectionRefusedError):
        serve.post(HTTPConnection("127.0.0.1", port), "/predict", {"rows": []})


def test_a_failed_request_ends_the_load_test(port):
    with pytest.raises(RuntimeError, match="refused a request: 422"):
        list(serve.load_test(port, [{"city": "a"}], n_requests=4, n_clients=2, n_batch=1))


def test_the_server_needs_neither_tabemb_nor_torch(path):
    code = (
        "import sys; sys.modules['tabemb'] = sys.modules['torch'] = sys.modules['pandas'] = None; "
        "from experiments import serve; serve.create_app(sys.argv[1])"
    )
    subprocess.run([sys.executable, "-c", code, path], check=True)
