"""Replays event logs on the real handlers."""
