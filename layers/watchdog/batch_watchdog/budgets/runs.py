"""
Read the runs of a job: each attempt that ran, with its start and end, as Batch shows them. Pure.

A job's events and DescribeJobs list the attempts that have ended; a RUNNING job shows when it
started. So each later event of a job shows its whole past again, and it can be counted from any.

An array parent has no run of its own: its children run. Nor has a node of a multi-node job: the job
runs on all of its nodes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from batch_watchdog.core.job_event import ENDED, array_child
from batch_watchdog.core.payload_parts import shows_its_attempts
from batch_watchdog.diagnosis.lenient import items, mapping

_YEAR = 366 * 86_400_000  # ms
_SOON = 60_000  # ms; two clocks differ by less
_ATTEMPTS_MAX = 100
_PREEMPTED = 1_000  # attempt numbers from here on mean preempted runs
_UNNUMBERED = 10**11  # from here on, runs that are known by their start


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """
    One attempt that ran: times in milliseconds since 1970.

    `stop` is 0 while the run goes on, and `start` is 0 if an end shows no start. Both are 0 if the
    run is only expected: the job is STARTING, or waits again. `guessed` says that no start was
    shown: `start` is then the time at which RUNNING was reported.
    """

    job_id: str
    attempt: int
    start: int
    stop: int = 0
    guessed: bool = False


def unnumbered(start: int) -> int:
    """Return the number used for an attempt if the job does not list those before it."""
    return _UNNUMBERED + start // 1_000 * 1_000


def is_unnumbered(attempt: int) -> bool:
    return attempt >= _UNNUMBERED


def runs_of(detail: Mapping[str, Any], at: int) -> list[Run]:
    """Return the runs that a job shows, by an event or by DescribeJobs, at the time `at`."""
    job_id = detail.get("jobId")
    if not isinstance(job_id, str) or _has_no_run(job_id, detail):
        return []
    found = {run.attempt: run for run in _ended(job_id, detail, at)}
    latest = _latest(job_id, detail, at, found)
    if latest:
        found[latest.attempt] = latest
    for number, each in enumerate(_preempted(detail)):
        start, stop = _times(each, at)
        if start and stop and start not in [run.start for run in found.values()]:
            # Only the latest are listed, so their place in the list alone does not identify them.
            attempt = _PREEMPTED + number + start % 1_000_000_000 * 10
            found[attempt] = Run(job_id=job_id, attempt=attempt, start=start, stop=stop)
    return sorted(found.values(), key=lambda run: (run.start, run.attempt))


def expected_run(detail: Mapping[str, Any]) -> Run | None:
    """Return the run to be expected if a job is STARTING, or waits again after an attempt."""
    job_id, status = detail.get("jobId"), detail.get("status")
    waits_again = bool(_made(detail)) and status != "RUNNING" and status not in ENDED
    if not (status == "STARTING" or waits_again) or not isinstance(job_id, str):
        return None
    return (
        None
        if _has_no_run(job_id, detail)
        else Run(job_id=job_id, attempt=_number(detail, 0), start=0)
    )


def lacks_its_runs(detail: Mapping[str, Any]) -> bool:
    """Whether a job has ended, and is shown without its attempts and without its start."""
    shows_them = shows_its_attempts(detail) or detail.get("startedAt")
    return detail.get("status") in ENDED and not shows_them


def _has_no_run(job_id: str, detail: Mapping[str, Any]) -> bool:
    if "#" in job_id or "#" in str(detail.get("jobArn", "")):
        return True
    array = mapping(detail.get("arrayProperties"))
    is_child = array_child(job_id) is not None or array.get("index") is not None
    return not is_child and bool(array.get("size") or array.get("statusSummary"))


def _made(detail: Mapping[str, Any]) -> list[Mapping[Any, Any]]:
    made = items(detail.get("attempts")) or items(detail.get("eksAttempts"))
    return [mapping(each) for each in made[:_ATTEMPTS_MAX]]


def _number(detail: Mapping[str, Any], start: int) -> int:
    """Return the number of the attempt that runs since `start`; the first one is 0."""
    made = _made(detail)
    if made or isinstance(detail.get("attempts"), list):
        return len(made)
    return unnumbered(start)


def _ended(job_id: str, detail: Mapping[str, Any], at: int) -> Iterator[Run]:
    for attempt, each in enumerate(_made(detail)):
        start, stop = _times(each, at)
        if start and stop:
            yield Run(job_id=job_id, attempt=attempt, start=start, stop=max(start, stop))


def _latest(
    job_id: str, detail: Mapping[str, Any], at: int, ended: Mapping[int, Run]
) -> Run | None:
    """Return the run that the job itself shows, if its attempts do not."""
    made, status = _made(detail), detail.get("status")
    over = max((run.stop for run in ended.values()), default=0)
    start, stop = _times(detail, at)
    if status == "RUNNING":
        begun = [_times(each, at) for each in made]
        if begun and begun[-1][0] and not begun[-1][1]:  # The attempt that runs is listed too.
            return Run(job_id=job_id, attempt=len(made) - 1, start=begun[-1][0])
        # AWS does not say whether a job's own start is that of its first attempt, or its latest.
        if start and start >= over:
            return Run(job_id=job_id, attempt=_number(detail, start), start=start)
        start = max(at, over)
        return Run(job_id=job_id, attempt=_number(detail, start), start=start, guessed=True)
    attempt = len(made) - 1 if made else unnumbered(start)
    if attempt in ended or not (made or status in ENDED):
        return None
    of_attempt = _times(made[-1], at) if made else (0, 0)
    if status not in ENDED:  # It waits again, and its latest attempt does not show both times.
        return Run(
            job_id=job_id,
            attempt=attempt,
            start=of_attempt[0],
            stop=max(of_attempt[0], of_attempt[1] or at),
        )
    start = of_attempt[0] or (start if start >= over else 0)
    stop = of_attempt[1] or (stop if stop >= over else 0) or at
    return Run(job_id=job_id, attempt=attempt, start=start, stop=max(start, stop))


def _preempted(detail: Mapping[str, Any]) -> list[Mapping[Any, Any]]:
    summary = mapping(detail.get("preemptionSummary"))
    return [mapping(each) for each in items(summary.get("recentPreemptedAttempts"))]


def _times(value: Mapping[Any, Any], at: int) -> tuple[int, int]:
    """Return start and stop; 0 if a time is not shown, or is implausible."""
    start, stop = value.get("startedAt"), value.get("stoppedAt")
    return _time(start, at), _time(stop, at)


def _time(value: object, at: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        return 0
    return value if at - _YEAR < value < at + _SOON else 0
