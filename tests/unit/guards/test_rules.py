"""A guard goes from calm to cancel to terminate and back, each step for a reason."""

import json
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from batch_watchdog.core.effects import Announce, Effect, SetQueueState, StartRun
from batch_watchdog.guards.inputs import (
    AlarmReceived,
    GuardDecision,
    GuardInput,
    QueuesFoundOpen,
    StageSet,
    TimePassed,
)
from batch_watchdog.guards.matching import concerned, waits_for
from batch_watchdog.guards.precedence import (
    GuardEffect,
    asks_for_tags,
    held_by_others,
    is_still_wanted,
    judge_queue,
    may_still_stop,
    must_stop,
    stopping,
)
from batch_watchdog.guards.rules import decide
from batch_watchdog.guards.signals.evidence import AlarmState, BudgetLimit, Evidence, Source
from batch_watchdog.guards.stages import (
    HoldSpan,
    in_alarm,
    in_force,
    is_current,
    why_not_meant,
    without_holds,
)
from batch_watchdog.guards.state import GuardState, LatestSignal, StageEntry, StageName
from batch_watchdog.guards.stop_run import counts
from batch_watchdog.guards.stop_run import notices as run_notices
from batch_watchdog.notices.notice import Notice
from batch_watchdog.notices.phrases import SUBJECT_MAX
from batch_watchdog.policy.guard_tables import Guard
from batch_watchdog.policy.model import Policy
from batch_watchdog.policy.tables import Mode
from tests.makers import at

GPU = "arn:aws:batch:us-east-1:111122223333:job-queue/gpu"
CPU = "arn:aws:batch:us-east-1:111122223333:job-queue/cpu"
SOFT_ARN = "arn:aws:cloudwatch:us-east-1:111122223333:alarm:soft"
MONITOR = "arn:aws:ce::111122223333:anomalymonitor/m-1"


# ---- Makers -------------------------------------------------------------------------------


def a_rule(**changes: Any) -> Guard:
    """Cancels at `soft` (and closes queues), terminates at `hard` or after two hours."""
    return Guard.model_validate(
        {
            "name": "monthly",
            "spare": {"tags": {"critical": "true"}},
            "stage": [a_stage(), a_stage("terminate")],
        }
        | changes
    )


def a_stage(action: str = "cancel", **changes: Any) -> dict[str, Any]:
    usual: dict[str, dict[str, Any]] = {
        "cancel": {"alarms": ["soft"], "action": "cancel", "close_queues": True},
        "terminate": {"alarms": ["hard"], "action": "terminate", "after_previous": "2h"},
    }
    return usual[action] | changes


def word(
    alarm: str = "soft", state: AlarmState = "ALARM", when: str = "12:00", **changes: Any
) -> Evidence:
    """A CloudWatch alarm's word, known by its name and by what is given as `names`."""
    usual = Evidence(
        source="cloudwatch",
        alarm=alarm,
        names=frozenset({alarm, *changes.pop("names", ())}),
        state=state,
        at=at(when),
        amount="$424.20",
        threshold="$400.00",
        detail="Threshold crossed",
    )
    of_budget: dict[str, Any] = {"budget_type": "Cost", "limit": a_limit(), "period": "month"}
    of_source: dict[str, dict[str, Any]] = {"budget": of_budget, "anomaly": {"period": "day"}}
    return replace(usual, **of_source.get(changes.get("source", ""), {}) | changes)


def a_limit(percent: float | None = 100.0, **changes: Any) -> BudgetLimit:
    """A threshold of a cost budget of $1,000."""
    amount = None if percent is None else percent * 10
    return replace(BudgetLimit(is_cost=True, percent=percent, amount=amount), **changes)


@dataclass
class Story:
    """A guard to which one thing happens after the other."""

    rule: Guard | None = field(default_factory=a_rule)
    mode: Mode = "enforce"
    held: frozenset[str] = frozenset()
    operator_holds: tuple[HoldSpan, ...] = ()
    never_closed: frozenset[str] = frozenset()
    state: GuardState = field(default_factory=lambda: GuardState(guard="monthly"))
    effects: list[Effect] = field(default_factory=list)
    why: str = ""
    to_announce: str = ""

    def happens(self, guard_input: GuardInput) -> GuardDecision:
        decision = decide(
            self.state,
            guard_input,
            self.rule,
            mode=self.mode,
            held_by_others=self.held,
            operator_holds=self.operator_holds,
            never_closed=self.never_closed,
        )
        self.state, self.why = decision.state, decision.why
        self.to_announce = decision.to_announce
        self.effects += decision.effects
        return decision

    def told(self, evidence: Evidence, now: str = "") -> GuardDecision:
        return self.happens(AlarmReceived(now=at(now) if now else evidence.at, evidence=evidence))

    def sweep(self, now: str) -> GuardDecision:
        return self.happens(TimePassed(now=at(now)))

    def set_stage(self, stage: StageName, now: str = "13:00") -> GuardDecision:
        return self.happens(StageSet(now=at(now), stage=stage, by="jane"))

    def finds_open(self, *queues: str, now: str = "12:01") -> GuardDecision:
        run_id = self.entry.run_id
        return self.happens(QueuesFoundOpen(now=at(now), run_id=run_id, queues=queues))

    @property
    def stage(self) -> str:
        return self.state.stage

    @property
    def entry(self) -> StageEntry:
        assert self.state.entry
        return self.state.entry

    @property
    def notices(self) -> list[Notice]:
        told = [effect for effect in self.effects if isinstance(effect, Announce)]
        return [notice for announce in told for notice in announce.notices]

    @property
    def kinds(self) -> list[str]:
        return [notice.kind for notice in self.notices]

    @property
    def runs(self) -> list[str]:
        return [effect.run_id for effect in self.effects if isinstance(effect, StartRun)]

    @property
    def queues_set(self) -> list[tuple[str, str]]:
        settings = [effect for effect in self.effects if isinstance(effect, SetQueueState)]
        return [(effect.queue, effect.state) for effect in settings]


def a_raised_story(**changes: Any) -> Story:
    """The soft alarm has rung at noon, and the gpu queue was closed."""
    story = Story(**changes)
    story.told(word("soft", when="12:00"))
    story.finds_open(GPU)
    return story


@dataclass(frozen=True)
class AJob:
    job_name: str = "align"
    queue: str = GPU
    definition: str = "align:1"
    tags: dict[str, str] = field(default_factory=dict)


# ---- Being raised -------------------------------------------------------------------------


def test_an_alarm_raises_the_stage_that_names_it() -> None:
    story = Story()

    story.told(word("soft"))

    assert story.stage == "cancel"
    assert story.kinds == ["guard-raised"]
    assert story.runs == ["monthly:cancel:2026-01-01T12:00:00Z"]
    assert is_current(story.state, story.runs[0])


def test_a_hard_alarm_skips_the_mild_stage() -> None:
    story = Story()

    story.told(word("hard"))

    assert story.stage == "terminate"


def test_a_hard_alarm_raises_a_guard_that_is_at_the_mild_stage() -> None:
    story = a_raised_story()

    story.told(word("hard", when="12:30"))

    assert story.stage == "terminate"
    assert [run.split(":")[1] for run in story.runs] == ["cancel", "terminate"]


def test_a_soft_alarm_does_not_make_a_hard_stage_milder() -> None:
    story = Story()
    story.told(word("hard"))

    story.told(word("soft", when="12:30"))

    assert story.stage == "terminate"
    assert len(story.effects) == 2


@pytest.mark.parametrize(
    "no_news",
    [
        pytest.param(word("soft", when="12:00"), id="the same again"),
        pytest.param(word("soft", when="11:00"), id="an older ALARM"),
        pytest.param(word("soft", "OK", when="11:59"), id="an older OK"),
        pytest.param(word("soft", "OK", when="12:00"), id="an OK of the same moment"),
        pytest.param(word("another", when="12:30"), id="an alarm that the guard does not name"),
        pytest.param(word("hard", source="budget", forecasted=True, when="12:30"), id="forecast"),
    ],
)
def test_what_is_no_news_changes_nothing(no_news: Evidence) -> None:
    story = a_raised_story()
    before = story.state

    decision = story.told(no_news, now="12:45")

    assert story.state == before
    assert decision.effects == ()
    assert decision.why


def test_another_alarm_of_the_same_stage_does_not_enter_it_again() -> None:
    story = Story(rule=a_rule(stage=[a_stage(alarms=["soft", "other"])]))
    story.told(word("soft"))

    story.told(word("other", when="12:30"))
    story.told(word("soft", when="12:40"))

    assert len(story.runs) == 1


def test_an_alarm_that_arrives_after_its_own_ok_raises_nothing() -> None:
    story = Story()
    story.told(word("soft", "OK", when="12:10"))

    story.told(word("soft", "ALARM", when="12:00"), now="12:11")

    assert story.stage == "calm"
    assert story.effects == []


def test_one_alarm_told_by_two_ways_is_one_alarm() -> None:
    story = Story()
    story.told(word("soft"))
    story.told(word("soft", names=[SOFT_ARN]), now="12:01")

    story.told(word("soft", "OK", "12:30", names=[SOFT_ARN]))

    assert story.kinds == ["guard-raised", "guard-released"]


def test_a_policy_may_name_an_alarm_by_its_arn() -> None:
    story = Story(rule=a_rule(stage=[a_stage(alarms=[SOFT_ARN])]))

    story.told(word("soft"))
    assert story.stage == "calm"

    story.told(word("soft", names=[SOFT_ARN]))
    assert story.stage == "cancel"


def test_an_alarm_named_twice_by_a_policy_is_one_alarm() -> None:
    story = Story(rule=a_rule(stage=[a_stage(alarms=[SOFT_ARN, "soft"])]))
    story.told(word("soft", names=[SOFT_ARN]))

    story.told(word("soft", "OK", "12:30"))

    assert story.stage == "calm"


def test_a_forecast_counts_where_the_stage_says_so() -> None:
    story = Story(rule=a_rule(stage=[a_stage(forecast=True)]))

    story.told(word("soft", source="budget", forecasted=True))

    assert story.stage == "cancel"
    assert "FORECASTED" in story.entry.why


