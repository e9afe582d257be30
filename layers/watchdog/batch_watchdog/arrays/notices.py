"""The notice that an array is done, and the parts that it shares with other array notices."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from batch_watchdog.arrays.groups import Group, Unsuccessful, unsuccessful
from batch_watchdog.arrays.progress import (
    SUCCEEDED_CODE,
    Array,
    Part,
    failed_indices,
    indices_without_result,
)
from batch_watchdog.core.job_event import blames_a_dependency, resource_name
from batch_watchdog.core.stop_cause import stopper_words
from batch_watchdog.notices.links import DEFAULT_PLACE, job_link, log_group, log_text, queue_link
from batch_watchdog.notices.notice import Notice
from batch_watchdog.notices.phrases import Name, Phrase, lines, row, say, shorten, subject
from batch_watchdog.notices.text import fact, iso, plain, ranges

_STOPPERS_NAMED = 2  # in a subject


def link_lines(array: Array) -> list[str]:
    return [
        "",
        say("Job:   {link}", link=job_link(array.queue, array.job_id)),
        say("Queue: {link}", link=queue_link(array.queue)),
    ]


def name_of(array: Array) -> Name:
    return Name(plain(array.job_name) or plain(array.job_id))


def completed(array: Array, parts: Sequence[Part]) -> Notice:
    """Build the notice that an array is done. Counts are Batch's own where they are known."""
    found = unsuccessful(array, parts)
    stopped_at = set(found.stopped_indices)
    failed_at = [index for index in failed_indices(parts) if index not in stopped_at]
    lacking = [at for at in indices_without_result(array, parts) if at not in stopped_at]
    if array.failed_by_batch is not None:
        succeeded = array.summary.get("SUCCEEDED", 0)
        failed = max(array.failed_by_batch - found.stopped, 0)
    else:
        succeeded = sum(part.outcomes.count(SUCCEEDED_CODE) for part in parts)
        failed = len(failed_at)
    counts = _Counts(array.size or 0, succeeded, failed, found, len(lacking))
    return Notice(
        kind="array-completed",
        id=f"array-completed:{array.job_id}",
        severity="warning" if failed or found.stops or array.status == "FAILED" else "info",
        subject=counts.subject(name_of(array)),
        text=lines(
            [
                say(
                    "The array job {name} in queue {queue} is done:",
                    name=name_of(array),
                    queue=plain(resource_name(array.queue)),
                ),
                say("{counts}.", counts=counts.in_words()),
                *_time_lines(array),
                *_failure_lines(array, found),
                *_stop_lines(found),
                *_resubmit_lines(sorted([*failed_at, *lacking]), found),
                *link_lines(array),
            ]
        ),
        facts={
            "job_id": array.job_id,
            "job_name": fact(array.job_name),
            "queue": fact(resource_name(array.queue)),
            "definition": fact(resource_name(array.definition)),
            "status": array.status or ("FAILED" if failed or found.stops else "SUCCEEDED"),
            "size": array.size,
            "succeeded": succeeded,
            "failed": failed,
            "stopped": found.stopped,
            "stopped_by": found.stopped_by,
            "failed_indices": ranges(failed_at),
            **({"stopped_indices": ranges(found.stopped_indices)} if found.stops else {}),
            **({"without_result": ranges(lacking)} if lacking else {}),
            "groups": [_facts_of(group) for group in found.failures],
            "ended_at": iso(array.ended_at) if array.ended_at else None,
        },
    )


@dataclass(frozen=True, slots=True)
class _Counts:
    """How the children of an array ended."""

    size: int
    succeeded: int
    failed: int
    found: Unsuccessful
    lacking: int

    def subject(self, name: Name) -> Phrase:
        if not self.found.stops:
            return subject("Array done, {counts}: {name}", counts=self.in_words(), name=name)
        return subject(
            "Array stopped by {stoppers}, {stopped} of {size} ({failed} failed): {name}",
            stoppers=self._stoppers(),
            stopped=self.found.stopped,
            size=self.size,
            failed=self.failed,
            name=name,
        )

    def _stoppers(self) -> str:
        by = [stopper_words(each) for each in self.found.stopped_by]
        if len(by) > _STOPPERS_NAMED:
            return say("{first} and {n} more", first=by[0], n=len(by) - 1)
        return by[0] if len(by) == 1 else say("{one} and {other}", one=by[0], other=by[1])

    def in_words(self) -> Phrase:
        body: list[str] = [
            say("{n} of {size} succeeded", n=self.succeeded, size=self.size),
            say("{n} failed", n=self.failed),
        ]
        body += [
            say(
                "{n} stopped by {stopper}",
                n=group.count,
                stopper=stopper_words(group.cause.stopper),
            )
            for group in self.found.stops
        ]
        if self.lacking:
            body.append(say("{n} without a result", n=self.lacking))
        return row(body)


