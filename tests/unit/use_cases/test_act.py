"""
Actions carried out: once where it can be helped, each result recorded, no message refused; and no
call that changes something, unless it is still meant when it is made.
"""

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from batch_watchdog.core.effects import Announce, Effect, SetQueueState, StartRun, StopJobs
from batch_watchdog.core.errors import OutOfTimeError, StaleItemError, UnreadPolicyError
from batch_watchdog.failed_jobs.notices import job_failed
from batch_watchdog.guards import items as guard_items
from batch_watchdog.guards import queue_update_items
from batch_watchdog.guards.state import GuardState, LatestSignal, StageEntry
from batch_watchdog.limits import brake_items, exemption_items, sighting_items, stop_results
from batch_watchdog.limits.exemption_items import Exemption
from batch_watchdog.limits.stays import Sighting
from batch_watchdog.policy.model import Policy, parse_policy
from batch_watchdog.store import operator_hold
from batch_watchdog.store.actions import Action, Actions, to_action
from batch_watchdog.store.item_codec import to_image
from batch_watchdog.store.memory_table import MemoryTable
from batch_watchdog.store.operator_hold import OperatorHold
from batch_watchdog.store.table import Put
from batch_watchdog.threads.items import open_threads
from batch_watchdog.threads.workflow import close_windows
from batch_watchdog.use_cases.act import Actor
from batch_watchdog.use_cases.announce import Announcer
from local.aws.errors import ApiError
from tests.fakes import TOPIC, Aws, RacedTable
from tests.makers import ARRAY, JOB, QUEUE, a_described_job, a_failure, a_notice, at, change

POLICY = """
mode = "enforce"
[[limit]]
RUNNABLE = { after = "2h", action = "cancel", after_by_cause = { misconfigured = "1h" } }
RUNNING = { after = "2h", action = "terminate" }
[[guard]]
name = "g"
spare = { tags = { critical = "true" } }
[[guard.stage]]
alarms = ["soft"]
action = "cancel"
close_queues = true
[[array]]
stop_rest_when = { failed = 3 }
"""


class Scene:
    """
    A table in memory, whose stream is handed to an actor by `carry_out`, at noon.

    There is time for `time_for` looks at the time that is left.
    """

    def __init__(self) -> None:
        self.aws = Aws()
        self.policy = POLICY
        self.now = at("12:00")
        self.time_for = 10**6
        self.table = MemoryTable()
        self.actor = self.actor_on(self.table)

    def actor_on(self, table: Any) -> Actor:
        aws = self.aws
        return Actor(
            table=table,
            batch=aws.batch,
            announcer=Announcer(
                table=table,
                sns=aws.sns,
                topic_arn=TOPIC,
                policy=lambda: parse_policy(self.policy),
                clock=lambda: self.now,
            ),
            stop_queue=aws.stop_queue,
            policy=lambda: parse_policy(self.policy),
            clock=lambda: self.now,
        )

    def record(self, *effects: Effect) -> list[Any]:
        """Write actions; give what the stream tells of them."""
        puts = Actions(self.table).puts(effects, at("12:00"), "sweep")
        self.table.write(puts)
        return [as_in_a_stream(Put({**put.item, "version": 1})) for put in puts]

    def carry_out(self, *effects: Effect) -> None:
        for image in self.record(*effects):
            self.hand_on(image)

    def hand_on(self, image: Any) -> None:
        self.actor.carry_out(image, out_of_time=self.out_of_time)

    def out_of_time(self) -> bool:
        self.time_for -= 1
        return self.time_for < 0

    def show(self, *job_ids: str, **changes: Any) -> None:
        """Let Batch show jobs that wait."""
        self.aws.jobs |= {job_id: a_described_job(job_id, **changes) for job_id in job_ids}

    def raise_guard(self, **changes: Any) -> None:
        """The guard is at `cancel`, and has decided to close the queue."""
        state = GuardState(guard="g", entry=ENTRY, closed=(QUEUE,), alarms=RINGING)
        self.table.write([guard_items.put(replace(state, **changes), at("11:00"))])

    @property
    def result(self) -> Any:
        """What was recorded of the only action."""
        (action,) = self.actions()
        return action.result

    def actions(self) -> list[Action]:
        return [to_action(item) for item in self.table.query("ACTION#2026-01-01")]

    @property
    def subjects(self) -> list[str]:
        return [message["Subject"] for message in self.aws.published]


