"""Which notices are told at once, and which are collected."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from batch_watchdog.notices.notice import Notice
from batch_watchdog.threads.rules import (
    GROUPS_MAX,
    IDS_MAX,
    LONGEST,
    Collected,
    Thread,
    key_of,
    take_in,
)
from tests.makers import a_notice, at

WINDOW = timedelta(minutes=15)


def a_thread(**changes: Any) -> Thread:
    thread = Thread(key="k", began_at=at("12:00"), closes_at=at("12:15"), window=WINDOW)
    return replace(thread, **changes)


def failed(number: int = 0, **facts: Any) -> Notice:
    about = {"job_id": f"{number}", "queue": "gpu", "cause": "out of memory"}
    return a_notice(id=f"job-failed:{number}", facts=about | facts)


def guard(kind: Any, stage: str, number: int = 0) -> Notice:
    return a_notice(kind=kind, id=f"{kind}:{stage}:{number}", facts={"guard": "m", "stage": stage})


def told(thread: Thread, *notices: Notice, now: str = "12:05") -> tuple[Thread, list[str]]:
    after, at_once = take_in(thread, notices, at(now), is_new=False)
    return after, [notice.id for notice in at_once]


# ---- What belongs together ----------------------------------------------------------------


@pytest.mark.parametrize(
    "other",
    [
        failed(2, job_name="another"),
        replace(failed(3), subject="else", text="else"),
    ],
)
def test_names_and_ids_make_no_thread_of_their_own(other: Notice) -> None:
    assert key_of(failed()) == key_of(other)


@pytest.mark.parametrize(
    "other",
    [
        failed(queue="cpu"),
        failed(cause="no space left"),
        replace(failed(), kind="limit-warning"),
        failed(rule="limit[1]"),
        failed(findings=["at-max-vcpus"]),
    ],
)
def test_another_kind_queue_rule_finding_or_cause_is_another_thread(other: Notice) -> None:
    assert key_of(failed()) != key_of(other)


def test_all_that_is_told_of_a_guard_is_one_thread() -> None:
    kinds = ("guard-raised", "guard-report", "guard-released")

    assert len({key_of(guard(kind, "cancel")) for kind in kinds}) == 1


def test_arrays_that_failed_are_told_apart_from_those_that_did_not() -> None:
    done, bad = (
        a_notice(kind="array-completed", facts={"queue": "gpu", "failed": count})
        for count in (0, 3)
    )

    assert key_of(done) != key_of(bad)


# ---- What is told at once -----------------------------------------------------------------


def test_the_first_of_a_thread_is_told_at_once_and_what_follows_is_collected() -> None:
    thread, first = take_in(a_thread(), [failed(1)], at("12:00"), is_new=True)
    thread, more = told(thread, failed(2), failed(3))

    assert [notice.id for notice in first] == ["job-failed:1"]
    assert more == []
    assert (thread.collected.count, thread.collected.ids) == (2, ("job-failed:2", "job-failed:3"))


def test_a_guard_that_flaps_is_told_at_once_only_when_it_becomes_harder() -> None:
    thread, first = take_in(a_thread(), [guard("guard-raised", "cancel")], at("12:00"), is_new=True)
    thread, then = told(
        thread,
        guard("guard-released", "calm"),
        guard("guard-raised", "cancel", 1),
        guard("guard-released", "calm", 1),
        guard("guard-raised", "terminate"),
        guard("guard-raised", "terminate", 1),
    )

    assert len(first) == 1
    assert then == ["guard-released:calm:0", "guard-raised:terminate:0"]
    assert thread.collected.count == 3


def test_troubles_are_told_at_once_but_not_without_end() -> None:
    troubles = [
        a_notice(kind="watchdog-trouble", id=f"watchdog-trouble:queue:{number}", facts={})
        for number in range(20)
    ]
    thread, first = take_in(
        a_thread(key=key_of(troubles[0])), troubles[:1], at("12:00"), is_new=True
    )
    thread, more = told(thread, *troubles[1:])

    assert len(first) + len(more) == 6
    assert thread.collected.count == 14


# ---- Windows ------------------------------------------------------------------------------


def test_windows_grow_to_an_hour_while_the_storm_lasts() -> None:
    thread = a_thread()
    windows = []
    for _ in range(4):
        windows.append(thread.window)
        thread = thread.next_window(thread.closes_at)

    assert windows == [WINDOW, 2 * WINDOW, LONGEST, LONGEST]


def test_a_thread_is_over_when_its_window_has_closed_with_nothing_in_it() -> None:
    thread = a_thread()
    full, _ = told(thread, failed())

    assert not thread.is_over(at("12:14"))
    assert thread.is_over(at("12:15"))
    assert not full.is_over(at("12:15"))


def test_the_digest_of_each_window_has_an_id_of_its_own() -> None:
    thread = a_thread()

    assert thread.digest_id != thread.next_window(at("12:15")).digest_id
    assert thread.digest_id != a_thread(key="other").digest_id


# ---- What is collected --------------------------------------------------------------------


def test_what_is_collected_has_a_bounded_size_and_counts_all() -> None:
    collected = Collected()
    for start in range(0, 3_000, 100):
        some = [failed(number, cause=f"cause {number}") for number in range(start, start + 100)]
        collected = collected.adding(some, at("12:00"))

    assert collected.count == sum(group.count for group in collected.groups) == 3_000
    assert len(collected.groups) <= GROUPS_MAX + 1
    assert len(collected.ids) == IDS_MAX


def test_a_group_tells_the_shortest_and_the_longest_wait_and_some_jobs() -> None:
    waits = (600, 60, 6_000)
    some = [failed(number, waited_seconds=wait) for number, wait in enumerate(waits)]

    [group] = Collected().adding(some, at("12:00")).groups

    assert (group.waited, group.examples, group.count) == ((60, 6_000), ("0", "1", "2"), 3)


def test_the_worst_severity_counts() -> None:
    some = [replace(failed(), severity=severity) for severity in ("info", "critical", "warning")]

    assert Collected().adding(some, at("12:00")).severity == "critical"
