"""What operators ask is answered in JSON, and what they change is recorded with who asked."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from batch_watchdog.core.effects import Announce
from batch_watchdog.diagnosis.gather import DiagnosisGatherer
from batch_watchdog.guards import items as guard_items
from batch_watchdog.health.facts import AlarmFact, Facts
from batch_watchdog.limits import exemption_items
from batch_watchdog.policy.model import Policy, parse_policy
from batch_watchdog.store import operator_hold
from batch_watchdog.store.actions import to_action
from batch_watchdog.store.item_codec import unpack
from batch_watchdog.store.memory_table import MemoryTable
from batch_watchdog.use_cases.console import Console
from local.aws.errors import ApiError
from tests.fakes import Aws
from tests.makers import DEFINITION, JOB, QUEUE, at

NOW = at("12:00")
POLICY = parse_policy(
    """
    mode = "enforce"

    [[limit]]
    RUNNABLE = { warn_after = "1h", after = "6h", after_by_cause = { misconfigured = "30m" } }

    [[guard]]
    name = "monthly"
    match = { queue = "gpu" }
    spare = { tags = { critical = "true" } }
    [[guard.stage]]
    alarms = ["soft"]
    action = "cancel"
    close_queues = true
    """
)


class Desk:
    """A console, and what it works on."""

    def __init__(self, policy: Policy = POLICY) -> None:
        self.aws = Aws()
        self.aws.jobs[JOB] = {
            "jobId": JOB,
            "jobName": "render",
            "jobQueue": QUEUE,
            "jobDefinition": DEFINITION,
            "status": "RUNNABLE",
            "startedAt": 0,
            "tags": {},
        }
        self.aws.on_call = self._answer
        self.table = MemoryTable()
        self.alarms: tuple[AlarmFact, ...] = ()
        self.console = Console(
            table=self.table,
            batch=self.aws.batch,
            inquiry=lambda now: DiagnosisGatherer(
                batch=self.aws.batch, ec2=None, ecs=None, now=now
            ),
            policy=lambda: policy,
            facts=lambda _, now: Facts(at=now, confirmed=0, pending=1, alarms=self.alarms),
        )

    def _answer(self, operation: str, _: dict[str, Any]) -> dict[str, Any] | None:
        if operation == "DescribeServiceJob":
            raise ApiError("ClientException", "no such service job")
        return {"jobQueues": []} if operation == "DescribeJobQueues" else None

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        answer = self.console.answer({"command": command, **arguments}, NOW)
        json.dumps(answer)
        return answer

    @property
    def records(self) -> list[dict[str, Any]]:
        items = self.table.query("COMMAND#2026-01-01")
        return [{**item, "body": unpack(item["body"])} for item in items]

    @property
    def actions(self) -> list[Any]:
        return list(self.table.query("ACTION#2026-01-01"))


@pytest.fixture
def desk() -> Desk:
    return Desk()


# ---- Commands that are none ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "key", "expected"),
    [
        ({"command": "release", "by": "jane"}, "guard", "required"),
        ({"command": "release", "guard": "monthly"}, "by", "required"),
        ({"command": "release", "guard": "monthly", "by": " "}, "by", "pattern"),
        ({"command": "release", "guard": "montly", "by": "jane"}, "guard", "monthly"),
        ({"command": "set-stage", "guard": "monthly", "stage": "x", "by": "j"}, "stage", "'calm'"),
        ({"command": "hold", "by": "jane", "for": "1h"}, "for", "no key"),
        ({"command": "exempt", "job_id": JOB, "until": "soon", "by": "j"}, "until", "datetime"),
        (
            {"command": "exempt", "job_id": JOB, "until": "2026-01-01T11:00:00Z", "by": "jane"},
            "until",
            "2026-01-01T12:00:00Z",
        ),
        ({"command": "explain", "job_id": "gone"}, "job_id", "no such job"),
        ({"command": "explain", "job_id": "a b"}, "job_id", "pattern"),
        ({"command": "explode"}, "command", "set-stage"),
        ({}, "command", "set-stage"),
        ({"command": "status", "time": "2036-01-01T12:00:00Z"}, "time", "when it arrives"),
        ([], "", "JSON object"),
        (None, "", "JSON object"),
    ],
)
def test_a_wrong_command_is_answered_with_the_key_and_what_was_expected(
    desk: Desk, event: Any, key: str, expected: str
) -> None:
    answer = desk.console.answer(event, NOW)

    assert expected in answer["problems"][key]
    assert answer["error"]
    assert not desk.records


# ---- Changing -----------------------------------------------------------------------------


def test_a_stage_is_set_and_recorded_with_who_asked(desk: Desk) -> None:
    answer = desk.ask("set-stage", guard="monthly", stage="cancel", by="jane", why="a drill")

    assert answer["decided"] == "cancel: jane asked for it"
    assert guard_items.read_all(desk.table)["monthly"].stage == "cancel"
    (record,) = desk.records
    assert (record["by"], record["at"]) == ("jane", "2026-01-01T12:00:00Z")
    assert record["body"]["why"] == "a drill"
    assert {action["asked_by"] for action in desk.actions} == {"console (jane)"}
    assert sorted(action["kind"] for action in desk.actions) == ["Announce", "StartRun"]


def test_a_command_in_an_envelope_takes_effect_when_it_arrives(desk: Desk) -> None:
    command = {"command": "set-stage", "guard": "monthly", "stage": "cancel", "by": "jane"}

    answer = desk.console.answer({"command": command}, NOW)

    assert answer["at"] == "2026-01-01T12:00:00Z"
    entry = guard_items.read_all(desk.table)["monthly"].entry
    assert entry
    assert entry.since == NOW


def test_the_same_command_once_more_changes_nothing(desk: Desk) -> None:
    desk.ask("release", guard="monthly", by="jane")

    answer = desk.ask("release", guard="monthly", by="jane")

    assert "repeat" in answer["error"]
    assert len(desk.records) == 1


def test_a_hold_says_by_whom_until_it_is_ended(desk: Desk) -> None:
    desk.ask("hold", by="jane", why="looks wrong")
    held = desk.ask("status")["held"]
    again = desk.ask("hold", by="joe")
    desk.ask("resume", by="joe")

    assert held == {"since": "2026-01-01T12:00:00Z", "by": "jane", "why": "looks wrong"}
    assert again["decided"] == "held already, by jane"
    assert not operator_hold.read(desk.table).is_on
    assert desk.ask("status")["held"] is None
    assert len(desk.records) == 3


def test_when_the_watchdog_was_held_is_kept(desk: Desk) -> None:
    desk.ask("hold", by="jane")
    during = operator_hold.read(desk.table).spans(NOW + timedelta(hours=1))
    desk.console.answer({"command": "resume", "by": "joe"}, NOW + timedelta(hours=2))

    held = operator_hold.read(desk.table)
    assert during == ((NOW, NOW + timedelta(hours=1)),)
    assert held.past == held.spans(NOW) == ((NOW, NOW + timedelta(hours=2)),)


def test_old_holds_are_forgotten_and_very_many_count_as_longer_ones() -> None:
    held, hour = operator_hold.OperatorHold(), timedelta(hours=1)
    for number in range(60):
        began = NOW + number * 2 * hour
        held = replace(held, since=began).resumed(began + hour)

    assert len(held.past) == 50
    assert held.past[0] == (NOW, NOW + 21 * hour)
    assert held.past[1][0] == NOW + 22 * hour

    later = NOW + timedelta(days=90)
    assert len(replace(held, since=later).resumed(later + hour).past) == 1


def test_a_job_is_exempt_until_a_time(desk: Desk) -> None:
    desk.ask("exempt", job_id=JOB, until="2026-01-01T15:00:00+01:00", by="jane")

    (exemption,) = exemption_items.read_all(desk.table, NOW).values()
    assert (exemption.job_id, exemption.until) == (JOB, at("14:00"))
    assert desk.ask("status")["exempt"] == [
        {"job_id": JOB, "until": "2026-01-01T14:00:00Z", "by": "jane", "why": ""}
    ]


def test_an_exemption_may_be_changed(desk: Desk) -> None:
    desk.ask("exempt", job_id=JOB, until="2026-01-01T13:00:00Z", by="jane")
    desk.ask("exempt", job_id=JOB, until="2026-01-01T12:30:00Z", by="jane")

    assert exemption_items.read_all(desk.table, NOW + timedelta(minutes=31)) == {}


@pytest.mark.parametrize("kind", ["job", "service-job"])
def test_a_job_may_be_named_by_its_arn(desk: Desk, kind: str) -> None:
    arn = f"arn:aws:batch:us-east-1:111122223333:{kind}/{JOB}"
    desk.ask("exempt", job_id=arn, until="2026-01-01T13:00:00Z", by="jane")

    assert exemption_items.read_all(desk.table, NOW).keys() == {JOB}


def test_who_exempts_a_node_exempts_its_job(desk: Desk) -> None:
    answer = desk.ask("exempt", job_id=f"{JOB}#0", until="2026-01-01T13:00:00Z", by="jane")

    assert answer["decided"].startswith(f"{JOB} is exempt")
    assert exemption_items.read_all(desk.table, NOW).keys() == {JOB}


@pytest.mark.parametrize("job_id", [f"{JOB}:03", f"{JOB}:1:2", f"{JOB}:", "of two words"])
def test_what_is_no_id_of_a_job_is_refused(desk: Desk, job_id: str) -> None:
    answer = desk.ask("exempt", job_id=job_id, until="2026-01-01T13:00:00Z", by="jane")

    assert answer["problems"].keys() == {"job_id"}
    assert exemption_items.read_all(desk.table, NOW) == {}


def test_whoever_exempts_a_job_that_batch_does_not_know_is_told(desk: Desk) -> None:
    wrong = JOB.upper()
    answer = desk.ask("exempt", job_id=wrong, until="2026-01-01T13:00:00Z", by="jane")

    assert "shows no job of this id" in answer["decided"]
    assert exemption_items.read_all(desk.table, NOW).keys() == {wrong}
    known = desk.ask("exempt", job_id=JOB, until="2026-01-01T13:00:00Z", by="jane")
    assert "shows no job" not in known["decided"]


def test_a_job_is_exempt_though_batch_cannot_be_asked(desk: Desk) -> None:
    def refuse(operation: str, _: dict[str, Any]) -> None:
        raise ApiError("ThrottlingException", f"{operation}: slow down")

    desk.aws.on_call = refuse
    answer = desk.ask("exempt", job_id=JOB, until="2026-01-01T13:00:00Z", by="jane")

    assert answer["decided"] == f"{JOB} is exempt from limits until 2026-01-01T13:00:00Z"


# ---- Asking -------------------------------------------------------------------------------


def test_the_status_tells_of_all_guards(desk: Desk) -> None:
    desk.ask("set-stage", guard="monthly", stage="cancel", by="jane")

    status = desk.ask("status")

    (guard,) = status["guards"]
    assert (guard["guard"], guard["stage"], guard["mode"]) == ("monthly", "cancel", "enforce")
    assert (guard["by"], guard["since"]) == ("jane", "2026-01-01T12:00:00Z")
    assert guard["run"]["phase"] == "closing"
    assert (status["mode"], status["swept_at"]) == ("enforce", None)


def test_a_calm_guard_is_told_of_too(desk: Desk) -> None:
    (guard,) = desk.ask("status")["guards"]

    assert (guard["stage"], guard["since"], guard["run"]) == ("calm", None, None)


def test_a_job_is_explained_with_findings_and_rules(desk: Desk) -> None:
    answer = desk.ask("explain", job_id=JOB)

    assert (answer["status"], answer["queue"]) == ("RUNNABLE", "gpu")
    assert [finding["code"] for finding in answer["findings"]]
    assert answer["limit"]["after_seconds"] == 6 * 3600
    assert answer["limit"]["after_by_cause_seconds"] == {"misconfigured": 1800}
    assert answer["guards"] == [{"guard": "monthly", "spared": False}]
    assert answer["exempt_until"] is None


def test_a_child_is_explained_by_its_arrays_tags_and_exemption(desk: Desk) -> None:
    array, child = desk.aws.jobs[JOB], f"{JOB}:0"
    desk.aws.jobs[child] = array | {"jobId": child, "arrayProperties": {"index": 0}}
    desk.aws.jobs[JOB] = array | {"tags": {"critical": "true", "batch-watchdog:RUNNABLE": "2h"}}
    desk.ask("exempt", job_id=JOB, until="2026-01-01T15:00:00Z", by="jane")

    answer = desk.ask("explain", job_id=child)

    assert answer["limit"]["rule"] == "tag batch-watchdog:RUNNABLE"
    assert answer["limit"]["after_seconds"] == 2 * 3600
    assert answer["guards"] == [{"guard": "monthly", "spared": True}]
    assert answer["exempt_until"] == "2026-01-01T15:00:00Z"


def test_asking_changes_and_records_nothing(desk: Desk) -> None:
    desk.ask("status")
    desk.ask("explain", job_id=JOB)

    assert not desk.records
    assert not desk.aws.changing_calls or {name for name, _ in desk.aws.changing_calls} == {
        "GetJobQueueSnapshot"
    }


# ---- Check, and trials --------------------------------------------------------------------


def test_a_check_says_what_is_wrong_and_what_to_do(desk: Desk) -> None:
    told = desk.ask("check")

    assert told["fine"] is False
    assert "the subscription is not confirmed" in told["problems"][1]["what"]
    assert told["problems"][1]["what_to_do"]
    assert desk.records == []


def test_a_check_says_which_guard_its_alarm_has_not_raised(desk: Desk) -> None:
    def told() -> list[str]:
        return [each["what"] for each in desk.ask("check")["problems"] if "ALARM" in each["what"]]

    rings = AlarmFact(
        name="soft", arn="arn:soft", state="ALARM", region="r", changed_at=NOW - timedelta(hours=1)
    )
    desk.alarms = (rings,)
    assert told() == ["The alarm soft is in ALARM, and the guard monthly is not at cancel."]

    desk.ask("set-stage", guard="monthly", stage="cancel", by="jane")
    assert told() == []

    desk.ask("release", guard="monthly", by="jane")
    assert told() == []


def test_a_trial_notice_is_sent_for_each_kind_and_recorded(desk: Desk) -> None:
    told = desk.ask("test-notice", by="jane", kinds=["job-failed", "guard-raised", "job-failed"])

    assert told["decided"].startswith("sent: job-failed, guard-raised")
    effects = [to_action(item).effect for item in desk.actions]
    notices = [n for effect in effects if isinstance(effect, Announce) for n in effect.notices]
    assert sorted(each.kind for each in notices) == ["guard-raised", "job-failed"]
    assert all(each.facts["test"] for each in notices)
    assert len(desk.records) == 1
    assert "error" in desk.ask("test-notice", by="jane", kinds=["no-such"])
    assert "error" in desk.ask("test-notice", by="jane", kinds=[])


def test_the_status_of_a_guard_shows_what_it_waits_for(desk: Desk) -> None:
    (guard,) = desk.ask("status")["guards"]

    assert guard["waits_for"][0].keys() == {"stage", "alarm", "heard"}
    assert {each["heard"] for each in guard["waits_for"]} == {None}
