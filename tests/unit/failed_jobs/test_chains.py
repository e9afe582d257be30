"""A job that failed and those that failed with it are one piece of news."""

from collections.abc import Sequence
from typing import Any

import pytest

from batch_watchdog.core.effects import STOP_MARK
from batch_watchdog.core.job_event import JobEvent
from batch_watchdog.failed_jobs import items as chain_items
from batch_watchdog.failed_jobs.chains import PATIENCE, chains, held, may_go_on
from batch_watchdog.failed_jobs.workflow import FailureChainReporter
from batch_watchdog.policy.model import parse_policy
from batch_watchdog.store.item_codec import unpack
from tests.fakes import Aws
from tests.makers import ARRAY, a_child_event, a_failure, a_parent_event, at, change
from tests.watching import Watching


def failed(job_id: str, clock: str = "12:00", **detail: Any) -> Any:
    """A job that ran, and failed by itself."""
    return a_failure(clock, jobId=job_id, jobName=f"name-of-{job_id}", **detail)


def follower(job_id: str, *on: str, clock: str = "12:00") -> Any:
    """A job that failed without having begun, as one that it depends on had failed."""
    return failed(
        job_id,
        clock,
        statusReason="Dependent Job failed",
        dependsOn=[{"jobId": each} for each in on],
        container={},
        attempts=[],
    )


def found(*events: Any) -> list[tuple[str | None, tuple[str, ...], list[str]]]:
    return [
        (chain.root.job_id if chain.root else None, chain.blamed, ids(chain.followers))
        for chain in chains(map(change, events))
    ]


def ids(failures: Sequence[JobEvent]) -> list[str]:
    return [each.job_id for each in failures]


# ---- What belongs together ----------------------------------------------------------------


def test_a_chain_has_one_root_however_long_it_is_and_however_it_is_ordered() -> None:
    events = [
        failed("a", "12:00:00"),
        follower("b", "a", clock="12:00:05"),
        follower("c", "b", clock="12:00:08"),
        follower("d", "x", "c", clock="12:00:08"),
    ]

    assert found(*events) == found(*reversed(events)) == [("a", ("a",), ["b", "c", "d"])]


def test_each_cause_has_its_own_followers() -> None:
    events = [failed("a"), failed("b"), follower("c", "a"), follower("d", "b"), follower("e", "a")]

    assert found(*events) == [("a", ("a",), ["c", "e"]), ("b", ("b",), ["d"])]


def test_a_follower_of_two_failures_is_counted_once() -> None:
    events = [failed("a", "12:00:01"), failed("b", "12:00:02"), follower("c", "b", "a")]

    assert [len(followers) for *_, followers in found(*events)].count(1) == 1


def test_followers_whose_cause_is_not_there_are_one_chain() -> None:
    events = [follower("b", "a"), follower("c", "a"), follower("d", "c"), follower("e")]

    assert found(*events) == [(None, ("a",), ["b", "c", "d"]), ("e", ("e",), [])]


def test_jobs_that_wait_for_each_other_end_the_search() -> None:
    assert found(follower("a", "b"), follower("b", "a"), follower("c", "c")) == [
        ("a", ("a",), ["b"]),
        ("c", ("c",), []),
    ]


def test_only_what_belongs_to_a_chain_is_kept_back() -> None:
    events = [failed("a"), failed("b"), follower("c", "a"), follower("d", "z")]

    assert held(map(change, events)) == {"a", "c", "d"}


def test_a_chain_goes_on_while_more_of_it_is_to_come_but_not_for_ever() -> None:
    (chain,) = chains(map(change, [failed("a"), follower("b", "a")]))

    assert may_go_on(chain, {"b"}, at("12:00") + PATIENCE / 2)
    assert not may_go_on(chain, {"b"}, at("12:00") + PATIENCE)
    assert not may_go_on(chain, {"z"}, at("12:00"))


def test_a_failure_is_kept_whole_but_for_what_no_notice_needs() -> None:
    failures = [change(failed(f"job-{number:03}", tags={"a": "b"})) for number in range(120)]

    entries = list(chain_items.entries(failures, at("12:01")))
    read = [each for entry in entries for each in chain_items.read(unpack(entry.content))]

    assert len(entries) == 3
    assert ids(read) == ids(failures)
    assert (read[7].exit_code, read[7].log_stream) == (failures[7].exit_code, read[7].log_stream)
    assert read[7].tags == {}


def test_of_a_text_that_is_too_long_to_be_kept_both_ends_are() -> None:
    long = change(failed("a", statusReason=f"it began {'so ' * 900}and ended"))

    [entry] = chain_items.entries([long], at("12:01"))
    [read] = chain_items.read(unpack(entry.content))

    assert len(read.reason) == 1_000
    assert (read.reason[:8], read.reason[-9:]) == ("it began", "and ended")


# ---- What is told -------------------------------------------------------------------------


