"""
Why a job does not start: findings from what AWS answers, the likeliest first.

Nothing is asked for here. The caller asks AWS, hands the answers over as they came, and gets
findings with evidence in numbers, what to do next, and AWS's page about it.

    World(job=…, queue=…, environments=…, snapshot=…) -> diagnose() -> (Finding, …)
"""

from batch_watchdog.diagnosis.environments import World
from batch_watchdog.diagnosis.findings import CAUSE_OF, CODES, Cause, Finding, FindingCode
from batch_watchdog.diagnosis.instance_types import patterns
from batch_watchdog.diagnosis.rules import diagnose

__all__ = [
    "CAUSE_OF",
    "CODES",
    "Cause",
    "Finding",
    "FindingCode",
    "World",
    "diagnose",
    "patterns",
]
