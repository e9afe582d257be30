"""docs/operations.md speaks of what there is."""

import re
from pathlib import Path

from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/operations.md").read_text()
RESOURCES = yaml_parse((ROOT / "template.yaml").read_text())["Resources"]


def test_every_alarm_of_the_stack_is_explained_and_no_other() -> None:
    alarms = {name for name, of in RESOURCES.items() if of["Type"] == "AWS::CloudWatch::Alarm"}

    assert set(re.findall(r"`(\w+Alarm)`", PAGE)) == alarms


def test_every_target_of_make_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert set(re.findall(r"`make ([a-z-]+)", PAGE)) <= targets


def test_a_redrive_is_told_with_its_destination() -> None:
    """Without one, SQS leaves what EventBridge or a function has sent where it is."""
    alarm = RESOURCES["JobEventsDeadLettersAlarm"]["Properties"]["AlarmDescription"]

    assert "--destination-arn" in PAGE
    assert "custom destination" in PAGE
    assert "custom destination" in alarm


def test_what_is_kept_when_the_stack_is_deleted_is_what_the_page_says() -> None:
    kept = {
        name for name, of in RESOURCES.items() if of.get("DeletionPolicy", "Delete") != "Delete"
    }

    assert kept == {"Table"}
