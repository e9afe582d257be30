"""Job queues that AWS Batch reports as blocked."""

# The modules that other features may import.
OFFERS: tuple[str, ...] = ()
