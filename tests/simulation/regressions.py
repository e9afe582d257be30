"""Seeds of histories that once broke an invariant; each is run again with every test."""

from collections.abc import Mapping

SEEDS: Mapping[int, str] = {
    4: "an action whose result met a conflict had none for ever",
    38: "an array was no longer asked for, once filing its reminder had met a conflict",
    204: "a report counts what ended by itself before its stop came",
}
