"""Rules of threads broken on purpose."""

from collections.abc import Sequence

from tests.mutants.mutant import Mutant

_RULES = ("tests/unit/threads/test_rules.py",)
_FLOW = ("tests/unit/threads/test_workflow.py",)
_DIGEST = ("tests/unit/threads/test_notices.py",)
_STORMS = ("tests/integration/test_many_notices.py",)

MUTANTS: Sequence[Mutant] = (
    Mutant(
        "what begins anew is a new conversation in a chat",
        "threads/rules.py",
        "            began_at=now,\n",
        "",
        ("tests/unit/use_cases/test_chat.py",),
    ),
    Mutant(
        "a chat is told of what is not folded, too",
        "threads/workflow.py",
        "beside = self.beside(action, left, names) if left else ()",
        "beside = self.beside(action, left, names) if names else ()",
        ("tests/unit/use_cases/test_chat.py",),
    ),
    Mutant(
        "what follows on the same cause is collected",
        "threads/rules.py",
        "is_first = is_new or (sort and sort not in told)",
        "is_first = True",
        _RULES,
    ),
    Mutant(
        "what goes out at once leaves room in the hour for digests",
        "threads/rules.py",
        "return DIGESTS_MAX if notice.kind.startswith((BUDGET, GUARD)) else AT_ONCE_MAX",
        "return MESSAGES_MAX",
        _RULES,
    ),
    Mutant(
        "a guard that becomes harder is told at once",
        "threads/rules.py",
        "return f\"{notice.kind}:{notice.facts.get('stage', '')}\"",
        "return notice.kind",
        _RULES,
    ),
    Mutant(
        "each window tells once that a guard has come to terminate",
        "threads/rules.py",
        "told=tuple(sort for sort in self.told if sort != _HARDEST),",
        "",
        _RULES,
    ),
    Mutant(
        "a thread that begins anew knows what it has sent",
        "threads/rules.py",
        "            sent=self.sent,\n",
        "",
        _RULES,
    ),
    Mutant(
        "a digest counts as a message",
        "threads/rules.py",
        "sent=(*_within_an_hour(self.sent, now), now),",
        "sent=_within_an_hour(self.sent, now),",
        _RULES,
    ),
    Mutant(
        "a digest waits until there is room for it",
        "threads/rules.py",
        "return now if len(sent) < DIGESTS_MAX else sent[-DIGESTS_MAX] + _HOUR",
        "return now",
        _RULES,
    ),
    Mutant(
        "many of one cause that come together are a digest",
        "threads/rules.py",
        "return len(notices) <= digest_over and max(causes.values(), default=0) <= SINGLES_MAX",
        "return len(notices) <= digest_over",
        _RULES,
    ),
    Mutant(
        "jobs that do not end are one thread of their rule",
        "threads/rules.py",
        'sort = notice.id.split(":")[-1 if "job_id" in facts else 1]',
        'sort = notice.id.split(":")[1]',
        _RULES,
    ),
    Mutant(
        "windows grow while the storm lasts",
        "threads/rules.py",
        "window = min(2 * self.window, max(LONGEST, self.window))",
        "window = self.window",
        _RULES,
    ),
    Mutant(
        "a thread with something in it is not over",
        "threads/rules.py",
        "return self.ended or (self.closes_at <= now and not self.collected.count)",
        "return self.ended or self.closes_at <= now",
        _RULES,
    ),
    Mutant(
        "the groups of what is collected are bounded",
        "threads/rules.py",
        "key = new.key if new.key in groups or len(groups) < GROUPS_MAX else _OTHERS.key",
        "key = new.key",
        _RULES,
    ),
    Mutant(
        "the ids that were left out are not followed by later ones",
        "threads/rules.py",
        "if len(self.ids) < self.count:",
        "if False:",
        _RULES,
    ),
    Mutant(
        "the active threads of a kind are bounded",
        "threads/items.py",
        "if at is None and len(self._active) >= THREADS_MAX:",
        "if False:",
        _FLOW,
    ),
    Mutant(
        "a thread is active as long as notices come",
        "threads/items.py",
        "if at is None or at < now - _REFRESHED:",
        "if at is None:",
        _FLOW,
    ),
    Mutant(
        "a cause that has been quiet makes room for another",
        "threads/items.py",
        "later = {key: at for key, at in active.items() if at > since}",
        "later = active",
        _FLOW,
    ),
    Mutant(
        "a thread that ends is written",
        "threads/workflow.py",
        "return Outcome(puts=[items.put(replace(thread, ended=True))])",
        "return Outcome()",
        _FLOW,
    ),
    Mutant(
        "a digest that has to wait has a reminder, and is not sent",
        "threads/workflow.py",
        "effects=[Announce(notices=(digest(thread),))] if is_sent else [],",
        "effects=[Announce(notices=(digest(thread),))],",
        _FLOW,
    ),
    Mutant(
        "what is collected is told when the window closes",
        "threads/workflow.py",
        "effects=[Announce(notices=(digest(thread),))] if is_sent else [],",
        "effects=[],",
        _STORMS,
    ),
    Mutant(
        "what was told in a digest is not told by the next one",
        "threads/rules.py",
        "            collected=Collected(),\n",
        "",
        _STORMS,
    ),
    Mutant(
        "what is collected is not told at once as well",
        "threads/workflow.py",
        "return [each for each in notices if not ({each.id, rules.key_of(each)} & folded.keys())]",
        "return list(notices)",
        _STORMS,
    ),
    Mutant(
        "a name in a command is quoted",
        "threads/notices.py",
        "queue = shlex.quote(plain(largest.queue, 300))",
        "queue = plain(largest.queue, 300)",
        _DIGEST,
    ),
    Mutant(
        "the digest of a guard tells how it is now",
        "threads/rules.py",
        "latest=new.latest,",
        "latest=known.latest or new.latest,",
        _DIGEST,
    ),
    Mutant(
        "what a thread collects is in the language of the policy",
        "threads/workflow.py",
        "self._decided([self.word(notice) for notice in effect.notices])",
        "self._decided(effect.notices)",
        ("tests/integration/test_gallery.py",),
    ),
    Mutant(
        "a digest names its queue without the ARN, and its known cause",
        "threads/notices.py",
        "why = title_of(largest.known_cause) or plain(largest.finding or largest.cause, _WHY_MAX)",
        "why = plain(largest.finding or largest.cause, _WHY_MAX)",
        _DIGEST,
    ),
)
