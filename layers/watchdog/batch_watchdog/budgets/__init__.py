"""Budgets: what jobs use, counted live from events, and what rings when it is too much."""

# The modules that other features may import.
OFFERS: tuple[str, ...] = ("amounts", "periods", "runs")
