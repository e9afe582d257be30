"""Guards: stop jobs and close queues when a billing alarm, a budget or an anomaly asks for it."""

# The modules that other features may import.
OFFERS: tuple[str, ...] = ("items", "precedence", "state")
