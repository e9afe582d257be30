"""Array progress: a union that order and repeats cannot spoil, causes, groups, and being done."""

import random
import zlib
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_watchdog.arrays.filling import correct, with_logs, without_log
from batch_watchdog.arrays.groups import GROUPS_MAX, groups
from batch_watchdog.arrays.items import Arrays
from batch_watchdog.arrays.notices import completed
from batch_watchdog.arrays.progress import (
    Array,
    Part,
    ask,
    begin,
    clipped,
    failed_indices,
    is_done,
    lacks_only_stragglers,
    may_be_done,
    part_of,
    parts_in,
    take_in,
    unite,
)
from batch_watchdog.core.failure_cause import OTHER, FailureCause, cause_from, normalise
from batch_watchdog.core.job_event import JobEvent
from batch_watchdog.notices.links import DEFAULT_PLACE
from batch_watchdog.notices.text import ranges
from batch_watchdog.store.item_codec import Item, pack
from batch_watchdog.store.memory_table import MemoryTable
from batch_watchdog.store.table import Put
from tests.makers import (
    ARRAY,
    EXITED,
    QUEUE,
    SPOT_LOSS,
    a_child,
    a_parent,
    a_part,
    an_array,
    an_event,
    at,
    change,
)


def a_failed_child(index: int, reason: str = EXITED, exit_code: int | None = 1) -> JobEvent:
    container: dict[str, Any] = {} if exit_code is None else {"exitCode": exit_code}
    container |= {"logStreamName": f"render/default/{index}"}
    return a_child(index, "FAILED", statusReason=reason, container=container, attempts=[])


def an_ended_array(size: int, failed: int = 0, **changes: Any) -> Array:
    summary = {"SUCCEEDED": size - failed, "FAILED": failed}
    ended = {"size": size, "ended_at": at("12:10"), "status": "SUCCEEDED", "summary": summary}
    return an_array(**ended | changes)


def all_parts(children: Iterable[JobEvent]) -> list[Part]:
    """The parts, as they are when all children's changes have come at once."""
    children = list(children)
    numbers = sorted({part_of(child.index) for child in children})
    return [
        unite(Part(number=number), [child for child in children if part_of(child.index) == number])
        for number in numbers
    ]


# ---- The union ----------------------------------------------------------------------------

REASONS = [EXITED, SPOT_LOSS, "Job attempt duration exceeded timeout", "CannotPullContainerError"]
final_changes = st.builds(
    lambda index, failed, reason, code: (
        a_failed_child(index, reason, code) if failed else a_child(index)
    ),
    st.integers(0, 60),
    st.booleans(),
    st.sampled_from(REASONS),
    st.sampled_from([None, 1, 137]),
)
lives = st.lists(final_changes, max_size=30, unique_by=lambda child: child.index)


@given(lives, st.randoms(use_true_random=False))
def test_order_and_repeats_and_portions_make_no_difference(
    life: list[JobEvent], chance: random.Random
) -> None:
    deliveries = life + [child for child in life if chance.random() < 0.5]
    chance.shuffle(deliveries)
    part = Part(number=0)
    while deliveries:
        portion = chance.randint(1, len(deliveries))
        part = unite(part, deliveries[:portion])
        del deliveries[:portion]

    at_once = a_part(*life)
    assert part.outcomes.count(1) == at_once.outcomes.count(1)
    assert part.counted() == at_once.counted() == len(life)
    assert failed_indices([part]) == failed_indices([at_once])
    assert groups(an_array(size=61), [part]) == groups(an_array(size=61), [at_once])