RINGING = {"cloudwatch:soft": LatestSignal(state="ALARM", at=at("11:00"))}
ENTRY = StageEntry(
    run_id="g:cancel:1", stage="cancel", since=at("11:00"), mode="enforce", why="soft"
)


def a_limit_stop(*job_ids: str, **changes: Any) -> StopJobs:
    """A stop of jobs that have been RUNNABLE for two hours."""
    ids = job_ids or (JOB,)
    stop = StopJobs(
        how="cancel",
        job_ids=ids,
        reason="batch-watchdog: why",
        rule="limit[1]",
        status="RUNNABLE",
        since=(at("10:00"),) * len(ids),
    )
    return replace(stop, **changes)


def a_guard_stop(**changes: Any) -> StopJobs:
    stop = StopJobs(
        how="cancel", job_ids=(JOB,), reason="r", rule="g", guard="g", run_id=ENTRY.run_id
    )
    return replace(stop, **changes)


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


# ---- Queues ---------------------------------------------------------------------------------

CLOSE = SetQueueState(queue=QUEUE, state="DISABLED", guard="g")
REOPEN = SetQueueState(queue=QUEUE, state="ENABLED", guard="g")
UPDATING = "Cannot update, resource is being modified."


def refuses(code: str = "ClientException", message: str = UPDATING) -> Any:
    def refuse(operation: str, _: dict[str, Any]) -> None:
        if operation == "UpdateJobQueue":
            raise ApiError(code, message)

    return refuse


def test_a_queue_is_set_as_its_guard_has_decided(scene: Scene) -> None:
    scene.raise_guard()

    scene.carry_out(CLOSE)

    assert scene.aws.changing_calls == [
        ("UpdateJobQueue", {"jobQueue": QUEUE, "state": "DISABLED"})
    ]
    assert scene.result == {"state": "DISABLED"}


def test_a_setting_of_a_queue_that_was_overtaken_is_not_carried_out(scene: Scene) -> None:
    scene.raise_guard()

    scene.carry_out(REOPEN)

    assert not scene.aws.changing_calls
    assert "overtaken" in scene.result


@pytest.mark.parametrize(
    "policy",
    ["", POLICY.replace('"enforce"', '"observe"'), POLICY.replace("close_queues = true", "")],
    ids=["no such guard", "observes", "closes no queues"],
)
def test_a_queue_is_not_closed_when_the_policy_does_not_ask_for_it_any_more(
    scene: Scene, policy: str
) -> None:
    scene.raise_guard()
    scene.policy = policy

    scene.carry_out(CLOSE)

    assert not scene.aws.changing_calls
    assert "overtaken" in scene.result
    # The sweep looks whether the guard has closed it, as its state says.
    assert queue_update_items.read(scene.table).by_queue[QUEUE].effect == CLOSE


def test_a_queue_is_reopened_whatever_the_mode_is_by_now(scene: Scene) -> None:
    scene.policy = ""

    scene.carry_out(REOPEN)

    assert [name for name, _ in scene.aws.changing_calls] == ["UpdateJobQueue"]


def test_a_queue_is_not_reopened_while_a_stage_holds_it_closed(scene: Scene) -> None:
    scene.raise_guard(closed=())

    scene.carry_out(REOPEN)

    assert not scene.aws.changing_calls
    assert "waits" in scene.result
    assert queue_update_items.read(scene.table).by_queue[QUEUE].effect == REOPEN


