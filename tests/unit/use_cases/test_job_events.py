"""What Batch reports, batch by batch: repeated, late, reordered, lost, raced, malformed."""

import json
import random
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_watchdog.arrays.items import Arrays
from batch_watchdog.arrays.workflow import ArrayTracker
from batch_watchdog.core.effects import STOP_MARK, Announce
from batch_watchdog.notices.notice import Notice
from batch_watchdog.policy.model import Policy, parse_policy
from batch_watchdog.store.actions import Action, to_action
from batch_watchdog.store.decisions import Recorder
from batch_watchdog.store.item_codec import unpack
from batch_watchdog.store.memory_table import MemoryTable
from batch_watchdog.store.reminders import Reminders
from batch_watchdog.store.table import Table
from batch_watchdog.use_cases.job_events import JobEventIntake, Message
from tests.fakes import Aws, RacedTable
from tests.makers import (
    ARRAY,
    JOB,
    SPOT_LOSS,
    a_child_event,
    a_failure,
    a_message,
    a_parent_event,
    an_event,
    at,
    messages,
)

OTHER = ARRAY[:-1] + "7"


class Scene:
    """The intake, and the part of the sweep that asks about arrays, on a table in memory."""

    def __init__(self, policy: str = "") -> None:
        self.aws = Aws()
        self.inside = MemoryTable()
        self.table: Table = self.inside
        self.policy = parse_policy(policy)
        self.policy_read = 0  # times
        self.now: datetime | None = None  # if it is not when the messages were sent

    def handle(self, *events: Any, sent: str = "12:10") -> list[str]:
        return self.take_in(messages(*events, sent=sent))

    def take_in(self, batch: Sequence[Message]) -> list[str]:
        job_event_intake = JobEventIntake(
            table=self.table,
            batch=self.aws.batch,
            dead_letters=self.aws.dead_letters,
            policy=self._read_policy,
            clock=lambda: self.now or batch[-1].sent_at,
        )
        return job_event_intake.handle(batch)

    def _read_policy(self) -> Policy:
        self.policy_read += 1
        return self.policy

    def ask(self, clock: str, *job_ids: str, held: bool = False) -> None:
        """Ask Batch about arrays, as the sweep does every minute."""
        details = self.aws.batch.describe(job_ids or [ARRAY])
        watch = ArrayTracker(table=self.table, batch=self.aws.batch, policy=self.policy, held=held)
        lost = Recorder(table=self.table, asked_by="sweep").decide(
            job_ids or [ARRAY], lambda key: watch.ask(key, details.get(key), at(clock)), at(clock)
        )
        assert lost == []

    @property
    def actions(self) -> list[Action]:
        return [to_action(item) for item in self.inside.query("ACTION#2026-01-01")]

    @property
    def notices(self) -> list[Notice]:
        announced = [a.effect for a in self.actions if isinstance(a.effect, Announce)]
        return [notice for announce in announced for notice in announce.notices]

    @property
    def told(self) -> list[str]:
        return sorted(notice.id for notice in self.notices)

    def completion(self) -> dict[str, Any]:
        """The facts of the one notice that there is."""
        (notice,) = self.notices
        assert notice.kind == "array-completed"
        return notice.facts

    def reminders(self) -> list[tuple[str, Any]]:
        entries = Reminders(self.inside).between(at("00:00"), at("23:59"))
        return [(f"{entry.minute:%H:%M}", unpack(entry.content)) for entry in entries]


@pytest.fixture
def scene() -> Scene:
    return Scene()


def children(size: int, failed: Iterable[int] = (), **more: Any) -> list[Any]:
    bad = set(failed)
    return [a_child_event(i, "FAILED" if i in bad else "SUCCEEDED", **more) for i in range(size)]


# ---- An array, told once ------------------------------------------------------------------


def test_an_array_that_is_done_is_told_with_its_failures(scene: Scene) -> None:
    lost = scene.handle(*children(10, failed=[3, 7, 8]), a_parent_event(10, failed=3))

    facts = scene.completion()
    assert lost == []
    assert (facts["size"], facts["succeeded"], facts["failed"]) == (10, 7, 3)
    assert facts["failed_indices"] == "3,7-8"
    assert [group["count"] for group in facts["groups"]] == [3]
    assert scene.actions[0].asked_by == "job_events"


