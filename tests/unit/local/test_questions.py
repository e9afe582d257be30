"""What a deployment asks: defaults, the environment, and answers that are wrong."""

from collections.abc import Mapping

import pytest

from local.commands.live_stack import LiveError
from local.commands.questions import Question, answer_to, thresholds, wrong_email, wrong_region


class Person:
    """Somebody who gives these answers, one after the other."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def __call__(self, question: str) -> str:
        self.asked.append(question)
        return self.answers.pop(0)


@pytest.fixture(autouse=True)
def _nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("EMAIL", "SOFT", "HARD"):
        monkeypatch.delenv(name, raising=False)


def email(person: Person, default: str = "", *, can_ask: bool = True) -> str:
    question = Question(text="E-mail", variable="EMAIL", default=default, wrong=wrong_email)
    return answer_to(question, person, can_ask=can_ask)


def test_enter_takes_the_default_and_none_takes_nothing() -> None:
    person = Person("", "none")

    assert email(person, "ops@example.com") == "ops@example.com"
    assert email(person, "ops@example.com") == ""
    assert person.asked[0] == "E-mail [ops@example.com]: "


def test_a_wrong_answer_is_told_and_asked_for_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert email(Person("ops", "ops@example.com")) == "ops@example.com"
    assert "one e-mail address" in capsys.readouterr().err


def test_after_three_wrong_answers_the_variable_is_named() -> None:
    with pytest.raises(LiveError, match="EMAIL="):
        email(Person("a", "b", "c"))


def test_what_the_environment_answers_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMAIL", "ops@example.com")
    assert email(Person()) == "ops@example.com"
    monkeypatch.setenv("EMAIL", "ops")
    with pytest.raises(LiveError, match="EMAIL=ops: Expected one"):
        email(Person())


def test_where_nobody_can_be_asked_the_default_counts() -> None:
    assert email(Person(), "ops@example.com", can_ask=False) == "ops@example.com"


def both(person: Person, **present: str) -> tuple[str, str]:
    return thresholds(present, person, can_ask=True)


def test_without_a_soft_threshold_the_hard_one_is_not_asked_for() -> None:
    person = Person("")

    assert both(person) == ("", "")
    assert len(person.asked) == 1


def test_the_hard_threshold_is_above_the_soft_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert both(Person("800", "800", "none", "1000")) == ("800", "1000")
    told = capsys.readouterr().err
    assert "more than the soft threshold, which is 800" in told
    assert "both thresholds, or none" in told


def test_the_thresholds_of_the_stack_are_the_defaults() -> None:
    assert both(Person("", ""), SoftThreshold="800", HardThreshold="1000.0") == ("800", "1000")
    assert both(Person(""), SoftThreshold="0", HardThreshold="0") == ("", "")


@pytest.mark.parametrize("wrong", ["-5", "eight", "1e3", "0", "8.5", "$800"])
def test_a_threshold_is_a_whole_number_of_dollars(wrong: str) -> None:
    assert both(Person(wrong, "800", "1000")) == ("800", "1000")


@pytest.mark.parametrize(
    "environment", [{"HARD": "1000"}, {"SOFT": "800", "HARD": "none"}, {"SOFT": "9", "HARD": "8"}]
)
def test_one_threshold_alone_is_refused(
    environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(LiveError, match="HARD"):
        both(Person(""))


@pytest.mark.parametrize("region", ["eu-west-1", "us-gov-west-1", "ap-southeast-7"])
def test_a_region_looks_like_one(region: str) -> None:
    assert not wrong_region(region)
    assert wrong_region(region.upper())
    assert wrong_region("")
