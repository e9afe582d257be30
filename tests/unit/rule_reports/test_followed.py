"""What became of a job that passed a limit: by what Batch shows of its runs and its end."""

from typing import Any

from batch_watchdog.budgets.periods import to_ms
from batch_watchdog.budgets.runs import runs_of
from batch_watchdog.core.batch_payloads import event_from_detail
from batch_watchdog.rule_reports.followed import End, FollowedJob, RuleKey, end_of
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


def test_a_run_goes_on() -> None:
    assert became("RUNNING", "RUNNING", startedAt=millis("12:00")) is None


def test_a_run_that_succeeds_after_all() -> None:
    ended = {"startedAt": millis("12:00"), "stoppedAt": millis("15:00")}

    assert became("SUCCEEDED", "RUNNING", **ended) == End(how="went-on", at=at("15:00"))


def test_a_run_that_fails_has_ended_when_it_stopped() -> None:
    ended = {"startedAt": millis("12:00"), "stoppedAt": millis("15:00")}

    assert became("FAILED", "RUNNING", **ended) == End(how="ended", at=at("15:00"))


def test_the_success_of_a_later_attempt_is_not_that_of_the_run() -> None:
    made = [attempt("12:00", "15:00"), attempt("15:10", "16:00")]
    ended = {"startedAt": millis("15:10"), "stoppedAt": millis("16:00"), "attempts": made}

    assert became("SUCCEEDED", "RUNNING", **ended) == End(how="ended", at=at("15:00"))


def test_a_run_whose_job_waits_again_has_ended() -> None:
    waits = became("RUNNABLE", "RUNNING", attempts=[attempt("12:00", "15:00")])

    assert waits == End(how="ended", at=at("15:00"))
