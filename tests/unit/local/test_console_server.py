"""The page on this machine: only this machine's own page may act."""

import http.client
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest

from local.console.server import ConsoleServer

pytestmark = pytest.mark.enable_socket
NOON = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)


class Scene:
    """A scene that notes what it is asked."""

    def __init__(self) -> None:
        self.day = SimpleNamespace(now=NOON)
        self.asked: list[Any] = []
        self.passed: list[float] = []

    def pass_time(self, minutes: float) -> None:
        self.passed.append(minutes)

    def ask(self, event: Any) -> str:
        self.asked.append(event)
        return "<b>page</b>"


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.fixture
def server(scene: Any) -> Iterator[ConsoleServer]:
    with ConsoleServer(0, scene, speed=60) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def call(
    server: ConsoleServer, method: str, path: str, body: str = "", **headers: str
) -> tuple[int, str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    kinds = {"Content-Type": "application/json"} if body else {}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body or None, {**kinds, **named})
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response.status, text, response.headers


def test_the_shell_is_served_with_a_policy_that_lets_no_other_script_run(
    server: ConsoleServer,
) -> None:
    status, text, headers = call(server, "GET", "/?theme=dark")

    assert status == 200
    assert "/shell.js" in text
    assert "script-src 'self'" in headers["Content-Security-Policy"]
    assert call(server, "GET", "/shell.js")[0] == 200
    assert call(server, "GET", "/../server.py")[0] == 404


def test_the_function_is_called_with_the_widgets_context_in_the_scenes_time(
    server: ConsoleServer, scene: Scene
) -> None:
    event = {"page": "rules", "widgetContext": {"theme": "dark", "hours": 1}}

    status, text, _ = call(server, "POST", "/invoke", json.dumps(event))

    assert (status, json.loads(text)["answer"]) == (200, "<b>page</b>")
    (asked,) = scene.asked
    millis = NOON.timestamp() * 1000
    assert asked["page"] == "rules"
    assert asked["widgetContext"]["timeRange"]["start"] == millis - 3_600_000
    assert scene.passed[0] > 0


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ("{}", {"Host": "evil.example:80"}),
        ("{}", {"Content_Type": "text/plain"}),
        ("[]", {}),
        ("{", {}),
        ("x" * 200_000, {}),
    ],
)
def test_what_another_site_could_send_is_refused(
    server: ConsoleServer, scene: Scene, body: str, headers: dict[str, str]
) -> None:
    assert call(server, "POST", "/invoke", body, **headers)[0] == 400
    assert scene.asked == []
