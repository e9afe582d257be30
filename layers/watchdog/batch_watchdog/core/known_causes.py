"""
Explain causes of failures that AWS or Linux have a name for: meaning, next step, AWS's page.

The first cause that fits is used. Specific messages come before exit codes, because many causes
share an exit code.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from batch_watchdog.notices.phrases import Phrase, say

_BATCH = "https://docs.aws.amazon.com/batch/latest/userguide/"
_ECS = "https://docs.aws.amazon.com/AmazonECS/latest/developerguide/"


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownCause:
    """
    What is known of a cause. `code` is its name in the facts, `title` a short text for a subject.

    It fits a failure if its `pattern` is found in the reason, or by its `exit_codes`. If it says
    that the exit code is not 0 (`has_failed`), its pattern counts only where that is so.
    """

    code: str
    title: Phrase
    meaning: Phrase
    next_step: Phrase
    page: str
    pattern: re.Pattern[str] | None = None
    exit_codes: tuple[int, ...] = ()
    has_failed: bool = False


def known_cause(exit_code: int | None, reason: str) -> KnownCause | None:
    """Find the known cause of a failure, by exit code and the reasons of Batch and container."""
    for cause in KNOWN_CAUSES:
        matched = cause.pattern is not None and cause.pattern.search(reason)
        if exit_code in cause.exit_codes or (matched and (exit_code or not cause.has_failed)):
            return cause
    return None


def by_code(code: str) -> KnownCause | None:
    """Return a known cause by its code; None if there is none."""
    return next((cause for cause in KNOWN_CAUSES if cause.code == code), None) if code else None


def title_of(code: str) -> Phrase | None:
    """Return a cause's title by its code; None if it says only that something failed."""
    cause = by_code(code)
    return cause.title if cause and code != NO_CAUSE_OF_ITS_OWN else None


