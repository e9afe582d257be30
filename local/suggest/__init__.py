"""A policy from a team's own history: how long jobs waited, and limits that none of them passed."""
