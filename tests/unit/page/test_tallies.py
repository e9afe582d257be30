"""What each rule has done, by what is recorded."""

from batch_watchdog.core.effects import Announce, StartRun, StopJobs
from batch_watchdog.page.tallies import rule_rows
from batch_watchdog.policy.model import parse_policy
from tests.makers import a_notice

POLICY = parse_policy(
    """
    mode = "enforce"
    [[array]]
    progress = [50]
    [[limit]]
    match = { queue = "gpu" }
    RUNNABLE = { after = "6h" }
    [[limit]]
    mode = "observe"
    RUNNABLE = { after = "1h" }
    [[guard]]
    name = "monthly"
    [[guard.stage]]
    alarms = ["soft"]
    action = "cancel"
    [[budget]]
    name = "day"
    per = "day"
    usd = 5
    rates = { vcpu_hour = 1 }
    """
)
FIRST = "limit[1] (match queue gpu)"


def test_every_rule_has_a_row_with_its_mode_and_its_text() -> None:
    rows = rule_rows(POLICY, [])

    assert [row.label.split(" ")[0] for row in rows] == [
        "array[1]", "limit[1]", "limit[2]", "guard", "budget",
    ]  # fmt: skip
    assert [row.mode for row in rows] == ["enforce", "enforce", "observe", "enforce", "counts"]
    assert "gpu" in rows[1].text


def test_warnings_stops_and_results_are_counted_by_rule() -> None:
    stop = StopJobs(how="cancel", job_ids=("a", "b", "c"), reason="r", rule=FIRST)
    warned = a_notice(kind="limit-warning", facts={"rule": f"{FIRST}; tag x: unknown"})
    raised = a_notice(kind="guard-raised", facts={"guard": "monthly"})

    rows = rule_rows(
        POLICY,
        [
            (stop, {"accepted": 2, "refused": {"c": "no"}}),
            (stop, None),
            (Announce(notices=(warned, warned)), None),
            (Announce(notices=(raised,)), None),
            (StartRun(run_id="r"), None),
        ],
    )

    assert dict(rows[1].done) == {"asked to stop": 6, "accepted": 2, "refused": 1, "warned": 2}
    assert dict(rows[3].done) == {"raised": 1}


def test_what_a_rule_did_that_is_gone_is_shown_too() -> None:
    stop = StopJobs(how="cancel", job_ids=("a",), reason="r", rule="limit[9] (<b>)")

    rows = rule_rows(POLICY, [(stop, None)])

    assert (rows[-1].label, rows[-1].mode) == ("limit[9] (‹b›)", "")
    assert rows[-1].done["asked to stop"] == 1
