"""
Gather what a page shows, with a bounded number of reads, however many jobs there are.

Of single jobs, AWS is asked only about one: the job that is shown, or the one that waits longest.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from batch_watchdog.aws.batch import Detail
from batch_watchdog.core.batch_payloads import event_from_detail
from batch_watchdog.core.effects import Announce, Effect
from batch_watchdog.core.errors import CommandError
from batch_watchdog.core.job_event import from_millis
from batch_watchdog.diagnosis.lenient import items, mapping
from batch_watchdog.health import items as health_items
from batch_watchdog.health.rules import SILENCE, matches
from batch_watchdog.notices.links import job_link, log_text
from batch_watchdog.notices.text import plain
from batch_watchdog.overview import items as overview_items
from batch_watchdog.overview.state import QueueWaits, Waits
from batch_watchdog.page.html import PageData
from batch_watchdog.page.tallies import rule_rows
from batch_watchdog.store.actions import Action
from batch_watchdog.store.decisions import ITEM_ERRORS
from batch_watchdog.use_cases.console_answers import Answers
from batch_watchdog.use_cases.page_trail import DAYS_MAX, TrailReader, newest, row_of

_DAY = timedelta(days=1)
_ROWS_MAX = 200  # of a trail that are shown
_OVERVIEW_ROWS = 10
_SHOWN = 50  # arrays, queues and exemptions of the overview
_LATEST = 200  # latest actions that are read for a page
_JOB_DAYS = 3
_TAGS_MAX, _ATTEMPTS_MAX, _CONTAINERS_MAX = 50, 20, 10


@dataclass(frozen=True, slots=True, kw_only=True)
class PageFacts:
    """Gathers what pages show. `answers` are the console's, which it also gives in JSON."""

    answers: Answers

    @property
    def _trail(self) -> TrailReader:
        return TrailReader(table=self.answers.table)

    def overview(self, now: datetime) -> PageData:
        """Return the facts of the overview page."""
        status, check = self.answers.status(now), health_items.read(self.answers.table)
        waits = overview_items.read_waits(self.answers.table)
        queues = _by_longest(waits)
        actions = self._trail.actions(now - _DAY, now, _LATEST)
        notices = [each for each in actions if isinstance(each.effect, Announce)]
        acts = [row_of(each) for each in actions if not isinstance(each.effect, Announce)]
        commands = self._trail.commands(now - _DAY, now, _OVERVIEW_ROWS)
        swept_at = status["swept_at"]
        return {
            "status": status,
            "sweep_is_late": not swept_at or now - datetime.fromisoformat(swept_at) > SILENCE,
            "wrong": check.wrong if check else None,
            "arrays": overview_items.read_arrays(self.answers.table),
            "queues": queues,
            "waits_at": waits.at if waits else None,
            "findings": self._findings(queues, notices, now),
            "notices": list(map(row_of, notices[:_OVERVIEW_ROWS])),
            "acts": newest([*acts, *commands], _OVERVIEW_ROWS),
            "most": _SHOWN,
        }

    def job(self, job_id: str, now: datetime) -> PageData:
        """Return one job: why it does not start, which rules apply to it, and its history."""
        detail: Detail = self.answers.described(job_id) or {}
        explanation = self.answers.explained(detail, now) if detail else None
        job = event_from_detail(detail, now) if detail else None
        made = items(detail.get("attempts")) or items(detail.get("eksAttempts"))
        parent = job_id.partition(":")[0]
        about = {job_id, parent}
        actions = (
            row_of(action)
            for action in self._trail.actions(now - _DAY * _JOB_DAYS, now, _LATEST)
            if about & set(_jobs_of(action.effect))
        )
        commands = (
            row
            for row in self._trail.commands(now - _DAY * _JOB_DAYS, now, _LATEST)
            if about & set(row.jobs)
        )
        tags = job.tags if job else {}
        return {
            "here": {"job_id": job_id},
            "job_id": job_id,
            "told": explanation,
            "queue_arn": job.queue if job else "",
            "is_array": bool(job and job.kind == "array"),
            "created_at": from_millis(detail.get("createdAt")),
            "link": job_link(job.queue, job_id) if job else "",
            "log": log_text(job.queue, job.log_stream, job.log_place) if job else "",
            "attempts": [_of_attempt(mapping(each)) for each in made[-_ATTEMPTS_MAX:]],
            "more_attempts": max(0, len(made) - _ATTEMPTS_MAX),
            "tags": list(islice(sorted(tags.items()), _TAGS_MAX)),
            "rows": newest([*actions, *commands], _OVERVIEW_ROWS),
        }

    def actions(self, start: datetime, end: datetime) -> PageData:
        """Return the audit trail of a time range; if it is long, the latest part of it."""
        rows = [row_of(each) for each in self._trail.actions(start, end, _ROWS_MAX)]
        commands = self._trail.commands(start, end, _ROWS_MAX)
        every = newest([*rows, *commands], 2 * _ROWS_MAX)
        is_cut = len(rows) == _ROWS_MAX or len(commands) == _ROWS_MAX
        return {"rows": every[:_ROWS_MAX], "is_cut": is_cut or end - start > _DAY * DAYS_MAX}

    def rules(self, now: datetime) -> PageData:
        """Return the policy in force, and what each rule has done lately."""
        policy = self.answers.policy()
        actions = self._trail.actions(now - _DAY * DAYS_MAX, now, _LATEST)
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
        """Check whether the watchdog can do its work. This calls AWS."""
        return {"check": self.answers.check(now)}

    def _findings(
        self, queues: list[QueueWaits], notices: list[Action], now: datetime
    ) -> Mapping[str, str]:
        """
        Find why the job that waits longest in each queue does not start.

        The answer is from notices. If they lack the one that waits longest of all, AWS is asked.
        """
        explanation = {
            str(notice.facts["job_id"]): ", ".join(map(str, notice.facts.get("findings") or ()))
            for action in reversed(notices)
            if isinstance(action.effect, Announce)
            for notice in action.effect.notices
            if notice.kind.startswith("limit-") and "job_id" in notice.facts
        }
        found = {
            each.queue: explanation[each.oldest.job_id]
            for each in queues
            if each.oldest and explanation.get(each.oldest.job_id)
        }
        first = queues[0] if queues else None
        if first and first.oldest and first.queue not in found:
            with suppress(CommandError, *ITEM_ERRORS):
                answer = self.answers.explain(first.oldest.job_id, now)
                codes = [finding["code"] for finding in answer["findings"]]
                state = "" if answer["status"] == "RUNNABLE" else f"now {answer['status']}"
                found[first.queue] = ", ".join(codes) or state
        return found


