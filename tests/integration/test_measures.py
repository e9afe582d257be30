"""What sweep and act measure of a watchdog at work."""

from batch_watchdog.measures.measures import Measure
from local.commands.demo import world
from tests.makers import at
from tests.watching import Watching

POLICY = """
mode = "enforce"
[[limit]]
RUNNABLE = { after = "20m", action = "cancel" }
[[guard]]
name = "monthly"
[[guard.stage]]
alarms = ["soft"]
action = "cancel"
"""


def test_sweep_and_act_measure_what_the_dashboard_shows() -> None:
    found: list[Measure] = []
    watching = Watching(POLICY, meter=found.extend)
    watching.batch.add_world(world())
    watching.batch.advance_to(at("12:00"))
    watching.batch.submit("stuck", "gpu", vcpus=10_000)
    watching.batch.submit("render", "cpu", seconds=60, array_size=4, outcome={1: 1})

    watching.run(at("12:00"), at("12:35"))

    named = {each.name for each in found}
    assert named == {
        "ArraysDone", "ArraysFailed", "GuardStage", "LimitsLate", "OldestWait", "StopsAccepted",
    }  # fmt: skip
    waits = [each for each in found if each.name == "OldestWait"]
    assert waits[0].by == {"queue": "gpu"}
    assert 14 * 60 < waits[0].value <= 15 * 60
    assert max(each.value for each in found if each.name == "LimitsLate") == 0
