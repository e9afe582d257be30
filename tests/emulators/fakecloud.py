"""
fakecloud: an AWS for one machine, in Rust, whose AWS Batch runs jobs as containers.

`make test-fakecloud` builds it. It is a program under the AGPL: run here, and no part of this.
It sends no events of AWS Batch, so they are made of what it answers to DescribeJobs.
"""

import io
import os
import subprocess
import tarfile
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from local.commands import servers
from local.commands.samples import MOTO_ACCOUNT, REGION
from tests.docker_engine import BUSYBOX
from tests.logs import iso

IMAGE = "batch-watchdog-job:1"

_PROGRAM = Path(__file__).parents[2] / ".build/fakecloud/bin/fakecloud"
_NO_ENGINE = "unix:///nowhere"
_START_S = 60
_JOBS_S = 120
_ENDED = {"SUCCEEDED", "FAILED"}


@contextmanager
def running(engine: str = _NO_ENGINE) -> Iterator[str]:
    """
    An AWS with nothing in it, for a while; the answer is its address.

    Jobs run in this Docker engine. Without one they stay SUBMITTED.
    """
    port = servers.free_port()
    with tempfile.TemporaryDirectory(prefix="fakecloud-") as folder:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": folder,
            "DOCKER_HOST": engine,
            "FAKECLOUD_CONTAINER_CLI": str(_without_pulls(Path(folder))),
            "FAKECLOUD_ADDR": f"127.0.0.1:{port}",
            "FAKECLOUD_ACCOUNT_ID": MOTO_ACCOUNT,
        }
        with Path(folder, "log").open("wb") as log:
            server = subprocess.Popen(  # noqa: S603
                [_PROGRAM], cwd=folder, env=environment, stdout=log, stderr=log
            )
            try:
                if not servers.listens(port, server, _START_S):
                    raise RuntimeError(f"fakecloud did not start within {_START_S} s")
                yield f"http://127.0.0.1:{port}"
            finally:
                server.terminate()
                server.wait()


def _without_pulls(folder: Path) -> Path:
    """A docker command that takes images as they are here: fakecloud asks their registry first."""
    path = folder / "docker"
    path.write_text('#!/bin/sh\ntest "$1" = pull && exit 0\nexec docker "$@"\n')
    path.chmod(0o700)
    return path


def make_image(engine: str) -> None:
    """Make an image with nothing but a shell."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.add(BUSYBOX, "bin/busybox")
        link = tarfile.TarInfo("bin/sh")
        link.type, link.linkname = tarfile.SYMTYPE, "busybox"
        archive.addfile(link)
    subprocess.run(  # noqa: S603
        ["docker", "import", "-", IMAGE],  # noqa: S607
        env=os.environ | {"DOCKER_HOST": engine},
        input=content.getvalue(),
        stdout=subprocess.DEVNULL,
        check=True,
    )


def events_of(batch: Any, job_ids: Sequence[str]) -> list[dict[str, Any]]:
    """
    What AWS Batch would send of these jobs until all have ended, children of arrays included.

    Of states that pass between two looks nothing is sent.
    """
    events = []
    told: dict[str, str] = {}
    deadline = time.monotonic() + _JOBS_S
    while time.monotonic() < deadline:
        jobs = batch.describe_jobs(jobs=job_ids)["jobs"]
        for job in jobs:
            if told.get(job["jobId"]) != job["status"]:
                told[job["jobId"]] = job["status"]
                events.append(_event(job))
        if len(told) == len(job_ids) and set(told.values()) <= _ENDED:
            return events
        time.sleep(0.2)
    raise RuntimeError(f"the jobs have not ended within {_JOBS_S} s: {told}")


def _event(job: dict[str, Any]) -> dict[str, Any]:
    """An event with what DescribeJobs answers, and the ARNs that AWS has where this has names."""
    arn = f"arn:aws:batch:{REGION}:{MOTO_ACCOUNT}:"
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "Batch Job State Change",
        "source": "aws.batch",
        "account": MOTO_ACCOUNT,
        "time": iso(datetime.now(UTC)),
        "region": REGION,
        "resources": [job["jobArn"]],
        "detail": job
        | {
            "jobQueue": f"{arn}job-queue/{job['jobQueue']}",
            "jobDefinition": f"{arn}job-definition/{job['jobDefinition']}:1",
        },
    }
