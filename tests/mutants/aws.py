"""Rules of aws broken on purpose."""

from collections.abc import Sequence

from tests.mutants.mutant import Mutant

MUTANTS: Sequence[Mutant] = (
    Mutant(
        "at most 50 jobs a call",
        "aws/batch.py",
        "STOP_MAX = 50  # jobs a CancelJobs, TerminateJobs or TerminateServiceJobs call",
        "STOP_MAX = 60  # jobs a CancelJobs, TerminateJobs or TerminateServiceJobs call",
        ("tests/unit/aws/test_batch.py",),
    ),
    Mutant(
        "jobs that were throttled are stopped again",
        "aws/batch.py",
        "left = [job for job, (code, _) in errors.items() if code in PASSING]",
        "left = []",
        ("tests/unit/aws/test_batch.py",),
    ),
    Mutant(
        "a service job is judged by the service environment of its queue",
        "aws/batch.py",
        '            ("serviceEnvironment", self._client.describe_service_environments),\n',
        "",
        ("tests/unit/diagnosis/test_gather.py",),
    ),
)