def test_a_stage_takes_effect_from_when_it_is_entered_however_old_the_word() -> None:
    story = Story()

    story.told(word("soft", when="09:00"), now="12:00")
    story.sweep("13:59")

    assert story.stage == "cancel"
    assert story.entry.since == at("12:00")


# ---- Time ---------------------------------------------------------------------------------


def test_a_stage_that_lasts_too_long_becomes_harder() -> None:
    story = a_raised_story()

    story.sweep("13:59")
    assert story.stage == "cancel"

    story.sweep("14:00")
    assert story.stage == "terminate"
    assert story.runs[-1] == "monthly:terminate:2026-01-01T14:00:00Z"


def test_a_budgets_message_without_relief_becomes_harder_too() -> None:
    story = Story()
    story.told(word("soft", source="budget"))

    story.sweep("14:00")

    assert story.stage == "terminate"


def test_with_relief_time_does_not_make_it_harder() -> None:
    story = a_raised_story(rule=a_rule(release="manual"))
    story.told(word("soft", "OK", when="12:30"))

    story.sweep("23:00")

    assert story.stage == "cancel"


def test_after_relief_time_counts_anew() -> None:
    story = a_raised_story(rule=a_rule(release="manual"))
    story.told(word("soft", "OK", when="12:30"))
    story.told(word("soft", "ALARM", when="13:30"))

    story.sweep("15:29")
    assert story.stage == "cancel"

    story.sweep("15:30")
    assert story.stage == "terminate"


def lacks_data(alarm: str = "soft", when: str = "12:30") -> Evidence:
    return word(alarm, "INSUFFICIENT_DATA", when=when)


def test_too_little_data_neither_raises_nor_releases() -> None:
    story = Story()
    assert story.told(lacks_data(when="11:00")).effects == ()
    assert story.stage == "calm"

    story.told(word("soft"))
    assert story.told(lacks_data()).effects == ()
    assert story.stage == "cancel"

    story.told(word("soft", "OK", when="12:40"))
    assert story.stage == "calm"


def test_while_an_alarm_has_too_little_data_time_makes_nothing_harder() -> None:
    story = a_raised_story()
    story.told(lacks_data())

    story.sweep("23:00")

    assert story.stage == "cancel"


def test_time_in_which_an_alarm_had_too_little_data_does_not_count() -> None:
    story = a_raised_story()
    story.told(lacks_data(when="12:30"), now="12:40")  # Late: it counts from its own time.
    story.told(word("soft", when="13:30"))

    story.sweep("14:59")
    assert story.stage == "cancel"
    story.sweep("15:00")
    assert story.stage == "terminate"
    assert story.state.doubted_for == timedelta()


def test_an_alarm_that_has_data_counts_while_another_has_too_little() -> None:
    story = Story(rule=a_rule(stage=[a_stage(alarms=["soft", "other"]), a_stage("terminate")]))
    story.told(word("soft"))
    story.told(word("other", when="12:10"))
    story.told(lacks_data("soft"))

    story.told(word("other", "OK", when="13:00"))
    assert story.stage == "cancel"
    story.sweep("14:00")
    assert story.stage == "cancel"

    story.told(word("soft", when="14:30"))
    story.sweep("15:29")
    assert story.stage == "cancel"
    story.sweep("15:30")
    assert story.stage == "terminate"
    assert "soft still in ALARM" in story.why


def test_an_alarm_that_is_older_than_its_lack_of_data_does_not_count() -> None:
    story = Story()
    story.told(lacks_data(when="12:30"))

    story.told(word("soft", when="12:20"), now="12:40")
    story.sweep("23:00")

    assert story.stage == "cancel"


def test_a_lack_of_data_that_is_older_than_the_alarm_changes_nothing() -> None:
    story = a_raised_story()
    story.told(lacks_data(when="11:30"), now="12:30")

    story.sweep("14:00")

    assert story.stage == "terminate"


def test_after_relief_doubt_of_before_does_not_count() -> None:
    story = Story(rule=a_rule(release="manual"))
    story.told(word("soft"))
    story.told(lacks_data(when="12:30"))
    story.told(word("soft", when="13:00"))
    story.told(word("soft", "OK", when="13:10"))

    story.told(word("soft", when="14:00"))

    story.sweep("16:00")
    assert story.stage == "terminate"


def test_time_does_not_make_harder_what_an_operator_alone_raised() -> None:
    story = Story()
    story.set_stage("cancel")

    story.sweep("23:00")

    assert story.stage == "cancel"


def test_a_sweep_that_finds_nothing_to_do_does_nothing() -> None:
    story = a_raised_story()

    assert story.sweep("12:30").effects == ()
    assert Story().sweep("12:30").effects == ()


def test_the_time_under_a_hold_does_not_count() -> None:
    story = a_raised_story(operator_holds=((at("12:30"), at("14:30")),))

    story.sweep("15:59")
    assert story.stage == "cancel"

    story.sweep("16:00")
    assert story.stage == "terminate"


@pytest.mark.parametrize(
    ("hold", "terminates"),
    [
        pytest.param(("13:00", "13:30"), "15:30", id="within"),
        pytest.param(("12:15", "13:00"), "15:45", id="before and in it"),
        pytest.param(("13:30", "14:20"), "15:50", id="in and after it"),
        pytest.param(("14:05", "14:25"), "15:50", id="after it"),
        pytest.param(("12:10", "14:10"), "16:00", id="around it"),
    ],
)
def test_time_in_doubt_that_is_also_under_a_hold_is_left_out_once(
    hold: tuple[str, str], terminates: str
) -> None:
    story = a_raised_story()
    story.told(lacks_data(when="12:30"))
    begin, end = at(hold[0]), at(hold[1])
    story.operator_holds = ((begin, min(end, at("14:00"))),) if begin < at("14:00") else ()
    story.told(word("soft", when="14:00"))
    story.operator_holds = ((begin, end),)

    due = at(terminates)
    story.sweep((due - timedelta(minutes=1)).strftime("%H:%M"))
    assert story.stage == "cancel"
    story.sweep(terminates)
    assert story.stage == "terminate"


def test_of_a_hold_only_the_time_within_the_stage_does_not_count() -> None:
    two_hours = timedelta(hours=2)
    noon, holds = at("12:00"), ((at("11:00"), at("12:30")), (at("14:00"), at("15:00")))

    assert without_holds(noon, two_hours, ()) == at("14:00")
    assert without_holds(noon, two_hours, holds[:1]) == at("14:30")
    assert without_holds(noon, two_hours, holds) == at("15:30")
    assert without_holds(noon, two_hours, ((at("16:00"), at("17:00")),)) == at("14:00")


def test_what_is_raised_during_a_hold_says_that_nothing_is_stopped_until_the_resume() -> None:
    story = Story(operator_holds=((at("11:00"), at("12:00")),))

    story.told(word("soft"))

    assert story.stage == "cancel"
    assert "An operator holds the watchdog" in story.notices[0].text


def test_a_time_to_come_counts_as_that_of_the_arrival() -> None:
    story, later = Story(), timedelta(days=3_650)
    poison = word("soft")
    poison = replace(poison, at=poison.at + later)
    story.told(poison, now="12:00")
    assert "2035" not in story.entry.why + story.notices[0].text + str(story.notices[0].facts)

    story.told(word("soft", "OK", when="12:30"))
    assert story.stage == "calm"

    story.told(poison, now="13:00")
    assert story.stage == "calm"


# ---- Budgets and anomalies ----------------------------------------------------------------


def a_message(percent: float | None = 100.0, when: str = "12:00", **changes: Any) -> Evidence:
    """A message about a threshold of the cost budget `money`."""
    return word("money", source="budget", when=when, limit=a_limit(percent), **changes)


def by_thresholds(*harder: dict[str, Any], **milder: Any) -> Guard:
    """Cancels at a threshold of `money`, of 80 % where nothing else is given."""
    budget = {"name": "money"} | (milder or {"percent": 80})
    terminate = a_stage("terminate", alarms=[], aws_budgets=list(harder))
    return a_rule(stage=[a_stage(alarms=[], aws_budgets=[budget]), terminate])


BY_NAME = a_rule(stage=[a_stage(alarms=["money"])])


@pytest.mark.parametrize(
    ("percent", "stage"),
    [(50.0, "calm"), (99.9, "calm"), (None, "calm"), (100.0, "cancel"), (120.0, "cancel")],
)
def test_the_name_of_a_budget_means_its_100_per_cent(percent: float | None, stage: str) -> None:
    story = Story(rule=BY_NAME)

    story.told(a_message(percent))

    assert story.stage == stage
    assert bool(story.to_announce) == (stage == "calm")


def test_a_budget_that_is_counted_live_rings_until_its_period_is_over() -> None:
    live = a_stage(alarms=[], budgets=[{"name": "day", "percent": 100}])
    story = Story(rule=a_rule(stage=[live]))
    story.told(word("day", source="live", share=100.0, over_at=at("13:00")))

    story.sweep("12:59")
    before = story.stage
    story.sweep("13:00")

    assert (before, story.stage) == ("cancel", "calm")


def test_a_raised_guard_says_at_which_shares_of_budgets_it_terminates() -> None:
    shares = [{"name": "imaging"}, {"name": "all", "percent": 95.5}]
    story = Story(rule=a_rule(stage=[a_stage(), a_stage("terminate", alarms=[], budgets=shares)]))

    story.told(word())

    [raised] = story.notices
    when = "when 100 % of budget imaging or 95.5 % of budget all is used."
    assert f"- It goes on to terminate at once {when}" in raised.text
    assert "with an ALARM of" not in raised.text


FORECAST_FIRST = by_thresholds(
    {"name": "money", "percent": 80}, name="money", percent=80, forecast=True
)


def test_a_raised_guard_tells_a_forecast_from_the_actual_amount() -> None:
    story = Story(rule=FORECAST_FIRST)

    story.told(a_message(80.0, forecasted=True))

    [raised] = story.notices
    assert "goes on to terminate at once with an ALARM of money (80 %)." in raised.text
    assert "the end of the period of money (80 %) FORECASTED (at" in raised.text


