"""
Read amounts as AWS Budgets writes them: "$1,000.00", "1.000,00 €", "80%", "812.4 Hrs".

A number is read only if it has just one possible meaning. The amounts of one message are read
together: they share one way of writing, so one of them may show what another leaves open.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

# A comma or a dot before the last digits, white space or an apostrophe between thousands.
_NUMBER = re.compile(r"[0-9](?:[0-9.,'’   ]*[0-9])?")  # noqa: RUF001 - as banks write it
_BETWEEN_THOUSANDS = re.compile(r"['’   ]")  # noqa: RUF001
_DIGITS_MAX = 24
_CURRENCY = re.compile(r"[A-Z]{3}|[A-Z]{0,2}\$")


@dataclass(frozen=True, slots=True)
class Amount:
    """
    A number and its unit, as written: "$", "%", "Hrs", or "".

    `step` is the value of a 1 in the last digit.
    """

    value: Decimal
    unit: str
    step: Decimal

    @property
    def is_money(self) -> bool:
        """Check whether the unit can be a currency: a sign, a code of three letters, or nothing."""
        if "%" in self.unit:
            return False
        return not any(char.isalpha() for char in self.unit) or bool(
            _CURRENCY.fullmatch("".join(self.unit.split()))
        )


def read_amounts(texts: Sequence[str]) -> list[Amount | None]:
    """Return the amounts of one message; None for each that is missing or cannot be read."""
    found = [_number_and_unit(text) for text in texts]
    marks = {mark for each in found if each and (mark := _settled_mark(each[0]))}
    if len(marks) > 1:
        return [None] * len(texts)  # Two ways of writing in one message.
    mark = next(iter(marks), "")
    return [_amount(*each, mark) if each else None for each in found]


def _number_and_unit(text: str) -> tuple[str, str] | None:
    numbers = list(_NUMBER.finditer(text))
    if len(numbers) != 1:
        return None
    [number] = numbers
    before, after = text[: number.start()], text[number.end() :]
    if before.rstrip().endswith(("-", "−", "(", ".", ",")) or after.startswith((".", ",")):  # noqa: RUF001
        return None
    digits = _BETWEEN_THOUSANDS.sub("", number[0])
    if len(digits) > _DIGITS_MAX:
        return None
    return digits, " ".join(f"{before} {after}".split())


def _settled_mark(number: str) -> str:
    """Return the decimal mark, if the number alone leaves no doubt; else ""."""
    dots, commas = number.count("."), number.count(",")
    if dots and commas:
        return "." if number.rfind(".") > number.rfind(",") else ","
    if dots > 1:
        return ","
    if commas > 1:
        return "."
    if dots + commas == 1:
        mark = "." if dots else ","
        whole, _, rest = number.partition(mark)
        # "0.125" or "1234.125": the mark cannot be one between thousands.
        if len(rest) != 3 or not 1 <= len(whole) <= 3 or whole == "0":  # noqa: PLR2004
            return mark
    return ""


def _amount(number: str, unit: str, mark: str) -> Amount | None:
    if not mark:
        # AWS writes numbers as in English: "1,000" is 1000. But "1.000" may be 1 or 1000.
        if "." in number:
            return None
        mark = "."
    whole, _, rest = number.partition(mark)
    groups = re.split(r"[.,]", whole)
    if not rest.isdigit() and rest:
        return None
    if len(groups) > 1 and not (
        1 <= len(groups[0]) <= 3 and all(len(group) == 3 for group in groups[1:])  # noqa: PLR2004
    ):
        return None
    return Amount(Decimal("".join(groups) + f".{rest or 0}"), unit, Decimal(1).scaleb(-len(rest)))
