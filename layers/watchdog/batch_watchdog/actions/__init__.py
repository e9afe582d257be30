"""Checks of decided actions: whether a stop is still meant, and which have no result."""

# The modules that other features may import.
OFFERS: tuple[str, ...] = ()