def test_what_a_guard_waits_for_tells_a_forecast_from_the_actual_amount() -> None:
    story = Story(rule=FORECAST_FIRST)

    story.told(a_message(80.0, forecasted=True))

    assert waits_for(FORECAST_FIRST, story.state) == [
        {"stage": "cancel", "alarm": "money (80 %) FORECASTED", "heard": "ALARM"},
        {"stage": "terminate", "alarm": "money (80 %)", "heard": None},
    ]


def test_a_guard_waits_for_budgets_that_are_counted_live() -> None:
    shares = [{"name": "day", "percent": 50}, {"name": "day"}]
    rule = a_rule(stage=[a_stage(), a_stage("terminate", alarms=[], budgets=shares)])
    story = Story(rule=rule)
    story.told(word())
    story.told(word(state="OK", when="12:01"))
    story.told(word("day", source="live", share=50.0, over_at=at("13:00"), when="12:02"))

    received = {(each["alarm"], each["heard"]) for each in waits_for(rule, story.state)}

    assert received == {("soft", "OK"), ("day (50 %)", "ALARM"), ("day (100 %)", None)}


def test_of_alarms_of_one_name_that_a_guard_waits_for_the_one_in_alarm_counts() -> None:
    rule = a_rule(stage=[a_stage()])
    story = Story(rule=rule)
    story.told(word(arn="arn:a"))
    story.told(word(arn="arn:b", when="12:01"))
    story.told(word(arn="arn:b", state="OK", when="12:02"))

    assert [each["heard"] for each in waits_for(rule, story.state)] == ["ALARM"]


def test_the_name_of_a_budget_does_not_mean_a_forecast_unless_the_stage_says_so() -> None:
    story = Story(rule=BY_NAME)

    story.told(a_message(forecasted=True))

    assert story.stage == "calm"
    assert "FORECASTED" in story.to_announce


@pytest.mark.parametrize("changes", [{"is_cost": False}, {"below": True}])
def test_the_name_of_a_budget_means_costs_above_what_is_budgeted(changes: dict[str, Any]) -> None:
    story = Story(rule=BY_NAME)

    story.told(word("money", source="budget", limit=a_limit(**changes)))

    assert story.stage == "calm"
    assert story.to_announce


def test_two_thresholds_of_one_budget_raise_two_stages() -> None:
    story = Story(rule=by_thresholds({"name": "money", "percent": 100}))

    story.told(a_message(50.0, "11:00"))
    assert story.stage == "calm"

    story.told(a_message(80.0, "12:00"))
    assert story.stage == "cancel"

    story.told(a_message(100.0, "12:30"))
    assert story.stage == "terminate"


def test_two_messages_of_one_budget_may_arrive_in_the_other_order() -> None:
    story = Story(rule=by_thresholds({"name": "money", "percent": 100}))

    story.told(a_message(100.0, "12:01"))
    assert story.stage == "terminate"

    story.told(a_message(80.0, "12:00"), now="12:02")
    assert story.stage == "terminate"
    assert story.to_announce


def test_two_messages_of_one_budget_may_have_one_time() -> None:
    story = Story(rule=by_thresholds({"name": "money", "percent": 100}))
    story.told(a_message(80.0, detail="80"))

    story.told(a_message(100.0, detail="100"))
    assert story.stage == "terminate"

    story.told(a_message(120.0, detail="120"))
    assert story.to_announce

    story.told(a_message(100.0, detail="100"))
    assert story.to_announce == ""


def test_a_rounded_threshold_is_the_one_that_the_policy_names() -> None:
    story = Story(rule=by_thresholds())
    rounded = replace(a_limit(79.9988), percent_slack=0.0015)

    story.told(word("money", source="budget", limit=rounded))

    assert story.stage == "cancel"


@pytest.mark.parametrize(
    ("when", "changes", "stage"),
    [
        ("00:30", {}, "calm"),
        ("05:59", {"period": "year"}, "calm"),
        ("06:00", {}, "cancel"),
        ("00:30", {"period": "day"}, "cancel"),
        ("00:30", {"at": at("00:30") + timedelta(days=1)}, "cancel"),
        ("00:30", {"at": at("00:30") + timedelta(days=31), "period": "quarter"}, "cancel"),
        ("00:30", {"forecasted": True}, "calm"),
        ("06:00", {"forecasted": True}, "cancel"),
    ],
)
def test_a_budget_at_the_turn_of_its_period_may_be_about_the_one_before(
    when: str, changes: dict[str, Any], stage: str
) -> None:
    story = Story(rule=a_rule(stage=[a_stage(forecast=True)]))

    story.told(word("soft", when=when, source="budget", **changes))

    assert story.stage == stage
    assert ("the one before" in story.to_announce) == (stage == "calm")


@pytest.mark.parametrize(
    ("limit", "stage"),
    [
        (BudgetLimit(is_cost=True, percent=80.0, percent_slack=5.0), "calm"),
        (BudgetLimit(is_cost=True, percent=100.0, percent_slack=50.0), "calm"),
        (BudgetLimit(is_cost=True, percent=80.0, percent_slack=0.5), "cancel"),
    ],
)
def test_a_threshold_that_is_rounded_too_coarsely_raises_nothing(
    limit: BudgetLimit, stage: str
) -> None:
    story = Story(rule=by_thresholds())

    story.told(word("money", source="budget", limit=limit))

    assert story.stage == stage
    assert ("too coarsely" in story.to_announce) == (stage == "calm")


def test_an_amount_that_is_rounded_too_coarsely_is_only_itself() -> None:
    budgets = [{"name": "money", "amount": 8.4}, {"name": "money", "amount": 9.0}]
    rule = a_rule(stage=[a_stage(alarms=[], aws_budgets=[each]) for each in budgets[:1]])
    exact = a_rule(stage=[a_stage(alarms=[], aws_budgets=budgets[1:])])
    limits = BudgetLimit(is_cost=True, amount=8.0, amount_slack=0.5)

    near, same = Story(rule=rule), Story(rule=exact)
    near.told(word("money", source="budget", limit=limits))
    same.told(word("money", source="budget", limit=replace(limits, amount=9.0)))

    assert (near.stage, same.stage) == ("calm", "cancel")


def an_anomaly(when: str, impact: float = 50.0, anomaly_id: str = "a-1") -> Evidence:
    return word("soft", when=when, source="anomaly", anomaly_id=anomaly_id, impact=impact)


@pytest.mark.parametrize(
    ("again", "stage"),
    [
        (an_anomaly("12:40"), "calm"),
        (an_anomaly("12:40", impact=40.0), "calm"),
        (an_anomaly("12:40", impact=60.0), "cancel"),
        (an_anomaly("12:40", anomaly_id="a-3"), "cancel"),
    ],
)
def test_an_anomaly_that_arrives_by_a_second_route_raises_no_released_guard(
    again: Evidence, stage: str
) -> None:
    story = Story()
    story.told(an_anomaly("12:00"))
    story.told(an_anomaly("12:10", anomaly_id="a-2"))
    story.set_stage("calm", now="12:30")

    story.told(again)

    assert story.stage == stage


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param({"impact": 1001.0}, {"impact": 1001.004}, id="rounded by one route only"),
        pytest.param({"names": [MONITOR]}, {"names": [MONITOR, "a-subscription"]}, id="names"),
    ],
)
def test_an_anomaly_is_known_again_however_its_routes_show_it(
    first: dict[str, Any], second: dict[str, Any]
) -> None:
    story = Story(rule=a_rule(stage=[a_stage(alarms=[MONITOR, "a-subscription", "soft"])]))
    usual: dict[str, Any] = {"source": "anomaly", "anomaly_id": "a-1"}
    alarm = "mon" if "names" in first else "soft"
    story.told(word(alarm, when="12:00", **usual | first))
    story.set_stage("calm", now="12:30")

    story.told(word(alarm, when="12:40", **usual | second))

    assert story.stage == "calm"
    assert "known already" in story.why


def test_an_anomaly_that_grows_slowly_is_new_once_it_has_grown() -> None:
    story = Story()
    story.told(an_anomaly("12:00", impact=100.0))
    story.set_stage("calm", now="12:10")

    story.told(an_anomaly("12:20", impact=100.8))
    after_little = story.stage
    story.told(an_anomaly("12:30", impact=101.6))

    assert (after_little, story.stage) == ("calm", "cancel")


def test_an_anomaly_that_was_older_than_another_is_known_by_its_second_route() -> None:
    story = Story()
    story.told(an_anomaly("12:10", anomaly_id="a-2"))
    story.told(an_anomaly("12:05", anomaly_id="a-1"), now="12:11")
    assert story.to_announce
    story.set_stage("calm", now="12:30")

    story.told(an_anomaly("12:40", anomaly_id="a-1"))

    assert story.stage == "calm"


def test_the_anomalies_that_were_reported_last_are_kept() -> None:
    story = Story(rule=a_rule(release="manual"))
    story.told(an_anomaly("12:00", anomaly_id="grows"))
    for minute in range(1, 19):
        story.told(an_anomaly(f"12:{minute:02}", anomaly_id=f"a-{minute}"))
    story.told(an_anomaly("12:20", impact=60.0, anomaly_id="grows"))
    story.told(an_anomaly("12:21", anomaly_id="another"))
    story.told(an_anomaly("12:22", anomaly_id="a third"))
    story.set_stage("calm", now="12:30")

    story.told(an_anomaly("12:40", impact=60.0, anomaly_id="grows"))

    assert story.stage == "calm"
    assert len(story.state.alarms["anomaly:soft"].impacts) == 20


HERE, THERE = (f"arn:aws:cloudwatch:{region}:1:alarm:soft" for region in ("eu-west-1", "us-east-1"))


def test_two_alarms_of_one_name_are_two_alarms() -> None:
    story = Story()
    story.told(word("soft", when="12:00", names=[HERE], arn=HERE))
    story.told(word("soft", when="12:05", names=[THERE], arn=THERE))
    story.told(word("soft", "OK", when="12:10", names=[HERE], arn=HERE))
    after_one = story.stage
    story.told(word("soft", "OK", when="12:20", names=[THERE], arn=THERE))

    assert (after_one, story.stage) == ("cancel", "calm")


