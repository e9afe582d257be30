"""What must happen in the histories of a run: a fault that never happens proves nothing."""

from collections.abc import Sequence

MUST_HAPPEN: Sequence[str] = (
    "event repeated",
    "event reordered",
    "event delayed for long",
    "event lost",
    "clock jump in an event's time",
    "malformed event",
    *(
        f"crash {when} a call of {what}"
        for when in ("before", "after")
        for what in ("the table", "batch", "sns", "sqs", "ssm")
    ),
    "what had gone well delivered again",
    "a stream's records delivered again",
    "batch throttles",
    "batch fails",
    "sns throttles",
    "sns fails",
    "ssm throttles",
    "ssm fails",
    "the table throttles",
    "a write conflicts with one that is not made",
    "partial failure of a bulk stop",
    "the same in two containers at once",
    "others at work in between",
    "alarm repeated",
    "alarm delayed, or out of order",
    "policy changed",
    "policy broken",
    "command set-stage",
    "command release",
    "command hold",
    "command exempt",
    "a person's cancel",
    "a person's close",
    "a person's open",
)

# With --wide, these too.
MUST_HAPPEN_WIDE: Sequence[str] = (
    *MUST_HAPPEN,
    "a job's tags changed",
    "a budget's message",
    "an anomaly",
    "alarm delivered hours late",
    "a sweep's event comes late",
    "a raised guard's stages changed",
    "a live budget's limit changed",
    "stop for a live budget's sake",
    "Batch does ignore_terminate",
    "Batch does requeue",
    "events of a state lost",
)
