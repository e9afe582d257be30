"""Languages: the same notice in Japanese and in another time zone, with nothing left in English."""

import ast
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from batch_watchdog.core.effects import STOP_MARK
from batch_watchdog.core.errors import PolicyError
from batch_watchdog.core.known_causes import KNOWN_CAUSES
from batch_watchdog.failed_jobs.notices import job_failed
from batch_watchdog.notices.japanese.catalogue import BETWEEN, KEPT, TEXTS
from batch_watchdog.notices.languages import Language
from batch_watchdog.notices.notice import Notice
from batch_watchdog.notices.phrases import Kept, Name, row, say, subject
from batch_watchdog.policy.model import Policy, parse_policy
from tests.makers import a_failure, at, change

PACKAGE = Path(__file__).parents[3] / "layers/watchdog/batch_watchdog"
JAPANESE = Language("ja", "Asia/Tokyo")

# The arguments of each of these that are templates.
MAKERS = {
    "say": slice(0, 1),
    "subject": slice(0, 1),
    "counted": slice(1, 3),
    "_queues": slice(0, 2),
}


def templates() -> Iterator[str]:
    """The templates of all phrases that the package says, as far as they stand in a call."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                for each in node.args[MAKERS.get(node.func.id, slice(0))]:
                    if isinstance(each, ast.Constant):
                        yield str(each.value)


def fields(template: str) -> set[str]:
    return set(re.findall(r"(?<!\{)\{(\w+)\}(?!\})", template))


def test_the_catalogue_has_every_template_that_is_said() -> None:
    said = set(templates())

    assert len(said) > 400
    assert said - TEXTS.keys() == set()


def test_the_catalogue_has_nothing_that_nobody_says() -> None:
    source = "".join(
        node.value + "\n"
        for path in PACKAGE.rglob("*.py")
        if path.parent.name != "japanese"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )

    assert [each for each in TEXTS if each not in source] == []


@pytest.mark.parametrize("template", sorted({**TEXTS, **KEPT}.keys() - BETWEEN.keys()))
def test_a_translation_has_the_same_parts_and_says_them_in_japanese(template: str) -> None:
    japanese = {**TEXTS, **KEPT}[template]
    words = re.sub(r"\{\w+\}", "", template)

    assert fields(japanese) == fields(template)
    if re.search(r"[a-z]{3}", words.replace("vCPU", "").replace("-n ", "")):
        assert re.search(r"[\u3040-\u30ff\u4e00-\u9fff]", japanese)


def test_times_and_spans_are_in_the_manner_of_the_language_and_in_the_zone() -> None:
    phrase = say("At this pace the rest takes another {left}, until {end}.",
                 left=timedelta(hours=3, minutes=20), end=at("18:30"))  # fmt: skip

    assert JAPANESE.say(phrase) == (
        "このペースでは、残りの完了まであと 3 時間 20 分、"
        "2026年1月2日 03:30:00 JST ごろの見込みです。"
    )
    assert Language("en", "Asia/Tokyo").say(phrase).endswith("until 2026-01-02 03:30:00 JST.")
    assert Language().say(phrase) == phrase


def test_phrases_within_phrases_are_said_in_the_language_too() -> None:
    counts = row([say("{n} failed", n=1_234), say("{n} without a result", n=5)])

    assert JAPANESE.say(say("{counts}.", counts=counts)) == "失敗 1,234 件、結果不明 5 件。"


def test_a_subject_in_japanese_has_less_than_a_hundred_characters() -> None:
    name = Name("a-very-long-name-" * 12)
    line = JAPANESE.say(subject("Guard {guard}: cancelling waiting jobs{because}",
                                guard=name, because=say(" (by {who})", who=name)))  # fmt: skip

    assert len(line) < 100
    assert "待機中のジョブを取り消し" in line
    assert line.endswith("による)")


def test_what_was_kept_in_the_table_is_said_again_and_what_is_not_ours_stays() -> None:
    why = "alarm soft went into ALARM at 2026-01-01T12:00:00Z (812.0, threshold 800.0)"
    late = "2 h 5 min at cancel without relief: soft still in ALARM"

    assert JAPANESE.say(Kept(why)) == (
        "アラーム soft が 2026年1月1日 21:00:00 JST に ALARM になりました (812.0、しきい値 800.0)"
    )
    assert "2 時間 5 分" in JAPANESE.say(Kept(late))
    assert JAPANESE.say(Kept("AWS Batch refused it: Denied: x")) == (
        "AWS Batch が拒否しました: Denied: x"
    )
    assert JAPANESE.say(Kept("something else")) == "something else"
    assert JAPANESE.say(f"{STOP_MARK}x") == f"{STOP_MARK}x"
    assert Language().say(Kept(why)) == why


def test_a_notice_has_the_same_facts_and_plain_texts_in_each_language() -> None:
    notice = job_failed(change(a_failure(exit_code=137)))
    japanese = JAPANESE.worded(notice)

    assert replace(japanese, subject=notice.subject, text=notice.text) == notice
    assert japanese.subject == "ジョブ失敗、終了コード 137: render"
    assert {type(japanese.subject), type(japanese.text)} == {str}
    assert english_sentences(japanese) == ["Essential container in task exited"]


def test_of_a_job_whose_queue_an_event_lacks_it_is_said_that_it_is_unknown() -> None:
    event = a_failure("12:00")
    del event["detail"]["jobQueue"]
    notice = job_failed(change(event))

    assert notice.text.startswith("The job render, in an unknown queue, failed at 2026-")
    assert JAPANESE.worded(notice).text.startswith("キューが不明なジョブ render は、1 回の試行")


def english_sentences(notice: Notice) -> list[str]:
    """Lines that are neither Japanese nor a link, a name or a number."""
    return [
        line
        for line in notice.text.split("\n")
        if re.search(r"[a-z]{3,} [a-z]{2,}", line)
        and not re.search(r"[\u3040-\u30ff\u4e00-\u9fff]", line)
    ]


@pytest.mark.parametrize("cause", KNOWN_CAUSES, ids=lambda cause: cause.code)
def test_known_causes_are_said_in_japanese(cause: object) -> None:
    for name in ("title", "meaning", "next_step"):
        assert JAPANESE.say(getattr(cause, name)) != getattr(cause, name)


def test_the_policy_says_the_language_and_the_zone() -> None:
    policy = parse_policy('[notify]\nlanguage = "ja"\ntime_zone = "Asia/Tokyo"\n')
    notice = job_failed(change(a_failure("12:00")))

    told = policy.notify.worded(notice)

    assert told == JAPANESE.worded(notice)
    assert "21:00:00 JST" in told.text
    usual = Policy().notify.worded(notice)
    assert (usual.subject, usual.text) == (str(notice.subject), str(notice.text))


@pytest.mark.parametrize(
    "zone", ["Asia/Tokio", "", "../etc/passwd", "Asia", "/etc/localtime", "é\\u0000"]
)
def test_a_zone_that_does_not_exist_is_refused(zone: str) -> None:
    with pytest.raises(PolicyError, match="time_zone"):
        parse_policy(f'[notify]\ntime_zone = "{zone}"\n')


def test_a_language_that_does_not_exist_is_refused() -> None:
    with pytest.raises(PolicyError, match="language"):
        parse_policy('[notify]\nlanguage = "fr"\n')
