"""The gallery: every notice, as real runs of the watchdog bring it about."""