@pytest.mark.parametrize("status", ["SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "X"])
def test_states_that_are_not_the_last_add_nothing(status: str) -> None:
    assert unite(Part(number=0), [a_child(3, status)]) == Part(number=0)


def test_a_late_earlier_state_takes_nothing_back() -> None:
    part = a_part(a_child(3, "FAILED"))

    assert unite(part, [a_child(3, "RUNNING"), a_child(3, "RUNNABLE")]) == part


def test_a_child_that_is_told_both_ways_has_succeeded() -> None:
    failed, succeeded = a_child(3, "FAILED"), a_child(3)

    assert failed_indices([a_part(failed, succeeded)]) == []
    assert failed_indices([a_part(succeeded, failed)]) == []


def test_uniting_keeps_the_version_that_was_read() -> None:
    assert unite(Part(number=0, version=7), [a_child(3)]).version == 7


@pytest.mark.parametrize(
    ("index", "part", "size", "parts"), [(0, 0, 2, 1), (3_999, 0, 4_000, 1), (4_000, 1, 4_001, 2)]
)
def test_a_part_holds_four_thousand_indices(index: int, part: int, size: int, parts: int) -> None:
    assert part_of(index) == part
    assert parts_in(size) == parts
    assert parts_in(10_000) == 3


def test_indices_of_later_parts_are_told_as_they_are() -> None:
    children = [a_failed_child(index) for index in (0, 3_999, 4_000, 9_999)]

    assert failed_indices(reversed(all_parts(children))) == [0, 3_999, 4_000, 9_999]


# ---- Causes -------------------------------------------------------------------------------

IMAGE = "111122223333.dkr.ecr.us-east-1.amazonaws.com/app"
DIGEST = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        (
            "Host EC2 (instance i-0a1b2c3d4e5f60718) terminated.",
            "Host EC2 (instance i-0ffeeddccbbaa9988) terminated.",
            "Host EC2 (instance *) terminated.",
        ),
        (
            f"CannotPullContainerError: pull image manifest has been retried 5 time(s): failed to "
            f"resolve ref {IMAGE}@{DIGEST}: not found",
            f"CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to "
            f"resolve ref {IMAGE}@{DIGEST[:-4]}cafe: not found",
            "CannotPullContainerError: pull image manifest has been retried * time(s): failed to "
            "resolve ref *.dkr.ecr.*.amazonaws.com/app@sha256:*: not found",
        ),
        (
            "arn:aws:ecs:us-east-1:111122223333:task/cluster/0123456789abcdef0123456789abcdef",
            "arn:aws:ecs:eu-west-3:444455556666:task/cluster/fedcba98765432100123456789abcdef",
            "arn:aws:ecs:*:task/cluster/*",
        ),
        (
            "dial tcp 10.0.0.7:443: i/o timeout",
            "dial tcp 192.168.13.250:8443: i/o timeout",
            "dial tcp *: i/o timeout",
        ),
        (
            "dial tcp [fe80::1ff:fe23:4567:890a]:443: connect: no route",
            "dial tcp [2001:db8:0:0:1:0:0:1]:443: connect: no route",
            "dial tcp [*]:*: connect: no route",
        ),
        (
            "killed at 2026-01-01T12:00:00Z",
            "killed at 2026-12-31T23:59:59.123+02:00",
            "killed at *",
        ),
        (
            "request 123e4567-e89b-12d3-a456-426614174000 failed",
            "request 00000000-0000-4000-8000-00000000abcd failed",
            "request * failed",
        ),
        (
            "no such file: /data/run_17/part-00042.csv",
            "no such file: /data/run_2/part-1.csv",
            "no such file: /data/*/*.csv",
        ),
        ("exit status 1", "exit status 137", "exit status *"),
        ("used 1,024 of 512 MB (200%)", "used 16 of 8 MB (50.5%)", "used * of * MB (*%)"),
        ("deadbeefcafe is gone", "0badc0ffee is gone", "* is gone"),
        ("took 3m0s", "took 1.5e-05s", "took *"),
        ("ジョブ17が失敗しました", "ジョブ3が失敗しました", "ジョブ*が失敗しました"),
        ("ошибка №12", "ошибка №1234567", "ошибка №*"),
        ("فشل رقم ٣", "فشل رقم ١٢٣", "فشل رقم *"),
    ],
)
def test_ids_and_numbers_make_no_difference(one: str, other: str, alike: str) -> None:
    assert normalise(one) == normalise(other) == alike


FULL = "no space left on device"


