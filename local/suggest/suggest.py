"""
Suggests a policy from a log: limits that would not have stopped jobs that started in the log,
except for the share that --allow permits.

Only the policy goes to standard output; the picture and all messages go to standard error. Before
the policy is printed, the log is replayed against it.
"""

import argparse
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import floor
from pathlib import Path
from tempfile import NamedTemporaryFile

from rich.console import Console

from batch_watchdog.notices.text import plain
from batch_watchdog.policy.model import parse_policy
from local.aws import stack as stacks
from local.batch.log import child_of
from local.replay import timeline
from local.replay.errors import InputError
from local.replay.event_log import Line, Tally, expect_any, lines_of
from local.replay.log_files import STDIN, name_of
from local.replay.replay import replay
from local.suggest import picture
from local.suggest.limits import Proposal, Suggestion, suggest
from local.suggest.policy_text import fitting, policy_text
from local.suggest.waits import History, history_of

ALLOW_MAX = 0.1
# A replay of more events than this takes minutes. Of a longer log, only the jobs that waited
# longest are replayed. The others waited less than any limit.
_REPLAYED_WHOLE = 50_000
_ROUNDS = 6


def main(arguments: Sequence[str]) -> int:
    """Run the command and return its exit status."""
    options = _parse(arguments)
    console = Console(stderr=True, highlight=False)
    try:
        with _rereadable(options.log) as log:
            tally = Tally()
            history = history_of(lines_of(log, tally))
            expect_any(options.log, tally)
            console.print(f"{name_of(options.log)}: {tally}", markup=False, soft_wrap=True)
            text = _checked(log, tally, history, options.allow, console)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    print(text, end="")
    return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m local suggest",
        description="Suggest limits for waiting jobs, from a log of what happened to them.",
    )
    parser.add_argument("log", type=Path, help="events: a file, a folder, or - for stdin")
    parser.add_argument(
        "--allow",
        type=_share,
        default=0.0,
        help="what share of the jobs that started a limit may stop: 0.001 is 1 in 1,000; else none",
    )
    return parser.parse_args(arguments)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= ALLOW_MAX:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a share from 0 to {ALLOW_MAX}")
    return share


@contextmanager
def _rereadable(log: Path) -> Iterator[Path]:
    """Yield the log's path; standard input is copied to a file, which can be read twice."""
    if log != STDIN:
        yield log
        return
    with NamedTemporaryFile(suffix=".log") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
        file.flush()
        yield Path(file.name)


# ---- The check ----------------------------------------------------------------------------


def _checked(log: Path, tally: Tally, history: History, allow: float, console: Console) -> str:
    """Return the policy's text; limits that replays show as too short are widened or left out."""
    suggestion = fitting(suggest(history, allow), history)
    shortest = min((each.after for each in suggestion.proposals), default=None)
    lines: list[Line] = []
    if shortest is not None:
        least = 0.0 if tally.taken <= _REPLAYED_WHOLE else shortest.total_seconds() / 4
        lines = list(_to_replay(log, history, least))
    for _ in range(_ROUNDS):
        wrong = _wrongly_stopped(lines, suggestion, history, allow)
        if not wrong:
            break
        suggestion = fitting(suggestion.widened(wrong), history)
    else:
        suggestion = suggestion.reduced(wrong)
    picture.show(history, suggestion, console)
    _write_row(history, suggestion, len(lines), tally, console)
    return policy_text(suggestion, history)


def _to_replay(log: Path, history: History, least: float) -> Iterator[Line]:
    """Yield Batch's events: all if `least` is 0, else of jobs that waited that many seconds."""
    jobs = {
        stay.job_id for stays in history.stays.values() for stay in stays if stay.seconds >= least
    }
    for line in lines_of(log, Tally()):
        detail = line.value.get("detail") if line.from_batch else None
        if isinstance(detail, dict) and (not least or detail.get("jobId") in jobs):
            yield line


def _wrongly_stopped(
    lines: Sequence[Line], suggestion: Suggestion, history: History, allow: float
) -> set[Proposal]:
    """Return the limits that, enforced in a replay, stop too many jobs that started in the log."""
    if not lines or not suggestion.proposals:
        return set()
    text = policy_text(suggestion, history, "enforce")
    parse_policy(text)  # Fail here: with an unreadable policy, a replay would stop nothing.
    with timeline.progress() as progress:
        summary = replay(
            lines, stack=stacks.read(), write_row=lambda _: None, policy=text, progress=progress
        )
    stopped = set(summary["overruled"]) - history.own_limits
    counts: Counter[Proposal] = Counter()
    may: Counter[Proposal] = Counter()
    for group, stays in history.stays.items():
        if proposal := suggestion.for_group(group):
            jobs = {stay.job_id for stay in stays}
            counts[proposal] += sum(_is_among(job_id, stopped) for job_id in jobs)
            may[proposal] += sum(stay.end == "started" for stay in stays)
    return {each for each, count in counts.items() if count > floor(allow * may[each])}


def _is_among(job_id: str, stopped: set[str]) -> bool:
    return job_id in stopped or (child_of(job_id) or ("",))[0] in stopped


def _write_row(
    history: History, suggestion: Suggestion, replayed: int, tally: Tally, console: Console
) -> None:
    def say(text: str) -> None:
        console.print(text, markup=False, soft_wrap=True)

    if replayed:
        which = "" if replayed >= tally.taken else ", those of the jobs that waited longest"
        say(f"Checked: {replayed:,} events were replayed against it{which}.")
    if not suggestion.proposals:
        say("Too little is known to stop any job; the policy only tells of very long waits.")
    elif history.span.days < 7:  # noqa: PLR2004 - a week has all kinds of days
        say(f"The log covers {picture.period(history)} only: a month shows more kinds of days.")
    for queue, why in suggestion.without[:20]:
        say(f"No limit for queue {plain(queue) or '?'}: {why}.")
    if history.own_limits:
        say(f"{len(history.own_limits):,} jobs have a limit in their own tags, which goes first.")
