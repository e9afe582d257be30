"""Check whether the watchdog can work: subscription, alarms, queues, events, dead letters."""

# The modules that other features may import.
OFFERS: tuple[str, ...] = ()
