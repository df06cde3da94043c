"""A page in Firefox, by the WebDriver BiDi protocol, which Firefox speaks without another program."""

import json
import re
import shutil
import subprocess
from contextlib import contextmanager
from typing import Any

SECONDS = 30.0
"""Longest wait for an answer of the browser."""


def program() -> str | None:
    """Return the path of Firefox; None if it is not installed."""
    return shutil.which("firefox") or shutil.which("firefox-esr")


class Page:
    """A tab of Firefox; faults are the errors of its console."""

    def __init__(self, socket: Any) -> None:
        self._socket, self._n_sent = socket, 0
        self.faults: list[str] = []
        self._send("session.new", capabilities={})
        self._send("session.subscribe", events=["log.entryAdded"])
        self._tab = self._send("browsingContext.create", type="tab")["context"]

    def open(self, url: str, width: int, height: int) -> None:
        """Load an address at a size of the window in pixels."""
        size = {"width": width, "height": height}
        self._send("browsingContext.setViewport", context=self._tab, viewport=size)
        self._send("browsingContext.navigate", context=self._tab, url=url, wait="complete")

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression or promise."""
        wrapped = f"Promise.resolve({expression}).then(value => JSON.stringify(value))"
        target = {"context": self._tab}
        answer = self._send("script.evaluate", expression=wrapped, target=target, awaitPromise=True)
        if answer["type"] != "success":
            raise RuntimeError(f"{expression} failed: {answer['exceptionDetails']['text']}.")
        return json.loads(answer["result"].get("value", "null"))

    def click(self, x: float, y: float) -> None:
        """Click with the mouse."""
        at = {"type": "pointerMove", "x": round(x), "y": round(y)}
        press, release = ({"type": f"pointer{way}", "button": 0} for way in ("Down", "Up"))
        self._act({"type": "pointer", "id": "mouse", "actions": [at, press, release]})

    def wheel(self, x: float, y: float, pixels: int) -> None:
        """Turn the wheel of the mouse."""
        turn = {"type": "scroll", "x": round(x), "y": round(y), "deltaX": 0, "deltaY": pixels}
        self._act({"type": "wheel", "id": "wheel", "actions": [turn]})

    def keys(self, text: str) -> None:
        """Press and release keys; "\\ue007" is Enter."""
        actions = [{"type": f"key{way}", "value": key} for key in text for way in ("Down", "Up")]
        self._act({"type": "key", "id": "keyboard", "actions": actions})

    def _act(self, *sources: dict[str, Any]) -> None:
        self._send("input.performActions", context=self._tab, actions=list(sources))

    def _send(self, method: str, **params: Any) -> dict[str, Any]:
        self._n_sent += 1
        self._socket.send(json.dumps({"id": self._n_sent, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv(timeout=SECONDS))
            if message.get("method") == "log.entryAdded" and message["params"]["level"] == "error":
                self.faults.append(message["params"]["text"])
            if message.get("id") == self._n_sent:
                break
        if message["type"] == "error":
            raise RuntimeError(f"{method} failed: {message['message']}.")
        result: dict[str, Any] = message["result"]
        return result


@contextmanager
def running(path: str, profile: str):
    """Start Firefox, and yield a page."""
    from websockets.sync.client import connect

    command = [path, "--headless", "--no-remote", "--profile", profile, "--remote-debugging-port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        lines = (re.search(r"listening on (ws://\S+)", line) for line in process.stderr)
        address = next(filter(None, lines))[1]
        with connect(f"{address}/session", max_size=None) as socket:
            yield Page(socket)
    finally:
        process.kill()
        process.communicate()
