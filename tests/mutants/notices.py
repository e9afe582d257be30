"""Rules of notices broken on purpose."""

from collections.abc import Sequence

from tests.mutants.mutant import Mutant

MUTANTS: Sequence[Mutant] = (
    Mutant(
        "a chat mentions nobody whom a job's text names",
        "notices/chat.py",
        '"@": "＠", ',  # noqa: RUF001
        "",
        ("tests/unit/notices/test_chat.py",),
    ),
    Mutant(
        "a chat makes no link of a job's text",
        "notices/chat.py",
        'return _LINK.sub("] ", text.translate(_LOOKALIKES))',
        "return text.translate(_LOOKALIKES)",
        ("tests/unit/notices/test_chat.py",),
    ),
    Mutant(
        "a chat takes as much text as Amazon Q",
        "notices/chat.py",
        "if len(text) <= _TEXT_MAX:",
        "if True:",
        ("tests/unit/notices/test_chat.py",),
    ),
    Mutant(
        "a link leads into its partition's console",
        "notices/links.py",
        'host = _CONSOLES.get(parts[1] if is_arn else "aws")',
        'host = _CONSOLES.get("aws")',
        ("tests/unit/notices/test_links.py",),
    ),
    Mutant(
        "a log has a link only where it is in CloudWatch Logs",
        "notices/links.py",
        "is_there = self.driver in _CLOUDWATCH and not self.pod",
        "is_there = True",
        ("tests/unit/notices/test_links.py",),
    ),
    Mutant(
        "a log is in the group that the job names",
        "notices/links.py",
        "return (self.group or _DEFAULT_GROUP) if is_there else None",
        "return _DEFAULT_GROUP if is_there else None",
        ("tests/unit/notices/test_links.py",),
    ),
    Mutant(
        "a long name does not push the rest out of a subject",
        "notices/phrases.py",
        "wording(part, at_end if name == ends_with else min(at_end, NAME_MAX))",
        "wording(part, most)",
        ("tests/unit/notices/test_phrases.py",),
    ),
    Mutant(
        "what was kept in the table is said in the language",
        "notices/languages.py",
        "return self._word(phrase, most) if phrase else str(part)",
        "return str(part)",
        ("tests/unit/notices/test_languages.py",),
    ),
    Mutant(
        "a notice is worded when it is sent",
        "use_cases/announce.py",
        "self._publish(notify.worded(notice))",
        "self._publish(notice)",
        ("tests/unit/use_cases/test_act.py",),
    ),
    Mutant(
        "a phrase is kept with what it was made of",
        "notices/kept_phrases.py",
        "return [str(text), _to_json(text)]",
        "return str(text)",
        ("tests/unit/notices/test_kept_phrases.py",),
    ),
    Mutant(
        "which guard or rule stopped something is said in the language, and shortened",
        "core/stop_cause.py",
        'return say("guard {guard}", guard=Name(stopper.removeprefix("guard ")))',
        "return stopper",
        ("tests/integration/test_gallery.py",),
    ),
    Mutant(
        "times are in the policy's zone",
        "notices/languages.py",
        "there = at.astimezone(ZoneInfo(self.time_zone))",
        "there = at",
        ("tests/unit/notices/test_languages.py",),
    ),
)
