"""Rules of core broken on purpose."""

from collections.abc import Sequence

from tests.mutants.mutant import Mutant

MUTANTS: Sequence[Mutant] = (
    Mutant(
        "no file of an image's layer is a cause",
        "core/failure_cause.py",
        "if _LAYER.search(text):",
        "if False:",
        ("tests/unit/arrays/test_progress.py",),
    ),
    Mutant(
        "a preempted run proves when the wait began",
        "core/batch_payloads.py",
        "(*self.made(), *(preempted or ()))",
        "(*self.made(),)",
        ("tests/integration/test_limit_stays.py",),
    ),
    Mutant(
        "being scheduled or started proves when the wait began",
        "core/batch_payloads.py",
        "times = [self.scheduledAt, self.startedAt]",
        "times: list[Any] = [None]",
        ("tests/integration/test_limit_stays.py",),
    ),
    Mutant(
        "an essential container counts before another",
        "core/container_end.py",
        "return how > 2, not matters, how  # noqa: PLR2004",
        "return how > 2, False, how  # noqa: PLR2004",
        ("tests/unit/core/test_batch_payloads.py",),
    ),
    Mutant(
        "a container that was stopped is not the cause where another failed",
        "core/container_end.py",
        "_STOPPED = (137, 143)  # by SIGKILL or SIGTERM: mostly since another container had ended",
        "_STOPPED = ()  # by SIGKILL or SIGTERM: mostly since another container had ended",
        ("tests/unit/core/test_batch_payloads.py",),
    ),
    Mutant(
        "a container that another waits for counts as essential",
        "core/container_end.py",
        "matters = self.essential or self.name in awaited",
        "matters = self.essential",
        ("tests/unit/core/test_batch_payloads.py",),
    ),
    Mutant(
        "an init container may be the one that failed",
        "core/batch_payloads.py",
        (
            '            ("init", pod.initContainers),\n'
            '            ("init", latest.initContainers),\n'
        ),
        "",
        ("tests/unit/core/test_batch_payloads.py",),
    ),
    Mutant(
        "an index below 0 is malformed",
        "core/batch_payloads.py",
        "if negative:",
        "if False:",
        ("tests/unit/core/test_batch_payloads.py",),
    ),
    Mutant(
        "an index that contradicts the id is malformed",
        "core/batch_payloads.py",
        "if reported is not None and reported != index:",
        "if False:",
        ("tests/unit/core/test_batch_payloads.py",),
    ),
    Mutant(
        "a cause comes before its consequences",
        "core/failure_cause.py",
        "return self.exit_code is None and blames_a_dependency(self.reason)",
        "return False",
        ("tests/unit/arrays/test_progress.py",),
    ),
    Mutant(
        "a full disk is one cause",
        "core/failure_cause.py",
        "text = _DISK_FULL.sub(_disk_full, plain(reason, 2_048))",
        "text = plain(reason, 2_048)",
        ("tests/unit/arrays/test_progress.py",),
    ),
    Mutant(
        "a temporary path is an id",
        "core/failure_cause.py",
        'text = _QUERY.sub("?*", _TEMPORARY.sub(r"\\1/*", text))',
        'text = _QUERY.sub("?*", text)',
        ("tests/unit/arrays/test_progress.py",),
    ),
    Mutant(
        "a job that began failed by itself",
        "core/job_event.py",
        (
            '            self.status == "FAILED"\n'
            "            and not self.attempts\n"
            "            and self.exit_code is None\n"
            "            and blames_a_dependency(self.reason)\n"
        ),
        (
            '            self.status == "FAILED" and self.exit_code is None and blames_a_dependency(self.reason)\n'
        ),
        ("tests/unit/core/test_batch_payloads.py",),
    ),
    Mutant(
        "a known cause is known by its exit code, too",
        "core/known_causes.py",
        "if exit_code in cause.exit_codes or (matched and (exit_code or not cause.has_failed)):",
        "if matched and (exit_code or not cause.has_failed):",
        ("tests/unit/core/test_known_causes.py",),
    ),
    Mutant(
        "no exit code is called other than 0 unless it is known to be",
        "core/known_causes.py",
        "if exit_code in cause.exit_codes or (matched and (exit_code or not cause.has_failed)):",
        "if exit_code in cause.exit_codes or matched:",
        ("tests/unit/core/test_known_causes.py",),
    ),
    Mutant(
        "of two causes that fit, the first is used",
        "core/known_causes.py",
        "    for cause in KNOWN_CAUSES:\n",
        "    for cause in reversed(KNOWN_CAUSES):\n",
        ("tests/unit/core/test_known_causes.py",),
    ),
    Mutant(
        "a registry that refuses has not said that an image is missing",
        "core/known_causes.py",
        "(?:(?<!permission )denied|unauthorized|not authorized|forbidden",
        "(?:unauthorized|not authorized|forbidden",
        ("tests/unit/core/test_known_causes.py",),
    ),
    Mutant(
        "a disk that denies access is no registry",
        "core/known_causes.py",
        "(?<!permission )denied",
        "denied",
        ("tests/unit/core/test_known_causes.py",),
    ),
    Mutant(
        "an image is missing only where the words are about it",
        "core/known_causes.py",
        "|resolve ref(?:erence)?\\b.*: not found)",
        "|not found|does not exist)",
        ("tests/unit/core/test_known_causes.py",),
    ),
    Mutant(
        "without credentials no registry was asked",
        "core/known_causes.py",
        "Error.*error getting credentials",
        "Error.*no credentials at all",
        ("tests/unit/core/test_known_causes.py",),
    ),
    Mutant(
        "an image for another platform is there all the same",
        "core/known_causes.py",
        "(?:descriptor matching platform|no match for platform",
        "(?:no match at all",
        ("tests/unit/core/test_known_causes.py",),
    ),
    Mutant(
        "a group's example is that of its lowest index",
        "arrays/progress.py",
        "if 0 <= known.words_index < event.index or known.cause.stopper:",
        "if known.words_index >= 0 or known.cause.stopper:",
        ("tests/unit/core/test_known_causes.py",),
    ),
    Mutant(
        "an array rule's label is read without its brackets",
        "core/stop_cause.py",
        "children failed \\((.+?)\\)?",
        "children failed \\((.+)",
        ("tests/unit/arrays/test_stops.py",),
    ),
)
