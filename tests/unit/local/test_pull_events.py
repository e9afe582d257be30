"""Bringing kept events by Logs Insights."""

import json
from typing import Any

import pytest

from local.commands import live_stack, pull_events
from local.commands.live_stack import LiveError, LiveStack
from local.commands.pull_events import Kept


class Insights:
    """A log group with events at given seconds, each with an id, as Insights shows it."""

    def __init__(self, seconds: list[int]) -> None:
        self.events: list[tuple[int, dict[str, Any]]] = [
            (second, {"id": f"{number % 16:x}-{number}", "n": number})
            for number, second in enumerate(sorted(seconds))
        ]
        self.queries: list[dict[str, Any]] = []
        self.status = "Complete"
        self.pauses = 0

    def start_query(self, **query: Any) -> dict[str, str]:
        self.queries.append(query)
        return {"queryId": str(len(self.queries) - 1)}

    def get_query_results(self, queryId: str) -> dict[str, Any]:  # noqa: N803 - boto3's name
        if self.pauses < 1:
            return {"status": "Running", "results": []}
        query = self.queries[int(queryId)]
        digit = query["queryString"].partition("/^")[2][:1]
        found = [
            [{"field": "@message", "value": json.dumps(event)}, {"field": "@ptr", "value": "x"}]
            for second, event in self.events
            if query["startTime"] <= second <= query["endTime"]
            and (not digit or event["id"].startswith(digit))
        ]
        return {"status": self.status, "results": found[: query["limit"]]}

    def pause(self, _: float) -> None:
        self.pauses += 1

    def pulled(self, first: int, last: int) -> list[int]:
        self.kept = Kept(self, "group", self.pause)
        return [json.loads(text)["n"] for text in self.kept.between(first, last)]


@pytest.fixture(autouse=True)
def ten_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pull_events, "MOST", 10)


def test_what_fits_into_one_answer_is_one_query() -> None:
    insights = Insights([5, 6, 7])

    assert insights.pulled(0, 100) == [0, 1, 2]
    assert len(insights.queries) == 1


def test_where_there_is_more_the_time_is_halved_and_nothing_comes_twice() -> None:
    insights = Insights([second for second in range(100) for _ in range(3)])

    assert insights.pulled(0, 99) == list(range(300))


def test_a_second_with_more_than_an_answer_holds_is_read_by_ids() -> None:
    insights = Insights([7] * 100)

    assert sorted(insights.pulled(0, 99)) == list(range(100))
    assert insights.kept.cut == 0


def test_what_cannot_be_had_at_all_is_counted() -> None:
    insights = Insights([7] * 400)

    assert len(insights.pulled(7, 7)) == 160
    assert insights.kept.cut == 16


def test_a_query_that_fails_is_an_error() -> None:
    insights = Insights([7])
    insights.status = "Failed"

    with pytest.raises(LiveError, match="the query is Failed"):
        insights.pulled(0, 9)


def test_the_file_holds_one_event_a_line(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    insights = Insights([1_767_268_800, 1_767_300_000])
    insights.pauses = 1
    stack = LiveStack(
        name="s", account="1", region="r", outputs={"KeptEvents": "group"}, session=insights
    )
    monkeypatch.setattr(Insights, "client", lambda self, _: self, raising=False)
    monkeypatch.setattr(live_stack, "find", lambda _: stack)
    out = tmp_path / "log.jsonl"

    assert pull_events.main(["--since", "2026-01-01T00:00:00Z", "--out", str(out)]) == 0

    assert [json.loads(line)["n"] for line in out.read_text().splitlines()] == [0, 1]
    assert "2 events" in capsys.readouterr().err
    assert pull_events.main(["--out", str(tmp_path / "no" / "log")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_a_stack_that_keeps_none_is_told_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stack = LiveStack(
        name="s", account="1", region="r", outputs={"PolicyParameter": "/p"}, session=None
    )
    monkeypatch.setattr(live_stack, "find", lambda _: stack)

    assert pull_events.main(["--since", "2d", "--out", "x"]) == 2
    assert "KeepEventsDays=30" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        pull_events.main(["--since", "soon", "--out", "x"])
