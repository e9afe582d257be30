"""Causes that AWS or Linux have a name for: one table, told with the failures that fit."""

from typing import Any

import pytest

from batch_watchdog.arrays.notices import completed
from batch_watchdog.core.failure_cause import normalise
from batch_watchdog.core.job_event import JobEvent
from batch_watchdog.core.known_causes import KNOWN_CAUSES, known_cause
from batch_watchdog.failed_jobs.notices import job_failed
from tests.makers import EXITED, SPOT_LOSS, a_child, a_failure, a_part, an_array, change

PULL = "CannotPullContainerError: "

CAUSES = [
    (None, "Job attempt duration exceeded timeout", "timeout"),
    (143, "Job attempt duration exceeded timeout", "timeout"),
    (None, SPOT_LOSS, "spot-reclaim"),
    (137, f"{EXITED}: OutOfMemoryError: Container killed due to memory usage", "out-of-memory"),
    (137, f"{EXITED}: OOMKilled", "out-of-memory"),
    (None, f"{PULL}failed to register layer: write /a: no space left on device", "disk-full"),
    (1, "OSError: [Errno 28] No space left on device", "disk-full"),
    (None, f"{PULL}Error response from daemon: manifest unknown", "image-not-found"),
    (None, f"{PULL}failed to resolve ref x.dkr.ecr.us-east-1.amazonaws.com/a:b: not found",
     "image-not-found"),
    (None, f"{PULL}manifest for reg.example/a/b:v2 not found", "image-not-found"),
    (None, f"{PULL}name unknown: The repository with name 'a' does not exist in the registry",
     "image-not-found"),
    (None, f"{PULL}Error: image library/app:v2 not found", "image-not-found"),
    (None, f"{PULL}pull access denied for app, repository does not exist or may require a login",
     "image-access-denied"),
    (None, f"{PULL}repository b/app not found: does not exist or no pull access",
     "image-access-denied"),
    (None, "CannotPullECRContainerError: AccessDeniedException: User is not authorized to do it",
     "image-access-denied"),
    (None, f"{PULL}failed to register layer: open /var/lib/x: permission denied",
     "image-not-pulled"),
    (None, f"{PULL}lookup registry.example: host not found", "image-not-pulled"),
    (None, f"{PULL}unpacking failed: the mount /data does not exist", "image-not-pulled"),
    (None, f"{PULL}error getting credentials - err: exec: docker-credential-x: executable file "
     "not found in $PATH", "image-credentials"),
    (None, f"{PULL}error getting credentials - err: exit status 1, out: denied",
     "image-credentials"),
    (None, f"{PULL}image Manifest does not contain descriptor matching platform linux/arm64",
     "image-platform"),
    (None, f"{PULL}no match for platform in manifest: not found", "image-platform"),
    (None, f"{PULL}no matching manifest for windows/amd64 in the manifest list entries",
     "image-platform"),
    (None, f"{PULL}toomanyrequests: You have reached your pull rate limit", "image-access-denied"),
    (None, f"{PULL}no basic auth credentials", "image-access-denied"),
    (None, f"{PULL}dial tcp 10.0.0.7:443: i/o timeout", "image-not-pulled"),
    (None, "CannotPullImageManifestError: Error response from daemon: TLS handshake timeout",
     "image-not-pulled"),
    (None, "ResourceInitializationError: unable to pull secrets or registry auth",
     "resource-initialization"),
    (None, "DockerTimeoutError: Could not transition to started; timed out after waiting 3m0s",
     "container-timeout"),
    (None, 'CannotStartContainerError: exec: "/app/x": stat /app/x: no such file',
     "container-not-started"),
    (None, "Canceled by JobStateTimeLimit action due to reason: CAPACITY:X", "job-queue-limit"),
    (None, "Task failed to start", "task-not-started"),
    (None, "Task failed to start: DockerTimeoutError: Could not transition", "container-timeout"),
    (137, EXITED, "killed"),
    (139, EXITED, "segmentation-fault"),
    (143, EXITED, "asked-to-stop"),
    (134, EXITED, "aborted"),
    (127, EXITED, "command-not-found"),
    (126, EXITED, "command-not-executable"),
    (1, EXITED, "container-exited"),
    (0, EXITED, None),
    (None, EXITED, None),
    (1, "", None),
    (None, "", None),
    (None, "Dependent Job failed", None),
    (None, "Terminated by ann", None),
]  # fmt: skip


@pytest.mark.parametrize(("exit_code", "reason", "code"), CAUSES)
def test_a_known_cause_is_known_by_its_words_or_else_its_exit_code(
    exit_code: int | None, reason: str, code: str | None
) -> None:
    found = known_cause(exit_code, reason)

    assert (found.code if found else None) == code


@pytest.mark.parametrize(("exit_code", "reason", "code"), CAUSES)
def test_a_cause_is_known_with_its_ids_left_out_too(
    exit_code: int | None, reason: str, code: str | None
) -> None:
    found = known_cause(exit_code, normalise(reason))

    assert (found.code if found else None) == code


