"""Notices: what operators are sent, safe text, and links into the AWS console."""

# The modules that other features may import.
OFFERS: tuple[str, ...] = ("languages", "links", "notice", "phrases", "text")