def test_the_ok_of_another_alarm_of_that_name_releases_nothing() -> None:
    story = Story()
    story.told(word("soft", when="12:00", names=[HERE], arn=HERE))

    story.told(word("soft", "OK", when="12:10", names=[THERE], arn=THERE))

    assert story.stage == "cancel"


BY_NAME_AND_ARN = a_rule(stage=[a_stage(), a_stage("terminate", alarms=[THERE])])


def test_an_alarm_raises_the_hardest_stage_that_names_it_by_its_name_or_its_arn() -> None:
    story = Story(rule=BY_NAME_AND_ARN)
    story.told(word("soft", when="12:00", names=[HERE], arn=HERE))
    by_name = story.stage

    story.told(word("soft", when="12:05", names=[THERE], arn=THERE))

    assert (by_name, story.stage) == ("cancel", "terminate")
    assert len(story.runs) == 2


def test_an_alarm_that_two_stages_name_is_over_with_its_ok() -> None:
    story = Story(rule=BY_NAME_AND_ARN)
    story.told(word("soft", when="12:00", names=[THERE], arn=THERE))
    raised = story.stage

    story.told(word("soft", "OK", when="12:10", names=[THERE], arn=THERE))

    assert (raised, story.stage) == ("terminate", "calm")


def test_an_alarm_of_another_region_does_not_raise_the_stage_that_an_arn_names() -> None:
    rule = a_rule(stage=[a_stage(alarms=[HERE]), a_stage("terminate", alarms=[THERE])])
    story = Story(rule=rule)

    story.told(word("soft", when="12:00", names=[HERE], arn=HERE))

    assert story.stage == "cancel"


BY_MONITOR = a_rule(
    stage=[a_stage(alarms=["mon"]), a_stage("terminate", alarms=["sub"], after_previous=None)]
)


def an_alert(when: str, *names: str, **changes: Any) -> Evidence:
    usual: dict[str, Any] = {"source": "anomaly", "anomaly_id": "a-1", "impact": 50.0}
    return word(names[0], when=when, names=names[1:], **usual | changes)


def test_an_anomaly_raises_the_hardest_stage_that_names_its_monitor_or_its_subscription() -> None:
    story = Story(rule=BY_MONITOR)

    story.told(an_alert("12:00", "mon", "sub"))

    assert story.stage == "terminate"


def test_an_anomaly_raises_a_harder_stage_that_only_its_second_route_names() -> None:
    story = Story(rule=BY_MONITOR)
    story.told(an_alert("12:00", "mon"))
    by_the_first = story.stage

    story.told(an_alert("12:01", "mon", "sub"))
    assert (by_the_first, story.stage) == ("cancel", "terminate")

    story.told(an_alert("12:02", "mon"))
    story.told(an_alert("12:03", "mon", "sub"))
    assert (story.stage, len(story.runs)) == ("terminate", 2)


def test_after_a_release_the_second_route_of_an_anomaly_raises_no_harder_stage() -> None:
    story = Story(rule=BY_MONITOR)
    story.told(an_alert("12:00", "mon"))
    story.set_stage("calm", now="12:30")

    story.told(an_alert("12:40", "mon", "sub"))

    assert story.stage == "calm"
    assert "known already" in story.why


@pytest.mark.parametrize("rule", [a_rule(stage=[a_stage(alarms=["other"])]), None])
def test_an_ok_counts_also_while_the_policy_does_not_name_the_alarm(rule: Guard | None) -> None:
    story = a_raised_story()
    named, story.rule = story.rule, rule
    story.told(word("soft", "OK", when="12:30"))
    story.rule = named

    story.sweep("15:00")

    assert story.stage == "cancel"
    assert story.state.alarms["cloudwatch:soft"].state == "OK"


def test_a_notice_tells_two_alarms_of_one_name_apart() -> None:
    story = Story()
    story.told(word("soft", when="12:00", names=[HERE], arn=HERE))
    story.told(word("soft", when="12:05", names=[THERE], arn=THERE))

    story.set_stage("calm", now="12:10")

    assert f"soft and soft ({THERE})" in story.notices[-1].text


def test_an_alarm_that_an_older_version_kept_without_its_arn_is_read_and_released() -> None:
    kept = {
        "guard": "monthly",
        "entry": {
            "run_id": "monthly:cancel:2026-01-01T12:00:00Z",
            "stage": "cancel",
            "since": "2026-01-01T12:00:00Z",
            "mode": "enforce",
            "why": "so",
        },
        "alarms": {"cloudwatch:soft": {"state": "ALARM", "at": "2026-01-01T12:00:00Z"}},
    }
    story = Story(state=TypeAdapter(GuardState).validate_python(kept))

    story.told(word("soft", "OK", when="12:10", names=[HERE], arn=HERE))

    assert story.stage == "calm"


def test_an_alarm_that_was_first_heard_of_without_its_arn_is_released_by_its_ok() -> None:
    story = Story()
    arn = "arn:aws:cloudwatch:us-east-1:1:alarm:soft"
    story.told(word("soft", when="12:00"))

    story.told(word("soft", "OK", when="12:10", names=[arn], arn=arn))

    assert story.stage == "calm"


@pytest.mark.parametrize(
    ("milder", "limit", "forecasted", "raises"),
    [
        ({"amount": 800}, a_limit(80.0), False, True),
        ({"amount": 801}, a_limit(80.0), False, False),
        ({"percent": 80, "forecast": True}, a_limit(80.0), True, True),
        ({"percent": 80, "forecast": True}, a_limit(80.0), False, False),
        ({"percent": 80}, a_limit(80.0), True, False),
        ({"percent": 80}, a_limit(80.0, is_cost=False), False, True),
        ({"percent": 80}, a_limit(80.0, below=True), False, False),
        ({"percent": 80}, a_limit(80.0, is_cost=False, is_ratio=True, below=True), False, True),
        ({"percent": 80}, a_limit(60.0, is_cost=False, is_ratio=True, below=True), False, False),
        ({"percent": 80}, a_limit(100.0), False, False),
        ({"percent": 80}, a_limit(90.0, is_cost=False, is_ratio=True, below=True), False, False),
        ({"percent": 80}, a_limit(None), False, False),
    ],
)
def test_a_stage_names_a_threshold(
    milder: dict[str, Any],
    limit: BudgetLimit,
    forecasted: bool,  # noqa: FBT001
    raises: bool,  # noqa: FBT001
) -> None:
    story = Story(rule=by_thresholds(**milder))

    story.told(word("money", source="budget", limit=limit, forecasted=forecasted))

    assert (story.stage == "cancel") is raises
    assert bool(story.to_announce) is not raises


def test_a_message_that_changes_nothing_is_to_be_told_and_its_repeat_is_not() -> None:
    story = Story(rule=BY_NAME)
    story.told(a_message())

    story.told(a_message(), now="12:05")
    assert not story.to_announce

    story.told(a_message(120.0, "13:00"))
    assert "at cancel already" in story.to_announce


def test_a_budgets_message_is_over_with_its_period() -> None:
    story = Story(rule=a_rule(stage=[a_stage(alarms=["soft", "money"])]))
    story.told(a_message(period="day"))
    story.told(word("soft", when="12:10"))

    story.told(word("soft", "OK", when="13:00"))
    assert story.stage == "cancel"

    midnight = at("12:00") + timedelta(hours=12)
    story.happens(TimePassed(now=midnight - timedelta(minutes=1)))
    assert story.stage == "cancel"

    story.happens(TimePassed(now=midnight))
    assert story.stage == "calm"
    assert "the period of budget money has ended" in story.notices[-1].text
    assert story.queues_set == []


def test_with_manual_release_no_period_releases() -> None:
    story = Story(rule=a_rule(release="manual", stage=[a_stage(alarms=["money"])]))
    story.told(a_message(period="day"))

    story.happens(TimePassed(now=at("12:00") + timedelta(days=3)))

    assert story.stage == "cancel"


def test_what_an_operator_raised_no_period_releases() -> None:
    story = Story(rule=BY_NAME)
    story.set_stage("cancel", now="11:00")
    story.told(a_message(period="day"))

    story.happens(TimePassed(now=at("12:00") + timedelta(days=3)))

    assert story.stage == "cancel"


def test_when_its_period_is_over_a_message_does_not_make_a_stage_harder() -> None:
    rule = a_rule(
        release="manual",
        stage=[a_stage(alarms=["money"]), a_stage("terminate", after_previous="15h")],
    )
    story = Story(rule=rule)
    story.told(a_message(period="day"))

    story.happens(TimePassed(now=at("12:00") + timedelta(days=1)))

    assert story.stage == "cancel"


@pytest.mark.parametrize("source", ["budget", "anomaly"])
def test_a_message_of_a_period_that_is_over_raises_nothing_and_is_to_be_told(
    source: Source,
) -> None:
    story = Story()

    story.happens(
        AlarmReceived(now=at("12:00") + timedelta(days=60), evidence=word("soft", source=source))
    )

    assert story.stage == "calm"
    assert "was over at" in story.to_announce


def test_a_message_of_a_period_that_is_over_releases_nothing() -> None:
    both, without_soft = (
        a_rule(stage=[a_stage(alarms=names)]) for names in (["soft", "money"], ["money"])
    )
    story, later = Story(rule=both), at("12:00") + timedelta(days=60)
    story.happens(AlarmReceived(now=later, evidence=replace(word("soft"), at=later)))

    story.happens(AlarmReceived(now=later, evidence=a_message()))
    story.rule = without_soft
    story.happens(TimePassed(now=later + timedelta(minutes=1)))

    assert story.stage == "cancel"


def test_an_old_message_that_was_kept_without_its_end_is_over_after_a_month() -> None:
    rule = BY_NAME
    old = GuardState(
        guard="m", alarms={"budget:money": LatestSignal(state="ALARM", at=at("12:00"))}
    )

    assert in_alarm(old, rule, at("12:00") + timedelta(days=30))
    assert not in_alarm(old, rule, at("12:00") + timedelta(days=31))


# ---- Being released -----------------------------------------------------------------------


def test_the_ok_releases_the_guard_and_reopens_what_it_closed() -> None:
    story = a_raised_story()

    story.told(word("soft", "OK", when="12:30"))

    assert story.stage == "calm"
    assert story.state.closed == ()
    assert story.queues_set == [(GPU, "DISABLED"), (GPU, "ENABLED")]
    assert story.kinds == ["guard-raised", "guard-released"]


