"""The operator's page: facts in, HTML out. Templates escape all that they are given."""

# The modules that other features may import.
OFFERS: tuple[str, ...] = ()
