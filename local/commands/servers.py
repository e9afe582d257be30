"""Helpers for servers that are started on this machine in place of AWS, and for their clients."""

import socket
import subprocess
import time
from contextlib import closing
from typing import Any

import boto3

REGION = "us-east-1"
# The servers accept any credentials. These keep real ones from being sent to them.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}


def free_port() -> int:
    """Return a free port of this machine."""
    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def listens(port: int, server: subprocess.Popen[bytes], within_s: float) -> bool:
    """Wait until a server listens on a port. False if it has ended, or if that takes too long."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline and server.poll() is None:
        with closing(socket.socket()) as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return True
        time.sleep(0.02)
    return False


def client(endpoint: str, service: Any) -> Any:
    """Return a boto3 client of a server that answers in place of AWS."""
    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
    )
