"""What the emulators' servers have in common when they start."""

import socket
import subprocess
import time
from contextlib import closing

_START_S = 60


def a_free_port() -> int:
    """A port of this machine that nobody listens on."""
    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def wait_for(port: int, server: subprocess.Popen[bytes], name: str) -> None:
    """Wait until somebody listens there."""
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and server.poll() is None:
        with closing(socket.socket()) as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"{name} did not start within {_START_S} s")
