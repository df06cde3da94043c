"""Serve a model over HTTP, from an ONNX file of `tabemb.to_onnx`.

`python -m experiments.serve path=m.onnx` answers rows as JSON on the loopback interface: /predict takes
a list of rows, /predict_row a single one. The metadata of the file define what a row must contain, and
/docs shows it. tabemb and torch are not imported. With ``load=rows.json`` it sends the rows of a file
from several threads instead, and prints how long the answers take.
"""

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import Annotated, Any

import hydra
import numpy as np
import onnxruntime
import uvicorn
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from omegaconf import DictConfig
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr, create_model

CONFIG_FOLDER = Path(__file__).resolve().parents[1] / "conf"
MAX_EVENTS = 1000
"""Largest length of a list in a row."""
PERCENTILES = (50, 95, 99)
FiniteFloat = Annotated[float, Field(allow_inf_nan=False, strict=True)]
CELLS: dict[str, Any] = {
    "text": StrictStr,
    "integer": StrictInt | StrictBool,
    "number": FiniteFloat,
    "time": StrictInt | datetime,
    "vector": list[FiniteFloat],
}
"""Types that a cell of each kind of input may have."""
DTYPES: dict[str, Any] = {"text": object, "number": np.float64, "vector": np.float64}
"""Dtype of the array of each kind of input; int64 for the other kinds."""


