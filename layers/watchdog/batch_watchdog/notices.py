"""
What an operator is told, and how untrusted text becomes fit to be shown.

A notice has a text for people and facts for programs. Names, reasons and tags come from
whoever submits jobs: whatever is shown of them goes through `plain` first. Facts keep them
as they are (JSON escapes what needs it), only bounded in length.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import quote

type NoticeKind = Literal[
    "array-completed",
    "array-progress",
    "array-stopped",
    "job-failed",
    "limit-warning",
    "limit-enforced",
    "limit-escaped",
    "queue-blocked",
    "guard-raised",
    "guard-report",
    "guard-released",
    "spend-alert",
    "watchdog-trouble",
    "digest",
]
type Severity = Literal["info", "warning", "critical"]

# SNS: a subject has less than 100 characters, no line breaks, no control characters.
# https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
SUBJECT_MAX = 99
_LINKED_MAX = 1_500  # characters of a name in a link, where one that is no letter takes up to 20
FACT_MAX = 1_000  # characters of one untrusted string in the facts

_MARKUP = str.maketrans({"<": "‹", ">": "›"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One thing that an operator is told. The `id` is the same on every delivery."""

    kind: NoticeKind
    id: str
    severity: Severity
    subject: str
    text: str
    facts: dict[str, Any] = field(default_factory=dict)


def plain(text: str, limit: int = 200) -> str:
    """
    Untrusted text as one harmless line of at most `limit` characters.

    Control, bidirectional, invisible and unpaired characters become spaces, runs of white
    space one space, and angle brackets look-alikes that no page takes for markup.
    """
    kept = (" " if unicodedata.category(char)[0] in "CZ" else char for char in text[: limit * 4])
    line = " ".join("".join(kept).split()).translate(_MARKUP)
    return line if len(line) <= limit else line[: limit - 1] + "…"


def fact(text: str) -> str:
    """Untrusted text as it was, but of bounded length and fit for UTF-8."""
    return text[:FACT_MAX].encode("utf-8", "replace").decode()


def subject(text: str) -> str:
    """A subject line as SNS takes it: one line, less than 100 characters."""
    return plain(text, SUBJECT_MAX)