DELIVERY = [
    *children(12, failed=[0, 4, 11]),
    *(a_child_event(i, s, clock="11:59") for i in range(12) for s in ("RUNNABLE", "RUNNING")),
    a_parent_event(12, failed=3),
    an_event(jobId=ARRAY, status="PENDING", arrayProperties={"size": 12}),
]


@given(st.randoms(use_true_random=False))
def test_order_and_repeats_and_batches_make_no_difference(chance: random.Random) -> None:
    scene = Scene()
    delivery = DELIVERY + [event for event in DELIVERY if chance.random() < 0.5]
    chance.shuffle(delivery)

    while delivery:
        size = chance.randint(1, len(delivery))
        assert scene.handle(*delivery[:size]) == []
        del delivery[:size]

    facts = scene.completion()
    assert (facts["size"], facts["succeeded"], facts["failed"]) == (12, 9, 3)
    assert facts["failed_indices"] == "0,4,11"
    assert facts["groups"] == [
        {
            "count": 3,
            "indices": "0,4,11",
            "exit_code": 1,
            "reason": "Essential container in task exited",
            "log_stream": "render/default/0123456789abcdef",
            "known_cause": "container-exited",
        }
    ]


@given(st.randoms(use_true_random=False), st.integers(0, 12))
def test_what_events_fail_to_tell_is_asked_for(chance: random.Random, lost: int) -> None:
    scene = Scene()
    delivery = chance.sample(DELIVERY, len(DELIVERY) - lost)
    scene.aws.add_array(ARRAY, 12, failed=[0, 4, 11])

    scene.handle(*delivery)
    for clock in ("12:11", "12:12"):
        scene.ask(clock)

    facts = scene.completion()
    assert (facts["size"], facts["succeeded"], facts["failed"]) == (12, 9, 3)
    assert facts["failed_indices"] == "0,4,11"
    assert sum(group["count"] for group in facts["groups"]) == 3


def test_events_after_the_end_change_nothing_and_cost_nothing(scene: Scene) -> None:
    scene.handle(*children(3), a_parent_event(3))
    table = scene.table = RacedTable(scene.inside)

    scene.handle(*children(3, failed=[1]), a_parent_event(3, failed=1))
    scene.ask("12:20")

    assert len(scene.notices) == 1
    assert table.writes == 0


def test_the_size_may_be_known_last(scene: Scene) -> None:
    scene.handle(*children(5, failed=[2]))
    assert scene.notices == []

    scene.handle(a_parent_event(5, failed=1))
    assert scene.completion()["failed_indices"] == "2"


def test_an_array_that_is_counted_whole_needs_no_parent(scene: Scene) -> None:
    scene.handle(an_event(jobId=ARRAY, status="PENDING", arrayProperties={"size": 5}))
    scene.handle(*children(4))
    assert scene.notices == []

    scene.handle(a_child_event(4, "FAILED"))
    assert (scene.completion()["succeeded"], scene.completion()["failed"]) == (4, 1)


def test_an_array_whose_parent_is_never_told_is_asked_for(scene: Scene) -> None:
    scene.aws.add_array(ARRAY, 5, failed=[2], stoppedAt=1_767_269_395_000)
    scene.handle(*children(5, failed=[2]))

    scene.ask("12:10")

    assert scene.completion()["failed_indices"] == "2"
    assert scene.completion()["ended_at"] == "2026-01-01T12:09:55Z"
    assert [name for name, _ in scene.aws.calls] == ["DescribeJobs"]


def test_an_array_without_failures_is_told_by_its_parent_alone(scene: Scene) -> None:
    scene.handle(a_parent_event(10_000))

    assert scene.completion()["succeeded"] == 10_000


def test_late_children_are_awaited_and_then_made_up_for(scene: Scene) -> None:
    scene.aws.add_array(ARRAY, 5, failed=[1, 2])
    scene.handle(a_child_event(1, "FAILED"), a_parent_event(5, failed=2, clock="12:10"))

    scene.ask("12:10:59")
    assert scene.notices == []

    scene.ask("12:11")
    facts = scene.completion()
    assert (facts["failed"], facts["failed_indices"]) == (2, "1-2")
    assert sum(group["count"] for group in facts["groups"]) == 2
    assert all(group["log_stream"] for group in facts["groups"])


