"""The use of a budget, and when it rings."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_watchdog.budgets import facts, notices, rules, usage
from batch_watchdog.budgets.amounts import Amounts
from batch_watchdog.budgets.facts import Fact
from batch_watchdog.budgets.periods import day_begins, period_of, split, to_ms
from batch_watchdog.budgets.runs import Run
from batch_watchdog.budgets.state import BudgetState
from batch_watchdog.policy.budget_tables import Budget, Rates

NOON = to_ms(datetime(2026, 1, 1, 12, tzinfo=UTC))
HOUR = 3_600_000
FOUR: Amounts = (4_000, 1_000, 8 * 1_048_576, 0)
DAY = Budget(name="b", per="day", vcpu_hours=100.0, warn_at=(50, 80))


def fact(job: str = "a", start: int = NOON, stop: int = 0, **more: object) -> Fact:
    run = Run(job_id=job, attempt=0, start=start, stop=stop)
    known = {"budgets": (), "name": "render", "queue": "gpu", "amounts": FOUR, **more}
    return Fact(run=run, **known)  # type: ignore[arg-type]


def state(budget: Budget = DAY, now: int = NOON) -> BudgetState:
    return rules.at_time(None, budget, now)


def used(of: BudgetState, now: int, budget: Budget = DAY) -> float:
    of = rules.at_time(of, budget, now)
    return rules.read(of, budget, now).used["vcpu_hours"]


# ---- Counting -----------------------------------------------------------------------------


def test_what_runs_uses_more_with_time() -> None:
    begun = rules.begin(state(), DAY, fact())
    assert used(begun, NOON + HOUR) == 4
    assert used(begun, NOON + HOUR // 2) == 2


def test_an_end_takes_off_what_its_start_has_brought_and_counts_whole() -> None:
    begun = rules.begin(state(), DAY, fact())
    ended = rules.end(begun, DAY, fact(stop=NOON + HOUR), fact())
    assert used(ended, NOON + 5 * HOUR) == 4
    assert not ended.use.running


def test_a_run_over_midnight_is_split_there() -> None:
    late = NOON + 11 * HOUR
    begun = rules.begin(state(), DAY, fact(start=late))
    tomorrow = rules.at_time(begun, DAY, NOON + 14 * HOUR)
    assert used(tomorrow, NOON + 14 * HOUR) == 8
    assert usage.used_on(tomorrow.use, DAY, NOON + 14 * HOUR)[date(2026, 1, 1)]["gpu"][0] == (
        4_000 * HOUR
    )


def test_an_end_that_comes_a_day_late_counts_on_its_own_day() -> None:
    begun = rules.begin(state(), DAY, fact())
    next_day = rules.at_time(begun, DAY, NOON + 13 * HOUR)
    ended = rules.end(next_day, DAY, fact(stop=NOON + HOUR), fact())
    assert used(ended, NOON + 13 * HOUR) == 0
    days = usage.used_on(ended.use, DAY, NOON + 13 * HOUR)
    assert days[date(2026, 1, 1)]["gpu"][0] == 4_000 * HOUR


_SPANS = st.lists(
    st.tuples(
        st.integers(0, 72 * HOUR), st.integers(1, 40 * HOUR), st.booleans(), st.integers(0, 99)
    ),
    max_size=12,
)


@given(_SPANS, st.sampled_from(["UTC", "Asia/Tokyo", "America/New_York"]))
def test_the_use_is_the_sum_of_all_spans_in_whatever_order_they_are_told(
    spans: list[tuple[int, int, bool, int]], zone: str
) -> None:
    budget = Budget(name="b", per="week", time_zone=zone, vcpu_hours=1.0)
    now = NOON + 120 * HOUR
    told: list[tuple[int, Fact, Fact | None]] = []
    for number, (start, lasts, seen, delay) in enumerate(spans):
        begun = fact(str(number), NOON + start)
        ended = fact(str(number), NOON + start, NOON + start + lasts)
        if seen:
            told.append((NOON + start, begun, None))
        told.append((NOON + start + lasts + delay * HOUR // 4, ended, begun if seen else None))
    counted = state(budget)
    for at, each, began in sorted(told, key=lambda item: item[0]):
        counted = rules.at_time(counted, budget, min(at, now))
        if each.run.stop:
            counted = rules.end(counted, budget, each, began)
        else:
            counted = rules.begin(counted, budget, each)
    by_hand: dict[date, int] = {}
    for start, lasts, _, _ in spans:
        for day, ms in split(NOON + start, NOON + start + lasts, budget.zone, date(2025, 12, 1)):
            by_hand[day] = by_hand.get(day, 0) + ms * 4_000
    days = usage.used_on(counted.use, budget, now)
    found = {day: queues["gpu"][0] for day, queues in days.items() if queues["gpu"][0]}
    assert found == by_hand


def test_prices_are_those_of_the_queue() -> None:
    rates = (Rates(queue=("gpu",), gpu_hour=2.0), Rates(vcpu_hour=0.5))
    budget = Budget(name="b", per="day", usd=100.0, rates=rates)
    counted = rules.end(state(budget), budget, fact(stop=NOON + HOUR), None)
    counted = rules.end(counted, budget, fact("b", stop=NOON + HOUR, queue="cpu"), None)
    assert rules.read(counted, budget, NOON + HOUR).used == {"usd": 2.0 + 2.0}


# ---- Periods ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("per", "day", "name", "first", "after"),
    [
        ("day", date(2026, 1, 1), "2026-01-01", date(2026, 1, 1), date(2026, 1, 2)),
        ("week", date(2026, 1, 1), "2026-W01", date(2025, 12, 29), date(2026, 1, 5)),
        ("month", date(2026, 12, 31), "2026-12", date(2026, 12, 1), date(2027, 1, 1)),
    ],
)
def test_a_period_is_the_calendars(
    per: str, day: date, name: str, first: date, after: date
) -> None:
    budget = Budget(name="b", per=per, vcpu_hours=1.0)
    period = period_of(budget, day)
    assert (period.name, period.first, period.after) == (name, first, after)


def test_a_day_begins_at_midnight_of_its_zone_also_when_clocks_change() -> None:
    budget = Budget(name="b", per="day", time_zone="Europe/Berlin", vcpu_hours=1.0)
    spring = day_begins(date(2026, 3, 30), budget.zone) - day_begins(date(2026, 3, 29), budget.zone)
    assert spring == 23 * HOUR


# ---- Ringing ------------------------------------------------------------------------------


def rung(of: BudgetState, now: int, budget: Budget = DAY) -> tuple[BudgetState, list[float | None]]:
    of = rules.at_time(of, budget, now)
    of, rings = rules.newly_reached(of, budget, rules.read(of, budget, now))
    return of, [ring.percent for ring in rings]


def test_each_threshold_is_told_once() -> None:
    counted = rules.end(state(), DAY, fact(stop=NOON + 20 * HOUR), None)  # 48 of 100 until midnight
    counted = rules.end(counted, DAY, fact("b", stop=NOON + 2 * HOUR), None)
    counted, first = rung(counted, NOON + 3 * HOUR)
    counted, second = rung(counted, NOON + 3 * HOUR)
    assert (first, second) == ([50], [])


def test_what_was_told_stays_told_when_late_data_makes_the_use_smaller() -> None:
    begun = rules.begin(state(), DAY, fact(start=NOON - 12 * HOUR, amounts=(5_000, 0, 0, 0)))
    begun, rings = rung(begun, NOON)
    ended = rules.end(
        begun,
        DAY,
        fact(start=NOON - 12 * HOUR, stop=NOON - 11 * HOUR, amounts=(5_000, 0, 0, 0)),
        fact(start=NOON - 12 * HOUR, amounts=(5_000, 0, 0, 0)),
    )
    assert 50 in rings
    assert "50" in ended.told
    assert rung(ended, NOON + 1)[1] == []


def test_a_new_period_is_told_of_anew() -> None:
    counted = rules.end(state(), DAY, fact(stop=NOON + HOUR, amounts=(99_000, 0, 0, 0)), None)
    counted, _ = rung(counted, NOON + HOUR)
    tomorrow = rules.at_time(counted, DAY, NOON + 24 * HOUR)
    assert counted.told
    assert tomorrow.told == {}


def used_up() -> BudgetState:
    """110 of 100 were used until one o'clock, which was counted and told then."""
    counted = rules.end(state(), DAY, fact(stop=NOON + HOUR, amounts=(110_000, 0, 0, 0)), None)
    return rung(counted, NOON + HOUR)[0]


