"""
Write docs/aws-claims.md: what the deployment rests on, with AWS's pages, of claims.toml.

    python -m tests.template.claims
"""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).parents[2]
TABLE = Path(__file__).parent / "claims.toml"
PAGE = ROOT / "docs/aws-claims.md"

_HEAD = """\
# What the deployment rests on

<!-- `make claims` makes this page of tests/template/claims.toml. -->

No account was ever asked. So each claim about AWS on which the deployment rests is written down
here, with AWS's page, and with the test that fails where we do not keep to it. {checked} of {all}
claims have one. What AWS does not say is marked as a doubt.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """
    One claim. `checked` names tests as pytest does; without any, `why` says why.

    `used` says where we rest on it, and `doubt` what AWS does not say.
    """

    subject: str
    says: str
    used: str
    source: str | Sequence[str]
    checked: Sequence[str] = ()
    why: str = ""
    doubt: str = ""

    @property
    def sources(self) -> Sequence[str]:
        return [self.source] if isinstance(self.source, str) else self.source


def read(text: str) -> list[Claim]:
    """The claims of a table in TOML."""
    return [Claim(**each) for each in tomllib.loads(text)["claim"]]


def page(claims: Sequence[Claim]) -> str:
    """The claims as a page in Markdown."""
    lines = [_HEAD.format(checked=sum(bool(each.checked) for each in claims), all=len(claims))]
    for subject, some in groupby(claims, lambda each: each.subject):
        lines += [f"## {subject}", "", "| claim | used | AWS | checked by |", "|---|---|---|---|"]
        lines += [_row(each) for each in some]
        lines.append("")
    return "\n".join(lines)


def _row(claim: Claim) -> str:
    says = claim.says + (f" **Doubt:** {claim.doubt}" if claim.doubt else "")
    links = " ".join(f"[{number}]({url})" for number, url in enumerate(claim.sources, 1))
    tests = "<br>".join(f"`{each.partition('tests/')[2]}`" for each in claim.checked)
    cells = (says, claim.used, links, tests or f"— ({claim.why})")
    return "| " + " | ".join(each.replace("|", "\\|") for each in cells) + " |"


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(read(TABLE.read_text())))


if __name__ == "__main__":
    main()
