"""A simulation of AWS on this machine: the template's resources, and what calls the functions."""
