"""The digest of many notices."""

from dataclasses import replace
from datetime import timedelta
from typing import Any, get_args

import pytest

from batch_watchdog.notices.notice import Notice, NoticeKind
from batch_watchdog.threads.notices import digest, digest_of
from batch_watchdog.threads.rules import Thread, take_in
from tests.makers import a_notice, at

NOON = at("12:00")


def notices(count: int, **facts: object) -> list[Notice]:
    return [
        a_notice(
            id=f"job-failed:{number}",
            facts={"job_id": f"{number}", "queue": "gpu", "cause": "exit"} | facts,
        )
        for number in range(count)
    ]


def test_a_digest_stands_for_all_of_them() -> None:
    folded = digest_of(notices(25), NOON)

    assert folded.kind == "digest"
    assert folded.subject == "25 × job-failed in gpu: exit"
    assert folded.facts["of"] == "job-failed"
    assert folded.facts["count"] == 25
    assert folded.facts["ids"] == [f"job-failed:{number}" for number in range(25)]


def test_a_digest_says_a_known_cause_in_a_few_words_and_a_queue_by_its_name() -> None:
    arn = "arn:aws:batch:us-east-1:111122223333:job-queue/gpu"
    folded = digest_of(notices(3, queue=arn, known_cause="out-of-memory"), NOON)

    assert folded.subject == "3 × job-failed in gpu: out of memory"
    exited = digest_of(notices(3, known_cause="container-exited", cause="It ended"), NOON)
    assert exited.subject == "3 × job-failed in gpu: It ended"


def test_a_digest_is_by_groups_the_largest_first_whose_counts_add_up() -> None:
    folded = digest_of([*notices(2), *notices(5, queue="cpu")], NOON)

    groups = folded.facts["groups"]
    assert [(group["queue"], group["count"]) for group in groups] == [("cpu", 5), ("gpu", 2)]
    assert groups[0]["cause"] == "exit"
    assert groups[0]["examples"] == ["0", "1", "2"]
    assert folded.text.index("5 × queue cpu") < folded.text.index("2 × queue gpu")


def test_a_group_shows_one_example_with_its_link() -> None:
    some = [replace(each, text="See https://aws.example/jobs/1 now") for each in notices(2)]
    folded = digest_of(some, NOON)

    assert f"e.g. {some[0].subject}" in folded.text
    assert "https://aws.example/jobs/1" in folded.text


def test_the_largest_groups_show_one_example_as_it_would_have_been_told_alone() -> None:
    some = [
        replace(each, text="It ran out of memory.\n\nWhat to do: give it more.")
        for number in range(8)
        for each in notices(1, queue=f"queue-{number}")
    ]
    folded = digest_of(some, NOON)

    assert folded.text.count("| What to do: give it more.") == 3
    assert "8 × " in folded.subject


LIST = "list-jobs --job-queue gpu --job-status"
OBSERVED: dict[str, object] = {"mode": "observe", "status": "RUNNABLE"}


@pytest.mark.parametrize(
    ("kind", "facts", "command"),
    [
        ("job-failed", {}, f"{LIST} FAILED"),
        ("job-failed", {"queue": "a; rm"}, "list-jobs --job-queue 'a; rm' --job-status FAILED"),
        (
            "job-failed",
            {"service": True},
            "list-service-jobs --job-queue gpu --job-status FAILED",
        ),
        ("limit-warning", {"status": "STARTING"}, f"{LIST} STARTING"),
        ("limit-warning", {"status": "RUNNABLE", "status_now": "RUNNING"}, f"{LIST} RUNNING"),
        (
            "limit-warning",
            {"status": "SCHEDULED", "service": True},
            "list-service-jobs --job-queue gpu --job-status SCHEDULED",
        ),
        (
            "limit-warning",
            {"status": "RUNNABLE", "job_id": "parent:7"},
            "list-jobs --array-job-id parent --job-status RUNNABLE",
        ),
        ("limit-enforced", {"status": "RUNNABLE", "mode": "enforce"}, f"{LIST} FAILED"),
        ("limit-enforced", OBSERVED, f"{LIST} RUNNABLE"),
        ("limit-escaped", {"status": "RUNNABLE", "status_now": "STARTING"}, f"{LIST} STARTING"),
        ("watchdog-trouble", {"status": "RUNNING", "mode": "enforce"}, f"{LIST} RUNNING"),
        ("array-completed", {"status": "SUCCEEDED"}, f"{LIST} SUCCEEDED"),
        ("array-completed", {"status": "FAILED"}, f"{LIST} FAILED"),
        ("array-progress", {"percent": 50}, f"{LIST} PENDING"),
        ("array-stopped", {"mode": "enforce"}, f"{LIST} FAILED"),
        ("array-stopped", {"mode": "observe"}, f"{LIST} PENDING"),
        ("array-stopped", {"left_alone": "an operator holds it"}, f"{LIST} PENDING"),
        ("queue-blocked", {"state": "blocked"}, "get-job-queue-snapshot --job-queue gpu"),
    ],
)
def test_a_digest_names_the_command_that_lists_them(
    kind: Any, facts: dict[str, object], command: str
) -> None:
    some = [replace(each, kind=kind) for each in notices(2, **facts)]

    assert f"To list them: aws batch {command}\n" in digest_of(some, NOON).text


