"""The gallery: examples of every notice, taken from real runs of the watchdog."""