def test_a_refused_update_of_a_queue_is_recorded_and_kept_for_the_sweep(scene: Scene) -> None:
    scene.raise_guard()
    scene.aws.on_call = refuses()

    scene.carry_out(CLOSE)

    assert scene.result == {"refused": f"ClientException: {UPDATING}"}
    update = queue_update_items.read(scene.table).by_queue[QUEUE]
    assert (update.effect, update.refused, update.since) == (CLOSE, True, at("12:00"))
    assert update.due_at == at("12:01")


def test_an_update_that_works_at_last_is_kept_as_done_for_other_tries_of_it(scene: Scene) -> None:
    scene.raise_guard()
    scene.aws.on_call = refuses()
    scene.carry_out(CLOSE)
    scene.aws.on_call = lambda *_: None
    scene.now = at("12:01")

    scene.carry_out(replace(CLOSE, guard="g "))  # The same, as another action.
    assert queue_update_items.read(scene.table).by_queue[QUEUE].done

    scene.aws.on_call = refuses()  # Batch is still at work on it.
    scene.carry_out(replace(CLOSE, guard="g  "))
    update = queue_update_items.read(scene.table).by_queue[QUEUE]
    assert (update.done, update.refused) == (True, False)


def test_an_update_that_is_throttled_comes_again_by_the_stream(scene: Scene) -> None:
    scene.raise_guard()
    scene.aws.on_call = refuses("ThrottlingException")

    with pytest.raises(ClientError):
        scene.carry_out(CLOSE)

    assert scene.result is None


def test_a_queue_whose_closing_was_refused_is_not_reopened(scene: Scene) -> None:
    scene.raise_guard()
    scene.aws.on_call = refuses()
    scene.carry_out(CLOSE)
    scene.aws.on_call = lambda *_: None
    scene.table.write([guard_items.put(GuardState(guard="g", version=1), at("12:01"))])
    before = len(scene.aws.changing_calls)

    scene.carry_out(REOPEN)

    assert len(scene.aws.changing_calls) == before
    assert queue_update_items.read(scene.table).by_queue == {}


def test_a_queue_whose_reopening_was_refused_is_still_closed_by_the_guard(scene: Scene) -> None:
    """Its guard was raised anew meanwhile, and the closing is refused for the same reason."""
    scene.aws.on_call = refuses()
    scene.carry_out(REOPEN)
    scene.raise_guard()

    scene.carry_out(CLOSE)

    update = queue_update_items.read(scene.table).by_queue[QUEUE]
    assert (update.effect, update.refused) == (CLOSE, False)


def test_a_queue_that_a_hold_kept_from_being_closed_is_not_reopened(scene: Scene) -> None:
    scene.raise_guard()
    scene.table.write([operator_hold.put(OperatorHold(since=at("12:00"), by="jane"))])
    scene.carry_out(CLOSE)
    scene.table.write([guard_items.put(GuardState(guard="g", version=1), at("12:01"))])

    (image,) = scene.record(REOPEN)
    scene.hand_on(image)
    scene.hand_on(image)  # Each may come twice.
    resume(scene)

    assert not scene.aws.changing_calls
    assert queue_update_items.read(scene.table).by_queue == {}


def test_a_queue_that_may_have_been_closed_before_a_hold_is_reopened_after_it(
    scene: Scene,
) -> None:
    """The closing died after the call, and comes again under the hold."""
    scene.raise_guard()
    scene.aws.on_call = refuses("ServerException")
    with pytest.raises(ClientError):
        scene.carry_out(CLOSE)
    scene.aws.on_call = lambda *_: None
    scene.table.write([operator_hold.put(OperatorHold(since=at("12:00"), by="jane"))])
    scene.carry_out(replace(CLOSE, guard="g "))
    scene.table.write([guard_items.put(GuardState(guard="g", version=1), at("12:01"))])

    scene.carry_out(REOPEN)
    resume(scene)

    assert scene.aws.changing_calls[-1] == (
        "UpdateJobQueue",
        {"jobQueue": QUEUE, "state": "ENABLED"},
    )


