"""A chat beside the e-mail, in whole days: the same notices, by conversations, each told once."""

import json
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import boto3
import pytest
from pydantic import TypeAdapter

from batch_watchdog.notices.chat import ChatMessage, harmless
from local.aws import errors as aws
from local.aws import stack as stacks
from local.aws.clock import Order
from local.aws.dispatcher import Dispatcher
from local.aws.errors import ApiError, Responder
from local.aws.stack import Stack
from local.batch.simulated import SimulatedBatch
from local.gallery.day import Day
from local.gallery.page import JAPANESE
from local.gallery.scenes import SCENES
from tests.makers import a_failure, at

pytestmark = pytest.mark.long

SCHEMA = TypeAdapter(ChatMessage)


@pytest.fixture(scope="module")
def with_chat() -> Stack:
    return stacks.read(parameters={"ChatTopic": "yes"})


@pytest.mark.parametrize("notify", ["", JAPANESE], ids=["en", "ja"])
def test_every_notice_of_the_gallery_is_in_awss_schema(with_chat: Stack, notify: str) -> None:
    for scene in SCENES:
        day = Day(with_chat, scene.policy, notify, alarms=scene.alarms)
        scene.play(day)
        told = [row for row in day.told if "folded_into" not in row]
        chat = [SCHEMA.validate_python(each, strict=True) for each in day.chat]
        titles = {each["id"]: each["content"]["title"] for each in chat}
        for row in told:
            if row["id"] in titles:  # Else the log ends before its window closes.
                assert titles[row["id"]] == harmless(row["subject"])
        assert chat, scene.title
        assert titles.keys() <= {row["id"] for row in told}


class Storm:
    """Failures of one cause, one every five seconds from noon on, and what both topics got."""

    def __init__(self, stack: Stack, out: str = "") -> None:
        self._out = stack.names.get(out, "")
        self.mails: list[tuple[datetime, dict[str, Any]]] = []
        self.letters: list[str] = []
        self.batch = SimulatedBatch(emit=lambda event: self.dispatcher.emitted(event))  # noqa: PLW0108 - it is made below
        self.dispatcher = Dispatcher(stack, self.batch, self, make_session=self._session)
        self.dispatcher.run(at("12:00"))
        self.dispatcher.start(at("12:00"))
        for number in range(600):
            clock = at("12:00") + timedelta(seconds=5 * number)
            event = a_failure(f"{clock:%H:%M:%S}", jobId=f"job-{number}", jobName=f"r-{number}")
            self.batch.load([event])
            self.dispatcher.clock.at(clock, Order.DELIVERY, self.dispatcher.deliver, event)
        self.dispatcher.run(at("17:00"))

    def _session(self, responders: Mapping[str, Responder], region: str) -> boto3.Session:
        """One of the topics takes nothing in the middle of the storm."""

        def sns(operation: str, params: dict[str, Any]) -> dict[str, Any]:
            is_out = at("12:10") <= self.dispatcher.clock.now < at("13:30")
            if is_out and params["TopicArn"] == self._out:
                raise ApiError("InternalError", "out", 500)
            return responders["sns"](operation, params)

        return aws.session({**responders, "sns": sns}, region)

    def published(self, at: datetime, message: Mapping[str, Any]) -> None:
        self.mails.append((at, json.loads(json.loads(message["Message"])["default"])))

    def dead_letter(self, at: datetime, reason: str, event: Any) -> None:  # noqa: ARG002
        self.letters.append(reason)

    @property
    def mailed(self) -> Counter[str]:
        return Counter(each["id"] for _, each in self.mails)

    @property
    def chatted(self) -> Counter[str]:
        return Counter(each["id"] for _, each in self.dispatcher.chat)


@pytest.mark.parametrize("out", ["", "NoticeTopic", "NoticesInChat"])
def test_a_storm_is_told_once_at_both_though_one_of_them_is_out(with_chat: Stack, out: str) -> None:
    storm = Storm(with_chat, out)

    about = {each for each in storm.mailed if "trouble" not in each}
    assert about == {each for each in storm.chatted if "trouble" not in each}
    assert set(storm.mailed.values()) == set(storm.chatted.values()) == {1}
    counted = sum(each["facts"].get("count", 1) for _, each in storm.mails if each["id"] in about)
    assert counted == 600
    threads = {
        each["metadata"]["threadId"] for _, each in storm.dispatcher.chat if each["id"] in about
    }
    assert len(threads) == 1


@pytest.mark.parametrize("out", ["NoticesInChat"])
def test_a_chat_that_is_out_delays_no_mail(with_chat: Stack, out: str) -> None:
    assert Storm(with_chat, out).mails == Storm(with_chat).mails
