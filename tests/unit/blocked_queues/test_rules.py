"""Blocked queues: by which jobs, until when, and what became of these."""

from typing import Any

import pytest

from batch_watchdog.blocked_queues import items as blocked_items
from batch_watchdog.blocked_queues import notices as blocked_notices
from batch_watchdog.blocked_queues.rules import HEADS_MAX, MISSED_MAX, Blockage, look, take_in
from batch_watchdog.core.job_event import QueueBlocked
from batch_watchdog.store.item_codec import pack
from batch_watchdog.store.memory_table import MemoryTable
from batch_watchdog.store.table import Put
from tests.makers import QUEUE, a_failure, an_event, at
from tests.watching import Watching

STOP = 'mode = "enforce"\n[[limit]]\nRUNNABLE = { after = "1h" }\n'


def blocking(job_id: str, clock: str) -> QueueBlocked:
    return QueueBlocked(
        at=at(clock), queue=QUEUE, job_id=job_id, job_name=job_id, reason="x", service=False
    )


def waits(job_id: str) -> Any:
    return an_event("12:00", jobId=job_id, jobName=f"name-of-{job_id}")


def blocks(job_id: str, clock: str) -> Any:
    return waits(job_id) | {
        "detail-type": "Batch Job Queue Blocked",
        "time": f"{at(clock):%Y-%m-%dT%H:%M:%SZ}",
    }


def starts(job_id: str, clock: str) -> Any:
    return an_event(clock, jobId=job_id, jobName=f"name-of-{job_id}", status="STARTING")


def told(*events: Any, policy: str = "", until: str = "14:00") -> list[Any]:
    watching = Watching(policy, events).run(at("12:00"), at(until))
    return watching.told("queue-blocked")


# ---- Several heads ------------------------------------------------------------------------


def test_a_queue_blocked_at_two_heads_is_free_when_both_are() -> None:
    notices = told(
        *(waits("a"), waits("b"), blocks("a", "12:05"), blocks("b", "12:07")),
        *(starts("b", "12:20"), blocks("a", "12:30"), starts("a", "12:40")),
    )

    assert [each["facts"]["state"] for each in notices] == ["blocked", "ended"]
    assert "name-of-a, which blocked it, has started" in notices[1]["text"]
    assert "name-of-b, which blocked it, has started" in notices[1]["text"]
    assert "It was blocked for 3" in notices[1]["text"]


def test_a_notice_names_all_heads_that_are_known() -> None:
    (notice,) = told(
        *(waits("a"), waits("b"), blocks("a", "12:05"), blocks("b", "12:05")), until="12:10"
    )

    assert "its first jobs, name-of-a, name-of-b," in notice["text"]
    assert [head["outcome"] for head in notice["facts"]["heads"]] == ["blocked", "blocked"]


def test_a_queue_is_not_said_to_be_blocked_by_a_job_that_only_waits_its_turn() -> None:
    (notice,) = told(waits("a"), waits("b"), blocks("a", "12:05"))

    assert notice["facts"]["findings"] == ["undetermined"]
    assert "Nothing needs repair" not in notice["text"]


def test_a_head_that_blocks_again_is_waited_for_again() -> None:
    known = take_in(take_in(None, blocking("a", "12:00")), blocking("b", "12:01"))
    shown = {"a": {"jobId": "a", "status": "STARTING"}, "b": {"jobId": "b", "status": "RUNNABLE"}}
    known = look(known, shown, at("12:05"))
    assert [head.job_id for head in known.blocking] == ["b"]

    known = take_in(known, blocking("a", "12:06"))

    assert [head.job_id for head in known.blocking] == ["b", "a"]


def test_a_head_told_late_counts_and_a_repeat_adds_nothing() -> None:
    known = take_in(take_in(None, blocking("a", "12:00")), blocking("b", "12:05"))

    late = take_in(known, blocking("c", "12:03"))

    assert [head.job_id for head in late.blocking] == ["a", "c", "b"]
    assert (late.since, late.latest, late.job_id) == (at("12:00"), at("12:05"), "b")
    assert take_in(late, blocking("c", "12:03")) == late
    assert take_in(late, blocking("a", "11:00")) == late