def resume(scene: Scene) -> None:
    """End the hold; what has waited for that is carried out."""
    held = operator_hold.read(scene.table)
    scene.table.write([operator_hold.put(held.resumed(at("12:10")))])
    scene.now = at("12:10")
    scene.carry_out(*(replace(each, guard="again") for each in held.queues.values()))


def test_a_queue_may_have_been_closed_where_no_answer_is_known(scene: Scene) -> None:
    """The closing was refused; its next try died after the call, and the guard was released."""
    scene.raise_guard()
    scene.aws.on_call = refuses()
    scene.carry_out(CLOSE)
    scene.aws.on_call = refuses("ServerException")
    with pytest.raises(ClientError):
        scene.carry_out(replace(CLOSE, guard="g "))
    scene.aws.on_call = lambda *_: None
    scene.table.write([guard_items.put(GuardState(guard="g", version=1), at("12:01"))])

    scene.carry_out(REOPEN)

    assert scene.aws.changing_calls[-1] == (
        "UpdateJobQueue",
        {"jobQueue": QUEUE, "state": "ENABLED"},
    )


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
        "version": "1",
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
    assert sent == count or scene.subjects == [f"{count} × job-failed in gpu"]


def test_the_policy_says_how_many_are_too_many(scene: Scene) -> None:
    notices = announce(3).notices
    others = tuple(replace(each, kind="limit-warning") for each in notices)

    scene.policy = "[notify]\ndigest_over = 2"
    scene.carry_out(Announce(notices=notices))
    scene.policy = "[notify]\ndigest_over = 3"
    scene.carry_out(Announce(notices=others))

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
    _close_windows(scene, "12:16")

    assert max(len(message["Message"].encode()) for message in scene.aws.published) < 256 * 1024
    digests = [json.loads(json.loads(each["Message"])["default"]) for each in scene.aws.published]
    ids = [id_ for each in digests for id_ in each["facts"]["ids"]]
    assert ids[0] == notices[0].id
    assert set(ids) < {notice.id for notice in notices}
    assert sum(each["facts"]["count"] for each in digests) == len(notices)


def _close_windows(scene: Scene, clock: str) -> None:
    """A sweep at that time, and what the stream tells of what it writes."""
    scene.now = at(clock)
    keys = [thread.key for thread in open_threads(scene.table, at("12:00"))]
    known = {action.sk for action in scene.actions()}
    close_windows(scene.table, keys, at(clock))
    for item in scene.table.query("ACTION#2026-01-01"):
        if item["sk"] not in known:
            scene.hand_on(as_in_a_stream(Put(item)))


# ---- Stops --------------------------------------------------------------------------------


def test_jobs_are_stopped_and_the_result_is_recorded(scene: Scene) -> None:
    scene.show("1", "2", "3")
    refusal = {"job": "2", "code": "ClientException", "message": "Job 2 is not there"}
    answer = {"successful": ["1", "3"], "errors": [refusal]}
    scene.aws.on_call = lambda name, _: answer if name == "CancelJobs" else None

    scene.carry_out(a_limit_stop("1", "2", "3"))

    assert scene.aws.changing_calls == [
        ("CancelJobs", {"jobs": ["1", "2", "3"], "reason": "batch-watchdog: why"})
    ]
    assert scene.result == {
        "accepted": 2,
        "refused": {"2": "ClientException: Job 2 is not there"},
    }


def test_a_service_job_is_stopped_by_the_call_for_service_jobs(scene: Scene) -> None:
    detail = a_described_job() | {"serviceJobType": "SAGEMAKER_TRAINING"}
    scene.aws.on_call = lambda name, _: detail if name == "DescribeServiceJob" else None

    scene.carry_out(a_limit_stop(service=True))

    assert [name for name, _ in scene.aws.changing_calls] == ["TerminateServiceJobs"]