def iso(at: datetime) -> str:
    """A time as ISO 8601 in UTC, to the second: "2026-01-01T12:00:00Z"."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def span(seconds: float) -> str:
    """A span for people, in its two largest units: "2 h 5 min"."""
    left = max(0, round(seconds))
    parts = []
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, left = divmod(left, length)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"


def ranges(indices: Iterable[int]) -> str:
    """Indices as people write them: [3, 7, 8, 9] is "3,7-9"."""
    runs: list[list[int]] = []
    for index in sorted(set(indices)):
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def shorten(listing: str, limit: int = 300) -> str:
    """A comma-separated list for people, cut at a comma where it is longer than `limit`."""
    if len(listing) <= limit:
        return listing
    head = listing[:limit].rsplit(",", 1)[0]
    return f"{head}, … ({listing.count(',') - head.count(',')} more in the facts)"


def digest(notices: Sequence[Notice]) -> Notice:
    """
    One notice in place of many of one kind.

    The facts are `of` (the kind), `count` and `ids`; the text shows the first twenty subjects.
    """
    kind, count = notices[0].kind, len(notices)
    ids = [notice.id for notice in notices]
    worst: Severity = max((notice.severity for notice in notices), key=_SEVERITIES.index)
    shown = [f"- {notice.subject}" for notice in notices[:20]]
    if count > len(shown):
        shown.append(f"- … and {count - len(shown)} more")
    return Notice(
        kind="digest",
        id=f"digest:{kind}:{hashlib.sha256('\n'.join(ids).encode()).hexdigest()[:16]}",
        severity=worst,
        subject=subject(f"{count} × {kind}: {notices[0].subject}"),
        text="\n".join([f"{count} notices of the kind {kind} came at once. They are:", "", *shown]),
        facts={"of": kind, "count": count, "ids": ids},
    )


_SEVERITIES: tuple[Severity, ...] = ("info", "warning", "critical")


# ---- Links --------------------------------------------------------------------------------

# Each partition has a console of its own.
# https://docs.aws.amazon.com/general/latest/gr/mgmt-console.html
# https://docs.amazonaws.cn/en_us/aws/latest/userguide/console.html
# https://docs.aws.amazon.com/govcloud-us/latest/UserGuide/getting-started-sign-in.html
_CONSOLES = {
    "aws": "console.aws.amazon.com",
    "aws-cn": "console.amazonaws.cn",
    "aws-us-gov": "console.amazonaws-us-gov.com",
    "aws-eusc": "console.amazonaws-eusc.eu",
    "eusc": "console.amazonaws-eusc.eu",
}
_DEFAULT_GROUP = "/aws/batch/job"
_CLOUDWATCH = ("", "awslogs")  # log drivers that write into CloudWatch Logs


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPlace:
    """
    Where a container's log goes, as far as the job says.

    `driver` is its log driver; `group` and `region` are those of CloudWatch Logs. What is empty
    is Batch's default: the driver awslogs, the group /aws/batch/job, and the job's own region.
    Batch knows nothing of the logs of a `pod`: its cluster keeps them.
    https://docs.aws.amazon.com/batch/latest/userguide/using_awslogs.html
    """

    driver: str = ""
    group: str = ""
    region: str = ""
    pod: str = ""

    @property
    def log_group(self) -> str | None:
        """The group in CloudWatch Logs; None where the log goes elsewhere."""
        is_there = self.driver in _CLOUDWATCH and not self.pod
        return (self.group or _DEFAULT_GROUP) if is_there else None


DEFAULT_PLACE = LogPlace()


def log_group(stream: str, place: LogPlace) -> str | None:
    """The group of a log stream in CloudWatch Logs, for the facts."""
    return fact(place.log_group) if stream and place.log_group else None


def job_link(queue: str, job_id: str) -> str:
    """The Batch console's page of a job in a queue, which is named by its ARN."""
    return _console(queue, "batch", f"jobs/detail/{_in_link(job_id)}") or plain(job_id)


def queue_link(queue: str) -> str:
    """The Batch console's page of a queue, which is named by its ARN."""
    return _console(queue, "batch", f"queues/detail/{_in_link(queue)}") or plain(queue)


def log_text(queue: str, stream: str, place: LogPlace) -> str:
    """
    Where the log of a job in a queue is: a link into CloudWatch Logs, or else what is known.

    It is empty where nothing is known.
    """
    if place.pod:
        return f"with its EKS cluster, not with AWS Batch; the pod is {plain(place.pod)}"
    if place.log_group is None:
        return f"where the container's log driver sends it, which is {plain(place.driver)}"
    if not stream:
        return ""
    group, name = (
        _in_link(quote(part, safe="", errors="replace")) for part in (place.log_group, stream)
    )
    page = f"logsV2:log-groups/log-group/{group}/log-events/{name}".replace("%25", "$25")
    return _console(queue, "cloudwatch", page, region=place.region) or plain(
        f"{place.log_group}, stream {stream}"
    )


def _console(arn: str, service: str, page: str, *, region: str = "") -> str:
    """
    A page of a partition's console; empty for a partition whose console is not known.

    The partition and the region are the ARN's. What is not an ARN is taken to be in the
    partition aws.
    """
    parts = arn.split(":")
    is_arn = len(parts) > 5 and parts[0] == "arn"  # noqa: PLR2004
    host = _CONSOLES.get(parts[1] if is_arn else "aws")
    if host is None:
        return ""
    there = next(filter(_REGION.fullmatch, (region, parts[3] if is_arn else "")), "")
    return f"https://{host}/{service}/home?region={there}#{page}"


_REGION = re.compile(r"[a-z0-9-]+")


def _in_link(name: str) -> str:
    return quote(name, errors="replace")[:_LINKED_MAX]