def test_a_budget_that_is_over_was_reached_when_that_was_told() -> None:
    later = [used_up()]
    later.append(rules.begin(later[0], DAY, fact("b", NOON + 4 * HOUR, amounts=(250, 0, 0, 0))))
    later.append(rules.begin(later[0], DAY, fact("b", NOON + 4 * HOUR, amounts=(90_000, 0, 0, 0))))

    found = [rules.read(each, DAY, NOON + 5 * HOUR).reached_at for each in later]

    assert found == [NOON + HOUR] * 3


@pytest.mark.parametrize("vcpus", [0, 250, 4_000])
def test_a_budget_that_was_used_up_before_that_was_counted_was_reached_when_it_is_told(
    vcpus: int,
) -> None:
    counted = rules.end(state(), DAY, fact(stop=NOON + HOUR, amounts=(110_000, 0, 0, 0)), None)
    counted = rules.begin(counted, DAY, fact("b", NOON + HOUR, amounts=(vcpus, 0, 0, 0)))

    assert rules.read(counted, DAY, NOON + 2 * HOUR).reached_at == NOON + 2 * HOUR


def test_a_budget_that_is_reached_between_two_looks_was_reached_then() -> None:
    counted = rules.begin(state(), DAY, fact(amounts=(100_000, 0, 0, 0)))

    assert rules.read(counted, DAY, NOON + HOUR + 50_000).reached_at == NOON + HOUR


