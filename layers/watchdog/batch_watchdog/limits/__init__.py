"""Limits: how long a job may stay in a state, and what happens when it stays longer."""

# The modules that other features may import.
OFFERS: tuple[str, ...] = ("rules", "stop_results")
