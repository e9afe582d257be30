"""Every kind of notice, from real runs: in both languages, with short names and with long ones."""

import re
from collections.abc import Mapping
from itertools import product
from typing import Any, get_args

import pytest
from pydantic import TypeAdapter

from batch_watchdog.notices.japanese.catalogue import BETWEEN, TEXTS
from batch_watchdog.notices.message import VERSION, Message
from batch_watchdog.notices.notice import NoticeKind
from local.aws import stack as stacks
from local.aws.stack import Stack
from local.gallery import message_schema
from local.gallery.page import JAPANESE, PAGE, chat_of, page, told
from local.gallery.scenes import SCENES, Scene

pytestmark = pytest.mark.long

CUT = 60  # so much of a subject is seen in a list of mails
NAME_SEEN = 6  # so many characters of a name tell which one it is

# What nobody translates: what AWS, containers and CloudWatch say, ids, names, links, and policies.
NOT_OURS = (
    r"https://\S+",
    r"Essential container in task exited",
    r"OutOfMemoryError: Container killed due to memory usage",
    r"Host EC2 \(instance [^)]*\) terminated\.?",
    r"MISCONFIGURATION:\S+ - [^\n]*",
    r"Threshold Crossed: [^\n]*",
    r"ClientException(: [^\n]*)?",
    r"(limit|array|guard)\[\d\] \([^)]*\)",
    r"match queue \S+",
    r"aws batch [^\n]*",
    r"line 1: mode: [^\n]*",
    r"a CloudWatch alarm by SNS: [^\n]*",
    r"Dependent Job failed",
    r"UPDATING [^\n]*",
)
# English words that stand in Japanese texts as they are: names of AWS, of commands and of facts.
WORDS_KEPT = (
    r"[A-Z][\w-]*|\w*[_-]\w*|\w+\.\w+|make|facts|enforce|observe|mode|calm|cancel|terminate"
)

type Told = list[dict[str, Any]]


@pytest.fixture(scope="session")
def gallery(stack: Stack) -> Mapping[tuple[str, bool, str], Told]:
    """What each scene tells, by language and length of names."""
    return {
        (language, long, scene.title): told(stack, scene, notify, long=long)
        for (language, notify), long in product((("en", ""), ("ja", JAPANESE)), (False, True))
        for scene in SCENES
    }


@pytest.fixture(params=SCENES, ids=lambda scene: scene.title)
def title(request: pytest.FixtureRequest) -> str:
    scene: Scene = request.param
    return scene.title


def told_in(
    gallery: Mapping[tuple[str, bool, str], Told], title: str
) -> list[tuple[str, bool, dict[str, Any]]]:
    return [
        (language, long, notice)
        for language, long in product(("en", "ja"), (False, True))
        for notice in gallery[language, long, title]
    ]


def test_each_kind_is_shown(gallery: Mapping[tuple[str, bool, str], Told]) -> None:
    kinds = {notice["notice"] for told in gallery.values() for notice in told}

    assert kinds == set(get_args(NoticeKind.__value__))


def test_both_languages_tell_the_same_facts(
    gallery: Mapping[tuple[str, bool, str], Told], title: str
) -> None:
    for long in (False, True):
        english, japanese = gallery["en", long, title], gallery["ja", long, title]
        assert english
        assert [without_words(notice) for notice in english] == [
            without_words(notice) for notice in japanese
        ]


def without_words(notice: Mapping[str, Any]) -> dict[str, Any]:
    """A notice without its words. The id of one has the version of the policy, language and all."""
    kept = {name: value for name, value in notice.items() if name not in ("subject", "text")}
    is_of_policy = notice["id"].startswith("watchdog-trouble:mode:")
    return kept | ({"id": ""} if is_of_policy else {})


def test_a_subject_is_one_line_that_says_first_what_and_which(
    gallery: Mapping[tuple[str, bool, str], Told], title: str
) -> None:
    for _, _, notice in told_in(gallery, title):
        subject = notice["subject"]
        assert len(subject) < 100
        assert "\n" not in subject
        for seen in seen_first(notice):
            assert seen in subject[:CUT], subject