def test_a_late_child_that_comes_in_time_spares_the_asking(scene: Scene) -> None:
    scene.handle(a_parent_event(5, failed=1, clock="12:10"))
    scene.handle(a_child_event(3, "FAILED", statusReason=SPOT_LOSS), sent="12:10:30")

    assert scene.completion()["groups"][0]["reason"] == "Host EC2 (instance *) terminated."
    assert scene.aws.calls == []


def test_an_array_that_batch_has_forgotten_is_told_as_far_as_it_is_known(scene: Scene) -> None:
    scene.handle(a_child_event(1, "FAILED"), a_parent_event(5, failed=2, clock="12:10"))

    scene.ask("12:19")  # One answer may leave out a job that Batch knows.
    assert not scene.notices
    scene.ask("12:20")

    facts = scene.completion()
    assert (facts["failed"], facts["failed_indices"]) == (2, "1")
    assert sum(group["count"] for group in facts["groups"]) == 2
    assert {name for name, _ in scene.aws.calls} == {"DescribeJobs"}


def test_failures_that_no_event_told_have_a_log_nevertheless(scene: Scene) -> None:
    scene.aws.add_array(ARRAY, 5, failed=[1, 2])
    scene.handle(a_parent_event(5, failed=2, clock="12:10"))

    scene.ask("12:11")

    (group,) = scene.completion()["groups"]
    assert (group["count"], group["indices"], group["exit_code"]) == (2, "1-2", 1)
    assert group["log_stream"] == f"render/default/{ARRAY}:1"


def test_a_batch_that_tells_nothing_new_costs_no_write(scene: Scene) -> None:
    scene.handle(*children(3, failed=[1]))
    table = scene.table = RacedTable(scene.inside)

    scene.handle(*children(3, failed=[1]))

    assert table.writes == 0


def test_where_events_and_batch_differ_batch_is_right(scene: Scene) -> None:
    scene.aws.add_array(ARRAY, 5, failed=[2])
    wrong = [a_child_event(0, "FAILED"), a_child_event(2)]

    scene.handle(*wrong, a_parent_event(5, failed=2, clock="12:10"))
    scene.handle(a_parent_event(5, failed=1, clock="12:10"))  # said, and then corrected
    scene.aws.jobs[ARRAY]["arrayProperties"]["statusSummary"] = {"SUCCEEDED": 3, "FAILED": 2}
    scene.aws.jobs[f"{ARRAY}:4"]["status"] = "FAILED"
    scene.ask("12:11")

    assert scene.completion()["failed_indices"] == "2,4"


def test_children_beyond_the_size_do_not_complete_an_array(scene: Scene) -> None:
    scene.handle(an_event(jobId=ARRAY, status="PENDING", arrayProperties={"size": 3}))
    scene.handle(a_child_event(0), a_child_event(1), a_child_event(7, "FAILED"))
    assert scene.notices == []

    scene.handle(a_child_event(2))
    facts = scene.completion()
    assert (facts["succeeded"], facts["failed"], facts["failed_indices"]) == (3, 0, "")


def test_an_array_of_several_parts_is_done_when_all_are(scene: Scene) -> None:
    events = children(8_001, failed=[0, 4_000, 8_000])
    scene.handle(an_event(jobId=ARRAY, status="PENDING", arrayProperties={"size": 8_001}))

    scene.handle(*events[:4_000])
    scene.handle(*events[4_001:])
    assert scene.notices == []

    scene.handle(events[4_000])
    assert scene.completion()["failed_indices"] == "0,4000,8000"


def test_many_arrays_that_end_together_are_one_action(scene: Scene) -> None:
    ids = [f"{ARRAY[:-2]}{number:02}" for number in range(30)]
    batch = [
        event
        for array_id in ids
        for event in (*children(2, array_id=array_id), a_parent_event(2, array_id=array_id))
    ]

    assert scene.handle(*batch) == []

    assert len(scene.actions) == 1
    assert scene.told == [f"array-completed:{array_id}" for array_id in ids]


