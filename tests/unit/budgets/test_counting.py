"""What is counted of facts that are repeated, late, reordered or never told."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest

from batch_watchdog.aws.batch import BatchApi
from batch_watchdog.budgets import facts, items, rules
from batch_watchdog.budgets.amounts import Amounts
from batch_watchdog.budgets.announcer import BudgetAnnouncer
from batch_watchdog.budgets.facts import Fact
from batch_watchdog.budgets.listing import BudgetListing
from batch_watchdog.budgets.periods import to_ms
from batch_watchdog.budgets.runs import Run, unnumbered
from batch_watchdog.budgets.workflow import BudgetKeeper
from batch_watchdog.policy.model import Policy, parse_policy
from batch_watchdog.store.item_codec import unpack
from batch_watchdog.store.memory_table import MemoryTable
from batch_watchdog.store.reminders import Reminders

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
POLICY = '[[budget]]\nname = "b"\nper = "day"\nvcpu_hours = 100\n'
QUEUE = "arn:aws:batch:us-east-1:111122223333:job-queue/gpu"


class Client:
    """AWS Batch, as far as it is asked."""

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.lacking: set[str] = set()  # in descriptions, and not in lists
        self.asked: list[list[str]] = []  # jobs, by call

    def describe_service_job(self, jobId: str) -> dict[str, Any]:  # noqa: N803 - AWS's name
        [job] = self.describe_jobs([jobId])["jobs"]
        return {**job, "serviceJobType": "SAGEMAKER_TRAINING"}

    def describe_jobs(self, jobs: Iterable[str]) -> dict[str, Any]:
        self.asked.append(list(jobs))
        shown = [self.jobs[each].items() for each in jobs if each in self.jobs]
        return {
            "jobs": [{key: it for key, it in each if key not in self.lacking} for each in shown]
        }

    def list_jobs(self, **asked: Any) -> dict[str, Any]:
        status = asked.get("jobStatus")
        found = [each for each in self.jobs.values() if status in (None, each["status"])]
        return {"jobSummaryList": found}

    def get_paginator(self, _: str) -> "Client":
        return self

    def paginate(self) -> Iterable[Mapping[str, Any]]:
        return [{"jobQueues": [{"jobQueueArn": QUEUE, "jobQueueType": "ECS"}]}]


class Watch:
    def __init__(self, policy: str = POLICY) -> None:
        self.table, self.client = MemoryTable(lambda *_: None), Client()
        self.calls = 1_000  # for which there is time
        self.policy: Policy = parse_policy(policy)
        self.keys = tuple((budget.name, budget.counting) for budget in self.policy.budget)

    def keeper(self, now: datetime) -> BudgetKeeper:
        return BudgetKeeper(
            table=self.table,
            batch=BatchApi(self.client),
            policy=self.policy,
            now=now,
            out_of_time=lambda: len(self.client.asked) >= self.calls,
        )

    def fact(self, job: str, start: datetime, stop: datetime | None = None, **more: Any) -> Fact:
        run = Run(
            job_id=job, attempt=0, start=to_ms(start), stop=to_ms(stop) if stop else 0, **more
        )
        return Fact(run=run, budgets=self.keys, name="x", queue=QUEUE, amounts=(4_000, 0, 1_024, 0))

    def guessed(self, job: str, at: datetime) -> Fact:
        """A run that is seen to go on at a time, and shows neither its start nor its attempt."""
        fact = self.fact(job, at, guessed=True)
        return replace(fact, run=replace(fact.run, attempt=unnumbered(to_ms(at))))

    def told(self, now: datetime, *some: Fact) -> None:
        filed = [fact for row in facts.rows_of(some) for fact in facts.read(row)]
        assert self.keeper(now).count(filed) == len(filed)

    def shows(self, job: str, status: str, start: datetime, stop: datetime | None = None) -> None:
        attempt = {"startedAt": to_ms(start), "stoppedAt": to_ms(stop) if stop else None}
        self.client.jobs[job] = {
            "jobId": job,
            "jobName": "x",
            "jobQueue": QUEUE,
            "status": status,
            "startedAt": to_ms(start),
            "stoppedAt": to_ms(stop) if stop else None,
            "attempts": [attempt] if stop else [],
            "container": {
                "resourceRequirements": [
                    {"type": "VCPU", "value": "4"},
                    {"type": "MEMORY", "value": "1"},
                ]
            },
        }

    def look(self, now: datetime) -> None:
        """See to what is due to be looked at."""
        due = self.filed(now)
        assert self.keeper(now).check(due) == len(due)

    def filed(self, until: datetime) -> list[Fact]:
        """Return the runs that are to be looked at until a time."""
        entries = Reminders(self.table).between(NOON - HOUR, until)
        rows = [row for each in entries if each.kind == "run" for row in unpack(each.content)]
        return [fact for row in rows for fact in facts.read(row)]

    def list_all(self, now: datetime) -> None:
        listing = BudgetListing(
            table=self.table,
            batch=BatchApi(self.client),
            policy=self.policy,
            now=now,
            out_of_time=lambda: False,
        )
        assert len(list(listing.go_on())) >= 3
        assert not listing.failed

    def used(self, now: datetime, name: str = "b") -> float:
        teller = BudgetAnnouncer(table=self.table, policy=self.policy, now=now)
        [reading] = [each for each in teller.readings() if each.budget == name]
        return reading.used["vcpu_hours"]


def test_each_start_and_each_end_counts_once() -> None:
    watch = Watch()
    for _ in range(2):
        watch.told(NOON, watch.fact("a", NOON), watch.fact("b:1", NOON))
    assert watch.used(NOON + HOUR) == 8
    for news in ("c", "d"):  # A repeat comes with what is new.
        ends = (watch.fact(job, NOON, NOON + HOUR) for job in ("a", "b:1", news))
        watch.told(NOON + HOUR, *ends)
    assert watch.used(NOON + 3 * HOUR) == 16


def test_an_end_whose_start_was_never_seen_counts_whole() -> None:
    watch = Watch()
    watch.told(NOON + HOUR, watch.fact("a", NOON, NOON + HOUR))
    assert watch.used(NOON + 3 * HOUR) == 4


def test_a_start_that_comes_after_its_end_counts_nothing() -> None:
    watch = Watch()
    watch.told(
        NOON + HOUR, watch.fact("a", NOON, NOON + HOUR), watch.fact("b:1", NOON, NOON + HOUR)
    )
    watch.told(NOON + 2 * HOUR, watch.fact("a", NOON), watch.fact("b:1", NOON))
    assert watch.used(NOON + 3 * HOUR) == 8


def test_an_end_that_shows_another_start_takes_off_the_one_that_was_counted() -> None:
    watch = Watch()
    guess = NOON + timedelta(seconds=70)
    watch.told(NOON + timedelta(minutes=2), watch.fact("a", guess, guessed=True))
    watch.told(NOON + HOUR / 4, watch.fact("a", NOON, NOON + HOUR / 4))
    assert watch.used(NOON + 3 * HOUR) == 1


@pytest.mark.parametrize("shown", [(1_000, 0, 512, 0), (9_000, 0, 1_024, 0)])
@pytest.mark.parametrize("job", ["a", "0f9f2aa1-7d53-4f4c-9a40-ac2b9a4a4a4a:7"])
def test_an_end_that_shows_other_amounts_takes_off_those_that_its_start_has_brought(
    job: str, shown: Amounts
) -> None:
    watch = Watch()
    watch.told(NOON + MINUTE, watch.fact(job, NOON))
    end = NOON + 15 * MINUTE
    watch.told(end, replace(watch.fact(job, NOON, end), amounts=shown))

    [state] = items.read_all(watch.table).values()
    assert (state.use.jobs, state.use.running) == (0, {})
    assert watch.used(NOON + 5 * HOUR) == pytest.approx(1)


def test_an_end_that_shows_no_start_ends_the_run_that_is_believed() -> None:
    watch = Watch()
    watch.told(NOON, watch.fact("a", NOON, guessed=True))
    run = Run(job_id="a", attempt=0, start=0, stop=to_ms(NOON + HOUR / 4))
    end = Fact(run=run, budgets=watch.keys, name="x", queue=QUEUE, amounts=(0, 0, 0, 0))
    watch.told(NOON + HOUR / 4, end)
    assert watch.used(NOON + 3 * HOUR) == 1


def test_an_end_of_which_no_event_told_is_found_by_a_look() -> None:
    watch = Watch()
    watch.told(NOON, watch.fact("a", NOON))
    watch.shows("a", "SUCCEEDED", NOON, NOON + HOUR / 8)
    watch.look(NOON + HOUR / 4)
    assert watch.used(NOON + 3 * HOUR) == 0.5


def test_a_start_that_comes_late_does_not_run_on_where_the_job_has_ended() -> None:
    watch = Watch()
    watch.shows("a", "SUCCEEDED", NOON, NOON + 6 * MINUTE)
    watch.told(NOON + 31 * MINUTE, watch.fact("a", NOON))

    assert watch.used(NOON + 40 * MINUTE) == pytest.approx(4 / 10)


def test_a_start_that_comes_late_counts_from_then_on_though_batch_does_not_show_it() -> None:
    watch = Watch()
    watch.shows("a", "RUNNING", NOON)
    del watch.client.jobs["a"]["startedAt"]
    watch.told(NOON + 31 * MINUTE, watch.fact("a", NOON))
    assert watch.used(NOON + HOUR) == 4

    watch.client.jobs["b"] = watch.client.jobs["a"] | {"jobId": "b", "status": "RUNNABLE"}
    watch.told(NOON + 32 * MINUTE, watch.fact("b", NOON))
    assert watch.used(NOON + HOUR) == 8


def test_what_runs_on_is_looked_at_again() -> None:
    watch = Watch()
    watch.told(NOON, watch.fact("a", NOON))
    watch.shows("a", "RUNNING", NOON)
    watch.look(NOON + HOUR / 4)
    watch.shows("a", "SUCCEEDED", NOON, NOON + HOUR / 4)
    watch.look(NOON + HOUR / 2)
    assert watch.used(NOON + 3 * HOUR) == 1


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_a_run_counts_once_whether_or_not_its_attempt_has_a_number(order: tuple[int, ...]) -> None:
    watch = Watch()
    start, stop = NOON, NOON + 2 * HOUR
    second = watch.fact("a", start, stop)
    second = replace(second, run=replace(second.run, attempt=1))
    words = [
        replace(second, run=replace(second.run, stop=0)),
        second,
        replace(second, run=replace(second.run, attempt=unnumbered(to_ms(NOON)))),
    ]

    for minute, place in enumerate(order):
        watch.told(stop + minute * MINUTE, words[place])

    assert watch.used(NOON + 9 * HOUR) == 8


def test_a_start_without_a_number_is_taken_off_by_its_end() -> None:
    watch = Watch()
    run = watch.fact("a", NOON, NOON + 2 * HOUR).run
    begun = watch.fact("a", NOON)
    watch.told(NOON, replace(begun, run=replace(begun.run, attempt=unnumbered(to_ms(NOON)))))
    watch.told(NOON + 2 * HOUR, replace(begun, run=replace(run, attempt=2)))
    assert watch.used(NOON + 9 * HOUR) == 8


def test_a_start_that_was_guessed_is_taken_off_once_by_an_end_with_a_number() -> None:
    watch = Watch()
    watch.told(NOON + MINUTE, watch.guessed("a", NOON + MINUTE))
    for minute in range(2):
        end = watch.fact("a", NOON, NOON + 15 * MINUTE)
        watch.told(NOON + (15 + minute) * MINUTE, end)
    assert watch.used(NOON + 9 * HOUR) == 1


def test_a_start_that_was_guessed_is_taken_off_once_by_the_ends_of_two_attempts() -> None:
    watch = Watch()
    watch.told(NOON + MINUTE, watch.guessed("a", NOON + MINUTE))
    first = watch.fact("a", NOON, NOON + 6 * MINUTE)
    second = watch.fact("a", NOON + 7 * MINUTE, NOON + 13 * MINUTE)
    second = replace(second, run=replace(second.run, attempt=1))
    watch.told(NOON + 14 * MINUTE, first, second)
    assert watch.used(NOON + 9 * HOUR) == 0.8


def test_an_end_that_is_repeated_leaves_the_start_of_the_next_attempt() -> None:
    watch = Watch()
    first = watch.fact("a", NOON, NOON + 3 * MINUTE)
    watch.told(NOON + 3 * MINUTE, first)
    watch.told(NOON + 5 * MINUTE, watch.guessed("a", NOON + 5 * MINUTE))
    second = watch.fact("a", NOON + 4 * MINUTE, NOON + 7 * MINUTE)
    second = replace(second, run=replace(second.run, attempt=1))
    watch.told(NOON + 8 * MINUTE, first, second)
    assert watch.used(NOON + 9 * HOUR) == 0.4


def test_an_end_that_is_shown_after_all_counts_whole() -> None:
    watch = Watch()
    watch.told(NOON, watch.fact("a", NOON))
    watch.told(NOON + HOUR, watch.fact("a", NOON, NOON))
    watch.told(NOON + 3 * HOUR, watch.fact("a", NOON, NOON + 2 * HOUR))
    assert watch.used(NOON + 9 * HOUR) == 8


def test_a_look_that_does_not_list_the_attempts_ends_no_other_attempt() -> None:
    watch = Watch()
    watch.told(NOON, watch.fact("a", NOON))
    watch.shows("a", "SUCCEEDED", NOON + 3 * HOUR, NOON + 4 * HOUR)
    whole = watch.client.jobs["a"]
    watch.client.jobs["a"] = {key: whole[key] for key in whole if key != "attempts"}

    watch.look(NOON + 5 * HOUR)
    attempts = [
        {"startedAt": to_ms(NOON), "stoppedAt": to_ms(NOON + HOUR)},
        *whole["attempts"],
    ]
    watch.client.jobs["a"] = whole | {"attempts": attempts}
    watch.look(NOON + 5 * HOUR + 2 * MINUTE)

    assert watch.used(NOON + 9 * HOUR) == 8


def test_a_job_that_batch_leaves_out_is_asked_about_again() -> None:
    watch = Watch()
    watch.told(NOON, watch.fact("a", NOON))
    watch.look(NOON + HOUR / 4)
    assert watch.used(NOON + HOUR / 4) == 1
    watch.shows("a", "FAILED", NOON, NOON + HOUR / 8)
    watch.look(NOON + HOUR / 4 + timedelta(minutes=1))
    assert watch.used(NOON + 3 * HOUR) == 0.5


def test_an_answer_that_shows_no_runs_of_a_job_that_has_ended_counts_nothing() -> None:
    watch = Watch()
    watch.told(NOON + MINUTE, watch.guessed("a", NOON + MINUTE))
    watch.shows("a", "SUCCEEDED", NOON, NOON + 15 * MINUTE)

    watch.client.lacking = {"attempts", "startedAt"}
    watch.look(NOON + 30 * MINUTE)
    watch.told(NOON + 31 * MINUTE, watch.fact("a", NOON))
    watch.list_all(NOON + 31 * MINUTE)
    watch.client.lacking = set()
    watch.look(NOON + 32 * MINUTE)

    assert watch.used(NOON + 9 * HOUR) == 1


def test_a_listing_counts_no_job_that_does_not_show_its_queue() -> None:
    watch = Watch()
    watch.shows("a", "RUNNING", NOON)
    watch.client.lacking = {"jobQueue"}
    watch.list_all(NOON)
    watch.client.lacking = set()
    watch.list_all(NOON + HOUR)
    assert items.read_all(watch.table)["b"].use.running.keys() == {QUEUE}


def test_a_listing_finds_what_runs_and_what_has_come_and_gone() -> None:
    watch = Watch()
    watch.shows("a", "RUNNING", NOON - HOUR)
    watch.shows("b", "SUCCEEDED", NOON - HOUR, NOON)
    watch.list_all(NOON)
    watch.list_all(NOON + HOUR)
    assert watch.used(NOON + HOUR) == 8 + 4


def test_a_listing_finds_a_run_though_the_one_before_it_was_believed_just_now() -> None:
    watch = Watch()
    watch.told(NOON + MINUTE, watch.fact("a", NOON))
    watch.list_all(NOON + MINUTE)  # The first one describes all that runs.
    watch.told(NOON + 5 * MINUTE, watch.fact("a", NOON, NOON + 4 * MINUTE))
    watch.shows("a", "RUNNING", NOON + 6 * MINUTE)
    ended = {"startedAt": to_ms(NOON), "stoppedAt": to_ms(NOON + 4 * MINUTE)}
    watch.client.jobs["a"]["attempts"] = [ended]

    watch.list_all(NOON + 17 * MINUTE)

    assert watch.used(NOON + 66 * MINUTE) == pytest.approx(4 * (4 + 60) / 60)


def test_a_job_that_waits_again_is_looked_at_until_its_next_attempt_is_seen() -> None:
    watch = Watch()
    watch.told(NOON + MINUTE, watch.fact("a", NOON))
    watch.shows("a", "RUNNABLE", NOON, NOON + 10 * MINUTE)
    watch.look(NOON + 15 * MINUTE)
    watch.look(NOON + 30 * MINUTE)  # Of what comes now no event tells, and no listing sees it.
    watch.shows("a", "FAILED", NOON, NOON + 10 * MINUTE)
    stop = NOON + 36 * MINUTE
    again = {"startedAt": to_ms(NOON + 34 * MINUTE), "stoppedAt": to_ms(stop)}
    watch.client.jobs["a"] |= {"startedAt": again["startedAt"], "stoppedAt": again["stoppedAt"]}
    watch.client.jobs["a"]["attempts"].append(again)
    watch.look(NOON + 45 * MINUTE)

    assert watch.used(NOON + HOUR) == pytest.approx(4 * 12 / 60)


def test_each_budget_that_matches_counts_a_job() -> None:
    other = POLICY.replace('"b"', '"c"').replace("[[budget]]", '[[budget]]\nmatch = { name = "x" }')
    watch = Watch(POLICY + other)
    watch.told(NOON, watch.fact("a", NOON))
    assert (watch.used(NOON + HOUR, "b"), watch.used(NOON + HOUR, "c")) == (4, 4)


def test_what_was_filed_for_other_jobs_counts_nothing() -> None:
    watch = Watch()
    fact = watch.fact("a", NOON)
    watch.policy = parse_policy(POLICY + 'match = { name = "y" }\n')
    watch.told(NOON, fact)
    assert watch.used(NOON + HOUR) == 0


def test_the_state_is_small_however_much_was_counted() -> None:
    watch = Watch()
    some = [watch.fact(f"b:{index}", NOON) for index in range(2_000)]
    watch.told(NOON, *some)
    state = items.read(watch.table, "b")
    assert state
    assert len(str(items.put(state, NOON).item["body"])) < 1_000
    assert rules.read(state, watch.policy.budget[0], to_ms(NOON)).jobs == 2_000


# ---- A sweep that runs out of time --------------------------------------------------------


def test_a_check_stops_asking_when_the_time_is_up_and_goes_on_there() -> None:
    watch = Watch()
    jobs = [f"a:{index}" for index in range(250)]
    some = [watch.fact(job, NOON) for job in jobs]
    for job in jobs:
        watch.shows(job, "RUNNING", NOON)
    watch.told(NOON, *some)
    now = NOON + 15 * MINUTE

    watch.calls = 2
    assert watch.keeper(now).check(some) == 200
    watch.calls = 3
    assert watch.keeper(now + MINUTE).check(some[200:]) == 50
    assert [job for call in watch.client.asked for job in call] == jobs
    filed = watch.filed(now + HOUR)
    assert sorted(fact.run.job_id for fact in filed if fact.seen) == sorted(jobs)
    assert {fact.missed for fact in filed} == {0}


@pytest.mark.parametrize("calls", [0, 1])
def test_a_check_without_any_time_still_asks_once(calls: int) -> None:
    watch = Watch()
    watch.calls = calls
    jobs = [replace(watch.fact(job, NOON), service=True) for job in ("s1", "s2", "s3")]
    for fact in jobs:
        watch.shows(fact.run.job_id, "RUNNING", NOON)

    assert watch.keeper(NOON + MINUTE).check(jobs) == 1
    assert watch.client.asked == [["s1"]]


def test_runs_that_are_known_to_have_ended_take_no_time() -> None:
    watch = Watch()
    watch.told(NOON, *(watch.fact(f"a:{index}", NOON) for index in range(200)))
    watch.told(NOON + MINUTE, *(watch.fact(f"a:{n}", NOON, NOON + MINUTE) for n in range(150)))
    watch.calls = 0
    watch.shows("a:150", "RUNNING", NOON)

    assert watch.keeper(NOON + HOUR).check(watch.filed(NOON + HOUR)) == 200
    assert watch.client.asked == [[f"a:{index}" for index in range(150, 200)]]


def test_jobs_of_two_budgets_are_asked_about_in_the_order_in_which_they_are_filed() -> None:
    watch = Watch(POLICY + POLICY.replace('"b"', '"c"'))
    one, other = watch.keys
    filed = [
        replace(watch.fact(job, NOON), budgets=(key,), service=True)
        for job, key in (("s1", one), ("s2", other), ("s3", one))
    ]
    for fact in filed:
        watch.shows(fact.run.job_id, "RUNNING", NOON)
    watch.calls = 2

    assert watch.keeper(NOON + MINUTE).check(filed) == 2
    assert watch.client.asked == [["s1"], ["s2"]]


def test_late_starts_that_there_is_no_time_to_ask_about_are_left_and_not_missed() -> None:
    watch = Watch()
    late = [watch.fact(f"a:{index}", NOON) for index in range(150)]
    ended = watch.fact("b", NOON, NOON + HOUR)
    now = NOON + 10 * MINUTE
    for fact in late:
        watch.shows(fact.run.job_id, "RUNNING", NOON)
    watch.calls = 1

    assert watch.keeper(now).count([ended, *late]) == 101
    assert {fact.missed for fact in watch.filed(now + HOUR)} == {0}
    watch.calls = 2
    assert watch.keeper(now + MINUTE).count(late[100:]) == 50
    assert watch.used(NOON + HOUR) == 151 * 4
