"""
Run built functions in Lambda's own runtime, on this machine and without Docker.

    python -m local.commands.runtime invoke FUNCTION EVENT.json    one function on one event
    python -m local.commands.runtime serve                         AWS for `sam local invoke`

SAM CLI contains the Lambda Runtime Interface Emulator. Under it, AWS's own runtime client runs the
handler as in Lambda: only the function's folder, the layer and the client are on the path. moto
answers the function's calls of AWS.
"""

import argparse
import base64
import json
import logging
import os
import platform
import re
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from moto.server import ThreadedMotoServer
from samtranslator.yaml_helper import yaml_parse

from batch_watchdog.core.effects import Announce, Effect, StopJobs
from batch_watchdog.store.actions import PREFIX, to_action
from batch_watchdog.store.item_codec import Item, from_image
from local.commands import servers
from local.commands.servers import CREDENTIALS, REGION

ROOT = Path(__file__).parents[2]
BUILT = ROOT / ".build/lambda"
CLIENT = ROOT / ".build/runtime-client"

STACK = "local"

# Types of resources that functions use at run time, with the property for the resource's name.
# The name is set to the logical id, so that settings are known in advance (events/env.json).
_USED = {
    "AWS::DynamoDB::Table": "TableName",
    "AWS::KMS::Key": None,
    "AWS::SNS::Topic": "TopicName",
    "AWS::SQS::Queue": "QueueName",
}
_PORT = 5000
_INVOCATIONS = "/2015-03-31/functions/function/invocations"
_START_S = 10.0
_ANSWER_S = 900.0  # Lambda's maximum; the emulator enforces the function's own timeout

type Invoke = Callable[[Mapping[str, Any]], Any]


class RuntimeUnavailableError(Exception):
    """The function cannot be run. The message says why."""


class Stack:
    """The stack's resources in a moto server, and the functions' settings that name them."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        template = yaml_parse((ROOT / "template.yaml").read_text())
        resources = {
            name: resource
            for name, resource in template["Resources"].items()
            if resource["Type"] in _USED and "Condition" not in resource
        }
        for name, resource in resources.items():
            if naming := _USED[resource["Type"]]:
                resource["Properties"][naming] = name
        cloudformation = self.client("cloudformation")
        cloudformation.create_stack(
            StackName=STACK, TemplateBody=json.dumps({"Resources": resources})
        )
        described = cloudformation.describe_stack_resources(StackName=STACK)["StackResources"]
        self._refs = {
            "AWS::StackName": STACK,
            **{name: str(one["Default"]) for name, one in template["Parameters"].items()},
            **{one["LogicalResourceId"]: one["PhysicalResourceId"] for one in described},
        }
        variables = template["Globals"]["Function"]["Environment"]["Variables"]
        self.settings = {name: self._text(value) for name, value in variables.items()}
        self.timeout_s = int(template["Globals"]["Function"]["Timeout"])
        self.memory_mb = int(template["Globals"]["Function"]["MemorySize"])

    def _text(self, value: Any) -> str:
        """Resolve a value of the template. A resource that is not created here gives its name."""
        match value:
            case {"Ref": str(name)}:
                return str(self._refs.get(name, name))
            case {"Fn::Join": [str(between), [*parts]]}:
                return between.join(map(self._text, parts))
            case {"Fn::Sub": str(text)}:
                return re.sub(r"\$\{([^}]+)\}", lambda name: self._text({"Ref": name[1]}), text)
            case {"Fn::If": [_, _, otherwise]}:  # Here, all conditions count as false.
                return self._text(otherwise)
            case _:
                return str(value)

    def client(self, service: Any) -> Any:
        """Return a boto3 client of this stack's AWS."""
        return servers.client(self.endpoint, service)

    def write_what_the_stream_tells(self, event: Mapping[str, Any]) -> None:
        """Write the items of a stream's event to the table. Other events write nothing."""
        for record in event.get("Records", ()):
            if "NewImage" in record.get("dynamodb", {}):
                self.client("dynamodb").put_item(
                    TableName=self.settings["TABLE_NAME"],
                    Item=_with_bytes(record["dynamodb"]["NewImage"]),
                )


