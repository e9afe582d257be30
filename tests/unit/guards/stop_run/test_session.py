"""What a run's invocation asks Batch of jobs."""

from typing import Any, cast

from batch_watchdog.aws.rate_limiter import RateLimiter
from batch_watchdog.guards.stop_run.session import RunSession
from batch_watchdog.policy.model import parse_policy
from batch_watchdog.store.memory_table import MemoryTable
from tests.fakes import Aws
from tests.makers import ARRAY, JOB, a_described_job, at


def test_children_are_judged_again_by_the_tags_of_their_array_too() -> None:
    aws, child = Aws(), f"{ARRAY}:0"
    aws.jobs |= {each: a_described_job(each) for each in (JOB, child)}
    aws.jobs[ARRAY] = a_described_job(ARRAY, tags={"critical": "true"})
    session = RunSession(
        table=MemoryTable(),
        batch=aws.batch,
        pace=RateLimiter(10, lambda _: None),
        policy=lambda: parse_policy(""),
        run=cast("Any", None),
        began=at("12:00"),
        time_left=lambda: 900.0,
    )

    shown = session.described([JOB, child], service=False)

    assert {job_id: each["tags"] for job_id, each in shown.items()} == {
        JOB: {},
        child: {"critical": "true"},
    }
    assert len(aws.calls) == 1