@pytest.mark.parametrize(
    ("kind", "facts"),
    [
        ("job-failed", {"queue": ""}),
        ("job-failed", {"job_id": "parent#0"}),
        ("limit-escaped", {"status": "RUNNING", "escalated": True}),
        ("limit-warning", {"status": "odd; rm"}),
        ("watchdog-trouble", {}),
        ("queue-blocked", {"state": "ended"}),
        ("budget-reached", {"status": "RUNNING"}),
    ],
)
def test_a_digest_names_no_command_that_may_not_list_them(
    kind: Any, facts: dict[str, object]
) -> None:
    some = [replace(each, kind=kind) for each in notices(2, **facts)]

    assert "aws batch" not in digest_of(some, NOON).text


def test_a_group_whose_jobs_no_single_command_lists_names_none() -> None:
    some = [
        *notices(2, status="FAILED", cause=""),
        *notices(1, status="SUCCEEDED", cause=""),
        *notices(2, status="FAILED", cause=""),
    ]
    folded = digest_of([replace(each, kind="array-completed") for each in some], NOON)

    assert "aws batch" not in folded.text


def test_if_a_command_lists_only_the_largest_group_the_digest_says_so() -> None:
    folded = digest_of([*notices(2), *notices(3, queue="cpu")], NOON)

    assert (
        "To list the largest group: aws batch list-jobs --job-queue cpu --job-status FAILED\n"
        in folded.text
    )


def test_a_group_without_its_whole_example_leads_to_the_job() -> None:
    job = "https://console.aws.amazon.com/batch/home?region=us-east-1#jobs/detail/5"
    text = f"It read https://aws.example/x\nSee https://docs.example/y\n\nJob:   {job}\nQueue: q"
    some = [replace(each, text=text) for n in range(5) for each in notices(1, queue=f"q{n}")]

    last = digest_of(some, NOON).text.partition("1 × queue q4")[2]

    assert f"\n  {job}\n" in last
    assert "docs.example" not in last


def test_the_digest_of_a_guard_says_what_it_did_and_how_it_is() -> None:
    thread = Thread(
        key="guard|money", opened_at=NOON, closes_at=at("12:15"), window=timedelta(minutes=15)
    )
    for minute in range(1, 5):
        kind: Any = "guard-raised" if minute % 2 else "guard-released"
        about = {"guard": "money", "stage": "cancel"}
        raised = a_notice(kind=kind, id=f"{minute}", subject=f"{kind} {minute}", facts=about)
        thread = replace(
            thread, collected=thread.collected.adding([raised], at(f"12:{minute * 10}"))
        )

    told = digest(thread)

    assert told.subject == "Guard money: raised 2 times, released 2 times in 30 min"
    assert "The latest: guard-released 4" in told.text


def test_the_digest_of_a_window_says_from_when_to_when() -> None:
    thread = Thread(key="k", opened_at=NOON, closes_at=at("12:15"), window=timedelta(minutes=15))
    for clock in ("12:01", "12:11"):
        thread, _ = take_in(thread, notices(3), at(clock), is_new=False)

    told = digest(thread)

    assert told.id == thread.digest_id
    assert (told.facts["first_at"], told.facts["seconds"]) == ("2026-01-01T12:01:00Z", 600)
    assert "6 more notices came from 2026-01-01T12:01:00Z to 2026-01-01T12:11:00Z" in told.text


def test_a_digest_has_the_same_id_each_time_and_another_one_for_other_notices() -> None:
    some, more = notices(2), notices(3)

    assert digest_of(some, NOON).id == digest_of([replace(n, text="else") for n in some], NOON).id
    assert digest_of(some, NOON).id != digest_of(more, NOON).id


def test_a_digests_subject_is_harmless_even_if_its_notices_are_not() -> None:
    folded = digest_of(notices(2, queue="x\n" * 300, cause="<b>\r" * 90), NOON)

    assert len(folded.subject) < 100
    assert "\n" not in folded.subject


@pytest.mark.parametrize("kind", get_args(NoticeKind.__value__))
def test_notices_of_every_kind_can_be_told_in_a_digest(kind: NoticeKind) -> None:
    notices = [a_notice(kind=kind, id=f"{kind}:{number}") for number in range(3)]

    assert digest_of(notices, at("12:00")).facts["kinds"] == {kind: 3}
