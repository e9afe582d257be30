"""Read the facts of a check from AWS. A call that fails does not affect the others."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import batched
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from batch_watchdog.aws.batch import BatchApi
from batch_watchdog.health.facts import AlarmFact, Facts
from batch_watchdog.health.rules import alarms_of
from batch_watchdog.notices.text import plain
from batch_watchdog.policy.model import Policy

_ALARMS_AT_ONCE = 100
_LOOKED_BACK = timedelta(days=14)
_HOUR = 3600  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthGatherer:
    """
    Gathers facts. `cloudwatch` makes a client for a region.

    `letters` are the URLs of the dead-letter queues, and `rule` is the name of the rule that
    delivers events of AWS Batch.
    """

    batch: BatchApi
    sns: Any
    sqs: Any
    ec2: Any
    cloudwatch: Callable[[str], Any]
    region: str
    billing_region: str
    topic_arn: str
    letters: tuple[str, ...]
    rule: str

    def facts(self, policy: Policy, now: datetime) -> Facts:
        """Return all facts that can be read."""
        asked = _Asked()
        subscriptions = asked.ask("subscriptions", self._subscriptions)
        return Facts(
            at=now,
            confirmed=None if subscriptions is None else subscriptions[0],
            pending=subscriptions[1] if subscriptions else 0,
            alarms=asked.ask("alarms of guards", lambda: tuple(self._alarms(alarms_of(policy)))),
            in_alarm=asked.ask("alarms that ring", self._alarms_in_alarm),
            queues=asked.ask("job queues", self._queues),
            last_event=asked.ask("events of AWS Batch", lambda: self._last_event(now)),
            events_known="events of AWS Batch" not in asked.not_known,
            dead_letters=self._dead_letters(asked),
            not_known=self._diagnosis(asked),
        )

    def _subscriptions(self) -> tuple[int, int]:
        pages = self.sns.get_paginator("list_subscriptions_by_topic")
        arns = [
            each["SubscriptionArn"]
            for page in pages.paginate(TopicArn=self.topic_arn)
            for each in page["Subscriptions"]
        ]
        confirmed = sum(arn.startswith("arn:") for arn in arns)
        return confirmed, arns.count("PendingConfirmation")

    def _alarms(self, names: Iterable[str]) -> Iterator[AlarmFact]:
        # Other partitions have no region for billing, and the billing region is not in them.
        has_billing = not self.region.startswith(("cn-", "us-gov-"))
        for region in sorted({self.region, *([self.billing_region] * has_billing)}):
            client = self.cloudwatch(region)
            for some in batched(names, _ALARMS_AT_ONCE, strict=False):
                for each in _alarms(client, AlarmNames=list(some)):
                    yield AlarmFact(
                        name=each["AlarmName"],
                        arn=each["AlarmArn"],
                        state=each["StateValue"],
                        region=region,
                        changed_at=each.get("StateTransitionedTimestamp"),
                        metric=_metric(each),
                        over=each["Threshold"] if _rises_above(each) else None,
                    )

    def _alarms_in_alarm(self) -> tuple[str, ...]:
        every = _alarms(self.cloudwatch(self.region), StateValue="ALARM")
        return tuple(sorted(each["AlarmName"] for each in every))

    def _queues(self) -> tuple[str, ...]:
        return tuple(sorted(str(each["jobQueueName"]) for each in self.batch.queues()))

    def _last_event(self, now: datetime) -> datetime | None:
        answer = self.cloudwatch(self.region).get_metric_statistics(
            Namespace="AWS/Events",
            MetricName="Invocations",
            Dimensions=[{"Name": "RuleName", "Value": self.rule}],
            StartTime=now - _LOOKED_BACK,
            EndTime=now,
            Period=_HOUR,
            Statistics=["Sum"],
        )
        hours: list[datetime] = [each["Timestamp"] for each in answer["Datapoints"] if each["Sum"]]
        return max(hours, default=None)

    def _dead_letters(self, asked: "_Asked") -> dict[str, int] | None:
        """Count the dead letters by queue, as far as that is known; None where nothing is."""
        counts = {}
        for url in self.letters:
            queue = url.rpartition("/")[2]
            count = asked.ask(f"dead letters in {queue}", partial(self._messages, url))
            if count is not None:
                counts[queue] = count
        return counts or None

    def _messages(self, url: str) -> int:
        name = "ApproximateNumberOfMessages"
        answer = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[name])
        return int(answer["Attributes"][name])

    def _diagnosis(self, asked: "_Asked") -> dict[str, str]:
        """Make the EC2 call of a diagnosis, and return all that could not be read, with reasons."""
        asked.ask(
            "instance types (for a diagnosis)",
            lambda: self.ec2.describe_instance_types(InstanceTypes=["m5.large"]),
        )
        return asked.not_known


def _alarms(client: Any, **of_these: Any) -> Iterator[Mapping[str, Any]]:
    """Yield metric alarms and composite alarms; an answer holds no more than a page of them."""
    pages = client.get_paginator("describe_alarms").paginate(
        AlarmTypes=["MetricAlarm", "CompositeAlarm"], **of_these
    )
    for page in pages:
        yield from [*page.get("MetricAlarms", ()), *page.get("CompositeAlarms", ())]


def _metric(alarm: Mapping[str, Any]) -> str:
    """Return an alarm's metric with its namespace and dimensions; empty without a single metric."""
    if "MetricName" not in alarm:
        return ""
    of = sorted(f"{each['Name']}={each['Value']}" for each in alarm.get("Dimensions", ()))
    return "/".join((alarm.get("Namespace", ""), alarm["MetricName"], *of))


def _rises_above(alarm: Mapping[str, Any]) -> bool:
    return str(alarm.get("ComparisonOperator", "")).startswith("GreaterThan") and (
        "Threshold" in alarm
    )


@dataclass(slots=True)
class _Asked:
    not_known: dict[str, str] = field(default_factory=dict)

    def ask[T](self, what: str, question: Callable[[], T]) -> T | None:
        try:
            return question()
        except ClientError as error:
            self.not_known[what] = f"{error.response['Error']['Code']} for {error.operation_name}"
        except (BotoCoreError, LookupError, TypeError, ValueError) as error:
            self.not_known[what] = plain(f"{type(error).__name__}: {error}")
        return None


def names_in(letters: str) -> tuple[str, ...]:
    """Split a setting with the URLs of queues, separated by commas."""
    return tuple(filter(None, letters.split(",")))
