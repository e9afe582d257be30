"""The built stack in an emulator of AWS: created by CloudFormation, with the code in its S3."""

import io
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from samtranslator.yaml_helper import yaml_parse

from local.aws import stack as stacks
from local.commands import servers
from local.commands.runtime import BUILT
from tests.logs import iso

EVENTS = Path(__file__).parents[2] / "events"
NAME = stacks.NAME
_BUCKET = "code"
_PATIENCE = 9  # looks of 20 seconds each


@dataclass(frozen=True, slots=True)
class Deployed:
    """
    The stack. `names` are physical ones by logical ones, `template` is what it was created from.

    `keeps_concurrency`: the emulator keeps how many batches of a queue are read at once.
    """

    endpoint: str
    template: Mapping[str, Any]
    names: Mapping[str, str]
    keeps_concurrency: bool

    def client(self, service: Any) -> Any:
        """A boto3 client of this AWS."""
        return servers.client(self.endpoint, service)

    def invoke(self, name: str, payload: Any) -> Any:
        """Call a function and wait for its answer, which is no error."""
        function = self.names[name]
        answer = self.client("lambda").invoke(FunctionName=function, Payload=json.dumps(payload))
        content = answer["Payload"].read()
        assert "FunctionError" not in answer, content
        return json.loads(content)

    def subscriber(self, name: str) -> str:
        """A new queue that gets all notices; the answer is its URL."""
        sqs = self.client("sqs")
        url: str = sqs.create_queue(QueueName=name)["QueueUrl"]
        self.client("sns").subscribe(
            TopicArn=self.names["NoticeTopic"], Protocol="sqs", Endpoint=arn_of(sqs, url)
        )
        return url

    def notices(self, box: str) -> Iterator[dict[str, Any]]:
        """What a subscriber gets, as programs get it; it ends when long nothing has come."""
        for message in self.messages(box):
            yield json.loads(json.loads(message["Body"])["Message"])

    def messages(self, queue: str) -> Iterator[dict[str, Any]]:
        """What comes into a queue; it ends when long nothing has come."""
        sqs = self.client("sqs")
        for _ in range(_PATIENCE):
            found = sqs.receive_message(
                QueueUrl=queue,
                WaitTimeSeconds=20,
                MaxNumberOfMessages=10,
                MessageAttributeNames=["All"],
            )
            for message in found.get("Messages", ()):
                sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
                yield message


def arn_of(sqs: Any, url: str) -> str:
    """The ARN of a queue."""
    told = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    return str(told["Attributes"]["QueueArn"])


def deploy(
    endpoint: str,
    unknown: Callable[[Mapping[str, Any]], bool] = lambda _: False,
    *,
    keeps_concurrency: bool = True,
) -> Deployed:
    """Create the stack there. Resources that are `unknown` to the emulator are left out."""
    translated = stacks.in_cloudformation(BUILT / "template.yaml")
    translated["Resources"] = {
        name: each for name, each in translated["Resources"].items() if not unknown(each)
    }
    s3 = servers.client(endpoint, "s3")
    s3.create_bucket(Bucket=_BUCKET)
    for key, folder in _code(translated["Resources"]):
        s3.put_object(Bucket=_BUCKET, Key=key, Body=_zipped(folder))
    # It is too long for a request.
    s3.put_object(Bucket=_BUCKET, Key="template", Body=json.dumps(translated))
    cloudformation = servers.client(endpoint, "cloudformation")
    cloudformation.create_stack(
        StackName=NAME,
        TemplateURL=f"{endpoint}/{_BUCKET}/template",
        Capabilities=["CAPABILITY_IAM"],
    )
    cloudformation.get_waiter("stack_create_complete").wait(
        StackName=NAME, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    resources = cloudformation.describe_stack_resources(StackName=NAME)["StackResources"]
    names = {each["LogicalResourceId"]: each["PhysicalResourceId"] for each in resources}
    return Deployed(endpoint, translated, names, keeps_concurrency)


def _code(resources: Mapping[str, Any]) -> Iterator[tuple[str, Path]]:
    """Where code is put, and its folder; the resources are told of the place."""
    built = yaml_parse((BUILT / "template.yaml").read_text())["Resources"]
    for name, resource in resources.items():
        place = {"S3Bucket": _BUCKET, "S3Key": name}
        if resource["Type"] == "AWS::Lambda::Function":
            resource["Properties"]["Code"] = place
            yield name, BUILT / built[name]["Properties"]["CodeUri"]
        elif resource["Type"] == "AWS::Lambda::LayerVersion":
            resource["Properties"]["Content"] = place
            yield name, BUILT / built["WatchdogLayer"]["Properties"]["ContentUri"]


def _zipped(folder: Path) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in folder.rglob("*"):
            archive.write(path, path.relative_to(folder))
    return content.getvalue()


def as_records(*events: Any, sent: datetime) -> dict[str, Any]:
    """What Lambda hands over of a queue to which these events were sent then."""
    sample = json.loads((EVENTS / "job_events.job_failed.json").read_text())["Records"][0]
    attributes = sample["attributes"] | {"SentTimestamp": str(round(sent.timestamp() * 1000))}
    return {
        "Records": [
            sample | {"messageId": str(number), "body": json.dumps(each), "attributes": attributes}
            for number, each in enumerate(events)
        ]
    }


def a_minute(at: datetime) -> dict[str, Any]:
    """What the schedule sends to the sweep at a time."""
    sample: dict[str, Any] = json.loads((EVENTS / "sweep.every_minute.json").read_text())
    return sample | {"time": iso(at)}


def until(kind: str, deployed: Deployed, box: str) -> dict[str, Any]:
    """The first notice of a kind, with all that came before it passed over."""
    return next(each for each in deployed.notices(box) if each["notice"] == kind)