@pytest.mark.parametrize(("now", "calls"), [("12:05", 1), ("12:06", 0)])
def test_a_stop_that_comes_late_is_left_to_those_who_asked_for_it(
    scene: Scene, now: str, calls: int
) -> None:
    scene.show(JOB)
    scene.now = at(now)

    scene.carry_out(a_limit_stop())

    assert len(scene.aws.changing_calls) == calls
    assert ("overtaken" in scene.result) == (not calls)


def test_a_stop_of_an_older_version_is_not_carried_out_blindly(scene: Scene) -> None:
    scene.show(JOB)

    scene.carry_out(StopJobs(how="cancel", job_ids=(JOB,), reason="r", rule="r"))

    assert scene.aws.calls == []
    assert "decided anew" in scene.result["overtaken"]


def test_only_those_jobs_are_stopped_whose_stop_is_still_meant(scene: Scene) -> None:
    scene.show("1", "4")
    scene.show("2", status="STARTING")

    scene.carry_out(a_limit_stop("1", "2", "3", "4"))

    assert [params["jobs"] for _, params in scene.aws.changing_calls] == [["1", "4"]]
    assert scene.result == {
        "accepted": 2,
        "refused": {},
        "not_meant": {"the job is STARTING": ["2"], "AWS Batch does not show the job": ["3"]},
    }


def test_a_job_that_has_left_its_state_and_come_back_since_is_not_stopped(scene: Scene) -> None:
    scene.show("1", "2")
    back = Sighting(job_id="2", status="RUNNABLE", attempts=0, at=at("11:59"))
    sighting_items.file(scene.table, [back], at("11:59"))

    scene.carry_out(a_limit_stop("1", "2"))

    assert [params["jobs"] for _, params in scene.aws.changing_calls] == [["1"]]
    assert scene.result["not_meant"] == {"the job's limit has not passed": ["2"]}


def test_where_no_stop_is_meant_any_more_nothing_is_called(scene: Scene) -> None:
    scene.show(JOB, tags={"batch-watchdog:exempt": "true"})

    scene.carry_out(a_limit_stop())

    assert scene.aws.changing_calls == []


def test_each_portion_is_judged_by_the_policy_as_it_is_then(scene: Scene) -> None:
    ids = [f"job-{number}" for number in range(120)]
    scene.show(*ids)

    def on_call(name: str, params: dict[str, Any]) -> None:
        if name == "CancelJobs" and "job-50" in params["jobs"]:
            scene.policy = POLICY.replace('"enforce"', '"observe"')

    scene.aws.on_call = on_call
    scene.carry_out(a_limit_stop(*ids))

    assert [len(params["jobs"]) for _, params in scene.aws.changing_calls] == [50, 50]
    assert scene.result["accepted"] == 100
    assert scene.result["not_meant"] == {"the policy only observes": ids[100:]}


def test_a_hold_ends_a_stop_between_two_portions(scene: Scene) -> None:
    ids = [f"job-{number}" for number in range(120)]
    scene.show(*ids)

    def on_call(name: str, _: dict[str, Any]) -> None:
        if name == "CancelJobs":
            hold = OperatorHold(since=at("12:00"), by="jane")
            scene.table.write([operator_hold.put(hold)])

    scene.aws.on_call = on_call
    scene.carry_out(a_limit_stop(*ids))

    assert scene.result == {"accepted": 50, "refused": {}, "seen": 50, "held_by": "jane"}


def test_a_job_that_an_operator_has_exempted_is_not_stopped(scene: Scene) -> None:
    array_child = f"{ARRAY}:7"
    scene.show(JOB, array_child, "1")
    scene.table.write(
        [
            exemption_items.put(Exemption(job_id=job_id, until=at("12:30"), by="jane"))
            for job_id in (JOB, ARRAY)
        ]
    )

    scene.carry_out(a_limit_stop(JOB, array_child, "1"))

    assert [params["jobs"] for _, params in scene.aws.changing_calls] == [["1"]]


