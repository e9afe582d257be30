"""docs/aws-claims.md: each claim has AWS's page, most have a test, and each of these exists."""

import ast
import re
from functools import cache

import pytest

from tests.template.claims import PAGE, ROOT, TABLE, Claim, page, read

CLAIMS = read(TABLE.read_text())

# Of what the deployment rests on, each of these must be spoken of.
SUBJECTS = {
    "Event source mappings",
    "Stream filters",
    "DynamoDB",
    "EventBridge",
    "CloudWatch alarms",
    "Budgets and cost anomalies",
    "SNS",
    "SSM parameters",
    "Limits of a new account",
    "Schedules",
    "The layer",
    "Template size",
    "Rights",
    "Two stacks in one account",
    "Partitions",
    "Regions without X-Ray or arm64",
    "Updates",
    "Deletion",
    "Dead letters",
    "Where emulators disagree",
}


def test_the_page_is_what_make_claims_makes_of_the_table() -> None:
    assert PAGE.read_text() == page(CLAIMS)


def test_every_subject_is_spoken_of() -> None:
    assert {claim.subject for claim in CLAIMS} == SUBJECTS


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.says[:40])
def test_a_claim_has_a_source_and_a_test_or_a_reason_why_not(claim: Claim) -> None:
    assert claim.sources
    assert all(re.fullmatch(r"https://\S+", each) for each in claim.sources)
    assert bool(claim.checked) is not bool(claim.why)
    assert claim.used


def test_two_thirds_of_the_claims_at_least_are_checked_by_a_machine() -> None:
    checked = [claim for claim in CLAIMS if claim.checked]

    assert 3 * len(checked) >= 2 * len(CLAIMS)


@cache
def those_in(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text())
    return {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


@pytest.mark.parametrize("test", sorted({each for claim in CLAIMS for each in claim.checked}))
def test_a_test_that_is_named_exists(test: str) -> None:
    path, _, name = test.partition("::")

    assert name in those_in(path)
