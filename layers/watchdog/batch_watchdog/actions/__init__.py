"""What is left of decided actions: whether a stop is still meant, and actions without a result."""

# The modules that other features may import.
OFFERS: tuple[str, ...] = ()
