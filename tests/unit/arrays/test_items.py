"""Arrays in the table: how long they are kept."""

from datetime import UTC, datetime, timedelta

from batch_watchdog.arrays.items import Arrays
from batch_watchdog.arrays.progress import Array, Part
from batch_watchdog.store.memory_table import MemoryTable
from tests.makers import ARRAY, QUEUE, at


def test_an_array_that_runs_for_months_without_a_change_is_not_forgotten() -> None:
    """Each child of an array may run for months, and the head changes with few of them."""
    table = MemoryTable()
    store = Arrays(table)
    array = Array(
        job_id=ARRAY, job_name="a", queue=QUEUE, definition="d", first_at=at("12:00"), size=10
    )
    table.write([store.put(array, at("12:00")), store.put_part(ARRAY, Part(number=0), at("12:00"))])

    half_a_year_later = at("12:00") + timedelta(days=183)
    expiries = [
        datetime.fromtimestamp(int(item["expires_at"]), UTC)
        for item in table.query(f"ARRAY#{ARRAY}")
    ]
    assert len(expiries) == 2
    assert min(expiries) > half_a_year_later
