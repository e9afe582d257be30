"""
local/patterns.py says what AWS's own matcher says, of the template's patterns and of any others.

`make test-patterns` fetches the matcher (https://github.com/aws/event-ruler, in Java) and runs
these tests. They ask it by way of Matcher.java, one line a question. A disagreement is shown by
Hypothesis in its smallest form; mend local/patterns.py, and put the case into
tests/unit/test_patterns.py, which needs no Java.
"""

import base64
import copy
import json
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batch_watchdog.store.item_codec import to_image
from local.aws import stack as stacks
from local.aws.patterns import Pattern
from local.aws.stack import Stack
from local.commands.samples import EVENTS
from tests import logs

pytestmark = pytest.mark.patterns

JARS = Path(__file__).parents[2] / ".build/event-ruler"
MATCHER = Path(__file__).with_name("Matcher.java")

EXAMPLES = 1_500  # of each kind of random question

type Ask = Callable[[Any, Any], str]


@pytest.fixture(scope="module")
def ruler() -> Iterator[Ask]:
    """Ask AWS's matcher: "true", "false", or "refused: " and why."""
    command = ["java", "-Xshare:auto", "-cp", f"{JARS}/*", str(MATCHER)]
    with subprocess.Popen(  # noqa: S603
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
    ) as matcher:
        questions, answers = matcher.stdin, matcher.stdout
        assert questions
        assert answers

        def ask(pattern: Any, event: Any) -> str:
            question = {"rule": json.dumps(pattern), "event": json.dumps(event)}
            questions.write(json.dumps(question) + "\n")
            questions.flush()
            return answers.readline().rstrip("\n")

        yield ask
        questions.close()


def ours(pattern: Any, event: Any) -> str:
    """What local/patterns.py says, in the same words."""
    try:
        return str(Pattern(pattern).matches(event)).lower()
    except ValueError as error:
        return f"refused: {error}"


def agree(ruler: Ask, pattern: Any, event: Any) -> str:
    """Check that both say the same, whatever their reasons for refusing a pattern."""
    theirs, own = ruler(pattern, event), ours(pattern, event)
    # A server that died would answer with an empty line.
    assert theirs.startswith(("true", "false", "refused"))
    assert (own.partition(":")[0], own) == (theirs.partition(":")[0], own), theirs
    return own.partition(":")[0]


# ---- The template's own -------------------------------------------------------------------


@pytest.fixture(scope="module")
def stack() -> Stack:
    return stacks.read()


@pytest.fixture(scope="module")
def patterns(stack: Stack) -> Sequence[Any]:
    """The template's event patterns and the filters of its event sources, as JSON."""
    compiled = [rule.pattern for rule in stack.rules if rule.pattern]
    compiled += [pattern for source in stack.sources for pattern in source.filters]
    return [each.source for each in compiled]


def inside(value: Any) -> Iterator[Mapping[str, Any]]:
    """All objects in a document, also those in JSON that is text in it."""
    if isinstance(value, dict):
        yield value
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from inside(each)
    elif isinstance(value, str) and value.startswith(("{", "[")):
        try:
            yield from inside(json.loads(value))
        except ValueError:
            return


def in_folder(folder: Path) -> list[Mapping[str, Any]]:
    """All objects in the JSON files of a folder and those below it."""
    documents = (json.loads(path.read_text("utf-8-sig")) for path in sorted(folder.rglob("*.json")))
    return [each for document in documents for each in inside(document)]


def in_stream() -> list[Mapping[str, Any]]:
    """Records of the table's stream, for items of every kind and of kinds that there are not."""
    keys = ["ACTION#2026-01-01", "ACTION", "ACTION#", "action#1", "ARRAY#1", "WHEEL#0", " ACTION#"]
    return [
        {
            "eventName": name,
            "eventSource": "aws:dynamodb",
            "dynamodb": {
                "Keys": to_image({"pk": pk, "sk": "1"}),
                "NewImage": to_image({"pk": pk, "sk": "1"})
                | {"body": {"B": base64.b64encode(b"x").decode()}},
                "StreamViewType": "NEW_IMAGE",
            },
        }
        for pk in keys
        for name in ("INSERT", "MODIFY", "REMOVE")
    ]


def told(ruler: Ask, patterns: Sequence[Any], events: Sequence[Mapping[str, Any]]) -> Counter[str]:
    return Counter(agree(ruler, *each) for each in product(patterns, events))


def test_they_agree_on_each_recorded_payload(
    ruler: Ask, patterns: Sequence[Any], payloads: Path
) -> None:
    found = told(ruler, patterns, in_folder(payloads))

    assert found["true"] > 20
    assert found["false"] > 1_000
    assert not found["refused"]