@pytest.mark.parametrize(
    "reasons",
    [
        [
            f"CannotPullContainerError: write /var/lib/docker/scratch/GetImageBlob4711: {FULL}",
            f"CannotPullContainerError: failed to register layer: write /opt/bin/tool: {FULL}",
            "CannotPullContainerError: failed to register layer: Error processing tar file"
            f"(exit status 1): mkdir /opt/.npm/har-validator: {FULL}",
            "CannotPullContainerError: ref pull has been retried 1 time(s): failed to extract layer"
            " sha256:0a1b2c3d4e5f60718293a4b5c6d7e8f9: write /var/lib/containerd/"
            f"io.containerd.snapshotter.v1.overlayfs/snapshots/12/fs/usr/lib/x.so: {FULL}: unknown",
            "CannotPullContainerError: failed to register layer: write /a/b: No space left on "
            "device",
        ],
        [
            "OSError: [Errno 28] No space left on device: '/scratch/runs/a.bam'",
            "OSError: [Errno 28] No space left on device: '/data/other.vcf'",
        ],
        [
            "cannot read /scratch/tmpqwertyui/reads: truncated",
            "cannot read /scratch/tmpasdfghjk/part/of/reads: truncated",
        ],
        [
            "failed to open /var/lib/docker/overlay2/l/QWERTYUIOP/diff/usr/bin/sh",
            "failed to open /var/lib/docker/overlay2/0a1b2c3d/merged/etc/passwd",
        ],
        [
            'Get "https://bucket.s3.amazonaws.com/layer?X-Amz-Signature=abcdef&b=c": EOF',
            'Get "https://bucket.s3.amazonaws.com/layer?X-Amz-Signature=fedcba&d=e%2Ff": EOF',
        ],
        [
            'httpReadSeeker: failed open: Get "https://b.s3.amazonaws.com/aa/bb?c=XyZ": dial tcp',
            'httpReadSeeker: failed open: Get "https://b.s3.amazonaws.com/cc/dd?c=Qr": dial tcp',
        ],
        [
            'failed to extract layer sha256:dead1 as "extract-aabb": write /x/one: I/O error',
            'failed to extract layer sha256:cafe2 as "extract-ccdd": write /x/two: I/O error',
        ],
        [
            f"failed to register layer: Error processing tar file: write /a/b: {FULL}",
            f"failed to register layer: Error processing tar file: write /c/d: {FULL}",
        ],
    ],
)
def test_one_cause_is_one_though_paths_and_layers_differ(reasons: list[str]) -> None:
    alike = {normalise(reason) for reason in reasons}

    assert len(alike) == 1


DISTINCT = [
    EXITED,
    f"CannotPullContainerError: failed to register layer: write /opt/bin/tool: {FULL}",
    f"CannotCreateContainerError: mkdir /var/lib/docker/overlay2/0a1b-init: {FULL}",
    "CannotPullContainerError: write /opt/bin/tool: disk quota exceeded",
    'CannotStartContainerError: exec: "/app/train.sh": stat /app/train.sh: no such file',
    'CannotStartContainerError: exec: "/app/infer.sh": stat /app/infer.sh: no such file',
    "cannot read /scratch/tmpqwertyui/reads: truncated",
    "cannot read /scratch/tmpqwertyui/reads: permission denied",
    "Host EC2 (instance i-0a1b2c3d4e5f60718) terminated.",
    "Host EC2 (instance i-0a1b2c3d4e5f60718) stopped.",
    "OutOfMemoryError: Container killed due to memory usage",
    "Job attempt duration exceeded timeout",
    "CannotPullContainerError: Error response from daemon: manifest unknown",
    "CannotPullContainerError: Error response from daemon: pull access denied",
    "failed to register layer: write /a/b: input/output error",
    f"failed to register layer: write /a/b: {FULL}",
    "CannotInspectContainerError: Could not transition to inspecting; timed out",
    "CannotStartContainerError: OCI runtime create failed: permission denied",
    "DockerTimeoutError: Could not transition to started; timed out",
    "ResourceInitializationError: failed to fetch secret arn:aws:secretsmanager:us-east-1:1:a",
    "ResourceInitializationError: failed to download env files from S3",
    "Task failed to start",
    "Terminated by the user",
    "Dependent Job failed",
    "Array Child Job failed",
    "ジョブが失敗しました",
    "ジョブが中断しました",
    "ошибка",
    "",
]


def test_different_causes_stay_different() -> None:
    assert len({normalise(reason) for reason in DISTINCT}) == len(DISTINCT)
    assert normalise("x86_64 image on EC2") == "x86_64 image on EC2"


def test_an_exit_code_tells_causes_apart() -> None:
    assert cause_from(1, EXITED, "") != cause_from(2, EXITED, "") != cause_from(None, EXITED, "")


def test_both_reasons_make_the_cause() -> None:
    memory = "OutOfMemoryError: Container killed due to memory usage"

    assert cause_from(137, EXITED, memory) == FailureCause(137, f"{EXITED}: {memory}")
    assert cause_from(137, EXITED, EXITED).reason == EXITED
    assert cause_from(None, "", " \n").reason == ""


@given(st.text(st.characters(codec=None)) | st.text("0a-:.,*( é", max_size=400))
def test_a_cause_is_one_bounded_line_and_stays_as_it_is(reason: str) -> None:
    alike = normalise(reason)

    assert len(alike) <= 300
    assert alike.isprintable()
    assert normalise(alike) == alike


@given(st.lists(st.integers(0, 10**12), min_size=2, max_size=2))
def test_any_two_numbers_are_alike(numbers: list[int]) -> None:
    one, other = (f"step {number}: lost node-{number} of {number:,}" for number in numbers)

    assert normalise(one) == normalise(other)


# ---- Groups -------------------------------------------------------------------------------


