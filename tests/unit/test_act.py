"""Actions carried out: once where it can be helped, each result recorded, no message refused."""

import base64
import json
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from batch_watchdog.act import Actor
from batch_watchdog.effects import Announce, Effect, SetQueueState, StartRun, StopJobs
from batch_watchdog.guard_state import GuardState
from batch_watchdog.store import cursor as cursors
from batch_watchdog.store import guards
from batch_watchdog.store.actions import Action, Actions, to_action
from batch_watchdog.store.cursor import Cursor
from batch_watchdog.store.table import MemoryTable, Put, to_image
from local.aws import ApiError
from tests.fakes import TOPIC, Aws, RacedTable
from tests.makers import JOB, QUEUE, a_notice, at


class Scene:
    """A table in memory, whose stream is handed to an actor by `deliver`."""

    def __init__(self) -> None:
        self.aws = Aws()
        self.table = MemoryTable()
        self.actor = self.actor_on(self.table)

    def actor_on(self, table: Any) -> Actor:
        aws = self.aws
        return Actor(
            table=table,
            batch=aws.batch,
            sns=aws.sns,
            topic_arn=TOPIC,
            stop_queue=aws.stop_queue,
        )

    def record(self, *effects: Effect) -> list[Any]:
        """Write actions; give what the stream tells of them."""
        puts = Actions(self.table).puts(effects, at("12:00"), "sweep")
        self.table.write(puts)
        return [as_in_a_stream(Put({**put.item, "version": 1})) for put in puts]

    def carry_out(self, *effects: Effect) -> None:
        for image in self.record(*effects):
            self.actor.carry_out(image)

    def actions(self) -> list[Action]:
        return [to_action(item) for item in self.table.query("ACTION#2026-01-01")]

    @property
    def subjects(self) -> list[str]:
        return [message["Subject"] for message in self.aws.published]


@pytest.fixture
def scene() -> Scene:
    return Scene()


def as_in_a_stream(put: Put) -> Any:
    def to_text(value: bytes) -> str:
        return base64.b64encode(value).decode()

    return json.loads(json.dumps(to_image(put.item), default=to_text))


def announce(count: int, **notice: Any) -> Announce:
    notices = [a_notice(id=f"job-failed:{n}", subject=f"Job {n}", **notice) for n in range(count)]
    return Announce(notices=tuple(notices))


# ---- Queues and runs ----------------------------------------------------------------------


def test_a_queue_is_set_as_its_guard_has_decided(scene: Scene) -> None:
    scene.table.write([guards.put(GuardState(guard="g", closed=(QUEUE,)), at("12:00"))])

    scene.carry_out(SetQueueState(queue=QUEUE, state="DISABLED", guard="g"))

    assert scene.aws.changing_calls == [
        ("UpdateJobQueue", {"jobQueue": QUEUE, "state": "DISABLED"})
    ]


def test_a_setting_of_a_queue_that_was_overtaken_is_not_carried_out(scene: Scene) -> None:
    scene.table.write([guards.put(GuardState(guard="g", closed=(QUEUE,)), at("12:00"))])

    scene.carry_out(SetQueueState(queue=QUEUE, state="ENABLED", guard="g"))

    assert not scene.aws.changing_calls
    assert [action.result for action in scene.actions()] == [{"overtaken": True}]


# ---- Messages -----------------------------------------------------------------------------


def test_a_notice_is_text_for_mails_and_json_for_programs(scene: Scene) -> None:
    facts = {
        "job_id": "1",
        "job_name": "<b>\nö🦊",
        "queue": "gpu",
        "exit_code": None,
        "mode": "observe",
    }

    scene.carry_out(Announce(notices=(a_notice(text="Line 1\nLine 2", facts=facts),)))

    (message,) = scene.aws.published
    bodies = json.loads(message["Message"])
    assert message["TopicArn"] == TOPIC
    assert message["Subject"] == "Job failed, exit code 1: render"
    assert message["MessageStructure"] == "json"
    assert bodies["email"] == "Line 1\nLine 2"
    assert json.loads(bodies["default"]) == {
        "notice": "job-failed",
        "id": "job-failed:1",
        "severity": "warning",
        "subject": "Job failed, exit code 1: render",
        "text": "Line 1\nLine 2",
        "facts": facts,
    }


def test_subscribers_can_filter_by_attributes(scene: Scene) -> None:
    facts = {"job_name": "<b>\nö", "queue": "gpu", "mode": "observe", "size": 7}

    scene.carry_out(Announce(notices=(a_notice(facts=facts),)))

    attributes = scene.aws.published[0]["MessageAttributes"]
    assert {name: each["StringValue"] for name, each in attributes.items()} == {
        "notice": "job-failed",
        "severity": "warning",
        "queue": "gpu",
        "job_name": "‹b› ö",
        "mode": "observe",
    }
    assert {each["DataType"] for each in attributes.values()} == {"String"}


@pytest.mark.parametrize("name", ["", None, " ", "\n", "\u202e", "\x00\x1f"])
def test_a_name_of_which_nothing_can_be_shown_is_no_attribute(scene: Scene, name: Any) -> None:
    scene.carry_out(Announce(notices=(a_notice(facts={"job_name": name, "queue": "gpu"}),)))

    assert "job_name" not in scene.aws.published[0]["MessageAttributes"]


@given(st.text(), st.text())
def test_no_name_keeps_a_message_from_being_sent(name: str, queue: str) -> None:
    scene = Scene()

    scene.carry_out(Announce(notices=(a_notice(facts={"job_name": name, "queue": queue}),)))

    assert len(scene.aws.published) == 1