def test_a_late_event_of_another_job_blocks_a_queue_that_was_free() -> None:
    known = take_in(None, blocking("a", "12:12"))
    free = look(known, {"a": {"jobId": "a", "status": "STARTING"}}, at("12:14"))
    assert free.over

    late = take_in(free, blocking("b", "12:11"))

    assert ([head.job_id for head in late.blocking], late.over) == (["b"], False)
    assert take_in(free, blocking("a", "12:12")) == free


def test_a_head_that_no_notice_named_is_announced_when_it_blocks_alone() -> None:
    notices = told(
        *(waits("a"), waits("b"), blocks("a", "12:05"), blocks("b", "12:12")),
        *(starts("a", "12:20"), starts("b", "12:40")),
    )

    assert [each["facts"]["state"] for each in notices] == ["blocked", "blocked", "ended"]
    assert "its first job, name-of-b," in notices[1]["text"]
    assert notices[0]["id"] != notices[1]["id"]


def test_a_service_job_that_is_scheduled_has_not_started() -> None:
    known = take_in(None, blocking("a", "12:00"))
    seen = look(known, {"a": {"jobId": "a", "status": "SCHEDULED"}}, at("12:05"))

    text = blocked_notices.ended(seen, at("12:05")).text

    assert "is not RUNNABLE any more: it is SCHEDULED now." in text
    assert "has started" not in text


def test_of_very_many_heads_those_that_still_block_are_kept() -> None:
    known = take_in(take_in(None, blocking("waits", "12:00")), blocking("gone", "12:01"))
    shown = {"waits": "RUNNABLE", "gone": "STARTING"}
    details = {name: {"jobId": name, "status": status} for name, status in shown.items()}
    known = look(known, details, at("12:02"))
    for number in range(HEADS_MAX - 1):
        known = take_in(known, blocking(f"head-{number}", f"12:{number + 3:02}"))

    assert len(known.heads) == HEADS_MAX
    assert known.heads[0].job_id == "waits"
    assert all(not head.outcome for head in known.heads)


def test_what_an_earlier_version_wrote_is_read() -> None:
    table = MemoryTable()
    body = {
        "queue": QUEUE,
        "since": "2026-01-01T12:00:00Z",
        "latest": "2026-01-01T12:05:00Z",
        "job_id": "a",
        "job_name": "name-of-a",
        "reason": "x",
        "service": False,
        "told": True,
        "over": False,
    }
    table.write([Put({"pk": f"BLOCKED#{QUEUE}", "sk": "HEAD", "body": pack(body)})])

    known = blocked_items.read(table, QUEUE)

    assert known is not None
    assert [head.job_id for head in known.blocking] == ["a"]
    both = take_in(known, blocking("b", "12:06"))
    assert [head.job_id for head in both.blocking] == ["a", "b"]
    table.write([blocked_items.put(both, at("12:06"))])
    assert blocked_items.read(table, QUEUE) == Blockage(
        **{name: getattr(both, name) for name in Blockage.__slots__} | {"version": 2}
    )


# ---- What became of the job ---------------------------------------------------------------


def test_a_job_that_the_watchdog_cancelled_has_not_gone_on() -> None:
    notices = told(waits("a"), blocks("a", "12:05"), policy=STOP)

    assert [each["facts"]["state"] for each in notices] == ["blocked", "ended"]
    assert "was cancelled by this watchdog" in notices[1]["text"]
    assert "limit[1]" in notices[1]["text"]
    assert "started" not in notices[1]["text"]
    assert notices[1]["facts"]["heads"][0]["outcome"] == "cancelled-by-watchdog"
    assert notices[1]["facts"]["cancelled_by"] == ["limit[1] (every job)"]
    assert notices[1]["subject"] == (
        "Queue no longer blocked: gpu (limit[1] (every job) cancelled its job)"
    )


