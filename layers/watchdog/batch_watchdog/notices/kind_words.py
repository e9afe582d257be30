"""The name of each kind of notice, for people."""

from collections.abc import Mapping

from batch_watchdog.notices.notice import NoticeKind
from batch_watchdog.notices.phrases import Phrase, say

KIND_WORDS: Mapping[NoticeKind, Phrase] = {
    "array-completed": say("array-completed"),
    "array-progress": say("array-progress"),
    "array-stopped": say("array-stopped"),
    "job-failed": say("job-failed"),
    "limit-warning": say("limit-warning"),
    "limit-enforced": say("limit-enforced"),
    "limit-escaped": say("limit-escaped"),
    "queue-blocked": say("queue-blocked"),
    "guard-raised": say("guard-raised"),
    "guard-report": say("guard-report"),
    "guard-released": say("guard-released"),
    "spend-alert": say("spend-alert"),
    "budget-warning": say("budget-warning"),
    "budget-forecast": say("budget-forecast"),
    "budget-reached": say("budget-reached"),
    "rule-report": say("rule-report"),
    "watchdog-trouble": say("watchdog-trouble"),
    "digest": say("digest"),
}
