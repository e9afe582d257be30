"""Stop runs: all jobs in the scope of a guard are found, stopped, and counted."""
