"""What is kept of all jobs is bounded, and has what matters most."""

from datetime import timedelta

from batch_watchdog.overview.state import (
    ARRAYS_MAX,
    LONGEST_MAX,
    QUEUES_MAX,
    LongWait,
    OpenArray,
    Waits,
    kept_arrays,
    with_waiting,
)
from tests.makers import QUEUE, at

NOW = at("12:00")


def waiting(minutes: float, job_id: str = "") -> LongWait:
    since = NOW - timedelta(minutes=minutes)
    return LongWait(job_id=job_id or f"{minutes}", job_name="render", since=since)


def test_waits_are_counted_by_age_and_the_longest_are_kept() -> None:
    page = [waiting(minutes) for minutes in (0, 14.9, 15, 59, 60, 359, 360, 1439, 1440)]

    waits = with_waiting(Waits(at=NOW), QUEUE, page, NOW)

    known = waits.queues[QUEUE]
    assert known.by_age == (2, 2, 2, 2, 1)
    assert known.count == 9
    assert known.oldest == waiting(1440)


def test_a_second_page_is_added_to_the_first() -> None:
    waits = Waits(at=NOW)
    for first in range(0, 60, 20):
        page = [waiting(minutes) for minutes in range(first, first + 20)]
        waits = with_waiting(waits, QUEUE, page, NOW)

    known = waits.queues[QUEUE]
    assert known.count == 60
    assert [job.since for job in known.longest] == [
        NOW - timedelta(minutes=minutes) for minutes in range(59, 59 - LONGEST_MAX, -1)
    ]


def test_queues_are_bounded() -> None:
    waits = Waits(at=NOW)
    for number in range(QUEUES_MAX + 5):
        waits = with_waiting(waits, f"queue-{number}", [waiting(5)], NOW)

    assert len(waits.queues) == QUEUES_MAX
    again = with_waiting(waits, "queue-0", [waiting(9, "b")], NOW)
    assert again.queues["queue-0"].count == 2


def test_of_many_arrays_the_first_are_kept_and_all_are_counted() -> None:
    arrays = [
        OpenArray(
            job_id=f"{number:05}",
            job_name="x" * 60_000,
            queue=QUEUE,
            first_at=NOW - timedelta(minutes=number),
        )
        for number in range(ARRAYS_MAX + 50)
    ]

    kept = kept_arrays(arrays, NOW)

    assert kept.count == ARRAYS_MAX + 50
    assert [array.job_id for array in kept.arrays[:2]] == ["00349", "00348"]
    assert len(kept.arrays) == ARRAYS_MAX
    assert len(kept.arrays[0].job_name) == 1_000