def test_the_guard_is_released_when_all_its_alarms_are_ok_and_not_sooner() -> None:
    story = a_raised_story()
    story.told(word("hard", when="12:30"))

    story.told(word("hard", "OK", when="13:00"))
    assert story.stage == "terminate"

    story.told(word("soft", "OK", when="13:10"))
    assert story.stage == "calm"


def test_an_ok_of_an_alarm_that_never_rang_releases_nothing() -> None:
    story = Story()
    story.told(word("soft", source="budget"))

    story.told(word("hard", "OK", when="12:30"))

    assert story.stage == "cancel"


def test_an_ok_that_is_no_relief_releases_nothing_whatever_the_policy_has_become() -> None:
    story = a_raised_story(rule=a_rule(release="manual"))
    story.told(word("soft", "OK", when="12:30"))
    story.rule = a_rule(release="auto")

    story.told(word("hard", "OK", when="12:40"))

    assert story.stage == "cancel"


def test_what_a_budget_raised_no_ok_releases() -> None:
    story = a_raised_story()
    story.told(word("hard", source="budget", when="12:30"))

    story.told(word("soft", "OK", when="13:00"))

    assert story.stage == "terminate"
    assert story.queues_set == [(GPU, "DISABLED")]


def test_what_an_anomaly_raised_an_operator_releases() -> None:
    story = Story()
    story.told(word("soft", source="anomaly"))

    story.set_stage("calm")

    assert story.stage == "calm"


def test_with_manual_release_no_ok_releases() -> None:
    story = a_raised_story(rule=a_rule(release="manual"))

    story.told(word("soft", "OK", when="12:30"))
    assert story.stage == "cancel"

    story.set_stage("calm")
    assert story.stage == "calm"
    assert story.queues_set[-1] == (GPU, "ENABLED")


def test_what_an_operator_raised_no_alarm_releases() -> None:
    story = Story()
    story.set_stage("cancel", now="11:00")
    story.told(word("soft"))

    story.told(word("soft", "OK", when="12:30"))

    assert story.stage == "cancel"


def a_story_that_an_operator_raised(**changes: Any) -> Story:
    """Jane has set `cancel` at 11, with nothing ringing; the hard alarm has rung at noon."""
    story = Story(**changes)
    story.set_stage("cancel", now="11:00")
    story.told(word("hard"))
    assert (story.stage, story.entry.by) == ("terminate", "")
    return story


def test_what_an_alarm_made_harder_goes_back_to_what_an_operator_set() -> None:
    story = a_story_that_an_operator_raised()
    assert story.sweep("12:05").effects == ()
    story.told(word("soft", when="12:10"))

    story.told(word("hard", "OK", when="12:30"))
    assert story.stage == "terminate"  # The soft alarm rings, and makes nothing milder.

    story.told(word("soft", "OK", when="12:40"))
    assert (story.stage, story.entry.by, story.entry.since) == ("cancel", "jane", at("12:40"))
    assert why_not(story, "12:50") == ""
    assert len(set(story.runs)) == 3
    assert "jane had asked for cancel" in story.notices[-1].text
    assert "Only an operator releases it" in story.notices[-1].text

    story.told(word("hard", when="13:00"))
    story.told(word("hard", "OK", when="13:10"))
    assert (story.stage, story.entry.by) == ("cancel", "jane")
    assert story.sweep("16:00").effects == ()

    story.set_stage("calm", now="16:01")
    story.told(word("hard", when="17:00"))
    story.told(word("hard", "OK", when="17:10"))
    assert story.stage == "calm"


def test_what_an_operator_set_last_is_what_the_guard_goes_back_to() -> None:
    story = Story()
    story.set_stage("terminate", now="11:00")
    story.set_stage("cancel", now="11:10")
    story.told(word("hard"))

    story.told(word("hard", "OK", when="12:30"))

    assert (story.stage, story.entry.by) == ("cancel", "jane")


@pytest.mark.parametrize("relief", ["a period that is over", "another policy"])
def test_without_an_ok_too_a_guard_goes_back_to_what_an_operator_set(relief: str) -> None:
    story = a_story_that_an_operator_raised()
    if relief == "another policy":
        story.rule = RENAMED
    else:
        day_of_an_anomaly = LatestSignal(state="ALARM", at=at("12:00"), ends=at("12:30"))
        story.state = replace(story.state, alarms={"cloudwatch:hard": day_of_an_anomaly})

    story.sweep("12:30")

    assert (story.stage, story.entry.by) == ("cancel", "jane")


def test_a_guard_goes_back_to_no_stage_that_it_has_no_more_or_that_is_harder() -> None:
    harder = Story()
    harder.set_stage("terminate", now="11:00")
    harder.rule = ONLY_MILD
    harder.told(word("soft"))
    assert harder.stage == "cancel"
    harder.rule = a_rule()
    harder.told(word("soft", "OK", when="12:30"))
    assert harder.stage == "cancel"
    assert harder.sweep("12:31").effects == ()

    lost = a_story_that_an_operator_raised()
    lost.rule = a_rule(stage=[a_stage("terminate", after_previous=None)])
    lost.told(word("hard", "OK", when="12:30"))
    assert lost.stage == "terminate"
    assert why_not(lost, "12:31") != ""


def test_a_guard_that_acts_does_not_go_back_to_what_was_set_while_it_observed() -> None:
    story = a_story_that_an_operator_raised(mode="observe")
    story.mode = "enforce"
    story.sweep("12:10")
    assert (story.stage, story.entry.mode) == ("terminate", "enforce")

    story.told(word("hard", "OK", when="12:30"))

    assert story.stage == "terminate"
    assert why_not(story, "12:31") != ""


def test_an_operators_release_ends_what_the_operator_raised() -> None:
    story = Story()
    story.set_stage("cancel", now="11:00")
    story.set_stage("calm", now="11:10")
    story.told(word("soft"))

    story.told(word("soft", "OK", when="12:30"))

    assert story.stage == "calm"


def test_what_an_alarm_raised_its_ok_releases_though_an_operator_made_it_harder() -> None:
    story = a_raised_story()
    story.set_stage("terminate", now="12:10")

    story.told(word("soft", "OK", when="12:30"))

    assert story.stage == "calm"


def test_after_a_release_the_alarm_must_ring_anew() -> None:
    story = a_raised_story()
    story.set_stage("calm", now="12:10")

    story.told(word("soft", when="12:00"), now="12:20")
    story.sweep("12:20")
    assert story.stage == "calm"
    assert "soft" in story.notices[-1].text.split("Still in ALARM")[1]

    story.told(word("soft", when="12:30"))
    assert story.stage == "cancel"
    assert len(set(story.runs)) == 2


def test_a_release_ends_what_rang_before_it() -> None:
    story = a_raised_story()
    story.told(word("soft", source="budget", when="12:05"))
    story.set_stage("calm", now="12:10")

    story.told(word("hard", when="12:09"), now="12:20")
    assert story.stage == "calm"
    assert "released the guard since" in story.why

    story.rule = a_rule(stage=[a_stage(alarms=["soft", "other"]), a_stage("terminate")])
    story.told(word("other", when="12:30"))
    assert story.stage == "cancel"

    story.told(word("other", "OK", when="12:40"))
    assert story.stage == "calm"


def test_an_alarm_that_is_late_after_a_release_by_an_ok_raises_its_guard() -> None:
    story = a_raised_story()
    story.told(word("soft", "OK", when="12:30"))

    story.told(word("hard", when="12:29"), now="12:31")

    assert story.stage == "terminate"


def test_two_entries_in_one_second_have_two_names() -> None:
    story = Story()
    story.told(word("soft"))
    story.set_stage("calm", now="12:00")
    story.set_stage("cancel", now="12:00")

    assert len(set(story.runs)) == 2


def test_an_alarm_that_the_policy_no_longer_names_does_not_hold_the_guard() -> None:
    story = a_raised_story()
    story.told(word("hard", when="12:10"))
    story.rule = a_rule(stage=[a_stage(), a_stage("terminate", alarms=["other"])])

    story.told(word("soft", "OK", when="12:30"))

    assert story.stage == "calm"


def test_a_guard_that_the_policy_has_lost_can_be_released() -> None:
    story = a_raised_story()
    story.rule = None

    story.told(word("soft", "OK", when="12:30"))
    story.sweep("15:00")
    story.set_stage("terminate", now="15:00")
    assert story.stage == "cancel"
    assert story.queues_set == [(GPU, "DISABLED")]

    story.set_stage("calm", now="15:01")
    assert story.stage == "calm"
    assert story.queues_set[-1] == (GPU, "ENABLED")


def test_queues_of_a_guard_that_the_policy_has_lost_are_all_reopened_in_whatever_mode() -> None:
    story = a_raised_story()
    story.state = replace(story.state, closed=tuple(f"queue-{n}" for n in range(80)))
    story.rule, story.mode = None, "observe"

    story.set_stage("calm", now="15:00")
    story.sweep("15:01")

    assert len([queue for queue, state in story.queues_set if state == "ENABLED"]) == 80
    assert not story.state.closed
    assert not story.state.reopens


def test_a_guard_that_the_policy_has_lost_reopens_what_others_held() -> None:
    story = a_raised_story(held=frozenset({GPU}))
    story.set_stage("calm")
    story.rule, story.held = None, frozenset()

    story.sweep("13:01")

    assert story.queues_set[-1] == (GPU, "ENABLED")


def test_the_release_of_a_calm_guard_that_the_policy_has_lost_reopens_what_it_left_closed() -> None:
    story = a_raised_story(held=frozenset({GPU}))
    story.set_stage("calm")
    story.rule, story.mode = None, "observe"

    story.set_stage("calm", now="13:01")
    assert story.state.reopens  # The other guard holds it still.
    story.held = frozenset()
    story.sweep("13:02")
    assert story.queues_set[-1] == (GPU, "ENABLED")

    story.set_stage("calm", now="13:03")
    assert not story.state.reopens


# ---- Operators ----------------------------------------------------------------------------


