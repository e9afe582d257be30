"""Replays of event logs on the real handlers."""
