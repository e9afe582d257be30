"""What the watchdog costs, measured: `make bench`."""
