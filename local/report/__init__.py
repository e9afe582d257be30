"""One HTML file of what a watchdog has said and done: for the demo, and for a replay."""
