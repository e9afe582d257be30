"""Which notices are told at once, and which are collected."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_watchdog.notices.notice import Notice
from batch_watchdog.threads.rules import (
    AT_ONCE_MAX,
    DIGESTS_MAX,
    GROUPS_MAX,
    IDS_MAX,
    LONGEST,
    MESSAGES_MAX,
    SINGLES_MAX,
    Collected,
    Thread,
    goes_out_singly,
    key_of,
    take_in,
)
from tests.makers import a_notice, at

WINDOW = timedelta(minutes=15)


def a_thread(**changes: Any) -> Thread:
    thread = Thread(key="k", opened_at=at("12:00"), closes_at=at("12:15"), window=WINDOW)
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


def test_jobs_of_one_rule_that_do_not_end_are_one_thread_and_each_sort_of_trouble_is_another() -> (
    None
):
    def trouble(name: str, **facts: Any) -> str:
        return key_of(a_notice(kind="watchdog-trouble", id=f"watchdog-trouble:{name}", facts=facts))

    about = {"job_id": "j", "queue": "gpu", "rule": "limit[0]"}
    jobs = {trouble(f"job-{number}:0:RUNNING:not-ended", **about) for number in range(3)}

    assert len(jobs) == 1
    assert trouble("job-1:0:RUNNING:unstoppable", **about) not in jobs
    assert trouble("policy:1") == trouble("policy:2") != trouble("evidence:1")


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


def test_each_window_tells_once_that_a_guard_has_come_to_terminate() -> None:
    thread, _ = told(
        a_thread(), guard("guard-raised", "terminate"), guard("guard-raised", "cancel")
    )
    thread = thread.next_window(at("12:15"))
    _, then = told(
        thread,
        guard("guard-raised", "cancel", 1),
        guard("guard-raised", "terminate", 1),
        now="12:20",
    )

    assert then == ["guard-raised:terminate:1"]


def news(number: int, kind: Any = "array-completed") -> Notice:
    return a_notice(kind=kind, id=f"{kind}:{number}", facts={"queue": "gpu"})


@pytest.mark.parametrize(
    "kind", ["array-completed", "array-stopped", "queue-blocked", "spend-alert", "watchdog-trouble"]
)
def test_what_is_news_each_time_is_told_at_once_but_not_without_end(kind: Any) -> None:
    thread, first = take_in(a_thread(), [news(0, kind)], at("12:00"), is_new=True)
    thread, more = told(thread, *(news(number, kind) for number in range(1, 20)))

    assert len(first) + len(more) == AT_ONCE_MAX
    assert thread.collected.count == 20 - AT_ONCE_MAX


def test_a_thread_that_ended_and_begins_anew_knows_what_it_has_sent_in_the_last_hour() -> None:
    thread, clock = a_thread(), at("12:00")
    for number in range(AT_ONCE_MAX):
        thread, first = take_in(thread, [news(number)], clock, is_new=False)
        assert first
    anew = replace(thread.anew(at("12:15"), WINDOW), ended=False)

    assert take_in(anew, [news(10)], at("12:16"), is_new=True)[1] == []
    assert take_in(anew, [news(10)], at("13:16"), is_new=True)[1] == [news(10)]


def test_few_that_come_together_go_out_one_by_one_and_more_in_one_digest() -> None:
    few = [failed(number) for number in range(SINGLES_MAX)]
    many = [*few, failed(SINGLES_MAX)]

    assert goes_out_singly(few, SINGLES_MAX)
    assert not goes_out_singly(few, SINGLES_MAX - 1)
    assert not goes_out_singly(many, 1_000)
    assert goes_out_singly([*few, failed(9, queue="cpu")], 1_000)


def test_a_digest_at_once_counts_as_one_message() -> None:
    thread, first = take_in(
        a_thread(), [failed(number) for number in range(100)], at("12:00"), is_new=True
    )

    assert (len(first), len(thread.sent)) == (100, 1)


def test_the_digest_of_a_window_counts_as_a_message() -> None:
    assert a_thread(sent=(at("12:00"),)).next_window(at("12:15")).sent == (at("12:00"), at("12:15"))


def test_a_digest_waits_until_there_is_room_for_it_in_the_hour() -> None:
    times = tuple(at(f"12:{minute:02}") for minute in range(DIGESTS_MAX))

    assert a_thread(sent=times).has_room_from(at("12:30")) == at("13:00")
    assert a_thread(sent=times[1:]).has_room_from(at("12:30")) == at("12:30")
    assert a_thread(sent=times).has_room_from(at("13:00")) == at("13:00")


A_NOTICE = st.sampled_from(
    [failed(), news(0), guard("guard-raised", "cancel"), guard("guard-raised", "terminate")]
)


@given(
    st.lists(st.tuples(st.integers(1, 1_200), st.integers(1, 8), A_NOTICE), max_size=200),
    st.sampled_from([1, 5, 15, 120]),
)
def test_a_thread_sends_at_most_twelve_messages_an_hour_and_loses_none(
    arrivals: list[tuple[int, int, Notice]], fold: int
) -> None:
    """The notices of a thread arrive at any times; a sweep closes windows each minute."""
    window, now = timedelta(minutes=fold), at("00:00")
    thread = replace(a_thread(closes_at=now, window=window), ended=True)
    sent: list[datetime] = []
    counted = at_once_in_all = 0

    def sweep(until: datetime) -> None:
        nonlocal thread, counted
        while thread.closes_at <= until and not thread.ended:
            closes = thread.closes_at
            later = thread.has_room_from(closes)
            if not thread.collected.count:
                thread = replace(thread, ended=True)
            elif later <= closes:
                counted += thread.collected.count
                sent.append(closes)
                thread = thread.next_window(closes)
            else:
                thread = replace(thread, closes_at=later)

    for number, (gap, count, notice) in enumerate(arrivals):
        now += timedelta(seconds=gap)
        sweep(now)
        if is_new := thread.is_over(now):
            thread = thread.anew(now, window)
        some = [replace(notice, id=f"{number}:{each}") for each in range(count)]
        thread, at_once = take_in(thread, some, now, is_new=is_new)
        messages = len(at_once) if goes_out_singly(at_once, 1_000) else 1
        sent += [now] * messages
        at_once_in_all += len(at_once)
    sweep(now + timedelta(hours=12))

    assert counted + at_once_in_all == sum(count for _, count, _ in arrivals)
    for first in sent:
        assert sum(first <= each < first + timedelta(hours=1) for each in sent) <= MESSAGES_MAX


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
    assert replace(thread, ended=True).is_over(at("12:14"))
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


def test_the_ids_that_are_kept_are_the_first() -> None:
    too_long = replace(failed(1), id="x" * 200_000)
    collected = Collected().adding([failed(0), too_long], at("12:00"))

    assert collected.adding([failed(2)], at("12:01")).ids == ("job-failed:0",)


def test_a_group_tells_the_shortest_and_the_longest_wait_and_some_jobs() -> None:
    waits = (600, 60, 6_000)
    some = [failed(number, waited_seconds=wait) for number, wait in enumerate(waits)]

    [group] = Collected().adding(some, at("12:00")).groups

    assert (group.waited, group.examples, group.count) == ((60, 6_000), ("0", "1", "2"), 3)


def test_the_worst_severity_counts() -> None:
    some = [replace(failed(), severity=severity) for severity in ("info", "critical", "warning")]

    assert Collected().adding(some, at("12:00")).severity == "critical"
