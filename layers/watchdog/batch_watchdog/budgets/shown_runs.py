"""
Decide what a check of a job shows about a run that is believed to go on, or about to begin. Pure.

Batch may omit a job, or show it as it was a while ago: then it is asked again. A job that has ended
and does not show the run did not have it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from batch_watchdog.budgets.facts import Fact
from batch_watchdog.budgets.runs import Run, is_unnumbered, unnumbered
from batch_watchdog.core.job_event import ENDED

_MISSED_MAX = 60  # checks in a row, a minute apart, that may show nothing of a run


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """
    A job as Batch shows it: its state, its runs, and the run to be expected next.

    `lacks_runs` says that the job has ended, and is shown without its runs.
    """

    status: str
    facts: Sequence[Fact]
    expected: Run | None = None
    lacks_runs: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is to be counted, and whether the run goes on, or Batch is to be asked again soon."""

    facts: Sequence[Fact] = ()
    goes_on: bool = False
    ask_again: bool = False


def answer(fact: Fact, shown: Shown | None) -> Answer:  # noqa: PLR0911 - each is one case
    """Decide what follows for a run from what Batch shows of its job (None: nothing)."""
    if shown is None or (shown.lacks_runs and fact.run.start):
        if fact.missed < _MISSED_MAX:
            return Answer(ask_again=True)
        if not fact.run.start:
            return Answer()
        # Batch no longer shows the job or its runs: count the run for as long as it was seen.
        return Answer(facts=[_over(fact, max(fact.seen, fact.run.start))])
    known = [
        replace(
            each,
            budgets=fact.budgets,
            name=fact.name,
            queue=fact.queue,
            amounts=fact.amounts if any(fact.amounts) else each.amounts,
        )
        for each in shown.facts
    ]
    mine = next((each.run for each in known if _is_same(each.run, fact.run)), None)
    if not fact.run.start:  # It was about to run.
        return Answer(facts=known)
    if mine and (mine.start or not mine.stop):
        return Answer(facts=known, goes_on=not mine.stop)
    unnumbered = any(is_unnumbered(each.run.attempt) for each in known)
    if mine or (shown.status in ENDED and not unnumbered):
        # It has ended, and its start is not shown, or the run is not shown at all.
        stop = mine.stop if mine else fact.run.start
        return Answer(facts=[*known, _over(fact, max(stop, fact.run.start))])
    if fact.missed < _MISSED_MAX:
        return Answer(facts=known, ask_again=True)
    return Answer(facts=[*known, _over(fact, fact.run.start)])


def of_late_start(fact: Fact, job: Shown) -> list[Fact]:
    """Return what is to be counted for a late start: the run may have ended since."""
    known = [replace(each, budgets=fact.budgets) for each in job.facts]
    same = [_is_same(each.run, fact.run) for each in known]
    if not fact.run.guessed and not any(same) and job.status not in ENDED:
        return [*known, fact]  # Batch shows the job as it was a while ago.
    return [
        replace(each, run=_with_start_of(fact.run, each.run))
        if each.run.guessed and not each.run.stop and (is_same or fact.run.guessed)
        else each
        for each, is_same in zip(known, same, strict=True)
    ]


def _with_start_of(run: Run, shown: Run) -> Run:
    """Return a run whose start is not shown with the start that an event showed or was guessed."""
    if not run.guessed:
        return run
    attempt = unnumbered(run.start) if is_unnumbered(shown.attempt) else shown.attempt
    return replace(shown, start=run.start, attempt=attempt)


def _is_same(shown: Run, run: Run) -> bool:
    """Whether a shown run is this one. The attempts before it may not be shown."""
    if shown.attempt == run.attempt:
        return True
    if not is_unnumbered(shown.attempt) and not is_unnumbered(run.attempt):
        return False
    return run.guessed or shown.start in (0, run.start)


def _over(fact: Fact, stop: int) -> Fact:
    return replace(fact, run=replace(fact.run, stop=stop))
