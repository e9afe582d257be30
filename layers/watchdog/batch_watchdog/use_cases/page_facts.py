"""
What a page shows, gathered in a bounded number of reads, however many jobs there are.

Of AWS Batch it asks only about what is looked at: one job, one queue, the longest wait.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from batch_watchdog.arrays.groups import Group, unsuccessful
from batch_watchdog.arrays.items import Arrays
from batch_watchdog.arrays.progress import PART_SIZE, SUCCEEDED_CODE, Array, Part
from batch_watchdog.aws.batch import BatchApi, Detail
from batch_watchdog.core.batch_payloads import event_from_detail
from batch_watchdog.core.effects import Announce, Effect
from batch_watchdog.core.errors import CommandError
from batch_watchdog.core.job_event import ENDED, from_millis
from batch_watchdog.core.known_causes import known_cause
from batch_watchdog.health import items as health_items
from batch_watchdog.health.rules import SILENCE, matches
from batch_watchdog.notices.links import job_link, log_text, queue_link
from batch_watchdog.notices.text import iso, plain, ranges
from batch_watchdog.overview import items as overview_items
from batch_watchdog.overview.state import AGES, QueueWaits, Waits
from batch_watchdog.page import trail
from batch_watchdog.page.heat_map import heat_map
from batch_watchdog.page.tallies import rule_rows
from batch_watchdog.page.trail import TrailRow
from batch_watchdog.store.actions import PREFIX, Action, to_action
from batch_watchdog.store.decisions import ITEM_ERRORS
from batch_watchdog.store.item_codec import Item, unpack
from batch_watchdog.store.table import Table
from batch_watchdog.use_cases.console_answers import Answers

type PageData = dict[str, Any]  # what one template shows

_DAY = timedelta(days=1)
_DAYS_MAX = 14  # of a trail that are looked through, the last ones
_ROWS_MAX = 200  # of a trail that are shown
_OVERVIEW_ROWS = 10
_SHOWN = 50  # arrays, queues and exemptions of the overview
_LATEST = 200  # actions by which a rule, or a job, is judged
_JOB_DAYS = 3
_TAGS_MAX, _ATTEMPTS_MAX, _FRONT_MAX = 50, 20, 20
_AGE_NAMES = ("up to 15 min", "up to 1 h", "up to 6 h", "up to 1 d", "longer")
_COMMANDS = "COMMAND#"


@dataclass(frozen=True, slots=True, kw_only=True)
class PageFacts:
    """Gathers what pages show. `answers` are those that the console gives in JSON, too."""

    table: Table
    batch: BatchApi
    answers: Answers

    # ---- Pages ----------------------------------------------------------------------------

    def overview(self, now: datetime) -> PageData:
        """Everything at one look."""
        status, check = self.answers.status(now), health_items.read(self.table)
        waits = overview_items.read_waits(self.table)
        queues = _by_longest(waits)
        actions = list(self._actions(now - _DAY, now, _LATEST))
        notices = [each for each in actions if isinstance(each.effect, Announce)]
        acts = [_of_action(each) for each in actions if not isinstance(each.effect, Announce)]
        commands = self._commands(now - _DAY, now, _OVERVIEW_ROWS)
        swept_at = status["swept_at"]
        return {
            "status": status,
            "sweep_is_late": not swept_at or now - datetime.fromisoformat(swept_at) > SILENCE,
            "wrong": check.wrong if check else None,
            "arrays": overview_items.read_arrays(self.table),
            "queues": queues,
            "waits_at": waits.at if waits else None,
            "findings": self._findings(queues, notices, now),
            "notices": list(map(_of_action, notices[:_OVERVIEW_ROWS])),
            "acts": _newest([*acts, *commands], _OVERVIEW_ROWS),
            "most": _SHOWN,
        }

    def array(self, job_id: str, now: datetime) -> PageData:
        """One array: all its indices, and why some of them failed."""
        store = Arrays(self.table)
        array = store.read(job_id, ())[0]
        if array is None:
            return {"array": None, "job_id": job_id, "here": {"job_id": job_id}}
        detail: Detail = {}
        with suppress(*ITEM_ERRORS):  # What the table knows is shown all the same.
            detail = self.batch.describe([job_id]).get(job_id, {})
        parts = store.all_parts(array) if array.size else []
        found = unsuccessful(array, parts)
        failed = sorted(index for group in found.failures for index in group.indices)
        succeeded = _succeeded(parts)
        live = (detail.get("arrayProperties") or {}).get("statusSummary") or {}
        ended = len(succeeded) + len(failed) + found.stopped
        return {
            "here": {"job_id": job_id},
            "array": array,
            "counts": {
                "succeeded": len(succeeded),
                "failed": sum(group.count for group in found.failures),
                "stopped": found.stopped,
            },
            "ends_at": _end_of(array, ended, now),
            "live": live if detail.get("status") not in ENDED else {},
            "job_link": job_link(array.queue, job_id),
            "map": heat_map(array.size, succeeded, failed, found.stopped_indices)
            if array.size
            else None,
            "groups": [_of_group(array, group) for group in found.failures],
            "resubmit": ranges(failed),
            "stopped": ranges(found.stopped_indices),
            "stopped_by": found.stopped_by,
        }

    def queue(self, name: str, now: datetime) -> PageData:
        """One queue: what waits in it, and why the longest wait does not start."""
        detail: Detail | None = None
        front: list[tuple[str, datetime | None]] = []
        with suppress(*ITEM_ERRORS):
            detail = self.batch.queue(name)
            snapshot = self.batch.snapshot(name) or {}
            jobs = (snapshot.get("frontOfQueue") or {}).get("jobs") or ()
            front = [
                (str(each.get("jobArn", "")).rpartition("/")[2], from_millis(since))
                for each in islice(jobs, _FRONT_MAX)
                for since in [each.get("earliestTimeAtPosition")]
            ]
        arn = str((detail or {}).get("jobQueueArn") or name)
        all_waits = overview_items.read_waits(self.table)
        waits = all_waits.queues.get(arn) if all_waits else None
        details: Mapping[str, Detail] = {}
        if waits:
            with suppress(*ITEM_ERRORS):
                details = self.batch.describe(each.job_id for each in waits.longest)
        states = {job_id: each.get("status", "") for job_id, each in details.items()}
        oldest = next(
            (
                each
                for each in (waits.longest if waits else ())
                if states.get(each.job_id) == _WAITS
            ),
            None,
        )
        findings: Any = ()
        if oldest:
            with suppress(*ITEM_ERRORS):
                findings = self.answers.inquiry(now).findings(details[oldest.job_id])
        return {
            "here": {"queue": name},
            "name": arn.rpartition("/")[2],
            "detail": {
                "state": str(detail.get("state", "")),
                "status": str(detail.get("status", "")),
                "priority": detail.get("priority", ""),
                "reason": str(detail.get("statusReason") or ""),
            }
            if detail
            else None,
            "environments": _environments(detail or {}),
            "link": queue_link(arn),
            "waits": waits,
            "waits_at": all_waits.at if all_waits else None,
            "ages": list(zip(_AGE_NAMES, waits.by_age if waits else (), strict=False)),
            "states": states,
            "oldest": oldest,
            "findings": findings,
            "front": front,
        }

    def job(self, job_id: str, now: datetime) -> PageData:
        """One job: why it does not start, what rules say of it, and its history."""
        detail: Detail = self.answers.described(job_id) or {}
        told = self.answers.explained(detail, now) if detail else None
        job = event_from_detail(detail, now) if detail else None
        attempts = detail.get("attempts") or ()
        parent = job_id.partition(":")[0]
        about = {job_id, parent}
        actions = (
            _of_action(action)
            for action in self._actions(now - _DAY * _JOB_DAYS, now, _LATEST)
            if about & set(_jobs_of(action.effect))
        )
        commands = (
            row
            for row in self._commands(now - _DAY * _JOB_DAYS, now, _LATEST)
            if about & set(row.jobs)
        )
        tags = job.tags if job else {}
        return {
            "here": {"job_id": job_id},
            "job_id": job_id,
            "told": told,
            "queue_arn": job.queue if job else "",
            "is_array": bool(job and job.kind == "array"),
            "created_at": from_millis(detail.get("createdAt")),
            "link": job_link(job.queue, job_id) if job else "",
            "log": log_text(job.queue, job.log_stream, job.log_place) if job else "",
            "attempts": [_of_attempt(each) for each in attempts[-_ATTEMPTS_MAX:]],
            "more_attempts": max(0, len(attempts) - _ATTEMPTS_MAX),
            "tags": list(islice(sorted(tags.items()), _TAGS_MAX)),
            "rows": _newest([*actions, *commands], _OVERVIEW_ROWS),
        }

    def actions(self, start: datetime, end: datetime) -> PageData:
        """The audit trail of a time range; where it is long, the end of it."""
        rows = [_of_action(each) for each in self._actions(start, end, _ROWS_MAX)]
        commands = self._commands(start, end, _ROWS_MAX)
        every = _newest([*rows, *commands], 2 * _ROWS_MAX)
        is_cut = len(rows) == _ROWS_MAX or len(commands) == _ROWS_MAX
        return {"rows": every[:_ROWS_MAX], "is_cut": is_cut or end - start > _DAY * _DAYS_MAX}

    def rules(self, now: datetime) -> PageData:
        """The policy in force, and what each rule has done lately."""
        policy = self.answers.policy()
        actions = list(self._actions(now - _DAY * _DAYS_MAX, now, _LATEST))
        matched: Mapping[str, Mapping[str, list[str]]] = {}
        with suppress(*ITEM_ERRORS):
            matched = matches(self.answers.facts(policy, now), policy)
        return {
            "version": policy.version,
            "mode": policy.mode,
            "rows": rule_rows(policy, [(each.effect, each.result) for each in actions]),
            "queues": {
                plain(label, 300): sorted({queue for some in by_glob.values() for queue in some})
                for label, by_glob in matched.items()
            },
            "read": len(actions),
            "since": actions[-1].at if actions else None,
        }

    def check(self, now: datetime) -> PageData:
        """Whether the watchdog can do its work: AWS is asked."""
        return {"check": self.answers.check(now)}

    # ---- The trail ------------------------------------------------------------------------

    def _actions(self, start: datetime, end: datetime, most: int) -> Iterator[Action]:
        return map(to_action, self._latest(PREFIX, start, end, most))

    def _commands(self, start: datetime, end: datetime, most: int) -> list[TrailRow]:
        return [
            trail.of_command(
                at=str(item["at"]),
                by=str(item["by"]),
                command=unpack(item["body"]),
                decided=str(item["decided"]),
                request=str(item.get("request", "")),
            )
            for item in self._latest(_COMMANDS, start, end, most)
        ]

    def _latest(self, prefix: str, start: datetime, end: datetime, most: int) -> Iterator[Item]:
        """The newest first; one read a day, of the last two weeks of the range at most."""
        day, left, days = end, most, _DAYS_MAX
        while left > 0 and days > 0 and iso(day)[:10] >= iso(start)[:10]:
            found = self.table.latest(
                f"{prefix}{iso(day)[:10]}", left, first=iso(start), last=f"{iso(end)}~"
            )
            yield from found
            day, left, days = day - _DAY, left - len(found), days - 1

    def _findings(
        self, queues: list[QueueWaits], notices: list[Action], now: datetime
    ) -> Mapping[str, str]:
        """Why the longest waits do not start: by notices, and by AWS of the longest of all."""
        told = {
            str(notice.facts["job_id"]): ", ".join(map(str, notice.facts.get("findings") or ()))
            for action in reversed(notices)
            if isinstance(action.effect, Announce)
            for notice in action.effect.notices
            if notice.kind.startswith("limit-") and "job_id" in notice.facts
        }
        found = {
            each.queue: told[each.oldest.job_id]
            for each in queues
            if each.oldest and told.get(each.oldest.job_id)
        }
        first = queues[0] if queues else None
        if first and first.oldest and first.queue not in found:
            with suppress(CommandError, *ITEM_ERRORS):
                answer = self.answers.explain(first.oldest.job_id, now)
                codes = [finding["code"] for finding in answer["findings"]]
                state = "" if answer["status"] == _WAITS else f"now {answer['status']}"
                found[first.queue] = ", ".join(codes) or state
        return found


_WAITS = "RUNNABLE"


def _by_longest(waits: Waits | None) -> list[QueueWaits]:
    known = [each for each in (waits.queues.values() if waits else ()) if each.oldest]
    return sorted(known, key=lambda each: min(job.since for job in each.longest))


def _newest(rows: list[TrailRow], most: int) -> list[TrailRow]:
    return sorted(rows, key=lambda row: row.at, reverse=True)[:most]


def _of_action(action: Action) -> TrailRow:
    return trail.of_action(action.at, action.asked_by, action.effect, action.result)


def _jobs_of(effect: Effect) -> Iterator[str]:
    if isinstance(effect, Announce):
        for notice in effect.notices:
            yield str(notice.facts.get("job_id", ""))
    else:
        yield from getattr(effect, "job_ids", ())


def _succeeded(parts: list[Part] | Any) -> list[int]:
    return [
        part.number * PART_SIZE + at
        for part in parts
        for at, outcome in enumerate(part.outcomes)
        if outcome == SUCCEEDED_CODE
    ]


def _end_of(array: Array, ended: int, now: datetime) -> datetime | None:
    """When the rest will have ended, at the pace so far; None where there is none yet."""
    if array.ended_at or not array.size or not ended or now <= array.first_at:
        return None
    return now + (now - array.first_at) * (max(0, array.size - ended) / ended)


def _of_group(array: Array, group: Group) -> PageData:
    known = known_cause(group.cause.exit_code, group.words or group.cause.reason)
    return {
        "count": group.count,
        "exit_code": group.cause.exit_code,
        "reason": group.words or group.cause.reason or "no reason given",
        "indices": ranges(group.indices),
        "meaning": known.meaning if known else "",
        "next_step": known.next_step if known else "",
        "log": log_text(array.queue, group.log_stream, group.log_place),
        "container": group.container,
    }


def _environments(detail: Detail) -> list[str]:
    order = detail.get("computeEnvironmentOrder") or ()
    return [str(each.get("computeEnvironment", "")).rpartition("/")[2] for each in order]


def _of_attempt(attempt: Mapping[str, Any]) -> PageData:
    container = attempt.get("container") or {}
    reasons = (container.get("reason"), attempt.get("statusReason"))
    return {
        "started": from_millis(attempt.get("startedAt")),
        "stopped": from_millis(attempt.get("stoppedAt")),
        "exit_code": container.get("exitCode"),
        "reason": "; ".join(str(reason) for reason in reasons if reason),
    }


assert len(_AGE_NAMES) == len(AGES) + 1  # noqa: S101 - a step more, or less, has a name, too