def test_a_silent_array_is_done_without_a_word(scene: Scene) -> None:
    scene.policy = parse_policy("[[array]]\nsilent = true")

    scene.handle(*children(2), a_parent_event(2))
    scene.policy = parse_policy("")
    scene.handle(a_parent_event(2))

    assert scene.actions == []


@pytest.mark.parametrize("tags", [{"quiet": "1"}, {}])
def test_a_silent_rule_by_tags_goes_by_the_tags_that_batch_shows(
    scene: Scene, tags: dict[str, str]
) -> None:
    scene.policy = parse_policy('[[array]]\nmatch = { tags = { quiet = "1" } }\nsilent = true')
    scene.aws.add_array(ARRAY, 2, tags=tags)

    scene.handle(*children(2), a_parent_event(2))
    assert scene.actions == []
    scene.ask("12:11")

    assert bool(scene.actions) is not bool(tags)


def test_progress_is_told_by_the_sweep(scene: Scene) -> None:
    scene.policy = parse_policy("[[array]]\nprogress = [50]")
    scene.aws.add_array(ARRAY, 4)
    scene.aws.jobs[ARRAY] |= {"status": "PENDING"}
    scene.handle(a_child_event(0, "RUNNING"))

    for clock in ("12:11", "12:12"):
        scene.ask(clock)  # All have ended, and the end itself is told as such.
    scene.aws.jobs[ARRAY]["arrayProperties"]["statusSummary"] = {"SUCCEEDED": 2, "RUNNING": 2}
    for clock in ("12:13", "12:14"):
        scene.ask(clock)

    assert scene.told == [f"array-progress:{ARRAY}:50"]


def test_children_outlive_a_stop_while_an_operator_holds_the_watchdog(scene: Scene) -> None:
    scene.policy = parse_policy('mode = "enforce"\n[[array]]\nstop_rest_when = { failed = 0 }')
    scene.aws.add_array(ARRAY, 4, failed=[0])
    scene.aws.jobs[ARRAY] |= {"status": "PENDING", "tags": {}}
    scene.aws.jobs[f"{ARRAY}:3"] |= {"status": "RUNNING"}
    scene.aws.jobs[ARRAY]["arrayProperties"]["statusSummary"] = {"FAILED": 1, "RUNNING": 3}
    scene.handle(a_child_event(0, "RUNNING"))

    scene.ask("12:11")
    scene.ask("12:20", held=True)
    assert len(scene.actions) == 2  # the stop and its notice
    scene.ask("12:30")
    assert len(scene.actions) == 3


def test_children_that_were_stopped_do_not_have_the_rest_of_their_array_stopped(
    scene: Scene,
) -> None:
    scene.policy = parse_policy('mode = "enforce"\n[[array]]\nstop_rest_when = { failed = 1 }')
    scene.aws.add_array(ARRAY, 6, failed=[0, 1, 2])
    for index in range(3):
        reason = {"statusReason": f"{STOP_MARK}RUNNABLE for more than 6 h, limit[1]"}
        scene.aws.jobs[f"{ARRAY}:{index}"] |= reason
    scene.aws.jobs[ARRAY] |= {"status": "PENDING", "tags": {}}
    scene.aws.jobs[ARRAY]["arrayProperties"]["statusSummary"] = {"FAILED": 3, "RUNNING": 3}
    scene.handle(a_child_event(3, "RUNNING"))

    scene.ask("12:11")

    assert scene.actions == []


# ---- Reminders ----------------------------------------------------------------------------


def test_an_array_under_way_is_asked_for_from_the_next_minute_on(scene: Scene) -> None:
    scene.handle(a_child_event(0, "RUNNABLE"), sent="12:10:30")
    scene.handle(a_child_event(1, "RUNNABLE"), sent="12:11:30")

    assert [each for each in scene.reminders() if each[1] == [ARRAY]] == [("12:11", [ARRAY])]


def test_an_array_that_is_done_at_once_needs_no_reminder(scene: Scene) -> None:
    scene.handle(a_parent_event(3))

    assert scene.reminders() == []


