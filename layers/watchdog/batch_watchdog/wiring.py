"""
The parts of one container, made when they are first needed: the only creator of AWS clients.

Replays, simulations and tests install a container of their own, with a table in memory and a
session whose calls stay on the machine.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import boto3
from botocore.config import Config

from batch_watchdog.act import Actor
from batch_watchdog.batch_api import BatchApi
from batch_watchdog.dead_letters import DeadLetters
from batch_watchdog.inquiry import Inquiry
from batch_watchdog.observe import Observer
from batch_watchdog.policies import MAX_AGE, Policies
from batch_watchdog.settings import Settings
from batch_watchdog.store.table import DynamoTable, Table
from batch_watchdog.sweep import Sweeper

# Adaptive retries slow down by themselves where AWS throttles.
_CONFIG = Config(retries={"mode": "adaptive", "total_max_attempts": 6}, connect_timeout=5)


@dataclass(kw_only=True)
class Container:
    """All use cases, wired to AWS."""

    settings: Settings = field(default_factory=Settings.from_env)
    session: boto3.Session = field(default_factory=boto3.Session)
    policy_max_age: int = MAX_AGE

    @cached_property
    def table(self) -> Table:
        return DynamoTable(self._client("dynamodb"), self.settings.table_name)

    @cached_property
    def policies(self) -> Policies:
        parameter = self.settings.policy_parameter
        return Policies(self._client("ssm"), parameter, self.table, self.policy_max_age)

    @cached_property
    def batch(self) -> BatchApi:
        return BatchApi(self._client("batch"))

    @cached_property
    def observer(self) -> Observer:
        letters = DeadLetters(self._client("sqs"), self.settings.dead_letter_queue_url)
        return Observer(
            table=self.table,
            batch=self.batch,
            dead_letters=letters,
            policy=self.policies.current,
        )

    @cached_property
    def sweeper(self) -> Sweeper:
        ec2, ecs = self._client("ec2"), self._client("ecs")
        return Sweeper(
            table=self.table,
            batch=self.batch,
            inquiry=lambda: Inquiry(batch=self.batch, ec2=ec2, ecs=ecs),
            policies=self.policies,
        )

    @cached_property
    def actor(self) -> Actor:
        return Actor(
            table=self.table,
            batch=self.batch,
            sns=self._client("sns"),
            topic_arn=self.settings.topic_arn,
        )

    def _client(self, service: Any) -> Any:
        return self.session.client(service, config=_CONFIG)


_installed: list[Container] = []


def container() -> Container:
    """This process's container, which lives as long as it does."""
    if not _installed:
        _installed.append(Container())
    return _installed[0]


def install(container: Container) -> None:
    """Use this container from now on, in place of one wired to AWS."""
    _installed[:] = [container]