def test_each_known_cause_has_its_sentence_its_next_step_and_a_page_of_aws() -> None:
    assert len({cause.code for cause in KNOWN_CAUSES}) == len(KNOWN_CAUSES)
    assert {code for _, _, code in CAUSES if code} == {cause.code for cause in KNOWN_CAUSES}
    for cause in KNOWN_CAUSES:
        assert cause.meaning.endswith(".")
        assert cause.next_step.endswith(".")
        assert "\n" not in cause.meaning + cause.next_step + cause.title
        assert len(cause.title) <= 30
        assert cause.page.startswith(
            ("https://docs.aws.amazon.com/", "https://repost.aws/", "https://aws.amazon.com/")
        )


def a_failed_job(**detail: Any) -> JobEvent:
    return change(a_failure(**detail))


def test_a_failed_job_is_told_with_what_is_known_of_its_cause() -> None:
    container = {
        "exitCode": 137,
        "reason": "OutOfMemoryError: Container killed",
        "logStreamName": "s",
    }
    notice = job_failed(a_failed_job(container=container, attempts=[{"container": container}]))

    assert notice.subject == "Job failed, exit code 137, out of memory: render"
    assert "used more memory than the job had asked for" in notice.text
    assert "What to do: Ask for more memory" in notice.text
    assert "See https://docs.aws.amazon.com/batch/latest/userguide/memory-man" in notice.text
    assert notice.facts["known_cause"] == "out-of-memory"


def test_an_exit_code_that_is_known_by_its_number_alone_needs_no_other_name_in_a_subject() -> None:
    notice = job_failed(a_failed_job(exit_code=139))

    assert notice.subject == "Job failed, exit code 139: render"
    assert "SIGSEGV" in notice.text


@pytest.mark.parametrize("exit_code", [0, None])
def test_nothing_is_said_of_an_exit_code_that_is_0_or_not_known(exit_code: int | None) -> None:
    job = job_failed(change(a_failure(exit_code=exit_code)))
    array = completed(an_array(size=1), [a_part(a_child(0, "FAILED", exit_code=exit_code))])

    for notice in (job, array):
        assert EXITED in notice.text
        assert "other than 0" not in notice.text


def test_a_group_shows_one_real_example_with_its_ids_and_what_is_known_of_it() -> None:
    children = [
        a_child(index, "FAILED", statusReason=SPOT_LOSS.replace("718", str(700 + index)),
                container={}, attempts=[])
        for index in (5, 3, 4)
    ]  # fmt: skip
    notices = [
        completed(an_array(size=6), [a_part(*order)]) for order in (children, children[::-1])
    ]

    assert notices[0] == notices[1]
    [group] = notices[0].facts["groups"]
    assert group["reason"] == "Host EC2 (instance *) terminated."
    assert group["example"] == "Host EC2 (instance i-0a1b2c3d4e5f60703) terminated."
    assert group["known_cause"] == "spot-reclaim"
    text = notices[0].text
    assert "3 × no exit code, e.g. Host EC2 (instance i-0a1b2c3d4e5f60703) terminated." in text
    assert "took a Spot instance back" in text


def test_an_example_is_one_harmless_line() -> None:
    child = a_child(0, "FAILED", statusReason="lost <i-0a1b>\nnow " + "x1" * 400, container={})

    [group] = completed(an_array(size=1), [a_part(child)]).facts["groups"]

    assert "\n" not in group["example"]
    assert "‹i-0a1b›" in group["example"]
    assert len(group["example"]) <= 300


LAYER = "CannotPullContainerError: failed to register layer: "
# Without a digit and with one: the cause is then the text itself, or leaves something out.
LONG = [f"{LAYER}{'very/' * 90}{name}: no space left on device" for name in ("deep", "deep7")]
OUT_OF_MEMORY = [f"worker {name}: {'at a; ' * 80}OutOfMemoryError" for name in ("a", "a7")]


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        *((reason, "disk-full") for reason in LONG),
        *((each, "out-of-memory") for each in OUT_OF_MEMORY),
    ],
)
def test_a_cause_is_known_by_the_end_of_a_long_reason_too(reason: str, code: str) -> None:
    shown: Any = {"container": {"reason": reason}, "attempts": [{"container": {}}]}
    job = change(a_failure(statusReason="Task failed to start", **shown))
    child = a_child(0, "FAILED", statusReason="Task failed to start", **shown)

    [group] = completed(an_array(size=1), [a_part(child)]).facts["groups"]

    assert job_failed(job).facts["known_cause"] == group["known_cause"] == code
    assert len(group.get("example", "")) <= 300


def test_of_two_long_reasons_that_begin_alike_the_first_childs_is_read() -> None:
    ends = {0: "OutOfMemoryError", 1: "no space left on device", 4_000: "DockerTimeoutError"}
    children = {
        index: a_child(index, "FAILED", statusReason=f"{'a; ' * 120}{end}", container={})
        for index, end in ends.items()
    }
    last = a_part(children[4_000], number=1)

    for order in ((0, 1), (1, 0)):
        parts = [a_part(*(children[index] for index in order)), last]
        [group] = completed(an_array(size=4_001), parts).facts["groups"]
        assert group["known_cause"] == "out-of-memory"
