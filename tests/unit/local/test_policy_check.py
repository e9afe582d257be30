"""The command that checks a policy before it goes live."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import pytest

from local.commands.policy_check import PolicyFileError, json_schema, main, read_policy

ROOT = Path(__file__).parents[3]
SAMPLE = ROOT / "events" / "policy.toml"

type Output = pytest.CaptureFixture[str]


@pytest.fixture
def output(capsys: Output) -> Output:
    return capsys


@pytest.fixture
def policy_file(tmp_path: Path) -> Path:
    return tmp_path / "my policy.toml"


def refused(file: Path, output: Output) -> str:
    assert main([str(file)]) == 2
    told = output.readouterr()
    assert told.out == ""
    return told.err.replace(str(file), "FILE")


def test_the_sample_is_fine_and_told_in_words(output: Output) -> None:
    assert main([str(SAMPLE)]) == 0

    first, *lines = output.readouterr().out.splitlines()
    assert "the policy is fine" in first
    assert lines == [
        "  observe: it says what it would do, and stops nothing.",
        "  array[1] (match name smoke-*): silent",
        "  array[2] (match name render-*): told when done; progress at 50, 90 %; "
        "the rest is stopped when more than 10 % failed of at least 50",
        "  limit[1] (match definition licence-server or pinned:7): no limits",
        "  limit[2] (match queue gpu-*, tags team=imaging) [enforce]: RUNNABLE for 6h, "
        "30m if misconfigured, 12h if it waits for capacity, then cancel, warned of at 20m; "
        "STARTING for 30m, then terminate, warned of at 15m",
        "  limit[3] (every job): SUBMITTED for 6h, then cancel, warned of at 3h; "
        "PENDING for 7d, then warn; RUNNABLE for 1d, then warn; "
        "SCHEDULED for 2h, then cancel, warned of at 1h; RUNNING for 7d, then warn",
        '  guard "monthly-budget": match queue *; spares tags critical=true; '
        "cancel by batch-watchdog-spend-soft, queues closed; "
        "terminate by batch-watchdog-spend-hard or imaging (100 %) or 2h of the stage before; "
        "release auto",
        '  budget "imaging": match queue gpu-*; 2000 usd or 500 gpu_hours a month (Asia/Tokyo), '
        "warned of at 50, 80 %",
    ]


def test_an_empty_policy_is_fine(policy_file: Path, output: Output) -> None:
    policy_file.write_text("")

    assert main([str(policy_file)]) == 0
    told = output.readouterr().out
    assert "No rules" in told
    assert "Warning: there are no rules" in told


def test_each_problem_is_told_with_file_line_and_key(policy_file: Path, output: Output) -> None:
    policy_file.write_text('mode = "on"\n\n[[limit]]\nRUNNING = { after = "30" }\n')

    assert refused(policy_file, output).splitlines() == [
        "FILE:1: mode: expected 'observe' or 'enforce', not 'on'",
        "FILE:4: limit[1].RUNNING.after: expected a span such as "
        '"90s", "30m", "6h", "1h30m", "1d" or "PT30M", not \'30\'',
    ]


def test_what_is_no_toml_is_told_with_its_line(policy_file: Path, output: Output) -> None:
    policy_file.write_text("\n[[limit]\n")

    assert refused(policy_file, output).startswith("FILE:2: not TOML: ")


def test_a_missing_file_is_told(policy_file: Path, output: Output) -> None:
    assert refused(policy_file, output) == (
        "FILE: cannot be read: No such file or directory; the README has a policy to begin with, "
        "and events/policy.toml shows every setting\n"
    )


def test_a_folder_is_no_file(tmp_path: Path, output: Output) -> None:
    assert refused(tmp_path, output) == "FILE: cannot be read: Is a directory\n"


def test_what_is_not_utf8_is_told_with_its_line(policy_file: Path, output: Output) -> None:
    policy_file.write_bytes(b'mode = "observe"\n# caf\xe9\n')

    assert refused(policy_file, output).startswith("FILE:2: not UTF-8: ")


def test_line_ends_may_be_those_of_windows(policy_file: Path, output: Output) -> None:
    policy_file.write_bytes(b'\xef\xbb\xbf# x\r\n\r\nmode = "on"\r\n')

    assert refused(policy_file, output).startswith("FILE:3: mode: ")


def test_more_than_a_standard_parameter_holds_is_warned_of(
    policy_file: Path, output: Output
) -> None:
    policy_file.write_text("#" * 4_095 + "\n")
    assert main([str(policy_file)]) == 0
    assert "advanced parameter" not in output.readouterr().out

    policy_file.write_text("#" * 4_096 + "\n")
    assert main([str(policy_file)]) == 0
    assert "Warning: 4,097 bytes need an advanced parameter" in output.readouterr().out


def test_more_than_any_parameter_holds_is_refused(policy_file: Path, output: Output) -> None:
    policy_file.write_text("#" * 8_191 + "\n")
    assert main([str(policy_file)]) == 0
    output.readouterr()

    policy_file.write_text("# " + "é" * 4_096)  # Bytes count, not letters.
    assert refused(policy_file, output).startswith("FILE: 8,194 bytes: expected at most 8,192")
    assert read_policy(policy_file).mode == "observe"  # To be replayed it need not be stored.


def test_what_no_parameter_can_hold_is_refused(policy_file: Path, output: Output) -> None:
    policy_file.write_text("# x\n# {{ y }}\n")

    assert refused(policy_file, output).startswith("FILE:2: a parameter cannot hold two braces")


def test_a_rule_that_never_counts_is_warned_of(policy_file: Path, output: Output) -> None:
    policy_file.write_text(
        '[[array]]\nmatch = { name = "a" }\n[[array]]\n'
        '[[limit]]\n[[limit]]\nmatch = { name = "b" }\n'
    )

    assert main([str(policy_file)]) == 0
    assert [line for line in output.readouterr().out.splitlines() if "Warning" in line] == [
        "  Warning: limit[2] (match name b) never counts: the rule before it takes every job; "
        "put it before, or leave it out."
    ]


def test_a_policy_that_is_read_for_a_replay_is_refused_in_the_same_words(
    policy_file: Path,
) -> None:
    policy_file.write_text("[[limit]]\nmode = 1\n")

    with pytest.raises(PolicyFileError, match=r"my policy\.toml:2: limit\[1\]\.mode: expected"):
        read_policy(policy_file)


def test_the_command_runs_in_a_terminal_that_knows_few_letters(policy_file: Path) -> None:
    policy_file.write_text('[[array]]\nmatch = { name = "café-…" }\n[[arrray]]\n')

    for arguments in ([str(policy_file)], ["--schema"], [str(SAMPLE)]):
        run = subprocess.run(  # noqa: S603
            [sys.executable, "-m", "local.commands.policy_check", *arguments],
            cwd=ROOT,
            env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": ""},
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == (2 if arguments == [str(policy_file)] else 0)
        assert "Traceback" not in run.stderr


# ---- The schema ---------------------------------------------------------------------------


def test_the_schema_in_the_repository_is_up_to_date(output: Output) -> None:
    assert main(["--schema"]) == 0

    kept = (ROOT / "local" / "policy.schema.json").read_text()
    # To renew it: python -m local.commands.policy_check --schema > local/policy.schema.json
    assert kept == output.readouterr().out


def test_every_key_is_described_in_the_schema() -> None:
    schema = json.loads(json_schema())

    tables = [schema, *(each for each in schema["$defs"].values() if "properties" in each)]
    for table in tables:
        for key, about in table["properties"].items():
            text = json.dumps(about) + json.dumps(
                schema["$defs"].get(about.get("$ref", "").rpartition("/")[2], {})
            )
            assert '"description"' in text, (table["title"], key)
    assert len(tables) > 12


@pytest.mark.parametrize(
    ("policy", "fine"),
    [
        ({}, True),
        ({"mode": "enforce", "limit": [{"RUNNABLE": {"after": "1h30m"}}]}, True),
        ({"limit": [{"match": {"queue": ["a", "b"]}, "RUNNING": {"after": "PT30M"}}]}, True),
        ({"mode": "enforced"}, False),
        ({"limits": []}, False),
        ({"limit": [{"RUNNABLE": {"after": "90"}}]}, False),
        ({"limit": [{"RUNNING": {"after": "1h", "action": "cancel"}}]}, False),
        ({"guard": [{"name": "x", "stage": []}]}, False),
        ({"limit": [{"mode": None}]}, False),
    ],
)
def test_the_schema_tells_what_an_editor_should_mark(
    policy: dict[str, object], *, fine: bool
) -> None:
    schema = json.loads(json_schema())

    assert jsonschema.Draft202012Validator(schema).is_valid(policy) is fine
