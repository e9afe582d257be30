"""Asking AWS, and the check that the sweep makes once a day."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from batch_watchdog.aws.batch import BatchApi
from batch_watchdog.core.effects import Announce
from batch_watchdog.guards import items as guard_items
from batch_watchdog.guards.state import GuardState
from batch_watchdog.health.facts import AlarmFact, Facts
from batch_watchdog.health.gather import HealthGatherer, names_in
from batch_watchdog.health.notices import KINDS, trial
from batch_watchdog.health.workflow import DailyCheck
from batch_watchdog.policy.model import Policy, parse_policy
from batch_watchdog.store.actions import to_action
from batch_watchdog.store.memory_table import MemoryTable
from local.aws.errors import ApiError, session
from tests.logs import NOON

POLICY = parse_policy(
    '[[guard]]\nname = "g"\n[[guard.stage]]\nalarms = ["soft"]\naction = "cancel"\n'
)


class Aws:
    """What AWS answers in two regions, and what it was asked."""

    def __init__(self) -> None:
        self.refuses: set[str] = set()
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.subscriptions = ["arn:aws:sns:eu-west-1:1:t:1", "PendingConfirmation", "Deleted"]
        self.datapoints: list[dict[str, Any]] = []
        self.charges: dict[str, Any] = {}
        self.pages = 1  # of alarms, with one in each

    def answer(self, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        self.asked.append((operation, params))
        if operation in self.refuses:
            raise ApiError("AccessDenied", "no")
        match operation:
            case "ListSubscriptionsByTopic":
                return {"Subscriptions": [{"SubscriptionArn": arn} for arn in self.subscriptions]}
            case "DescribeAlarms":
                return {"MetricAlarms": [], "CompositeAlarms": []}
            case "GetMetricStatistics":
                return {"Datapoints": self.datapoints}
            case "GetQueueAttributes":
                return {"Attributes": {"ApproximateNumberOfMessages": "3"}}
            case "DescribeJobQueues":
                return {"jobQueues": [{"jobQueueName": "spot"}, {"jobQueueName": "gpu"}]}
        return {"InstanceTypes": []}

    def billing(self, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        self.answer(operation, params)
        alarm = {
            "AlarmName": "soft",
            "AlarmArn": "arn",
            "StateValue": "OK",
            "StateTransitionedTimestamp": NOON,
        }
        page = int(params.get("NextToken", 1))
        more = {"NextToken": str(page + 1)} if page < self.pages else {}
        if page > 1:
            alarm["AlarmName"] = f"soft {page}"
        return {"MetricAlarms": [alarm | self.charges], "CompositeAlarms": [], **more}

    def facts(self) -> Facts:
        names = ("batch", "sns", "sqs", "ec2", "cloudwatch")
        here = session(dict.fromkeys(names, self.answer), "eu-west-1")
        billing = session({"cloudwatch": self.billing}, "us-east-1")
        return HealthGatherer(
            batch=BatchApi(here.client("batch")),
            sns=here.client("sns"),
            sqs=here.client("sqs"),
            ec2=here.client("ec2"),
            cloudwatch=lambda region: (billing if region == "us-east-1" else here).client(
                "cloudwatch"
            ),
            region="eu-west-1",
            billing_region="us-east-1",
            topic_arn="arn:aws:sns:eu-west-1:1:t",
            letters=names_in("https://sqs/1/a,https://sqs/1/b"),
            rule="the-rule",
        ).facts(POLICY, NOON)


# ---- Asking -------------------------------------------------------------------------------


def test_facts_come_from_this_region_and_from_that_of_billing() -> None:
    aws = Aws()
    hours = [NOON - timedelta(hours=hour) for hour in (5, 2, 3, 1)]
    aws.datapoints = [{"Timestamp": at, "Sum": at != hours[-1]} for at in hours]

    facts = aws.facts()

    assert (facts.confirmed, facts.pending) == (1, 1)
    assert [
        (each.name, each.state, each.region, each.changed_at) for each in facts.alarms or ()
    ] == [("soft", "OK", "us-east-1", NOON)]
    assert facts.queues == ("gpu", "spot")
    assert (facts.events_known, facts.last_event) == (True, hours[1])
    assert facts.dead_letters == {"a": 3, "b": 3}
    assert facts.not_known == {}


def test_alarms_are_read_page_by_page() -> None:
    aws = Aws()
    aws.pages = 3

    assert [each.name for each in aws.facts().alarms or ()] == ["soft", "soft 2", "soft 3"]


@pytest.mark.parametrize(
    ("comparison", "over"),
    [("GreaterThanThreshold", 800.0), ("LessThanThreshold", None)],
)
def test_an_alarms_metric_and_threshold_are_known(comparison: str, over: float | None) -> None:
    aws = Aws()
    aws.charges = {
        "Namespace": "AWS/Billing",
        "MetricName": "EstimatedCharges",
        "Dimensions": [{"Name": "Currency", "Value": "USD"}],
        "ComparisonOperator": comparison,
        "Threshold": 800.0,
    }

    [alarm] = aws.facts().alarms or ()

    assert (alarm.metric, alarm.over) == ("AWS/Billing/EstimatedCharges/Currency=USD", over)


def test_what_is_refused_leaves_all_else() -> None:
    aws = Aws()
    aws.refuses = {
        "ListSubscriptionsByTopic",
        "GetMetricStatistics",
        "GetQueueAttributes",
        "DescribeInstanceTypes",
    }

    facts = aws.facts()

    assert (facts.confirmed, facts.dead_letters, facts.last_event) == (None, None, None)
    assert facts.events_known is False
    assert facts.queues == ("gpu", "spot")
    assert facts.not_known == {
        "subscriptions": "AccessDenied for ListSubscriptionsByTopic",
        "events of AWS Batch": "AccessDenied for GetMetricStatistics",
        "dead letters in a": "AccessDenied for GetQueueAttributes",
        "dead letters in b": "AccessDenied for GetQueueAttributes",
        "instance types (for a diagnosis)": "AccessDenied for DescribeInstanceTypes",
    }


# ---- Once a day ---------------------------------------------------------------------------


class Days:
    """Sweeps over days."""

    def __init__(self) -> None:
        self.table = MemoryTable()
        self.facts = Facts(at=NOON, confirmed=1, dead_letters={})
        self.checks: list[datetime] = []
        self.daily = DailyCheck(table=self.table, facts=self._facts)

    def _facts(self, policy: Policy, now: datetime) -> Facts:
        assert policy is POLICY
        self.checks.append(now)
        return self.facts

    def sweep(self, *, hours: float) -> None:
        self.daily.process(POLICY, NOON + timedelta(hours=hours))

    def notices(self) -> list[str]:
        effects = [
            to_action(item).effect
            for day in range(9)
            for item in self.table.query(f"ACTION#{NOON + timedelta(days=day):%Y-%m-%d}")
        ]
        return [
            notice.facts["problems"][0]["key"]
            for effect in effects
            if isinstance(effect, Announce)
            for notice in effect.notices
        ]


def test_the_first_check_comes_an_hour_after_the_first_sweep_and_then_one_each_day() -> None:
    days = Days()
    for hour in range(60):
        days.sweep(hours=hour)
        days.sweep(hours=hour + 0.5)

    assert [(at - NOON) / timedelta(hours=1) for at in days.checks] == [1, 25, 49]


def test_what_has_become_wrong_is_told_once_and_again_after_it_was_well() -> None:
    days = Days()
    fine, bad = days.facts, Facts(at=NOON, confirmed=0, dead_letters={})
    days.sweep(hours=0)
    for day, facts in enumerate([fine, bad, bad, fine, bad], 1):
        days.facts = facts
        days.sweep(hours=24 * day)

    assert days.notices() == ["subscription", "subscription"]


def test_a_guard_that_its_alarm_has_not_raised_is_told_until_an_operator_has_seen_to_it() -> None:
    days = Days()
    rings = AlarmFact(name="soft", arn="arn:soft", state="ALARM", region="r", changed_at=NOON)
    days.facts = Facts(at=NOON + timedelta(hours=2), alarms=(rings,))
    days.sweep(hours=0)
    released = GuardState(guard="g", released_at=NOON + timedelta(hours=1))
    days.table.write([guard_items.put(released, NOON)])
    days.sweep(hours=2)
    assert days.notices() == []

    later = replace(rings, changed_at=NOON + timedelta(hours=20))
    days.facts = Facts(at=NOON + timedelta(hours=26), alarms=(later,))
    days.sweep(hours=26)
    days.sweep(hours=50)

    assert days.notices() == ["not-raised:g:arn:soft"]


def test_what_is_wrong_from_the_first_is_told_by_the_first_check() -> None:
    days = Days()
    days.facts = Facts(at=NOON, confirmed=0)
    days.sweep(hours=0)
    assert days.notices() == []

    days.sweep(hours=2)

    assert days.notices() == ["subscription"]


def test_a_trial_can_be_made_of_each_kind() -> None:
    notices = [trial(kind, "jane\n", NOON) for kind in KINDS]

    assert len({each.id for each in notices}) == len(KINDS) > 10
    assert all("Test" in each.subject and "\n" not in each.subject for each in notices)