@contextmanager
def moto_server(address: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Run an empty moto server, on a free port unless one is given. Yield its endpoint."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = ThreadedMotoServer(ip_address=address, port=port, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        _post(address, port, "/moto-api/reset", {})  # moto keeps its state for the whole process
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@contextmanager
def stack(address: str = "127.0.0.1", port: int = 0) -> Iterator[Stack]:
    """Run a moto server with the stack's resources, on a free port unless one is given."""
    with moto_server(address, port) as endpoint:
        yield Stack(endpoint)


@contextmanager
def running(function: str, stack: Stack) -> Iterator[Invoke]:
    """
    Run one container of a function, named as its folder (`job_events`). Yield how to invoke it.

    Raises:
        RuntimeUnavailableError: something has not been set up, or this is not Linux.
    """
    folder, layer = _built(function)
    port, runtime_port = servers.free_port(), servers.free_port()
    command = [
        str(_emulator()),
        "--runtime-interface-emulator-address",
        f"127.0.0.1:{port}",
        "--runtime-api-address",
        f"127.0.0.1:{runtime_port}",
        # -S: no site-packages, so that a package that the layer lacks is missing, as in Lambda.
        *(sys.executable, "-S", "-m", "awslambdaric", "handler.lambda_handler"),
    ]
    environment = {
        **CREDENTIALS,
        **stack.settings,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": stack.endpoint,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(stack.memory_mb),
        "AWS_LAMBDA_FUNCTION_NAME": function,
        "AWS_LAMBDA_FUNCTION_TIMEOUT": str(stack.timeout_s),
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_REGION": REGION,
        "LAMBDA_TASK_ROOT": str(folder),
        "PATH": os.defpath,
        "PYTHONPATH": os.pathsep.join(map(str, (folder, layer, CLIENT))),
        "TZ": ":UTC",
    }
    # The emulator's and the function's output go to standard error: the answer has standard output.
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=2)  # noqa: S603
    try:
        if not servers.listens(port, process, _START_S):
            raise RuntimeUnavailableError(
                f"Lambda's emulator did not start within {_START_S:.0f} s"
            )
        yield lambda event: json.loads(_post("127.0.0.1", port, _INVOCATIONS, event))
    finally:
        process.terminate()
        process.wait()


def _built(function: str) -> tuple[Path, Path]:
    """Return the folders of a built function and of the layer's Python code."""
    try:
        resources = yaml_parse((BUILT / "template.yaml").read_text())["Resources"]
    except FileNotFoundError as error:
        raise RuntimeUnavailableError(
            f"{error.filename} is missing: `make invoke` makes it"
        ) from error
    known = {
        name: each["Properties"]["CodeUri"]
        for name, each in resources.items()
        if each["Type"] == "AWS::Serverless::Function"
    }
    name = function if function in known else f"{_title(function)}Function"
    if name not in known:
        there = ", ".join(sorted(_folder(each) for each in known))
        raise RuntimeUnavailableError(f"there is no function {function}. There are: {there}")
    code = known[name]
    layer = resources["WatchdogLayer"]["Properties"]["ContentUri"]
    return BUILT / code, BUILT / layer / "python"


def _title(folder: str) -> str:
    return folder.title().replace("_", "")


def _folder(logical_id: str) -> str:
    """Return a function's folder by its logical id: job_events for JobEventsFunction."""
    words = re.findall("[A-Z][a-z]*", logical_id.removesuffix("Function"))
    return "_".join(words).lower()


def _emulator() -> Path:
    if sys.platform != "linux":
        raise RuntimeUnavailableError("Lambda's emulator is a program for Linux")
    name = f"samcli/local/rapid/aws-lambda-rie-{machine()}"
    for path in ROOT.glob(f".venv-sam/lib/python*/site-packages/{name}"):
        return path
    raise RuntimeUnavailableError(f"SAM CLI with its {name} is missing: `make invoke` installs it")


def machine() -> str:
    """Return this machine's processor by Lambda's name."""
    return {"aarch64": "arm64"}.get(platform.machine(), platform.machine())


def _post(address: str, port: int, path: str, content: Mapping[str, Any]) -> bytes:
    with closing(HTTPConnection(address, port, timeout=_ANSWER_S)) as connection:
        connection.request("POST", path, json.dumps(content))
        return connection.getresponse().read()


