"""Measures of the watchdog's work, for CloudWatch metrics. No decision depends on them."""

# The modules that other features may import.
OFFERS: tuple[str, ...] = ("measures",)
