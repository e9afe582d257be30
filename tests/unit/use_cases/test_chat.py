"""A chat beside the topic: each told on its own, whatever becomes of the other."""

import json
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from botocore.exceptions import ClientError

from batch_watchdog.core.effects import Announce
from batch_watchdog.notices.chat import MESSAGES_MAX, ChatMessage
from batch_watchdog.notices.notice import Notice
from batch_watchdog.policy.model import parse_policy
from batch_watchdog.store.actions import Action, Actions, to_action
from batch_watchdog.store.item_codec import Item, binary, to_image, unpack
from batch_watchdog.store.memory_table import MemoryTable
from batch_watchdog.store.reminders import Reminders
from batch_watchdog.threads.workflow import close_windows
from batch_watchdog.use_cases.act import Actor
from batch_watchdog.use_cases.announce import Announcer
from local.aws.errors import ApiError
from tests.fakes import TOPIC, Aws
from tests.makers import a_notice, at

CHAT = "arn:aws:sns:us-east-1:111122223333:chat"


class Scene:
    """A table whose stream is handed to an actor, and what went to both topics."""

    def __init__(self, chat: str = CHAT) -> None:
        self.aws = Aws()
        self.table = MemoryTable(self._changed)
        self.policy = ""
        self.now = at("12:00")
        self.broken: set[str] = set()  # topics that take nothing
        self.mails: list[dict[str, Any]] = []
        self.chats: list[ChatMessage] = []
        self.new: list[Any] = []
        self.aws.on_publish = self._publish
        self.actor = Actor(
            table=self.table,
            batch=self.aws.batch,
            announcer=Announcer(
                table=self.table,
                sns=self.aws.sns,
                topic_arn=TOPIC,
                chat_topic_arn=chat,
                policy=lambda: parse_policy(self.policy),
                clock=lambda: self.now,
            ),
            stop_queue=self.aws.stop_queue,
            policy=lambda: parse_policy(self.policy),
            clock=lambda: self.now,
        )

    def _changed(self, _name: str, old: Item | None, item: Item) -> None:
        if old is None and str(item["pk"]).startswith("ACTION#"):
            self.new.append(to_image(item))

    def _publish(self, params: dict[str, Any]) -> None:
        if params["TopicArn"] in self.broken:
            raise ApiError("InvalidParameter", "broken")
        if params["TopicArn"] == CHAT:
            assert "Subject" not in params
            self.chats.append(json.loads(params["Message"]))
        else:
            self.mails.append(json.loads(json.loads(params["Message"])["default"]))

    def announce(self, *notices: Notice) -> None:
        self.table.write(Actions(self.table).puts([Announce(notices=notices)], self.now, "sweep"))
        self.stream()

    def stream(self) -> None:
        """Hand on what is new; what fails is handed on again the next time."""
        failed = []
        while self.new:
            image = self.new.pop(0)
            try:
                self.actor.carry_out(image, out_of_time=lambda: False)
            except ClientError:  # as the stream takes it
                failed.append(image)
        self.new = failed

    def sweep(self, clock: str) -> None:
        self.now = at(clock)
        due = Reminders(self.table).between(at("00:00"), self.now)
        close_windows(self.table, [unpack(each.content)[0] for each in due], self.now)
        self.stream()

    def hand_on(self, clock: str) -> None:
        """As the sweep does with an action that has no result after some minutes."""
        self.now = at(clock)
        for action in self.actions:
            if action.result is None:
                Actions(self.table).hand_on(action, self.now)
        self.stream()

    @property
    def actions(self) -> list[Action]:
        return [to_action(item) for item in self.table.query("ACTION#2026-01-01")]

    @property
    def told(self) -> list[str]:
        return [each["id"] for each in self.chats]

    @property
    def threads(self) -> list[str]:
        return [each["metadata"].get("threadId", "") for each in self.chats]


@pytest.fixture
def scene() -> Scene:
    return Scene()


def failed(number: int, cause: str = "out of memory") -> Notice:
    return a_notice(id=f"job-failed:{number}", facts={"queue": "gpu", "cause": cause})


def test_a_chat_is_told_what_the_topic_is_told(scene: Scene) -> None:
    scene.announce(failed(1))

    assert scene.told == [each["id"] for each in scene.mails] == ["job-failed:1"]
    assert all(action.result["message_ids"] for action in scene.actions)


def test_without_a_topic_for_it_no_chat_is_told() -> None:
    scene = Scene(chat="")
    scene.announce(failed(1))

    assert len(scene.mails) == len(scene.actions) == 1


def test_what_is_told_of_one_cause_is_one_conversation_until_it_is_quiet(scene: Scene) -> None:
    scene.announce(failed(1))
    scene.announce(failed(2))
    scene.announce(failed(3, "another"))
    scene.sweep("12:15")
    scene.announce(failed(4))
    scene.sweep("12:45")
    first, other, *digests = scene.threads
    scene.sweep("13:45")
    scene.now = at("14:00")
    scene.announce(failed(5))

    assert digests == [first, first]
    assert len({first, other, scene.threads[4], ""}) == 4
    assert scene.told == [each["id"] for each in scene.mails]


