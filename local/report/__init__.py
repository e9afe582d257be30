"""Reports a watchdog's notices and calls as one HTML file, for the demo and for a replay."""
