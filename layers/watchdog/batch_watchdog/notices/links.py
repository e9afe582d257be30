"""Build links into the AWS console, and say where a job's log is."""

import re
from dataclasses import dataclass
from urllib.parse import quote

from batch_watchdog.notices.text import fact, plain

_LINKED_MAX = 1_500  # characters of a name in a link; an escaped character takes up to 20


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
    Where a container's log goes, as far as the job's description shows.

    `driver` is its log driver; `group` and `region` are those of CloudWatch Logs. An
    empty field means Batch's default: the driver awslogs, the group /aws/batch/job, and the job's
    own region. Batch does not have the logs of a `pod`: they stay with its cluster.
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
    """Return the URL of a job in the Batch console. `queue` is the ARN of its queue."""
    return _console(queue, "batch", f"jobs/detail/{_in_link(job_id)}") or plain(job_id)


def queue_link(queue: str) -> str:
    """Return the URL of a queue, named by its ARN, in the Batch console."""
    return _console(queue, "batch", f"queues/detail/{_in_link(queue)}") or plain(queue)


def log_text(queue: str, stream: str, place: LogPlace) -> str:
    """
    Return where a job's log is: a link into CloudWatch Logs, or else what is known.

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
    Return the URL of a console page; empty for a partition whose console is not known.

    The partition and the region are those of the ARN, unless `region` is given. A text that is not
    an ARN counts as in the partition aws.
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
