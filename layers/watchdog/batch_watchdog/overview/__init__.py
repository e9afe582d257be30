"""The overview: what the sweep has found of all jobs, kept so that a few reads can show it."""

# The modules that other features may import.
OFFERS: tuple[str, ...] = ()
