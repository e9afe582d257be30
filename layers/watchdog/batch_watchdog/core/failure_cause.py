"""Find the cause of a failure, with ids and numbers replaced: like failures compare equal."""

import re
from dataclasses import dataclass, replace
from functools import lru_cache

from batch_watchdog.core.effects import STOP_MARK
from batch_watchdog.core.job_event import JobEvent, blames_a_dependency
from batch_watchdog.core.stop_cause import stopper_in
from batch_watchdog.notices.text import plain

REASON_MAX = 300  # characters of a cause
_WHOLE_MAX = 8_002  # characters of both reasons, which are longer than any that AWS sends


@dataclass(frozen=True, slots=True, order=True)
class FailureCause:
    """
    The cause that failures of a group share; ids and numbers in the reason are "*".

    `began` is true only where a reason blames a dependency, and the jobs began all the same.
    """

    exit_code: int | None
    reason: str
    began: bool = False

    @property
    def follows(self) -> bool:
        """Whether it is the consequence of another failure, of a job that these jobs depend on."""
        return not self.began and self.exit_code is None and blames_a_dependency(self.reason)

    @property
    def stopper(self) -> str:
        """The guard or rule that stopped these jobs ("guard monthly-budget"), if one did."""
        return stopper_in(self.reason)


OTHER = FailureCause(None, "other causes")
OTHER_STOP = FailureCause(None, f"{STOP_MARK}other rules")

_TOKEN = re.compile(r"(?:[A-Za-z0-9_-]|\d)+")
_HEX = re.compile(r"[0-9a-fA-F-]{8,}")
_NAMES = frozenset({"EC2", "S3", "x86_64", "arm64", "UTF-8", "SHA256", "sha256", "IPv4", "IPv6"})
_RUN = re.compile(r"\*(?:[.:+,]{1,2}\*)+")


def cause_of(event: JobEvent) -> FailureCause:
    """Return the cause of a failure, with ids and numbers in its text replaced."""
    return cause_from(event.exit_code, event.reason, event.container_reason, began=event.began)


# The children of an array mostly fail alike.
@lru_cache(maxsize=1024)
def cause_from(
    exit_code: int | None, reason: str, container_reason: str, *, began: bool = False
) -> FailureCause:
    """As `cause_of`, from its parts. All jobs that one rule or guard stopped share one."""
    if stopper := stopper_in(reason):
        return FailureCause(None, f"{STOP_MARK}{stopper}")
    cause = FailureCause(exit_code, normalise(_both(reason, container_reason, 1_024)))
    return replace(cause, began=True) if began and cause.follows else cause


@lru_cache(maxsize=1024)
def whole_reason(reason: str, container_reason: str) -> str:
    """Return Batch's own text about a failure, with its ids, whole and on one line."""
    return plain(_both(reason, container_reason), _WHOLE_MAX)


def _both(reason: str, container_reason: str, most: int | None = None) -> str:
    both = dict.fromkeys(text.strip()[:most] for text in (reason, container_reason))
    return ": ".join(text for text in both if text)


# If a disk is full, neither the file nor the step at which it filled up belongs to the cause.
_DISK_FULL = re.compile(
    r"\b(\w*Error):.*?\b(no space left on device|disk quota exceeded)\b.*", re.IGNORECASE
)
# Below these, names are new each time, often without a digit: tmpqwertyu, a layer's file.
_TEMPORARY = re.compile(
    r"(?<![\w.*-])(/(?:var/|private/)?tmp|/dev/shm|/var/lib/(?:docker|containerd|ecs|kubelet)"
    r"|/run/(?:docker|containerd)|/docker_scratch|/scratch)/[^\s:;,'\"`()\[\]{}|]+"
)
# If an image's layer cannot be fetched or unpacked, no address or file belongs to the cause.
_LAYER = re.compile(r"\b(?:register|extract) layer\b|\bhttpReadSeeker\b")
_OF_LAYER = re.compile(
    r"(https?://[^\s/'\"]+)/[^\s'\"]*|\"extract-[^\s\"]*\"|(?<![\w./:*-])/[^\s:;,'\"`()\[\]{}|]+"
)
_QUERY = re.compile(r"(?<=[\w/*])\?[^\s'\"`]+")  # of a signed address


def normalise(reason: str) -> str:
    """
    Return a reason with each id and each number as "*", on one line.

    A word with a digit in it counts as an id ("i-0abc12", "10.0.0.7", "run_17"), and so does a
    long hexadecimal one; a few names with digits, such as EC2, are kept. A path below a directory
    for temporary files is replaced as a whole, and so is any path of an image's layer. Other paths
    without digits are kept: it matters which program is missing.
    """
    text = _DISK_FULL.sub(_disk_full, plain(reason, 2_048))
    if _LAYER.search(text):
        text = _OF_LAYER.sub(r"\1/*", text)
    text = _QUERY.sub("?*", _TEMPORARY.sub(r"\1/*", text))
    text = _TOKEN.sub(_star, text)
    return plain(_RUN.sub("*", text), REASON_MAX)


def _disk_full(match: re.Match[str]) -> str:
    return f"{match[1]}: {match[2].lower()}"


def _star(match: re.Match[str]) -> str:
    word = match[0]
    if word in _NAMES:
        return word
    return "*" if any(map(str.isdigit, word)) or _HEX.fullmatch(word) else word