def test_failures_are_grouped_by_cause_the_largest_group_first() -> None:
    children = [
        a_failed_child(1, SPOT_LOSS, None),
        a_failed_child(8, SPOT_LOSS.replace("0a1b", "8888"), None),
        *(a_failed_child(index, EXITED, 137) for index in (2, 3, 4)),
        a_failed_child(9, EXITED, 1),
        a_child(0),
    ]

    found = groups(an_array(), all_parts(children))

    assert [(group.indices, group.cause.exit_code) for group in found] == [
        ((2, 3, 4), 137),
        ((1, 8), None),
        ((9,), 1),
    ]
    assert found[1].cause.reason == "Host EC2 (instance *) terminated."
    assert [group.log_stream.rpartition("/")[2] for group in found] == ["2", "1", "9"]


NOT_BEGUN: Any = {"statusReason": "Dependent Job failed", "container": {}, "attempts": []}


def test_a_cause_comes_before_its_consequences_however_many_they_are() -> None:
    children = [
        *(a_child(index, "FAILED", **NOT_BEGUN) for index in range(4, 40)),
        a_failed_child(3),
    ]

    found = groups(an_array(size=40), all_parts(children))

    assert [group.indices for group in found] == [(3,), tuple(range(4, 40))]
    text = completed(an_array(size=40), all_parts(children)).text
    assert text.count("These never began") == 1


def test_consequences_have_a_group_of_their_own_among_very_many_causes() -> None:
    causes = [a_failed_child(index, f"cause {letters(index)}") for index in range(30)]
    children = [*causes, *(a_child(index, "FAILED", **NOT_BEGUN) for index in range(30, 40))]

    found = groups(an_array(size=40), all_parts(children))

    assert len(found) == GROUPS_MAX + 1
    assert found[-2].cause.follows
    assert found[-2].indices == tuple(range(30, 40))
    assert (found[-1].cause, len(found[-1].indices)) == (OTHER, 11)


def test_a_child_that_began_is_not_a_consequence() -> None:
    assert not FailureCause(1, "Dependent Job failed").follows
    began = a_child(1, "FAILED", exit_code=None, statusReason="Dependent Job failed")
    never = a_child(2, "FAILED", **NOT_BEGUN)

    assert [each.cause.follows for each in groups(an_array(), [a_part(began, never)])] == [
        False,
        True,
    ]
    assert "These never began" not in completed(an_array(), [a_part(began)]).text


def test_a_persons_reason_is_no_consequence_though_it_speaks_of_a_dependency() -> None:
    by_ann = "Terminated by ann: the cached dependency is corrupt"

    text = completed(an_array(), [a_part(a_failed_child(1, by_ann, None))]).text

    assert by_ann in text
    assert "These never began" not in text


def test_a_child_without_a_log_leads_to_none() -> None:
    assert without_log([a_part(a_child(1, "FAILED", **NOT_BEGUN))]) == []


def test_a_part_that_an_earlier_version_wrote_is_read() -> None:
    table = MemoryTable()
    causes = [{"cause": {"exit_code": 1, "reason": "x"}, "log_index": 3, "log_stream": "s"}]
    outcomes = zlib.compress(bytes([0, 1, 1, 2]))
    item: Item = {
        "pk": f"ARRAY#{ARRAY}",
        "sk": "PART#0",
        "outcomes": outcomes,
        "causes": pack(causes),
    }
    table.write([Put(item)])

    _, parts = Arrays(table).read(ARRAY, [0])

    (group,) = groups(an_array(), parts.values())
    assert (group.indices, group.log_stream, group.log_place) == ((3,), "s", DEFAULT_PLACE)


def test_a_groups_log_is_in_the_log_group_of_the_job() -> None:
    logs = {"logDriver": "awslogs", "options": {"awslogs-group": "/acme/render"}}
    container = {"exitCode": 1, "logStreamName": "s", "logConfiguration": logs}
    child = a_child(1, "FAILED", container=container, attempts=[])

    notice = completed(an_array(size=2), [a_part(child, a_child(0))])

    assert notice.facts["groups"][0]["log_group"] == "/acme/render"
    assert "$252Facme$252Frender" in notice.text


def test_a_group_says_where_another_log_driver_sends_the_log() -> None:
    container = {"exitCode": 1, "logConfiguration": {"logDriver": "splunk"}}
    child = a_child(1, "FAILED", container=container, attempts=[])

    notice = completed(an_array(size=2), [a_part(child, a_child(0))])

    assert "which is splunk" in notice.text
    assert "/cloudwatch/" not in notice.text


