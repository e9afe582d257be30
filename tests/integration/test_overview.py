"""What the sweep keeps for operators to look at, on its way."""

from datetime import timedelta

from batch_watchdog.overview import items
from batch_watchdog.use_cases.sweep_overview import SweepOverview
from local.commands.demo import world
from tests.makers import QUEUE, an_array, at
from tests.watching import Watching

POLICY = '[[limit]]\nRUNNABLE = { after = "6h" }\n'
FROM = at("12:00")


def a_watch() -> Watching:
    watching = Watching(POLICY)
    watching.batch.add_world(world())
    watching.batch.advance_to(FROM)
    return watching


def test_arrays_at_work_are_kept_each_minute_and_gone_when_they_have_ended() -> None:
    watching = a_watch()
    watching.batch.submit("render", "cpu", seconds=300, array_size=10, outcome={3: 1})
    watching.run(FROM, at("12:03"))

    open_arrays = items.read_arrays(watching.table)

    assert open_arrays
    assert open_arrays.at == at("12:03")
    assert [(each.job_name, each.size) for each in open_arrays.arrays] == [("render", 10)]
    assert sum(open_arrays.arrays[0].counts.values()) == 10

    watching.run(at("12:04"), at("12:10"))

    ended = items.read_arrays(watching.table)
    assert ended
    assert (ended.count, ended.arrays) == (0, ())


def test_what_waits_is_kept_by_queue_with_the_longest_first() -> None:
    watching = a_watch()
    first = watching.batch.submit("first", "gpu", vcpus=10_000)
    watching.run(FROM, at("12:10"))
    watching.batch.submit("second", "gpu", vcpus=10_000)
    watching.batch.submit("other", "cpu", vcpus=10_000, array_size=3)
    watching.run(at("12:11"), at("12:32"))

    waits = items.read_waits(watching.table)

    assert waits
    assert waits.at == at("12:30")
    by_name = {arn.rpartition("/")[2]: each for arn, each in waits.queues.items()}
    assert {name: each.count for name, each in by_name.items()} == {"gpu": 2, "cpu": 3}
    longest = by_name["gpu"].longest
    assert [job.job_name for job in longest] == ["first", "second"]
    assert longest[0].job_id == first
    assert longest[0].since < at("12:02")
    assert longest[1].since > at("12:09")


def test_a_watchdog_with_nothing_to_see_writes_nothing_of_it() -> None:
    watching = a_watch().run(FROM, at("12:20"))

    assert items.read_arrays(watching.table) is None
    assert items.read_waits(watching.table) is None


def test_a_sweep_that_is_repeated_does_not_lose_what_the_first_one_saw() -> None:
    watching = a_watch()
    array = an_array()
    first = SweepOverview(table=watching.table, at=FROM)
    first.see_arrays({array.job_id: array}, {})
    first.keep_arrays()

    SweepOverview(table=watching.table, at=FROM).keep_arrays()

    kept = items.read_arrays(watching.table)
    assert kept
    assert kept.count == 1

    SweepOverview(table=watching.table, at=FROM + timedelta(minutes=1)).keep_arrays()

    gone = items.read_arrays(watching.table)
    assert gone
    assert gone.count == 0


def test_a_listing_goes_on_in_the_next_sweep_where_the_last_one_ended() -> None:
    watching = a_watch()
    pages = [{"jobId": "a", "jobName": "x"}], [{"jobId": "b", "jobName": "x"}]
    for number, page in enumerate(pages):
        now = FROM + timedelta(minutes=number)
        sweep = SweepOverview(table=watching.table, at=now)
        sweep.begin_listing(FROM)
        sweep.see_waiting(QUEUE, page, {}, now)
        if number:
            sweep.end_listing()
        sweep.keep_what_is_begun()

    waits = items.read_waits(watching.table)

    assert waits
    assert [job.job_id for job in waits.queues[QUEUE].longest] == ["a", "b"]
    assert waits.queues[QUEUE].count == 2


def test_another_listing_begins_with_nothing() -> None:
    watching = a_watch()
    for number in range(2):
        now = FROM + timedelta(minutes=15 * number)
        sweep = SweepOverview(table=watching.table, at=now)
        sweep.begin_listing(now)
        sweep.see_waiting(QUEUE, [{"jobId": f"{number}", "jobName": "x"}], {}, now)
        sweep.keep_what_is_begun()

    sweep.end_listing()

    assert sweep.listed
    assert [job.job_id for job in sweep.listed.queues[QUEUE].longest] == ["1"]


def test_an_array_that_waits_only_for_stragglers_is_at_work_no_more() -> None:
    watching = a_watch()
    ended, open_one = an_array(job_id="ended"), an_array(job_id="open")
    sweep = SweepOverview(table=watching.table, at=FROM)

    sweep.see_arrays(
        {"ended": ended, "open": open_one},
        {"ended": {"status": "FAILED"}, "open": {"status": "PENDING"}},
    )
    sweep.keep_arrays()

    kept = items.read_arrays(watching.table)
    assert kept
    assert [array.job_id for array in kept.arrays] == ["open"]
