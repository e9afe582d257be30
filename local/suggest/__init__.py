"""Suggests a policy from a team's own log: limits that are longer than jobs waited to start."""
