"""Threads: fold notices over time. Some are sent at once, others later, in a digest."""

# The modules that other features may import.
OFFERS: tuple[str, ...] = ()