def seen(*events: Any, lost: Sequence[Any] = ()) -> Watching:
    return Watching("", events, lost=lost).run(at("12:00"), at("12:20"))


def test_a_chain_is_told_once_with_its_cause_and_the_count_of_its_followers() -> None:
    steps = [follower(f"s{n}", f"s{n - 1}", clock=f"12:00:{20 + n}") for n in range(1, 30)]
    watching = seen(failed("s0", "12:00:20", exit_code=137), *steps)

    [told] = watching.told("job-failed")
    assert told["id"] == "job-failed:s0"
    assert told["subject"] == "Job failed, exit code 137, and 29 that depend on it: name-of-s0"
    assert (told["facts"]["followers"], len(told["facts"]["follower_ids"])) == (29, 29)
    assert "29 jobs that depend on it never began" in told["text"]
    assert "- name-of-s1 (dependsOn s0)" in told["text"]
    assert "… and 19 more" in told["text"]


def test_a_chain_that_goes_on_over_minutes_is_told_once_when_it_is_over() -> None:
    steps = [follower(f"s{n}", f"s{n - 1}", clock=f"12:0{n}") for n in range(2, 6)]
    watching = seen(failed("s0", "12:01"), follower("s1", "s0", clock="12:01"), *steps)

    [told] = watching.told("job-failed")
    assert (told["facts"]["job_id"], told["facts"]["followers"]) == ("s0", 5)


def test_a_failure_that_nothing_follows_is_told_at_once() -> None:
    watching = Watching("", [failed("a", "12:00")]).run(at("12:00"), at("12:00"))

    assert [each["facts"]["followers"] for each in watching.told("job-failed")] == [0]


def test_a_service_job_that_failed_is_told_as_one() -> None:
    service = failed("a", serviceJobType="SAGEMAKER_TRAINING")

    for event, facts in ((service, True), (failed("a"), None)):
        [told] = seen(event).told("job-failed")
        assert told["facts"].get("service") is facts


STOPPED = f'{STOP_MARK}guard "monthly" is at terminate: ann asked for it'


@pytest.mark.parametrize(
    ("reason", "subject", "why", "stopped_by"),
    [
        (
            "Essential container in task exited",
            "2 jobs not begun, as one failed: name-of-a",
            "The job name-of-a had failed, exit code 3.",
            [],
        ),
        (
            STOPPED,
            "2 jobs not begun, as guard monthly stopped one: name-of-a",
            "The job name-of-a was stopped by this watchdog, and has not failed: guard monthly.",
            ["guard monthly"],
        ),
    ],
)
def test_followers_that_come_later_are_told_together_with_their_cause(
    reason: str, subject: str, why: str, stopped_by: list[str]
) -> None:
    cause = failed("a", "12:00", exit_code=3, statusReason=reason)
    late = [follower("b", "a", clock="12:05"), follower("c", "b", clock="12:05")]
    watching = seen(late[0], late[1], lost=[cause])

    [told] = watching.told("job-failed")
    assert told["subject"] == subject
    assert told["facts"]["failed_dependency"] == "a"
    assert told["facts"]["stopped_by"] == stopped_by
    assert told["facts"]["follower_ids"] == ["b", "c"]
    assert why in told["text"]
    assert reason in told["text"]


def test_a_follower_whose_cause_batch_does_not_know_is_told_all_the_same() -> None:
    watching = seen(follower("b", "a", clock="12:05"))
    watching_unanswered = Watching("", [follower("b", "a", clock="12:05")])
    watching_unanswered.refuses = lambda operation, _: operation == "DescribeJobs"
    watching_unanswered.run(at("12:00"), at("12:20"))

    for each in (watching, watching_unanswered):
        [told] = each.told("job-failed")
        assert told["id"] == "job-failed:b"
        assert told["subject"].startswith("1 job not begun")
        assert "A job that it depends on had failed: a." in told["text"]


def test_followers_of_one_cause_that_is_not_known_are_told_in_the_plural() -> None:
    [told] = seen(*(follower(name, "a", clock="12:05") for name in "bc")).told("job-failed")

    assert told["subject"].startswith("2 jobs not begun")
    assert "A job that they depend on had failed: a." in told["text"]


def test_one_follower_is_told_in_the_singular() -> None:
    [told] = seen(failed("a"), follower("b", "a")).told("job-failed")

    assert told["subject"] == "Job failed, exit code 1, and 1 that depends on it: name-of-a"


def test_a_chain_that_comes_twice_is_told_once() -> None:
    events = [failed("a", "12:00:10"), follower("b", "a", clock="12:00:12")]
    watching = seen(*events, *events, *(each | {"time": each["time"]} for each in events))

    assert len(watching.told("job-failed")) == 1


