"""The dashboard shows what the functions measure, and nothing else."""

import json
import re
from pathlib import Path
from typing import Any

from samtranslator.yaml_helper import yaml_parse

from batch_watchdog.measures import measures

ROOT = Path(__file__).parents[2]
TEMPLATE = yaml_parse((ROOT / "template.yaml").read_text())


def widgets() -> list[dict[str, Any]]:
    body = TEMPLATE["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    found: list[dict[str, Any]] = json.loads(body)["widgets"]
    return found


def test_the_page_is_on_the_dashboard_and_redrawn_with_it() -> None:
    custom = [each["properties"] for each in widgets() if each["type"] == "custom"]

    assert [each["endpoint"] for each in custom] == ["${ConsoleFunction.Arn}"]
    assert custom[0]["updateOn"] == {"refresh": True, "resize": True, "timeRange": True}


def test_all_that_is_measured_is_shown_by_the_names_that_it_is_measured_by() -> None:
    shown = json.dumps(widgets())
    text = (ROOT / "layers/watchdog/batch_watchdog/measures/measures.py").read_text()
    named = set(re.findall(r'name="(\w+)"', text)) | {
        f"Stops{result}" for result in re.findall(r'\("(\w+)", \w+\)', text)
    }

    assert {"ArraysDone", "StopsRefused", "OldestWait", "GuardStage"} <= named
    assert [name for name in named if name not in shown] == []
    for by in ("rule", "queue", "guard", "budget"):
        assert f"{{{measures.NAMESPACE},{by},service}}" in shown


def test_widgets_do_not_overlap_and_fit_into_the_grid() -> None:
    cells = [
        (x, y)
        for each in widgets()
        for x in range(each["x"], each["x"] + each["width"])
        for y in range(each["y"], each["y"] + each["height"])
    ]

    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) == 23


def test_every_queue_and_function_of_the_template_is_on_the_dashboard() -> None:
    shown = json.dumps(widgets())
    kinds = {"AWS::SQS::Queue": ".QueueName}", "AWS::Serverless::Function": "}"}

    missing = [
        name
        for name, resource in TEMPLATE["Resources"].items()
        if resource["Type"] in kinds and f"${{{name}{kinds[resource['Type']]}" not in shown
    ]

    assert missing == []


def test_only_who_has_the_right_to_invoke_it_reaches_the_console() -> None:
    resources = TEMPLATE["Resources"]
    console = resources["ConsoleFunction"]["Properties"]

    openings = [
        name
        for name, resource in resources.items()
        if resource["Type"] in ("AWS::Lambda::Permission", "AWS::Lambda::Url")
        and "ConsoleFunction" in json.dumps(resource)
    ]

    assert openings == []
    assert not {"Events", "FunctionUrlConfig"} & console.keys()
