"""
Wire the use cases to AWS. Each part is made when first needed; AWS clients are made only here.

A use case is imported where it is made, so a function loads only its own: a third less CPU at a
cold start. The handlers import theirs too, because Lambda gives most CPU before the first call.

Replays, simulations and tests install a container of their own, with a table in memory and a
session whose calls stay on the machine.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from time import sleep
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from batch_watchdog.aws.batch import BatchApi
from batch_watchdog.aws.meter import emit
from batch_watchdog.aws.queues import DeadLetters, StopQueue
from batch_watchdog.aws.rate_limiter import RateLimiter
from batch_watchdog.aws.settings import Settings
from batch_watchdog.measures.measures import Meter
from batch_watchdog.policy.loader import MAX_AGE, PolicyLoader
from batch_watchdog.store.table import DynamoTable, Table

if TYPE_CHECKING:
    from batch_watchdog.diagnosis.gather import DiagnosisGatherer
    from batch_watchdog.guards.stop_run.workflow import StopRunner
    from batch_watchdog.health.facts import Facts
    from batch_watchdog.policy.model import Policy
    from batch_watchdog.use_cases.act import Actor
    from batch_watchdog.use_cases.console import Console
    from batch_watchdog.use_cases.job_events import JobEventIntake
    from batch_watchdog.use_cases.spend_alarm import SpendAlarmIntake
    from batch_watchdog.use_cases.sweep import Sweeper

# With adaptive retries, calls slow down while AWS throttles.
_CONFIG = Config(retries={"mode": "adaptive", "total_max_attempts": 6}, connect_timeout=5)
# Stop runs limit their own rate. For them one more try is enough, if a connection breaks.
_CONFIG_OF_RUNS = Config(retries={"mode": "standard", "total_max_attempts": 2}, connect_timeout=5)
# A diagnosis leaves out what EC2 or ECS does not answer within some seconds, and the last good
# policy counts while SSM does not. With the default of a minute for an answer, a sweep would be
# killed before it has stopped a job; with more tries, a throttled SSM would use up a function's
# time.
_BRIEF_CONFIG = Config(
    retries={"mode": "adaptive", "total_max_attempts": 3}, connect_timeout=2, read_timeout=4
)

BILLING_REGION = "us-east-1"  # AWS publishes estimated charges there only.


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(kw_only=True)
class Container:
    """
    All use cases, wired to AWS. `pause` waits for some seconds. `meter` receives the measures.

    `clock` returns the present time (UTC). A message's own time may be hours old when it arrives,
    so anything that depends on the time at which we act must use `clock`.
    """

    settings: Settings = field(default_factory=Settings.from_env)
    session: boto3.Session = field(default_factory=boto3.Session)
    policy_max_age: int = MAX_AGE
    pause: Callable[[float], None] = sleep
    clock: Callable[[], datetime] = _now
    meter: Meter | None = None
    _clients: dict[tuple[Any, ...], Any] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def table(self) -> Table:
        return DynamoTable(self._client("dynamodb"), self.settings.table_name)

    @cached_property
    def policies(self) -> PolicyLoader:
        parameter = self.settings.policy_parameter
        ssm = self._client("ssm", _BRIEF_CONFIG)
        return PolicyLoader(ssm, parameter, self.table, self.policy_max_age)

    @cached_property
    def batch(self) -> BatchApi:
        return BatchApi(self._client("batch"))

    @cached_property
    def job_event_intake(self) -> "JobEventIntake":
        from batch_watchdog.use_cases.job_events import JobEventIntake

        return JobEventIntake(
            table=self.table,
            batch=self.batch,
            dead_letters=self._dead_letters,
            policy=self.policies.current,
            clock=self.clock,
        )

    @cached_property
    def sweeper(self) -> "Sweeper":
        from batch_watchdog.health.workflow import DailyCheck
        from batch_watchdog.use_cases.sweep import Sweeper

        return Sweeper(
            table=self.table,
            batch=self.batch,
            inquiry=self._inquiry,
            policies=self.policies,
            clock=self.clock,
            meter=self.meter,
            daily=DailyCheck(table=self.table, facts=self._facts),
        )

    @cached_property
    def actor(self) -> "Actor":
        from batch_watchdog.use_cases.act import Actor
        from batch_watchdog.use_cases.announce import Announcer

        return Actor(
            table=self.table,
            batch=self.batch,
            announcer=Announcer(
                table=self.table,
                sns=self._client("sns"),
                topic_arn=self.settings.topic_arn,
                chat_topic_arn=self.settings.chat_topic_arn,
                policy=self.policies.current,
                clock=self.clock,
            ),
            stop_queue=self._stop_queue,
            policy=self.policies.current_for_stops,
            clock=self.clock,
            meter=self.meter or (lambda _: None),
        )

    @cached_property
    def spend_alarm_intake(self) -> "SpendAlarmIntake":
        from batch_watchdog.use_cases.spend_alarm import SpendAlarmIntake

        return SpendAlarmIntake(
            table=self.table, dead_letters=self._dead_letters, policy=self.policies.current
        )

    @cached_property
    def stop_runner(self) -> "StopRunner":
        from batch_watchdog.guards.stop_run.workflow import StopRunner

        pace = RateLimiter(self.settings.stop_calls_per_second, self.pause)
        client = self.session.client("batch", config=_CONFIG_OF_RUNS)
        return StopRunner(
            table=self.table,
            batch=BatchApi(client, pace.wait),
            pace=pace,
            queue=self._stop_queue,
            policy=self.policies.current_for_stops,
        )

    @cached_property
    def console(self) -> "Console":
        from batch_watchdog.use_cases.console import Console

        return Console(
            table=self.table,
            batch=self.batch,
            inquiry=self._inquiry,
            policy=self.policies.current,
            facts=self._facts,
        )

    @property
    def _dead_letters(self) -> DeadLetters:
        return DeadLetters(self._client("sqs"), self.settings.dead_letter_queue_url)

    @property
    def _stop_queue(self) -> StopQueue:
        return StopQueue(self._client("sqs"), self.settings.stop_queue_url)

    def _inquiry(self, now: datetime) -> "DiagnosisGatherer":
        from batch_watchdog.diagnosis.gather import DiagnosisGatherer

        ec2, ecs = self._client("ec2", _BRIEF_CONFIG), self._client("ecs", _BRIEF_CONFIG)
        return DiagnosisGatherer(batch=self.batch, ec2=ec2, ecs=ecs, now=now)

    def _facts(self, policy: "Policy", now: datetime) -> "Facts":
        from batch_watchdog.health.gather import HealthGatherer, names_in

        return HealthGatherer(
            batch=self.batch,
            sns=self._client("sns"),
            sqs=self._client("sqs"),
            ec2=self._client("ec2"),
            cloudwatch=lambda region: self._client("cloudwatch", region=region),
            region=self.settings.topic_arn.split(":")[3],
            billing_region=BILLING_REGION,
            topic_arn=self.settings.topic_arn,
            letters=names_in(self.settings.dead_letter_queue_urls),
            rule=self.settings.job_events_rule,
        ).facts(policy, now)

    def _client(self, service: Any, config: Config = _CONFIG, region: str | None = None) -> Any:
        key = service, id(config), region
        if key not in self._clients:
            where: dict[str, Any] = {"region_name": region} if region else {}
            self._clients[key] = self.session.client(service, **where, config=config)
        return self._clients[key]


_installed: list[Container] = []


def container() -> Container:
    """Return the container of this process, which is made once."""
    if not _installed:
        _installed.append(Container(meter=emit))
    return _installed[0]


def install(container: Container) -> None:
    """Use this container from now on, instead of one that is wired to AWS."""
    _installed[:] = [container]