def test_a_group_names_the_container_whose_log_it_shows() -> None:
    task = {"containers": [{"name": "main", "exitCode": 2, "logStreamName": "s"}]}
    ecs = {"taskProperties": [task]}
    child = a_child(1, "FAILED", container=None, ecsProperties=ecs, attempts=[])

    notice = completed(an_array(size=2), [a_part(child, a_child(0))])

    assert notice.facts["groups"][0]["container"] == "main"
    assert "log of one, container main: https://" in notice.text


def test_a_cause_is_one_group_across_parts() -> None:
    parts = all_parts([a_failed_child(9_000), a_failed_child(3)])

    assert [group.indices for group in groups(an_array(size=10_000), parts)] == [(3, 9_000)]


def test_a_group_shows_the_log_of_its_lowest_index_that_has_one() -> None:
    without = a_child(1, "FAILED", container={"exitCode": 1}, attempts=[])

    found = groups(an_array(), [a_part(without, a_failed_child(5), a_failed_child(2))])

    assert [group.log_stream for group in found] == ["render/default/2"]


def letters(number: int) -> str:
    """A word without a digit, another one for each number."""
    return "".join(chr(ord("g") + int(digit)) for digit in f"{number:05}")


def test_more_than_twenty_causes_are_twenty_groups_and_the_rest() -> None:
    children = [a_failed_child(index, f"cause {letters(index % 25)}") for index in range(100)]

    found = groups(an_array(size=100), all_parts(children))

    assert len(found) == GROUPS_MAX + 1
    assert found[-1].cause == OTHER
    assert len(found[-1].indices) == 20
    assert sum(len(group.indices) for group in found) == 100


def test_a_part_knows_few_causes_and_still_every_index() -> None:
    children = [a_failed_child(index, f"cause {letters(index)}") for index in range(500)]

    part = a_part(*children)

    assert len(part.causes) <= 60
    assert failed_indices([part]) == list(range(500))


@given(st.dictionaries(st.integers(0, 9_999), st.integers(0, 80), max_size=200))
def test_groups_add_up_and_share_no_index(causes: dict[int, int]) -> None:
    children = [a_failed_child(index, f"cause {letters(cause)}") for index, cause in causes.items()]

    found = groups(an_array(size=10_000), all_parts(children))

    grouped = [index for group in found for index in group.indices]
    assert sorted(grouped) == sorted(causes)
    assert len(found) <= GROUPS_MAX + 1


def test_failures_that_only_batch_counts_are_a_group_without_indices() -> None:
    array = an_ended_array(10, failed=3, reason="Array Child Job failed")

    found = groups(array, [a_part(a_failed_child(4))])

    assert [(len(group.indices), group.unseen) for group in found] == [(1, 0), (0, 2)]
    assert found[1].cause == FailureCause(None, "Array Child Job failed")


def test_failures_that_only_batch_counts_join_the_rest_where_there_is_one() -> None:
    children = [a_failed_child(index, f"cause {letters(index)}") for index in range(30)]

    found = groups(an_ended_array(40, failed=33), all_parts(children))

    assert len(found) == GROUPS_MAX + 1
    assert (len(found[-1].indices), found[-1].unseen) == (10, 3)


# ---- What is known of an array ------------------------------------------------------------


def test_an_array_begins_with_whatever_is_seen_first() -> None:
    tags = {"resourceArn": "arn:child", "team": "imaging"}

    array = begin(a_child(3, "RUNNABLE", clock="12:05", tags=tags))

    assert (array.job_id, array.job_name, array.queue) == (ARRAY, "render", QUEUE)
    assert (array.size, array.first_at, array.tags) == (None, at("12:05"), {"team": "imaging"})


def test_names_that_the_first_change_lacks_are_taken_from_later_ones() -> None:
    bare = begin(a_child(3, jobName=None, jobQueue=None, jobDefinition=None))

    array = take_in(bare, a_child(4, tags={"team": "imaging"}))

    assert (array.job_name, array.queue, array.tags) == ("render", QUEUE, {"team": "imaging"})
    assert array.definition


def test_a_parent_under_way_tells_its_size_and_no_end() -> None:
    pending = change(an_event(jobId=ARRAY, status="PENDING", arrayProperties={"size": 7}))

    array = take_in(begin(pending), pending)

    assert (array.size, array.ended_at, array.status) == (7, None, "")


def test_a_parents_end_is_told_once_and_stays() -> None:
    first = take_in(an_array(), a_parent(10, failed=2, clock="12:10"))
    again = take_in(first, a_parent(10, failed=2, clock="12:30"))

    assert (again.ended_at, again.failed_by_batch) == (at("12:10"), 2)
    assert again == first


