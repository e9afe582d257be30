"""The operator's page: turn facts into HTML. The templates escape all values."""

# The modules that other features may import.
OFFERS: tuple[str, ...] = ()
