"""What is raised where the input of a replay cannot be used."""


class InputError(Exception):
    """
    A file or an option cannot be used. Nothing but correcting it helps.

    As text it says where, what is wrong, and what was expected.
    """