@pytest.mark.parametrize("fold", ["0s", "15m"])
@pytest.mark.parametrize("count", [5, 6])
def test_what_comes_at_once_is_told_as_in_the_mail(scene: Scene, fold: str, count: int) -> None:
    scene.policy = f'[notify]\nfold = "{fold}"'

    scene.announce(*map(failed, range(count)))

    assert scene.told == [each["id"] for each in scene.mails]
    assert len(set(scene.threads)) == 1
    assert bool(scene.threads[0]) == (fold == "15m")


def test_a_digest_of_several_causes_is_in_no_conversation(scene: Scene) -> None:
    scene.announce(*(failed(n, f"cause {n}") for n in range(8)))

    assert scene.threads == [""]


def test_a_chat_has_few_messages_at_once_whatever_the_policy_says(scene: Scene) -> None:
    scene.policy = '[notify]\nfold = "0s"\ndigest_over = 1_000'
    scene.announce(*(failed(n, f"cause {n}") for n in range(MESSAGES_MAX + 1)))

    assert (len(scene.mails), len(scene.chats)) == (MESSAGES_MAX + 1, 1)


def test_a_chat_is_told_in_the_policys_language(scene: Scene) -> None:
    scene.policy = '[notify]\nlanguage = "ja"'
    scene.announce(*map(failed, range(6)))

    assert scene.chats[0]["content"]["title"] == scene.mails[0]["subject"]
    assert "ジョブ失敗" in scene.chats[0]["content"]["title"]


def test_a_chat_that_takes_nothing_repeats_no_mail_and_holds_up_nobody(scene: Scene) -> None:
    scene.broken = {CHAT}
    scene.announce(failed(1))
    scene.stream()
    assert (len(scene.mails), scene.chats, scene.new) == (1, [], [])

    scene.broken = set()
    scene.hand_on("12:05")

    assert (len(scene.mails), scene.told) == (1, ["job-failed:1"])


def test_a_topic_that_takes_nothing_does_not_keep_a_chat_from_being_told_once(
    scene: Scene,
) -> None:
    scene.broken = {TOPIC}
    scene.announce(failed(1))
    for _ in range(3):
        scene.stream()
    assert (scene.mails, scene.told) == ([], ["job-failed:1"])

    scene.broken = set()
    scene.stream()

    assert (len(scene.mails), scene.told) == (1, ["job-failed:1"])


def test_what_a_chat_has_been_told_is_not_handed_on(scene: Scene) -> None:
    publish = scene.aws.on_publish

    def breaks(params: dict[str, Any]) -> None:
        publish(params)
        scene.broken = {CHAT} if len(scene.chats) == 2 else set()

    scene.aws.on_publish = breaks
    scene.announce(*map(failed, range(4)))
    scene.aws.on_publish = publish
    scene.broken = set()
    scene.hand_on("12:05")

    assert scene.told == [f"job-failed:{n}" for n in range(4)]


def test_a_delivery_that_is_repeated_tells_a_chat_once(scene: Scene) -> None:
    scene.table.write(Actions(scene.table).puts([Announce(notices=(failed(1),))], scene.now, "s"))
    images = [*scene.new]
    scene.stream()
    scene.new = images
    scene.stream()

    assert scene.told == ["job-failed:1"]


def test_one_notice_that_is_announced_twice_within_a_second_is_told(scene: Scene) -> None:
    scene.policy = '[notify]\nfold = "0s"'
    actions = Actions(scene.table)
    for clock in ("11:59", "12:00"):
        scene.table.write(actions.puts([Announce(notices=(failed(1),))], at(clock), "sweep"))
    scene.stream()

    assert len(scene.mails) == len(scene.chats) == 2


def test_as_much_as_a_chat_is_told_of_one_decision_fits_into_one_item(scene: Scene) -> None:
    scene.policy = '[notify]\nfold = "0s"\ndigest_over = 1_000'
    draw = Random(1)  # noqa: S311 - it need only be the same
    texts = [
        "".join(chr(draw.randrange(0x1F300, 0x1F700)) for _ in range(5_000)) for _ in range(20)
    ]

    scene.announce(*(replace(failed(n, f"cause {n}"), text=text) for n, text in enumerate(texts)))

    assert len(scene.chats) == MESSAGES_MAX
    items = scene.table.query("ACTION#2026-01-01")
    assert max(len(binary(item["body"])) for item in items) < 390_000  # DynamoDB takes 400 KB


def test_what_is_left_for_a_chat_that_is_no_more_is_done(scene: Scene) -> None:
    scene.broken = {CHAT}
    scene.announce(failed(1))
    scene.actor = replace(scene.actor, announcer=replace(scene.actor.announcer, chat_topic_arn=""))

    scene.hand_on("12:05")

    assert all(action.result is not None for action in scene.actions)