def test_a_chain_that_a_sweep_sees_again_is_told_no_second_time() -> None:
    watching = Watching("")
    chain = [change(failed("a", "12:00")), change(follower("b", "a"))]

    for clock in ("12:02", "12:03"):
        watch = FailureChainReporter(
            table=watching.table, batch=Aws().batch, policy=parse_policy(""), now=at(clock)
        )
        watch.process(chain)
    watching.act()

    assert len(watching.told("job-failed")) == 1


def test_what_a_later_sweep_finds_of_a_chain_is_told_apart_and_counts_no_job_twice() -> None:
    watching = Watching("")
    chain = [change(failed("a", "12:00")), change(follower("b", "a"))]
    more = change(follower("c", "b"))

    for clock, found in (("12:02", chain), ("12:03", [*chain, more])):
        watch = FailureChainReporter(
            table=watching.table, batch=Aws().batch, policy=parse_policy(""), now=at(clock)
        )
        watch.process(found)
    watching.act()

    first, second = watching.told("job-failed")
    assert (first["id"], first["facts"]["follower_ids"]) == ("job-failed:a", ["b"])
    assert (second["id"], second["facts"]["follower_ids"]) == ("job-failed:c", ["c"])
    assert second["facts"]["failed_dependency"] == "a"


def test_no_chain_is_told_where_the_policy_wants_no_failures_told() -> None:
    policy = "[notify]\njob_failures = false\n"
    watching = Watching(policy, [failed("a"), follower("b", "a")]).run(at("12:00"), at("12:10"))

    assert watching.told("job-failed") == []


def test_jobs_that_share_no_dependency_are_told_one_by_one_with_their_reasons() -> None:
    by_ann = {"statusReason": "Cancelled by ann: the dependency list has failed", "container": {}}
    watching = seen(
        follower("a", clock="12:00:10"),
        follower("b", clock="12:00:20"),
        failed("c", "12:00:30", attempts=[], **by_ann),
        failed("d", "12:00:40", attempts=[], dependsOn=[{"jobId": "x"}], **by_ann),
    )

    told = watching.told("job-failed")
    assert [each["facts"]["job_id"] for each in told] == ["a", "b", "c", "d"]
    assert [each["facts"]["followers"] for each in told] == [0, 0, 0, 0]
    assert [by_ann["statusReason"] in each["text"] for each in told] == [False, False, True, True]


# ---- Arrays that fall with a job ----------------------------------------------------------


def fallen_array(job_id: str, *on: str, clock: str = "12:00", **changes: Any) -> Any:
    """The parent's event of an array of which no child began."""
    event = follower(job_id, *on, clock=clock)
    summary = {"SUCCEEDED": 0, "FAILED": 4} | changes.pop("summary", {})
    event["detail"] |= {"arrayProperties": {"size": 4, "statusSummary": summary}} | changes
    return event


def test_arrays_that_fall_with_a_job_are_counted_in_its_notice() -> None:
    watching = seen(failed("a"), fallen_array("b", "a"), follower("c", "b"), fallen_array("d", "c"))

    [told] = watching.told("job-failed")
    assert told["subject"] == "Job failed, exit code 1, and 3 that depend on it: name-of-a"
    assert told["facts"]["follower_ids"] == ["b", "c", "d"]
    assert "- name-of-b, an array of 4 (dependsOn a)" in told["text"]
    assert watching.told("array-completed") == []


def test_arrays_that_fall_with_an_array_are_one_notice() -> None:
    children = [a_child_event(index, "FAILED") for index in range(2)]
    first = a_parent_event(2, failed=2)
    followers = [fallen_array("b", ARRAY, clock="12:10"), fallen_array("c", "b", clock="12:10")]
    watching = seen(*children, first, *followers)

    [told] = watching.told("array-completed")
    assert told["facts"]["job_id"] == ARRAY
    [follows] = watching.told("job-failed")
    assert follows["subject"] == "2 jobs not begun, as one failed: render"
    assert follows["facts"]["follower_ids"] == ["b", "c"]


@pytest.mark.parametrize(
    "changes",
    [
        {"summary": {"SUCCEEDED": 1, "FAILED": 3}},
        {"statusReason": "Array Child Job failed"},
        {"dependsOn": [{"type": "SEQUENTIAL"}]},
    ],
)
def test_an_array_that_has_an_end_of_its_own_is_told_as_such(changes: dict[str, Any]) -> None:
    watching = seen(failed("a"), fallen_array("b", "a", **changes))

    assert [each["facts"]["job_id"] for each in watching.told("array-completed")] == ["b"]
    assert [each["facts"]["followers"] for each in watching.told("job-failed")] == [0]


def test_where_no_failures_are_told_an_array_that_fell_is_told_all_the_same() -> None:
    policy = "[notify]\njob_failures = false\n"
    watching = Watching(policy, [failed("a"), fallen_array("b", "a")])
    watching.run(at("12:00"), at("12:20"))

    assert len(watching.told("array-completed")) == 1
