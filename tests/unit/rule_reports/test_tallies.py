"""Tallies of a week: constant in size, right whatever they are made of."""

from dataclasses import replace
from datetime import timedelta
from random import Random
from statistics import median_low

import pytest

from batch_watchdog.rule_reports.followed import End, FollowedJob, How, RuleKey
from batch_watchdog.rule_reports.tally import Tally
from tests.makers import at

KEY = RuleKey(rule="r", status="RUNNABLE", limit_seconds=3_600, action="cancel", mode="observe")
JOB = FollowedJob(job_id="1", about="1:0", key=KEY, since=at("12:00"), decided_at=at("13:00"))
AMOUNTS = (4_000, 1_000, 0, 0)  # four vCPUs and a GPU


def counted(*ends: tuple[How, int], tally: Tally | None = None) -> Tally:
    """A tally of jobs that ended so many seconds after the decision."""
    tally = tally or Tally()
    for how, seconds in ends:
        end = End(how=how, at=JOB.decided_at + timedelta(seconds=seconds))
        tally = tally.with_passed(1, 0).with_end(end, JOB, AMOUNTS)
    return tally


def test_each_way_to_end_is_counted_apart_and_the_rest_is_open() -> None:
    ends = counted(("went-on", 60), ("ended", 60), ("stopped", 60), ("unknown", 60))
    tally = ends.with_passed(2, 3)

    assert (tally.passed, tally.went_on, tally.ended, tally.stopped) == (6, 1, 1, 1)
    assert (tally.unknown, tally.still_open, tally.exempted) == (1, 2, 3)


def test_what_jobs_waited_for_is_counted_from_the_decision_to_the_end() -> None:
    tally = counted(("went-on", 3_600), ("ended", 1_800), ("unknown", 7_200))

    assert tally.hours == (6.0, 1.5)


def test_one_job_is_its_own_median() -> None:
    tally = counted(("went-on", 1_234))

    assert (tally.median, tally.latest) == (1_234, 1_234)


def test_an_end_before_the_decision_counts_as_no_time() -> None:
    tally = counted(("went-on", -5))

    assert (tally.median, tally.latest, tally.hours) == (0, 0, (0.0, 0.0))


def test_a_success_by_a_retry_counts_when_it_came_and_the_run_as_long_as_it_lasted() -> None:
    end = End(how="went-on", at=at("17:00"), run_over=at("14:30"))
    tally = Tally().with_passed(1, 0).with_end(end, JOB, AMOUNTS)

    assert (tally.latest, tally.longest) == (4 * 3_600, 9_000)
    assert tally.hours == (6.0, 1.5)


@pytest.mark.parametrize("seed", range(20))
def test_the_median_is_right_to_a_tenth_and_the_longest_exactly(seed: int) -> None:
    random = Random(seed)  # noqa: S311
    later = [int(random.lognormvariate(7, 2)) for _ in range(random.randrange(1, 200))]
    tally = counted(*(("went-on", seconds) for seconds in later))

    assert tally.latest == max(later)
    assert tally.median == pytest.approx(median_low(later), rel=0.1, abs=1)
    assert tally.longest == 3_600 + max(later)


@pytest.mark.parametrize("seed", range(20))
def test_two_tallies_together_are_the_tally_of_both(seed: int) -> None:
    random = Random(seed)  # noqa: S311
    hows: list[How] = ["went-on", "ended", "stopped", "unknown"]
    ends = [(random.choice(hows), random.randrange(100_000)) for _ in range(random.randrange(12))]
    middle = random.randrange(len(ends) + 1)
    one, other = counted(*ends[:middle]), counted(*ends[middle:])

    assert in_order(one.plus(other)) == in_order(counted(*ends))


def in_order(tally: Tally) -> Tally:
    return replace(tally, later=dict(sorted(tally.later.items())))
