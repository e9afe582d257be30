"""What a million jobs and an idle stack cost, by list prices and by counts of the same run."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from batch_watchdog.measures.measures import Measure
from local.aws import stack as stacks
from tests.benchmarks import storage
from tests.benchmarks.measuring import Figure
from tests.benchmarks.storage import Cost
from tests.benchmarks.table_units import Units
from tests.makers import at
from tests.watching import MINUTE, Watching

_MILLION = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """
    USD for a million each, and for a GB and second, in us-east-1, without what is free at first.

    https://aws.amazon.com/sqs/pricing/ https://aws.amazon.com/lambda/pricing/
    https://aws.amazon.com/dynamodb/pricing/on-demand/
    """

    on: str = "2026-11"
    queue_requests: float = 0.40
    invocations: float = 0.20
    gb_second: float = 0.000_013_333_4  # arm64
    write_units: float = 0.625
    read_units: float = 0.125
    # A month of each. https://aws.amazon.com/cloudwatch/pricing/ https://aws.amazon.com/kms/pricing/
    alarm: float = 0.10
    metric: float = 0.30
    dashboard: float = 3.00
    key: float = 1.00
    polled_queue: float = 0.50  # Lambda polls an idle queue, too: see docs/aws-claims.md.


_PRICES = Prices()
_A_RECEIVE = 10  # messages a receive or delete of the queue, as Lambda makes them
_MEMORY_GB = 1.0
_BATCH_S = 0.5  # of a batch of 1,000 events, as Lambda's processors are slower than a desk's
_SMALL_GB, _SMALL_S = 0.125, 0.005  # a function that writes one item
_SWEEP_S = 0.1  # of an idle sweep, with its calls of AWS
_HOURS = 730  # of a month


def figures() -> Iterator[Figure]:
    for name, cost in (
        ("an array of 10,000, within 600 s", storage.of_an_array(600)),
        ("single jobs, 70 a minute", storage.of_singles(70)),
    ):
        parts = _watchdog(cost)
        yield Figure(
            name=f"a million jobs with a limit, as {name}",
            value=sum(parts.values()),
            unit="USD",
            note=", ".join(f"{what} {price:.2f}" for what, price in parts.items())
            + f"; prices of {_PRICES.on}",
        )
        yield Figure(
            name="the same events, a function and a put for each",
            value=_each_event_by_itself(cost),
            unit="USD",
        )


def of_an_idle_stack() -> Iterator[Figure]:
    """The stack with the sample policy, all alarms, the page and the record of events; no jobs."""
    template = stacks.TEMPLATE.read_text(encoding="utf-8")
    metrics: set[tuple[str, str]] = set()

    def meter(measures: Sequence[Measure]) -> None:
        metrics.update((each.name, str(each.by)) for each in measures)

    idle = Watching(
        (stacks.TEMPLATE.parent / "events" / "policy.toml").read_text(encoding="utf-8"), meter=meter
    )
    for minute in range(30):  # The first sweeps set things up.
        idle.sweep(at("12:00") + minute * MINUTE)
    with Units().counted() as units:
        for minute in range(30, 90):
            idle.sweep(at("12:00") + minute * MINUTE)
    sweeps = 60 * _HOURS
    parts = {
        "dashboard": _PRICES.dashboard,
        "alarms": template.count("Type: AWS::CloudWatch::Alarm") * _PRICES.alarm,
        "metrics": len(metrics) * _PRICES.metric,
        "key": _PRICES.key,
        "polling of queues": template.count("Type: SQS\n") * _PRICES.polled_queue,
        "table": _HOURS
        * (units.written * _PRICES.write_units + units.read * _PRICES.read_units)
        / _MILLION,
        "sweeps": sweeps
        * (_PRICES.invocations / _MILLION + _SWEEP_S * _MEMORY_GB * _PRICES.gb_second),
    }
    # What AWS gives every account each month: 3 dashboards, 10 alarms, 10 metrics, and a million
    # requests of queues. The functions stay within what Lambda gives.
    given = {
        "dashboard": 3 * _PRICES.dashboard,
        "alarms": 10 * _PRICES.alarm,
        "metrics": 10 * _PRICES.metric,
        "polling of queues": _PRICES.queue_requests,
        "sweeps": parts["sweeps"],
    }
    left = {what: max(0.0, price - given.get(what, 0)) for what, price in parts.items()}
    for name, prices in (
        ("an idle stack, a month, by list prices", parts),
        ("the same, less what AWS gives every account", left),
    ):
        yield Figure(
            name=name,
            value=sum(prices.values()),
            unit="USD",
            goal=3,
            note=", ".join(f"{what} {price:.2f}" for what, price in prices.items() if price)
            + f"; prices of {_PRICES.on}",
            why="a dashboard, each alarm, each metric and the key have a price, used or not",
        )


def _watchdog(cost: Cost) -> dict[str, float]:
    jobs = _MILLION / cost.jobs
    requests = cost.events * (1 + 2 / _A_RECEIVE)  # one send, and a share of a receive and a delete
    seconds = cost.events / 1_000 * _BATCH_S + cost.invocations * _SMALL_S
    return {
        "queue": jobs * requests * _PRICES.queue_requests / _MILLION,
        "function": jobs
        * (
            cost.invocations * _PRICES.invocations / _MILLION
            + seconds * _MEMORY_GB * _PRICES.gb_second
        ),
        "table": jobs
        * (cost.units.written * _PRICES.write_units + cost.units.read * _PRICES.read_units)
        / _MILLION,
    }


def _each_event_by_itself(cost: Cost) -> float:
    events = _MILLION / cost.jobs * cost.events
    of_one = (
        (_PRICES.invocations + _PRICES.write_units) / _MILLION
        + _SMALL_S * _SMALL_GB * _PRICES.gb_second
    )  # fmt: skip
    return events * of_one