def _words(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


NO_CAUSE_OF_ITS_OWN = "container-exited"  # a code that says only that it exited
QUEUE_LIMIT = "job-queue-limit"  # cancelled by a queue's own time limit
# The order matters: a full disk is the cause of a failed pull, and not the other way round.
KNOWN_CAUSES: Sequence[KnownCause] = (
    KnownCause(
        code="timeout",
        title=say("timeout"),
        meaning=say("The attempt ran longer than the job's own timeout, and AWS Batch ended it."),
        next_step=say("Raise attemptDurationSeconds, or find out why the job took so long."),
        page=f"{_BATCH}job_timeouts.html",
        pattern=_words(r"attempt duration exceeded timeout"),
    ),
    KnownCause(
        code="spot-reclaim",
        title=say("instance lost"),
        meaning=say(
            "The instance went away under the job: mostly EC2 took a Spot instance back. The job "
            "itself is not at fault."
        ),
        next_step=say(
            'Submit it again, with a retry strategy for "Host EC2*", or in an On-Demand '
            "environment."
        ),
        page=f"{_BATCH}job_retries.html",
        pattern=_words(
            r"\bHost EC2\b.*\bterminated|\bspot (?:instance )?interruption|\bspotinterr"
        ),
    ),
    KnownCause(
        code="out-of-memory",
        title=say("out of memory"),
        meaning=say("The container used more memory than the job had asked for, and was killed."),
        next_step=say("Ask for more memory, or make the job need less at a time."),
        page=f"{_BATCH}memory-management.html",
        pattern=_words(
            r"\bOutOfMemory(?:Error)?\b|\bOOM ?Killed\b|killed due to memory usage"
            r"|\bout of memory\b"
        ),
    ),
    KnownCause(
        code="disk-full",
        title=say("disk full"),
        meaning=say("The disk is full: the image, or what the job writes, has no room on it."),
        next_step=say(
            "Give the instances a larger volume in the launch template (on Fargate: more "
            "ephemeral storage), and have jobs delete what they leave behind."
        ),
        page=f"{_ECS}task_cannot_pull_image.html",
        pattern=_words(r"no space left on device|disk quota exceeded"),
    ),
    KnownCause(
        code="image-platform",
        title=say("image: other platform"),
        meaning=say("The image is not made for the platform of the instance or task."),
        next_step=say(
            "Build it for that platform too (arm64 or x86_64, Linux or Windows), or use instances "
            "that it is made for."
        ),
        page=f"{_ECS}task_cannot_pull_image.html",
        pattern=_words(
            r"CannotPull\w*Error.*(?:descriptor matching platform|no match for platform"
            r"|no matching manifest for)"
        ),
    ),
    KnownCause(
        code="image-credentials",
        title=say("image: no credentials"),
        meaning=say("There were no credentials for the registry, so it was not asked."),
        next_step=say(
            "See the credential helper and its configuration on the instance, and what its role "
            "allows."
        ),
        page=f"{_ECS}task_cannot_pull_image.html",
        pattern=_words(r"CannotPull\w*Error.*error getting credentials"),
    ),
    # Registries refuse images that they do not have, too: then neither is proven.
    KnownCause(
        code="image-access-denied",
        title=say("image: access denied"),
        meaning=say("The registry refused to give out the image."),
        next_step=say(
            "See that the image's name is right, what the execution role (on EC2 the instance "
            "role) and the repository's policy allow, and whether the registry limits how often it "
            "is asked."
        ),
        page=f"{_ECS}task_cannot_pull_image.html",
        pattern=_words(
            r"CannotPull\w*Error.*(?:(?<!permission )denied|unauthorized|not authorized|forbidden"
            r"|no basic auth|no pull access|toomanyrequests|rate limit)"
        ),
    ),
    KnownCause(
        code="image-not-found",
        title=say("image not found"),
        meaning=say("The registry does not have this image, or this tag of it."),
        next_step=say("Compare the image's name, tag and region with what is in the registry."),
        page=f"{_ECS}task_cannot_pull_image.html",
        pattern=_words(
            r"CannotPull\w*Error.*(?:(?:manifest|name) unknown"
            r"|\b(?:manifest for|image|repository|repository with name) \S+ "
            r"(?:not found|does not exist)|resolve ref(?:erence)?\b.*: not found)"
        ),
    ),
    KnownCause(
        code="image-not-pulled",
        title=say("image not pulled"),
        meaning=say("The image could not be pulled, so the container never ran."),
        next_step=say(
            "See that the instance or task reaches the registry (NAT or VPC endpoints, security "
            "groups), and that the image's name is right."
        ),
        page=f"{_ECS}task_cannot_pull_image.html",
        pattern=_words(r"CannotPull\w*Error|ImagePullBackOff|ErrImagePull"),
    ),
    KnownCause(
        code="resource-initialization",
        title=say("task not set up"),
        meaning=say(
            "What the task needs before it begins could not be set up: secrets, parameters, logs, "
            "volumes or the network."
        ),
        next_step=say(
            "See what the execution role allows, and whether the subnet reaches Secrets Manager, "
            "ECR and CloudWatch Logs."
        ),
        page=f"{_ECS}resource-initialization-error.html",
        pattern=_words(r"ResourceInitializationError"),
    ),
    KnownCause(
        code="container-timeout",
        title=say("container timed out"),
        meaning=say("Docker did not start or stop the container in time: mostly a busy disk."),
        next_step=say(
            "Submit it again; if it comes back, use larger or faster volumes, or put fewer jobs "
            "on one instance."
        ),
        page=f"{_ECS}stopped-task-error-codes.html",
        pattern=_words(r"\b(?:Docker|ContainerRuntime)TimeoutError"),
    ),
    KnownCause(
        code="container-not-started",
        title=say("container not started"),
        meaning=say("The container could not be made or started: mostly its command is not found."),
        next_step=say("Check the command, its path and permissions in the image, and the volumes."),
        page=f"{_ECS}cannot-start-container.html",
        pattern=_words(r"Cannot(?:Create|Start)ContainerError|CannotCreateVolumeError"),
    ),
    KnownCause(
        code=QUEUE_LIMIT,
        title=say("cancelled by AWS Batch"),
        meaning=say("The queue's own time limit for RUNNABLE jobs has cancelled it, not a person."),
        next_step=say("See the reason that it names, and the queue's jobStateTimeLimitActions."),
        page=f"{_BATCH}job_stuck_in_runnable.html",
        pattern=_words(r"JobStateTimeLimit"),
    ),
    KnownCause(
        code="task-not-started",
        title=say("task not started"),
        meaning=say("ECS could not start the task."),
        next_step=say(
            "See the task's stopped reason in ECS; a retry often helps, as it may run on another "
            "instance."
        ),
        page=f"{_ECS}stopped-task-error-codes.html",
        pattern=_words(r"Task failed to start"),
    ),
    KnownCause(
        code="killed",
        title=say("killed"),
        meaning=say(
            "It was killed (SIGKILL): out of memory as a rule, or not ended when asked to."
        ),
        next_step=say(
            "Compare its use of memory with what the job asks for; see the end of its log."
        ),
        page=f"{_BATCH}memory-management.html",
        exit_codes=(137,),
    ),
    KnownCause(
        code="segmentation-fault",
        title=say("segmentation fault"),
        meaning=say(
            "The program touched memory that is not its own (SIGSEGV): a fault in its code."
        ),
        next_step=say("Run it on the same input with a debugger, or with a core dump."),
        page="https://repost.aws/knowledge-center/ecs-task-stopped",
        exit_codes=(139,),
    ),
    KnownCause(
        code="asked-to-stop",
        title=say("asked to stop"),
        meaning=say(
            "It was asked to stop (SIGTERM), by AWS Batch, ECS, or a loss of its instance."
        ),
        next_step=say("See who ended it: a person, a timeout, or an instance that went away."),
        page="https://aws.amazon.com/blogs/hpc/understanding-the-aws-batch-termination-process/",
        exit_codes=(143,),
    ),
    KnownCause(
        code="aborted",
        title=say("aborted"),
        meaning=say(
            "The program ended itself (SIGABRT): an assertion, or memory that it did not get."
        ),
        next_step=say("See the end of its log."),
        page="https://repost.aws/knowledge-center/ecs-task-stopped",
        exit_codes=(134,),
    ),
    KnownCause(
        code="command-not-found",
        title=say("command not found"),
        meaning=say("The shell did not find the command."),
        next_step=say("Check the command and the PATH in the image."),
        page="https://repost.aws/knowledge-center/ecs-task-stopped",
        exit_codes=(127,),
    ),
    KnownCause(
        code="command-not-executable",
        title=say("command not executable"),
        meaning=say(
            "The command was found and could not be run: no permission, or another platform."
        ),
        next_step=say(
            "Check its permissions, and whether the image is for the processor (arm64 or x86_64)."
        ),
        page="https://repost.aws/knowledge-center/ecs-task-stopped",
        exit_codes=(126,),
    ),
    KnownCause(
        code="container-exited",
        title=say("container exited"),
        meaning=say("The program in the container ended with an exit code other than 0."),
        next_step=say("See its log: only the program itself can say why."),
        page="https://repost.aws/knowledge-center/ecs-task-stopped",
        pattern=_words(r"^Essential container in task exited"),
        has_failed=True,
    ),
)
