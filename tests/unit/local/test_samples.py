"""The samples in events/ are what the code that they are for would write today."""

import pytest

from local.commands.samples import EVENTS, environment, samples, text_of

FILES = {**samples(), "env.json": environment()}


@pytest.mark.parametrize("name", FILES)
def test_a_sample_is_as_the_code_makes_it(name: str) -> None:
    # To renew them: python -m local.samples
    assert (EVENTS / name).read_text() == text_of(FILES[name])


def test_every_sample_is_made_by_the_code() -> None:
    assert {path.name for path in EVENTS.glob("*.json")} == FILES.keys()