def test_a_budget_that_is_reached_no_more_is_not_reached_yet() -> None:
    larger = Budget(name="b", per="day", vcpu_hours=200.0)
    counted = rules.begin(used_up(), DAY, fact("b", NOON + HOUR, amounts=(90_000, 0, 0, 0)))
    counted = rules.at_time(counted, larger, NOON + HOUR)

    assert rules.read(counted, larger, NOON + HOUR).reached_at == NOON + 2 * HOUR


def test_a_budget_of_which_late_data_shows_less_than_all_is_to_be_reached_yet() -> None:
    many: Amounts = (10_000, 0, 0, 0)
    runs = fact(start=NOON - 12 * HOUR, amounts=many)
    begun, rings = rung(rules.begin(state(), DAY, runs), NOON)
    ran = fact(start=NOON - 12 * HOUR, stop=NOON - 11 * HOUR, amounts=many)
    fewer = rules.end(begun, DAY, ran, runs)
    fewer = rules.begin(fewer, DAY, fact("b", NOON, amounts=(45_000, 0, 0, 0)))

    assert 100 in rings
    assert rules.read(fewer, DAY, NOON).reached_at == NOON + 2 * HOUR


def test_a_warning_says_what_was_passed_and_what_is_used() -> None:
    counted = rules.end(state(), DAY, fact(stop=NOON + HOUR, amounts=(110_000, 0, 0, 0)), None)
    reading = rules.read(counted, DAY, NOON + HOUR)

    told = [
        notices.threshold_notice(DAY, reading, rules.ReachedThreshold(percent=each), "x")
        for each in (50.0, 100.0)
    ]

    assert [each.subject for each in told] == [
        'Budget "b": 50 % passed (110 % used)',
        'Budget "b" is reached (110 % used)',
    ]


