"""The tables of the policy that describe budgets."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field

from batch_watchdog.policy.durations import shown
from batch_watchdog.policy.match import Globs, Match, Table, Text, any_glob
from batch_watchdog.policy.tables import Percent
from batch_watchdog.policy.toml_positions import KeyPath

UNITS = ("vcpu_hours", "gpu_hours", "memory_gib_hours", "instance_hours")
"""What is counted, in the order in which it is kept."""


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(
            f'expected a time zone such as "UTC" or "Asia/Tokyo", not {shown(name)}'
        ) from None
    return name


type TimeZone = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_known_zone)]
type Quantity = Annotated[float, Field(strict=True, gt=0, le=1e12, allow_inf_nan=False)]
type Price = Annotated[float, Field(strict=True, ge=0, le=1e6, allow_inf_nan=False)]


class Rates(Table):
    """What an hour costs, in USD. What is not given costs nothing."""

    queue: Globs | None = None
    """Globs on the name (or the ARN) of the job queue: these rates are for its jobs. Every queue,
    unless given."""
    vcpu_hour: Price = 0.0
    """USD for an hour of one vCPU."""
    gpu_hour: Price = 0.0
    """USD for an hour of one GPU."""
    memory_gib_hour: Price = 0.0
    """USD for an hour of one GiB of memory."""
    instance_hour: Price = 0.0
    """USD for an hour of one instance of a service job."""

    @property
    def prices(self) -> tuple[float, ...]:
        """The prices in the order of `UNITS`."""
        return self.vcpu_hour, self.gpu_hour, self.memory_gib_hour, self.instance_hour


def _in_a_list(value: object) -> object:
    return [value] if isinstance(value, dict) else value


class Budget(Table):
    """
    How much jobs may use in a period. It is counted from the events of AWS Batch, as they come.

    Any of its limits may be reached: the one of which most is used counts.
    """

    name: Annotated[Text, Field(max_length=64)]
    """What operators call it, and a guard's stage names; no two budgets share a name."""
    match: Match = Match()
    """The jobs that are counted; every job, unless given."""
    per: Literal["day", "week", "month"] = "month"
    """The period; a week begins on Monday."""
    time_zone: TimeZone = "UTC"
    """Where periods begin, at midnight: "Asia/Tokyo"."""
    vcpu_hours: Quantity | None = None
    """Hours of one vCPU that may be used in a period."""
    gpu_hours: Quantity | None = None
    """Hours of one GPU."""
    memory_gib_hours: Quantity | None = None
    """Hours of one GiB of memory."""
    instance_hours: Quantity | None = None
    """Hours of one instance of service jobs, where their request says how many they have."""
    usd: Quantity | None = None
    """USD by the `rates`. It is not what AWS will bill: instances that idle are not counted."""
    rates: Annotated[
        tuple[Rates, ...],
        Field(max_length=100),
        BeforeValidator(_in_a_list, json_schema_input_type=Rates | tuple[Rates, ...]),
    ] = ()
    """Prices for `usd`: one table, or a list of [[budget.rates]] by queue, of which the first that
    matches a job's queue counts."""
    warn_at: Annotated[tuple[Percent, ...], Field(max_length=20)] = ()
    """Percentages at which to warn, each once in a period. A notice at 100 is always sent."""

    def contradictions(self) -> Iterator[tuple[KeyPath, str]]:
        if not self.limits:
            yield (), f"expected at least one limit: {', '.join(UNITS)} or usd"
        if self.usd is not None and not self.rates:
            yield ("usd",), "needs rates, or nothing costs anything"

    @cached_property
    def limits(self) -> Mapping[str, float]:
        """The limits by unit; usd first, then in the order of `UNITS`."""
        given = {unit: getattr(self, unit) for unit in ("usd", *UNITS)}
        return {unit: limit for unit, limit in given.items() if limit is not None}

    @cached_property
    def counting(self) -> str:
        """Ten characters that change when other jobs, or other periods, are counted."""
        what = [self.match.model_dump(mode="json"), self.per, self.time_zone]
        text = json.dumps(what, sort_keys=True).encode("utf-8", "replace")
        return hashlib.sha256(text).hexdigest()[:10]

    @cached_property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)

    def prices_in(self, queue: str) -> tuple[float, ...]:
        """Return the prices for a queue (an ARN or a name), in the order of `UNITS`."""
        for rates in self.rates:
            if any_glob(rates.queue, queue.rpartition("/")[2], arn=queue):
                return rates.prices
        return Rates().prices
