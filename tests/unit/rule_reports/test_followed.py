"""What became of a job that passed a limit: by what Batch shows of its runs and its end."""

from typing import Any

import pytest

from batch_watchdog.budgets.periods import to_ms
from batch_watchdog.budgets.runs import runs_of
from batch_watchdog.core.batch_payloads import event_from_detail
from batch_watchdog.core.effects import STOP_MARK
from batch_watchdog.rule_reports.followed import End, FollowedJob, How, RuleKey, end_of
from tests.makers import JOB, a_described_job, at


def millis(clock: str) -> int:
    return to_ms(at(clock))


def a_followed_job(status: str = "RUNNABLE", **changes: Any) -> FollowedJob:
    """A job that waits since 12:00 and should have been stopped at 13:00."""
    key = RuleKey(
        rule="limit[1] (match queue gpu)",
        status=status,
        limit_seconds=3_600,
        action="cancel",
        mode="observe",
    )
    given: dict[str, Any] = {"job_id": JOB, "about": f"{JOB}:0:{status}", "key": key}
    times = {"since": at("12:00"), "decided_at": at("13:00")}
    return FollowedJob(**given | times | changes)


def became(status: str, limited: str = "RUNNABLE", **detail: Any) -> End | None:
    """What became of it, at 18:00."""
    shown, now = a_described_job(status=status, **detail), at("18:00")
    followed = a_followed_job(limited)
    return end_of(followed, event_from_detail(shown, now), runs_of(shown, to_ms(now)), now)


def attempt(start: str, stop: str) -> dict[str, Any]:
    return {"startedAt": millis(start), "stoppedAt": millis(stop), "container": {"exitCode": 1}}


def test_a_job_that_waits_is_open() -> None:
    assert became("RUNNABLE") is None


def test_a_job_that_is_starting_has_not_started() -> None:
    assert became("STARTING") is None


def test_a_job_has_gone_on_when_its_run_began() -> None:
    assert became("RUNNING", startedAt=millis("14:30")) == End(how="went-on", at=at("14:30"))


def test_a_run_that_is_over_counts_too() -> None:
    ended: dict[str, Any] = {"startedAt": millis("14:30"), "stoppedAt": millis("15:00")}

    assert became("SUCCEEDED", **ended) == End(how="went-on", at=at("14:30"))
    assert became("FAILED", **ended) == End(how="went-on", at=at("14:30"))


def test_a_job_that_waits_again_had_gone_on() -> None:
    failed = [attempt("14:30", "15:00")]

    assert became("RUNNABLE", attempts=failed) == End(how="went-on", at=at("14:30"))


def test_a_job_that_started_while_it_was_decided_on_has_gone_on() -> None:
    started = became("RUNNING", startedAt=millis("12:59:59"))

    assert started == End(how="went-on", at=at("12:59:59"))


def test_a_run_before_the_wait_is_another() -> None:
    assert became("RUNNABLE", attempts=[attempt("11:00", "11:50")]) is None


def test_a_job_that_failed_without_a_run_ended() -> None:
    failed = became("FAILED", stoppedAt=millis("16:00"), statusReason="cancelled by jane")

    assert failed == End(how="ended", at=at("16:00"))


def test_a_stop_of_ours_is_told_apart() -> None:
    ours = "batch-watchdog: RUNNABLE for more than 1 h, limit[1]"
    failed = became("FAILED", stoppedAt=millis("13:01"), statusReason=ours)

    assert failed == End(how="stopped", at=at("13:01"))


# ---- Jobs that run for too long -------------------------------------------------------------

FIRST = attempt("12:00", "15:00")
RETRY: dict[str, Any] = {"startedAt": millis("15:10"), "stoppedAt": millis("16:00")}


def ended_run(how: How, clock: str, run_over: str = "15:00") -> End:
    return End(how=how, at=at(clock), run_over=at(run_over))


def test_a_run_goes_on() -> None:
    assert became("RUNNING", "RUNNING", startedAt=millis("12:00")) is None


def test_a_run_that_succeeds_after_all() -> None:
    ended = {"startedAt": millis("12:00"), "stoppedAt": millis("15:00")}

    assert became("SUCCEEDED", "RUNNING", **ended) == ended_run("went-on", "15:00")


def test_a_run_that_fails_has_ended_when_it_stopped() -> None:
    ended = {"startedAt": millis("12:00"), "stoppedAt": millis("15:00")}

    assert became("FAILED", "RUNNING", **ended) == ended_run("ended", "15:00")


def test_a_job_that_succeeds_by_a_retry_has_gone_on_and_its_run_was_over_before() -> None:
    made = {"attempts": [FIRST, attempt("15:10", "16:00")]}

    assert became("SUCCEEDED", "RUNNING", **RETRY, **made) == ended_run("went-on", "16:00")


def test_a_job_whose_retry_fails_too_has_ended() -> None:
    made = {"attempts": [FIRST, attempt("15:10", "16:00")]}

    assert became("FAILED", "RUNNING", **RETRY, **made) == ended_run("ended", "16:00")


def test_a_job_whose_retry_was_stopped_by_us_was_stopped() -> None:
    made = {"attempts": [FIRST], "statusReason": f"{STOP_MARK}guard"}

    assert became("FAILED", "RUNNING", **made) == ended_run("stopped", "15:00")


@pytest.mark.parametrize("status", ["RUNNABLE", "STARTING", "RUNNING"])
def test_a_job_that_is_being_retried_is_open(status: str) -> None:
    started = {"startedAt": millis("15:10")} if status == "RUNNING" else {}

    assert became(status, "RUNNING", attempts=[FIRST], **started) is None
