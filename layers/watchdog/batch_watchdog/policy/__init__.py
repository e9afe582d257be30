"""The policy: one TOML text that an operator writes."""

# The modules that other features may import.
OFFERS: tuple[str, ...] = (
    "budget_tables",
    "child_tags",
    "guard_tables",
    "match",
    "model",
    "tables",
)
