"""Guards: what a billing alarm, a budget or a cost anomaly makes of jobs and queues."""

# The modules that other features may import.
OFFERS: tuple[str, ...] = ("items", "precedence", "state")
