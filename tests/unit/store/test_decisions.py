"""How decisions are written: together where it fits, whole or not at all, and never twice."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import pytest

from batch_watchdog.core.effects import Announce, Effect, SetQueueState, StopJobs
from batch_watchdog.core.errors import CommandError, StaleItemError
from batch_watchdog.store.actions import Action, Actions, to_action
from batch_watchdog.store.decisions import Outcome, Recorder, halves
from batch_watchdog.store.memory_table import MemoryTable
from batch_watchdog.store.once import OnceKey
from batch_watchdog.store.table import Put, Table
from tests.fakes import RacedTable
from tests.makers import a_notice, at

NOON = at("12:00")


def a_put(name: str, read: int = 0) -> Put:
    return Put({"pk": "STATE", "sk": name}, read=read)


def an_announcement(name: str, kind: str = "job-failed") -> Announce:
    return Announce(notices=(a_notice(id=name, kind=kind),))


def a_stop(
    *job_ids: str, reason: str = "batch-watchdog: too long", how: str = "cancel"
) -> StopJobs:
    return StopJobs(how=how, job_ids=job_ids, reason=reason, rule="limit[1]")  # type: ignore[arg-type]


def recorded(table: Table) -> list[Action]:
    return [to_action(item) for item in table.query("ACTION#2026-01-01")]


def states(table: Table) -> list[str]:
    return [str(item["sk"]) for item in table.query("STATE")]


def decide(table: Table, outcomes: Mapping[str, Outcome | Callable[[], Outcome]]) -> list[str]:
    def of(key: str) -> Outcome:
        outcome = outcomes[key]
        return outcome if isinstance(outcome, Outcome) else outcome()

    return Recorder(table=table, asked_by="sweep").decide(outcomes, of, NOON)


def version_of(table: Table, name: str) -> int:
    item = table.get("STATE", name)
    return int(item["version"]) if item else 0


# ---- Together -----------------------------------------------------------------------------


def test_what_several_keys_gave_rise_to_is_one_write_and_one_action() -> None:
    table = RacedTable(MemoryTable())

    lost = decide(
        table,
        {name: Outcome(puts=[a_put(name)], effects=[an_announcement(name)]) for name in "abcdefg"},
    )

    assert lost == []
    assert table.writes == 1
    assert states(table) == list("abcdefg")
    (action,) = recorded(table)
    assert isinstance(action.effect, Announce)
    assert [notice.id for notice in action.effect.notices] == list("abcdefg")
    assert (action.asked_by, action.at, action.result) == ("sweep", "2026-01-01T12:00:00Z", None)


def test_only_what_is_alike_becomes_one_action() -> None:
    table = MemoryTable()
    effects: list[Effect] = [
        a_stop("1"),
        an_announcement("a"),
        SetQueueState(queue="gpu", state="DISABLED", guard="budget"),
        an_announcement("b", kind="array-completed"),
        a_stop("2"),
        a_stop("3", how="terminate"),
        an_announcement("c"),
        a_stop("4", reason="batch-watchdog: other"),
    ]

    decide(table, {str(n): Outcome(effects=[effect]) for n, effect in enumerate(effects)})

    found = [action.effect for action in recorded(table)]
    stops = {(e.how, e.reason, e.job_ids) for e in found if isinstance(e, StopJobs)}
    told = {tuple(n.id for n in e.notices) for e in found if isinstance(e, Announce)}
    assert stops == {
        ("cancel", "batch-watchdog: too long", ("1", "2")),
        ("terminate", "batch-watchdog: too long", ("3",)),
        ("cancel", "batch-watchdog: other", ("4",)),
    }
    assert told == {("a", "c"), ("b",)}
    assert len(found) == 6


def test_more_than_fits_into_a_write_becomes_several() -> None:
    table = RacedTable(MemoryTable())
    names = [f"{number:03}" for number in range(250)]

    lost = decide(
        table,
        {name: Outcome(puts=[a_put(name)], effects=[an_announcement(name)]) for name in names},
    )

    told = [
        n.id for a in recorded(table) if isinstance(a.effect, Announce) for n in a.effect.notices
    ]
    assert lost == []
    assert table.writes == 4
    assert states(table) == sorted(told) == names


def test_a_decision_for_nothing_costs_no_write() -> None:
    table = RacedTable(MemoryTable())

    assert decide(table, {"a": Outcome(), "b": Outcome()}) == []
    assert table.writes == 0


def test_an_effect_may_come_without_a_state() -> None:
    table = MemoryTable()

    assert decide(table, {"a": Outcome(effects=[a_stop("1")])}) == []
    assert len(recorded(table)) == 1


# ---- Races --------------------------------------------------------------------------------


def test_whoever_loses_a_race_decides_again_on_what_is_there_now() -> None:
    inside = MemoryTable()
    table = RacedTable(inside, lambda: inside.write([a_put("b")]))
    seen = []

    def outcome(name: str) -> Outcome:
        read = version_of(table, name)
        seen.append((name, read))
        return Outcome(puts=[a_put(name, read)], effects=[an_announcement(f"{name}{read}")])

    lost = decide(table, {name: partial(outcome, name) for name in "abc"})

    assert lost == []
    assert seen == [("a", 0), ("b", 0), ("c", 0), ("a", 0), ("b", 1), ("c", 0)]
    # The race was lost, and still there is one action: one digest, and not many mails.
    (action,) = recorded(inside)
    assert isinstance(action.effect, Announce)
    assert [notice.id for notice in action.effect.notices] == ["a0", "b1", "c0"]


def test_a_lost_race_leaves_neither_state_nor_action() -> None:
    inside = MemoryTable()
    inside.write([a_put("a")])
    outcome = Outcome(puts=[a_put("a"), a_put("b")], effects=[a_stop("1")])

    with pytest.raises(StaleItemError):
        Recorder(table=inside, asked_by="sweep").write([outcome], NOON)

    assert states(inside) == ["a"]
    assert recorded(inside) == []


def test_one_that_always_loses_is_told_and_takes_nobody_with_it() -> None:
    table = MemoryTable()
    table.write([a_put("b")])
    wanted = {name: Outcome(puts=[a_put(name)], effects=[an_announcement(name)]) for name in "abc"}

    lost = decide(table, wanted)

    assert lost == ["b"]
    assert states(table) == ["a", "b", "c"]
    told = [
        n.id for a in recorded(table) if isinstance(a.effect, Announce) for n in a.effect.notices
    ]
    assert sorted(told) == ["a", "c"]


def test_a_decision_that_itself_loses_a_race_is_made_again() -> None:
    table = MemoryTable()
    tries = []

    def stale_at_first() -> Outcome:
        tries.append(1)
        if len(tries) < 4:
            raise StaleItemError("x")
        return Outcome(puts=[a_put("a")])

    def always_stale() -> Outcome:
        raise StaleItemError("y")

    assert decide(table, {"a": stale_at_first, "b": always_stale}) == ["b"]
    assert states(table) == ["a"]


def test_a_decision_that_others_made_meanwhile_is_not_made_twice() -> None:
    inside = MemoryTable()

    def others() -> None:
        Recorder(table=inside, asked_by="other").write([outcome(inside)], NOON)

    def outcome(table: Table) -> Outcome:
        if version_of(table, "a"):
            return Outcome()
        return Outcome(puts=[a_put("a")], effects=[an_announcement("a")])

    table = RacedTable(inside, others)

    assert decide(table, {"a": lambda: outcome(table)}) == []
    assert [action.asked_by for action in recorded(inside)] == ["other"]


def test_what_an_action_came_to_is_recorded_once() -> None:
    table = MemoryTable()
    decide(table, {"a": Outcome(effects=[a_stop("1")])})
    (action,) = recorded(table)

    Actions(table).record(action, {"accepted": 1})
    with pytest.raises(StaleItemError):
        Actions(table).record(action, {"accepted": 0})

    assert recorded(table)[0].result == {"accepted": 1}
    assert recorded(table)[0].effect == action.effect


# ---- Faults -------------------------------------------------------------------------------


def test_a_key_about_which_nothing_can_be_decided_keeps_no_other_from_being_written() -> None:
    table = MemoryTable()

    def fails() -> Outcome:
        raise ValueError("no number")

    good = Outcome(puts=[a_put("good")])
    outcomes: dict[str, Outcome | Callable[[], Outcome]]
    outcomes = {"bad": fails, "good": good, "worse": fails}
    with pytest.raises(ExceptionGroup, match="about 2") as caught:
        decide(table, outcomes)

    assert states(table) == ["good"]
    assert [str(error) for error in caught.value.exceptions] == ["no number", "no number"]


# ---- Too much for one write ---------------------------------------------------------------


def test_what_does_not_fit_into_one_write_is_split_and_all_of_it_is_written_once() -> None:
    table = MemoryTable()
    names = tuple(f"{number:03}" for number in range(250))

    def outcome(some: tuple[str, ...]) -> Outcome:
        return Outcome(
            puts=[a_put(name) for name in some],
            effects=[a_stop(name, reason=f"batch-watchdog: {name}") for name in some],
        )

    recorder = Recorder(table=table, asked_by="sweep")
    written = recorder.write_each([names], outcome, NOON, halves)

    assert (list(written.lost), dict(written.failed)) == ([], {})
    assert states(table) == list(names)
    assert len(recorded(table)) == 250


def test_one_that_can_be_neither_written_nor_split_is_reported_and_stops_no_other() -> None:
    table = MemoryTable()
    huge = Outcome(puts=[Put({"pk": "STATE", "sk": "huge", "body": b"x" * 500_000})])
    outcomes = {"a": Outcome(puts=[a_put("a")]), "huge": huge, "b": Outcome(puts=[a_put("b")])}

    written = Recorder(table=table, asked_by="sweep").write_each(
        outcomes, outcomes.__getitem__, NOON
    )

    assert states(table) == ["a", "b"]
    assert written.lost == []
    assert list(written.failed) == ["huge"]
    with pytest.raises(ExceptionGroup, match="about 1"):
        written.raise_failed()


def test_many_decisions_of_one_bucket_with_an_action_each_are_made_once() -> None:
    table = MemoryTable()
    found = (OnceKey(f"job-{number}", NOON) for number in range(9_999))
    entries = {each.name: each for each in found if each.bucket[1] == "a"}
    names = list(entries)[:180]
    decided: list[str] = []

    def decide(fresh: Sequence[str]) -> Outcome:
        decided.extend(fresh)
        return Outcome(effects=[a_stop(name, reason=f"batch-watchdog: {name}") for name in fresh])

    recorder = Recorder(table=table, asked_by="sweep")
    for some in (names[:150], names):
        written = recorder.once({name: entries[name] for name in some}, decide, NOON)
        assert (written.lost, written.failed) == ([], {})

    stopped = [a.effect.job_ids for a in recorded(table) if isinstance(a.effect, StopJobs)]
    assert sorted(stopped) == sorted((name,) for name in names)
    assert decided.count(names[-1]) == 1


def test_what_is_decided_once_is_decided_once_though_half_of_it_was_written_by_another() -> None:
    inside = MemoryTable()
    names = [f"job-{number}" for number in range(150)]
    entries = {name: OnceKey("same" + name, NOON) for name in names}
    bucket = next(iter(entries.values())).bucket
    entries = {name: each for name, each in entries.items() if each.bucket == bucket}

    def decide(fresh: Sequence[str]) -> Outcome:
        return Outcome(effects=[a_stop(name, reason=f"batch-watchdog: {name}") for name in fresh])

    def others() -> None:
        first = dict(list(entries.items())[:3])
        Recorder(table=inside, asked_by="other").once(first, decide, NOON)

    table = RacedTable(inside, others)
    written = Recorder(table=table, asked_by="sweep").once(entries, decide, NOON)

    assert (written.lost, written.failed) == ([], {})
    assert len(recorded(inside)) == len(entries)


def test_what_is_refused_on_purpose_is_refused_as_a_whole() -> None:
    def refused() -> Outcome:
        raise CommandError({"guard": "expected one of the guards"})

    with pytest.raises(CommandError):
        decide(MemoryTable(), {"command": refused})
