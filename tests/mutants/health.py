"""Rules of the check broken on purpose."""

from collections.abc import Sequence

from tests.mutants.mutant import Mutant

_RULES = ("tests/unit/health/test_rules.py",)
_DAILY = ("tests/unit/health/test_daily_check.py",)

MUTANTS: Sequence[Mutant] = (
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
        "there = {each.name for each in facts.alarms} | set(map(alarm_name, heard))",
        "there = {each.name for each in facts.alarms}",
        _RULES,
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
