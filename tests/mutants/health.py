"""Rules of the check broken on purpose."""

from collections.abc import Sequence

from tests.mutants.mutant import Mutant

_RULES = ("tests/unit/health/test_rules.py",)
_DAILY = ("tests/unit/health/test_daily_check.py",)

MUTANTS: Sequence[Mutant] = (
    Mutant(
        "alarms are read page by page",
        "health/gather.py",
        "for page in pages:",
        "for page in [next(iter(pages))]:",
        _DAILY,
    ),
    Mutant(
        "what is not known is not said to be wrong: subscriptions",
        "health/rules.py",
        "if facts.confirmed != 0:",
        "if facts.confirmed:",
        _RULES,
    ),
    Mutant(
        "an alarm of which something was heard exists",
        "health/rules.py",
        "there = {each.name for each in facts.alarms} | set(map(alarm_name, received))",
        "there = {each.name for each in facts.alarms}",
        _RULES,
    ),
    Mutant(
        "an alarm that rings and has not raised its guard is told",
        "health/rules.py",
        'alarm.state == "ALARM"\n                and hardness(stage) > hardness(state.stage)',
        'alarm.state == "ALARM"\n                and hardness(stage) > 2',
        _RULES,
    ),
    Mutant(
        "an alarm that rings is told though its guard is at a milder stage",
        "health/rules.py",
        "and hardness(stage) > hardness(state.stage)",
        'and stage != state.stage == "calm"',
        _RULES,
    ),
    Mutant(
        "an alarm of another ARN raises no guard",
        "health/rules.py",
        "if {alarm.name, alarm.arn} & set(each.alarms)",
        "if alarm.name in map(alarm_name, each.alarms)",
        _RULES,
    ),
    Mutant(
        "an alarm's message takes its time before it is missed",
        "health/rules.py",
        "and not _is_on_its_way(alarm, facts.at)",
        "",
        _RULES,
    ),
    Mutant(
        "a guard that an operator has released since its alarm rings is calm on purpose",
        "health/rules.py",
        "and not _is_answered(alarm, state)",
        "",
        _RULES,
    ),
    Mutant(
        "an operator's word of before an alarm rang does not answer it",
        "health/rules.py",
        "(alarm.changed_at is None or alarm.changed_at <= at)",
        "True",
        _RULES,
    ),
    Mutant(
        "a stage that a signal has set is no operator's answer",
        "health/rules.py",
        "if state.entry and state.entry.by else None",
        "if state.entry else None",
        _RULES,
    ),
    Mutant(
        "the daily check knows what guards are at",
        "health/workflow.py",
        "guard_items.received_names(guards.values()), guards)",
        "guard_items.received_names(guards.values()), {})",
        _DAILY,
    ),
    Mutant(
        "a later stage has no lower threshold",
        "health/rules.py",
        "soft.metric == hard.metric and _over(hard) < _over(soft)",
        "soft.metric == hard.metric and _over(hard) > _over(soft)",
        _RULES,
    ),
    Mutant(
        "thresholds of different metrics are not compared",
        "health/rules.py",
        "if earlier < later and soft.metric == hard.metric and",
        "if earlier < later and",
        _RULES,
    ),
    Mutant(
        "what may be meant so is told only where it was otherwise before",
        "health/rules.py",
        "if (each.key in fine if each.doubtful else each.key not in (known or ()))",
        "if each.key not in (known or ())",
        _RULES,
    ),
    Mutant(
        "a check is made once a day",
        "health/workflow.py",
        "if last and now < last.next_at:",
        "if False:",
        _DAILY,
    ),
    Mutant(
        "what is wrong is told again only after it was well",
        "health/workflow.py",
        "new = news(found, known.wrong, known.fine)",
        "new = list(found)",
        _DAILY,
    ),
    Mutant(
        "one question that is refused leaves all others",
        "health/gather.py",
        "except ClientError as error:",
        "except BotoCoreError as error:",
        _DAILY,
    ),
)