def test_a_batch_that_is_taken_in_much_later_reminds_where_no_sweep_can_have_been(
    scene: Scene,
) -> None:
    # The sweep may be doing what it missed at the same time: how far it had come says nothing.
    scene.now = at("12:17")

    scene.handle(a_child_event(0, "RUNNABLE"), sent="12:10")

    assert [minute for minute, _ in scene.reminders()]
    assert all(at(minute) > at("12:17") for minute, _ in scene.reminders())


# ---- Jobs that failed ---------------------------------------------------------------------


def test_a_failed_job_is_told(scene: Scene) -> None:
    scene.handle(a_failure("12:09:30", exit_code=137))

    (notice,) = scene.notices
    assert (notice.kind, notice.id, notice.severity) == (
        "job-failed",
        f"job-failed:{JOB}",
        "warning",
    )
    assert notice.subject == "Job failed, exit code 137: render"
    assert (notice.facts["exit_code"], notice.facts["failed_at"]) == (137, "2026-01-01T12:09:30Z")
    assert "after 1 attempt: exit code 137." in notice.text


def test_a_failed_job_is_told_once_however_often_it_comes(scene: Scene) -> None:
    scene.handle(*[a_failure("12:09:30")] * 3)
    scene.handle(a_failure("12:09:30"), a_failure("12:09:30", jobId=OTHER))
    scene.handle(a_failure("12:09:30"), sent="18:00")

    assert scene.told == sorted([f"job-failed:{JOB}", f"job-failed:{OTHER}"])


@given(st.lists(st.lists(st.integers(0, 8), max_size=12), max_size=6))
def test_each_failed_job_is_told_once_in_whatever_batches_it_comes(
    batches: list[list[int]],
) -> None:
    scene = Scene()

    for batch in filter(None, batches):
        scene.handle(*(a_failure(f"12:0{job % 3}", jobId=f"job-{job}") for job in batch))

    jobs = {job for batch in batches for job in batch}
    assert scene.told == sorted(f"job-failed:job-{job}" for job in jobs)


NO_NEWS = {
    "an array's child": a_child_event(3, "FAILED"),
    "an array": a_parent_event(3, failed=1),
    "a node": a_failure(jobId=f"{JOB}#1"),
    "stopped by us": a_failure(statusReason=f"{STOP_MARK}RUNNABLE for more than 6 h"),
    "succeeded": an_event(status="SUCCEEDED"),
    "runs": an_event(status="RUNNING"),
}


@pytest.mark.parametrize("event", NO_NEWS.values(), ids=NO_NEWS.keys())
def test_no_failure_of_a_job_is_told_of_what(scene: Scene, event: Any) -> None:
    scene.handle(event)

    assert not any(notice.kind == "job-failed" for notice in scene.notices)


NEWS = {
    "multi-node": a_failure(nodeProperties={"numNodes": 4}),
    "service": a_failure(serviceJobType="SAGEMAKER_TRAINING", jobDefinition=None),
    "without anything": {
        "time": "2026-01-01T12:00:00Z",
        "detail": {"jobId": JOB, "status": "FAILED"},
    },
    "hostile": a_failure(jobName="<b>\n\u202e", statusReason="\x00" * 5_000, jobQueue="\ud83d"),
}


@pytest.mark.parametrize("event", NEWS.values(), ids=NEWS.keys())
def test_a_failure_is_told_of_a_job_that_is(scene: Scene, event: Any) -> None:
    scene.handle(event)

    assert scene.told == [f"job-failed:{JOB}"]
    assert all(line.isprintable() for line in scene.notices[0].text.split("\n"))


def test_a_hostile_job_id_breaks_no_line(scene: Scene) -> None:
    scene.handle(a_failure(jobId="<a>\nb", jobName=""))

    text = scene.notices[0].text
    assert "The job ‹a› b in queue gpu failed" in text
    assert all(line.isprintable() for line in text.split("\n"))


def test_a_policy_can_ask_for_silence_about_failed_jobs(scene: Scene) -> None:
    scene.policy = parse_policy("[notify]\njob_failures = false")

    scene.handle(a_failure())

    assert scene.actions == []