def test_they_agree_on_each_sample_and_each_record_of_the_stream(
    ruler: Ask, patterns: Sequence[Any]
) -> None:
    found = told(ruler, patterns, [*in_folder(EVENTS), *in_stream()])

    assert found["true"] >= 8
    assert not found["refused"]


def test_each_pattern_of_the_template_matches_something(
    ruler: Ask, patterns: Sequence[Any], payloads: Path
) -> None:
    events = [*in_folder(EVENTS), *in_folder(payloads), *in_stream()]

    assert len(patterns) >= 3
    assert all(any(ruler(pattern, event) == "true" for event in events) for pattern in patterns)


def places(event: Any) -> Iterator[tuple[Any, Any]]:
    """Each object or list in an event with each of its keys or indices."""
    if isinstance(event, dict | list):
        for key in event if isinstance(event, dict) else range(len(event)):
            yield event, key
            yield from places(event[key])


def changed(event: Mapping[str, Any], random: Random) -> Mapping[str, Any]:
    """The event with one to three of its values removed, renamed or replaced."""
    new = copy.deepcopy(event)
    for _ in range(random.randint(1, 3)):
        found = list(places(new))
        if not found:
            break
        owner, key = random.choice(found)
        values = [None, "", "aws.batch", "INSERT", "ACTION#", 7, [], {}, [owner[key]], {"S": "x"}]
        if isinstance(owner, dict) and random.random() < 0.4:
            value = owner.pop(key)
            if random.random() < 0.5:
                owner[key.swapcase()] = value
        else:
            owner[key] = random.choice(values)
    return new


def test_they_agree_on_events_with_something_changed_in_them(
    ruler: Ask, patterns: Sequence[Any]
) -> None:
    life = logs.an_array(3, failing=0.5)
    events = [each for each in in_folder(EVENTS) if "detail-type" in each or "eventName" in each]
    events += [*in_stream(), *life.events]
    random = Random(1)  # noqa: S311 - it need only be the same each time

    found: Counter[str] = Counter()
    for _ in range(EXAMPLES):
        event = changed(random.choice(events), random)
        found += told(ruler, patterns, [event])

    assert found["true"] > 100
    assert found["false"] > 1_000


# ---- Any others ---------------------------------------------------------------------------

# Few names and few values, so that patterns and events often meet; and odd ones among them.
#
# Left out, as nobody can want it, is what AWS's matcher takes by accident: empty names, a block of
# all addresses (it takes numbers for such), and a "$or" that is none (it is a name then; here it
# is refused, as a likely mistake).
NAMES = ("a", "b", "c", "a.b", "detail-type", "ä")
WORDS = ("", "a", "A", "aa", "ab", "ba", "aba", "ß", "SS", "é", "É", "x*y", "a\\b", "null", "1")
ADDRESSES = ("10.0.0.1", "10.0.0.01", "10.0.1.1", "::1", "0:0::1", "2001:db8::1", "1.2.3")
NUMBERS = (0, 1, -1, 1.0, 1.5, 5, 300, 3e2, 1e-3, -0.0, 2**53 + 1, 10**18, 0.1, 123456789012)

names = st.sampled_from(NAMES[:4]) | st.sampled_from(NAMES)
words = st.sampled_from(WORDS) | st.text("aAbB*\\é", max_size=4)
# Of few digits: before version 19 Java wrote some floats with a digit too many, and then takes
# them for numbers that it cannot compare (https://bugs.openjdk.org/browse/JDK-4511638).
fractions = st.integers(-(10**6), 10**6).map(lambda number: number / 100)
numbers = st.sampled_from(NUMBERS) | st.integers(-10, 10) | fractions
plain = words | st.sampled_from(ADDRESSES) | numbers | st.sampled_from([None, True, False])
values = st.recursive(
    plain,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)
events = st.dictionaries(names, values, max_size=4)

