"""The policy: one TOML text that an operator writes."""

# The modules that other features may import.
OFFERS: tuple[str, ...] = ("guard_tables", "match", "model", "tables")