def test_a_count_that_was_incomplete_at_the_end_is_completed_later() -> None:
    hasty = a_parent(10, arrayProperties={"size": 10, "statusSummary": {"SUCCEEDED": 9}})
    detail = {
        "jobId": ARRAY,
        "status": "FAILED",
        "stoppedAt": 0,
        "arrayProperties": {"size": 10, "statusSummary": {"SUCCEEDED": 9, "FAILED": 1}},
    }

    array = ask(take_in(an_array(), hasty), detail, at("12:11"))

    assert (array.failed_by_batch, array.ended_at) == (1, at("12:10"))


def test_batchs_answer_tells_what_no_event_told() -> None:
    detail = {
        "jobName": "late",
        "jobQueue": QUEUE,
        "jobDefinition": "definition",
        "tags": {"team": "imaging"},
        "jobId": ARRAY,
        "status": "FAILED",
        "statusReason": "Array Child Job failed",
        "stoppedAt": 1_767_269_100_000,
        "arrayProperties": {"size": 3, "statusSummary": {"SUCCEEDED": 1, "FAILED": 2}},
    }

    array = ask(an_array(size=None, job_name="", queue="", definition=""), detail, at("12:30"))

    assert (array.size, array.status, array.failed_by_batch) == (3, "FAILED", 2)
    assert (array.job_name, array.queue, array.definition) == ("late", QUEUE, "definition")
    assert (array.ended_at, array.tags) == (at("12:05"), {"team": "imaging"})


@pytest.mark.parametrize("stopped_at", [0, None, -1, 10**30])
def test_where_batch_tells_no_end_it_is_when_it_was_asked(stopped_at: Any) -> None:
    summary = {"SUCCEEDED": 10, "FAILED": 0}
    detail = {
        "jobId": ARRAY,
        "status": "SUCCEEDED",
        "stoppedAt": stopped_at,
        "arrayProperties": {"size": 10, "statusSummary": summary},
    }

    assert ask(an_array(), detail, at("12:30")).ended_at == at("12:30")


def test_an_answer_about_an_array_under_way_ends_nothing() -> None:
    summary = {"size": 10, "statusSummary": {"FAILED": 10}}
    detail = {"jobId": ARRAY, "status": "PENDING", "arrayProperties": summary}

    assert ask(an_array(), detail, at("12:30")) == an_array()


def test_an_arrays_tags_are_those_that_batch_shows_now() -> None:
    array = an_array(tags={"critical": "false", "team": "imaging"})
    detail = {"jobId": ARRAY, "status": "PENDING", "tags": {"critical": "true"}}

    assert ask(array, detail, at("12:30")).tags == {"critical": "true"}


def test_an_answer_about_a_job_that_is_no_array_tells_nothing() -> None:
    assert (
        ask(an_array(size=None), {"jobId": ARRAY, "status": "FAILED"}, at("12:30")).ended_at is None
    )


# ---- Being done ---------------------------------------------------------------------------


def test_an_array_is_done_when_all_are_counted_even_if_its_parent_is_silent() -> None:
    children = [a_child(index) for index in range(9)]

    assert not is_done(an_array(), [a_part(*children)])
    assert is_done(an_array(), [a_part(*children, a_child(9, "FAILED"))])


def test_an_array_is_not_done_before_its_size_is_known() -> None:
    part = a_part(*(a_child(index) for index in range(10)))

    assert not is_done(an_array(size=None), [part])
    assert not may_be_done(an_array(size=None), part)


def test_once_batch_has_counted_only_the_failed_indices_matter() -> None:
    nothing = [Part(number=0)]

    assert is_done(an_ended_array(10), nothing)
    assert not is_done(an_ended_array(10, failed=1), nothing)
    assert is_done(an_ended_array(10, failed=1), [a_part(a_child(7, "FAILED"))])
    assert not is_done(an_ended_array(10, failed=1), [a_part(*(a_child(i) for i in range(10)))])


def test_a_count_that_is_not_whole_is_not_batchs_last_word() -> None:
    array = an_ended_array(10, summary={"SUCCEEDED": 4})

    assert array.failed_by_batch is None
    assert not is_done(array, [Part(number=0)])


@pytest.mark.parametrize(
    ("size", "counted", "maybe"), [(4_001, 4_000, True), (4_001, 3_999, False)]
)
def test_only_a_full_part_can_be_the_last(size: int, counted: int, *, maybe: bool) -> None:
    part = Part(number=0, outcomes=b"\1" * counted)

    assert may_be_done(an_array(size=size), part) is maybe
    assert may_be_done(an_array(size=size), Part(number=1, outcomes=b"\1"))
    assert may_be_done(an_ended_array(size), part)