either_case = st.fixed_dictionaries({"equals-ignore-case": words})
wildcards = st.text("aAb*\\", min_size=1, max_size=5) | st.sampled_from(["a*b", "*", "*a", "a\\*"])
bounds = st.sampled_from(NUMBERS) | st.integers(-5, 5)
comparisons = st.tuples(st.sampled_from(["=", "<", "<=", ">", ">="]), bounds).map(list)
ranges = st.tuples(st.sampled_from([">", ">="]), bounds, st.sampled_from(["<", "<="]), bounds).map(
    list
)
blocks = st.sampled_from(["10.0.0.0/24", "10.0.0.7/31", "2001:db8::/32"])
some_words = words | st.lists(words, min_size=1, max_size=3)
operators = st.one_of(
    st.fixed_dictionaries({"prefix": words | either_case}),
    st.fixed_dictionaries({"suffix": words | either_case}),
    either_case,
    st.fixed_dictionaries({"wildcard": wildcards}),
    st.fixed_dictionaries({"exists": st.booleans()}),
    st.fixed_dictionaries({"numeric": comparisons | ranges}),
    st.fixed_dictionaries({"cidr": blocks}),
    st.fixed_dictionaries(
        {
            "anything-but": some_words
            | numbers
            | st.lists(numbers, min_size=1, max_size=3)
            | st.fixed_dictionaries({"prefix": some_words})
            | st.fixed_dictionaries({"suffix": some_words})
            | st.fixed_dictionaries({"equals-ignore-case": some_words})
            | st.fixed_dictionaries(
                {"wildcard": wildcards | st.lists(wildcards, min_size=1, max_size=2)}
            )
        }
    ),
)
tests = st.lists(plain | operators, min_size=1, max_size=3)
below = st.recursive(
    tests, lambda inner: st.dictionaries(names, inner, min_size=1, max_size=2), max_leaves=4
)
branches = st.lists(st.dictionaries(names, below, min_size=1, max_size=2), min_size=2, max_size=3)
fields = st.dictionaries(names, below, min_size=1, max_size=3)
random_patterns = fields | st.tuples(fields, branches).map(lambda both: both[0] | {"$or": both[1]})


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The plain values in an event, with the names that lead to them."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield from leaves(each, (*path, name))
    elif isinstance(value, list):
        for each in value:
            yield from leaves(each, path)
    else:
        yield path, value


@st.composite
def patterns_about(draw: st.DrawFn, event: Mapping[str, Any]) -> Any:
    """A pattern about what is in the event: it matches often."""
    found = list(leaves(event))
    if not found:
        return draw(random_patterns)
    pattern: dict[str, Any] = {}
    for path, value in draw(st.lists(st.sampled_from(found), min_size=1, max_size=3)):
        node: Any = pattern
        for name in path[:-1]:
            node = node.setdefault(name, {})
            if not isinstance(node, dict):
                break
        if isinstance(node, dict) and not isinstance(node.get(path[-1]), dict):
            tested = draw(st.lists(operators, max_size=1))
            node[path[-1]] = draw(st.permutations([value, *tested])) if tested else [value]
    return pattern


pairs = events.flatmap(
    lambda event: st.tuples(random_patterns | patterns_about(event), st.just(event))
)


@settings(max_examples=EXAMPLES)
@given(pairs)
def test_they_agree_on_random_patterns_and_events(ruler: Ask, both: tuple[Any, Any]) -> None:
    agree(ruler, *both)


# Arrays of objects, as deep as may be: values of one element belong together.
cells = st.sampled_from([1, 2])
arrays = st.recursive(
    cells | st.lists(cells, max_size=2),
    lambda inner: st.lists(st.dictionaries(st.sampled_from("bc"), inner, min_size=1), max_size=3),
    max_leaves=8,
)
about_arrays = st.dictionaries(st.sampled_from("ad"), arrays, min_size=1).flatmap(
    lambda event: st.tuples(patterns_about(event), st.just(event))
)


@settings(max_examples=EXAMPLES)
@given(about_arrays)
def test_they_agree_on_arrays_of_objects(ruler: Ask, both: tuple[Any, Any]) -> None:
    agree(ruler, *both)


@settings(max_examples=EXAMPLES)
@given(operators | plain, values)
def test_they_agree_on_each_operator(ruler: Ask, operator: Any, value: Any) -> None:
    agree(ruler, {"a": [operator]}, {"a": value})


short = st.text("abA", max_size=3)
on_short_text = st.one_of(
    short,
    *(
        st.fixed_dictionaries({name: short | st.fixed_dictionaries({"equals-ignore-case": short})})
        for name in ("prefix", "suffix")
    ),
    *(st.fixed_dictionaries({name: short}) for name in ("equals-ignore-case", "anything-but")),
    *(
        st.fixed_dictionaries({"anything-but": st.fixed_dictionaries({name: short})})
        for name in ("prefix", "suffix", "equals-ignore-case")
    ),
    st.fixed_dictionaries({"wildcard": st.text("ab*", min_size=1, max_size=4)}),
)


@settings(max_examples=EXAMPLES)
@given(on_short_text, short)
def test_they_agree_on_short_text(ruler: Ask, operator: Any, text: str) -> None:
    agree(ruler, {"a": [operator]}, {"a": text})


junk = st.recursive(
    plain | operators,
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            names | st.sampled_from(["prefix", "numeric", "exists"]), inner, max_size=2
        )
    ),
    max_leaves=4,
)


@settings(max_examples=EXAMPLES)
@given(st.dictionaries(names, junk, max_size=2), events)
def test_they_agree_on_what_is_no_pattern(ruler: Ask, pattern: Any, event: Any) -> None:
    agree(ruler, pattern, event)
