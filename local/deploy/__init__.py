"""Checks before a deployment (what would make it fail) and after it (whether the stack works)."""
