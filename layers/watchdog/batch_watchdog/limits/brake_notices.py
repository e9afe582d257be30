"""The notice about jobs whose stops the brake postpones."""

from batch_watchdog.notices.notice import Notice
from batch_watchdog.notices.phrases import counted, lines, say, subject


def postponed(name: str, count: int, most: int, *, is_all: bool) -> Notice:
    """Build the notice that the brake postpones `count` stops, or more if not `is_all`."""
    jobs = counted(count, "{n} job", "{n} jobs")
    if not is_all:
        jobs = say("at least {jobs}", jobs=jobs)
    return Notice(
        kind="watchdog-trouble",
        id=f"watchdog-trouble:{name}",
        severity="critical",
        subject=subject("Brake: {jobs} over their limit not stopped", jobs=jobs),
        text=lines(
            [
                say(
                    "Over their limits, and not stopped: {jobs}. Limits have stopped {most} "
                    "within an hour: that is the most that the policy allows "
                    "(safety.max_stops_per_hour).",
                    jobs=jobs,
                    most=counted(most, "{n} job", "{n} jobs"),
                ),
                "",
                say(
                    "If so many are to be stopped, raise that number. If not, correct the "
                    "limits. The jobs are tried again every five minutes."
                ),
            ]
        ),
        facts={"held": count, "held_is_all": is_all, "max_stops_per_hour": most},
    )
