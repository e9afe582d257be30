"""Rules of store broken on purpose."""

from collections.abc import Sequence

from tests.mutants.mutant import Mutant

MUTANTS: Sequence[Mutant] = (
    Mutant(
        "what a chat has been told is not handed on",
        "store/actions.py",
        "return replace(action.effect, messages=messages[action.progress.seen :])",
        "return action.effect",
        ("tests/unit/use_cases/test_chat.py",),
    ),
    Mutant(
        "a stop is decided once",
        "store/once.py",
        "if entry.digest not in self._known(entry.bucket):",
        "if True:",
    ),
    Mutant(
        "the wheel is read from the cursor on",
        "store/sweep_cursor.py",
        "minute = max(now, self.minute) if all_of_them else self.minute",
        "minute = now + LOOKBACK",
    ),
    Mutant(
        "state and actions are one write",
        "store/decisions.py",
        ("        self.table.write([*puts, *actions])\n"),
        ("        self.table.write(puts)\n        self.table.write(actions)\n"),
    ),
    Mutant(
        "a lost race is decided again",
        "store/decisions.py",
        "return list(chunk)",
        "return []",
    ),
    Mutant(
        "a write is refused where the item has changed",
        "store/memory_table.py",
        'if (known["version"] if known else 0) != put.read:',
        "if known and not put.read:",
    ),
    Mutant(
        "one array that cannot be asked about keeps no other from being told",
        "store/decisions.py",
        "except ITEM_ERRORS as error:  # It is reported when all others are written.",
        "except ZeroDivisionError as error:  # It is reported when all others are written.",
        ("tests/unit/store/test_decisions.py",),
    ),
    Mutant(
        "a failure is told once",
        "store/decisions.py",
        "return Outcome(puts=[*puts, *outcome.puts], effects=outcome.effects)",
        "return Outcome(puts=outcome.puts, effects=outcome.effects)",
    ),
    Mutant(
        "what does not fit into one write is split",
        "store/decisions.py",
        "parts = self.halves(key)",
        "parts: Sequence[K] = ()",
        ("tests/unit/store/test_decisions.py",),
    ),
    Mutant(
        "one that cannot be written keeps no other from being written",
        "store/decisions.py",
        "if len(keys) == 1:",
        "if keys:",
        ("tests/unit/store/test_decisions.py",),
    ),
    Mutant(
        "a bucket of the ledger is never full",
        "store/once.py",
        "while len(every) > _FULL:",
        "while False:",
        ("tests/contract/test_stores.py",),
    ),
    Mutant(
        "what has been moved away in the ledger is remembered",
        "store/once.py",
        (
            "        full = [\n"
            "            _full_key(bucket, number)\n"
            "            for bucket, item in items.items()\n"
            '            for number in range(int(item.get("full", 0)))\n'
            "        ]\n"
        ),
        (
            "        full = [_full_key(bucket, number) for bucket, item in items.items() for number in range(0)]\n"
        ),
        ("tests/contract/test_stores.py",),
    ),
    Mutant(
        "what two sweeps have seen is seen",
        "store/sweep_cursor.py",
        (
            "        seen = {\n"
            "            at: self.seen.get(at, frozenset()) | other.seen.get(at, frozenset())\n"
            "            for at in {*self.seen, *other.seen}\n"
            "        }\n"
        ),
        (
            "        seen = {at: self.seen.get(at, frozenset()) for at in {*self.seen, *other.seen}}\n"
        ),
        ("tests/contract/test_stores.py",),
    ),
    Mutant(
        "a hold that is over is kept",
        "store/operator_hold.py",
        "return replace(OperatorHold(version=self.version), past=tuple(spans))",
        "return OperatorHold(version=self.version)",
        ("tests/unit/use_cases/test_console.py",),
    ),
    Mutant(
        "a refused write alone does not say that an item is there",
        "store/table.py",
        "if table.get(*put.key) is None:",
        "if False:",
        ("tests/contract/test_table.py",),
    ),
    Mutant(
        "the first sweep writes where it begins",
        "use_cases/sweep.py",
        "cursor = sweep_cursor.begin(self.table, minute)",
        "cursor = sweep_cursor.read(self.table, minute)",
        ("tests/integration/test_slices.py",),
    ),
    Mutant(
        "a slower first sweep begins where the faster one does",
        "store/sweep_cursor.py",
        "        write(table, cursor)\n    return read(table, now)",
        "        write(table, cursor)\n    return cursor",
        ("tests/contract/test_stores.py",),
    ),
    Mutant(
        "a late sweep does not move the cursor back",
        "store/sweep_cursor.py",
        "minute = max(now, self.minute) if",
        "minute = now if",
        ("tests/integration/test_slices.py",),
    ),
)
