"""The policy in force, whatever is put into the parameter, and whatever SSM answers."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, cast

import boto3
import pytest

from batch_watchdog import wiring
from batch_watchdog.aws.settings import Settings
from batch_watchdog.core.errors import UnreadPolicyError
from batch_watchdog.notices.notice import Notice
from batch_watchdog.policy import loader
from batch_watchdog.policy.loader import PolicyLoader
from batch_watchdog.store.actions import to_action
from batch_watchdog.store.item_codec import pack
from batch_watchdog.store.memory_table import MemoryTable
from batch_watchdog.store.table import Put
from local.aws.errors import ApiError, Responder, session
from tests.makers import a_failure, at, messages

ENFORCE = 'mode = "enforce"\n[[limit]]\nRUNNABLE = { after = "2h" }\n'
OBSERVE = 'mode = "observe"\n'
BAD = 'mode = "enforced"\n'
FUNCTION_S = 60  # its time limit


class Parameter:
    """The parameter, which SSM counts, and the policy that is made of it."""

    def __init__(self) -> None:
        self.table = MemoryTable()
        self.text = ""
        self.version = 0
        self.error: ApiError | None = None
        self.now = at("12:00")
        self.asked = 0
        self.policies = self.policies_for(max_age=0)

    def policies_for(self, *, max_age: int) -> PolicyLoader:
        client = session({"ssm": self._answer}).client("ssm")
        return PolicyLoader(client, "/policy", self.table, max_age=max_age)

    def container(self) -> wiring.Container:
        settings = Settings(
            table_name="table", topic_arn="arn:aws:sns:us-east-1:111122223333:notices",
            dead_letter_queue_url="https://sqs/letters", policy_parameter="/policy",
            stop_queue_url="https://sqs/stops", stop_calls_per_second=10,
        )  # fmt: skip
        responders: dict[str, Responder] = dict.fromkeys(("batch", "sns", "sqs"), lambda *_: {})
        aws = session(responders | {"ssm": self._answer})
        container = wiring.Container(settings=settings, session=aws)
        container.table = self.table
        return container

    def put(self, text: str) -> None:
        self.text, self.version = text, self.version + 1

    def delete(self) -> None:
        self.version = 0

    def settle(self, *, minutes: int = 1) -> "Parameter":
        """Let the sweep see it, minute by minute."""
        for _ in range(minutes):
            self.now += timedelta(minutes=1)
            assert self.policies.settle(self.now) == self.policies.current()
        return self

    def remember(self, text: str) -> None:
        """What an older version of the watchdog has found good."""
        put = Put({"pk": "POLICY", "sk": "LAST-GOOD", "body": pack(text)})
        self.table.write([put])

    @property
    def told(self) -> Sequence[Notice]:
        days = [(self.now + timedelta(days=day)).date().isoformat() for day in range(-2, 1)]
        items = [item for day in days for item in self.table.query(f"ACTION#{day}")]
        effects: list[Any] = [to_action(item).effect for item in items]
        return [notice for effect in effects for notice in effect.notices]

    def _answer(self, _: str, params: dict[str, Any]) -> dict[str, Any]:
        self.asked += 1
        if self.error:
            raise self.error
        if not self.version:
            raise ApiError("ParameterNotFound", "")
        return {"Parameter": {"Name": params["Name"], "Value": self.text, "Version": self.version}}


@pytest.fixture
def parameter() -> Parameter:
    return Parameter()


def test_a_good_text_is_in_force_and_nothing_is_told(parameter: Parameter) -> None:
    parameter.put(ENFORCE)

    policy = parameter.settle().policies.current()

    assert (policy.mode, len(policy.limit), policy.readable) == ("enforce", 1, True)
    assert parameter.told == []


def test_a_container_asks_ssm_once_a_minute(parameter: Parameter) -> None:
    parameter.put(ENFORCE)
    policies = parameter.policies_for(max_age=60)

    for _ in range(5):
        assert policies.current().mode == "enforce"

    assert parameter.asked == 1


# ---- A text that cannot be used -----------------------------------------------------------


def test_a_bad_text_leaves_the_last_good_one_in_force_and_is_told_once(
    parameter: Parameter,
) -> None:
    parameter.put(ENFORCE)
    parameter.settle()
    parameter.put(BAD)

    parameter.settle(minutes=36 * 60)

    assert parameter.policies.current().mode == "enforce"
    [notice] = parameter.told
    assert "line 1: mode" in notice.text
    assert "stays in force" in notice.subject
    assert (notice.facts["version"], notice.facts["in_force"]) == (2, "last good")


@pytest.mark.parametrize("between", [ENFORCE, BAD, 'mode = "off"'])
def test_the_same_bad_text_put_again_is_told_again(parameter: Parameter, between: str) -> None:
    for text in (ENFORCE, BAD, between, BAD):
        parameter.put(text)
        parameter.settle(minutes=3)

    versions = [notice.facts["version"] for notice in parameter.told]
    assert versions == [2, 4] if between == ENFORCE else [2, 3, 4]
    assert len({notice.id for notice in parameter.told}) == len(versions)


@pytest.mark.parametrize("last_good", [BAD, 'frobnicate = "1h"', "[[", None])
def test_where_no_text_can_be_read_nothing_is_acted_on_and_operators_are_told(
    parameter: Parameter, last_good: str | None
) -> None:
    """What an older version could read, and this one cannot."""
    if last_good is not None:
        parameter.remember(last_good)
    parameter.put(BAD)

    policy = parameter.settle(minutes=3).policies.current()

    assert not policy.readable
    assert (policy.mode, policy.limit, policy.guard, policy.array) == ("observe", (), (), ())
    [notice] = parameter.told
    assert notice.severity == "critical"
    assert notice.facts["in_force"] == "none"


def test_a_good_text_is_in_force_again_at_once(parameter: Parameter) -> None:
    parameter.remember(BAD)
    parameter.put(BAD)
    parameter.settle()
    parameter.put(ENFORCE)

    assert parameter.settle().policies.current().readable
    assert len(parameter.told) == 1


# ---- A parameter that cannot be read ------------------------------------------------------


@pytest.mark.parametrize(
    "code", ["AccessDeniedException", "ThrottlingException", "InternalServerError"]
)
@pytest.mark.parametrize("known", [True, False])
def test_while_ssm_does_not_answer_the_last_good_text_stays_in_force(
    parameter: Parameter, code: str, *, known: bool
) -> None:
    parameter.put(ENFORCE)
    if known:
        parameter.settle()
    parameter.error = ApiError(code, "no")

    policy = parameter.settle(minutes=3).policies.current()

    assert policy.readable is known
    assert policy.mode == ("enforce" if known else "observe")
    [notice] = parameter.told
    assert code in notice.text


def test_while_ssm_does_not_answer_nothing_is_about_to_be_stopped(parameter: Parameter) -> None:
    parameter.put(ENFORCE)
    parameter.settle()
    parameter.put(OBSERVE)
    parameter.error = ApiError("ThrottlingException", "Rate exceeded")

    with pytest.raises(UnreadPolicyError, match="/policy"):
        parameter.policies.current_for_stops()
    assert parameter.policies.current().mode == "enforce"


def test_while_ssm_does_not_answer_batches_of_events_ask_it_once_in_some_seconds(
    monkeypatch: pytest.MonkeyPatch, parameter: Parameter
) -> None:
    intake = parameter.container().job_event_intake
    parameter.error = ApiError("ThrottlingException", "Rate exceeded")

    for number in range(3):
        assert intake.handle(messages(a_failure(jobId=f"job-{number}"))) == []
    assert parameter.asked == 1

    monkeypatch.setattr(loader, "UNREAD_MAX_AGE", 0)  # in place of some seconds
    parameter.container().job_event_intake.handle(messages(a_failure()))
    assert parameter.asked == 2


def test_a_parameter_that_can_be_read_again_is_in_force_some_seconds_later(
    monkeypatch: pytest.MonkeyPatch, parameter: Parameter
) -> None:
    monkeypatch.setattr(loader, "UNREAD_MAX_AGE", 0)  # in place of some seconds
    policies = parameter.policies_for(max_age=60)
    parameter.put(ENFORCE)
    parameter.error = ApiError("ThrottlingException", "Rate exceeded")
    assert not policies.current().readable

    parameter.error = None

    assert policies.current().mode == "enforce"


def test_what_stops_jobs_asks_again_each_time_that_ssm_has_not_answered(
    parameter: Parameter,
) -> None:
    policies = parameter.policies_for(max_age=60)
    parameter.put(ENFORCE)
    parameter.error = ApiError("ThrottlingException", "Rate exceeded")
    policies.current()

    for asked in (2, 3):
        with pytest.raises(UnreadPolicyError):
            policies.current_for_stops()
        assert parameter.asked == asked
    parameter.error = None
    assert policies.current_for_stops().mode == "enforce"
    assert policies.settle(parameter.now).mode == "enforce"


def test_an_ssm_that_does_not_answer_leaves_a_function_time_for_its_work(
    parameter: Parameter,
) -> None:
    container = parameter.container()
    configs: dict[str, Any] = {}

    class Noting:
        def client(self, service: str, *, config: Any, **_: Any) -> None:
            configs[service] = config

    container.session = cast("boto3.Session", Noting())
    assert container.policies

    asked = configs["ssm"]
    longest_s = asked.retries["total_max_attempts"] * (asked.connect_timeout + asked.read_timeout)
    assert longest_s < FUNCTION_S / 2


# ---- A mode that falls --------------------------------------------------------------------


def test_a_new_policy_that_only_observes_is_told_once(parameter: Parameter) -> None:
    for text in (ENFORCE, OBSERVE):
        parameter.put(text)
        parameter.settle(minutes=3)

    [notice] = parameter.told
    assert (notice.kind, notice.severity) == ("watchdog-trouble", "warning")
    assert notice.facts["mode"] == "observe"
    assert parameter.policies.current().mode == "observe"


def test_a_mode_that_falls_is_told_once_though_a_container_has_the_policy_before_remembered_again(
    parameter: Parameter,
) -> None:
    parameter.put(ENFORCE)
    parameter.settle()
    behind = parameter.policies_for(max_age=3_600)
    behind.current()
    parameter.put(OBSERVE)
    parameter.settle()

    behind.settle(parameter.now + timedelta(minutes=1))
    parameter.settle(minutes=2)

    [notice] = parameter.told
    assert notice.facts["mode"] == "observe"


def test_each_time_that_the_mode_falls_is_told(parameter: Parameter) -> None:
    for text in (ENFORCE, OBSERVE, ENFORCE, OBSERVE):
        parameter.put(text)
        parameter.settle()

    assert len({notice.id for notice in parameter.told}) == 2


def test_a_mode_that_falls_after_a_bad_text_is_told_too(parameter: Parameter) -> None:
    for text in (ENFORCE, BAD, OBSERVE):
        parameter.put(text)
        parameter.settle()

    assert [notice.severity for notice in parameter.told] == ["critical", "warning"]


@pytest.mark.parametrize(
    "texts",
    [(OBSERVE, ENFORCE), (OBSERVE, OBSERVE + "# same"), (ENFORCE, ENFORCE + "# same"), (OBSERVE,)],
)
def test_no_other_change_of_the_policy_is_told(parameter: Parameter, texts: Sequence[str]) -> None:
    for text in texts:
        parameter.put(text)
        parameter.settle()

    assert parameter.told == []


def test_a_text_that_another_version_could_read_says_nothing_of_its_mode(
    parameter: Parameter,
) -> None:
    parameter.remember('mode = "enforce"\nfrobnicate = 1\n')
    parameter.put(OBSERVE)

    parameter.settle()

    assert parameter.told == []


def test_the_time_of_a_day_does_not_matter_to_what_is_told_of_a_text(parameter: Parameter) -> None:
    parameter.put(BAD)
    parameter.now = datetime.fromisoformat("2026-01-01T23:58:00Z")

    parameter.settle(minutes=5)

    assert len(parameter.told) == 1


def test_until_somebody_puts_a_policy_it_observes_and_nothing_is_told(parameter: Parameter) -> None:
    policy = parameter.settle(minutes=3).policies.current()

    assert (policy.mode, policy.readable, policy.notify.job_failures) == ("observe", True, True)
    assert parameter.told == []

    parameter.put(ENFORCE)
    assert parameter.settle().policies.current().mode == "enforce"
    assert parameter.told == []


def test_a_parameter_that_is_deleted_leaves_the_last_good_policy_in_force_and_is_told(
    parameter: Parameter,
) -> None:
    parameter.put(ENFORCE)
    parameter.settle()

    parameter.delete()
    policy = parameter.settle(minutes=5).policies.current()

    assert policy.mode == "enforce"
    [notice] = parameter.told
    assert notice.subject == "The policy cannot be used; the last good one stays in force"
    assert "there is no such parameter any more" in notice.text


def test_what_is_about_to_be_stopped_is_judged_by_the_policy_of_this_second(
    monkeypatch: pytest.MonkeyPatch, parameter: Parameter
) -> None:
    monkeypatch.setattr(loader, "STOPS_MAX_AGE", 0)  # in place of a second
    container = parameter.container()
    readers = (container.actor, container.stop_runner, container.spend_alarm_intake)
    parameter.put(ENFORCE)
    before = [reader.policy().mode for reader in readers]
    parameter.put(OBSERVE)

    assert before == ["enforce"] * 3
    assert [reader.policy().mode for reader in readers] == ["observe", "observe", "enforce"]