def _facts_of(group: Group) -> dict[str, Any]:
    """Return a group's facts. Facts that most groups lack are included only with a value."""
    facts = {
        "count": group.count,
        "indices": ranges(group.indices),
        "exit_code": group.cause.exit_code,
        "reason": group.cause.reason,
        "log_stream": group.log_stream or None,
    }
    if group.log_stream and group.log_place != DEFAULT_PLACE:
        facts["log_group"] = log_group(group.log_stream, group.log_place)
    if group.container:
        facts["container"] = group.container
    if group.words:
        facts["example"] = group.words
    if known := group.known:
        facts["known_cause"] = known.code
    return facts


def _time_lines(array: Array) -> list[str]:
    if array.ended_at is None:
        return []
    took = array.ended_at - array.first_at
    return [say("It ended at {at}, {took} after it was first seen.", at=array.ended_at, took=took)]


def _failure_lines(array: Array, found: Unsuccessful) -> list[str]:
    failures = found.failures
    if not failures and not found.stops and array.status == "FAILED":
        if not array.reason:
            return ["", say("Batch gives no reason.")]
        return ["", say("Batch's reason: {reason}", reason=plain(array.reason, 500))]
    if not failures and not found.stops:
        return ["", say("Nothing to do.")]
    if not failures:
        return []
    body: list[str] = ["", say("Why they failed:")]
    for number, group in enumerate(failures, start=1):
        body += _group_lines(array, number, group)
    followed = blames_a_dependency(array.reason) or all(group.cause.follows for group in failures)
    if array.depends_on and followed:
        named = ", ".join(plain(each, 60) for each in array.depends_on)
        body += ["", say("The array depends on: {jobs}", jobs=named)]
    return body


def _group_lines(array: Array, number: int, group: Group) -> list[str]:
    code, reason = group.cause.exit_code, group.words or group.cause.reason
    body: list[str] = [
        say(
            "{number}. {n} × {exit_code}, {reason}",
            number=number,
            n=group.count,
            exit_code=say("no exit code")
            if code is None
            else say("exit code {code}", code=str(code)),
            reason=(say("e.g. {reason}", reason=reason) if group.words else reason)
            or say("no reason given"),
        )
    ]
    if group.indices:
        body.append(say("   indices: {indices}", indices=shorten(ranges(group.indices), 300)))
    if group.cause.follows:
        body.append(say("   These never began, as a job that they depend on had failed."))
    if known := group.known:
        body.append(say("   {meaning}", meaning=known.meaning))
        body.append(say("   What to do: {next_step}", next_step=known.next_step))
        body.append(say("   See {page}", page=known.page))
    log = log_text(array.queue, group.log_stream, group.log_place)
    if log and group.container:
        of = plain(group.container, 60)
        body.append(say("   log of one, container {container}: {log}", container=of, log=log))
    elif log:
        body.append(say("   log of one: {log}", log=log))
    return body


def _stop_lines(found: Unsuccessful) -> list[str]:
    if not found.stops:
        return []
    body: list[str] = ["", say("Stopped by this watchdog, and not failed:")]
    for group in found.stops:
        body.append(
            say("- {n} by {stopper}", n=group.count, stopper=stopper_words(group.cause.stopper))
        )
        if group.indices:
            body.append(say("   indices: {indices}", indices=shorten(ranges(group.indices), 300)))
    return body


def _resubmit_lines(failed: Sequence[int], found: Unsuccessful) -> list[str]:
    body: list[str] = []
    if failed:
        body.append(say("To resubmit: {indices}", indices=shorten(ranges(failed), 2_000)))
    if stopped := found.stopped_indices:
        body.append(say("Stopped, to resubmit: {indices}", indices=shorten(ranges(stopped), 2_000)))
        body += dict.fromkeys(_when_it_makes_sense(each) for each in found.stopped_by)
    return ["", *body] if body else []


def _when_it_makes_sense(stopper: str) -> Phrase:
    if stopper.startswith("guard "):
        return say(
            "   It makes sense once {stopper} is released: until then new jobs are stopped, too.",
            stopper=stopper_words(stopper),
        )
    if stopper.startswith("array"):
        return say("   It makes sense once the cause of the failures is mended.")
    return say("   It makes sense once what kept them waiting is mended: see the limit's notices.")
