"""Notices folded over time: what is told at once, and what is told later, in a digest."""

# The modules that other features may import.
OFFERS: tuple[str, ...] = ()
