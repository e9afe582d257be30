"""Single jobs that failed, and the jobs that failed because they depend on these."""

# The modules that other features may import.
OFFERS: tuple[str, ...] = ("workflow",)