def test_an_operator_may_go_back_to_a_milder_stage() -> None:
    story = Story()
    story.told(word("hard"))
    story.told(word("soft", when="12:10"))

    story.set_stage("cancel", now="12:30")

    assert story.stage == "cancel"
    assert story.entry.by == "jane"
    assert not is_current(story.state, story.runs[0])


def test_a_stage_that_an_operator_set_does_not_become_harder_by_time_whatever_rings() -> None:
    story = Story()
    story.told(word("hard"))
    story.set_stage("cancel", now="12:30")

    story.told(word("soft", when="12:40"))
    story.sweep("23:00")
    assert story.stage == "cancel"
    assert "goes on to terminate at 20" not in story.notices[-1].text

    story.told(word("hard", when="23:10"))
    assert story.stage == "terminate"


@pytest.mark.parametrize("stage", ["calm", "cancel", "terminate"])
def test_the_same_command_twice_is_one(stage: StageName) -> None:
    story = a_raised_story()
    story.set_stage(stage)
    once = story.state

    assert story.set_stage(stage, now="13:01").effects == ()
    assert story.state == once


def test_a_stage_that_the_guard_does_not_have_cannot_be_set() -> None:
    story = Story(rule=a_rule(stage=[a_stage()]))

    decision = story.set_stage("terminate")

    assert story.stage == "calm"
    assert "no stage terminate" in decision.why


# ---- Queues -------------------------------------------------------------------------------


def test_a_queue_is_closed_once() -> None:
    story = a_raised_story()

    assert story.finds_open(GPU, CPU).effects == (
        SetQueueState(queue=CPU, state="DISABLED", guard="monthly"),
    )
    assert story.state.closed == (GPU, CPU)


def test_queues_out_of_scope_are_not_closed() -> None:
    story = Story(rule=a_rule(match={"queue": "gpu*"}))
    story.told(word("soft"))

    story.finds_open(GPU, CPU)

    assert story.state.closed == (GPU,)


def test_a_stage_that_closes_no_queues_closes_none() -> None:
    story = Story(rule=a_rule(stage=[a_stage(close_queues=False)]))
    story.told(word("soft"))

    assert story.finds_open(GPU).effects == ()


def test_a_hard_stage_closes_what_the_mild_one_would_have_closed() -> None:
    story = Story()
    story.told(word("hard"))

    story.finds_open(GPU)

    assert story.queues_set == [(GPU, "DISABLED")]


@pytest.mark.parametrize("stage", ["calm", "terminate"])
def test_a_run_that_was_overtaken_closes_nothing(stage: StageName) -> None:
    story = a_raised_story()
    run_id = story.entry.run_id
    story.set_stage(stage)

    late = story.happens(QueuesFoundOpen(now=at("13:05"), run_id=run_id, queues=[CPU]))

    assert late.effects == ()
    assert CPU not in story.state.closed


def test_a_queue_that_another_guard_holds_stays_closed_until_that_one_lets_go() -> None:
    story = a_raised_story()
    story.finds_open(CPU)
    story.held = frozenset({GPU})

    story.told(word("soft", "OK", when="12:30"))
    assert story.stage == "calm"
    assert story.queues_set[2:] == [(CPU, "ENABLED")]
    assert story.notices[-1].facts["queues_still_closed"] == ["gpu"]

    assert story.sweep("12:31").effects == ()
    story.held = frozenset()
    story.sweep("12:32")
    assert story.queues_set[-1] == (GPU, "ENABLED")
    assert story.state.closed == ()


def queues_told(notice: Notice) -> tuple[list[str], list[str]]:
    """The queues that are told as reopened, and as still closed."""
    return notice.facts["queues_reopened"], notice.facts["queues_still_closed"]


def test_under_a_hold_a_release_tells_that_queues_are_reopened_with_the_resume() -> None:
    story = a_raised_story(operator_holds=((at("12:10"), at("12:30")),))

    story.told(word("soft", "OK", when="12:30"))

    notice = story.notices[-1]
    assert story.queues_set[-1] == (GPU, "ENABLED")  # It waits for the resume where it is made.
    assert queues_told(notice) == ([], ["gpu"])
    assert "Still closed: gpu (an operator holds the watchdog" in notice.text
    assert "Reopened" not in notice.text


@pytest.mark.parametrize("held", [frozenset(), frozenset({GPU})], ids=["alone", "another guard"])
def test_a_queue_that_was_never_closed_is_told_neither_as_reopened_nor_as_closed(
    held: frozenset[str],
) -> None:
    story = a_raised_story(never_closed=frozenset({GPU}), held=held)
    story.finds_open(CPU)

    story.told(word("soft", "OK", when="12:30"))

    notice = story.notices[-1]
    assert queues_told(notice) == (["cpu"], [])
    assert "Reopened: cpu." in notice.text
    assert "Never closed, though it was decided: gpu (" in notice.text
    assert "Still closed" not in notice.text


def test_many_queues_are_reopened_in_portions_that_fit_into_a_write() -> None:
    story = a_raised_story()
    story.state = replace(story.state, closed=tuple(f"queue-{n}" for n in range(120)))

    sizes = [len(story.set_stage("calm").effects)]
    sizes += [len(story.sweep(clock).effects) for clock in ("13:01", "13:02", "13:03")]

    assert sizes == [51, 50, 20, 0]
    assert story.state.closed == ()


def test_an_overtaken_setting_of_a_queue_is_not_wanted_any_more() -> None:
    closing = SetQueueState(queue=GPU, state="DISABLED", guard="monthly")
    opening = SetQueueState(queue=GPU, state="ENABLED", guard="monthly")
    story = a_raised_story()

    assert is_still_wanted(closing, [story.state])
    assert not is_still_wanted(opening, [story.state])

    story.set_stage("calm")
    assert not is_still_wanted(closing, [story.state])
    assert is_still_wanted(opening, [story.state])


# ---- Observing ----------------------------------------------------------------------------


def test_in_observe_mode_stages_are_entered_and_no_queue_is_touched() -> None:
    story = a_raised_story(mode="observe")
    story.sweep("14:00")
    story.told(word("soft", "OK", when="15:00"))

    assert story.kinds == ["guard-raised", "guard-raised", "guard-released"]
    assert story.queues_set == []
    assert [notice.facts["mode"] for notice in story.notices] == ["observe"] * 3
    assert "would cancel" in story.notices[0].subject
    assert "What would be done" in story.notices[0].text
    assert "would be cancelled" in story.notices[0].text


def test_an_alarm_that_still_rings_is_meant_once_the_guard_is_to_act() -> None:
    story = a_raised_story(mode="observe")
    story.sweep("14:00")
    assert story.stage == "terminate"
    story.mode = "enforce"

    story.sweep("14:10")
    story.sweep("14:11")

    assert (story.stage, story.entry.mode) == ("cancel", "enforce")
    assert len(story.runs) == 3


def test_the_hardest_stage_whose_alarm_still_rings_is_meant() -> None:
    story = a_raised_story(mode="observe")
    story.told(word("hard", when="12:10"))
    story.mode = "enforce"

    story.sweep("12:20")

    assert (story.stage, story.entry.mode) == ("terminate", "enforce")


def test_an_old_budgets_message_is_not_meant_once_the_guard_is_to_act() -> None:
    story = Story(mode="observe")
    story.told(word("soft", source="budget"))
    story.mode = "enforce"

    story.sweep("14:10")
    assert [notice.facts["mode"] for notice in story.notices] == ["observe"]
    assert in_force(story.state, "enforce") == "calm"

    story.told(word("soft", source="budget", when="15:00"))
    assert story.entry.mode == "enforce"


def test_a_command_takes_effect_where_the_stage_was_only_observed() -> None:
    story = a_raised_story(mode="observe")
    story.mode = "enforce"

    story.set_stage("cancel")

    assert story.entry.mode == "enforce"


def test_what_was_closed_stays_closed_while_the_guard_observes() -> None:
    story = a_raised_story()
    story.mode = "observe"
    story.set_stage("calm")
    assert story.state.closed == (GPU,)

    story.mode = "enforce"
    story.sweep("14:00")
    assert story.queues_set[-1] == (GPU, "ENABLED")


# ---- Whether a stage is still meant --------------------------------------------------------

ONLY_MILD = a_rule(stage=[a_stage()])
RENAMED = a_rule(stage=[a_stage(), a_stage("terminate", alarms=["other"], after_previous=None)])


def a_story_at_terminate(*, soft: bool = False, **changes: Any) -> Story:
    """The hard alarm has rung at noon, perhaps after the soft one."""
    story = Story(**changes)
    if soft:
        story.told(word("soft", when="11:50"))
    story.told(word("hard", when="12:00"))
    return story


def why_not(story: Story, now: str = "12:30") -> str:
    assert story.rule
    return why_not_meant(story.state, story.rule, at(now))


def test_a_stage_is_meant_while_its_alarm_rings() -> None:
    assert "calm" in why_not(Story())
    assert why_not(a_raised_story()) == ""
    assert why_not(a_story_at_terminate()) == ""


def test_a_stage_that_a_milder_alarm_keeps_on_is_meant() -> None:
    story = a_story_at_terminate(soft=True)
    story.told(word("hard", "OK", when="12:20"))

    assert story.stage == "terminate"
    assert why_not(story) == ""


@pytest.mark.parametrize("soft", [False, True])
def test_a_stage_that_the_policy_has_no_more_is_not_meant(soft: bool) -> None:  # noqa: FBT001
    story = a_story_at_terminate(soft=soft)
    story.rule = ONLY_MILD

    assert "no stage terminate" in why_not(story)


def test_an_operator_may_ask_for_the_stage_that_is_on_where_nothing_else_does() -> None:
    story = a_story_at_terminate(soft=False)
    story.rule = RENAMED
    assert why_not(story)

    story.set_stage("terminate", now="12:30")

    assert (story.stage, story.entry.by) == ("terminate", "jane")
    assert why_not(story) == ""


@pytest.mark.parametrize("soft", [False, True])
def test_a_stage_is_not_meant_when_the_policy_no_longer_names_its_alarm(soft: bool) -> None:  # noqa: FBT001
    story = a_story_at_terminate(soft=soft)
    story.rule = RENAMED

    assert why_not(story)