def test_children_beyond_the_size_count_for_nothing() -> None:
    parts = [a_part(*(a_child(index) for index in (0, 1, 2, 3, 7)))]

    within = [clipped(part, 5) for part in parts]

    assert not is_done(an_array(size=5), within)
    assert clipped(Part(number=2, outcomes=b"\2"), 5).outcomes == b""
    assert clipped(a_part(a_child(3)), 4) == a_part(a_child(3))


@pytest.mark.parametrize(
    ("clock", "waits"),
    [("12:10", True), ("12:10:59", True), ("12:11", False), ("13:00", False), ("12:09:30", True)],
)
def test_stragglers_are_awaited_for_a_minute(clock: str, *, waits: bool) -> None:
    assert lacks_only_stragglers(an_ended_array(10, 1), at(clock)) is waits


def test_nobody_waits_for_an_end_that_lies_in_the_far_future() -> None:
    array = an_ended_array(10, 1, ended_at=at("12:10") + timedelta(days=365_000))

    assert not lacks_only_stragglers(array, at("12:10"))


# ---- Batch's list against the events ------------------------------------------------------


def listed(*indices: int) -> list[JobEvent]:
    return [a_failed_child(index, "listed") for index in indices]


def test_what_batch_lists_fills_what_events_left_open() -> None:
    parts = [a_part(a_child(0), a_failed_child(1)), Part(number=1)]

    filled = correct(an_ended_array(5_000, failed=3), parts, listed(1, 5, 4_500))

    assert failed_indices(filled) == [1, 5, 4_500]
    assert {group.indices for group in groups(an_ended_array(5_000, 3), filled)} == {
        (1,),  # whose cause its event told
        (5, 4_500),
    }


def test_a_child_that_batch_lists_as_failed_has_failed() -> None:
    assert failed_indices(correct(an_ended_array(5, 1), [a_part(a_child(2))], listed(2))) == [2]


def test_a_whole_list_also_takes_back_what_it_does_not_have() -> None:
    parts = [a_part(a_failed_child(1), a_failed_child(2))]

    assert failed_indices(correct(an_ended_array(5, failed=1), parts, listed(2))) == [2]


def test_a_list_that_is_not_whole_takes_nothing_back() -> None:
    parts = [a_part(a_failed_child(1), a_failed_child(2))]

    assert failed_indices(correct(an_ended_array(5, failed=3), parts, listed(3))) == [1, 2, 3]
    assert failed_indices(correct(an_array(size=5), parts, listed(3))) == [1, 2, 3]


@given(
    st.dictionaries(st.integers(0, 9_999), st.booleans(), max_size=40),
    st.sets(st.integers(0, 9_999), max_size=40),
)
def test_batchs_whole_list_is_the_last_word(told: dict[int, bool], truth: set[int]) -> None:
    array = an_ended_array(10_000, failed=len(truth))
    children = [a_failed_child(index) if bad else a_child(index) for index, bad in told.items()]
    known = {part.number: part for part in all_parts(children)}
    parts = [known.get(number, Part(number=number)) for number in range(3)]

    filled = correct(array, parts, listed(*truth))

    assert failed_indices(filled) == sorted(truth)
    assert is_done(array, filled)
    assert sum(len(group.indices) for group in groups(array, filled)) == len(truth)


def test_one_log_is_asked_for_each_cause_that_has_none() -> None:
    lost = [a_child(index, "FAILED", container={"exitCode": 9}, attempts=[]) for index in (3, 8)]
    parts = all_parts([*lost, a_failed_child(1), *listed(4_100)])

    assert without_log(parts) == [3]

    told = a_child(3, "FAILED", container={"exitCode": 9, "logStreamName": "found"}, attempts=[])
    parts = with_logs(parts, [told])

    assert without_log(parts) == []
    assert {group.log_stream for group in groups(an_array(size=5_000), parts)} >= {"found"}


# ---- The notice ---------------------------------------------------------------------------


