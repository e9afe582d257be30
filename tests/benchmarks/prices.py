"""What a million jobs cost, by list prices and by what was counted in the same run."""

from collections.abc import Iterator
from dataclasses import dataclass

from tests.benchmarks import storage
from tests.benchmarks.measuring import Figure
from tests.benchmarks.storage import Cost

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


_PRICES = Prices()
_A_RECEIVE = 10  # messages a receive or delete of the queue, as Lambda makes them
_MEMORY_GB = 1.0
_BATCH_S = 0.5  # of a batch of 1,000 events, as Lambda's processors are slower than a desk's
_SMALL_GB, _SMALL_S = 0.125, 0.005  # a function that writes one item


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
