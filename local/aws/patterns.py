"""
Match events against patterns as EventBridge rules and Lambda's event filters do.

A pattern is compiled into alternatives (`$or`). Each alternative is a list of paths with tests,
sorted by path. An event matches an alternative if at every path one of its values passes a test,
and all these values come from the same elements of the arrays on the way (AWS calls this array
consistency). Only values count: an empty object or array counts as absent.

https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html
https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventfiltering.html
https://github.com/aws/event-ruler (AWS's own matcher; this one agrees with it)
"""

import ipaddress
import json
import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from typing import Any

type Test = Callable[[Any], bool]
type _Where = tuple[tuple[int, int], ...]  # (id of an array, index) on the way to a value

_EXACT_FLOATS = 2**53  # a float can hold every whole number up to here exactly


@dataclass(frozen=True, slots=True)
class _Field:
    path: str
    steps: tuple[str, ...]
    tests: tuple[Test, ...]
    may_be_absent: bool


class Pattern:
    """
    A compiled pattern.

    Raises:
        ValueError: AWS would refuse the pattern. The message says where and why.
    """

    def __init__(self, pattern: str | Mapping[str, Any]) -> None:
        self.source: Mapping[str, Any] = (
            json.loads(pattern) if isinstance(pattern, str) else pattern
        )
        if not isinstance(self.source, Mapping):
            raise ValueError("pattern: expected an object")  # noqa: TRY004
        alternatives: list[dict[str, _Field]] = []
        _compile(alternatives, (), self.source)
        self._alternatives = [[fields[path] for path in sorted(fields)] for fields in alternatives]

    def __repr__(self) -> str:
        return f"Pattern({json.dumps(self.source)})"

    def matches(self, event: Mapping[str, Any]) -> bool:
        """Whether the pattern matches an event, given as `json.loads` returns it."""
        return any(_consistent(event, fields, 0, {}) for fields in self._alternatives)


# ---- Walking through an event -------------------------------------------------------------


def _consistent(
    event: Mapping[str, Any], fields: Sequence[_Field], at: int, where: dict[int, int]
) -> bool:
    if at == len(fields):
        return True
    field = fields[at]
    absent = True
    for value, elements in _values(event, field.steps, ()):
        if any(where.get(array, index) != index for array, index in elements):
            continue
        absent = False
        if any(test(value) for test in field.tests) and _consistent(
            event, fields, at + 1, where | dict(elements) if elements else where
        ):
            return True
    return field.may_be_absent and absent and _consistent(event, fields, at + 1, where)


def _values(node: Any, steps: tuple[str, ...], where: _Where) -> Iterator[tuple[Any, _Where]]:
    """Yield the values at a path, each with the array elements that contain it."""
    if isinstance(node, list):
        for index, element in enumerate(node):
            if isinstance(element, list | dict):
                yield from _values(element, steps, (*where, (id(node), index)))
            elif not steps:
                # A plain value's own index does not count: two values of one array may match.
                yield element, where
    elif isinstance(node, dict):
        # AWS does not distinguish a dot in a name from a dot between names.
        for count in range(1, len(steps) + 1):
            name = steps[0] if count == 1 else ".".join(steps[:count])
            if name in node:
                yield from _values(node[name], steps[count:], where)
    elif not steps:
        yield node, where


# ---- Compiling ----------------------------------------------------------------------------


def _compile(
    alternatives: list[dict[str, _Field]],
    above: tuple[str, ...],
    pattern: Mapping[str, Any],
) -> None:
    if not pattern:
        raise ValueError(f"{'.'.join(above) or 'pattern'}: empty objects are not allowed")
    for name, wanted in pattern.items():
        path = ".".join((*above, name))
        if name == "$or":
            _compile_or(alternatives, above, path, wanted)
        elif isinstance(wanted, Mapping):
            _compile(alternatives, (*above, name), wanted)
        elif isinstance(wanted, list) and wanted:
            if not alternatives:
                alternatives.append({})
            field = _field(path, wanted)
            for fields in alternatives:
                fields[path] = field
        else:
            raise ValueError(f"{path}: expected an object or a list that is not empty")