def test_an_array_without_failures_is_good_news() -> None:
    notice = completed(an_ended_array(10), [Part(number=0)])

    assert (notice.kind, notice.id) == ("array-completed", f"array-completed:{ARRAY}")
    assert notice.severity == "info"
    assert notice.subject == "Array done, 10 of 10 succeeded, 0 failed: render"
    assert notice.facts == {
        "job_id": ARRAY,
        "job_name": "render",
        "queue": "gpu",
        "definition": "render:3",
        "status": "SUCCEEDED",
        "size": 10,
        "succeeded": 10,
        "failed": 0,
        "stopped": 0,
        "stopped_by": [],
        "failed_indices": "",
        "groups": [],
        "ended_at": "2026-01-01T12:10:00Z",
    }
    assert "It ended at 2026-01-01T12:10:00Z, 10 min after it was first seen." in notice.text
    assert "Nothing to do." in notice.text


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("Dependent Job failed", "These never began"),
        ("Cancelled by jane", "10 × no exit code, Cancelled by jane"),
        ("", "10 × no exit code, AWS Batch gives no reason"),
    ],
)
def test_an_array_that_failed_before_any_child_began_says_so(reason: str, words: str) -> None:
    array = an_array(status="FAILED", ended_at=at("12:10"), reason=reason, depends_on=("job-1",))

    notice = completed(array, [Part(number=0)])

    assert notice.subject == (
        "Array done, 0 of 10 succeeded, 0 failed, 10 without a result: render"
    )
    assert words in notice.text
    assert "To resubmit: 0-9" in notice.text
    assert "Nothing to do" not in notice.text
    assert ("depends on: job-1" in notice.text) is reason.startswith("Dependent")
    assert notice.facts["without_result"] == "0-9"


def test_children_without_a_result_join_those_that_failed_for_the_same_reason() -> None:
    array = an_array(status="FAILED", ended_at=at("12:10"), reason="Dependent Job failed")
    parts = [a_part(a_child(0), a_child(1, "FAILED", **NOT_BEGUN))]

    notice = completed(array, parts)

    assert [group["indices"] for group in notice.facts["groups"]] == ["1-9"]
    assert (notice.facts["succeeded"], notice.facts["failed"]) == (1, 1)


def test_an_array_with_failures_tells_which_and_why_and_what_to_resubmit() -> None:
    children = [a_failed_child(index, EXITED, 137) for index in (3, 7, 8, 9)]

    notice = completed(an_ended_array(10, failed=4, status="FAILED"), all_parts(children))

    assert notice.severity == "warning"
    assert notice.facts["status"] == "FAILED"
    assert (notice.facts["succeeded"], notice.facts["failed"]) == (6, 4)
    assert notice.facts["failed_indices"] == "3,7-9"
    assert notice.facts["groups"] == [
        {
            "count": 4,
            "indices": "3,7-9",
            "exit_code": 137,
            "reason": EXITED,
            "log_stream": "render/default/3",
            "known_cause": "killed",
        }
    ]
    assert f"1. 4 × exit code 137, {EXITED}" in notice.text
    assert "To resubmit: 3,7-9" in notice.text
    assert "log-events/render$252Fdefault$252F3" in notice.text
    assert f"#jobs/detail/{ARRAY}" in notice.text


def test_counts_are_batchs_where_batch_has_told_them() -> None:
    parts = [a_part(*(a_child(index) for index in range(4)), a_failed_child(4))]

    batchs = completed(an_ended_array(10, failed=3), parts)
    our_own = completed(an_array(size=5), parts)

    assert (batchs.facts["succeeded"], batchs.facts["failed"]) == (7, 3)
    assert sum(group["count"] for group in batchs.facts["groups"]) == 3
    assert (our_own.facts["succeeded"], our_own.facts["failed"]) == (4, 1)
    assert (our_own.facts["status"], our_own.facts["ended_at"]) == ("FAILED", None)


def test_ten_thousand_failures_fit_into_a_message() -> None:
    causes = [f"cause {letters(number)}" for number in range(30)]
    children = [a_failed_child(index, causes[index % 30]) for index in range(0, 9_999, 2)]

    notice = completed(an_ended_array(10_000, failed=5_000), all_parts(children))

    assert len(notice.text) < 20_000
    assert len(str(notice.facts)) < 100_000
    assert notice.facts["failed_indices"] == ranges(range(0, 9_999, 2))


hostile = st.sampled_from(["<script>", "a\r\nb", "\u202e", "x" * 100_000, "\x00", ""]) | st.text()


@given(hostile, hostile, hostile)
def test_hostile_names_reach_neither_subject_nor_text(name: str, reason: str, job_id: str) -> None:
    child = a_child(1, "FAILED", statusReason=reason, container={"exitCode": 1}, attempts=[])
    array = an_ended_array(10, failed=1, job_name=name, job_id=job_id, reason=reason)

    notice = completed(array, [a_part(child)])

    assert len(notice.subject) < 100
    assert all(line.isprintable() for line in notice.text.split("\n"))
    assert "<" not in notice.text
    assert "\u202e" not in notice.subject + notice.text
    harmless = completed(an_ended_array(10, failed=1), [a_part(child)])
    assert notice.text.count("\n") == harmless.text.count("\n")