def test_a_changed_limit_is_told_of_anew_and_the_count_goes_on() -> None:
    counted = rules.end(state(), DAY, fact(stop=NOON + HOUR, amounts=(90_000, 0, 0, 0)), None)
    counted, _ = rung(counted, NOON + HOUR)
    larger = DAY.model_copy(update={"vcpu_hours": 1_000.0})
    larger = Budget(name="b", per="day", vcpu_hours=1_000.0, warn_at=(5,))
    counted, rings = rung(counted, NOON + HOUR, larger)
    assert rings == [5]
    assert used(counted, NOON + HOUR, larger) == 90


def test_other_jobs_are_counted_from_now_on_and_it_says_so() -> None:
    counted = rules.end(state(), DAY, fact(stop=NOON + HOUR), None)
    other = Budget.model_validate(
        {"name": "b", "per": "day", "vcpu_hours": 100.0, "match": {"name": "x*"}}
    )
    anew = rules.at_time(counted, other, NOON + 2 * HOUR)
    reading = rules.read(anew, other, NOON + 2 * HOUR)
    assert (reading.used, reading.counted_since) == ({"vcpu_hours": 0}, NOON + 2 * HOUR)


def test_a_forecast_is_told_once_it_lies_within_the_period() -> None:
    slow = rules.begin(state(), DAY, fact())  # 48 of 100 until midnight
    slow, none = rung(slow, NOON + 60_000)
    fast = rules.begin(slow, DAY, fact("b", start=NOON + 60_000, amounts=(20_000, 0, 0, 0)))
    fast, rings = rung(fast, NOON + 120_000)
    reading = rules.read(fast, DAY, NOON + 120_000)
    assert (none, rings) == ([], [None])
    assert reading.reached_at == pytest.approx(NOON + 100 / 24 * HOUR, abs=HOUR // 20)
    notice = notices.threshold_notice(DAY, reading, rules.ReachedThreshold(percent=None), "x")
    assert notice.kind == "budget-forecast"
    assert "Thursday" in notice.subject


@pytest.mark.parametrize(
    ("millis", "words"),
    [
        (1_000, "uses 1 vCPU hour an hour"),
        (1_500, "uses 1.5 vCPU hours an hour"),
        (100, "uses 0.1 vCPU hours an hour"),
    ],
)
def test_an_hour_of_a_unit_is_said_in_the_singular(millis: int, words: str) -> None:
    counted = rules.begin(state(), DAY, fact(amounts=(millis, 0, 0, 0)))
    reading = rules.read(counted, DAY, NOON + HOUR)

    assert words in notices.in_words(DAY, reading)


def test_the_limit_of_which_most_is_used_counts() -> None:
    budget = Budget(name="b", per="day", vcpu_hours=1_000.0, gpu_hours=2.0)
    counted = rules.end(state(budget), budget, fact(stop=NOON + HOUR), None)
    assert rules.read(counted, budget, NOON + HOUR).percent == 50


def test_the_five_that_use_most_are_told_and_few_are_kept() -> None:
    counted = state()
    for number in range(60):
        each = fact(str(number), stop=NOON + number * 60_000, name=f"job-{number}")
        counted = rules.end(counted, DAY, each, None)
    names = [name for name, _ in rules.read(counted, DAY, NOON + HOUR).heaviest]
    assert names == [f"job-{number}" for number in (59, 58, 57, 56, 55)]
    assert len(counted.heavy) < 30


@pytest.mark.parametrize(
    "changed",
    [
        {"rates": (Rates(vcpu_hour=3.0),)},
        {"rates": (Rates(queue=("gpu",), vcpu_hour=3.0), Rates(vcpu_hour=1.0))},
        {"usd": None, "vcpu_hours": 100.0},
    ],
)
def test_who_uses_most_is_measured_anew_when_the_prices_or_the_unit_change(
    changed: dict[str, object],
) -> None:
    before = {"name": "b", "per": "day", "usd": 100.0, "rates": (Rates(vcpu_hour=1.0),)}
    first, then = Budget.model_validate(before), Budget.model_validate(before | changed)
    counted = rules.begin(state(first), first, fact())
    counted = rules.at_time(counted, then, NOON + HOUR)
    counted = rules.end(counted, then, fact(stop=NOON + HOUR), fact())
    assert [each.running for each in counted.heavy.values()] == [0]


def test_a_changed_limit_keeps_who_has_used_most() -> None:
    counted = rules.end(state(), DAY, fact(stop=NOON + HOUR), None)
    larger = Budget(name="b", per="day", vcpu_hours=1_000.0)
    counted = rules.at_time(counted, larger, NOON + HOUR)
    assert [name for name, _ in rules.read(counted, larger, NOON + HOUR).heaviest] == ["render"]


def test_rates_of_other_queues_are_told_of_anew() -> None:
    priced = {"name": "b", "per": "day", "usd": 100.0}
    one = Budget.model_validate(priced | {"rates": [{"queue": "gpu", "vcpu_hour": 1.0}]})
    other = Budget.model_validate(priced | {"rates": [{"queue": "cpu", "vcpu_hour": 1.0}]})
    assert rules.limits_of(one) != rules.limits_of(other)


def test_names_are_harmless_where_they_are_shown() -> None:
    each = fact(stop=NOON + 13 * HOUR, name="<b>\nx", amounts=(90_000, 0, 0, 0))
    reading = rules.read(rules.end(state(), DAY, each, None), DAY, NOON + HOUR)
    notice = notices.threshold_notice(DAY, reading, rules.ReachedThreshold(percent=100.0), "x")
    assert "‹b› x" in notice.text
    must = {"budget", "period", "used", "limit", "percent", "rate_per_hour", "reached_at"}
    assert must <= notice.facts.keys()


# ---- Facts --------------------------------------------------------------------------------

_FACTS = st.builds(
    Fact,
    run=st.builds(
        Run,
        job_id=st.one_of(
            st.sampled_from(["a", "b:007", "c#1"]),
            st.integers(0, 9_999).map(lambda index: f"array:{index}"),
        ),
        attempt=st.integers(0, 3),
        start=st.one_of(st.just(0), st.integers(NOON, NOON + 10**9)),
        stop=st.one_of(st.just(0), st.integers(NOON + 10**9, NOON + 10**10)),
        guessed=st.booleans(),
    ),
    budgets=st.just((("b", "1"), ("c", "2"))),
    name=st.sampled_from(["x", "y"]),
    queue=st.just("q"),
    amounts=st.just(FOUR),
    service=st.booleans(),
    seen=st.sampled_from([0, NOON]),
    missed=st.integers(0, 2),
)


@given(st.lists(_FACTS))
def test_facts_are_read_as_they_were_filed(some: list[Fact]) -> None:
    rows = facts.rows_of(some)
    assert {each for row in rows for each in facts.read(row)} == set(some)
    assert facts.rows_of(reversed(some)) == rows


def test_of_a_start_and_an_end_in_one_minute_the_end_counts() -> None:
    begun, ended = fact(), fact(stop=NOON + 5)
    assert facts.latest([ended, begun]) == [ended] == facts.latest([begun, ended])


def test_midnight_is_no_gap() -> None:
    budget = Budget(name="b", vcpu_hours=1.0)
    spans = dict(split(NOON, NOON + 40 * HOUR, budget.zone, date(2026, 1, 1)))
    assert sum(spans.values()) == 40 * HOUR
    assert spans[date(2026, 1, 1)] == timedelta(hours=12) // timedelta(milliseconds=1)