def test_a_guards_stop_is_judged_by_the_guard_as_it_is_now(scene: Scene) -> None:
    scene.show(JOB)
    scene.raise_guard(entry=None)

    scene.carry_out(a_guard_stop())

    assert scene.aws.changing_calls == []
    why = "the guard has left the stage for which it was asked"
    assert scene.result["not_meant"] == {why: [JOB]}


def test_a_guards_stop_is_carried_out_while_its_stage_is_on(scene: Scene) -> None:
    scene.show(JOB)
    scene.raise_guard()

    scene.carry_out(a_guard_stop())

    assert [params["jobs"] for _, params in scene.aws.changing_calls] == [[JOB]]


@pytest.mark.parametrize(("failed", "stopped", "calls"), [(4, 0, 1), (3, 0, 0), (3, 1, 0)])
def test_the_rest_of_an_array_is_stopped_if_so_many_have_failed_by_themselves_by_now(
    scene: Scene, failed: int, stopped: int, calls: int
) -> None:
    ended = failed + stopped
    properties = {"size": 10, "statusSummary": {"FAILED": ended, "RUNNING": 10 - ended}}
    scene.show(ARRAY, status="PENDING", arrayProperties=properties)
    for index in range(ended):
        reason = 'batch-watchdog: guard "g" is at cancel: soft' if index >= failed else "exit"
        scene.show(f"{ARRAY}:{index}", status="FAILED", statusReason=reason, container={})
    scene.show(f"{ARRAY}:9", status="RUNNING")
    stop = StopJobs(
        how="terminate", job_ids=(f"{ARRAY}:9",), reason="r", rule="array[1]", array_id=ARRAY
    )

    scene.carry_out(stop)

    assert len(scene.aws.changing_calls) == calls


# ---- Time ---------------------------------------------------------------------------------


def test_a_stop_that_runs_out_of_time_goes_on_where_it_ended(scene: Scene) -> None:
    ids = [f"job-{number}" for number in range(120)]
    scene.show(*ids, "gone")
    del scene.aws.jobs["job-3"]
    (image,) = scene.record(a_limit_stop(*ids))
    scene.time_for = 2

    with pytest.raises(OutOfTimeError):
        scene.hand_on(image)

    assert scene.result is None
    scene.time_for = 10
    scene.hand_on(image)

    stopped = [job for _, params in scene.aws.changing_calls for job in params["jobs"]]
    assert stopped == [job_id for job_id in ids if job_id != "job-3"]
    assert scene.result == {
        "accepted": 119,
        "refused": {},
        "not_meant": {"AWS Batch does not show the job": ["job-3"]},
    }


# ---- What is known of a stop whose try ended without an answer ------------------------------


class CrashError(Exception):
    """The end of an invocation."""


def crashes_in(operation: str) -> Any:
    def crash(name: str, _: dict[str, Any]) -> None:
        if name == operation:
            raise CrashError

    return crash


def tried_before(scene: Scene, *job_ids: str, **changes: Any) -> Any:
    """An action whose first try has ended in the call of Batch; what the stream tells of it."""
    scene.show(*job_ids)
    (image,) = scene.record(a_limit_stop(*job_ids, **changes))
    scene.aws.on_call = crashes_in("CancelJobs")
    with pytest.raises(CrashError):
        scene.hand_on(image)
    scene.aws.on_call = lambda *_: None
    return image