def _with_bytes(image: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stream's image as an item for a client: bytes are base64 in the image only."""
    return {
        name: {"B": base64.b64decode(value["B"])} if "B" in value else value
        for name, value in image.items()
    }


def main() -> int:
    """Run the command line. Return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m local.runtime")
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help=f"AWS for `sam local invoke`, on port {_PORT}")
    serve.add_argument("--address", default="127.0.0.1", help="where containers reach this machine")
    serve.add_argument("--port", type=_port, default=_PORT, help="where it listens")
    invoke = commands.add_parser("invoke", help="run one built function on one event")
    invoke.add_argument("function", help="a folder in functions/, or its name in the template")
    invoke.add_argument("event", type=Path, help="a JSON file; there are samples in events/")
    arguments = parser.parse_args()
    try:
        if arguments.command == "serve":
            return _serve(arguments.address, arguments.port)
        return _invoke(arguments.function, _event_in(arguments.event))
    except RuntimeUnavailableError as error:
        parser.error(str(error))


def _port(text: str) -> int:
    if not (text.isdecimal() and 0 < int(text) < 65536):  # noqa: PLR2004 - what a port can be
        raise argparse.ArgumentTypeError(f"{text!r}: expected a port, from 1 to 65535")
    return int(text)


def _event_in(path: Path) -> Any:
    try:
        event = json.loads(path.read_bytes())
    except OSError as error:
        raise RuntimeUnavailableError(f"{path}: {error.strerror}; samples: events/") from error
    except ValueError as error:
        raise RuntimeUnavailableError(f"{path} is no JSON: {error}") from error
    if not isinstance(event, dict):
        raise RuntimeUnavailableError(f"{path}: expected one JSON object, as in events/")
    return event


def _serve(address: str, port: int) -> int:
    _refuse_if_taken(address, port)
    template_for_docker()
    with stack(address, port) as local, suppress(KeyboardInterrupt):
        print("Ready: the table, queues and topic are at", local.endpoint, flush=True)
        while not threading.Event().wait(1):
            # A new build deletes local.yaml.
            if (BUILT / "template.yaml").exists() and not (BUILT / "local.yaml").exists():
                template_for_docker()
    return 0


def _refuse_if_taken(address: str, port: int) -> None:
    try:
        with closing(socket.socket()) as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind((address, port))
    except OSError as error:
        raise RuntimeUnavailableError(
            f"{address}:{port}: {error.strerror}. Another one: PORT=5001 (and then also in "
            "events/env.json), or another ADDRESS="
        ) from error


def template_for_docker() -> Path:
    """
    Write the built template for `sam local invoke`, and return its path.

    It declares AWS_ENDPOINT_URL, because `sam local invoke` sets only variables that are declared.
    """
    built = (BUILT / "template.yaml").read_text()
    declaring = r'\1AWS_ENDPOINT_URL: ""\n\1TABLE_NAME:'
    path = BUILT / "local.yaml"
    path.write_text(re.sub(r"^( +)TABLE_NAME:", declaring, built, count=1, flags=re.MULTILINE))
    return path


def _invoke(function: str, event: Mapping[str, Any]) -> int:
    with stack() as local, running(function, local) as invoke:
        local.write_what_the_stream_tells(event)
        before = _items(local)
        answer = invoke(event)
        for line in _done(local, before):
            print(line, file=sys.stderr)
    print(json.dumps(answer, indent=2, ensure_ascii=False))
    return 1 if isinstance(answer, dict) and "errorType" in answer else 0


def _items(local: Stack) -> dict[tuple[str, str], Item]:
    pages = local.client("dynamodb").get_paginator("scan")
    found = (
        from_image(image)
        for page in pages.paginate(TableName=local.settings["TABLE_NAME"])
        for image in page["Items"]
    )
    return {(str(item["pk"]), str(item["sk"])): item for item in found}


def _done(local: Stack, before: Mapping[tuple[str, str], Item]) -> Iterator[str]:
    """Yield lines about the new items in the table, and the messages in the queues."""
    new = [item for key, item in _items(local).items() if key not in before]
    kinds = Counter(str(item["pk"]).partition("#")[0] for item in new)
    shown = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    yield f"New items in the table: {shown or 'none'}"
    for item in new:
        if str(item["pk"]).startswith(PREFIX):
            yield f"Action: {_in_short(to_action(item).effect)}"
    sqs = local.client("sqs")
    for url in sqs.list_queues().get("QueueUrls", ()):
        found = sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
        ).get("Messages", ())
        for message in found:
            why = message.get("MessageAttributes", {}).get("reason", {}).get("StringValue", "")
            yield f"Message in {url.rpartition('/')[2]}: {why or message['Body'][:200]}"


def _in_short(effect: Effect) -> str:
    match effect:
        case Announce():
            return "; ".join(f"{each.kind}: {each.subject}" for each in effect.notices)
        case StopJobs():
            return f"{effect.how} {', '.join(effect.job_ids[:5])}: {effect.reason}"
        case _:
            return str(effect)


if __name__ == "__main__":
    sys.exit(main())
