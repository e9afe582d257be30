"""The policy: one TOML text that an operator writes."""

# The modules that other features may import.
OFFERS: tuple[str, ...] = ("budget_tables", "guard_tables", "match", "model", "tables")
