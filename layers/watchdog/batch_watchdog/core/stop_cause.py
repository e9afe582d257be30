"""Find which guard or rule stopped a job, by the reason that we gave: Batch keeps and shows it."""

import re

from batch_watchdog.core.effects import STOP_MARK
from batch_watchdog.notices.phrases import Name, say
from batch_watchdog.notices.text import plain

_NAME_MAX = 100  # characters
_OF_THE_REST = (
    re.compile(r"()\d+ of the first \d+ children failed \((.+?)\)?"),  # an array, by its rule
    re.compile(r"()the array was stopped before \((.+?)\)?"),
)
_KNOWN = (
    re.compile(r'(guard) "(.+?)" is at (?:cancel|terminate)\b'),
    re.compile(r"()\w+ for more than [^,]*, (.+)"),  # a limit, by its rule
    *_OF_THE_REST,
)


def stopper_in(reason: str) -> str:
    """
    Return the guard or rule that stopped a job ("guard monthly-budget"), by its status reason.

    It is empty if we did not stop the job. The guard's stage and its cause are left out, so all
    jobs that one guard stops have the same stopper.
    """
    if not reason.startswith(STOP_MARK):
        return ""
    words = _words(reason)
    for known in _KNOWN:
        found = known.match(words) if known is _KNOWN[0] else known.fullmatch(words)
        if found:
            return plain(" ".join(filter(None, found.groups())), _NAME_MAX)
    return plain(words, _NAME_MAX) or "an unnamed rule"


def is_stop_of_the_rest(reason: str) -> bool:
    """Check whether the status reason is that of an array's rule, which stops the array's rest."""
    if not reason.startswith(STOP_MARK):
        return False
    words = _words(reason)
    return any(each.fullmatch(words) for each in _OF_THE_REST)


def _words(reason: str) -> str:
    return plain(reason.removeprefix(STOP_MARK), 1_100)


def stopper_words(stopper: str) -> str:
    """Return a guard or rule that stopped something, as operators read it."""
    if stopper.startswith("guard "):
        return say("guard {guard}", guard=Name(stopper.removeprefix("guard ")))
    return Name(stopper)
