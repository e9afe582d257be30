"""Rule reports: what limits have stopped, or would have, and the outcomes of these jobs."""

# The modules that other features may import.
OFFERS: tuple[str, ...] = ("followed", "follow_items", "tally_items")
