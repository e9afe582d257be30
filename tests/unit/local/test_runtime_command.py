"""What `make invoke` and `make local-aws` say of wrong input."""

import socket
from pathlib import Path

import pytest

from local.commands import runtime
from local.commands.runtime import RuntimeUnavailableError

ROOT = Path(__file__).parents[3]


def test_a_functions_name_in_the_template_is_its_folders() -> None:
    folders = {path.parent.name for path in ROOT.glob("functions/*/handler.py")}

    for folder in folders:
        assert runtime._folder(f"{runtime._title(folder)}Function") == folder  # noqa: SLF001


@pytest.mark.parametrize(
    ("content", "told"),
    [("[]", "expected one JSON object"), ("{", "is no JSON"), (None, "samples: events/")],
)
def test_an_event_that_is_none_is_told(content: str | None, told: str, tmp_path: Path) -> None:
    path = tmp_path / "event.json"
    if content is not None:
        path.write_text(content)

    with pytest.raises(RuntimeUnavailableError, match=told):
        runtime._event_in(path)  # noqa: SLF001


@pytest.mark.usefixtures("socket_enabled")
def test_a_port_that_is_taken_is_told_with_what_to_do() -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        with pytest.raises(RuntimeUnavailableError, match="PORT="):
            runtime._refuse_if_taken("127.0.0.1", one.getsockname()[1])  # noqa: SLF001


@pytest.mark.parametrize("port", ["0", "65536", "http", "-1"])
def test_a_port_is_a_number_that_a_port_can_be(
    port: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["runtime", "serve", f"--port={port}"])
    with pytest.raises(SystemExit):
        runtime.main()

    assert "expected a port" in capsys.readouterr().err
