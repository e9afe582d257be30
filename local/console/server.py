"""
Serve the operator's page to a browser on this machine (`make console`).

The shell around the page replaces a CloudWatch dashboard: it calls the function with a widget's
context, shows the HTML in the answer, and makes its actions work. The function and its rules are
the real ones. AWS is simulated, and its clock runs faster than the real one.
"""

import argparse
import json
import time
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from local.console.scene import Scene

_HERE = Path(__file__).parent
_FILES = {
    "/": ("shell.html", "text/html; charset=utf-8"),
    "/shell.js": ("shell.js", "text/javascript; charset=utf-8"),
}
# Content-Security-Policy: only the shell's own script can run, whatever a page contains.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'"
)
_REQUEST_MAX = 100_000  # bytes
_BEHIND_MAX = 30.0  # maximum of virtual minutes that pass at one request


class ConsoleServer(HTTPServer):
    """Serves one scene, in which `speed` virtual seconds pass in each real second."""

    def __init__(self, port: int, scene: Scene, speed: float) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self._scene = scene
        self._speed = speed
        self._looked_at = time.monotonic()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"

    def invoke(self, event: dict[str, Any]) -> dict[str, Any]:
        """
        Let virtual time pass for the real time since the last call, then call the function.

        Returns:
            Its `answer`, and the virtual time `now` in milliseconds since 1970.
        """
        now = time.monotonic()
        minutes = (now - self._looked_at) * self._speed / 60
        self._looked_at = now
        self._scene.pass_time(min(minutes, _BEHIND_MAX))
        millis = self._scene.day.now.timestamp() * 1_000
        context = event.get("widgetContext")
        if isinstance(context, dict):
            hours = context.pop("hours", 24)
            start = millis - hours * 3_600_000
            context["timeRange"] = {"mode": "relative", "start": start, "end": millis}
        return {"answer": self._scene.ask(event), "now": millis}


class _Handler(BaseHTTPRequestHandler):
    server: ConsoleServer

    def do_GET(self) -> None:
        name, kind = _FILES.get(urlsplit(self.path).path, ("", ""))
        if not name:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        self._send((_HERE / name).read_bytes(), kind)

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        is_ours = self.headers.get_content_type() == "application/json" and self._is_local()
        if self.path != "/invoke" or not is_ours or not 0 < length <= _REQUEST_MAX:
            self.send_error(HTTPStatus.BAD_REQUEST)
            return
        try:
            event = json.loads(self.rfile.read(length))
        except ValueError:
            event = None
        if not isinstance(event, dict):
            self.send_error(HTTPStatus.BAD_REQUEST)
            return
        self._send(json.dumps(self.server.invoke(event)).encode(), "application/json")

    def _is_local(self) -> bool:
        """Whether the request names this machine as its host. It keeps out other sites' scripts."""
        return (self.headers.get("Host") or "").rpartition(":")[0] in ("127.0.0.1", "localhost")

    def _send(self, body: bytes, kind: str) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", _POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def main(arguments: Sequence[str]) -> int:
    """Serve until interrupted. Return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m local console")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--speed", type=float, default=20.0, help="virtual seconds a second")
    options = parser.parse_args(arguments)
    print("Half an hour of a simulated day goes by first ...", flush=True)
    with ConsoleServer(options.port, Scene(), options.speed) as server:
        print(f"The operator's page, over a simulated AWS Batch: {server.address}")
        print("Control-C ends it.", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
    return 0
