"""Budgets: count what jobs use, live from job events, and announce when it is too much."""

# The modules that other features may import.
OFFERS: tuple[str, ...] = ("amounts", "periods", "runs")
