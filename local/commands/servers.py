"""What all servers need that are started on this machine in place of AWS, and who speaks to one."""

import socket
import subprocess
import time
from contextlib import closing
from typing import Any

import boto3

REGION = "us-east-1"
# They take any credentials; real ones must not get this far.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}


def free_port() -> int:
    """A port of this machine on which nobody listens."""
    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def listens(port: int, server: subprocess.Popen[bytes], within_s: float) -> bool:
    """Wait until somebody listens there; False if the server has ended, or that took too long."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline and server.poll() is None:
        with closing(socket.socket()) as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return True
        time.sleep(0.02)
    return False


def client(endpoint: str, service: Any) -> Any:
    """A boto3 client of what answers there in place of AWS."""
    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
    )
