"""A thousand events at once are handed to a function in payloads that Lambda takes."""

import json
from datetime import timedelta

import pytest

from local.aws import sources
from tests.logs import event
from tests.whole import NOON, PAYLOAD_MAX, Whole

POLICY = """
mode = "observe"
[[limit]]
RUNNABLE = { after = "2h" }
"""


def with_a_thousand(padding: int, letter: str = "xxxx") -> Whole:
    """A thousand jobs become RUNNABLE in one second; each event is about so long."""
    whole = Whole(POLICY)
    at = NOON + timedelta(seconds=1)
    bodies = [
        json.dumps(
            event(at, {"jobId": f"{number:08}-0000", "status": "RUNNABLE"}, padding)
        ).replace("xxxx", letter)
        for number in range(1_000)
    ]
    whole.send("job_events", *bodies)
    return whole.run(minutes=1)


@pytest.mark.parametrize(
    ("padding", "at_most"),
    [(3_000, 1), (60_000, 12)],  # 4 KB each, and 60 KB
)
def test_no_payload_is_over_six_megabytes_and_every_event_is_taken(
    padding: int, at_most: int
) -> None:
    whole = with_a_thousand(padding)

    assert max(whole.payloads) <= PAYLOAD_MAX
    large = [size for size in whole.payloads if size > 100_000]
    assert 1 <= len(large) <= at_most
    assert sum(large) >= 1_000 * padding
    assert (whole.errors, whole.letters) == ([], [])


@pytest.mark.parametrize("letter", ["\\\\\\u200b", '\\"', "é", "影"])
def test_what_takes_more_room_in_json_is_counted_as_it_is(letter: str) -> None:
    whole = with_a_thousand(40_000, letter)

    assert max(whole.payloads) <= PAYLOAD_MAX
    assert (whole.errors, whole.letters) == ([], [])


def test_a_payload_over_six_megabytes_is_refused_as_by_lambda(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sources, "PAYLOAD_MAX", 100 * PAYLOAD_MAX)

    whole = with_a_thousand(60_000)

    assert max(whole.payloads) > PAYLOAD_MAX
    assert any("RequestEntityTooLargeException" in error for _, error in whole.errors)