# ---- Digests ------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "sent"), [(1, 1), (5, 5), (6, 1), (100, 1)])
def test_more_than_five_notices_are_one_digest(scene: Scene, count: int, sent: int) -> None:
    scene.carry_out(announce(count))

    assert len(scene.aws.published) == sent
    assert sent == count or scene.subjects == [f"{count} × job-failed: Job 0"]


def test_the_policy_says_how_many_are_too_many(scene: Scene) -> None:
    notices = announce(3).notices

    scene.carry_out(
        Announce(notices=notices, digest_over=2), Announce(notices=notices, digest_over=3)
    )

    assert len(scene.aws.published) == 1 + 3


def test_a_digest_of_a_thousand_notices_fits_into_a_message(scene: Scene) -> None:
    long = "x" * 99

    scene.carry_out(
        Announce(notices=tuple(a_notice(id=f"{long}{n}", subject=long) for n in range(1_000)))
    )

    facts = json.loads(json.loads(scene.aws.published[0]["Message"])["default"])["facts"]
    assert (facts["count"], len(facts["ids"])) == (1_000, 1_000)


def test_a_digest_of_ids_that_take_much_room_fits_into_messages(scene: Scene) -> None:
    notices = [a_notice(id=f"job-failed:{n}" + '"\u00ab' * 120) for n in range(500)]

    scene.carry_out(Announce(notices=tuple(notices)))

    assert max(len(message["Message"].encode()) for message in scene.aws.published) < 256 * 1024
    digests = [json.loads(json.loads(each["Message"])["default"]) for each in scene.aws.published]
    assert [id_ for each in digests for id_ in each["facts"]["ids"]] == [n.id for n in notices]


# ---- Stops and queues ---------------------------------------------------------------------


def test_jobs_are_stopped_and_what_came_of_it_is_recorded(scene: Scene) -> None:
    refusal = {"job": "2", "code": "ClientException", "message": "Job 2 is not there"}
    scene.aws.on_call = lambda *_: {"successful": ["1", "3"], "errors": [refusal]}

    scene.carry_out(
        StopJobs(how="cancel", job_ids=("1", "2", "3"), reason="batch-watchdog: why", rule="r")
    )

    assert scene.aws.calls == [
        ("CancelJobs", {"jobs": ["1", "2", "3"], "reason": "batch-watchdog: why"})
    ]
    assert scene.actions()[0].result == {
        "accepted": 2,
        "refused": {"2": "ClientException: Job 2 is not there"},
    }


def test_a_service_job_is_stopped_by_the_call_for_service_jobs(scene: Scene) -> None:
    scene.carry_out(StopJobs(how="cancel", job_ids=(JOB,), reason="r", rule="r", service=True))

    assert [name for name, _ in scene.aws.calls] == ["TerminateServiceJobs"]


@pytest.mark.parametrize(("swept", "calls"), [("12:05", 1), ("12:06", 0)])
def test_a_stop_that_comes_late_is_left_to_those_who_asked_for_it(
    scene: Scene, swept: str, calls: int
) -> None:
    cursors.write(scene.table, Cursor(minute=at(swept)))

    scene.carry_out(StopJobs(how="terminate", job_ids=(JOB,), reason="r", rule="r"))

    assert len(scene.aws.calls) == calls
    assert ("overtaken" in scene.actions()[0].result) == (not calls)


def test_a_stop_run_is_sent_to_its_queue(scene: Scene) -> None:
    scene.carry_out(StartRun(run_id="run-1"))

    assert [json.loads(message["MessageBody"]) for message in scene.aws.sent] == [
        {"run_id": "run-1"}
    ]
    assert scene.actions()[0].result is not None


# ---- Once ---------------------------------------------------------------------------------


def test_an_action_that_is_delivered_again_is_not_carried_out_again(scene: Scene) -> None:
    (image,) = scene.record(announce(1))

    for _ in range(3):
        scene.actor.carry_out(image)

    assert scene.subjects == ["Job 0"]
    assert scene.actions()[0].result == {"message_ids": ["message-1"]}


def test_an_action_that_failed_is_carried_out_when_it_comes_again(scene: Scene) -> None:
    (image,) = scene.record(StopJobs(how="cancel", job_ids=(JOB,), reason="r", rule="r"))

    def out_of_order(operation: str, params: dict[str, Any]) -> dict[str, Any]:
        raise ApiError("ServerException", "try later", 500)

    scene.aws.on_call = out_of_order
    with pytest.raises(ClientError):
        scene.actor.carry_out(image)
    assert scene.actions()[0].result is None

    scene.aws.on_call = lambda *_: None
    scene.actor.carry_out(image)

    assert scene.actions()[0].result == {"accepted": 1, "refused": {}}


def test_two_that_carry_out_the_same_action_record_it_once(scene: Scene) -> None:
    (image,) = scene.record(announce(1))
    other = scene.actor_on(scene.table)
    raced = scene.actor_on(RacedTable(scene.table, lambda: other.carry_out(image)))

    raced.carry_out(image)

    assert scene.actions()[0].version == 2
    assert scene.actions()[0].result == {"message_ids": ["message-2"]}


def test_an_action_that_is_gone_is_not_carried_out(scene: Scene) -> None:
    (image,) = scene.record(announce(1))

    scene.actor_on(MemoryTable()).carry_out(image)

    assert scene.subjects == []
