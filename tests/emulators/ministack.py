"""
MiniStack: an AWS for one machine, by other people than moto's, and with other faults.

`make test-ministack` installs it. It runs functions as processes of this Python, reads queues and
streams for them, and has a clock of its own: a schedule of a minute takes a minute.
"""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local.commands import servers
from local.commands.samples import MOTO_ACCOUNT

_PACKAGES = Path(__file__).parents[2] / ".build/ministack"
_START_S = 60
# Each process of a function has its own copy of the layer, 2,900 files.
_MEMORY = "/dev/shm"  # noqa: S108 - the folder made there is ours alone


@contextmanager
def running(batch: str = "") -> Iterator[str]:
    """
    An AWS with nothing in it, for a while; the answer is its address.

    Its functions ask another one for AWS Batch, where the address of one is given: MiniStack's own
    ends each job as soon as it is submitted, and knows no arrays.
    """
    port = servers.free_port()
    where = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="ministack-", dir=where) as folder:
        environment = {
            "PATH": os.defpath,
            "PYTHONPATH": str(_PACKAGES),
            "TMPDIR": folder,
            "STATE_DIR": f"{folder}/state",
            "S3_DATA_DIR": f"{folder}/s3",
            "BIND_HOST": "127.0.0.1",
            "MINISTACK_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(port),
            "MINISTACK_ACCOUNT_ID": MOTO_ACCOUNT,
            "IOT_MTLS_ENABLED": "0",  # else it listens elsewhere, too
            "SFTP_ENABLED": "0",
            **({"AWS_ENDPOINT_URL_BATCH": batch} if batch else {}),
        }
        with Path(folder, "log").open("w+b") as log:
            server = subprocess.Popen(
                [sys.executable, "-m", "ministack"],
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            try:
                if not servers.listens(port, server, _START_S):
                    raise RuntimeError(f"MiniStack did not start within {_START_S} s")
                yield f"http://127.0.0.1:{port}"
            finally:
                # The functions' processes are of its group. None has anything to save.
                os.killpg(server.pid, signal.SIGKILL)
                server.wait()