def seen_first(notice: Mapping[str, Any]) -> list[str]:  # noqa: PLR0911 - one of each kind
    """What is to be read of a subject where it is cut: which one, and how many."""
    facts = notice["facts"]
    match notice["notice"]:
        case _ if facts.get("test"):
            return []
        case "guard-raised" | "guard-report" | "guard-released":
            return [facts["guard"][:NAME_SEEN]]
        case "budget-warning" | "budget-forecast" | "budget-reached" | "spend-alert":
            return [facts["budget"][:NAME_SEEN]]
        case "limit-warning" | "limit-enforced" | "limit-escaped" | "queue-blocked":
            return [facts["queue"][:NAME_SEEN]]
        case "array-completed":
            stopped = str(facts["stopped"]) if facts["stopped"] else str(facts["succeeded"])
            by = (each.removeprefix("guard ")[:NAME_SEEN] for each in facts["stopped_by"])
            return [stopped, str(facts["size"]), *by]
        case "array-stopped" | "array-progress":
            return [str(facts["failed"])]
        case "job-failed":
            return [facts["job_name"][:NAME_SEEN]]
        case "digest" if facts["of"].startswith("guard-"):
            return [facts["groups"][0]["rule"][:NAME_SEEN]]
        case "digest":
            return [f"{facts['count']}", facts["groups"][0]["queue"][:NAME_SEEN]]
        case _:
            name = facts.get("queue") or facts.get("guard") or ""
            return [name[:NAME_SEEN]]


def test_no_phrase_is_left_in_english(
    gallery: Mapping[tuple[str, bool, str], Told], title: str
) -> None:
    for notice in gallery["ja", False, title]:
        for line in (notice["subject"], *notice["text"].split("\n")):
            assert not english_in(line), line


def english_in(line: str) -> list[str]:
    """Words in a row that are English, and nobody else's."""
    for pattern in NOT_OURS:
        line = re.sub(pattern, "", line)
    words = re.sub(rf"(?<![\w-])({WORDS_KEPT})(?![\w-])", "", line)
    return re.findall(r"[a-z]{2,} [a-z]{2,}", words)


def test_no_template_that_has_a_translation_is_left_as_it_is(
    gallery: Mapping[tuple[str, bool, str], Told], title: str
) -> None:
    whole = [
        each
        for each in TEXTS.keys() - BETWEEN.keys()
        if "{" not in each and TEXTS[each] != each and " " in each
    ]
    for notice in gallery["ja", False, title]:
        text = f"{notice['subject']}\n{notice['text']}"
        assert [each for each in whole if each in text] == []


def test_what_became_of_an_arrays_children_adds_up(
    gallery: Mapping[tuple[str, bool, str], Told], title: str
) -> None:
    for notice in gallery["en", False, title]:
        facts = notice["facts"]
        if notice["notice"] == "array-completed" and not facts.get("test"):
            assert facts["succeeded"] + facts["failed"] + facts["stopped"] == facts["size"]


def test_what_programs_are_sent_is_as_the_schema_says(
    gallery: Mapping[tuple[str, bool, str], Told], title: str
) -> None:
    # To renew it: make gallery
    assert message_schema.PATH.read_text() == message_schema.text()
    sent = TypeAdapter(Message)
    for notice in gallery["ja", True, title]:
        row_alone = ("at", "kind", "folded_into")
        told = {name: value for name, value in notice.items() if name not in row_alone}
        told["version"] = VERSION  # Rows of a replay have none.
        assert sent.validate_python(told, strict=True, extra="forbid") == told


def test_the_page_is_up_to_date(gallery: Mapping[tuple[str, bool, str], Told]) -> None:
    # To renew it: make gallery
    languages = {"": "en", JAPANESE: "ja"}

    with_chat = stacks.read(parameters={"ChatTopic": "yes"})
    text = page(
        lambda scene, notify: gallery[languages[notify], False, scene.title], chat_of(with_chat)
    )

    assert text == PAGE.read_text()


def test_times_are_in_the_zone(gallery: Mapping[tuple[str, bool, str], Told], title: str) -> None:
    for notice in gallery["ja", False, title]:
        assert not re.search(r"\d\d:\d\d:\d\dZ", notice["text"]), notice["text"]