def _by_longest(waits: Waits | None) -> list[QueueWaits]:
    known = [each for each in (waits.queues.values() if waits else ()) if each.oldest]
    return sorted(known, key=lambda each: min(job.since for job in each.longest))


def _jobs_of(effect: Effect) -> Iterator[str]:
    if isinstance(effect, Announce):
        for notice in effect.notices:
            yield str(notice.facts.get("job_id", ""))
    else:
        yield from getattr(effect, "job_ids", ())


def _of_attempt(attempt: Mapping[str, Any]) -> PageData:
    ends = list(_ends(attempt))
    return {
        "started": from_millis(attempt.get("startedAt")),
        "stopped": from_millis(attempt.get("stoppedAt")),
        "ends": ends[:_CONTAINERS_MAX],
        "more_ends": max(0, len(ends) - _CONTAINERS_MAX),
        "reason": str(attempt.get("statusReason") or ""),
    }


def _ends(attempt: Mapping[str, Any]) -> Iterator[PageData]:
    """Yield how each container of an attempt ended, with its name if it has one."""
    tasks = [mapping(each) for each in items(attempt.get("taskProperties"))]
    shown = [
        attempt.get("container"),
        *items(attempt.get("initContainers")),
        *items(attempt.get("containers")),
        *(each for task in tasks for each in items(task.get("containers"))),
    ]
    for container in map(mapping, shown):
        name, reason = (str(container.get(key) or "") for key in ("name", "reason"))
        code = container.get("exitCode")
        if code is not None or reason:
            yield {"name": name, "exit_code": code, "reason": reason}
