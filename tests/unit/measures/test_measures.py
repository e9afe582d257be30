"""What becomes a metric: few names, one dimension, harmless values."""

import json
from datetime import timedelta
from typing import Any

import pytest

from batch_watchdog.aws import meter
from batch_watchdog.core.effects import Announce, StartRun, StopJobs
from batch_watchdog.measures.measures import (
    QUEUES_MAX,
    Measure,
    of_action,
    of_budget,
    of_guard,
    of_lateness,
    of_waits,
)
from tests.makers import QUEUE, a_notice, at

NOW = at("12:00")
STOP = StopJobs(how="cancel", job_ids=("a", "b", "c", "d"), reason="r", rule="limit[1]")


@pytest.mark.parametrize(
    ("result", "counts"),
    [
        ({"accepted": 4, "refused": {}}, {"StopsAccepted": 4}),
        (
            {"accepted": 1, "refused": {"b": "no"}, "not_meant": {"held": ["c", "d"]}},
            {"StopsAccepted": 1, "StopsRefused": 1, "StopsLeft": 2},
        ),
        ({"overtaken": "too late"}, {"StopsLeft": 4}),
    ],
)
def test_stops_are_measured_by_rule_and_result(result: Any, counts: dict[str, int]) -> None:
    found = list(of_action(STOP, result))

    assert {each.name: each.value for each in found} == counts
    assert all(each.by == {"rule": "limit[1]"} for each in found)


def test_arrays_that_are_done_and_those_in_which_something_failed_are_measured() -> None:
    notices = [a_notice(kind="array-completed", facts={"failed": failed}) for failed in (0, 3, 1)]

    found = of_action(Announce(notices=(*notices, a_notice())), {"published": "1"})

    assert {each.name: each.value for each in found} == {"ArraysDone": 3, "ArraysFailed": 2}


def test_other_actions_are_not_measured() -> None:
    assert not list(of_action(Announce(notices=(a_notice(),)), {}))
    assert not list(of_action(StartRun(run_id="r"), {}))


def test_the_oldest_wait_of_the_queues_that_wait_longest_is_measured() -> None:
    since = {f"{QUEUE}-{n}": NOW - timedelta(minutes=n) for n in range(QUEUES_MAX + 10)}

    found = list(of_waits(since, NOW))

    assert len(found) == QUEUES_MAX
    assert (found[0].by, found[0].value) == ({"queue": f"gpu-{QUEUES_MAX + 9}"}, 29 * 60)


def test_guards_budgets_and_lateness() -> None:
    assert [of_guard("g", stage).value for stage in ("calm", "cancel", "terminate")] == [0, 1, 2]
    assert of_budget("b", 12.3456).value == 12.346
    assert of_lateness(timedelta(seconds=-3)).value == 0


def test_a_name_of_any_text_becomes_a_dimension_that_cloudwatch_takes() -> None:
    by = of_guard("日本\n<b>" + "x" * 2_000, "calm").by

    assert by
    assert by["guard"].isascii()
    assert len(by["guard"]) <= 250
    assert of_guard("", "calm").by == {"guard": "?"}


def test_measures_are_written_in_the_embedded_metric_format(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "my-stack")

    meter.emit(
        [
            Measure(name="ArraysDone", value=1),
            Measure(name="LimitsLate", value=2, unit="Seconds"),
            of_guard("monthly", "cancel"),
        ]
    )

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    plain_line, guard_line = lines
    told = plain_line["_aws"]["CloudWatchMetrics"][0]
    assert (told["Namespace"], told["Dimensions"]) == ("BatchWatchdog", [["service"]])
    assert (plain_line["service"], plain_line["ArraysDone"]) == ("my-stack", [1.0])
    assert guard_line["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["guard", "service"]]
