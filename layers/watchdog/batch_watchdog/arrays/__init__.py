"""Array jobs: how far each has come, when it is done, and what failed."""

# The modules that other features may import.
OFFERS: tuple[str, ...] = ("own_failures", "rules")