class Model:
    """An ONNX file as a function from rows (dicts by column) to answers.

    Parameters
    ----------
    path : str
        A file that `tabemb.to_onnx` has written.
    n_threads : int, default=1
        Threads that compute one request.
    """

    def __init__(self, path: str, n_threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = n_threads
        self.session = onnxruntime.InferenceSession(path, options)
        metadata = self.session.get_modelmeta()
        self.title = metadata.graph_description
        self.described = json.loads(metadata.custom_metadata_map["tabemb"])
        self.inputs: list[dict[str, Any]] = self.described["inputs"]
        if any(one["kind"] == "steps" for one in self.inputs):
            raise ValueError(f"{path!r} reads events in steps, which this server does not take.")
        self.outputs = [output.name for output in self.session.get_outputs()]

    def predict(self, rows: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
        """Return the answers for rows, by name of the output."""
        inputs = {one["name"]: self._array(one, rows) for one in self.inputs}
        answers = self.session.run(self.outputs, inputs)
        return {name: values.tolist() for name, values in zip(self.outputs, answers)}

    def _array(self, described: dict[str, Any], rows: Sequence[dict[str, Any]]) -> np.ndarray:
        name, kind, history = described["name"], described["kind"], described.get("history")
        dtype = DTYPES.get(kind, np.int64)
        if history is None:
            return np.array([_cell(described, row[name]) for row in rows], dtype)
        lists = [row[history] or [] for row in rows]
        if kind == "length":
            return np.array([len(events) for events in lists], dtype)
        padded = np.full((len(rows), max(1, *map(len, lists))), _cell(described, None), dtype)
        field = name.removeprefix(f"{history}.")
        for cells, events in zip(padded, lists):
            cells[: len(events)] = [_cell(described, e if name == history else e[field]) for e in events]
        return padded

    def row_type(self) -> type[BaseModel]:
        """Return the pydantic model of a row: it has all columns, with null for a missing value."""
        columns: dict[str, Any] = {}
        events: dict[str, dict[str, Any]] = {}
        for one in self.inputs:
            name, history = one["name"], one.get("history")
            if one["kind"] == "length":
                continue
            fields = columns if history is None else events.setdefault(history, {})
            fields[name.removeprefix(f"{history}.")] = CELLS[one["kind"]] | None
        for history, fields in events.items():
            event = fields[history] if history in fields else _object(f"{history} event", fields)
            columns[history] = Annotated[list[event], Field(max_length=MAX_EVENTS)] | None  # type: ignore[valid-type]
        return _object("Row", columns)


def _object(title: str, fields: dict[str, Any]) -> type[BaseModel]:
    """Return a type of objects with exactly these fields, all of them required."""
    named: Any = {f"f{i}": (kind, Field(alias=name)) for i, (name, kind) in enumerate(fields.items())}
    return create_model(title, __config__=ConfigDict(extra="forbid"), **named)


def _cell(described: dict[str, Any], value: Any) -> Any:
    """Return a value in the form that the graph reads."""
    if value is None:
        missing = described.get("missing", np.nan)
        return [missing] * described["width"] if described["kind"] == "vector" else missing
    if isinstance(value, datetime):
        value = value.replace(tzinfo=UTC) if value.tzinfo is None else value
        return (value - datetime(1970, 1, 1, tzinfo=UTC)) // _MICROSECOND
    return value


_MICROSECOND = datetime(1970, 1, 1, microsecond=1) - datetime(1970, 1, 1)


class BodyLimit:
    """Refuse requests whose body is too large or of unknown length, before reading it."""

    def __init__(self, app: Any, max_bytes: int) -> None:
        self.app, self.max_bytes = app, max_bytes

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        if scope["type"] == "http" and scope["method"] == "POST":
            length = dict(scope["headers"]).get(b"content-length", b"")
            if not length.isdigit() or int(length) > self.max_bytes:
                status = 413 if length.isdigit() else 411
                headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
                await send({"type": "http.response.start", "status": status, "headers": headers})
                text = f'{{"detail": "A body has at most {self.max_bytes} bytes, and its length."}}'
                await send({"type": "http.response.body", "body": text.encode()})
                return
        await self.app(scope, receive, send)


def create_app(path: str, n_threads: int = 1, max_rows: int = 1000, max_bytes: int = 2**20) -> Any:
    """Return the application that serves a file."""
    model = Model(path, n_threads)
    Row = model.row_type()
    Rows = Annotated[list[Row], Field(min_length=1, max_length=max_rows)]  # type: ignore[valid-type]
    Request = create_model("Request", __config__=ConfigDict(extra="forbid"), rows=(Rows, ...))
    app = FastAPI(title=model.title)

    @app.exception_handler(RequestValidationError)
    def refused(_: Any, error: RequestValidationError) -> JSONResponse:
        # without the value, as JSON has no infinite numbers
        detail = [{"loc": one["loc"], "msg": one["msg"]} for one in error.errors()]
        return JSONResponse({"detail": detail}, 422)

    @app.get("/health")
    def health() -> dict[str, Any]:
        return {"status": "ok", "model": model.title, "inputs": len(model.inputs)}

    @app.get("/schema")
    def schema() -> dict[str, Any]:
        return dict(model.described)

    @app.post("/predict")
    def predict(request: Request) -> dict[str, list[Any]]:  # type: ignore[valid-type]
        return model.predict([row.model_dump(by_alias=True) for row in request.rows])  # type: ignore[attr-defined]

    @app.post("/predict_row")
    async def predict_row(row: Row) -> dict[str, Any]:  # type: ignore[valid-type]
        answers = model.predict([row.model_dump(by_alias=True)])  # type: ignore[attr-defined]
        return {name: values[0] for name, values in answers.items()}

    return BodyLimit(app, max_bytes)


@contextmanager
def serving(app: Any, max_requests: int = 64) -> Iterator[int]:
    """Serve an application on a free port of the loopback interface, in a thread; yield the port.

    If ``max_requests`` requests are running or waiting, further ones get the status 503.
    """
    config = uvicorn.Config(app, log_level="error", limit_concurrency=max_requests)
    server = uvicorn.Server(config)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def started(settings: Sequence[str]) -> Iterator[int]:
    """Serve in a separate process, so that clients in this one do not wait for it; yield the port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "experiments.serve", *settings, f"port={port}", "host=127.0.0.1"]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, **quiet) as process:
        try:
            while process.poll() is None and not _is_up(port):
                time.sleep(0.05)
            yield port
        finally:
            process.terminate()


def _is_up(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def post(connection: HTTPConnection, path: str, body: Any) -> tuple[int, Any]:
    """Send JSON, and return the status and the JSON of the answer."""
    connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
    response = connection.getresponse()
    return response.status, json.loads(response.read())


def latencies(port: int, path: str, bodies: Sequence[Any], n_clients: int) -> np.ndarray:
    """Return the milliseconds that each request takes, sent by several clients at the same time."""
    results: list[float] = []
    refusals: list[str] = []

    def client(share: Sequence[Any]) -> None:
        connection = HTTPConnection("127.0.0.1", port)
        for body in share:
            start = time.perf_counter()
            status, answer = post(connection, path, body)
            if status != 200:
                refusals.append(f"{status}, {answer!s:.200}")
                break
            results.append(1e3 * (time.perf_counter() - start))
        connection.close()

    threads = [threading.Thread(target=client, args=(bodies[i::n_clients],)) for i in range(n_clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if refusals:
        raise RuntimeError(f"The server refused a request: {refusals[0]}.")
    return np.array(results)


def load_test(
    port: int, rows: Sequence[Any], n_requests: int, n_clients: int, n_batch: int
) -> Iterator[str]:
    """Yield a line with the latencies of single rows, then of batches."""
    for path, size in (("/predict_row", 1), ("/predict", n_batch)):
        batches = [[rows[(i * size + j) % len(rows)] for j in range(size)] for i in range(n_requests)]
        bodies = [batch[0] if size == 1 else {"rows": batch} for batch in batches]
        start = time.perf_counter()
        taken = latencies(port, path, bodies, n_clients)
        rate = n_requests * size / (time.perf_counter() - start)
        of_share = zip(PERCENTILES, np.percentile(taken, PERCENTILES))
        times = ", ".join(f"p{share} {milliseconds:.2f}" for share, milliseconds in of_share)
        yield f"{path}, {size} rows, {n_clients} clients: ms {times}; {rate:,.0f} rows/s"


@hydra.main(version_base="1.3", config_path=str(CONFIG_FOLDER), config_name="serve")
def main(config: DictConfig) -> None:
    if config.load is None:
        app = create_app(config.path, config.n_threads, config.max_rows, config.max_bytes)
        address = {"host": config.host, "port": config.port}
        uvicorn.run(app, **address, limit_concurrency=config.max_requests, access_log=False)
        return
    rows = json.loads(Path(config.load).read_text())
    names = ("path", "n_threads", "max_rows", "max_bytes", "max_requests")
    with started([f"{name}={config[name]}" for name in names]) as port:
        for line in load_test(port, rows, config.n_requests, config.n_clients, config.n_batch):
            print(line)


if __name__ == "__main__":
    main()