@pytest.mark.parametrize(
    ("shown", "accepted"),
    [
        ({"status": "RUNNING", "isCancelled": True}, 1),
        ({"status": "FAILED", "statusReason": "batch-watchdog: why"}, 1),
        ({"status": "FAILED", "statusReason": "Host terminated."}, 0),
        ({"status": "RUNNING"}, 0),
    ],
)
def test_what_the_try_before_has_stopped_counts_as_accepted(
    scene: Scene, shown: dict[str, Any], accepted: int
) -> None:
    image = tried_before(scene, JOB)
    scene.show(JOB, **shown)
    scene.hand_on(image)

    assert scene.result["accepted"] == accepted
    assert stop_results.of_job(scene.actions(), JOB, "RUNNABLE").outcome == (  # type: ignore[union-attr]
        "accepted" if accepted else "not asked"
    )


def test_what_the_try_before_has_stopped_of_an_array_counts_as_accepted(scene: Scene) -> None:
    properties = {"size": 10, "statusSummary": {"FAILED": 4, "RUNNING": 6}}
    scene.show(ARRAY, status="PENDING", arrayProperties=properties)
    for index in range(4):
        scene.show(f"{ARRAY}:{index}", status="FAILED", statusReason="exit", container={})
    stop = StopJobs(how="terminate", job_ids=(ARRAY,), reason="r", rule="array[1]", array_id=ARRAY)
    (image,) = scene.record(stop)
    scene.aws.on_call = crashes_in("TerminateJobs")
    with pytest.raises(CrashError):
        scene.hand_on(image)
    scene.aws.on_call = lambda *_: None
    scene.aws.jobs[ARRAY] |= {"isTerminated": True}
    scene.hand_on(image)

    assert scene.result == {"accepted": 1, "refused": {}}
    result = stop_results.of_array(scene.actions(), ARRAY)
    assert result
    assert result.outcome == "accepted"


def test_a_stop_of_others_is_not_taken_for_ours(scene: Scene) -> None:
    scene.show(JOB, status="RUNNING", isCancelled=True)

    scene.carry_out(a_limit_stop())

    assert scene.result == {
        "accepted": 0,
        "refused": {},
        "not_meant": {"the job is RUNNING": [JOB]},
    }


def test_while_the_policy_cannot_be_read_nothing_is_stopped(scene: Scene) -> None:
    scene.show(JOB)

    def unread() -> Policy:
        raise UnreadPolicyError("the policy could not be read (/policy)")

    scene.actor = replace(scene.actor, policy=unread)
    scene.carry_out(a_limit_stop())

    assert scene.aws.changing_calls == []
    [outcome] = [stop_results.of_job(scene.actions(), JOB, "RUNNABLE")]
    assert outcome is not None
    assert outcome.outcome == "not asked"
    assert outcome.why == "it is decided anew: the policy could not be read (/policy)"


def test_a_hold_leaves_unsure_what_the_try_before_may_have_asked(scene: Scene) -> None:
    ids = [f"job-{number}" for number in range(70)]
    image = tried_before(scene, *ids)
    scene.table.write([operator_hold.put(OperatorHold(since=at("12:00"), by="jane"))])
    scene.hand_on(image)

    assert scene.result == {
        "accepted": 0, "refused": {}, "seen": 0, "asked": 50, "held_by": "jane",
    }  # fmt: skip
    outcomes = [stop_results.of_job(scene.actions(), job_id, "RUNNABLE") for job_id in ids]
    assert [each and each.outcome for each in outcomes] == ["unsure"] * 50 + ["not asked"] * 20


def test_of_two_tries_at_once_the_slower_one_asks_nothing(scene: Scene) -> None:
    scene.show(JOB)
    (image,) = scene.record(a_limit_stop())
    slower = RacedTable(scene.table, lambda: scene.hand_on(image))

    with pytest.raises(StaleItemError):
        scene.actor_on(slower).carry_out(image, out_of_time=lambda: False)

    assert len(scene.aws.changing_calls) == 1
    assert scene.result == {"accepted": 1, "refused": {}}


# ---- The brake ----------------------------------------------------------------------------


def counted(scene: Scene) -> int:
    """How many stops the brake counts."""
    return 99 - brake_items.read(scene.table, scene.now).allowed(99, 99)


