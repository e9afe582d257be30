"""Notices: what operators are sent, safe text, and links into the AWS console."""

# The modules that other features may import.
OFFERS: tuple[str, ...] = (
    "kept_phrases",
    "kind_words",
    "languages",
    "links",
    "message",
    "notice",
    "phrases",
    "text",
)
