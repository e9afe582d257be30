"""What AWS Batch sends is read leniently where it is free to differ, and else refused."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from batch_watchdog.core.batch_payloads import event_from_detail, parse_event
from batch_watchdog.core.errors import MalformedEventError
from batch_watchdog.core.job_event import JobEvent, QueueBlocked, array_child
from batch_watchdog.notices.links import LogPlace
from tests.makers import (
    ARRAY,
    EXITED,
    JOB,
    QUEUE,
    SPOT_LOSS,
    a_child_event,
    a_failure,
    a_parent_event,
    an_event,
    at,
    change,
)


def refusal(body: str) -> str:
    with pytest.raises(MalformedEventError) as caught:
        parse_event(body)
    return str(caught.value)


def without(event: Any, *keys: str) -> Any:
    return {name: value for name, value in event.items() if name not in keys}


# ---- Recorded payloads --------------------------------------------------------------------

BATCH_FOLDERS = ("batch-job-state-change", "batch-queue-blocked", "batch-service-job")


def test_what_aws_sent_is_read_and_only_stubs_are_refused(payloads: Path) -> None:
    files = [path for folder in BATCH_FOLDERS for path in (payloads / folder).glob("*.json")]
    refused = {}
    for path in files:
        try:
            parse_event(path.read_text(encoding="utf-8"))
        except MalformedEventError as error:
            refused[path.stem] = str(error)

    assert len(files) > 20
    assert all("stub" in name or "minimal" in name for name in refused)
    assert all("Field required" in why and "time: " in why for why in refused.values())
    assert "detail.jobId: " in refused["hyp3-running-minimal"]
    assert "detail.status: " in refused["stsci-calcloud-stub-generic-error"]


def test_recorded_oddities_are_understood(payloads: Path) -> None:
    def read(name: str) -> JobEvent:
        text = (payloads / "batch-job-state-change" / f"{name}.json").read_text(encoding="utf-8")
        parsed = parse_event(text)
        assert isinstance(parsed, JobEvent)
        return parsed

    child = read("recast-succeeded-array-child-index12")
    out_of_memory = read("stsci-calcloud-failed-container-memory-error")

    assert (child.kind, child.index, child.attempts) == ("child", 12, 1)
    assert read("jit-failed-fargate-event_time").at == datetime(2022, 11, 13, 8, 59, 1, tzinfo=UTC)
    assert read("aws-lambda-dotnet-runnable-fargate-nodeproperties").kind == "single"  # no nodes
    assert read("malice-failed-exit0-vcpus-ints").exit_code == 0
    assert out_of_memory.container_reason.startswith("OutOfMemoryError")


def test_what_aws_answers_is_read_like_its_events(payloads: Path) -> None:
    read = {}
    for path in sorted((payloads / "describe-jobs").glob("parallelcluster-*.json")):
        for job in json.loads(path.read_text())["jobs"]:
            known = event_from_detail(job, at("12:00"))
            read[path.stem, known.job_id] = known

    kinds = {known.kind for known in read.values()}
    parents = [known for known in read.values() if known.kind == "array"]
    assert kinds == {"array", "child", "multi-node", "node", "single"}
    assert {parent.size for parent in parents} == {2}
    assert all(sum(parent.summary.values()) == 2 for parent in parents if parent.ended)


# ---- Kinds of jobs ------------------------------------------------------------------------


def test_a_single_job_is_read_whole() -> None:
    tags = {"resourceArn": "arn:job", "team": "imaging", "empty": None}

    assert change(a_failure("12:31:05", exit_code=137, tags=tags)) == JobEvent(
        at=at("12:31:05"),
        job_id=JOB,
        job_name="render",
        queue=QUEUE,
        definition="arn:aws:batch:us-east-1:111122223333:job-definition/render:3",
        status="FAILED",
        kind="single",
        attempts=1,
        not_before=at("12:00"),
        reason=EXITED,
        exit_code=137,
        log_stream="render/default/0123456789abcdef",
        tags={"resourceArn": "arn:job", "team": "imaging", "empty": ""},
    )


def test_an_array_child_names_its_parent_and_its_index() -> None:
    child = change(a_child_event(9_999, "FAILED"))

    assert (child.kind, child.parent_id, child.index, child.size) == ("child", ARRAY, 9_999, None)


def test_an_array_parent_tells_its_size_and_its_children_by_state() -> None:
    parent = change(a_parent_event(10, failed=3))

    assert (parent.kind, parent.size, parent.status) == ("array", 10, "FAILED")
    assert parent.summary["FAILED"] == 3


def test_an_ended_parent_without_a_size_has_that_of_its_summary() -> None:
    summary = {"SUCCEEDED": 4, "FAILED": 1}
    ended = a_parent_event(5, 1, arrayProperties={"statusSummary": summary})

    assert change(ended).size == 5


def test_a_summary_of_a_parent_under_way_may_be_part_of_the_size_only() -> None:
    summary = {"SUCCEEDED": 4, "RUNNABLE": 1}
    properties = {"statusSummary": summary}

    parent = change(an_event(jobId=ARRAY, status="PENDING", arrayProperties=properties))

    assert (parent.kind, parent.size, parent.summary) == ("array", None, summary)


def test_a_node_is_told_from_its_multi_node_job() -> None:
    nodes = {"numNodes": 4, "mainNode": 0, "nodeRangeProperties": []}

    assert change(an_event(nodeProperties=nodes)).kind == "multi-node"
    assert change(an_event(jobId=f"{JOB}#1", nodeProperties=None)).kind == "node"
    assert change(an_event(nodeProperties={"numNodes": 0})).kind == "single"


def test_a_service_job_has_neither_definition_nor_tags() -> None:
    kind = "Batch Service Job State Change"
    event = an_event(kind=kind, serviceJobType="SAGEMAKER_TRAINING", status="SCHEDULED")
    event["detail"] = without(event["detail"], "jobDefinition", "tags", "container")

    service = change(event)

    assert (service.kind, service.status) == ("service", "SCHEDULED")
    assert (service.definition, service.tags) == ("", {})


def test_of_several_containers_the_first_that_failed_tells_why() -> None:
    containers = [
        {"name": "sidecar", "exitCode": 0, "logStreamName": "side"},
        {"name": "main", "exitCode": 3, "reason": "Error", "logStreamName": "main"},
    ]
    ecs = {"taskProperties": [{"containers": containers}]}

    failed = change(a_failure(container=None, ecsProperties=ecs, attempts=[{"stoppedAt": 1}]))

    assert (failed.exit_code, failed.container_reason, failed.log_stream) == (3, "Error", "main")


def test_of_several_containers_in_the_last_attempt_the_first_that_failed_tells_why() -> None:
    lost = {"containers": [{"name": "sidecar"}, {"name": "main", "exitCode": 9}]}

    failed = change(a_failure(container=None, attempts=[{"taskProperties": [lost]}]))

    assert failed.exit_code == 9


def test_a_failed_eks_job_tells_its_pods_exit_code() -> None:
    pod = {"containers": [{"name": "c", "exitCode": 137, "reason": "OOMKilled"}]}
    eks = {"podProperties": pod}
    first, second = ({"containers": [{"exitCode": code}]} for code in (1, 137))
    made = [first, second | {"stoppedAt": 1_000}]

    failed = change(a_failure(container=None, attempts=[], eksProperties=eks, eksAttempts=made))

    assert (failed.exit_code, failed.container_reason, failed.attempts) == (137, "OOMKilled", 2)
    assert failed.not_before == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)


def of_task(*containers: Any, seen: Any = ()) -> JobEvent:
    """A job of several containers in one task; `seen` are those of its latest attempt."""
    return change(
        a_failure(
            container=None,
            ecsProperties={"taskProperties": [{"containers": list(containers)}]},
            attempts=[{"taskProperties": [{"containers": list(seen)}]}],
        )
    )


def of_pod(*containers: Any, init: Any = ()) -> JobEvent:
    """A job whose pod has containers and init containers."""
    pod = {"podName": "aws-batch.7", "containers": list(containers), "initContainers": list(init)}
    made = [{"containers": list(containers), "initContainers": list(init), "stoppedAt": 1_000}]
    return change(
        a_failure(
            container=None, attempts=[], eksProperties={"podProperties": pod}, eksAttempts=made
        )
    )


MAIN: Any = {"name": "main", "exitCode": 2, "reason": "main failed", "logStreamName": "main"}
AGENT: Any = {"name": "agent", "exitCode": 143, "reason": "stopped", "logStreamName": "agent"}


@pytest.mark.parametrize(
    "containers",
    [
        [AGENT | {"essential": False}, MAIN | {"essential": True}],
        [AGENT, MAIN],  # AWS takes a container for essential unless it says otherwise
        [AGENT | {"exitCode": 137}, MAIN],
        [{"name": "agent", "exitCode": 1, "essential": False}, MAIN],
        [{"name": "agent", "reason": "stopped"}, MAIN],
        [{"name": "agent", "exitCode": 0, "reason": "Completed"}, MAIN],
        [MAIN, {"name": "last", "exitCode": 3}],
    ],
)
def test_the_container_that_made_the_job_fail_tells_why(containers: Any) -> None:
    failed = of_task(*containers)

    assert (failed.container, failed.exit_code) == ("main", 2)
    assert (failed.container_reason, failed.log_stream) == ("main failed", "main")


def test_a_container_that_ran_out_of_memory_was_not_merely_stopped() -> None:
    memory = MAIN | {"exitCode": 137, "reason": "OutOfMemoryError: Container killed"}

    assert of_task(AGENT, memory).container == "main"


def test_a_container_that_was_stopped_is_the_one_where_no_other_failed() -> None:
    well = {"name": "main", "exitCode": 0}

    assert of_task(well, AGENT | {"essential": False}).exit_code == 143


def test_a_container_that_another_waits_for_makes_the_job_fail() -> None:
    fetch = {"name": "fetch", "exitCode": 4, "essential": False}
    waits = {"name": "main", "dependsOn": [{"containerName": "fetch", "condition": "SUCCESS"}]}
    stopped = waits | {"exitCode": 143}

    assert of_task(waits, fetch).container == "fetch"
    assert of_task(stopped, fetch).container == "fetch"


def test_what_only_the_attempt_shows_of_a_container_counts_too() -> None:
    known = {"name": "agent", "essential": False}, {"name": "main", "essential": True}

    failed = of_task(*known, seen=[AGENT, MAIN])

    assert (failed.container, failed.exit_code, failed.log_stream) == ("main", 2, "main")


def test_an_init_container_that_failed_tells_why() -> None:
    fetch = {"name": "fetch", "exitCode": 7, "reason": "Error"}
    waiting = {"name": "main", "reason": "PodInitializing"}

    failed = of_pod(waiting, init=[{"name": "first", "exitCode": 0, "reason": "Completed"}, fetch])

    assert (failed.container, failed.exit_code, failed.container_reason) == ("fetch", 7, "Error")


def test_an_init_container_that_ended_well_does_not_tell_why() -> None:
    first = {"name": "first", "exitCode": 0, "reason": "Completed"}

    assert of_pod({"name": "main", "exitCode": 9}, init=[first]).exit_code == 9
    assert of_pod({"name": "main"}, init=[first]).exit_code is None


# ---- Where the log is ---------------------------------------------------------------------

LOGS: Any = {
    "logDriver": "awslogs",
    "options": {"awslogs-group": "/acme/render", "awslogs-region": "eu-west-1"},
}
ACME = LogPlace(driver="awslogs", group="/acme/render", region="eu-west-1")


def test_the_log_is_where_the_containers_configuration_says() -> None:
    container = {"exitCode": 1, "logStreamName": "s", "logConfiguration": LOGS}

    assert change(a_failure(container=container)).log_place == ACME
    assert of_task(AGENT, MAIN | {"logConfiguration": LOGS}).log_place == ACME
    assert of_task(AGENT | {"logConfiguration": LOGS}, MAIN).log_place == LogPlace()


def test_the_log_of_a_multi_node_job_is_that_of_its_main_node() -> None:
    other = {"logDriver": "splunk"}
    ranges = [
        {"targetNodes": "0:3", "container": {"logConfiguration": other}},
        {"targetNodes": "0", "container": {"logConfiguration": LOGS}},
        {"targetNodes": "1:", "container": {"logConfiguration": other}},
        {"targetNodes": 7},
        "odd",
    ]
    nodes = {"numNodes": 4, "mainNode": 0, "nodeRangeProperties": ranges}
    several = {"taskProperties": [{"containers": ["odd", {"logConfiguration": LOGS}]}]}
    of_several = [{"targetNodes": "0:", "ecsProperties": several}]

    assert change(a_failure(nodeProperties=nodes)).log_place == ACME
    nodes["nodeRangeProperties"] = of_several
    assert change(a_failure(nodeProperties=nodes)).log_place == ACME


def test_the_log_of_a_pod_is_with_its_cluster() -> None:
    assert of_pod({"name": "main", "exitCode": 1}).log_place == LogPlace(pod="aws-batch.7")


@pytest.mark.parametrize(
    "odd", ["awslogs", [], {"logDriver": 7}, {"options": []}, {"options": {"awslogs-group": 7}}]
)
def test_an_odd_log_configuration_refuses_no_event(odd: Any) -> None:
    container = {"exitCode": 1, "logConfiguration": odd}

    assert change(a_failure(container=container)).log_place == LogPlace()


# ---- Dependencies -------------------------------------------------------------------------

NOT_BEGUN: Any = {"container": {}, "attempts": []}


@pytest.mark.parametrize(
    "reason",
    [
        "Dependent Job failed",
        "Dependent job failed.",
        "Dependent Job failed: 0f3a1c9e",
        "One of the dependent jobs did not succeed",
        "A job dependency has failed",
        "Job dependencies were cancelled",
        "A job that this job depends on was terminated",
    ],
)
def test_a_job_that_failed_with_its_dependency_is_known_by_its_reason(reason: str) -> None:
    follower = change(a_failure(statusReason=reason, dependsOn=[{"jobId": "j"}], **NOT_BEGUN))

    assert follower.followed
    assert follower.depends_on == ("j",)


ON_J: Any = {"dependsOn": [{"jobId": "j"}]}


@pytest.mark.parametrize(
    "reason",
    [
        EXITED,
        SPOT_LOSS,
        "",
        "Array Child Job failed",
        "Terminated by ann: a dependency of the image is broken",
        "Cancelled, as a dependent job failed",
        "Dependent Job failed, so I cancelled it",
        "dependency graph: the dependency main did not succeed",
    ],
)
def test_other_reasons_blame_no_dependency(reason: str) -> None:
    assert not change(a_failure(statusReason=reason, **NOT_BEGUN, **ON_J)).followed


def test_a_job_that_depends_on_none_failed_by_itself() -> None:
    failure = a_failure(statusReason="Dependent Job failed", **NOT_BEGUN)

    assert not change(failure).followed


@pytest.mark.parametrize(
    "shown",
    [
        {"container": {"exitCode": 1}},
        {"container": {"logStreamName": "render/default/1"}},
        {"startedAt": 1_767_268_800_000},
        {"attempts": [{"container": {}}]},
    ],
)
def test_a_job_that_began_failed_by_itself(shown: Any) -> None:
    detail = NOT_BEGUN | ON_J | {"statusReason": "Dependent Job failed"}

    assert change(a_failure(**detail)).followed
    assert not change(a_failure(**detail | shown)).followed


@pytest.mark.parametrize("odd", ["j", [7], [{"jobId": 7}], [{}], {"jobId": "j"}, [{"jobId": ""}]])
def test_an_odd_dependency_refuses_no_event(odd: Any) -> None:
    assert change(a_failure(dependsOn=odd)).depends_on == ()


def test_an_attempt_lost_with_its_host_has_no_exit_code() -> None:
    attempts = [{"container": {"exitCode": 1}}, {"container": {"logStreamName": "second"}}]

    lost = change(a_failure(statusReason=SPOT_LOSS, container={}, attempts=attempts))

    assert (lost.exit_code, lost.reason, lost.log_stream) == (None, SPOT_LOSS, "second")


@pytest.mark.parametrize(
    ("kind", "service"),
    [("Batch Job Queue Blocked", {}), ("Batch Service Job Queue Blocked", {"serviceJobType": "X"})],
)
def test_a_blocked_queue_names_the_job_that_blocks_it(kind: str, service: Any) -> None:
    event = an_event(kind=kind, statusReason="MISCONFIGURATION:X", **service)

    assert parse_event(json.dumps(event)) == QueueBlocked(
        at=at("12:00"),
        queue=QUEUE,
        job_id=JOB,
        job_name="render",
        reason="MISCONFIGURATION:X",
        service=bool(service),
    )


# ---- What AWS is free to send -------------------------------------------------------------


def test_unknown_fields_are_passed_over() -> None:
    event = an_event(newField={"a": [1]}, container={"exitCode": None, "newField": 1})

    assert change({**event, "new": [None]}) == change(an_event())


def test_only_id_state_and_time_must_be_there() -> None:
    bare = {"time": "2026-01-01T12:00:00Z", "detail": {"jobId": "j", "status": "FAILED"}}

    known = change(bare)

    assert (known.job_id, known.status, known.at) == ("j", "FAILED", at("12:00"))
    assert (known.kind, known.job_name, known.queue, known.tags) == ("single", "", "", {})


def test_every_optional_part_may_be_null() -> None:
    detail = an_event()["detail"]
    nulls: dict[str, Any] = dict.fromkeys(detail.keys() - {"jobId", "status"})
    nulls |= dict.fromkeys(
        ("statusReason", "arrayProperties", "nodeProperties", "ecsProperties", "eksProperties")
    )

    assert change(an_event(**nulls)).job_name == ""


@pytest.mark.parametrize(
    "parts",
    [
        {"attempts": [{"container": None, "stoppedAt": None}]},
        {"attempts": [{}]},
        {"container": {"exitCode": None, "reason": None, "logStreamName": None}},
        {"ecsProperties": {"taskProperties": [{"containers": None}]}},
        {"ecsProperties": {"taskProperties": None}},
        {"eksProperties": {"podProperties": {"containers": None}}},
        {"eksProperties": {"podProperties": None}},
        {"arrayProperties": {"size": None, "index": None, "statusSummary": None}},
        {"arrayProperties": {"statusSummary": {"FAILED": None}}},
        {"arrayProperties": {}},
    ],
)
def test_parts_may_be_hollow(parts: Any) -> None:
    assert change(an_event(**parts)).kind == "single"


def test_an_unknown_state_is_kept_as_sent() -> None:
    assert change(an_event(status="HIBERNATING")).status == "HIBERNATING"


def test_sixty_kilobytes_of_parameters_do_no_harm() -> None:
    parameters = {f"name-{number}": "äöü " * 250 for number in range(60)}

    assert change(an_event(parameters=parameters)) == change(an_event())


@pytest.mark.parametrize(
    "name", ["Ünïcödé-日本語-🦊", "\u202egnp.exe", "a\u0000b\u2028c", "<script>"]
)
def test_any_text_is_kept_as_sent(name: str) -> None:
    assert change(an_event(jobName=name)).job_name == name


def test_half_a_surrogate_pair_becomes_a_question_mark() -> None:
    event = an_event(jobName="x\ud83dy", parameters={"\udc00": "\ud800"})

    assert change(event).job_name == "x?y"


def test_a_byte_order_mark_is_passed_over() -> None:
    assert parse_event("\ufeff" + json.dumps(an_event())) == change(an_event())


def test_a_time_in_another_zone_is_told_in_utc() -> None:
    event = {**an_event(), "time": "2026-01-01T14:00:00+02:00"}

    assert change(event).at == at("12:00")
    assert change(event).at.tzinfo is UTC


@pytest.mark.parametrize("millis", [0, None, -5, 10**18, 10**30])
def test_an_impossible_end_of_an_attempt_is_unknown(millis: Any) -> None:
    assert change(a_failure(attempts=[{"stoppedAt": millis}])).not_before is None


# ---- What is refused ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"time": None}, "time: "),
        ({"time": "yesterday"}, "time: "),
        ({"time": "2026-01-01T12:00:00"}, "time: "),  # of which zone?
        ({"time": "0001-01-01T00:00:00+14:00"}, "time: "),
        ({"time": "9999-12-31T23:59:59-14:00"}, "time: "),
        ({"time": "1969-12-31T23:59:59Z"}, "time: "),
        ({"detail": None}, "detail: "),
        ({"detail": []}, "detail: "),
        ({"detail": {"status": "FAILED"}}, "detail.jobId: Field required"),
        ({"detail": {"jobId": "j"}}, "detail.status: Field required"),
        ({"detail": {"jobId": "", "status": "FAILED"}}, "detail.jobId: "),
        ({"detail": {"jobId": "j" * 257, "status": "FAILED"}}, "detail.jobId: "),
        ({"detail": {"jobId": 7, "status": "FAILED"}}, "detail.jobId: "),
        ({"detail": {"jobId": "j", "status": ""}}, "detail.status: "),
        ({"detail": {"jobId": "j", "status": ["FAILED"]}}, "detail.status: "),
    ],
)
def test_what_makes_a_change_must_be_there(broken: Any, said: str) -> None:
    assert said in refusal(json.dumps(an_event() | broken))


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"jobName": {"a": 1}}, "detail.jobName: "),
        ({"attempts": "none"}, "detail.attempts: "),
        ({"attempts": [7]}, "detail.attempts.0: "),
        ({"container": []}, "detail.container: "),
        ({"container": {"exitCode": "one"}}, "detail.container.exitCode: "),
        ({"tags": ["a"]}, "detail.tags: "),
        ({"arrayProperties": {"size": 0}}, "detail.arrayProperties.size: "),
        ({"arrayProperties": {"size": 10_001}}, "detail.arrayProperties.size: "),
        ({"arrayProperties": {"size": "many"}}, "detail.arrayProperties.size: "),
        ({"arrayProperties": {"index": "one"}}, "detail.arrayProperties.index: "),
        ({"arrayProperties": {"statusSummary": {"FAILED": -3}}}, "statusSummary.FAILED: "),
        ({"arrayProperties": {"statusSummary": {"FAILED": 10**30}}}, "statusSummary.FAILED: "),
        ({"jobId": f"{ARRAY}:10000"}, "detail.jobId: index 10000 is not below 10000"),
        ({"jobId": f"{ARRAY}:123456"}, "detail.jobId: index 123456 is not below 10000"),
        ({"jobId": f"{ARRAY}:{'9' * 200}"}, "detail.jobId: index 999"),
        ({"jobId": f"{ARRAY}:-5"}, "detail.jobId: index -5 is below 0"),
        ({"jobId": f"{ARRAY}:-0"}, "detail.jobId: index -0 is below 0"),
        ({"arrayProperties": {"index": -5}}, "detail.arrayProperties.index: "),
        ({"arrayProperties": {"index": 10_000}}, "detail.arrayProperties.index: "),
        (
            {"jobId": f"{ARRAY}:4", "arrayProperties": {"index": 5}},
            "detail.arrayProperties.index: 5 is not the index 4",
        ),
    ],
)
def test_what_is_there_must_be_of_its_type(parts: Any, said: str) -> None:
    assert said in refusal(json.dumps(an_event(**parts)))


def test_a_blocked_queue_whose_job_has_an_impossible_index_is_refused() -> None:
    event = an_event(kind="Batch Job Queue Blocked", jobId=f"{ARRAY}:-1")

    assert "index -1 is below 0" in refusal(json.dumps(event))


@pytest.mark.parametrize(
    "body",
    [
        *("", "\0", "not JSON", "{", '"text"', "null", "[]", "5", "NaN", "\ufeff\ufeff{}"),
        "[" * 100_000,
        '{"a":' * 1_000 + "1" + "}" * 1_000,
        '{"time":' + "9" * 5_000 + "}",
        '"\ud800"',
    ],
)
def test_what_is_no_json_object_is_refused(body: str) -> None:
    assert refusal(body).startswith(("event: ", "time: "))


def test_a_reason_names_at_most_five_parts() -> None:
    attempts = [{"container": {"exitCode": "one"}}] * 1_000

    assert refusal(json.dumps(an_event(attempts=attempts))).count("; ") == 4


# ---- Whatever comes -----------------------------------------------------------------------

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["FAILED", "2026-01-01T12:00:00Z", f"{ARRAY}:7", 10**400, "\ud800"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
nearly_details = st.fixed_dictionaries(
    {"jobId": st.just(JOB) | anything, "status": st.just("FAILED") | anything},
    optional=dict.fromkeys(
        (
            "jobName",
            "jobQueue",
            "statusReason",
            "attempts",
            "eksAttempts",
            "container",
            "ecsProperties",
            "eksProperties",
            "nodeProperties",
            "serviceJobType",
            "tags",
        ),
        anything,
    )
    | {
        "arrayProperties": st.fixed_dictionaries(
            {}, optional=dict.fromkeys(("size", "index", "statusSummary"), anything)
        )
        | anything
    },
)
nearly_events = st.fixed_dictionaries(
    {
        "time": st.datetimes(timezones=st.timezones()).map(datetime.isoformat)
        | st.floats()
        | anything,
        "detail": nearly_details | anything,
    },
    optional={"detail-type": st.just("Batch Job Queue Blocked") | anything},
)


def read_or_refused(body: str) -> None:
    with suppress(MalformedEventError):
        parsed = parse_event(body)
        assert parsed.job_id
        assert parsed.at.tzinfo is UTC
        str(parsed.job_name + parsed.reason + parsed.queue).encode()


@given(st.text() | st.characters(codec=None).map("{}".format))
def test_any_text_is_read_or_refused(body: str) -> None:
    read_or_refused(body)


@given(anything | nearly_events)
@example({"time": "9999-12-31T23:59:59-14:00", "detail": {"jobId": "j", "status": "s"}})
def test_any_json_is_read_or_refused(event: Any) -> None:
    read_or_refused(json.dumps(event))


@given(st.text(max_size=300), st.integers())
def test_only_a_parent_and_a_whole_number_make_a_child(parent: str, index: int) -> None:
    child = array_child(f"{parent}:{index}")

    assert child == ((parent, index) if parent and index >= 0 else None)
