"""What the sweep has seen of all jobs, kept so that it can be shown by a few reads."""

# The modules that other features may import.
OFFERS: tuple[str, ...] = ()