def test_another_alarm_of_the_stage_that_rings_keeps_it_meant() -> None:
    both = a_stage("terminate", alarms=["hard", "other"])
    story = a_story_at_terminate(rule=a_rule(stage=[a_stage(), both]))
    story.told(word("other", when="12:10"))
    story.rule = RENAMED

    assert why_not(story) == ""


def test_an_alarm_that_the_policy_takes_for_harder_by_now_is_a_reason() -> None:
    story = a_raised_story()
    stages = [a_stage(alarms=["other"]), a_stage("terminate", alarms=["soft"])]
    story.rule = a_rule(stage=stages)

    assert why_not(story) == ""


def test_a_stage_by_time_is_meant_while_the_policy_has_the_time() -> None:
    story = a_raised_story()
    story.sweep("14:00")
    assert story.stage == "terminate"
    assert why_not(story, "14:10") == ""

    story.rule = RENAMED
    assert why_not(story, "14:10")


def test_a_stage_is_not_meant_when_the_period_of_what_rang_is_over() -> None:
    rule = a_rule(stage=[a_stage(alarms=["money"])])
    story = Story(rule=rule)
    story.told(a_message(period="day"))
    midnight = at("12:00") + timedelta(hours=12)

    assert why_not_meant(story.state, rule, midnight - timedelta(seconds=1)) == ""
    assert "no signal that the policy names" in why_not_meant(story.state, rule, midnight)


@pytest.mark.parametrize("changes", [{}, {"release": "manual"}])
def test_what_an_operator_set_is_meant_while_the_policy_has_the_stage(
    changes: dict[str, str],
) -> None:
    story = Story(rule=a_rule(**changes))
    story.set_stage("terminate", now="12:00")
    assert why_not(story) == ""

    story.rule = a_rule(stage=[a_stage(), a_stage("terminate", alarms=["other"])], **changes)
    assert why_not(story) == ""

    story.rule = a_rule(stage=[a_stage()], **changes)
    assert "no stage terminate" in why_not(story)


def test_with_manual_release_a_stage_is_meant_whatever_rings() -> None:
    story = a_story_at_terminate(rule=a_rule(release="manual"))
    story.told(word("hard", "OK", when="12:10"))
    assert why_not(story) == ""

    story.rule = a_rule(release="manual", stage=[a_stage()])
    assert "no stage terminate" in why_not(story)


def test_an_entry_that_an_older_version_kept_is_meant_while_anything_rings() -> None:
    story = a_story_at_terminate(soft=True)
    story.state = replace(story.state, entry=replace(story.entry, signal=""))
    story.rule = RENAMED
    assert why_not(story) == ""

    story.told(word("soft", "OK", when="12:10"))
    assert story.stage == "calm"


def test_a_stage_that_is_not_meant_does_not_become_harder_and_closes_nothing() -> None:
    story = a_raised_story()
    story.rule = a_rule(stage=[a_stage("terminate", alarms=["soft"], after_previous=None)])
    assert "no stage cancel" in why_not(story)

    assert story.sweep("23:00").effects == ()

    story = a_story_at_terminate()
    story.rule = RENAMED
    assert story.finds_open(CPU, now="12:40").effects == ()


def test_the_next_alarm_raises_a_guard_whose_stage_is_not_meant() -> None:
    story = a_story_at_terminate()
    story.rule = RENAMED

    story.told(word("other", when="12:30"))

    assert (story.stage, len(story.runs)) == ("terminate", 2)
    assert why_not(story) == ""


def test_where_no_alarm_asks_for_the_stage_a_milder_one_enters_its_own() -> None:
    story = a_story_at_terminate()
    story.rule = ONLY_MILD

    story.told(word("soft", when="12:30"))

    assert story.stage == "cancel"


def test_a_command_takes_effect_where_the_stage_is_not_meant() -> None:
    story = a_story_at_terminate()
    story.rule = RENAMED

    story.set_stage("terminate", now="12:30")
    assert story.entry.by == "jane"

    story.rule = ONLY_MILD
    story.set_stage("calm", now="12:40")
    assert story.stage == "calm"


# ---- Several guards, one queue ------------------------------------------------------------


def a_policy(*rules: Guard) -> Policy:
    return Policy(mode="enforce", guard=rules)


def at_stage(rule: Guard, alarm: str, mode: Mode = "enforce") -> GuardState:
    """The state of a guard whose alarm has rung at noon, and which closed the gpu queue."""
    story = Story(rule=rule, mode=mode, state=GuardState(guard=rule.name))
    story.told(word(alarm))
    story.finds_open(GPU)
    return story.state


MILD, HARSH = a_rule(name="mild"), a_rule(name="harsh")


def test_the_harder_stage_wins() -> None:
    states = {"mild": at_stage(MILD, "soft"), "harsh": at_stage(HARSH, "hard")}

    hold = stopping(states, a_policy(MILD, HARSH), AJob(), "RUNNABLE", at("12:30"))

    assert hold == GuardEffect(
        guard="harsh",
        action="terminate",
        mode="enforce",
        run_id="harsh:terminate:2026-01-01T12:00:00Z",
    )


def test_a_guard_that_observes_does_not_hide_one_that_acts() -> None:
    states = {"mild": at_stage(MILD, "soft"), "harsh": at_stage(HARSH, "hard", "observe")}

    hold = stopping(states, a_policy(MILD, HARSH), AJob(), "RUNNABLE", at("12:30"))

    assert hold is not None
    assert (hold.guard, hold.mode) == ("mild", "enforce")


def test_calm_guards_and_guards_of_other_queues_hold_nothing() -> None:
    elsewhere = a_rule(name="elsewhere", match={"queue": "cpu"})
    states = {"elsewhere": at_stage(elsewhere, "hard"), "mild": GuardState(guard="mild")}

    assert (
        stopping(states, a_policy(elsewhere, MILD, HARSH), AJob(), "RUNNABLE", at("12:30")) is None
    )


def test_a_stage_that_is_not_meant_holds_nothing() -> None:
    states = {"mild": at_stage(MILD, "soft"), "harsh": at_stage(HARSH, "hard")}
    milder = a_rule(name="harsh", stage=[a_stage()])
    policy, now = a_policy(MILD, milder), at("12:30")

    hold = stopping(states, policy, AJob(), "RUNNABLE", now)
    assert hold
    assert hold.guard == "mild"
    assert stopping(states, policy, AJob(), "RUNNING", now) is None
    assert held_by_others("mild", states, policy, now) == set()
    assert held_by_others("mild", states, a_policy(MILD, HARSH), now) == {GPU}

    closing = SetQueueState(queue=GPU, state="DISABLED", guard="harsh")
    alone = {"harsh": states["harsh"]}
    assert judge_queue(closing, alone, a_policy(HARSH), now)[0] == "do"
    assert judge_queue(closing, alone, a_policy(milder), now)[0] == "drop"


def test_a_guard_that_the_policy_has_lost_holds_what_it_has_closed_until_it_is_released() -> None:
    states = {"mild": at_stage(MILD, "soft"), "harsh": at_stage(HARSH, "hard")}
    states["harsh"] = replace(states["harsh"], closed=(GPU,))
    calm = states | {"harsh": replace(states["harsh"], entry=None, reopens=True)}
    policy, now = a_policy(MILD), at("12:30")

    assert held_by_others("mild", states, policy, now) == {GPU}
    assert held_by_others("mild", calm, policy, now) == set()


def test_a_queue_is_held_by_every_other_guard_that_is_raised_and_closes_queues() -> None:
    states = {"mild": at_stage(MILD, "soft"), "harsh": at_stage(HARSH, "hard")}
    calm = states | {"harsh": GuardState(guard="harsh")}
    observing = states | {"harsh": at_stage(HARSH, "hard", "observe")}
    open_handed = a_rule(name="harsh", stage=[a_stage(close_queues=False)])

    now = at("12:30")

    assert held_by_others("mild", states, a_policy(MILD, HARSH), now) == {GPU}
    assert held_by_others("mild", calm, a_policy(MILD, HARSH), now) == set()
    assert held_by_others("mild", observing, a_policy(MILD, HARSH), now) == set()
    assert held_by_others("mild", states, a_policy(MILD, open_handed), now) == set()


@pytest.mark.parametrize(
    ("status", "at_cancel", "at_terminate"),
    [
        ("SUBMITTED", True, True),
        ("PENDING", True, True),
        ("RUNNABLE", True, True),
        ("SCHEDULED", True, True),
        ("STARTING", False, True),
        ("RUNNING", False, True),
        ("SUCCEEDED", False, False),
        ("FAILED", False, False),
        ("SOMETHING_NEW", False, False),
    ],
)
def test_a_stage_stops_what_it_must(status: str, at_cancel: bool, at_terminate: bool) -> None:  # noqa: FBT001
    assert must_stop(status, "cancel") is at_cancel
    assert must_stop(status, "terminate") is at_terminate


def test_a_job_is_stopped_for_the_hardest_guard_that_does_not_spare_it() -> None:
    harsh = a_rule(name="harsh", spare={"tags": {"team": "imaging"}})
    policy = a_policy(MILD, harsh)
    states = {"mild": at_stage(MILD, "soft"), "harsh": at_stage(harsh, "hard")}

    def guard_for(status: str, **tags: str) -> str | None:
        hold = stopping(states, policy, AJob(tags=tags), status, at("12:30"))
        return hold.guard if hold else None

    assert guard_for("RUNNING") == "harsh"
    assert guard_for("RUNNABLE", team="imaging") == "mild"
    assert guard_for("RUNNING", team="imaging") is None
    assert guard_for("RUNNABLE", team="imaging", critical="true") is None


