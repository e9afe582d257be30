"""
A Docker engine, and in it an image in which `sam local invoke` can run the built functions.

Where an engine answers it is used; else one is started, and stopped again, which takes root and
the Debian packages docker.io and busybox-static. AWS's image is used where it can be pulled; else
one is made of this machine's own Python and AWS's runtime client.
"""

import io
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from ipaddress import ip_network
from pathlib import Path

from local.commands.runtime import BUILT, CLIENT, machine

AWS_IMAGE = f"public.ecr.aws/lambda/python:3.13-{machine()}"
OWN_IMAGE = "batch-watchdog-python:3.13"

_START_S = 60
_PULL_S = 300
BUSYBOX = Path("/bin/busybox")  # of busybox-static: it needs no library
# SAM CLI adds its emulator and the layer to an image by these.
_COMMANDS = ("sh", "mv", "chmod", "cp", "rm")
# What Lambda mounts or writes, and where SAM CLI puts its emulator.
_FOLDERS = ("tmp", "opt", "var/task", "var/rapid")
_LEFT_OUT = {"site-packages", "test", "idlelib", "tkinter", "ensurepip", "__pycache__"}


class EngineUnavailableError(Exception):
    """No Docker engine answers, and none can be started here. The message says why."""


@contextmanager
def running() -> Iterator[str]:
    """
    A Docker engine for a while; the answer is its address, for DOCKER_HOST.

    Raises:
        EngineUnavailableError: there is none, and none can be started.
    """
    address = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    if _answers(address):
        yield address
        return
    if not shutil.which("dockerd"):
        raise EngineUnavailableError(
            "no Docker engine answers: start one, or install docker.io, as root"
        )
    # A socket's path may have 107 characters, so this is not below the repository.
    with tempfile.TemporaryDirectory(prefix="docker-") as name:
        folder = Path(name)
        address = f"unix://{folder}/socket"
        with (folder / "log").open("wb") as log:
            engine = subprocess.Popen(  # noqa: S603
                [
                    *("dockerd", "--host", address, "--pidfile", f"{folder}/pid"),
                    *("--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec"),
                ],
                stdout=log,
                stderr=log,
            )
            try:
                _wait_for(address, engine, folder / "log")
                yield address
            finally:
                engine.terminate()
                engine.wait()


def address_of_this_machine(engine: str) -> str:
    """Where containers reach this machine: the engine's bridge."""
    of_bridge = "{{with index .IPAM.Config 0}}{{.Gateway}} {{.Subnet}}{{end}}"
    told = _docker(engine, "network", "inspect", "bridge", "--format", of_bridge)
    told.check_returncode()
    *gateway, subnet = told.stdout.decode().split()
    # One that has just made its bridge does not tell the gateway: it is the first address.
    return gateway[0] if gateway else str(next(ip_network(subnet).hosts()))


def image(engine: str) -> str:
    """The image to invoke in: AWS's, or one of this machine's own Python."""
    if _docker(engine, "pull", "--quiet", AWS_IMAGE, timeout_s=_PULL_S).returncode == 0:
        return AWS_IMAGE
    with subprocess.Popen(  # noqa: S603
        ["docker", "import", "--change", "WORKDIR /var/task", "-", OWN_IMAGE],  # noqa: S607
        env=os.environ | {"DOCKER_HOST": engine},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    ) as importing:
        assert importing.stdin
        with tarfile.open(fileobj=importing.stdin, mode="w|") as archive:
            _fill(archive)
        importing.stdin.close()
        if importing.wait() != 0:
            raise RuntimeError(f"docker import {OWN_IMAGE} failed")
    return OWN_IMAGE


def _fill(archive: tarfile.TarFile) -> None:
    """Put into an image what Lambda's has: a Python, its libraries, and the runtime client."""
    python = Path(sys.base_prefix, "bin", f"python{sysconfig.get_python_version()}").resolve()
    modules = Path(sysconfig.get_path("stdlib"))
    native = [
        python,
        *modules.glob("lib-dynload/*.so"),
        *CLIENT.rglob("*.so"),
        *BUILT.rglob("*.so"),
    ]
    archive.add(BUSYBOX, "bin/busybox")
    for command in _COMMANDS:
        link = tarfile.TarInfo(f"bin/{command}")
        link.type, link.linkname = tarfile.SYMTYPE, "busybox"
        archive.addfile(link)
    archive.add(python)
    archive.add(modules, filter=_needed)
    for library in sorted(_libraries(native)):
        archive.add(library.resolve(), str(library))
    archive.add(CLIENT, "var/runtime")
    start = f"""#!/bin/sh
export PYTHONPATH=/var/task:/opt/python:/var/runtime
exec {python} -S -m awslambdaric "$_HANDLER"
""".encode()
    program = tarfile.TarInfo("var/runtime/bootstrap")
    program.size, program.mode = len(start), 0o755
    archive.addfile(program, io.BytesIO(start))
    for folder in _FOLDERS:
        empty = tarfile.TarInfo(folder)
        empty.type, empty.mode = tarfile.DIRTYPE, 0o777
        archive.addfile(empty)


def _needed(file: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if _LEFT_OUT & set(file.name.split("/")) else file


def _libraries(native: Iterable[Path]) -> set[Path]:
    """The shared libraries that programs and extension modules load, the loader included."""
    told = subprocess.run(  # noqa: S603
        ["ldd", *map(str, native)],  # noqa: S607
        capture_output=True,
        check=False,  # it fails for one that is linked statically
        text=True,
    )
    return {Path(path) for path in re.findall(r"(/\S+) \(0x", told.stdout)}


def _answers(address: str) -> bool:
    return bool(shutil.which("docker")) and _docker(address, "info").returncode == 0


def _docker(
    address: str, *arguments: str, timeout_s: float = 60
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(  # noqa: S603
        ["docker", *arguments],  # noqa: S607
        env=os.environ | {"DOCKER_HOST": address},
        capture_output=True,
        check=False,
        timeout=timeout_s,
    )


def _wait_for(address: str, engine: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and engine.poll() is None:
        if _answers(address):
            return
        time.sleep(0.2)
    last = log.read_text(errors="replace").splitlines()[-3:]
    raise EngineUnavailableError(
        "\n".join((f"dockerd did not start within {_START_S} s (root?):", *last))
    )