def _compile_or(
    alternatives: list[dict[str, _Field]], above: tuple[str, ...], path: str, branches: Any
) -> None:
    if not isinstance(branches, list) or len(branches) < 2:  # noqa: PLR2004
        raise ValueError(f"{path}: expected a list of at least two objects")
    before = [*alternatives]
    alternatives.clear()
    for branch in branches:
        if not isinstance(branch, Mapping):
            raise ValueError(f"{path}: expected objects")  # noqa: TRY004
        forked = [dict(fields) for fields in before]
        _compile(forked, above, branch)
        alternatives += forked


def _field(path: str, wanted: Sequence[Any]) -> _Field:
    try:
        return _Field(
            path=path,
            steps=tuple(path.split(".")),
            tests=tuple(_test(each) for each in wanted if each != {"exists": False}),
            may_be_absent={"exists": False} in wanted,
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _test(wanted: Any) -> Test:
    if isinstance(wanted, Mapping):
        if len(wanted) != 1:
            raise ValueError("expected one operator in an object")
        ((name, operand),) = wanted.items()
        if name not in _OPERATORS:
            raise ValueError(f"no operator is called {name}")
        return _OPERATORS[name](operand)
    return _equals(wanted)


def _equals(wanted: Any) -> Test:
    if wanted is None or isinstance(wanted, bool):
        return lambda value: value is wanted
    if isinstance(wanted, str):
        address = _address(wanted)
        if address:  # Addresses are equal in any notation.
            return lambda value: _address(value) == address
        return lambda value: isinstance(value, str) and value == wanted
    if isinstance(wanted, int | float):
        number = _number(wanted)
        if number is None:  # Too large or too precise to compare as a number: compare as text.
            return lambda value: _is_number(value) and str(value) == str(wanted)
        return lambda value: _number(value) == number
    raise ValueError("expected text, numbers, true, false, null or operators")


def _text(operand: Any) -> str:
    if not isinstance(operand, str):
        raise ValueError("expected text")  # noqa: TRY004
    return operand


def _exactly(operand: Any) -> Test:
    text = _text(operand)
    return lambda value: isinstance(value, str) and value == text


def _exists(operand: Any) -> Test:
    if operand is not True:
        raise ValueError("exists: expected true or false")
    return lambda _: True


def _prefix(operand: Any) -> Test:
    if isinstance(operand, Mapping):
        return _matching(_ignoring_case(_sole(operand, "equals-ignore-case")) + ".*")
    return _starts(_text(operand))


def _suffix(operand: Any) -> Test:
    if isinstance(operand, Mapping):
        return _matching(".*" + _ignoring_case(_sole(operand, "equals-ignore-case")))
    return _ends(_text(operand))


def _starts(text: str) -> Test:
    return lambda value: isinstance(value, str) and value.startswith(text)


def _ends(text: str) -> Test:
    return lambda value: isinstance(value, str) and value.endswith(text)


def _equals_ignoring_case(operand: Any) -> Test:
    return _matching(_ignoring_case(_text(operand)))


def _wildcard(operand: Any) -> Test:
    text = _text(operand)
    parts = re.findall(r"\\[*\\]|\*|[^*\\]+", text)
    if "".join(parts) != text or ("*", "*") in pairwise(parts):
        raise ValueError(f"wildcard: two asterisks or a stray backslash in {text!r}")
    return _matching("".join(".*" if part == "*" else _literal(part) for part in parts))


def _anything_but(operand: Any) -> Test:
    if isinstance(operand, Mapping):
        if len(operand) != 1:
            raise ValueError("anything-but: expected one operator")
        ((name, values),) = operand.items()
        make = _ANYTHING_BUT.get(name)
        if make is None:
            raise ValueError(f"anything-but: {name} cannot be negated")
        texts = values if isinstance(values, list) else [values]
        if not texts or (name in {"prefix", "suffix"} and "" in texts):
            raise ValueError(f"anything-but: {name} needs text")
        refused = [make(_text(text)) for text in texts]
    else:
        values = operand if isinstance(operand, list) else [operand]
        kinds = {str if isinstance(value, str) else _is_number(value) for value in values}
        if len(kinds) != 1 or kinds == {False}:
            raise ValueError("anything-but: expected text only, or numbers only")
        if str not in kinds and any(_number(value) is None for value in values):
            raise ValueError("anything-but: a number that cannot be compared")
        # Only here, text that looks like an IP address is compared as text.
        refused = [_exactly(value) if str in kinds else _equals(value) for value in values]
    return lambda value: not any(test(value) for test in refused)


def _numeric(operand: Any) -> Test:
    if not isinstance(operand, list) or len(operand) not in {2, 4}:
        raise ValueError("numeric: expected one or two comparisons")
    signs, bounds = operand[::2], [_number(bound) for bound in operand[1::2]]
    if not all(isinstance(sign, str) and sign in _COMPARISONS for sign in signs) or None in bounds:
        raise ValueError('numeric: expected comparisons such as [">", 0, "<=", 5]')
    between = signs[0] in {">", ">="} and signs[-1] in {"<", "<="}
    if len(signs) > 1 and not (between and (bounds[0] or 0.0) < (bounds[1] or 0.0)):
        raise ValueError("numeric: expected a lower bound, then a higher one")
    limits = [(_COMPARISONS[sign], bound) for sign, bound in zip(signs, bounds, strict=True)]

    def test(value: Any) -> bool:
        number = _number(value)
        return number is not None and all(holds(number, bound) for holds, bound in limits)

    return test


def _cidr(operand: Any) -> Test:
    network = ipaddress.ip_network(_text(operand), strict=False)
    if "/" not in operand or network.prefixlen == network.max_prefixlen:
        raise ValueError(f"cidr: expected fewer bits than a whole address in {operand!r}")

    def test(value: Any) -> bool:
        address = _address(value)
        return address is not None and address in network

    return test


_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_OPERATORS: Mapping[str, Callable[[Any], Test]] = {
    "exactly": _exactly,
    "exists": _exists,
    "prefix": _prefix,
    "suffix": _suffix,
    "equals-ignore-case": _equals_ignoring_case,
    "wildcard": _wildcard,
    "anything-but": _anything_but,
    "numeric": _numeric,
    "cidr": _cidr,
}
_ANYTHING_BUT: Mapping[str, Callable[[Any], Test]] = {
    "prefix": _prefix,
    "suffix": _suffix,
    "equals-ignore-case": _equals_ignoring_case,
    "wildcard": _wildcard,
}


# ---- Text and numbers ---------------------------------------------------------------------


def _sole(operand: Mapping[str, Any], name: str) -> str:
    if [*operand] != [name]:
        raise ValueError(f"expected {name} and nothing else")
    return _text(operand[name])


def _matching(regex: str) -> Test:
    compiled = re.compile(regex, re.DOTALL)
    return lambda value: isinstance(value, str) and compiled.fullmatch(value) is not None


def _literal(part: str) -> str:
    return re.escape(part[1:] if part in {r"\*", r"\\"} else part)


def _ignoring_case(text: str) -> str:
    """Return a regular expression that matches the text, each character in either case."""
    return "".join(
        f"(?:{re.escape(char.lower())}|{re.escape(char.upper())})"
        if char.lower() != char.upper() and ord(char) < 0x10000  # noqa: PLR2004
        else re.escape(char)
        for char in text
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: Any) -> float | None:
    """Return the number if AWS can compare it: if a 64-bit float holds it exactly; else None."""
    if not _is_number(value):
        return None
    if isinstance(value, int) and abs(value) > _EXACT_FLOATS:
        try:
            near = float(value)
            return near if Decimal(repr(near)) == Decimal(value) else None
        except (OverflowError, InvalidOperation):
            return None
    return float(value) if math.isfinite(value) else None


def _address(value: Any) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    if not isinstance(value, str) or not re.fullmatch(
        r"[0-9]+(?:\.[0-9]+){3}|[0-9a-fA-F:]*:[0-9a-fA-F:]*", value
    ):
        return None
    try:
        address = ipaddress.ip_address(
            re.sub(r"\b0+(?=[0-9])", "", value) if "." in value else value
        )
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
