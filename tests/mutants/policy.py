"""Rules of policy broken on purpose."""

from collections.abc import Sequence

from tests.mutants.mutant import Mutant

MUTANTS: Sequence[Mutant] = (
    Mutant(
        "a limit in observe mode stops nobody",
        "policy/model.py",
        'return self.mode == "enforce" and self.action != "warn"',
        'return self.action != "warn"',
    ),
    Mutant(
        "who is exempt by a tag has no limit",
        "policy/model.py",
        "if status not in LIMITED or is_exempt(job.tags):",
        "if status not in LIMITED:",
    ),
    Mutant(
        "a tag of ours that is unknown makes a limit only warn",
        "policy/model.py",
        "meant = {key: job.tags[key] for key in job.tags.keys() - elsewhere}",
        "meant = {k: v for k, v in job.tags.items() if k in (EXEMPT_TAG, TAG_PREFIX + status)}",
        tests=("tests/unit/policy/test_model.py",),
    ),
    Mutant(
        "who is spared is not stopped on arrival",
        "policy/model.py",
        "return tuple(guard for guard in self.guard if guard.covers(job) and not guard.spares(job))",
        "return tuple(guard for guard in self.guard if guard.covers(job))",
        tests=("tests/unit/policy/test_model.py",),
    ),
    Mutant(
        "a bad policy changes nothing",
        "policy/loader.py",
        "policy = _last_good(item) if item else None",
        'policy = _parsed("") if item else None',
    ),
    Mutant(
        "a bad policy is told",
        "policy/loader.py",
        "if not reading.problem:",
        "if True:",
    ),
    Mutant(
        "a last good policy that cannot be read breaks nothing",
        "policy/loader.py",
        "except PolicyError:",
        "except ZeroDivisionError:",
        ("tests/unit/policy/test_loader.py",),
    ),
    Mutant(
        "until somebody puts a policy, nothing is in force that stops",
        "policy/loader.py",
        'return _Reading(policy=_parsed(""))',
        "return _Reading(policy=_parsed('mode = \"enforce\"'))",
        ("tests/unit/policy/test_loader.py",),
    ),
    Mutant(
        "a policy that was deleted is not taken for one that nobody has put",
        "policy/loader.py",
        "if item is None and problem == _GONE:",
        "if problem == _GONE:",
        ("tests/unit/policy/test_loader.py",),
    ),
    Mutant(
        "the same bad policy put again is told again",
        "policy/loader.py",
        'return OnceKey(f"policy:{reading.version}:{digest}", EPOCH)',
        'return OnceKey(f"policy:{digest}", EPOCH)',
        ("tests/unit/policy/test_loader.py",),
    ),
    Mutant(
        "a mode that falls is told",
        "policy/loader.py",
        'if before and (before.mode, reading.policy.mode) == ("enforce", "observe"):',
        "if False:",
        ("tests/unit/policy/test_loader.py",),
    ),
    Mutant(
        "a time zone that does not exist is refused",
        "policy/tables.py",
        "            ZoneInfo(time_zone)\n",
        "            pass\n",
        ("tests/unit/notices/test_languages.py",),
    ),
    Mutant(
        "an array's tags count for its children",
        "policy/child_tags.py",
        'return {**detail, "tags": tags_of_child(own, of_array)}',
        "return detail",
        ("tests/unit/policy/test_child_tags.py",),
    ),
    Mutant(
        "of two tags of one name the array's counts",
        "policy/child_tags.py",
        "(*of_child.items(), *of_array.items())",
        "(*of_array.items(), *of_child.items())",
        ("tests/unit/policy/test_child_tags.py",),
    ),
    Mutant(
        "of two tags for the watchdog the one that stops less counts",
        "policy/child_tags.py",
        'both = of_array[key] or "", own[key] or ""',
        'both = (of_array[key] or "",)',
        ("tests/unit/policy/test_child_tags.py",),
    ),
    Mutant(
        "a tag that cannot be read stops less than a limit",
        "policy/child_tags.py",
        "return 1, timedelta()",
        "return 0, timedelta()",
        ("tests/unit/policy/test_child_tags.py",),
    ),
    Mutant(
        "an array is asked for once",
        "policy/child_tags.py",
        "if array not in self.arrays]",
        "if array]",
        ("tests/unit/policy/test_child_tags.py",),
    ),
    Mutant(
        "where an array's tags are not shown those of its children are not known",
        "policy/child_tags.py",
        "if not isinstance(of_array, Mapping):",
        "if of_array is None and (of_array := {}):",
        ("tests/unit/policy/test_child_tags.py",),
    ),
    Mutant(
        "a limit that was taken from an array is none of its children's",
        "policy/child_tags.py",
        "if key in of_array or not _is_limit(key, own[key])",
        "if True",
        ("tests/unit/policy/test_child_tags.py",),
    ),
)
