"""What the watchdog remembers: one table, one module for each kind of item."""
