"""Show the audit trail as text: what was done, who asked for it, and its result."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from batch_watchdog.core.effects import Announce, Chat, Effect, SetQueueState, StartRun, StopJobs
from batch_watchdog.core.job_event import resource_name
from batch_watchdog.notices.text import plain

_IDS_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class TrailRow:
    """One action or command. `jobs` are the first few jobs that it is about."""

    at: str
    kind: str
    what: str
    who: str
    why: str = ""
    result: str = ""
    request: str = ""  # the id by which CloudTrail shows the caller
    jobs: tuple[str, ...] = ()


def of_action(at: str, asked_by: str, effect: Effect, result: Any) -> TrailRow:
    """Return the row of an action: its recorded effect, with the result so far."""
    known = result if isinstance(result, Mapping) else {}
    so_far = "under way" if result is None else _in_short(result)
    match effect:
        case StopJobs():
            count = len(effect.job_ids)
            return TrailRow(
                at=at,
                kind="stop",
                what=f"{effect.how} {count:,} {'job' if count == 1 else 'jobs'}",
                who=f"{asked_by}: {plain(effect.rule)}",
                why=plain(effect.reason, 500),
                result=_of_stop(known) if result is not None else "under way",
                jobs=effect.job_ids[:_IDS_SHOWN],
            )
        case Announce():
            first, count = effect.notices[0], len(effect.notices)
            more = f" (and {count - 1:,} more)" if count > 1 else ""
            job = first.facts.get("job_id")
            return TrailRow(
                at=at,
                kind=first.kind,
                what=f"{plain(first.subject)}{more}",
                who=asked_by,
                result=first.severity,
                jobs=(str(job),) if job else (),
            )
        case Chat():
            return TrailRow(
                at=at,
                kind="chat",
                what=f"tell the chat: {len(effect.messages):,} of the notices",
                who=asked_by,
                result=so_far,
            )
        case SetQueueState():
            return TrailRow(
                at=at,
                kind="queue",
                what=f"set {plain(resource_name(effect.queue))} to {effect.state}",
                who=f'{asked_by}: guard "{plain(effect.guard, 64)}"',
                result=so_far,
            )
        case StartRun():
            return TrailRow(
                at=at,
                kind="stop run",
                what=f"begin the stop run {plain(effect.run_id)}",
                who=asked_by,
                result="under way" if result is None else "handed over",
            )


def of_command(
    at: str, by: str, command: Mapping[str, Any], decided: str, request: str
) -> TrailRow:
    """Return the row of a recorded command."""
    about = (str(command[key]) for key in ("guard", "stage", "job_id", "until") if command.get(key))
    job = command.get("job_id")
    return TrailRow(
        at=at,
        kind="command",
        what=plain(" ".join([str(command.get("command", "")), *about]), 300),
        who=plain(by, 200),
        why=plain(str(command.get("why") or ""), 500),
        result=plain(decided, 300),
        request=plain(request, 100),
        jobs=(str(job),) if job else (),
    )


def _of_stop(result: Mapping[str, Any]) -> str:
    parts = [f"{result['accepted']:,} accepted"] if "accepted" in result else []
    if refused := result.get("refused"):
        parts.append(f"{len(refused):,} refused ({plain(str(next(iter(refused.values()))), 200)})")
    for reason, jobs in (result.get("not_meant") or {}).items():
        parts.append(f"{len(jobs):,} left alone: {plain(reason, 200)}")
    others = {key: result[key] for key in result if key not in _OF_A_STOP}
    return "; ".join([*parts, *([_in_short(others)] if others else [])])


_OF_A_STOP = {"accepted", "refused", "not_meant", "seen", "asked"}


def _in_short(result: Any) -> str:
    if isinstance(result, Mapping):
        return plain("; ".join(f"{key}: {value}" for key, value in result.items()), 300)
    return plain(str(result), 300)