@pytest.mark.parametrize(("meant", "left"), [(3, 3), (1, 1), (0, 0)])
def test_the_brake_counts_what_batch_has_accepted(scene: Scene, meant: int, left: int) -> None:
    ids = ["1", "2", "3"]
    scene.show(*ids[:meant])
    scene.table.write([brake_items.read(scene.table, scene.now).put(3, scene.now)])

    scene.carry_out(a_limit_stop(*ids, counted=True))

    assert counted(scene) == left


def test_the_brake_keeps_counting_what_may_have_been_asked(scene: Scene) -> None:
    scene.table.write([brake_items.read(scene.table, scene.now).put(1, scene.now)])
    image = tried_before(scene, JOB, counted=True)
    scene.table.write([operator_hold.put(OperatorHold(since=at("12:00"), by="jane"))])
    scene.hand_on(image)

    assert counted(scene) == 1


def test_a_stop_that_the_brake_has_not_counted_takes_nothing_back(scene: Scene) -> None:
    scene.table.write([brake_items.read(scene.table, scene.now).put(1, scene.now)])

    scene.carry_out(a_limit_stop())  # of a job that Batch does not show

    assert counted(scene) == 1


def test_an_action_is_not_begun_when_there_is_no_time_left(scene: Scene) -> None:
    scene.time_for = 0

    with pytest.raises(OutOfTimeError):
        scene.carry_out(announce(1))

    assert scene.subjects == []
    assert scene.result is None


def test_a_stop_of_many_jobs_is_several_actions_of_500(scene: Scene) -> None:
    scene.record(a_limit_stop(*(f"job-{number}" for number in range(1_100))))

    sizes = [len(action.effect.job_ids) for action in scene.actions()]  # type: ignore[union-attr]
    assert sorted(sizes) == [100, 500, 500]


# ---- Runs ---------------------------------------------------------------------------------


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
        scene.hand_on(image)

    assert scene.subjects == ["Job 0"]
    assert scene.actions()[0].result == {"message_ids": ["message-1"]}


def test_an_action_that_failed_is_carried_out_when_it_comes_again(scene: Scene) -> None:
    scene.show(JOB)
    (image,) = scene.record(a_limit_stop())

    def out_of_order(operation: str, params: dict[str, Any]) -> dict[str, Any]:
        raise ApiError("ServerException", "try later", 500)

    scene.aws.on_call = out_of_order
    with pytest.raises(ClientError):
        scene.hand_on(image)
    assert scene.actions()[0].result is None

    scene.aws.on_call = lambda *_: None
    scene.hand_on(image)

    assert scene.actions()[0].result == {"accepted": 1, "refused": {}}


def test_two_that_carry_out_the_same_action_record_it_once(scene: Scene) -> None:
    (image,) = scene.record(announce(1))
    raced = scene.actor_on(RacedTable(scene.table, lambda: scene.hand_on(image)))

    raced.carry_out(image, out_of_time=lambda: False)

    assert scene.actions()[0].version == 3
    assert scene.actions()[0].result == {"message_ids": ["message-1"]}
    assert len(scene.aws.published) == 1


def test_an_action_that_is_gone_is_not_carried_out(scene: Scene) -> None:
    (image,) = scene.record(announce(1))

    scene.actor_on(MemoryTable()).carry_out(image, out_of_time=lambda: False)

    assert scene.subjects == []


def test_a_notice_is_worded_when_it_is_sent(scene: Scene) -> None:
    notice = job_failed(change(a_failure("12:00")))
    scene.policy = '[notify]\nlanguage = "ja"\ntime_zone = "Asia/Tokyo"'

    scene.carry_out(Announce(notices=(notice,)))

    assert scene.subjects == ["ジョブ失敗、終了コード 1: render"]
    assert "21:00:00 JST" in json.loads(scene.aws.published[0]["Message"])["email"]