def test_many_failures_in_one_batch_are_one_action(scene: Scene) -> None:
    scene.handle(*(a_failure(f"12:0{n % 10}", jobId=f"job-{n}") for n in range(40)))

    assert len(scene.actions) == 1
    assert len(scene.notices) == 40


# ---- Malformed input ----------------------------------------------------------------------

MALFORMED = {
    "no JSON": "this is no JSON",
    "nothing": "{}",
    "no id": json.dumps(an_event(jobId=None)),
    "no time": json.dumps({**an_event(), "time": None}),
    "bad child": json.dumps(an_event(jobId=f"{ARRAY}:10000", status="FAILED")),
    "bad size": json.dumps(a_parent_event(3, arrayProperties={"size": "three"})),
    "too late": json.dumps({**an_event(), "time": "9999-12-31T23:59:59-14:00"}),
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_malformed_is_kept_with_a_reason_and_disturbs_nothing(
    scene: Scene, body: str
) -> None:
    good = [*children(3), a_parent_event(3), a_failure()]

    lost = scene.handle(*good[:2], body, *good[2:])

    ((kept, reason),) = scene.aws.kept
    assert lost == []
    assert kept == body
    assert reason.partition(":")[0].split(".")[0] in ("event", "time", "detail")
    assert scene.told == [f"array-completed:{ARRAY}", f"job-failed:{JOB}"]


def test_a_batch_of_nothing_but_malformed_messages_is_kept_whole(scene: Scene) -> None:
    assert scene.handle(*MALFORMED.values()) == []
    assert [body for body, _ in scene.aws.kept] == list(MALFORMED.values())


ODD = {
    "of the year 8999": {**a_parent_event(2), "time": "8999-12-31T23:59:59Z"},
    "of 1970": {**a_parent_event(2), "time": "1970-01-01T00:00:00Z"},
    "sixty kilobytes": a_parent_event(2, parameters={"p": "x" * 60_000}),
    "a count of more than there are": a_parent_event(
        2, arrayProperties={"size": 2, "statusSummary": {"SUCCEEDED": 9_000, "FAILED": 0}}
    ),
}


@pytest.mark.parametrize("event", ODD.values(), ids=ODD.keys())
def test_odd_ends_of_an_array_are_told_all_the_same(scene: Scene, event: Any) -> None:
    scene.aws.add_array(ARRAY, 2)

    assert scene.handle(event, a_failure()) == []
    scene.ask("12:12")

    (facts,) = [each.facts for each in scene.notices if each.kind == "array-completed"]
    assert (facts["succeeded"], facts["failed"]) == (2, 0)


def test_odd_failures_of_jobs_are_told_all_the_same(scene: Scene) -> None:
    times = ("8999-12-31T23:59:59Z", "1970-01-01T00:00:00Z", "2026-01-01T12:00:00.5+02:00")
    events = [{**a_failure(jobId=f"job-{n}"), "time": time} for n, time in enumerate(times)]

    assert scene.handle(*events, *events) == []

    assert scene.told == ["job-failed:job-0", "job-failed:job-1", "job-failed:job-2"]


# ---- Races and crashes --------------------------------------------------------------------


def other_batch(scene: Scene, *events: Any) -> Callable[[], None]:
    """Another invocation, which takes in these events in between."""

    def take_in() -> None:
        raced, scene.table = scene.table, scene.inside
        assert scene.handle(*events) == []
        scene.table = raced

    return take_in


def test_two_that_count_the_same_part_lose_nothing(scene: Scene) -> None:
    events = children(40, failed=[3, 30])
    scene.table = RacedTable(
        scene.inside,
        *(other_batch(scene, *events[first : first + 10]) for first in (10, 20, 30)),
    )

    assert scene.handle(*events[:10]) == []
    assert scene.handle(a_parent_event(40, failed=2)) == []

    assert scene.completion()["failed_indices"] == "3,30"


@pytest.mark.parametrize("before_write", range(4))
def test_two_that_see_the_end_announce_it_once(scene: Scene, before_write: int) -> None:
    end = [*children(3, failed=[1]), a_parent_event(3, failed=1)]
    waits: list[Callable[[], None]] = [lambda: None] * before_write
    scene.table = RacedTable(scene.inside, *waits, other_batch(scene, *end))

    assert scene.handle(*end) == []
    scene.table = scene.inside
    scene.handle(*end)

    assert scene.completion()["failed_indices"] == "1"


@pytest.mark.parametrize("before_write", range(2))
def test_two_that_see_a_failed_job_tell_it_once(scene: Scene, before_write: int) -> None:
    waits: list[Callable[[], None]] = [lambda: None] * before_write
    scene.table = RacedTable(scene.inside, *waits, other_batch(scene, a_failure()))

    assert scene.handle(a_failure(), a_failure(jobId=OTHER)) == []

    assert scene.told == sorted([f"job-failed:{JOB}", f"job-failed:{OTHER}"])


def test_messages_of_an_array_that_always_loses_come_again_and_no_others(scene: Scene) -> None:
    def overtake() -> None:
        store = Arrays(scene.inside)
        part = store.read(ARRAY, [0])[1][0]
        scene.inside.write([store.put_part(ARRAY, part, at("12:10"))])

    scene.table = RacedTable(scene.inside, *[overtake] * 50)
    batch = [a_message(event, n) for n, event in enumerate([*children(2), a_parent_event(2)])]
    others = [a_message(a_parent_event(2, array_id=OTHER), 7), a_message(a_failure(), 8)]

    lost = scene.take_in([*batch, *others])

    assert sorted(lost) == ["message-0", "message-1", "message-2"]
    assert scene.told == sorted([f"array-completed:{OTHER}", f"job-failed:{JOB}"])

    scene.table = scene.inside
    assert scene.take_in([message for message in batch if message.id in lost]) == []
    assert f"array-completed:{ARRAY}" in scene.told


class CrashError(BaseException):
    """The function's process ends."""


def test_a_crash_before_any_write_loses_nothing_and_repeats_nothing() -> None:
    events = [
        *children(3, failed=[1]),
        a_parent_event(3, failed=1),
        a_failure(),
        *children(4, array_id=OTHER),
    ]

    for before_write in range(20):
        scene = Scene()

        def crash() -> None:
            raise CrashError

        waits: list[Callable[[], None]] = [lambda: None] * before_write
        scene.table = table = RacedTable(scene.inside, *waits, crash)
        try:
            scene.handle(*events)
        except CrashError:
            scene.handle(*events)
        scene.table = scene.inside
        scene.handle(a_parent_event(4, array_id=OTHER))

        assert scene.told == sorted(
            [f"array-completed:{ARRAY}", f"array-completed:{OTHER}", f"job-failed:{JOB}"]
        )
        if table.writes <= before_write:
            return
    pytest.fail("there are more writes than this test looks at")


@pytest.mark.parametrize("before_write", range(3))
def test_a_sweep_that_races_with_events_announces_once(scene: Scene, before_write: int) -> None:
    scene.aws.add_array(ARRAY, 3, failed=[1])
    scene.handle(a_child_event(0), a_child_event(1, "FAILED"))
    waits: list[Callable[[], None]] = [lambda: None] * before_write
    end = other_batch(scene, a_child_event(2), a_parent_event(3, failed=1))
    scene.table = RacedTable(scene.inside, *waits, end)

    scene.ask("12:11")
    scene.handle(a_child_event(2), a_parent_event(3, failed=1))

    assert scene.completion()["failed_indices"] == "1"


def test_all_of_a_batch_is_judged_by_one_reading_of_the_policy(scene: Scene) -> None:
    scene.handle(*children(3), a_parent_event(3), a_failure())

    assert scene.policy_read == 1


def test_a_write_that_nobody_contests_needs_one_try(scene: Scene) -> None:
    table = scene.table = RacedTable(scene.inside)

    scene.handle(*children(3), a_parent_event(3))

    assert table.writes == 2  # the part; then the array together with the action


def test_a_parents_failure_without_its_array_properties_is_no_failed_job(scene: Scene) -> None:
    scene.handle(a_child_event(0, "FAILED"))
    parent = a_parent_event(2, failed=1, statusReason="Array Child Job failed")
    del parent["detail"]["arrayProperties"]

    scene.handle(parent)

    assert [notice.kind for notice in scene.notices] == []