def ends(**detail: Any) -> Any:
    return a_failure("12:20", jobId="a", jobName="name-of-a", **detail)


NOT_BEGUN: Any = {"container": {}, "attempts": []}


@pytest.mark.parametrize(
    ("event", "outcome", "words"),
    [
        (ends(statusReason="by ann", isCancelled=True, **NOT_BEGUN), "cancelled-by-others", "ann"),
        (ends(statusReason="by ann", isTerminated=True), "cancelled-by-others", "not by this"),
        (ends(statusReason="Cancelled by ann", **NOT_BEGUN), "cancelled-by-others", "by ann"),
        (
            ends(
                statusReason="Canceled by JobStateTimeLimit action due to reason: CAPACITY",
                **NOT_BEGUN,
            ),
            "cancelled-by-others",
            "JobStateTimeLimit",
        ),
        (ends(statusReason="Essential container in task exited"), "failed", "has failed"),
        (ends(statusReason="No such image", **NOT_BEGUN), "failed", "No such image"),
        (starts("a", "12:20"), "started", "has started"),
        (an_event("12:20", jobId="a", status="SUCCEEDED"), "succeeded", "has succeeded"),
    ],
)
def test_what_became_of_the_job_is_told_apart(event: Any, outcome: str, words: str) -> None:
    notices = told(waits("a"), blocks("a", "12:05"), event, until="12:30")

    assert notices[-1]["facts"]["state"] == "ended"
    assert notices[-1]["facts"]["heads"][0]["outcome"] == outcome
    assert words in notices[-1]["text"]


def test_a_job_that_batch_has_forgotten_blocks_no_longer() -> None:
    known = take_in(None, blocking("a", "12:00"))
    for minute in range(MISSED_MAX):
        known = look(known, {}, at(f"12:0{minute}"))
        assert not known.over

    known = look(known, {}, at("12:06"))

    assert known.over
    assert known.heads[0].outcome == "forgotten"


def test_only_looks_in_a_row_at_which_a_job_is_missing_count() -> None:
    known = take_in(None, blocking("a", "12:00"))
    for _ in range(MISSED_MAX):
        known = look(known, {}, at("12:05"))
    known = look(known, {"a": {"jobId": "a", "status": "RUNNABLE"}}, at("12:06"))
    known = look(known, {}, at("12:07"))

    assert not known.over


class Forgetful(Watching):
    """AWS Batch leaves some jobs out of what it describes, at some times ("12:06")."""

    def __init__(self, *events: Any, omits: dict[str, set[str]]) -> None:
        super().__init__("", events)
        self._omits = omits
        self.responders["batch"] = self._without

    def _without(self, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        answer = self.batch.call(operation, params)
        if operation != "DescribeJobs":
            return answer
        left_out = self._omits.get(f"{self.batch.now:%H:%M}", set())
        return {"jobs": [job for job in answer["jobs"] if job["jobId"] not in left_out]}


def test_an_answer_without_the_job_ends_no_blockage_and_puts_off_its_notice_by_a_minute() -> None:
    omits = {"12:06": {"a"}, "12:31": {"a"}, "12:33": {"a"}}
    watching = Forgetful(waits("a"), blocks("a", "12:05"), starts("a", "12:50"), omits=omits)

    watching.run(at("12:00"), at("12:06"))
    assert watching.told("queue-blocked") == []
    watching.run(at("12:07"), at("12:07"))
    assert [each["facts"]["state"] for each in watching.told("queue-blocked")] == ["blocked"]
    watching.run(at("12:08"), at("13:00"))

    _, ended = watching.told("queue-blocked")
    assert ended["facts"]["heads"][0]["outcome"] == "started"


def test_a_notice_waits_until_all_that_it_names_are_shown() -> None:
    events = (waits("a"), waits("b"), blocks("a", "12:05"), blocks("b", "12:05"))
    watching = Forgetful(*events, omits={"12:06": {"a"}}).run(at("12:00"), at("12:10"))

    (notice,) = watching.told("queue-blocked")
    assert "its first jobs, name-of-a, name-of-b," in notice["text"]
