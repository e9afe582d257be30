"""README.ja.md says the same as README.md: the same sections, commands, code, links and figures."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def sections(name: str) -> list[str]:
    text = (ROOT / name).read_text(encoding="utf-8")
    return re.split(r"^##+ ", text, flags=re.MULTILINE)


ENGLISH, JAPANESE = sections("README.md"), sections("README.ja.md")
TITLES = [each.partition("\n")[0] for each in ENGLISH]
_BLOCK = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def blocks(section: str) -> list[str]:
    return _BLOCK.findall(section)


def codes(section: str) -> list[str]:
    """Names, settings and commands within sentences."""
    return sorted(set(re.findall(r"`([^`\n]+)`", _BLOCK.sub("", section))))


def links(section: str) -> list[str]:
    targets = re.findall(r"\]\(([^)]+)\)", section)
    return sorted(each for each in targets if not each.startswith("README"))


def figures(section: str) -> list[str]:
    """
    Figures in sentences of two digits or more, or with a point or a comma.

    Single digits are left out: English has words for most of these ("two thresholds").
    """
    text = re.sub(r"`[^`\n]+`", "", _BLOCK.sub("", section))
    found = re.findall(r"\d[\d,.]*\d", text)
    return sorted(found)


def missing(of: Callable[[str], list[str]]) -> Iterator[str]:
    for title, english, japanese in zip(TITLES, ENGLISH, JAPANESE, strict=True):
        one, other = of(english), of(japanese)
        for each in dict.fromkeys(one):
            if one.count(each) > other.count(each):
                yield f"README.ja.md lacks in the section {title!r}: {each}"
        for each in dict.fromkeys(other):
            if other.count(each) > one.count(each):
                yield f"README.md has not in the section {title!r}: {each}"


def test_both_have_the_same_sections() -> None:
    assert len(ENGLISH) == len(JAPANESE), f"sections of README.md: {TITLES}"


@pytest.mark.parametrize("of", [blocks, codes, links, figures], ids=lambda each: each.__name__)
def test_both_have_the_same_commands_code_links_and_figures(
    of: Callable[[str], list[str]],
) -> None:
    differences = list(missing(of))

    assert not differences, "\n".join(differences)
