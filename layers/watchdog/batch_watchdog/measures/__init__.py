"""What is measured of the watchdog's work, for CloudWatch's metrics. Nothing is decided by it."""

# The modules that other features may import.
OFFERS: tuple[str, ...] = ("measures",)
