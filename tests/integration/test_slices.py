"""A sweep's long work: in slices, kept as it goes on, and no job is described without need."""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import pytest

from batch_watchdog.store import operator_hold, sweep_cursor
from batch_watchdog.store.operator_hold import OperatorHold
from batch_watchdog.use_cases.job_events import Message
from tests.makers import JOB, QUEUE, an_event, at
from tests.watching import MINUTE, Watching

TAGS = {"team": "a"}  # Jobs whose events show their tags need no first look.
TWO_HOURS = """
mode = "enforce"
[safety]
max_stops_per_hour = 10000
[[limit]]
RUNNABLE = { after = "2h", action = "cancel" }
"""


class KilledError(BaseException):
    """The function's time is over."""


def waiting(count: int, clock: str = "12:00", **more: Any) -> list[Any]:
    return [an_event(clock, jobId=f"job-{number:05}", tags=TAGS, **more) for number in range(count)]


class Noting(Watching):
    """Notes the calls of AWS Batch, and may end a sweep in the middle of one."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.calls: list[tuple[str, Mapping[str, Any]]] = []
        self.killed_by: Callable[[], bool] = lambda: False
        self.refuses = self._noted

    def _noted(self, operation: str, params: Mapping[str, Any]) -> bool:
        if self.killed_by():
            raise KilledError
        self.calls.append((operation, params))
        return False

    @property
    def described(self) -> Counter[str]:
        return Counter(
            job for name, params in self.calls if name == "DescribeJobs" for job in params["jobs"]
        )

    def take_in(self, events: list[Any], now: datetime) -> "Noting":
        """Have all events come at once."""
        self.batch.advance_to(now)
        messages = [Message(str(n), json.dumps(event), now) for n, event in enumerate(events)]
        assert self.job_event_intake.handle(messages) == []
        return self

    def hurried(self, now: datetime, calls: int) -> None:
        """A sweep that has time for so many calls."""
        self.batch.advance_to(now)
        before = len(self.calls)
        self.sweeper.sweep(now, out_of_time=lambda: len(self.calls) >= before + calls)
        self.act()


def taken_in(policy: str, count: int, **batch: Any) -> Noting:
    """So many jobs wait since noon and are known by their events; the sweep has come to 12:01."""
    events = waiting(count)
    watching = Noting(policy, lost=events, **batch).take_in(events, at("12:00"))
    watching.run(at("12:00"), at("12:01"))
    watching.calls.clear()
    return watching


def test_jobs_that_are_known_are_listed_without_being_described() -> None:
    watching = taken_in(TWO_HOURS, 1_200)
    watching.run(at("12:02"), at("12:40"))

    assert watching.described == {}
    assert sum(name == "ListJobs" for name, _ in watching.calls) >= 4


def test_jobs_that_nothing_limits_are_described_once() -> None:
    watching = Noting("", lost=waiting(1_200)).run(at("12:00"), at("13:00"))

    assert isinstance(watching, Noting)
    assert set(watching.described.values()) == {1}
    assert len(watching.described) == 1_200


def test_a_sweep_that_is_short_of_time_does_some_of_it_and_the_next_one_goes_on() -> None:
    watching = taken_in(TWO_HOURS, 1_000)
    watching.hurried(at("14:00"), calls=5)
    assert 0 < len(watching.stopped()) <= 500
    for minute in range(1, 6):
        watching.hurried(at("14:00") + minute * MINUTE, calls=5)

    assert len(watching.stopped()) == 1_000
    assert max(watching.stopped().values()) <= "14:05"


@pytest.mark.parametrize("calls", [0, 1])
def test_a_sweep_without_any_time_still_moves_on(calls: int) -> None:
    watching = taken_in(TWO_HOURS, 150)
    sweeps = 0
    while len(watching.stopped()) < 150:
        watching.hurried(at("14:00") + sweeps * timedelta(seconds=1), calls)
        sweeps += 1
        assert sweeps <= 160


def test_a_sweep_that_is_killed_has_kept_what_it_did() -> None:
    watching = taken_in(TWO_HOURS, 3_000)
    watching.run(at("12:02"), at("13:59"))
    watching.calls.clear()
    watching.killed_by = lambda: len(watching.described) >= 2_500

    with pytest.raises(KilledError):
        watching.sweep(at("14:00"))
    watching.killed_by = lambda: False
    watching.sweep(at("14:01"))
    by_sweeps = dict(watching.described)
    watching.act()  # It describes each job once more, in the second of its stop.

    assert len(watching.stopped()) == 3_000
    assert max(by_sweeps.values()) == 2
    assert sum(times == 2 for times in by_sweeps.values()) <= 1_000


def test_sweeps_that_are_all_killed_come_through_what_an_outage_has_left_to_do() -> None:
    events = [an_event(f"12:{n:02}", jobId=f"job-{n}", tags=TAGS) for n in range(20)]
    watching = Noting(TWO_HOURS, events)
    watching.run(at("12:00"), at("12:30"))
    for sweep in range(20):
        watching.calls.clear()
        watching.killed_by = lambda: len(watching.calls) >= 5
        with suppress(KilledError):
            watching.sweep(at("15:00") + sweep * MINUTE)
        watching.killed_by = lambda: False
        watching.act()

    assert len(watching.stopped()) == 20


def test_what_is_due_is_not_forgotten_though_the_first_sweeps_ever_are_all_killed() -> None:
    watching = Noting(TWO_HOURS, lost=waiting(1)).take_in(waiting(1), at("12:00"))
    watching.killed_by = lambda: True
    for minute in range(10):
        watching.batch.advance_to(at("14:00") + minute * MINUTE)
        with pytest.raises(KilledError):
            watching.sweep(at("14:00") + minute * MINUTE)

    watching.killed_by = lambda: False
    watching.run(at("14:10"), at("14:10"))

    assert watching.stopped() == {"job-00000": "14:10"}


def test_a_listing_that_is_killed_goes_on_at_its_page() -> None:
    watching = Noting(TWO_HOURS, lost=waiting(8_500))
    watching.batch.advance_to(at("12:00"))
    watching.killed_by = lambda: len(watching.described) >= 7_500

    with pytest.raises(KilledError):
        watching.sweep(at("12:00"))
    watching.killed_by = lambda: False
    watching.sweep(at("12:01"))

    tokens = [
        params.get("nextToken")
        for name, params in watching.calls
        if name == "ListJobs" and params["jobStatus"] == "RUNNABLE"
    ]
    assert tokens.count(None) == 1
    assert len(watching.described) == 8_500


def test_a_listing_that_is_short_of_time_takes_a_slice_a_sweep() -> None:
    watching = Noting(TWO_HOURS, lost=waiting(2_500))
    for minute in range(6):
        watching.hurried(at("12:00") + minute * MINUTE, calls=8)

    assert len(watching.described) == 2_500
    assert set(watching.described.values()) == {1}
    begun = [
        params
        for name, params in watching.calls
        if name == "ListJobs" and "nextToken" not in params and params["jobStatus"] == "RUNNABLE"
    ]
    assert len(begun) <= 3  # A page is read again where the time was up in the middle of it.


def test_a_listing_is_over_though_there_is_nothing_left_to_list() -> None:
    watching = Noting(TWO_HOURS).run(at("12:00"), at("12:14"))

    assert isinstance(watching, Noting)
    assert [name for name, _ in watching.calls] == ["DescribeJobQueues"]
    assert sweep_cursor.read(watching.table, at("12:14")).listing is None


def test_a_queue_that_cannot_be_listed_keeps_no_other_from_being_listed() -> None:
    other = QUEUE.replace("gpu", "aaa")
    events = [*waiting(2), an_event("12:00", jobId="in-other", jobQueue=other, tags=TAGS)]
    watching = Watching(TWO_HOURS, lost=events)
    watching.refuses = lambda name, params: name == "ListJobs" and params.get("jobQueue") == other
    watching.batch.advance_to(at("12:00"))

    with pytest.raises(ExceptionGroup, match="not all that was due"):
        watching.sweep(at("12:00"))
    watching.refuses = lambda *_: False
    watching.run(at("12:01"), at("14:10"))

    assert watching.stopped() == {"job-00000": "14:00", "job-00001": "14:00", "in-other": "14:01"}


class Unlisted(Noting):
    """One of two queues cannot be listed while `refused`; each sweep may fail."""

    other = QUEUE.replace("gpu", "aaa")
    refused = True

    def _noted(self, operation: str, params: Mapping[str, Any]) -> bool:
        super()._noted(operation, params)
        return self.refused and operation == "ListJobs" and params.get("jobQueue") == self.other

    def sweep(self, now: datetime) -> None:
        with suppress(ExceptionGroup):
            super().sweep(now)

    def listed(self, first: str, last: str) -> list[str]:
        """When the other queue was tried to be listed, as clocks."""
        clocks = []
        now = at(first)
        while now <= at(last):
            self.calls.clear()
            self.run(now, now)
            if any(params.get("jobQueue") == self.other for _, params in self.calls):
                clocks.append(f"{now:%H:%M}")
            now += MINUTE
        return clocks


def test_where_a_queue_cannot_be_listed_all_are_listed_again_more_and_more_rarely() -> None:
    job = an_event("12:00", jobId="in-other", jobQueue=Unlisted.other, tags=TAGS)
    watching = Unlisted(TWO_HOURS, lost=[*waiting(2), job])

    repeated = ["12:00", "12:01", "12:03", "12:07", "12:15"]
    assert watching.listed("12:00", "12:59") == [*repeated, "12:30", "12:45"]
    watching.refused = False
    assert watching.listed("13:00", "13:29") == ["13:00", "13:15"]
    watching.refused = True
    assert watching.listed("13:30", "13:34") == ["13:30", "13:31", "13:33"]
    watching.run(at("13:35"), at("15:05"))

    assert watching.stopped() == {
        **dict.fromkeys(("job-00000", "job-00001"), "14:00"),
        "in-other": "15:00",  # two hours after it was found
    }


def test_a_listing_that_goes_on_in_the_next_sweep_is_known_to_have_failed_before() -> None:
    job = an_event("12:00", jobId="in-other", jobQueue=Unlisted.other, tags=TAGS)
    watching = Unlisted(TWO_HOURS, lost=[*waiting(1_500), job])
    with suppress(ExceptionGroup):
        watching.hurried(at("12:00"), calls=8)
    watching.refused = False
    begun = sweep_cursor.read(watching.table, at("12:00")).listing
    watching.run(at("12:01"), at("12:02"))

    assert begun is not None
    assert "in-other" in watching.described


def test_a_job_that_a_late_sweep_finds_is_known_since_it_was_seen() -> None:
    watching = Watching(TWO_HOURS, lost=[an_event("12:04", tags=TAGS)])
    watching.batch.advance_to(at("12:05"))
    watching.sweeper.sweep(at("12:00"), out_of_time=lambda: False)
    watching.run(at("12:06"), at("15:00"))

    assert watching.stopped() == {JOB: "14:05"}


# ---- What must wait -----------------------------------------------------------------------


def test_while_an_operator_holds_overdue_jobs_are_not_described_again_and_then_due_at_once() -> (
    None
):
    watching = taken_in(TWO_HOURS, 300)
    watching.run(at("12:02"), at("13:58"))
    watching.table.write([operator_hold.put(OperatorHold(since=at("13:59"), by="me"))])
    watching.run(at("13:59"), at("14:01"))
    watching.calls.clear()
    watching.run(at("14:02"), at("14:40"))

    assert set(watching.described.values()) <= {1}  # by the new listing of a page of few jobs
    assert watching.stops == []
    held = operator_hold.read(watching.table)
    watching.table.write([operator_hold.put(OperatorHold(version=held.version))])
    watching.run(at("14:41"), at("14:41"))
    assert set(watching.stopped().values()) == {"14:41"}
    assert len(watching.stopped()) == 300


def test_jobs_that_the_brake_postpones_are_not_described_again_until_it_lets_some_go() -> None:
    policy = TWO_HOURS.replace("10000", "100")
    watching = taken_in(policy, 300)
    watching.run(at("12:02"), at("14:00"))
    assert len(watching.stopped()) == 100
    watching.calls.clear()
    watching.run(at("14:03"), at("14:55"))

    assert len(watching.stopped()) == 100
    assert watching.described.total() <= 200
    watching.run(at("14:56"), at("15:06"))
    assert len(watching.stopped()) == 200


def brake_notice(watching: Watching) -> tuple[str, Any]:
    (notice,) = watching.told("watchdog-trouble")
    return notice["subject"], notice["facts"]


def test_the_brakes_notice_counts_all_that_a_sweep_could_not_stop() -> None:
    watching = taken_in(TWO_HOURS.replace("10000", "100"), 2_300)
    watching.run(at("12:02"), at("14:01"))

    subject, facts = brake_notice(watching)
    assert (facts["held"], facts["held_is_all"]) == (2_200, True)
    assert subject == "Brake: 2,200 jobs over their limit not stopped"


def test_of_a_sweep_that_did_not_come_to_the_end_the_brakes_notice_says_at_least() -> None:
    watching = taken_in(TWO_HOURS.replace("10000", "100"), 1_500)
    watching.hurried(at("14:00"), calls=8)

    subject, facts = brake_notice(watching)
    assert not facts["held_is_all"]
    assert subject == f"Brake: at least {facts['held']} jobs over their limit not stopped"


def test_where_others_wait_for_the_brake_unseen_its_notice_says_at_least() -> None:
    watching = taken_in(TWO_HOURS.replace("10000", "100"), 2_300)
    watching.run(at("12:02"), at("15:09"))

    (_, first), (_, second) = [
        (notice["subject"], notice["facts"]) for notice in watching.told("watchdog-trouble")
    ]
    assert first["held_is_all"]
    assert not second["held_is_all"]
    assert second["held"] < 2_100


# ---- A new policy -------------------------------------------------------------------------


def test_a_new_policy_is_applied_in_slices_and_does_not_begin_anew_with_each_sweep() -> None:
    watching = taken_in(TWO_HOURS, 1_200)
    watching.policy = TWO_HOURS.replace("2h", "30m")
    for minute in range(8):
        watching.hurried(at("13:00") + minute * MINUTE, calls=6)

    assert len(watching.stopped()) == 1_200
    assert sweep_cursor.read(watching.table, at("13:00")).refiling is None


def test_a_new_policy_is_applied_to_jobs_that_were_due_days_apart() -> None:
    policy = TWO_HOURS.replace("2h", "20d")
    begun = {"early": at("12:00"), "late": at("12:00") + timedelta(days=2)}
    events = [
        an_event(jobId=name, tags=TAGS) | {"time": f"{since:%Y-%m-%dT%H:%M:%SZ}"}
        for name, since in begun.items()
    ]
    watching = Noting(policy, lost=events)
    for event, since in zip(events, begun.values(), strict=True):
        watching.take_in([event], since)
        watching.sweep(since + MINUTE)

    watching.policy = TWO_HOURS
    changed = at("12:00") + timedelta(days=11)  # They were due in 9 and in 11 days.
    for minute in range(3):
        watching.sweep(changed + minute * MINUTE)
        watching.act()

    assert watching.stopped().keys() == {"early", "late"}


def test_a_policy_that_changes_while_it_is_applied_is_applied_in_the_end() -> None:
    watching = taken_in(TWO_HOURS, 1_000)
    for minute in range(16):
        spans = ["90m", "80m", "30m"]
        watching.policy = TWO_HOURS.replace("2h", spans[min(minute, 2)])
        watching.hurried(at("12:45") + minute * MINUTE, calls=8)

    assert len(watching.stopped()) == 1_000


# ---- Two at once --------------------------------------------------------------------------


def test_two_sweeps_at_once_lose_nothing_and_stop_nobody_twice() -> None:
    watching = taken_in(TWO_HOURS, 1_500)
    watching.run(at("12:02"), at("13:59"))
    watching.calls.clear()
    begun = False

    def another() -> bool:
        nonlocal begun
        if not begun and len(watching.described) >= 300:
            begun = True
            watching.sweeper.sweep(at("14:00"), out_of_time=lambda: False)
        return False

    watching.killed_by = another
    watching.sweep(at("14:00"))
    watching.run(at("14:01"), at("14:04"))

    assert begun
    stopped = [job for call in watching.stops for job in call.jobs]
    assert len(stopped) == len(set(stopped)) == 1_500


def test_a_sweep_for_a_minute_that_is_over_does_not_bring_the_cursor_back() -> None:
    watching = taken_in(TWO_HOURS, 1)
    watching.run(at("12:02"), at("12:20"))

    watching.sweeper.sweep(at("12:05"), out_of_time=lambda: False)

    assert sweep_cursor.read(watching.table, at("12:20")).minute == at("12:20")
