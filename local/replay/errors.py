"""The error that is raised where the input of a replay cannot be used."""


class InputError(Exception):
    """
    A file or an option cannot be used: it must be corrected.

    The text of the error says where it is, what is wrong, and what was expected.
    """