def test_a_stop_that_a_guard_asked_for_is_meant_as_long_as_nothing_has_changed() -> None:
    state = at_stage(MILD, "soft")
    assert state.entry
    run_id, job, spared = state.entry.run_id, AJob(), AJob(tags={"critical": "true"})
    policy, states = a_policy(MILD), {"mild": state}
    observing = a_policy(a_rule(name="mild", mode="observe"))
    elsewhere = a_policy(a_rule(name="mild", match={"queue": "cpu"}))
    renamed = a_rule(name="mild", stage=[a_stage(alarms=["other"])])
    harder = a_rule(name="mild", stage=[a_stage("terminate", after_previous=None)])

    def why(**changes: Any) -> str:
        usual: dict[str, Any] = {
            "states": states,
            "policy": policy,
            "guard": "mild",
            "run_id": run_id,
            "job": job,
            "status": "RUNNABLE",
            "now": at("12:30"),
        }
        return may_still_stop(**usual | changes)

    assert why() == ""
    assert "left the stage" in why(run_id="another")
    assert "left the stage" in why(states={})
    assert "lost the guard" in why(policy=a_policy(HARSH))
    assert "observes" in why(policy=observing)
    assert "no signal that the policy names" in why(policy=a_policy(renamed))
    assert "no stage cancel" in why(policy=a_policy(harder))
    assert "scope" in why(policy=elsewhere)
    assert "spares" in why(job=spared)
    assert "started" in why(status="RUNNING")
    assert "SUCCEEDED" in why(status="SUCCEEDED")


def test_tags_are_asked_for_where_they_decide() -> None:
    policy = a_policy(MILD)

    assert asks_for_tags({"mild": at_stage(MILD, "soft")}, policy, AJob())
    assert not asks_for_tags({"mild": GuardState(guard="mild")}, policy, AJob())
    assert not asks_for_tags(
        {"mild": at_stage(MILD, "soft")}, a_policy(a_rule(name="mild", spare=None)), AJob()
    )


def test_a_word_concerns_the_guards_that_name_its_alarm() -> None:
    other = a_rule(name="other", stage=[a_stage(alarms=["other"])])

    assert concerned(a_policy(MILD, other), word("soft")) == (MILD,)
    assert concerned(a_policy(MILD, other), word("unknown")) == ()


# ---- Whatever the order -------------------------------------------------------------------

LIFE: list[tuple[str, AlarmState, Source]] = [
    ("soft", "ALARM", "cloudwatch"),
    ("soft", "OK", "cloudwatch"),
    ("hard", "ALARM", "cloudwatch"),
    ("soft", "INSUFFICIENT_DATA", "cloudwatch"),
    ("soft", "ALARM", "cloudwatch"),
    ("hard", "OK", "cloudwatch"),
    ("soft", "OK", "cloudwatch"),
    ("soft", "ALARM", "budget"),
    ("soft", "ALARM", "anomaly"),
]
WORDS = [
    word(alarm, state, f"12:{minute:02}", source=source)
    for minute, (alarm, state, source) in enumerate(LIFE)
]

words_in_any_order = st.lists(st.sampled_from(WORDS), unique=True).flatmap(
    lambda words: st.lists(st.sampled_from(words) if words else st.nothing()).flatmap(
        lambda repeated: st.permutations(words + repeated)
    )
)


@given(words_in_any_order)
def test_whatever_the_order_and_the_repeats_the_same_is_known_of_the_alarms(
    words: list[Evidence],
) -> None:
    story, in_order = Story(), Story()

    for minute, each in enumerate(words):
        story.happens(AlarmReceived(now=at("13:00") + timedelta(minutes=minute), evidence=each))
    for each in sorted(words, key=lambda each: each.at):
        in_order.told(each)

    assert story.rule
    assert story.state.alarms == in_order.state.alarms
    assert (story.stage == "calm") == (in_order.stage == "calm")
    assert (story.stage == "calm") == (not in_alarm(story.state, story.rule, at("15:00")))
    alarms = {each for each in words if each.state == "ALARM"}
    assert len(story.runs) == len(set(story.runs)) <= len(alarms)
    assert story.kinds.count("guard-released") <= story.kinds.count("guard-raised")


happenings = st.one_of(
    st.sampled_from(WORDS),
    st.sampled_from(["calm", "cancel", "terminate", "sweep", "enforce", "observe", "held", "free"]),
    st.sampled_from([GPU, CPU]),
)


@given(st.lists(happenings, max_size=30))
def test_whatever_happens_only_own_queues_are_reopened_and_none_while_observing(
    script: list[Any],
) -> None:
    story, closed = Story(), set[str]()

    for minute, each in enumerate(script):
        now = f"{13 + minute // 60}:{minute % 60:02}"
        match each:
            case Evidence():
                decision = story.told(each, now=now)
            case "calm" | "cancel" | "terminate":
                decision = story.set_stage(each, now=now)
            case "enforce" | "observe":
                story.mode = each
                continue
            case "held" | "free":
                story.held = frozenset({GPU} if each == "held" else ())
                continue
            case str() if each != "sweep" and story.state.entry:
                decision = story.finds_open(each, now=now)
            case _:
                decision = story.sweep(now)
        for effect in decision.effects:
            if isinstance(effect, SetQueueState):
                assert story.mode == "enforce"
                opened = effect.state == "ENABLED"
                assert (effect.queue in closed) is opened
                assert not (opened and (story.state.entry or effect.queue in story.held))
                (closed.remove if opened else closed.add)(effect.queue)
        assert set(story.state.closed) == closed
    assert len(story.runs) == len(set(story.runs))


# ---- How it is kept and told --------------------------------------------------------------


def test_a_state_survives_being_kept_as_json() -> None:
    story = a_raised_story()
    adapter = TypeAdapter(GuardState)

    kept = json.dumps(adapter.dump_python(story.state, mode="json"))

    assert adapter.validate_python(json.loads(kept)) == story.state


FACTS = {
    "guard",
    "stage",
    "action",
    "mode",
    "cancelled",
    "terminated",
    "left_running",
    "spared",
    "queues_closed",
    "queues_reopened",
}


def test_every_notice_of_a_guard_has_its_facts() -> None:
    story = a_raised_story()
    story.set_stage("terminate", now="12:20")
    report = run_notices.report(
        "monthly",
        story.entry,
        counts.Tally(cancelled=7, terminated=5, spared=1, failed={"no": 2}),
        at=at("12:25"),
        queues_closed=[GPU],
    )
    story.told(word("soft", "OK", when="12:30"))

    for notice in (*story.notices, report):
        assert notice.facts.keys() >= FACTS
        assert json.loads(json.dumps(notice.facts)) == notice.facts
        assert notice.facts["guard"] == "monthly"
    assert [notice.facts["stage"] for notice in story.notices] == ["cancel", "terminate", "calm"]
    assert story.notices[-1].facts["queues_reopened"] == ["gpu"]
    assert report.facts["queues_closed"] == ["gpu"]
    assert report.facts["found"] == 15
    assert "2 could not be stopped" in report.subject


def test_a_notice_says_why_and_what_comes_next() -> None:
    notice = a_raised_story().notices[0]

    assert notice.subject == "Guard monthly: cancelling waiting jobs ($424.20 of $400.00)"
    assert "alarm soft went into ALARM at 2026-01-01T12:00:00Z ($424.20, threshold" in notice.text
    assert "It says: Threshold crossed" in notice.text
    assert "Spared: match tags critical=true." in notice.text
    assert "terminate at 2026-01-01T14:00:00Z" in notice.text
    assert "released by itself with the OK of soft" in notice.text
    assert notice.facts["evidence"]["amount"] == "$424.20"


@pytest.mark.parametrize("source", ["budget", "anomaly", "cloudwatch"])
def test_a_notice_says_so_where_only_an_operator_releases(source: Source) -> None:
    story = Story(rule=a_rule(release="manual"))
    story.told(word("soft", source=source))

    assert "Only an operator releases it" in story.notices[0].text


@pytest.mark.parametrize(
    ("source", "end"), [("budget", "2026-02-01T00:00:00Z"), ("anomaly", "2026-01-02T00:00:00Z")]
)
def test_a_notice_says_when_a_period_that_releases_the_guard_is_over(
    source: Source, end: str
) -> None:
    story = Story()
    story.told(word("soft", source=source))

    text = story.notices[0].text
    assert "Only an operator releases it" not in text
    assert f"by itself with the end of the period of soft (at {end})" in text


def test_what_strangers_wrote_is_shown_harmless() -> None:
    name = "soft<script>\n\u202e" + "x" * 500
    story = Story(rule=a_rule(stage=[a_stage(alarms=["soft"])]))

    story.told(word(name, names=["soft"]))

    notice = story.notices[0]
    assert "<" not in notice.subject + notice.text
    assert "\u202e" not in notice.subject + notice.text
    assert notice.subject.isprintable()
    assert len(notice.subject) <= SUBJECT_MAX


# ---- What an alarm says while the policy does not name it ---------------------------------


@pytest.mark.parametrize("state", ["OK", "INSUFFICIENT_DATA"])
@pytest.mark.parametrize(
    "between", [None, a_rule(stage=[a_stage(alarms=["other"]), a_stage("terminate")])]
)
def test_an_alarm_that_rings_no_longer_does_not_harden_a_guard_that_names_it_again(
    state: AlarmState, between: Guard | None
) -> None:
    story = Story()
    story.told(word())

    story.rule = between
    story.told(word(state=state, when="12:30"))
    assert story.stage == "cancel"
    story.rule = a_rule()
    story.sweep("14:30")

    assert story.stage == "cancel"


def test_an_alarm_that_rings_on_while_it_is_not_named_hardens_its_guard() -> None:
    story = Story()
    story.told(word())

    story.rule = None
    story.told(word("other", "OK", "12:30"))
    story.told(word(state="OK", when="11:30"))  # It is older.
    story.rule = a_rule()
    story.sweep("14:30")

    assert story.stage == "terminate"


def test_that_another_alarm_of_the_same_name_is_ok_says_nothing_of_one_that_is_not_named() -> None:
    story = Story()
    story.told(word(arn=SOFT_ARN))

    story.rule = None
    story.told(word(state="OK", when="12:30", arn=SOFT_ARN.replace("us-east-1", "eu-west-1")))

    assert story.state.alarms["cloudwatch:soft"].state == "ALARM"


def test_an_ok_counts_also_for_the_name_by_which_an_older_policy_named_the_alarm() -> None:
    story = Story()
    story.told(word(names=[SOFT_ARN], arn=SOFT_ARN))

    story.rule = a_rule(stage=[a_stage(alarms=[SOFT_ARN]), a_stage("terminate")])
    story.told(word(state="OK", when="12:30", names=[SOFT_ARN], arn=SOFT_ARN))

    assert story.state.alarms["cloudwatch:soft"].state == "OK"
